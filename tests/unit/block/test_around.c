/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_around.c - neighbours that are read with a block: which, and what becomes of them.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "block/manager.h"
#include "format/kind.h"
#include "support/block_change.h"
#include "unit/format/expect.h"

enum { NR_BLOCKS = 2000, CACHE = 512, PART = 64, LONGEST = 32 };

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

/* The reads since the last call are of these blocks, in one batch. */
static void expect_batch(struct block_fixture *f, thinp_block_t begin, thinp_block_t end)
{
	assert_int_equal(block_device_nr_batches(&f->device), 1);
	assert_int_equal(f->device.nr_reads, end - begin);
	for (size_t i = 0; i < end - begin; i++)
		assert_int_equal(f->device.log[i], begin + i);
	block_device_forget(&f->device);
}

static void expect_no_reads(struct block_fixture *f)
{
	assert_int_equal(block_device_nr_batches(&f->device), 0);
}

static int read_one(struct block_fixture *f, thinp_block_t block)
{
	return block_fixture_read(f, block);
}

/* It says so, and of which block. */
static void expect_read_corrupt(struct block_fixture *f, thinp_block_t block)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	assert_int_equal(read_one(f, block), THINP_ECORRUPT);
	thinp_error_last(&info);
	assert_int_equal(info.code, THINP_ECORRUPT);
	assert_int_equal(info.block, block);
}

/* 8 is cached, and the next read in 8 to 11 takes these four. */
static void begin_part(struct block_fixture *f)
{
	assert_int_equal(read_one(f, 8), 0);
	expect_batch(f, 8, 9);
}

/* --- which --- */

static void the_first_block_of_a_part_is_read_alone(void **state)
{
	struct block_fixture *f = *state;

	for (thinp_block_t block = 5; block < NR_BLOCKS; block += PART) {
		assert_int_equal(read_one(f, block), 0);
		expect_batch(f, block, block + 1);
	}
	assert_int_equal(block_fixture_stats(f).prefetched, 0);
}

static void the_second_one_brings_its_neighbours(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_bm_stats stats;

	begin_part(f);
	assert_int_equal(read_one(f, 10), 0);
	expect_batch(f, 9, 12);
	block_fixture_read_range(f, 8, 12);
	expect_no_reads(f);
	stats = block_fixture_stats(f);
	assert_int_equal(stats.misses, 2);
	assert_int_equal(stats.prefetched, 2);
	assert_int_equal(stats.hits, 4);
	assert_int_equal(stats.blocks_cached, 4);
}

static void the_more_of_a_part_is_there_the_more_is_read_at_once(void **state)
{
	struct block_fixture *f = *state;

	begin_part(f);
	assert_int_equal(read_one(f, 10), 0); /* 8 to 11 are there */
	expect_batch(f, 9, 12);
	assert_int_equal(read_one(f, 30), 0);
	expect_batch(f, 16, 32);
	assert_int_equal(read_one(f, 32), 0); /* 20 are there */
	expect_batch(f, 32, 32 + LONGEST);
	assert_int_equal(read_one(f, 64), 0); /* of the next part nothing */
	expect_batch(f, 64, 65);
}

static void what_is_cached_in_between_is_read_again_and_stays(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section section;
	const void *before;

	for (thinp_block_t block = 0; block < 32; block += 8)
		thinp_reader_prefetch(f->reader, thinp_block_type_bitmap(), &(thinp_block_t){block + 4}, 1);
	block_device_forget(&f->device);
	thinp_read_begin(f->reader, &section);
	before = block_fixture_get(f, &section, 20);
	assert_int_equal(read_one(f, 17), 0); /* four are there */
	expect_batch(f, 16, 32);
	assert_ptr_equal(block_fixture_get(f, &section, 20), before);
	thinp_read_end(&section);
	assert_int_equal(block_fixture_stats(f).blocks_cached, 4 + 14);
	block_fixture_read_range(f, 16, 32);
	expect_no_reads(f);
}

static void no_neighbour_lies_behind_the_end_of_the_reader(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section section;
	struct thinp_reader *reader;
	const void *data;

	assert_int_equal(thinp_reader_create(f->bm, 11, &reader), 0);
	begin_part(f);
	thinp_read_begin(reader, &section);
	assert_int_equal(thinp_read_block(&section, 9, thinp_block_type_bitmap(), &data), 0);
	thinp_read_end(&section);
	expect_batch(f, 9, 11);
	thinp_reader_destroy(reader);
	assert_int_equal(read_one(f, NR_BLOCKS - 1), 0); /* the last part ends with the device */
	block_device_forget(&f->device);
	assert_int_equal(read_one(f, NR_BLOCKS - 3), 0);
	expect_batch(f, NR_BLOCKS - 4, NR_BLOCKS - 1);
}

static void a_small_cache_has_no_room_for_neighbours(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE - 1);

	(void)state;
	for (thinp_block_t block = 0; block < 100; block++) {
		assert_int_equal(read_one(f, block), 0);
		expect_batch(f, block, block + 1);
	}
	block_fixture_free(f);
}

static void no_block_is_dropped_for_a_neighbour(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_bm_stats stats;

	for (thinp_block_t block = 0; block < CACHE; block++)
		assert_int_equal(read_one(f, block), 0);
	stats = block_fixture_stats(f);
	assert_int_equal(stats.blocks_cached, CACHE);
	assert_int_equal(stats.evictions, 0);
	for (thinp_block_t block = 1000; block < 1100; block++) {
		block_device_forget(&f->device);
		assert_int_equal(read_one(f, block), 0);
		expect_batch(f, block, block + 1);
	}
	assert_in_range(block_fixture_stats(f).evictions, 100, 100 + 8);
}

/* What is free may still be looked at, so a buffer for what is wanted would take others; one is tried for, and no more. */
static void no_block_is_dropped_for_a_neighbour_while_a_reader_stays(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section section;
	uint64_t evictions;

	for (thinp_block_t block = 0; block < CACHE; block++)
		assert_int_equal(read_one(f, block), 0);
	thinp_read_begin(f->reader, &section);
	block_fixture_drop_range(f, CACHE - PART, CACHE - 3);
	evictions = block_fixture_stats(f).evictions;
	assert_int_equal(read_one(f, CACHE - PART + 2), 0);
	assert_in_range(block_fixture_stats(f).evictions - evictions, 0, 8);
	thinp_read_end(&section);
}

/* --- what becomes of them --- */

static void nobody_is_given_a_neighbour_before_it_is_checked(void **state)
{
	struct block_fixture *f = *state;

	begin_part(f);
	assert_int_equal(read_one(f, 10), 0);
	assert_true(block_fixture_has(f, 10));
	assert_false(block_fixture_has(f, 9));
	assert_int_equal(read_one(f, 9), 0);
	assert_true(block_fixture_has(f, 9));
}

static void a_neighbour_is_what_it_is_first_asked_for_as(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_buffer *buffer;

	begin_part(f);
	block_device_fill(&f->device, 9, thinp_block_type_node(), 9);
	assert_int_equal(read_one(f, 10), 0);
	block_device_forget(&f->device);
	assert_int_equal(tp_reader_pin(f->reader, 9, thinp_block_type_node(), &buffer), 0);
	expect_no_reads(f);
	assert_ptr_equal(atomic_load(&buffer->type), thinp_block_type_node());
	assert_true(block_device_is(&f->device, 9, buffer->data));
	tp_cache_unpin(&f->bm->cache, buffer);
	assert_int_equal(read_one(f, 9), THINP_ECORRUPT);
}

static void a_neighbour_that_is_not_sound_is_read_anew_when_it_is_asked_for(void **state)
{
	struct block_fixture *f = *state;
	uint8_t *bad = f->device.blocks + 9 * THINP_BLOCK_SIZE + 100;

	begin_part(f);
	*bad ^= 1;
	thinp_error_report(THINP_ENOSPC, 4711, "of before");
	assert_int_equal(read_one(f, 10), 0);
	expect_failure(THINP_ENOSPC, THINP_ENOSPC, 4711, "of before");
	block_device_forget(&f->device);
	expect_read_corrupt(f, 9);
	assert_int_equal(f->device.log[0], 9);
	*bad ^= 1;
	thinp_error_report(THINP_ENOSPC, 4711, "of before");
	assert_int_equal(read_one(f, 9), 0);
	expect_failure(THINP_ENOSPC, THINP_ENOSPC, 4711, "of before");
	block_change_expect_at_rest(f);
}

static void a_neighbour_that_was_not_sound_then_and_is_now_is_no_failure(void **state)
{
	struct block_fixture *f = *state;
	uint8_t *bad = f->device.blocks + 9 * THINP_BLOCK_SIZE + 100;

	begin_part(f);
	*bad ^= 1;
	assert_int_equal(read_one(f, 10), 0);
	*bad ^= 1;
	assert_int_equal(read_one(f, 9), 0);
	assert_int_equal(block_fixture_stats(f).misses, 3);
}

static void a_neighbour_can_be_changed(void **state)
{
	struct block_fixture *f = *state;

	begin_part(f);
	assert_int_equal(read_one(f, 10), 0);
	assert_int_equal(block_change_new(f, 9, 1), 0);
	assert_int_equal(block_change_new(f, 11, 1), 0);
	assert_true(block_change_reads(f, 9, 1));
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_true(block_change_is_on_device(f, 9, 1));
	assert_true(block_change_reads(f, 11, 1));
	block_change_expect_at_rest(f);
}

/* --- others at the same time --- */

struct visit {
	struct block_fixture *f;
	thinp_block_t block;
	int result;
	pthread_t thread;
};

static void *go(void *arg)
{
	struct visit *visit = arg;

	visit->result = block_fixture_read(visit->f, visit->block);
	return NULL;
}

static void begin_visit(struct visit *visit, struct block_fixture *f, thinp_block_t block)
{
	visit->f = f;
	visit->block = block;
	assert_int_equal(pthread_create(&visit->thread, NULL, go, visit), 0);
}

static void end_visit(struct visit *visit)
{
	assert_int_equal(pthread_join(visit->thread, NULL), 0);
	assert_int_equal(visit->result, 0);
}

/* The bytes on their way to the cache are those from before the change, which is on the device and has left the cache. */
static void a_neighbour_that_a_change_overtakes_is_not_kept(void **state)
{
	struct block_fixture *f = *state;
	struct visit visit;

	begin_part(f);
	f->device.is_gate_behind = true;
	block_device_shut_gates(&f->device, 10, 10);
	begin_visit(&visit, f, 10);
	block_device_wait_stopped(&f->device, 1);
	assert_int_equal(block_change_new(f, 9, 1), 0);
	assert_int_equal(thinp_bm_flush(f->bm), 0);
	assert_int_equal(block_change_commit(f, 1), 0);
	block_fixture_drop_range(f, 9, 10);
	block_device_open_gate(&f->device);
	end_visit(&visit);
	assert_true(block_change_reads(f, 9, 1));
}

/* The same for one that was changed already when the read began: it was read only because it lies in between. */
static void what_is_cached_in_between_and_leaves_meanwhile_is_not_kept(void **state)
{
	struct block_fixture *f = *state;
	struct visit visit;

	begin_part(f);
	assert_int_equal(block_change_new(f, 10, 1), 0);
	f->device.is_gate_behind = true;
	block_device_shut_gates(&f->device, 15, 15);
	begin_visit(&visit, f, 9);
	block_device_wait_stopped(&f->device, 1); /* with the bytes of 10 from before the change */
	assert_int_equal(thinp_bm_flush(f->bm), 0);
	assert_int_equal(block_change_commit(f, 1), 0);
	block_fixture_drop_range(f, 10, 11);
	block_device_open_gate(&f->device);
	end_visit(&visit);
	assert_true(block_change_reads(f, 10, 1));
}

/* Who reads a block by itself is not given the bytes that somebody else read around another one, sound or not. */
static void what_is_checked_takes_the_place_of_a_neighbour(void **state)
{
	struct block_fixture *f = *state;
	uint8_t *bad = f->device.blocks + 9 * THINP_BLOCK_SIZE + 100;
	struct visit visit;

	f->device.is_gate_behind = true;
	block_device_shut_gates(&f->device, 9, 9);
	begin_visit(&visit, f, 9); /* alone, and stopped with sound bytes */
	block_device_wait_stopped(&f->device, 1);
	f->device.gates[0] = f->device.gates[1] = NR_BLOCKS;
	assert_int_equal(read_one(f, 8), 0);
	*bad ^= 1;
	assert_int_equal(read_one(f, 10), 0); /* 9 with it, damaged */
	*bad ^= 1;
	block_device_open_gate(&f->device);
	end_visit(&visit);
	assert_true(block_fixture_has(f, 9));
	block_change_expect_at_rest(f);
}

/* --- failures --- */

/* Of 9, 10 and 11, of which 10 is wanted. Says whether that was read. */
static int read_failing(struct block_fixture *f, uint32_t kinds, size_t nth)
{
	int r;

	begin_part(f);
	thinp_error_report(THINP_ENOSPC, 4711, "of before");
	f->device.nr_calls = 0;
	f->device.fail_kinds = kinds;
	f->device.fail_at = nth;
	f->device.fail_with = -EIO;
	r = read_one(f, 10);
	f->device.fail_kinds = 0;
	return r;
}

static void a_read_that_fails_is_told_if_it_is_the_one_that_was_wanted(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	(void)state;
	for (size_t n = 1; n <= 4; n++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
		int r = read_failing(f, BLOCK_DEVICE_FAIL_READ, n);

		assert_int_equal(r, n == 2 ? THINP_EIO : 0);
		thinp_error_last(&info);
		assert_int_equal(info.block, n == 2 ? 10 : 4711);
		assert_int_equal(block_fixture_stats(f).prefetched, n == 4 ? 2 : n == 2 ? 0 : 1);
		block_fixture_read_range(f, 8, 12);
		block_change_expect_at_rest(f);
		block_fixture_free(f);
	}
}

static void when_all_is_refused_what_was_wanted_is_read_alone(void **state)
{
	struct block_fixture *f = *state;

	assert_int_equal(read_failing(f, BLOCK_DEVICE_FAIL_SIZE, 1), 0); /* before any operation is looked at */
	expect_failure(THINP_ENOSPC, THINP_ENOSPC, 4711, "of before");
	assert_int_equal(block_fixture_stats(f).prefetched, 0);
	assert_int_equal(f->device.nr_reads, 1);
	block_change_expect_at_rest(f);
}

static void what_cannot_be_read_at_all_is_told(void **state)
{
	struct block_fixture *f = *state;

	begin_part(f);
	f->device.blocks[9 * THINP_BLOCK_SIZE + 100] ^= 1;
	block_device_fill(&f->device, 10, thinp_block_type_bitmap(), 11);
	expect_read_corrupt(f, 10);
	assert_int_equal(read_one(f, 11), 0);
	assert_int_equal(read_one(f, 10), THINP_ECORRUPT);
	block_change_expect_at_rest(f);
}

static void no_failed_allocation_is_one_of_a_neighbour(void **state)
{
	bool has_failed = true;

	(void)state;
	for (size_t n = 1; has_failed; n++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
		size_t nr_failed = 0;

		alloc_counting_fail(&f->alloc, n);
		for (thinp_block_t block = 0; block < 200; block++)
			nr_failed += block_fixture_read(f, block) != 0;
		has_failed = f->alloc.nr_calls >= n;
		assert_int_equal(nr_failed, 0); /* each read can do without the cache */
		block_fixture_read_range(f, 0, 200);
		block_fixture_free(f);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_first_block_of_a_part_is_read_alone),
		TEST(the_second_one_brings_its_neighbours),
		TEST(the_more_of_a_part_is_there_the_more_is_read_at_once),
		TEST(what_is_cached_in_between_is_read_again_and_stays),
		TEST(no_neighbour_lies_behind_the_end_of_the_reader),
		cmocka_unit_test(a_small_cache_has_no_room_for_neighbours),
		TEST(no_block_is_dropped_for_a_neighbour),
		TEST(no_block_is_dropped_for_a_neighbour_while_a_reader_stays),
		TEST(nobody_is_given_a_neighbour_before_it_is_checked),
		TEST(a_neighbour_is_what_it_is_first_asked_for_as),
		TEST(a_neighbour_that_is_not_sound_is_read_anew_when_it_is_asked_for),
		TEST(a_neighbour_that_was_not_sound_then_and_is_now_is_no_failure),
		TEST(a_neighbour_can_be_changed),
		TEST(a_neighbour_that_a_change_overtakes_is_not_kept),
		TEST(what_is_cached_in_between_and_leaves_meanwhile_is_not_kept),
		TEST(what_is_checked_takes_the_place_of_a_neighbour),
		cmocka_unit_test(a_read_that_fails_is_told_if_it_is_the_one_that_was_wanted),
		TEST(when_all_is_refused_what_was_wanted_is_read_alone),
		TEST(what_cannot_be_read_at_all_is_told),
		cmocka_unit_test(no_failed_allocation_is_one_of_a_neighbour),
	};

	return cmocka_run_group_tests_name("block/around", tests, NULL, NULL);
}
