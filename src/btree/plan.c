/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/plan.c - what inserting many entries may take, found out before anything is changed.
 *
 * The most blocks, beside those for the counts of values:
 *
 *   - each node on the way to some entry is copied, unless it and all above it may be written where they are: 1;
 *   - a leaf of e entries that gets n more becomes ceil((e + n) / capacity) leaves. Where that would be too many at once,
 *     it is done in steps, each of which may make one leaf more than the whole would;
 *   - an internal node that gets n children ends as nodes that are all filled to a third: 2 new ones, and 3n / capacity;
 *     and not more than n;
 *   - a root that splits gives its content to a new node: 1; and it gets children like any other internal node;
 *   - in upper levels keys go in one by one: as for a single one (look.c);
 *   - children of nodes that others share get an owner: what recording that takes (look.c).
 */
#include "btree/plan.h"

#include "btree/look.h"
#include "btree/splice.h"

#include "transaction/manager.h"

#include <string.h>

#define MAX_NODES ((size_t)THINP_BTREE_MAX_LEVELS * THINP_BTREE_MAX_DEPTH)

struct plan {
	const struct tp_batch *batch;
	thinp_block_t path[MAX_NODES]; /* the way before */
	uint32_t nr_path;
	uint64_t
		touched[THINP_BTREE_MAX_DEPTH]; /* nodes of a tree of the last level by their height; leaves are at 0 */
	uint64_t nr_new;                        /* leaves of that tree */
	uint64_t nr_blocks;
	uint64_t nr_values;
	uint64_t nr_raised;      /* children of shared nodes */
	uint32_t least_capacity; /* of internal nodes */
};

int tp_batch_check(const struct tp_batch *batch)
{
	uint32_t nr_levels = batch->type->nr_levels;

	for (size_t i = 1; i < batch->nr; i++) {
		const uint64_t *keys = tp_batch_keys(batch, i);
		uint32_t level = 0;

		while (level + 1 < nr_levels && keys[level] == keys[(ptrdiff_t)level - nr_levels])
			level++;
		if (keys[level] < keys[(ptrdiff_t)level - nr_levels])
			return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "the keys do not ascend: see number %zu", i);
	}
	return 0;
}

static bool is_same_tree(const struct tp_batch *batch, size_t a, size_t b)
{
	return !memcmp(tp_batch_keys(batch, a), tp_batch_keys(batch, b),
		       (batch->type->nr_levels - 1) * sizeof(uint64_t));
}

size_t tp_batch_end_of_tree(const struct tp_batch *batch, size_t i)
{
	size_t end = i + 1;

	if (batch->type->nr_levels == 1)
		return batch->nr;
	while (end < batch->nr && is_same_tree(batch, i, end))
		end++;
	return end;
}

size_t tp_batch_end_of_range(const struct tp_batch *batch, size_t i, size_t end, uint64_t last)
{
	size_t step = 1;

	/* all before i are inside; widen, then halve */
	while (i + step <= end && tp_batch_key(batch, i + step - 1) <= last) {
		i += step;
		step *= 2;
	}
	while (step) {
		if (i + step <= end && tp_batch_key(batch, i + step - 1) <= last)
			i += step;
		step /= 2;
	}
	return i;
}

/* Counts the nodes of a way that the way before did not have. */
static void count_nodes(struct plan *plan, const thinp_block_t *path, const struct tp_look *look)
{
	uint32_t first = 0;

	while (first < look->nr_nodes && first < plan->nr_path && path[first] == plan->path[first])
		first++;
	plan->nr_blocks += look->nr_nodes - (first < look->nr_in_place ? look->nr_in_place : first);
	for (uint32_t i = first; i + !look->nr_missing < look->nr_nodes; i++)
		if (i >= look->first_shared)
			plan->nr_raised += TP_LOOK_MOST_CHILDREN;
	for (uint32_t i = first; i < look->nr_nodes && !look->nr_missing; i++)
		if (look->nr_nodes - i <= look->leaf_at.depth + 1)
			plan->touched[look->nr_nodes - 1 - i]++;
	memcpy(plan->path, path, look->nr_nodes * sizeof(*path));
	plan->nr_path = look->nr_nodes;
}

/* A key that is new in an upper level may come after others that are not in the tree yet, and have filled it. */
static void count_upper_levels(struct plan *plan, const struct tp_look *look)
{
	if (look->nr_missing)
		plan->nr_blocks += 2 * (uint64_t)look->nr_nodes + 2 + look->nr_missing;
	else
		plan->nr_blocks += 2 * (uint64_t)look->nr_full;
}

/* A leaf, which may be an empty one that is still to be made, gets nr entries. Those that it has get an owner when others
 * own the leaf, too. */
static void count_leaf(struct plan *plan, uint64_t nr_entries, bool is_shared, uint64_t nr, uint32_t capacity)
{
	uint64_t at_once = (uint64_t)(TP_SPLICE_MAX_NEW - 1) * capacity;

	plan->nr_values += nr + (is_shared ? nr_entries : 0);
	if (nr_entries + nr > capacity)
		plan->nr_new += tp_nr_nodes_for(nr_entries + nr, capacity) - 1 + nr / at_once;
}

/* Looks at the leaf of entry *i, and steps over all entries that go there. */
static int look_at_leaf(struct plan *plan, struct thinp_tm *tm, thinp_block_t root, size_t *i, size_t end,
			bool is_first)
{
	const struct tp_batch *batch = plan->batch;
	thinp_block_t path[MAX_NODES];
	struct tp_look look = {.path = path};
	uint64_t last = UINT64_MAX;
	size_t begin = *i;
	int r = tp_look(tm, batch->type, root, tp_batch_keys(batch, begin), &look);

	if (r)
		return r;
	count_nodes(plan, path, &look);
	if (is_first)
		count_upper_levels(plan, &look);
	if (look.least_capacity < plan->least_capacity)
		plan->least_capacity = look.least_capacity;
	if (!look.nr_missing)
		last = look.leaf_last;
	*i = tp_batch_end_of_range(batch, begin, end, last);
	if (look.nr_missing)
		count_leaf(plan, 0, false, *i - begin, tp_node_max_entries(batch->type->value_size));
	else
		count_leaf(plan, look.nr_entries, look.first_shared < look.nr_nodes, *i - begin, look.leaf_capacity);
	return 0;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A root that splits gives its content to a new node; with more children than it can hold, once more. */
static void count_growth(struct plan *plan, uint64_t nr_new)
{
	uint32_t capacity = tp_node_max_entries(8);

	while (nr_new) {
		plan->nr_blocks++;
		if (nr_new < capacity)
			break;
		nr_new = 3 * (nr_new + 1) / capacity + 2;
		plan->nr_blocks += nr_new;
	}
}

/* Adds what the new leaves of a tree bring to the nodes above them, and forgets the tree. */
static void end_tree(struct plan *plan)
{
	uint64_t nr_new = plan->nr_new;

	plan->nr_blocks += nr_new;
	for (uint32_t height = 1; height < THINP_BTREE_MAX_DEPTH && plan->touched[height]; height++) {
		nr_new = least(nr_new, 2 * plan->touched[height] + 3 * nr_new / plan->least_capacity);
		plan->nr_blocks += nr_new;
	}
	count_growth(plan, nr_new);
	plan->nr_new = 0;
	memset(plan->touched, 0, sizeof(plan->touched));
}

int tp_plan(struct thinp_tm *tm, const struct tp_batch *batch, thinp_block_t root, uint64_t *nr_blocks,
	    uint64_t *nr_values)
{
	struct plan plan = {.batch = batch, .least_capacity = tp_node_max_entries(8)};

	for (size_t i = 0; i < batch->nr;) {
		size_t end = tp_batch_end_of_tree(batch, i);

		for (bool is_first = true; i < end; is_first = false) {
			int r = look_at_leaf(&plan, tm, root, &i, end, is_first);

			if (r)
				return r;
		}
		end_tree(&plan);
	}
	*nr_blocks = plan.nr_blocks + tp_tm_cost_of_raising(tm, plan.nr_raised);
	*nr_values = plan.nr_values;
	return 0;
}
