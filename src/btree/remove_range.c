/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/remove_range.c - removing neighbouring keys: whole subtrees at once.
 *
 * What stays decides: `left`, the last entry before the range, and `right`, the first one behind it.
 *
 *                        a  b  c  d  e            left is below b, right below d:
 *                          /       \              c is dropped, b and d are cut, and so on below them
 *                   f  g  h         i  j  k
 *                      left             right     g, h dropped below b; i, j below d
 *
 * 1. Both ways are gone down and shadowed; between them, subtrees are dropped without being copied. A node on such a way
 *    keeps at least the child that the way goes through.
 * 2. The nodes on both ways may be too empty now: they are evened out or merged with their neighbours, from the root
 *    down, until a way has been gone with nothing left to do.
 *
 * What is removed can be limited: the range is then cut at the end of a leaf. At least one entry goes in each call. What
 * is all in one leaf is taken out on one way: remove_leaf.c.
 */
#include "btree/range.h"

#include "transaction/manager.h"

/* --- cutting --------------------------------------------------------------------------------------------------------- */

/* The place of an entry that stays, or of the child that it is in. */
static int find(const struct tp_range *range, uint64_t key, uint32_t *index)
{
	const struct tp_descent *descent = &range->descent;

	if (!tp_node_is_leaf(descent->node.node))
		return tp_descent_find_child(descent, key, index);
	if (tp_node_find(descent->node.node, key, index))
		return 0;
	return tp_fail(THINP_ECORRUPT, descent->node.block, "btree node: a key that was there before is not found");
}

/* What a node on one way, or on both, loses: entries begin to end - 1. */
struct cut {
	bool keeps_left;
	bool keeps_right;
	uint32_t begin;
	uint32_t end;
};

static int place_cut(const struct tp_range *range, struct cut *cut)
{
	uint32_t left = 0;
	int r = 0;

	cut->begin = 0;
	cut->end = tp_node_nr_entries(range->descent.node.node);
	if (cut->keeps_left)
		r = find(range, range->left, &left);
	if (cut->keeps_left)
		cut->begin = left + 1;
	if (!r && cut->keeps_right)
		r = find(range, range->right, &cut->end);
	return r;
}

static int cut_leaf(struct tp_range *range, const struct cut *cut)
{
	uint8_t *leaf = range->descent.node.node;
	uint32_t nr = cut->end - cut->begin;
	int r = tp_btree_dec_values(range->type, tp_node_value_at(leaf, cut->begin), nr);

	if (!r)
		tp_node_remove(leaf, cut->begin, nr);
	range->nr_removed += nr;
	return r;
}

/* Takes children out of a node, and drops them. */
static int cut_internal(struct tp_range *range, const struct cut *cut)
{
	struct tp_descent *descent = &range->descent;
	struct tp_btree_child at = descent->at;
	int r = 0;

	at.block = descent->node.block;
	memcpy(range->node, descent->node.node, THINP_BLOCK_SIZE);
	if (cut->keeps_left || cut->keeps_right)
		tp_node_remove(descent->node.node, cut->begin, cut->end - cut->begin);
	else
		tp_node_init(descent->node.node, TP_NODE_LEAF, at.block, range->type->value_size);
	for (uint32_t i = cut->begin; !r && i < cut->end; i++) {
		uint64_t last;
		struct tp_btree_child child = tp_btree_child_at(&at, descent->last, range->node, i, &last);

		r = tp_drop_node(&range->drop, &child, last);
	}
	return r;
}

/* Where the second way begins. */
struct branch {
	bool is_there;
	struct tp_btree_child at;
	uint64_t last;
};

/* From here on there are two ways. */
static int fork_ways(struct tp_range *range, uint32_t right, struct branch *branch)
{
	struct tp_descent *descent = &range->descent;
	struct tp_btree_child at = descent->at;
	int r = tp_descent_shadow_child(descent, right);

	at.block = descent->node.block;
	branch->is_there = true;
	branch->at = tp_btree_child_at(&at, descent->last, descent->node.node, right, &branch->last);
	return r;
}

/* Cuts the node where the descent stands, and goes on. *done: it was a leaf, or nothing stays. */
static int cut_node(struct tp_range *range, struct cut *cut, struct branch *branch, bool *done)
{
	struct tp_descent *descent = &range->descent;
	int r = place_cut(range, cut);

	*done = tp_node_is_leaf(descent->node.node);
	if (r)
		return r;
	if (*done)
		return cut_leaf(range, cut);
	if (cut->begin > cut->end) /* both are below one child */
		return tp_descent_down(descent, cut->end);
	r = cut_internal(range, cut);
	if (!r && cut->keeps_left && cut->keeps_right) {
		r = fork_ways(range, cut->begin, branch);
		cut->keeps_right = false;
	}
	*done = !cut->keeps_left && !cut->keeps_right;
	if (r || *done)
		return r;
	return tp_descent_down(descent, cut->keeps_left ? cut->begin - 1 : 0);
}

static int cut_way(struct tp_range *range, struct cut *cut, struct branch *branch)
{
	bool done = false;
	int r = 0;

	while (!r && !done)
		r = cut_node(range, cut, branch, &done);
	tp_descent_end(&range->descent);
	return r;
}

static int cut_out(struct tp_range *range, bool is_counting)
{
	struct cut cut = {.keeps_left = range->has_left, .keeps_right = range->has_right};
	struct branch branch = {.is_there = false};
	int r;

	tp_drop_init(&range->drop, range->tm, range->type, is_counting);
	r = cut_way(range, &cut, &branch);
	if (!r && branch.is_there) {
		cut = (struct cut){.keeps_right = true};
		r = tp_descent_resume(&range->descent, &branch.at, branch.last);
		if (!r)
			r = cut_way(range, &cut, &branch);
	}
	if (!r)
		r = tp_drop_finish(&range->drop);
	range->nr_removed += range->drop.nr_entries;
	return r;
}

/* --- filling up ------------------------------------------------------------------------------------------------------ */

/* Sees to it that a child is full enough, if that can be. *changed: it was not. */
static int fill_child(struct tp_range *range, uint32_t index, bool *changed)
{
	struct tp_descent_fill fill;
	uint32_t *rounds;
	int r = tp_descent_child_fill(&range->descent, index, &fill);

	*changed = false;
	if (r || fill.nr_entries >= fill.minimum)
		return r;
	rounds = fill.is_leaf ? &range->leaf_rounds : &range->rounds;
	if (!*rounds)
		return 0;
	r = tp_descent_rebalance(&range->descent, index, changed);
	*rounds -= *changed;
	return r;
}

/* Goes the way to an entry that stays. */
static int fill_way(struct tp_range *range, uint64_t key, bool *changed)
{
	struct tp_descent *descent = &range->descent;
	uint32_t index;
	int r = tp_descent_resume(descent, &range->top, UINT64_MAX);

	*changed = false;
	while (!r && !tp_node_is_leaf(descent->node.node)) {
		bool again = descent->at.depth == 0 && tp_node_nr_entries(descent->node.node) == 1;

		if (again) {
			r = tp_descent_collapse(descent);
			continue;
		}
		r = tp_descent_find_child(descent, key, &index);
		if (!r)
			r = fill_child(range, index, &again);
		*changed |= again;
		if (!r && !again)
			r = tp_descent_down(descent, index);
	}
	tp_descent_end(descent);
	return r;
}

static int fill_up(struct tp_range *range, bool has_key, uint64_t key)
{
	bool changed = has_key;
	int r = 0;

	while (!r && changed)
		r = fill_way(range, key, &changed);
	return r;
}

/* --- all of it ------------------------------------------------------------------------------------------------------- */

/* Goes to the root of the tree of the last level. */
static int go_to_tree(struct tp_range *range)
{
	struct tp_descent *descent = &range->descent;
	uint32_t index;
	int r = 0;

	while (!r && descent->at.level + 1 < range->type->nr_levels) {
		r = find(range, range->upper_keys[descent->at.level], &index);
		if (!r)
			r = tp_descent_down(descent, index);
	}
	range->top = descent->at;
	range->top.block = descent->node.block;
	return r;
}

static int cut_range(struct tp_range *range, bool is_counting)
{
	int r = cut_out(range, is_counting);

	if (!r)
		r = fill_up(range, range->has_left, range->left);
	if (!r)
		r = fill_up(range, range->has_right, range->right);
	return r;
}

static int change(struct tp_range *range, thinp_block_t root, bool is_counting, thinp_block_t *new_root)
{
	int r = tp_descent_begin(&range->descent, range->tm, range->type, root);

	*new_root = range->descent.node.block;
	if (!r)
		r = go_to_tree(range);
	if (!r && range->is_one_leaf)
		r = tp_remove_leaf_part(&range->descent, &range->part, is_counting, &range->nr_removed);
	else if (!r)
		r = cut_range(range, is_counting);
	tp_descent_end(&range->descent);
	return r && range->descent.has_begun ? thinp_tm_poison(range->tm, r) : r;
}

static int take_keys(struct tp_range *range, const uint64_t *first_keys, const uint64_t *last_keys)
{
	uint32_t nr_upper = range->type->nr_levels - 1;

	for (uint32_t i = 0; i < nr_upper; i++)
		if (first_keys[i] != last_keys[i])
			return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a range to be removed goes over several trees");
	range->upper_keys = first_keys;
	range->first = first_keys[nr_upper];
	range->last = last_keys[nr_upper];
	return 0;
}

static int remove_keys(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root,
		       const uint64_t *first_keys, const uint64_t *last_keys, uint32_t max_leaves,
		       thinp_block_t *new_root, uint64_t *nr_removed, bool *is_complete)
{
	struct thinp_btree_type type;
	struct tp_range range;
	thinp_block_t changed_root = root;
	bool found = false;
	int r = tp_btree_type_take(&type, user_type);

	range.tm = tm;
	range.type = &type;
	range.max_leaves = max_leaves;
	range.is_shared = range.is_known = range.is_one_leaf = false;
	range.nr_blocks = range.nr_values = range.nr_copied = range.nr_raised = range.nr_removed = 0;
	if (!r)
		r = thinp_tm_status(tm);
	if (!r)
		r = take_keys(&range, first_keys, last_keys);
	if (!r)
		r = tp_range_survey(&range, root, &found);
	if (!r && found)
		r = tp_range_reserve(&range);
	if (!r && found)
		r = change(&range, root, nr_removed != NULL, &changed_root);
	if (r)
		return r;
	*new_root = changed_root;
	if (nr_removed)
		*nr_removed = range.nr_removed;
	if (is_complete)
		*is_complete = !found || range.last == last_keys[type.nr_levels - 1];
	return 0;
}

int thinp_btree_remove_range(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root,
			     const uint64_t *first_keys, const uint64_t *last_keys, uint32_t max_leaves,
			     thinp_block_t *new_root, uint64_t *nr_removed, bool *is_complete)
{
	int r;

	tp_tm_enter(tm);
	r = remove_keys(tm, user_type, root, first_keys, last_keys, max_leaves, new_root, nr_removed, is_complete);
	tp_tm_leave(tm);
	return r;
}
