/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/in_place.h - inserting where all nodes on the way may be written where they are, or all but the leaf.
 */
#ifndef TP_BTREE_IN_PLACE_H
#define TP_BTREE_IN_PLACE_H

#include "btree/insert.h"

struct tp_finger;

/* Insert, if no node has to be copied, read or split for it, and no value counted. false: nothing was done. */
bool tp_insert_at_finger(struct tp_insertion *ins, const struct tp_finger *finger); /* where that was found to stand */
bool tp_insert_in_place(struct tp_insertion *ins, thinp_block_t root);

/* The same where the leaf, which the cache has, is to be copied, and that is all there is to do. *done false: nothing was
 * done. */
TP_MUST_USE int tp_insert_into_copy(struct tp_insertion *ins, thinp_block_t root, bool *done);

#endif
