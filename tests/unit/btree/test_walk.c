/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Walks over whole trees and over ranges, against a sorted array.
 */
#include "support/image_expect.h"
#include "support/image_trial.h"
#include "support/tree_zoo.h"
#include "unit/base/random.h"

static int walk(struct tree *tree, struct tree_receiver *receiver)
{
	return thinp_btree_walk(tree->reader.reader, &tree->model.type, tree->model.root, tree_receiver_take, receiver);
}

static int walk_range(struct tree *tree, const uint64_t *first, const uint64_t *last, struct tree_receiver *receiver)
{
	return thinp_btree_walk_range(tree->reader.reader, &tree->model.type, tree->model.root, first, last,
				      tree_receiver_take, receiver);
}

static void expect_walk(struct tree *tree)
{
	struct tree_receiver receiver = {.model = &tree->model};

	assert_int_equal(walk(tree, &receiver), 0);
	assert_int_equal(receiver.next, tree->model.nr);
}

/* One behind the last entry that is not larger. */
static size_t end_of_range(const struct tree_model *model, const uint64_t *last)
{
	size_t i = tree_model_find(model, last);

	return tree_model_is(model, i, last) ? i + 1 : i;
}

static void expect_range(struct tree *tree, const uint64_t *first, const uint64_t *last)
{
	size_t begin = tree_model_find(&tree->model, first);
	size_t end = end_of_range(&tree->model, last);
	struct tree_receiver receiver = {.model = &tree->model, .next = begin};

	assert_int_equal(walk_range(tree, first, last, &receiver), 0);
	assert_int_equal(receiver.next, begin < end ? end : begin);
}

static void expect_some_ranges(struct tree *tree)
{
	size_t nr_probes = tree_model_nr_probes(&tree->model);

	for (size_t i = 0; i < 60; i++) {
		uint64_t first[THINP_BTREE_MAX_LEVELS], last[THINP_BTREE_MAX_LEVELS];

		tree_model_probe(&tree->model, random_next(tree->rng) % nr_probes, first);
		tree_model_probe(&tree->model, random_next(tree->rng) % nr_probes, last);
		expect_range(tree, first, last);
	}
}

static void expect_walk_and_some_ranges(struct tree *tree)
{
	expect_walk(tree);
	expect_some_ranges(tree);
}

static void every_plain_tree_is_walked_in_order(void **state)
{
	(void)state;
	tree_zoo_plain(expect_walk_and_some_ranges);
}

static void every_nested_tree_is_walked_in_order(void **state)
{
	(void)state;
	tree_zoo_nested(expect_walk_and_some_ranges);
}

static void every_random_tree_is_walked_in_order(void **state)
{
	(void)state;
	tree_zoo_random(expect_walk_and_some_ranges, 400);
}

/* Every pair of probes, also those with the end before the beginning. */
static void expect_all_ranges(struct tree *tree)
{
	size_t nr_probes = tree_model_nr_probes(&tree->model);

	for (size_t i = 0; i < nr_probes; i++)
		for (size_t j = 0; j < nr_probes; j++) {
			uint64_t first[THINP_BTREE_MAX_LEVELS], last[THINP_BTREE_MAX_LEVELS];

			tree_model_probe(&tree->model, i, first);
			tree_model_probe(&tree->model, j, last);
			expect_range(tree, first, last);
		}
}

static void every_range_of_a_small_tree_is_walked(void **state)
{
	static const size_t sizes[] = {0, 1, 2, 7, 12};
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct tree tree;

		tree_open(&tree, &shape, 8, sizes[i], 3, 1 + (uint32_t)i);
		expect_all_ranges(&tree);
		tree_close(&tree);
	}
}

static void BT_18_every_range_between_numbers_at_the_edges_is_walked(void **state)
{
	(void)state;
	for (uint32_t per_leaf = 1; per_leaf <= 6; per_leaf++) {
		const struct tree_shape shape = {.per_leaf = per_leaf, .per_node = 2};
		struct tree tree = {.rng = NULL};

		image_open(&tree.image, 100);
		tree_model_build_plain(&tree.model, &tree.image, &shape, 8, tree_edges, TREE_NR_EDGES);
		assert_int_equal(image_reader_open(&tree.reader, &tree.image, per_leaf), 0);
		expect_walk(&tree);
		expect_all_ranges(&tree);
		tree_close(&tree);
	}
}

static void every_range_of_a_small_nested_tree_is_walked(void **state)
{
	/* empty trees first, in the middle and last */
	static const struct tree_item items[] = {
		{{0}, 1}, {{3, 0}, 2}, {{3, 5}, 2}, {{4}, 1}, {{7, UINT64_MAX}, 2}, {{9, 1}, 2}, {{UINT64_MAX}, 1}};
	const struct tree_shape shape = {.per_leaf = 1, .per_node = 3};
	struct tree tree = {.rng = NULL};

	(void)state;
	image_open(&tree.image, 100);
	tree_model_build(&tree.model, &tree.image, &shape, 2, 8, items, sizeof(items) / sizeof(items[0]));
	assert_int_equal(image_reader_open(&tree.reader, &tree.image, 2), 0);
	expect_all_ranges(&tree);
	tree_close(&tree);
}

static void BT_17_an_empty_tree_has_nothing_to_walk(void **state)
{
	const struct tree_shape shape = {0};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 0, 1, 1);
	expect_walk(&tree);
	expect_all_ranges(&tree);
	tree_close(&tree);
}

/* --- what the callback returns --------------------------------------------------------------------------------------- */

static void what_the_callback_returns_is_returned(void **state)
{
	static const int results[] = {
		1, -1, INT32_MAX, INT32_MIN, THINP_ENODATA, -61, THINP_ECORRUPT, THINP_EIO, THINP_ECANCELED};
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 8, 1, 4);
	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++)
		for (size_t stop_at = 1; stop_at <= 4; stop_at++) {
			struct tree_receiver receiver = {
				.model = &tree.model, .stop_at = stop_at, .stop_with = results[i]};
			struct tree_receiver of_range = receiver;

			assert_int_equal(walk(&tree, &receiver), results[i]);
			assert_int_equal(receiver.nr_spans, stop_at);
			assert_int_equal(walk_range(&tree, &(uint64_t){0}, &(uint64_t){100}, &of_range), results[i]);
			assert_int_equal(of_range.nr_spans, stop_at);
		}
	tree_close(&tree);
}

struct inner_walk {
	struct tree *tree;
	struct tree_receiver receiver;
};

static int walk_again(void *ctx, const struct thinp_btree_span *span)
{
	struct inner_walk *outer = ctx;

	expect_walk(outer->tree);
	return tree_receiver_take(&outer->receiver, span);
}

/* With one block in the cache, the inner walk drives out whatever the outer one has read. */
static void BT_12_the_callback_may_walk_the_same_tree(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};

	(void)state;
	for (uint32_t cache_blocks = 1; cache_blocks <= 3; cache_blocks++) {
		struct inner_walk outer;
		struct tree tree;

		tree_open(&tree, &shape, 1000, 27, 1, cache_blocks);
		outer = (struct inner_walk){.tree = &tree, .receiver = {.model = &tree.model}};
		assert_int_equal(
			thinp_btree_walk(tree.reader.reader, &tree.model.type, tree.model.root, walk_again, &outer), 0);
		assert_int_equal(outer.receiver.next, 27);
		tree_close(&tree);
	}
}

/* --- reads and memory ------------------------------------------------------------------------------------------------ */

static void BT_12_a_tree_of_four_levels_is_walked_with_a_cache_of_one_two_and_three_blocks(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3, .min_depth = 4};

	(void)state;
	for (uint32_t cache_blocks = 1; cache_blocks <= 3; cache_blocks++) {
		struct thinp_bm_stats stats = {.size = sizeof(stats)};
		struct tree tree;

		tree_open(&tree, &shape, 1000, 81, 2, cache_blocks);
		expect_walk(&tree);
		assert_true(atomic_load(&tree.image.nr_reads) <= 4 * (27 + 9 + 3 + 1));
		thinp_bm_get_stats(tree.reader.bm, &stats);
		assert_int_equal(stats.uncached, 0); /* nothing was held longer than needed */
		assert_true(stats.blocks_cached <= cache_blocks);
		tree_close(&tree);
	}
}

static void a_walk_reads_each_node_once_when_the_cache_has_room(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 81, 1, 1000);
	expect_walk(&tree);
	assert_int_equal(atomic_load(&tree.image.nr_reads), 27 + 9 + 3 + 1);
	expect_walk(&tree);
	assert_int_equal(atomic_load(&tree.image.nr_reads), 27 + 9 + 3 + 1);
	tree_close(&tree);
}

/* Keys are unique, so behind the last key of a range there is nothing to look for. */
static void a_range_that_ends_with_a_leaf_does_not_need_the_next_one(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};
	struct tree_receiver receiver = {.next = 3};
	uint64_t first = 4, last = 6;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 9, 1, 1);
	receiver.model = &tree.model;
	image_flip(&tree.image, tree_child(&tree.image, tree.model.root, 2), 8 * 100);
	assert_int_equal(walk_range(&tree, &first, &last, &receiver), 0);
	assert_int_equal(receiver.next, 6);
	assert_int_equal(atomic_load(&tree.image.nr_reads), 2);
	tree_close(&tree);
}

static size_t peak_of_a_walk(size_t nr)
{
	const struct tree_shape shape = {.per_leaf = 5, .per_node = 10};
	struct tree tree;
	size_t peak;

	tree_open(&tree, &shape, 8, nr, 1, 16);
	expect_walk(&tree);
	peak = tree.reader.alloc.peak_bytes;
	tree_close(&tree);
	return peak;
}

/* The cache's table of block numbers spreads with the numbers, so it is given some room; a node has some 500 bytes. */
static void the_memory_of_a_walk_does_not_grow_with_the_tree(void **state)
{
	size_t few = peak_of_a_walk(500);

	(void)state;
	assert_true(few >= 16 * THINP_BLOCK_SIZE);
	assert_true(peak_of_a_walk(20000) < few + 16 * 1024);
}

/* At their ends they find that there is nothing more, and meanwhile that prefetched blocks are no nodes. */
static void walks_that_succeed_leave_the_detail_record_alone(void **state)
{
	static const struct tree_item items[] = {{{1}, 1}, {{2, 5}, 2}, {{3}, 1}};
	const struct tree_shape shape = {.per_leaf = 1, .per_node = 3};
	struct tree_receiver receiver;
	struct tree tree = {.rng = NULL};

	(void)state;
	image_open(&tree.image, 100);
	tree_model_build(&tree.model, &tree.image, &shape, 2, 8, items, 3);
	for (uint32_t cache_blocks = 1; cache_blocks <= 100; cache_blocks += 99) {
		assert_int_equal(image_reader_open(&tree.reader, &tree.image, cache_blocks), 0);
		receiver = (struct tree_receiver){.model = &tree.model};
		detail_mark();
		assert_int_equal(walk(&tree, &receiver), 0);
		expect_detail_untouched();
		receiver = (struct tree_receiver){.model = &tree.model};
		assert_int_equal(walk_range(&tree, items[0].keys, items[2].keys, &receiver), 0);
		expect_detail_untouched();
		image_reader_close(&tree.reader);
	}
	assert_int_equal(image_reader_open(&tree.reader, &tree.image, 1), 0);
	tree_close(&tree);
}

static int use_walk(struct image_trial *trial)
{
	const struct tree_model *model = trial->ctx;
	struct tree_receiver receiver = {.model = model};
	int r = thinp_btree_walk(trial->reader.reader, &model->type, model->root, tree_receiver_take, &receiver);

	assert_true(r || receiver.next == model->nr);
	return r;
}

static int use_walk_range(struct image_trial *trial)
{
	const struct tree_model *model = trial->ctx;
	struct tree_receiver receiver = {.model = model, .next = 1};
	uint64_t first = 15, last = 85;
	int r = thinp_btree_walk_range(trial->reader.reader, &model->type, model->root, &first, &last,
				       tree_receiver_take, &receiver);

	assert_true(r || receiver.next == 8);
	return r;
}

static void walks_survive_failing_reads_and_allocations(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 2};
	struct image_trial trial;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 12, 10, 4);
	trial = image_trial_of_reader(&tree.image, use_walk, &tree.model);
	image_trial_run(&trial);
	trial = image_trial_of_reader(&tree.image, use_walk_range, &tree.model);
	image_trial_run(&trial);
	tree_close(&tree);
}

/* A prefetch that fails is no failure: the node is read again when its turn comes. */
static void a_node_that_could_not_be_fetched_ahead_is_read_when_its_turn_comes(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 9};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 27, 1, 100);
	image_fail_reads(&tree.image, 2, 10); /* all leaves, while they are fetched ahead */
	expect_walk(&tree);
	assert_int_equal(atomic_load(&tree.image.nr_reads), 1 + 9 + 9);
	tree_close(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_plain_tree_is_walked_in_order),
		cmocka_unit_test(every_nested_tree_is_walked_in_order),
		cmocka_unit_test(every_random_tree_is_walked_in_order),
		cmocka_unit_test(every_range_of_a_small_tree_is_walked),
		cmocka_unit_test(BT_18_every_range_between_numbers_at_the_edges_is_walked),
		cmocka_unit_test(every_range_of_a_small_nested_tree_is_walked),
		cmocka_unit_test(BT_17_an_empty_tree_has_nothing_to_walk),
		cmocka_unit_test(what_the_callback_returns_is_returned),
		cmocka_unit_test(BT_12_the_callback_may_walk_the_same_tree),
		cmocka_unit_test(BT_12_a_tree_of_four_levels_is_walked_with_a_cache_of_one_two_and_three_blocks),
		cmocka_unit_test(a_walk_reads_each_node_once_when_the_cache_has_room),
		cmocka_unit_test(a_range_that_ends_with_a_leaf_does_not_need_the_next_one),
		cmocka_unit_test(the_memory_of_a_walk_does_not_grow_with_the_tree),
		cmocka_unit_test(walks_that_succeed_leave_the_detail_record_alone),
		cmocka_unit_test(walks_survive_failing_reads_and_allocations),
		cmocka_unit_test(a_node_that_could_not_be_fetched_ahead_is_read_when_its_turn_comes),
	};

	return cmocka_run_group_tests_name("btree/walk", tests, NULL, NULL);
}
