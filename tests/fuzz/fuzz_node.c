/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a node, from its first byte. */
#include "fuzz.h"

#include "format/node.h"
#include "format/outline.h"

static bool is_same(const struct tp_node_header *a, const struct tp_node_header *b)
{
	return a->flags == b->flags && a->block == b->block && a->nr_entries == b->nr_entries &&
	       a->max_entries == b->max_entries && a->value_size == b->value_size;
}

/* False when the header is refused. */
static bool round_trip(const struct fuzz_block *block, struct tp_node_header *header)
{
	thinp_block_t says = tp_load_le64(block->data + 8);
	struct fuzz_block again = {{0}};
	struct tp_node_header second;

	if (fuzz_checked(tp_node_unpack(block->data, header), says))
		return false;
	tp_node_pack(header, again.data);
	FUZZ_HOLDS(tp_node_unpack(again.data, &second) == 0);
	FUZZ_HOLDS(is_same(header, &second));
	return true;
}

/* All that readers of a node rely on. */
static void check_what_is_promised(const uint8_t *node, const struct tp_node_header *header)
{
	size_t nr_entries = tp_node_nr_entries(node);
	const uint8_t *end = tp_node_values(node) + nr_entries * header->value_size;

	FUZZ_HOLDS(tp_node_is_leaf(node) == (header->flags == TP_NODE_LEAF));
	FUZZ_HOLDS(nr_entries == header->nr_entries && nr_entries <= tp_node_capacity(node));
	FUZZ_HOLDS(tp_node_value_size(node) == header->value_size && header->value_size > 0);
	FUZZ_HOLDS(end >= node && end <= node + THINP_BLOCK_SIZE);
	FUZZ_HOLDS(tp_node_is_leaf(node) || (header->value_size == 8 && nr_entries > 0));
	for (uint32_t i = 1; i < nr_entries; i++)
		FUZZ_HOLDS(tp_node_key(node, i - 1) < tp_node_key(node, i));
	if (header->value_size == 8 && nr_entries > 0)
		FUZZ_HOLDS(tp_node_value64(node, (uint32_t)nr_entries - 1) == tp_load_le64(end - 8));
}

/* By its outline, which a node with entries has, each key is found where it is, and what lies between two keys at the lower
 * one. */
static void check_outline(const uint8_t *node)
{
	struct tp_outline outline;
	bool has_outline = tp_outline_make(node, &outline);

	FUZZ_HOLDS(has_outline == (tp_node_nr_entries(node) > 0));
	if (!has_outline)
		return;
	FUZZ_HOLDS(outline.nr_entries == tp_node_nr_entries(node) && outline.is_leaf == tp_node_is_leaf(node));
	for (uint32_t i = 0; i < outline.nr_entries; i++) {
		uint64_t key = tp_node_key(node, i);
		uint64_t behind = i + 1 < outline.nr_entries ? tp_node_key(node, i + 1) - 1 : UINT64_MAX;

		FUZZ_HOLDS(tp_outline_in_group(&outline, node, tp_outline_group(&outline, key), key) == i);
		FUZZ_HOLDS(tp_outline_in_group(&outline, node, tp_outline_group(&outline, behind), behind) == i);
		FUZZ_HOLDS(tp_outline_value(&outline, node, i) ==
			   tp_node_values(node) + (size_t)i * outline.value_size);
	}
}

static void check_capacity(uint32_t value_size)
{
	uint64_t max_entries = tp_node_max_entries(value_size);

	FUZZ_HOLDS(max_entries % 3 == 0);
	FUZZ_HOLDS(!max_entries || TP_NODE_HEADER_SIZE + max_entries * (8 + (uint64_t)value_size) <= THINP_BLOCK_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_block block = fuzz_block(data, size);
	struct tp_node_header header;
	bool has_header = round_trip(&block, &header);

	if (!fuzz_checked(tp_node_check(block.data, 7), 7)) {
		FUZZ_HOLDS(has_header);
		check_what_is_promised(block.data, &header);
		check_outline(block.data);
	} else {
		struct tp_outline outline;

		(void)tp_outline_make(block.data,
				      &outline); /* of whatever it is: nothing outside of the block is read */
	}
	check_capacity(tp_load_le32(block.data + 24));
	fuzz_verify(&block, thinp_block_type_node());
	return 0;
}
