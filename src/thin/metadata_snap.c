/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/metadata_snap.c - making and dropping the metadata snapshot: a copy of the superblock that owns a reference to both
 * trees as they are in the open transaction.
 */
#include "base/error.h"
#include "thin/change.h"
#include "transaction/manager.h"

#include <inttypes.h>
#include <string.h>

static int write_copy(struct thinp_pool *pool, thinp_block_t *block)
{
	struct tp_thin_superblock copy = pool->live;
	struct thinp_tm *tm = tp_thin_tm(pool);
	struct thinp_buffer *buffer;
	void *data;
	int r = thinp_tm_new_block(tm, thinp_block_type_thin_superblock(), THINP_CAUSE_NEW, block, &buffer, &data);

	if (r)
		return r;
	copy.block = *block;
	copy.held_root = 0;
	memset(&copy.data_sm, 0, sizeof(copy.data_sm));
	memset(copy.data_sm_tail, 0, sizeof(copy.data_sm_tail));
	memset(&copy.metadata_sm, 0, sizeof(copy.metadata_sm));
	memset(copy.metadata_sm_tail, 0, sizeof(copy.metadata_sm_tail));
	memcpy(data, pool->store->last->record, THINP_BLOCK_SIZE);
	tp_thin_superblock_pack(&copy, data);
	thinp_tm_unlock(tm, buffer);
	return 0;
}

/* From now on the records are not those of the details tree alone. */
static int share_trees(struct thinp_pool *pool)
{
	struct thinp_tm *tm = tp_thin_tm(pool);
	int r = tp_thin_write_records(pool);

	pool->is_holding = true; /* from now on more is kept back */
	pool->is_measured = false;
	if (!r)
		r = tp_thin_measure_release(pool);
	if (r)
		return r;
	r = thinp_tm_reserve(tm, 1 + tp_sm_raise_cost(pool->store->metadata, 0, 2, 0), 0);
	if (!r)
		r = thinp_tm_inc(tm, pool->live.mapping_root, 1, THINP_CAUSE_USER);
	if (r)
		return r;
	tp_thin_forget_records(pool);
	return tp_thin_half_way(pool, thinp_tm_inc(tm, pool->live.details_root, 1, THINP_CAUSE_USER));
}

static int hold(struct thinp_pool *pool)
{
	thinp_block_t block;
	int r;

	if (pool->live.held_root)
		return tp_fail(THINP_EBUSY, pool->live.held_root, "there is a metadata snapshot");
	r = share_trees(pool);
	pool->is_holding = false;
	if (r)
		return r;
	r = write_copy(pool, &block);
	if (r)
		return tp_thin_half_way(pool, r);
	pool->live.held_root = block;
	return 0;
}

int thinp_pool_reserve_metadata_snap(struct thinp_pool *pool)
{
	int r = tp_thin_begin_change(pool);

	return r ? r : tp_thin_end_change(pool, hold(pool));
}

static int read_copy(struct thinp_pool *pool, struct tp_thin_superblock *copy)
{
	struct thinp_read_section section;
	const void *data;
	int r;

	thinp_read_begin(pool->reader, &section);
	r = thinp_read_block(&section, pool->live.held_root, thinp_block_type_thin_superblock(), &data);
	if (!r)
		tp_thin_superblock_unpack(data, copy);
	thinp_read_end(&section);
	return r ? r : tp_thin_superblock_check_snap_roots(copy, thinp_reader_nr_blocks(pool->reader));
}

int tp_thin_read_held(struct thinp_pool *pool, struct tp_thin_superblock *copy)
{
	int r = thinp_pool_status(pool);

	if (r)
		return r;
	if (!pool->live.held_root)
		return tp_fail(THINP_ENOENT, THINP_NO_BLOCK, "the pool has no metadata snapshot");
	return read_copy(pool, copy);
}

int tp_thin_drop_held(struct thinp_pool *pool, const struct tp_thin_superblock *copy)
{
	struct thinp_tm *tm = tp_thin_tm(pool);
	int r = thinp_btree_del(tm, &pool->mappings, copy->mapping_root);

	if (r)
		return r;
	pool->is_measured = false;
	r = thinp_btree_del(tm, &pool->details, copy->details_root);
	if (!r)
		r = thinp_tm_dec(tm, pool->live.held_root, 1, THINP_CAUSE_FREE);
	if (!r)
		pool->live.held_root = 0;
	return tp_thin_half_way(pool, r);
}

int thinp_pool_release_metadata_snap(struct thinp_pool *pool)
{
	struct tp_thin_superblock copy;
	int r = tp_thin_read_held(pool, &copy);

	if (!r)
		r = tp_thin_begin_change(pool);
	return r ? r : tp_thin_end_change(pool, tp_thin_drop_held(pool, &copy));
}
