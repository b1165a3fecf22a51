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
 * What is removed can be limited: the range is then cut at the end of a leaf. At least one entry goes in each call.
 */
#include "btree/descent.h"
#include "btree/drop.h"
#include "btree/look.h"
#include "btree/redistribute.h"

#include "transaction/manager.h"

/* For the second part: how often nodes are evened out, for each node on the way from root to leaf; and leaves. In a tree
 * whose nodes have a third of their entries or more, each way has one node too empty at each depth, and the node above it
 * one more because of that. In others they may stay as they are. */
#define ROUNDS_EACH 4u
#define LEAF_ROUNDS 4u

struct range {
	struct thinp_tm *tm;
	const struct thinp_btree_type *type;
	const uint64_t *upper_keys;
	uint64_t first; /* in the tree of the last level, to which everything below refers */
	uint64_t last;
	uint32_t max_leaves;
	bool has_left;
	bool has_right;
	uint64_t left;
	uint64_t right;

	uint64_t nr_blocks; /* the most the change may take */
	uint64_t nr_values; /* the most values whose counts it may change */
	bool is_shared;     /* others own a node on the way, or a neighbour of one */
	uint64_t nr_raised; /* the most children that get an owner more */
	uint32_t rounds;    /* how often nodes may still be evened out */
	uint32_t leaf_rounds;

	uint64_t nr_removed;
	struct tp_descent descent;
	struct tp_btree_child top; /* root of the tree, as it is now */
	union {
		struct tp_path path; /* before the change */
		struct tp_drop drop; /* in it */
	};
	alignas(64) uint8_t node[THINP_BLOCK_SIZE]; /* as it was before it was cut */
};

/* --- before the change --------------------------------------------------------------------------------------------------- */

static int note_owners_of(struct range *range, thinp_block_t block)
{
	uint32_t count = 1;
	int r = 0;

	if (!range->is_shared && !tp_tm_is_shadow(range->tm, block))
		r = thinp_tm_count(range->tm, block, &count);
	range->is_shared |= count > 1;
	return r;
}

/* A node on the way, and the neighbours of the one below it. */
static int note_owners_of_frame(struct range *range, const struct tp_path_frame *frame)
{
	struct thinp_read_section section;
	thinp_block_t beside[2] = {frame->at.block, frame->at.block};
	const void *node;
	int r;

	thinp_read_begin(thinp_tm_reader(range->tm), &section);
	r = tp_btree_read_node(&section, range->type, &frame->at, &node);
	if (!r && frame->index && !frame->is_leaf)
		beside[0] = tp_node_value64(node, frame->index - 1);
	if (!r && frame->index + 1 < tp_node_nr_entries(node) && !frame->is_leaf)
		beside[1] = tp_node_value64(node, frame->index + 1);
	thinp_read_end(&section);
	if (!r)
		r = note_owners_of(range, frame->at.block);
	for (uint32_t i = 0; !r && i < 2; i++)
		r = note_owners_of(range, beside[i]);
	return r;
}

/* Is there something on the way where the path stands that would become one node more when it is copied? */
static int note_owners(struct range *range)
{
	const struct tp_path *path = &range->path;
	int r = note_owners_of(range, path->leaf_at.block);

	for (size_t i = 0; !r && !range->is_shared && i < path->nr_frames; i++)
		r = note_owners_of_frame(range, &path->frames[i]);
	return r;
}

/* Finds the tree of the last level. */
static int find_tree(struct range *range, thinp_block_t root, thinp_block_t *tree)
{
	struct thinp_btree_type upper = {.size = sizeof(upper), .value_size = 8};
	const struct tp_path *path = &range->path;
	uint32_t nr_upper = range->type->nr_levels - 1;
	uint32_t index;
	int r;

	*tree = root;
	if (!nr_upper)
		return 0;
	upper.nr_levels = nr_upper;
	tp_path_init(&range->path, thinp_tm_reader(range->tm), &upper, root);
	r = tp_path_seek(&range->path, range->upper_keys, &index);
	if (!r && (index == path->nr_entries || tp_node_key(path->leaf, index) != range->upper_keys[nr_upper - 1] ||
		   memcmp(path->keys, range->upper_keys, (nr_upper - 1) * sizeof(*path->keys))))
		r = THINP_ENODATA;
	if (r)
		return r == THINP_ENODATA ? tp_fail(r, THINP_NO_BLOCK, "no tree of such upper keys") : r;
	*tree = tp_node_value64(path->leaf, index);
	r = note_owners(range);
	range->nr_blocks += path->nr_frames + 1;
	range->nr_raised = (path->nr_frames + 1) * TP_LOOK_MOST_CHILDREN;
	return r;
}

/* Goes to the first entry whose key is not smaller; THINP_ENODATA: there is none. */
static int seek(struct range *range, uint64_t key, uint32_t *index)
{
	int r = tp_path_seek(&range->path, &key, index);

	while (!r && *index == range->path.nr_entries) {
		r = tp_path_next_leaf(&range->path);
		*index = 0;
	}
	return r;
}

/* The same as a yes or no. */
static int is_found(int r, bool *found)
{
	*found = !r;
	return r == THINP_ENODATA ? 0 : r;
}

static int find_right(struct range *range)
{
	uint32_t index;
	int r;

	range->has_right = false;
	if (range->last == UINT64_MAX)
		return 0;
	r = is_found(seek(range, range->last + 1, &index), &range->has_right);
	if (range->has_right)
		range->right = tp_node_key(range->path.leaf, index);
	return !r && range->has_right ? note_owners(range) : r;
}

/* The path stands on the first entry of the range. */
static int find_left(struct range *range, uint32_t index)
{
	int r = 0;

	while (!r && !index) {
		r = tp_path_prev_leaf(&range->path);
		index = range->path.nr_entries;
	}
	r = is_found(r, &range->has_left);
	if (range->has_left)
		range->left = tp_node_key(range->path.leaf, index - 1);
	return r;
}

/* Is it of interest before the change which leaves there are? */
static bool must_be_gone_through(const struct range *range)
{
	return range->max_leaves || range->type->cost;
}

/* Goes through the leaves of the range as far as it may be removed at once, and ends it there. */
static int limit(struct range *range)
{
	uint32_t nr_leaves = 1;
	int r = 0;

	if (!must_be_gone_through(range))
		return 0;
	range->nr_values += range->path.nr_entries;
	while (!r && range->path.leaf_last < range->last) {
		if (nr_leaves++ == range->max_leaves) {
			range->last = range->path.leaf_last;
			return 0;
		}
		r = tp_path_next_leaf(&range->path);
		if (!r)
			range->nr_values += range->path.nr_entries;
	}
	return r == THINP_ENODATA ? 0 : r;
}

/* What may be taken: copies of the nodes on both ways, the root once; and of two neighbours each time that a node is
 * evened out, because that one has been copied before. Of values, those of the leaves in the range lose an owner, and those
 * in leaves that are copied may get one. So may children of nodes that are copied. */
static void add_up(struct range *range)
{
	uint32_t depth = (uint32_t)range->path.nr_frames;

	range->rounds = ROUNDS_EACH * depth;
	range->leaf_rounds = LEAF_ROUNDS;
	range->nr_blocks += 1 + 2 * depth + 2 * range->rounds;
	if (depth) /* the root, and what is between it and the leaves */
		range->nr_raised += TP_LOOK_MOST_CHILDREN;
	if (depth > 1)
		range->nr_raised += (2 * (depth - 1) + 2 * range->rounds) * (uint64_t)TP_LOOK_MOST_CHILDREN;
	if (range->type->inc)
		range->nr_values += (2 + 2 * LEAF_ROUNDS) * (uint64_t)tp_node_capacity(range->path.leaf);
}

/* Finds out what there is to remove. *found false: nothing. */
static int survey(struct range *range, thinp_block_t root, bool *found)
{
	struct thinp_btree_type plain = {.size = sizeof(plain), .nr_levels = 1};
	thinp_block_t tree;
	uint32_t index;
	int r = find_tree(range, root, &tree);

	*found = false;
	if (r || range->first > range->last)
		return r;
	plain.value_size = range->type->value_size;
	tp_path_init(&range->path, thinp_tm_reader(range->tm), &plain, tree);
	range->path.prefetch = must_be_gone_through(range);
	range->path.prefetch_last = range->last;
	r = is_found(seek(range, range->first, &index), found);
	if (r || !*found)
		return r;
	*found = tp_node_key(range->path.leaf, index) <= range->last;
	if (!*found)
		return 0;
	r = limit(range);
	range->path.prefetch = false;
	if (!r)
		r = find_right(range);
	if (!r)
		r = seek(range, range->first, &index);
	if (!r)
		r = note_owners(range);
	add_up(range);
	return r ? r : find_left(range, index);
}

/* What is shared becomes more when it is copied: that is not what room is kept back for. */
static int reserve(const struct range *range)
{
	uint64_t nr_blocks = range->nr_blocks + tp_tm_cost_of_raising(range->tm, range->nr_raised);

	if (range->type->cost)
		nr_blocks += range->type->cost(range->type->ctx,
					       range->nr_values < SIZE_MAX ? (size_t)range->nr_values : SIZE_MAX);
	return thinp_tm_reserve(range->tm, nr_blocks,
				range->is_shared ? 0 : THINP_RESERVE_RELEASE | THINP_RESERVE_WHOLE);
}

/* --- cutting --------------------------------------------------------------------------------------------------------- */

/* The place of an entry that stays, or of the child that it is in. */
static int find(const struct range *range, uint64_t key, uint32_t *index)
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

static int place_cut(const struct range *range, struct cut *cut)
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

static int cut_leaf(struct range *range, const struct cut *cut)
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
static int cut_internal(struct range *range, const struct cut *cut)
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
static int fork_ways(struct range *range, uint32_t right, struct branch *branch)
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
static int cut_node(struct range *range, struct cut *cut, struct branch *branch, bool *done)
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

static int cut_way(struct range *range, struct cut *cut, struct branch *branch)
{
	bool done = false;
	int r = 0;

	while (!r && !done)
		r = cut_node(range, cut, branch, &done);
	tp_descent_end(&range->descent);
	return r;
}

static int cut_out(struct range *range, bool is_counting)
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
static int fill_child(struct range *range, uint32_t index, bool *changed)
{
	struct tp_descent_fill fill;
	int r = tp_descent_child_fill(&range->descent, index, &fill);

	*changed = false;
	if (r || fill.nr_entries >= fill.minimum)
		return r;
	if (!range->rounds || (fill.is_leaf && !range->leaf_rounds))
		return 0;
	r = tp_descent_rebalance(&range->descent, index, changed);
	range->rounds -= *changed;
	range->leaf_rounds -= *changed && fill.is_leaf;
	return r;
}

/* Goes the way to an entry that stays. */
static int fill_way(struct range *range, uint64_t key, bool *changed)
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

static int fill_up(struct range *range, bool has_key, uint64_t key)
{
	bool changed = has_key;
	int r = 0;

	while (!r && changed)
		r = fill_way(range, key, &changed);
	return r;
}

/* --- all of it ------------------------------------------------------------------------------------------------------- */

/* Goes to the root of the tree of the last level. */
static int go_to_tree(struct range *range)
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

static int change(struct range *range, thinp_block_t root, bool is_counting, thinp_block_t *new_root)
{
	int r = tp_descent_begin(&range->descent, range->tm, range->type, root);

	*new_root = range->descent.node.block;
	if (!r)
		r = go_to_tree(range);
	if (!r)
		r = cut_out(range, is_counting);
	if (!r)
		r = fill_up(range, range->has_left, range->left);
	if (!r)
		r = fill_up(range, range->has_right, range->right);
	tp_descent_end(&range->descent);
	return r && range->descent.has_begun ? thinp_tm_poison(range->tm, r) : r;
}

static int take_keys(struct range *range, const uint64_t *first_keys, const uint64_t *last_keys)
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
	struct range range;
	thinp_block_t changed_root = root;
	bool found = false;
	int r = tp_btree_type_take(&type, user_type);

	range.tm = tm;
	range.type = &type;
	range.max_leaves = max_leaves;
	range.is_shared = false;
	range.nr_blocks = range.nr_values = range.nr_raised = range.nr_removed = 0;
	if (!r)
		r = thinp_tm_status(tm);
	if (!r)
		r = take_keys(&range, first_keys, last_keys);
	if (!r)
		r = survey(&range, root, &found);
	if (!r && found)
		r = reserve(&range);
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
