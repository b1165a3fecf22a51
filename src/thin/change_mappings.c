/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/change_mappings.c - mapping and unmapping blocks.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "thin/change.h"
#include "transaction/manager.h"

#include <inttypes.h>

enum { BATCH = 256 };

/* A mapping takes over a reference: there must be one. */
static int check_data_blocks(const struct thinp_pool *pool, uint64_t first, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++) {
		uint32_t count;
		int r = thinp_sm_count(tp_thin_data_map(pool), first + i, &count);

		if (r)
			return r;
		if (!count)
			return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "data block %" PRIu64 " is free", first + i);
	}
	return 0;
}

static int insert(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_block, uint64_t data_block)
{
	const struct tp_mapping mapping = {.data_block = data_block, .time = pool->live.time};
	const uint64_t keys[] = {dev_id, virtual_block};
	struct tp_device_record *record;
	uint8_t value[TP_MAPPING_SIZE];
	bool is_new;
	int r = check_data_blocks(pool, data_block, 1);

	if (!r)
		r = tp_mapping_pack(&mapping, value);
	if (!r)
		r = tp_thin_get_record(pool, dev_id, 0, &record);
	if (!r)
		r = thinp_btree_insert(tp_thin_tm(pool), &pool->mappings, pool->live.mapping_root, keys, value,
				       &pool->live.mapping_root, &is_new);
	if (r)
		return r;
	record->details.mapped_blocks += is_new;
	record->is_dirty |= is_new;
	return 0;
}

int thinp_pool_insert(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_block, uint64_t data_block)
{
	int r = tp_thin_begin_change(pool);

	return r ? r : tp_thin_end_change(pool, insert(pool, dev_id, virtual_block, data_block));
}

/* --- runs ------------------------------------------------------------------------------------------------------------ */

struct run {
	uint64_t dev_id, virtual_begin, data_begin;
	uint64_t nr;
};

static int insert_batch(struct thinp_pool *pool, const struct run *run, uint64_t *nr_inserted)
{
	uint64_t keys[2 * BATCH];
	uint8_t values[TP_MAPPING_SIZE * BATCH];

	for (uint64_t i = 0; i < run->nr; i++) {
		keys[2 * i] = run->dev_id;
		keys[2 * i + 1] = run->virtual_begin + i;
		tp_store_le64(values + TP_MAPPING_SIZE * i, (run->data_begin + i) << 24 | pool->live.time);
	}
	return thinp_btree_insert_many(tp_thin_tm(pool), &pool->mappings, pool->live.mapping_root, keys, values,
				       (size_t)run->nr, &pool->live.mapping_root, nr_inserted);
}

static int insert_some(struct thinp_pool *pool, const struct run *run)
{
	struct tp_device_record *record;
	uint64_t nr_inserted;
	int r = check_data_blocks(pool, run->data_begin, run->nr);

	if (!r)
		r = tp_thin_get_record(pool, run->dev_id, 0, &record);
	if (!r)
		r = insert_batch(pool, run, &nr_inserted);
	if (r)
		return r;
	record->details.mapped_blocks += nr_inserted;
	record->is_dirty |= nr_inserted > 0;
	return 0;
}

static int check_run(const struct thinp_pool *pool, uint64_t virtual_begin, uint64_t data_begin, uint64_t length)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	if (!length || length - 1 > UINT64_MAX - virtual_begin)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a run of %" PRIu64 " blocks", length);
	thinp_sm_get_info(tp_thin_data_map(pool), &info);
	if (data_begin >= info.nr_blocks || length > info.nr_blocks - data_begin)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "the pool has %" PRIu64 " data blocks", info.nr_blocks);
	return check_data_blocks(pool, data_begin, length);
}

/* The rest of a run; a batch that finds no room ends it. */
static int insert_all(struct thinp_pool *pool, struct run run, uint64_t length, uint64_t *nr_done)
{
	struct thinp_error_info before = {.size = sizeof(before)};

	thinp_error_last(&before);
	for (uint64_t done = 0; done < length; done += run.nr) {
		int r;

		run.nr = length - done < BATCH ? length - done : BATCH;
		r = insert_some(pool, &run);
		if (r && (!done || !tp_thin_is_only_room(pool, r)))
			return done ? tp_thin_half_way(pool, r) : r;
		if (r) {
			tp_error_restore(&before);
			return 0;
		}
		*nr_done = done + run.nr;
		run.virtual_begin += run.nr;
		run.data_begin += run.nr;
	}
	return 0;
}

int thinp_pool_insert_run(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_begin, uint64_t data_begin,
			  uint64_t length, uint64_t *nr_done)
{
	const struct run run = {.dev_id = dev_id, .virtual_begin = virtual_begin, .data_begin = data_begin};
	uint64_t done = 0;
	int r = tp_thin_begin_change(pool);

	if (r)
		return r;
	r = check_run(pool, virtual_begin, data_begin, length);
	if (!r)
		r = insert_all(pool, run, length, &done);
	if (!r)
		*nr_done = done;
	return tp_thin_end_change(pool, r);
}

/* --- unmapping ------------------------------------------------------------------------------------------------------- */

int thinp_pool_remove_range(struct thinp_pool *pool, uint64_t dev_id, uint64_t first_virtual, uint64_t last_virtual,
			    uint32_t max_leaves, uint64_t *out_nr_removed, bool *out_is_complete)
{
	const struct tp_thin_part part = {.first = first_virtual, .last = last_virtual, .max_leaves = max_leaves};
	uint64_t nr_removed;
	bool is_complete;
	int r = tp_thin_begin_change(pool);

	if (r)
		return r;
	r = tp_thin_end_change(pool, tp_thin_remove_mappings(pool, dev_id, &part, &nr_removed, &is_complete));
	if (r)
		return r;
	if (out_nr_removed)
		*out_nr_removed = nr_removed;
	if (out_is_complete)
		*out_is_complete = is_complete;
	return 0;
}

int thinp_pool_remove(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_block)
{
	uint64_t nr_removed;
	int r = thinp_pool_remove_range(pool, dev_id, virtual_block, virtual_block, 0, &nr_removed, NULL);

	if (!r && !nr_removed)
		r = tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "block %" PRIu64 " of device %" PRIu64 " is not mapped",
			    virtual_block, dev_id);
	return r;
}

/* --- data blocks ----------------------------------------------------------------------------------------------------- */

/* Bitmaps that neighbouring blocks are in, at most. */
static uint64_t nr_bitmaps(uint64_t nr_blocks)
{
	return nr_blocks / TP_BITMAP_NR_ENTRIES + 2;
}

int thinp_pool_alloc_data(struct thinp_pool *pool, uint64_t nr_blocks, uint64_t *first, uint64_t *nr_taken)
{
	struct thinp_sm *data;
	int r = tp_thin_begin_change(pool);

	if (r)
		return r;
	data = tp_thin_data_map(pool);
	r = thinp_tm_reserve(tp_thin_tm(pool), tp_sm_more_cost(data, nr_bitmaps(nr_blocks), 0, 0), 0);
	if (!r)
		r = thinp_sm_take(data, nr_blocks, first, nr_taken);
	return tp_thin_end_change(pool, r);
}

int thinp_pool_inc_data(struct thinp_pool *pool, uint64_t first, uint64_t nr_blocks)
{
	int r = tp_thin_begin_change(pool);

	if (r)
		return r;
	r = tp_thin_reserve_raise(pool, first, nr_blocks);
	if (!r)
		r = thinp_sm_inc(tp_thin_data_map(pool), first, nr_blocks);
	return tp_thin_end_change(pool, r);
}

int thinp_pool_dec_data(struct thinp_pool *pool, uint64_t first, uint64_t nr_blocks)
{
	int r = tp_thin_begin_change(pool);

	return r ? r : tp_thin_end_change(pool, thinp_sm_dec(tp_thin_data_map(pool), first, nr_blocks));
}
