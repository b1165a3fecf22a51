/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/fault_fixture.h - a device that misbehaves, over one in memory, both from an allocator that counts.
 */
#ifndef TP_TEST_FAULT_FIXTURE_H
#define TP_TEST_FAULT_FIXTURE_H

#include "support/alloc_counting.h"

#include <thinp/fault.h>

struct fault_fixture {
	struct alloc_counting alloc;
	struct thinp_io *lower;
	struct thinp_fault *fault;
	struct thinp_io *io;
};

/* For cmocka: *state is the fixture afterwards. 32 blocks that hold generation 1 of the pattern of io_blocks_fill(). */
int fault_setup(void **state);
int fault_setup_volatile(void **state); /* with a volatile cache of 8 blocks */
int fault_teardown(void **state);       /* fails the test when something leaked */

enum { FAULT_NR_BLOCKS = 32, FAULT_CACHE_BLOCKS = 8 };

/* Opens the device again, as after a power cut. */
void fault_reopen(struct fault_fixture *f);

/* Adds a rule; its size is filled in. Returns its number. */
uint64_t fault_rule(struct fault_fixture *f, struct thinp_fault_rule rule);

/* What a device that misbehaves can do for io_conformance::arm: the next operation of the kind fails. Returns its code. */
int fault_arm(struct thinp_fault *fault, uint32_t kind);

/* Fails the test unless the rule matched and acted so often. */
void fault_expect_counts(struct fault_fixture *f, uint64_t id, uint64_t matched, uint64_t fired);

/* Writes a generation of the pattern. Returns what thinp_io_write() did. */
int fault_write(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, uint64_t generation);

/* Fails the test unless the blocks hold that generation. */
void fault_expect(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, uint64_t generation);

/* Fails the test unless of the block these sectors (a bit for each) hold one generation and the others another. */
void fault_expect_torn(struct thinp_io *io, thinp_block_t block, uint32_t sectors, uint64_t generation, uint64_t other);

#endif
