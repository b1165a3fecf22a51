/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_file_lock.c - who may open a file beside whom, in one process and across a fork.
 */
#include "support/io_conformance.h"
#include "support/io_file_fixture.h"

#include <thinp/error.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int setup(void **state)
{
	io_file_setup(state);
	io_file_make(*state, 8 * THINP_BLOCK_SIZE, 0);
	return 0;
}

static int open_as(struct io_file_fixture *f, uint32_t flags, struct thinp_io **io)
{
	f->opts.flags = flags;
	return io_file_open(f, io);
}

/* Opens and closes once more, beside whoever has it open. */
static int try_as(struct io_file_fixture *f, uint32_t flags)
{
	struct thinp_io *other = NULL;
	int r = open_as(f, flags, &other);

	thinp_io_close(other);
	return r;
}

/* The same in another process. */
static int try_elsewhere(struct io_file_fixture *f, uint32_t flags)
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child)
		_exit(try_as(f, flags) == THINP_EBUSY ? 1 : 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status) ? THINP_EBUSY : 0;
}

static void readers_share(void **state)
{
	struct io_file_fixture *f = *state;

	assert_int_equal(open_as(f, THINP_IO_READ_ONLY, &f->io), 0);
	assert_int_equal(try_as(f, THINP_IO_READ_ONLY), 0);
	assert_int_equal(try_elsewhere(f, THINP_IO_READ_ONLY), 0);
}

static void BM_06_a_reader_keeps_writers_out(void **state)
{
	struct io_file_fixture *f = *state;

	assert_int_equal(open_as(f, THINP_IO_READ_ONLY, &f->io), 0);
	assert_int_equal(try_as(f, 0), THINP_EBUSY);
	io_expect_told(THINP_EBUSY);
	assert_int_equal(try_elsewhere(f, 0), THINP_EBUSY);
	io_file_close(f);
	assert_int_equal(try_as(f, 0), 0);
}

static void BM_06_a_writer_keeps_all_others_out(void **state)
{
	struct io_file_fixture *f = *state;

	assert_int_equal(open_as(f, 0, &f->io), 0);
	assert_int_equal(try_as(f, 0), THINP_EBUSY);
	assert_int_equal(try_as(f, THINP_IO_CREATE), THINP_EBUSY);
	assert_int_equal(try_as(f, THINP_IO_READ_ONLY), THINP_EBUSY);
	assert_int_equal(try_elsewhere(f, 0), THINP_EBUSY);
	assert_int_equal(try_elsewhere(f, THINP_IO_READ_ONLY), THINP_EBUSY);
	io_file_close(f);
	assert_int_equal(try_as(f, 0), 0);
	assert_int_equal(try_elsewhere(f, 0), 0);
}

static void COW_13_another_descriptor_of_the_file_does_not_drop_the_lock(void **state)
{
	struct io_file_fixture *f = *state;
	int fd;

	assert_int_equal(open_as(f, 0, &f->io), 0);
	fd = open(f->path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(close(fd), 0); /* with the older kind of lock it would be gone now */
	assert_int_equal(try_as(f, 0), THINP_EBUSY);
	assert_int_equal(try_elsewhere(f, 0), THINP_EBUSY);
}

static void a_failed_opening_leaves_no_lock(void **state)
{
	struct io_file_fixture *f = *state;

	io_sys_fail(IO_SYS_LSEEK, 1, 1, EIO);
	assert_int_equal(open_as(f, 0, &f->io), THINP_EIO);
	assert_int_equal(try_as(f, 0), 0);
}

static void without_locks_a_file_is_not_opened(void **state)
{
	struct io_file_fixture *f = *state;

	io_sys_fail(IO_SYS_LOCK, 1, 1, ENOLCK);
	assert_int_equal(open_as(f, 0, &f->io), THINP_EIO);
	io_expect_told(THINP_EIO);
}

static void take_it_first(void *ctx)
{
	struct io_file_fixture *f = ctx;
	struct thinp_io_opts opts = {.size = sizeof(opts)};

	assert_int_equal(thinp_io_open_file(f->path, &opts, &f->io), 0);
}

static void a_file_that_somebody_was_faster_to_lock_is_not_removed(void **state)
{
	struct io_file_fixture *f = *state;
	struct thinp_io *io = NULL;
	struct stat st;

	unlink(f->path);
	io_sys_before(IO_SYS_LOCK, 1, take_it_first, f);
	assert_int_equal(open_as(f, THINP_IO_CREATE, &io), THINP_EBUSY);
	assert_null(io);
	assert_int_equal(io_file_stat(f, &st), 0);
}

/* --- fork --- */

/* All calls of a handle that belongs to somebody else; the number of the first that did not refuse, or 0. */
static int use_in_child(struct thinp_io *io, void *buffer)
{
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 0, 1, NULL);
	uint64_t nr_blocks;

	if (thinp_io_read(io, 0, 1, buffer) != THINP_EFORKED)
		return 1;
	if (thinp_io_write(io, 0, 1, buffer) != THINP_EFORKED)
		return 2;
	if (thinp_io_flush(io) != THINP_EFORKED)
		return 3;
	if (thinp_io_batch(io, &discard, 1) != THINP_EFORKED || discard.result != THINP_EFORKED)
		return 4;
	if (thinp_io_size(io, &nr_blocks) != THINP_EFORKED)
		return 5;
	if (thinp_io_resize(io, 1) != THINP_EFORKED)
		return 6;
	return 0;
}

static void a_handle_refuses_to_work_in_a_child(void **state)
{
	struct io_file_fixture *f = *state;
	void *buffer = io_blocks_new(1);
	int status = 0;
	pid_t child;

	assert_int_equal(open_as(f, 0, &f->io), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(use_in_child(f->io, buffer));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(thinp_io_write(f->io, 0, 1, buffer), 0);
	free(buffer);
}

static void in_a_child_no_system_call_is_made_with_the_descriptor(void **state)
{
	struct io_file_fixture *f = *state;
	void *buffer = io_blocks_new(1);
	unsigned int before;

	assert_int_equal(open_as(f, 0, &f->io), 0);
	before = io_sys_count(IO_SYS_ANY);
	io_sys_pretend_child(true);
	assert_int_equal(use_in_child(f->io, buffer), 0);
	io_expect_told(THINP_EFORKED);
	assert_int_equal(io_sys_count(IO_SYS_ANY), before);
	io_sys_pretend_child(false);
	free(buffer);
}

static void closing_in_a_child_leaves_the_parent_its_lock(void **state)
{
	struct io_file_fixture *f = *state;
	void *buffer = io_blocks_new(1);
	int status = 0;
	pid_t child;

	assert_int_equal(open_as(f, 0, &f->io), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		thinp_io_close(f->io);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(try_as(f, 0), THINP_EBUSY);
	assert_int_equal(try_elsewhere(f, THINP_IO_READ_ONLY), THINP_EBUSY);
	assert_int_equal(thinp_io_write(f->io, 0, 1, buffer), 0);
	assert_int_equal(thinp_io_flush(f->io), 0);
	free(buffer);
}

static void COW_13_a_child_that_lives_on_does_not_keep_the_lock(void **state)
{
	struct io_file_fixture *f = *state;
	int status = 0;
	pid_t child;
	int fds[2];
	char byte;

	assert_int_equal(open_as(f, 0, &f->io), 0);
	assert_int_equal(pipe(fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) { /* holds the descriptor until the parent has seen enough */
		close(fds[1]);
		_exit(read(fds[0], &byte, 1) == 0 ? 0 : 1);
	}
	close(fds[0]);
	io_file_close(f);
	assert_int_equal(try_as(f, 0), 0);
	close(fds[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, io_file_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(readers_share),
		CASE(BM_06_a_reader_keeps_writers_out),
		CASE(BM_06_a_writer_keeps_all_others_out),
		CASE(COW_13_another_descriptor_of_the_file_does_not_drop_the_lock),
		CASE(a_failed_opening_leaves_no_lock),
		CASE(without_locks_a_file_is_not_opened),
		CASE(a_file_that_somebody_was_faster_to_lock_is_not_removed),
		CASE(a_handle_refuses_to_work_in_a_child),
		CASE(in_a_child_no_system_call_is_made_with_the_descriptor),
		CASE(closing_in_a_child_leaves_the_parent_its_lock),
		CASE(COW_13_a_child_that_lives_on_does_not_keep_the_lock),
	};

	return cmocka_run_group_tests_name("io/file/lock", tests, NULL, NULL);
}
