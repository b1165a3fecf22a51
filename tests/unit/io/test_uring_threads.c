/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_uring_threads.c - threads that share a ring do not wait for each other, and never ask too much of it.
 */
#include "support/uring_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#ifdef THINP_WITH_URING
#include "support/io_conformance.h"
#include "support/uring_fixture.h"

#include <thinp/error.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

enum { SIZE = 1024 };

static int setup(void **state)
{
	return uring_fixture_setup(state, SIZE);
}

/* --- a flush that lasts --- */

struct flusher {
	struct thinp_io *io;
	pthread_t thread;
	int result;
	int pipe[2]; /* the flush ends when something is written to it */
};

static void *do_flush(void *arg)
{
	struct flusher *flusher = arg;

	flusher->result = thinp_io_flush(flusher->io);
	return NULL;
}

static void begin_flush(struct flusher *flusher, struct thinp_io *io)
{
	flusher->io = io;
	assert_int_equal(pipe(flusher->pipe), 0);
	uring_hold_flush(flusher->pipe[0]);
	assert_int_equal(pthread_create(&flusher->thread, NULL, do_flush, flusher), 0);
	while (!uring_count_requests(IORING_OP_POLL_ADD))
		sched_yield();
}

static void end_flush(struct flusher *flusher)
{
	assert_int_equal(write(flusher->pipe[1], "x", 1), 1);
	assert_int_equal(pthread_join(flusher->thread, NULL), 0);
	assert_int_equal(flusher->result, 0);
	close(flusher->pipe[0]);
	close(flusher->pipe[1]);
}

static void reads_and_writes_do_not_wait_for_the_flush_of_another_thread(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(2);
	struct flusher flusher;
	uint64_t nr_blocks;

	begin_flush(&flusher, f->io);
	for (uint64_t i = 1; i <= 20; i++) {
		struct thinp_io_op ops[] = {io_op(THINP_IO_READ, 9, 1, b), io_op(THINP_IO_READ, 5, 1, b + 4096)};

		io_blocks_fill(b, 5, 1, i);
		assert_int_equal(thinp_io_write(f->io, 5, 1, b), 0);
		assert_int_equal(thinp_io_batch(f->io, ops, 2), 0);
		io_blocks_expect(b + 4096, 5, 1, i);
		assert_int_equal(thinp_io_size(f->io, &nr_blocks), 0);
	}
	end_flush(&flusher);
	free(b);
}

/* --- a ring that is full --- */

enum { NR_THREADS = 6, NR_READS = 300, NR_ROUNDS = 10 };

struct reader {
	struct thinp_io *io;
	pthread_t thread;
	unsigned int number;
	const char *complaint;
};

static const char *read_scattered(const struct reader *reader, struct thinp_io_op *ops, uint8_t *blocks)
{
	for (size_t i = 0; i < NR_READS; i++)
		ops[i] = io_op(THINP_IO_READ, (i * 7 * 2 + reader->number) % SIZE, 1, blocks + i * THINP_BLOCK_SIZE);
	if (thinp_io_batch(reader->io, ops, NR_READS))
		return "a read failed";
	for (size_t i = 0; i < NR_READS; i++) {
		const uint64_t *words = (const uint64_t *)(const void *)ops[i].buffer;

		if (words[0] != ops[i].block || words[THINP_BLOCK_SIZE / 8 - 1] != ops[i].block)
			return "a read gave another block";
	}
	return NULL;
}

static void *do_reads(void *arg)
{
	struct reader *reader = arg;
	struct thinp_io_op *ops = calloc(NR_READS, sizeof(*ops));
	uint8_t *blocks = aligned_alloc(THINP_BLOCK_SIZE, (size_t)NR_READS * THINP_BLOCK_SIZE);

	if (!ops || !blocks)
		reader->complaint = "no memory for the test";
	for (unsigned int i = 0; i < NR_ROUNDS && !reader->complaint; i++)
		reader->complaint = read_scattered(reader, ops, blocks);
	free(blocks);
	free(ops);
	return NULL;
}

/* The first and the last word of each block are its number. */
static void write_numbers(struct thinp_io *io)
{
	uint64_t *blocks = io_blocks_new(SIZE);

	for (uint64_t i = 0; i < SIZE; i++) {
		blocks[i * (THINP_BLOCK_SIZE / 8)] = i;
		blocks[(i + 1) * (THINP_BLOCK_SIZE / 8) - 1] = i;
	}
	assert_int_equal(thinp_io_write(io, 0, SIZE, blocks), 0);
	free(blocks);
}

static void completions_never_overflow(void **state)
{
	struct io_file_fixture *f = *state;
	struct reader readers[NR_THREADS];

	write_numbers(f->io);
	for (unsigned int i = 0; i < NR_THREADS; i++) {
		readers[i] = (struct reader){.io = f->io, .number = i};
		assert_int_equal(pthread_create(&readers[i].thread, NULL, do_reads, &readers[i]), 0);
	}
	for (unsigned int i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
	for (unsigned int i = 0; i < NR_THREADS; i++)
		if (readers[i].complaint)
			fail_msg("thread %u: %s", i, readers[i].complaint);
	assert_true(uring_most_in_flight() <= 256); /* twice the size of the ring */
	assert_true(uring_most_in_flight() > 128);  /* or this test shows nothing */
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, uring_fixture_teardown)

static int run_all(void)
{
	const struct CMUnitTest tests[] = {
		CASE(reads_and_writes_do_not_wait_for_the_flush_of_another_thread),
		CASE(completions_never_overflow),
	};

	return cmocka_run_group_tests_name("io/uring/threads", tests, NULL, NULL);
}
#else
static int run_all(void)
{
	return 0;
}
#endif

int main(void)
{
	return uring_run(run_all);
}
