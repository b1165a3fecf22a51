/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/change_devices.c - making and deleting devices.
 *
 * All that a change may take is asked for before its first step, so a failure behind that is one half way.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "thin/change.h"
#include "transaction/manager.h"

#include <inttypes.h>

static int put_root(struct thinp_pool *pool, uint64_t dev_id, thinp_block_t root)
{
	uint8_t value[8];

	tp_store_le64(value, root);
	return thinp_btree_insert(tp_thin_tm(pool), &pool->top, pool->live.mapping_root, &dev_id, value,
				  &pool->live.mapping_root, NULL);
}

/* Can a device of this id be made? */
static int check_new(struct thinp_pool *pool, uint64_t dev_id)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	struct thinp_error_info before = {.size = sizeof(before)};
	int r;

	if (dev_id > THINP_POOL_MAX_DEVICE)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "no device can have the id %" PRIu64, dev_id);
	thinp_error_last(&before);
	r = thinp_pool_get_device(pool, dev_id, &info);
	if (!r)
		return tp_fail(THINP_EEXIST, THINP_NO_BLOCK, "the pool has a device %" PRIu64, dev_id);
	if (r != THINP_ENODATA)
		return r;
	tp_error_restore(&before);
	return 0;
}

/* Is there room for an entry in both trees? */
static int reserve_entries(struct thinp_pool *pool, uint64_t dev_id, uint64_t nr_blocks)
{
	int r = tp_thin_add_insert_cost(pool, &pool->top, pool->live.mapping_root, &dev_id, &nr_blocks);

	if (!r)
		r = tp_thin_add_insert_cost(pool, &pool->details, pool->live.details_root, &dev_id, &nr_blocks);
	return r ? r : thinp_tm_reserve(tp_thin_tm(pool), nr_blocks, 0);
}

static int add_device(struct thinp_pool *pool, uint64_t dev_id, thinp_block_t root,
		      const struct tp_device_details *details)
{
	int r = put_root(pool, dev_id, root);

	pool->is_measured = false;
	if (!r)
		r = tp_thin_put_details(pool, dev_id, details);
	return tp_thin_half_way(pool, r);
}

static int create_device(struct thinp_pool *pool, uint64_t dev_id)
{
	struct tp_device_details details = {.transaction_id = pool->live.transaction_id,
					    .creation_time = pool->live.time,
					    .snapshotted_time = pool->live.time};
	thinp_block_t root;
	int r = check_new(pool, dev_id);

	if (!r)
		r = reserve_entries(pool, dev_id, 1);
	if (!r)
		r = thinp_btree_create(tp_thin_tm(pool), &pool->device, &root);
	return r ? r : add_device(pool, dev_id, root, &details);
}

int thinp_pool_create_device(struct thinp_pool *pool, uint64_t dev_id)
{
	int r = tp_thin_begin_change(pool);

	return r ? r : tp_thin_end_change(pool, create_device(pool, dev_id));
}

/* --- snapshots ------------------------------------------------------------------------------------------------------- */

static int check_clock(const struct thinp_pool *pool)
{
	if (pool->live.time < TP_THIN_MAX_TIME)
		return 0;
	return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "the snapshot clock has stopped at %" PRIu32, TP_THIN_MAX_TIME);
}

/* Gives the root of the origin a second owner; nothing is changed when there might be no room for what follows. */
static int share_root(struct thinp_pool *pool, uint64_t dev_id, thinp_block_t root)
{
	struct thinp_tm *tm = tp_thin_tm(pool);
	int r = reserve_entries(pool, dev_id, tp_sm_raise_cost(pool->store->metadata, 0, 1, 0));

	return r ? r : thinp_tm_inc(tm, root, 1, THINP_CAUSE_USER);
}

static int create_snapshot(struct thinp_pool *pool, uint64_t dev_id, uint64_t origin_id)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	struct tp_device_record *origin;
	struct tp_device_details details;
	int r = check_new(pool, dev_id);

	if (!r)
		r = thinp_pool_get_device(pool, origin_id, &info);
	if (!r)
		r = check_clock(pool);
	if (!r)
		r = tp_thin_get_record(pool, origin_id, 0, &origin);
	if (!r)
		r = share_root(pool, dev_id, info.mapping_root);
	if (r)
		return r;
	details = (struct tp_device_details){.mapped_blocks = origin->details.mapped_blocks,
					     .transaction_id = pool->live.transaction_id,
					     .creation_time = pool->live.time + 1,
					     .snapshotted_time = pool->live.time + 1};
	r = add_device(pool, dev_id, info.mapping_root, &details);
	if (r)
		return r;
	pool->live.time++;
	origin->details.snapshotted_time = pool->live.time;
	origin->is_dirty = true;
	return 0;
}

int thinp_pool_create_snapshot(struct thinp_pool *pool, uint64_t dev_id, uint64_t origin_id)
{
	int r = tp_thin_begin_change(pool);

	return r ? r : tp_thin_end_change(pool, create_snapshot(pool, dev_id, origin_id));
}

/* --- deleting -------------------------------------------------------------------------------------------------------- */

/* What is copied while others own it, too, is not given back by this change: room for releasing the metadata snapshot is
 * left. */
static int reserve_removal(struct thinp_pool *pool, uint64_t dev_id)
{
	uint64_t nr_blocks = pool->live.held_root ? pool->nr_release : 0;
	int r = tp_thin_add_remove_cost(pool, &pool->top, pool->live.mapping_root, dev_id, &nr_blocks);

	if (!r)
		r = tp_thin_add_remove_cost(pool, &pool->details, pool->live.details_root, dev_id, &nr_blocks);
	return r ? r : thinp_tm_reserve(tp_thin_tm(pool), nr_blocks, THINP_RESERVE_RELEASE);
}

static int remove_entries(struct thinp_pool *pool, uint64_t dev_id)
{
	struct thinp_tm *tm = tp_thin_tm(pool);
	int r;

	pool->is_measured = false;
	tp_thin_begin_release(pool);
	r = thinp_btree_remove(tm, &pool->top, pool->live.mapping_root, &dev_id, &pool->live.mapping_root);
	if (!r)
		r = thinp_btree_remove(tm, &pool->details, pool->live.details_root, &dev_id, &pool->live.details_root);
	return tp_thin_end_release(pool, tp_thin_half_way(pool, r));
}

/* The entries go first: a leaf that the metadata snapshot shares is copied then, and so each root has all its owners
 * before one of them goes. When there is no room for the tree, they come back. */
int tp_thin_delete(struct thinp_pool *pool, const struct thinp_device_info *info)
{
	struct thinp_tm *tm = tp_thin_tm(pool);
	const struct tp_device_details details = {.mapped_blocks = info->mapped_blocks,
						  .transaction_id = info->transaction_id,
						  .creation_time = info->creation_time,
						  .snapshotted_time = info->snapshotted_time};
	int back;
	int r = reserve_removal(pool, info->dev_id);

	if (!r)
		r = remove_entries(pool, info->dev_id);
	if (r)
		return r;
	tp_thin_forget_record(pool, info->dev_id);
	r = thinp_btree_del(tm, &pool->device, info->mapping_root);
	if (!tp_thin_is_only_room(pool, r))
		return tp_thin_half_way(pool, r);
	tp_thin_begin_release(pool);
	back = tp_thin_end_release(pool, add_device(pool, info->dev_id, info->mapping_root, &details));
	return back ? back : r;
}

int thinp_pool_delete_device(struct thinp_pool *pool, uint64_t dev_id)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	int r = thinp_pool_status(pool);

	if (!r)
		r = thinp_pool_get_device(pool, dev_id, &info);
	if (!r)
		r = tp_thin_begin_change(pool);
	return r ? r : tp_thin_end_change(pool, tp_thin_delete(pool, &info));
}
