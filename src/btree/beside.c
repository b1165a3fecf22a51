/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/beside.c - the nodes beside a way down a tree.
 */
#include "btree/beside.h"

static int edge_child(struct thinp_read_section *section, thinp_block_t block, bool is_last, thinp_block_t *child)
{
	const void *node;
	uint32_t nr;
	int r;

	*child = THINP_NO_BLOCK;
	if (block == THINP_NO_BLOCK)
		return 0;
	r = thinp_read_block(section, block, thinp_block_type_node(), &node);
	if (r)
		return r;
	nr = tp_node_nr_entries(node);
	if (!tp_node_is_leaf(node) && nr)
		*child = tp_node_value64(node, is_last ? nr - 1 : 0);
	return 0;
}

int tp_beside_step(struct thinp_read_section *section, const void *node, uint32_t index, bool may_be_evened_out,
		   struct tp_beside *beside)
{
	const struct tp_beside above = *beside;
	uint32_t nr = tp_node_nr_entries(node);
	int r = 0;

	tp_beside_none(beside);
	if (index)
		beside->blocks[0] = tp_node_value64(node, index - 1);
	else if (may_be_evened_out)
		r = edge_child(section, above.blocks[0], true, &beside->blocks[0]);
	if (!r && index + 1 < nr)
		beside->blocks[1] = tp_node_value64(node, index + 1);
	else if (!r && may_be_evened_out)
		r = edge_child(section, above.blocks[1], false, &beside->blocks[1]);
	return r;
}

int tp_beside_note_owners(struct thinp_tm *tm, const struct tp_beside *beside, bool *is_shared)
{
	int r = 0;

	for (uint32_t i = 0; !r && i < 2; i++)
		if (beside->blocks[i] != THINP_NO_BLOCK)
			r = tp_btree_note_owners(tm, beside->blocks[i], is_shared);
	return r;
}
