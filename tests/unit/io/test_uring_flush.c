/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_uring_flush.c - commits in small by io_uring: blocks, flush, superblock, flush. How they are submitted, and
 * that after a write or flush that failed, or a write that was short, neither flush nor superblock get through: the file
 * is read again. Some failures are the system's own, made by a limit on the size of files or a device that breaks.
 */
#include "support/uring_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#ifdef THINP_WITH_URING
#include "support/io_conformance.h"
#include "support/io_device_fixture.h"
#include "support/uring_fixture.h"

#include <thinp/error.h>

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
	SIZE = 256,
	NR_BLOCKS = 120, /* of a commit */
	NR_OPS = NR_BLOCKS + 3,
};

struct commit {
	struct thinp_io_op ops[NR_OPS];
	uint8_t *blocks;
};

static struct thinp_io_op *flush_of(struct commit *c)
{
	return &c->ops[NR_BLOCKS];
}

static struct thinp_io_op *superblock_of(struct commit *c)
{
	return &c->ops[NR_BLOCKS + 1];
}

/* Generation 2 of blocks that begin at `first` and are `step` apart, in memory that is not in their order, and of the
 * superblock. */
static void prepare(struct commit *c, thinp_block_t first, uint64_t step)
{
	c->blocks = io_blocks_new(NR_BLOCKS + 1);
	for (size_t i = 0; i < NR_BLOCKS; i++) {
		c->ops[i] = io_op(THINP_IO_WRITE, first + i * step, 1, c->blocks + (NR_BLOCKS - i) * THINP_BLOCK_SIZE);
		io_blocks_fill(c->ops[i].buffer, c->ops[i].block, 1, 2);
	}
	io_blocks_fill(c->blocks, 0, 1, 2);
	c->ops[NR_BLOCKS] = io_op(THINP_IO_FLUSH, 0, 0, NULL);
	c->ops[NR_BLOCKS + 1] = io_op(THINP_IO_WRITE, 0, 1, c->blocks);
	c->ops[NR_BLOCKS + 2] = io_op(THINP_IO_FLUSH, 0, 0, NULL);
}

/* A file all of generation 1. */
static int setup(void **state)
{
	struct io_file_fixture *f;

	assert_int_equal(uring_fixture_setup(state, SIZE), 0);
	f = *state;
	io_write_pattern(f->io, 0, SIZE, 1);
	assert_int_equal(thinp_io_flush(f->io), 0);
	io_sys_reset();
	uring_script_reset();
	return 0;
}

/* --- what a commit becomes --- */

static void a_commit_of_neighbours_is_one_submission(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit c;

	prepare(&c, 10, 1);
	assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), 0);
	io_expect_results(c.ops, NR_OPS, 0);
	assert_int_equal(uring_count(URING_SUBMIT), 1);
	assert_int_equal(uring_count_requests(IORING_OP_WRITEV), 1);
	assert_int_equal(uring_count_requests(IORING_OP_WRITE), 1);
	assert_int_equal(uring_count_requests(IORING_OP_FSYNC), 2);
	assert_int_equal(uring_count_links(), 3);
	assert_int_equal(io_sys_count(IO_SYS_PWRITEV) + io_sys_count(IO_SYS_FDATASYNC), 0);
	io_expect_pattern(f->io, 0, 1, 2);
	io_expect_pattern(f->io, 10, NR_BLOCKS, 2);
	free(c.blocks);
}

static void a_commit_of_scattered_blocks_is_two_submissions(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit c;

	prepare(&c, 10, 2);
	assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), 0);
	io_expect_results(c.ops, NR_OPS, 0);
	assert_int_equal(uring_count(URING_SUBMIT), 2);
	assert_int_equal(uring_count_requests(IORING_OP_WRITE), NR_BLOCKS + 1);
	assert_int_equal(uring_count_requests(IORING_OP_FSYNC), 2);
	assert_int_equal(uring_count_links(), 2);
	io_expect_pattern(f->io, 0, 1, 2);
	for (size_t i = 0; i < NR_BLOCKS; i++)
		io_expect_pattern(f->io, 10 + 2 * i, 1, 2);
	io_expect_pattern(f->io, 11, 1, 1);
	free(c.blocks);
}

static void what_is_no_commit_has_no_links(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(3);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_READ, 9, 1, b),
		io_op(THINP_IO_READ, 3, 1, b + THINP_BLOCK_SIZE),
		io_op(THINP_IO_READ, 6, 1, b + 2 * THINP_BLOCK_SIZE),
	};

	assert_int_equal(thinp_io_batch(f->io, ops, 3), 0);
	assert_int_equal(thinp_io_read(f->io, 7, 1, b), 0);
	assert_int_equal(uring_count(URING_SUBMIT), 2);
	assert_int_equal(uring_count_links(), 0);
	free(b);
}

static void a_reader_flushes_nothing(void **state)
{
	struct io_file_fixture *f = *state;
	void *b = io_blocks_new(1);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_READ, 9, 1, b),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
	};

	io_file_close(f);
	f->opts.flags = THINP_IO_READ_ONLY;
	assert_int_equal(uring_fixture_open(f, &f->io), 0);
	assert_int_equal(thinp_io_batch(f->io, ops, 3), 0);
	io_expect_results(ops, 3, 0);
	assert_int_equal(uring_count_requests(IORING_OP_FSYNC), 0);
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 0);
	free(b);
}

/* Discards are no requests of the ring, and many runs none that can be linked: all of it in one batch. */
static void a_batch_may_have_all_of_it(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(4);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_FLUSH, 0, 0, NULL),    io_op(THINP_IO_WRITE, 5, 1, b),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),    io_op(THINP_IO_DISCARD, 40, 9, NULL),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),    io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_WRITE, 8, 1, b),       io_op(THINP_IO_DISCARD, 60, 1, NULL),
		io_op(THINP_IO_WRITE, 7, 1, b),       io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_READ, 8, 1, b + 4096), io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_READ, 5, 1, b + 8192), io_op(THINP_IO_READ, 7, 1, b + 12288),
	};

	io_blocks_fill(b, 5, 1, 2);
	assert_int_equal(thinp_io_batch(f->io, ops, 14), 0);
	io_expect_results(ops, 14, 0);
	for (size_t i = 1; i < 4; i++)
		io_blocks_expect(b + i * THINP_BLOCK_SIZE, 5, 1, 2);
	assert_int_equal(uring_count_requests(IORING_OP_FSYNC), 6);
	free(b);
}

/* --- what stops it --- */

/* The superblock was not written: neither then nor is it on its way. */
static void expect_stopped(struct io_file_fixture *f, struct commit *c, int code)
{
	assert_int_equal(thinp_io_batch(f->io, c->ops, NR_OPS), code);
	io_expect_told(code);
	io_expect_results(flush_of(c), 3, THINP_ECANCELED);
	io_expect_pattern(f->io, 0, 1, 1);
	uring_spoil_block(0, 0, false);
	assert_int_equal(thinp_io_batch(f->io, superblock_of(c), 2), 0);
	io_expect_pattern(f->io, 0, 1, 2);
}

static void TM_01_one_failed_write_among_many_stops_the_flush(void **state)
{
	static const size_t bad[] = {0, 1, 60, NR_BLOCKS - 1};
	struct io_file_fixture *f = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		void *superblock = io_blocks_new(1);
		struct commit c;

		io_blocks_fill(superblock, 0, 1, 1);
		assert_int_equal(thinp_io_write(f->io, 0, 1, superblock), 0);
		prepare(&c, 10, 2);
		uring_script_reset();
		uring_spoil_block(10 + 2 * bad[i], EIO, false);
		expect_stopped(f, &c, THINP_EIO);
		for (size_t n = 0; n < NR_BLOCKS; n++)
			assert_int_equal(c.ops[n].result, n == bad[i] ? THINP_EIO : 0);
		free(c.blocks);
		free(superblock);
	}
}

static void TM_01_a_failed_write_of_neighbours_stops_the_flush(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit c;

	prepare(&c, 10, 1);
	uring_spoil_block(50, EIO, false);
	assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), THINP_EIO);
	assert_int_equal(uring_count_cancelled(), 3); /* by the kernel, all at once */
	for (size_t n = 0; n < NR_BLOCKS; n++)
		assert_int_equal(c.ops[n].result, n == 40 ? THINP_EIO : 0);
	expect_stopped(f, &c, THINP_EIO);
	free(c.blocks);
}

static void TM_01_a_failed_flush_stops_the_superblock(void **state)
{
	static const uint64_t steps[] = {1, 2};
	struct io_file_fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct commit c;

		prepare(&c, 10, steps[i]);
		uring_script_reset();
		uring_fail_flush(1, 1, EIO);
		assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), THINP_EIO);
		io_expect_told(THINP_EIO);
		assert_int_equal(uring_count_cancelled(), 2);
		io_expect_results(c.ops, NR_BLOCKS, 0);
		assert_int_equal(flush_of(&c)->result, THINP_EIO);
		io_expect_results(superblock_of(&c), 2, THINP_ECANCELED);
		io_expect_pattern(f->io, 0, 1, 1);
		free(c.blocks);
	}
}

static void a_failed_superblock_stops_the_last_flush(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit c;

	prepare(&c, 10, 1);
	uring_spoil_block(0, EIO, false);
	assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), THINP_EIO);
	io_expect_results(c.ops, NR_BLOCKS + 1, 0);
	assert_int_equal(superblock_of(&c)->result, THINP_EIO);
	assert_int_equal(c.ops[NR_OPS - 1].result, THINP_ECANCELED);
	free(c.blocks);
}

static void a_failed_last_flush_is_told(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit c;

	prepare(&c, 10, 1);
	uring_fail_flush(2, 1, EIO);
	assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), THINP_EIO);
	io_expect_results(c.ops, NR_OPS - 1, 0);
	assert_int_equal(c.ops[NR_OPS - 1].result, THINP_EIO);
	free(c.blocks);
}

/* --- failures of the system itself --- */

static struct rlimit limit_before;
static void (*handler_before)(int);

/* From here on no file can be written at this block or behind it; a write that reaches there is short. */
static void limit_files(thinp_block_t block)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit_before), 0);
	limit = limit_before;
	limit.rlim_cur = block * THINP_BLOCK_SIZE;
	handler_before = signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void unlimit_files(void)
{
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit_before), 0);
	signal(SIGXFSZ, handler_before);
}

static void TM_01_writes_beyond_a_limit_of_the_system_stop_the_flush(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit c;

	prepare(&c, 10, 2);
	limit_files(200);
	assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), THINP_ENOSPC);
	unlimit_files();
	for (size_t n = 0; n < NR_BLOCKS; n++)
		assert_int_equal(c.ops[n].result, c.ops[n].block < 200 ? 0 : THINP_ENOSPC);
	io_expect_results(flush_of(&c), 3, THINP_ECANCELED);
	io_expect_pattern(f->io, 0, 1, 1);
	free(c.blocks);
}

/* The first part of the run is written and the answer is short, no error. The kernel must not take that for success. */
static void TM_01_a_write_that_is_short_stops_what_is_linked_to_it(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit c;

	prepare(&c, 10, 1);
	limit_files(100);
	assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), THINP_ENOSPC);
	unlimit_files();
	assert_int_equal(uring_count_cancelled(), 3);
	for (size_t n = 0; n < NR_BLOCKS; n++)
		assert_int_equal(c.ops[n].result, c.ops[n].block < 100 ? 0 : THINP_ENOSPC);
	io_expect_results(flush_of(&c), 3, THINP_ECANCELED);
	io_expect_pattern(f->io, 0, 1, 1);
	io_expect_pattern(f->io, 10, 90, 2);
	io_expect_pattern(f->io, 100, 100, 1);
	free(c.blocks);
}

/* A loop device over memory that cannot be written any more. */
static void TM_01_writes_that_a_device_fails_stop_the_superblock(void **state)
{
	static struct io_device_fixture f;
	const char *obstacle = io_device_obstacle();
	void *blocks = io_blocks_new(SIZE);
	struct commit c;

	io_file_close(*state);
	if (obstacle) {
		free(blocks);
		print_message("loop devices cannot be had here: %s\n", obstacle);
		skip();
	}
	io_device_make(&f, SIZE, 512);
	assert_int_equal(tp_io_open_uring_with(f.loop.path, &f.opts, &io_sys_scripted, &uring_scripted, &f.io), 0);
	io_blocks_fill(blocks, 0, SIZE, 1);
	assert_int_equal(thinp_io_write(f.io, 0, SIZE, blocks), 0);
	io_device_break_from(&f, 200);
	prepare(&c, 10, 2);
	assert_int_equal(thinp_io_batch(f.io, c.ops, NR_OPS), THINP_EIO);
	io_expect_results(flush_of(&c), 3, THINP_ECANCELED);
	io_expect_pattern(f.io, 0, 1, 1);
	assert_int_equal(thinp_io_batch(f.io, superblock_of(&c), 1), 0); /* it could have been written */
	io_device_remove(&f);
	free(c.blocks);
	free(blocks);
}

/* --- short and strange answers --- */

/* Nobody promises in what way a system is wrong: every answer of a commit is made to be another one, in turn. The commit
 * must end well, since everything was carried out, and be begun anew from there. */
static void an_answer_that_asks_for_another_try_gets_it(void **state)
{
	static const int answers[] = {-EINTR, -EAGAIN, 0, 4096};
	static const uint64_t steps[] = {1, 2};
	struct io_file_fixture *f = *state;

	for (unsigned int i = 0; i < 8; i++) {
		for (unsigned int n = 1; n <= (i < 4 ? 4u : NR_BLOCKS + 3u); n++) {
			bool is_flush = i < 4 ? n % 2 == 0 : n > NR_BLOCKS && n != NR_BLOCKS + 2;
			struct commit c;

			if (is_flush && answers[i % 4] == 4096)
				continue; /* no flush says so */
			prepare(&c, 10, steps[i / 4]);
			uring_script_reset();
			uring_forge_answer(n, answers[i % 4]);
			assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), 0);
			io_expect_results(c.ops, NR_OPS, 0);
			io_expect_pattern(f->io, 0, 1, 2);
			free(c.blocks);
		}
	}
}

static void an_answer_that_is_a_failure_fails_its_operation(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit c;

	prepare(&c, 10, 2);
	for (unsigned int n = 1; n <= NR_BLOCKS; n += 17) {
		unsigned int nr_failed = 0;

		uring_script_reset();
		uring_forge_answer(n, n % 2 ? -EIO : -ECANCELED); /* nobody had a reason to cancel it */
		assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), THINP_EIO);
		for (size_t i = 0; i < NR_BLOCKS; i++)
			nr_failed += c.ops[i].result == THINP_EIO;
		assert_int_equal(nr_failed, 1);
		io_expect_results(flush_of(&c), 3, THINP_ECANCELED);
	}
	io_expect_pattern(f->io, 0, 1, 1);
	free(c.blocks);
}

/* Should the system go on behind a short write after all, what comes then is done again, and no failure is lost. */
static void a_failed_flush_behind_a_short_write_is_told(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit c;

	prepare(&c, 10, 1);
	uring_forge_answer(1, 4096);
	uring_fail_flush(1, 1, EIO);
	assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), THINP_EIO);
	io_expect_results(c.ops, NR_BLOCKS, 0);
	assert_int_equal(flush_of(&c)->result, THINP_EIO);
	io_expect_pattern(f->io, 0, 1, 1);
	free(c.blocks);
}

/* --- the ring and the rest of the handle --- */

static void fail_a_flush(void *ctx)
{
	struct io_file_fixture *f = ctx;

	uring_fail_flush(1, 1, EIO);
	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
}

/* COW-11: the kernel would tell the second flush that all is well, although its write is among those that were lost. */
static void COW_11_a_failed_flush_is_told_to_every_batch_that_is_under_way(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(2);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 3, 1, b),
		io_op(THINP_IO_DISCARD, 9, 1, NULL),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_WRITE, 0, 1, b),
	};

	io_sys_before(IO_SYS_FALLOCATE, 1, fail_a_flush, f); /* as if by another thread */
	assert_int_equal(thinp_io_batch(f->io, ops, 4), THINP_EIO);
	io_expect_told(THINP_EIO);
	io_expect_results(ops, 2, 0);
	assert_int_equal(ops[2].result, THINP_EIO);
	assert_int_equal(ops[3].result, THINP_ECANCELED);
	io_expect_pattern(f->io, 0, 1, 1);
	assert_int_equal(thinp_io_batch(f->io, ops, 4), 0);
	free(b);
}

static void a_failure_seen_while_resizing_is_told_to_the_next_flush(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit c;

	prepare(&c, 10, 1);
	io_sys_fail(IO_SYS_FDATASYNC, 1, 1, EIO);
	assert_int_equal(thinp_io_resize(f->io, SIZE + 1), THINP_EIO);
	assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), THINP_EIO);
	io_expect_results(c.ops, NR_BLOCKS, 0);
	assert_int_equal(flush_of(&c)->result, THINP_EIO);
	io_expect_pattern(f->io, 0, 1, 1);
	assert_int_equal(thinp_io_batch(f->io, c.ops, NR_OPS), 0);
	free(c.blocks);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, uring_fixture_teardown)

static int run_all(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_commit_of_neighbours_is_one_submission),
		CASE(a_commit_of_scattered_blocks_is_two_submissions),
		CASE(what_is_no_commit_has_no_links),
		CASE(a_reader_flushes_nothing),
		CASE(a_batch_may_have_all_of_it),
		CASE(TM_01_one_failed_write_among_many_stops_the_flush),
		CASE(TM_01_a_failed_write_of_neighbours_stops_the_flush),
		CASE(TM_01_a_failed_flush_stops_the_superblock),
		CASE(a_failed_superblock_stops_the_last_flush),
		CASE(a_failed_last_flush_is_told),
		CASE(TM_01_writes_beyond_a_limit_of_the_system_stop_the_flush),
		CASE(TM_01_a_write_that_is_short_stops_what_is_linked_to_it),
		CASE(TM_01_writes_that_a_device_fails_stop_the_superblock),
		CASE(an_answer_that_asks_for_another_try_gets_it),
		CASE(an_answer_that_is_a_failure_fails_its_operation),
		CASE(a_failed_flush_behind_a_short_write_is_told),
		CASE(COW_11_a_failed_flush_is_told_to_every_batch_that_is_under_way),
		CASE(a_failure_seen_while_resizing_is_told_to_the_next_flush),
	};

	return cmocka_run_group_tests_name("io/uring/flush", tests, NULL, NULL);
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
