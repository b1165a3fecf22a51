/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/writable.c - opening a pool for changes, and its transactions. A pool is a store with a superblock of its own kind:
 * one slot, block 0, and one data map.
 */
#include "base/error.h"
#include "format/kind.h"
#include "thin/change.h"

#include <inttypes.h>
#include <string.h>

#define COUNTS_MIB 64u

/* --- the superblock as the store sees it ----------------------------------------------------------------------------- */

static int unpack(void *ctx, const void *data, struct tp_store_maps *maps)
{
	struct thinp_pool *pool = ctx;
	struct tp_thin_superblock sb;
	int r;

	tp_thin_superblock_unpack(data, &sb);
	r = tp_thin_superblock_check_roots(&sb);
	if (r)
		return r;
	pool->live = sb;
	*maps = (struct tp_store_maps){.commit = 1, .metadata = sb.metadata_sm, .data = {sb.data_sm}};
	return 0;
}

static void pack(const void *ctx, const struct tp_store_maps *maps, void *data)
{
	const struct thinp_pool *pool = ctx;
	struct tp_thin_superblock sb = pool->live;

	sb.data_sm = maps->data[0];
	sb.metadata_sm = maps->metadata;
	tp_thin_superblock_pack(&sb, data);
}

static int create(void *ctx, struct thinp_store *store)
{
	struct thinp_pool *pool = ctx;
	struct thinp_sm_info info = {.size = sizeof(info)};
	int r = tp_store_add_map(store, 0, pool->nr_data_blocks);

	pool->live = (struct tp_thin_superblock){
		.magic = TP_THIN_MAGIC,
		.version = TP_THIN_VERSION,
		.data_block_size = pool->data_block_sectors,
		.metadata_block_size = TP_METADATA_BLOCK_SECTORS,
	};
	thinp_sm_get_info(store->metadata, &info);
	pool->live.metadata_nr_blocks = info.nr_blocks;
	if (!r)
		r = thinp_btree_create(store->tm, &pool->top, &pool->live.mapping_root);
	if (!r)
		r = thinp_btree_create(store->tm, &pool->details, &pool->live.details_root);
	return r;
}

static const struct tp_store_format thin_format = {
	.name = "pool",
	.type = thinp_block_type_thin_superblock,
	.nr_slots = 1,
	.unpack = unpack,
	.pack = pack,
	.create = create,
};

/* --- opening --------------------------------------------------------------------------------------------------------- */

static int check_sizes(struct thinp_pool *pool, const struct thinp_pool_opts *opts)
{
	const struct tp_thin_superblock *sb = &pool->live;
	uint64_t device_blocks;
	int r = thinp_io_size(pool->io, &device_blocks);

	if (r)
		return r;
	if (device_blocks < sb->metadata_sm.nr_blocks)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK,
			       "the pool has %" PRIu64 " metadata blocks, but the device ends after %" PRIu64,
			       sb->metadata_sm.nr_blocks, device_blocks);
	if (opts->nr_data_blocks && opts->nr_data_blocks < sb->data_sm.nr_blocks)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK,
			       "the pool has %" PRIu64 " data blocks, but the data device ends after %" PRIu64,
			       sb->data_sm.nr_blocks, opts->nr_data_blocks);
	if (opts->data_block_sectors && opts->data_block_sectors != sb->data_block_size)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "the pool has data blocks of %u sectors, not %u",
			       sb->data_block_size, opts->data_block_sectors);
	return 0;
}

int tp_thin_check_writable(struct thinp_pool *pool, const struct thinp_pool_opts *opts)
{
	const struct tp_thin_superblock *sb = &pool->live;

	if (sb->compat_ro_flags)
		return tp_fail(THINP_ENOTSUP, 0, "the pool has features that allow reading only: compat_ro %#x",
			       sb->compat_ro_flags);
	if (sb->version < 1 || sb->version > TP_THIN_VERSION)
		return tp_fail(THINP_ENOTSUP, 0, "a pool of version %u cannot be changed", sb->version);
	if (sb->flags & TP_THIN_FLAG_NEEDS_CHECK && !(opts->flags & THINP_POOL_IGNORE_NEEDS_CHECK))
		return tp_fail(THINP_ENEEDSCHECK, 0, "the pool asks for a check of its metadata");
	return check_sizes(pool, opts);
}

static int check_new(struct thinp_pool *pool, const struct thinp_pool_opts *opts)
{
	uint32_t sectors = opts->data_block_sectors ? opts->data_block_sectors : 128;

	if (sectors > 2097152 || sectors % 128)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a pool cannot have data blocks of %u sectors", sectors);
	if (opts->nr_data_blocks > TP_DATA_MAX_BLOCKS)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "a pool cannot count %" PRIu64 " data blocks",
			       opts->nr_data_blocks);
	pool->data_block_sectors = sectors;
	pool->nr_data_blocks = opts->nr_data_blocks;
	return 0;
}

int tp_thin_open_store(struct thinp_pool *pool, const struct thinp_pool_opts *opts, bool is_new)
{
	struct thinp_store_opts store_opts = {
		.size = sizeof(store_opts),
		.flags = (is_new ? THINP_STORE_CREATE : 0u) |
			 (opts->flags & THINP_POOL_QUEUE_ALWAYS ? THINP_STORE_QUEUE_ALWAYS : 0u) |
			 (opts->flags & THINP_POOL_LIVE ? THINP_STORE_LIVE : 0u),
		.cache_blocks = opts->cache_blocks,
		.nr_blocks = opts->nr_metadata_blocks,
		.allocator = &pool->allocator,
		.op_queue_policy = opts->op_queue_policy,
		.log = opts->log,
		.log_ctx = opts->log_ctx,
		.pre_commit = is_new ? NULL : opts->pre_commit,
		.pre_commit_ctx = opts->pre_commit_ctx,
		.view_limit_blocks = opts->view_limit_blocks,
	};
	int r = is_new ? check_new(pool, opts) : tp_thin_check_writable(pool, opts);

	tp_thin_make_types(pool);
	pool->flags = opts->flags;
	if (!r)
		r = tp_store_open(pool->io, &store_opts, &thin_format, pool, &pool->store);
	if (r)
		return r;
	tp_sm_set_memory_limit(tp_thin_data_map(pool), (uint64_t)(opts->counts_mib ? opts->counts_mib : COUNTS_MIB)
							       << 20);
	pool->store->opts.pre_commit = opts->pre_commit;
	tp_thin_superblock_unpack(pool->store->last->record, &pool->live);
	pool->shown = &pool->live;
	pool->bm = pool->store->bm;
	pool->reader = thinp_tm_reader(pool->store->tm);
	tp_sm_tell_later(pool->store->metadata);
	tp_thin_follow_change(pool);
	tp_thin_warn_of_excess(pool);
	return 0;
}

/* --- transactions ---------------------------------------------------------------------------------------------------- */

int tp_thin_check_not_read_only(const struct thinp_pool *pool)
{
	if (pool->store)
		return 0;
	return tp_fail(THINP_EROFS, THINP_NO_BLOCK, "the pool was opened for reading");
}

int thinp_pool_status(const struct thinp_pool *pool)
{
	int r = tp_thin_check_not_read_only(pool);

	if (r)
		return r;
	if (pool->store->state != TP_STORE_OPEN)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "no transaction is open");
	return thinp_tm_status(tp_thin_tm(pool));
}

int tp_thin_begin_change(struct thinp_pool *pool)
{
	int r = thinp_pool_status(pool);

	if (r)
		return r;
	tp_tm_enter(tp_thin_tm(pool));
	r = tp_sm_trim(tp_thin_data_map(pool), tp_thin_tm(pool));
	if (r)
		tp_tm_leave(tp_thin_tm(pool));
	return r;
}

int tp_thin_end_change(struct thinp_pool *pool, int r)
{
	tp_thin_follow_change(pool);
	tp_tm_leave(tp_thin_tm(pool));
	tp_sm_tell_now(pool->store->metadata);
	return r;
}

void tp_thin_begin_release(struct thinp_pool *pool)
{
	tp_tm_set_releasing(tp_thin_tm(pool), true);
}

int tp_thin_end_release(struct thinp_pool *pool, int r)
{
	tp_tm_set_releasing(tp_thin_tm(pool), false);
	return r;
}

int thinp_pool_begin(struct thinp_pool *pool)
{
	int r = tp_thin_check_not_read_only(pool);

	return r ? r : thinp_store_begin(pool->store);
}

/* The roots of trees are as they were; others may look before this. */
static void follow_commit(struct thinp_pool *pool, int r)
{
	tp_tm_enter(tp_thin_tm(pool));
	if (pool->store->state != TP_STORE_OPEN)
		tp_thin_forget_records(pool); /* also when nobody knows what has become of it */
	if (!r)
		tp_thin_superblock_unpack(pool->store->last->record, &pool->live);
	tp_tm_leave(tp_thin_tm(pool));
}

int thinp_pool_commit(struct thinp_pool *pool)
{
	int r = tp_thin_begin_change(pool);

	if (r)
		return r;
	r = tp_thin_end_change(pool, tp_thin_write_records(pool));
	if (!r)
		r = thinp_store_commit(pool->store); /* looks go on during the caller's hook */
	follow_commit(pool, r);
	return r;
}

int thinp_pool_abort(struct thinp_pool *pool)
{
	int r = tp_thin_check_not_read_only(pool);

	if (r)
		return r;
	tp_tm_enter(tp_thin_tm(pool));
	tp_thin_forget_records(pool);
	pool->is_measured = false;
	return tp_thin_end_change(pool, thinp_store_abort(pool->store));
}

/* --- what needs no tree ---------------------------------------------------------------------------------------------- */

int thinp_pool_set_transaction_id(struct thinp_pool *pool, uint64_t from, uint64_t to)
{
	int r = thinp_pool_status(pool);

	if (r)
		return r;
	if (pool->live.transaction_id != from)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "the transaction id is %" PRIu64 ", not %" PRIu64,
			       pool->live.transaction_id, from);
	tp_tm_enter(tp_thin_tm(pool));
	pool->live.transaction_id = to;
	return tp_thin_end_change(pool, 0);
}

int thinp_pool_set_needs_check(struct thinp_pool *pool, bool needs_check)
{
	int r = tp_thin_begin_change(pool);

	if (r)
		return r;
	pool->live.flags &= ~TP_THIN_FLAG_NEEDS_CHECK;
	if (needs_check)
		pool->live.flags |= TP_THIN_FLAG_NEEDS_CHECK;
	return tp_thin_end_change(pool, 0);
}

static int check_growable(const struct thinp_pool *pool)
{
	int r = thinp_pool_status(pool);

	if (!r && pool->live.flags & TP_THIN_FLAG_NEEDS_CHECK && !(pool->flags & THINP_POOL_IGNORE_NEEDS_CHECK))
		r = tp_fail(THINP_ENEEDSCHECK, 0, "the pool asks for a check of its metadata before it grows");
	return r;
}

int thinp_pool_grow_data(struct thinp_pool *pool, uint64_t nr_blocks)
{
	struct thinp_sm_info info = {.size = sizeof(info)};
	int r = check_growable(pool);

	if (r)
		return r;
	thinp_sm_get_info(tp_thin_data_map(pool), &info);
	if (nr_blocks < info.nr_blocks)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a pool has %" PRIu64 " data blocks, and cannot shrink",
			       info.nr_blocks);
	tp_tm_enter(tp_thin_tm(pool));
	return tp_thin_end_change(pool, thinp_sm_extend(tp_thin_data_map(pool), nr_blocks));
}

int thinp_pool_grow_metadata(struct thinp_pool *pool, uint64_t nr_blocks)
{
	int r = check_growable(pool);

	if (r)
		return r;
	tp_tm_enter(tp_thin_tm(pool));
	pool->is_measured = false;
	return tp_thin_end_change(pool, thinp_store_grow(pool->store, nr_blocks));
}

static int map_of(const struct thinp_pool *pool, int space, struct thinp_sm **sm)
{
	int r = tp_thin_check_not_read_only(pool);

	if (r)
		return r;
	if (space != THINP_POOL_DATA && space != THINP_POOL_METADATA)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a pool has no space map number %d", space);
	*sm = space == THINP_POOL_DATA ? tp_thin_data_map(pool) : pool->store->metadata;
	return 0;
}

int thinp_pool_set_threshold(struct thinp_pool *pool, int space, uint64_t threshold, thinp_sm_threshold_fn fn,
			     void *ctx)
{
	struct thinp_sm *sm = NULL;
	int r = map_of(pool, space, &sm);

	if (!r)
		thinp_sm_set_threshold(sm, threshold, fn, ctx);
	return r;
}
