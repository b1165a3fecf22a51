/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inserting one key at a time, against an ordered map, with the shape of the tree looked at after each step.
 */
#include "support/image_expect.h"
#include "support/tree_grow.h"

#include "unit/base/random.h"

#include <thinp/error.h>

#include <stdlib.h>

static const uint32_t value_sizes[] = {4, 8, 24, 400, 1000};
#define NR_SIZES (sizeof(value_sizes) / sizeof(*value_sizes))

/* --- orders of keys -------------------------------------------------------------------------------------------------- */

enum order { ASCENDING, DESCENDING, RANDOM, RUNS, INTERLEAVED, FROM_THE_MIDDLE, NR_ORDERS };

static uint64_t key_in_order(enum order order, uint64_t i, uint64_t nr, uint64_t *rng)
{
	switch (order) {
	case ASCENDING:
		return i;
	case DESCENDING:
		return nr - i;
	case RANDOM:
		return random_next(rng);
	case RUNS: /* of 37 keys, in an order of their own */
		return (i / 37 * 7919 % 1009) * 37 + i % 37;
	case INTERLEAVED: /* first the even ones, then the odd ones */
		return i < nr / 2 ? 2 * i : 2 * (i - nr / 2) + 1;
	default:
		return i % 2 ? nr + i : nr - i;
	}
}

/* Small trees are looked at after each step, all at every 97th. */
static void grow(enum order order, uint32_t value_size, uint64_t nr, uint64_t *rng)
{
	struct tree_grow g;

	tree_grow_begin(&g, 4096, 1, value_size);
	for (uint64_t i = 0; i < nr; i++) {
		tree_grow_insert_key(&g, key_in_order(order, i, nr, rng));
		if (i < 40 || value_size >= 400 || i % 97 == 0)
			tree_grow_expect(&g);
	}
	tree_grow_end(&g);
}

static void grow_of_all_sizes(enum order order)
{
	uint64_t rng = random_begin();

	for (size_t size = 0; size < NR_SIZES; size++)
		grow(order, value_sizes[size], value_sizes[size] >= 400 ? 300 : 3000, &rng);
}

static void insert_ascending(void **state)
{
	(void)state;
	grow_of_all_sizes(ASCENDING);
}

static void insert_descending(void **state)
{
	(void)state;
	grow_of_all_sizes(DESCENDING);
}

static void insert_random(void **state)
{
	(void)state;
	grow_of_all_sizes(RANDOM);
}

static void insert_runs(void **state)
{
	(void)state;
	grow_of_all_sizes(RUNS);
}

static void insert_other_orders(void **state)
{
	(void)state;
	grow_of_all_sizes(INTERLEAVED);
	grow_of_all_sizes(FROM_THE_MIDDLE);
}

static void a_root_of_internal_nodes_splits(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (enum order order = ASCENDING; order < NR_ORDERS; order++) {
		struct tree_figures figures;
		struct tree_grow g;

		tree_grow_begin(&g, 4096, 1, 1000);
		for (uint64_t i = 0; i < 900; i++)
			tree_grow_insert_key(&g, key_in_order(order, i, 900, &rng));
		tree_shape_expect(thinp_tm_reader(g.t->tm), &g.t->type, g.root, &figures);
		assert_int_equal(figures.depth, 3);
		tree_grow_end(&g);
	}
}

/* --- fill: BT-14 ----------------------------------------------------------------------------------------------------- */

static double fill_of(enum order order, uint64_t nr, uint64_t *rng)
{
	struct tree_figures figures;
	struct tree_grow g;
	double fill;

	tree_grow_begin(&g, 8192, 1, 8);
	for (uint64_t i = 0; i < nr; i++)
		tree_grow_insert_key(&g, key_in_order(order, i, nr, rng));
	tree_shape_expect(thinp_tm_reader(g.t->tm), &g.t->type, g.root, &figures);
	fill = (double)figures.nr_entries / (double)figures.nr_places;
	tree_grow_end(&g);
	return fill;
}

static void BT_14_leaves_are_well_filled(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	assert_true(fill_of(RANDOM, 40000, &rng) >= 0.80);
	assert_true(fill_of(ASCENDING, 40000, &rng) >= 0.97);
	assert_true(fill_of(DESCENDING, 40000, &rng) >= 0.65);
}

/* Fills leaves of nine by a list of counts, then lets one of them overflow at each place. */
static void overflow_leaf(const uint32_t *fills, size_t nr_leaves, size_t which, uint32_t place, bool shared)
{
	struct tree_snapshots s = {.nr = 0};
	struct tree_figures figures;
	struct tree_grow g;
	uint64_t most = 0;

	tree_grow_begin(&g, 96, 1, 400);
	for (size_t leaf = 0; leaf < nr_leaves; leaf++)
		for (uint32_t i = 0; i < 9; i++)
			if (i < fills[leaf] || most < 10)
				tree_grow_insert_key(&g, most = 1000 * leaf + 10 * i);
	if (shared)
		tree_grow_snapshot(&g, &s);
	for (uint32_t i = 0; i < 12; i++) {
		tree_grow_insert_key(&g, 1000 * which + 10 * place + 1 + i % 9);
		tree_grow_expect(&g);
	}
	tree_shape_expect(thinp_tm_reader(g.t->tm), &g.t->type, g.root, &figures);
	tree_grow_expect_snapshots(&g, &s);
	tree_grow_free_snapshots(&s);
	if (!shared)
		tree_grow_end(&g);
	else {
		ordered_map_free(&g.map);
		tree_change_free(g.t);
	}
}

static void BT_14_every_way_to_make_room_keeps_shape_and_counts(void **state)
{
	(void)state;
	for (uint32_t a = 1; a <= 9; a += 2)
		for (uint32_t c = 1; c <= 9; c += 2)
			for (size_t which = 0; which < 3; which++)
				for (uint32_t place = 0; place < 9; place += 2)
					for (int shared = 0; shared < 2; shared++) {
						const uint32_t fills[] = {a, 9, c};

						overflow_leaf(fills, 3, which, place, shared);
					}
}

/* --- BT-03 ----------------------------------------------------------------------------------------------------------- */

static void BT_03_a_key_below_all_others_is_found_when_the_root_splits(void **state)
{
	(void)state;
	for (size_t size = 0; size < NR_SIZES; size++) {
		uint64_t nr = value_sizes[size] >= 400 ? 800 : 700;
		struct tree_grow g;

		tree_grow_begin(&g, 2048, 1, value_sizes[size]);
		for (uint64_t i = 0; i < nr; i++) {
			tree_grow_insert_key(&g, nr - i);
			if (nr - i > 5 && i % 7 && i > 340)
				continue;
			tree_change_expect_lookups(g.t, g.root, &g.map);
			tree_shape_expect(thinp_tm_reader(g.t->tm), &g.t->type, g.root, NULL);
		}
		tree_grow_end(&g);
	}
}

/* --- BT-15 ----------------------------------------------------------------------------------------------------------- */

static bool is_equal_value(void *ctx, const void *a, const void *b)
{
	const struct tree_change *t = ctx;

	return !memcmp(a, b, t->type.value_size);
}

static void BT_15_an_overwritten_value_loses_its_reference(void **state)
{
	(void)state;
	for (size_t size = 0; size < NR_SIZES; size++) {
		struct tree_grow g;

		tree_grow_begin(&g, 1024, 1, value_sizes[size]);
		for (uint64_t i = 0; i < 20; i++)
			tree_grow_insert_key(&g, i % 10);
		tree_change_expect_counts(g.t, &g.root, 1);
		tree_change_commit(g.t);
		tree_grow_insert_key(&g, 3);
		assert_int_equal(g.map.nr, 10);
		tree_grow_end(&g);
	}
}

static void BT_15_a_value_overwritten_by_an_equal_one_keeps_it(void **state)
{
	(void)state;
	for (size_t size = 0; size < NR_SIZES; size++) {
		uint8_t value[THINP_BLOCK_SIZE], other[THINP_BLOCK_SIZE];
		uint64_t key = 5;
		struct tree_grow g;
		uint32_t number;
		bool inserted;

		tree_grow_begin(&g, 1024, 1, value_sizes[size]);
		g.t->type.equal = is_equal_value;
		tree_grow_insert_key(&g, key);
		number = g.map.values[0];
		tree_change_fill_value(g.t, number, value);
		assert_int_equal(thinp_btree_insert(g.t->tm, &g.t->type, g.root, &key, value, &g.root, &inserted), 0);
		assert_false(inserted);
		assert_int_equal(g.t->counts[number], 1);

		/* a difference in the last byte alone is one */
		memcpy(other, value, sizeof(other));
		if (value_sizes[size] > 4) {
			g.t->counts[number]++; /* the reference of the one to come */
			other[value_sizes[size] - 1] ^= 1;
			assert_int_equal(thinp_btree_insert(g.t->tm, &g.t->type, g.root, &key, other, &g.root, NULL),
					 0);
			assert_int_equal(g.t->counts[number], 1);
			g.t->counts[number]++;
			assert_int_equal(thinp_btree_insert(g.t->tm, &g.t->type, g.root, &key, value, &g.root, NULL),
					 0);
		}
		tree_grow_end(&g);
	}
}

/* --- BT-18 ----------------------------------------------------------------------------------------------------------- */

static void BT_18_keys_at_the_edges_are_ordinary_keys(void **state)
{
	static const uint64_t edges[] = {UINT64_MAX, 0, UINT64_C(1) << 63, 1, UINT64_MAX - 1, UINT64_C(1) << 32};

	(void)state;
	for (uint32_t nr_levels = 1; nr_levels <= 3; nr_levels++) {
		struct tree_grow g;

		tree_grow_begin(&g, 4096, nr_levels, 1000);
		for (size_t i = 0; i < 6 * 6 * 6; i++) {
			const uint64_t keys[] = {edges[i % 6], edges[i / 6 % 6], edges[i / 36]};

			tree_grow_insert(&g, keys);
			tree_grow_expect(&g);
		}
		tree_grow_end(&g);
	}
}

/* --- TM-06: snapshots ------------------------------------------------------------------------------------------------ */

static void random_keys(uint64_t *rng, uint32_t nr_levels, uint64_t range, uint64_t *keys)
{
	for (uint32_t i = 0; i < nr_levels; i++)
		keys[i] = random_next(rng) % (i + 1 < nr_levels ? 5 : range);
}

static void grow_with_snapshots(uint32_t nr_levels, uint32_t value_size, bool by_batch, uint64_t *rng)
{
	struct tree_snapshots s = {.nr = 0};
	struct tree_grow g;

	tree_grow_begin(&g, 8192, nr_levels, value_size);
	for (int i = 0; i < 700; i++) {
		uint64_t keys[THINP_BTREE_MAX_LEVELS];

		random_keys(rng, nr_levels, 2000, keys);
		if (by_batch)
			tree_grow_insert_many(&g, keys, 1);
		else
			tree_grow_insert(&g, keys);
		if (i % 50 == 49 && s.nr < TREE_GROW_MAX_SNAPSHOTS)
			tree_grow_snapshot(&g, &s);
		if (i % 120 == 119)
			tree_change_commit(g.t);
		if (i % 60 == 59) {
			tree_grow_expect(&g);
			tree_grow_expect_snapshots(&g, &s);
		}
	}
	tree_grow_expect(&g);
	tree_grow_expect_snapshots(&g, &s);
	tree_grow_free_snapshots(&s);
	ordered_map_free(&g.map);
	tree_change_free(g.t);
}

static void TM_06_snapshots_stay_and_all_counts_are_right(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (uint32_t nr_levels = 1; nr_levels <= 3; nr_levels++)
		for (size_t size = 0; size < NR_SIZES; size++)
			grow_with_snapshots(nr_levels, value_sizes[size], false, &rng);
}

static void TM_06_also_when_inserted_as_batches(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (uint32_t nr_levels = 1; nr_levels <= 3; nr_levels++)
		for (size_t size = 0; size < NR_SIZES; size++)
			grow_with_snapshots(nr_levels, value_sizes[size], true, &rng);
}

/* The finger of the last insert must not outlive a snapshot. */
static void TM_05_a_snapshot_between_two_inserts_into_one_leaf_stays(void **state)
{
	struct tree_snapshots s = {.nr = 0};
	struct tree_grow g;

	(void)state;
	tree_grow_begin(&g, 1024, 1, 8);
	for (uint64_t i = 0; i < 1000; i++)
		tree_grow_insert_key(&g, i);
	tree_grow_snapshot(&g, &s);
	tree_grow_insert_key(&g, 1000);
	tree_grow_snapshot(&g, &s);
	tree_grow_insert_key(&g, 1001);
	tree_grow_expect(&g);
	tree_grow_expect_snapshots(&g, &s);
	tree_grow_free_snapshots(&s);
	ordered_map_free(&g.map);
	tree_change_free(g.t);
}

/* --- large ----------------------------------------------------------------------------------------------------------- */

static void large_trees_are_right(void **state)
{
	uint64_t rng = random_begin();
	uint64_t *keys = malloc(200000 * sizeof(*keys));

	(void)state;
	assert_non_null(keys);
	for (int ascending = 0; ascending < 2; ascending++) {
		struct tree_figures figures;
		struct tree_grow g;

		tree_grow_begin(&g, 4096, 1, 8);
		for (uint32_t i = 0; i < 200000; i++) {
			uint8_t value[8];

			keys[i] = ascending ? i : i * UINT64_C(0x9e3779b97f4a7c15) ^ rng;
			tree_change_value(g.t, value);
			assert_int_equal(
				thinp_btree_insert(g.t->tm, &g.t->type, g.root, &keys[i], value, &g.root, NULL), 0);
		}
		tree_shape_expect(thinp_tm_reader(g.t->tm), &g.t->type, g.root, &figures);
		assert_int_equal(figures.nr_entries, 200000);
		for (uint32_t i = 0; i < 200000; i++) {
			uint8_t value[8], expected[8];

			assert_int_equal(
				thinp_btree_lookup(thinp_tm_reader(g.t->tm), &g.t->type, g.root, &keys[i], value), 0);
			tree_change_fill_value(g.t, i, expected);
			assert_memory_equal(value, expected, 8);
		}
		tree_change_expect_counts(g.t, &g.root, 1);
		tree_change_free(g.t);
	}
	free(keys);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(insert_ascending),
		cmocka_unit_test(insert_descending),
		cmocka_unit_test(insert_random),
		cmocka_unit_test(insert_runs),
		cmocka_unit_test(insert_other_orders),
		cmocka_unit_test(a_root_of_internal_nodes_splits),
		cmocka_unit_test(BT_14_leaves_are_well_filled),
		cmocka_unit_test(BT_14_every_way_to_make_room_keeps_shape_and_counts),
		cmocka_unit_test(BT_03_a_key_below_all_others_is_found_when_the_root_splits),
		cmocka_unit_test(BT_15_an_overwritten_value_loses_its_reference),
		cmocka_unit_test(BT_15_a_value_overwritten_by_an_equal_one_keeps_it),
		cmocka_unit_test(BT_18_keys_at_the_edges_are_ordinary_keys),
		cmocka_unit_test(TM_06_snapshots_stay_and_all_counts_are_right),
		cmocka_unit_test(TM_06_also_when_inserted_as_batches),
		cmocka_unit_test(TM_05_a_snapshot_between_two_inserts_into_one_leaf_stays),
		cmocka_unit_test(large_trees_are_right),
	};

	return cmocka_run_group_tests_name("btree/insert", tests, NULL, NULL);
}
