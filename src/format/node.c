/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/node.c - nodes of B+ trees.
 *
 * Invariants
 *   1. After tp_node_check has passed, every key and value below max_entries lies inside the block.
 *   2. A capacity other than the computed one is taken as long as it fits: the field is what says where values begin.
 */
#include "format/node.h"

#include "base/error.h"

#include <inttypes.h>

#define KEY_SIZE   8u
#define CHILD_SIZE 8u
#define ROOM       (THINP_BLOCK_SIZE - TP_NODE_HEADER_SIZE)

/* How many entries have room in a block, for value sizes up to UINT32_MAX. */
static uint32_t entries_that_fit(uint32_t value_size)
{
	return (uint32_t)(ROOM / ((uint64_t)KEY_SIZE + value_size));
}

uint32_t tp_node_max_entries(uint32_t value_size)
{
	return value_size ? entries_that_fit(value_size) / 3 * 3 : 0;
}

static void load_header(const uint8_t *data, struct tp_node_header *header)
{
	header->flags = tp_load_le32(data + 4);
	header->block = tp_load_le64(data + 8);
	header->nr_entries = tp_load_le32(data + 16);
	header->max_entries = tp_load_le32(data + 20);
	header->value_size = tp_load_le32(data + 24);
}

static int check_value_size(const struct tp_node_header *header, thinp_block_t block)
{
	if (header->value_size == 0)
		return tp_fail(THINP_ECORRUPT, block, "btree node: values of no bytes");
	if (header->flags == TP_NODE_INTERNAL && header->value_size != CHILD_SIZE)
		return tp_fail(THINP_ECORRUPT, block, "btree node: internal with values of %" PRIu32 " bytes, not %u",
			       header->value_size, CHILD_SIZE);
	return 0;
}

static int check_entries(const struct tp_node_header *header, thinp_block_t block)
{
	if (header->max_entries > entries_that_fit(header->value_size))
		return tp_fail(THINP_ECORRUPT, block,
			       "btree node: says it has room for %" PRIu32 " values of %" PRIu32 " bytes, but %" PRIu32
			       " fit",
			       header->max_entries, header->value_size, entries_that_fit(header->value_size));
	if (header->nr_entries > header->max_entries)
		return tp_fail(THINP_ECORRUPT, block, "btree node: %" PRIu32 " entries, but room for %" PRIu32,
			       header->nr_entries, header->max_entries);
	if (header->flags == TP_NODE_INTERNAL && header->nr_entries == 0)
		return tp_fail(THINP_ECORRUPT, block, "btree node: internal, but without entries");
	return 0;
}

static int check_header(const struct tp_node_header *header, thinp_block_t block)
{
	int r;

	if (header->flags != TP_NODE_INTERNAL && header->flags != TP_NODE_LEAF)
		return tp_fail(THINP_ECORRUPT, block,
			       "btree node: flags are 0x%" PRIx32 ", neither internal (1) nor leaf (2)", header->flags);
	r = check_value_size(header, block);
	return r ? r : check_entries(header, block);
}

int tp_node_unpack(const void *data, struct tp_node_header *header)
{
	struct tp_node_header found;
	int r;

	load_header(data, &found);
	r = check_header(&found, found.block);
	if (!r)
		*header = found;
	return r;
}

void tp_node_pack(const struct tp_node_header *header, void *data)
{
	uint8_t *p = data;

	tp_store_le32(p + 4, header->flags);
	tp_store_le64(p + 8, header->block);
	tp_store_le32(p + 16, header->nr_entries);
	tp_store_le32(p + 20, header->max_entries);
	tp_store_le32(p + 24, header->value_size);
	tp_store_le32(p + 28, 0);
}

/* Finds the pair that is out of order, of which there is one. */
static int fail_key_order(const void *node, thinp_block_t block)
{
	uint32_t i = 1;

	while (tp_node_key(node, i - 1) < tp_node_key(node, i))
		i++;
	return tp_fail(THINP_ECORRUPT, block,
		       "btree node: keys out of order: key %" PRIu32 " is %" PRIu64 ", after %" PRIu64, i,
		       tp_node_key(node, i), tp_node_key(node, i - 1));
}

int tp_node_check(const void *data, thinp_block_t block)
{
	struct tp_node_header header;
	int r;

	load_header(data, &header);
	r = check_header(&header, block);
	if (!r && !tp_node_keys_ascend(data, header.nr_entries))
		r = fail_key_order(data, block);
	return r;
}
