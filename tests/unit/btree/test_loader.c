/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building trees from sorted entries.
 */
#include "support/image_expect.h"
#include "support/tree_grow.h"

#include "unit/base/random.h"

#include <thinp/error.h>

#include <stdlib.h>

static const uint32_t value_sizes[] = {4, 8, 24, 400, 1000};
#define NR_SIZES (sizeof(value_sizes) / sizeof(*value_sizes))

/* Gives entries first .. first + nr - 1 in one call. */
static int add(struct tree_change *t, struct thinp_btree_loader *loader, uint64_t first, size_t nr,
	       struct ordered_map *map)
{
	uint64_t *keys = malloc((nr + 1) * sizeof(*keys));
	uint8_t *values = malloc((nr + 1) * t->type.value_size);
	int r;

	assert_non_null(keys);
	assert_non_null(values);
	for (size_t i = 0; i < nr; i++) {
		uint32_t number = tree_change_value(t, values + i * t->type.value_size);

		keys[i] = 3 * (first + i);
		if (map)
			ordered_map_set(map, &keys[i], number);
	}
	r = thinp_btree_loader_add(loader, keys, values, nr);
	free(keys);
	free(values);
	return r;
}

static void load(uint32_t value_size, uint64_t nr, uint64_t per_call)
{
	struct tree_change *t = tree_change_new(4096, 1, value_size);
	struct thinp_btree_loader *loader;
	struct tree_figures figures;
	struct ordered_map map;
	thinp_block_t root;

	ordered_map_init(&map, 1);
	assert_int_equal(thinp_btree_loader_create(t->tm, &t->type, &loader), 0);
	for (uint64_t i = 0; i < nr; i += per_call)
		assert_int_equal(add(t, loader, i, nr - i < per_call ? nr - i : per_call, &map), 0);
	assert_int_equal(thinp_btree_loader_finish(loader, &root), 0);
	thinp_btree_loader_destroy(loader);
	tree_shape_expect(thinp_tm_reader(t->tm), &t->type, root, &figures);
	assert_int_equal(figures.nr_leaves, nr ? (figures.nr_entries + figures.nr_places / figures.nr_leaves - 1) /
							    (figures.nr_places / figures.nr_leaves)
					       : 1);
	assert_int_equal(t->nr_taken, figures.nr_leaves + figures.nr_internal);
	tree_change_expect(t, root, &map);
	tree_change_expect_counts(t, &root, 1);
	ordered_map_free(&map);
	tree_change_free(t);
}

static void every_number_of_entries_makes_a_tree_of_full_leaves(void **state)
{
	(void)state;
	for (uint64_t nr = 0; nr <= 60; nr++) {
		load(1000, nr, 1);
		load(400, nr, 7);
	}
	for (size_t size = 0; size < NR_SIZES; size++)
		for (uint64_t nr = 740; nr <= 780; nr++)
			load(value_sizes[size], nr, 100);
	load(1000, 1510, 1510);
	load(1000, 1515, 33);
	load(8, 252 * 3 + 1, 1000);
}

static void a_large_tree_is_packed(void **state)
{
	struct tree_change *t = tree_change_new(2048, 1, 8);
	struct thinp_btree_loader *loader;
	struct tree_figures figures;
	thinp_block_t root;

	(void)state;
	assert_int_equal(thinp_btree_loader_create(t->tm, &t->type, &loader), 0);
	for (uint64_t i = 0; i < 200000; i += 1000)
		assert_int_equal(add(t, loader, i, 1000, NULL), 0);
	assert_int_equal(thinp_btree_loader_finish(loader, &root), 0);
	thinp_btree_loader_destroy(loader);
	tree_shape_expect(thinp_tm_reader(t->tm), &t->type, root, &figures);
	assert_int_equal(figures.nr_entries, 200000);
	assert_int_equal(figures.nr_leaves, 794);
	assert_int_equal(figures.nr_internal, 5);
	tree_change_expect_counts(t, &root, 1);
	tree_change_free(t);
}

static void keys_that_do_not_ascend_are_refused(void **state)
{
	static const uint64_t keys[] = {5, 7, 7};
	struct tree_change *t = tree_change_new(64, 1, 8);
	struct thinp_btree_loader *loader;
	uint8_t values[24] = {0};

	(void)state;
	t->type.inc = NULL;
	t->type.dec = NULL;
	assert_int_equal(thinp_btree_loader_create(t->tm, &t->type, &loader), 0);
	expect_failure(thinp_btree_loader_add(loader, keys, values, 3), THINP_EINVAL, THINP_NO_BLOCK, "ascend");
	assert_int_equal(thinp_btree_loader_add(loader, keys, values, 2), 0);
	expect_failure(thinp_btree_loader_add(loader, keys + 1, values, 1), THINP_EINVAL, THINP_NO_BLOCK, "ascend");
	thinp_btree_loader_destroy(loader);
	tree_change_free(t);
}

static void types_of_more_levels_and_finished_loaders_are_refused(void **state)
{
	struct tree_change *t = tree_change_new(64, 2, 8);
	struct thinp_btree_loader *loader = NULL;
	thinp_block_t root;

	(void)state;
	expect_failure(thinp_btree_loader_create(t->tm, &t->type, &loader), THINP_EINVAL, THINP_NO_BLOCK, "levels");
	assert_null(loader);
	t->type.nr_levels = 1;
	assert_int_equal(thinp_btree_loader_create(t->tm, &t->type, &loader), 0);
	assert_int_equal(thinp_btree_loader_finish(loader, &root), 0);
	expect_failure(thinp_btree_loader_finish(loader, &root), THINP_EINVAL, THINP_NO_BLOCK, "finished");
	expect_failure(add(t, loader, 1, 1, NULL), THINP_EINVAL, THINP_NO_BLOCK, "finished");
	thinp_btree_loader_destroy(loader);
	thinp_btree_loader_destroy(NULL);
	tree_change_free(t);
}

static void an_unfinished_tree_is_dropped_with_its_values(void **state)
{
	(void)state;
	for (uint64_t nr = 0; nr <= 900; nr += nr < 12 ? 1 : 111) {
		struct tree_change *t = tree_change_new(2048, 1, 1000);
		struct thinp_btree_loader *loader;

		assert_int_equal(thinp_btree_loader_create(t->tm, &t->type, &loader), 0);
		if (nr)
			assert_int_equal(add(t, loader, 0, nr, NULL), 0);
		detail_mark();
		thinp_btree_loader_destroy(loader);
		expect_detail_untouched();
		tree_change_expect_counts(t, NULL, 0);
		tree_change_free(t);
	}
}

/* Whatever else the transaction has done meanwhile; but when it has ended, the blocks are somebody else's business. */
static void an_unfinished_tree_is_dropped_also_beside_other_changes(void **state)
{
	struct tree_change *t = tree_change_new(2048, 1, 1000);
	struct thinp_btree_loader *loader;
	thinp_block_t root;

	(void)state;
	assert_int_equal(thinp_btree_loader_create(t->tm, &t->type, &loader), 0);
	assert_int_equal(add(t, loader, 0, 900, NULL), 0);
	assert_int_equal(thinp_btree_create(t->tm, &t->type, &root), 0);
	thinp_btree_loader_destroy(loader);
	tree_change_expect_counts(t, &root, 1);
	assert_int_equal(thinp_btree_loader_create(t->tm, &t->type, &loader), 0);
	assert_int_equal(add(t, loader, 0, 900, NULL), 0);
	tree_change_abort(t);
	memset(t->counts, 0, t->next_value * sizeof(*t->counts));
	expect_failure(add(t, loader, 5000, 1, NULL), THINP_ESTALE, THINP_NO_BLOCK, "has ended");
	t->counts[t->next_value - 1] = 0;
	expect_failure(thinp_btree_loader_finish(loader, &root), THINP_ESTALE, THINP_NO_BLOCK, "has ended");
	thinp_btree_loader_destroy(loader);
	tree_change_expect_counts(t, NULL, 0);
	tree_change_free(t);
}

static void no_space_takes_nothing_of_the_call(void **state)
{
	struct tree_change *t = tree_change_new(1024, 1, 1000);
	struct thinp_btree_loader *loader;
	struct ordered_map map;
	thinp_block_t root;

	(void)state;
	ordered_map_init(&map, 1);
	assert_int_equal(thinp_btree_loader_create(t->tm, &t->type, &loader), 0);
	assert_int_equal(add(t, loader, 0, 50, &map), 0);
	t->is_full = true;
	assert_int_equal(add(t, loader, 50, 5, NULL), THINP_ENOSPC);
	for (uint32_t i = 50; i < 55; i++)
		t->counts[i] = 0; /* still the caller's */
	assert_int_equal(thinp_tm_status(t->tm), 0);
	t->is_full = false;
	assert_int_equal(add(t, loader, 50, 500, &map), 0);
	t->is_full = true;
	assert_int_equal(thinp_btree_loader_finish(loader, &root), THINP_ENOSPC);
	t->is_full = false;
	assert_int_equal(thinp_btree_loader_finish(loader, &root), 0);
	thinp_btree_loader_destroy(loader);
	tree_change_expect(t, root, &map);
	tree_change_expect_counts(t, &root, 1);
	ordered_map_free(&map);
	tree_change_free(t);
}

/* Each call of the map fails in turn; then each allocation. */
static void a_failure_marks_the_transaction_and_leaks_nothing(void **state)
{
	bool is_done = false;

	(void)state;
	for (size_t n = 1; !is_done; n++) {
		struct tree_change *t = tree_change_new(2048, 1, 1000);
		struct thinp_btree_loader *loader;
		thinp_block_t root = 4711;
		int r;

		assert_int_equal(thinp_btree_loader_create(t->tm, &t->type, &loader), 0);
		t->nr_calls = 0;
		t->fail_at = n;
		t->fail_with = THINP_EIO;
		r = add(t, loader, 0, 900, NULL);
		if (!r)
			r = thinp_btree_loader_finish(loader, &root);
		is_done = t->nr_calls < n;
		assert_int_equal(r, is_done ? 0 : THINP_EIO);
		if (r)
			assert_int_equal(root, 4711);
		if (r && thinp_tm_status(t->tm))
			assert_int_equal(add(t, loader, 5000, 1, NULL), THINP_EMUSTABORT);
		thinp_btree_loader_destroy(loader);
		tree_change_abort(t);
		memset(t->counts, 0, t->next_value * sizeof(*t->counts));
		tree_change_expect_counts(t, NULL, 0);
		tree_change_free(t);
	}
}

static void memory_may_fail_anywhere(void **state)
{
	bool is_done = false;

	(void)state;
	for (size_t n = 1; !is_done; n++) {
		struct tree_change *t = tree_change_new(2048, 1, 1000);
		struct thinp_btree_loader *loader = NULL;
		thinp_block_t root;
		int r;

		alloc_counting_fail(&t->memory, n);
		r = thinp_btree_loader_create(t->tm, &t->type, &loader);
		if (!r)
			r = add(t, loader, 0, 900, NULL);
		if (!r)
			r = thinp_btree_loader_finish(loader, &root);
		is_done = !alloc_counting_has_failed(&t->memory);
		if (is_done)
			assert_int_equal(r, 0);
		else if (r) /* some memory the cache can do without */
			assert_int_equal(r, THINP_ENOMEM);
		thinp_btree_loader_destroy(loader);
		tree_change_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_of_entries_makes_a_tree_of_full_leaves),
		cmocka_unit_test(a_large_tree_is_packed),
		cmocka_unit_test(keys_that_do_not_ascend_are_refused),
		cmocka_unit_test(types_of_more_levels_and_finished_loaders_are_refused),
		cmocka_unit_test(an_unfinished_tree_is_dropped_with_its_values),
		cmocka_unit_test(an_unfinished_tree_is_dropped_also_beside_other_changes),
		cmocka_unit_test(no_space_takes_nothing_of_the_call),
		cmocka_unit_test(a_failure_marks_the_transaction_and_leaks_nothing),
		cmocka_unit_test(memory_may_fail_anywhere),
	};

	return cmocka_run_group_tests_name("btree/loader", tests, NULL, NULL);
}
