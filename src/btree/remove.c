/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/remove.c - removing one key.
 *
 * First the way down is gone without changing anything: it tells whether there is such a key, and how much the change may
 * take. Then it is gone once more, shadowing each node. Above the leaf a child that has no more entries than it must have
 * is first evened out or merged with its neighbours, so that there is nothing to repair on the way back up.
 *
 * When all nodes on the way may be written in place and none has too few entries, the leaf is the only one to be touched. Where
 * there is no value to be counted, that is done before all else, by the marks of the transaction (way.h).
 */
#include "btree/beside.h"
#include "btree/descent.h"
#include "btree/look.h"
#include "btree/redistribute.h"
#include "btree/way.h"

#include "transaction/manager.h"

/* What the first way down finds. */
struct survey {
	struct thinp_tm *tm;
	const struct thinp_btree_type *type;
	const uint64_t *keys;
	uint64_t nr_blocks; /* the most the change may take */
	uint64_t nr_copied; /* the most values that get an owner, when leaves that others share are copied */
	uint64_t nr_raised; /* the most children that get an owner more, when nodes that others share are copied */
	bool is_shared;     /* others own the node that is looked at, or one above it */
	bool has_shared;    /* or a neighbour of one */
	bool is_in_place;   /* nothing has to be copied, evened out or collapsed so far */
	struct tp_btree_child leaf_at;
	uint32_t index;          /* of the key in the leaf */
	struct tp_beside beside; /* the node to be looked at next */
};

/* What of a node is needed after the section in which it was read. */
struct seen {
	bool is_leaf;
	bool is_last_level;
	uint32_t depth;
	thinp_block_t block;
	uint32_t nr_entries;
	uint32_t capacity;
	struct tp_beside beside;
};

/* What is copied when others own it: children get an owner, or values. */
static void add_shared(struct survey *survey, const struct seen *seen)
{
	survey->has_shared = true;
	if (seen->is_leaf && seen->is_last_level)
		survey->nr_copied += seen->capacity;
	else
		survey->nr_raised += TP_LOOK_MOST_CHILDREN;
}

/* Neighbours with which a node is evened out may be copied, too, or merged away. */
static int survey_beside(struct survey *survey, const struct seen *seen)
{
	int r = 0;

	if (seen->nr_entries > tp_node_minimum(seen->capacity))
		return 0;
	for (uint32_t i = 0; !r && i < 2; i++) {
		bool shared = survey->is_shared;

		if (seen->beside.blocks[i] == THINP_NO_BLOCK)
			continue;
		r = tp_btree_note_owners(survey->tm, seen->beside.blocks[i], &shared);
		if (shared)
			add_shared(survey, seen);
	}
	return r;
}

/* Can the node lose an entry as it is? Those of upper levels lose none. */
static bool can_stay(const struct seen *seen)
{
	if (!seen->is_last_level)
		return true;
	return seen->depth ? seen->nr_entries > tp_node_minimum(seen->capacity) : seen->is_leaf || seen->nr_entries > 1;
}

static int survey_node(struct survey *survey, const struct seen *seen)
{
	uint32_t nr_nodes = seen->is_last_level && seen->depth ? TP_MAX_NEIGHBOURS : 1;
	int r = 0;

	survey->is_in_place = survey->is_in_place && can_stay(seen) && tp_tm_is_shadow(survey->tm, seen->block);
	survey->nr_blocks += nr_nodes;
	if (nr_nodes > 1)
		r = survey_beside(survey, seen);
	if (!r)
		r = tp_btree_note_owners(survey->tm, seen->block, &survey->is_shared);
	if (survey->is_shared)
		add_shared(survey, seen);
	return r;
}

/* The entry of a node to go on with. */
static int choose(struct survey *survey, const struct tp_btree_child *at, const void *node, uint32_t *index)
{
	uint64_t key = survey->keys[at->level];
	uint32_t behind = tp_node_upper_bound(node, key);

	if (!behind || (tp_node_is_leaf(node) && tp_node_key(node, behind - 1) != key))
		return THINP_ENODATA;
	*index = behind - 1;
	return 0;
}

/* A leaf of an upper level has roots below it. */
static int step_beside(struct survey *survey, struct thinp_read_section *section, const void *node, uint32_t index,
		       const struct seen *seen)
{
	if (!seen->is_leaf)
		return tp_beside_step(section, node, index, !can_stay(seen), &survey->beside);
	tp_beside_none(&survey->beside);
	return 0;
}

/* One node, and the way to the next. */
static int survey_step(struct survey *survey, struct tp_btree_child *at, uint64_t *last, uint32_t *leaf_depth,
		       bool *done)
{
	struct thinp_read_section section;
	struct seen seen = {.depth = at->depth, .block = at->block, .beside = survey->beside};
	const void *node;
	uint32_t index;
	int r;

	seen.is_last_level = at->level + 1 == survey->type->nr_levels;
	thinp_read_begin(thinp_tm_reader(survey->tm), &section);
	r = tp_btree_read_node(&section, survey->type, at, &node);
	if (!r)
		r = tp_btree_check_end(at, *last, node, leaf_depth);
	if (!r)
		r = choose(survey, at, node, &index);
	if (!r) {
		seen.is_leaf = tp_node_is_leaf(node);
		seen.nr_entries = tp_node_nr_entries(node);
		seen.capacity = tp_node_capacity(node);
		*done = seen.is_leaf && seen.is_last_level;
		r = step_beside(survey, &section, node, index, &seen);
	}
	if (!r) {
		if (!*done)
			*at = tp_btree_child_at(at, *last, node, index, last);
		survey->index = index;
	}
	thinp_read_end(&section);
	return r ? r : survey_node(survey, &seen);
}

static int survey_way(struct survey *survey, thinp_block_t root)
{
	struct tp_btree_child at = {.parent = THINP_NO_BLOCK, .block = root};
	uint64_t last = UINT64_MAX;
	bool done = false;
	int r = 0;

	tp_beside_none(&survey->beside);
	while (!r && !done) {
		uint32_t leaf_depth = 0;

		r = survey_step(survey, &at, &last, &leaf_depth, &done);
	}
	survey->leaf_at = at;
	return r == THINP_ENODATA ? tp_fail(r, THINP_NO_BLOCK, "no such key") : r;
}

/* May the change be made? Of each level every node on the way is copied; of the last level with two neighbours each, but
 * for the root. Nodes that are merged away and content that moves into a root take nothing. To that comes what the counts
 * of values and children take. What is shared becomes more when it is copied: that is not what room is kept back for. */
static int reserve(const struct survey *survey)
{
	uint64_t nr_blocks = 0;

	if (!survey->is_in_place)
		nr_blocks = survey->nr_blocks + tp_tm_cost_of_raising(survey->tm, survey->nr_raised) +
			    tp_btree_cost_of_inc(survey->type, survey->nr_copied);
	nr_blocks += tp_btree_cost_of_dec(survey->type, 1);
	if (!nr_blocks)
		return tp_tm_begin_change(survey->tm);
	return thinp_tm_reserve(survey->tm, nr_blocks, survey->has_shared ? 0 : THINP_RESERVE_RELEASE);
}

static int find_in_leaf(const struct tp_descent *descent, uint64_t key, uint32_t *index)
{
	if (tp_node_find(descent->node.node, key, index))
		return 0;
	return tp_fail(THINP_ECORRUPT, descent->node.block, "btree node: a key that was there before is not found");
}

static int remove_key(struct tp_descent *descent, const uint64_t *keys)
{
	uint32_t index;
	int r;

	for (;;) {
		uint64_t key = keys[descent->at.level];
		bool is_last_level = descent->at.level + 1 == descent->type->nr_levels;

		if (tp_node_is_leaf(descent->node.node)) {
			r = find_in_leaf(descent, key, &index);
			if (r || is_last_level)
				break;
			r = tp_descent_down(descent, index);
		} else if (is_last_level) {
			r = tp_descent_down_to_poorer(descent, key);
		} else {
			r = tp_descent_find_child(descent, key, &index);
			if (!r)
				r = tp_descent_down(descent, index);
		}
		if (r)
			return r;
	}
	if (!r)
		r = tp_btree_dec_values(descent->type, tp_node_value_at(descent->node.node, index), 1);
	if (!r)
		tp_node_remove(descent->node.node, index, 1);
	return r;
}

/* Takes the entry out of its leaf, and touches nothing else. The values of a node in place have no other owner. */
static int remove_in_place(const struct survey *survey)
{
	struct tp_btree_frame leaf;
	int r = tp_btree_shadow(survey->tm, survey->type, &survey->leaf_at, THINP_CAUSE_SHADOW, &leaf);

	if (r)
		return r;
	r = tp_btree_dec_values(survey->type, tp_node_value_at(leaf.node, survey->index), 1);
	if (!r)
		tp_node_remove(leaf.node, survey->index, 1);
	tp_btree_end(survey->tm, &leaf);
	return r ? thinp_tm_poison(survey->tm, r) : 0;
}

static int remove_on_the_way(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
			     const uint64_t *keys, thinp_block_t *new_root)
{
	struct tp_descent descent;
	thinp_block_t shadow;
	int r = tp_descent_begin(&descent, tm, type, root);

	shadow = descent.node.block;
	if (!r)
		r = remove_key(&descent, keys);
	tp_descent_end(&descent);
	if (r)
		return descent.has_begun ? thinp_tm_poison(tm, r) : r;
	*new_root = shadow;
	return 0;
}

/* Nothing above the leaf changes when that can lose an entry, however few there are in the nodes above. */
static bool remove_by_marks(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
			    const uint64_t *keys)
{
	uint64_t key = keys[type->nr_levels - 1];
	struct tp_way way;
	uint32_t index, nr;

	tp_way_begin(&way, tm, root);
	if (type->dec || !tp_way_to_leaf(&way, type, keys))
		return false;
	nr = tp_node_nr_entries(way.node);
	if (!way.is_root && nr <= tp_node_minimum(tp_node_capacity(way.node)))
		return false;
	index = tp_node_place(way.node, key, way.first, way.last);
	if (!tp_node_has_at(way.node, index, key))
		return false;
	tp_node_remove(way.node, index, 1);
	tm->generation++;
	return true;
}

static int remove_entry(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root,
			const uint64_t *keys, thinp_block_t *new_root)
{
	struct thinp_btree_type type;
	struct survey survey = {.tm = tm, .type = &type, .keys = keys, .is_in_place = true};
	int r = tp_btree_type_take(&type, user_type);

	if (!r)
		r = thinp_tm_status(tm);
	if (!r && remove_by_marks(tm, &type, root, keys)) {
		*new_root = root;
		return 0;
	}
	if (!r)
		r = survey_way(&survey, root);
	if (!r)
		r = reserve(&survey);
	if (r)
		return r;
	if (!survey.is_in_place)
		return remove_on_the_way(tm, &type, root, keys, new_root);
	r = remove_in_place(&survey);
	if (!r)
		*new_root = root;
	return r;
}

int thinp_btree_remove(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root,
		       const uint64_t *keys, thinp_block_t *new_root)
{
	int r;

	tp_tm_enter(tm);
	r = remove_entry(tm, user_type, root, keys, new_root);
	tp_tm_leave(tm);
	return r;
}
