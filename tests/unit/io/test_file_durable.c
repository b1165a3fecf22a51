/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_file_durable.c - a run of writes and its flush in one call: when that may be done, and what if it fails.
 */
#include "io/file_sys.h"
#include "support/io_conformance.h"
#include "support/io_file_fixture.h"

#include <thinp/error.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 100 };

/* The scripted calls, and a durable write that counts, fails or moves less when it is told to. */
static struct {
	unsigned int count;
	int err;
	ssize_t most;
} durable;

static ssize_t write_durably(int fd, const struct iovec *iov, int nr_iov, off_t offset)
{
	struct iovec first = iov[0];

	durable.count++;
	errno = durable.err;
	if (durable.err)
		return -1;
	if (!durable.most)
		return tp_file_sys_libc.pwritev_durably(fd, iov, nr_iov, offset);
	first.iov_len = (size_t)durable.most;
	return tp_file_sys_libc.pwritev_durably(fd, &first, 1, offset);
}

/* Past the page cache? */
static bool is_direct(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	assert_true(flags >= 0);
	return flags & O_DIRECT;
}

static bool was_read_direct;

static ssize_t read_noting(int fd, const struct iovec *iov, int nr_iov, off_t offset)
{
	was_read_direct = is_direct(fd);
	return io_sys_scripted.preadv(fd, iov, nr_iov, offset);
}

static struct tp_file_sys sys;

static int setup(void **state, uint32_t direct)
{
	struct io_file_fixture *f;

	if (io_file_setup(state))
		return -1;
	f = *state;
	sys = io_sys_scripted;
	sys.pwritev_durably = write_durably;
	sys.preadv = read_noting;
	f->opts.flags = THINP_IO_CREATE;
	f->opts.nr_blocks = SIZE;
	f->opts.direct = direct;
	assert_int_equal(tp_io_open_file_with(f->path, &f->opts, &sys, &f->io), 0);
	io_sys_reset();
	memset(&durable, 0, sizeof(durable));
	return 0;
}

static int setup_cached(void **state)
{
	return setup(state, THINP_IO_DIRECT_OFF);
}

static int setup_direct(void **state)
{
	return setup(state, THINP_IO_DIRECT_AUTO);
}

/* A commit: blocks, flush, record, flush. */
struct commit {
	uint8_t *b;
	struct thinp_io_op ops[5];
};

static struct commit *commit_new(thinp_block_t second, unsigned int version)
{
	struct commit *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->b = io_blocks_new(3);
	io_blocks_fill(c->b, 7, 1, version);
	io_blocks_fill(c->b + THINP_BLOCK_SIZE, second, 1, version);
	io_blocks_fill(c->b + 2 * THINP_BLOCK_SIZE, 0, 1, version);
	c->ops[0] = io_op(THINP_IO_WRITE, 7, 1, c->b);
	c->ops[1] = io_op(THINP_IO_WRITE, second, 1, c->b + THINP_BLOCK_SIZE);
	c->ops[2] = io_op(THINP_IO_FLUSH, 0, 0, NULL);
	c->ops[3] = io_op(THINP_IO_WRITE, 0, 1, c->b + 2 * THINP_BLOCK_SIZE);
	c->ops[4] = io_op(THINP_IO_FLUSH, 0, 0, NULL);
	return c;
}

static void commit_free(struct commit *c)
{
	free(c->b);
	free(c);
}

static void commit_well(struct io_file_fixture *f, thinp_block_t second, unsigned int version)
{
	struct commit *c = commit_new(second, version);

	assert_int_equal(thinp_io_batch(f->io, c->ops, 5), 0);
	io_expect_results(c->ops, 5, 0);
	io_expect_pattern(f->io, 7, 1, version);
	io_expect_pattern(f->io, second, 1, version);
	io_expect_pattern(f->io, 0, 1, version);
	commit_free(c);
}

static void a_run_and_its_flush_are_one_call(void **state)
{
	commit_well(*state, 8, 1);
	assert_int_equal(durable.count, 2);
	assert_int_equal(io_sys_count(IO_SYS_PWRITEV), 0);
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 0);
}

static void several_runs_are_flushed_as_ever(void **state)
{
	commit_well(*state, 20, 1);
	assert_int_equal(durable.count, 1); /* the record */
	assert_int_equal(io_sys_count(IO_SYS_PWRITEV), 2);
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 1);
}

/* A durable write may make nothing durable but itself. */
static void while_an_earlier_write_waits_for_a_flush_there_is_one(void **state)
{
	struct io_file_fixture *f = *state;

	io_write_pattern(f->io, 50, 1, 1);
	commit_well(f, 8, 1);
	assert_int_equal(durable.count, 1);
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 1);
	commit_well(f, 8, 2);
	assert_int_equal(durable.count, 3);
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 1);
}

static void while_a_discard_waits_for_a_flush_there_is_one(void **state)
{
	struct io_file_fixture *f = *state;
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 60, 4, NULL);

	assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	commit_well(f, 8, 1);
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 1);
}

static void after_a_flush_that_failed_nothing_waits_less(void **state)
{
	struct io_file_fixture *f = *state;

	io_write_pattern(f->io, 50, 1, 1);
	io_sys_fail(IO_SYS_FDATASYNC, 1, 1, EIO);
	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
	commit_well(f, 8, 1);
	assert_int_equal(durable.count, 1);
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 2);
}

static void a_system_without_is_asked_once(void **state)
{
	static const int errors[] = {EOPNOTSUPP, ENOSYS, EINVAL};

	for (size_t i = 0; i < 3; i++) {
		struct io_file_fixture *f = *state;

		io_file_close(f);
		assert_int_equal(tp_io_open_file_with(f->path, &f->opts, &sys, &f->io), 0);
		io_sys_reset();
		durable.count = 0;
		durable.err = errors[i];
		commit_well(f, 8, 1);
		commit_well(f, 8, 2);
		assert_int_equal(durable.count, 1);
		assert_int_equal(io_sys_count(IO_SYS_PWRITEV), 4);
		assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 4);
	}
}

static void what_moved_less_is_done_again(void **state)
{
	durable.most = THINP_BLOCK_SIZE;
	commit_well(*state, 8, 1);
	assert_int_equal(durable.count, 2); /* the record is one block, and all of it */
	assert_int_equal(io_sys_count(IO_SYS_PWRITEV), 1);
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 1);
}

/* COW-11: the kernel tells of lost writes once, and it may have been this time. */
static void COW_11_a_failure_is_a_failed_flush(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit *c = commit_new(8, 1);

	durable.err = EIO;
	assert_int_equal(thinp_io_batch(f->io, c->ops, 5), THINP_EIO);
	io_expect_told(THINP_EIO);
	assert_int_equal(c->ops[0].result, 0); /* done again, and well */
	assert_int_equal(c->ops[2].result, THINP_EIO);
	assert_int_equal(c->ops[3].result, THINP_ECANCELED);
	assert_int_equal(c->ops[4].result, THINP_ECANCELED);
	durable.err = 0;
	assert_int_equal(thinp_io_batch(f->io, c->ops, 5), 0);
	commit_free(c);
}

static void a_bad_block_is_the_fault_of_its_write(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit *c = commit_new(8, 1);

	durable.err = EIO;
	io_sys_spoil_block(8, EIO, false);
	assert_int_equal(thinp_io_batch(f->io, c->ops, 5), THINP_EIO);
	assert_int_equal(c->ops[0].result, 0);
	assert_int_equal(c->ops[1].result, THINP_EIO);
	for (size_t i = 2; i < 5; i++)
		assert_int_equal(c->ops[i].result, THINP_ECANCELED);
	commit_free(c);
}

static void a_failure_in_the_second_half_is_told_there(void **state)
{
	struct io_file_fixture *f = *state;
	struct commit *c = commit_new(20, 1); /* the first half is flushed as ever */

	durable.err = EIO;
	assert_int_equal(thinp_io_batch(f->io, c->ops, 5), THINP_EIO);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(c->ops[i].result, 0);
	assert_int_equal(c->ops[4].result, THINP_EIO);
	commit_free(c);
}

/* --- records ---------------------------------------------------------------------------------------------------------- */

/* The file system of the build may not be able to go past the page cache. */
static void need_direct(void)
{
	if (!is_direct(io_sys_last_fd()))
		skip();
}

static void read_blocks(struct io_file_fixture *f, thinp_block_t block, uint64_t nr)
{
	uint8_t *b = io_blocks_new(nr);

	assert_int_equal(thinp_io_read(f->io, block, nr, b), 0);
	free(b);
}

static void a_record_is_read_back_from_the_page_cache(void **state)
{
	struct io_file_fixture *f = *state;

	need_direct();
	commit_well(f, 8, 1);
	io_expect_pattern(f->io, 0, 1, 1);
	assert_false(was_read_direct);
	read_blocks(f, 7, 1); /* not a record */
	assert_true(was_read_direct);
	read_blocks(f, 0, 2); /* not all of it records */
	assert_true(was_read_direct);
	io_write_pattern(f->io, 0, 1, 3); /* not durable: no record any more */
	io_expect_pattern(f->io, 0, 1, 3);
	assert_true(was_read_direct);
	commit_well(f, 8, 4);
	io_expect_pattern(f->io, 0, 1, 4);
	assert_false(was_read_direct);
}

/* Two slots, written in turn. */
static void two_records_are_read_back_together(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(1);

	need_direct();
	for (thinp_block_t slot = 0; slot < 2; slot++) {
		struct thinp_io_op ops[] = {io_op(THINP_IO_WRITE, slot, 1, b), io_op(THINP_IO_FLUSH, 0, 0, NULL)};

		io_blocks_fill(b, slot, 1, 5);
		assert_int_equal(thinp_io_batch(f->io, ops, 2), 0);
	}
	io_expect_pattern(f->io, 0, 2, 5);
	assert_false(was_read_direct);
	free(b);
}

/* BM-06: whoever commits sees that somebody else has written to the file, by whatever way. */
static void BM_06_what_somebody_else_wrote_is_read(void **state)
{
	static const int ways[] = {0, O_DIRECT};
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(1);

	need_direct();
	for (unsigned int i = 0; i < 2; i++) {
		int fd = open(f->path, O_RDWR | O_CLOEXEC | ways[i]);

		assert_true(fd >= 0);
		commit_well(f, 8, 1);
		io_blocks_fill(b, 0, 1, 20 + i);
		assert_int_equal(pwrite(fd, b, THINP_BLOCK_SIZE, 0), THINP_BLOCK_SIZE);
		io_expect_pattern(f->io, 0, 1, 20 + i);
		assert_false(was_read_direct);
		assert_int_equal(close(fd), 0);
	}
	free(b);
}

static void without_a_second_descriptor_all_goes_past_the_page_cache(void **state)
{
	struct io_file_fixture *f = *state;

	need_direct();
	io_sys_fail(IO_SYS_OPEN, 1, 1, EMFILE);
	commit_well(f, 8, 1);
	assert_true(io_sys_has_failed());
	io_expect_pattern(f->io, 0, 1, 1);
	assert_true(was_read_direct);
	commit_well(f, 8, 2);
	assert_int_equal(io_sys_count(IO_SYS_OPEN), 1); /* it is not asked for again */
}

#define BOTH(test)                                                                                                     \
	cmocka_unit_test_setup_teardown(test, setup_cached, io_file_teardown),                                         \
		cmocka_unit_test_setup_teardown(test, setup_direct, io_file_teardown)

#define DIRECT(test) cmocka_unit_test_setup_teardown(test, setup_direct, io_file_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(a_run_and_its_flush_are_one_call),
		BOTH(several_runs_are_flushed_as_ever),
		BOTH(while_an_earlier_write_waits_for_a_flush_there_is_one),
		BOTH(while_a_discard_waits_for_a_flush_there_is_one),
		BOTH(after_a_flush_that_failed_nothing_waits_less),
		BOTH(a_system_without_is_asked_once),
		BOTH(what_moved_less_is_done_again),
		BOTH(COW_11_a_failure_is_a_failed_flush),
		BOTH(a_bad_block_is_the_fault_of_its_write),
		BOTH(a_failure_in_the_second_half_is_told_there),
		DIRECT(a_record_is_read_back_from_the_page_cache),
		DIRECT(two_records_are_read_back_together),
		DIRECT(BM_06_what_somebody_else_wrote_is_read),
		DIRECT(without_a_second_descriptor_all_goes_past_the_page_cache),
	};

	return cmocka_run_group_tests_name("io/file/durable", tests, NULL, NULL);
}
