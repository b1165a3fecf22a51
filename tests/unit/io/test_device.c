/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_device.c - block devices: the suite of all back-ends and more, on loop devices.
 */
#include "support/io_conformance.h"
#include "support/io_device_fixture.h"

#include <thinp/error.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* --- the suite of all back-ends --- */

struct variant {
	const char *group;
	uint32_t sector_bytes;
	uint32_t direct;
	size_t transfer_limit; /* every transfer moves at most that many bytes */
	bool is_interrupted;   /* every call is interrupted once */
	struct io_device_fixture fixture;
};

static int open_variant(void *ctx, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io)
{
	struct variant *v = ctx;

	io_device_make(&v->fixture, nr_blocks, v->sector_bytes);
	v->fixture.opts.flags = flags;
	v->fixture.opts.direct = v->direct;
	io_sys_limit_transfers(v->transfer_limit);
	io_sys_interrupt_all(v->is_interrupted);
	return io_device_open(&v->fixture, io);
}

static void done_variant(void *ctx)
{
	struct variant *v = ctx;

	io_device_remove(&v->fixture);
}

static int run_conformance(void)
{
	static struct variant variants[] = {
		{.group = "io/device/512", .sector_bytes = 512},
		{.group = "io/device/4096", .sector_bytes = 4096},
		{.group = "io/device/cached", .sector_bytes = 512, .direct = THINP_IO_DIRECT_OFF},
		{
			.group = "io/device/unhelpful",
			.sector_bytes = 512,
			.transfer_limit = 5 * 4096 + 512,
			.is_interrupted = true,
		},
	};
	int nr_failed = 0;

	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++) {
		const struct io_conformance device = {
			.group = variants[i].group,
			.ctx = &variants[i],
			.open = open_variant,
			.done = done_variant,
			.arm = io_sys_arm,
			.is_slow = true,
		};

		nr_failed += io_conformance_run(&device);
	}
	return nr_failed;
}

/* --- what is particular to devices --- */

enum { SIZE = 64 };

static int setup(void **state)
{
	struct io_device_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	io_device_make(f, SIZE, 512);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct io_device_fixture *f = *state;

	io_device_remove(f);
	free(f);
	return 0;
}

static void open_as(struct io_device_fixture *f, uint32_t flags)
{
	f->opts.flags = flags;
	assert_int_equal(io_device_open(f, &f->io), 0);
}

static int try_as(struct io_device_fixture *f, uint32_t flags)
{
	struct thinp_io *io = NULL;
	int r;

	f->opts.flags = flags;
	r = io_device_open(f, &io);
	thinp_io_close(io);
	return r;
}

static void close_it(struct io_device_fixture *f)
{
	thinp_io_close(f->io);
	f->io = NULL;
}

static bool is_direct(void)
{
	int flags = fcntl(io_sys_last_fd(), F_GETFL);

	assert_true(flags >= 0);
	return flags & O_DIRECT;
}

static void expect_size(struct thinp_io *io, uint64_t expected)
{
	uint64_t nr_blocks = ~expected;

	assert_int_equal(thinp_io_size(io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, expected);
}

static void readers_and_writers_go_past_the_page_cache(void **state)
{
	struct io_device_fixture *f = *state;

	open_as(f, THINP_IO_READ_ONLY);
	assert_true(is_direct());
	close_it(f);
	open_as(f, 0);
	assert_true(is_direct());
	assert_string_equal(thinp_io_backend_name(f->io), "device");
	close_it(f);
	f->opts.direct = THINP_IO_DIRECT_OFF;
	open_as(f, 0);
	assert_false(is_direct());
}

static void the_public_call_does_the_same(void **state)
{
	struct io_device_fixture *f = *state;

	assert_int_equal(thinp_io_open_device(f->loop.path, NULL, &f->io), 0);
	expect_size(f->io, SIZE);
	assert_false(thinp_io_is_read_only(f->io));
	io_write_pattern(f->io, 3, 4, 1);
	assert_int_equal(thinp_io_flush(f->io), 0);
	io_expect_pattern(f->io, 3, 4, 1);
}

static int claim(const struct io_device_fixture *f)
{
	int fd = open(f->loop.path, O_RDONLY | O_EXCL | O_CLOEXEC); /* as mount does */

	assert_true(fd >= 0);
	return fd;
}

static void TOOL_26_a_device_in_use_is_not_written(void **state)
{
	struct io_device_fixture *f = *state;
	struct thinp_error_info info = {.size = sizeof(info)};
	int fd = claim(f);

	assert_int_equal(try_as(f, 0), THINP_EBUSY);
	thinp_error_last(&info);
	assert_int_equal(info.os_errno, EBUSY);
	assert_non_null(strstr(info.message, "mounted"));
	close(fd);
	assert_int_equal(try_as(f, 0), 0);
}

static void TOOL_26_a_device_in_use_can_be_read_and_need_not(void **state)
{
	struct io_device_fixture *f = *state;
	int fd = claim(f);

	assert_int_equal(try_as(f, THINP_IO_READ_ONLY), 0);
	assert_int_equal(try_as(f, THINP_IO_READ_ONLY | THINP_IO_EXCLUSIVE), THINP_EBUSY);
	close(fd);
	assert_int_equal(try_as(f, THINP_IO_READ_ONLY | THINP_IO_EXCLUSIVE), 0);
}

static void BM_06_a_writer_keeps_the_rest_of_the_system_out(void **state)
{
	struct io_device_fixture *f = *state;

	open_as(f, 0);
	assert_int_equal(open(f->loop.path, O_RDONLY | O_EXCL | O_CLOEXEC), -1);
	assert_int_equal(errno, EBUSY);
	close_it(f);
	close(claim(f));
}

static void BM_06_a_writer_keeps_readers_and_writers_out(void **state)
{
	struct io_device_fixture *f = *state;

	open_as(f, 0);
	assert_int_equal(try_as(f, 0), THINP_EBUSY);
	assert_int_equal(try_as(f, THINP_IO_READ_ONLY), THINP_EBUSY);
	close_it(f);
	open_as(f, THINP_IO_READ_ONLY);
	assert_int_equal(try_as(f, THINP_IO_READ_ONLY), 0);
	assert_int_equal(try_as(f, 0), THINP_EBUSY);
}

/* The second name of a device file has locks of its own; the claim on the device has not. */
static void BM_06_another_name_of_the_device_does_not_help(void **state)
{
	struct io_device_fixture *f = *state;
	struct thinp_io *other = NULL;
	char path[] = "thinp-test-device";
	struct stat st;

	assert_int_equal(stat(f->loop.path, &st), 0);
	unlink(path);
	if (mknod(path, S_IFBLK | 0600, st.st_rdev)) {
		print_message("no device files can be made here\n");
		skip();
	}
	open_as(f, 0);
	assert_int_equal(thinp_io_open_device(path, NULL, &other), THINP_EBUSY);
	unlink(path);
}

static void a_device_that_has_grown_is_seen_to_be_larger(void **state)
{
	struct io_device_fixture *f = *state;
	void *block = io_blocks_new(1);

	open_as(f, 0);
	io_write_pattern(f->io, 0, SIZE, 1);
	assert_int_equal(thinp_io_read(f->io, SIZE, 1, block), THINP_ERANGE);
	io_device_resize(f, 2 * SIZE);
	expect_size(f->io, 2 * SIZE);
	io_write_pattern(f->io, SIZE, SIZE, 1);
	io_expect_pattern(f->io, 0, 2 * SIZE, 1);
	assert_int_equal(thinp_io_resize(f->io, 3 * SIZE), THINP_ENOTSUP);
	free(block);
}

static void BM_14_blocks_of_a_device_that_became_smaller_are_beyond_its_end(void **state)
{
	struct io_device_fixture *f = *state;
	void *block = io_blocks_new(1);

	open_as(f, 0);
	io_device_resize(f, SIZE / 2);
	expect_size(f->io, SIZE / 2);
	assert_int_equal(thinp_io_read(f->io, SIZE / 2, 1, block), THINP_ERANGE);
	free(block);
}

static void a_rest_shorter_than_a_block_does_not_count(void **state)
{
	struct io_device_fixture *f = *state;

	assert_int_equal(ftruncate(f->memory, 9 * THINP_BLOCK_SIZE + 7 * 512), 0);
	assert_int_equal(loop_device_refresh(&f->loop), 0);
	open_as(f, 0);
	expect_size(f->io, 9);
}

static void a_device_that_is_too_small_is_refused(void **state)
{
	struct io_device_fixture *f = *state;

	f->opts.nr_blocks = SIZE + 1;
	assert_int_equal(try_as(f, 0), THINP_ENOTSUP);
	io_expect_told(THINP_ENOTSUP);
	assert_int_equal(try_as(f, THINP_IO_READ_ONLY), THINP_ENOTSUP);
	f->opts.nr_blocks = SIZE;
	assert_int_equal(try_as(f, 0), 0);
}

static void discarded_blocks_of_this_device_read_as_zeros(void **state)
{
	struct io_device_fixture *f = *state;
	struct thinp_io_op op = io_op(THINP_IO_DISCARD, 8, 32, NULL);
	void *blocks = io_blocks_new(32);
	struct stat before, after;

	open_as(f, 0);
	io_write_pattern(f->io, 0, SIZE, 1);
	assert_int_equal(fstat(f->memory, &before), 0);
	assert_int_equal(thinp_io_batch(f->io, &op, 1), 0);
	assert_int_equal(thinp_io_read(f->io, 8, 32, blocks), 0);
	io_blocks_expect_zeros(blocks, 32);
	io_expect_pattern(f->io, 0, 8, 1);
	io_expect_pattern(f->io, 40, SIZE - 40, 1);
	assert_int_equal(fstat(f->memory, &after), 0);
	assert_true(after.st_blocks < before.st_blocks); /* it came through to the bottom */
	free(blocks);
}

/* The commit of a store in small, on a device that fails for some blocks. */
static void TM_01_a_write_that_the_device_fails_stops_the_superblock(void **state)
{
	struct io_device_fixture *f = *state;
	uint8_t *b = io_blocks_new(4);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 10, 1, b),
		io_op(THINP_IO_WRITE, 50, 1, b + THINP_BLOCK_SIZE), /* fails */
		io_op(THINP_IO_WRITE, 12, 1, b + 2 * THINP_BLOCK_SIZE),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_WRITE, 0, 1, b + 3 * THINP_BLOCK_SIZE), /* the superblock */
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
	};

	open_as(f, 0);
	io_write_pattern(f->io, 0, SIZE, 1);
	io_device_break_from(f, 48);
	io_blocks_fill(b, 0, 4, 2);
	assert_int_equal(thinp_io_batch(f->io, ops, 6), THINP_EIO);
	io_expect_told(THINP_EIO);
	assert_int_equal(ops[0].result, 0);
	assert_int_equal(ops[1].result, THINP_EIO);
	assert_int_equal(ops[2].result, 0);
	for (size_t i = 3; i < 6; i++)
		assert_int_equal(ops[i].result, THINP_ECANCELED);
	io_expect_pattern(f->io, 0, 10, 1);
	assert_int_equal(thinp_io_write(f->io, 0, 1, b), 0); /* it can write there, it just did not */
	free(b);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(readers_and_writers_go_past_the_page_cache),
		CASE(the_public_call_does_the_same),
		CASE(TOOL_26_a_device_in_use_is_not_written),
		CASE(TOOL_26_a_device_in_use_can_be_read_and_need_not),
		CASE(BM_06_a_writer_keeps_the_rest_of_the_system_out),
		CASE(BM_06_a_writer_keeps_readers_and_writers_out),
		CASE(BM_06_another_name_of_the_device_does_not_help),
		CASE(a_device_that_has_grown_is_seen_to_be_larger),
		CASE(BM_14_blocks_of_a_device_that_became_smaller_are_beyond_its_end),
		CASE(a_rest_shorter_than_a_block_does_not_count),
		CASE(a_device_that_is_too_small_is_refused),
		CASE(discarded_blocks_of_this_device_read_as_zeros),
		CASE(TM_01_a_write_that_the_device_fails_stops_the_superblock),
	};
	const char *obstacle = io_device_obstacle();

	if (obstacle) {
		print_message("skipped: loop devices cannot be had here: %s\n", obstacle);
		return 77;
	}
	return run_conformance() + cmocka_run_group_tests_name("io/device", tests, NULL, NULL);
}
