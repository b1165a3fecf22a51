/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/pool.c - opening and closing a pool, and what its superblock says.
 */
#include "thin/pool.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "space_map/read.h"
#include "store/store.h"

#include <string.h>

#define KNOWN_FLAGS                                                                                                    \
	(THINP_POOL_METADATA_SNAP | THINP_POOL_WRITABLE | THINP_POOL_CREATE | THINP_POOL_IGNORE_NEEDS_CHECK |          \
	 THINP_POOL_QUEUE_ALWAYS | THINP_POOL_LIVE)

static int check_flags(uint32_t flags)
{
	const uint32_t of_writable =
		THINP_POOL_CREATE | THINP_POOL_IGNORE_NEEDS_CHECK | THINP_POOL_QUEUE_ALWAYS | THINP_POOL_LIVE;

	if (flags & ~KNOWN_FLAGS)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags %#x for a pool", flags);
	if (flags & THINP_POOL_WRITABLE && flags & THINP_POOL_METADATA_SNAP)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a metadata snapshot cannot be changed");
	if (flags & of_writable && !(flags & THINP_POOL_WRITABLE))
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "flags %#x go only with a pool that can be changed",
			       flags & of_writable);
	return 0;
}

int tp_thin_take_opts(struct thinp_pool_opts *opts, struct thinp_allocator *allocator,
		      const struct thinp_pool_opts *user_opts)
{
	int r = tp_opts_take(opts, sizeof(*opts), user_opts);

	if (!r)
		r = check_flags(opts->flags);
	return r ? r : tp_allocator_take(allocator, opts->allocator);
}

static int open_readers(struct thinp_pool *pool, const struct thinp_pool_opts *opts)
{
	struct thinp_bm_opts bm_opts = {
		.size = sizeof(bm_opts), .cache_blocks = opts->cache_blocks, .allocator = &pool->allocator};
	int r = thinp_bm_create(pool->io, &bm_opts, &pool->bm);

	if (!r)
		r = thinp_reader_create(pool->bm, pool->live.metadata_sm.nr_blocks, &pool->reader);
	if (!r && opts->flags & THINP_POOL_METADATA_SNAP)
		r = tp_thin_read_metadata_snap(pool);
	return r;
}

/* Nothing was ever made on the device, and something is to be made. */
static int read_superblock(struct thinp_pool *pool, const struct thinp_pool_opts *opts, bool *is_new)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r;

	thinp_error_last(&before);
	r = tp_thin_read_superblock(pool);
	*is_new = r == THINP_EUNFORMATTED && opts->flags & THINP_POOL_CREATE;
	if (*is_new)
		tp_error_restore(&before);
	return *is_new ? 0 : r;
}

int thinp_pool_open(struct thinp_io *io, const struct thinp_pool_opts *user_opts, struct thinp_pool **out)
{
	struct thinp_allocator allocator;
	struct thinp_pool_opts opts;
	struct thinp_pool *pool;
	bool is_new;
	int r = tp_thin_take_opts(&opts, &allocator, user_opts);

	if (r)
		return r;
	pool = tp_alloc_zeroed(&allocator, 1, sizeof(*pool));
	if (!pool)
		return THINP_ENOMEM;
	pool->allocator = allocator;
	pool->log = opts.log;
	pool->log_ctx = opts.log_ctx;
	pool->io = io;
	r = read_superblock(pool, &opts, &is_new);
	if (!r)
		r = opts.flags & THINP_POOL_WRITABLE ? tp_thin_open_store(pool, &opts, is_new)
						     : open_readers(pool, &opts);
	if (r) {
		thinp_pool_close(pool);
		return r;
	}
	*out = pool;
	return 0;
}

void thinp_pool_close(struct thinp_pool *pool)
{
	struct thinp_allocator allocator;

	if (!pool)
		return;
	allocator = pool->allocator;
	if (pool->store)
		thinp_store_close(pool->store);
	else if (pool->view)
		thinp_view_close(pool->view);
	else
		thinp_reader_destroy(pool->reader);
	if (!pool->store && !pool->is_view)
		thinp_bm_destroy(pool->bm);
	if (pool->owns_io)
		thinp_io_close(pool->io);
	tp_free(&allocator, pool, sizeof(*pool));
}

static void get_space(const struct thinp_pool *pool, int space, struct thinp_sm_info *info)
{
	const struct tp_sm_root *root = space == THINP_POOL_DATA ? &pool->live.data_sm : &pool->live.metadata_sm;

	*info = (struct thinp_sm_info){.size = sizeof(*info)};
	if (!pool->store) {
		info->nr_blocks = root->nr_blocks;
		info->nr_zero = root->nr_blocks - root->nr_allocated;
	} else if (space == THINP_POOL_DATA) {
		thinp_sm_get_info(thinp_store_map(pool->store, 0), info);
	} else {
		thinp_sm_get_info(thinp_store_metadata_map(pool->store), info);
	}
}

static int check_space(int space)
{
	if (space == THINP_POOL_DATA || space == THINP_POOL_METADATA)
		return 0;
	return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a pool has no space map number %d", space);
}

int thinp_pool_get_space(struct thinp_pool *pool, int space, struct thinp_sm_info *info)
{
	struct thinp_sm_info now;
	int r = check_space(space);

	if (r)
		return r;
	get_space(pool, space, &now);
	tp_result_give(info, &now, sizeof(now));
	return 0;
}

void thinp_pool_get_info(const struct thinp_pool *pool, struct thinp_pool_info *info)
{
	const struct tp_thin_superblock *shown = pool->shown;
	struct thinp_sm_info data, metadata;
	struct thinp_pool_info now = {
		.transaction_id = shown->transaction_id,
		.metadata_snap = pool->live.held_root,
		.mapping_root = shown->mapping_root,
		.details_root = shown->details_root,
		.data_block_sectors = shown->data_block_size,
		.version = shown->version,
		.time = shown->time,
		.flags = shown->flags,
		.compat_flags = shown->compat_flags,
		.compat_ro_flags = shown->compat_ro_flags,
		.incompat_flags = shown->incompat_flags,
		.is_metadata_snap = pool->is_metadata_snap,
	};

	get_space(pool, THINP_POOL_DATA, &data);
	get_space(pool, THINP_POOL_METADATA, &metadata);
	now.nr_data_blocks = data.nr_blocks;
	now.nr_data_allocated = data.nr_blocks - data.nr_zero;
	now.nr_metadata_blocks = metadata.nr_blocks;
	now.nr_metadata_allocated = metadata.nr_blocks - metadata.nr_zero;
	memcpy(now.uuid, shown->uuid, sizeof(now.uuid));
	tp_result_give(info, &now, sizeof(now));
}

void thinp_pool_get_cache_stats(struct thinp_pool *pool, struct thinp_bm_stats *stats)
{
	thinp_bm_get_stats(pool->bm, stats);
}

struct thinp_reader *thinp_pool_reader(struct thinp_pool *pool)
{
	return pool->reader;
}

static int view_of(struct thinp_pool *pool, int space, struct tp_sm_view *view)
{
	int r = check_space(space);

	if (r)
		return r;
	if (pool->is_metadata_snap)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "a metadata snapshot has no reference counts");
	view->reader = pool->reader;
	view->kind = space == THINP_POOL_DATA ? TP_SM_DATA : TP_SM_METADATA;
	view->root = space == THINP_POOL_DATA ? pool->live.data_sm : pool->live.metadata_sm;
	if (pool->store)
		view->reader = pool->store->reader; /* what the last commit has is not changed */
	return 0;
}

int thinp_pool_get_count(struct thinp_pool *pool, int space, uint64_t block, uint32_t *count)
{
	struct tp_sm_view view;
	int r = view_of(pool, space, &view);

	if (r)
		return r;
	if (!pool->store)
		return tp_sm_count(&view, block, count);
	return tp_sm_peek_count(space == THINP_POOL_DATA ? pool->store->maps[0] : pool->store->metadata, block, count);
}

int thinp_pool_walk_counts(struct thinp_pool *pool, int space, uint64_t begin, uint64_t end, thinp_pool_count_fn fn,
			   void *ctx)
{
	struct tp_sm_view view;
	int r = view_of(pool, space, &view);

	return r ? r : tp_sm_walk(&view, begin, end, fn, ctx);
}
