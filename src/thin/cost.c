/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/cost.c - what a change may take, told before it is made.
 *
 * What is asked for before a change is made for certainty, so it counts what hardly ever comes together. Here more is known of
 * the trees: what nobody else owns, gives no owner to anything when it is copied.
 */
#include "base/error.h"
#include "base/opts.h"
#include "btree/look.h"
#include "thin/change.h"

#include <thinp/pool_space.h>

#include <inttypes.h>

enum { LEAF = 252, LEAST_LEAF = 84, MANY = 20000, ENOUGH = 1 };

struct estimate {
	struct thinp_pool *pool;
	struct thinp_pool_operation op;
	uint64_t nr_blocks;
};

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t cost_of_lowered(const struct estimate *e, uint64_t nr_nodes)
{
	return tp_sm_more_cost(e->pool->store->metadata, 0, 0, nr_nodes);
}

/* Copies of a way, splits of what is full on it, and owners of what hangs at it. */
static int add_way(struct estimate *e, const struct thinp_btree_type *type, thinp_block_t root, const uint64_t *keys,
		   struct tp_look *look)
{
	int r;

	*look = (struct tp_look){.path = NULL};
	r = tp_look(tp_thin_tm(e->pool), type, root, keys, look);
	if (r)
		return r;
	e->nr_blocks += look->nr_blocks;
	if (look->first_shared < look->nr_nodes) /* the originals lose an owner */
		e->nr_blocks += cost_of_lowered(e, look->nr_nodes - look->first_shared);
	return 0;
}

static bool is_leaf_shared(const struct tp_look *look)
{
	return look->first_shared < look->nr_nodes && !look->nr_missing;
}

/* The values of a leaf get an owner when it is copied and the original lives on. */
static void add_values(struct estimate *e, const struct thinp_sm *sm, const struct tp_look *look)
{
	uint64_t nr = look->nr_entries + UINT64_C(1);

	if (is_leaf_shared(look))
		e->nr_blocks += tp_sm_more_cost(sm, nr, nr, 0);
}

static int add_details(struct estimate *e, uint64_t dev_id)
{
	struct tp_look look;

	return add_way(e, &e->pool->details, e->pool->live.details_root, &dev_id, &look);
}

static int add_top(struct estimate *e, uint64_t dev_id)
{
	struct tp_look look;
	int r = add_way(e, &e->pool->top, e->pool->live.mapping_root, &dev_id, &look);

	if (!r)
		add_values(e, e->pool->store->metadata, &look);
	return r;
}

static int check_device(struct estimate *e, uint64_t dev_id, struct thinp_device_info *info)
{
	info->size = sizeof(*info);
	return thinp_pool_get_device(e->pool, dev_id, info);
}

static int cost_of_new_device(struct estimate *e)
{
	struct thinp_device_info info;
	int r = add_top(e, e->op.dev_id);

	if (!r)
		r = add_details(e, e->op.dev_id);
	e->nr_blocks++; /* its root */
	if (r || e->op.kind == THINP_POOL_CREATE_DEVICE)
		return r;
	e->nr_blocks += tp_sm_more_cost(e->pool->store->metadata, 0, 1, 0);
	r = check_device(e, e->op.origin_id, &info);
	return r ? r : add_details(e, e->op.origin_id);
}

/* Bitmaps that values may be in that are taken one after the other, or are anywhere. */
static uint64_t cost_of_data(const struct estimate *e, uint64_t nr_bitmaps, uint64_t nr_lowered)
{
	return tp_sm_more_cost(tp_thin_data_map(e->pool), nr_bitmaps, 0, nr_lowered);
}

/* Counts the mappings of a range, up to a number that makes no difference any more. */
struct counting {
	uint64_t nr;
};

static int count_some(void *ctx, const struct thinp_btree_span *span)
{
	struct counting *counting = ctx;

	counting->nr += span->nr_entries;
	return counting->nr > MANY ? ENOUGH : 0;
}

static int count_mappings(const struct estimate *e, const struct thinp_device_info *info, uint64_t last, uint64_t *nr)
{
	struct counting counting = {.nr = 0};
	int r = thinp_btree_walk_range(e->pool->reader, &tp_thin_mappings_type, info->mapping_root, &e->op.begin, &last,
				       count_some, &counting);

	*nr = r == ENOUGH ? least(e->op.length, info->mapped_blocks) : counting.nr;
	return r == ENOUGH ? 0 : r;
}

/* Two ways down one tree have its root and all above it in common; and counts of children are recorded together. */
static uint64_t counted_twice(const struct estimate *e, const struct tp_look *left, const struct tp_look *right)
{
	const struct thinp_tm *tm = tp_thin_tm(e->pool);
	uint32_t nr_common = right->nr_nodes - right->leaf_at.depth;
	uint64_t apart = tp_tm_cost_of_raising(tm, left->nr_raised) + tp_tm_cost_of_raising(tm, right->nr_raised);
	uint64_t together = tp_tm_cost_of_raising(tm, left->nr_raised + right->nr_raised);

	return (nr_common > right->nr_in_place ? nr_common - right->nr_in_place : 0) +
	       (apart > together ? apart - together : 0);
}

/* Both ends of the range are copied; where something is removed, also two neighbours of each node but the root. */
static int cost_of_ends(struct estimate *e, uint64_t last, bool is_removal)
{
	const uint64_t first_keys[] = {e->op.dev_id, e->op.begin}, last_keys[] = {e->op.dev_id, last};
	struct tp_look left, right;
	int r = add_way(e, &e->pool->mappings, e->pool->live.mapping_root, first_keys, &left);

	if (r)
		return r;
	add_values(e, tp_thin_data_map(e->pool), &left);
	if (is_removal) /* no node gets fuller */
		e->nr_blocks += 2 * (uint64_t)left.leaf_at.depth - 2 * (uint64_t)left.nr_full;
	if (!is_removal && left.nr_entries + e->op.length > left.leaf_capacity) /* the end of a run splits it */
		e->nr_blocks += 3;
	if (left.nr_missing || left.leaf_last >= last)
		return 0;
	r = add_way(e, &e->pool->mappings, e->pool->live.mapping_root, last_keys, &right);
	if (r)
		return r;
	e->nr_blocks -= counted_twice(e, &left, &right) + (is_removal ? 2 * right.nr_full : 0);
	add_values(e, tp_thin_data_map(e->pool), &right);
	return 0;
}

/* More than fits into leaves that are there goes into leaves that are half full at least, and nodes above these. */
static int cost_of_insert(struct estimate *e)
{
	uint64_t last = e->op.begin + least(e->op.length - 1, UINT64_MAX - e->op.begin);
	uint64_t nr_leaves = (e->op.length - 1) / (LEAF / 2);
	struct thinp_device_info info;
	uint64_t nr_replaced = 0;
	int r = check_device(e, e->op.dev_id, &info);

	if (!r)
		r = add_details(e, e->op.dev_id);
	if (!r)
		r = count_mappings(e, &info, last, &nr_replaced);
	if (!r)
		r = cost_of_ends(e, last, false);
	if (nr_leaves)
		nr_leaves += 2 + (nr_leaves + 2) / (LEAST_LEAF / 2);
	e->nr_blocks += nr_leaves + nr_replaced / LEAST_LEAF;
	e->nr_blocks += cost_of_data(e, 2 + e->op.length / TP_BITMAP_NR_ENTRIES + nr_replaced, nr_replaced);
	return r;
}

static int cost_of_remove(struct estimate *e)
{
	uint64_t last = e->op.begin + least(e->op.length - 1, UINT64_MAX - e->op.begin);
	struct thinp_device_info info;
	uint64_t nr_values = 0;
	int r = check_device(e, e->op.dev_id, &info);

	if (!r)
		r = add_details(e, e->op.dev_id);
	if (!r)
		r = count_mappings(e, &info, last, &nr_values);
	if (r || !nr_values)
		return r;
	e->nr_blocks += cost_of_data(e, nr_values, nr_values);
	e->nr_blocks += cost_of_lowered(e, nr_values / LEAST_LEAF);
	return cost_of_ends(e, last, true);
}

static int cost_of_delete(struct estimate *e)
{
	struct thinp_device_info info;
	uint32_t nr_owners = 0;
	int r = check_device(e, e->op.dev_id, &info);

	if (!r)
		r = add_top(e, e->op.dev_id);
	if (!r)
		r = add_details(e, e->op.dev_id);
	if (!r)
		r = thinp_tm_count(tp_thin_tm(e->pool), info.mapping_root, &nr_owners);
	if (!r && nr_owners == 1)
		e->nr_blocks += cost_of_data(e, info.mapped_blocks, info.mapped_blocks);
	if (!r)
		e->nr_blocks += cost_of_lowered(e, nr_owners == 1 ? info.mapped_blocks / LEAST_LEAF + 1 : 1);
	return r;
}

static int cost_of_hold(struct estimate *e)
{
	e->nr_blocks += 1 + tp_sm_more_cost(e->pool->store->metadata, 0, 2, 0);
	return 0;
}

static int cost_of_release(struct estimate *e)
{
	struct tp_thin_superblock copy;
	struct thinp_sm_info data = {.size = sizeof(data)};
	uint32_t nr_owners = 0;
	int r = tp_thin_read_held(e->pool, &copy);

	if (!r)
		r = thinp_tm_count(tp_thin_tm(e->pool), copy.mapping_root, &nr_owners);
	thinp_sm_get_info(tp_thin_data_map(e->pool), &data);
	if (!r && nr_owners == 1)
		e->nr_blocks += cost_of_data(e, data.nr_blocks - data.nr_zero, data.nr_blocks - data.nr_zero);
	if (!r)
		e->nr_blocks +=
			cost_of_lowered(e, nr_owners == 1 ? (data.nr_blocks - data.nr_zero) / LEAST_LEAF + 2 : 2);
	return r;
}

/* --- data blocks, and sizes ------------------------------------------------------------------------------------------ */

/* Counts of data blocks that change by one. */
struct counts {
	uint64_t nr_bitmaps;
	uint64_t nr_large; /* of 3 and more: entries of the overflow tree */
	uint64_t nr_new;   /* of 2, which become entries when they are raised */
};

/* Of many blocks perhaps all. */
static int find_large(const struct thinp_sm *data, uint64_t first, uint64_t nr, bool is_raise, struct counts *counts)
{
	if (nr > MANY) {
		counts->nr_new = is_raise ? nr : 0;
		counts->nr_large = nr - counts->nr_new;
		return 0;
	}
	for (uint64_t i = 0; i < nr; i++) {
		uint32_t count;
		int r = tp_sm_peek_count(data, first + i, &count);

		if (r)
			return r;
		counts->nr_large += count > 2;
		counts->nr_new += is_raise && count == 2;
	}
	return 0;
}

static int check_data_range(const struct thinp_sm *data, uint64_t first, uint64_t nr)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	thinp_sm_get_info(data, &info);
	if (first <= info.nr_blocks && nr <= info.nr_blocks - first)
		return 0;
	return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "the pool has %" PRIu64 " data blocks", info.nr_blocks);
}

static int look_at_counts(const struct thinp_sm *data, uint64_t first, uint64_t nr, bool is_raise,
			  struct counts *counts)
{
	int r = check_data_range(data, first, nr);

	*counts = (struct counts){.nr_bitmaps = 0};
	if (r || !nr)
		return r;
	counts->nr_bitmaps = (first + nr - 1) / TP_BITMAP_NR_ENTRIES - first / TP_BITMAP_NR_ENTRIES + 1;
	return find_large(data, first, nr, is_raise, counts);
}

int tp_thin_reserve_raise(const struct thinp_pool *pool, uint64_t first, uint64_t nr)
{
	const struct thinp_sm *data = tp_thin_data_map(pool);
	struct counts counts;
	int r = look_at_counts(data, first, nr, true, &counts);

	return r ? r
		 : thinp_tm_reserve(tp_thin_tm(pool),
				    tp_sm_raise_cost(data, counts.nr_bitmaps, counts.nr_new, counts.nr_large), 0);
}

static int cost_of_count(struct estimate *e, bool is_raise)
{
	const struct thinp_sm *data = tp_thin_data_map(e->pool);
	struct counts counts;
	int r = look_at_counts(data, e->op.begin, e->op.length, is_raise, &counts);

	if (!r)
		e->nr_blocks += tp_sm_more_cost(data, counts.nr_bitmaps, counts.nr_new, counts.nr_large);
	return r;
}

static int cost_of_alloc(struct estimate *e)
{
	e->nr_blocks += cost_of_data(e, 2 + e->op.length / TP_BITMAP_NR_ENTRIES, 0);
	return 0;
}

static int cost_of_growth(struct estimate *e, const struct thinp_sm *sm, uint64_t most)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	thinp_sm_get_info(sm, &info);
	if (e->op.length < info.nr_blocks)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "there are %" PRIu64 " blocks, and a pool cannot shrink",
			       info.nr_blocks);
	if (e->op.length > most)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "a pool cannot have %" PRIu64 " blocks of this kind",
			       e->op.length);
	e->nr_blocks += tp_sm_extend_cost(sm, e->op.length);
	return 0;
}

/* --- all of them ----------------------------------------------------------------------------------------------------- */

static int estimate_with_length(struct estimate *e)
{
	if (!e->op.length)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "no blocks are wanted");
	switch (e->op.kind) {
	case THINP_POOL_INSERT:
		return cost_of_insert(e);
	case THINP_POOL_REMOVE:
		return cost_of_remove(e);
	case THINP_POOL_ALLOC_DATA:
		return cost_of_alloc(e);
	default:
		return cost_of_count(e, e->op.kind == THINP_POOL_INC_DATA);
	}
}

static int estimate(struct estimate *e)
{
	switch (e->op.kind) {
	case THINP_POOL_CREATE_DEVICE:
	case THINP_POOL_CREATE_SNAPSHOT:
		return cost_of_new_device(e);
	case THINP_POOL_DELETE_DEVICE:
		return cost_of_delete(e);
	case THINP_POOL_INSERT:
	case THINP_POOL_REMOVE:
	case THINP_POOL_ALLOC_DATA:
	case THINP_POOL_INC_DATA:
	case THINP_POOL_DEC_DATA:
		return estimate_with_length(e);
	case THINP_POOL_GROW_DATA:
		return cost_of_growth(e, tp_thin_data_map(e->pool), TP_DATA_MAX_BLOCKS);
	case THINP_POOL_GROW_METADATA:
		return cost_of_growth(e, e->pool->store->metadata, TP_METADATA_MAX_BLOCKS);
	case THINP_POOL_HOLD:
		return cost_of_hold(e);
	case THINP_POOL_RELEASE:
		return cost_of_release(e);
	default:
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "no operation of kind %u", e->op.kind);
	}
}

int thinp_pool_cost(struct thinp_pool *pool, const struct thinp_pool_operation *operation, uint64_t *nr_blocks)
{
	struct estimate e = {.pool = pool};
	int r = thinp_pool_status(pool);

	if (!r)
		r = tp_opts_take(&e.op, sizeof(e.op), operation);
	if (r)
		return r;
	if (thinp_tm_generation(tp_thin_tm(pool)) == pool->store->generation)
		e.nr_blocks = tp_sm_commit_cost(pool->store->metadata);
	r = estimate(&e);
	if (!r)
		*nr_blocks = e.nr_blocks;
	return r;
}
