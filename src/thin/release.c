/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/release.c - dropping the metadata snapshot bit by bit.
 *
 * Each step leaves a metadata snapshot of fewer mappings or devices: it is changed as the pool is. First all that will be
 * written is copied, so that what has begun can be written down without taking a block more.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "base/opts.h"
#include "thin/change.h"

#include <thinp/pool_space.h>

/* The metadata snapshot while it is changed. */
struct held {
	struct thinp_pool *pool;
	struct tp_thin_superblock copy;
	uint64_t dev_id; /* the first device that is left */
	thinp_block_t tree;
	struct tp_device_details details;
	uint64_t nr_removed;
	bool is_written; /* the block of the copy is one of this transaction */
	bool is_complete;
};

/* Writes the roots down; the first time the block is copied. */
static int write_copy(struct held *held)
{
	struct thinp_tm *tm = tp_thin_tm(held->pool);
	struct thinp_buffer *buffer;
	bool inc_children;
	thinp_block_t block;
	void *data;
	int r = thinp_tm_shadow_block(tm, held->pool->live.held_root, thinp_block_type_thin_superblock(),
				      THINP_CAUSE_SHADOW, &block, &buffer, &data, &inc_children);

	if (r)
		return r;
	held->copy.block = block;
	tp_thin_superblock_pack(&held->copy, data);
	thinp_tm_unlock(tm, buffer);
	held->pool->live.held_root = block;
	held->is_written = true;
	return 0;
}

static int put_details(struct held *held)
{
	struct thinp_pool *pool = held->pool;
	uint8_t value[TP_DETAILS_SIZE];

	tp_device_details_pack(&held->details, value);
	return thinp_btree_insert(tp_thin_tm(pool), &pool->details, held->copy.details_root, &held->dev_id, value,
				  &held->copy.details_root, NULL);
}

/* From now on the block of the copy and the details of the device can be written in place. */
static int copy_what_changes(struct held *held)
{
	struct thinp_pool *pool = held->pool;
	uint64_t nr_blocks = 1;
	uint8_t value[TP_DETAILS_SIZE];
	int r = thinp_btree_lookup(pool->reader, &tp_thin_details_type, held->copy.details_root, &held->dev_id, value);

	if (r == THINP_ENODATA)
		return tp_fail(THINP_ECORRUPT, held->copy.details_root,
			       "metadata snapshot: a device has mappings, but no details");
	if (!r)
		r = tp_thin_add_insert_cost(pool, &pool->details, held->copy.details_root, &held->dev_id, &nr_blocks);
	if (!r)
		r = thinp_tm_reserve(tp_thin_tm(pool), nr_blocks, THINP_RESERVE_RELEASE);
	if (r)
		return r;
	tp_device_details_unpack(value, &held->details);
	r = write_copy(held);
	if (r)
		return r;
	tp_thin_begin_release(pool);
	return tp_thin_end_release(pool, put_details(held));
}

/* Both entries go, and with them the tree, when nobody else owns it. */
static int drop_device(struct held *held)
{
	struct thinp_pool *pool = held->pool;
	struct thinp_tm *tm = tp_thin_tm(pool);
	uint64_t nr_blocks = 0;
	int r = tp_thin_add_remove_cost(pool, &pool->top, held->copy.mapping_root, held->dev_id, &nr_blocks);

	if (!r)
		r = tp_thin_add_remove_cost(pool, &pool->details, held->copy.details_root, held->dev_id, &nr_blocks);
	if (!r)
		r = thinp_tm_reserve(tm, nr_blocks, THINP_RESERVE_RELEASE);
	if (r)
		return r;
	tp_thin_begin_release(pool);
	r = thinp_btree_remove(tm, &pool->top, held->copy.mapping_root, &held->dev_id, &held->copy.mapping_root);
	if (!r)
		r = thinp_btree_remove(tm, &pool->details, held->copy.details_root, &held->dev_id,
				       &held->copy.details_root);
	r = tp_thin_end_release(pool, r);
	if (!r)
		r = thinp_btree_del(tm, &pool->device, held->tree);
	return tp_thin_half_way(pool, r);
}

static int find_tree(struct held *held)
{
	uint8_t value[8];
	int r = thinp_btree_lookup(held->pool->reader, &tp_thin_roots_type, held->copy.mapping_root, &held->dev_id,
				   value);

	if (!r)
		held->tree = tp_load_le64(value);
	return r;
}

static int shrink_device(struct held *held, uint32_t max_leaves)
{
	const struct tp_thin_part part = {
		.last = UINT64_MAX, .max_leaves = max_leaves, .is_step = true, .is_deletion = true};
	struct thinp_error_info before = {.size = sizeof(before)};
	uint32_t nr_owners = 0;
	bool is_empty = true;
	int r = tp_thin_count_owners(held->pool, &held->copy.mapping_root, held->dev_id, &held->tree, &nr_owners);

	if (r)
		return r;
	if (nr_owners > 1) {
		r = drop_device(held);
		held->nr_removed = r ? 0 : held->details.mapped_blocks;
		return r;
	}
	r = tp_thin_remove_part(held->pool, &held->copy.mapping_root, held->dev_id, &part, &held->nr_removed,
				&is_empty);
	if (r)
		return r;
	held->details.mapped_blocks -= held->nr_removed;
	r = tp_thin_half_way(held->pool, put_details(held));
	if (r || !is_empty)
		return r;
	thinp_error_last(&before);
	r = find_tree(held);
	if (!r)
		r = drop_device(held);
	return tp_thin_settle(held->pool, r, &before); /* the next step finds an empty device */
}

/* What has been done is written down even if there was no room to go on. */
static int shrink(struct held *held, uint32_t max_leaves)
{
	int r = copy_what_changes(held);
	int w;

	if (!r)
		r = shrink_device(held, max_leaves);
	if (tp_thin_is_marked(held->pool) || !held->is_written)
		return r;
	w = tp_thin_half_way(held->pool, write_copy(held));
	return w ? w : r;
}

/* All that is left at once. *is_done false: there is no room for that, and nothing was changed. */
static int drop_all(struct held *held, bool *is_done)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r;

	thinp_error_last(&before);
	r = tp_thin_drop_held(held->pool, &held->copy);
	*is_done = !r;
	if (!tp_thin_is_only_room(held->pool, r))
		return r;
	tp_error_restore(&before);
	return 0;
}

/* *is_empty: no device is left. */
static int find_device(struct held *held, bool *is_empty)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r;

	thinp_error_last(&before);
	r = thinp_btree_first(held->pool->reader, &tp_thin_roots_type, held->copy.mapping_root, &held->dev_id, NULL);
	*is_empty = r == THINP_ENODATA;
	if (!*is_empty)
		return r;
	tp_error_restore(&before);
	return 0;
}

static int release(struct held *held, uint32_t max_leaves)
{
	uint32_t nr_owners = 0;
	bool is_empty = false;
	int r = thinp_tm_count(tp_thin_tm(held->pool), held->copy.mapping_root, &nr_owners);

	if (!r)
		r = find_device(held, &is_empty);
	if (!r && (!max_leaves || nr_owners > 1 || is_empty))
		r = drop_all(held, &held->is_complete);
	if (r || held->is_complete)
		return r;
	return is_empty ? tp_thin_drop_held(held->pool, &held->copy) : shrink(held, max_leaves);
}

int thinp_pool_release_step(struct thinp_pool *pool, uint32_t max_leaves, struct thinp_pool_step *step)
{
	struct held held = {.pool = pool};
	struct thinp_pool_step now = {.size = sizeof(now)};
	int r = tp_thin_read_held(pool, &held.copy);

	if (!r)
		r = tp_thin_begin_change(pool);
	if (r)
		return r;
	r = tp_thin_end_change(pool, release(&held, max_leaves));
	if (r)
		return r;
	now.nr_removed = held.nr_removed;
	now.is_complete = held.is_complete;
	tp_result_give(step, &now, sizeof(now));
	return 0;
}
