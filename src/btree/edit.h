/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/edit.h - changing the entries of nodes in memory.
 *
 * Pure functions on blocks of 4096 bytes: they know nothing of trees, transactions and buffers, and cannot fail. What
 * they are given must be sound: a node has passed tp_node_check() or was made here, a place is not behind the last entry, and
 * what is added has room. Callers look at all this before they begin to change a tree. Two nodes given together are
 * different blocks with values of one size; their capacities may differ.
 *
 * "left" and "right" are neighbours in this order: all keys of the left one are smaller.
 */
#ifndef TP_BTREE_EDIT_H
#define TP_BTREE_EDIT_H

#include "format/node.h"

#include <string.h>

/* Makes an empty node. flags: TP_NODE_LEAF or TP_NODE_INTERNAL; value_size: 8 for an internal node. */
void tp_node_init(void *node, uint32_t flags, thinp_block_t block, uint32_t value_size);

/* Makes an empty node of the same kind, capacity and value size as another. */
void tp_node_init_like(void *node, const void *like, thinp_block_t block);

/* How many entries more have room. */
static inline uint32_t tp_node_room(const void *node)
{
	return tp_node_capacity(node) - tp_node_nr_entries(node);
}

static inline uint8_t *tp_node_value_at(void *node, uint32_t i)
{
	return (uint8_t *)node + TP_NODE_HEADER_SIZE + 8 * (size_t)tp_node_capacity(node) +
	       (size_t)tp_node_value_size(node) * i;
}

/* Says how many entries a node has. Entries that come in that way must have been written before. */
static inline void tp_node_set_nr_entries(void *node, uint32_t nr_entries)
{
	tp_store_le32((uint8_t *)node + 16, nr_entries);
}

/* i is below the capacity. */
static inline void tp_node_set_key(void *node, uint32_t i, uint64_t key)
{
	tp_store_le64((uint8_t *)node + TP_NODE_HEADER_SIZE + 8 * (size_t)i, key);
}

/* i is below the capacity; the value is not inside the node. */
static inline void tp_node_set_value(void *node, uint32_t i, const void *value_le)
{
	uint8_t *to = tp_node_value_at(node, i);
	uint32_t value_size = tp_node_value_size(node);

	if (value_size == 8)
		memcpy(to, value_le, 8);
	else
		memcpy(to, value_le, value_size);
}

/* The same where values are 8 bytes. */
static inline void tp_node_set_value64(void *node, uint32_t i, uint64_t value)
{
	tp_store_le64(tp_node_value_at(node, i), value);
}

/* Puts an entry behind the last one; there is room. */
static inline void tp_node_add(void *node, uint64_t key, const void *value_le)
{
	uint32_t nr = tp_node_nr_entries(node);

	tp_node_set_key(node, nr, key);
	tp_node_set_value(node, nr, value_le);
	tp_node_set_nr_entries(node, nr + 1);
}

/* The same where values are 8 bytes. */
static inline void tp_node_add64(void *node, uint64_t key, uint64_t value)
{
	uint32_t nr = tp_node_nr_entries(node);

	tp_node_set_key(node, nr, key);
	tp_store_le64((uint8_t *)node + TP_NODE_HEADER_SIZE + 8 * ((size_t)tp_node_capacity(node) + nr), value);
	tp_node_set_nr_entries(node, nr + 1);
}

/* Puts an entry before entry `at`; at <= nr_entries, which is below the capacity. */
void tp_node_insert(void *node, uint32_t at, uint64_t key, const void *value_le);

/* The same where values are 8 bytes: a child, or the root of a tree. */
void tp_node_insert64(void *node, uint32_t at, uint64_t key, uint64_t value);

/* Takes out entries at .. at + nr - 1, all of which are there. nr may be 0. */
void tp_node_remove(void *node, uint32_t at, uint32_t nr);

/* Moves nr entries towards the front, over what is there: to <= from. Counts stay. */
void tp_node_move_within(void *node, uint32_t to, uint32_t from, uint32_t nr);

/* Adds entries behind the last one; there is room for nr. The keys are numbers, the values in on-disk form. */
void tp_node_append(void *node, const uint64_t *keys, const void *values_le, uint32_t nr);

/* Writes nr entries of src, from src_at on, over those of dst from dst_at on. Counts stay: dst_at + nr is at most the
 * capacity of dst, and src_at + nr at most the number of entries of src. */
void tp_node_copy(void *dst, uint32_t dst_at, const void *src, uint32_t src_at, uint32_t nr);

/* Moves the first nr entries of the right node to the end of the left one, which has room for them. */
void tp_node_move_left(void *left, void *right, uint32_t nr);

/* Moves the last nr entries of the left node to the front of the right one, which has room for them. */
void tp_node_move_right(void *left, void *right, uint32_t nr);

/* Moves entries between two neighbours so that the left one has nr_left of them; each has room for what it then has. */
void tp_node_share(void *left, void *right, uint32_t nr_left);

#endif
