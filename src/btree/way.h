/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/way.h - the way down to a leaf, by the marks of the transaction.
 *
 * After the first changes of a transaction this is the way of nearly all others, so nothing is done here but what must be:
 * each node's buffer is found by the mark of its block, nothing is locked, for nothing is called before the leaf is written,
 * and nodes were checked when they were shadowed or made. What is looked at once more are the promises of the parent that
 * cost nothing, for a damaged tree may point to a node of another one.
 */
#ifndef TP_BTREE_WAY_H
#define TP_BTREE_WAY_H

#include "btree/change.h"

#include "transaction/manager.h"

/* The way to a leaf. Keys that belong to it are in first .. last. */
struct tp_way {
	struct thinp_tm *tm;
	const struct thinp_block_type *node_type;
	thinp_block_t block; /* of the next node */
	struct thinp_buffer *buffer;
	uint8_t *node;
	thinp_block_t parent; /* of the next node */
	uint32_t index;       /* and its place in there */
	uint32_t nr_above;    /* nodes of the last level above the one at which the way ends early: it is no shadow */
	bool is_root;         /* the leaf is */
	uint64_t first;
	uint64_t last;
	uint32_t nr_lowered; /* nodes above the leaf whose first key is larger than the one that is looked for */
	uint8_t *lowered[THINP_BTREE_MAX_DEPTH];
};

/* Goes to the next node. */
static inline bool tp_way_arrive(struct tp_way *way)
{
	const struct tp_mark *mark = tp_tm_writable(way->tm, way->block, way->node_type);

	if (!mark)
		return false;
	way->buffer = mark->buffer;
	way->node = mark->data;
	return true;
}

/* From an internal node to where the key belongs. */
static inline void tp_way_choose_child(struct tp_way *way, uint64_t key)
{
	uint32_t behind = tp_node_upper_bound(way->node, key);

	if (behind < tp_node_nr_entries(way->node))
		way->last = tp_node_key(way->node, behind) - 1;
	if (!behind) {
		way->lowered[way->nr_lowered++] = way->node;
		behind = 1;
	}
	way->parent = way->block;
	way->index = behind - 1;
	way->first = tp_node_key(way->node, behind - 1);
	way->block = tp_node_value64(way->node, behind - 1);
}

/* Goes down one tree, from its root, to the leaf of a key. Inlined by force, as is all of the way: then it is in registers, and
 * nothing is noted of it that is not asked for. */
static inline __attribute__((always_inline)) bool tp_way_down_one_tree(struct tp_way *way, uint64_t key,
								       uint32_t value_size)
{
	way->first = 0;
	way->last = UINT64_MAX;
	way->nr_lowered = 0;
	for (uint32_t depth = 0; depth < THINP_BTREE_MAX_DEPTH; depth++) {
		if (!tp_way_arrive(way)) {
			way->nr_above = depth;
			return false;
		}
		if (tp_node_nr_entries(way->node) && tp_node_key(way->node, 0) < way->first)
			return false;
		way->is_root = !depth;
		if (tp_node_is_leaf(way->node))
			return tp_node_value_size(way->node) == value_size;
		tp_way_choose_child(way, key);
	}
	return false;
}

static inline void tp_way_begin(struct tp_way *way, struct thinp_tm *tm, thinp_block_t root)
{
	way->tm = tm;
	way->node_type = thinp_block_type_node();
	way->block = root;
	way->index = way->nr_above = 0;
}

/* Goes to the leaf of the last level where the keys belong. false: it ends early, or something is not as it should be. */
static inline __attribute__((always_inline)) bool
tp_way_to_leaf(struct tp_way *way, const struct thinp_btree_type *type, const uint64_t *keys)
{
	uint32_t last_level = type->nr_levels - 1;

	for (uint32_t level = 0; level < last_level; level++) {
		uint32_t index;

		if (!tp_way_down_one_tree(way, keys[level], 8) || !tp_node_find(way->node, keys[level], &index)) {
			way->nr_above = 0;
			return false;
		}
		way->block = tp_node_value64(way->node, index);
	}
	return tp_way_down_one_tree(way, keys[last_level], type->value_size);
}

#endif
