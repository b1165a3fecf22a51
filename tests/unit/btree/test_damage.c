/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Damage inside of nodes, and between parent and child: every function ends, soon, and names the block.
 */
#include "support/image_expect.h"
#include "support/tree_damaged.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

/* With one block nothing is fetched ahead; the other cache holds everything. */
static const uint32_t caches[] = {1, 100};

static void the_tree_of_these_tests_is_good_before_it_is_damaged(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		damaged_expect_undamaged(&d);
		tree_close(&d.tree);
	}
}

/* --- circles --------------------------------------------------------------------------------------------------------- */

static void BT_07_a_node_that_is_its_own_child_is_found(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		tree_set_child(&d.tree.image, d.mid[1], 0, d.mid[1]); /* keys agree: only the depth tells */
		damaged_expect_key_damaged(&d, 100, d.mid[1], "");
		expect_corrupt(damaged_lookup(&d, 100), d.mid[1], "circle");
		damaged_expect_walks_damaged(&d, d.mid[1], "ends with key 160");
		damaged_expect_all_end(&d);

		tree_set_child(&d.tree.image, d.mid[1], 0, d.leaf[3]);
		tree_set_child(&d.tree.image, d.mid[1], 1, d.mid[1]); /* keys do not agree */
		damaged_reopen(&d, caches[c]);
		damaged_expect_everything_damaged(&d, 130, d.mid[1], "begins with key 100");
		tree_close(&d.tree);
	}
}

static void BT_07_a_child_that_is_an_ancestor_is_found(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		tree_set_child(&d.tree.image, d.mid[0], 0, d.root);
		/* round and round from the root; 15 nodes down it is the root's turn again */
		expect_corrupt(damaged_lookup(&d, 10), d.root, "circle");
		expect_corrupt(damaged_walk(&d), d.root, "ends with key 190");
		damaged_expect_all_end(&d);

		tree_set_child(&d.tree.image, d.mid[0], 0, d.leaf[0]);
		tree_set_child(&d.tree.image, d.mid[2], 2, d.root);
		damaged_reopen(&d, caches[c]);
		damaged_expect_everything_damaged(&d, 250, d.root, "begins with key 10");
		tree_close(&d.tree);
	}
}

static void BT_07_two_nodes_that_name_each_other_are_found(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		tree_set_child(&d.tree.image, d.mid[0], 0, d.mid[1]);
		tree_set_child(&d.tree.image, d.mid[1], 0, d.mid[0]);
		expect_corrupt(damaged_lookup(&d, 100), d.mid[0], "begins with key 10, but its parent");
		expect_corrupt(damaged_walk(&d), d.mid[1], "ends with key 160");
		damaged_expect_all_end(&d);
		tree_close(&d.tree);
	}
}

/* The lower keys of both are the same, so that only the depth ends it. */
static void BT_07_a_circle_of_nodes_of_one_entry_is_found(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		image_set32(&d.tree.image, d.mid[0], TREE_NR_ENTRIES, 1);
		image_set32(&d.tree.image, d.root, TREE_NR_ENTRIES, 1);
		tree_set_child(&d.tree.image, d.mid[0], 0, d.root);
		damaged_expect_everything_damaged(&d, 10, d.root, "circle");
		tree_close(&d.tree);
	}
}

static void BT_07_a_hundred_nodes_of_one_entry_are_too_deep(void **state)
{
	const struct tree_shape shape = {.min_depth = 100};
	struct damaged d;
	thinp_block_t deepest;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		tree_open(&d.tree, &shape, 8, 3, DAMAGED_STEP, caches[c]);
		d.root = deepest = d.tree.model.root;
		for (int i = 1; i < THINP_BTREE_MAX_DEPTH; i++)
			deepest = tree_child(&d.tree.image, deepest, 0);
		damaged_expect_everything_damaged(&d, DAMAGED_STEP, deepest, "deeper than 15 nodes");
		tree_close(&d.tree);
	}
}

static void BT_07_one_node_more_than_the_greatest_depth_is_too_deep(void **state)
{
	const struct tree_shape shape = {.min_depth = THINP_BTREE_MAX_DEPTH + 1};
	struct damaged d;

	(void)state;
	tree_open(&d.tree, &shape, 8, 3, DAMAGED_STEP, 100);
	d.root = d.tree.model.root;
	assert_int_equal(damaged_lookup(&d, DAMAGED_STEP), THINP_ECORRUPT);
	assert_int_equal(atomic_load(&d.tree.image.nr_reads), THINP_BTREE_MAX_DEPTH);
	damaged_expect_all_end(&d);
	tree_close(&d.tree);
}

static void BT_07_a_child_of_two_nodes_is_found_where_it_does_not_belong(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		tree_set_child(&d.tree.image, d.mid[1], 1, d.leaf[3]);
		damaged_expect_everything_damaged(&d, 130, d.leaf[3], "begins with key 100");
		tree_close(&d.tree);

		damaged_open(&d, caches[c]);
		tree_set_child(&d.tree.image, d.mid[1], 0,
			       d.leaf[4]); /* its keys are too large there, which walks see */
		assert_int_equal(damaged_lookup(&d, 110), THINP_ENODATA);
		damaged_expect_walks_damaged(&d, d.leaf[4], "ends with key 150");
		damaged_expect_all_end(&d);
		tree_close(&d.tree);

		damaged_open(&d, caches[c]);
		tree_set_child(&d.tree.image, d.root, 2, d.mid[0]);
		damaged_expect_everything_damaged(&d, 200, d.mid[0], "begins with key 10");
		tree_close(&d.tree);
	}
}

/* --- fields of a node ------------------------------------------------------------------------------------------------ */

struct bad_field {
	size_t offset;
	uint32_t value;
	const char *words;
};

static void expect_bad_field(const struct bad_field *field, bool in_leaf)
{
	struct damaged d;

	for (size_t c = 0; c < NR_OF(caches); c++) {
		thinp_block_t node;

		damaged_open(&d, caches[c]);
		node = in_leaf ? d.leaf[4] : d.mid[1];
		image_set32(&d.tree.image, node, field->offset, field->value);
		damaged_expect_everything_damaged(&d, 130, node, field->words);
		tree_close(&d.tree);
	}
}

static void BT_09_every_bad_field_of_a_leaf_is_found(void **state)
{
	static const struct bad_field fields[] = {
		{TREE_FLAGS, 0, "flags"},
		{TREE_FLAGS, 3, "flags"},
		{TREE_FLAGS, 4, "flags"},
		{TREE_FLAGS, 0x80000002, "flags"},
		{TREE_NR_ENTRIES, 253, "253 entries, but room for 252"},
		{TREE_NR_ENTRIES, UINT32_MAX, "4294967295 entries"},
		{TREE_MAX_ENTRIES, 2, "3 entries, but room for 2"},
		{TREE_MAX_ENTRIES, 255, "room for 255"},
		{TREE_MAX_ENTRIES, UINT32_MAX, "room for 4294967295"},
		{TREE_VALUE_SIZE, 0, "values of no bytes"},
		{TREE_VALUE_SIZE, 4, "values of 4 bytes in a tree"},
		{TREE_VALUE_SIZE, 9, "room for 252 values of 9 bytes"},
		{TREE_VALUE_SIZE, UINT32_MAX, "values of 4294967295 bytes"},
		{TREE_ADDRESS, 77, "misplaced"},
		{TREE_ADDRESS + 4, 1, "misplaced"},
	};

	(void)state;
	for (size_t i = 0; i < NR_OF(fields); i++)
		expect_bad_field(&fields[i], true);
}

static void BT_09_every_bad_field_of_an_internal_node_is_found(void **state)
{
	static const struct bad_field fields[] = {
		{TREE_FLAGS, 0, "flags"},
		{TREE_FLAGS, 3, "flags"},
		{TREE_NR_ENTRIES, 0, "without entries"},
		{TREE_NR_ENTRIES, 253, "253 entries, but room for 252"},
		{TREE_NR_ENTRIES, UINT32_MAX, "4294967295 entries"},
		{TREE_MAX_ENTRIES, 0, "3 entries, but room for 0"},
		{TREE_MAX_ENTRIES, 255, "room for 255"},
		{TREE_MAX_ENTRIES, UINT32_MAX, "room for 4294967295"},
		{TREE_VALUE_SIZE, 0, "values of no bytes"},
		{TREE_VALUE_SIZE, 4, "internal with values of 4 bytes"},
		{TREE_VALUE_SIZE, 16, "internal with values of 16 bytes"},
		{TREE_VALUE_SIZE, UINT32_MAX, "internal with values of 4294967295 bytes"},
		{TREE_ADDRESS, 77, "misplaced"},
	};

	(void)state;
	for (size_t i = 0; i < NR_OF(fields); i++)
		expect_bad_field(&fields[i], false);
}

static void BT_09_keys_that_do_not_rise_are_found(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		for (uint32_t i = 1; i < 3; i++)
			for (uint32_t less = 0; less <= 1; less++) {
				damaged_open(&d, caches[c]);
				tree_set_key(&d.tree.image, d.leaf[4], i, 120 + 10 * i - less);
				damaged_expect_everything_damaged(&d, 130, d.leaf[4], "keys out of order");
				tree_close(&d.tree);

				damaged_open(&d, caches[c]);
				tree_set_key(&d.tree.image, d.mid[1], i, 70 + 30 * i - less);
				damaged_expect_everything_damaged(&d, 130, d.mid[1], "keys out of order");
				tree_close(&d.tree);
			}
	}
}

/* An internal node in place of a leaf is a deeper tree; a leaf in place of one is a shallower. */
static void BT_09_exchanged_flags_are_found_by_whoever_goes_on_from_there(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		image_set32(&d.tree.image, d.leaf[4], TREE_FLAGS, 1); /* its values become addresses of nowhere */
		damaged_expect_everything_damaged(&d, 130, d.leaf[4], "a child cannot be at block");
		tree_close(&d.tree);

		damaged_open(&d, caches[c]);
		image_set32(&d.tree.image, d.mid[1], TREE_FLAGS, 2);
		damaged_expect_walks_damaged(&d, d.mid[1], "a leaf at depth 1 of a tree with leaves at depth 2");
		damaged_expect_all_end(&d);
		tree_close(&d.tree);
	}
}

/* --- what parent and child say of each other ------------------------------------------------------------------------- */

static void BT_20_a_parent_key_above_its_childs_first_key_is_found(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		tree_set_key(&d.tree.image, d.root, 1, 101);
		damaged_expect_everything_damaged(&d, 110, d.mid[1], "begins with key 100, but its parent");
		tree_close(&d.tree);

		damaged_open(&d, caches[c]);
		tree_set_key(&d.tree.image, d.mid[1], 1, 131);
		damaged_expect_everything_damaged(&d, 140, d.leaf[4], "begins with key 130, but its parent");
		tree_close(&d.tree);

		damaged_open(&d, caches[c]);
		tree_set_key(&d.tree.image, d.root, 0, 11);
		assert_int_equal(damaged_lookup(&d, 10), THINP_ENODATA);
		damaged_expect_key_damaged(&d, 20, d.mid[0], "begins with key 10, but its parent");
		damaged_expect_walks_damaged(&d, d.mid[0], "begins with key 10, but its parent");
		tree_close(&d.tree);
	}
}

/* Removing a leaf's first key leaves the parent's key as it is. */
static void BT_20_a_parent_key_below_its_childs_first_key_is_in_order(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		tree_set_key(&d.tree.image, d.root, 0, 0);
		tree_set_key(&d.tree.image, d.root, 1, 91); /* behind 90, the last key before */
		tree_set_key(&d.tree.image, d.mid[1], 0, 95);
		tree_set_key(&d.tree.image, d.mid[1], 1, 121);
		tree_set_key(&d.tree.image, d.mid[2], 2, 250);
		damaged_expect_undamaged(&d);
		tree_close(&d.tree);
	}
}

/* Look-ups stay within bounds; walks compare what they pass. */
static void BT_20_a_child_that_reaches_into_the_range_of_the_next_one_is_found(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		tree_set_key(&d.tree.image, d.leaf[3], 2, 130); /* the first key of leaf[4]: by one key */
		damaged_expect_walks_damaged(&d, d.leaf[3], "ends with key 130, but its parent");
		assert_int_equal(damaged_lookup(&d, 130), 0);
		damaged_expect_all_end(&d);
		tree_close(&d.tree);

		damaged_open(&d, caches[c]);
		tree_set_key(&d.tree.image, d.leaf[2], 2, 100); /* the next one has another parent */
		damaged_expect_walks_damaged(&d, d.leaf[2], "leaves it none behind 99");
		damaged_expect_all_end(&d);
		tree_close(&d.tree);

		damaged_open(&d, caches[c]);
		tree_set_key(&d.tree.image, d.mid[0], 2, 100);
		damaged_expect_walks_damaged(&d, d.mid[0], "ends with key 100, but its parent");
		damaged_expect_all_end(&d);
		tree_close(&d.tree);
	}
}

/* The keys of key 0 and of the largest key need no value that stands for "none". */
static void BT_18_ranges_are_compared_at_the_edges_too(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2};
	struct damaged d;

	(void)state;
	image_open(&d.tree.image, 100);
	tree_model_build_plain(&d.tree.model, &d.tree.image, &shape, 8, tree_edges, TREE_NR_EDGES);
	d.root = d.tree.model.root;
	d.leaf[0] = tree_child(&d.tree.image, d.root, 0);
	d.leaf[2] = tree_child(&d.tree.image, d.root, 2);
	assert_int_equal(image_reader_open(&d.tree.reader, &d.tree.image, 1), 0);
	tree_set_child(&d.tree.image, d.root, 2, d.leaf[0]); /* begins with key 0 */
	expect_corrupt(damaged_walk(&d), d.leaf[0], "begins with key 0");
	tree_set_child(&d.tree.image, d.root, 2, d.leaf[2]);
	tree_set_child(&d.tree.image, d.root, 0, d.leaf[2]); /* ends with the largest */
	damaged_reopen(&d, 1);
	expect_corrupt(damaged_walk(&d), d.leaf[2], "ends with key 18446744073709551615");
	tree_close(&d.tree);
}

static void leaves_at_different_depths_are_found(void **state)
{
	struct damaged d;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		damaged_open(&d, caches[c]);
		tree_set_child(&d.tree.image, d.root, 1, d.leaf[4]);
		damaged_expect_walks_damaged(&d, d.leaf[4], "a leaf at depth 1 of a tree with leaves at depth 2");
		assert_int_equal(damaged_lookup(&d, 130), 0); /* a look-up sees one leaf only */
		damaged_expect_all_end(&d);
		tree_close(&d.tree);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tree_of_these_tests_is_good_before_it_is_damaged),
		cmocka_unit_test(BT_07_a_node_that_is_its_own_child_is_found),
		cmocka_unit_test(BT_07_a_child_that_is_an_ancestor_is_found),
		cmocka_unit_test(BT_07_two_nodes_that_name_each_other_are_found),
		cmocka_unit_test(BT_07_a_circle_of_nodes_of_one_entry_is_found),
		cmocka_unit_test(BT_07_a_hundred_nodes_of_one_entry_are_too_deep),
		cmocka_unit_test(BT_07_one_node_more_than_the_greatest_depth_is_too_deep),
		cmocka_unit_test(BT_07_a_child_of_two_nodes_is_found_where_it_does_not_belong),
		cmocka_unit_test(BT_09_every_bad_field_of_a_leaf_is_found),
		cmocka_unit_test(BT_09_every_bad_field_of_an_internal_node_is_found),
		cmocka_unit_test(BT_09_keys_that_do_not_rise_are_found),
		cmocka_unit_test(BT_09_exchanged_flags_are_found_by_whoever_goes_on_from_there),
		cmocka_unit_test(BT_20_a_parent_key_above_its_childs_first_key_is_found),
		cmocka_unit_test(BT_20_a_parent_key_below_its_childs_first_key_is_in_order),
		cmocka_unit_test(BT_20_a_child_that_reaches_into_the_range_of_the_next_one_is_found),
		cmocka_unit_test(BT_18_ranges_are_compared_at_the_edges_too),
		cmocka_unit_test(leaves_at_different_depths_are_found),
	};

	return cmocka_run_group_tests_name("btree/damage", tests, NULL, NULL);
}
