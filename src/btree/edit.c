/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/edit.c - changing the entries of nodes in memory.
 *
 * A node is two arrays, keys and values; every function does to the second what it does to the first. Counts are set when
 * the bytes are in place.
 */
#include "btree/edit.h"

void tp_node_init(void *node, uint32_t flags, thinp_block_t block, uint32_t value_size)
{
	const struct tp_node_header header = {.flags = flags,
					      .block = block,
					      .max_entries = tp_node_max_entries(value_size),
					      .value_size = value_size};

	tp_node_pack(&header, node);
}

void tp_node_init_like(void *node, const void *like, thinp_block_t block)
{
	const struct tp_node_header header = {.flags = tp_node_is_leaf(like) ? TP_NODE_LEAF : TP_NODE_INTERNAL,
					      .block = block,
					      .max_entries = tp_node_capacity(like),
					      .value_size = tp_node_value_size(like)};

	tp_node_pack(&header, node);
}

static uint8_t *key_at(void *node, uint32_t i)
{
	return (uint8_t *)node + TP_NODE_HEADER_SIZE + 8 * (size_t)i;
}

/* Moves all entries from `from` on so that they begin at `to`. The count stays. */
static void move_tail(void *node, uint32_t from, uint32_t to)
{
	size_t nr = tp_node_nr_entries(node) - from;

	if (!nr) /* most often, where keys ascend */
		return;
	memmove(key_at(node, to), key_at(node, from), 8 * nr);
	memmove(tp_node_value_at(node, to), tp_node_value_at(node, from), tp_node_value_size(node) * nr);
}

void tp_node_insert(void *node, uint32_t at, uint64_t key, const void *value_le)
{
	move_tail(node, at, at + 1);
	tp_node_set_key(node, at, key);
	tp_node_set_value(node, at, value_le);
	tp_node_set_nr_entries(node, tp_node_nr_entries(node) + 1);
}

void tp_node_insert64(void *node, uint32_t at, uint64_t key, uint64_t value)
{
	uint8_t value_le[8];

	tp_store_le64(value_le, value);
	tp_node_insert(node, at, key, value_le);
}

void tp_node_remove(void *node, uint32_t at, uint32_t nr)
{
	move_tail(node, at + nr, at);
	tp_node_set_nr_entries(node, tp_node_nr_entries(node) - nr);
}

void tp_node_move_within(void *node, uint32_t to, uint32_t from, uint32_t nr)
{
	uint8_t *keys = (uint8_t *)node + TP_NODE_HEADER_SIZE;
	size_t value_size = tp_node_value_size(node);

	if (to == from || !nr)
		return;
	memmove(keys + 8 * (size_t)to, keys + 8 * (size_t)from, 8 * (size_t)nr);
	memmove(tp_node_value_at(node, to), tp_node_value_at(node, from), value_size * nr);
}

void tp_node_append(void *node, const uint64_t *keys, const void *values_le, uint32_t nr)
{
	uint32_t end = tp_node_nr_entries(node);

	for (uint32_t i = 0; i < nr; i++)
		tp_node_set_key(node, end + i, keys[i]);
	if (nr)
		memcpy(tp_node_value_at(node, end), values_le, tp_node_value_size(node) * (size_t)nr);
	tp_node_set_nr_entries(node, end + nr);
}

void tp_node_copy(void *dst, uint32_t dst_at, const void *src, uint32_t src_at, uint32_t nr)
{
	size_t value_size = tp_node_value_size(dst);

	memcpy(key_at(dst, dst_at), (const uint8_t *)src + TP_NODE_HEADER_SIZE + 8 * (size_t)src_at, 8 * (size_t)nr);
	memcpy(tp_node_value_at(dst, dst_at), tp_node_values(src) + value_size * src_at, value_size * nr);
}

void tp_node_move_left(void *left, void *right, uint32_t nr)
{
	uint32_t nr_left = tp_node_nr_entries(left);

	tp_node_copy(left, nr_left, right, 0, nr);
	tp_node_set_nr_entries(left, nr_left + nr);
	tp_node_remove(right, 0, nr);
}

void tp_node_move_right(void *left, void *right, uint32_t nr)
{
	uint32_t nr_left = tp_node_nr_entries(left);
	uint32_t nr_right = tp_node_nr_entries(right);

	move_tail(right, 0, nr);
	tp_node_copy(right, 0, left, nr_left - nr, nr);
	tp_node_set_nr_entries(right, nr_right + nr);
	tp_node_set_nr_entries(left, nr_left - nr);
}

void tp_node_share(void *left, void *right, uint32_t nr_left)
{
	uint32_t now = tp_node_nr_entries(left);

	if (now < nr_left)
		tp_node_move_left(left, right, nr_left - now);
	else
		tp_node_move_right(left, right, now - nr_left);
}
