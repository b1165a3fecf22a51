/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first key that is not smaller, for every key and every gap, against a sorted array.
 */
#include "support/image_expect.h"
#include "support/image_trial.h"
#include "support/tree_damaged.h"
#include "support/tree_zoo.h"

/* Asks with and without a value, and with one array for both keys. */
static void expect_lookup_ge(struct tree *tree, const uint64_t *keys)
{
	const struct tree_model *model = &tree->model;
	struct thinp_reader *reader = tree->reader.reader;
	size_t i = tree_model_find(model, keys);
	int expected = i < model->nr ? 0 : THINP_ENODATA;
	uint64_t found[THINP_BTREE_MAX_LEVELS] = {77, 77, 77, 77};
	uint64_t in_place[THINP_BTREE_MAX_LEVELS];
	uint8_t value[TREE_MAX_VALUE_SIZE];

	assert_int_equal(thinp_btree_lookup_ge(reader, &model->type, model->root, keys, found, value), expected);
	memcpy(in_place, keys, model->type.nr_levels * sizeof(*keys));
	assert_int_equal(thinp_btree_lookup_ge(reader, &model->type, model->root, in_place, in_place, NULL), expected);
	if (expected) {
		assert_int_equal(found[0], 77);
		assert_memory_equal(in_place, keys, model->type.nr_levels * sizeof(*keys));
	} else {
		tree_model_expect(model, i, found, value);
		assert_memory_equal(in_place, found, model->type.nr_levels * sizeof(*keys));
	}
}

static void expect_all_next_keys(struct tree *tree)
{
	for (size_t i = 0; i < tree_model_nr_probes(&tree->model); i++) {
		uint64_t keys[THINP_BTREE_MAX_LEVELS] = {0};

		tree_model_probe(&tree->model, i, keys);
		expect_lookup_ge(tree, keys);
	}
}

static void the_next_key_is_found_in_every_plain_tree(void **state)
{
	(void)state;
	tree_zoo_plain(expect_all_next_keys);
}

static void the_next_key_is_found_in_every_nested_tree(void **state)
{
	(void)state;
	tree_zoo_nested(expect_all_next_keys);
}

static void the_next_key_is_found_in_every_random_tree(void **state)
{
	(void)state;
	tree_zoo_random(expect_all_next_keys, 400);
}

/* Leaves [10..20] and [40..50]. */
static void BT_11_the_next_key_over_a_gap_is_found(void **state)
{
	static const uint64_t questions[][2] = {{0, 10},  {10, 10}, {15, 15}, {20, 20}, {21, 40},
						{39, 40}, {40, 40}, {50, 50}, {51, 0}};
	const struct tree_shape shape = {.per_leaf = 11};
	struct tree tree = {.rng = NULL};
	uint64_t keys[22];

	(void)state;
	for (size_t i = 0; i < 22; i++)
		keys[i] = i < 11 ? 10 + i : 29 + i;
	image_open(&tree.image, 10);
	tree_model_build_plain(&tree.model, &tree.image, &shape, 8, keys, 22);
	assert_int_equal(image_reader_open(&tree.reader, &tree.image, 4), 0);
	for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
		uint64_t found = 0;
		int r = thinp_btree_lookup_ge(tree.reader.reader, &tree.model.type, tree.model.root, &questions[i][0],
					      &found, NULL);

		assert_int_equal(r, questions[i][0] <= 50 ? 0 : THINP_ENODATA);
		assert_int_equal(found, questions[i][1]);
	}
	tree_close(&tree);
}

/* Three levels of nodes, three entries in each; keys 10, 20, 30 ...: every number up to behind the last is asked for. */
static void BT_11_the_next_key_over_every_gap_of_three_levels_is_found(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};
	struct tree tree;

	(void)state;
	for (uint32_t cache_blocks = 1; cache_blocks <= 3; cache_blocks++) {
		tree_open(&tree, &shape, 1000, 27, 10, cache_blocks);
		for (uint64_t key = 0; key <= 280; key++)
			expect_lookup_ge(&tree, &key);
		expect_lookup_ge(&tree, &(uint64_t){UINT64_MAX});
		tree_close(&tree);
	}
}

/* Removals never raise a parent's key, so the gap may lie between a parent's key and its child's first one. */
static void BT_11_the_next_key_is_found_below_a_parent_key_that_no_child_has(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 27, 10, 4);
	for (uint32_t i = 1; i < 3; i++) {
		thinp_block_t child = tree_child(&tree.image, tree.model.root, i);

		tree_set_key(&tree.image, tree.model.root, i, tree_key(&tree.image, tree.model.root, i) - 5);
		tree_set_key(&tree.image, child, 1, tree_key(&tree.image, child, 1) - 9);
	}
	for (uint64_t key = 0; key <= 280; key++)
		expect_lookup_ge(&tree, &key);
	tree_close(&tree);
}

/* A leaf that removals have emptied: no writer leaves one, but nothing forbids it. */
static void an_empty_leaf_is_passed_over(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};

	(void)state;
	for (uint32_t i = 0; i < 3; i++) {
		uint64_t found = 0, key = 30 * i + 10;
		struct tree tree;
		int r;

		tree_open(&tree, &shape, 8, 9, 10, 4);
		image_set32(&tree.image, tree_child(&tree.image, tree.model.root, i), TREE_NR_ENTRIES, 0);
		r = thinp_btree_lookup_ge(tree.reader.reader, &tree.model.type, tree.model.root, &key, &found, NULL);
		assert_int_equal(r, i < 2 ? 0 : THINP_ENODATA);
		assert_int_equal(found, i < 2 ? 30 * (i + 1) + 10 : 0);
		tree_close(&tree);
	}
}

static void all_leaves_but_the_first_and_the_last_may_be_empty(void **state)
{
	uint64_t key = 35, found = 0, before;
	struct damaged d;

	(void)state;
	damaged_open(&d, 1);
	for (size_t i = 1; i < 8; i++)
		image_set32(&d.tree.image, d.leaf[i], TREE_NR_ENTRIES, 0);
	before = atomic_load(&d.tree.image.nr_reads);
	assert_int_equal(thinp_btree_lookup_ge(d.tree.reader.reader, &d.tree.model.type, d.root, &key, &found, NULL),
			 0);
	assert_int_equal(found, 250);
	assert_int_equal(atomic_load(&d.tree.image.nr_reads) - before, 9 * 3); /* each leaf, and the way to it */
	image_set32(&d.tree.image, d.leaf[8], TREE_NR_ENTRIES, 0);
	damaged_reopen(&d, 100);
	assert_int_equal(damaged_lookup_ge(&d, key), THINP_ENODATA);
	tree_close(&d.tree);
}

/* --- what is wrong with nodes is seen in the cache, too -------------------------------------------------------------- */

enum { ALL = 100 };

/* Brings all nodes into the cache that are on the ways to these keys. */
static void warm_up(struct damaged *d, uint64_t key, uint64_t other)
{
	assert_int_equal(damaged_lookup(d, key), 0);
	assert_int_equal(damaged_lookup(d, other), 0);
}

static void BT_20_a_key_that_belongs_to_the_next_child_is_not_given(void **state)
{
	struct damaged d;

	(void)state;
	damaged_open(&d, ALL);
	tree_set_key(&d.tree.image, d.leaf[3], 2, 130);
	warm_up(&d, 100, 110);
	expect_corrupt(damaged_lookup_ge(&d, 115), d.leaf[3], "ends with key 130, but its parent");
	tree_close(&d.tree);

	damaged_open(&d, ALL);
	tree_set_key(&d.tree.image, d.mid[0], 2, 100);
	warm_up(&d, 10, 40);
	expect_corrupt(damaged_lookup_ge(&d, 15), d.mid[0], "ends with key 100, but its parent");
	tree_close(&d.tree);
}

static void a_leaf_at_another_depth_than_the_one_before_is_damage(void **state)
{
	struct damaged d;

	(void)state;
	damaged_open(&d, ALL);
	tree_set_child(&d.tree.image, d.root, 1, d.leaf[4]);
	warm_up(&d, 90, 130);
	assert_int_equal(damaged_lookup_ge(&d, 95), THINP_ECORRUPT);
	expect_corrupt(damaged_lookup_ge(&d, 95), d.leaf[4], "a leaf at depth 1 of a tree with leaves at depth 2");
	tree_close(&d.tree);
}

/* --- how long it takes ----------------------------------------------------------------------------------------------- */

static void the_next_key_is_found_with_no_more_reads_than_twice_the_depth(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 81, 10, 1);
	for (uint64_t key = 0; key <= 820; key++) {
		uint64_t before = atomic_load(&tree.image.nr_reads);

		expect_lookup_ge(&tree, &key); /* two look-ups */
		assert_in_range(atomic_load(&tree.image.nr_reads) - before, 2, (uint64_t)2 * 2 * 4);
	}
	tree_close(&tree);
}

/* 30 is the last of its leaf, so that the next key is in another one. */
static int use_lookup_ge(struct image_trial *trial)
{
	const struct tree_model *model = trial->ctx;
	uint64_t key = 61, found = 0;
	uint8_t value[8];
	int r = thinp_btree_lookup_ge(trial->reader.reader, &model->type, model->root, &key, &found, value);

	if (!r)
		tree_model_expect(model, tree_model_find(model, &key), &found, value);
	return r;
}

static void it_survives_failing_reads_and_allocations(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 2};
	struct image_trial trial;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 12, 10, 4);
	trial = image_trial_of_reader(&tree.image, use_lookup_ge, &tree.model);
	image_trial_run(&trial);
	tree_close(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_next_key_is_found_in_every_plain_tree),
		cmocka_unit_test(the_next_key_is_found_in_every_nested_tree),
		cmocka_unit_test(the_next_key_is_found_in_every_random_tree),
		cmocka_unit_test(BT_11_the_next_key_over_a_gap_is_found),
		cmocka_unit_test(BT_11_the_next_key_over_every_gap_of_three_levels_is_found),
		cmocka_unit_test(BT_11_the_next_key_is_found_below_a_parent_key_that_no_child_has),
		cmocka_unit_test(an_empty_leaf_is_passed_over),
		cmocka_unit_test(all_leaves_but_the_first_and_the_last_may_be_empty),
		cmocka_unit_test(BT_20_a_key_that_belongs_to_the_next_child_is_not_given),
		cmocka_unit_test(a_leaf_at_another_depth_than_the_one_before_is_damage),
		cmocka_unit_test(the_next_key_is_found_with_no_more_reads_than_twice_the_depth),
		cmocka_unit_test(it_survives_failing_reads_and_allocations),
	};

	return cmocka_run_group_tests_name("btree/lookup_ge", tests, NULL, NULL);
}
