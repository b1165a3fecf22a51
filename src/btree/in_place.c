/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/in_place.c - inserting where all nodes on the way may be written where they are, or all but the leaf.
 *
 * Whatever stands in the way, this gives up and the long way is gone, which also finds the words for what is wrong.
 */
#include "btree/in_place.h"
#include "btree/finger.h"
#include "btree/way.h"

/* The keys above a leaf must not be larger than the ones in it. */
static void lower(struct tp_way *way, uint64_t key)
{
	for (uint32_t i = 0; i < way->nr_lowered; i++)
		tp_node_set_key(way->lowered[i], 0, key);
	if (way->nr_lowered)
		way->first = key;
}

/* An old value that is to be dropped, or a full leaf, is the long way's business. */
static inline bool can_put(const struct tp_insertion *ins, const uint8_t *leaf)
{
	if (ins->is_new)
		return tp_node_nr_entries(leaf) != tp_node_capacity(leaf);
	return !ins->type->dec;
}

static bool put_among_others(struct tp_insertion *ins, uint8_t *leaf, uint64_t first, uint64_t last)
{
	uint32_t index = tp_node_place(leaf, ins->key, first, last);

	ins->is_new = index == tp_node_nr_entries(leaf) || tp_node_key(leaf, index) != ins->key;
	if (!can_put(ins, leaf))
		return false;
	if (ins->is_new)
		tp_node_insert(leaf, index, ins->key, ins->value_le);
	else
		tp_node_set_value(leaf, index, ins->value_le);
	return true;
}

/* Where keys ascend, most are behind the end of the leaf of the one before. */
static bool put_at_finger(struct tp_insertion *ins, const struct tp_finger *finger)
{
	uint8_t *leaf = finger->buffer->data;

	ins->is_new = tp_finger_can_append(finger, ins->key);
	if (!ins->is_new)
		return put_among_others(ins, leaf, finger->first, finger->last);
	tp_node_add(leaf, ins->key, ins->value_le);
	return true;
}

bool tp_insert_at_finger(struct tp_insertion *ins, const struct tp_finger *finger)
{
	if (!put_at_finger(ins, finger))
		return false;
	tp_finger_keep(ins->tm);
	return true;
}

bool tp_insert_in_place(struct tp_insertion *ins, thinp_block_t root)
{
	struct tp_way way;

	tp_way_begin(&way, ins->tm, root);
	if (!tp_way_to_leaf(&way, ins->type, ins->keys) || !put_among_others(ins, way.node, way.first, way.last))
		return false;
	lower(&way, ins->key);
	ins->tm->generation++;
	tp_finger_set(ins->tm, ins->type, root, ins->keys, way.buffer, way.first, way.last);
	return true;
}

/* --- only the leaf is copied ----------------------------------------------------------------------------------------- */

/* Does the leaf have what its parent promises, and is there nothing to do but to copy it and to write the entry? A node that is not
 * in the cache may be anything. */
static bool can_copy(const struct tp_insertion *ins, const struct tp_way *way, const struct tp_btree_child *child,
		     const void *node)
{
	uint32_t nr = tp_node_nr_entries(node), index;
	bool has_key;

	if (!tp_node_is_leaf(node) || tp_btree_check_node(ins->type, child, node) ||
	    (nr && tp_node_key(node, nr - 1) > way->last))
		return false;
	if (nr < tp_node_capacity(node) && !ins->type->dec)
		return true;
	has_key = tp_node_find(node, ins->key, &index);
	return has_key ? !ins->type->dec : nr < tp_node_capacity(node);
}

static bool look_at_leaf(const struct tp_insertion *ins, const struct tp_way *way, const struct tp_btree_child *child)
{
	struct thinp_read_section section;
	const void *node;
	bool is_good;

	thinp_read_begin(thinp_tm_reader(ins->tm), &section);
	node = thinp_read_peek(&section, child->block, way->node_type);
	is_good = node && can_copy(ins, way, child, node);
	thinp_read_end(&section);
	return is_good;
}

/* Values of a leaf that others own, too, get an owner when it is copied. That is the long way's business. */
static int count_owners(const struct tp_insertion *ins, thinp_block_t block, bool *is_shared)
{
	uint32_t count = 1;
	int r = ins->type->inc ? thinp_tm_count(ins->tm, block, &count) : 0;

	*is_shared = count > 1;
	return r;
}

static int shadow_both(struct tp_insertion *ins, const struct tp_btree_child *child, uint32_t index,
		       struct tp_btree_frame *parent, struct tp_btree_frame *leaf)
{
	const struct tp_btree_child above = {
		.parent = THINP_NO_BLOCK, .block = child->parent, .level = child->level, .depth = child->depth - 1};
	int r = tp_btree_shadow(ins->tm, ins->type, &above, THINP_CAUSE_SHADOW, parent);

	if (r)
		return r;
	r = tp_btree_shadow(ins->tm, ins->type, child, THINP_CAUSE_SHADOW, leaf);
	if (!r)
		tp_node_set_value64(parent->node, index, leaf->block);
	tp_btree_end(ins->tm, parent);
	return r;
}

/* Goes to the leaf, if it is the only node on the way that is no shadow. */
static bool find_leaf(const struct tp_insertion *ins, thinp_block_t root, struct tp_way *way,
		      struct tp_btree_child *leaf)
{
	tp_way_begin(way, ins->tm, root);
	if (tp_way_to_leaf(way, ins->type, ins->keys) || !way->nr_above || way->nr_lowered)
		return false;
	*leaf = (struct tp_btree_child){.parent = way->parent,
					.block = way->block,
					.first = way->first,
					.level = ins->type->nr_levels - 1,
					.depth = way->nr_above};
	return look_at_leaf(ins, way, leaf);
}

int tp_insert_into_copy(struct tp_insertion *ins, thinp_block_t root, bool *done)
{
	struct tp_btree_frame parent, leaf;
	struct tp_btree_child child;
	bool is_shared = true;
	struct tp_way way;
	int r = 0;

	*done = false;
	if (find_leaf(ins, root, &way, &child))
		r = count_owners(ins, child.block, &is_shared);
	if (r || is_shared)
		return r;
	r = thinp_tm_reserve(ins->tm, 1, 0);
	if (!r)
		r = shadow_both(ins, &child, way.index, &parent, &leaf);
	if (r)
		return r;
	*done = put_among_others(ins, leaf.node, way.first, way.last);
	tp_finger_set(ins->tm, ins->type, root, ins->keys, leaf.buffer, way.first, way.last);
	tp_btree_end(ins->tm, &leaf);
	return 0;
}
