/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/node.h - nodes of B+ trees.
 *
 *   0    4  checksum
 *   4    4  flags: 1 internal, 2 leaf
 *   8    8  own address
 *   16   4  nr_entries
 *   20   4  max_entries
 *   24   4  value_size, 8 in internal nodes
 *   28   4  padding
 *   32      max_entries keys of 8 bytes, then max_entries values
 */
#ifndef TP_FORMAT_NODE_H
#define TP_FORMAT_NODE_H

#include "base/private.h"

#include "base/bytes.h"

#include <thinp/types.h>

#define TP_NODE_INTERNAL    1u
#define TP_NODE_LEAF        2u
#define TP_NODE_HEADER_SIZE 32u

struct tp_node_header {
	uint32_t flags;
	thinp_block_t block;
	uint32_t nr_entries;
	uint32_t max_entries;
	uint32_t value_size;
};

/* Capacity of a new node for values of this size: a multiple of three; 0 for a size of 0 or when not even three fit.
 * Nodes from the device may have another one, even one that is no multiple of three (tp_node_check). */
TP_PRIVATE_API uint32_t tp_node_max_entries(uint32_t value_size);

/* Reads the header; refuses one that tp_node_check would refuse (THINP_ECORRUPT, naming the address in the header). */
int tp_node_unpack(const void *data, struct tp_node_header *header);

/* Writes the header but for the checksum, and 0 into the padding; keys and values stay. */
void tp_node_pack(const struct tp_node_header *header, void *data);

/* The rules that need no context: flags, value size, capacity and count in range, keys strictly ascending, an internal
 * node not empty. THINP_ECORRUPT naming block (the address it was read from) and reason. Any capacity that fits the
 * block is taken, be it 0; a writer that splits nodes has to ask for more (at least three). */
int tp_node_check(const void *data, thinp_block_t block);

/* Fields of a node that has passed tp_node_check. */
static inline bool tp_node_is_leaf(const void *node)
{
	return tp_load_le32((const uint8_t *)node + 4) == TP_NODE_LEAF;
}

static inline uint32_t tp_node_nr_entries(const void *node)
{
	return tp_load_le32((const uint8_t *)node + 16);
}

static inline uint32_t tp_node_capacity(const void *node)
{
	return tp_load_le32((const uint8_t *)node + 20);
}

static inline uint32_t tp_node_value_size(const void *node)
{
	return tp_load_le32((const uint8_t *)node + 24);
}

static inline uint64_t tp_node_key(const void *node, uint32_t i)
{
	return tp_load_le64((const uint8_t *)node + TP_NODE_HEADER_SIZE + 8 * (size_t)i);
}

/* Do the first keys ascend? Every node from the device comes through here. Where no key but the last is 2^63 or more, a
 * difference less one has its uppermost bit set exactly when the two are not in order or far apart. So one look at all of
 * these bits together is enough for nearly all nodes, and compilers make vector code of that on every machine; only where
 * such a bit is set are the keys compared. */
static inline bool tp_node_keys_ascend(const void *node, uint32_t nr_entries)
{
	uint64_t bits = 0;
	bool ascend = true;

	for (uint32_t i = 1; i < nr_entries; i++) {
		uint64_t before = tp_node_key(node, i - 1);

		bits |= before | (tp_node_key(node, i) - before - 1);
	}
	if (!(bits >> 63))
		return true;
	for (uint32_t i = 1; i < nr_entries && ascend; i++)
		ascend = tp_node_key(node, i - 1) < tp_node_key(node, i);
	return ascend;
}

/* The values begin behind the room for all keys, not behind the keys in use. */
static inline const uint8_t *tp_node_values(const void *node)
{
	return (const uint8_t *)node + TP_NODE_HEADER_SIZE + 8 * (size_t)tp_node_capacity(node);
}

/* Value i of a node with 8-byte values: a child address in an internal node. */
static inline uint64_t tp_node_value64(const void *node, uint32_t i)
{
	return tp_load_le64(tp_node_values(node) + 8 * (size_t)i);
}

#endif
