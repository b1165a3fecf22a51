/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/steps.c - giving space back bit by bit.
 *
 * A step tries much at first, and then less and less, down to one leaf: when there is no room nothing has been changed.
 *
 * A tree that others own, too, is never taken apart: that would copy it. Its entry goes as a whole. Who owns a tree is told
 * by its count only when the leaf that refers to it is not shared itself; so that leaf is copied first.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "base/opts.h"
#include "btree/prune.h"
#include "thin/change.h"

#include <thinp/pool_space.h>

enum { MOST_LEAVES = 4096, LESS_EACH_TIME = 8 };

static void give(struct thinp_pool_step *step, uint64_t nr_removed, bool is_complete)
{
	const struct thinp_pool_step now = {.size = sizeof(now), .nr_removed = nr_removed, .is_complete = is_complete};

	tp_result_give(step, &now, sizeof(now));
}

/* --- mappings -------------------------------------------------------------------------------------------------------- */

static int prune(struct thinp_pool *pool, thinp_block_t *root, uint64_t dev_id, uint64_t *nr_removed, bool *is_complete)
{
	struct tp_pruned pruned;
	int r = tp_btree_prune(tp_thin_tm(pool), &pool->mappings, *root, &dev_id, root, &pruned);

	if (r)
		return r;
	*nr_removed = pruned.nr_entries;
	*is_complete = pruned.is_empty;
	return 0;
}

int tp_thin_remove_part(struct thinp_pool *pool, thinp_block_t *root, uint64_t dev_id, const struct tp_thin_part *part,
			uint64_t *nr_removed, bool *is_complete)
{
	const uint64_t first_keys[] = {dev_id, part->first};
	const uint64_t last_keys[] = {dev_id, part->last};
	struct thinp_error_info before = {.size = sizeof(before)};
	uint32_t nr_leaves = part->max_leaves;
	int r;

	thinp_error_last(&before);
	for (;;) {
		if (part->is_deletion && nr_leaves == 1)
			r = prune(pool, root, dev_id, nr_removed, is_complete);
		else
			r = thinp_btree_remove_range(tp_thin_tm(pool), &pool->mappings, *root, first_keys, last_keys,
						     nr_leaves, root, nr_removed, is_complete);
		if (!part->is_step || !tp_thin_is_only_room(pool, r) || nr_leaves == 1)
			break;
		nr_leaves = nr_leaves ? nr_leaves / LESS_EACH_TIME : MOST_LEAVES;
		nr_leaves += !nr_leaves;
	}
	if (!r)
		tp_error_restore(&before);
	return r;
}

/* Is there anything to be removed? What has been changed already is not looked at before: the removal finds out. */
static int look_for_any(struct thinp_pool *pool, uint64_t dev_id, const struct tp_thin_part *part, bool *is_there)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	uint64_t keys[] = {dev_id, part->first};
	int r;

	*is_there = tp_thin_find_record(pool, dev_id);
	if (*is_there)
		return 0;
	thinp_error_last(&before);
	r = thinp_btree_lookup_ge(pool->reader, &tp_thin_tree_type, pool->live.mapping_root, keys, keys, NULL);
	*is_there = !r && keys[0] == dev_id && keys[1] <= part->last;
	if (r != THINP_ENODATA)
		return r;
	tp_error_restore(&before);
	return 0;
}

/* Where nothing is removed, nothing is changed: the next commit may have nothing to write. */
static int remove_nothing(struct thinp_pool *pool, uint64_t dev_id, uint64_t *nr_removed, bool *is_complete)
{
	struct thinp_device_info info = {.size = sizeof(info)};

	*nr_removed = 0;
	*is_complete = true;
	return thinp_pool_get_device(pool, dev_id, &info);
}

int tp_thin_remove_mappings(struct thinp_pool *pool, uint64_t dev_id, const struct tp_thin_part *part,
			    uint64_t *nr_removed, bool *is_complete)
{
	struct tp_device_record *record;
	bool is_there;
	int r = look_for_any(pool, dev_id, part, &is_there);

	if (r || !is_there)
		return r ? r : remove_nothing(pool, dev_id, nr_removed, is_complete);
	r = tp_thin_get_record(pool, dev_id, THINP_RESERVE_RELEASE, &record);
	if (!r)
		r = tp_thin_remove_part(pool, &pool->live.mapping_root, dev_id, part, nr_removed, is_complete);
	if (r)
		return r;
	record->details.mapped_blocks -= *nr_removed;
	record->is_dirty |= *nr_removed > 0;
	return 0;
}

int thinp_pool_remove_step(struct thinp_pool *pool, uint64_t dev_id, uint64_t first_virtual, uint64_t last_virtual,
			   uint32_t max_leaves, struct thinp_pool_step *step)
{
	const struct tp_thin_part part = {
		.first = first_virtual, .last = last_virtual, .max_leaves = max_leaves, .is_step = true};
	uint64_t nr_removed;
	bool is_complete;
	int r = tp_thin_begin_change(pool);

	if (r)
		return r;
	r = tp_thin_end_change(pool, tp_thin_remove_mappings(pool, dev_id, &part, &nr_removed, &is_complete));
	if (!r)
		give(step, nr_removed, is_complete);
	return r;
}

int tp_thin_settle(const struct thinp_pool *pool, int r, const struct thinp_error_info *before)
{
	if (!r || tp_thin_is_marked(pool))
		return r;
	tp_error_restore(before);
	return 0;
}

/* --- a device -------------------------------------------------------------------------------------------------------- */

int tp_thin_count_owners(struct thinp_pool *pool, thinp_block_t *root, uint64_t dev_id, thinp_block_t *tree,
			 uint32_t *count)
{
	struct thinp_tm *tm = tp_thin_tm(pool);
	uint64_t nr_blocks = 0;
	uint8_t value[8];
	int r = thinp_btree_lookup(pool->reader, &tp_thin_roots_type, *root, &dev_id, value);

	if (!r)
		r = tp_thin_add_insert_cost(pool, &pool->top, *root, &dev_id, &nr_blocks);
	if (!r)
		r = thinp_tm_reserve(tm, nr_blocks, THINP_RESERVE_RELEASE);
	if (r)
		return r;
	tp_thin_begin_release(pool);
	r = tp_thin_end_release(pool, thinp_btree_insert(tm, &pool->top, *root, &dev_id, value, root, NULL));
	if (r)
		return r;
	*tree = tp_load_le64(value);
	return thinp_tm_count(tm, *tree, count);
}

/* The whole device at once. *is_done false: there is no room for that, and nothing was changed. */
static int delete_whole(struct thinp_pool *pool, const struct thinp_device_info *info, bool *is_done)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r;

	thinp_error_last(&before);
	r = tp_thin_delete(pool, info);
	*is_done = !r;
	if (!tp_thin_is_only_room(pool, r))
		return r;
	tp_error_restore(&before);
	return 0;
}

static int delete_part(struct thinp_pool *pool, const struct thinp_device_info *info, uint32_t max_leaves,
		       uint64_t *nr_removed, bool *is_done)
{
	const struct tp_thin_part part = {.last = UINT64_MAX,
					  .max_leaves = max_leaves ? max_leaves : MOST_LEAVES,
					  .is_step = true,
					  .is_deletion = true};
	struct thinp_device_info rest = *info;
	struct thinp_error_info before = {.size = sizeof(before)};
	bool is_empty;
	int r = tp_thin_remove_mappings(pool, info->dev_id, &part, nr_removed, &is_empty);

	if (r || !is_empty)
		return r;
	thinp_error_last(&before);
	r = thinp_pool_get_device(pool, info->dev_id, &rest);
	if (!r)
		r = delete_whole(pool, &rest, is_done);
	return tp_thin_settle(pool, r, &before);
}

static int delete_some(struct thinp_pool *pool, const struct thinp_device_info *info, uint32_t max_leaves,
		       uint64_t *nr_removed, bool *is_done)
{
	uint32_t nr_owners = 0;
	thinp_block_t tree;
	int r = tp_thin_count_owners(pool, &pool->live.mapping_root, info->dev_id, &tree, &nr_owners);

	*nr_removed = info->mapped_blocks;
	*is_done = false;
	if (!r && nr_owners > 1) {
		r = tp_thin_delete(pool, info); /* there is nothing less */
		*is_done = !r;
		return r;
	}
	if (!r && !max_leaves)
		r = delete_whole(pool, info, is_done);
	if (r || *is_done)
		return r;
	return delete_part(pool, info, max_leaves, nr_removed, is_done);
}

int thinp_pool_delete_step(struct thinp_pool *pool, uint64_t dev_id, uint32_t max_leaves, struct thinp_pool_step *step)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	uint64_t nr_removed;
	bool is_done;
	int r = thinp_pool_status(pool);

	if (!r)
		r = thinp_pool_get_device(pool, dev_id, &info);
	if (!r)
		r = tp_thin_begin_change(pool);
	if (r)
		return r;
	r = tp_thin_end_change(pool, delete_some(pool, &info, max_leaves, &nr_removed, &is_done));
	if (!r)
		give(step, nr_removed, is_done);
	return r;
}
