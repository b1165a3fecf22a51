/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/beside.h - the nodes beside a way down a tree, with which those on the way may be evened out.
 */
#ifndef TP_BTREE_BESIDE_H
#define TP_BTREE_BESIDE_H

#include "btree/node.h"
#include "transaction/manager.h"

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

/* Sets *is_shared if others own the block. Nobody else owns one that is marked. */
TP_MUST_USE static inline int tp_btree_note_owners(struct thinp_tm *tm, thinp_block_t block, bool *is_shared)
{
	uint32_t count = 1;
	int r = *is_shared || tp_tm_is_shadow(tm, block) ? 0 : thinp_tm_count(tm, block, &count);

	*is_shared |= count > 1;
	return r;
}

/* The same for those beside a node. */
TP_MUST_USE int tp_beside_note_owners(struct thinp_tm *tm, const struct tp_beside *beside, bool *is_shared);

#endif
