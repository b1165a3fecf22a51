/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data maps whose counts do not all fit memory: pages come and go, and nobody can tell by the counts.
 */
#include "space_map/sm.h"
#include "support/image_expect.h"
#include "support/space_map_fixture.h"

#include "unit/base/random.h"

enum { NR_PAGES = 12 };

static struct sm_fixture *begin(uint64_t nr_pages_in_memory)
{
	struct sm_fixture *f =
		sm_fixture_new(3000, NR_PAGES * SM_PER_BITMAP - 5, NR_PAGES * SM_PER_BITMAP + 9, NULL, false);

	f->opts.memory_limit = nr_pages_in_memory * sizeof(struct tp_page) + sizeof(struct tp_directory_chunk);
	sm_reopen(f);
	return f;
}

static void trim(struct sm_fixture *f)
{
	assert_int_equal(tp_sm_trim(f->data.sm, f->tm), 0);
	assert_true(sm_info(&f->data).bytes <= f->opts.memory_limit + sizeof(struct tp_page));
}

/* A change of all counts, page by page. */
static void a_large_change_stays_within_the_limit(void **state)
{
	struct sm_fixture *f = begin(4);
	uint64_t first;

	(void)state;
	for (int round = 0; round < 4; round++) {
		for (uint64_t b = 0; b + SM_PER_BITMAP / 2 <= f->data.nr; b += SM_PER_BITMAP / 2) {
			assert_int_equal(round < 2 ? sm_inc(&f->data, b, 8000) : sm_dec(&f->data, b, 8000), 0);
			trim(f);
		}
		if (round == 3) { /* freed pages are not in memory, and not to be taken yet */
			uint64_t nr = sm_info(&f->data).nr_allocatable;

			assert_int_equal(nr, f->data.nr - 2 * NR_PAGES * 8000 + 8000); /* the last half page is cut */
			while (!sm_take(f, &f->data, 1, &first))
				nr--;
			assert_int_equal(nr, 0);
			trim(f);
		}
		assert_int_equal(sm_commit(f), 0);
	}
	sm_fixture_free(f);
}

static void change(struct sm_fixture *f, uint64_t *rng)
{
	uint64_t b = random_next(rng) % f->data.nr;
	uint64_t nr = random_next(rng) % 4 ? 1 : random_next(rng) % 3000;

	nr = nr < f->data.nr - b ? nr : f->data.nr - b;
	switch (random_next(rng) % 4) {
	case 0:
		assert_int_equal(sm_inc(&f->data, b, nr), 0);
		break;
	case 1:
		(void)!sm_take(f, &f->data, nr ? nr : 1, &b);
		break;
	case 2:
		sm_raise(&f->data, b, 250 + (uint32_t)(b % 10));
		break;
	default:
		for (uint64_t i = b; i < b + nr; i++)
			nr = f->data.counts[i] ? nr : i - b;
		assert_int_equal(sm_dec(&f->data, b, nr), 0);
	}
	trim(f);
}

static void random_changes_are_the_same_with_any_limit(void **state)
{
	uint64_t seed = random_begin();

	(void)state;
	for (uint64_t limit = 1; limit <= 6; limit += 2) {
		struct sm_fixture *f = begin(limit);

		for (int round = 0; round < 40; round++) {
			for (uint64_t i = random_next(&seed) % 60; i; i--)
				change(f, &seed);
			if (round == 30)
				assert_int_equal(sm_extend(f, &f->data, NR_PAGES * SM_PER_BITMAP + 9), 0);
			if (round % 8 == 0)
				sm_expect_counts(&f->data);
			if (random_next(&seed) % 6 == 0)
				sm_abort(f);
			else
				assert_int_equal(sm_commit(f), 0);
		}
		sm_expect_counts(&f->data);
		sm_fixture_free(f);
	}
}

/* What a view holds is remembered when its page is not. */
static void held_blocks_outlive_their_pages(void **state)
{
	struct sm_fixture *f = begin(1);
	uint64_t first, freed = 0;

	(void)state;
	assert_int_equal(sm_inc(&f->data, 0, f->data.nr), 0);
	trim(f);
	assert_int_equal(sm_commit(f), 0);
	f->hold = true;
	for (uint64_t p = 0; p < NR_PAGES; p++, freed += 100) {
		assert_int_equal(sm_dec(&f->data, p * SM_PER_BITMAP + 50 * p, 100), 0);
		trim(f);
	}
	assert_int_equal(sm_commit(f), 0);
	trim(f);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 0);
	assert_int_equal(sm_info(&f->data).nr_zero, freed);
	assert_int_equal(thinp_sm_take(f->data.sm, 1, &first, NULL), THINP_ENOSPC);
	tp_sm_release(f->data.sm, f->nr_commits);
	assert_int_equal(sm_info(&f->data).nr_allocatable, freed);
	for (uint64_t i = 0; i < freed; i++) {
		assert_int_equal(sm_take(f, &f->data, 1, &first), 0);
		trim(f);
	}
	assert_int_equal(thinp_sm_take(f->data.sm, 1, &first, NULL), THINP_ENOSPC);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* New bitmaps that nobody looked into are recorded early, too, and only once. */
static void pages_of_a_growth_can_be_recorded_before_the_commit(void **state)
{
	struct sm_fixture *f = sm_fixture_new(3000, 100, NR_PAGES * SM_PER_BITMAP, NULL, false);
	uint64_t first;

	(void)state;
	f->opts.memory_limit = 2 * sizeof(struct tp_page);
	sm_reopen(f);
	assert_int_equal(sm_extend(f, &f->data, NR_PAGES * SM_PER_BITMAP), 0);
	assert_int_equal(sm_take(f, &f->data, 4 * SM_PER_BITMAP, &first), 0);
	trim(f);
	assert_int_equal(f->data.sm->now.nr_bitmaps, NR_PAGES);
	assert_int_equal(sm_inc(&f->data, 0, f->data.nr), 0);
	trim(f);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_extend(f, &f->data, NR_PAGES * SM_PER_BITMAP), 0);
	sm_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_large_change_stays_within_the_limit),
		cmocka_unit_test(random_changes_are_the_same_with_any_limit),
		cmocka_unit_test(held_blocks_outlive_their_pages),
		cmocka_unit_test(pages_of_a_growth_can_be_recorded_before_the_commit),
	};

	return cmocka_run_group_tests_name("space_map/trim", tests, NULL, NULL);
}
