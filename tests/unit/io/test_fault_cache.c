/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_fault_cache.c - the volatile cache, and what is left when the power was cut.
 */
#include "support/fault_fixture.h"
#include "support/io_conformance.h"

#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t nr_unflushed(struct fault_fixture *f)
{
	struct thinp_fault_stats stats = {.size = sizeof(stats)};

	thinp_fault_get_stats(f->fault, &stats);
	assert_int_equal(stats.unflushed_blocks, thinp_fault_list_unflushed(f->fault, NULL, 0));
	return stats.unflushed_blocks;
}

static void a_write_stays_above_until_the_flush(void **state)
{
	struct fault_fixture *f = *state;

	assert_int_equal(fault_write(f->io, 4, 3, 2), 0);
	fault_expect(f->io, 3, 1, 1);
	fault_expect(f->io, 4, 3, 2);
	fault_expect(f->lower, 4, 3, 1);
	assert_int_equal(nr_unflushed(f), 3);

	assert_int_equal(thinp_io_flush(f->io), 0);
	fault_expect(f->lower, 4, 3, 2);
	assert_int_equal(nr_unflushed(f), 0);
}

static void the_newest_content_counts(void **state)
{
	struct fault_fixture *f = *state;

	assert_int_equal(fault_write(f->io, 4, 2, 2), 0);
	assert_int_equal(fault_write(f->io, 4, 1, 3), 0);
	assert_int_equal(nr_unflushed(f), 2);
	fault_expect(f->io, 4, 1, 3);
	assert_int_equal(thinp_io_flush(f->io), 0);
	fault_expect(f->lower, 4, 1, 3);
	fault_expect(f->lower, 5, 1, 2);
}

static void unflushed_blocks_are_listed_in_the_order_of_their_writes(void **state)
{
	static const thinp_block_t written[] = {9, 3, 7, 5}, listed[] = {3, 5, 7, 9};
	struct fault_fixture *f = *state;
	thinp_block_t blocks[5] = {0, 0, 0, 0, 77};

	for (size_t i = 0; i < 4; i++)
		assert_int_equal(fault_write(f->io, written[i], 1, 2), 0);
	for (size_t i = 2; i < 4; i++)
		assert_int_equal(fault_write(f->io, listed[i], 1, 3), 0); /* once more: they go to the end */
	assert_int_equal(thinp_fault_list_unflushed(f->fault, blocks, 2), 4);
	assert_int_equal(blocks[1], 5);
	assert_int_equal(blocks[2], 0);
	assert_int_equal(thinp_fault_list_unflushed(f->fault, blocks, 5), 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(blocks[i], listed[i]);
	assert_int_equal(blocks[4], 77);
}

static void a_power_cut_forgets_what_was_not_flushed(void **state)
{
	struct fault_fixture *f = *state;

	assert_int_equal(fault_write(f->io, 1, 1, 2), 0);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(fault_write(f->io, 0, 4, 3), 0);
	assert_int_equal(thinp_fault_power_cut(f->fault, NULL, 0), 0);
	assert_int_equal(nr_unflushed(f), 0);
	fault_reopen(f);
	fault_expect(f->io, 0, 1, 1);
	fault_expect(f->io, 1, 1, 2);
	fault_expect(f->io, 2, 2, 1);
}

static void a_power_cut_keeps_the_survivors(void **state)
{
	static const thinp_block_t survivors[] = {6, 20, 4, UINT64_MAX, (thinp_block_t)6 << 54};
	struct fault_fixture *f = *state;

	assert_int_equal(fault_write(f->io, 3, 5, 2), 0);
	assert_int_equal(thinp_fault_power_cut(f->fault, survivors, 5), 0);
	for (thinp_block_t b = 0; b < FAULT_NR_BLOCKS; b++)
		fault_expect(f->lower, b, 1, b == 4 || b == 6 ? 2 : 1);
}

static void every_subset_can_survive(void **state)
{
	struct fault_fixture *f = *state;

	for (uint64_t subset = 0; subset < 32; subset++) {
		thinp_block_t survivors[5];
		size_t nr = 0;

		assert_int_equal(fault_write(f->lower, 0, 5, 1), 0);
		assert_int_equal(fault_write(f->io, 0, 5, 2), 0);
		for (thinp_block_t b = 0; b < 5; b++)
			if (subset >> b & 1)
				survivors[nr++] = b;
		assert_int_equal(thinp_fault_power_cut(f->fault, survivors, nr), 0);
		for (thinp_block_t b = 0; b < 5; b++)
			fault_expect(f->lower, b, 1, subset >> b & 1 ? 2 : 1);
		fault_reopen(f);
	}
}

static void a_device_that_was_open_at_the_power_cut_is_dead(void **state)
{
	struct fault_fixture *f = *state;
	void *buffer = io_blocks_new(1);
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 1, 1, NULL);

	assert_int_equal(thinp_fault_power_cut(f->fault, NULL, 0), 0);
	assert_int_equal(fault_write(f->io, 1, 1, 2), THINP_EIO);
	io_expect_told(THINP_EIO);
	assert_int_equal(thinp_io_read(f->io, 1, 1, buffer), THINP_EIO);
	assert_int_equal(thinp_io_flush(f->io), THINP_EIO);
	assert_int_equal(thinp_io_batch(f->io, &discard, 1), THINP_EIO);
	assert_int_equal(thinp_io_resize(f->io, 3), THINP_EIO);
	assert_int_equal(nr_unflushed(f), 0);
	fault_reopen(f);
	assert_int_equal(fault_write(f->io, 1, 1, 2), 0);
	free(buffer);
}

static void a_dropped_flush_leaves_the_writes_to_be_lost(void **state)
{
	struct fault_fixture *f = *state;

	fault_rule(f, (struct thinp_fault_rule){.kinds = THINP_FAULT_ON_FLUSH, .action = THINP_FAULT_DROP});
	assert_int_equal(fault_write(f->io, 1, 1, 2), 0);
	assert_int_equal(thinp_io_flush(f->io), 0);
	assert_int_equal(thinp_fault_power_cut(f->fault, NULL, 0), 0);
	fault_expect(f->lower, 1, 1, 1);
}

static void a_full_cache_lets_the_oldest_go(void **state)
{
	struct fault_fixture *f = *state;

	assert_int_equal(fault_write(f->io, 0, FAULT_CACHE_BLOCKS, 2), 0);
	fault_expect(f->lower, 0, FAULT_CACHE_BLOCKS, 1);
	assert_int_equal(fault_write(f->io, 20, 2, 2), 0);
	assert_int_equal(nr_unflushed(f), FAULT_CACHE_BLOCKS);
	fault_expect(f->lower, 0, 2, 2);
	fault_expect(f->lower, 2, FAULT_CACHE_BLOCKS - 2, 1);
	fault_expect(f->lower, 20, 2, 1);
	fault_expect(f->io, 0, FAULT_CACHE_BLOCKS, 2);
	fault_expect(f->io, 20, 2, 2);
}

static void memory_is_bounded_by_the_cache(void **state)
{
	struct fault_fixture *f = *state;
	size_t after_first;

	assert_int_equal(fault_write(f->io, 0, FAULT_NR_BLOCKS, 2), 0);
	after_first = f->alloc.peak_bytes;
	for (uint64_t generation = 3; generation < 40; generation++)
		assert_int_equal(fault_write(f->io, 0, FAULT_NR_BLOCKS, generation), 0);
	assert_true(f->alloc.peak_bytes <= after_first + (size_t)2 * THINP_BLOCK_SIZE);
}

static void a_discard_drops_what_is_cached(void **state)
{
	struct fault_fixture *f = *state;
	struct thinp_io_op discard = io_op(THINP_IO_DISCARD, 4, 3, NULL);

	assert_int_equal(fault_write(f->io, 3, 5, 2), 0);
	assert_int_equal(thinp_io_batch(f->io, &discard, 1), 0);
	assert_int_equal(nr_unflushed(f), 2);
	assert_int_equal(fault_write(f->io, 5, 1, 3), 0);
	assert_int_equal(thinp_io_flush(f->io), 0);
	fault_expect(f->lower, 3, 1, 2);
	fault_expect(f->lower, 5, 1, 3);
	fault_expect(f->lower, 7, 1, 2);
}

static void a_change_of_size_writes_the_cache_back(void **state)
{
	struct fault_fixture *f = *state;
	void *found = io_blocks_new(1);

	assert_int_equal(fault_write(f->io, 8, 4, 2), 0);
	assert_int_equal(thinp_io_resize(f->io, 10), 0);
	fault_expect(f->lower, 8, 2, 2);
	assert_int_equal(thinp_io_resize(f->io, 12), 0);
	assert_int_equal(thinp_io_read(f->io, 10, 1, found), 0);
	io_blocks_expect_zeros(found, 1);
	free(found);
}

static void rules_meet_the_cache_as_they_meet_a_device(void **state)
{
	struct fault_fixture *f = *state;

	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_STALE});
	fault_rule(f, (struct thinp_fault_rule){.action = THINP_FAULT_TEAR, .begin = 9, .nr_sectors = 3});
	assert_int_equal(fault_write(f->io, 9, 1, 2), 0);
	fault_expect(f->io, 9, 1, 1); /* stale */
	fault_expect_torn(f->io, 9, 0x07, 2, 1);
	fault_expect(f->lower, 9, 1, 1);
	assert_int_equal(thinp_io_flush(f->io), 0);
	fault_expect_torn(f->lower, 9, 0x07, 2, 1);
}

/* --- when the device below fails --- */

struct below {
	struct thinp_fault *fault;
	struct thinp_io *io;
};

/* A volatile device over one that fails, over the fixture's. */
static struct below open_volatile(struct fault_fixture *f)
{
	struct thinp_fault_opts opts = {.size = sizeof(opts), .flags = THINP_FAULT_VOLATILE_CACHE, .cache_blocks = 2};
	struct below above = {0};

	opts.allocator = &f->alloc.table;
	assert_int_equal(thinp_fault_create(f->io, &opts, &above.fault), 0);
	assert_int_equal(thinp_fault_open(above.fault, NULL, &above.io), 0);
	return above;
}

static void close_volatile(struct below *above)
{
	thinp_io_close(above->io);
	thinp_fault_destroy(above->fault);
}

static void BM_05_a_write_back_that_failed_is_told_and_done_again(void **state)
{
	struct fault_fixture *f = *state;
	struct below above = open_volatile(f);

	assert_int_equal(fault_write(above.io, 1, 2, 2), 0);
	assert_int_equal(thinp_fault_fail_nth(f->fault, THINP_IO_WRITE, 1, THINP_ENOSPC, NULL), 0);
	assert_int_equal(fault_write(above.io, 5, 1, 2), THINP_ENOSPC); /* there was no room for it */
	assert_int_equal(thinp_fault_fail_nth(f->fault, THINP_IO_WRITE, 2, 0, NULL), 0);
	assert_int_equal(thinp_io_flush(above.io), THINP_EIO);
	fault_expect(above.io, 1, 2, 2);
	fault_expect(f->lower, 1, 1, 2);
	fault_expect(f->lower, 2, 1, 1);
	assert_int_equal(thinp_fault_fail_nth(f->fault, THINP_IO_FLUSH, 1, 0, NULL), 0);
	assert_int_equal(thinp_io_flush(above.io), THINP_EIO);
	assert_int_equal(thinp_io_flush(above.io), 0);
	fault_expect(f->lower, 1, 2, 2);
	close_volatile(&above);
}

static int write_the_same_above(void *ctx, const struct thinp_io_op *op)
{
	const struct below *above = ctx;

	return fault_write(above->io, op->block, 1, 3);
}

static void a_block_written_while_it_is_written_back_stays_unflushed(void **state)
{
	struct fault_fixture *f = *state;
	struct below above = open_volatile(f);

	fault_rule(f, (struct thinp_fault_rule){
			      .kinds = THINP_FAULT_ON_WRITE, .call = write_the_same_above, .call_ctx = &above});
	assert_int_equal(fault_write(above.io, 1, 1, 2), 0);
	assert_int_equal(thinp_io_flush(above.io), 0);
	fault_expect(f->lower, 1, 1, 2);
	fault_expect(above.io, 1, 1, 3);
	assert_int_equal(thinp_fault_list_unflushed(above.fault, NULL, 0), 1);
	assert_int_equal(thinp_io_flush(above.io), 0);
	fault_expect(f->lower, 1, 1, 3);
	close_volatile(&above);
}

static void a_survivor_that_the_device_refuses_is_told(void **state)
{
	static const thinp_block_t survivors[] = {1, 2};
	struct fault_fixture *f = *state;
	struct below above = open_volatile(f);

	assert_int_equal(fault_write(above.io, 1, 2, 2), 0);
	assert_int_equal(thinp_fault_fail_nth(f->fault, THINP_IO_WRITE, 1, 0, NULL), 0);
	assert_int_equal(thinp_fault_power_cut(above.fault, survivors, 2), THINP_EIO);
	assert_int_equal(thinp_io_flush(above.io), THINP_EIO); /* the power is cut all the same */
	fault_expect(f->lower, 1, 1, 1);
	fault_expect(f->lower, 2, 1, 2);
	close_volatile(&above);
}

#define CASE(test)  cmocka_unit_test_setup_teardown(test, fault_setup_volatile, fault_teardown)
#define PLAIN(test) cmocka_unit_test_setup_teardown(test, fault_setup, fault_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_write_stays_above_until_the_flush),
		CASE(the_newest_content_counts),
		CASE(unflushed_blocks_are_listed_in_the_order_of_their_writes),
		CASE(a_power_cut_forgets_what_was_not_flushed),
		CASE(a_power_cut_keeps_the_survivors),
		CASE(every_subset_can_survive),
		CASE(a_device_that_was_open_at_the_power_cut_is_dead),
		CASE(a_dropped_flush_leaves_the_writes_to_be_lost),
		CASE(a_full_cache_lets_the_oldest_go),
		CASE(memory_is_bounded_by_the_cache),
		CASE(a_discard_drops_what_is_cached),
		CASE(a_change_of_size_writes_the_cache_back),
		CASE(rules_meet_the_cache_as_they_meet_a_device),
		PLAIN(BM_05_a_write_back_that_failed_is_told_and_done_again),
		PLAIN(a_block_written_while_it_is_written_back_stays_unflushed),
		PLAIN(a_survivor_that_the_device_refuses_is_told),
	};

	return cmocka_run_group_tests_name("io/fault_cache", tests, NULL, NULL);
}
