/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/pool.c - opening and closing a pool, and what its superblock says.
 */
#include "thin/pool.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "space_map/read.h"

#include <string.h>

const struct thinp_btree_type tp_thin_roots_type = {
	.size = sizeof(struct thinp_btree_type), .nr_levels = 1, .value_size = 8};
const struct thinp_btree_type tp_thin_mappings_type = {
	.size = sizeof(struct thinp_btree_type), .nr_levels = 1, .value_size = TP_MAPPING_SIZE};
const struct thinp_btree_type tp_thin_details_type = {
	.size = sizeof(struct thinp_btree_type), .nr_levels = 1, .value_size = TP_DETAILS_SIZE};

static int take_opts(struct thinp_pool_opts *opts, struct thinp_allocator *allocator,
		     const struct thinp_pool_opts *user_opts)
{
	int r = tp_opts_take(opts, sizeof(*opts), user_opts);

	if (!r && opts->flags & ~THINP_POOL_METADATA_SNAP)
		r = tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags %#x for a pool", opts->flags);
	return r ? r : tp_allocator_take(allocator, opts->allocator);
}

static int open_readers(struct thinp_pool *pool, const struct thinp_pool_opts *opts)
{
	struct thinp_bm_opts bm_opts = {
		.size = sizeof(bm_opts), .cache_blocks = opts->cache_blocks, .allocator = &pool->allocator};
	int r = thinp_bm_create(pool->io, &bm_opts, &pool->bm);

	return r ? r : thinp_reader_create(pool->bm, pool->live.metadata_sm.nr_blocks, &pool->reader);
}

int thinp_pool_open(struct thinp_io *io, const struct thinp_pool_opts *user_opts, struct thinp_pool **out)
{
	struct thinp_allocator allocator;
	struct thinp_pool_opts opts;
	struct thinp_pool *pool;
	int r = take_opts(&opts, &allocator, user_opts);

	if (r)
		return r;
	pool = tp_alloc_zeroed(&allocator, 1, sizeof(*pool));
	if (!pool)
		return THINP_ENOMEM;
	pool->allocator = allocator;
	pool->log = opts.log;
	pool->log_ctx = opts.log_ctx;
	pool->io = io;
	r = tp_thin_read_superblock(pool);
	if (!r)
		r = open_readers(pool, &opts);
	if (!r && opts.flags & THINP_POOL_METADATA_SNAP)
		r = tp_thin_read_metadata_snap(pool);
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
	thinp_reader_destroy(pool->reader);
	thinp_bm_destroy(pool->bm);
	tp_free(&allocator, pool, sizeof(*pool));
}

void thinp_pool_get_info(const struct thinp_pool *pool, struct thinp_pool_info *info)
{
	const struct tp_thin_superblock *shown = &pool->shown;
	const struct tp_thin_superblock *live = &pool->live;
	struct thinp_pool_info now = {
		.transaction_id = shown->transaction_id,
		.metadata_snap = live->held_root,
		.nr_data_blocks = live->data_sm.nr_blocks,
		.nr_data_allocated = live->data_sm.nr_allocated,
		.nr_metadata_blocks = live->metadata_sm.nr_blocks,
		.nr_metadata_allocated = live->metadata_sm.nr_allocated,
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
	if (space != THINP_POOL_DATA && space != THINP_POOL_METADATA)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a pool has no space map number %d", space);
	if (pool->is_metadata_snap)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "a metadata snapshot has no reference counts");
	view->reader = pool->reader;
	view->kind = space == THINP_POOL_DATA ? TP_SM_DATA : TP_SM_METADATA;
	view->root = space == THINP_POOL_DATA ? pool->live.data_sm : pool->live.metadata_sm;
	return 0;
}

int thinp_pool_get_count(struct thinp_pool *pool, int space, uint64_t block, uint32_t *count)
{
	struct tp_sm_view view;
	int r = view_of(pool, space, &view);

	return r ? r : tp_sm_count(&view, block, count);
}

int thinp_pool_walk_counts(struct thinp_pool *pool, int space, uint64_t begin, uint64_t end, thinp_pool_count_fn fn,
			   void *ctx)
{
	struct tp_sm_view view;
	int r = view_of(pool, space, &view);

	return r ? r : tp_sm_walk(&view, begin, end, fn, ctx);
}
