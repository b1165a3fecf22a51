/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Removing many keys at once, against a model; the same tree in the end as after removing them one by one would do, though
 * not the same nodes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/forest.h"
#include "support/image_expect.h"
#include "unit/base/random.h"

/* Values of these sizes let 336, 252, 126, 9, 3 entries into a leaf. */
static const uint32_t value_sizes[] = {4, 8, 24, 400, 1000};

#define NR_VALUE_SIZES (sizeof(value_sizes) / sizeof(*value_sizes))
#define MOST_KEYS      4096u

static uint32_t capacity_of(uint32_t value_size)
{
	return (THINP_BLOCK_SIZE - 32) / (8 + value_size) / 3 * 3;
}

/* What is asked for is enough, and what is told was asked for. */
static void remove_keys(struct forest *f, unsigned int tree, const uint64_t *keys, size_t nr)
{
	forest_forget(f);
	assert_int_equal(forest_remove_many(f, tree, keys, nr), 0);
	assert_true(f->nr_taken <= f->most_reserved);
	assert_true(f->nr_values_told <= f->nr_values_asked);
	forest_check(f);
}

/* --- plain trees ----------------------------------------------------------------------------------------------------- */

/* Each entry with a probability of so many in a thousand, and now and then a key that is not there, or the same again. */
static size_t choose_keys(const struct forest_tree *tree, uint32_t per_thousand, uint64_t *rng, uint64_t *keys)
{
	size_t nr = 0;

	for (size_t i = 0; i < tree->nr && nr + 3 < MOST_KEYS; i++) {
		if (random_next(rng) % 1000 >= per_thousand)
			continue;
		if (random_next(rng) % 10 == 0)
			keys[nr++] = tree->keys[i][0] - 1;
		keys[nr++] = tree->keys[i][0];
		if (random_next(rng) % 10 == 0)
			keys[nr++] = tree->keys[i][0];
	}
	return nr;
}

static void remove_until_empty(uint32_t value_size, size_t nr, uint32_t per_leaf, uint32_t per_node,
			       uint32_t per_thousand, bool with_snapshot)
{
	struct tree_shape shape = {.per_leaf = per_leaf, .per_node = per_node};
	uint64_t rng = random_begin();
	uint64_t keys[MOST_KEYS];
	struct forest f;

	forest_open(&f, 4000, 1, value_size);
	forest_plant_plain(&f, &shape, nr, 10);
	if (with_snapshot)
		forest_snapshot(&f, 0);
	for (int round = 0; f.trees[0].nr; round++) {
		uint32_t part = f.trees[0].nr < 10 ? 1000 : per_thousand;

		remove_keys(&f, 0, keys, choose_keys(&f.trees[0], part, &rng, keys));
		if (round % 3 == 2)
			forest_commit(&f, false);
		else if (round % 7 == 3 && with_snapshot && !f.trees[FOREST_TREES - 1].is_there)
			forest_snapshot(&f, 0);
	}
	forest_close(&f);
}

static void batches_of_every_density_empty_trees_of_every_kind(void **state)
{
	static const uint32_t densities[] = {5, 100, 300, 700, 950, 1000};

	(void)state;
	for (size_t i = 0; i < NR_VALUE_SIZES; i++) {
		uint32_t max = capacity_of(value_sizes[i]);

		for (size_t d = i < 3; d < 6; d++)
			for (int snapshot = 0; snapshot < 2; snapshot++) {
				remove_until_empty(value_sizes[i], 4 * (size_t)max, 0, 0, densities[d], snapshot);
				remove_until_empty(value_sizes[i], 9 * (size_t)(max / 3), max / 3, 0, densities[d],
						   snapshot);
			}
	}
	remove_until_empty(1000, 378 * 2, 2, 126, 300, false);
	remove_until_empty(1000, 336 * 3, 3, 84, 500, true);
	remove_until_empty(400, 336 * 3, 3, 84, 100, true);
}

/* A run of neighbours, from one place on: whole leaves go, and the ends of two. */
static void neighbours_of_every_number_go_from_every_place(void **state)
{
	const struct tree_shape shape = {.per_leaf = 5};
	uint64_t keys[45];

	(void)state;
	for (size_t first = 0; first < 45; first += 4)
		for (size_t nr = 1; first + nr <= 45; nr += 3) {
			struct forest f;

			forest_open(&f, 200, 1, 400);
			forest_plant_plain(&f, &shape, 45, 10);
			for (size_t i = 0; i < nr; i++)
				keys[i] = 10 * (first + i + 1);
			remove_keys(&f, 0, keys, nr);
			forest_close(&f);
		}
}

static void with_nothing_to_remove_nothing_is_changed(void **state)
{
	const struct tree_shape shape = {.per_leaf = 5};
	const uint64_t keys[] = {0, 1, 15, 449, 451, UINT64_MAX};
	uint64_t generation;
	struct forest f;

	(void)state;
	forest_open(&f, 200, 1, 400);
	forest_plant_plain(&f, &shape, 45, 10);
	generation = thinp_tm_generation(f.tm);
	remove_keys(&f, 0, keys, 6);
	remove_keys(&f, 0, NULL, 0);
	assert_int_equal(f.most_reserved, 0);
	assert_int_equal(thinp_tm_generation(f.tm), generation);
	forest_close(&f);
}

/* A leaf that can lose what it is to lose is copied, and the nodes above it, and nothing else. */
static void a_leaf_is_copied_once_however_many_of_its_keys_go(void **state)
{
	const struct tree_shape shape = {0};
	uint64_t keys[2 * 126];
	struct forest f;

	(void)state;
	forest_open(&f, 200, 1, 8);
	forest_plant_plain(&f, &shape, 4 * (size_t)252, 10);
	for (uint64_t i = 0; i < 2 * 126; i++)
		keys[i] = 20 * (i + 1); /* every other one of the first two leaves */
	remove_keys(&f, 0, keys, 2 * 126);
	assert_int_equal(f.nr_taken, 3);
	assert_int_equal(f.most_reserved, 3);
	for (uint64_t i = 0; i < 40; i++)
		keys[i] = 20 * (i + 1) + 10;
	remove_keys(&f, 0, keys, 40);
	assert_int_equal(f.nr_taken, 0);
	assert_int_equal(f.most_reserved, 0);
	forest_close(&f);
}

/* It is dropped: only the root is copied, also where others own all of the tree. */
static void a_leaf_of_which_all_keys_go_is_not_copied(void **state)
{
	const struct tree_shape shape = {0};
	uint64_t keys[2 * 252];
	struct forest f;

	(void)state;
	for (int is_shared = 0; is_shared < 2; is_shared++) {
		forest_open(&f, 200, 1, 8);
		forest_plant_plain(&f, &shape, 4 * (size_t)252, 10);
		if (is_shared)
			forest_snapshot(&f, 0);
		for (uint64_t i = 0; i < 2 * 252; i++)
			keys[i] = 10 * (252 + i + 1); /* the two leaves in the middle */
		remove_keys(&f, 0, keys, 2 * (size_t)252);
		assert_int_equal(f.nr_taken, 1);
		assert_int_equal(f.trees[0].nr, 2 * 252);
		forest_close(&f);
	}
}

static void keys_that_do_not_ascend_are_refused_before_anything_is_changed(void **state)
{
	const struct tree_shape shape = {.per_leaf = 5};
	const uint64_t keys[] = {10, 30, 20};
	struct forest f;

	(void)state;
	forest_open(&f, 200, 1, 400);
	forest_plant_plain(&f, &shape, 45, 10);
	expect_failure(forest_remove_many(&f, 0, keys, 3), THINP_EINVAL, THINP_NO_BLOCK, "ascend");
	assert_int_equal(thinp_tm_status(f.tm), 0);
	forest_check(&f);
	forest_close(&f);
}

/* --- nested trees ---------------------------------------------------------------------------------------------------- */

static void plant_nested(struct forest *f, uint32_t nr_trees, uint32_t nr_each)
{
	const struct tree_shape shape = {.per_leaf = 3};
	uint64_t keys[600][THINP_BTREE_MAX_LEVELS] = {{0}};
	size_t nr = 0;

	for (uint32_t t = 0; t < nr_trees; t++)
		for (uint32_t i = 0; i < nr_each; i++, nr++) {
			keys[nr][0] = 10 + 10 * t;
			keys[nr][1] = 10 + 10 * i;
		}
	forest_open(f, 4000, 2, 400);
	forest_plant(f, &shape, (const uint64_t(*)[THINP_BTREE_MAX_LEVELS])keys, nr);
}

static void one_batch_goes_through_trees_of_a_lower_level(void **state)
{
	uint64_t rng = random_begin();
	uint64_t keys[600][2];
	struct forest f;

	(void)state;
	for (uint32_t part = 1; part <= 5; part++) {
		plant_nested(&f, 20, 30);
		forest_snapshot(&f, 0);
		for (int round = 0; round < 6; round++) {
			size_t nr = 0;

			for (uint64_t t = 5; t <= 210; t += 5) /* upper keys of which every other one is there */
				for (uint64_t i = 5; i <= 310 && nr < 600; i += 5)
					if (random_next(&rng) % 30 < part) {
						keys[nr][0] = t;
						keys[nr++][1] = i;
					}
			remove_keys(&f, round % 2 ? 1 : 0, &keys[0][0], nr);
			if (round == 3)
				forest_commit(&f, false);
		}
		forest_close(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_of_every_density_empty_trees_of_every_kind),
		cmocka_unit_test(neighbours_of_every_number_go_from_every_place),
		cmocka_unit_test(with_nothing_to_remove_nothing_is_changed),
		cmocka_unit_test(a_leaf_is_copied_once_however_many_of_its_keys_go),
		cmocka_unit_test(a_leaf_of_which_all_keys_go_is_not_copied),
		cmocka_unit_test(keys_that_do_not_ascend_are_refused_before_anything_is_changed),
		cmocka_unit_test(one_batch_goes_through_trees_of_a_lower_level),
	};

	return cmocka_run_group_tests_name("btree/remove_many", tests, NULL, NULL);
}
