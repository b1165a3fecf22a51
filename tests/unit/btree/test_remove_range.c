/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "support/forest.h"
#include "unit/base/random.h"

/* Removes a range, in steps if max_leaves says so, and looks at everything after each. */
static void check_range(struct forest *f, unsigned int tree, uint64_t first, uint64_t last, uint32_t max_leaves)
{
	bool is_complete = false;

	while (!is_complete) {
		forest_forget(f);
		assert_int_equal(forest_remove_range(f, tree, &first, &last, max_leaves, &is_complete), 0);
		assert_true(f->nr_taken <= f->most_reserved);
		assert_true(f->nr_values_told <= f->nr_values_asked);
		forest_check(f);
	}
}

/* --- all ranges of small trees --------------------------------------------------------------------------------------- */

/* Keys 10, 20 ... in 3 leaves: all ranges that begin and end at, before or behind a key. */
static void try_all(uint32_t value_size, uint32_t per_leaf, bool is_shared, uint32_t max_leaves)
{
	struct tree_shape shape = {.per_leaf = per_leaf};
	uint64_t end = 10 * (3 * (uint64_t)per_leaf + 1);

	for (uint64_t first = 5; first <= end; first += 5) {
		for (uint64_t last = first - 5; last <= end; last += 5) {
			uint64_t generation;
			struct forest f;
			size_t nr;

			forest_open(&f, 40, 1, value_size);
			forest_plant_plain(&f, &shape, 3 * (size_t)per_leaf, 10);
			if (is_shared)
				forest_snapshot(&f, 0);
			generation = thinp_tm_generation(f.tm);
			nr = f.trees[0].nr;
			check_range(&f, 0, first, last, max_leaves);
			if (f.trees[0].nr == nr)
				assert_int_equal(thinp_tm_generation(f.tm), generation);
			forest_close(&f);
		}
	}
}

/* Nothing gets an owner when a leaf goes that a snapshot has, too: it is not copied, and no leaf beside it. */
static void TH_17_a_leaf_that_others_own_goes_without_a_copy(void **state)
{
	struct tree_shape shape = {.per_leaf = 60};
	const uint64_t changed = 10, first = 3010, last = 3600; /* of the leaf number 5 of 0 to 9 */
	bool is_complete = false;
	struct forest f;

	(void)state;
	forest_open(&f, 60, 1, 32);
	forest_plant_plain(&f, &shape, 600, 10);
	forest_snapshot(&f, 0);
	assert_int_equal(forest_insert(&f, 0, &changed), 0);
	forest_commit(&f, false);
	forest_forget(&f);
	assert_int_equal(forest_remove_range(&f, 0, &first, &last, 1, &is_complete), 0);
	assert_true(is_complete);
	assert_int_equal(f.nr_values_told, 0);
	assert_int_equal(f.nr_values_asked, 60);
	assert_int_equal(f.nr_taken, 1); /* the root */
	forest_check(&f);
	forest_close(&f);
}

static void BR_11_all_ranges_over_three_leaves(void **state)
{
	(void)state;
	try_all(1000, 3, false, 0);
	try_all(1000, 3, true, 0);
	try_all(1000, 2, false, 1);
	try_all(1000, 2, true, 1);
	try_all(400, 9, false, 0);
	try_all(400, 6, true, 0);
	try_all(400, 4, true, 2);
}

static void BR_11_a_range_ends_with_the_same_entries_and_counts_as_single_removals(void **state)
{
	struct tree_shape shape = {.per_leaf = 6};
	struct forest f;
	unsigned int other;

	(void)state;
	forest_open(&f, 400, 1, 400);
	forest_plant_plain(&f, &shape, 600, 10);
	other = forest_snapshot(&f, 0);
	check_range(&f, 0, 995, 4321, 0);
	for (uint64_t key = 1000; key <= 4320; key += 10)
		assert_int_equal(forest_remove(&f, other, &key), 0);
	forest_check(&f);
	assert_int_equal(f.trees[0].nr, f.trees[other].nr);
	assert_memory_equal(f.trees[0].numbers, f.trees[other].numbers, f.trees[0].nr * sizeof(uint32_t));
	for (uint32_t i = 0; i < f.nr_values; i++)
		assert_true(f.owners[i] == 0 || f.owners[i] == 1 || f.owners[i] == 2);
	forest_close(&f);
}

/* --- large trees ----------------------------------------------------------------------------------------------------- */

static void whole_leaves_in_the_range_are_not_copied(void **state)
{
	struct tree_shape shape = {.per_leaf = 3, .per_node = 84};
	struct forest f;

	(void)state;
	forest_open(&f, 4000, 1, 1000);
	forest_plant_plain(&f, &shape, 84 * 3 * 8, 10);
	forest_check(&f);
	forest_forget(&f);
	check_range(&f, 0, 400, 84 * 3 * 8 * 10 - 400, 0);
	assert_true(f.nr_taken < 20);
	forest_close(&f);
}

static void shared_subtrees_only_lose_a_reference(void **state)
{
	struct tree_shape shape = {.per_leaf = 3, .per_node = 84};
	struct thinp_bm_stats before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	uint64_t first = 0, last = UINT64_MAX, calls;
	thinp_block_t root;
	struct forest_trial trial;
	struct forest f;

	(void)state;
	forest_open(&f, 4000, 1, 1000);
	forest_plant_plain(&f, &shape, 84 * 3 * 8, 10);
	forest_snapshot(&f, 0);
	forest_commit(&f, true);
	f.type.cost = NULL; /* asked for, leaves would be counted before */
	forest_begin_trial(&f, &trial);
	thinp_bm_get_stats(f.bm, &before);
	calls = f.nr_value_calls;
	assert_int_equal(thinp_btree_remove_range(f.tm, &f.type, f.trees[0].root, &first, &last, 0, &root, NULL, NULL),
			 0);
	thinp_bm_get_stats(f.bm, &after);
	assert_true(after.misses - before.misses <= 4); /* root, one node, one leaf, and looking for an end */
	assert_int_equal(f.nr_value_calls, calls);
	forest_end_trial(&f, &trial);
	forest_check(&f);
	forest_close(&f);
}

static void trees_of_all_depths_are_emptied_in_steps(void **state)
{
	static const uint32_t steps[] = {1, 2, 7, 1000};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		for (int shared = 0; shared < 2; shared++) {
			struct tree_shape shape = {.per_leaf = 2, .per_node = 84};
			struct forest f;

			forest_open(&f, 3000, 1, 1000);
			forest_plant_plain(&f, &shape, 84 * 2 * 3, 10);
			if (shared)
				forest_snapshot(&f, 0);
			check_range(&f, 0, 300, 84 * 2 * 3 * 10 - 300, steps[i]);
			check_range(&f, 0, 0, UINT64_MAX, steps[i]);
			assert_int_equal(f.trees[0].nr, 0);
			forest_close(&f);
		}
	}
}

static void keys_at_the_edges(void **state)
{
	static const uint64_t edges[][THINP_BTREE_MAX_LEVELS] = {
		{0}, {1}, {UINT64_C(1) << 32}, {UINT64_C(1) << 63}, {UINT64_MAX - 1}, {UINT64_MAX}};
	struct tree_shape shape = {.per_leaf = 1};

	(void)state;
	for (size_t i = 0; i < 6; i++) {
		for (size_t j = 0; j < 6; j++) {
			struct forest f;

			forest_open(&f, 40, 1, 1000);
			forest_plant(&f, &shape, edges, 6);
			check_range(&f, 0, edges[i][0], edges[j][0], 0);
			forest_close(&f);
		}
	}
}

/* --- nested trees ---------------------------------------------------------------------------------------------------- */

static void plant_nested(struct forest *f, uint32_t nr_levels, uint64_t nr_upper, uint64_t nr_lower, uint32_t per_leaf)
{
	struct tree_shape shape = {.per_leaf = per_leaf};
	uint64_t(*keys)[THINP_BTREE_MAX_LEVELS] = calloc((size_t)(nr_upper * nr_upper * nr_lower), sizeof(*keys));
	size_t nr = 0;

	assert_non_null(keys);
	for (uint64_t a = 0; a < (nr_levels > 2 ? nr_upper : 1); a++) {
		for (uint64_t b = 0; b < nr_upper; b++) {
			for (uint64_t c = 0; c < nr_lower; c++, nr++) {
				uint64_t *key = keys[nr];

				if (nr_levels > 2)
					*key++ = a * 3 + 1;
				*key++ = b * 5 + 2;
				*key = c * 10 + 10;
			}
		}
	}
	forest_plant(f, &shape, (const uint64_t(*)[THINP_BTREE_MAX_LEVELS])keys, nr);
	free(keys);
}

static void a_range_lies_in_one_tree_of_the_last_level(void **state)
{
	uint64_t first[3] = {4, 7, 35}, last[3] = {4, 7, 85}, other[3] = {4, 12, 0}, none[3] = {4, 8, 0};
	bool is_complete = false;
	thinp_block_t root = 7;
	struct forest f;

	(void)state;
	forest_open(&f, 400, 3, 400);
	plant_nested(&f, 3, 3, 18, 6);
	forest_snapshot(&f, 0);
	forest_check(&f);
	assert_int_equal(thinp_btree_remove_range(f.tm, &f.type, f.trees[0].root, first, other, 0, &root, NULL, NULL),
			 THINP_EINVAL);
	assert_int_equal(thinp_btree_remove_range(f.tm, &f.type, f.trees[0].root, none, none, 0, &root, NULL, NULL),
			 THINP_ENODATA);
	assert_int_equal(root, 7);
	while (!is_complete) {
		assert_int_equal(forest_remove_range(&f, 0, first, last, 1, &is_complete), 0);
		forest_check(&f);
	}
	first[2] = 0;
	last[2] = UINT64_MAX;
	assert_int_equal(forest_remove_range(&f, 0, first, last, 0, &is_complete), 0);
	forest_check(&f);
	assert_int_equal(forest_remove_range(&f, 0, first, last, 0, &is_complete), 0); /* an empty tree */
	assert_true(is_complete);
	forest_check(&f);
	forest_close(&f);
}

/* --- at random ------------------------------------------------------------------------------------------------------- */

static const struct {
	uint32_t nr_levels, value_size, per_leaf, per_node;
	uint64_t nr_upper, nr_lower;
} kinds[] = {
	{1, 4, 200, 0, 0, 2000}, {1, 8, 150, 0, 0, 1500},  {1, 24, 126, 0, 0, 1260},
	{1, 400, 5, 0, 0, 300},  {1, 1000, 2, 84, 0, 504}, {2, 400, 6, 0, 5, 90},
	{2, 1000, 3, 0, 7, 30},  {3, 400, 6, 0, 3, 36},    {3, 1000, 2, 0, 4, 20},
};

static void random_keys(const struct forest *f, uint64_t *rng, uint64_t *keys, uint64_t *last)
{
	const struct forest_tree *tree = &f->trees[0];
	size_t i = random_next(rng) % tree->nr;
	uint32_t low = f->type.nr_levels - 1;

	memcpy(keys, tree->keys[i], sizeof(tree->keys[i]));
	memcpy(last, keys, sizeof(tree->keys[i]));
	keys[low] -= random_next(rng) % 10;
	last[low] += random_next(rng) % 8 ? random_next(rng) % 200 : random_next(rng) % 20000;
}

static void change_at_random(struct forest *f, uint64_t *rng)
{
	uint64_t first[THINP_BTREE_MAX_LEVELS], last[THINP_BTREE_MAX_LEVELS];
	uint64_t what = random_next(rng) % 100;
	unsigned int tree = 1 + (unsigned int)(random_next(rng) % (FOREST_TREES - 1));
	bool is_complete;

	random_keys(f, rng, first, last);
	forest_forget(f);
	if (what < 20) {
		uint64_t nr = f->type.value_size < 100 ? 60 : 1 + random_next(rng) % 8;

		for (first[f->type.nr_levels - 1] += 3; nr; nr--) {
			first[f->type.nr_levels - 1] += random_next(rng) % 7;
			if (first[f->type.nr_levels - 1] != 7)
				assert_int_equal(forest_insert(f, 0, first), 0);
		}
		return;
	}
	if (what < 40) {
		assert_int_equal(forest_remove(f, 0, f->trees[0].keys[random_next(rng) % f->trees[0].nr]), 0);
	} else if (what < 70) {
		uint32_t max_leaves = (uint32_t)(random_next(rng) % 4);

		assert_int_equal(forest_remove_range(f, 0, first, last, max_leaves, &is_complete), 0);
	} else if (what < 80) {
		last[f->type.nr_levels - 1] = 7; /* no key of the forest */
		assert_int_equal(forest_remove(f, 0, last), THINP_ENODATA);
	} else if (!f->trees[tree].is_there) {
		forest_snapshot(f, 0);
	} else if (what < 90) {
		assert_int_equal(forest_del(f, tree), 0);
	} else {
		forest_commit(f, what < 93);
	}
	assert_true(f->nr_taken <= f->most_reserved);
	assert_true(f->nr_values_told <= f->nr_values_asked);
}

static void BR_10_no_count_leaves_its_range_while_everything_is_done_at_random(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (unsigned int round = 0; round < 20; round++) {
		for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
			struct tree_shape shape = {.per_leaf = kinds[i].per_leaf, .per_node = kinds[i].per_node};
			struct forest f;

			forest_open(&f, 6000, kinds[i].nr_levels, kinds[i].value_size);
			if (kinds[i].nr_levels == 1)
				forest_plant_plain(&f, &shape, kinds[i].nr_lower, 10);
			else
				plant_nested(&f, kinds[i].nr_levels, kinds[i].nr_upper, kinds[i].nr_lower,
					     kinds[i].per_leaf);
			forest_check(&f);
			for (unsigned int n = 0; n < 150 && f.trees[0].nr; n++) {
				change_at_random(&f, &rng);
				forest_check(&f);
			}
			forest_close(&f);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TH_17_a_leaf_that_others_own_goes_without_a_copy),
		cmocka_unit_test(BR_11_all_ranges_over_three_leaves),
		cmocka_unit_test(BR_11_a_range_ends_with_the_same_entries_and_counts_as_single_removals),
		cmocka_unit_test(whole_leaves_in_the_range_are_not_copied),
		cmocka_unit_test(shared_subtrees_only_lose_a_reference),
		cmocka_unit_test(trees_of_all_depths_are_emptied_in_steps),
		cmocka_unit_test(keys_at_the_edges),
		cmocka_unit_test(a_range_lies_in_one_tree_of_the_last_level),
		cmocka_unit_test(BR_10_no_count_leaves_its_range_while_everything_is_done_at_random),
	};

	return cmocka_run_group_tests_name("btree/remove_range", tests, NULL, NULL);
}
