/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_conformance.h - what every back-end of thinp_io must do, as one suite of tests.
 *
 * A back-end brings a factory; the suite brings the tests. What a device cannot do is told by the factory and skipped.
 */
#ifndef TP_TEST_IO_CONFORMANCE_H
#define TP_TEST_IO_CONFORMANCE_H

#include <thinp/io.h>

struct io_conformance {
	const char *group; /* for example "io/memory/conformance" */
	void *ctx;         /* handed to the functions below */

	/* Opens a new device of nr_blocks blocks that read as zeros. flags: 0 or THINP_IO_READ_ONLY. Returns what the
	 * opening of the device returned. The suite closes it. */
	int (*open)(void *ctx, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io);

	/* Called after the device was closed: removes what it left behind, and fails the test when something leaked. */
	void (*done)(void *ctx);

	/* Makes the next operation of this kind fail, once. It will be on this single block, which was never written,
	 * and be the first of its kind in its batch. Returns the code that is to be seen, or 0 when it cannot be made
	 * to fail. NULL: nothing can. */
	int (*arm)(void *ctx, uint32_t kind, thinp_block_t block);

	bool can_resize;
	bool is_slow; /* less work in the tests that do much */
};

/* Runs the suite; gives the number of failed tests, to be added up in main(). */
int io_conformance_run(const struct io_conformance *device);

/* Aligned memory for blocks, filled with a pattern that tells block and generation apart. The test owns it: free(). */
void *io_blocks_new(uint64_t nr_blocks);
void io_blocks_fill(void *blocks, thinp_block_t first, uint64_t nr_blocks, uint64_t generation);

/* Fail the test unless the memory holds that pattern, or zeros. */
void io_blocks_expect(const void *blocks, thinp_block_t first, uint64_t nr_blocks, uint64_t generation);
void io_blocks_expect_zeros(const void *blocks, uint64_t nr_blocks);

/* Write that pattern to a device; fail the test unless the device has it. */
void io_write_pattern(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, uint64_t generation);
void io_expect_pattern(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, uint64_t generation);

/* An operation, for arrays of them. */
struct thinp_io_op io_op(uint32_t kind, thinp_block_t block, uint64_t nr_blocks, void *buffer);

/* Fails the test unless all of them have this result. */
void io_expect_results(const struct thinp_io_op *ops, size_t nr_ops, int result);

/* Fails the test unless the thread's detail record is about this code. */
void io_expect_told(int code);

#endif
