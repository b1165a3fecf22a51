/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_prefetch.c - blocks fetched ahead: how they are asked for, how many, and what becomes of failures.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "format/kind.h"
#include "support/block_fixture.h"
#include "support/io_file_fixture.h"
#include "unit/format/expect.h"

enum { NR_BLOCKS = 1000, CACHE = 400, QUARTER = CACHE / 4 };

static int setup(void **state)
{
	*state = block_fixture_new(NR_BLOCKS, CACHE);
	return 0;
}

static int teardown(void **state)
{
	block_fixture_free(*state);
	return 0;
}

static void prefetch(struct block_fixture *f, const thinp_block_t *blocks, size_t nr)
{
	thinp_reader_prefetch(f->reader, thinp_block_type_bitmap(), blocks, nr);
}

static void prefetch_range(struct block_fixture *f, thinp_block_t begin, thinp_block_t end)
{
	thinp_block_t blocks[NR_BLOCKS];

	for (thinp_block_t block = begin; block < end; block++)
		blocks[block - begin] = block;
	prefetch(f, blocks, end - begin);
}

static uint64_t nr_cached(struct block_fixture *f, thinp_block_t begin, thinp_block_t end)
{
	uint64_t nr = 0;

	for (thinp_block_t block = begin; block < end; block++)
		nr += block_fixture_has(f, block);
	return nr;
}

static void expect_log(struct block_fixture *f, const thinp_block_t *blocks, size_t nr)
{
	assert_int_equal(f->device.nr_reads, nr);
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(f->device.log[i], blocks[i]);
}

/* --- how they are asked for --- */

static void blocks_are_asked_for_in_one_batch_in_ascending_order(void **state)
{
	static const thinp_block_t blocks[] = {9, 3, 700, 4, 12, 2, 701};
	static const thinp_block_t sorted[] = {2, 3, 4, 9, 12, 700, 701};
	struct block_fixture *f = *state;

	prefetch(f, blocks, 7);
	expect_log(f, sorted, 7);
	assert_int_equal(f->device.nr_batches, 1);
}

static void prefetched_blocks_are_hits(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_bm_stats stats;

	prefetch_range(f, 10, 20);
	block_fixture_read_range(f, 10, 20);
	stats = block_fixture_stats(f);
	assert_int_equal(stats.prefetched, 10);
	assert_int_equal(stats.hits, 10);
	assert_int_equal(stats.misses, 0);
	assert_int_equal(stats.blocks_cached, 10);
	assert_int_equal(block_device_nr_reads(&f->device), 10);
}

static void a_block_named_several_times_is_fetched_once(void **state)
{
	static const thinp_block_t blocks[] = {5, 6, 5, 5, 6, 7, 5};
	static const thinp_block_t sorted[] = {5, 6, 7};
	struct block_fixture *f = *state;

	prefetch(f, blocks, 7);
	expect_log(f, sorted, 3);
	assert_int_equal(block_fixture_stats(f).prefetched, 3);
}

static void cached_blocks_are_passed_over(void **state)
{
	static const thinp_block_t blocks[] = {1, 2, 3, 4};
	static const thinp_block_t missing[] = {2, 4};
	struct block_fixture *f = *state;

	block_fixture_read(f, 1);
	block_fixture_read(f, 3);
	block_device_forget(&f->device);
	prefetch(f, blocks, 4);
	expect_log(f, missing, 2);
	block_device_forget(&f->device);
	prefetch(f, blocks, 4);
	assert_int_equal(f->device.nr_batches, 0);
}

static void cached_blocks_are_passed_over_without_a_slot_too(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section others[BLOCK_FIXTURE_SLOTS];

	block_fixture_read_range(f, 1, 3);
	block_fixture_take_slots(f, others);
	prefetch_range(f, 1, 5);
	block_fixture_give_slots(others);
	assert_int_equal(block_device_nr_reads(&f->device), 4);
}

static void BM_14_addresses_out_of_range_are_passed_over(void **state)
{
	static const thinp_block_t blocks[] = {THINP_NO_BLOCK, 5, NR_BLOCKS, 4, NR_BLOCKS + 1};
	static const thinp_block_t sorted[] = {4, 5};
	struct block_fixture *f = *state;

	prefetch(f, blocks, 5);
	expect_log(f, sorted, 2);
	prefetch(f, NULL, 0);
	prefetch(f, blocks, 1);
	assert_int_equal(f->device.nr_batches, 1);
}

static void a_large_prefetch_is_cut_into_batches(void **state)
{
	struct block_fixture *f = *state;

	prefetch_range(f, 0, QUARTER);
	assert_int_equal(f->device.nr_reads, QUARTER);
	assert_int_equal(f->device.nr_batches, (QUARTER + 63) / 64);
	for (size_t i = 0; i < QUARTER; i++) {
		assert_int_equal(f->device.log[i], i);
		for (size_t k = 0; k < i; k++) /* BM-08 */
			assert_ptr_not_equal(f->device.log_buffer[i], f->device.log_buffer[k]);
	}
}

static void neighbours_reach_a_file_as_one_system_call(void **state)
{
	struct io_file_fixture *file;
	void *file_state;
	struct thinp_bm *bm;
	struct thinp_reader *reader;
	thinp_block_t blocks[16];
	uint8_t *block;

	(void)state;
	assert_int_equal(io_file_setup(&file_state), 0);
	file = file_state;
	io_file_create(file, 100, THINP_IO_DIRECT_OFF);
	block = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	assert_non_null(block);
	memset(block, 0, THINP_BLOCK_SIZE);
	for (size_t i = 0; i < 16; i++) {
		blocks[i] = 30 - i;
		tp_block_seal(block, blocks[i], thinp_block_type_bitmap());
		assert_int_equal(thinp_io_write(file->io, blocks[i], 1, block), 0);
	}
	free(block);
	assert_int_equal(thinp_bm_create(file->io, NULL, &bm), 0);
	assert_int_equal(thinp_reader_create(bm, 0, &reader), 0);
	io_sys_reset();
	thinp_reader_prefetch(reader, thinp_block_type_bitmap(), blocks, 16);
	assert_int_equal(io_sys_count(IO_SYS_PREADV), 1);
	thinp_reader_destroy(reader);
	thinp_bm_destroy(bm);
	assert_int_equal(io_file_teardown(&file_state), 0);
}

/* --- how many --- */

static void no_more_is_fetched_than_a_quarter_of_the_cache(void **state)
{
	struct block_fixture *f = *state;

	prefetch_range(f, 0, NR_BLOCKS);
	assert_int_equal(f->device.nr_reads, QUARTER);
	assert_int_equal(nr_cached(f, 0, QUARTER), QUARTER); /* those named first */
	assert_int_equal(nr_cached(f, QUARTER, NR_BLOCKS), 0);
}

static void those_named_first_are_taken_not_those_in_front(void **state)
{
	struct block_fixture *f = *state;
	thinp_block_t blocks[2 * QUARTER];

	for (size_t i = 0; i < 2 * QUARTER; i++)
		blocks[i] = NR_BLOCKS - 1 - i;
	prefetch(f, blocks, 2 * QUARTER);
	assert_int_equal(nr_cached(f, NR_BLOCKS - QUARTER, NR_BLOCKS), QUARTER);
	assert_int_equal(nr_cached(f, 0, NR_BLOCKS - QUARTER), 0);
}

static void blocks_already_cached_do_not_count_against_it(void **state)
{
	struct block_fixture *f = *state;

	block_fixture_read_range(f, 0, 150);
	prefetch_range(f, 0, NR_BLOCKS);
	assert_int_equal(nr_cached(f, 0, NR_BLOCKS), 150 + QUARTER);
	assert_int_equal(nr_cached(f, 150, 150 + QUARTER), QUARTER);
}

static void a_cache_too_small_to_spare_a_buffer_fetches_nothing_ahead(void **state)
{
	(void)state;
	for (uint32_t cache = 1; cache <= 9; cache++) {
		struct block_fixture *f = block_fixture_new(20, cache);

		prefetch_range(f, 0, 20);
		assert_int_equal(block_device_nr_reads(&f->device), cache / 4);
		block_fixture_read_range(f, 0, 20);
		block_fixture_free(f);
	}
}

static void used_blocks_are_not_driven_out_by_a_scan_that_fetches_ahead(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 40);
	size_t nr_reads_of_hot = 0;

	(void)state;
	block_fixture_read_range(f, 0, 20);
	for (thinp_block_t block = 20; block + 10 <= NR_BLOCKS; block += 10) {
		block_fixture_read_range(f, 0, 20);
		prefetch_range(f, block, block + 10);
		block_fixture_read_range(f, block, block + 10);
	}
	for (size_t i = 0; i < BLOCK_DEVICE_LOG && i < f->device.nr_reads; i++)
		nr_reads_of_hot += f->device.log[i] < 20;
	assert_int_equal(nr_reads_of_hot, 20);
	assert_int_equal(block_device_nr_reads(&f->device), NR_BLOCKS);
	block_fixture_free(f);
}

/* --- failures --- */

static void a_block_that_fails_its_check_is_not_kept(void **state)
{
	struct block_fixture *f = *state;

	f->device.blocks[12 * THINP_BLOCK_SIZE + 100] ^= 1;
	block_device_fill(&f->device, 13, thinp_block_type_node(), 13);
	block_device_fill(&f->device, 14, thinp_block_type_bitmap(), 15);
	prefetch_range(f, 10, 20);
	assert_int_equal(nr_cached(f, 10, 20), 7);
	assert_int_equal(block_fixture_stats(f).prefetched, 7);
	for (thinp_block_t block = 12; block < 15; block++)
		assert_int_equal(block_fixture_read(f, block), THINP_ECORRUPT);
}

static void a_block_that_cannot_be_read_is_told_at_the_read(void **state)
{
	struct block_fixture *f = *state;

	block_device_fail(&f->device, 1 + 3, -EIO); /* the size, then two blocks that are well */
	prefetch_range(f, 10, 20);
	assert_int_equal(nr_cached(f, 10, 20), 9);
	assert_false(block_fixture_has(f, 12));
	block_device_fail(&f->device, 1 + 1, -EIO);
	assert_int_equal(block_fixture_read(f, 12), THINP_EIO);
	assert_int_equal(block_fixture_read(f, 12), 0);
}

static void a_failure_leaves_the_detail_of_an_earlier_one_alone(void **state)
{
	struct block_fixture *f = *state;

	thinp_error_report(THINP_ENOSPC, 4711, "of before");
	f->device.blocks[12 * THINP_BLOCK_SIZE + 100] ^= 1;
	block_device_fail(&f->device, 1 + 1, -EIO);
	prefetch_range(f, 10, 20);
	assert_int_equal(block_fixture_stats(f).prefetched, 8);
	expect_failure(THINP_ENOSPC, THINP_ENOSPC, 4711, "of before");
}

static void when_nothing_can_be_read_nothing_is_kept(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_bm_stats stats;

	block_device_fail(&f->device, 1, -EIO); /* of the size: the whole batch fails */
	prefetch_range(f, 10, 20);
	stats = block_fixture_stats(f);
	assert_int_equal(stats.blocks_cached, 0);
	assert_int_equal(stats.prefetched, 0);
	block_fixture_read_range(f, 10, 20);
}

/* --- when buffers are held --- */

static void with_every_buffer_held_nothing_is_fetched(void **state)
{
	struct block_fixture *f = block_fixture_new(100, 8);
	struct thinp_read_section sections[8];

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		thinp_read_begin(f->reader, &sections[i]);
		block_fixture_get(f, &sections[i], i); /* fetched, and so held */
	}
	block_device_forget(&f->device);
	prefetch_range(f, 50, 100);
	assert_int_equal(f->device.nr_batches, 0);
	assert_int_equal(block_fixture_stats(f).uncached, 0); /* it does not take more memory for a hint */
	for (size_t i = 0; i < 8; i++)
		thinp_read_end(&sections[i]);
	prefetch_range(f, 50, 100);
	assert_int_equal(f->device.nr_reads, 2);
	block_fixture_free(f);
}

static void a_section_of_the_same_thread_is_no_deadlock(void **state)
{
	struct block_fixture *f = block_fixture_new(100, 8);
	struct thinp_read_section section;
	const void *data[8];

	(void)state;
	block_fixture_read_range(f, 0, 8);
	thinp_read_begin(f->reader, &section);
	for (thinp_block_t block = 0; block < 8; block++)
		data[block] = thinp_read_peek(&section, block, thinp_block_type_bitmap());
	for (int i = 0; i < 20; i++)
		prefetch_range(f, 50, 100);
	for (thinp_block_t block = 0; block < 8; block++)
		assert_true(block_device_is(&f->device, block, data[block]));
	thinp_read_end(&section);
	block_fixture_read_range(f, 0, 100);
	block_fixture_free(f);
}

/* --- BM-08 --- */

enum { NR_GAPPED = 31 };

struct gapped {
	struct block_fixture *f;
	thinp_block_t blocks[NR_GAPPED];
	pthread_t thread;
};

static void *prefetch_gapped(void *arg)
{
	struct gapped *gapped = arg;

	prefetch(gapped->f, gapped->blocks, NR_GAPPED);
	return NULL;
}

/* Every second block, by three threads, two of them the same ones; all are stopped at their last. */
static void BM_08_prefetches_with_gaps_share_no_destination(void **state)
{
	struct block_fixture *f = *state;
	struct gapped gapped[3];

	block_device_shut_gates(&f->device, 60, 61);
	for (unsigned int i = 0; i < 3; i++) {
		gapped[i].f = f;
		for (unsigned int k = 0; k < NR_GAPPED; k++)
			gapped[i].blocks[k] = 2 * k + i % 2;
		assert_int_equal(pthread_create(&gapped[i].thread, NULL, prefetch_gapped, &gapped[i]), 0);
		block_device_wait_stopped(&f->device, i + 1);
	}
	assert_int_equal(f->device.nr_reads, 3 * NR_GAPPED);
	for (size_t i = 0; i < 3 * NR_GAPPED; i++)
		for (size_t k = 0; k < i; k++)
			assert_ptr_not_equal(f->device.log_buffer[i], f->device.log_buffer[k]);
	block_device_open_gate(&f->device);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(pthread_join(gapped[i].thread, NULL), 0);
	assert_int_equal(nr_cached(f, 0, 62), 62);
	block_fixture_read_range(f, 0, 62); /* every byte is verified */
	assert_int_equal(f->device.nr_reads, 3 * NR_GAPPED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(blocks_are_asked_for_in_one_batch_in_ascending_order),
		TEST(prefetched_blocks_are_hits),
		TEST(a_block_named_several_times_is_fetched_once),
		TEST(cached_blocks_are_passed_over),
		TEST(cached_blocks_are_passed_over_without_a_slot_too),
		TEST(BM_14_addresses_out_of_range_are_passed_over),
		TEST(a_large_prefetch_is_cut_into_batches),
		cmocka_unit_test(neighbours_reach_a_file_as_one_system_call),
		TEST(no_more_is_fetched_than_a_quarter_of_the_cache),
		TEST(those_named_first_are_taken_not_those_in_front),
		TEST(blocks_already_cached_do_not_count_against_it),
		cmocka_unit_test(a_cache_too_small_to_spare_a_buffer_fetches_nothing_ahead),
		cmocka_unit_test(used_blocks_are_not_driven_out_by_a_scan_that_fetches_ahead),
		TEST(a_block_that_fails_its_check_is_not_kept),
		TEST(a_block_that_cannot_be_read_is_told_at_the_read),
		TEST(a_failure_leaves_the_detail_of_an_earlier_one_alone),
		TEST(when_nothing_can_be_read_nothing_is_kept),
		cmocka_unit_test(with_every_buffer_held_nothing_is_fetched),
		cmocka_unit_test(a_section_of_the_same_thread_is_no_deadlock),
		TEST(BM_08_prefetches_with_gaps_share_no_destination),
	};

	return cmocka_run_group_tests_name("block/prefetch", tests, NULL, NULL);
}
