/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many keys at once: as if each had been looked up alone.
 */
#include "support/image_expect.h"
#include "support/image_trial.h"
#include "support/tree_zoo.h"
#include "unit/base/random.h"

#define UNTOUCHED 0xa5

/* A question, and room for the answer. */
struct batch {
	const struct tree_model *model;
	size_t nr;
	uint64_t *keys;
	uint8_t *values;
	int32_t *results;
};

static struct batch batch_new(const struct tree_model *model, size_t nr)
{
	struct batch batch = {
		.model = model,
		.nr = nr,
		.keys = calloc(nr + 1, model->type.nr_levels * sizeof(uint64_t)),
		.values = malloc((nr + 1) * model->type.value_size),
		.results = malloc((nr + 1) * sizeof(int32_t)),
	};

	assert_non_null(batch.keys);
	assert_non_null(batch.values);
	assert_non_null(batch.results);
	memset(batch.values, UNTOUCHED, (nr + 1) * model->type.value_size);
	memset(batch.results, UNTOUCHED, (nr + 1) * sizeof(int32_t));
	return batch;
}

static void batch_free(const struct batch *batch)
{
	free(batch->keys);
	free(batch->values);
	free(batch->results);
}

static uint64_t *keys_of(const struct batch *batch, size_t i)
{
	return batch->keys + i * batch->model->type.nr_levels;
}

static const uint8_t *value_of(const struct batch *batch, size_t i)
{
	return batch->values + i * batch->model->type.value_size;
}

static int run(const struct batch *batch, struct thinp_reader *reader)
{
	return thinp_btree_lookup_many(reader, &batch->model->type, batch->model->root, batch->keys, batch->nr,
				       batch->values, batch->results);
}

static void expect_untouched(const struct batch *batch, size_t i)
{
	uint8_t untouched[TREE_MAX_VALUE_SIZE];

	memset(untouched, UNTOUCHED, sizeof(untouched));
	assert_memory_equal(value_of(batch, i), untouched, batch->model->type.value_size);
}

static void expect_answer(const struct batch *batch, size_t i)
{
	size_t at = tree_model_find(batch->model, keys_of(batch, i));

	if (tree_model_is(batch->model, at, keys_of(batch, i))) {
		assert_int_equal(batch->results[i], 0);
		tree_model_expect(batch->model, at, keys_of(batch, i), value_of(batch, i));
	} else {
		assert_int_equal(batch->results[i], THINP_ENODATA);
		expect_untouched(batch, i);
	}
}

static void expect_answers(const struct batch *batch, struct thinp_reader *reader)
{
	assert_int_equal(run(batch, reader), 0);
	for (size_t i = 0; i < batch->nr; i++)
		expect_answer(batch, i);
	expect_untouched(batch, batch->nr);
	assert_int_equal((uint8_t)batch->results[batch->nr], UNTOUCHED);
}

/* --- against the model ----------------------------------------------------------------------------------------------- */

static void ask_for_all_probes(struct tree *tree)
{
	struct batch batch = batch_new(&tree->model, tree_model_nr_probes(&tree->model));

	for (size_t i = 0; i < batch.nr; i++)
		tree_model_probe(&tree->model, i, keys_of(&batch, i));
	expect_answers(&batch, tree->reader.reader);
	batch_free(&batch);
}

/* Anything in any order; the same key may come several times. */
static void ask_for_random_probes(struct tree *tree, size_t nr)
{
	struct batch batch = batch_new(&tree->model, nr);

	for (size_t i = 0; i < nr; i++)
		tree_model_probe(&tree->model, random_next(tree->rng) % tree_model_nr_probes(&tree->model),
				 keys_of(&batch, i));
	expect_answers(&batch, tree->reader.reader);
	batch_free(&batch);
}

static void ask_for_probes(struct tree *tree)
{
	static const size_t sizes[] = {0, 1, 15, 16, 17, 50};

	ask_for_all_probes(tree);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		ask_for_random_probes(tree, sizes[i]);
}

static void all_keys_of_plain_trees_are_found_together(void **state)
{
	(void)state;
	tree_zoo_plain(ask_for_probes);
}

static void all_keys_of_nested_trees_are_found_together(void **state)
{
	(void)state;
	tree_zoo_nested(ask_for_probes);
}

static void all_keys_of_random_trees_are_found_together(void **state)
{
	(void)state;
	tree_zoo_random(ask_for_probes, 400);
}

static void batches_of_any_size_are_answered_with_a_cache_of_any_size(void **state)
{
	static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 32, 33, 1000};
	static const uint32_t caches[] = {1, 2, 3, 4, 7, 16, 64, 1000};
	const struct tree_shape shape = {.per_leaf = 10, .per_node = 10};
	uint64_t rng = random_begin();

	(void)state;
	for (size_t c = 0; c < sizeof(caches) / sizeof(caches[0]); c++)
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
			struct tree tree;

			tree_open(&tree, &shape, 8, 2000, 2, caches[c]);
			tree.rng = &rng;
			ask_for_random_probes(&tree, sizes[s]);
			tree_close(&tree);
		}
}

/* More than a group, so that it goes round several times. */
static void one_key_may_be_asked_for_many_times(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};
	struct batch batch;
	struct tree tree;

	(void)state;
	for (uint64_t key = 3; key <= 4; key++) { /* one that is there, one that is not */
		tree_open(&tree, &shape, 8, 27, 3, 1);
		batch = batch_new(&tree.model, 40);
		for (size_t i = 0; i < batch.nr; i++)
			*keys_of(&batch, i) = key;
		expect_answers(&batch, tree.reader.reader);
		batch_free(&batch);
		tree_close(&tree);
	}
}

static void BT_17_nothing_is_found_in_an_empty_tree(void **state)
{
	const struct tree_shape shape = {0};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 0, 1, 1);
	ask_for_all_probes(&tree);
	tree_close(&tree);
}

static void BT_18_keys_at_the_edges_are_ordinary_keys(void **state)
{
	const struct tree_shape shape = {.per_leaf = 1, .per_node = 2};
	struct tree tree = {.rng = NULL};

	(void)state;
	image_open(&tree.image, 100);
	tree_model_build_plain(&tree.model, &tree.image, &shape, 8, tree_edges, TREE_NR_EDGES);
	assert_int_equal(image_reader_open(&tree.reader, &tree.image, 2), 0);
	ask_for_all_probes(&tree);
	tree_close(&tree);
}

static void values_need_not_be_asked_for(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};
	uint64_t keys[] = {3, 4, 6};
	int32_t results[3];
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 27, 3, 2);
	assert_int_equal(
		thinp_btree_lookup_many(tree.reader.reader, &tree.model.type, tree.model.root, keys, 3, NULL, results),
		0);
	assert_int_equal(results[0], 0);
	assert_int_equal(results[1], THINP_ENODATA);
	assert_int_equal(results[2], 0);
	tree_close(&tree);
}

/* --- reads ----------------------------------------------------------------------------------------------------------- */

static void every_node_is_read_once_for_a_group_when_the_cache_has_room(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 9};
	struct batch batch;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 27, 1, 200);
	batch = batch_new(&tree.model, 27);
	for (size_t i = 0; i < batch.nr; i++)
		*keys_of(&batch, i) = 27 - i;
	expect_answers(&batch, tree.reader.reader);
	assert_int_equal(atomic_load(&tree.image.nr_reads), 1 + 9);
	batch_free(&batch);
	tree_close(&tree);
}

/* What the cache does not have is not known yet, which is not the same as absent: a look-up tells, and then it is known. */
static void TM_10_what_is_not_in_the_cache_is_unknown_and_not_absent(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 9};

	(void)state;
	for (size_t i = 0; i < 9; i++) {
		struct thinp_read_section section;
		thinp_block_t blocks[2];
		struct batch batch;
		struct tree tree;

		tree_open(&tree, &shape, 8, 27, 2, 200);
		blocks[0] = tree.model.root;
		blocks[1] = tree_child(&tree.image, tree.model.root, (uint32_t)i);
		thinp_read_begin(tree.reader.reader, &section);
		for (size_t b = 0; b < 2; b++)
			assert_null(thinp_read_peek(&section, blocks[b], thinp_block_type_node()));
		thinp_read_end(&section);
		batch = batch_new(&tree.model, 2);
		*keys_of(&batch, 0) = 2 * (3 * i + 1);     /* there */
		*keys_of(&batch, 1) = 2 * (3 * i + 1) + 1; /* not there */
		expect_answers(&batch, tree.reader.reader);
		assert_int_equal(batch.results[0], 0);
		assert_int_equal(batch.results[1], THINP_ENODATA);
		thinp_read_begin(tree.reader.reader, &section);
		for (size_t b = 0; b < 2; b++)
			assert_non_null(thinp_read_peek(&section, blocks[b], thinp_block_type_node()));
		thinp_read_end(&section);
		batch_free(&batch);
		tree_close(&tree);
	}
}

/* --- damage and failures --------------------------------------------------------------------------------------------- */

/* Nine leaves of three keys; asks for all keys and one missing behind each leaf, in steps so that leaves alternate. */
static struct batch ask_about_damage(struct tree *tree, uint32_t cache_blocks)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 9};
	struct batch batch;

	tree_open(tree, &shape, 8, 27, 2, cache_blocks);
	batch = batch_new(&tree->model, 54);
	for (size_t i = 0; i < batch.nr; i++)
		*keys_of(&batch, i) = 2 + i * 19 % 54;
	return batch;
}

static void BT_09_a_damaged_leaf_spoils_only_the_answers_that_it_had(void **state)
{
	static const uint32_t caches[] = {1, 3, 8, 200};

	(void)state;
	for (size_t c = 0; c < sizeof(caches) / sizeof(caches[0]); c++) {
		struct tree tree;
		struct batch batch = ask_about_damage(&tree, caches[c]);
		thinp_block_t bad = tree_child(&tree.image, tree.model.root, 4); /* keys 26 to 31 */

		image_flip(&tree.image, bad, 8 * 50 + 3);
		expect_corrupt(run(&batch, tree.reader.reader), bad, "checksum");
		for (size_t i = 0; i < batch.nr; i++) {
			if (*keys_of(&batch, i) < 26 || *keys_of(&batch, i) > 31) {
				expect_answer(&batch, i);
				continue;
			}
			assert_int_equal(batch.results[i], THINP_ECORRUPT);
			expect_untouched(&batch, i);
		}
		batch_free(&batch);
		tree_close(&tree);
	}
}

/* Two failures of two kinds: the first in the order of the keys is the one returned, and told of. */
static void the_first_failure_is_returned_and_its_detail_is_kept(void **state)
{
	static const uint32_t caches[] = {1, 200};

	(void)state;
	for (size_t c = 0; c < sizeof(caches) / sizeof(caches[0]); c++)
		for (int turn = 0; turn < 2; turn++) {
			struct tree tree;
			struct batch batch = ask_about_damage(&tree, caches[c]);
			thinp_block_t zeros = tree_child(&tree.image, tree.model.root, 2);
			thinp_block_t flags = tree_child(&tree.image, tree.model.root, 6);
			const uint64_t keys[] = {2, turn ? 40 : 14, turn ? 14 : 40, 3, 54};
			int r;

			image_write(&tree.image, zeros, &(struct image_block){{0}});
			image_set32(&tree.image, flags, TREE_FLAGS, 3);
			batch.nr = sizeof(keys) / sizeof(keys[0]);
			memcpy(batch.keys, keys, sizeof(keys));
			r = run(&batch, tree.reader.reader);
			expect_corrupt(r, turn ? flags : zeros, turn ? "flags" : "zeros");
			batch_free(&batch);
			tree_close(&tree);
		}
}

/* A key that is missing is no failure of the call. */
static void a_batch_that_succeeds_leaves_the_detail_record_alone(void **state)
{
	static const uint32_t caches[] = {1, 2, 8, 200};

	(void)state;
	for (size_t c = 0; c < sizeof(caches) / sizeof(caches[0]); c++) {
		struct tree tree;
		struct batch batch = ask_about_damage(&tree, caches[c]);

		detail_mark();
		assert_int_equal(run(&batch, tree.reader.reader), 0);
		expect_detail_untouched();
		batch_free(&batch);
		tree_close(&tree);
	}
}

static void a_damaged_root_spoils_all_answers(void **state)
{
	struct tree tree;
	struct batch batch = ask_about_damage(&tree, 2);

	(void)state;
	image_flip(&tree.image, tree.model.root, 8 * 60);
	expect_corrupt(run(&batch, tree.reader.reader), tree.model.root, "checksum");
	for (size_t i = 0; i < batch.nr; i++) {
		assert_int_equal(batch.results[i], THINP_ECORRUPT);
		expect_untouched(&batch, i);
	}
	batch_free(&batch);
	tree_close(&tree);
}

static void nothing_is_touched_when_the_type_is_refused(void **state)
{
	const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 0, .value_size = 8};
	struct tree tree;
	struct batch batch = ask_about_damage(&tree, 2);

	(void)state;
	assert_int_equal(thinp_btree_lookup_many(tree.reader.reader, &type, tree.model.root, batch.keys, batch.nr,
						 batch.values, batch.results),
			 THINP_EINVAL);
	expect_untouched(&batch, 0);
	assert_int_equal((uint8_t)batch.results[0], UNTOUCHED);
	batch_free(&batch);
	tree_close(&tree);
}

static int use_lookup_many(struct image_trial *trial)
{
	const struct tree_model *model = trial->ctx;
	struct batch batch = batch_new(model, 40);
	int r;

	for (size_t i = 0; i < batch.nr; i++)
		*keys_of(&batch, i) = 2 + i;
	r = run(&batch, trial->reader.reader);
	for (size_t i = 0; i < batch.nr; i++) {
		if (batch.results[i] == 0 || batch.results[i] == THINP_ENODATA)
			expect_answer(&batch, i);
		else
			assert_int_not_equal(r, 0);
	}
	batch_free(&batch);
	return r;
}

static void it_survives_failing_reads_and_allocations(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};
	struct image_trial trial;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 18, 2, 2);
	trial = image_trial_of_reader(&tree.image, use_lookup_many, &tree.model);
	image_trial_run(&trial);
	tree_close(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_keys_of_plain_trees_are_found_together),
		cmocka_unit_test(all_keys_of_nested_trees_are_found_together),
		cmocka_unit_test(all_keys_of_random_trees_are_found_together),
		cmocka_unit_test(batches_of_any_size_are_answered_with_a_cache_of_any_size),
		cmocka_unit_test(one_key_may_be_asked_for_many_times),
		cmocka_unit_test(BT_17_nothing_is_found_in_an_empty_tree),
		cmocka_unit_test(BT_18_keys_at_the_edges_are_ordinary_keys),
		cmocka_unit_test(values_need_not_be_asked_for),
		cmocka_unit_test(every_node_is_read_once_for_a_group_when_the_cache_has_room),
		cmocka_unit_test(TM_10_what_is_not_in_the_cache_is_unknown_and_not_absent),
		cmocka_unit_test(BT_09_a_damaged_leaf_spoils_only_the_answers_that_it_had),
		cmocka_unit_test(the_first_failure_is_returned_and_its_detail_is_kept),
		cmocka_unit_test(a_batch_that_succeeds_leaves_the_detail_record_alone),
		cmocka_unit_test(a_damaged_root_spoils_all_answers),
		cmocka_unit_test(nothing_is_touched_when_the_type_is_refused),
		cmocka_unit_test(it_survives_failing_reads_and_allocations),
	};

	return cmocka_run_group_tests_name("btree/lookup_many", tests, NULL, NULL);
}
