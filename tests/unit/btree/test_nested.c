/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Trees of several levels: what the zoo of trees does not show.
 */
#include "base/bytes.h"
#include "support/image_expect.h"
#include "support/image_trial.h"
#include "support/tree_zoo.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static void open_nested(struct tree *tree, const struct tree_shape *shape, uint32_t nr_levels, uint32_t value_size,
			const struct tree_item *items, size_t nr_items)
{
	tree->rng = NULL;
	image_open(&tree->image, 200);
	tree_model_build(&tree->model, &tree->image, shape, nr_levels, value_size, items, nr_items);
	assert_int_equal(image_reader_open(&tree->reader, &tree->image, 3), 0);
}

static int walk(struct tree *tree, struct tree_receiver *receiver)
{
	return thinp_btree_walk(tree->reader.reader, &tree->model.type, tree->model.root, tree_receiver_take, receiver);
}

/* Forwards by a walk and by a cursor, and back by the cursor. */
static void expect_both_ways(struct tree *tree)
{
	struct tree_receiver receiver = {.model = &tree->model};
	uint64_t keys[THINP_BTREE_MAX_LEVELS];
	struct thinp_btree_cursor *cursor;
	uint8_t value[TREE_MAX_VALUE_SIZE];

	assert_int_equal(walk(tree, &receiver), 0);
	assert_int_equal(receiver.next, tree->model.nr);
	assert_int_equal(thinp_btree_cursor_create(tree->reader.reader, &tree->model.type, tree->model.root, &cursor),
			 0);
	for (size_t i = 0; i < tree->model.nr; i++) {
		assert_int_equal(thinp_btree_cursor_next(cursor), 0);
		assert_int_equal(thinp_btree_cursor_get(cursor, keys, value), 0);
		tree_model_expect(&tree->model, i, keys, value);
	}
	assert_int_equal(thinp_btree_cursor_next(cursor), THINP_ENODATA);
	for (size_t i = tree->model.nr; i--;) {
		assert_int_equal(thinp_btree_cursor_prev(cursor), 0);
		assert_int_equal(thinp_btree_cursor_get(cursor, keys, value), 0);
		tree_model_expect(&tree->model, i, keys, value);
	}
	assert_int_equal(thinp_btree_cursor_prev(cursor), THINP_ENODATA);
	thinp_btree_cursor_destroy(cursor);
}

/* --- empty trees ----------------------------------------------------------------------------------------------------- */

/* Every device of a pool may be empty. */
static void BT_17_trees_of_nothing_but_empty_trees_are_empty(void **state)
{
	static const struct tree_item two[] = {{{0}, 1}, {{5}, 1}, {{UINT64_MAX}, 1}};
	static const struct tree_item four[] = {{{0}, 1}, {{1, 2}, 2}, {{1, 3, 0}, 3}, {{1, 3, 1}, 3}, {{2}, 1}};
	const struct tree_shape shape = {.per_leaf = 1, .per_node = 2};
	uint64_t keys[THINP_BTREE_MAX_LEVELS] = {0};
	struct tree tree;

	(void)state;
	for (uint32_t nr_levels = 2; nr_levels <= 4; nr_levels += 2) {
		open_nested(&tree, &shape, nr_levels, 8, nr_levels == 2 ? two : four,
			    nr_levels == 2 ? NR_OF(two) : NR_OF(four));
		expect_both_ways(&tree);
		assert_int_equal(thinp_btree_first(tree.reader.reader, &tree.model.type, tree.model.root, keys, NULL),
				 THINP_ENODATA);
		assert_int_equal(thinp_btree_last(tree.reader.reader, &tree.model.type, tree.model.root, keys, NULL),
				 THINP_ENODATA);
		assert_int_equal(
			thinp_btree_lookup_ge(tree.reader.reader, &tree.model.type, tree.model.root, keys, keys, NULL),
			THINP_ENODATA);
		tree_close(&tree);
	}
}

static void one_entry_between_many_empty_trees_is_found_from_both_sides(void **state)
{
	static const struct tree_item items[] = {{{0}, 1},    {{1}, 1}, {{2, 0}, 2}, {{2, 7, 7}, 3},
						 {{2, 8}, 2}, {{3}, 1}, {{4, 4}, 2}};
	uint64_t keys[THINP_BTREE_MAX_LEVELS];
	struct tree tree;

	(void)state;
	for (uint32_t per_leaf = 1; per_leaf <= 4; per_leaf++) {
		const struct tree_shape shape = {.per_leaf = per_leaf, .per_node = 2};
		const uint64_t smallest[] = {0, 0, 0};

		open_nested(&tree, &shape, 3, 8, items, NR_OF(items));
		expect_both_ways(&tree);
		assert_int_equal(thinp_btree_lookup_ge(tree.reader.reader, &tree.model.type, tree.model.root, smallest,
						       keys, NULL),
				 0);
		assert_int_equal(tree_model_compare(&tree.model, keys, tree_model_keys(&tree.model, 0)), 0);
		assert_int_equal(thinp_btree_last(tree.reader.reader, &tree.model.type, tree.model.root, keys, NULL),
				 0);
		assert_int_equal(tree_model_compare(&tree.model, keys, tree_model_keys(&tree.model, 0)), 0);
		tree_close(&tree);
	}
}

/* --- shape ----------------------------------------------------------------------------------------------------------- */

/* Device 1 has one leaf, device 2 three levels of nodes, device 3 one leaf again. */
static void trees_of_one_level_may_differ_in_depth(void **state)
{
	const struct tree_shape flat = {.per_leaf = 6}, deep = {.per_leaf = 2, .per_node = 2};
	struct tree_item items[18];
	struct tree tree;
	thinp_block_t subtree;
	uint64_t keys[6];
	uint8_t values[6][8];

	(void)state;
	for (size_t i = 0; i < NR_OF(items); i++)
		items[i] = (struct tree_item){.keys = {1 + i / 6, i % 6}, .nr_keys = 2};
	open_nested(&tree, &flat, 2, 8, items, NR_OF(items));
	for (size_t i = 0; i < 6; i++) {
		keys[i] = i;
		tree_model_value(&tree.model, tree_model_keys(&tree.model, 6 + i), values[i]);
	}
	subtree = tree_build(&tree.image, &deep, 8, keys, values, 6);
	assert_false(tree_is_leaf(&tree.image, tree_child(&tree.image, subtree, 0)));
	tree_set_child(&tree.image, tree.model.root, 1, subtree);
	expect_both_ways(&tree);
	tree_close(&tree);
}

static int count_entries(void *ctx, const struct thinp_btree_span *span)
{
	*(size_t *)ctx += span->nr_entries;
	return 0;
}

/* A snapshot begins with the tree of its origin. */
static void trees_may_be_shared_between_keys_of_the_level_above(void **state)
{
	static const struct tree_item items[] = {{{1, 5}, 2}, {{1, 6}, 2}, {{1, 7}, 2}, {{2}, 1}, {{3}, 1}};
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2};
	uint64_t last[2];
	struct tree tree;
	size_t nr = 0;

	(void)state;
	open_nested(&tree, &shape, 2, 8, items, NR_OF(items));
	for (uint64_t dev = 2; dev <= 3; dev++) {
		thinp_block_t leaf = tree_child(&tree.image, tree.model.root, dev == 2 ? 0 : 1);
		thinp_block_t first = tree_child(&tree.image, tree_child(&tree.image, tree.model.root, 0), 0);

		tree_set_child(&tree.image, leaf, dev == 2 ? 1 : 0, first);
	}
	assert_int_equal(thinp_btree_walk(tree.reader.reader, &tree.model.type, tree.model.root, count_entries, &nr),
			 0);
	assert_int_equal(nr, 9);
	assert_int_equal(thinp_btree_last(tree.reader.reader, &tree.model.type, tree.model.root, last, NULL), 0);
	assert_int_equal(last[0], 3);
	assert_int_equal(last[1], 7);
	tree_close(&tree);
}

static void each_level_may_have_the_greatest_depth(void **state)
{
	static const struct tree_item items[] = {{{1, 1, 1, 1}, 4}, {{1, 2, 1, 1}, 4}, {{2, 1, 1, 1}, 4}};
	const struct tree_shape shape = {.min_depth = THINP_BTREE_MAX_DEPTH};
	struct tree tree;

	(void)state;
	open_nested(&tree, &shape, 4, 12, items, NR_OF(items));
	expect_both_ways(&tree);
	for (size_t i = 0; i < NR_OF(items); i++)
		assert_int_equal(
			thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root, items[i].keys, NULL),
			0);
	tree_close(&tree);
}

/* --- damage ---------------------------------------------------------------------------------------------------------- */

/* 1: two entries, 2: two entries, 3: two entries; each tree is one leaf. */
static void open_three(struct tree *tree, uint32_t value_size)
{
	static const struct tree_item items[] = {{{1, 5}, 2}, {{1, 6}, 2}, {{2, 5}, 2},
						 {{2, 6}, 2}, {{3, 5}, 2}, {{3, 6}, 2}};
	const struct tree_shape shape = {.per_leaf = 0};

	open_nested(tree, &shape, 2, value_size, items, NR_OF(items));
}

static void damage_in_one_tree_leaves_the_others_readable(void **state)
{
	struct tree tree;
	thinp_block_t bad;

	(void)state;
	open_three(&tree, 8);
	bad = tree_child(&tree.image, tree.model.root, 1);
	image_set32(&tree.image, bad, TREE_NR_ENTRIES, 300);
	for (uint64_t dev = 1; dev <= 3; dev++) {
		const uint64_t keys[] = {dev, 6};
		int r = thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root, keys, NULL);

		if (dev == 2)
			expect_corrupt(r, bad, "300 entries");
		else
			assert_int_equal(r, 0);
	}
	expect_corrupt(walk(&tree, &(struct tree_receiver){.model = &tree.model}), bad, "300 entries");
	tree_close(&tree);
}

static void BM_14_a_tree_beyond_the_end_is_told_with_the_block_that_names_it(void **state)
{
	static const thinp_block_t beyond[] = {200, 201, UINT64_C(1) << 40, UINT64_MAX};
	const uint64_t keys[] = {2, 6};
	struct tree tree;

	(void)state;
	open_three(&tree, 8);
	for (size_t i = 0; i < NR_OF(beyond); i++) {
		struct tree_receiver receiver = {.model = &tree.model};
		uint64_t found[2];
		int32_t result;

		tree_set_child(&tree.image, tree.model.root, 1, beyond[i]);
		image_reader_close(&tree.reader);
		assert_int_equal(image_reader_open(&tree.reader, &tree.image, 1), 0);
		expect_corrupt(thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root, keys, NULL),
			       tree.model.root, "a child cannot be at block");
		expect_corrupt(thinp_btree_lookup_many(tree.reader.reader, &tree.model.type, tree.model.root, keys, 1,
						       NULL, &result),
			       tree.model.root, "a child cannot be at block");
		expect_corrupt(
			thinp_btree_lookup_ge(tree.reader.reader, &tree.model.type, tree.model.root, keys, found, NULL),
			tree.model.root, "a child cannot be at block");
		expect_corrupt(walk(&tree, &receiver), tree.model.root, "a child cannot be at block");
		assert_int_equal(receiver.next, 2);
	}
	tree_close(&tree);
}

static void BT_10_values_of_the_wrong_size_are_refused_in_each_level(void **state)
{
	const uint64_t keys[] = {2, 6};
	struct tree tree;

	(void)state;
	open_three(&tree, 24);
	tree_set_child(&tree.image, tree.model.root, 1,
		       tree.model.root); /* a leaf of addresses in place of one of details */
	expect_corrupt(thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root, keys, NULL),
		       tree.model.root, "values of 8 bytes in a tree with values of 24 bytes");
	expect_corrupt(walk(&tree, &(struct tree_receiver){.model = &tree.model}), tree.model.root,
		       "values of 8 bytes");
	/* and the other way round: a tree of details where addresses should be */
	expect_corrupt(thinp_btree_lookup(tree.reader.reader, &tree.model.type,
					  tree_child(&tree.image, tree.model.root, 0), keys, NULL),
		       tree_child(&tree.image, tree.model.root, 0),
		       "values of 24 bytes in a tree with values of 8 bytes");
	tree_close(&tree);
}

/* All levels have values of 8 bytes, so that nothing tells a leaf of one from a leaf of another. */
static void BT_07_a_leaf_that_is_its_own_tree_below_is_read_to_the_last_level_and_no_further(void **state)
{
	static const struct tree_item items[] = {{{1, 1, 1, 1}, 4}};
	const struct tree_shape shape = {.per_leaf = 0};
	struct tree tree;
	size_t nr = 0;

	(void)state;
	open_nested(&tree, &shape, 4, 8, items, NR_OF(items));
	tree_set_child(&tree.image, tree.model.root, 0, tree.model.root);
	assert_int_equal(thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root, items[0].keys, NULL),
			 0);
	assert_int_equal(thinp_btree_walk(tree.reader.reader, &tree.model.type, tree.model.root, count_entries, &nr),
			 0);
	assert_int_equal(nr, 1);
	assert_int_equal(atomic_load(&tree.image.nr_reads), 1);
	tree_close(&tree);
}

static void a_nested_tree_read_as_a_plain_one_gives_the_roots(void **state)
{
	const struct thinp_btree_type plain = {.size = sizeof(plain), .nr_levels = 1, .value_size = 8};
	uint64_t key = 2;
	struct tree tree;
	uint8_t value[8];

	(void)state;
	open_three(&tree, 24);
	assert_int_equal(thinp_btree_lookup(tree.reader.reader, &plain, tree.model.root, &key, value), 0);
	assert_int_equal(tp_load_le64(value), tree_child(&tree.image, tree.model.root, 1));
	tree_close(&tree);
}

/* --- failures -------------------------------------------------------------------------------------------------------- */

static int use_nested(struct image_trial *trial)
{
	const struct tree_model *model = trial->ctx;
	struct tree_receiver receiver = {.model = model};
	const uint64_t keys[] = {3, 6};
	uint64_t found[2];
	int r = thinp_btree_lookup(trial->reader.reader, &model->type, model->root, keys, NULL);

	if (!r)
		r = thinp_btree_lookup_ge(trial->reader.reader, &model->type, model->root, keys, found, NULL);
	if (!r)
		r = thinp_btree_last(trial->reader.reader, &model->type, model->root, found, NULL);
	if (!r)
		r = thinp_btree_walk(trial->reader.reader, &model->type, model->root, tree_receiver_take, &receiver);
	assert_true(r || receiver.next == model->nr);
	return r;
}

static void nested_trees_survive_failing_reads_and_allocations(void **state)
{
	struct image_trial trial;
	struct tree tree;

	(void)state;
	open_three(&tree, 8);
	trial = image_trial_of_reader(&tree.image, use_nested, &tree.model);
	image_trial_run(&trial);
	tree_close(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BT_17_trees_of_nothing_but_empty_trees_are_empty),
		cmocka_unit_test(one_entry_between_many_empty_trees_is_found_from_both_sides),
		cmocka_unit_test(trees_of_one_level_may_differ_in_depth),
		cmocka_unit_test(trees_may_be_shared_between_keys_of_the_level_above),
		cmocka_unit_test(each_level_may_have_the_greatest_depth),
		cmocka_unit_test(damage_in_one_tree_leaves_the_others_readable),
		cmocka_unit_test(BM_14_a_tree_beyond_the_end_is_told_with_the_block_that_names_it),
		cmocka_unit_test(BT_10_values_of_the_wrong_size_are_refused_in_each_level),
		cmocka_unit_test(BT_07_a_leaf_that_is_its_own_tree_below_is_read_to_the_last_level_and_no_further),
		cmocka_unit_test(a_nested_tree_read_as_a_plain_one_gives_the_roots),
		cmocka_unit_test(nested_trees_survive_failing_reads_and_allocations),
	};

	return cmocka_run_group_tests_name("btree/nested", tests, NULL, NULL);
}
