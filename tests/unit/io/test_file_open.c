/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_file_open.c - opening and creating files, and what is left of it when it fails.
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
#include <unistd.h>

#include <cmocka.h>

static void expect_refused(struct io_file_fixture *f, uint32_t flags, int code)
{
	f->opts.flags = flags;
	assert_int_equal(io_file_open(f, &f->io), code);
	assert_null(f->io);
	assert_int_equal(io_sys_nr_open(), 0);
	io_expect_told(code);
	alloc_counting_check(&f->alloc);
}

static void expect_size(struct thinp_io *io, uint64_t expected)
{
	uint64_t nr_blocks = ~expected;

	assert_int_equal(thinp_io_size(io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, expected);
}

/* --- what can be opened --- */

static void a_missing_file_is_created_only_when_asked(void **state)
{
	struct io_file_fixture *f = *state;
	struct thinp_error_info info = {.size = sizeof(info)};

	expect_refused(f, 0, THINP_ENOENT);
	expect_refused(f, THINP_IO_READ_ONLY, THINP_ENOENT);
	thinp_error_last(&info);
	assert_int_equal(info.os_errno, ENOENT);
	assert_non_null(strstr(info.message, f->path));
	assert_true(io_temp_is_empty(&f->temp));

	io_file_create(f, 7, THINP_IO_DIRECT_AUTO);
	expect_size(f->io, 7);
	assert_string_equal(thinp_io_backend_name(f->io), "file");
}

static void an_existing_file_keeps_its_content(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *block = io_blocks_new(1);

	io_file_make(f, 3 * THINP_BLOCK_SIZE, 0x77);
	io_file_create(f, 2, THINP_IO_DIRECT_AUTO);
	expect_size(f->io, 3);
	assert_int_equal(thinp_io_read(f->io, 2, 1, block), 0);
	assert_int_equal(block[4095], 0x77);
	free(block);
}

static void the_public_call_does_the_same(void **state)
{
	struct io_file_fixture *f = *state;
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_CREATE, .nr_blocks = 5};

	assert_int_equal(thinp_io_open_file(f->path, &opts, &f->io), 0);
	expect_size(f->io, 5);
	io_file_close(f);
	assert_int_equal(thinp_io_open_file(f->path, NULL, &f->io), 0);
	expect_size(f->io, 5);
	assert_false(thinp_io_is_read_only(f->io));
}

static void a_tail_shorter_than_a_block_does_not_count(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_make(f, 2 * THINP_BLOCK_SIZE + 4095, 1);
	assert_int_equal(io_file_open(f, &f->io), 0);
	expect_size(f->io, 2);
	assert_int_equal(thinp_io_read(f->io, 2, 1, NULL), THINP_ERANGE);
}

static void what_is_neither_file_nor_block_device_is_not_even_opened(void **state)
{
	struct io_file_fixture *f = *state;
	char path[sizeof(f->path)];

	memcpy(path, f->path, sizeof(path));
	snprintf(f->path, sizeof(f->path), "/dev/null");
	expect_refused(f, 0, THINP_ENOTSUP);
	expect_refused(f, THINP_IO_READ_ONLY, THINP_ENOTSUP);
	snprintf(f->path, sizeof(f->path), "%s", f->temp.dir);
	expect_refused(f, 0, THINP_ENOTSUP);
	expect_refused(f, THINP_IO_READ_ONLY, THINP_ENOTSUP);
	expect_refused(f, THINP_IO_CREATE, THINP_ENOTSUP);
	memcpy(f->path, path, sizeof(path));
	assert_int_equal(mkfifo(f->path, 0600), 0);
	expect_refused(f, 0, THINP_ENOTSUP);
	expect_refused(f, THINP_IO_READ_ONLY, THINP_ENOTSUP);
	assert_int_equal(io_sys_count(IO_SYS_OPEN), 0);
}

static void a_pipe_in_the_place_of_the_file_does_not_hang(void **state)
{
	struct io_file_fixture *f = *state;

	assert_int_equal(mkfifo(f->path, 0600), 0);
	io_sys_fail(IO_SYS_STAT, 1, 1, ENOENT); /* it was not there a moment ago */
	expect_refused(f, THINP_IO_READ_ONLY, THINP_ENOTSUP);
	assert_int_equal(io_sys_count(IO_SYS_OPEN), 1);
}

static void a_block_device_is_no_file(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_make(f, 9 * THINP_BLOCK_SIZE, 3);
	io_sys_pretend_kind(S_IFBLK);
	expect_refused(f, 0, THINP_ENOTSUP);
	expect_refused(f, THINP_IO_READ_ONLY, THINP_ENOTSUP);
	assert_int_equal(io_sys_count(IO_SYS_OPEN), 0);
}

static void errors_of_open_have_their_codes(void **state)
{
	static const int pairs[][2] = {
		{EACCES, THINP_EACCES}, {EPERM, THINP_EACCES}, {EROFS, THINP_EROFS},
		{ENOENT, THINP_ENOENT}, {EMFILE, THINP_EIO},   {ENOTDIR, THINP_ENOENT},
	};
	struct io_file_fixture *f = *state;

	io_file_make(f, THINP_BLOCK_SIZE, 1);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		io_sys_fail(IO_SYS_OPEN, 1, 1, pairs[i][0]);
		expect_refused(f, 0, pairs[i][1]);
	}
}

static void without_a_path_nothing_is_opened(void **state)
{
	struct io_file_fixture *f = *state;

	assert_int_equal(tp_io_open_file_with(NULL, &f->opts, &io_sys_scripted, &f->io), THINP_EINVAL);
	assert_int_equal(thinp_io_open_file("", NULL, &f->io), THINP_ENOENT);
	assert_null(f->io);
}

static void COW_13_the_descriptor_is_closed_on_exec(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_make(f, THINP_BLOCK_SIZE, 1);
	assert_int_equal(io_file_open(f, &f->io), 0);
	assert_true(fcntl(io_sys_last_fd(), F_GETFD) & FD_CLOEXEC);
	assert_false(fcntl(io_sys_last_fd(), F_GETFL) & O_NONBLOCK);
}

/* --- O_DIRECT --- */

static bool is_direct(void)
{
	int flags = fcntl(io_sys_last_fd(), F_GETFL);

	assert_true(flags >= 0);
	return flags & O_DIRECT;
}

/* Asks the system itself whether files here can be used past the page cache. */
static bool can_be_direct(const struct io_file_fixture *f)
{
	int fd = open(f->path, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void expect_direct(struct io_file_fixture *f, uint32_t flags, uint32_t direct, bool wanted)
{
	f->opts.flags = flags;
	f->opts.direct = direct;
	assert_int_equal(io_file_open(f, &f->io), 0);
	assert_int_equal(is_direct(), wanted);
	io_file_close(f);
}

static void direct_is_what_the_options_and_the_file_system_say(void **state)
{
	struct io_file_fixture *f = *state;
	bool can;

	io_file_make(f, 4 * THINP_BLOCK_SIZE, 1);
	can = can_be_direct(f);
	expect_direct(f, 0, THINP_IO_DIRECT_AUTO, can);
	expect_direct(f, THINP_IO_READ_ONLY, THINP_IO_DIRECT_AUTO, false);
	expect_direct(f, 0, THINP_IO_DIRECT_OFF, false);
	f->opts.direct = THINP_IO_DIRECT_ON;
	if (!can) {
		expect_refused(f, 0, THINP_ENOTSUP);
		expect_refused(f, THINP_IO_READ_ONLY, THINP_ENOTSUP);
		return;
	}
	expect_direct(f, 0, THINP_IO_DIRECT_ON, true);
	expect_direct(f, THINP_IO_READ_ONLY, THINP_IO_DIRECT_ON, true);
}

static void where_direct_is_refused_auto_falls_back(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_make(f, 4 * THINP_BLOCK_SIZE, 1);
	io_sys_fail(IO_SYS_SET_FLAGS, 1, 1, EINVAL);
	expect_direct(f, 0, THINP_IO_DIRECT_AUTO, false);
	f->opts.direct = THINP_IO_DIRECT_ON;
	io_sys_fail(IO_SYS_SET_FLAGS, 1, 1, EINVAL);
	expect_refused(f, 0, THINP_ENOTSUP);
}

/* As on a disk with sectors larger than a block: the flag is taken, and every transfer refused. */
static void where_direct_is_taken_and_does_not_work_auto_falls_back(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_make(f, 4 * THINP_BLOCK_SIZE, 1);
	io_sys_fail(IO_SYS_PREADV, 1, 1, EINVAL);
	expect_direct(f, 0, THINP_IO_DIRECT_AUTO, false);
	f->opts.direct = THINP_IO_DIRECT_ON;
	io_sys_fail(IO_SYS_PREADV, 1, 1, EINVAL);
	if (can_be_direct(f))
		expect_refused(f, 0, THINP_ENOTSUP);
}

static void a_bad_first_block_does_not_decide_about_direct(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_make(f, 4 * THINP_BLOCK_SIZE, 1);
	io_sys_spoil_block(0, EIO, false);
	expect_direct(f, 0, THINP_IO_DIRECT_AUTO, can_be_direct(f));
}

/* --- creating --- */

static void COW_23_a_created_file_is_durable_and_then_its_name(void **state)
{
	static const enum io_sys_call order[] = {
		IO_SYS_OPEN,      IO_SYS_OPEN,  IO_SYS_LOCK, IO_SYS_FALLOCATE,
		IO_SYS_FDATASYNC, IO_SYS_FSYNC, IO_SYS_OPEN, IO_SYS_FSYNC,
	};
	struct io_file_fixture *f = *state;

	io_file_create(f, 4, THINP_IO_DIRECT_AUTO);
	assert_true(io_sys_had_order(order, sizeof(order) / sizeof(order[0])));
	assert_int_equal(io_sys_count(IO_SYS_FSYNC), 2);
	assert_int_equal(io_sys_nr_open(), 1);
	io_file_close(f);

	io_sys_reset();
	assert_int_equal(io_file_open(f, &f->io), 0);
	assert_int_equal(io_sys_count(IO_SYS_FSYNC), 0); /* its name is somebody else's matter */
}

static void COW_23_a_name_that_cannot_be_made_durable_is_removed(void **state)
{
	struct io_file_fixture *f = *state;

	io_sys_fail(IO_SYS_FSYNC, 2, 1, EIO);
	expect_refused(f, THINP_IO_CREATE, THINP_EIO);
	assert_true(io_temp_is_empty(&f->temp));
	io_sys_fail(IO_SYS_OPEN, 3, 1, EACCES);
	expect_refused(f, THINP_IO_CREATE, THINP_EACCES);
	assert_true(io_temp_is_empty(&f->temp));

	io_sys_fail(IO_SYS_FSYNC, 2, 1, EINVAL); /* a file system without such a thing */
	io_file_create(f, 1, THINP_IO_DIRECT_AUTO);
}

static void a_path_without_a_directory_is_in_the_current_one(void **state)
{
	struct io_file_fixture *f = *state;
	char name[] = "thinp-io-test-plain";

	unlink(name);
	snprintf(f->path, sizeof(f->path), "%s", name);
	io_file_create(f, 1, THINP_IO_DIRECT_AUTO);
	assert_int_equal(io_sys_count(IO_SYS_FSYNC), 2);
	assert_int_equal(unlink(name), 0);
}

static void a_link_to_nothing_is_not_there(void **state)
{
	struct io_file_fixture *f = *state;

	assert_int_equal(symlink("nothing", f->path), 0);
	expect_refused(f, 0, THINP_ENOENT);
	expect_refused(f, THINP_IO_CREATE, THINP_ENOENT);
}

static void make_it(void *ctx)
{
	io_file_make(ctx, 2 * THINP_BLOCK_SIZE, 9);
}

/* What somebody else created in between is opened, and not removed when that fails. */
static void a_file_that_appears_meanwhile_is_not_ours(void **state)
{
	struct io_file_fixture *f = *state;
	struct stat st;

	io_sys_before(IO_SYS_OPEN, 2, make_it, f);
	io_sys_fail(IO_SYS_LSEEK, 1, 1, EIO);
	expect_refused(f, THINP_IO_CREATE, THINP_EIO);
	assert_int_equal(io_file_stat(f, &st), 0);
	assert_int_equal(st.st_size, 2 * THINP_BLOCK_SIZE);

	unlink(f->path);
	io_sys_reset();
	io_sys_before(IO_SYS_OPEN, 2, make_it, f);
	io_file_create(f, 1, THINP_IO_DIRECT_AUTO);
	expect_size(f->io, 2);
}

static void remove_it(void *ctx)
{
	const struct io_file_fixture *f = ctx;

	unlink(f->path);
}

static void replace_it(void *ctx)
{
	remove_it(ctx);
	io_file_make(ctx, THINP_BLOCK_SIZE, 5);
}

static void a_file_that_loses_its_name_meanwhile_is_refused(void **state)
{
	struct io_file_fixture *f = *state;
	struct stat st;

	io_sys_before(IO_SYS_LOCK, 1, remove_it, f);
	expect_refused(f, THINP_IO_CREATE, THINP_EBUSY);
	assert_true(io_temp_is_empty(&f->temp));

	io_sys_reset();
	io_sys_before(IO_SYS_LOCK, 1, replace_it, f);
	expect_refused(f, THINP_IO_CREATE, THINP_EBUSY);
	assert_int_equal(io_file_stat(f, &st), 0); /* it is not ours to be removed */
	assert_int_equal(st.st_size, THINP_BLOCK_SIZE);
}

/* --- every way to fail --- */

static void ERRLOOP_a_failed_creation_leaves_nothing_behind(void **state)
{
	struct io_file_fixture *f = *state;
	unsigned int nr_refused = 0;
	bool has_failed = true;

	f->opts.nr_blocks = 4;
	f->opts.flags = THINP_IO_CREATE;
	for (unsigned int n = 1; has_failed; n++) {
		int r;

		io_sys_fail(IO_SYS_ANY, n, 1, EIO);
		r = io_file_open(f, &f->io);
		has_failed = io_sys_has_failed();
		nr_refused += r != 0;
		if (r) {
			assert_int_equal(r, THINP_EIO);
			assert_null(f->io);
			assert_true(io_temp_is_empty(&f->temp));
		}
		io_file_close(f); /* some failures do not matter: what cannot be direct is not */
		unlink(f->path);
		assert_int_equal(io_sys_nr_open(), 0);
		alloc_counting_check(&f->alloc);
	}
	assert_true(nr_refused >= 8);
}

static void ERRLOOP_a_failed_opening_changes_nothing(void **state)
{
	struct io_file_fixture *f = *state;
	bool has_failed = true;
	struct stat st;

	f->opts.nr_blocks = 40;
	for (unsigned int n = 1; has_failed; n++) {
		int r;

		io_file_make(f, 3 * THINP_BLOCK_SIZE + 17, 1);
		io_sys_fail(IO_SYS_ANY, n, 1, EIO);
		r = io_file_open(f, &f->io);
		has_failed = io_sys_has_failed();
		assert_int_equal(io_file_stat(f, &st), 0);
		assert_int_equal(st.st_size, r ? 3 * THINP_BLOCK_SIZE + 17 : 40 * THINP_BLOCK_SIZE);
		io_file_close(f);
		assert_int_equal(io_sys_nr_open(), 0);
		alloc_counting_check(&f->alloc);
	}
}

static void ERRLOOP_a_failing_close_leaks_nothing(void **state)
{
	struct io_file_fixture *f = *state;
	bool has_failed = true;

	for (unsigned int n = 1; has_failed; n++) {
		io_file_create(f, 1, THINP_IO_DIRECT_AUTO);
		io_sys_fail(IO_SYS_ANY, n, 1, EIO);
		io_file_close(f);
		has_failed = io_sys_has_failed();
		assert_int_equal(io_sys_nr_open(), 0);
		alloc_counting_check(&f->alloc);
	}
}

static int attempt_open(void *ctx)
{
	struct io_file_fixture *f = ctx;
	int r = io_file_open(f, &f->io);

	if (r)
		assert_true(!(f->opts.flags & THINP_IO_CREATE) || io_temp_is_empty(&f->temp));
	io_file_close(f);
	assert_int_equal(io_sys_nr_open(), 0);
	return r;
}

static void OOMLOOP_opening_and_creating_leak_nothing(void **state)
{
	struct io_file_fixture *f = *state;

	f->opts.nr_blocks = 3;
	f->opts.flags = THINP_IO_CREATE;
	alloc_counting_loop(&f->alloc, attempt_open, f);
	f->opts.flags = 0;
	alloc_counting_loop(&f->alloc, attempt_open, f);
}

static void BM_12_no_allocation_is_large(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_create(f, 100, THINP_IO_DIRECT_AUTO);
	assert_true(f->alloc.largest <= THINP_BLOCK_SIZE);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, io_file_setup, io_file_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_missing_file_is_created_only_when_asked),
		CASE(an_existing_file_keeps_its_content),
		CASE(the_public_call_does_the_same),
		CASE(a_tail_shorter_than_a_block_does_not_count),
		CASE(what_is_neither_file_nor_block_device_is_not_even_opened),
		CASE(a_pipe_in_the_place_of_the_file_does_not_hang),
		CASE(a_block_device_is_no_file),
		CASE(errors_of_open_have_their_codes),
		CASE(without_a_path_nothing_is_opened),
		CASE(COW_13_the_descriptor_is_closed_on_exec),
		CASE(direct_is_what_the_options_and_the_file_system_say),
		CASE(where_direct_is_refused_auto_falls_back),
		CASE(where_direct_is_taken_and_does_not_work_auto_falls_back),
		CASE(a_bad_first_block_does_not_decide_about_direct),
		CASE(COW_23_a_created_file_is_durable_and_then_its_name),
		CASE(COW_23_a_name_that_cannot_be_made_durable_is_removed),
		CASE(a_path_without_a_directory_is_in_the_current_one),
		CASE(a_link_to_nothing_is_not_there),
		CASE(a_file_that_appears_meanwhile_is_not_ours),
		CASE(a_file_that_loses_its_name_meanwhile_is_refused),
		CASE(ERRLOOP_a_failed_creation_leaves_nothing_behind),
		CASE(ERRLOOP_a_failed_opening_changes_nothing),
		CASE(ERRLOOP_a_failing_close_leaks_nothing),
		CASE(OOMLOOP_opening_and_creating_leak_nothing),
		CASE(BM_12_no_allocation_is_large),
	};

	return cmocka_run_group_tests_name("io/file/open", tests, NULL, NULL);
}
