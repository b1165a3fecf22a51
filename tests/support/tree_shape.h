/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_shape.h - SHAPE and REFCHECK of the defect history, for trees of any kind of user.
 *
 * Everything is read anew, node by node, and compared with rules that are written down here once more: nothing of the
 * room that is tested decides what is right.
 */
#ifndef TP_TEST_TREE_SHAPE_H
#define TP_TEST_TREE_SHAPE_H

#include <thinp/btree.h>

/* What a tree is made of; of a nested one: all its trees together, and the depth of the deepest. */
struct tree_figures {
	uint64_t nr_trees;
	uint64_t nr_internal;
	uint64_t nr_leaves;    /* of the last level */
	uint64_t nr_entries;   /* of these */
	uint64_t nr_places;    /* how many entries they have room for */
	uint64_t nr_underfull; /* nodes, not roots, of less than a third of their capacity */
	uint32_t depth;
};

/* Fails the test unless keys strictly ascend, a parent's key is not larger than the first key of its child and larger than the
 * last one of the child before, all leaves of a tree are at one depth, header fields are right, and every node but a
 * root is filled to a third. figures may be NULL. */
void tree_shape_expect(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
		       struct tree_figures *figures);

/* The same, but underfull nodes are only counted. */
void tree_shape_expect_loosely(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
			       struct tree_figures *figures);

/* References found by looking at everything that is alive. */
struct tree_refs {
	uint32_t *blocks; /* for each block, how many pointers there are to it */
	uint64_t nr_blocks;
	uint32_t *
		values; /* for each number, how many leaves have a value that begins with it (32 bits); NULL: not counted */
	uint64_t nr_values;
};

void tree_refs_init(struct tree_refs *refs, uint64_t nr_blocks, uint64_t nr_values);
void tree_refs_free(struct tree_refs *refs);

/* Counts a reference to a root, and, when it is the first one, all references below it. */
void tree_refs_add(struct tree_refs *refs, struct thinp_reader *reader, const struct thinp_btree_type *type,
		   thinp_block_t root);

/* Fails the test unless the transaction counts the same for every block. */
void tree_refs_expect(const struct tree_refs *refs, struct thinp_tm *tm);

#endif
