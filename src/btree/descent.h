/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/descent.h - going down a tree and shadowing each node on the way; and what is done to children on that way so that
 * one of them can lose an entry.
 *
 * One node is locked at a time, and its child for as long as it takes to write the child's new address into it.
 */
#ifndef TP_BTREE_DESCENT_H
#define TP_BTREE_DESCENT_H

#include "btree/change.h"
#include "btree/drop.h"

struct tp_descent {
	struct thinp_tm *tm;
	const struct thinp_btree_type *type;
	bool has_begun;             /* something has been changed */
	uint64_t generation;        /* of the transaction, at the beginning */
	struct tp_btree_frame node; /* where it stands */
	struct tp_btree_child at;   /* the same, seen from its parent */
	uint64_t last;              /* no key of the node is larger */
};

/* Shadows a root. */
TP_MUST_USE int tp_descent_begin(struct tp_descent *descent, struct thinp_tm *tm, const struct thinp_btree_type *type,
				 thinp_block_t root);

/* Goes on, as the same descent, from a node of this tree that has been shadowed before, whose address therefore stays. */
TP_MUST_USE int tp_descent_resume(struct tp_descent *descent, const struct tp_btree_child *at, uint64_t last);

/* Shadows a child and goes to it. Of a leaf of an upper level the children are roots. */
TP_MUST_USE int tp_descent_down(struct tp_descent *descent, uint32_t index);

/* Shadows a child, and stays. */
TP_MUST_USE int tp_descent_shadow_child(struct tp_descent *descent, uint32_t index);

/* At an internal node of the last level: sees to it that the child of a key, in which the key is, can lose an entry, and goes
 * to it. When the children of a root come down to one, that takes the root's place, which may be a leaf then. */
TP_MUST_USE int tp_descent_down_to_poorer(struct tp_descent *descent, uint64_t key);

/* Leaves the node. */
void tp_descent_end(struct tp_descent *descent);

/* The place of the child that a key belongs to; THINP_ECORRUPT when there is none. */
TP_MUST_USE int tp_descent_find_child(const struct tp_descent *descent, uint64_t key, uint32_t *index);

/* How full a child is, and what it should have at least. */
struct tp_descent_fill {
	bool is_leaf;
	uint32_t nr_entries;
	uint32_t minimum;
};
TP_MUST_USE int tp_descent_child_fill(const struct tp_descent *descent, uint32_t index, struct tp_descent_fill *fill);

/* Evens out or merges a child with its neighbours. *changed false: there are none, or of another capacity, or
 * they are even. */
TP_MUST_USE int tp_descent_rebalance(struct tp_descent *descent, uint32_t index, bool *changed);

/* Takes a child out of the node, and drops it. A node without children becomes an empty leaf. */
TP_MUST_USE int tp_descent_drop_child(struct tp_descent *descent, uint32_t index, struct tp_drop *drop);

/* Puts the content of a root's only child into the root. */
TP_MUST_USE int tp_descent_collapse(struct tp_descent *descent);

#endif
