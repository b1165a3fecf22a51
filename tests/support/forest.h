/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/forest.h - trees that share nodes, in one transaction after the other, and what must be in them.
 *
 * Values begin with a number of 32 bits; the forest counts how many leaves own each. The counts of blocks are kept by a map
 * in memory. forest_check() walks all trees and compares every count with what it met: REFCHECK of the defect history; and
 * looks at the form of each node: SHAPE.
 *
 * No count may be raised from 0 or lowered below it at any time: what is to stay alive is counted before what kept it
 * alive so far goes (BR-10 of the defect history).
 */
#ifndef TP_TEST_FOREST_H
#define TP_TEST_FOREST_H

#include "support/tree_build.h"

#include <thinp/btree.h>
#include <thinp/error.h>

#define FOREST_TREES  8u
#define FOREST_VALUES (1u << 17)

/* A tree and its entries, sorted. */
struct forest_tree {
	bool is_there;
	thinp_block_t root;
	size_t nr;
	uint64_t (*keys)[THINP_BTREE_MAX_LEVELS];
	uint32_t *numbers; /* of the values */
};

struct forest {
	struct alloc_counting alloc;
	struct image image;
	struct thinp_bm *bm;
	struct thinp_memory_map *map;
	struct thinp_alloc counts; /* of the map */
	struct thinp_tm *tm;
	struct thinp_btree_type type;
	struct forest_tree trees[FOREST_TREES];
	bool may_be_underfull; /* forest_check() does not ask for a third */

	uint64_t nr_wasted;       /* blocks that nothing uses, behind those that were planted */
	uint32_t *owners;         /* of each value */
	uint32_t nr_values;       /* numbers in use are smaller */
	uint64_t nr_value_calls;  /* how often inc() or dec() of the type was called */
	uint64_t nr_count_calls;  /* calls of the map that change something */
	uint64_t most_reserved;   /* the most that was asked for since forest_forget() */
	uint64_t nr_taken;        /* blocks that were taken since then */
	uint64_t nr_values_asked; /* what the type's cost was asked for since then, in all */
	uint64_t nr_values_told;  /* values that lost or got an owner since then */
	uint64_t fail_at;         /* the call of the map or of a function of the type that fails; 0: none */
	uint64_t nr_calls;        /* of these */
	int fail_with;
};

/* A device of so many blocks. */
void forest_open(struct forest *f, uint64_t nr_blocks, uint32_t nr_levels, uint32_t value_size);
void forest_close(struct forest *f);

/* Writes tree 0 past the library, before anything else is done. Keys ascend. The shape is that of the last level. */
void forest_plant(struct forest *f, const struct tree_shape *shape, const uint64_t (*keys)[THINP_BTREE_MAX_LEVELS],
		  size_t nr);

/* The same for one level, with keys step, 2 step ... */
void forest_plant_plain(struct forest *f, const struct tree_shape *shape, size_t nr, uint64_t step);

/* Another tree with the same root; the first free place, which must be there. */
unsigned int forest_snapshot(struct forest *f, unsigned int tree);

/* Ends a transaction, and begins the next with an empty cache if that is wanted. */
void forest_commit(struct forest *f, bool reopen);

/* What the library returns; on success the model follows. Values are new ones. */
int forest_insert(struct forest *f, unsigned int tree, const uint64_t *keys);
int forest_remove(struct forest *f, unsigned int tree, const uint64_t *keys);
int forest_remove_many(struct forest *f, unsigned int tree, const uint64_t *keys, size_t nr_keys);
int forest_remove_range(struct forest *f, unsigned int tree, const uint64_t *first, const uint64_t *last,
			uint32_t max_leaves, bool *is_complete);
int forest_del(struct forest *f, unsigned int tree);

/* Everything: content, form, counts. */
void forest_check(struct forest *f);

/* Forgets the highest figures. */
void forest_forget(struct forest *f);

/* Lets the n-th call of the map, or of the type's inc() or dec(), fail; 1 is the next. */
void forest_fail(struct forest *f, uint64_t n, int code);
bool forest_has_failed(struct forest *f);

/* Takes one block out of use for good; false: there is none. Only before anything else is taken. */
bool forest_waste(struct forest *f);

/* A second block manager and transaction on the same blocks and counts, which reads from a device that can fail. Until
 * forest_end_trial(), which puts everything back, nothing is committed. */
struct forest_trial {
	struct thinp_bm *bm;
	struct thinp_tm *tm;
	uint32_t *owners;
};
void forest_begin_trial(struct forest *f, struct forest_trial *trial);
void forest_end_trial(struct forest *f, struct forest_trial *trial);

/* A node of the open transaction. */
void forest_read(struct forest *f, thinp_block_t block, struct image_block *node);

#endif
