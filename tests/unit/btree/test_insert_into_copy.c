/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inserts where all nodes above the leaf were shadowed before, and the leaf was not: it alone is copied.
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
#include "support/tree_grow.h"

#include "btree/edit.h"

#define NR_LEAVES 3u

/* A committed tree of three leaves, the last of which has room. Then the root is shadowed, and the first leaf with it. */
static void begin(struct tree_grow *g, thinp_block_t *leaves)
{
	struct thinp_buffer *buffer;
	uint64_t keys[600];
	thinp_block_t same;
	bool inc_children;
	void *node;

	tree_grow_begin(g, 1024, 1, 8);
	for (uint64_t i = 0; i < 600; i++)
		keys[i] = 10 * i;
	tree_grow_insert_many(g, keys, 600);
	tree_change_commit(g->t);
	tree_grow_insert_key(g, 0);
	assert_int_equal(thinp_tm_shadow_block(g->t->tm, g->root, thinp_block_type_node(), THINP_CAUSE_SHADOW, &same,
					       &buffer, &node, &inc_children),
			 0);
	assert_int_equal(tp_node_nr_entries(node), NR_LEAVES);
	for (uint32_t i = 0; i < NR_LEAVES; i++)
		leaves[i] = tp_node_value64(node, i);
	thinp_tm_unlock(g->t->tm, buffer);
}

static int insert(struct tree_grow *g, uint64_t key)
{
	const uint8_t value[8] = {0};

	return thinp_btree_insert(g->t->tm, &g->t->type, g->root, &key, value, &g->root, NULL);
}

static void one_block_is_asked_for_and_taken(void **state)
{
	thinp_block_t leaves[NR_LEAVES];
	struct tree_grow g;

	(void)state;
	begin(&g, leaves);
	g.t->nr_taken = g.t->most_asked = 0;
	tree_grow_insert_key(&g, 5991);
	assert_int_equal(g.t->nr_taken, 1);
	assert_int_equal(g.t->most_asked, 1);
	tree_grow_insert_key(&g, 5992);
	assert_int_equal(g.t->nr_taken, 1);
	tree_grow_end(&g);
}

static void ENOSPC_of_the_reserve_changes_nothing(void **state)
{
	thinp_block_t leaves[NR_LEAVES];
	uint64_t generation;
	struct tree_grow g;

	(void)state;
	begin(&g, leaves);
	generation = thinp_tm_generation(g.t->tm);
	g.t->is_full = true;
	g.t->nr_taken = 0;
	assert_int_equal(insert(&g, 5991), THINP_ENOSPC);
	assert_int_equal(g.t->nr_taken, 0);
	assert_int_equal(thinp_tm_generation(g.t->tm), generation);
	assert_int_equal(thinp_tm_status(g.t->tm), 0);
	g.t->is_full = false;
	tree_grow_insert_key(&g, 5991);
	tree_grow_end(&g);
}

/* Its values get an owner, and what that takes is asked for. */
static void BR_10_values_of_a_leaf_that_others_own_are_counted(void **state)
{
	const struct tree_shape shape = {.per_leaf = 100};
	const uint64_t first[THINP_BTREE_MAX_LEVELS] = {5}, later[THINP_BTREE_MAX_LEVELS] = {2505};
	struct forest f;

	(void)state;
	forest_open(&f, 200, 1, 8);
	forest_plant_plain(&f, &shape, 400, 10);
	forest_snapshot(&f, 0);
	assert_int_equal(forest_insert(&f, 0, first), 0);
	forest_check(&f); /* brings all leaves into the cache */
	forest_forget(&f);
	assert_int_equal(forest_insert(&f, 0, later), 0);
	assert_int_equal(f.nr_taken, 1);
	assert_true(f.nr_taken <= f.most_reserved);
	assert_int_equal(f.nr_values_told, 100);
	assert_true(f.nr_values_told <= f.nr_values_asked);
	forest_check(&f);
	forest_close(&f);
}

/* --- damage ---------------------------------------------------------------------------------------------------------- */

/* Lets the root point to another block. */
static void point_to(struct tree_grow *g, uint32_t index, thinp_block_t block)
{
	struct thinp_buffer *buffer;
	thinp_block_t same;
	bool inc_children;
	void *node;

	assert_int_equal(thinp_tm_shadow_block(g->t->tm, g->root, thinp_block_type_node(), THINP_CAUSE_SHADOW, &same,
					       &buffer, &node, &inc_children),
			 0);
	tp_node_set_value64(node, index, block);
	thinp_tm_unlock(g->t->tm, buffer);
}

/* A committed tree of one leaf with the key 1. */
static thinp_block_t plant_leaf(struct tree_change *t, uint32_t value_size)
{
	const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = value_size};
	const uint8_t value[16] = {0};
	const uint64_t key = 1;
	thinp_block_t root;

	assert_int_equal(thinp_btree_create(t->tm, &type, &root), 0);
	assert_int_equal(thinp_btree_insert(t->tm, &type, root, &key, value, &root, NULL), 0);
	tree_change_commit(t);
	return root;
}

static void expect_refused(struct tree_grow *g, uint32_t index, thinp_block_t leaf, uint64_t key, const char *words)
{
	point_to(g, index, leaf);
	g->t->nr_taken = 0;
	expect_corrupt(insert(g, key), leaf, words);
	assert_int_equal(g->t->nr_taken, 0);
	assert_int_equal(thinp_tm_status(g->t->tm), 0);
}

static void BT_10_a_leaf_that_is_not_what_its_parent_says_is_refused(void **state)
{
	thinp_block_t leaves[NR_LEAVES], small, other;
	struct tree_grow g;

	(void)state;
	begin(&g, leaves);
	small = plant_leaf(g.t, 8);
	other = plant_leaf(g.t, 16);
	tree_grow_insert_key(&g, 0); /* shadows once more what was committed */
	expect_refused(&g, 1, leaves[2], 2601, "leaves it none behind");
	expect_refused(&g, 1, small, 2601, "begins with key 1");
	expect_refused(&g, 1, other, 2601, "values of 16 bytes");
	ordered_map_free(&g.map);
	tree_change_free(g.t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_block_is_asked_for_and_taken),
		cmocka_unit_test(ENOSPC_of_the_reserve_changes_nothing),
		cmocka_unit_test(BR_10_values_of_a_leaf_that_others_own_are_counted),
		cmocka_unit_test(BT_10_a_leaf_that_is_not_what_its_parent_says_is_refused),
	};

	return cmocka_run_group_tests_name("btree/insert_into_copy", tests, NULL, NULL);
}
