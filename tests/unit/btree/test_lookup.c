/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One key, in every tree, against a sorted array.
 */
#include "support/image_expect.h"
#include "support/image_trial.h"
#include "support/tree_zoo.h"

/* --- against the model ----------------------------------------------------------------------------------------------- */

static void expect_lookup(struct tree *tree, const uint64_t *keys)
{
	const struct tree_model *model = &tree->model;
	size_t i = tree_model_find(model, keys);
	uint8_t value[TREE_MAX_VALUE_SIZE + 1];
	int expected = tree_model_is(model, i, keys) ? 0 : THINP_ENODATA;

	memset(value, 0xa5, sizeof(value));
	assert_int_equal(thinp_btree_lookup(tree->reader.reader, &model->type, model->root, keys, value), expected);
	if (expected)
		assert_int_equal(value[0], 0xa5);
	else
		tree_model_expect(model, i, keys, value);
	assert_int_equal(value[model->type.value_size], 0xa5);
	assert_int_equal(thinp_btree_lookup(tree->reader.reader, &model->type, model->root, keys, NULL), expected);
}

static void expect_all_lookups(struct tree *tree)
{
	for (size_t i = 0; i < tree_model_nr_probes(&tree->model); i++) {
		uint64_t keys[THINP_BTREE_MAX_LEVELS];

		tree_model_probe(&tree->model, i, keys);
		expect_lookup(tree, keys);
	}
}

static void every_key_of_a_plain_tree_is_found_and_no_other(void **state)
{
	(void)state;
	tree_zoo_plain(expect_all_lookups);
}

static void every_key_of_a_nested_tree_is_found_and_no_other(void **state)
{
	(void)state;
	tree_zoo_nested(expect_all_lookups);
}

static void every_key_of_a_random_tree_is_found_and_no_other(void **state)
{
	(void)state;
	tree_zoo_random(expect_all_lookups, 400);
}

/* --- without waiting ------------------------------------------------------------------------------------------------- */

static size_t nr_known, nr_unknown;

/* The same answer as from a look-up that may wait, or none. */
static int look_in_cache(struct tree *tree, const uint64_t *keys)
{
	const struct tree_model *model = &tree->model;
	uint64_t before = atomic_load(&tree->image.nr_reads);
	size_t i = tree_model_find(model, keys);
	uint8_t value[TREE_MAX_VALUE_SIZE];
	int r;

	value[0] = 0xa5;
	r = thinp_btree_lookup_cached(tree->reader.reader, &model->type, model->root, keys, value);
	assert_int_equal(atomic_load(&tree->image.nr_reads), before);
	if (r)
		assert_int_equal(value[0], 0xa5);
	else
		tree_model_expect(model, i, keys, value);
	if (r != THINP_EWOULDBLOCK)
		assert_int_equal(r, tree_model_is(model, i, keys) ? 0 : THINP_ENODATA);
	nr_known += r != THINP_EWOULDBLOCK;
	nr_unknown += r == THINP_EWOULDBLOCK;
	return r;
}

static void look_without_waiting(struct tree *tree)
{
	for (size_t i = 0; i < tree_model_nr_probes(&tree->model); i++) {
		uint64_t keys[THINP_BTREE_MAX_LEVELS];

		tree_model_probe(&tree->model, i, keys);
		(void)look_in_cache(tree, keys);
		expect_lookup(tree, keys);
		(void)look_in_cache(tree, keys);
	}
}

static void TM_10_a_lookup_that_must_not_wait_tells_unknown_from_absent(void **state)
{
	(void)state;
	tree_zoo_plain(look_without_waiting);
	tree_zoo_nested(look_without_waiting);
	assert_true(nr_known > 1000 && nr_unknown > 1000);
}

static void a_way_that_was_gone_once_is_known(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 2, .min_depth = 4};
	struct tree tree;
	uint64_t key = 1;

	(void)state;
	tree_open(&tree, &shape, 8, 20, 1, 100);
	assert_int_equal(look_in_cache(&tree, &key), THINP_EWOULDBLOCK);
	expect_lookup(&tree, &key);
	assert_int_not_equal(look_in_cache(&tree, &key), THINP_EWOULDBLOCK);
	tree_close(&tree);
}

/* --- empty and edges ------------------------------------------------------------------------------------------------- */

static void BT_17_nothing_is_found_in_an_empty_tree(void **state)
{
	const struct tree_shape shape = {0};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 0, 1, 1);
	for (size_t i = 0; i < TREE_NR_EDGES; i++)
		expect_failure(
			thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root, &tree_edges[i], NULL),
			THINP_ENODATA, THINP_NO_BLOCK, "no such key");
	tree_close(&tree);
}

/* A tree of these keys alone, so that each is the first and the last of a leaf. */
static void BT_18_keys_at_the_edges_are_ordinary_keys(void **state)
{
	struct tree tree = {.rng = NULL};

	(void)state;
	for (uint32_t per_leaf = 1; per_leaf <= 3; per_leaf++) {
		const struct tree_shape shape = {.per_leaf = per_leaf, .per_node = 2};

		image_open(&tree.image, 100);
		tree_model_build_plain(&tree.model, &tree.image, &shape, 8, tree_edges, TREE_NR_EDGES);
		assert_int_equal(image_reader_open(&tree.reader, &tree.image, 1), 0);
		for (size_t i = 0; i < TREE_NR_EDGES; i++)
			assert_int_equal(thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root,
							    &tree_edges[i], NULL),
					 0);
		expect_all_lookups(&tree);
		tree_close(&tree);
	}
}

static void a_tree_of_the_greatest_depth_is_read(void **state)
{
	const struct tree_shape shape = {.min_depth = THINP_BTREE_MAX_DEPTH};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 5, 7, 1);
	expect_all_lookups(&tree);
	tree_close(&tree);
}

static void a_look_reads_one_node_for_each_step_down(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2, .min_depth = 4};
	struct tree tree;
	uint64_t key = 3;

	(void)state;
	tree_open(&tree, &shape, 8, 16, 1, 100);
	assert_int_equal(thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root, &key, NULL), 0);
	assert_int_equal(atomic_load(&tree.image.nr_reads), 4);
	assert_int_equal(thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root, &key, NULL), 0);
	assert_int_equal(atomic_load(&tree.image.nr_reads), 4); /* the cache has them now */
	tree_close(&tree);
}

/* A parent's key may be lower than its child's first one after removals; a node's capacity may be odd. */
static void a_leaf_of_another_capacity_is_read(void **state)
{
	const struct tree_shape shape = {0};
	struct image_block content;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 5, 1, 4);
	image_read(&tree.image, tree.model.root, &content);
	memmove(content.data + TREE_KEYS + 8 * 7, content.data + TREE_KEYS + 8 * 252, 8 * 5);
	image_put(&tree.image, tree.model.root, &content, thinp_block_type_node());
	image_set32(&tree.image, tree.model.root, TREE_MAX_ENTRIES, 7);
	expect_all_lookups(&tree);
	tree_close(&tree);
}

/* --- types ----------------------------------------------------------------------------------------------------------- */

struct type_case {
	uint32_t nr_levels, value_size;
	int expected;
};

static void types_that_no_tree_can_have_are_refused(void **state)
{
	static const struct type_case cases[] = {
		{0, 8, THINP_EINVAL},
		{5, 8, THINP_EINVAL},
		{UINT32_MAX, 8, THINP_EINVAL},
		{1, 0, THINP_EINVAL},
		{1, 1347, THINP_EINVAL},
		{1, UINT32_MAX, THINP_EINVAL},
		{1, 8, 0},
	};
	const struct tree_shape shape = {0};
	struct tree tree;
	uint64_t key = 1;

	(void)state;
	tree_open(&tree, &shape, 8, 1, 1, 4);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct thinp_btree_type type = {
			.size = sizeof(type), .nr_levels = cases[i].nr_levels, .value_size = cases[i].value_size};
		int r = thinp_btree_lookup(tree.reader.reader, &type, tree.model.root, &key, NULL);

		assert_int_equal(r, cases[i].expected);
		if (r)
			expect_detail(r);
	}
	assert_int_equal(thinp_btree_lookup(tree.reader.reader, NULL, tree.model.root, &key, NULL), THINP_EINVAL);
	tree_close(&tree);
}

static void the_largest_values_are_read(void **state)
{
	const struct tree_shape shape = {0};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, TREE_MAX_VALUE_SIZE, 7, 1, 4);
	expect_all_lookups(&tree);
	tree_close(&tree);
}

static void BT_10_a_leaf_with_values_of_another_size_is_refused_before_a_value_is_copied(void **state)
{
	static const uint32_t sizes[] = {1, 4, 7, 9, 16, 24, 1000};
	const struct tree_shape shape = {.per_leaf = 2};
	uint64_t key = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = 8};
		uint8_t value[8];
		struct tree tree;

		tree_open(&tree, &shape, sizes[i], 4, 1, 4);
		expect_corrupt(thinp_btree_lookup(tree.reader.reader, &type, tree.model.root, &key, value),
			       tree_child(&tree.image, tree.model.root, 0), "in a tree with values of 8 bytes");
		tree_close(&tree);
	}
}

/* --- roots ----------------------------------------------------------------------------------------------------------- */

static void a_root_beyond_the_end_is_refused(void **state)
{
	static const thinp_block_t beyond[] = {20000, 20001, UINT64_C(1) << 40, UINT64_MAX};
	const struct tree_shape shape = {0};
	struct tree tree;
	uint64_t key = 1;

	(void)state;
	tree_open(&tree, &shape, 8, 1, 1, 4);
	for (size_t i = 0; i < sizeof(beyond) / sizeof(beyond[0]); i++)
		expect_corrupt(thinp_btree_lookup(tree.reader.reader, &tree.model.type, beyond[i], &key, NULL),
			       beyond[i], "beyond the end");
	assert_int_equal(atomic_load(&tree.image.nr_reads), 0);
	tree_close(&tree);
}

static void a_root_that_is_no_node_is_refused(void **state)
{
	const struct tree_shape shape = {0};
	struct tree tree;
	uint64_t key = 1;

	(void)state;
	tree_open(&tree, &shape, 8, 1, 1, 4);
	expect_corrupt(thinp_btree_lookup(tree.reader.reader, &tree.model.type, 50, &key, NULL), 50,
		       "nothing but zeros");
	tree_close(&tree);
}

/* --- failures of others ---------------------------------------------------------------------------------------------- */

static int use_lookup(struct image_trial *trial)
{
	const struct tree_model *model = trial->ctx;
	uint64_t key = 7;
	uint8_t value[8];
	int r = thinp_btree_lookup(trial->reader.reader, &model->type, model->root, &key, value);

	if (!r)
		tree_model_expect(model, tree_model_find(model, &key), &key, value);
	return r;
}

static void a_lookup_survives_failing_reads_and_allocations(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2};
	struct image_trial trial;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 12, 1, 4);
	trial = image_trial_of_reader(&tree.image, use_lookup, &tree.model);
	image_trial_run(&trial);
	tree_close(&tree);
}

static void EIO_is_told_with_its_block(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2};
	struct tree tree;
	uint64_t key = 4;

	(void)state;
	tree_open(&tree, &shape, 8, 4, 1, 4);
	image_fail_reads(&tree.image, 2, 2);
	expect_failure(thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root, &key, NULL), THINP_EIO,
		       tree_child(&tree.image, tree.model.root, 1), "");
	image_fail_no_reads(&tree.image);
	expect_all_lookups(&tree);
	tree_close(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_of_a_plain_tree_is_found_and_no_other),
		cmocka_unit_test(every_key_of_a_nested_tree_is_found_and_no_other),
		cmocka_unit_test(every_key_of_a_random_tree_is_found_and_no_other),
		cmocka_unit_test(TM_10_a_lookup_that_must_not_wait_tells_unknown_from_absent),
		cmocka_unit_test(a_way_that_was_gone_once_is_known),
		cmocka_unit_test(BT_17_nothing_is_found_in_an_empty_tree),
		cmocka_unit_test(BT_18_keys_at_the_edges_are_ordinary_keys),
		cmocka_unit_test(a_tree_of_the_greatest_depth_is_read),
		cmocka_unit_test(a_look_reads_one_node_for_each_step_down),
		cmocka_unit_test(a_leaf_of_another_capacity_is_read),
		cmocka_unit_test(types_that_no_tree_can_have_are_refused),
		cmocka_unit_test(the_largest_values_are_read),
		cmocka_unit_test(BT_10_a_leaf_with_values_of_another_size_is_refused_before_a_value_is_copied),
		cmocka_unit_test(a_root_beyond_the_end_is_refused),
		cmocka_unit_test(a_root_that_is_no_node_is_refused),
		cmocka_unit_test(a_lookup_survives_failing_reads_and_allocations),
		cmocka_unit_test(EIO_is_told_with_its_block),
	};

	return cmocka_run_group_tests_name("btree/lookup", tests, NULL, NULL);
}
