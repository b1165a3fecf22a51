/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/fix.c - putting right what a check found, and watching what is done to counts.
 */
#include "thin/fix.h"

#include "base/error.h"
#include "thin/change.h"

int tp_pool_check_idle(const struct thinp_pool *pool)
{
	if (!pool->store)
		return tp_fail(THINP_EROFS, THINP_NO_BLOCK, "the pool was opened for reading");
	if (pool->store->state == TP_STORE_OPEN)
		return tp_fail(THINP_EBUSY, THINP_NO_BLOCK, "a transaction is open");
	return 0;
}

static struct thinp_sm *map_of(const struct thinp_pool *pool, int space)
{
	return space == THINP_POOL_DATA ? tp_thin_data_map(pool) : pool->store->metadata;
}

int tp_pool_set_nr_used(struct thinp_pool *pool, int space, uint64_t nr_used)
{
	int r = tp_thin_begin_change(pool);

	if (r)
		return r;
	tp_sm_set_nr_used(map_of(pool, space), nr_used);
	return tp_thin_end_change(pool, 0);
}

int tp_pool_write_bitmap(struct thinp_pool *pool, int space, uint64_t bitmap)
{
	int r = tp_thin_begin_change(pool);

	return r ? r : tp_thin_end_change(pool, tp_sm_write_anew(map_of(pool, space), bitmap));
}

int tp_pool_lower_counts(struct thinp_pool *pool, int space, uint64_t first, uint64_t nr_blocks, uint32_t from,
			 uint32_t to)
{
	int r = tp_thin_begin_change(pool);

	return r ? r : tp_thin_end_change(pool, tp_sm_lower(map_of(pool, space), first, nr_blocks, from, to));
}

int tp_pool_set_mapped_blocks(struct thinp_pool *pool, uint64_t dev_id, uint64_t mapped_blocks)
{
	struct tp_device_record *record;
	int r = tp_thin_begin_change(pool);

	if (r)
		return r;
	r = tp_thin_get_record(pool, dev_id, 0, &record);
	if (!r) {
		record->details.mapped_blocks = mapped_blocks;
		record->is_dirty = true;
	}
	return tp_thin_end_change(pool, r);
}

int thinp_pool_set_trace(struct thinp_pool *pool, int space, thinp_op_trace_fn fn, void *ctx)
{
	if (!pool->store)
		return tp_fail(THINP_EROFS, THINP_NO_BLOCK, "the pool was opened for reading");
	if (space != THINP_POOL_DATA && space != THINP_POOL_METADATA)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a pool has no space map number %d", space);
	thinp_sm_set_trace(map_of(pool, space), fn, ctx);
	return 0;
}
