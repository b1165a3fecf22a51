/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/outline.h - what a search has to know of a node, side by side: its shape, and every so manieth of its keys.
 *
 * A search by halves touches a line of the node with each of its first steps, and waits for each. In the outline it takes
 * those steps within two neighbouring lines, and what is left to look at in the node is one group of keys, and the values
 * beside them: these lines can be asked for all at once.
 *
 *   keys of the node   k0 k1 k2 k3 | k4 k5 k6 k7 | k8 ...       groups of 2^shift
 *   pivots             k0            k4            k8 ...
 */
#ifndef TP_FORMAT_OUTLINE_H
#define TP_FORMAT_OUTLINE_H

#include "format/node.h"

#include <stdbool.h>

#define TP_OUTLINE_PIVOTS 16u

struct tp_outline {
	uint16_t nr_entries;
	uint16_t value_size;
	uint16_t values_offset; /* in the node */
	uint8_t shift;          /* the least with which the pivots suffice */
	bool is_leaf;
	uint64_t pivots[TP_OUTLINE_PIVOTS]; /* behind the last group: UINT64_MAX */
};

/* Makes the outline of a node. False: there is no entry, or what is there does not keep to the rules of a header; that has
 * none. */
bool tp_outline_make(const void *node, struct tp_outline *outline);

/* The last of sixteen keys that is not larger than key; 0 when all are larger. Two steps of three comparisons: those of a step
 * do not wait for each other, which is twice as fast as four steps of one. */
static inline size_t tp_outline_pivot(const uint64_t *pivots, uint64_t key)
{
	size_t i = 4 * ((size_t)(pivots[4] <= key) + (pivots[8] <= key) + (pivots[12] <= key));

	return i + (size_t)(pivots[i + 1] <= key) + (pivots[i + 2] <= key) + (pivots[i + 3] <= key);
}

/* Where things are in a node. */
struct tp_node_shape {
	uint32_t shift; /* of its outline */
	uint32_t value_size;
	uint32_t values_offset;
};

static inline struct tp_node_shape tp_outline_shape(const struct tp_outline *outline)
{
	return (struct tp_node_shape){outline->shift, outline->value_size, outline->values_offset};
}

/* The usual leaf has values of eight bytes, room for as many as leaves are made with, and is more than half full. With these
 * numbers at hand the compiler makes fewer instructions of a search. */
static inline struct tp_node_shape tp_usual_shape(void)
{
	return (struct tp_node_shape){4, 8, TP_NODE_HEADER_SIZE + 8 * 252};
}

static inline bool tp_outline_is_usual_leaf(const struct tp_outline *outline)
{
	const struct tp_node_shape usual = tp_usual_shape();

	return outline->shift == usual.shift && outline->value_size == usual.value_size &&
	       outline->values_offset == usual.values_offset && outline->is_leaf;
}

/* Where the group begins that holds the last key that is not larger than key; all keys of the group are in the node. There
 * must be such a key. The last groups of a node overlap, so that each is whole. */
static inline uint32_t tp_outline_group_of(const struct tp_outline *outline, struct tp_node_shape shape, uint64_t key)
{
	size_t last = outline->nr_entries - ((size_t)1 << shape.shift);
	size_t i = tp_outline_pivot(outline->pivots, key) << shape.shift;

	return (uint32_t)(i < last ? i : last);
}

static inline uint32_t tp_outline_group(const struct tp_outline *outline, uint64_t key)
{
	return tp_outline_group_of(outline, tp_outline_shape(outline), key);
}

/* Asks for the lines of a group: what lies between the first and the last byte of its keys and of its values. Inlined by
 * force, because gcc 12 takes a function that does nothing but this for one that does nothing. */
static inline __attribute__((always_inline)) void tp_node_prefetch_group(const void *node, struct tp_node_shape shape,
									 uint32_t group)
{
	const uint8_t *keys = (const uint8_t *)node + TP_NODE_HEADER_SIZE + 8 * (size_t)group;
	const uint8_t *values = (const uint8_t *)node + shape.values_offset + (size_t)group * shape.value_size;
	size_t half = (size_t)4 << shape.shift;

	__builtin_prefetch(keys);
	__builtin_prefetch(keys + half);
	__builtin_prefetch(keys + 2 * half - 1);
	__builtin_prefetch(values);
	__builtin_prefetch(values + ((size_t)shape.value_size << shape.shift) - 1);
}

static inline size_t tp_outline_not_above(const uint8_t *keys, size_t index, uint64_t key)
{
	return tp_load_le64(keys + 8 * index) <= key;
}

/* The last key of a group that is not larger than key, as tp_outline_group_of() has found it. */
static inline uint32_t tp_node_in_group(const void *node, struct tp_node_shape shape, uint32_t group, uint64_t key)
{
	const uint8_t *keys = (const uint8_t *)node + TP_NODE_HEADER_SIZE;
	size_t index = group;

	if (shape.shift == 4) { /* full nodes with small values */
		index += 4 * (tp_outline_not_above(keys, index + 4, key) + tp_outline_not_above(keys, index + 8, key) +
			      tp_outline_not_above(keys, index + 12, key));
		index += tp_outline_not_above(keys, index + 1, key) + tp_outline_not_above(keys, index + 2, key) +
			 tp_outline_not_above(keys, index + 3, key);
		return (uint32_t)index;
	}
	for (size_t half = (size_t)1 << shape.shift >> 1; half; half >>= 1)
		index += tp_load_le64(keys + 8 * (index + half)) <= key ? half : 0;
	return (uint32_t)index;
}

static inline uint32_t tp_outline_in_group(const struct tp_outline *outline, const void *node, uint32_t group,
					   uint64_t key)
{
	return tp_node_in_group(node, tp_outline_shape(outline), group, key);
}

/* Then a group is one key, and that is in the outline. */
static inline bool tp_outline_has_all_keys(const struct tp_outline *outline)
{
	return !outline->shift;
}

/* Is there a key that is not larger than key? */
static inline bool tp_outline_reaches(const struct tp_outline *outline, uint64_t key)
{
	return outline->pivots[0] <= key;
}

static inline const uint8_t *tp_outline_value(const struct tp_outline *outline, const void *node, uint32_t index)
{
	return (const uint8_t *)node + outline->values_offset + (size_t)index * outline->value_size;
}

#endif
