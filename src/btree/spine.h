/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/spine.h - the way down of a change in one level: two nodes at a time are locked, the parent and its child.
 *
 * The functions change nodes, so a failure leaves the tree half changed: the caller calls thinp_tm_poison().
 */
#ifndef TP_BTREE_SPINE_H
#define TP_BTREE_SPINE_H

#include "btree/change.h"

#define TP_SHARE_MIN_ROOM 8u /* a sibling with less room is not worth being topped up */

struct tp_btree_spine {
	struct thinp_tm *tm;
	const struct thinp_btree_type *type;
	uint32_t level;
	uint32_t depth;               /* of the node; 0: it is the root of its level, and there is no parent */
	struct tp_btree_frame parent; /* its entry `index` is the node */
	struct tp_btree_frame node;
	uint32_t index;
	uint64_t parent_last; /* no key that belongs to the parent is larger */
};

/* Begins with the root of a level. Its new address is spine->node.block, and stays that whatever happens below it. */
TP_MUST_USE int tp_spine_begin(struct tp_btree_spine *spine, struct thinp_tm *tm, const struct thinp_btree_type *type,
			       const struct tp_btree_child *root);

/* Goes down to the child in which the key belongs. The key of the first child is lowered when it has to be. */
TP_MUST_USE int tp_spine_step(struct tp_btree_spine *spine, uint64_t key);

/* Makes room in a full node, whose capacity is at least three; its parent is not full. A root gets two children and
 * becomes an internal node. Of others, entries move to a sibling, or to a new one; spine->node is the one of them in which
 * the key belongs afterwards. */
TP_MUST_USE int tp_spine_make_room(struct tp_btree_spine *spine, uint64_t key);

/* The keys that belong to the node, as its parents say. */
uint64_t tp_spine_first(const struct tp_btree_spine *spine);
uint64_t tp_spine_last(const struct tp_btree_spine *spine);

/* Goes down to the leaf in which the key belongs, and makes room in all full nodes on the way; in the leaf only if the key
 * is new. *index: its place. */
TP_MUST_USE int tp_spine_descend(struct tp_btree_spine *spine, uint64_t key, uint32_t *index, bool *is_new);

/* Ends the change of both nodes. May be called after a failure, and more than once. */
void tp_spine_end(struct tp_btree_spine *spine);

#endif
