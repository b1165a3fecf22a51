/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/remove_leaf.h - taking entries out of one leaf: the removal that takes the fewest blocks.
 */
#ifndef TP_BTREE_REMOVE_LEAF_H
#define TP_BTREE_REMOVE_LEAF_H

#include "btree/descent.h"

struct tp_leaf_part {
	uint64_t first; /* a key of the tree */
	uint64_t last;  /* as is the last one that goes, in the same leaf */
	bool is_all;    /* nothing is left of the leaf */
};

/* The most nodes that are copied, in a tree with leaves at this depth: those on the way down, each but the root with two
 * neighbours. */
static inline uint32_t tp_leaf_part_nodes(uint32_t depth)
{
	return 1 + 3 * depth;
}

/* The descent stands at the root of the tree. What this may take has been reserved. */
TP_MUST_USE int tp_remove_leaf_part(struct tp_descent *descent, const struct tp_leaf_part *part, bool is_counting,
				    uint64_t *nr_removed);

#endif
