/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inserts into nodes that this transaction has made or shadowed: written where they are, and what keeps them from that.
 */
#include "support/image_expect.h"
#include "support/tree_grow.h"

#include "base/bytes.h"
#include "btree/edit.h"
#include "btree/node.h"
#include "unit/base/random.h"

#include <thinp/error.h>

#include <stdlib.h>

/* --- finding the place of a key -------------------------------------------------------------------------------------- */

static uint64_t nr_smaller(const uint8_t *node, uint64_t key)
{
	uint64_t nr = 0;

	for (uint32_t i = 0; i < tp_node_nr_entries(node); i++)
		nr += tp_node_key(node, i) < key;
	return nr;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Keys of any magnitude; or spread evenly. Equal ones do no harm to a search. */
static void fill(uint8_t *node, uint32_t nr, bool is_even, uint64_t *rng)
{
	uint64_t keys[252];

	for (uint32_t i = 0; i < nr; i++)
		keys[i] = random_next(rng) >> (is_even ? 0 : random_next(rng) % 64);
	qsort(keys, nr, sizeof(*keys), by_number);
	tp_node_init(node, TP_NODE_LEAF, 1, 8);
	for (uint32_t i = 0; i < nr; i++)
		tp_node_set_key(node, i, keys[i]);
	tp_node_set_nr_entries(node, nr);
}

static void expect_place(const uint8_t *node, uint64_t key, uint64_t first, uint64_t last)
{
	if (key >= first && key <= last)
		assert_int_equal(tp_node_place(node, key, first, last), nr_smaller(node, key));
}

static void the_place_of_a_key_is_found_however_keys_are_spread(void **state)
{
	uint64_t rng = random_begin();
	uint8_t node[THINP_BLOCK_SIZE];

	(void)state;
	for (uint32_t round = 0; round < 2000; round++) {
		uint32_t nr = round < 253 ? round : (uint32_t)(random_next(&rng) % 253);
		uint64_t first, last;

		fill(node, nr, round % 2, &rng);
		first = nr ? tp_node_key(node, 0) : 0;
		last = nr ? tp_node_key(node, nr - 1) : UINT64_MAX;
		for (uint32_t i = 0; i < 50; i++) {
			uint64_t key = random_next(&rng) >> random_next(&rng) % 64;

			if (i % 2 && nr)
				key = tp_node_key(node, (uint32_t)(key % nr)) + i % 3 - 1;
			expect_place(node, key, 0, UINT64_MAX);
			expect_place(node, key, first, last);
			expect_place(node, key, first, UINT64_MAX);
			expect_place(node, key, 0, last);
		}
		expect_place(node, 0, 0, UINT64_MAX);
		expect_place(node, UINT64_MAX, 0, UINT64_MAX);
	}
}

/* --- trees ----------------------------------------------------------------------------------------------------------- */

/* Inserts into shadows neither copy nor ask for blocks. */
static void shadows_are_written_where_they_are(void **state)
{
	uint64_t rng = random_begin();
	struct tree_grow g;

	(void)state;
	for (uint32_t nr_levels = 1; nr_levels <= 3; nr_levels++) {
		uint64_t keys[3] = {7, 7, 7};

		tree_grow_begin(&g, 4096, nr_levels, 8);
		g.t->type.dec = NULL;
		g.t->type.inc = NULL;
		for (int i = 0; i < 300; i++) {
			keys[nr_levels - 1] = random_next(&rng);
			tree_grow_insert(&g, keys);
		}
		g.t->nr_calls = 0;
		for (uint64_t i = 0; i < 60; i++) {
			keys[nr_levels - 1] = i % 2 ? i : UINT64_MAX - i; /* also below all others */
			tree_grow_insert(&g, keys);
			tree_grow_insert(&g, keys);
		}
		assert_int_equal(g.t->nr_calls, 0);
		tree_grow_expect(&g);
		ordered_map_free(&g.map);
		tree_change_free(g.t);
	}
}

/* Neither before anything was inserted nor behind an insert, whose leaf is remembered. */
static void a_type_that_no_tree_has_is_refused(void **state)
{
	const struct thinp_btree_type types[] = {
		{.size = sizeof(types[0]), .nr_levels = 0, .value_size = 8},
		{.size = sizeof(types[0]), .nr_levels = THINP_BTREE_MAX_LEVELS + 1, .value_size = 8},
		{.size = sizeof(types[0]), .nr_levels = 1, .value_size = 0},
		{.size = 4, .nr_levels = 1, .value_size = 8},
	};
	const uint64_t keys[THINP_BTREE_MAX_LEVELS + 1] = {2, 2, 2, 2, 2}, value = 1;
	struct tree_grow g;

	(void)state;
	tree_grow_begin(&g, 1024, 1, 8);
	for (int is_behind = 0; is_behind < 2; is_behind++) {
		for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
			assert_int_equal(thinp_btree_insert(g.t->tm, &types[i], g.root, keys, &value, &g.root, NULL),
					 THINP_EINVAL);
		tree_grow_insert_key(&g, 1);
	}
	tree_grow_end(&g);
}

/* 334 full leaves are overwritten; they may split, for all that the plan knows, but they are not copied. */
static void a_batch_asks_for_no_copies_of_shadows(void **state)
{
	uint64_t keys[1000];
	struct tree_grow g;

	(void)state;
	tree_grow_begin(&g, 1024, 1, 1000);
	for (uint64_t i = 0; i < 1000; i++)
		keys[i] = 3 * i;
	tree_grow_insert_many(&g, keys, 1000);
	g.t->most_asked = 0;
	tree_grow_insert_many(&g, keys, 1000);
	assert_in_range(g.t->most_asked, 1, 350);
	tree_grow_end(&g);
}

/* Nodes that are shadows, but hang below one that a snapshot shares, are copied; that is asked for. */
static void TM_06_shadows_below_a_shared_node_are_copied(void **state)
{
	struct tree_snapshots s = {.nr = 0};
	uint64_t keys[600];
	struct tree_grow g;

	(void)state;
	tree_grow_begin(&g, 1024, 1, 1000);
	for (uint64_t i = 0; i < 600; i++)
		keys[i] = 3 * i;
	tree_grow_insert_many(&g, keys, 600);
	tree_grow_snapshot(&g, &s);
	g.t->most_asked = g.t->nr_taken = 0;
	tree_grow_insert_many(&g, keys, 600);
	assert_true(g.t->nr_taken >= 200);
	assert_true(g.t->nr_taken <= g.t->most_asked);
	tree_grow_expect_snapshots(&g, &s);
	tree_grow_free_snapshots(&s);
	ordered_map_free(&g.map);
	tree_change_free(g.t);
}

/* What a flush has written is changed again: it must go to the device once more. */
static void TM_05_a_leaf_written_in_between_is_written_again(void **state)
{
	struct tree_grow g;
	struct thinp_bm *bm;
	struct thinp_bm_opts opts = {.size = sizeof(opts)};
	struct thinp_reader *reader;

	(void)state;
	tree_grow_begin(&g, 1024, 1, 8);
	for (uint64_t i = 0; i < 700; i++) {
		tree_grow_insert_key(&g, 10 * i);
		if (i % 50 == 0)
			assert_int_equal(thinp_bm_flush(g.t->bm), 0);
		if (i % 60 == 0)
			tree_grow_insert_key(&g, 3); /* not where the last one was */
	}
	tree_change_commit(g.t);
	assert_int_equal(thinp_bm_create(g.t->device.io, &opts, &bm), 0);
	assert_int_equal(thinp_reader_create(bm, 0, &reader), 0);
	for (uint64_t i = 0; i < 700; i++) {
		const uint64_t key = 10 * i;
		uint8_t value[8], wanted[8];
		bool is_there;
		size_t at = ordered_map_find(&g.map, &key, &is_there);

		assert_true(is_there);
		tree_change_fill_value(g.t, g.map.values[at], wanted);
		assert_int_equal(thinp_btree_lookup(reader, &g.t->type, g.root, &key, value), 0);
		assert_memory_equal(value, wanted, 8);
	}
	thinp_reader_destroy(reader);
	thinp_bm_destroy(bm);
	tree_grow_end(&g);
}

/* --- damage ---------------------------------------------------------------------------------------------------------- */

/* Lets the root of a tree, which is an internal node, point to another block. */
static void point_to(struct tree_change *t, thinp_block_t root, uint32_t index, thinp_block_t block)
{
	struct thinp_buffer *buffer;
	thinp_block_t same;
	bool inc_children;
	void *node;

	assert_int_equal(thinp_tm_shadow_block(t->tm, root, thinp_block_type_node(), THINP_CAUSE_SHADOW, &same, &buffer,
					       &node, &inc_children),
			 0);
	assert_int_equal(same, root);
	tp_node_set_value64(node, index, block);
	thinp_tm_unlock(t->tm, buffer);
}

/* Both trees are of this transaction, so all their nodes may be written where they are. */
static void BT_10_a_shadow_of_another_tree_is_not_written(void **state)
{
	const struct thinp_btree_type other = {.size = sizeof(other), .nr_levels = 1, .value_size = 16};
	uint64_t low = 1, high = 2601;
	uint8_t value[16] = {0};
	thinp_block_t root, strange;
	struct tree_grow g;

	(void)state;
	tree_grow_begin(&g, 1024, 1, 8);
	for (uint64_t i = 0; i < 600; i++)
		tree_grow_insert_key(&g, 10 * i);
	root = g.root;
	assert_int_equal(thinp_btree_create(g.t->tm, &other, &strange), 0);
	point_to(g.t, g.root, 0, strange);
	expect_corrupt(thinp_btree_insert(g.t->tm, &g.t->type, g.root, &low, value, &g.root, NULL), strange,
		       "values of 16 bytes");
	assert_int_equal(thinp_btree_create(g.t->tm, &g.t->type, &strange), 0);
	assert_int_equal(thinp_btree_insert(g.t->tm, &g.t->type, strange, &low, value, &strange, NULL), 0);
	point_to(g.t, g.root, 1, strange);
	expect_corrupt(thinp_btree_insert(g.t->tm, &g.t->type, g.root, &high, value, &g.root, NULL), strange,
		       "begins with key 1");
	point_to(g.t, g.root, 1, g.root); /* a circle */
	assert_int_equal(thinp_btree_insert(g.t->tm, &g.t->type, g.root, &high, value, &g.root, NULL), THINP_ECORRUPT);
	assert_int_equal(g.root, root);
	assert_int_equal(thinp_tm_status(g.t->tm), 0);
	ordered_map_free(&g.map);
	tree_change_free(g.t);
}

/* --- failures -------------------------------------------------------------------------------------------------------- */

static void no_memory_for_the_first_shadow_changes_nothing(void **state)
{
	uint8_t value[8] = {0};
	uint64_t key = 5;
	struct tree_grow g;
	size_t nr_failed = 0;

	(void)state;
	for (size_t n = 1;; n++) {
		bool has_failed;
		int r;

		tree_grow_begin(&g, 1024, 1, 8);
		tree_grow_insert_key(&g, 10);
		tree_change_commit(g.t);
		for (uint64_t i = 0; i < 42; i++) { /* the set of marks is about to grow */
			thinp_block_t root;

			assert_int_equal(thinp_btree_create(g.t->tm, &g.t->type, &root), 0);
		}
		tree_change_value(g.t, value);
		alloc_counting_fail(&g.t->memory, n);
		r = thinp_btree_insert(g.t->tm, &g.t->type, g.root, &key, value, &g.root, NULL);
		has_failed = alloc_counting_has_failed(&g.t->memory);
		if (r) {
			nr_failed++;
			expect_failure(r, THINP_ENOMEM, THINP_NO_BLOCK, "");
			assert_int_equal(thinp_tm_status(g.t->tm), 0);
			alloc_counting_fail(&g.t->memory, 0);
			assert_int_equal(thinp_btree_insert(g.t->tm, &g.t->type, g.root, &key, value, &g.root, NULL),
					 0);
		}
		ordered_map_free(&g.map);
		tree_change_free(g.t);
		if (!has_failed)
			break;
	}
	assert_true(nr_failed > 0);
}

/* A cache that is smaller than the tree: nodes leave it and come back, and each read or write fails in turn. The tree of the
 * commit before is never lost. */
static size_t grow_in_a_small_cache(uint32_t fail_kinds, size_t fail_at)
{
	uint64_t rng = 42;
	struct tree_grow g = {.t = tree_change_new_cached(4096, 1, 400, 16)};
	struct ordered_map before;
	thinp_block_t root;
	size_t nr_calls;
	int r = 0;

	ordered_map_init(&g.map, 1);
	assert_int_equal(thinp_btree_create(g.t->tm, &g.t->type, &g.root), 0);
	for (int i = 0; i < 300; i++)
		tree_grow_insert_key(&g, random_next(&rng));
	tree_change_commit(g.t);
	ordered_map_copy(&before, &g.map);
	root = g.root;
	block_device_fail_kinds(&g.t->device, fail_kinds, fail_at, THINP_EIO);
	for (int i = 0; !r && i < 60; i++) {
		uint64_t key = random_next(&rng);
		uint8_t value[400];

		(void)ordered_map_set(&g.map, &key, tree_change_value(g.t, value));
		r = thinp_btree_insert(g.t->tm, &g.t->type, g.root, &key, value, &g.root, NULL);
	}
	nr_calls = g.t->device.nr_calls;
	block_device_fail_kinds(&g.t->device, 0, 0, 0);
	assert_int_equal(r, nr_calls >= fail_at ? THINP_EIO : 0);
	if (r) {
		expect_detail(r);
		tree_change_abort(g.t);
		tree_change_expect(g.t, root, &before);
	} else {
		tree_grow_expect(&g);
	}
	ordered_map_free(&before);
	ordered_map_free(&g.map);
	tree_change_free(g.t);
	return nr_calls;
}

static void BT_05_device_failures_in_a_very_small_cache(void **state)
{
	const uint32_t kinds[] = {BLOCK_DEVICE_FAIL_READ, BLOCK_DEVICE_FAIL_WRITE};

	(void)state;
	for (size_t kind = 0; kind < 2; kind++) {
		size_t nr_calls = grow_in_a_small_cache(kinds[kind], SIZE_MAX);

		assert_true(nr_calls > 3);
		for (size_t n = 1; n <= nr_calls; n++)
			(void)grow_in_a_small_cache(kinds[kind], n);
	}
}

/* A flush leaves nodes clean, and with outlines; the next change of such a node must take its outline away. */
static void what_is_inserted_behind_a_flush_is_found(void **state)
{
	struct tree_grow g;

	(void)state;
	tree_grow_begin(&g, 1024, 1, 8);
	for (uint64_t i = 0; i < 600; i++) {
		uint64_t key = i % 2 ? 10000 - i : i, value;
		int32_t result;

		tree_grow_insert_key(&g, key);
		assert_int_equal(thinp_btree_lookup(thinp_tm_reader(g.t->tm), &g.t->type, g.root, &key, &value), 0);
		assert_int_equal(
			thinp_btree_lookup_many(thinp_tm_reader(g.t->tm), &g.t->type, g.root, &key, 1, &value, &result),
			0);
		assert_int_equal(result, 0);
		if (i % 7 == 0)
			assert_int_equal(thinp_bm_flush(g.t->bm), 0);
	}
	tree_grow_end(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_place_of_a_key_is_found_however_keys_are_spread),
		cmocka_unit_test(shadows_are_written_where_they_are),
		cmocka_unit_test(a_type_that_no_tree_has_is_refused),
		cmocka_unit_test(a_batch_asks_for_no_copies_of_shadows),
		cmocka_unit_test(TM_06_shadows_below_a_shared_node_are_copied),
		cmocka_unit_test(TM_05_a_leaf_written_in_between_is_written_again),
		cmocka_unit_test(what_is_inserted_behind_a_flush_is_found),
		cmocka_unit_test(BT_10_a_shadow_of_another_tree_is_not_written),
		cmocka_unit_test(no_memory_for_the_first_shadow_changes_nothing),
		cmocka_unit_test(BT_05_device_failures_in_a_very_small_cache),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
