/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counts of maps that are changed, committed, aborted and opened again, against a plain array.
 */
#include "support/image_expect.h"
#include "support/space_map_fixture.h"

#include "unit/base/random.h"

/* SMM-03 */
static void SMM_03_a_new_map_of_any_size_counts_itself(void **state)
{
	static const uint64_t sizes[] = {12,
					 100,
					 SM_PER_BITMAP - 1,
					 SM_PER_BITMAP,
					 SM_PER_BITMAP + 1,
					 2 * SM_PER_BITMAP,
					 3 * SM_PER_BITMAP + 5,
					 10 * SM_PER_BITMAP - 1,
					 10 * SM_PER_BITMAP,
					 10 * SM_PER_BITMAP + 1};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct sm_fixture *f = sm_fixture_new(sizes[i], 5, sizes[i], NULL, false);

		sm_reopen(f);
		sm_check(f);
		assert_int_equal(sm_commit(f), 0);
		sm_fixture_free(f);
	}
}

/* SM-08 */
static void SM_08_counts_go_up_and_down_through_the_overflow_tree(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 40000, 40000, NULL, false);
	static const uint64_t blocks[] = {0, 1, 2, 777, 16319, 16320, 39999};

	(void)state;
	for (int step = 0; step < 12; step++) {
		for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
			assert_int_equal(step < 6 ? sm_inc(&f->data, blocks[i], 1) : sm_dec(&f->data, blocks[i], 1), 0);
		assert_int_equal(sm_commit(f), 0);
	}
	sm_expect_counts(&f->data);
	sm_fixture_free(f);
}

/* --- random --- */

static void random_op(struct sm_fixture *f, uint64_t *rng)
{
	struct sm_model *m = random_next(rng) % 4 ? &f->data : &f->meta;
	uint64_t first = random_next(rng) % m->nr;
	uint64_t nr = random_next(rng) % 8 ? 1 : random_next(rng) % 300;
	int r;

	if (nr > m->nr - first)
		nr = m->nr - first;
	switch (random_next(rng) % 3) {
	case 0:
		r = sm_take(f, m, nr ? nr : 1, &first);
		assert_true(r == 0 || r == THINP_ENOSPC);
		break;
	case 1: /* of metadata blocks only those that the test owns */
		for (uint64_t b = first; m == &f->meta && b < first + nr; b++)
			nr = m->counts[b] ? nr : b - first;
		r = sm_inc(m, first, nr);
		assert_true(r == 0 || r == THINP_ENOSPC);
		break;
	default:
		for (uint64_t b = first; b < first + nr; b++)
			nr = m->counts[b] > (b == 0) ? nr : b - first;
		r = sm_dec(m, first, nr);
		assert_true(r == 0 || r == THINP_ENOSPC);
	}
}

static void run_random(uint64_t seed, const char *policy, bool queue_always, int nr_rounds)
{
	uint64_t rng = seed;
	struct sm_fixture *f =
		sm_fixture_new(3 * SM_PER_BITMAP + 5, 40000, 60000, thinp_opq_policy_by_name(policy), queue_always);

	for (int round = 0; round < nr_rounds; round++) {
		uint64_t nr_ops = random_next(&rng) % 300;

		for (uint64_t i = 0; i < nr_ops; i++)
			random_op(f, &rng);
		sm_expect_counts(&f->data);
		switch (random_next(&rng) % 8) {
		case 0:
			sm_abort(f);
			break;
		case 1:
			sm_reopen(f);
			break;
		default:
			assert_int_equal(sm_commit(f), 0);
		}
	}
	sm_fixture_free(f);
}

static void random_changes_are_what_a_plain_array_has(void **state)
{
	(void)state;
	run_random(random_begin(), "fifo", false, 60);
}

static void any_policy_that_keeps_the_order_gives_the_same(void **state)
{
	uint64_t seed = random_begin();

	(void)state;
	run_random(seed, "sorted", false, 20);
	run_random(seed, "coalescing", false, 20);
	run_random(seed, "fifo", true, 20);
	run_random(seed, "coalescing", true, 20);
	run_random(seed, "sorted", true, 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(SMM_03_a_new_map_of_any_size_counts_itself),
		cmocka_unit_test(SM_08_counts_go_up_and_down_through_the_overflow_tree),
		cmocka_unit_test(random_changes_are_what_a_plain_array_has),
		cmocka_unit_test(any_policy_that_keeps_the_order_gives_the_same),
	};

	return cmocka_run_group_tests_name("space_map/counts", tests, NULL, NULL);
}
