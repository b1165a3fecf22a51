/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The first and the last entry.
 */
#include "support/image_expect.h"
#include "support/image_trial.h"
#include "support/tree_zoo.h"

typedef int (*end_fn)(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
		      uint64_t *keys, void *value_le);

static void expect_end(struct tree *tree, end_fn fn, size_t i)
{
	const struct tree_model *model = &tree->model;
	uint64_t keys[THINP_BTREE_MAX_LEVELS] = {77};
	uint8_t value[TREE_MAX_VALUE_SIZE];
	int expected = model->nr ? 0 : THINP_ENODATA;

	assert_int_equal(fn(tree->reader.reader, &model->type, model->root, keys, value), expected);
	if (expected) {
		expect_detail(expected);
		assert_int_equal(keys[0], 77);
		return;
	}
	tree_model_expect(model, i, keys, value);
	keys[model->type.nr_levels - 1]++;
	assert_int_equal(fn(tree->reader.reader, &model->type, model->root, keys, NULL), 0);
	assert_int_equal(tree_model_compare(model, keys, tree_model_keys(model, i)), 0);
}

static void expect_both_ends(struct tree *tree)
{
	expect_end(tree, thinp_btree_first, 0);
	expect_end(tree, thinp_btree_last, tree->model.nr - 1);
}

static void both_ends_of_every_plain_tree_are_found(void **state)
{
	(void)state;
	tree_zoo_plain(expect_both_ends);
}

static void both_ends_of_every_nested_tree_are_found(void **state)
{
	(void)state;
	tree_zoo_nested(expect_both_ends);
}

static void both_ends_of_every_random_tree_are_found(void **state)
{
	(void)state;
	tree_zoo_random(expect_both_ends, 200);
}

static void BT_17_an_empty_tree_has_no_ends(void **state)
{
	const struct tree_shape shape = {0};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 24, 0, 1, 1);
	expect_both_ends(&tree);
	tree_close(&tree);
}

static void BT_18_the_ends_may_be_the_smallest_and_the_largest_number(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2};
	struct tree tree = {.rng = NULL};

	(void)state;
	image_open(&tree.image, 100);
	tree_model_build_plain(&tree.model, &tree.image, &shape, 8, tree_edges, TREE_NR_EDGES);
	assert_int_equal(image_reader_open(&tree.reader, &tree.image, 2), 0);
	expect_both_ends(&tree);
	tree_close(&tree);
}

/* Leaves emptied from both ends towards the middle. */
static void empty_leaves_at_the_ends_are_passed_over(void **state)
{
	const struct tree_shape shape = {.per_leaf = 1, .per_node = 5};
	struct tree tree;
	uint64_t key;

	(void)state;
	tree_open(&tree, &shape, 8, 5, 1, 4);
	for (uint32_t i = 0; i < 2; i++) {
		image_set32(&tree.image, tree_child(&tree.image, tree.model.root, i), TREE_NR_ENTRIES, 0);
		image_set32(&tree.image, tree_child(&tree.image, tree.model.root, 4 - i), TREE_NR_ENTRIES, 0);
		image_reader_close(&tree.reader);
		assert_int_equal(image_reader_reopen(&tree.reader, &tree.image, 4), 0);
		assert_int_equal(thinp_btree_first(tree.reader.reader, &tree.model.type, tree.model.root, &key, NULL),
				 0);
		assert_int_equal(key, 2 + i);
		assert_int_equal(thinp_btree_last(tree.reader.reader, &tree.model.type, tree.model.root, &key, NULL),
				 0);
		assert_int_equal(key, 4 - i);
	}
	tree_close(&tree);
}

static int use_ends(struct image_trial *trial)
{
	const struct tree_model *model = trial->ctx;
	uint8_t value[8];
	uint64_t key;
	int r = thinp_btree_first(trial->reader.reader, &model->type, model->root, &key, value);

	if (r)
		return r;
	tree_model_expect(model, 0, &key, value);
	r = thinp_btree_last(trial->reader.reader, &model->type, model->root, &key, value);
	if (!r)
		tree_model_expect(model, model->nr - 1, &key, value);
	return r;
}

static void they_survive_failing_reads_and_allocations(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 2};
	struct image_trial trial;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 12, 10, 4);
	trial = image_trial_of_reader(&tree.image, use_ends, &tree.model);
	image_trial_run(&trial);
	tree_close(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ends_of_every_plain_tree_are_found),
		cmocka_unit_test(both_ends_of_every_nested_tree_are_found),
		cmocka_unit_test(both_ends_of_every_random_tree_are_found),
		cmocka_unit_test(BT_17_an_empty_tree_has_no_ends),
		cmocka_unit_test(BT_18_the_ends_may_be_the_smallest_and_the_largest_number),
		cmocka_unit_test(empty_leaves_at_the_ends_are_passed_over),
		cmocka_unit_test(they_survive_failing_reads_and_allocations),
	};

	return cmocka_run_group_tests_name("btree/first_last", tests, NULL, NULL);
}
