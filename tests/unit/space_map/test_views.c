/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks that came free while a view is on an earlier commit: when they can be taken again.
 */
#include "support/image_expect.h"
#include "support/space_map_fixture.h"

#include "unit/base/random.h"

static void held_blocks_come_free_when_no_earlier_view_is_left(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 1000, 1000, NULL, false);
	uint64_t first, base;

	(void)state;
	assert_int_equal(sm_inc(&f->data, 0, 1000), 0);
	assert_int_equal(sm_commit(f), 0);
	base = f->nr_commits;
	f->hold = true;
	for (uint64_t i = 0; i < 3; i++) { /* commits base + 1 to base + 3 free ten blocks each */
		assert_int_equal(sm_dec(&f->data, i * 10, 10), 0);
		assert_int_equal(sm_commit(f), 0);
	}
	assert_int_equal(sm_info(&f->data).nr_zero, 30);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 0);
	assert_int_equal(thinp_sm_take(f->data.sm, 1, &first, NULL), THINP_ENOSPC);
	tp_sm_release(f->data.sm, base);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 0);
	tp_sm_release(f->data.sm, base + 1);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 10);
	assert_int_equal(sm_take(f, &f->data, 10, &first), 0);
	assert_int_equal(first, 0);
	tp_sm_release(f->data.sm, base + 3);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 20);
	sm_abort(f);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 30);
	assert_int_equal(sm_take(f, &f->data, 30, &first), 0);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

static void an_abort_forgets_no_held_block(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 40000, 40000, NULL, false);
	uint64_t first;

	(void)state;
	assert_int_equal(sm_inc(&f->data, 0, 40000), 0);
	assert_int_equal(sm_commit(f), 0);
	f->hold = true;
	assert_int_equal(sm_dec(&f->data, 16300, 100), 0); /* over the border of two bitmaps */
	assert_int_equal(sm_commit(f), 0);
	sm_abort(f);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 0);
	assert_int_equal(sm_inc(&f->data, 0, 1), 0); /* pages are read again */
	assert_int_equal(thinp_sm_take(f->data.sm, 1, &first, NULL), THINP_ENOSPC);
	tp_sm_release(f->data.sm, f->nr_commits);
	assert_int_equal(sm_take(f, &f->data, 100, &first), 0);
	assert_int_equal(first, 16300);
	sm_fixture_free(f);
}

/* A block that is counted while it is held, and freed again, is in two sets: the later one decides. */
static void a_block_held_twice_comes_free_with_the_later_one(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 100, 1000, NULL, false);
	uint64_t first, base;

	(void)state;
	assert_int_equal(sm_inc(&f->data, 0, 100), 0);
	assert_int_equal(sm_commit(f), 0);
	base = f->nr_commits;
	f->hold = true;
	assert_int_equal(sm_dec(&f->data, 7, 3), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_inc(&f->data, 8, 1), 0);
	assert_int_equal(sm_inc(&f->data, 9, 1), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_dec(&f->data, 8, 1), 0);
	assert_int_equal(sm_commit(f), 0);
	sm_abort(f); /* what is in memory is read again */
	tp_sm_release(f->data.sm, base + 1);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 1);
	assert_int_equal(sm_take(f, &f->data, 1, &first), 0);
	assert_int_equal(first, 7);
	assert_int_equal(thinp_sm_take(f->data.sm, 1, &first, NULL), THINP_ENOSPC);
	tp_sm_release(f->data.sm, base + 3);
	assert_int_equal(sm_info(&f->data).nr_allocatable, 1);
	assert_int_equal(sm_take(f, &f->data, 1, &first), 0);
	assert_int_equal(first, 8);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* --- random, against an array that says until which commit a block is held --- */

struct holding {
	uint64_t until[2000]; /* 0: not held */
	uint32_t before[2000];
};

static void note_commit(struct sm_fixture *f, struct holding *h, bool hold)
{
	for (uint64_t b = 0; b < f->data.nr; b++) {
		if (h->before[b] && !f->data.counts[b] && hold)
			h->until[b] = f->nr_commits;
		h->before[b] = f->data.counts[b];
	}
}

static void note_release(struct sm_fixture *f, struct holding *h, uint64_t commit)
{
	tp_sm_release(f->data.sm, commit);
	tp_sm_release(f->meta.sm, commit);
	for (uint64_t b = 0; b < f->data.nr; b++)
		h->until[b] = h->until[b] <= commit ? 0 : h->until[b];
}

static void expect_allocatable(struct sm_fixture *f, const struct holding *h)
{
	uint64_t nr = 0;

	for (uint64_t b = 0; b < f->data.nr; b++)
		nr += !f->data.counts[b] && !f->data.committed[b] && !h->until[b];
	assert_int_equal(sm_info(&f->data).nr_allocatable, nr);
}

static void change(struct sm_fixture *f, const struct holding *h, uint64_t *rng)
{
	uint64_t b = random_next(rng) % f->data.nr;

	switch (random_next(rng) % 4) {
	case 0:
		assert_int_equal(sm_inc(&f->data, b, 1), 0);
		break;
	case 1:
		if (!sm_take(f, &f->data, 1, &b))
			assert_int_equal(h->until[b], 0);
		break;
	default:
		if (f->data.counts[b])
			assert_int_equal(sm_dec(&f->data, b, 1), 0);
	}
}

static void random_views_hold_what_they_see(void **state)
{
	struct sm_fixture *f = sm_fixture_new(3000, 2000, 3000, NULL, false);
	struct holding *h = calloc(1, sizeof(*h));
	uint64_t seed = random_begin(), released = 0;

	(void)state;
	for (int round = 0; round < 300; round++) {
		for (uint64_t i = random_next(&seed) % 200; i; i--)
			change(f, h, &seed);
		expect_allocatable(f, h);
		f->hold = random_next(&seed) % 3;
		if (random_next(&seed) % 5 == 0) {
			sm_abort(f);
		} else {
			assert_int_equal(round % 10 ? sm_commit_unchecked(f) : sm_commit(f), 0);
			note_commit(f, h, f->hold);
		}
		expect_allocatable(f, h);
		for (uint64_t i = random_next(&seed) % 100; i; i--)
			change(f, h, &seed);
		if (random_next(&seed) % 3 == 0) {
			released += random_next(&seed) % (f->nr_commits - released + 1);
			note_release(f, h, released);
		}
		expect_allocatable(f, h);
	}
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
	free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(held_blocks_come_free_when_no_earlier_view_is_left),
		cmocka_unit_test(an_abort_forgets_no_held_block),
		cmocka_unit_test(a_block_held_twice_comes_free_with_the_later_one),
		cmocka_unit_test(random_views_hold_what_they_see),
	};

	return cmocka_run_group_tests_name("space_map/views", tests, NULL, NULL);
}
