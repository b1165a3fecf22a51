/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inserting many keys at once, against an ordered map.
 */
#include "support/image_expect.h"
#include "support/tree_grow.h"

#include "unit/base/random.h"

#include <thinp/error.h>

#include <stdlib.h>

static const uint32_t value_sizes[] = {4, 8, 24, 400, 1000};
#define NR_SIZES (sizeof(value_sizes) / sizeof(*value_sizes))

static uint32_t nr_levels_of_keys; /* for compare_keys() */

static int compare_keys(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	for (uint32_t i = 0; i < nr_levels_of_keys; i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

/* Sorted random keys, some of them equal. */
static void random_batch(uint64_t *rng, uint32_t nr_levels, uint64_t range, uint64_t *keys, size_t nr)
{
	for (size_t i = 0; i < nr * nr_levels; i++)
		keys[i] = random_next(rng) % (i % nr_levels + 1 < nr_levels ? 4 : range);
	nr_levels_of_keys = nr_levels;
	qsort(keys, nr, nr_levels * sizeof(*keys), compare_keys);
}

static void grow_by_batches(uint32_t nr_levels, uint32_t value_size, uint64_t *rng)
{
	struct tree_snapshots s = {.nr = 0};
	uint64_t keys[600 * 3];
	struct tree_grow g;

	tree_grow_begin(&g, 4096, nr_levels, value_size);
	for (int i = 0; i < 40; i++) {
		size_t nr = random_next(rng) % (i % 5 == 4 ? 600 : 20);

		random_batch(rng, nr_levels, i % 3 ? 3000 : UINT64_MAX, keys, nr);
		tree_grow_insert_many(&g, keys, nr);
		tree_grow_expect(&g);
		if (i % 6 == 5 && s.nr < TREE_GROW_MAX_SNAPSHOTS)
			tree_grow_snapshot(&g, &s);
		if (i % 11 == 10)
			tree_change_commit(g.t);
	}
	tree_grow_expect_snapshots(&g, &s);
	tree_grow_free_snapshots(&s);
	ordered_map_free(&g.map);
	tree_change_free(g.t);
}

static void batches_of_every_kind_go_into_trees_of_every_kind(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (uint32_t nr_levels = 1; nr_levels <= 3; nr_levels++)
		for (size_t size = 0; size < NR_SIZES; size++)
			grow_by_batches(nr_levels, value_sizes[size], &rng);
}

/* A batch of n keys before, between and behind the m keys of a small tree. */
static void batch_into(uint64_t m, uint64_t n, int where)
{
	uint64_t keys[64];
	struct tree_grow g;

	tree_grow_begin(&g, 64, 1, 400);
	for (uint64_t i = 0; i < m; i++)
		tree_grow_insert_key(&g, 1000 + 100 * i);
	for (uint64_t i = 0; i < n; i++)
		keys[i] = where == 0 ? i : where == 1 ? 1001 + i * 50 : 100000 + i;
	tree_grow_insert_many(&g, keys, n);
	tree_grow_end(&g);
}

static void every_number_of_keys_goes_before_between_and_behind(void **state)
{
	(void)state;
	for (uint64_t m = 0; m <= 40; m++)
		for (uint64_t n = 0; n <= 60; n += n < 30 ? 1 : 5)
			for (int where = 0; where < 3; where++)
				batch_into(m, n, where);
}

static void of_equal_neighbours_the_last_one_counts(void **state)
{
	static const uint64_t keys[] = {1, 1, 2, 3, 3, 3, 4};
	uint64_t many[3000];
	struct tree_grow g;

	(void)state;
	tree_grow_begin(&g, 4096, 1, 1000);
	tree_grow_insert_key(&g, 3);
	tree_grow_insert_many(&g, keys, 7);
	assert_int_equal(g.map.nr, 4);
	for (size_t i = 0; i < 3000; i++)
		many[i] = i / 1000;
	tree_grow_insert_many(&g, many, 3000);
	assert_int_equal(g.map.nr, 5);
	tree_grow_end(&g);
}

static void keys_that_do_not_ascend_are_refused_before_anything_is_changed(void **state)
{
	static const uint64_t keys[] = {1, 5, 1, 4, 2, 0};
	uint8_t values[3 * 8] = {0};
	thinp_block_t root;
	struct tree_grow g;

	(void)state;
	tree_grow_begin(&g, 1024, 2, 8);
	root = g.root;
	expect_failure(thinp_btree_insert_many(g.t->tm, &g.t->type, g.root, keys, values, 3, &g.root, NULL),
		       THINP_EINVAL, THINP_NO_BLOCK, "ascend");
	assert_int_equal(g.root, root);
	assert_int_equal(thinp_tm_status(g.t->tm), 0);
	tree_grow_end(&g);
}

static double fill(struct tree_grow *g)
{
	struct tree_figures figures;

	tree_shape_expect(thinp_tm_reader(g->t->tm), &g->t->type, g->root, &figures);
	return (double)figures.nr_entries / (double)figures.nr_places;
}

static void insert_plain(struct tree_grow *g, const uint64_t *keys, size_t nr)
{
	uint8_t *values = malloc(nr * 8);

	assert_non_null(values);
	for (size_t i = 0; i < nr; i++)
		tree_change_value(g->t, values + 8 * i);
	g->t->most_asked = g->t->nr_taken = 0;
	assert_int_equal(thinp_btree_insert_many(g->t->tm, &g->t->type, g->root, keys, values, nr, &g->root, NULL), 0);
	assert_true(g->t->nr_taken <= g->t->most_asked);
	free(values);
}

static void BT_14_batches_leave_leaves_well_filled(void **state)
{
	uint64_t rng = random_begin();
	size_t nr = 50000;
	uint64_t *keys = malloc(nr * sizeof(*keys));
	struct tree_grow g;

	(void)state;
	assert_non_null(keys);
	tree_grow_begin(&g, 8192, 1, 8);
	for (int i = 0; i < 4; i++) {
		random_batch(&rng, 1, UINT64_MAX, keys, nr);
		insert_plain(&g, keys, nr);
		assert_true(fill(&g) >= 0.60); /* least where most leaves have just been halved */
	}
	assert_true(fill(&g) >= 0.70);
	tree_change_expect_counts(g.t, &g.root, 1);
	ordered_map_free(&g.map);
	tree_change_free(g.t);

	tree_grow_begin(&g, 8192, 1, 8);
	for (uint64_t batch = 0; batch < 50; batch++) {
		for (size_t i = 0; i < 1000; i++)
			keys[i] = batch * 1000 + i;
		insert_plain(&g, keys, 1000);
	}
	assert_true(fill(&g) >= 0.95);
	tree_change_expect_counts(g.t, &g.root, 1);
	ordered_map_free(&g.map);
	tree_change_free(g.t);
	free(keys);
}

/* The number of blocks asked for beforehand is never too small. */
static void what_is_reserved_is_enough(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (int round = 0; round < 60; round++) {
		uint32_t nr_levels = 1 + (uint32_t)round % 3;
		uint32_t value_size = value_sizes[round % 5];
		uint64_t keys[500 * 3];
		struct tree_grow g;

		tree_grow_begin(&g, 4096, nr_levels, value_size);
		for (int i = 0; i < 15; i++) {
			size_t nr = 1 + random_next(&rng) % 500;

			random_batch(&rng, nr_levels, 100000, keys, nr);
			g.t->most_asked = g.t->nr_taken = 0;
			tree_grow_insert_many(&g, keys, nr);
			assert_true(g.t->nr_taken <= g.t->most_asked);
			g.t->most_asked = g.t->nr_taken = 0;
			tree_grow_insert(&g, keys);
			assert_true(g.t->nr_taken <= g.t->most_asked);
			if (i % 4 == 3)
				tree_change_commit(g.t);
		}
		ordered_map_free(&g.map);
		tree_change_free(g.t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batches_of_every_kind_go_into_trees_of_every_kind),
		cmocka_unit_test(every_number_of_keys_goes_before_between_and_behind),
		cmocka_unit_test(of_equal_neighbours_the_last_one_counts),
		cmocka_unit_test(keys_that_do_not_ascend_are_refused_before_anything_is_changed),
		cmocka_unit_test(BT_14_batches_leave_leaves_well_filled),
		cmocka_unit_test(what_is_reserved_is_enough),
	};

	return cmocka_run_group_tests_name("btree/insert_many", tests, NULL, NULL);
}
