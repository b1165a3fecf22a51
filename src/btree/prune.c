/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/prune.c - taking a tree that is to go apart, bit by bit.
 *
 * The way goes along first children. What others own is never copied, for then all in it would get an owner: as it is to
 * go anyway, it goes as a whole. Nodes on the way are kept full enough by those beside them; one of these that others own
 * is taken away instead.
 *
 *        a  b  c            the leaf f goes, and a is left with too few entries: it is evened out with b
 *      /    |   \           before that. If others own b, b goes now, and f next time.
 *    f g    h i   ...
 */
#include "btree/prune.h"

#include "btree/descent.h"
#include "btree/drop.h"
#include "btree/look.h"
#include "btree/redistribute.h"

#include "transaction/manager.h"

struct prune {
	struct tp_descent descent;
	struct tp_drop drop;
	struct tp_pruned *pruned;
};

/* The tree is one leaf. */
static int empty_leaf(struct prune *prune)
{
	uint8_t *leaf = prune->descent.node.node;
	uint32_t nr = tp_node_nr_entries(leaf);
	int r = tp_btree_dec_values(prune->descent.type, tp_node_value_at(leaf, 0), nr);

	if (r)
		return r;
	tp_node_remove(leaf, 0, nr);
	*prune->pruned = (struct tp_pruned){.nr_entries = nr, .is_empty = true};
	return 0;
}

static int has_others(const struct prune *prune, uint32_t index, bool *shared)
{
	const struct tp_descent *descent = &prune->descent;
	uint32_t count;
	int r = thinp_tm_count(descent->tm, tp_node_value64(descent->node.node, index), &count);

	*shared = !r && count > 1;
	return r;
}

/* A root with one child left takes its content, unless others own that, too: then it goes now. */
static int leave_root(struct prune *prune)
{
	struct tp_descent *descent = &prune->descent;
	bool shared;
	int r;

	if (descent->at.depth || tp_node_is_leaf(descent->node.node) || tp_node_nr_entries(descent->node.node) > 1)
		return 0;
	r = has_others(prune, 0, &shared);
	if (r)
		return r;
	return shared ? tp_descent_drop_child(descent, 0, &prune->drop) : tp_descent_collapse(descent);
}

/* Takes a child away. *done: always, for this is all there is to do. */
static int take_away(struct prune *prune, uint32_t index, bool *done)
{
	struct tp_descent *descent = &prune->descent;
	int r = tp_descent_drop_child(descent, index, &prune->drop);

	*done = true;
	if (!r)
		r = leave_root(prune);
	prune->pruned->nr_entries = prune->drop.nr_entries;
	prune->pruned->is_empty = tp_node_is_leaf(descent->node.node) && !tp_node_nr_entries(descent->node.node);
	return r;
}

/* The first child is ours, and has too few entries to lose one. */
static int even_out(struct prune *prune, bool *done, bool *changed)
{
	bool shared;
	int r = has_others(prune, 1, &shared);

	if (r)
		return r;
	return shared ? take_away(prune, 1, done) : tp_descent_rebalance(&prune->descent, 0, changed);
}

/* At an internal node: one step down, or what is to be done here. */
static int step(struct prune *prune, bool *done)
{
	struct tp_descent *descent = &prune->descent;
	bool shared, changed = false;
	struct tp_descent_fill fill;
	int r = has_others(prune, 0, &shared);

	if (!r)
		r = tp_descent_child_fill(descent, 0, &fill);
	if (r)
		return r;
	if (shared || fill.is_leaf)
		return take_away(prune, 0, done);
	if (tp_node_nr_entries(descent->node.node) == 1 && descent->at.depth == 0)
		return tp_descent_collapse(descent);
	if (fill.nr_entries <= fill.minimum && tp_node_nr_entries(descent->node.node) > 1)
		r = even_out(prune, done, &changed);
	if (r || *done || changed)
		return r;
	return fill.nr_entries > 1 ? tp_descent_down(descent, 0) : take_away(prune, 0, done);
}

/* Goes to the root of the tree. */
static int go_to_tree(struct tp_descent *descent, const uint64_t *upper_keys)
{
	int r = 0;

	while (!r && descent->at.level + 1 < descent->type->nr_levels) {
		uint64_t key = upper_keys[descent->at.level];
		uint32_t index;

		r = tp_descent_find_child(descent, key, &index);
		if (!r)
			r = tp_descent_down(descent, index);
	}
	return r;
}

static int change(struct prune *prune, struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
		  const uint64_t *upper_keys, thinp_block_t *new_root)
{
	struct tp_descent *descent = &prune->descent;
	bool done = false;
	int r = tp_descent_begin(descent, tm, type, root);

	*new_root = descent->node.block;
	if (!r)
		r = go_to_tree(descent, upper_keys);
	tp_drop_init(&prune->drop, tm, type, true);
	while (!r && !done && !tp_node_is_leaf(descent->node.node))
		r = step(prune, &done);
	if (!r && !done)
		r = empty_leaf(prune);
	tp_descent_end(descent);
	return r && descent->has_begun ? thinp_tm_poison(tm, r) : r;
}

/* The nodes above the tree; then its root, and of each depth but the leaves' a node and two beside it. */
static int reserve(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
		   const uint64_t *upper_keys)
{
	uint64_t keys[THINP_BTREE_MAX_LEVELS] = {0};
	struct tp_look way = {.path = NULL};
	uint64_t nr_nodes;
	uint32_t depth;
	int r;

	memcpy(keys, upper_keys, (type->nr_levels - 1) * sizeof(*keys));
	r = tp_look(tm, type, root, keys, &way);
	if (r)
		return r;
	if (way.nr_missing)
		return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "no tree of such upper keys");
	depth = way.leaf_at.depth;
	nr_nodes = way.nr_nodes - depth + (depth ? 3 * (uint64_t)(depth - 1) : 0);
	return thinp_tm_reserve(tm, nr_nodes + tp_btree_cost_of_dec(type, way.leaf_capacity), THINP_RESERVE_RELEASE);
}

int tp_btree_prune(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root,
		   const uint64_t *upper_keys, thinp_block_t *new_root, struct tp_pruned *pruned)
{
	struct tp_pruned now = {.nr_entries = 0};
	struct prune prune = {.pruned = &now};
	struct thinp_btree_type type;
	thinp_block_t changed_root;
	int r = tp_btree_type_take(&type, user_type);

	if (!r)
		r = reserve(tm, &type, root, upper_keys);
	if (!r)
		r = change(&prune, tm, &type, root, upper_keys, &changed_root);
	if (r)
		return r;
	*new_root = changed_root;
	*pruned = now;
	return 0;
}
