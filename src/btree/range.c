/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/range.c - what removing a range of keys will touch, found out before anything is changed.
 */
#include "btree/range.h"

#include "btree/beside.h"
#include "btree/look.h"
#include "btree/redistribute.h"

#include "transaction/manager.h"

/* For the second part: how often nodes are evened out, of each depth. In a tree whose nodes have a third of their entries or
 * more, each way has one node too empty at each depth, and the node above it one more because of that. In others they may
 * stay as they are. Two leaves, one on each way, need no third time: then one of them has been evened out with a full one. */
#define ROUNDS_EACH 4u
#define LEAF_ROUNDS 2u

/* A node on the way. *beside: those beside the one below it. */
static int note_owners_of_frame(struct tp_range *range, const struct tp_path_frame *frame, struct tp_beside *beside)
{
	struct thinp_read_section section;
	const void *node;
	int r;

	thinp_read_begin(thinp_tm_reader(range->tm), &section);
	r = tp_btree_read_node(&section, range->type, &frame->at, &node);
	if (!r && frame->is_leaf)
		tp_beside_none(beside); /* below a leaf there are roots */
	else if (!r)
		r = tp_beside_step(&section, node, frame->index,
				   tp_node_nr_entries(node) <= tp_node_minimum(tp_node_capacity(node)), beside);
	thinp_read_end(&section);
	return r ? r : tp_btree_note_owners(range->tm, frame->at.block, &range->is_shared);
}

/* A leaf that goes as a whole is dropped, and no leaf beside it is touched, unless a root would be left with one child. */
static bool is_leaf_dropped(const struct tp_range *range)
{
	const struct tp_path *path = &range->path;
	const struct tp_path_frame *parent = path->nr_frames ? &path->frames[path->nr_frames - 1] : NULL;

	return range->is_one_leaf && range->part.is_all && parent && !parent->is_leaf &&
	       parent->nr_entries > (parent->at.depth ? 1 : 2);
}

/* Is there something on the way where the path stands that would become one node more when it is copied? */
static int note_owners(struct tp_range *range)
{
	const struct tp_path *path = &range->path;
	bool is_dropped = is_leaf_dropped(range);
	struct tp_beside beside;
	int r = is_dropped ? 0 : tp_btree_note_owners(range->tm, path->leaf_at.block, &range->is_shared);

	tp_beside_none(&beside);
	for (size_t i = 0; !r && !range->is_shared && i < path->nr_frames; i++) {
		r = note_owners_of_frame(range, &path->frames[i], &beside);
		if (!r && !(is_dropped && i + 1 == path->nr_frames))
			r = tp_beside_note_owners(range->tm, &beside, &range->is_shared);
	}
	return r;
}

/* Finds the tree of the last level. */
static int find_tree(struct tp_range *range, thinp_block_t root, thinp_block_t *tree)
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
static int seek(struct tp_range *range, uint64_t key, uint32_t *index)
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

static int find_right(struct tp_range *range)
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
static int find_left(struct tp_range *range, uint32_t index)
{
	int r = 0;

	while (!r && !index) {
		r = tp_path_prev_leaf(&range->path);
		index = range->path.nr_entries;
	}
	r = is_found(r, &range->has_left);
	if (range->has_left)
		range->left = tp_node_key(range->path.leaf, index - 1);
	return !r && range->has_left ? note_owners(range) : r;
}

/* Is it of interest before the change which leaves there are? */
static bool must_be_gone_through(const struct tp_range *range)
{
	return range->max_leaves || range->type->cost;
}

/* Goes through the leaves of the range as far as it may be removed at once, and ends it there. */
static int limit(struct tp_range *range)
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
 * evened out, because that one has been copied before. Children of nodes that are copied may get an owner, and values in
 * leaves. */
static void add_up(struct tp_range *range, uint32_t depth, uint32_t leaf_capacity)
{
	uint32_t nr_ways = (uint32_t)range->has_left + range->has_right;

	range->rounds = nr_ways && depth ? ROUNDS_EACH * (depth - 1) : 0;
	range->leaf_rounds = nr_ways ? LEAF_ROUNDS : 0;
	range->is_known = !range->rounds;
	range->nr_blocks += 1 + nr_ways * depth + 2 * (range->rounds + range->leaf_rounds);
	if (depth) /* the root, and what is between it and the leaves */
		range->nr_raised += TP_LOOK_MOST_CHILDREN;
	if (depth > 1)
		range->nr_raised += (nr_ways * (depth - 1) + 2 * range->rounds) * (uint64_t)TP_LOOK_MOST_CHILDREN;
	if (range->type->inc && (nr_ways || !depth))
		range->nr_copied = (1 + nr_ways + 2 * range->leaf_rounds) * (uint64_t)leaf_capacity;
}

/* Is all that may be removed at once in the leaf where the path stands? */
static bool is_in_leaf(const struct tp_range *range)
{
	return range->max_leaves == 1 || range->path.leaf_last >= range->last;
}

/* Then one way is gone, and what is shared on it is known. */
static int survey_leaf(struct tp_range *range, uint32_t index)
{
	const struct tp_path *path = &range->path;
	uint32_t depth = (uint32_t)path->nr_frames;
	uint32_t end;

	if (path->leaf_last < range->last)
		range->last = path->leaf_last;
	end = tp_node_upper_bound(path->leaf, range->last);
	range->is_one_leaf = true;
	range->part = (struct tp_leaf_part){.first = tp_node_key(path->leaf, index),
					    .last = tp_node_key(path->leaf, end - 1),
					    .is_all = !index && end == path->nr_entries};
	range->nr_blocks += tp_leaf_part_nodes(depth);
	range->nr_values = end - index;
	if (range->type->inc)
		range->nr_copied = TP_MAX_NEIGHBOURS * (uint64_t)tp_node_capacity(path->leaf);
	if (depth)
		range->nr_raised += tp_leaf_part_nodes(depth - 1) * TP_LOOK_MOST_CHILDREN;
	range->is_known = true;
	return note_owners(range);
}

/* The path stands on the first entry of several leaves. */
static int survey_leaves(struct tp_range *range, thinp_block_t tree)
{
	uint32_t depth = (uint32_t)range->path.nr_frames;
	uint32_t capacity = tp_node_capacity(range->path.leaf);
	uint32_t index;
	int r = limit(range);

	range->path.prefetch = false;
	if (!r)
		r = find_right(range);
	if (!r)
		r = seek(range, range->first, &index);
	if (!r)
		r = find_left(range, index);
	if (!r && !range->has_left && !range->has_right)
		r = tp_btree_note_owners(range->tm, tree, &range->is_shared);
	if (!r)
		add_up(range, depth, capacity);
	return r;
}

/* Finds out what there is to remove. *found false: nothing. */
int tp_range_survey(struct tp_range *range, thinp_block_t root, bool *found)
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
	if (is_in_leaf(range))
		return survey_leaf(range, index);
	return survey_leaves(range, tree);
}

/* What is shared becomes more when it is copied: that is not what room is kept back for. */
int tp_range_reserve(const struct tp_range *range)
{
	uint64_t nr_blocks = range->nr_blocks + tp_btree_cost_of_dec(range->type, range->nr_values);

	if (range->is_shared || !range->is_known)
		nr_blocks += tp_tm_cost_of_raising(range->tm, range->nr_raised) +
			     tp_btree_cost_of_inc(range->type, range->nr_copied);
	return thinp_tm_reserve(range->tm, nr_blocks, range->is_shared ? 0 : THINP_RESERVE_RELEASE);
}
