/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_damaged.h - a tree to be damaged, and what the functions that read it say then.
 *
 *                 root                    27 keys 10, 20 ... 270, three entries in each node
 *       mid[0]   mid[1]   mid[2]          begin with keys 10, 100, 190
 *      leaf[0] ... leaf[8]                begin with keys 10, 40, 70, 100, 130, 160, 190, 220, 250
 *
 * All checksums are right unless the test is about them.
 */
#ifndef TP_TEST_TREE_DAMAGED_H
#define TP_TEST_TREE_DAMAGED_H

#include "support/tree_zoo.h"

enum { DAMAGED_NR_KEYS = 27, DAMAGED_STEP = 10 };

struct damaged {
	struct tree tree;
	thinp_block_t root, mid[3], leaf[9];
};

/* Still good. To be closed by tree_close(&d->tree). */
void damaged_open(struct damaged *d, uint32_t cache_blocks);

/* Forgets what the cache has. */
void damaged_reopen(struct damaged *d, uint32_t cache_blocks);

/* What the library returns. */
int damaged_lookup(struct damaged *d, uint64_t key);
int damaged_lookup_ge(struct damaged *d, uint64_t key);
int damaged_lookup_many(struct damaged *d, uint64_t key);
int damaged_walk(struct damaged *d);
int damaged_walk_from(struct damaged *d, uint64_t key);

/* A cursor goes to the end of the tree, which is 0, or to the damage. */
int damaged_forwards(struct damaged *d);
int damaged_backwards(struct damaged *d);

/* Every function answers 0, THINP_ENODATA or THINP_ECORRUPT for keys everywhere, and reads few blocks for it. */
void damaged_expect_all_end(struct damaged *d);

/* Every function that goes to the key finds this damage; every one that goes through the whole tree; both. */
void damaged_expect_key_damaged(struct damaged *d, uint64_t key, thinp_block_t block, const char *words);
void damaged_expect_walks_damaged(struct damaged *d, thinp_block_t block, const char *words);
void damaged_expect_everything_damaged(struct damaged *d, uint64_t key, thinp_block_t block, const char *words);

/* Every key is found, every walk comes to its end. */
void damaged_expect_undamaged(struct damaged *d);

#endif
