/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_zoo.h - the trees that every function is tried on.
 */
#ifndef TP_TEST_TREE_ZOO_H
#define TP_TEST_TREE_ZOO_H

#include "support/tree_model.h"

/* A tree in an image of its own, and a reader on it. */
struct tree {
	struct image image;
	struct tree_model model;
	struct image_reader reader;
	uint64_t *rng;
};

typedef void (*tree_zoo_fn)(struct tree *tree);

/* Plain trees: 0, 1, 2 entries, a full leaf and one less and more, thousands; values of 4, 8, 12, 16, 24 and 1000 bytes;
 * up to four nodes deep; dense keys, keys with gaps, keys at the edges. Caches of one, two, three and of enough blocks. */
void tree_zoo_plain(tree_zoo_fn fn);

/* Trees of two to four levels. Small ones with empty trees in every place; random ones. */
void tree_zoo_nested(tree_zoo_fn fn);

/* Random plain and nested trees, for so many milliseconds. */
void tree_zoo_random(tree_zoo_fn fn, unsigned int ms);

/* One tree with a given shape and keys step, 2 step, 3 step ...: for tests of their own. */
void tree_open(struct tree *tree, const struct tree_shape *shape, uint32_t value_size, size_t nr, uint64_t step,
	       uint32_t cache_blocks);
void tree_close(struct tree *tree);

#endif
