/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/transaction/test_shadow.c - new blocks, blocks changed in place, copies; and what the last commit has stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "support/tm_fixture.h"

enum { NR_BLOCKS = 200, CACHE = 16, MOST_LOCKED = 6 };

/* --- new blocks --- */

static void a_new_block_is_zeros_with_one_reference(void **state)
{
	static const uint8_t zeros[THINP_BLOCK_SIZE];
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	struct thinp_buffer *buffer;
	thinp_block_t block;
	void *data;

	(void)state;
	tm_fixture_fail(f, 0, 0, 0);
	assert_int_equal(thinp_tm_new_block(f->tm, thinp_block_type_bitmap(), THINP_CAUSE_NEW, &block, &buffer, &data),
			 0);
	assert_memory_equal(data, zeros, THINP_BLOCK_SIZE);
	assert_int_equal(tm_fixture_count(f, block), 1);
	assert_string_equal(f->log, "t");
	thinp_tm_unlock(f->tm, buffer);
	thinp_tm_unlock(f->tm, NULL);
	block_change_expect_at_rest(f->b);
	tm_fixture_free(f);
}

static void a_new_block_is_changed_in_place_and_nobody_is_asked(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	bool inc_children = true;
	thinp_block_t shadow;

	(void)state;
	tm_fixture_fail(f, 0, 0, 0);
	block_device_forget(&f->b->device);
	assert_int_equal(tm_fixture_shadow(f, block, 1, 2, &shadow, &inc_children), 0);
	assert_int_equal(shadow, block);
	assert_false(inc_children);
	assert_string_equal(f->log, "");
	assert_int_equal(block_device_nr_reads(&f->b->device), 0);
	assert_true(tm_fixture_reads(f, block, 2));
	tm_fixture_commit(f);
	assert_true(tm_fixture_reads(f, block, 2));
	tm_fixture_free(f);
}

static void a_block_is_changed_in_place_wherever_it_is(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t blocks[50];

	(void)state;
	for (unsigned int i = 0; i < 50; i++)
		blocks[i] = tm_fixture_new_block(f, i);
	for (unsigned int round = 0; round < 3; round++) /* most have been written early and dropped */
		for (unsigned int i = 0; i < 50; i++)
			assert_int_equal(tm_fixture_change(f, blocks[i], i + 100 * round, i + 100 * round + 100),
					 blocks[i]);
	assert_int_equal(thinp_bm_flush(f->b->bm), 0); /* clean, and in the cache or not */
	for (unsigned int i = 0; i < 50; i++)
		assert_int_equal(tm_fixture_change(f, blocks[i], i + 300, i + 400), blocks[i]);
	tm_fixture_commit(f);
	for (unsigned int i = 0; i < 50; i++)
		assert_true(tm_fixture_reads(f, blocks[i], i + 400));
	block_change_expect_at_rest(f->b);
	tm_fixture_free(f);
}

/* --- copies --- */

static void a_block_of_the_last_commit_is_copied_and_its_reference_moves(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	bool inc_children = true;
	thinp_block_t shadow;

	(void)state;
	tm_fixture_commit(f);
	tm_fixture_fail(f, 0, 0, 0);
	assert_int_equal(tm_fixture_shadow(f, block, 1, 2, &shadow, &inc_children), 0);
	assert_int_not_equal(shadow, block);
	assert_false(inc_children);
	assert_string_equal(f->log, "ctd"); /* the copy has its reference before the original loses one */
	assert_int_equal(tm_fixture_count(f, block), 0);
	assert_int_equal(tm_fixture_count(f, shadow), 1);
	assert_true(tm_fixture_reads(f, block, 1));
	assert_true(tm_fixture_reads(f, shadow, 2));
	assert_int_equal(tm_fixture_change(f, shadow, 2, 3), shadow);
	tm_fixture_commit(f);
	assert_true(tm_fixture_reads(f, shadow, 3));
	block_change_expect_at_rest(f->b);
	tm_fixture_free(f);
}

static void TM_06_the_caller_is_told_when_the_original_lives_on(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	bool inc_children = false;
	thinp_block_t shadow;

	(void)state;
	assert_int_equal(thinp_tm_inc(f->tm, block, 1, THINP_CAUSE_USER), 0);
	tm_fixture_commit(f);
	assert_int_equal(tm_fixture_shadow(f, block, 1, 2, &shadow, &inc_children), 0);
	assert_int_not_equal(shadow, block);
	assert_true(inc_children);
	assert_int_equal(tm_fixture_count(f, block), 1);
	assert_int_equal(tm_fixture_count(f, shadow), 1);
	assert_int_equal(tm_fixture_change(f, shadow, 2, 3), shadow);
	assert_true(tm_fixture_reads(f, block, 1));
	inc_children = true;
	assert_int_equal(tm_fixture_shadow(f, block, 1, 4, &shadow, &inc_children), 0);
	assert_false(inc_children);
	assert_int_equal(tm_fixture_count(f, block), 0);
	tm_fixture_commit(f);
	tm_fixture_free(f);
}

/* --- marks --- */

static void TM_04_nothing_is_a_shadow_after_a_commit_or_an_abort(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	thinp_block_t again;

	(void)state;
	tm_fixture_commit(f);
	again = tm_fixture_change(f, block, 1, 2);
	assert_int_not_equal(again, block);
	tm_fixture_commit(f);
	assert_int_not_equal(tm_fixture_change(f, again, 2, 3), again);
	tm_fixture_abort(f);
	assert_int_not_equal(tm_fixture_change(f, again, 2, 4), again);
	tm_fixture_abort(f);
	assert_true(tm_fixture_reads(f, again, 2));
	tm_fixture_free(f);
}

static void TM_05_a_block_that_was_shared_is_copied_although_it_is_new(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	bool inc_children = false;
	thinp_block_t shadow;

	(void)state;
	assert_int_equal(tm_fixture_change(f, block, 1, 2), block);
	assert_int_equal(thinp_tm_inc(f->tm, block, 1, THINP_CAUSE_USER), 0); /* a snapshot */
	assert_int_equal(tm_fixture_shadow(f, block, 2, 3, &shadow, &inc_children), 0);
	assert_int_not_equal(shadow, block);
	assert_true(inc_children);
	assert_true(tm_fixture_reads(f, block, 2));
	assert_int_equal(tm_fixture_change(f, shadow, 3, 4), shadow);
	tm_fixture_commit(f);
	assert_true(tm_fixture_reads(f, block, 2));
	assert_true(tm_fixture_reads(f, shadow, 4));
	tm_fixture_free(f);
}

static void TM_05_a_mark_does_not_come_back_when_the_other_reference_goes(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	bool inc_children = true;
	thinp_block_t shadow;

	(void)state;
	assert_int_equal(thinp_tm_inc(f->tm, block, 1, THINP_CAUSE_USER), 0);
	assert_int_equal(thinp_tm_dec(f->tm, block, 1, THINP_CAUSE_USER), 0);
	assert_int_equal(tm_fixture_shadow(f, block, 1, 2, &shadow, &inc_children), 0);
	assert_int_not_equal(shadow, block);
	assert_false(inc_children);
	assert_int_equal(tm_fixture_count(f, block), 0);
	tm_fixture_free(f);
}

/* A range of references takes away marks by the range or by the marks, whichever are fewer. */
static void TM_05_a_range_of_references_takes_away_just_its_marks(void **state)
{
	enum { NR = 150 };
	static const struct {
		thinp_block_t first;
		uint64_t nr;
	} ranges[] = {{20, 5}, {1, 1}, {NR, 1}, {10, 130}, {1, NR}, {0, 3000}, {200, 2500}};
	struct tm_fixture *f = tm_fixture_new(4000, CACHE);

	(void)state;
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		for (thinp_block_t block = 1; block <= NR; block++)
			assert_int_equal(tm_fixture_new_block(f, 1), block);
		assert_int_equal(thinp_tm_inc(f->tm, ranges[i].first, ranges[i].nr, THINP_CAUSE_USER), 0);
		for (thinp_block_t block = 1; block <= NR; block++) {
			bool is_in = block >= ranges[i].first && block - ranges[i].first < ranges[i].nr;

			assert_int_equal(tm_fixture_change(f, block, 1, 2) != block, is_in);
		}
		tm_fixture_abort(f);
	}
	tm_fixture_free(f);
}

static void a_block_that_nobody_uses_any_more_is_not_written(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, 400);
	thinp_block_t kept = 0;

	(void)state;
	for (unsigned int i = 0; i < 150; i++)
		kept = tm_fixture_new_block(f, 1);
	assert_int_equal(block_fixture_stats(f->b).blocks_dirty, 150);
	assert_int_equal(thinp_tm_dec(f->tm, kept - 1, 1, THINP_CAUSE_FREE), 0); /* by its address */
	assert_int_equal(block_fixture_stats(f->b).blocks_dirty, 149);
	assert_int_equal(thinp_tm_dec(f->tm, 1, 148, THINP_CAUSE_FREE), 0); /* by the marks */
	assert_int_equal(block_fixture_stats(f->b).blocks_dirty, 1);
	tm_fixture_commit(f);
	assert_true(tm_fixture_reads(f, kept, 1));
	tm_fixture_free(f);
}

static void a_block_that_is_freed_while_it_is_changed_is_still_to_be_unlocked(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	struct thinp_buffer *buffer;
	bool inc_children;
	void *data;

	(void)state;
	assert_int_equal(thinp_tm_shadow_block(f->tm, block, thinp_block_type_bitmap(), THINP_CAUSE_SHADOW, &block,
					       &buffer, &data, &inc_children),
			 0);
	assert_int_equal(thinp_tm_dec(f->tm, block, 1, THINP_CAUSE_FREE), 0);
	for (unsigned int i = 0; i < 2 * CACHE; i++) /* none of these gets the buffer */
		(void)tm_fixture_new_block(f, 2);
	block_change_fill(data, 0, 9);
	assert_true(block_change_is(data, 0, 9));
	thinp_tm_unlock(f->tm, buffer);
	tm_fixture_commit(f);
	block_change_expect_at_rest(f->b);
	tm_fixture_free(f);
}

static void an_address_is_marked_anew_when_it_is_taken_again(void **state)
{
	struct tm_fixture *f = tm_fixture_new(2, CACHE);

	(void)state;
	for (uint64_t i = 0; i < 5; i++) {
		thinp_block_t block = tm_fixture_new_block(f, i);

		assert_int_equal(tm_fixture_change(f, block, i, i + 10), block);
		if (i % 2) {
			assert_int_equal(thinp_tm_inc(f->tm, block, 1, THINP_CAUSE_USER), 0);
			assert_int_equal(thinp_tm_dec(f->tm, block, 1, THINP_CAUSE_USER), 0);
		}
		assert_int_equal(thinp_tm_dec(f->tm, block, 1, THINP_CAUSE_USER), 0);
	}
	tm_fixture_free(f);
}

/* --- locks --- */

static void a_block_that_is_being_changed_is_not_shadowed_once_more(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	struct thinp_buffer *buffer;
	thinp_block_t shadow;
	bool inc_children;
	void *data;

	(void)state;
	assert_int_equal(thinp_tm_shadow_block(f->tm, block, thinp_block_type_bitmap(), THINP_CAUSE_SHADOW, &shadow,
					       &buffer, &data, &inc_children),
			 0);
	assert_int_equal(tm_fixture_shadow(f, block, 1, 2, &shadow, NULL), THINP_EINVAL);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(thinp_bm_flush(f->b->bm), THINP_EINVAL);
	thinp_tm_unlock(f->tm, buffer);
	assert_int_equal(tm_fixture_change(f, block, 1, 2), block);
	tm_fixture_commit(f);
	tm_fixture_free(f);
}

static void what_is_being_changed_is_seen_by_the_reader_and_not_written(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	struct thinp_buffer *buffer;
	bool inc_children;
	void *data;

	(void)state;
	assert_int_equal(thinp_tm_shadow_block(f->tm, block, thinp_block_type_bitmap(), THINP_CAUSE_SHADOW, &block,
					       &buffer, &data, &inc_children),
			 0);
	block_change_fill(data, 0, 2);
	for (unsigned int i = 0; i < 3 * CACHE; i++)
		(void)tm_fixture_new_block(f, 7);
	assert_true(block_fixture_stats(f->b).written_early > 0);
	assert_true(tm_fixture_reads(f, block, 2));
	assert_memory_equal(f->b->device.blocks + block * THINP_BLOCK_SIZE, f->committed + block * THINP_BLOCK_SIZE,
			    THINP_BLOCK_SIZE);
	block_change_fill(data, 0, 3);
	thinp_tm_unlock(f->tm, buffer);
	tm_fixture_commit(f);
	assert_true(tm_fixture_reads(f, block, 3));
	tm_fixture_free(f);
}

static void BM_02_six_blocks_are_changed_at_once_in_a_cache_of_eight(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, MOST_LOCKED + 2);
	thinp_block_t blocks[MOST_LOCKED];

	(void)state;
	for (unsigned int i = 0; i < MOST_LOCKED; i++)
		blocks[i] = tm_fixture_new_block(f, i);
	tm_fixture_commit(f);
	for (unsigned int round = 0; round < 20; round++) {
		struct thinp_buffer *buffers[MOST_LOCKED];
		bool inc_children;
		void *data;

		for (unsigned int i = 0; i < MOST_LOCKED; i++) {
			assert_int_equal(thinp_tm_shadow_block(f->tm, blocks[i], thinp_block_type_bitmap(),
							       THINP_CAUSE_SHADOW, &blocks[i], &buffers[i], &data,
							       &inc_children),
					 0);
			assert_true(block_change_is(data, 0, i));
		}
		for (unsigned int i = 0; i < MOST_LOCKED; i++)
			thinp_tm_unlock(f->tm, buffers[i]);
		if (round % 3 == 0)
			tm_fixture_commit(f);
	}
	block_change_expect_at_rest(f->b);
	tm_fixture_free(f);
}

static void TM_11_after_an_abort_the_last_commit_is_seen_and_addresses_are_free(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, 64);
	thinp_block_t blocks[40];
	thinp_block_t next;

	(void)state;
	for (unsigned int i = 0; i < 40; i++)
		blocks[i] = tm_fixture_new_block(f, i);
	tm_fixture_commit(f);
	next = blocks[39] + 1;
	for (unsigned int i = 0; i < 40; i++)
		assert_int_not_equal(tm_fixture_change(f, blocks[i], i, i + 100), blocks[i]);
	tm_fixture_abort(f);
	for (unsigned int i = 0; i < 40; i++)
		assert_true(tm_fixture_reads(f, blocks[i], i));
	for (unsigned int i = 0; i < 40; i++) {
		struct thinp_buffer *buffer;
		thinp_block_t block;
		void *data;

		assert_int_equal(
			thinp_tm_new_block(f->tm, thinp_block_type_index(), THINP_CAUSE_NEW, &block, &buffer, &data),
			0);
		assert_int_equal(block, next + i);
		thinp_tm_unlock(f->tm, buffer);
	}
	tm_fixture_commit(f);
	tm_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_block_is_zeros_with_one_reference),
		cmocka_unit_test(a_new_block_is_changed_in_place_and_nobody_is_asked),
		cmocka_unit_test(a_block_is_changed_in_place_wherever_it_is),
		cmocka_unit_test(a_block_of_the_last_commit_is_copied_and_its_reference_moves),
		cmocka_unit_test(TM_06_the_caller_is_told_when_the_original_lives_on),
		cmocka_unit_test(TM_04_nothing_is_a_shadow_after_a_commit_or_an_abort),
		cmocka_unit_test(TM_05_a_block_that_was_shared_is_copied_although_it_is_new),
		cmocka_unit_test(TM_05_a_mark_does_not_come_back_when_the_other_reference_goes),
		cmocka_unit_test(TM_05_a_range_of_references_takes_away_just_its_marks),
		cmocka_unit_test(a_block_that_nobody_uses_any_more_is_not_written),
		cmocka_unit_test(a_block_that_is_freed_while_it_is_changed_is_still_to_be_unlocked),
		cmocka_unit_test(an_address_is_marked_anew_when_it_is_taken_again),
		cmocka_unit_test(a_block_that_is_being_changed_is_not_shadowed_once_more),
		cmocka_unit_test(what_is_being_changed_is_seen_by_the_reader_and_not_written),
		cmocka_unit_test(BM_02_six_blocks_are_changed_at_once_in_a_cache_of_eight),
		cmocka_unit_test(TM_11_after_an_abort_the_last_commit_is_seen_and_addresses_are_free),
	};

	return cmocka_run_group_tests_name("transaction/shadow", tests, NULL, NULL);
}
