/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/outline.c - making the outline of a node.
 */
#include "format/outline.h"

static bool has_outline(const void *node)
{
	uint64_t max_entries = tp_node_capacity(node);
	uint64_t entry_size = UINT64_C(8) + tp_node_value_size(node);

	return tp_node_nr_entries(node) && tp_node_nr_entries(node) <= max_entries && entry_size <= THINP_BLOCK_SIZE &&
	       TP_NODE_HEADER_SIZE + max_entries * entry_size <= THINP_BLOCK_SIZE;
}

static uint8_t shift_for(uint32_t nr_entries)
{
	uint8_t shift = 0;

	while (TP_OUTLINE_PIVOTS << shift < nr_entries)
		shift++;
	return shift;
}

bool tp_outline_make(const void *node, struct tp_outline *outline)
{
	uint32_t nr_entries = tp_node_nr_entries(node);

	if (!has_outline(node))
		return false;
	outline->nr_entries = (uint16_t)nr_entries;
	outline->value_size = (uint16_t)tp_node_value_size(node);
	outline->values_offset = (uint16_t)(TP_NODE_HEADER_SIZE + 8 * tp_node_capacity(node));
	outline->shift = shift_for(nr_entries);
	outline->is_leaf = tp_node_is_leaf(node);
	for (uint32_t i = 0; i < TP_OUTLINE_PIVOTS; i++) {
		uint32_t at = i << outline->shift;

		outline->pivots[i] = at < nr_entries ? tp_node_key(node, at) : UINT64_MAX;
	}
	return true;
}
