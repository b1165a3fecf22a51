/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/count_table.h - a table of numbers for block numbers, for the few counts that four bits cannot hold.
 */
#ifndef TP_CHECK_COUNT_TABLE_H
#define TP_CHECK_COUNT_TABLE_H

#include "check/memory.h"

struct tp_count_entry {
	uint64_t block_plus_1; /* 0: empty */
	uint64_t count;
};

/* All zero: empty. */
struct tp_count_table {
	struct tp_count_entry *entries; /* open addressing */
	size_t nr;
	size_t room; /* 0 or a power of two */
};

/* Adds to the number of a block, which is 0 at first. THINP_ENOMEM, or 0. */
int tp_count_table_add(struct tp_count_table *table, struct tp_memory *memory, uint64_t block, uint64_t nr);

/* The number of a block that something was added to. */
uint64_t tp_count_table_get(const struct tp_count_table *table, uint64_t block);

void tp_count_table_exit(struct tp_count_table *table, struct tp_memory *memory);

#endif
