/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Taking blocks: which ones, in which order, and that free blocks are counted right at every moment.
 */
#include "space_map/sm.h"
#include "support/image_expect.h"
#include "support/space_map_fixture.h"

/* Takes one by one until there is no space; the model notices a block that comes twice. */
static uint64_t take_all(struct sm_fixture *f, struct sm_model *m)
{
	uint64_t block = 4711, nr = 0;

	while (!sm_take(f, m, 1, &block))
		nr++;
	block = 4711;
	assert_int_equal(thinp_sm_take(m->sm, 1, &block, NULL), THINP_ENOSPC);
	expect_detail(THINP_ENOSPC);
	assert_int_equal(block, 4711);
	return nr;
}

static void nr_free_all(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 40000, 40000, NULL, false);

	(void)state;
	assert_int_equal(sm_info(&f->data).nr_zero, 40000);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 40000);
	assert_int_equal(sm_info(&f->data).nr_available, 40000);
	sm_fixture_free(f);
}

static void nr_free_none(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 40000, 40000, NULL, false);

	(void)state;
	assert_int_equal(sm_inc(&f->data, 0, 40000), 0);
	assert_int_equal(sm_info(&f->data).nr_zero, 0);
	assert_int_equal(sm_info(&f->data).nr_available, 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_info(&f->data).nr_zero, 0);
	assert_int_equal(take_all(f, &f->data), 0);
	sm_fixture_free(f);
}

/* SM-12 */
static void SMD_01_SM_12_nr_free_across_transactions(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 1000, 1000, NULL, false);
	uint64_t first;

	(void)state;
	assert_int_equal(sm_take(f, &f->data, 300, &first), 0);
	assert_int_equal(sm_info(&f->data).nr_zero, 700);
	assert_int_equal(sm_dec(&f->data, first, 300), 0); /* of this transaction: free again at once */
	assert_int_equal(sm_info(&f->data).nr_zero, 1000);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 1000);
	assert_int_equal(sm_take(f, &f->data, 300, &first), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_dec(&f->data, first, 300), 0); /* of the last commit: only after the next one */
	assert_int_equal(sm_info(&f->data).nr_zero, 1000);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 700);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 1000);
	sm_reopen(f);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 1000);
	sm_fixture_free(f);
}

/* SM-13 */
static void SMD_01_SM_13_free_counts_never_wrap(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 1000, 1000, NULL, false);

	(void)state;
	assert_int_equal(sm_inc(&f->data, 0, 1000), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_dec(&f->data, 0, 1000), 0);
	assert_int_equal(sm_inc(&f->data, 0, 1000), 0);
	assert_int_equal(sm_info(&f->data).nr_zero, 0);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 0);
	sm_fixture_free(f);
}

static void wrapping_around(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 40000, 40000, NULL, false);
	uint64_t block;

	(void)state;
	assert_int_equal(sm_take(f, &f->data, 39990, &block), 0);
	assert_int_equal(block, 0);
	assert_int_equal(sm_dec(&f->data, 5, 1), 0);
	for (uint64_t b = 39990; b < 40000; b++) {
		assert_int_equal(sm_take(f, &f->data, 1, &block), 0);
		assert_int_equal(block, b);
	}
	assert_int_equal(sm_take(f, &f->data, 1, &block), 0);
	assert_int_equal(block, 5);
	assert_int_equal(take_all(f, &f->data), 0);
	sm_fixture_free(f);
}

/* SM-06 */
static void SM_06_the_cursor_goes_on_after_a_commit(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 1000, 1000, NULL, false);
	uint64_t first;

	(void)state;
	assert_int_equal(sm_take(f, &f->data, 500, &first), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_dec(&f->data, 0, 100), 0);
	assert_int_equal(sm_commit(f), 0);
	for (uint64_t i = 0; i < 600; i++) {
		assert_int_equal(sm_take(f, &f->data, 1, &first), 0);
		assert_int_equal(first, i < 500 ? 500 + i : i - 500);
	}
	sm_fixture_free(f);
}

/* SM-04, SM-11, SM-15: no bitmap is forgotten, nothing behind the end is found. */
static void SM_04_SM_11_SM_15_boundary_size(void **state)
{
	static const int64_t off[] = {-1, 0, 1, 5};

	(void)state;
	for (uint64_t k = 1; k <= 3; k++) {
		for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++) {
			uint64_t nr = (uint64_t)((int64_t)(k * SM_PER_BITMAP) + off[i]);
			struct sm_fixture *f = sm_fixture_new(nr, nr, nr, NULL, false);

			assert_int_equal(take_all(f, &f->data), nr);
			assert_int_equal(sm_info(&f->data).nr_zero, 0);
			assert_true(take_all(f, &f->meta) > nr - 250);
			assert_int_equal(sm_commit(f), 0);
			sm_reopen(f);
			assert_int_equal(sm_dec(&f->data, nr - 1, 1), 0);
			assert_int_equal(sm_commit(f), 0);
			assert_int_equal(take_all(f, &f->data), 1);
			assert_int_equal(f->data.counts[nr - 1], 1);
			assert_int_equal(sm_commit(f), 0);
			sm_fixture_free(f);
		}
	}
}

/* SM-05 */
static void SM_05_blocks_behind_the_end_are_refused(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 1000, 1000, NULL, false);
	static const uint64_t behind[] = {1000, 1001, 16320, UINT64_MAX - 1, UINT64_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(behind) / sizeof(behind[0]); i++) {
		uint32_t count = 4711;

		assert_int_equal(thinp_sm_count(f->data.sm, behind[i], &count), THINP_ERANGE);
		assert_int_equal(count, 4711);
		assert_int_equal(thinp_sm_inc(f->data.sm, behind[i], 1), THINP_ERANGE);
		assert_int_equal(thinp_sm_dec(f->meta.sm, behind[i], 1), THINP_ERANGE);
		expect_detail(THINP_ERANGE);
	}
	assert_int_equal(thinp_sm_inc(f->data.sm, 999, 2), THINP_ERANGE);
	assert_int_equal(thinp_sm_inc(f->data.sm, 1, UINT64_MAX), THINP_ERANGE);
	assert_int_equal(thinp_sm_inc(f->data.sm, 1000, 0), 0);
	sm_expect_counts(&f->data);
	sm_fixture_free(f);
}

/* SM-03, SM-18: what others have counted is never taken, wherever the cursor is. */
static void SMD_01_SM_03_SM_18_counted_blocks_are_never_taken(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 1000, 1000, NULL, false);
	uint64_t first;

	(void)state;
	assert_int_equal(sm_take(f, &f->data, 10, &first), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_dec(&f->data, 3, 1), 0);  /* freed now: not to be taken, the last commit uses it */
	assert_int_equal(sm_inc(&f->data, 10, 1), 0); /* right at the cursor */
	assert_int_equal(sm_inc(&f->data, 12, 1), 0);
	assert_int_equal(sm_take(f, &f->data, 1, &first), 0);
	assert_int_equal(first, 13); /* where a long run begins */
	assert_int_equal(take_all(f, &f->data), 1000 - 13);
	assert_int_equal(f->data.counts[3], 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(take_all(f, &f->data), 1);
	assert_int_equal(f->data.counts[3], 1);
	sm_fixture_free(f);
}

static void runs_are_found_whole_or_as_long_as_there_are(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 3 * SM_PER_BITMAP, 3 * SM_PER_BITMAP, NULL, false);
	uint64_t first = 4711, nr = 4711;

	(void)state;
	assert_int_equal(sm_inc(&f->data, 0, 3 * SM_PER_BITMAP), 0);
	assert_int_equal(sm_dec(&f->data, 100, 10), 0);
	assert_int_equal(sm_dec(&f->data, 200, 64), 0);
	assert_int_equal(sm_dec(&f->data, SM_PER_BITMAP - 50, 100), 0); /* over the border */
	assert_int_equal(thinp_sm_take(f->data.sm, 0, &first, NULL), THINP_EINVAL);
	assert_int_equal(thinp_sm_take(f->data.sm, 101, &first, NULL), THINP_ENOSPC);
	assert_int_equal(first, 4711);
	assert_int_equal(sm_take(f, &f->data, 100, &first), 0);
	assert_int_equal(first, SM_PER_BITMAP - 50);
	assert_int_equal(thinp_sm_take(f->data.sm, 100, &first, &nr), 0);
	assert_int_equal(first, 200);
	assert_int_equal(nr, 64);
	assert_int_equal(thinp_sm_take(f->data.sm, 5, &first, &nr), 0);
	assert_int_equal(first, 100);
	assert_int_equal(nr, 5);
	assert_int_equal(thinp_sm_take(f->data.sm, 6, &first, NULL), THINP_ENOSPC);
	assert_int_equal(thinp_sm_take(f->data.sm, 6, &first, &nr), 0);
	assert_int_equal(first, 105);
	assert_int_equal(nr, 5);
	assert_int_equal(thinp_sm_take(f->data.sm, 1, &first, &nr), THINP_ENOSPC);
	sm_fixture_free(f);
}

static void a_long_run_is_taken_before_single_holes(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 10000, 10000, NULL, false);
	uint64_t block;

	(void)state;
	assert_int_equal(sm_inc(&f->data, 0, 10000), 0);
	assert_int_equal(sm_dec(&f->data, 10, 1), 0);
	assert_int_equal(sm_dec(&f->data, 500, 1), 0);
	assert_int_equal(sm_dec(&f->data, 1000, 130), 0);
	for (uint64_t i = 0; i < 130; i++) {
		assert_int_equal(sm_take(f, &f->data, 1, &block), 0);
		assert_int_equal(block, 1000 + i);
	}
	assert_int_equal(take_all(f, &f->data), 2);
	sm_fixture_free(f);
}

/* --- SM-01, SM-09, SM-14 --- */

static void SM_01_a_free_block_cannot_be_decremented(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 1000, 1000, NULL, false);
	struct thinp_alloc table = {.size = sizeof(table)};

	(void)state;
	assert_int_equal(sm_inc(&f->data, 5, 3), 0);
	assert_int_equal(thinp_sm_dec(f->data.sm, 4, 1), THINP_EREFCOUNT);
	assert_int_equal(thinp_sm_dec(f->data.sm, 5, 4), THINP_EREFCOUNT); /* the last of the range */
	expect_detail(THINP_EREFCOUNT);
	assert_int_equal(thinp_sm_dec(f->meta.sm, 999, 1), THINP_EREFCOUNT);
	thinp_sm_get_alloc(f->data.sm, &table);
	assert_int_equal(table.dec(table.ctx, 8, 1, THINP_CAUSE_FREE), THINP_EREFCOUNT);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

static void SM_09_a_range_is_the_same_as_its_blocks_one_by_one(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 40000, 40000, NULL, false);

	(void)state;
	for (uint64_t b = SM_PER_BITMAP - 20; b < SM_PER_BITMAP + 20; b++)
		sm_raise(&f->data, b, (uint32_t)(b % 6));
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_inc(&f->data, SM_PER_BITMAP - 30, 60), 0);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_dec(&f->data, SM_PER_BITMAP - 30, 60), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_inc(&f->data, 0, 40000), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_inc(&f->data, 7, 0), 0);
	assert_int_equal(sm_dec(&f->data, 0, 40000), 0);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* Counts that no byte holds. The largest are put into memory directly: counting up to them would take minutes. */
static void SM_14_counts_go_up_to_2_to_the_32_less_1(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 1000, 1000, NULL, false);
	static const uint32_t counts[] = {253, 254, 255, 256, 65535, 65536, 70000};
	struct tp_page *page;

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		sm_raise(&f->data, 10 + i, counts[i]);
		assert_int_equal(sm_commit(f), 0);
		sm_reopen(f);
	}
	sm_raise(&f->data, 20, 300);
	assert_int_equal(tp_sm_get_page(f->data.sm, 0, &page), 0);
	tp_large_put(&f->data.sm->large, 20, UINT32_MAX - 1);
	f->data.counts[20] = UINT32_MAX - 1;
	assert_int_equal(sm_inc(&f->data, 20, 1), 0);
	assert_int_equal(thinp_sm_inc(f->data.sm, 19, 2), THINP_EREFCOUNT);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_commit(f), 0);
	sm_reopen(f);
	sm_expect_counts(&f->data);
	assert_int_equal(thinp_sm_inc(f->data.sm, 20, 1), THINP_EREFCOUNT);
	assert_int_equal(sm_dec(&f->data, 20, 1), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(sm_dec(&f->data, 12, 1), 0); /* 255 to 252 */
	for (uint32_t i = 0; i < 256; i++)
		assert_int_equal(sm_dec(&f->data, 13, 1), 0);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* SM-17 */
static void SM_17_nothing_of_an_aborted_transaction_is_remembered(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 3 * SM_PER_BITMAP, 3 * SM_PER_BITMAP, NULL, false);
	uint64_t first;

	(void)state;
	assert_int_equal(sm_take(f, &f->data, 2 * SM_PER_BITMAP + 100, &first), 0);
	sm_raise(&f->data, 5, 300);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_dec(&f->data, 0, SM_PER_BITMAP + 5), 0);
	assert_int_equal(sm_inc(&f->data, 40000, 5), 0);
	assert_int_equal(sm_take(f, &f->data, 1000, &first), 0);
	assert_int_equal(tp_sm_record(f->data.sm, f->tm), 0); /* half of a commit */
	sm_abort(f);
	assert_int_equal(tp_large_bytes(&f->data.sm->large), 0);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_take(f, &f->data, 1000, &first), 0);
	assert_int_equal(sm_commit(f), 0);
	sm_expect_counts(&f->data);
	sm_fixture_free(f);
}

/* SM-07: what was hidden behind the end is free when the map grows. */
static void SM_07_a_map_that_grows_has_all_of_its_new_blocks(void **state)
{
	static const uint64_t sizes[] = {100, SM_PER_BITMAP, SM_PER_BITMAP + 1, 40000};
	struct sm_fixture *f = sm_fixture_new(1000, sizes[0], 40000, NULL, false);

	(void)state;
	for (size_t i = 1; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(take_all(f, &f->data), sizes[i - 1] - (i > 1 ? sizes[i - 2] : 0));
		assert_int_equal(sm_commit(f), 0);
		if (i % 2)
			sm_reopen(f);
		assert_int_equal(sm_extend(f, &f->data, sizes[i]), 0);
		sm_expect_counts(&f->data);
		if (i == 2)
			assert_int_equal(sm_commit(f), 0);
	}
	assert_int_equal(take_all(f, &f->data), 40000 - SM_PER_BITMAP - 1);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* --- SMM-16 --- */

struct told {
	uint64_t nr, last;
};

static void tell(void *ctx, uint64_t nr_available)
{
	struct told *told = ctx;

	told->nr++;
	told->last = nr_available;
}

static void SMM_16_the_threshold_is_told_once_each_time_it_is_reached(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 1000, 2000, NULL, false);
	struct told told = {0};
	uint64_t first;

	(void)state;
	thinp_sm_set_threshold(f->data.sm, 100, tell, &told);
	assert_int_equal(sm_take(f, &f->data, 899, &first), 0);
	assert_int_equal(told.nr, 0);
	assert_int_equal(sm_take(f, &f->data, 1, &first), 0);
	assert_int_equal(told.nr, 1);
	assert_int_equal(told.last, 100);
	assert_int_equal(sm_take(f, &f->data, 10, &first), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(told.nr, 1);
	assert_int_equal(sm_dec(&f->data, first, 10), 0); /* free, but not before the commit */
	assert_int_equal(sm_dec(&f->data, 0, 50), 0);
	assert_int_equal(thinp_sm_take(f->data.sm, 101, &first, NULL), THINP_ENOSPC);
	assert_int_equal(told.nr, 1);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_take(f, &f->data, 60, &first), 0);
	assert_int_equal(told.nr, 2);
	assert_int_equal(sm_extend(f, &f->data, 1200), 0);
	assert_int_equal(sm_take(f, &f->data, 50, &first), 0);
	assert_int_equal(told.nr, 2);
	assert_int_equal(sm_take(f, &f->data, 170, &first), 0);
	assert_int_equal(told.nr, 3);
	thinp_sm_set_threshold(f->data.sm, 2000, NULL, NULL);
	assert_int_equal(sm_take(f, &f->data, 1, &first), 0);
	assert_int_equal(told.nr, 3);
	sm_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nr_free_all),
		cmocka_unit_test(nr_free_none),
		cmocka_unit_test(SMD_01_SM_12_nr_free_across_transactions),
		cmocka_unit_test(SMD_01_SM_13_free_counts_never_wrap),
		cmocka_unit_test(wrapping_around),
		cmocka_unit_test(SM_06_the_cursor_goes_on_after_a_commit),
		cmocka_unit_test(SM_04_SM_11_SM_15_boundary_size),
		cmocka_unit_test(SM_05_blocks_behind_the_end_are_refused),
		cmocka_unit_test(SMD_01_SM_03_SM_18_counted_blocks_are_never_taken),
		cmocka_unit_test(runs_are_found_whole_or_as_long_as_there_are),
		cmocka_unit_test(a_long_run_is_taken_before_single_holes),
		cmocka_unit_test(SM_01_a_free_block_cannot_be_decremented),
		cmocka_unit_test(SM_09_a_range_is_the_same_as_its_blocks_one_by_one),
		cmocka_unit_test(SM_14_counts_go_up_to_2_to_the_32_less_1),
		cmocka_unit_test(SM_17_nothing_of_an_aborted_transaction_is_remembered),
		cmocka_unit_test(SM_07_a_map_that_grows_has_all_of_its_new_blocks),
		cmocka_unit_test(SMM_16_the_threshold_is_told_once_each_time_it_is_reached),
	};

	return cmocka_run_group_tests_name("space_map/take", tests, NULL, NULL);
}
