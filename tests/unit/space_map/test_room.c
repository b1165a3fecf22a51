/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is kept back for commits: a map that says no in time, and a commit that never runs out of blocks.
 */
#include "space_map/sm.h"
#include "support/image_expect.h"
#include "support/space_map_fixture.h"

#include "unit/base/random.h"

static uint64_t cost_of(const struct sm_fixture *f)
{
	return sm_info(&f->meta).commit_cost + sm_info(&f->data).commit_cost;
}

/* --- commit_cost --- */

static void commit_cost_of_a_map_at_rest_is_its_index_and_its_bitmaps(void **state)
{
	struct sm_fixture *f = sm_fixture_new(3 * SM_PER_BITMAP, 100, 3 * SM_PER_BITMAP, NULL, false);

	(void)state;
	assert_int_equal(sm_info(&f->meta).commit_cost, 1 + 3);
	assert_int_equal(sm_info(&f->data).commit_cost, 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(f->nr_taken, 0); /* nothing has changed */
	sm_fixture_free(f);
}

static void commit_cost_covers_what_a_commit_takes_and_not_much_more(void **state)
{
	struct sm_fixture *f = sm_fixture_new(20000, 40000, 40000, NULL, false);
	uint64_t worst_cost = 0, worst_taken = 0, block;

	(void)state;
	for (uint64_t nr = 1; nr < 20000; nr = nr * 3 + 1) {
		uint64_t cost;

		for (uint64_t i = 0; i < nr; i++)
			sm_raise(&f->data, (i * 7919) % 40000, 3);
		assert_int_equal(sm_take(f, &f->meta, 1, &block), 0);
		cost = cost_of(f);
		assert_int_equal(sm_commit(f), 0);
		print_message("%llu counts: cost %llu, taken %llu\n", (unsigned long long)nr, (unsigned long long)cost,
			      (unsigned long long)f->nr_taken);
		worst_cost = cost > worst_cost ? cost : worst_cost;
		worst_taken = f->nr_taken > worst_taken ? f->nr_taken : worst_taken;
		assert_true(cost <= 4 * f->nr_taken + 8);
	}
	assert_true(worst_cost <= 4 * worst_taken);
	sm_fixture_free(f);
}

/* --- inc_cost: what one more change adds --- */

static void inc_cost_of_a_small_count_is_a_bitmap_and_its_path(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 3 * SM_PER_BITMAP, 3 * SM_PER_BITMAP, NULL, false);
	uint64_t before = cost_of(f);

	(void)state;
	assert_int_equal(sm_inc(&f->data, 5, 1), 0);
	assert_int_equal(cost_of(f), before + 2); /* bitmap and index leaf */
	before = cost_of(f);
	assert_int_equal(sm_inc(&f->data, 6, 1), 0);
	assert_int_equal(sm_inc(&f->data, 6, 1), 0);
	assert_int_equal(cost_of(f), before); /* the same bitmap */
	assert_int_equal(sm_inc(&f->data, 2 * SM_PER_BITMAP, 1), 0);
	assert_int_equal(cost_of(f), before + 1); /* another one, the same leaf */
	before = cost_of(f);
	assert_int_equal(sm_inc(&f->data, 6, 1), 0); /* 3: the overflow tree, which is one leaf that may be full */
	assert_in_range(cost_of(f), before + 1, before + 4);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* What was foretold for a change of any blocks is never less than what it adds. */
static void tp_sm_cost_is_enough_for_any_blocks(void **state)
{
	struct sm_fixture *f = sm_fixture_new(20000, 10 * SM_PER_BITMAP, 10 * SM_PER_BITMAP, NULL, false);
	uint64_t seed = random_begin();

	(void)state;
	for (int round = 0; round < 300; round++) {
		uint64_t nr = random_next(&seed) % 20;
		uint64_t foretold = tp_sm_cost(f->data.sm, nr);
		uint64_t before = cost_of(f);

		for (uint64_t i = 0; i < nr; i++) {
			uint64_t b = random_next(&seed) % 2000 * 81;

			if (random_next(&seed) % 3 || !f->data.counts[b])
				assert_int_equal(sm_inc(&f->data, b, 1), 0);
			else
				assert_int_equal(sm_dec(&f->data, b, 1), 0);
		}
		assert_true(cost_of(f) <= before + foretold);
		if (round % 10 == 9)
			assert_int_equal(round % 50 == 49 ? sm_commit(f) : sm_commit_unchecked(f), 0);
	}
	sm_fixture_free(f);
}

/* --- full --- */

static int sm_reserve(struct sm_fixture *f, uint64_t nr, uint32_t flags)
{
	struct thinp_alloc table = {.size = sizeof(table)};

	thinp_sm_get_alloc(f->meta.sm, &table);
	return table.reserve(table.ctx, nr, flags);
}

struct filling {
	uint64_t *blocks; /* metadata blocks of the test */
	uint64_t nr;
	uint64_t nr_refused;
	uint64_t worst_cost, worst_taken; /* kept back for a commit, and taken by one */
};

static void commit_full(struct sm_fixture *f, struct filling *fill, bool is_checked)
{
	uint64_t cost = cost_of(f);

	assert_int_equal(is_checked ? sm_commit(f) : sm_commit_unchecked(f), 0);
	fill->worst_cost = cost > fill->worst_cost ? cost : fill->worst_cost;
	fill->worst_taken = f->nr_taken > fill->worst_taken ? f->nr_taken : fill->worst_taken;
}

static uint64_t percent_used(const struct sm_fixture *f)
{
	const struct thinp_sm_info info = sm_info(&f->meta);

	return (info.nr_blocks - info.nr_zero) * 100 / info.nr_blocks;
}

static void fill_a_step(struct sm_fixture *f, struct filling *fill, uint64_t *rng)
{
	uint64_t i = fill->nr ? random_next(rng) % fill->nr : 0;
	uint64_t block;
	int r = 0;

	if (sm_reserve(f, 0, 0)) { /* what adds something asks first; what frees something does not need to */
		fill->nr_refused++;
		r = fill->nr ? sm_dec(&f->meta, fill->blocks[i], 1) : 0;
		assert_true(r == 0 || r == THINP_ENOSPC);
		if (fill->nr && !r && !f->meta.counts[fill->blocks[i]])
			fill->blocks[i] = fill->blocks[--fill->nr];
		return;
	}
	switch (fill->nr ? random_next(rng) % 8 : 0) {
	case 0:
	case 1:
	case 2:
	case 3:
		r = sm_take(f, &f->meta, 1, &block);
		if (!r)
			fill->blocks[fill->nr++] = block;
		break;
	case 4:
		r = sm_inc(&f->meta, fill->blocks[i], 1);
		break;
	case 5:
		r = sm_dec(&f->meta, fill->blocks[i], 1);
		if (!r && !f->meta.counts[fill->blocks[i]])
			fill->blocks[i] = fill->blocks[--fill->nr];
		break;
	default:
		r = sm_inc(&f->data, random_next(rng) % f->data.nr, 1);
	}
	assert_true(r == 0 || r == THINP_ENOSPC);
	fill->nr_refused += r != 0;
}

/* Takes, raises and lowers in any order until nothing is left, and goes on; each commit finds room. */
static void run_full(uint64_t nr_metadata, uint64_t nr_data, uint64_t seed, uint64_t nr_ops, uint64_t nr_commits,
		     bool to_the_last)
{
	struct thinp_alloc table = {.size = sizeof(table)};
	uint64_t nr_most = nr_metadata > nr_data ? nr_metadata : nr_data;
	struct sm_fixture *f = sm_fixture_new(nr_metadata, nr_data, nr_most, NULL, false);
	struct filling fill = {.blocks = calloc(nr_metadata, sizeof(uint64_t))};
	uint64_t block, most = 0;

	for (uint64_t c = 0; c < nr_commits; c++) {
		for (uint64_t i = random_next(&seed) % nr_ops; i; i--)
			fill_a_step(f, &fill, &seed);
		thinp_sm_get_alloc(f->meta.sm, &table);
		while (to_the_last && c > nr_commits / 2 && !table.take(table.ctx, THINP_CAUSE_NEW, &block)) {
			assert_int_equal(f->meta.counts[block]++ + f->meta.committed[block], 0);
			fill.blocks[fill.nr++] = block;
		}
		if (to_the_last && c > nr_commits / 2) /* no block is left but those kept back */
			assert_true(sm_info(&f->meta).nr_allocatable <= cost_of(f));
		most = percent_used(f) > most ? percent_used(f) : most;
		commit_full(f, &fill, c % 16 == 0);
	}
	sm_check(f);
	print_message(
		"%llu blocks: %llu %% full at most, %llu changes refused; a commit took up to %llu, %llu were kept\n",
		(unsigned long long)nr_metadata, (unsigned long long)most, (unsigned long long)fill.nr_refused,
		(unsigned long long)fill.worst_taken, (unsigned long long)fill.worst_cost);
	assert_true(fill.worst_cost <= 4 * fill.worst_taken);
	assert_true(fill.nr_refused);
	assert_true(most >= 95 || (nr_metadata < 2500 && !to_the_last));
	/* where it was asked before, all of it can be freed again */
	for (uint64_t i = 0; !to_the_last && i < fill.nr; i++) {
		while (f->meta.counts[fill.blocks[i]]) {
			if (!sm_dec(&f->meta, fill.blocks[i], 1))
				continue;
			assert_int_equal(sm_commit_unchecked(f), 0);
			assert_int_equal(sm_dec(&f->meta, fill.blocks[i], 1), 0);
		}
	}
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
	free(fill.blocks);
}

static void COW_06_recording_never_runs_out_of_blocks_however_full_the_map(void **state)
{
	uint64_t seed = random_begin();

	(void)state;
	for (uint64_t i = 0; i < 20; i++) {
		run_full(200 + random_next(&seed) % 100, 100, seed + i, 30, 200, i % 2);
		run_full(1000 + random_next(&seed) % 2000, 40000, seed + i, 1000, 100, i % 2);
	}
	run_full(SM_PER_BITMAP + 1, 100000, seed, 20000, 60, true);
	run_full(2 * SM_PER_BITMAP + 5, 100, seed, 40000, 40, false);
	run_full(2 * SM_PER_BITMAP + 5, 100, seed, 40000, 40, true);
}

/* SMM-17 */
static void SMM_17_what_is_available_can_be_taken(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 100, 1000, NULL, false);
	uint64_t first, block, nr;

	(void)state;
	assert_int_equal(sm_take(f, &f->meta, 300, &first), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_dec(&f->meta, first, 300), 0);
	nr = sm_info(&f->meta).nr_available; /* without what was freed just now */
	assert_true(nr <= sm_info(&f->meta).nr_zero - 300 - sm_info(&f->meta).commit_cost);
	for (uint64_t i = 0; i < nr; i++)
		assert_int_equal(sm_take(f, &f->meta, 1, &block), 0);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* H1, SMM-06, SMM-10 */
static void H1_SMM_10_the_last_blocks_are_handed_out_once(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 100, 1000, NULL, false);
	struct thinp_alloc table = {.size = sizeof(table)};
	struct thinp_sm_info info;
	uint64_t block = 4711, nr = 0;

	(void)state;
	thinp_sm_get_alloc(f->meta.sm, &table);
	while (!table.take(table.ctx, THINP_CAUSE_NEW, &block)) {
		assert_int_equal(f->meta.counts[block]++, 0);
		nr++;
	}
	info = sm_info(&f->meta);
	assert_int_equal(info.nr_allocatable, info.commit_cost + sm_info(&f->data).commit_cost);
	block = 4711;
	assert_int_equal(thinp_sm_take(f->meta.sm, 1, &block, NULL), THINP_ENOSPC);
	assert_int_equal(block, 4711);
	assert_int_equal(sm_commit(f), 0);
	/* and after the commit, which freed what it replaced */
	while (!table.take(table.ctx, THINP_CAUSE_NEW, &block)) {
		assert_int_equal(f->meta.counts[block]++, 0);
		nr++;
	}
	assert_int_equal(sm_commit(f), 0);
	assert_true(nr > 950);
	sm_fixture_free(f);
}

/* A free block is not only given by take: whoever counts a reference to one takes it, too. */
static void a_free_block_is_counted_only_when_a_commit_has_room_without_it(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 100, 1000, NULL, false);
	struct thinp_alloc table = {.size = sizeof(table)};
	uint64_t nr_blocks = 0, first, left, b;

	(void)state;
	thinp_sm_get_alloc(f->meta.sm, &table);
	assert_int_equal(sm_take(f, &f->meta, 300, &first), 0); /* where the search for free blocks begins */
	left = sm_info(&f->meta).nr_available;
	for (b = first + 300; left; b++) {
		if (b % 7 == 0 && b + left < 1000) /* of several, all or none */
			assert_int_equal(thinp_sm_inc(f->meta.sm, b, left + 1), THINP_ENOSPC);
		assert_int_equal(sm_inc(&f->meta, b, 1), 0);
		assert_int_equal(sm_info(&f->meta).nr_available, left - 1);
		left = sm_info(&f->meta).nr_available;
	}
	assert_int_equal(sm_inc(&f->meta, b, 1), THINP_ENOSPC);
	assert_int_equal(sm_inc(&f->meta, first, 1), 0);                       /* of one that is in use, still */
	for (; !table.inc(table.ctx, b, 1, THINP_CAUSE_NEW); b++, nr_blocks++) /* those who asked have the rest */
		f->meta.counts[b]++;
	assert_true(nr_blocks > 0);
	assert_int_equal(sm_info(&f->meta).nr_allocatable, cost_of(f));
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_dec(&f->meta, first + 1, 1), 0);
	assert_int_equal(sm_inc(&f->meta, first + 1, 1),
			 0); /* the last commit uses it: nothing is taken from this one */
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* With a two-level overflow tree and no block more than what is kept back, raising a count still commits. */
static void H1_a_full_map_can_raise_and_lower_counts_or_says_no(void **state)
{
	struct sm_fixture *f = sm_fixture_new(3000, 100, 3000, NULL, false);
	uint64_t first, block, nr_refused = 0;

	(void)state;
	assert_int_equal(sm_take(f, &f->meta, 1000, &first), 0);
	assert_int_equal(sm_inc(&f->meta, first, 1000), 0);
	assert_int_equal(sm_inc(&f->meta, first, 500), 0);
	assert_int_equal(sm_commit(f), 0);
	for (int round = 0; round < 200; round++) {
		while (!sm_take(f, &f->meta, 1, &block))
			;
		block = first + (uint64_t)round * 5;
		nr_refused +=
			(f->meta.counts[block] < 3 ? sm_inc(&f->meta, block, 1) : sm_dec(&f->meta, block, 1)) != 0;
		assert_int_equal(sm_commit(f), 0);
	}
	print_message("%llu of 200 refused\n", (unsigned long long)nr_refused);
	sm_fixture_free(f);
}

static void what_is_kept_for_releases_is_given_only_to_them(void **state)
{
	struct thinp_alloc table = {.size = sizeof(table)};
	struct sm_fixture *f = sm_fixture_new(1000, 100, 1000, NULL, false);
	uint64_t first, block, nr, left, lowering = tp_sm_lowering_cost(f->meta.sm);

	(void)state;
	thinp_sm_get_alloc(f->meta.sm, &table);
	assert_int_equal(sm_take(f, &f->meta, 500, &first), 0);
	nr = sm_info(&f->meta).nr_available;
	left = sm_info(&f->meta).nr_allocatable - cost_of(f);
	assert_int_equal(table.reserve(table.ctx, nr, 0), 0);
	assert_int_equal(table.reserve(table.ctx, nr + 1, 0), THINP_ENOSPC);
	assert_true(nr < left - lowering);
	assert_int_equal(table.reserve(table.ctx, left - lowering, THINP_RESERVE_RELEASE), 0);
	assert_int_equal(table.reserve(table.ctx, left - lowering + 1, THINP_RESERVE_RELEASE), THINP_ENOSPC);
	assert_int_equal(table.reserve(table.ctx, UINT64_MAX, 0), THINP_ENOSPC);
	assert_int_equal(table.reserve(table.ctx, UINT64_MAX, THINP_RESERVE_RELEASE), THINP_ENOSPC);
	thinp_sm_get_alloc(f->data.sm, &table);
	assert_int_equal(table.reserve(table.ctx, 100, 0), 0);
	assert_int_equal(table.reserve(table.ctx, 101, 0), THINP_ENOSPC);
	thinp_sm_get_alloc(f->meta.sm, &table);
	while (!table.take(table.ctx, THINP_CAUSE_NEW, &block))
		f->meta.counts[block]++;
	assert_int_equal(table.reserve(table.ctx, 1, THINP_RESERVE_RELEASE), THINP_ENOSPC);
	assert_int_equal(table.reserve(table.ctx, UINT64_MAX, THINP_RESERVE_RELEASE), THINP_ENOSPC);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* --- growing --- */

static void SMM_04_growing_needs_nothing_of_the_old_area(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 100, 60000, NULL, false);
	uint64_t block;

	(void)state;
	while (!sm_take(f, &f->meta, 1, &block))
		;
	assert_int_equal(sm_commit(f), 0);
	while (!sm_take(f, &f->meta, 1, &block))
		;
	assert_int_equal(sm_extend(f, &f->meta, 1000 + SM_PER_BITMAP), 0);
	assert_int_equal(sm_take(f, &f->meta, 1, &block), 0);
	assert_true(block >= 1000);
	assert_int_equal(sm_commit(f), 0);
	assert_true(f->meta.root.bitmap_root >= 1000);
	assert_int_equal(sm_extend(f, &f->meta, 60000), 0);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* SMM-05 */
static void SMM_05_growing_again_and_again_counts_every_block(void **state)
{
	struct sm_fixture *f = sm_fixture_new(100, 50, 200000, NULL, false);
	static const uint64_t by[] = {1, SM_PER_BITMAP, 1, 0, 3 * SM_PER_BITMAP - 102, 1, 5, 10000};
	uint64_t nr = 100, block;

	(void)state;
	for (size_t i = 0; i < sizeof(by) / sizeof(by[0]); i++) {
		nr += by[i];
		assert_int_equal(sm_extend(f, &f->meta, nr), 0);
		assert_int_equal(sm_extend(f, &f->data, nr), 0);
		assert_int_equal(sm_commit(f), 0);
		assert_int_equal(sm_take(f, &f->meta, 2, &block), 0);
		assert_int_equal(sm_commit(f), 0);
		assert_int_equal(sm_dec(&f->meta, block, 2), 0);
		assert_int_equal(sm_commit(f), 0);
		if (i % 2)
			sm_reopen(f);
	}
	sm_fixture_free(f);
}

static void SMD_02_a_data_map_without_room_for_its_bitmaps_keeps_its_size(void **state)
{
	struct sm_fixture *f = sm_fixture_new(100, 50, 100000, NULL, false);
	uint64_t block;

	(void)state;
	assert_int_equal(sm_take(f, &f->meta, 20, &block), 0);
	assert_int_equal(thinp_sm_extend(f->data.sm, 200 * (uint64_t)SM_PER_BITMAP), THINP_ENOSPC);
	assert_int_equal(sm_info(&f->data).nr_blocks, 50);
	assert_int_equal(thinp_sm_extend(f->data.sm, 49), THINP_EINVAL);
	assert_int_equal(thinp_sm_extend(f->data.sm, ((uint64_t)1 << 40) + 1), THINP_ERANGE);
	assert_int_equal(thinp_sm_extend(f->meta.sm, 255 * (uint64_t)SM_PER_BITMAP + 1), THINP_ERANGE);
	assert_int_equal(thinp_sm_extend(f->meta.sm, 100001), THINP_ERANGE); /* the device ends there */
	assert_int_equal(sm_info(&f->data).nr_zero, 50);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_extend(f, &f->data, SM_PER_BITMAP + 3), 0);
	sm_expect_counts(&f->data);
	sm_abort(f);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_extend(f, &f->data, 51), 0);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commit_cost_of_a_map_at_rest_is_its_index_and_its_bitmaps),
		cmocka_unit_test(commit_cost_covers_what_a_commit_takes_and_not_much_more),
		cmocka_unit_test(inc_cost_of_a_small_count_is_a_bitmap_and_its_path),
		cmocka_unit_test(tp_sm_cost_is_enough_for_any_blocks),
		cmocka_unit_test(COW_06_recording_never_runs_out_of_blocks_however_full_the_map),
		cmocka_unit_test(SMM_17_what_is_available_can_be_taken),
		cmocka_unit_test(H1_SMM_10_the_last_blocks_are_handed_out_once),
		cmocka_unit_test(H1_a_full_map_can_raise_and_lower_counts_or_says_no),
		cmocka_unit_test(a_free_block_is_counted_only_when_a_commit_has_room_without_it),
		cmocka_unit_test(what_is_kept_for_releases_is_given_only_to_them),
		cmocka_unit_test(SMM_04_growing_needs_nothing_of_the_old_area),
		cmocka_unit_test(SMM_05_growing_again_and_again_counts_every_block),
		cmocka_unit_test(SMD_02_a_data_map_without_room_for_its_bitmaps_keeps_its_size),
	};

	return cmocka_run_group_tests_name("space_map/room", tests, NULL, NULL);
}
