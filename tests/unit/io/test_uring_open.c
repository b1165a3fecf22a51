/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_uring_open.c - where io_uring cannot be had, and what is left when something of it fails: at the opening,
 * and later.
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
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 64 };

static int setup(void **state)
{
	int r = io_file_setup(state);

	io_file_make(*state, SIZE * THINP_BLOCK_SIZE, 1);
	uring_script_reset();
	return r;
}

static void expect_refused(struct io_file_fixture *f, int code, const char *word)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	assert_int_equal(uring_fixture_open(f, &f->io), code);
	assert_null(f->io);
	assert_int_equal(io_sys_nr_open(), 0);
	assert_int_equal(uring_nr_open(), 0);
	io_expect_told(code);
	thinp_error_last(&info);
	assert_non_null(strstr(info.message, word));
	assert_non_null(strstr(info.message, f->path));
	alloc_counting_check(&f->alloc);
}

/* --- what can be opened --- */

static void the_public_call_does_the_same(void **state)
{
	struct io_file_fixture *f = *state;
	uint64_t nr_blocks = 0;
	uint8_t *b = io_blocks_new(1);

	assert_int_equal(thinp_io_open_uring(f->path, NULL, &f->io), 0);
	assert_string_equal(thinp_io_backend_name(f->io), "uring");
	assert_int_equal(thinp_io_size(f->io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, SIZE);
	assert_int_equal(thinp_io_read(f->io, 5, 1, b), 0);
	assert_int_equal(b[4095], 1);
	free(b);
}

static void without_a_path_nothing_is_opened(void **state)
{
	struct io_file_fixture *f = *state;

	assert_int_equal(thinp_io_open_uring(NULL, NULL, &f->io), THINP_EINVAL);
	assert_int_equal(thinp_io_open_uring("", NULL, &f->io), THINP_ENOENT);
	assert_int_equal(thinp_io_open_uring("/dev/null", NULL, &f->io), THINP_ENOTSUP);
	assert_null(f->io);
}

static void BM_06_it_meets_the_lock_of_other_handles(void **state)
{
	struct io_file_fixture *f = *state;
	struct thinp_io *other = NULL;

	assert_int_equal(uring_fixture_open(f, &f->io), 0);
	assert_int_equal(io_file_open(f, &other), THINP_EBUSY);
	assert_int_equal(uring_fixture_open(f, &other), THINP_EBUSY);
	io_file_close(f);
	assert_int_equal(io_file_open(f, &f->io), 0);
	assert_int_equal(uring_fixture_open(f, &other), THINP_EBUSY);
}

static void what_claims_to_be_a_block_device_is_opened_as_one(void **state)
{
	struct io_file_fixture *f = *state;

	io_sys_pretend_kind(S_IFBLK);
	assert_int_equal(uring_fixture_open(f, &f->io), 0);
	assert_true(io_sys_last_flags() & O_EXCL);
	assert_int_equal(thinp_io_resize(f->io, SIZE + 1), THINP_ENOTSUP);
	io_expect_told(THINP_ENOTSUP);
}

/* The kernel takes a ring apart at its leisure, and keeps what is registered with it until then. */
static void a_device_that_was_closed_can_be_claimed_at_once(void **state)
{
	static struct io_device_fixture f;
	const char *obstacle = io_device_obstacle();

	(void)state;
	if (obstacle) {
		print_message("loop devices cannot be had here: %s\n", obstacle);
		skip();
	}
	io_device_make(&f, SIZE, 512);
	for (unsigned int i = 0; i < 50; i++) {
		assert_int_equal(thinp_io_open_uring(f.loop.path, NULL, &f.io), 0);
		assert_int_equal(thinp_io_flush(f.io), 0);
		thinp_io_close(f.io);
	}
	f.io = NULL;
	io_device_remove(&f);
}

/* --- where it cannot be had --- */

static void without_io_uring_there_is_a_clear_error(void **state)
{
	struct io_file_fixture *f = *state;

	uring_fail(URING_INIT, 1, 1, ENOSYS);
	expect_refused(f, THINP_ENOTSUP, "this kernel has no io_uring");
	uring_fail(URING_INIT, 1, 1, EPERM);
	expect_refused(f, THINP_ENOTSUP, "kernel.io_uring_disabled");
	uring_fail(URING_INIT, 1, 1, ENOMEM);
	expect_refused(f, THINP_ENOMEM, "cannot set up io_uring");
	uring_fail(URING_REGISTER_FILE, 1, 1, ENOMEM);
	expect_refused(f, THINP_ENOMEM, "cannot register it");
}

static void a_kernel_that_is_too_old_is_told_from_one_that_is_not(void **state)
{
	struct io_file_fixture *f = *state;

	uring_pretend_features(IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE);
	expect_refused(f, THINP_ENOTSUP, "too old");
	uring_pretend_features(IORING_FEAT_RW_CUR_POS);
	assert_int_equal(uring_fixture_open(f, &f->io), 0);
}

/* In a process of its own: from then on io_uring_setup fails with err, as in many containers. Gives an exit status. */
static int open_behind_filter(struct io_file_fixture *f, int err)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned int)err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
	struct thinp_error_info info = {.size = sizeof(info)};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 77;
	if (thinp_io_open_uring(f->path, NULL, &f->io) != THINP_ENOTSUP)
		return 1;
	thinp_error_last(&info);
	if (info.code != THINP_ENOTSUP || !strstr(info.message, "io_uring"))
		return 2;
	return thinp_io_open_file(f->path, NULL, &f->io) ? 3 : 0; /* nothing was left behind, a lock for example */
}

static void behind_a_filter_of_system_calls_there_is_a_clear_error(void **state)
{
	static const int errnos[] = {EPERM, ENOSYS};
	struct io_file_fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		int status = 0;
		pid_t child = fork();

		assert_true(child >= 0);
		if (!child)
			_exit(open_behind_filter(f, errnos[i]));
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 77) {
			print_message("system calls cannot be filtered here\n");
			skip();
		}
		assert_int_equal(WEXITSTATUS(status), 0);
	}
}

/* --- fork --- */

static int use_in_child(struct thinp_io *io, void *buffer)
{
	struct thinp_io_buffer known = {.begin = buffer, .nbytes = THINP_BLOCK_SIZE};
	uint64_t nr_blocks;

	if (thinp_io_read(io, 0, 1, buffer) != THINP_EFORKED || thinp_io_write(io, 0, 1, buffer) != THINP_EFORKED)
		return 1;
	if (thinp_io_flush(io) != THINP_EFORKED || thinp_io_resize(io, 1) != THINP_EFORKED)
		return 2;
	if (thinp_io_size(io, &nr_blocks) != THINP_EFORKED)
		return 3;
	if (thinp_io_register_buffers(io, &known, 1) != THINP_EFORKED ||
	    thinp_io_unregister_buffers(io) != THINP_EFORKED)
		return 4;
	thinp_io_close(io);
	return 0;
}

static void COW_13_a_child_is_refused_and_leaves_the_parent_its_ring(void **state)
{
	struct io_file_fixture *f = *state;
	void *buffer = io_blocks_new(1);
	struct thinp_io *other = NULL;
	int status = 0;
	pid_t child;

	assert_int_equal(uring_fixture_open(f, &f->io), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child)
		_exit(use_in_child(f->io, buffer));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	io_blocks_fill(buffer, 3, 1, 7);
	assert_int_equal(thinp_io_write(f->io, 3, 1, buffer), 0);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(thinp_io_read(f->io, 3, 1, buffer), 0);
	io_blocks_expect(buffer, 3, 1, 7);
	assert_int_equal(io_file_open(f, &other), THINP_EBUSY);
	free(buffer);
}

/* --- every way to fail --- */

static void ERRLOOP_a_failed_opening_leaks_nothing(void **state)
{
	static const uint32_t flags[] = {0, THINP_IO_READ_ONLY, THINP_IO_CREATE};
	struct io_file_fixture *f = *state;

	for (size_t i = 0; i < 3; i++) {
		bool has_failed = true;
		struct stat st;

		f->opts.flags = flags[i];
		f->opts.nr_blocks = flags[i] ? SIZE : 2 * SIZE;
		for (unsigned int n = 1; has_failed; n++) {
			int r;

			if (flags[i] == THINP_IO_CREATE)
				unlink(f->path);
			uring_script_reset();
			io_sys_fail(IO_SYS_ANY, n, 1, EIO);
			r = uring_fixture_open(f, &f->io);
			has_failed = io_sys_has_failed();
			assert_true(!r || (r == THINP_EIO && !f->io));
			assert_true(!r || flags[i] != THINP_IO_CREATE || io_file_stat(f, &st));
			io_file_close(f);
			assert_int_equal(io_sys_nr_open(), 0);
			assert_int_equal(uring_nr_open(), 0);
			alloc_counting_check(&f->alloc);
		}
	}
}

static void ERRLOOP_a_failed_ring_removes_the_file_that_was_created_for_it(void **state)
{
	struct io_file_fixture *f = *state;
	struct stat st;

	unlink(f->path);
	f->opts.flags = THINP_IO_CREATE;
	for (unsigned int n = 1; n <= 2; n++) {
		uring_fail(URING_ANY, n, 1, EIO);
		assert_int_equal(uring_fixture_open(f, &f->io), THINP_EIO);
		assert_true(uring_has_failed());
		assert_int_equal(io_file_stat(f, &st), -1);
		assert_int_equal(io_sys_nr_open(), 0);
		assert_int_equal(uring_nr_open(), 0);
	}
}

static int attempt_open(void *ctx)
{
	struct io_file_fixture *f = ctx;
	void *block = io_blocks_new(1);
	struct thinp_io_buffer buffer = {.begin = block, .nbytes = THINP_BLOCK_SIZE};
	int r = uring_fixture_open(f, &f->io);

	if (!r)
		r = thinp_io_register_buffers(f->io, &buffer, 1);
	if (!r)
		r = thinp_io_read(f->io, 0, 1, block);
	io_file_close(f);
	free(block);
	assert_int_equal(io_sys_nr_open(), 0);
	assert_int_equal(uring_nr_open(), 0);
	return r;
}

static void OOMLOOP_opening_and_registering_leak_nothing(void **state)
{
	struct io_file_fixture *f = *state;

	alloc_counting_loop(&f->alloc, attempt_open, f);
	unlink(f->path);
	f->opts.flags = THINP_IO_CREATE;
	f->opts.nr_blocks = 4;
	alloc_counting_loop(&f->alloc, attempt_open, f);
}

static void BM_12_no_allocation_is_large(void **state)
{
	struct io_file_fixture *f = *state;

	assert_int_equal(uring_fixture_open(f, &f->io), 0);
	assert_true(f->alloc.largest <= THINP_BLOCK_SIZE);
}

/* A commit in small: blocks `step` apart, flush, superblock, flush. */
static int commit(struct io_file_fixture *f, uint64_t step, uint64_t generation)
{
	uint8_t *b = io_blocks_new(6);
	struct thinp_io_op ops[8];
	int r;

	for (size_t i = 0; i < 5; i++) {
		ops[i] = io_op(THINP_IO_WRITE, 10 + i * step, 1, b + (5 - i) * THINP_BLOCK_SIZE);
		io_blocks_fill(ops[i].buffer, ops[i].block, 1, generation);
	}
	ops[5] = io_op(THINP_IO_FLUSH, 0, 0, NULL);
	ops[6] = io_op(THINP_IO_WRITE, 0, 1, b);
	ops[7] = io_op(THINP_IO_FLUSH, 0, 0, NULL);
	io_blocks_fill(b, 0, 1, generation);
	r = thinp_io_batch(f->io, ops, 8);
	free(b);
	return r;
}

static void expect_generation(struct io_file_fixture *f, thinp_block_t block, uint64_t generation)
{
	void *b = io_blocks_new(1);

	assert_int_equal(thinp_io_read(f->io, block, 1, b), 0);
	io_blocks_expect(b, block, 1, generation);
	free(b);
}

static void expect_commit(struct io_file_fixture *f, uint64_t step, uint64_t generation)
{
	expect_generation(f, 0, generation);
	for (uint64_t i = 0; i < 5; i++)
		expect_generation(f, 10 + i * step, generation);
}

/* A call of the ring that fails, once or from then on, is no failure of the batch: system calls do the work. */
static void ERRLOOP_a_ring_that_fails_delays_and_does_not_fail_a_commit(void **state)
{
	static const enum uring_call calls[] = {URING_SUBMIT, URING_WAIT};
	static const int errnos[] = {EINTR, EAGAIN, EBUSY, EIO};
	struct io_file_fixture *f = *state;
	uint64_t generation = 1;

	for (unsigned int i = 0; i < 64; i++) {
		enum uring_call call = calls[i % 2];
		uint64_t step = 1 + i / 2 % 2;
		unsigned int times = i / 4 % 2 ? 1 : 7; /* the second is more than the library tries at one place */

		uring_script_reset();
		assert_int_equal(uring_fixture_open(f, &f->io), 0);
		uring_fail(call, 1 + i / 32, times, errnos[i / 8 % 4]);
		assert_int_equal(commit(f, step, ++generation), 0);
		expect_commit(f, step, generation);
		assert_int_equal(commit(f, step, ++generation), 0);
		expect_commit(f, step, generation);
		assert_true(uring_has_failed());
		io_file_close(f);
	}
}

/* --- chains that the system takes only a part of --- */

static void a_torn_chain_is_carried_out_to_its_end(void **state)
{
	struct io_file_fixture *f = *state;
	uint64_t generation = 1;

	for (unsigned int nr = 0; nr < 4; nr++) {
		uring_script_reset();
		io_sys_reset();
		assert_int_equal(uring_fixture_open(f, &f->io), 0);
		uring_cut_submission(1, 1, nr);
		assert_int_equal(commit(f, 1, ++generation), 0);
		expect_commit(f, 1, generation);
		/* nothing is submitted after that but when nothing at all was taken */
		assert_int_equal(uring_count(URING_SUBMIT) == 1, nr > 0);
		assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), nr == 0 ? 0 : nr < 2 ? 2 : 1);
		assert_int_equal(commit(f, 2, ++generation), 0);
		expect_commit(f, 2, generation);
		io_file_close(f);
	}
}

/* Links do not reach over the end of a submission: what was left in the queue would no longer wait for the write. */
static void TM_01_of_a_torn_chain_nothing_gets_through_after_a_failure(void **state)
{
	struct io_file_fixture *f = *state;

	for (unsigned int nr = 1; nr < 4; nr++) {
		uring_script_reset();
		io_sys_reset();
		assert_int_equal(uring_fixture_open(f, &f->io), 0);
		assert_int_equal(commit(f, 1, 5), 0);
		uring_cut_submission(1, 1, nr);
		uring_spoil_block(12, EIO, false);
		io_sys_spoil_block(12, EIO, false);
		assert_int_equal(commit(f, 1, 6), THINP_EIO);
		io_expect_told(THINP_EIO);
		expect_generation(f, 0, 5);
		expect_generation(f, 10, 6); /* beside the bad block all went well */
		io_sys_spoil_block(0, 0, false);
		assert_int_equal(commit(f, 1, 7), 0);
		expect_commit(f, 1, 7);
		io_file_close(f);
	}
}

static void requests_side_by_side_may_be_taken_in_parts(void **state)
{
	struct io_file_fixture *f = *state;

	for (unsigned int nr = 1; nr < 5; nr++) {
		uring_script_reset();
		assert_int_equal(uring_fixture_open(f, &f->io), 0);
		uring_cut_submission(1, 4 / nr, nr);
		assert_int_equal(commit(f, 3, 10 + nr), 0);
		assert_true(uring_count(URING_SUBMIT) > 2);
		expect_commit(f, 3, 10 + nr);
		assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 0); /* it is as good as before */
		io_file_close(f);
	}
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, uring_fixture_teardown)

static int run_all(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_public_call_does_the_same),
		CASE(without_a_path_nothing_is_opened),
		CASE(BM_06_it_meets_the_lock_of_other_handles),
		CASE(what_claims_to_be_a_block_device_is_opened_as_one),
		CASE(a_device_that_was_closed_can_be_claimed_at_once),
		CASE(without_io_uring_there_is_a_clear_error),
		CASE(a_kernel_that_is_too_old_is_told_from_one_that_is_not),
		CASE(behind_a_filter_of_system_calls_there_is_a_clear_error),
		CASE(COW_13_a_child_is_refused_and_leaves_the_parent_its_ring),
		CASE(ERRLOOP_a_failed_opening_leaks_nothing),
		CASE(ERRLOOP_a_failed_ring_removes_the_file_that_was_created_for_it),
		CASE(OOMLOOP_opening_and_registering_leak_nothing),
		CASE(BM_12_no_allocation_is_large),
		CASE(ERRLOOP_a_ring_that_fails_delays_and_does_not_fail_a_commit),
		CASE(a_torn_chain_is_carried_out_to_its_end),
		CASE(TM_01_of_a_torn_chain_nothing_gets_through_after_a_failure),
		CASE(requests_side_by_side_may_be_taken_in_parts),
	};

	return cmocka_run_group_tests_name("io/uring/open", tests, NULL, NULL);
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
