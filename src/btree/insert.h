/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/insert.h - what inserting one key and inserting many share.
 */
#ifndef TP_BTREE_INSERT_H
#define TP_BTREE_INSERT_H

#include "btree/spine.h"

struct tp_insertion {
	struct thinp_tm *tm;
	const struct thinp_btree_type *type;
	const uint64_t *keys;
	const void *value_le;
	uint64_t key; /* the last of the keys */
	bool is_new;
};

/* Shadows the way to the root of the tree of the last level where the keys belong; trees that are missing on the way are
 * made. spine->node is that root, and is in its place. Whatever comes out, tp_spine_end() is to be called. */
TP_MUST_USE int tp_insertion_reach_last_level(struct tp_insertion *ins, struct tp_btree_spine *spine,
					      thinp_block_t root, thinp_block_t *new_root);

#endif
