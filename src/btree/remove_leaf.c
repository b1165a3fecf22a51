/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/remove_leaf.c - taking entries out of one leaf.
 *
 * On the way down each node gets one entry more than it must have, as in remove.c. A leaf that goes as a whole is dropped
 * without being copied. One that stays is cut, and then evened out if it has too few entries left.
 */
#include "btree/remove_leaf.h"

#include "btree/drop.h"
#include "btree/redistribute.h"

/* From the node to the child where the key is, until that is a leaf or the node is one. *index: of the leaf. */
static int go_down(struct tp_descent *descent, uint64_t key, uint32_t *index)
{
	struct tp_descent_fill fill = {.is_leaf = false};
	int r = 0;

	while (!r && !tp_node_is_leaf(descent->node.node)) {
		if (descent->at.depth == 0 && tp_node_nr_entries(descent->node.node) == 1) {
			r = tp_descent_collapse(descent);
			continue;
		}
		r = tp_descent_find_child(descent, key, index);
		if (!r)
			r = tp_descent_child_fill(descent, *index, &fill);
		if (r || fill.is_leaf)
			return r;
		r = tp_descent_down_to_poorer(descent, key);
	}
	return r;
}

static int cut(struct tp_descent *descent, const struct tp_leaf_part *part, uint64_t *nr_removed)
{
	uint8_t *leaf = descent->node.node;
	uint32_t begin = tp_node_lower_bound(leaf, part->first);
	uint32_t end = tp_node_upper_bound(leaf, part->last);
	int r;

	if (begin >= end)
		return tp_fail(THINP_ECORRUPT, descent->node.block,
			       "btree node: a key that was there before is not found");
	r = tp_btree_dec_values(descent->type, tp_node_value_at(leaf, begin), end - begin);
	if (r)
		return r;
	tp_node_remove(leaf, begin, end - begin);
	*nr_removed = end - begin;
	return 0;
}

/* A root with one child left takes its content. */
static int collapse_root(struct tp_descent *descent)
{
	bool is_single = descent->at.depth == 0 && tp_node_nr_entries(descent->node.node) == 1;

	return is_single ? tp_descent_collapse(descent) : 0;
}

static int drop_child(struct tp_descent *descent, uint32_t index, bool is_counting, uint64_t *nr_removed)
{
	struct tp_drop drop;
	int r;

	tp_drop_init(&drop, descent->tm, descent->type, is_counting);
	r = tp_descent_drop_child(descent, index, &drop);
	*nr_removed = drop.nr_entries;
	return r ? r : collapse_root(descent);
}

/* Cuts a child, and evens it out. */
static int cut_child(struct tp_descent *descent, uint32_t index, const struct tp_leaf_part *part, uint64_t *nr_removed)
{
	struct tp_btree_child at = descent->at;
	uint64_t last = descent->last;
	bool is_low, changed;
	int r;

	at.block = descent->node.block;
	r = tp_descent_down(descent, index);
	if (!r)
		r = cut(descent, part, nr_removed);
	if (r)
		return r;
	is_low = tp_node_nr_entries(descent->node.node) < tp_node_minimum(tp_node_capacity(descent->node.node));
	tp_descent_end(descent);
	if (!is_low)
		return 0;
	r = tp_descent_resume(descent, &at, last);
	if (!r)
		r = tp_descent_rebalance(descent, index, &changed);
	return r ? r : collapse_root(descent);
}

int tp_remove_leaf_part(struct tp_descent *descent, const struct tp_leaf_part *part, bool is_counting,
			uint64_t *nr_removed)
{
	uint32_t index = 0;
	int r = go_down(descent, part->first, &index);

	if (r)
		return r;
	if (tp_node_is_leaf(descent->node.node))
		return cut(descent, part, nr_removed);
	if (part->is_all && tp_node_nr_entries(descent->node.node) > 1)
		return drop_child(descent, index, is_counting, nr_removed);
	return cut_child(descent, index, part, nr_removed);
}
