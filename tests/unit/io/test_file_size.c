/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_file_size.c - growing and shrinking files: room before promises, and the way back.
 */
#include "support/io_conformance.h"
#include "support/io_file_fixture.h"

#include <thinp/error.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_size(struct thinp_io *io, uint64_t expected)
{
	uint64_t nr_blocks = ~expected;

	assert_int_equal(thinp_io_size(io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, expected);
}

static void expect_bytes(const struct io_file_fixture *f, off_t expected)
{
	struct stat st;

	assert_int_equal(io_file_stat(f, &st), 0);
	assert_int_equal(st.st_size, expected);
}

static bool has_room_for(const struct io_file_fixture *f, uint64_t nr_blocks)
{
	struct stat st;

	assert_int_equal(io_file_stat(f, &st), 0);
	return (uint64_t)st.st_blocks * 512 >= nr_blocks * THINP_BLOCK_SIZE;
}

static void expect_zeros(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks)
{
	void *blocks = io_blocks_new(nr_blocks);

	assert_int_equal(thinp_io_read(io, block, nr_blocks, blocks), 0);
	io_blocks_expect_zeros(blocks, nr_blocks);
	free(blocks);
}

/* --- room --- */

static void COW_24_new_blocks_have_room_before_they_are_promised(void **state)
{
	static const enum io_sys_call order[] = {IO_SYS_FALLOCATE, IO_SYS_FDATASYNC};
	struct io_file_fixture *f = *state;

	io_file_create(f, 500, THINP_IO_DIRECT_AUTO);
	assert_true(has_room_for(f, 500));
	assert_int_equal(thinp_io_resize(f->io, 900), 0);
	assert_true(has_room_for(f, 900));
	assert_true(io_sys_had_order(order, 2));
	assert_int_equal(io_sys_count(IO_SYS_FDATASYNC), 2);
	io_file_close(f);
	assert_int_equal(io_file_open(f, &f->io), 0);
	expect_size(f->io, 900);
}

static void COW_24_where_room_cannot_be_taken_zeros_are_written(void **state)
{
	struct io_file_fixture *f = *state;

	io_sys_fail(IO_SYS_FALLOCATE, 1, 2, EOPNOTSUPP);
	io_file_create(f, 500, THINP_IO_DIRECT_AUTO);
	assert_true(io_sys_count(IO_SYS_PWRITEV) >= 2);
	assert_int_equal(thinp_io_resize(f->io, 600), 0);
	expect_bytes(f, 600 * THINP_BLOCK_SIZE);
	expect_zeros(f->io, 0, 600);
	assert_true(has_room_for(f, 600));
}

static void where_the_user_asks_for_it_new_blocks_are_written(void **state)
{
	static const enum io_sys_call order[] = {IO_SYS_FALLOCATE, IO_SYS_PWRITEV, IO_SYS_FDATASYNC};
	struct io_file_fixture *f = *state;
	unsigned int nr_writes;

	f->opts.nr_blocks = 500;
	f->opts.flags = THINP_IO_CREATE | THINP_IO_ZEROS;
	assert_int_equal(io_file_open(f, &f->io), 0);
	assert_true(io_sys_had_order(order, 3));
	nr_writes = io_sys_count(IO_SYS_PWRITEV);
	assert_true(nr_writes >= 500 / 256);
	assert_int_equal(thinp_io_resize(f->io, 600), 0);
	assert_int_equal(io_sys_count(IO_SYS_PWRITEV), nr_writes + 1);
	expect_bytes(f, 600 * THINP_BLOCK_SIZE);
	expect_zeros(f->io, 0, 600);
}

static void new_blocks_that_cannot_be_written_are_given_back(void **state)
{
	struct io_file_fixture *f = *state;

	f->opts.nr_blocks = 10;
	f->opts.flags = THINP_IO_CREATE | THINP_IO_ZEROS;
	assert_int_equal(io_file_open(f, &f->io), 0);
	io_sys_limit_transfers(20 * THINP_BLOCK_SIZE);
	io_sys_spoil_block(70, EIO, false);
	assert_int_equal(thinp_io_resize(f->io, 110), THINP_EIO);
	expect_size(f->io, 10);
	expect_bytes(f, 10 * THINP_BLOCK_SIZE);
	io_sys_reset();
	assert_int_equal(thinp_io_resize(f->io, 110), 0);
	expect_zeros(f->io, 0, 110);
}

static void zeros_are_written_also_by_short_calls(void **state)
{
	struct io_file_fixture *f = *state;

	io_sys_limit_transfers(9973);
	io_sys_fail(IO_SYS_FALLOCATE, 1, 1, ENOSYS);
	io_file_create(f, 30, THINP_IO_DIRECT_OFF);
	expect_bytes(f, 30 * THINP_BLOCK_SIZE);
	expect_zeros(f->io, 0, 30);
}

static void COW_24_without_room_the_growth_fails_and_nothing_else(void **state)
{
	struct io_file_fixture *f = *state;
	void *block = io_blocks_new(1);
	struct thinp_error_info info = {.size = sizeof(info)};

	io_file_create(f, 10, THINP_IO_DIRECT_AUTO);
	io_blocks_fill(block, 9, 1, 1);
	assert_int_equal(thinp_io_write(f->io, 9, 1, block), 0);
	io_sys_fail(IO_SYS_FALLOCATE, 1, 1, ENOSPC);
	assert_int_equal(thinp_io_resize(f->io, 20), THINP_ENOSPC);
	thinp_error_last(&info);
	assert_int_equal(info.code, THINP_ENOSPC);
	assert_int_equal(info.os_errno, ENOSPC);
	expect_size(f->io, 10);
	expect_bytes(f, 10 * THINP_BLOCK_SIZE);
	assert_int_equal(thinp_io_write(f->io, 10, 1, block), THINP_ERANGE);
	assert_int_equal(thinp_io_read(f->io, 9, 1, block), 0);
	io_blocks_expect(block, 9, 1, 1);
	assert_int_equal(thinp_io_flush(f->io), 0);
	free(block);
}

static void COW_24_room_that_ends_half_way_is_given_back(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_create(f, 10, THINP_IO_DIRECT_AUTO);
	for (unsigned int n = 1; n <= 4; n++) {
		io_sys_reset();
		io_sys_limit_transfers(20 * THINP_BLOCK_SIZE);
		io_sys_spoil_block(10 + n * 20, ENOSPC, false);
		io_sys_fail(IO_SYS_FALLOCATE, 1, 1, EOPNOTSUPP);
		assert_int_equal(thinp_io_resize(f->io, 110), THINP_ENOSPC);
		expect_size(f->io, 10);
		expect_bytes(f, 10 * THINP_BLOCK_SIZE);
	}
	io_sys_reset();
	assert_int_equal(thinp_io_resize(f->io, 110), 0);
	io_file_close(f);
	io_sys_reset();
}

static void COW_24_a_file_that_cannot_be_made_large_enough_is_not_opened(void **state)
{
	struct io_file_fixture *f = *state;

	f->opts.nr_blocks = 100;
	f->opts.flags = THINP_IO_CREATE;
	io_sys_fail(IO_SYS_FALLOCATE, 1, 1, ENOSPC);
	assert_int_equal(io_file_open(f, &f->io), THINP_ENOSPC);
	io_expect_told(THINP_ENOSPC);
	assert_true(io_temp_is_empty(&f->temp));

	io_file_make(f, 5 * THINP_BLOCK_SIZE, 1);
	io_sys_fail(IO_SYS_FALLOCATE, 1, 1, EDQUOT);
	assert_int_equal(io_file_open(f, &f->io), THINP_ENOSPC);
	assert_null(f->io);
	expect_bytes(f, 5 * THINP_BLOCK_SIZE);
}

static void a_size_that_is_not_durable_is_not_promised(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_create(f, 10, THINP_IO_DIRECT_AUTO);
	io_sys_fail(IO_SYS_FDATASYNC, 1, 1, EIO);
	assert_int_equal(thinp_io_resize(f->io, 20), THINP_EIO);
	expect_size(f->io, 10);
	expect_bytes(f, 10 * THINP_BLOCK_SIZE);
}

static void a_way_back_that_fails_too_does_no_harm(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_create(f, 10, THINP_IO_DIRECT_AUTO);
	io_sys_fail(IO_SYS_ANY, 2, 2, ENOSPC); /* behind fstat: fallocate, and then ftruncate */
	assert_int_equal(thinp_io_resize(f->io, 20), THINP_ENOSPC);
	assert_int_equal(io_sys_count(IO_SYS_FTRUNCATE), 1);
	expect_size(f->io, 10);
	assert_int_equal(thinp_io_resize(f->io, 20), 0);
	expect_zeros(f->io, 10, 10);
}

/* --- which size --- */

static void growth_is_a_number_of_steps(void **state)
{
	static const struct {
		uint64_t step, from, asked, got;
	} cases[] = {
		{0, 10, 11, 11},     {1, 10, 11, 11}, {100, 10, 11, 110}, {100, 10, 110, 110},
		{100, 10, 111, 210}, {7, 10, 30, 31}, {100, 10, 10, 10},  {100, 10, 4, 4},
	};
	struct io_file_fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		io_file_make(f, cases[i].from * THINP_BLOCK_SIZE, 1);
		f->opts.grow_step = cases[i].step;
		assert_int_equal(io_file_open(f, &f->io), 0);
		assert_int_equal(thinp_io_resize(f->io, cases[i].asked), 0);
		expect_size(f->io, cases[i].got);
		expect_bytes(f, (off_t)cases[i].got * THINP_BLOCK_SIZE);
		io_file_close(f);
	}
}

static void a_new_file_grows_by_steps_too(void **state)
{
	struct io_file_fixture *f = *state;

	f->opts.grow_step = 64;
	io_file_create(f, 65, THINP_IO_DIRECT_AUTO);
	expect_size(f->io, 128);
}

static void a_step_beyond_the_limit_is_refused(void **state)
{
	struct io_file_fixture *f = *state;

	f->opts.grow_step = UINT64_MAX;
	io_file_make(f, THINP_BLOCK_SIZE, 1);
	assert_int_equal(io_file_open(f, &f->io), 0);
	assert_int_equal(thinp_io_resize(f->io, 2), THINP_ERANGE);
	io_file_close(f);
	f->opts.nr_blocks = 2;
	assert_int_equal(io_file_open(f, &f->io), THINP_ERANGE);
	expect_bytes(f, THINP_BLOCK_SIZE);
}

static void a_reader_does_not_grow_the_file(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_make(f, 3 * THINP_BLOCK_SIZE, 1);
	f->opts.flags = THINP_IO_READ_ONLY;
	f->opts.nr_blocks = 4;
	assert_int_equal(io_file_open(f, &f->io), THINP_EROFS);
	io_expect_told(THINP_EROFS);
	expect_bytes(f, 3 * THINP_BLOCK_SIZE);
	f->opts.nr_blocks = 3;
	assert_int_equal(io_file_open(f, &f->io), 0);
}

/* --- the tail --- */

static void expect_tail_hidden(struct io_file_fixture *f)
{
	uint8_t *block = io_blocks_new(1);

	io_file_make(f, 2 * THINP_BLOCK_SIZE + 1000, 0xff);
	assert_int_equal(io_file_open(f, &f->io), 0);
	assert_int_equal(thinp_io_resize(f->io, 5), 0);
	expect_zeros(f->io, 2, 3);
	assert_int_equal(thinp_io_read(f->io, 1, 1, block), 0);
	assert_int_equal(block[4095], 0xff);
	expect_bytes(f, 5 * THINP_BLOCK_SIZE);
	io_file_close(f);
	free(block);
}

static void a_tail_reads_as_zeros_when_the_file_grows_over_it(void **state)
{
	struct io_file_fixture *f = *state;

	expect_tail_hidden(f);
	io_sys_fail(IO_SYS_FALLOCATE, 1, 1, EOPNOTSUPP);
	expect_tail_hidden(f);
}

static void a_tail_survives_a_growth_that_fails(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_make(f, 2 * THINP_BLOCK_SIZE + 1000, 0xff);
	assert_int_equal(io_file_open(f, &f->io), 0);
	io_sys_fail(IO_SYS_FALLOCATE, 1, 1, ENOSPC);
	assert_int_equal(thinp_io_resize(f->io, 5), THINP_ENOSPC);
	expect_bytes(f, 2 * THINP_BLOCK_SIZE + 1000);
	io_sys_fail(IO_SYS_PWRITEV, 1, 1, EIO);
	assert_int_equal(thinp_io_resize(f->io, 5), THINP_EIO);
	expect_bytes(f, 2 * THINP_BLOCK_SIZE + 1000);
}

/* --- shrinking --- */

static void a_failed_shrink_leaves_the_size_that_is_true(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_create(f, 10, THINP_IO_DIRECT_AUTO);
	io_sys_fail(IO_SYS_FTRUNCATE, 1, 1, EIO);
	assert_int_equal(thinp_io_resize(f->io, 5), THINP_EIO);
	expect_size(f->io, 10);
	io_sys_fail(IO_SYS_FDATASYNC, 1, 1, EIO);
	assert_int_equal(thinp_io_resize(f->io, 5), THINP_EIO);
	expect_size(f->io, 5); /* the blocks are gone, though perhaps not for ever */
	expect_bytes(f, 5 * THINP_BLOCK_SIZE);
}

static void growth_that_cannot_see_the_file_fails(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_create(f, 10, THINP_IO_DIRECT_AUTO);
	io_sys_fail(IO_SYS_FSTAT, 1, 1, EIO);
	assert_int_equal(thinp_io_resize(f->io, 15), THINP_EIO);
	expect_size(f->io, 10);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, io_file_setup, io_file_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(COW_24_new_blocks_have_room_before_they_are_promised),
		CASE(COW_24_where_room_cannot_be_taken_zeros_are_written),
		CASE(where_the_user_asks_for_it_new_blocks_are_written),
		CASE(new_blocks_that_cannot_be_written_are_given_back),
		CASE(zeros_are_written_also_by_short_calls),
		CASE(COW_24_without_room_the_growth_fails_and_nothing_else),
		CASE(COW_24_room_that_ends_half_way_is_given_back),
		CASE(COW_24_a_file_that_cannot_be_made_large_enough_is_not_opened),
		CASE(a_size_that_is_not_durable_is_not_promised),
		CASE(a_way_back_that_fails_too_does_no_harm),
		CASE(growth_is_a_number_of_steps),
		CASE(a_new_file_grows_by_steps_too),
		CASE(a_step_beyond_the_limit_is_refused),
		CASE(a_reader_does_not_grow_the_file),
		CASE(a_tail_reads_as_zeros_when_the_file_grows_over_it),
		CASE(a_tail_survives_a_growth_that_fails),
		CASE(a_failed_shrink_leaves_the_size_that_is_true),
		CASE(growth_that_cannot_see_the_file_fails),
	};

	return cmocka_run_group_tests_name("io/file/size", tests, NULL, NULL);
}
