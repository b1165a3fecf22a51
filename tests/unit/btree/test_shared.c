/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/btree/test_shared.c - every change of a tree of three levels, of which nothing, the root, a node in the middle, or a leaf
 * belongs to another tree as well: both trees have their entries, and every count is right.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/node.h"
#include "support/forest.h"

/* Values of 1000 bytes let 3 entries into a leaf. A node but the root holds at least 84 children; the root has two. */
enum { VALUE_SIZE = 1000, PER_NODE = 84, STEP = 10, NR_BLOCKS = 2000 };

/* What belongs to two trees. */
struct share {
	uint32_t depth; /* 0: the root; 1: a child of it; 2: a leaf */
	bool is_last;   /* at the right edge, or at the left one */
};

static const struct share shares[] = {{0, false}, {1, false}, {1, true}, {2, false}, {2, true}};
#define NR_SHARES (sizeof(shares) / sizeof(shares[0]))

/* --- sharing --- */

static size_t find(const struct forest_tree *tree, uint64_t key)
{
	size_t i = 0;

	while (i < tree->nr && tree->keys[i][0] < key)
		i++;
	return i;
}

/* A tree of some neighbouring entries of tree 0. */
static void add_tree(struct forest *f, thinp_block_t root, uint64_t first, uint64_t end)
{
	const struct forest_tree *whole = &f->trees[0];
	struct forest_tree *part = &f->trees[forest_snapshot(f, 0)];
	size_t from = find(whole, first), to = find(whole, end);

	assert_int_equal(thinp_tm_inc(f->tm, root, 1, THINP_CAUSE_USER), 0);
	assert_int_equal(thinp_tm_dec(f->tm, part->root, 1, THINP_CAUSE_USER), 0);
	part->root = root;
	part->nr = to - from;
	memmove(part->keys, part->keys + from, part->nr * sizeof(*part->keys));
	memmove(part->numbers, part->numbers + from, part->nr * sizeof(*part->numbers));
}

static void share_some(struct forest *f, const struct share *share)
{
	thinp_block_t block = f->trees[0].root;
	uint64_t first = 0, end = UINT64_MAX;
	struct image_block node;

	for (uint32_t depth = 0; depth < share->depth; depth++) {
		uint32_t nr, i;

		forest_read(f, block, &node);
		nr = tp_node_nr_entries(node.data);
		i = share->is_last ? nr - 1 : 0;
		first = tp_node_key(node.data, i);
		end = i + 1 < nr ? tp_node_key(node.data, i + 1) : end;
		block = tp_node_value64(node.data, i);
	}
	add_tree(f, block, first, end);
}

/* --- changes, each at some place --- */

static int insert_between(struct forest *f, unsigned int tree, uint64_t key)
{
	int r = 0;

	for (uint64_t i = 1; !r && i <= 4; i++) {
		const uint64_t between[THINP_BTREE_MAX_LEVELS] = {key + i};

		r = forest_insert(f, tree, between);
	}
	return r;
}

static int overwrite(struct forest *f, unsigned int tree, uint64_t key)
{
	const uint64_t keys[THINP_BTREE_MAX_LEVELS] = {key};

	return forest_insert(f, tree, keys);
}

static int remove_one(struct forest *f, unsigned int tree, uint64_t key)
{
	return forest_remove(f, tree, &key);
}

/* Neighbours are merged, two and three at a time. */
static int remove_several(struct forest *f, unsigned int tree, uint64_t key)
{
	int r = 0;

	for (size_t i = find(&f->trees[tree], key), n = 0; !r && n < 6 && i < f->trees[tree].nr; n++) {
		key = f->trees[tree].keys[i][0];
		r = forest_remove(f, tree, &key);
	}
	return r;
}

static int remove_range(struct forest *f, unsigned int tree, uint64_t key)
{
	uint64_t last = key + 40 * STEP;
	bool is_complete;

	return forest_remove_range(f, tree, &key, &last, 0, &is_complete);
}

/* What is left of the tree is lower. */
static int remove_all_behind(struct forest *f, unsigned int tree, uint64_t key)
{
	uint64_t last = UINT64_MAX;
	bool is_complete;

	return forest_remove_range(f, tree, &key, &last, 0, &is_complete);
}

static int drop(struct forest *f, unsigned int tree, uint64_t key)
{
	(void)key;
	return forest_del(f, tree);
}

static int (*const changes[])(struct forest *, unsigned int, uint64_t) = {
	insert_between, overwrite, remove_one, remove_several, remove_range, remove_all_behind, drop};
#define NR_CHANGES (sizeof(changes) / sizeof(changes[0]))

/* --- all of them --- */

/* The key at a fraction of the tree. */
static uint64_t key_at(const struct forest_tree *tree, size_t quarter)
{
	return tree->keys[quarter == 4 ? tree->nr - 1 : tree->nr * quarter / 4][0];
}

/* Changes one of the trees, and then the other. */
static void change_both(size_t what, const struct share *share, uint32_t per_leaf, size_t quarter, unsigned int first)
{
	const struct tree_shape shape = {.per_leaf = per_leaf, .per_node = PER_NODE};
	struct forest f;

	forest_open(&f, NR_BLOCKS, 1, VALUE_SIZE);
	forest_plant_plain(&f, &shape, (size_t)2 * PER_NODE * per_leaf, STEP);
	if (share)
		share_some(&f, share);
	forest_check(&f);
	for (unsigned int i = 0; i < (share ? 2u : 1u); i++) {
		unsigned int tree = i ^ (share ? first : 0);

		assert_int_equal(changes[what](&f, tree, key_at(&f.trees[tree], quarter)), 0);
		forest_check(&f);
		if (quarter % 2)
			forest_commit(&f, true);
	}
	forest_commit(&f, true);
	forest_check(&f);
	forest_close(&f);
}

static void change_everywhere(const struct share *share)
{
	for (size_t what = 0; what < NR_CHANGES; what++)
		for (uint32_t per_leaf = 1; per_leaf <= 3; per_leaf++)
			for (size_t quarter = 0; quarter <= 4; quarter++)
				for (unsigned int first = 0; first < (share ? 2u : 1u); first++)
					change_both(what, share, per_leaf, quarter, first);
}

static void TM_06_changes_of_a_tree_of_its_own_keep_all_counts(void **state)
{
	(void)state;
	change_everywhere(NULL);
}

static void TM_06_changes_of_a_tree_shared_anywhere_keep_all_counts(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_SHARES; i++)
		change_everywhere(&shares[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TM_06_changes_of_a_tree_of_its_own_keep_all_counts),
		cmocka_unit_test(TM_06_changes_of_a_tree_shared_anywhere_keep_all_counts),
	};

	return cmocka_run_group_tests_name("btree/shared", tests, NULL, NULL);
}
