/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/transaction/test_model.c - random changes of versions that share blocks, against a model, also while calls fail.
 *
 * REFCHECK and PREVCHECK of the defect history: counts are compared with the pointers there are, and the bytes of the last
 * commit on the device with what they were.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "support/tm_fixture.h"
#include "support/tm_toy.h"
#include "unit/base/random.h"

enum { NR_BLOCKS = 300, NR_STEPS = 6000 };

struct world {
	struct tm_fixture *f;
	struct tm_toy toy;
	struct tm_toy_values now;
	struct tm_toy_values committed;
	thinp_block_t committed_roots[TM_TOY_VERSIONS];
	uint64_t rng;
	size_t nr_failed;
};

static struct world *new_world(uint32_t cache_blocks)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->f = tm_fixture_new(NR_BLOCKS, cache_blocks);
	w->toy = (struct tm_toy){.bm = w->f->b->bm, .map = w->f->map, .tm = w->f->tm};
	for (unsigned int i = 0; i < TM_TOY_VERSIONS; i++)
		w->toy.roots[i] = w->committed_roots[i] = THINP_NO_BLOCK;
	return w;
}

static void free_world(struct world *w)
{
	block_change_expect_at_rest(w->f->b);
	tm_fixture_free(w->f);
	free(w);
}

static void compare(struct world *w)
{
	struct tm_toy_values seen;

	assert_int_equal(tm_toy_read(&w->toy, &seen), 0);
	assert_memory_equal(&seen, &w->now, sizeof(seen));
	assert_int_equal(tm_toy_check_counts(&w->toy, NR_BLOCKS), 0);
	tm_fixture_check_committed(w->f);
}

static void note_commit(struct world *w)
{
	struct tm_fixture *f = w->f;

	memcpy(f->committed, f->b->device.blocks, NR_BLOCKS * THINP_BLOCK_SIZE);
	for (thinp_block_t block = 0; block < NR_BLOCKS; block++)
		f->is_committed[block] = tm_fixture_count(f, block);
	w->committed = w->now;
	memcpy(w->committed_roots, w->toy.roots, sizeof(w->committed_roots));
}

static void do_abort(struct world *w)
{
	tm_fixture_fail(w->f, 0, 0, 0);
	block_device_fail_kinds(&w->f->b->device, 0, 0, 0);
	alloc_counting_fail(&w->f->b->alloc, 0);
	tm_toy_abort(&w->toy, w->committed_roots);
	w->now = w->committed;
	compare(w);
}

static uint64_t pick(struct world *w, uint64_t nr)
{
	return random_next(&w->rng) % nr;
}

static int change(struct world *w, uint64_t what, unsigned int version, unsigned int other)
{
	struct tm_toy_values *now = &w->now;
	unsigned int leaf = (unsigned int)pick(w, TM_TOY_LEAVES);
	uint64_t value = random_next(&w->rng);
	int r;

	if (!now->exists[version]) {
		r = tm_toy_make(&w->toy, version);
		if (!r)
			now->exists[version] = true;
	} else if (what < 70) {
		r = tm_toy_set(&w->toy, version, leaf, value);
		if (!r)
			now->values[version][leaf] = value;
	} else if (what < 85 && !now->exists[other]) {
		r = tm_toy_snapshot(&w->toy, version, other);
		if (!r) {
			now->exists[other] = true;
			memcpy(now->values[other], now->values[version], sizeof(now->values[0]));
		}
	} else {
		r = tm_toy_drop(&w->toy, version);
		if (!r) {
			now->exists[version] = false;
			memset(now->values[version], 0, sizeof(now->values[0]));
		}
	}
	return r;
}

static int commit(struct world *w)
{
	int r = tm_toy_commit(&w->toy);

	if (!r)
		note_commit(w);
	return r;
}

static int step(struct world *w)
{
	uint64_t what = pick(w, 1000);

	if (what < 940)
		return change(w, pick(w, 100), (unsigned int)pick(w, TM_TOY_VERSIONS),
			      (unsigned int)pick(w, TM_TOY_VERSIONS));
	if (what < 980)
		return commit(w);
	if (what < 990)
		do_abort(w);
	else
		compare(w);
	return 0;
}

static void run_random_changes(uint32_t cache_blocks)
{
	struct world *w = new_world(cache_blocks);

	w->rng = random_begin();
	for (unsigned int i = 0; i < NR_STEPS; i++)
		assert_int_equal(step(w), 0);
	do_abort(w);
	free_world(w);
}

static void TM_05_TM_06_random_changes_match_a_model_in_a_small_cache(void **state)
{
	(void)state;
	run_random_changes(16);
}

static void TM_05_TM_06_random_changes_match_a_model_in_a_large_cache(void **state)
{
	(void)state;
	run_random_changes(NR_BLOCKS - 40); /* all that is changed at once has room */
}

/* --- while calls fail --- */

/* One of what can fail will, soon. A commit record is spared: what it leaves is nobody's to know. */
static void plan_failure(struct world *w)
{
	static const int codes[] = {THINP_ENOSPC, THINP_EIO, THINP_ENOMEM};
	size_t n = 1 + pick(w, 30);

	switch (pick(w, 3)) {
	case 0:
		tm_fixture_fail(w->f, n, 1 + pick(w, 2), codes[pick(w, 3)]);
		break;
	case 1:
		block_device_fail_kinds(&w->f->b->device, BLOCK_DEVICE_FAIL_READ | BLOCK_DEVICE_FAIL_WRITE, n,
					THINP_EIO);
		break;
	default:
		alloc_counting_fail(&w->f->b->alloc, 1 + n / 8);
		break;
	}
}

/* What failed has left all as it was, or says that it must be aborted. */
static void meet_failure(struct world *w)
{
	w->nr_failed++;
	tm_fixture_fail(w->f, 0, 0, 0);
	block_device_fail_kinds(&w->f->b->device, 0, 0, 0);
	alloc_counting_fail(&w->f->b->alloc, 0);
	if (thinp_tm_status(w->f->tm) == THINP_EMUSTABORT)
		do_abort(w);
	else
		compare(w);
}

static void TM_08_random_failures_leave_the_state_or_the_last_commit(void **state)
{
	struct world *w = new_world(16);

	(void)state;
	w->rng = random_begin();
	for (unsigned int i = 0; i < NR_STEPS; i++) {
		bool is_commit = pick(w, 20) == 0;
		int r;

		if (is_commit) {
			tm_fixture_fail(w->f, 0, 0, 0);
			block_device_fail_kinds(&w->f->b->device, 0, 0, 0);
			alloc_counting_fail(&w->f->b->alloc, 0);
			r = commit(w);
			assert_int_equal(r, 0);
			plan_failure(w);
		} else {
			r = change(w, pick(w, 100), (unsigned int)pick(w, TM_TOY_VERSIONS),
				   (unsigned int)pick(w, TM_TOY_VERSIONS));
		}
		if (r) {
			meet_failure(w);
			plan_failure(w);
		}
	}
	do_abort(w);
	assert_true(w->nr_failed > 100);
	free_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TM_05_TM_06_random_changes_match_a_model_in_a_small_cache),
		cmocka_unit_test(TM_05_TM_06_random_changes_match_a_model_in_a_large_cache),
		cmocka_unit_test(TM_08_random_failures_leave_the_state_or_the_last_commit),
	};

	return cmocka_run_group_tests_name("transaction/model", tests, NULL, NULL);
}
