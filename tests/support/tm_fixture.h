/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tm_fixture.h - what tests of transactions start from: a block manager, a map in memory that fails on demand and
 * notes what it is asked for, a transaction manager; and at their end, that nothing has leaked.
 *
 * Block 0 is the commit record. The content of a block is a number, its version, spread over all bytes behind the header.
 */
#ifndef TP_TEST_TM_FIXTURE_H
#define TP_TEST_TM_FIXTURE_H

#include "support/block_change.h"

#include <thinp/transaction.h>

enum { TM_FIXTURE_LOG = 16 };

struct tm_fixture {
	struct block_fixture *b;
	struct thinp_memory_map *map;
	struct thinp_alloc map_table;
	struct thinp_alloc table; /* what the transaction manager was given */
	struct thinp_tm *tm;

	size_t nr_calls; /* of the functions of the table, all but reserve; counted from the last tm_fixture_fail() */
	size_t fail_at;  /* the call that fails, and so many behind it; 0: none */
	size_t nr_failing;
	int fail_with;
	char log[TM_FIXTURE_LOG + 1]; /* the first of them as letters: t)ake i)nc d)ec c)ount */

	uint8_t *committed; /* the device at the last commit */
	bool *is_committed; /* which blocks that uses */
};

struct tm_fixture *tm_fixture_new(uint64_t nr_blocks, uint32_t cache_blocks);
void tm_fixture_free(struct tm_fixture *f);

/* Lets the n-th call of the table from now on fail, and nr - 1 behind it. 0: none. Forgets what was counted and logged. */
void tm_fixture_fail(struct tm_fixture *f, size_t n, size_t nr, int result);

/* The owner's part: ends a transaction and begins the next. The commit must succeed. */
void tm_fixture_commit(struct tm_fixture *f);
void tm_fixture_abort(struct tm_fixture *f);

/* PREVCHECK of the defect history: what the last commit uses is on the device as it was then. */
void tm_fixture_check_committed(struct tm_fixture *f);

/* A new block with this content, unlocked; must succeed. */
thinp_block_t tm_fixture_new_block(struct tm_fixture *f, uint64_t version);

/* Shadows a block with one content and gives it another. Returns what the shadow did; outputs must be untouched by a
 * failure. *inc_children may be NULL. */
int tm_fixture_shadow(struct tm_fixture *f, thinp_block_t block, uint64_t before, uint64_t version,
		      thinp_block_t *new_block, bool *inc_children);

/* The same, which must succeed; gives the new address. */
thinp_block_t tm_fixture_change(struct tm_fixture *f, thinp_block_t block, uint64_t before, uint64_t version);

/* Does a read through the transaction's reader give this content? */
bool tm_fixture_reads(struct tm_fixture *f, thinp_block_t block, uint64_t version);

uint32_t tm_fixture_count(struct tm_fixture *f, thinp_block_t block);

#endif
