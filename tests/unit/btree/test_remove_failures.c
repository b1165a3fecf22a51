/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Removing and dropping when something fails, or the tree is damaged. Whatever it is: the caller's root stays as it was,
 * nothing stays locked, and the transaction goes on only if nothing was changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "support/forest.h"

/* What is tried, on a nested tree of two levels whose leaves have their minimum and are shared. */
typedef int (*attempt_fn)(struct forest *f);

static int attempt_remove(struct forest *f)
{
	uint64_t keys[2] = {2, 40};
	thinp_block_t root = 0xdead;
	int r = thinp_btree_remove(f->tm, &f->type, f->trees[0].root, keys, &root);

	assert_true(r ? root == 0xdead : root != 0xdead);
	return r;
}

static int attempt_range(struct forest *f)
{
	uint64_t first[2] = {2, 35}, last[2] = {2, 125}, nr_removed = 0xdead;
	thinp_block_t root = 0xdead;
	bool is_complete = false;
	int r = thinp_btree_remove_range(f->tm, &f->type, f->trees[0].root, first, last, 0, &root, &nr_removed,
					 &is_complete);

	assert_true(r ? root == 0xdead : root != 0xdead);
	assert_int_equal(nr_removed, r ? 0xdead : 9);
	assert_int_equal(is_complete, !r);
	return r;
}

/* Keys of three trees, of the shared leaves of one of them nearly all. */
static int attempt_many(struct forest *f)
{
	uint64_t keys[][2] = {{0, 1},  {1, 20}, {1, 25},  {2, 40}, {2, 50}, {2, 60},
			      {2, 70}, {2, 80}, {2, 170}, {3, 10}, {4, 7}};
	uint64_t nr_removed = 0xdead;
	thinp_block_t root = 0xdead;
	int r = thinp_btree_remove_many(f->tm, &f->type, f->trees[0].root, &keys[0][0], 11, &root, &nr_removed);

	assert_true(r ? root == 0xdead : root != 0xdead);
	assert_int_equal(nr_removed, r ? 0xdead : 8);
	return r;
}

static int attempt_del(struct forest *f)
{
	return thinp_btree_del(f->tm, &f->type, f->trees[0].root);
}

static const attempt_fn attempts[] = {attempt_remove, attempt_range, attempt_del, attempt_many};

#define NR_ATTEMPTS (sizeof(attempts) / sizeof(*attempts))

static void plant(struct forest *f, bool is_shared)
{
	const struct tree_shape shape = {.per_leaf = 3};
	uint64_t keys[54][THINP_BTREE_MAX_LEVELS] = {{0}};

	for (size_t i = 0; i < 54; i++) {
		keys[i][0] = 1 + i / 18;
		keys[i][1] = 10 + 10 * (i % 18);
	}
	forest_open(f, 200, 2, 400);
	forest_plant(f, &shape, (const uint64_t(*)[THINP_BTREE_MAX_LEVELS])keys, 54);
	if (is_shared)
		forest_snapshot(f, 0);
	forest_commit(f, true);
}

/* After an attempt that gave r: was the transaction marked if and only if something was changed? Then everything is put
 * back, which must work, and looked at. */
static void settle(struct forest *f, struct forest_trial *trial, int r, uint64_t generation, uint64_t nr_value_calls)
{
	bool changed = thinp_tm_generation(f->tm) != generation || f->nr_value_calls != nr_value_calls;

	forest_fail(f, 0, 0);
	image_fail_no_reads(&f->image);
	alloc_counting_fail(&f->alloc, 0);
	if (r)
		assert_int_equal(thinp_tm_status(f->tm), changed ? THINP_EMUSTABORT : 0);
	else
		assert_int_equal(thinp_tm_status(f->tm), 0);
	forest_end_trial(f, trial);
	forest_check(f);
}

enum fault { FAULT_COUNTS, FAULT_READS, FAULT_MEMORY };

static void set_fault(struct forest *f, enum fault fault, uint64_t n)
{
	if (fault == FAULT_COUNTS)
		forest_fail(f, n, THINP_ENOSPC);
	else if (fault == FAULT_READS)
		image_fail_reads(&f->image, n, n);
	else
		alloc_counting_fail(&f->alloc, n);
}

static bool came(struct forest *f, enum fault fault)
{
	if (fault == FAULT_COUNTS)
		return forest_has_failed(f);
	if (fault == FAULT_READS)
		return f->image.nr_reads >= f->image.fail_from;
	return alloc_counting_has_failed(&f->alloc);
}

/* Lets the first, second, third ... call fail until none comes that is to fail. */
static void loop(attempt_fn attempt, bool is_shared, enum fault fault)
{
	static const int codes[] = {THINP_ENOSPC, THINP_EIO, THINP_ENOMEM};
	bool has_failed = true;
	unsigned int nr_failures = 0;
	struct forest f;

	plant(&f, is_shared);
	for (uint64_t n = 1; has_failed; n++) {
		struct forest_trial trial;
		uint64_t generation, nr_value_calls = f.nr_value_calls;
		int r;

		forest_begin_trial(&f, &trial);
		generation = thinp_tm_generation(f.tm);
		set_fault(&f, fault, n);
		r = attempt(&f);
		has_failed = came(&f, fault);
		if (r)
			assert_int_equal(r, codes[fault]);
		else
			assert_true(!has_failed || fault != FAULT_COUNTS); /* prefetching may fail unnoticed */
		nr_failures += r != 0;
		settle(&f, &trial, r, generation, nr_value_calls);
	}
	assert_true(nr_failures > 0);
	forest_close(&f);
}

static void loop_all(enum fault fault)
{
	for (size_t i = 0; i < NR_ATTEMPTS; i++) {
		loop(attempts[i], false, fault);
		if (attempts[i] != attempt_del || fault == FAULT_COUNTS)
			loop(attempts[i], true, fault);
	}
}

static void BR_07_counts_that_cannot_be_changed(void **state)
{
	(void)state;
	loop_all(FAULT_COUNTS);
}

static void BR_07_BT_06_nodes_that_cannot_be_read(void **state)
{
	(void)state;
	loop_all(FAULT_READS);
}

static void no_memory(void **state)
{
	(void)state;
	loop_all(FAULT_MEMORY);
}

/* The second removal finds all nodes in place, and touches the leaf only; then its value cannot be dropped. */
static void a_value_that_cannot_be_dropped_in_place(void **state)
{
	uint64_t key = 90;
	struct forest_trial trial;
	thinp_block_t root, same = 7;
	uint64_t nr_calls;
	struct forest f;
	const struct tree_shape shape = {.per_leaf = 9};

	(void)state;
	forest_open(&f, 100, 1, 400);
	forest_plant_plain(&f, &shape, 36, 10);
	forest_begin_trial(&f, &trial);
	assert_int_equal(thinp_btree_remove(f.tm, &f.type, f.trees[0].root, &key, &root), 0);
	nr_calls = f.nr_count_calls;
	key = 80;
	forest_fail(&f, 1, THINP_EIO);
	assert_int_equal(thinp_btree_remove(f.tm, &f.type, root, &key, &same), THINP_EIO);
	assert_int_equal(same, 7);
	assert_int_equal(f.nr_count_calls, nr_calls);
	assert_int_equal(thinp_tm_status(f.tm), THINP_EMUSTABORT);
	forest_fail(&f, 0, 0);
	forest_end_trial(&f, &trial);
	forest_check(&f);
	forest_close(&f);
}

/* With less and less room: refused before anything is changed, or done. */
static void squeeze(attempt_fn attempt, bool is_shared)
{
	unsigned int nr_refused = 0, nr_done = 0;
	struct forest f;

	plant(&f, is_shared);
	do {
		uint64_t generation, nr_value_calls = f.nr_value_calls;
		struct forest_trial trial;
		int r;

		forest_begin_trial(&f, &trial);
		generation = thinp_tm_generation(f.tm);
		r = attempt(&f);
		if (r) {
			assert_int_equal(r, THINP_ENOSPC);
			assert_int_equal(thinp_tm_generation(f.tm), generation);
		}
		nr_refused += r != 0;
		nr_done += r == 0;
		settle(&f, &trial, r, generation, nr_value_calls);
	} while (forest_waste(&f));
	assert_true(nr_refused > 0 && nr_done > 0);
	forest_close(&f);
}

static void no_space(void **state)
{
	(void)state;
	for (int shared = 0; shared < 2; shared++) {
		squeeze(attempt_remove, shared);
		squeeze(attempt_range, shared);
		squeeze(attempt_many, shared);
	}
}

/* --- damage ---------------------------------------------------------------------------------------------------------- */

static void expect_corrupt(struct forest *f, attempt_fn attempt)
{
	struct forest_trial trial;
	uint64_t reads;

	forest_begin_trial(f, &trial);
	reads = f->image.nr_reads;
	assert_int_equal(attempt(f), THINP_ECORRUPT);
	assert_true(f->image.nr_reads - reads < 200);
	forest_end_trial(f, &trial); /* fails when something has leaked */
}

/* Blocks of the tree that the attempts go through. */
struct places {
	thinp_block_t root, tree, leaf[6];
};

static void find_places(struct forest *f, struct places *p)
{
	p->root = f->trees[0].root;
	p->tree = tree_child(&f->image, p->root, 1);
	for (uint32_t i = 0; i < 6; i++)
		p->leaf[i] = tree_child(&f->image, p->tree, i);
}

static void with_damage(void (*damage)(struct forest *f, const struct places *p))
{
	for (size_t i = 0; i < NR_ATTEMPTS; i++) {
		struct places p;
		struct forest f;

		plant(&f, false);
		find_places(&f, &p);
		damage(&f, &p);
		forest_commit(&f, true);
		expect_corrupt(&f, attempts[i]);
		forest_close(&f);
	}
}

static void spoil_leaf(struct forest *f, const struct places *p)
{
	image_set32(&f->image, p->leaf[1], TREE_NR_ENTRIES, 77);
}

static void point_to_itself(struct forest *f, const struct places *p)
{
	tree_set_child(&f->image, p->tree, 1, p->tree);
}

static void point_to_the_first_leaf(struct forest *f, const struct places *p)
{
	tree_set_child(&f->image, p->tree, 1, p->leaf[0]);
}

static void point_to_the_root(struct forest *f, const struct places *p)
{
	tree_set_child(&f->image, p->tree, 1, p->root);
}

static void point_outside(struct forest *f, const struct places *p)
{
	tree_set_child(&f->image, p->tree, 1, 1000000);
}

static void point_to_the_superblock(struct forest *f, const struct places *p)
{
	tree_set_child(&f->image, p->tree, 1, 0);
}

static void overlap(struct forest *f, const struct places *p)
{
	tree_set_key(&f->image, p->leaf[1], 2, 70);
}

static void hang_in_a_node(struct forest *f, const struct places *p)
{
	tree_set_child(&f->image, p->root, 1, p->root);
}

static void BT_06_a_bad_leaf_leaves_nothing_locked(void **state)
{
	(void)state;
	with_damage(spoil_leaf);
}

static void BT_07_circles_and_wild_pointers_are_damage(void **state)
{
	(void)state;
	with_damage(point_to_itself);
	with_damage(point_to_the_first_leaf);
	with_damage(point_to_the_root);
	with_damage(point_outside);
	with_damage(point_to_the_superblock);
	with_damage(overlap);
	with_damage(hang_in_a_node);
}

/* A chain of 100 nodes with one entry each. */
static void BT_07_a_tree_that_is_too_deep_is_damage(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .min_depth = 100};
	uint64_t key = 10, last = 20;
	struct forest_trial trial;
	thinp_block_t root = 7;
	struct forest f;

	(void)state;
	forest_open(&f, 200, 1, 400);
	forest_plant_plain(&f, &shape, 3, 10);
	forest_begin_trial(&f, &trial);
	assert_int_equal(thinp_btree_remove(f.tm, &f.type, f.trees[0].root, &key, &root), THINP_ECORRUPT);
	assert_int_equal(thinp_btree_remove_range(f.tm, &f.type, f.trees[0].root, &key, &last, 0, &root, NULL, NULL),
			 THINP_ECORRUPT);
	assert_int_equal(thinp_tm_status(f.tm), 0);
	f.type.cost = NULL;
	assert_int_equal(thinp_btree_del(f.tm, &f.type, f.trees[0].root), THINP_ECORRUPT);
	assert_int_equal(root, 7);
	assert_true(f.image.nr_reads < 100);
	forest_end_trial(&f, &trial);
	forest_close(&f);
}

static void BT_07_a_node_that_is_used_but_counted_as_free_is_damage(void **state)
{
	struct places p;
	struct forest f;

	(void)state;
	plant(&f, false);
	find_places(&f, &p);
	assert_int_equal(f.counts.dec(f.counts.ctx, p.leaf[3], 1, THINP_CAUSE_USER), 0);
	thinp_memory_map_commit(f.map);
	expect_corrupt(&f, attempt_del);
	forest_close(&f);
}

static void bad_types_are_refused(void **state)
{
	uint64_t keys[2] = {2, 40};
	thinp_block_t root = 7;
	struct forest f;

	(void)state;
	plant(&f, false);
	f.type.nr_levels = 5;
	assert_int_equal(thinp_btree_remove(f.tm, &f.type, f.trees[0].root, keys, &root), THINP_EINVAL);
	assert_int_equal(thinp_btree_remove_range(f.tm, &f.type, f.trees[0].root, keys, keys, 0, &root, NULL, NULL),
			 THINP_EINVAL);
	assert_int_equal(thinp_btree_remove_many(f.tm, &f.type, f.trees[0].root, keys, 1, &root, NULL), THINP_EINVAL);
	assert_int_equal(thinp_btree_del(f.tm, &f.type, f.trees[0].root), THINP_EINVAL);
	f.type.nr_levels = 2;
	thinp_tm_poison(f.tm, THINP_EIO);
	assert_int_equal(thinp_btree_remove(f.tm, &f.type, f.trees[0].root, keys, &root), THINP_EMUSTABORT);
	assert_int_equal(thinp_btree_remove_range(f.tm, &f.type, f.trees[0].root, keys, keys, 0, &root, NULL, NULL),
			 THINP_EMUSTABORT);
	assert_int_equal(thinp_btree_remove_many(f.tm, &f.type, f.trees[0].root, keys, 1, &root, NULL),
			 THINP_EMUSTABORT);
	assert_int_equal(thinp_btree_del(f.tm, &f.type, f.trees[0].root), THINP_EMUSTABORT);
	assert_int_equal(root, 7);
	thinp_tm_begin(f.tm);
	forest_check(&f);
	forest_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BR_07_counts_that_cannot_be_changed),
		cmocka_unit_test(BR_07_BT_06_nodes_that_cannot_be_read),
		cmocka_unit_test(no_memory),
		cmocka_unit_test(a_value_that_cannot_be_dropped_in_place),
		cmocka_unit_test(no_space),
		cmocka_unit_test(BT_06_a_bad_leaf_leaves_nothing_locked),
		cmocka_unit_test(BT_07_circles_and_wild_pointers_are_damage),
		cmocka_unit_test(BT_07_a_tree_that_is_too_deep_is_damage),
		cmocka_unit_test(BT_07_a_node_that_is_used_but_counted_as_free_is_damage),
		cmocka_unit_test(bad_types_are_refused),
	};

	return cmocka_run_group_tests_name("btree/remove_failures", tests, NULL, NULL);
}
