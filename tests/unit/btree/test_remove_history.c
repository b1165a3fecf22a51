/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Removing and dropping: the entries of the defect history, each by its number. That no count leaves the range at any time,
 * and that what is to live is counted before what kept it alive goes (BR-10), the forest sees to in all of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/node.h"
#include "support/forest.h"

static void plant(struct forest *f, uint32_t value_size, uint32_t per_leaf, size_t nr)
{
	const struct tree_shape shape = {.per_leaf = per_leaf};

	forest_open(f, 1000, 1, value_size);
	forest_plant_plain(f, &shape, nr, 10);
	forest_check(f);
}

static void plant_underfull(struct forest *f, uint32_t per_leaf, size_t nr)
{
	const struct tree_shape shape = {.per_leaf = per_leaf};

	forest_open(f, 100, 1, 400);
	f->may_be_underfull = true;
	forest_plant_plain(f, &shape, nr, 10);
}

static void check_removed(struct forest *f, unsigned int tree, uint64_t key)
{
	assert_int_equal(forest_remove(f, tree, &key), 0);
	forest_check(f);
}

/* A nested tree of two levels: upper keys 1, 2 ... nr_upper, below each of them keys 10, 20 ... */
static void plant_nested(struct forest *f, size_t nr_upper, size_t nr_lower, uint32_t per_leaf)
{
	const struct tree_shape shape = {.per_leaf = per_leaf};
	uint64_t(*keys)[THINP_BTREE_MAX_LEVELS] = calloc(nr_upper * nr_lower, sizeof(*keys));

	assert_non_null(keys);
	for (size_t i = 0; i < nr_upper * nr_lower; i++) {
		keys[i][0] = 1 + i / nr_lower;
		keys[i][1] = 10 + 10 * (i % nr_lower);
	}
	forest_open(f, 1000, 2, 400);
	forest_plant(f, &shape, (const uint64_t(*)[THINP_BTREE_MAX_LEVELS])keys, nr_upper * nr_lower);
	forest_check(f);
	free(keys);
}

static uint64_t nr_zero(struct forest *f)
{
	return thinp_memory_map_nr_zero(f->map);
}

/* --- removing -------------------------------------------------------------------------------------------------------- */

static void BR_02_values_of_a_shared_leaf_are_counted_when_it_is_evened_out(void **state)
{
	struct forest f;

	(void)state;
	plant(&f, 8, 252, 756);
	forest_snapshot(&f, 0);
	for (uint64_t key = 10; key <= 7560; key += 20)
		check_removed(&f, 0, key);
	forest_close(&f);
}

static void BR_02_a_shared_leaf_that_is_merged_away_has_its_values_counted(void **state)
{
	struct forest f;

	(void)state;
	for (uint64_t key = 10; key <= 90; key += 10) {
		plant(&f, 400, 3, 9);
		forest_snapshot(&f, 0);
		check_removed(&f, 0, key);
		assert_int_equal(forest_del(&f, 0), 0);
		forest_check(&f);
		forest_close(&f);
	}
}

static void BR_05_removing_from_127_entries_leaves_a_third_everywhere(void **state)
{
	struct forest f;

	(void)state;
	for (int mirrored = 0; mirrored < 2; mirrored++) {
		plant(&f, 24, 64, 127);
		for (uint64_t i = 1; i <= 43; i++)
			check_removed(&f, 0, 10 * (mirrored ? 128 - i : i));
		forest_close(&f);
	}
}

static void BR_06_BR_09_a_root_takes_the_place_of_its_only_child(void **state)
{
	(void)state;
	for (unsigned int nr_snapshots = 0; nr_snapshots < 3; nr_snapshots++) {
		struct image_block node;
		struct forest f;

		plant(&f, 400, 3, 6);
		for (unsigned int i = 0; i < nr_snapshots; i++)
			forest_snapshot(&f, 0);
		check_removed(&f, 0, 20); /* merges both leaves */
		forest_read(&f, f.trees[0].root, &node);
		assert_true(tp_node_is_leaf(node.data));
		assert_int_equal(tp_load_le64(node.data + 8), f.trees[0].root);
		forest_close(&f);
	}
}

/* As old kernels leave it: a root with one child, or several such nodes above each other. */
static void BR_09_chains_of_only_children_shared_or_not_collapse(void **state)
{
	(void)state;
	for (uint32_t depth = 2; depth <= 5; depth++) {
		for (uint32_t nr_keys = 2; nr_keys <= 20; nr_keys += 18) {
			for (unsigned int nr_snapshots = 0; nr_snapshots < 3; nr_snapshots++) {
				const struct tree_shape shape = {.per_leaf = 5, .min_depth = depth};
				struct image_block node;
				struct forest f;

				forest_open(&f, 200, 1, 400);
				f.may_be_underfull = true;
				forest_plant_plain(&f, &shape, nr_keys, 10);
				for (unsigned int i = 0; i < nr_snapshots; i++)
					forest_snapshot(&f, 0);
				check_removed(&f, 0, 10);
				f.may_be_underfull = nr_snapshots > 0;
				forest_check(&f);
				forest_read(&f, f.trees[0].root, &node);
				assert_int_equal(tp_node_is_leaf(node.data), nr_keys == 2);
				if (depth > 2 || nr_keys == 2)
					assert_int_equal(tp_load_le64(node.data + 8), f.trees[0].root);
				forest_close(&f);
			}
		}
	}
}

/* The child is shared, the root is not: what the snapshot has is the child. */
static void BR_09_an_only_child_that_is_a_tree_of_its_own_elsewhere_stays_whole(void **state)
{
	for (uint32_t nr_keys = 2; nr_keys <= 20; nr_keys += 18) {
		const struct tree_shape shape = {.per_leaf = 5, .min_depth = nr_keys == 2 ? 2 : 3};
		unsigned int copy;
		struct forest f;

		(void)state;
		forest_open(&f, 200, 1, 400);
		f.may_be_underfull = true;
		forest_plant_plain(&f, &shape, nr_keys, 10);
		copy = forest_snapshot(&f, 0);
		assert_int_equal(thinp_tm_dec(f.tm, f.trees[copy].root, 1, THINP_CAUSE_USER), 0);
		f.trees[copy].root = tree_child(&f.image, f.trees[0].root, 0);
		assert_int_equal(thinp_tm_inc(f.tm, f.trees[copy].root, 1, THINP_CAUSE_USER), 0);
		forest_check(&f);
		check_removed(&f, 0, 10);
		assert_int_equal(forest_del(&f, 0), 0);
		forest_check(&f);
		check_removed(&f, copy, 20);
		forest_close(&f);
	}
}

static void expect_absent(struct forest *f, uint64_t key)
{
	uint64_t generation = thinp_tm_generation(f->tm);
	uint64_t nr_calls = f->nr_count_calls;

	assert_int_equal(forest_remove(f, 0, &key), THINP_ENODATA);
	assert_int_equal(f->nr_count_calls, nr_calls);
	assert_int_equal(thinp_tm_generation(f->tm), generation);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	forest_check(f);
}

static void BR_08_BT_17_removing_an_absent_key_changes_nothing(void **state)
{
	static const uint64_t absent[] = {0, 9, 11, 45, 89, 95, 1000, UINT64_MAX};

	(void)state;
	for (size_t nr = 0; nr <= 9; nr += 9) {
		for (int shared = 0; shared < 2; shared++) {
			struct forest f;

			plant(&f, 400, 3, nr);
			if (shared)
				forest_snapshot(&f, 0);
			for (size_t i = 0; i < sizeof(absent) / sizeof(*absent); i++)
				expect_absent(&f, absent[i]);
			forest_close(&f);
		}
	}
}

static void BT_17_a_tree_that_was_emptied_can_be_read_and_dropped(void **state)
{
	uint64_t first = 0, last = UINT64_MAX;
	bool is_complete = false;
	struct forest f;

	(void)state;
	plant(&f, 400, 3, 18);
	while (f.trees[0].nr)
		check_removed(&f, 0, f.trees[0].keys[0][0]);
	expect_absent(&f, 10);
	assert_int_equal(thinp_btree_first(thinp_tm_reader(f.tm), &f.type, f.trees[0].root, &first, NULL),
			 THINP_ENODATA);
	assert_int_equal(thinp_btree_last(thinp_tm_reader(f.tm), &f.type, f.trees[0].root, &first, NULL),
			 THINP_ENODATA);
	assert_int_equal(forest_remove_range(&f, 0, &first, &last, 0, &is_complete), 0);
	assert_true(is_complete);
	assert_int_equal(forest_del(&f, 0), 0);
	forest_check(&f);
	assert_int_equal(nr_zero(&f), 999);
	forest_close(&f);
}

/* Leaves with one entry or none, and internal nodes with one child. */
static void BR_12_everything_works_on_nodes_that_are_too_empty(void **state)
{
	(void)state;
	for (uint32_t per_leaf = 1; per_leaf <= 2; per_leaf++) {
		for (unsigned int way = 0; way < 4; way++) {
			const struct tree_shape shape = {.per_leaf = per_leaf, .per_node = 2};
			uint64_t first = 55, last = 133;
			bool is_complete = false;
			thinp_block_t leaf;
			struct forest f;

			forest_open(&f, 400, 1, 400);
			f.may_be_underfull = true;
			forest_plant_plain(&f, &shape, 16, 10);
			if (way & 1)
				forest_snapshot(&f, 0);
			if (way & 2) {
				leaf = f.trees[0].root;
				while (!tree_is_leaf(&f.image, leaf))
					leaf = tree_child(&f.image, leaf, 0);
				for (uint32_t i = 0; i < tree_nr_entries(&f.image, leaf); i++)
					f.owners[i] = 0;
				image_set32(&f.image, leaf, TREE_NR_ENTRIES, 0);
				for (unsigned int i = 0; i < FOREST_TREES; i++) {
					if (!f.trees[i].is_there)
						continue;
					f.trees[i].nr -= per_leaf;
					memmove(f.trees[i].keys, f.trees[i].keys + per_leaf,
						f.trees[i].nr * sizeof(*f.trees[i].keys));
					memmove(f.trees[i].numbers, f.trees[i].numbers + per_leaf,
						f.trees[i].nr * sizeof(*f.trees[i].numbers));
				}
			}
			forest_check(&f);
			while (!is_complete) {
				assert_int_equal(forest_remove_range(&f, 0, &first, &last, 2, &is_complete), 0);
				forest_check(&f);
			}
			while (f.trees[0].nr)
				check_removed(&f, 0, f.trees[0].keys[f.trees[0].nr / 2][0]);
			assert_int_equal(forest_del(&f, 0), 0);
			forest_check(&f);
			forest_close(&f);
		}
	}
}

/* Gives a leaf for nine entries of 400 bytes another capacity. */
static void set_capacity(struct forest *f, thinp_block_t leaf, uint32_t capacity)
{
	struct image_block node;
	uint32_t nr = tree_nr_entries(&f->image, leaf);

	image_read(&f->image, leaf, &node);
	memmove(node.data + TREE_KEYS + 8 * (size_t)capacity, node.data + TREE_KEYS + 8 * 9, nr * (size_t)400);
	tp_store_le32(node.data + TREE_MAX_ENTRIES, capacity);
	image_put(&f->image, leaf, &node, thinp_block_type_node());
}

/* Takes entries out of the model and of the count of owners; the test sees to the leaf. */
static void forget_entries(struct forest *f, size_t first, size_t nr)
{
	struct forest_tree *tree = &f->trees[0];

	for (size_t i = first; i < first + nr; i++)
		f->owners[tree->numbers[i]] = 0;
	tree->nr -= nr;
	memmove(tree->keys + first, tree->keys + first + nr, (tree->nr - first) * sizeof(*tree->keys));
	memmove(tree->numbers + first, tree->numbers + first + nr, (tree->nr - first) * sizeof(*tree->numbers));
}

/* Evened out, the one in the middle would get six entries, and it has room for four. */
static void BR_12_a_node_gets_no_more_than_it_has_room_for(void **state)
{
	struct forest f;
	thinp_block_t middle;

	(void)state;
	plant_underfull(&f, 9, 27);
	middle = tree_child(&f.image, f.trees[0].root, 1);
	image_set32(&f.image, middle, TREE_NR_ENTRIES, 1);
	set_capacity(&f, middle, 4);
	forget_entries(&f, 10, 8);
	forest_commit(&f, true);
	forest_check(&f);
	check_removed(&f, 0, 100);
	check_removed(&f, 0, 10);
	check_removed(&f, 0, 270);
	forest_close(&f);
}

/* Leaves of other capacities than ours: they are left as they are, and nothing goes wrong. */
static void BR_12_nodes_of_different_capacity_are_not_mixed(void **state)
{
	struct forest f;

	(void)state;
	plant(&f, 400, 3, 18);
	f.may_be_underfull = true;
	for (uint32_t i = 0; i < 6; i += 2)
		set_capacity(&f, tree_child(&f.image, f.trees[0].root, i), 7);
	forest_commit(&f, true);
	forest_check(&f);
	forest_snapshot(&f, 0);
	while (f.trees[0].nr)
		check_removed(&f, 0, f.trees[0].keys[f.trees[0].nr / 2][0]);
	forest_close(&f);
}

static void BR_13_the_place_in_the_upper_tree_is_the_one_gone_through(void **state)
{
	for (int shared = 0; shared < 2; shared++) {
		for (uint64_t upper = 1; upper <= 5; upper++) {
			uint64_t keys[2] = {upper, 40};
			struct forest f;

			(void)state;
			plant_nested(&f, 5, 9, 3);
			if (shared)
				forest_snapshot(&f, 0);
			assert_int_equal(forest_remove(&f, 0, keys), 0);
			forest_check(&f);
			for (keys[1] = 10; keys[1] <= 90; keys[1] += 10) {
				if (keys[1] != 40)
					assert_int_equal(forest_remove(&f, 0, keys), 0);
				forest_check(&f);
			}
			forest_close(&f);
		}
	}
}

/* --- dropping -------------------------------------------------------------------------------------------------------- */

static void BT_01_dropping_gives_back_every_block_and_value(void **state)
{
	struct forest f;

	(void)state;
	plant_nested(&f, 7, 27, 3);
	forest_forget(&f);
	assert_int_equal(forest_del(&f, 0), 0);
	forest_check(&f);
	assert_int_equal(nr_zero(&f), 999);
	assert_int_equal(f.nr_taken, 0);
	forest_close(&f);
	plant(&f, 24, 126, 0);
	assert_int_equal(forest_del(&f, 0), 0);
	forest_check(&f);
	assert_int_equal(nr_zero(&f), 999);
	forest_close(&f);
}

static void del_of_empty(void **state)
{
	struct forest f;

	(void)state;
	for (int is_shared = 0; is_shared < 2; is_shared++) {
		plant(&f, 8, 0, 0);
		if (is_shared)
			forest_snapshot(&f, 0);
		assert_int_equal(nr_zero(&f), 998);
		assert_int_equal(forest_del(&f, 0), 0);
		forest_check(&f);
		assert_int_equal(nr_zero(&f), is_shared ? 998 : 999);
		forest_close(&f);
	}
}

static void BT_02_roots_in_a_shared_upper_leaf_are_counted(void **state)
{
	uint64_t keys[2] = {1, 10}, all[2] = {2, 0}, last[2] = {2, UINT64_MAX};
	bool is_complete;
	struct forest f;
	unsigned int held;

	(void)state;
	plant_nested(&f, 3, 9, 3);
	held = forest_snapshot(&f, 0);
	assert_int_equal(forest_remove(&f, 0, keys), 0);
	forest_check(&f);
	forest_commit(&f, true);
	assert_int_equal(forest_remove_range(&f, 0, all, last, 0, &is_complete), 0);
	forest_check(&f);
	forest_commit(&f, true);
	assert_int_equal(forest_del(&f, 0), 0);
	forest_check(&f);
	assert_int_equal(forest_del(&f, held), 0);
	forest_check(&f);
	assert_int_equal(nr_zero(&f), 999);
	forest_close(&f);
}

/* Two upper keys with one tree, as devices have it after a snapshot: the second reference is the last one. */
static void BT_02_a_tree_that_hangs_in_two_places_is_dropped_with_the_second(void **state)
{
	struct forest f;
	thinp_block_t shared, lost;

	(void)state;
	plant_nested(&f, 3, 6, 3);
	shared = tree_child(&f.image, f.trees[0].root, 0);
	lost = tree_child(&f.image, f.trees[0].root, 2);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(thinp_tm_dec(f.tm, tree_child(&f.image, lost, i), 1, THINP_CAUSE_USER), 0);
	assert_int_equal(thinp_tm_dec(f.tm, lost, 1, THINP_CAUSE_USER), 0);
	tree_set_child(&f.image, f.trees[0].root, 2, shared);
	assert_int_equal(thinp_tm_inc(f.tm, shared, 1, THINP_CAUSE_USER), 0);
	for (uint32_t i = 0; i < 6; i++) {
		f.owners[12 + i] = 0;
		f.trees[0].numbers[12 + i] = i;
	}
	forest_commit(&f, true);
	forest_check(&f);
	assert_int_equal(forest_del(&f, 0), 0);
	forest_check(&f);
	assert_int_equal(nr_zero(&f), 999);
	forest_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BR_02_values_of_a_shared_leaf_are_counted_when_it_is_evened_out),
		cmocka_unit_test(BR_02_a_shared_leaf_that_is_merged_away_has_its_values_counted),
		cmocka_unit_test(BR_05_removing_from_127_entries_leaves_a_third_everywhere),
		cmocka_unit_test(BR_06_BR_09_a_root_takes_the_place_of_its_only_child),
		cmocka_unit_test(BR_09_chains_of_only_children_shared_or_not_collapse),
		cmocka_unit_test(BR_09_an_only_child_that_is_a_tree_of_its_own_elsewhere_stays_whole),
		cmocka_unit_test(BR_08_BT_17_removing_an_absent_key_changes_nothing),
		cmocka_unit_test(BT_17_a_tree_that_was_emptied_can_be_read_and_dropped),
		cmocka_unit_test(BR_12_everything_works_on_nodes_that_are_too_empty),
		cmocka_unit_test(BR_12_a_node_gets_no_more_than_it_has_room_for),
		cmocka_unit_test(BR_12_nodes_of_different_capacity_are_not_mixed),
		cmocka_unit_test(BR_13_the_place_in_the_upper_tree_is_the_one_gone_through),
		cmocka_unit_test(BT_01_dropping_gives_back_every_block_and_value),
		cmocka_unit_test(del_of_empty),
		cmocka_unit_test(BT_02_roots_in_a_shared_upper_leaf_are_counted),
		cmocka_unit_test(BT_02_a_tree_that_hangs_in_two_places_is_dropped_with_the_second),
	};

	return cmocka_run_group_tests_name("btree/remove_history", tests, NULL, NULL);
}
