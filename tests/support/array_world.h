/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/array_world.h - arrays that are changed, beside plain arrays that run the same operations, and things that their
 * values refer to, with exact counts.
 */
#ifndef TP_TEST_ARRAY_WORLD_H
#define TP_TEST_ARRAY_WORLD_H

#include "support/change_fixture.h"

#include <thinp/array.h>

enum { WORLD_THINGS = 64, WORLD_ARRAYS = 8 };

/* An array and what must be in it. */
struct world_array {
	bool is_there;
	thinp_block_t root;
	uint64_t nr;
	uint32_t *things; /* what each value refers to */
};

struct world {
	struct change_fixture *f;
	struct thinp_array_type type; /* values are the number of a thing, and a pattern made of it */
	struct world_array arrays[WORLD_ARRAYS];
	uint32_t counts[WORLD_THINGS]; /* as inc() and dec() have them */
	struct world_array committed_arrays[WORLD_ARRAYS];
	uint32_t committed_counts[WORLD_THINGS];
	uint64_t cost; /* what the type says that a value costs */
	int fail_with; /* inc() and dec() fail with it, if not 0 */
};

struct world *world_new(uint32_t value_size, uint64_t nr_blocks, uint32_t cache_blocks);
void world_free(struct world *world);

/* How many values a block holds. */
uint32_t world_per_block(const struct world *world);

/* The value that refers to a thing. */
void world_value(const struct world *world, uint32_t thing, uint8_t *value);

/* Operations on array i and its model; they return what the library did. When that failed, the model has not changed. */
int world_make(struct world *world, size_t i, uint64_t nr);
int world_set(struct world *world, size_t i, uint64_t index, uint32_t thing);
int world_resize(struct world *world, size_t i, uint64_t nr, uint32_t thing);
int world_drop(struct world *world, size_t i);

/* Array `to`, which is not there, becomes a snapshot of another. */
void world_snapshot(struct world *world, size_t from, size_t to);

void world_commit(struct world *world);
void world_abort(struct world *world);

/* Every value is that of the model; shape and every count are right. */
void world_check(struct world *world);

#endif
