/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/remove_many.c - removing many keys at once.
 *
 * A plan comes first: it goes to the leaf of each key, counts what is there to remove, and tells what that may take. Then,
 * leaf by leaf, the way down is shadowed once, and all keys that the leaf can lose are taken out of it together. A leaf
 * that has no more entries than it must have is first evened out or merged with its neighbours, as when one key is removed;
 * after that it, or the leaf that its keys are in then, can lose many again. A leaf of which all keys go is dropped
 * without being copied.
 */
#include "btree/beside.h"
#include "btree/descent.h"
#include "btree/look.h"
#include "btree/path.h"
#include "btree/plan.h"
#include "btree/redistribute.h"
#include "btree/remove_leaf.h"

#include "transaction/manager.h"

struct removal {
	struct thinp_tm *tm;
	const struct tp_batch *batch;
	thinp_block_t root;
	size_t next;       /* of the batch */
	size_t end;        /* of its keys that belong to the same leaf as the next one */
	size_t tree_end;   /* or to the same tree */
	uint32_t nr_found; /* of them in that leaf */
	uint64_t nr_removed;

	/* the plan */
	thinp_block_t way[TP_PATH_MAX_FRAMES]; /* to the leaf before */
	size_t nr_way;
	uint64_t nr_internal; /* nodes on all ways that must be copied */
	uint64_t nr_leaves;
	uint64_t nr_values; /* in these leaves */
	uint64_t nr_gone;   /* keys */
	uint32_t capacity;
	bool is_shared;   /* others own one of the nodes, or a neighbour that may be changed with it */
	bool is_tight;    /* some leaf has to be evened out */
	bool is_in_place; /* the nodes on this way, so far, may be written where they are */

	struct tp_descent descent;
	struct tp_path path;
};

/* --- finding --------------------------------------------------------------------------------------------------------- */

/* Counts what there is of the keys in the leaf where the path is, and passes over those before the first one. */
static void count_found(struct removal *rm)
{
	const void *leaf = rm->path.leaf;
	size_t first = rm->end;
	uint32_t at = 0;

	rm->nr_found = 0;
	for (size_t i = rm->next; i < rm->end; i++) {
		at = tp_node_find_from(leaf, at, tp_batch_key(rm->batch, i));
		if (!tp_node_has_at(leaf, at, tp_batch_key(rm->batch, i)))
			continue;
		first = i < first ? i : first;
		rm->nr_found++;
		at++; /* an equal key that follows is not found */
	}
	rm->next = first;
}

/* Goes to the leaf of the next key. Keys for which there is no tree are passed over. */
static int go_to_leaf(struct removal *rm)
{
	const struct tp_batch *batch = rm->batch;
	const uint64_t *keys = tp_batch_keys(batch, rm->next);
	uint32_t index;
	int r;

	if (rm->next >= rm->tree_end)
		rm->tree_end = tp_batch_end_of_tree(batch, rm->next);
	r = tp_path_seek(&rm->path, keys, &index);
	if (r && r != THINP_ENODATA)
		return r;
	if (r || memcmp(rm->path.keys, keys, (batch->type->nr_levels - 1) * sizeof(*keys))) {
		rm->next = rm->end = rm->tree_end;
		rm->nr_found = 0;
		return 0;
	}
	rm->end = tp_batch_end_of_range(batch, rm->next, rm->tree_end, rm->path.leaf_last);
	count_found(rm);
	return 0;
}

static void start(struct removal *rm)
{
	tp_path_init(&rm->path, thinp_tm_reader(rm->tm), rm->batch->type, rm->root);
	rm->next = rm->tree_end = 0;
	rm->nr_way = 0;
}

/* So many entries can go without the leaf becoming too empty. */
static uint32_t can_lose(const void *leaf, uint32_t depth)
{
	uint32_t nr = tp_node_nr_entries(leaf), minimum = depth ? tp_node_minimum(tp_node_capacity(leaf)) : 0;

	return nr > minimum ? nr - minimum : 0;
}

/* --- the plan -------------------------------------------------------------------------------------------------------- */

static int note_node(struct removal *rm, size_t depth, thinp_block_t block, uint64_t *nr)
{
	rm->is_in_place = rm->is_in_place && tp_tm_is_shadow(rm->tm, block);
	if (depth < rm->nr_way && rm->way[depth] == block)
		return 0;
	rm->nr_way = depth; /* whatever came below another node there is none of this way */
	*nr += rm->is_tight || !rm->is_in_place;
	return tp_btree_note_owners(rm->tm, block, &rm->is_shared);
}

/* Those beside the node below a frame. */
static int note_beside(struct removal *rm, const struct tp_path_frame *frame, struct tp_beside *beside)
{
	struct thinp_read_section section;
	const void *node;
	int r;

	thinp_read_begin(thinp_tm_reader(rm->tm), &section);
	r = tp_btree_read_node(&section, rm->batch->type, &frame->at, &node);
	if (!r && frame->is_leaf)
		tp_beside_none(beside); /* below a leaf there are roots */
	else if (!r)
		r = tp_beside_step(&section, node, frame->index, true, beside);
	thinp_read_end(&section);
	return r ? r : tp_beside_note_owners(rm->tm, beside, &rm->is_shared);
}

static int note_frame(struct removal *rm, size_t i, struct tp_beside *beside)
{
	const struct tp_path_frame *frame = &rm->path.frames[i];
	int r = note_node(rm, i, frame->at.block, &rm->nr_internal);

	rm->way[i] = frame->at.block;
	rm->nr_way = rm->nr_way > i + 1 ? rm->nr_way : i + 1;
	return r || !rm->is_tight || rm->is_shared ? r : note_beside(rm, frame, beside);
}

/* What goes out of the leaf where the path is. */
static int note_leaf(struct removal *rm)
{
	const struct tp_path *path = &rm->path;
	struct tp_beside beside;
	int r = 0;

	rm->is_in_place = true;
	tp_beside_none(&beside);
	for (size_t i = 0; !r && i < path->nr_frames; i++)
		r = note_frame(rm, i, &beside);
	if (!r)
		r = note_node(rm, path->nr_frames, path->leaf_at.block, &rm->nr_leaves);
	rm->nr_values += path->nr_entries;
	rm->nr_gone += rm->nr_found;
	rm->capacity = tp_node_capacity(path->leaf);
	return r;
}

/* Goes through all leaves. *is_tight: one of them cannot lose as much as it is to lose. */
static int survey(struct removal *rm, bool *is_tight)
{
	int r = 0;

	rm->nr_internal = rm->nr_leaves = rm->nr_values = rm->nr_gone = 0;
	*is_tight = false;
	for (start(rm); !r && rm->next < rm->batch->nr; rm->next = rm->end) {
		r = go_to_leaf(rm);
		if (r || !rm->nr_found)
			continue;
		*is_tight |= rm->nr_found > can_lose(rm->path.leaf, rm->path.leaf_at.depth);
		r = note_leaf(rm);
	}
	return r;
}

/* Each node on a way is copied once. Where leaves are evened out, so may two neighbours be of each node; then it is looked at
 * who owns those, too. */
static int plan(struct removal *rm)
{
	bool is_tight;
	int r = survey(rm, &is_tight);

	rm->is_tight = is_tight;
	return r || !is_tight ? r : survey(rm, &is_tight);
}

/* Values of leaves that others own get an owner when they are copied. */
static uint64_t nr_values_copied(const struct removal *rm)
{
	if (!rm->is_shared)
		return 0;
	return rm->nr_values + (rm->is_tight ? 2 * rm->nr_leaves * rm->capacity : 0);
}

static int reserve(const struct removal *rm)
{
	const struct thinp_btree_type *type = rm->batch->type;
	uint64_t times = rm->is_tight ? TP_MAX_NEIGHBOURS : 1;
	uint64_t nr_blocks = times * (rm->nr_internal + rm->nr_leaves);

	if (rm->is_shared || rm->is_tight)
		nr_blocks += tp_tm_cost_of_raising(rm->tm, times * rm->nr_internal * TP_LOOK_MOST_CHILDREN);
	nr_blocks += tp_btree_cost_of_dec(type, rm->nr_gone) + tp_btree_cost_of_inc(type, nr_values_copied(rm));
	return thinp_tm_reserve(rm->tm, nr_blocks, rm->is_shared ? 0 : THINP_RESERVE_RELEASE);
}

/* --- removing -------------------------------------------------------------------------------------------------------- */

/* Takes keys of the batch before `end` out of a leaf, at most so many. */
static int take_out(struct removal *rm, uint8_t *leaf, size_t end, uint32_t most)
{
	uint32_t nr = tp_node_nr_entries(leaf), from = 0, to = 0, nr_out = 0;
	int r = 0;

	for (; !r && rm->next < end && nr_out < most; rm->next++) {
		uint64_t key = tp_batch_key(rm->batch, rm->next);
		uint32_t at = tp_node_find_from(leaf, from, key);

		if (!tp_node_has_at(leaf, at, key))
			continue;
		r = tp_btree_dec_values(rm->batch->type, tp_node_value_at(leaf, at), 1);
		tp_node_move_within(leaf, to, from, at - from);
		to += at - from;
		from = at + 1;
		nr_out++;
	}
	tp_node_move_within(leaf, to, from, nr - from);
	tp_node_set_nr_entries(leaf, nr - nr_out);
	rm->nr_removed += nr_out;
	return r;
}

static int go_down_once(struct removal *rm, bool is_poor)
{
	struct tp_descent *descent = &rm->descent;
	uint64_t key = tp_batch_keys(rm->batch, rm->next)[descent->at.level];
	bool is_last_level = descent->at.level + 1 == rm->batch->type->nr_levels;
	uint32_t index;
	int r;

	if (is_last_level && is_poor)
		return tp_descent_down_to_poorer(descent, key);
	r = tp_descent_find_child(descent, key, &index);
	if (!r && tp_node_is_leaf(descent->node.node) && tp_node_key(descent->node.node, index) != key)
		r = tp_fail(THINP_ECORRUPT, descent->node.block,
			    "btree node: a key that was there before is not found");
	return r ? r : tp_descent_down(descent, index);
}

/* Shadows the way to the root of the tree that the next key is in. */
static int go_to_tree(struct removal *rm)
{
	struct tp_descent *descent = &rm->descent;
	int r = tp_descent_begin(descent, rm->tm, rm->batch->type, rm->root);

	if (!r)
		rm->root = descent->node.block;
	while (!r && descent->at.level + 1 < rm->batch->type->nr_levels)
		r = go_down_once(rm, false);
	return r;
}

/* Removes what the leaf of the next key can lose; at least that key. */
static int remove_some(struct removal *rm)
{
	struct tp_descent *descent = &rm->descent;
	bool is_poor = !can_lose(rm->path.leaf, rm->path.leaf_at.depth);
	uint32_t most;
	size_t end;
	int r = 0;

	while (!r && !tp_node_is_leaf(descent->node.node))
		r = go_down_once(rm, is_poor);
	if (r)
		return r;
	most = can_lose(descent->node.node, descent->at.depth);
	end = tp_batch_end_of_range(rm->batch, rm->next, rm->tree_end, descent->last);
	return take_out(rm, descent->node.node, end, most ? most : 1);
}

/* Removes all that is in the leaf of the next key, which is dropped without being copied. */
static int remove_all_of_leaf(struct removal *rm)
{
	const struct tp_leaf_part part = {.first = tp_node_key(rm->path.leaf, 0),
					  .last = tp_node_key(rm->path.leaf, rm->path.nr_entries - 1),
					  .is_all = true};
	uint64_t nr_removed;
	int r = tp_remove_leaf_part(&rm->descent, &part, false, &nr_removed);

	rm->nr_removed += rm->nr_found;
	rm->next = rm->end;
	return r;
}

static int remove_from_leaf(struct removal *rm)
{
	bool is_all =
		rm->nr_found == rm->path.nr_entries && rm->nr_found > can_lose(rm->path.leaf, rm->path.leaf_at.depth);
	int r = go_to_tree(rm);

	if (!r)
		r = is_all ? remove_all_of_leaf(rm) : remove_some(rm);
	tp_descent_end(&rm->descent);
	return r;
}

static int remove_all(struct removal *rm)
{
	int r = 0;

	start(rm);
	while (!r && rm->next < rm->batch->nr) {
		rm->path.root = rm->root;
		r = go_to_leaf(rm);
		if (!r && rm->nr_found)
			r = remove_from_leaf(rm);
	}
	return r;
}

static int remove_batch(struct removal *rm, thinp_block_t *new_root, uint64_t *nr_removed)
{
	uint64_t before = thinp_tm_generation(rm->tm);
	int r = tp_batch_check(rm->batch);

	if (!r)
		r = plan(rm);
	if (!r && rm->nr_gone)
		r = reserve(rm);
	if (!r && rm->nr_gone)
		r = remove_all(rm);
	if (r)
		return tp_btree_failed(rm->tm, before, r);
	*new_root = rm->root;
	if (nr_removed)
		*nr_removed = rm->nr_removed;
	return 0;
}

static int remove_checked(struct thinp_tm *tm, const struct tp_batch *batch, thinp_block_t root,
			  thinp_block_t *new_root, uint64_t *nr_removed)
{
	struct removal rm = {.tm = tm, .batch = batch, .root = root};
	int r = thinp_tm_status(tm);

	return r ? r : remove_batch(&rm, new_root, nr_removed);
}

int thinp_btree_remove_many(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root,
			    const uint64_t *keys, size_t nr_keys, thinp_block_t *new_root, uint64_t *nr_removed)
{
	struct thinp_btree_type type;
	const struct tp_batch batch = {.type = &type, .keys = keys, .nr = nr_keys};
	int r;

	tp_tm_enter(tm);
	r = tp_btree_type_take(&type, user_type);
	if (!r)
		r = remove_checked(tm, &batch, root, new_root, nr_removed);
	tp_tm_leave(tm);
	return r;
}
