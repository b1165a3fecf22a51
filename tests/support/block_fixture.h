/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/block_fixture.h - what tests of the block manager start from: a device, a counting allocator, a block manager
 * and a reader; and at their end, that nothing has leaked.
 */
#ifndef TP_TEST_BLOCK_FIXTURE_H
#define TP_TEST_BLOCK_FIXTURE_H

#include "support/alloc_counting.h"
#include "support/block_device.h"

#include <thinp/block.h>

struct block_fixture {
	struct block_device device;
	struct alloc_counting alloc;
	struct thinp_bm *bm;
	struct thinp_reader *reader; /* on the whole device */
};

struct block_fixture *block_fixture_new(uint64_t nr_blocks, uint32_t cache_blocks);
struct block_fixture *block_fixture_new_quiet(uint64_t nr_blocks, uint32_t cache_blocks);
void block_fixture_free(struct block_fixture *f);

struct thinp_bm_stats block_fixture_stats(struct block_fixture *f);

/* A section of its own for one bitmap: returns what the read returned; the content is verified. */
int block_fixture_read(struct block_fixture *f, thinp_block_t block);

/* The same for several, all of which must succeed. */
void block_fixture_read_range(struct block_fixture *f, thinp_block_t begin, thinp_block_t end);

/* Nobody has a use any more for these blocks, 100 at most. */
void block_fixture_drop_range(struct block_fixture *f, thinp_block_t begin, thinp_block_t end);

/* Reads in an open section; the test fails unless it succeeds with the right bytes. */
const void *block_fixture_get(struct block_fixture *f, struct thinp_read_section *section, thinp_block_t block);

/* Is the block in the cache as a bitmap? */
bool block_fixture_has(struct block_fixture *f, thinp_block_t block);

/* Sections of the calling thread that take all slots, so that the next one does without; nr may be what is left. */
#define BLOCK_FIXTURE_SLOTS 64u
void block_fixture_take_slots(struct block_fixture *f, struct thinp_read_section *sections);
void block_fixture_give_slots(struct thinp_read_section *sections);

/* How long a test may go on that could go on for ever: the environment variable THINP_TEST_SECONDS, 2 without it. */
double block_fixture_seconds(void);
double block_fixture_now(void);

#endif
