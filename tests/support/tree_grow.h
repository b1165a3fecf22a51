/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_grow.h - a tree that grows beside the ordered map it is compared with.
 */
#ifndef TP_TEST_TREE_GROW_H
#define TP_TEST_TREE_GROW_H

#include "support/tree_change.h"

struct tree_grow {
	struct tree_change *t;
	thinp_block_t root;
	struct ordered_map map;
};

/* An empty tree. */
void tree_grow_begin(struct tree_grow *g, uint64_t nr_blocks, uint32_t nr_levels, uint32_t value_size);

/* Compares tree and map once more, and all counts; then releases everything. */
void tree_grow_end(struct tree_grow *g);

/* Inserts keys with a new value; the call must succeed, and tell rightly whether they were new. */
void tree_grow_insert(struct tree_grow *g, const uint64_t *keys);
static inline void tree_grow_insert_key(struct tree_grow *g, uint64_t key)
{
	tree_grow_insert(g, &key);
}

/* The same for many, in one call. */
void tree_grow_insert_many(struct tree_grow *g, const uint64_t *keys, size_t nr);

/* Fails the test unless the tree has the right shape and content. */
void tree_grow_expect(struct tree_grow *g);

/* Snapshots: roots with a reference of their own, and what they must contain for ever. */
#define TREE_GROW_MAX_SNAPSHOTS 16u
struct tree_snapshots {
	size_t nr;
	thinp_block_t roots[TREE_GROW_MAX_SNAPSHOTS + 1];
	struct ordered_map maps[TREE_GROW_MAX_SNAPSHOTS];
};

void tree_grow_snapshot(struct tree_grow *g, struct tree_snapshots *s);

/* Fails the test unless all are what they were, and all counts are right. */
void tree_grow_expect_snapshots(struct tree_grow *g, struct tree_snapshots *s);
void tree_grow_free_snapshots(struct tree_snapshots *s);

#endif
