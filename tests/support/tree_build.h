/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_build.h - B+ trees written by the test itself, from the leaves up, out of sorted keys and values.
 */
#ifndef TP_TEST_TREE_BUILD_H
#define TP_TEST_TREE_BUILD_H

#include "support/image_device.h"

/* How a tree is to look; all zero: full nodes. */
struct tree_shape {
	uint32_t per_leaf; /* entries of a leaf; 0: as many as fit */
	uint32_t per_node; /* children of an internal node; 0: as many as fit */
	uint32_t
		min_depth; /* nodes from the root to a leaf, at least; internal nodes of one child make up for the rest */
	uint64_t *rng;     /* not NULL: each node gets a random number of entries, up to those */
};

/* Writes a tree of one level; gives its root. */
thinp_block_t tree_build(struct image *image, const struct tree_shape *shape, uint32_t value_size, const uint64_t *keys,
			 const void *values, size_t nr);

/* Offsets in a node. */
enum {
	TREE_FLAGS = 4,
	TREE_ADDRESS = 8,
	TREE_NR_ENTRIES = 16,
	TREE_MAX_ENTRIES = 20,
	TREE_VALUE_SIZE = 24,
	TREE_KEYS = 32
};

/* Looking at a node, and changing it by BADBLK. Children are the values of an internal node, or of a leaf of roots. */
bool tree_is_leaf(struct image *image, thinp_block_t node);
uint32_t tree_nr_entries(struct image *image, thinp_block_t node);
uint64_t tree_key(struct image *image, thinp_block_t node, uint32_t i);
thinp_block_t tree_child(struct image *image, thinp_block_t node, uint32_t i);
void tree_set_key(struct image *image, thinp_block_t node, uint32_t i, uint64_t key);
void tree_set_child(struct image *image, thinp_block_t node, uint32_t i, thinp_block_t child);

#endif
