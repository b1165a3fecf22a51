/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_conformance.c - what every back-end of thinp_io must do.
 */
#include "support/io_conformance.h"

#include <thinp/error.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
	SIZE = 2048, /* blocks of the device */
};

struct fixture {
	const struct io_conformance *device;
	struct thinp_io *io;
};

static void open_device(struct fixture *f, uint32_t flags, uint64_t nr_blocks)
{
	assert_int_equal(f->device->open(f->device->ctx, flags, nr_blocks, &f->io), 0);
}

static void close_device(struct fixture *f)
{
	thinp_io_close(f->io);
	f->io = NULL;
	f->device->done(f->device->ctx);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->device = *state;
	open_device(f, 0, SIZE);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	close_device(f);
	free(f);
	return 0;
}

/* Makes the next operation of this kind, on this block, fail, or skips the test. */
static int arm(struct fixture *f, uint32_t kind, thinp_block_t block)
{
	int code = f->device->arm ? f->device->arm(f->device->ctx, kind, block) : 0;

	if (!code) {
		print_message("this device cannot be made to fail at operations of kind %u\n", (unsigned int)kind);
		skip();
	}
	return code;
}

static void expect_zeros(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks)
{
	void *blocks = io_blocks_new(nr_blocks);

	assert_int_equal(thinp_io_read(io, block, nr_blocks, blocks), 0);
	io_blocks_expect_zeros(blocks, nr_blocks);
	free(blocks);
}

/* --- what goes well --- */

static void a_new_device_has_its_size_and_reads_as_zeros(void **state)
{
	struct fixture *f = *state;
	uint64_t nr_blocks = 0;

	assert_int_equal(thinp_io_size(f->io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, SIZE);
	assert_false(thinp_io_is_read_only(f->io));
	assert_true(strlen(thinp_io_backend_name(f->io)) > 0);
	expect_zeros(f->io, 0, SIZE);
}

static void what_was_written_is_read_back(void **state)
{
	struct fixture *f = *state;

	io_write_pattern(f->io, 0, 1, 1);
	io_write_pattern(f->io, 7, 20, 1);
	io_write_pattern(f->io, SIZE - 1, 1, 1);
	io_write_pattern(f->io, 9, 3, 2);

	io_expect_pattern(f->io, 0, 1, 1);
	expect_zeros(f->io, 1, 6);
	io_expect_pattern(f->io, 7, 2, 1);
	io_expect_pattern(f->io, 9, 3, 2);
	io_expect_pattern(f->io, 12, 15, 1);
	expect_zeros(f->io, 27, SIZE - 28);
	io_expect_pattern(f->io, SIZE - 1, 1, 1);
}

static void a_batch_without_operations_does_nothing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(thinp_io_batch(f->io, NULL, 0), 0);
}

static void flushes_may_stand_anywhere(void **state)
{
	struct fixture *f = *state;
	void *a = io_blocks_new(1);
	void *b = io_blocks_new(1);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_FLUSH, UINT64_MAX, UINT64_MAX, (void *)1), /* all of that is ignored */
		io_op(THINP_IO_WRITE, 3, 1, a),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_READ, 3, 1, b),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
	};

	io_blocks_fill(a, 3, 1, 1);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(thinp_io_batch(f->io, ops, 6), 0);
	io_expect_results(ops, 6, 0);
	io_blocks_expect(b, 3, 1, 1);
	free(a);
	free(b);
}

/* A small generator, so that a seed says it all. */
static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Cuts the range into operations of 1 to 5 blocks and shuffles them; gives their number. */
static size_t cut_and_shuffle(struct thinp_io_op *ops, uint32_t kind, thinp_block_t begin, thinp_block_t end,
			      uint8_t *buffer, uint64_t *seed)
{
	size_t nr_ops = 0;

	for (thinp_block_t at = begin; at < end;) {
		uint64_t nr = 1 + next_random(seed) % 5;

		nr = nr < end - at ? nr : end - at;
		ops[nr_ops++] = io_op(kind, at, nr, buffer + (at - begin) * THINP_BLOCK_SIZE);
		at += nr;
	}
	for (size_t i = nr_ops - 1; i > 0; i--) {
		size_t j = (size_t)(next_random(seed) % (i + 1));
		struct thinp_io_op other = ops[j];

		ops[j] = ops[i];
		ops[i] = other;
	}
	return nr_ops;
}

static void operations_may_stand_in_any_order(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op *ops = calloc(SIZE, sizeof(*ops));
	uint8_t *out = io_blocks_new(SIZE);
	uint8_t *in = io_blocks_new(SIZE);
	uint64_t seed = 20140817;

	for (uint64_t generation = 1; generation <= 4; generation++) {
		size_t nr_ops;

		io_blocks_fill(out, 0, SIZE, generation);
		nr_ops = cut_and_shuffle(ops, THINP_IO_WRITE, 0, SIZE, out, &seed);
		assert_int_equal(thinp_io_batch(f->io, ops, nr_ops), 0);
		io_expect_results(ops, nr_ops, 0);
		nr_ops = cut_and_shuffle(ops, THINP_IO_READ, 0, SIZE, in, &seed);
		assert_int_equal(thinp_io_batch(f->io, ops, nr_ops), 0);
		io_expect_results(ops, nr_ops, 0);
		io_blocks_expect(in, 0, SIZE, generation);
	}
	free(in);
	free(out);
	free(ops);
}

/* More than one system call takes: 1024 pieces on Linux. */
static void a_batch_may_be_very_long(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op *ops = calloc(SIZE + 1, sizeof(*ops));
	uint8_t *blocks = io_blocks_new(SIZE);

	io_blocks_fill(blocks, 0, SIZE, 1);
	for (size_t i = 0; i < SIZE; i++)
		ops[i] = io_op(THINP_IO_WRITE, i, 1, blocks + i * THINP_BLOCK_SIZE);
	ops[SIZE] = io_op(THINP_IO_FLUSH, 0, 0, NULL);
	assert_int_equal(thinp_io_batch(f->io, ops, SIZE + 1), 0);
	io_expect_results(ops, SIZE + 1, 0);

	memset(blocks, 0, (size_t)SIZE * THINP_BLOCK_SIZE);
	for (size_t i = 0; i < SIZE; i++)
		ops[i] = io_op(THINP_IO_READ, SIZE - 1 - i, 1, blocks + (SIZE - 1 - i) * THINP_BLOCK_SIZE);
	assert_int_equal(thinp_io_batch(f->io, ops, SIZE), 0);
	io_expect_results(ops, SIZE, 0);
	io_blocks_expect(blocks, 0, SIZE, 1);
	free(blocks);
	free(ops);
}

static bool holds(const void *block, thinp_block_t number, uint64_t generation)
{
	void *wanted = io_blocks_new(1);
	bool is_equal;

	io_blocks_fill(wanted, number, 1, generation);
	is_equal = memcmp(block, wanted, THINP_BLOCK_SIZE) == 0;
	free(wanted);
	return is_equal;
}

/* The order between two flushes is free, so nobody may count on one; but each block holds the one or the other. */
static void of_overlapping_writes_each_block_keeps_one(void **state)
{
	struct fixture *f = *state;
	uint8_t *one = io_blocks_new(8);
	uint8_t *two = io_blocks_new(8);
	uint8_t *in = io_blocks_new(8);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 8, 8, one),
		io_op(THINP_IO_WRITE, 10, 4, two + 2 * THINP_BLOCK_SIZE),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_READ, 8, 8, in),
	};

	io_blocks_fill(one, 8, 8, 1);
	io_blocks_fill(two, 8, 8, 2);
	assert_int_equal(thinp_io_batch(f->io, ops, 4), 0);
	for (unsigned int i = 0; i < 8; i++) {
		const uint8_t *block = in + i * THINP_BLOCK_SIZE;
		bool is_twice = i >= 2 && i < 6;

		assert_true(holds(block, 8 + i, 1) || (is_twice && holds(block, 8 + i, 2)));
	}
	free(in);
	free(two);
	free(one);
}

static void a_discard_leaves_its_neighbours_alone(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_DISCARD, 5, 30, NULL), io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_DISCARD, 60, 1, (void *)1), /* a buffer is ignored */
	};
	void *any = io_blocks_new(30);

	io_write_pattern(f->io, 0, 64, 1);
	assert_int_equal(thinp_io_batch(f->io, ops, 3), 0);
	io_expect_results(ops, 3, 0);
	io_expect_pattern(f->io, 0, 5, 1);
	io_expect_pattern(f->io, 35, 25, 1);
	io_expect_pattern(f->io, 61, 3, 1);
	assert_int_equal(thinp_io_read(f->io, 5, 30, any), 0); /* whatever it reads as, it can be read */

	io_write_pattern(f->io, 4, 32, 2);
	io_expect_pattern(f->io, 4, 32, 2);
	free(any);
}

static void a_whole_device_can_be_discarded(void **state)
{
	struct fixture *f = *state;
	struct thinp_io_op op = io_op(THINP_IO_DISCARD, 0, SIZE, NULL);

	io_write_pattern(f->io, 0, SIZE, 1);
	assert_int_equal(thinp_io_batch(f->io, &op, 1), 0);
	io_write_pattern(f->io, 0, SIZE, 2);
	io_expect_pattern(f->io, 0, SIZE, 2);
}

/* --- what is refused --- */

/* A batch of good operations around a bad one: it must be refused with this code, and nothing of it be done. */
static void expect_refused(struct thinp_io *io, struct thinp_io_op bad, int code)
{
	void *out = io_blocks_new(1);
	void *in = io_blocks_new(1);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_READ, 1, 1, in),    io_op(THINP_IO_WRITE, 2, 1, out), bad,
		io_op(THINP_IO_FLUSH, 0, 0, NULL), io_op(THINP_IO_WRITE, 3, 1, out),
	};

	memset(in, 0x5a, THINP_BLOCK_SIZE);
	io_blocks_fill(out, 2, 1, 9);
	assert_int_equal(thinp_io_batch(io, ops, 5), code);
	io_expect_told(code);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(ops[i].result, i == 2 ? code : THINP_ECANCELED);
	for (size_t i = 0; i < THINP_BLOCK_SIZE; i++)
		assert_int_equal(((uint8_t *)in)[i], 0x5a);
	expect_zeros(io, 1, 3);
	free(in);
	free(out);
}

static void BM_14_a_range_beyond_the_end_is_refused_with_nothing_done(void **state)
{
	static const struct {
		uint64_t block, nr_blocks;
	} ranges[] = {
		{SIZE, 1},
		{SIZE - 1, 2},
		{0, SIZE + 1},
		{SIZE + 1, 1},
		{UINT64_MAX, 1},
		{UINT64_MAX, UINT64_MAX},
		{1, UINT64_MAX},
		{UINT64_MAX - 1, 3},
		{0, UINT64_MAX / THINP_BLOCK_SIZE + 1},
		{UINT64_C(1) << 52, 1},
		{(UINT64_C(1) << 52) + 1, 1},
		{UINT64_C(1) << 63, UINT64_C(1) << 63},
	};
	static const uint32_t kinds[] = {THINP_IO_READ, THINP_IO_WRITE, THINP_IO_DISCARD};
	struct fixture *f = *state;
	void *buffer = io_blocks_new(1);

	for (size_t k = 0; k < 3; k++)
		for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
			expect_refused(f->io, io_op(kinds[k], ranges[i].block, ranges[i].nr_blocks, buffer),
				       THINP_ERANGE);
	free(buffer);
}

static void BM_07_a_buffer_that_is_not_aligned_is_refused(void **state)
{
	static const size_t offsets[] = {1, 8, 512, 2048, 4095};
	struct fixture *f = *state;
	uint8_t *buffer = io_blocks_new(2);

	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		expect_refused(f->io, io_op(THINP_IO_READ, 0, 1, buffer + offsets[i]), THINP_EINVAL);
		expect_refused(f->io, io_op(THINP_IO_WRITE, 0, 1, buffer + offsets[i]), THINP_EINVAL);
	}
	expect_refused(f->io, io_op(THINP_IO_READ, 0, 1, NULL), THINP_EINVAL);
	expect_refused(f->io, io_op(THINP_IO_WRITE, 0, 1, NULL), THINP_EINVAL);
	free(buffer);
}

static void kinds_that_do_not_exist_are_refused(void **state)
{
	static const uint32_t kinds[] = {0, 5, 6, 255, 1u << 16 | THINP_IO_READ, UINT32_MAX};
	struct fixture *f = *state;
	void *buffer = io_blocks_new(1);

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		expect_refused(f->io, io_op(kinds[i], 0, 1, buffer), THINP_EINVAL);
	free(buffer);
}

static void operations_on_no_blocks_are_refused(void **state)
{
	struct fixture *f = *state;
	void *buffer = io_blocks_new(1);

	expect_refused(f->io, io_op(THINP_IO_READ, 0, 0, buffer), THINP_EINVAL);
	expect_refused(f->io, io_op(THINP_IO_WRITE, 0, 0, buffer), THINP_EINVAL);
	expect_refused(f->io, io_op(THINP_IO_DISCARD, 0, 0, NULL), THINP_EINVAL);
	free(buffer);
}

static void a_batch_without_its_array_is_refused(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(thinp_io_batch(f->io, NULL, 1), THINP_EINVAL);
	io_expect_told(THINP_EINVAL);
}

static void BM_13_a_read_only_device_refuses_every_change(void **state)
{
	struct fixture *f = *state;
	void *buffer = io_blocks_new(1);
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 0, 1, NULL);
	struct thinp_io_op ops[2];
	uint64_t nr_blocks = 0;

	close_device(f);
	open_device(f, THINP_IO_READ_ONLY, SIZE);
	assert_true(thinp_io_is_read_only(f->io));
	assert_int_equal(thinp_io_write(f->io, 0, 1, buffer), THINP_EROFS);
	io_expect_told(THINP_EROFS);
	assert_int_equal(thinp_io_batch(f->io, &discard, 1), THINP_EROFS);
	assert_int_equal(discard.result, THINP_EROFS);
	assert_int_equal(thinp_io_resize(f->io, SIZE - 1), THINP_EROFS);
	assert_int_equal(thinp_io_resize(f->io, SIZE + 1), THINP_EROFS);

	ops[0] = io_op(THINP_IO_READ, 0, 1, buffer);
	ops[1] = io_op(THINP_IO_WRITE, 1, 1, buffer);
	assert_int_equal(thinp_io_batch(f->io, ops, 2), THINP_EROFS);
	assert_int_equal(ops[0].result, THINP_ECANCELED);

	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(thinp_io_size(f->io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, SIZE);
	expect_zeros(f->io, 0, SIZE);
	free(buffer);
}

/* --- what fails --- */

static void a_failed_write_stops_the_next_flush_and_all_behind_it(void **state)
{
	struct fixture *f = *state;
	int code = arm(f, THINP_IO_WRITE, 20);
	void *out = io_blocks_new(1);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 20, 1, out), io_op(THINP_IO_FLUSH, 0, 0, NULL), io_op(THINP_IO_WRITE, 30, 1, out),
		io_op(THINP_IO_FLUSH, 0, 0, NULL), io_op(THINP_IO_WRITE, 31, 1, out),
	};

	io_blocks_fill(out, 20, 1, 1);
	assert_int_equal(thinp_io_batch(f->io, ops, 5), code);
	io_expect_told(code);
	assert_int_equal(ops[0].result, code);
	io_expect_results(ops + 1, 4, THINP_ECANCELED);
	expect_zeros(f->io, 30, 2);
	free(out);
}

static void operations_beside_a_failed_one_have_true_results(void **state)
{
	struct fixture *f = *state;
	int code = arm(f, THINP_IO_WRITE, 40);
	void *out = io_blocks_new(8);
	struct thinp_io_op ops[8];

	io_blocks_fill(out, 40, 8, 1);
	for (size_t i = 0; i < 8; i++)
		ops[i] = io_op(THINP_IO_WRITE, 40 + i, 1, (uint8_t *)out + i * THINP_BLOCK_SIZE);
	assert_int_equal(thinp_io_batch(f->io, ops, 8), code);
	assert_int_equal(ops[0].result, code);
	for (size_t i = 1; i < 8; i++) {
		assert_true(ops[i].result == 0 || ops[i].result == THINP_ECANCELED);
		if (!ops[i].result)
			io_expect_pattern(f->io, 40 + i, 1, 1);
	}
	free(out);
}

static void a_failed_read_stops_the_next_flush_and_all_behind_it(void **state)
{
	struct fixture *f = *state;
	int code = arm(f, THINP_IO_READ, 20);
	void *buffer = io_blocks_new(1);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_READ, 20, 1, buffer),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_WRITE, 30, 1, buffer),
	};

	assert_int_equal(thinp_io_batch(f->io, ops, 3), code);
	io_expect_told(code);
	assert_int_equal(ops[0].result, code);
	io_expect_results(ops + 1, 2, THINP_ECANCELED);
	expect_zeros(f->io, 30, 1);
	free(buffer);
}

/* The commit of a store in small: the superblock must not follow blocks that may not be there (TM-01). */
static void TM_01_a_failed_flush_stops_all_behind_it(void **state)
{
	struct fixture *f = *state;
	int code = arm(f, THINP_IO_FLUSH, 0);
	void *out = io_blocks_new(1);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 20, 1, out),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
		io_op(THINP_IO_WRITE, 0, 1, out),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
	};

	io_blocks_fill(out, 20, 1, 1);
	assert_int_equal(thinp_io_batch(f->io, ops, 4), code);
	io_expect_told(code);
	assert_int_equal(ops[0].result, 0);
	assert_int_equal(ops[1].result, code);
	io_expect_results(ops + 2, 2, THINP_ECANCELED);
	expect_zeros(f->io, 0, 1);
	free(out);
}

static void an_error_is_told_once(void **state)
{
	struct fixture *f = *state;
	int code = arm(f, THINP_IO_WRITE, 20);
	void *out = io_blocks_new(1);
	struct thinp_io_op ops[] = {
		io_op(THINP_IO_WRITE, 20, 1, out),
		io_op(THINP_IO_FLUSH, 0, 0, NULL),
	};

	io_blocks_fill(out, 20, 1, 1);
	assert_int_equal(thinp_io_batch(f->io, ops, 2), code);
	assert_int_equal(thinp_io_batch(f->io, ops, 2), 0);
	io_expect_results(ops, 2, 0);
	io_expect_pattern(f->io, 20, 1, 1);
	free(out);
}

/* --- size --- */

static void need_resize(const struct fixture *f)
{
	if (!f->device->can_resize) {
		print_message("this device cannot change its size\n");
		skip();
	}
}

static void expect_size(struct thinp_io *io, uint64_t expected)
{
	uint64_t nr_blocks = ~expected;

	assert_int_equal(thinp_io_size(io, &nr_blocks), 0);
	assert_int_equal(nr_blocks, expected);
}

static void a_device_of_fixed_size_says_so(void **state)
{
	struct fixture *f = *state;

	if (f->device->can_resize) {
		print_message("this device can change its size\n");
		skip();
	}
	assert_int_equal(thinp_io_resize(f->io, SIZE + 1), THINP_ENOTSUP);
	io_expect_told(THINP_ENOTSUP);
	expect_size(f->io, SIZE);
}

static void blocks_that_were_added_read_as_zeros(void **state)
{
	struct fixture *f = *state;

	need_resize(f);
	io_write_pattern(f->io, 0, SIZE, 1);
	assert_int_equal(thinp_io_resize(f->io, SIZE), 0);
	assert_int_equal(thinp_io_resize(f->io, 2 * SIZE), 0);
	expect_size(f->io, 2 * SIZE);
	io_expect_pattern(f->io, 0, SIZE, 1);
	expect_zeros(f->io, SIZE, SIZE);
	io_write_pattern(f->io, SIZE - 1, SIZE + 1, 2);
	io_expect_pattern(f->io, SIZE - 1, SIZE + 1, 2);
}

static void blocks_that_were_cut_off_are_gone(void **state)
{
	struct fixture *f = *state;

	need_resize(f);
	io_write_pattern(f->io, 4, SIZE - 4, 1);
	assert_int_equal(thinp_io_resize(f->io, 10), 0);
	expect_size(f->io, 10);
	expect_refused(f->io, io_op(THINP_IO_DISCARD, 10, 1, NULL), THINP_ERANGE);
}

static void blocks_that_were_cut_off_come_back_as_zeros(void **state)
{
	struct fixture *f = *state;

	need_resize(f);
	io_write_pattern(f->io, 0, SIZE, 1);
	assert_int_equal(thinp_io_resize(f->io, 10), 0);
	assert_int_equal(thinp_io_resize(f->io, SIZE), 0);
	io_expect_pattern(f->io, 0, 10, 1);
	expect_zeros(f->io, 10, SIZE - 10);

	assert_int_equal(thinp_io_resize(f->io, 0), 0);
	expect_size(f->io, 0);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(thinp_io_resize(f->io, 3), 0);
	expect_zeros(f->io, 0, 3);
}

static void a_size_beyond_the_limit_is_refused(void **state)
{
	struct fixture *f = *state;

	need_resize(f);
	assert_int_equal(thinp_io_resize(f->io, UINT64_MAX), THINP_ERANGE);
	assert_int_equal(thinp_io_resize(f->io, INT64_MAX / THINP_BLOCK_SIZE + 1), THINP_ERANGE);
	io_expect_told(THINP_ERANGE);
	expect_size(f->io, SIZE);
}

/* --- threads --- */

enum { NR_THREADS = 4, REGION = SIZE / (NR_THREADS + 1) };

struct worker {
	struct thinp_io *io;
	unsigned int number; /* its region begins at block number * REGION; region 0 is read by all */
	unsigned int rounds;
	const char *complaint;
	/* NULL, or what is wrong. The memory is for REGION operations and a flush, and for REGION blocks. */
	const char *(*work_round)(struct worker *w, uint64_t generation, struct thinp_io_op *ops, uint8_t *blocks);
	pthread_t thread;
};

static bool is_pattern(const uint8_t *blocks, thinp_block_t first, uint64_t nr_blocks, uint64_t generation)
{
	for (uint64_t i = 0; i < nr_blocks; i++)
		if (!holds(blocks + i * THINP_BLOCK_SIZE, first + i, generation))
			return false;
	return true;
}

static const char *work_round(struct worker *w, uint64_t generation, struct thinp_io_op *ops, uint8_t *blocks)
{
	thinp_block_t begin = (thinp_block_t)w->number * REGION;
	uint64_t seed = generation * 1000 + w->number;
	size_t nr_ops;

	io_blocks_fill(blocks, begin, REGION, generation);
	nr_ops = cut_and_shuffle(ops, THINP_IO_WRITE, begin, begin + REGION, blocks, &seed);
	ops[nr_ops++] = io_op(THINP_IO_FLUSH, 0, 0, NULL);
	if (thinp_io_batch(w->io, ops, nr_ops))
		return "a write failed";
	memset(blocks, 0, (size_t)REGION * THINP_BLOCK_SIZE);
	nr_ops = cut_and_shuffle(ops, THINP_IO_READ, begin, begin + REGION, blocks, &seed);
	if (thinp_io_batch(w->io, ops, nr_ops))
		return "a read failed";
	if (!is_pattern(blocks, begin, REGION, generation))
		return "a thread does not read what it wrote";
	nr_ops = cut_and_shuffle(ops, THINP_IO_READ, 0, REGION, blocks, &seed);
	if (thinp_io_batch(w->io, ops, nr_ops))
		return "a read of the common region failed";
	return is_pattern(blocks, 0, REGION, 1) ? NULL : "the common region has changed";
}

/* cmocka's assertions leave by a jump, which only the main thread may do: workers say what is wrong instead. */
static void *work(void *arg)
{
	struct worker *w = arg;
	struct thinp_io_op *ops = calloc(REGION + 1, sizeof(*ops));
	uint8_t *blocks = aligned_alloc(THINP_BLOCK_SIZE, (size_t)REGION * THINP_BLOCK_SIZE);

	if (!ops || !blocks)
		w->complaint = "no memory for the test";
	for (uint64_t i = 1; i <= w->rounds && !w->complaint; i++)
		w->complaint = w->work_round(w, i, ops, blocks);
	free(blocks);
	free(ops);
	return NULL;
}

static void let_work(const struct fixture *f, const struct worker *all)
{
	struct worker workers[NR_THREADS];

	for (unsigned int i = 0; i < NR_THREADS; i++) {
		workers[i] = *all;
		workers[i].io = f->io;
		workers[i].number = i + 1;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned int i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
	for (unsigned int i = 0; i < NR_THREADS; i++)
		if (workers[i].complaint)
			fail_msg("thread %u: %s", i, workers[i].complaint);
}

static void threads_may_share_a_device(void **state)
{
	struct fixture *f = *state;
	const struct worker all = {.work_round = work_round, .rounds = f->device->is_slow ? 3 : 12};

	io_write_pattern(f->io, 0, REGION, 1);
	let_work(f, &all);
}

/* Runs of one to three blocks with gaps of one to three, another choice for each thread and round. */
static const char *read_gapped(struct worker *w, uint64_t generation, struct thinp_io_op *ops, uint8_t *blocks)
{
	thinp_block_t block = w->number;
	size_t nr_ops = 0;
	uint64_t nr_read = 0;

	for (uint64_t length = 1; nr_read + length <= REGION && block + length < SIZE; nr_ops++) {
		ops[nr_ops] = io_op(THINP_IO_READ, block, length, blocks + nr_read * THINP_BLOCK_SIZE);
		nr_read += length;
		block += length + 1 + (nr_ops + generation) % 3;
		length = 1 + (nr_ops + w->number) % 3;
	}
	memset(blocks, 0, (size_t)REGION * THINP_BLOCK_SIZE);
	if (thinp_io_batch(w->io, ops, nr_ops))
		return "a read failed";
	for (size_t i = 0; i < nr_ops; i++)
		if (!is_pattern(ops[i].buffer, ops[i].block, ops[i].nr_blocks, 1))
			return "a wanted block has other bytes";
	return NULL;
}

static void BM_08_threads_that_read_with_gaps_have_their_own_bytes(void **state)
{
	struct fixture *f = *state;
	const struct worker all = {.work_round = read_gapped, .rounds = f->device->is_slow ? 3 : 12};

	io_write_pattern(f->io, 0, SIZE, 1);
	let_work(f, &all);
}

static void closing_nothing_is_allowed(void **state)
{
	(void)state;
	thinp_io_close(NULL);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int io_conformance_run(const struct io_conformance *device)
{
	struct CMUnitTest tests[] = {
		CASE(a_new_device_has_its_size_and_reads_as_zeros),
		CASE(what_was_written_is_read_back),
		CASE(a_batch_without_operations_does_nothing),
		CASE(flushes_may_stand_anywhere),
		CASE(operations_may_stand_in_any_order),
		CASE(a_batch_may_be_very_long),
		CASE(of_overlapping_writes_each_block_keeps_one),
		CASE(a_discard_leaves_its_neighbours_alone),
		CASE(a_whole_device_can_be_discarded),
		CASE(BM_14_a_range_beyond_the_end_is_refused_with_nothing_done),
		CASE(BM_07_a_buffer_that_is_not_aligned_is_refused),
		CASE(kinds_that_do_not_exist_are_refused),
		CASE(operations_on_no_blocks_are_refused),
		CASE(a_batch_without_its_array_is_refused),
		CASE(BM_13_a_read_only_device_refuses_every_change),
		CASE(a_failed_write_stops_the_next_flush_and_all_behind_it),
		CASE(operations_beside_a_failed_one_have_true_results),
		CASE(a_failed_read_stops_the_next_flush_and_all_behind_it),
		CASE(TM_01_a_failed_flush_stops_all_behind_it),
		CASE(an_error_is_told_once),
		CASE(a_device_of_fixed_size_says_so),
		CASE(blocks_that_were_added_read_as_zeros),
		CASE(blocks_that_were_cut_off_are_gone),
		CASE(blocks_that_were_cut_off_come_back_as_zeros),
		CASE(a_size_beyond_the_limit_is_refused),
		CASE(threads_may_share_a_device),
		CASE(BM_08_threads_that_read_with_gaps_have_their_own_bytes),
		CASE(closing_nothing_is_allowed),
	};
	size_t nr_tests = sizeof(tests) / sizeof(tests[0]);

	for (size_t i = 0; i < nr_tests; i++)
		tests[i].initial_state = (void *)(uintptr_t)device;
	return _cmocka_run_group_tests(device->group, tests, nr_tests, NULL, NULL);
}
