/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/splice.h - putting many entries into one place of a tree of one level.
 *
 * The whole way from the root to a leaf is locked. When the entries that belong into the leaf are more than it can hold,
 * it becomes several leaves; the new ones go into the parent, which becomes several nodes in turn, and so on upwards. A
 * root keeps its address: it gets children in the place of its entries.
 */
#ifndef TP_BTREE_SPLICE_H
#define TP_BTREE_SPLICE_H

#include "btree/change.h"

#define TP_SPLICE_MAX_NEW 120u /* nodes that one of them may bring to its parent */

/* A node and its place in its parent. */
struct tp_splice_step {
	struct tp_btree_frame frame;
	uint32_t index; /* of the entry in this node that leads down */
	uint64_t last;  /* no key that belongs to the node is larger */
};

struct tp_splice {
	struct thinp_tm *tm;
	const struct thinp_btree_type *type;
	uint32_t level;
	uint32_t nr_steps; /* the last one is the leaf */
	struct tp_splice_step steps[THINP_BTREE_MAX_DEPTH];
};

/* A node that came into being to the right of another. */
struct tp_new_child {
	uint64_t key;
	thinp_block_t block;
};

/* How many nodes of a capacity so many entries need. */
static inline uint32_t tp_nr_nodes_for(uint64_t nr_entries, uint32_t capacity)
{
	return (uint32_t)((nr_entries + capacity - 1) / capacity);
}

/* How many of nr entries the first of nr_nodes nodes gets: an even share; or, packed, as many as have room, but so
 * that a third of its room is left for the last node. */
uint32_t tp_share_of_first(uint64_t nr, uint32_t nr_nodes, uint32_t capacity, bool is_packed);

/* Goes down from a root, which may be written in place, to the leaf of a key. */
TP_MUST_USE int tp_splice_begin(struct tp_splice *splice, struct thinp_tm *tm, const struct thinp_btree_type *type,
				const struct tp_btree_child *root, uint64_t key);

/* Puts nodes behind the one at a step of the way, into the step above. There may be TP_SPLICE_MAX_NEW of them; step 0, the root,
 * has nobody above it, so it gets none: see tp_splice_deepen(). */
TP_MUST_USE int tp_splice_add(struct tp_splice *splice, uint32_t step, const struct tp_new_child *children,
			      uint32_t nr_children);

/* Gives a node that is the root a child that gets its content; the way gets one step longer. */
TP_MUST_USE int tp_splice_deepen(struct tp_splice *splice);

/* Ends the change of all nodes. */
void tp_splice_end(struct tp_splice *splice);

#endif
