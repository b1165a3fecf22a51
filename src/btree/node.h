/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/node.h - searching a node, and what every reader of nodes has to check.
 */
#ifndef TP_BTREE_NODE_H
#define TP_BTREE_NODE_H

#include "base/error.h"
#include "format/node.h"

#include <thinp/btree.h>

/* Number of keys that are not larger than key. Branch-free: the compiler makes a conditional move of the choice. */
static inline uint32_t tp_node_upper_bound(const void *node, uint64_t key)
{
	uint32_t n = tp_node_nr_entries(node);
	uint32_t base = 0;

	if (!n)
		return 0;
	while (n > 1) {
		uint32_t half = n / 2;

		base = tp_node_key(node, base + half) <= key ? base + half : base;
		n -= half;
	}
	return base + (tp_node_key(node, base) <= key);
}

/* Number of keys that are smaller than key. */
static inline uint32_t tp_node_lower_bound(const void *node, uint64_t key)
{
	return key ? tp_node_upper_bound(node, key - 1) : 0;
}

#define TP_NODE_NEAR 16u /* keys that are spread evenly are found at most so far from where they are looked for */

/* Where among nr keys from first to last one of them would be if they were spread evenly. */
static inline uint32_t tp_node_guess(uint64_t key, uint64_t first, uint64_t last, uint32_t nr)
{
	return (uint32_t)((double)(key - first) / ((double)(last - first) + 1) * nr);
}

/* Number of keys from base to base + n - 1 that are smaller than key, and base. n is not 0. */
static inline uint32_t tp_node_lower_bound_in(const void *node, uint64_t key, uint32_t base, uint32_t n)
{
	while (n > 1) {
		uint32_t half = n / 2;

		base = tp_node_key(node, base + half) < key ? base + half : base;
		n -= half;
	}
	return base + (tp_node_key(node, base) < key);
}

/* Asks for the lines of 2 * TP_NODE_NEAR keys that are to be searched, but for the first and the last one, which are looked at
 * anyway; and for those of the values in their middle. Inlined by force, because gcc 12 takes a function that does nothing but
 * this for one that does nothing. */
static inline __attribute__((always_inline)) void tp_node_prefetch_near(const void *node, uint32_t from)
{
	const uint8_t *keys = (const uint8_t *)node + TP_NODE_HEADER_SIZE + 8 * (size_t)from;
	const uint8_t *values = tp_node_values(node) + tp_node_value_size(node) * (size_t)(from + TP_NODE_NEAR);

	__builtin_prefetch(keys + 64);
	__builtin_prefetch(keys + 128);
	__builtin_prefetch(keys + 192);
	__builtin_prefetch(values - 64);
	__builtin_prefetch(values);
	__builtin_prefetch(values + 64);
}

/* Number of keys that are smaller than key in a node whose keys are in first .. last, as this one is. Looks first
 * where the key would be if all were spread evenly: the fewer lines of the node are touched, the better, where it is not in the
 * processor's cache. */
static inline uint32_t tp_node_place(const void *node, uint64_t key, uint64_t first, uint64_t last)
{
	uint32_t nr = tp_node_nr_entries(node);
	uint32_t guess, from, to;

	if (!nr || key < first)
		return 0;
	if (nr <= 2 * TP_NODE_NEAR)
		return tp_node_lower_bound_in(node, key, 0, nr);
	guess = tp_node_guess(key, first, last, nr);
	from = guess > TP_NODE_NEAR ? guess - TP_NODE_NEAR : 0;
	from = from < nr - 2 * TP_NODE_NEAR ? from : nr - 2 * TP_NODE_NEAR;
	tp_node_prefetch_near(node, from);
	to = from + 2 * TP_NODE_NEAR;
	if ((!from || tp_node_key(node, from) < key) && (to == nr || tp_node_key(node, to) >= key))
		return tp_node_lower_bound_in(node, key, from, 2 * TP_NODE_NEAR);
	return tp_node_lower_bound_in(node, key, 0, nr);
}

/* Finds a key in a leaf. Runs of keys without a gap are common, and there the place can be computed. */
static inline bool tp_node_find(const void *node, uint64_t key, uint32_t *index)
{
	uint32_t nr = tp_node_nr_entries(node);
	uint64_t guess;
	uint32_t behind;

	if (!nr)
		return false;
	guess = key - tp_node_key(node, 0);
	if (guess < nr && tp_node_key(node, (uint32_t)guess) == key) {
		*index = (uint32_t)guess;
		return true;
	}
	behind = tp_node_upper_bound(node, key);
	*index = behind - 1;
	return behind && tp_node_key(node, behind - 1) == key;
}

#define TP_NODE_AHEAD 8u /* where keys are looked for in their order, the next one is seldom farther away */

/* The first entry, from `at` on, whose key is not smaller. */
static inline uint32_t tp_node_find_from(const void *node, uint32_t at, uint64_t key)
{
	uint32_t end = tp_node_nr_entries(node);
	uint32_t near = end - at < TP_NODE_AHEAD ? end : at + TP_NODE_AHEAD;

	while (at < near && tp_node_key(node, at) < key)
		at++;
	if (at < near)
		return at;
	while (at < end) {
		uint32_t middle = at + (end - at) / 2;

		if (tp_node_key(node, middle) < key)
			at = middle + 1;
		else
			end = middle;
	}
	return at;
}

/* Is it the key of the entry at a place, which may be behind the last one? */
static inline bool tp_node_has_at(const void *node, uint32_t at, uint64_t key)
{
	return at < tp_node_nr_entries(node) && tp_node_key(node, at) == key;
}

#define TP_PLAIN_VALUE_SIZE ((THINP_BLOCK_SIZE - TP_NODE_HEADER_SIZE) / 3 - 8) /* three entries fit */

/* Bytes of a value in leaves of a level (0: the top one). */
static inline uint32_t tp_btree_value_size(const struct thinp_btree_type *type, uint32_t level)
{
	return level + 1 == type->nr_levels ? type->value_size : 8;
}

/* Reads the caller's type of any version; refuses one that no tree can have. */
int tp_btree_type_take(struct thinp_btree_type *dst, const struct thinp_btree_type *src);

/* What nearly all callers give, and every insert asks for: this version's struct with numbers that every tree can have. */
static inline bool tp_btree_type_is_plain(const struct thinp_btree_type *src)
{
	return src && src->size == sizeof(*src) && src->nr_levels - 1 < THINP_BTREE_MAX_LEVELS &&
	       src->value_size - 1 < TP_PLAIN_VALUE_SIZE;
}

/* The same, but the caller's own is used where that can be, not a copy. */
static inline int tp_btree_type_see(struct thinp_btree_type *room, const struct thinp_btree_type *src,
				    const struct thinp_btree_type **type)
{
	*type = tp_btree_type_is_plain(src) ? src : room;
	return *type == src ? 0 : tp_btree_type_take(room, src);
}

/* A child as its parent promises it. */
struct tp_btree_child {
	thinp_block_t parent; /* THINP_NO_BLOCK for a root */
	thinp_block_t block;
	uint64_t first; /* no key of the child is smaller */
	uint32_t level;
	uint32_t depth; /* 0 for the root of its level */
};

/* May a parent name this address? What the reader does not let through is not asked here. */
int tp_btree_check_child(const struct tp_btree_child *child, uint64_t nr_blocks);

/* Reads a node within a section and checks what its parent promises of its beginning, its depth and its value size. */
int tp_btree_read_node(struct thinp_read_section *section, const struct thinp_btree_type *type,
		       const struct tp_btree_child *child, const void **node);

/* The same for a node that has already been found. */
int tp_btree_check_node(const struct thinp_btree_type *type, const struct tp_btree_child *child, const void *node);

/* What else a walk can tell of a node: no key is larger than last, and all leaves of a tree are at one depth.
 * *leaf_depth: of the tree; 0: not known yet, else + 1. */
int tp_btree_check_end(const struct tp_btree_child *child, uint64_t last, const void *node, uint32_t *leaf_depth);

/* The child at a place of a node: of an internal node, or a root in a leaf of an upper level. node_last: no key of the
 * node is larger; *last: the same of the child. */
struct tp_btree_child tp_btree_child_at(const struct tp_btree_child *at, uint64_t node_last, const void *node,
					uint32_t index, uint64_t *last);

#endif
