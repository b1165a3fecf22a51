/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_device_open.c - opening block devices, and what is left of it when it fails. The device is a file that is
 * claimed to be one, so this needs no root; test_device.c has real ones.
 */
#include "support/io_conformance.h"
#include "support/io_file_fixture.h"

#include <thinp/error.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 16 };

static int setup(void **state)
{
	io_file_setup(state);
	io_file_make(*state, SIZE * THINP_BLOCK_SIZE, 0x33);
	io_sys_pretend_kind(S_IFBLK);
	return 0;
}

static int open_device(struct io_file_fixture *f, struct thinp_io **io)
{
	return tp_io_open_device_with(f->path, &f->opts, &io_sys_scripted, io);
}

static void expect_refused(struct io_file_fixture *f, uint32_t flags, int code)
{
	f->opts.flags = flags;
	assert_int_equal(open_device(f, &f->io), code);
	assert_null(f->io);
	assert_int_equal(io_sys_nr_open(), 0);
	io_expect_told(code);
	alloc_counting_check(&f->alloc);
}

static void expect_flags(struct io_file_fixture *f, uint32_t flags, int wanted)
{
	f->opts.flags = flags;
	assert_int_equal(open_device(f, &f->io), 0);
	assert_int_equal(io_sys_last_flags() & (O_ACCMODE | O_EXCL | O_CREAT | O_CLOEXEC), wanted | O_CLOEXEC);
	assert_true(fcntl(io_sys_last_fd(), F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(io_sys_last_fd(), F_GETFL) & O_NONBLOCK);
	io_file_close(f);
}

static void a_writer_and_who_asks_for_it_claim_the_device(void **state)
{
	struct io_file_fixture *f = *state;

	expect_flags(f, 0, O_RDWR | O_EXCL);
	expect_flags(f, THINP_IO_CREATE, O_RDWR | O_EXCL); /* nothing is created where a device is */
	expect_flags(f, THINP_IO_READ_ONLY, O_RDONLY);
	expect_flags(f, THINP_IO_READ_ONLY | THINP_IO_EXCLUSIVE, O_RDONLY | O_EXCL);
}

static void what_is_no_block_device_is_not_even_opened(void **state)
{
	struct io_file_fixture *f = *state;

	io_sys_pretend_kind(0);
	expect_refused(f, 0, THINP_ENOTSUP);
	expect_refused(f, THINP_IO_READ_ONLY, THINP_ENOTSUP);
	io_sys_pretend_kind(S_IFCHR);
	expect_refused(f, 0, THINP_ENOTSUP);
	assert_int_equal(io_sys_count(IO_SYS_OPEN), 0);
}

static void what_became_something_else_meanwhile_is_closed(void **state)
{
	struct io_file_fixture *f = *state;

	io_sys_pretend_kind(S_IFIFO);
	io_sys_fail(IO_SYS_STAT, 1, 1, ENOENT); /* it was not there a moment ago */
	expect_refused(f, THINP_IO_READ_ONLY, THINP_ENOTSUP);
	assert_int_equal(io_sys_count(IO_SYS_OPEN), 1);
}

static void without_a_path_nothing_is_opened(void **state)
{
	struct io_file_fixture *f = *state;

	assert_int_equal(thinp_io_open_device(NULL, NULL, &f->io), THINP_EINVAL);
	assert_int_equal(thinp_io_open_device("", NULL, &f->io), THINP_ENOENT);
	assert_null(f->io);
}

static void a_missing_device_is_not_created(void **state)
{
	struct io_file_fixture *f = *state;

	unlink(f->path);
	expect_refused(f, 0, THINP_ENOENT);
	expect_refused(f, THINP_IO_CREATE, THINP_ENOENT);
	assert_true(io_temp_is_empty(&f->temp));
}

static void errors_of_open_have_their_codes(void **state)
{
	static const int pairs[][2] = {
		{EBUSY, THINP_EBUSY},  {EACCES, THINP_EACCES}, {EPERM, THINP_EACCES}, {EROFS, THINP_EROFS},
		{ENXIO, THINP_ENOENT}, {ENODEV, THINP_ENOENT}, {EMFILE, THINP_EIO},   {ENOENT, THINP_ENOENT},
	};
	struct io_file_fixture *f = *state;

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		io_sys_fail(IO_SYS_OPEN, 1, 1, pairs[i][0]);
		expect_refused(f, 0, pairs[i][1]);
	}
}

static void BM_07_sectors_larger_than_a_block_are_not_written(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *block = io_blocks_new(1);

	io_sys_pretend_sectors(4096);
	expect_flags(f, 0, O_RDWR | O_EXCL);
	io_sys_pretend_sectors(8192);
	expect_refused(f, 0, THINP_ENOTSUP);
	f->opts.flags = THINP_IO_READ_ONLY;
	io_sys_fail(IO_SYS_PREADV, 1, 1, EINVAL); /* as such a device does past the page cache */
	assert_int_equal(open_device(f, &f->io), 0);
	assert_int_equal(thinp_io_read(f->io, 5, 1, block), 0);
	assert_int_equal(block[0], 0x33);
	free(block);
}

static void direct_access_that_is_demanded_is_had_or_refused(void **state)
{
	struct io_file_fixture *f = *state;

	f->opts.direct = THINP_IO_DIRECT_ON;
	io_sys_fail(IO_SYS_SET_FLAGS, 1, 1, EINVAL);
	expect_refused(f, 0, THINP_ENOTSUP);
	f->opts.direct = THINP_IO_DIRECT_AUTO;
	io_sys_fail(IO_SYS_SET_FLAGS, 1, 1, EINVAL);
	assert_int_equal(open_device(f, &f->io), 0);
}

static void the_size_is_asked_for_each_time(void **state)
{
	struct io_file_fixture *f = *state;
	uint64_t nr_blocks = 0;

	assert_int_equal(open_device(f, &f->io), 0);
	assert_int_equal(thinp_io_size(f->io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, SIZE);
	io_sys_fail(IO_SYS_IOCTL, 1, 1, EIO);
	assert_int_equal(thinp_io_size(f->io, &nr_blocks), THINP_EIO);
	io_expect_told(THINP_EIO);
	assert_int_equal(nr_blocks, SIZE);
	assert_int_equal(thinp_io_flush(f->io), 0);
	io_sys_fail(IO_SYS_IOCTL, 1, 1, ENODEV);
	assert_int_equal(thinp_io_flush(f->io), THINP_ENOENT); /* it was pulled out */
}

static void a_discard_is_a_hint(void **state)
{
	struct io_file_fixture *f = *state;
	struct thinp_io_op op = io_op(THINP_IO_DISCARD, 5, 10, NULL);

	assert_int_equal(open_device(f, &f->io), 0);
	io_sys_fail(IO_SYS_IOCTL, 2, 1, EOPNOTSUPP); /* the first one asks for the size */
	assert_int_equal(thinp_io_batch(f->io, &op, 1), 0);
	assert_true(io_sys_has_failed());
	io_sys_fail(IO_SYS_IOCTL, 2, 1, EIO);
	assert_int_equal(thinp_io_batch(f->io, &op, 1), THINP_EIO);
	assert_int_equal(op.result, THINP_EIO);
	io_sys_fail(IO_SYS_IOCTL, 1, 9, EINTR);
	assert_int_equal(thinp_io_batch(f->io, &op, 1), 0);
	assert_int_equal(io_sys_count(IO_SYS_FALLOCATE), 0);
}

static int use_in_child(struct thinp_io *io, void *buffer)
{
	uint64_t nr_blocks;

	if (thinp_io_write(io, 0, 1, buffer) != THINP_EFORKED)
		return 1;
	return thinp_io_size(io, &nr_blocks) != THINP_EFORKED;
}

static void COW_13_a_handle_refuses_to_work_in_a_child(void **state)
{
	struct io_file_fixture *f = *state;
	void *buffer = io_blocks_new(1);
	int status = 0;
	pid_t child;

	assert_int_equal(open_device(f, &f->io), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		int r = use_in_child(f->io, buffer);

		thinp_io_close(f->io);
		_exit(r);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(thinp_io_write(f->io, 0, 1, buffer), 0);
	free(buffer);
}

/* --- every way to fail --- */

static void ERRLOOP_a_failed_opening_leaks_nothing(void **state)
{
	static const uint32_t flags[] = {0, THINP_IO_READ_ONLY, THINP_IO_READ_ONLY | THINP_IO_EXCLUSIVE};
	struct io_file_fixture *f = *state;

	for (size_t i = 0; i < 3; i++) {
		unsigned int nr_refused = 0;
		bool has_failed = true;

		f->opts.flags = flags[i];
		for (unsigned int n = 1; has_failed; n++) {
			int r;

			io_sys_fail(IO_SYS_ANY, n, 1, EIO);
			r = open_device(f, &f->io);
			has_failed = io_sys_has_failed();
			assert_true(r == 0 || r == THINP_EIO);
			nr_refused += r != 0;
			io_file_close(f); /* some failures do not matter: what cannot be direct is not */
			assert_int_equal(io_sys_nr_open(), 0);
			alloc_counting_check(&f->alloc);
		}
		assert_true(nr_refused >= 5);
	}
}

static int attempt_open(void *ctx)
{
	struct io_file_fixture *f = ctx;
	int r = open_device(f, &f->io);

	io_file_close(f);
	assert_int_equal(io_sys_nr_open(), 0);
	return r;
}

static void OOMLOOP_opening_leaks_nothing(void **state)
{
	struct io_file_fixture *f = *state;

	alloc_counting_loop(&f->alloc, attempt_open, f);
	f->opts.flags = THINP_IO_READ_ONLY;
	alloc_counting_loop(&f->alloc, attempt_open, f);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, io_file_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_writer_and_who_asks_for_it_claim_the_device),
		CASE(what_is_no_block_device_is_not_even_opened),
		CASE(what_became_something_else_meanwhile_is_closed),
		CASE(without_a_path_nothing_is_opened),
		CASE(a_missing_device_is_not_created),
		CASE(errors_of_open_have_their_codes),
		CASE(BM_07_sectors_larger_than_a_block_are_not_written),
		CASE(direct_access_that_is_demanded_is_had_or_refused),
		CASE(the_size_is_asked_for_each_time),
		CASE(a_discard_is_a_hint),
		CASE(COW_13_a_handle_refuses_to_work_in_a_child),
		CASE(ERRLOOP_a_failed_opening_leaks_nothing),
		CASE(OOMLOOP_opening_leaks_nothing),
	};

	return cmocka_run_group_tests_name("io/device/open", tests, NULL, NULL);
}
