/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/change_fixture.h - what tests of changing structures start from, below the space maps: a device in memory that
 * fails by script, a block manager, a map in memory that gives blocks, and a transaction. Block 0 is the commit record.
 */
#ifndef TP_TEST_CHANGE_FIXTURE_H
#define TP_TEST_CHANGE_FIXTURE_H

#include "support/alloc_counting.h"
#include "support/image_device.h"

#include <thinp/alloc.h>
#include <thinp/fault.h>
#include <thinp/transaction.h>

struct change_fixture {
	struct alloc_counting alloc; /* of block manager, map and transaction manager */
	struct image image;          /* for image_set32() and its like: only its memory */
	struct thinp_fault *fault;
	struct thinp_io *io;
	struct thinp_bm *bm;
	struct thinp_memory_map *map;
	struct thinp_tm *tm;
	uint32_t cache_blocks;
};

struct change_fixture *change_fixture_new(uint64_t nr_blocks, uint32_t cache_blocks);

/* Fails the test when something has leaked. */
void change_fixture_free(struct change_fixture *f);

void change_fixture_commit(struct change_fixture *f);
void change_fixture_abort(struct change_fixture *f);

/* Forgets what the cache has; after a commit or an abort. */
void change_fixture_reopen(struct change_fixture *f);

/* LOCKCHECK of the defect history: no block is locked. What was changed is written, and not committed. */
void change_fixture_expect_unlocked(struct change_fixture *f);

#endif
