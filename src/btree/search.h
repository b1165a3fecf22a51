/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/search.h - one step of a look-up: the entry of a node with the last key that is not larger than the one looked for.
 *
 * Nodes in the cache that nobody is changing have an outline (format/outline.h), and are searched by it. Where there is none, or
 * where the node is not what its parent promises, the plain way is gone, which knows what to say.
 */
#ifndef TP_BTREE_SEARCH_H
#define TP_BTREE_SEARCH_H

#include "block/manager.h"
#include "btree/node.h"

#include <string.h>

/* An entry; valid as long as the node is. */
struct tp_found {
	uint64_t key;
	const uint8_t *value_le;
	bool is_leaf;
};

/* May the search go by the outline? What is asked for is what tp_btree_read_node() checks. */
static inline bool tp_search_has_outline(const struct thinp_btree_type *type, const struct tp_btree_child *child,
					 const struct thinp_buffer *buffer)
{
	const struct tp_outline *outline = &buffer->outline;

	if (!atomic_load_explicit(&buffer->outlined, memory_order_acquire))
		return false;
	if (!child->block && child->parent != THINP_NO_BLOCK)
		return false;
	if (outline->is_leaf ? outline->value_size != tp_btree_value_size(type, child->level)
			     : child->depth + 1 >= THINP_BTREE_MAX_DEPTH)
		return false;
	return outline->pivots[0] >= child->first;
}

/* The entry in its group: see tp_outline_group(). */
static inline struct tp_found tp_search_group(const struct thinp_buffer *buffer, uint32_t group, uint64_t key)
{
	const struct tp_outline *outline = &buffer->outline;
	uint32_t index = tp_outline_in_group(outline, buffer->data, group, key);

	return (struct tp_found){.key = tp_node_key(buffer->data, index),
				 .value_le = tp_outline_value(outline, buffer->data, index),
				 .is_leaf = outline->is_leaf};
}

/* The entry where the outline has all keys. */
static inline struct tp_found tp_search_pivot(const struct thinp_buffer *buffer, uint32_t index)
{
	const struct tp_outline *outline = &buffer->outline;

	return (struct tp_found){.key = outline->pivots[index],
				 .value_le = tp_outline_value(outline, buffer->data, index),
				 .is_leaf = outline->is_leaf};
}

/* False: all keys are larger, or there are none. */
static inline bool tp_search_node(const void *node, uint64_t key, struct tp_found *found)
{
	uint32_t behind = tp_node_upper_bound(node, key);

	found->is_leaf = tp_node_is_leaf(node);
	if (!behind)
		return false;
	found->key = tp_node_key(node, behind - 1);
	found->value_le = tp_node_values(node) + (size_t)(behind - 1) * tp_node_value_size(node);
	return true;
}

/* Goes from a child to the one below it that was found: in the same level, or the root of the next one. */
static inline void tp_search_go_down(struct tp_btree_child *child, const struct tp_found *found)
{
	child->parent = child->block;
	child->block = tp_load_le64(found->value_le);
	child->first = found->is_leaf ? 0 : found->key;
	child->level += found->is_leaf;
	child->depth = found->is_leaf ? 0 : child->depth + 1;
}

/* Most values have eight bytes: that is two instructions then, and no call. */
static inline void tp_search_copy_value(void *dst, const uint8_t *value_le, size_t value_size)
{
	if (value_size == 8)
		memcpy(dst, value_le, 8);
	else
		memcpy(dst, value_le, value_size);
}

/* Copies out the value of a key from the group of a leaf in which the key must be. False: it is not there. */
static inline bool tp_search_leaf_group(const void *node, struct tp_node_shape shape, uint32_t group, uint64_t key,
					void *value_le)
{
	uint32_t index = tp_node_in_group(node, shape, group, key);

	if (tp_node_key(node, index) != key)
		return false;
	if (value_le)
		tp_search_copy_value(value_le,
				     (const uint8_t *)node + shape.values_offset + (size_t)index * shape.value_size,
				     shape.value_size);
	return true;
}

#endif
