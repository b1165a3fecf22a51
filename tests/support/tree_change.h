/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_change.h - what tests that change trees start from: a transaction over a device and a map in memory, values
 * whose references are counted, and an ordered map that every tree is compared with.
 *
 * A value begins with its number (32 bits); the rest follows from it.
 */
#ifndef TP_TEST_TREE_CHANGE_H
#define TP_TEST_TREE_CHANGE_H

#include "support/alloc_counting.h"
#include "support/block_device.h"
#include "support/tree_shape.h"

#include <thinp/alloc.h>

#define TREE_CHANGE_MAX_VALUES 400000u

struct tree_change {
	struct block_device device;
	struct alloc_counting memory; /* of block manager and transaction manager */
	struct thinp_bm *bm;
	struct thinp_memory_map *map;
	struct thinp_alloc map_table;
	struct thinp_tm *tm;

	/* the calls of the map that can fail: take, inc, dec, count, reserve */
	size_t nr_calls;
	size_t fail_at; /* the call that fails; 0: none */
	int fail_with;
	size_t nr_taken;     /* blocks since it was last set to 0 */
	uint64_t most_asked; /* of reserve since it was last set to 0 */
	bool is_full;        /* reserve says no */

	struct thinp_btree_type type;
	uint32_t *counts; /* of the values */
	size_t nr_value_calls;
	size_t value_fail_at;
	uint32_t next_value;
};

struct tree_change *tree_change_new(uint64_t nr_blocks, uint32_t nr_levels, uint32_t value_size);

/* The same with a block cache of so many buffers; 0: as many as usual. */
struct tree_change *tree_change_new_cached(uint64_t nr_blocks, uint32_t nr_levels, uint32_t value_size,
					   uint32_t cache_blocks);
void tree_change_free(struct tree_change *t);

/* Commits, or aborts, and begins the next transaction. */
void tree_change_commit(struct tree_change *t);
void tree_change_abort(struct tree_change *t);

/* A new value with one reference, the caller's. */
uint32_t tree_change_value(struct tree_change *t, uint8_t *value);
void tree_change_fill_value(const struct tree_change *t, uint32_t number, uint8_t *value);

/* An ordered map. */
struct ordered_map {
	uint32_t nr_levels;
	size_t nr;
	size_t room;
	uint64_t *keys;
	uint32_t *values;
};

void ordered_map_init(struct ordered_map *map, uint32_t nr_levels);
void ordered_map_copy(struct ordered_map *map, const struct ordered_map *from);
void ordered_map_free(struct ordered_map *map);
size_t ordered_map_find(const struct ordered_map *map, const uint64_t *keys, bool *is_there);
/* Returns true when the key is new. */
bool ordered_map_set(struct ordered_map *map, const uint64_t *keys, uint32_t value);
const uint64_t *ordered_map_keys(const struct ordered_map *map, size_t i);

/* Fails the test unless the tree has exactly these entries, in a walk and one by one. */
void tree_change_expect(struct tree_change *t, thinp_block_t root, const struct ordered_map *map);
void tree_change_expect_lookups(struct tree_change *t, thinp_block_t root, const struct ordered_map *map);

/* Fails the test unless all counts, of blocks and values, are those of these trees, each with one reference. */
void tree_change_expect_counts(struct tree_change *t, const thinp_block_t *roots, size_t nr_roots);

#endif
