/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/beside.h - the nodes beside a way down a tree, with which those on the way may be evened out.
 */
#ifndef TP_BTREE_BESIDE_H
#define TP_BTREE_BESIDE_H

#include "btree/node.h"

/* To the left and to the right of a node, as deep as it is. THINP_NO_BLOCK: there is none that matters. */
struct tp_beside {
	thinp_block_t blocks[2];
};

static inline void tp_beside_none(struct tp_beside *beside)
{
	beside->blocks[0] = beside->blocks[1] = THINP_NO_BLOCK;
}

/* From a node on the way to the one below it, at an index. When the node itself may be evened out, children of the nodes
 * beside it can come beside that one. */
TP_MUST_USE int tp_beside_step(struct thinp_read_section *section, const void *node, uint32_t index,
			       bool may_be_evened_out, struct tp_beside *beside);

#endif
