/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/changing.h - a stage for changes of blocks, trees and arrays, over a map in memory.
 *
 * A value of trees and arrays begins with a number; the rest follows from it. How many leaves and blocks own each number is
 * counted. Block 0 is the commit record.
 */
#ifndef TP_TEST_FAILURES_CHANGING_H
#define TP_TEST_FAILURES_CHANGING_H

#include "play.h"

#include <thinp/array.h>
#include <thinp/btree.h>

enum { CHANGING_THINGS = 20, CHANGING_NUMBERS = 1024, CHANGING_VALUE = 500, CHANGING_NESTED = 2 };

enum changing_kind { NOTHING = 0, BLOCK, TREE, NESTED_TREE, ARRAY, BITS };

struct thing {
	enum changing_kind kind;
	thinp_block_t root;
	uint64_t nr; /* of an array: values; of a block: references */
};

struct things {
	uint64_t nr_bits; /* for who has a bitset */
	struct thing list[CHANGING_THINGS];
	uint32_t owners[CHANGING_NUMBERS];
};

struct changing {
	struct stage stage; /* the first */
	struct thinp_memory_map *map;
	struct things now, committed;
	struct thinp_btree_type tree, nested;
	struct thinp_array_type array;
	void *own; /* the play's */
};

struct changing *changing_new(struct world *w);
void changing_close(struct stage *stage);
int changing_commit(struct stage *stage);
void changing_abort(struct stage *stage);
uint64_t changing_look(struct stage *stage, bool is_committed);

/* Forgets what the cache has; after a commit. */
void changing_reopen(struct changing *c);

void changing_value(uint32_t number, uint8_t *value);

#endif
