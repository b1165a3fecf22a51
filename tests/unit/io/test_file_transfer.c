/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_file_transfer.c - how batches become system calls, and what becomes of those that go wrong.
 */
#include "support/io_conformance.h"
#include "support/io_file_fixture.h"

#include <thinp/error.h>

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 3000 };

static int setup_with(void **state, uint32_t direct)
{
	if (io_file_setup(state))
		return -1;
	io_file_create(*state, SIZE, direct);
	io_sys_reset();
	return 0;
}

static bool is_direct(void)
{
	int flags = fcntl(io_sys_last_fd(), F_GETFL);

	assert_true(flags >= 0);
	return flags & O_DIRECT;
}

static int setup_cached(void **state)
{
	return setup_with(state, THINP_IO_DIRECT_OFF);
}

static int setup_direct(void **state)
{
	return setup_with(state, THINP_IO_DIRECT_AUTO);
}

/* --- merging --- */

static void neighbours_become_one_call(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(8);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 7, 3, b),
		io_op(THINP_IO_WRITE, 10, 1, b + 5 * THINP_BLOCK_SIZE),
		io_op(THINP_IO_WRITE, 11, 2, b + 3 * THINP_BLOCK_SIZE),
		io_op(THINP_IO_WRITE, 40, 1, b),
		io_op(THINP_IO_WRITE, 39, 1, b),                       /* going down is no neighbour, */
		io_op(THINP_IO_READ, 40, 1, b + 6 * THINP_BLOCK_SIZE), /* nor is one of another kind, */
		io_op(THINP_IO_READ, 41, 1, b + 7 * THINP_BLOCK_SIZE),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_READ, 42, 1, b + 7 * THINP_BLOCK_SIZE), /* nor one behind a flush */
	};

	assert_int_equal(thinp_io_batch(f->io, ops, 9), 0);
	io_expect_results(ops, 9, 0);
	assert_int_equal(io_sys_count(IO_SYS_PWRITEV), 3);
	assert_int_equal(io_sys_count(IO_SYS_PREADV), 2);
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 1);
	assert_int_equal(io_sys_most_pieces(), 3);
	free(b);
}

static void a_call_has_no_more_pieces_than_the_system_takes(void **state)
{
	struct io_file_fixture *f = *state;
	struct thinp_io_op *ops = calloc(SIZE, sizeof(*ops));
	uint8_t *b = io_blocks_new(SIZE);

	for (size_t i = 0; i < SIZE; i++) { /* neighbours on the device and not in memory */
		ops[i] = io_op(THINP_IO_WRITE, i, 1, b + (SIZE - 1 - i) * THINP_BLOCK_SIZE);
		io_blocks_fill(ops[i].buffer, i, 1, 1);
	}
	assert_int_equal(thinp_io_batch(f->io, ops, SIZE), 0);
	assert_true(io_sys_most_pieces() <= IOV_MAX);
	assert_int_equal(io_sys_count(IO_SYS_PWRITEV), 3);
	io_expect_pattern(f->io, 0, SIZE, 1);
	free(b);
	free(ops);
}

static void neighbours_in_memory_become_one_piece(void **state)
{
	struct io_file_fixture *f = *state;
	struct thinp_io_op *ops = calloc(SIZE, sizeof(*ops));
	uint8_t *b = io_blocks_new(SIZE);

	io_blocks_fill(b, 0, SIZE, 1);
	for (size_t i = 0; i < SIZE; i++)
		ops[i] = io_op(THINP_IO_WRITE, i, 1, b + i * THINP_BLOCK_SIZE);
	assert_int_equal(thinp_io_batch(f->io, ops, SIZE), 0);
	io_expect_results(ops, SIZE, 0);
	assert_int_equal(io_sys_most_pieces(), 1);
	assert_int_equal(io_sys_count(IO_SYS_PWRITEV), 1);
	io_expect_pattern(f->io, 0, SIZE, 1);
	free(b);
	free(ops);
}

/* The lengths of a call have to fit into ssize_t together, also where that has 32 bits. The memory is never touched. */
static void a_call_has_no_more_bytes_than_the_system_takes(void **state)
{
	const size_t nbytes = (size_t)3 << 28;
	const uint64_t nr_blocks = nbytes / THINP_BLOCK_SIZE;
	struct io_file_fixture *f = *state;
	uint8_t *b = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_READ, 0, nr_blocks, b),
		io_op(THINP_IO_READ, nr_blocks, nr_blocks, b),
	};

	if (b == MAP_FAILED) {
		print_message("no address space for %zu bytes\n", nbytes);
		skip();
	}
	io_file_close(f);
	assert_int_equal(truncate(f->path, (off_t)nbytes * 2), 0);
	f->opts.flags = THINP_IO_READ_ONLY;
	assert_int_equal(io_file_open(f, &f->io), 0);
	io_sys_fail(IO_SYS_PREADV, 1, UINT32_MAX, EIO);
	assert_int_equal(thinp_io_batch(f->io, ops, 2), THINP_EIO);
	assert_int_equal(io_sys_most_bytes(), (size_t)1 << 30);
	munmap(b, nbytes);
}

/* --- short and interrupted calls --- */

/* Two operations of one and two blocks, so that every kind of place is hit: within a block, between blocks, between
 * operations. */
static void cut_at(struct io_file_fixture *f, size_t nbytes, uint8_t *out, uint8_t *in)
{
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 4, 1, out),
		io_op(THINP_IO_WRITE, 5, 2, out + THINP_BLOCK_SIZE),
	};

	io_blocks_fill(out, 4, 3, nbytes);
	io_sys_cut_transfer(1, nbytes);
	assert_int_equal(thinp_io_batch(f->io, ops, 2), 0);
	io_expect_results(ops, 2, 0);
	ops[0] = io_op(THINP_IO_READ, 4, 1, in);
	ops[1] = io_op(THINP_IO_READ, 5, 2, in + THINP_BLOCK_SIZE);
	io_sys_cut_transfer(1, nbytes);
	assert_int_equal(thinp_io_batch(f->io, ops, 2), 0);
	io_expect_results(ops, 2, 0);
	assert_memory_equal(in, out, 3 * THINP_BLOCK_SIZE);
}

static void cut_everywhere(struct io_file_fixture *f, size_t step)
{
	uint8_t *out = io_blocks_new(3);
	uint8_t *in = io_blocks_new(3);

	for (size_t nbytes = 0; nbytes < 3 * THINP_BLOCK_SIZE; nbytes += step)
		cut_at(f, nbytes, out, in);
	free(in);
	free(out);
}

static void COW_13_a_transfer_may_end_at_any_byte(void **state)
{
	cut_everywhere(*state, 1);
}

static void COW_13_past_the_page_cache_a_short_transfer_goes_on_at_a_block(void **state)
{
	cut_everywhere(*state, 512);
	if (is_direct())
		assert_int_equal(io_sys_nr_unaligned(), 0);
}

static void COW_13_interrupted_calls_are_repeated(void **state)
{
	static const enum io_sys_call calls[] = {
		IO_SYS_OPEN,      IO_SYS_LOCK,  IO_SYS_PREADV,    IO_SYS_PWRITEV,
		IO_SYS_FDATASYNC, IO_SYS_FSYNC, IO_SYS_FALLOCATE, IO_SYS_FTRUNCATE,
	};
	struct io_file_fixture *f = *state;
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 5, 1, NULL);

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		io_file_close(f);
		unlink(f->path);
		io_sys_reset();
		io_sys_fail(calls[i], 1, 9, EINTR);
		io_file_create(f, 10, THINP_IO_DIRECT_OFF);
		io_write_pattern(f->io, 0, 10, i);
		io_expect_pattern(f->io, 0, 10, i);
		assert_int_equal(thinp_io_flush(f->io), 0);
		assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
		assert_int_equal(thinp_io_resize(f->io, 5), 0);
		assert_true(io_sys_has_failed());
	}
}

static void a_transfer_that_does_not_get_on_fails(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(2);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 1, 1, b),
		io_op(THINP_IO_WRITE, 2, 1, b + THINP_BLOCK_SIZE),
	};

	if (!is_direct()) {
		print_message("files here cannot be used past the page cache\n");
		free(b);
		skip();
	}
	io_sys_limit_transfers(512); /* never a whole block */
	assert_int_equal(thinp_io_batch(f->io, ops, 2), THINP_EIO);
	io_expect_told(THINP_EIO);
	io_expect_results(ops, 2, THINP_EIO);
	io_sys_limit_transfers(0);
	assert_int_equal(thinp_io_batch(f->io, ops, 2), 0);
	free(b);
}

static void BM_07_every_transfer_past_the_page_cache_is_aligned(void **state)
{
	struct io_file_fixture *f = *state;

	for (uint64_t i = 1; i < 60; i++) {
		io_sys_limit_transfers(i * 1111 + THINP_BLOCK_SIZE);
		io_write_pattern(f->io, i * 7, i, i);
		io_expect_pattern(f->io, i * 7, i, i);
	}
	if (is_direct())
		assert_int_equal(io_sys_nr_unaligned(), 0);
	io_sys_fail(IO_SYS_FALLOCATE, 1, 1, EOPNOTSUPP); /* growth by zeros */
	assert_int_equal(thinp_io_resize(f->io, SIZE + 1000), 0);
	if (is_direct())
		assert_int_equal(io_sys_nr_unaligned(), 0);
}

/* --- faults --- */

static void fill_ops(struct thinp_io_op *ops, uint32_t kind, uint8_t *b)
{
	for (size_t i = 0; i < 10; i++)
		ops[i] = io_op(kind, 100 + i, 1, b + i * THINP_BLOCK_SIZE);
}

static void a_bad_block_fails_only_its_operation(void **state)
{
	static const uint32_t kinds[] = {THINP_IO_READ, THINP_IO_WRITE};
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(10);
	struct thinp_io_op ops[10];
	struct thinp_error_info info = {.size = sizeof(info)};

	io_write_pattern(f->io, 100, 10, 1);
	for (size_t bad = 0; bad < 20; bad++) {
		io_blocks_fill(b, 100, 10, 1);
		fill_ops(ops, kinds[bad % 2], b);
		io_sys_spoil_block(100 + bad / 2, EIO, false);
		assert_int_equal(thinp_io_batch(f->io, ops, 10), THINP_EIO);
		thinp_error_last(&info);
		assert_int_equal(info.block, 100 + bad / 2);
		assert_int_equal(info.os_errno, EIO);
		for (size_t i = 0; i < 10; i++)
			assert_int_equal(ops[i].result, i == bad / 2 ? THINP_EIO : 0);
	}
	io_sys_spoil_block(0, 0, false);
	io_expect_pattern(f->io, 100, 10, 1);
	free(b);
}

static void BM_14_a_file_that_became_shorter_fails_only_beyond_its_end(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(10);
	struct thinp_io_op ops[10];
	struct thinp_error_info info = {.size = sizeof(info)};

	io_write_pattern(f->io, 100, 10, 1);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(truncate(f->path, 104 * THINP_BLOCK_SIZE + 100), 0);
	fill_ops(ops, THINP_IO_READ, b);
	assert_int_equal(thinp_io_batch(f->io, ops, 10), THINP_EIO);
	io_expect_results(ops, 4, 0);
	io_expect_results(ops + 4, 6, THINP_EIO);
	io_blocks_expect(b, 100, 4, 1);

	assert_int_equal(thinp_io_read(f->io, 100, 10, b), THINP_EIO);
	thinp_error_last(&info);
	assert_int_equal(info.block, 104); /* the very block */
	free(b);
}

/* In a file with holes: 32 bits hold neither the bytes nor the sectors. */
static void COW_14_blocks_behind_4_gib_and_2_tib_have_places_of_their_own(void **state)
{
	static const thinp_block_t far[] = {(UINT64_C(1) << 20) + 5, (UINT64_C(1) << 21) + 5, (UINT64_C(1) << 29) + 5};
	struct io_file_fixture *f = *state;
	const off_t nbytes = (off_t)(far[2] + 1) * THINP_BLOCK_SIZE;
	uint64_t nr_blocks;

	io_file_close(f);
	if (truncate(f->path, nbytes)) {
		print_message("files of 2 TiB are not to be had here: %s\n", strerror(errno));
		skip();
	}
	assert_int_equal(io_file_open(f, &f->io), 0);
	assert_int_equal(thinp_io_size(f->io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, far[2] + 1);
	io_write_pattern(f->io, 5, 1, 9);
	for (uint64_t i = 0; i < 3; i++)
		io_write_pattern(f->io, far[i], 1, i);
	for (uint64_t i = 0; i < 3; i++)
		io_expect_pattern(f->io, far[i], 1, i);
	io_expect_pattern(f->io, 5, 1, 9);
}

static void a_full_file_system_is_told(void **state)
{
	struct io_file_fixture *f = *state;
	uint8_t *b = io_blocks_new(10);
	struct thinp_io_op ops[10];

	fill_ops(ops, THINP_IO_WRITE, b);
	io_sys_fail(IO_SYS_PWRITEV, 1, 2, ENOSPC);
	assert_int_equal(thinp_io_batch(f->io, ops, 10), THINP_ENOSPC);
	io_expect_told(THINP_ENOSPC);
	assert_int_equal(ops[0].result, THINP_ENOSPC);
	io_expect_results(ops + 1, 9, 0);
	free(b);
}

/* --- discards --- */

static void a_discard_is_a_hint(void **state)
{
	static const int hints[] = {EOPNOTSUPP, ENOSYS};
	struct io_file_fixture *f = *state;
	struct thinp_io_op op = io_op(THINP_IO_DISCARD, 5, 10, NULL);

	for (size_t i = 0; i < 2; i++) {
		io_sys_fail(IO_SYS_FALLOCATE, 1, 1, hints[i]);
		assert_int_equal(thinp_io_batch(f->io, &op, 1), 0);
		assert_true(io_sys_has_failed());
	}
	io_sys_fail(IO_SYS_FALLOCATE, 1, 1, EIO);
	assert_int_equal(thinp_io_batch(f->io, &op, 1), THINP_EIO);
	assert_int_equal(op.result, THINP_EIO);
}

static void a_discard_gives_room_back_and_keeps_the_size(void **state)
{
	struct io_file_fixture *f = *state;
	struct thinp_io_op op = io_op(THINP_IO_DISCARD, 0, SIZE, NULL);
	struct stat before, after;
	int fd;

	io_write_pattern(f->io, 0, SIZE, 1);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(io_file_stat(f, &before), 0);
	fd = open(f->path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, THINP_BLOCK_SIZE) && errno == EOPNOTSUPP) {
		close(fd);
		print_message("this file system has no holes\n");
		skip();
	}
	close(fd);
	assert_int_equal(thinp_io_batch(f->io, &op, 1), 0);
	assert_int_equal(io_file_stat(f, &after), 0);
	assert_int_equal(after.st_size, before.st_size);
	assert_true(after.st_blocks < before.st_blocks / 2);
}

/* --- flushes --- */

static void a_reader_flushes_nothing(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_close(f);
	f->opts.flags = THINP_IO_READ_ONLY;
	assert_int_equal(io_file_open(f, &f->io), 0);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 0);
	io_file_close(f);
}

static void fail_a_flush(void *ctx)
{
	struct io_file_fixture *f = ctx;

	io_sys_fail(IO_SYS_FDATASYNC, 1, 1, EIO);
	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
}

/* The kernel would tell the second flush that all is well, although its write is among those that were lost. */
static void a_failed_flush_is_told_to_every_batch_that_is_under_way(void **state)
{
	struct io_file_fixture *f = *state;
	void *b = io_blocks_new(1);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 3, 1, b),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_WRITE, 4, 1, b),
	};

	io_sys_before(IO_SYS_PWRITEV, 1, fail_a_flush, f); /* as if by another thread */
	assert_int_equal(thinp_io_batch(f->io, ops, 3), THINP_EIO);
	io_expect_told(THINP_EIO);
	assert_int_equal(ops[0].result, 0);
	assert_int_equal(ops[1].result, THINP_EIO);
	assert_int_equal(ops[2].result, THINP_ECANCELED);
	assert_int_equal(thinp_io_batch(f->io, ops, 3), 0);
	free(b);
}

static void a_failure_seen_while_resizing_is_told_to_the_next_flush(void **state)
{
	struct io_file_fixture *f = *state;

	io_write_pattern(f->io, 3, 1, 1);
	io_sys_fail(IO_SYS_FDATASYNC, 1, 1, EIO);
	assert_int_equal(thinp_io_resize(f->io, SIZE + 1), THINP_EIO);
	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
	io_expect_told(THINP_EIO);
	assert_int_equal(thinp_io_flush(f->io), 0);
}

#define CACHED(test) cmocka_unit_test_setup_teardown(test, setup_cached, io_file_teardown)
#define DIRECT(test) cmocka_unit_test_setup_teardown(test, setup_direct, io_file_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CACHED(neighbours_become_one_call),
		CACHED(a_call_has_no_more_pieces_than_the_system_takes),
		CACHED(neighbours_in_memory_become_one_piece),
		CACHED(a_call_has_no_more_bytes_than_the_system_takes),
		CACHED(COW_13_a_transfer_may_end_at_any_byte),
		DIRECT(COW_13_past_the_page_cache_a_short_transfer_goes_on_at_a_block),
		CACHED(COW_13_interrupted_calls_are_repeated),
		DIRECT(a_transfer_that_does_not_get_on_fails),
		DIRECT(BM_07_every_transfer_past_the_page_cache_is_aligned),
		CACHED(a_bad_block_fails_only_its_operation),
		CACHED(BM_14_a_file_that_became_shorter_fails_only_beyond_its_end),
		DIRECT(BM_14_a_file_that_became_shorter_fails_only_beyond_its_end),
		CACHED(COW_14_blocks_behind_4_gib_and_2_tib_have_places_of_their_own),
		DIRECT(COW_14_blocks_behind_4_gib_and_2_tib_have_places_of_their_own),
		CACHED(a_full_file_system_is_told),
		CACHED(a_discard_is_a_hint),
		CACHED(a_discard_gives_room_back_and_keeps_the_size),
		CACHED(a_reader_flushes_nothing),
		CACHED(a_failed_flush_is_told_to_every_batch_that_is_under_way),
		CACHED(a_failure_seen_while_resizing_is_told_to_the_next_flush),
	};

	return cmocka_run_group_tests_name("io/file/transfer", tests, NULL, NULL);
}
