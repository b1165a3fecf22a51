/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/btree/test_shortcut.c - look-ups that go straight to the leaves answer as those that go down node by node.
 */
#include "btree/shortcut.h"
#include "support/image_expect.h"
#include "support/tree_damaged.h"
#include "unit/base/random.h"

#include <pthread.h>

#define MANY         40u
#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct tp_shortcut *shortcut_of(struct thinp_reader *reader, thinp_block_t root)
{
	return (const struct tp_shortcut *)tp_attachment_of(&reader->bm->cache.attachments, root);
}

static bool has_shortcut(struct tree *tree)
{
	return shortcut_of(tree->reader.reader, tree->model.root);
}

/* Looks keys up until there is a shortcut, or often enough that there will be none. */
static bool look_at_each(struct tree *tree, size_t step, size_t nr_steps)
{
	size_t nr_ways = 200 + 20 * tree->model.nr;

	for (size_t i = 0; i < nr_ways && tree->model.nr && !has_shortcut(tree); i++) {
		size_t entry = i % nr_steps * step % tree->model.nr;

		(void)thinp_btree_lookup(tree->reader.reader, &tree->model.type, tree->model.root,
					 tree_model_keys(&tree->model, entry), NULL);
	}
	return has_shortcut(tree);
}

static bool look_until_straight(struct tree *tree)
{
	return look_at_each(tree, 7919, SIZE_MAX); /* all over the tree */
}

/* --- against the model ----------------------------------------------------------------------------------------------- */

typedef int lookup_fn(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
		      const uint64_t *keys, void *value_le);

static void expect_answer(const struct tree_model *model, const uint64_t *keys, int r, const uint8_t *value)
{
	size_t i = tree_model_find(model, keys);
	bool is_there = tree_model_is(model, i, keys);

	assert_int_equal(r, is_there ? 0 : THINP_ENODATA);
	if (is_there)
		tree_model_expect(model, i, keys, value);
	else
		assert_int_equal(value[0], 0xa5);
}

static void expect_lookup(struct tree *tree, lookup_fn *look_up, const uint64_t *keys)
{
	const struct tree_model *model = &tree->model;
	uint8_t value[TREE_MAX_VALUE_SIZE];
	int r;

	memset(value, 0xa5, sizeof(value));
	r = look_up(tree->reader.reader, &model->type, model->root, keys, value);
	if (r != THINP_EWOULDBLOCK || look_up != thinp_btree_lookup_cached)
		expect_answer(model, keys, r, value);
}

static void expect_many(struct tree *tree, const uint64_t *keys, size_t nr)
{
	const struct tree_model *model = &tree->model;
	uint8_t *values = malloc(nr * model->type.value_size);
	int32_t results[MANY];

	assert_non_null(values);
	memset(values, 0xa5, nr * model->type.value_size);
	assert_int_equal(
		thinp_btree_lookup_many(tree->reader.reader, &model->type, model->root, keys, nr, values, results), 0);
	for (size_t i = 0; i < nr; i++)
		expect_answer(model, keys + i * model->type.nr_levels, results[i], values + i * model->type.value_size);
	free(values);
}

static void expect_all_probes(struct tree *tree)
{
	uint64_t keys[MANY * THINP_BTREE_MAX_LEVELS];
	size_t nr_levels = tree->model.type.nr_levels;
	size_t nr_probes = tree_model_nr_probes(&tree->model);

	for (size_t i = 0; i < nr_probes; i++) {
		size_t at = i % MANY;

		tree_model_probe(&tree->model, i, keys + at * nr_levels);
		detail_mark();
		expect_lookup(tree, thinp_btree_lookup, keys + at * nr_levels);
		expect_lookup(tree, thinp_btree_lookup_cached, keys + at * nr_levels);
		if (at + 1 == MANY || i + 1 == nr_probes)
			expect_many(tree, keys, at + 1);
	}
}

static size_t nr_straight;

static void look_straight(struct tree *tree)
{
	nr_straight += look_until_straight(tree);
	expect_all_probes(tree);
}

static void every_key_of_a_plain_tree_is_found_and_no_other(void **state)
{
	(void)state;
	nr_straight = 0;
	tree_zoo_plain(look_straight);
	assert_true(nr_straight > 10);
}

static void every_key_of_a_nested_tree_is_found_and_no_other(void **state)
{
	(void)state;
	tree_zoo_nested(look_straight);
}

static void every_key_of_a_random_tree_is_found_and_no_other(void **state)
{
	(void)state;
	tree_zoo_random(look_straight, 400);
}

/* A nested tree gets them for its inner trees. */
static void an_inner_tree_has_a_shortcut_of_its_own(void **state)
{
	const struct tree_shape shape = {.per_leaf = 10, .per_node = 5};
	struct tree_item items[2000];
	struct tree tree = {.rng = NULL};
	thinp_block_t inner;

	(void)state;
	for (size_t i = 0; i < NR_OF(items); i++)
		items[i] = (struct tree_item){.keys = {7 + i / 1000, 3 * (i % 1000)}, .nr_keys = 2};
	image_open(&tree.image, 1000);
	tree_model_build(&tree.model, &tree.image, &shape, 2, 8, items, NR_OF(items));
	assert_int_equal(image_reader_open(&tree.reader, &tree.image, 1000), 0);
	inner = tree_child(&tree.image, tree.model.root, 0);
	for (size_t i = 0; i < 2000; i++)
		expect_lookup(&tree, thinp_btree_lookup, tree_model_keys(&tree.model, i % 1000));
	assert_non_null(shortcut_of(tree.reader.reader, inner));
	expect_all_probes(&tree);
	tree_close(&tree);
}

/* Keys up to the largest there is, in leaves of the usual size: of one to five rows of pivots. */
static void trees_of_any_number_of_leaves_are_found_through(void **state)
{
	static const size_t numbers[] = {2, 15, 16, 17, 255, 256, 257, 4096, 4097};
	const struct tree_shape shape = {.per_leaf = 1, .per_node = 100};

	(void)state;
	for (size_t n = 0; n < NR_OF(numbers); n++) {
		size_t nr = numbers[n];
		uint64_t *keys = malloc(nr * sizeof(*keys));
		struct tree tree = {.rng = NULL};

		assert_non_null(keys);
		for (size_t i = 0; i < nr; i++)
			keys[i] = UINT64_MAX - 3 * (nr - 1 - i);
		image_open(&tree.image, nr + nr / 50 + 10);
		tree_model_build_plain(&tree.model, &tree.image, &shape, 8, keys, nr);
		assert_int_equal(image_reader_open(&tree.reader, &tree.image, 5000), 0);
		assert_true(look_until_straight(&tree));
		expect_all_probes(&tree);
		tree_close(&tree);
		free(keys);
	}
}

/* --- a cache that is too small ----------------------------------------------------------------------------------------- */

static void leaves_that_the_cache_has_not_are_read_alone(void **state)
{
	const struct tree_shape shape = {.per_leaf = 10, .per_node = 10};
	struct tree tree;
	uint64_t rng = random_begin(), before;
	size_t nr_ways = 20000;

	(void)state;
	tree_open(&tree, &shape, 8, 3000, 2, 100); /* of 334 nodes */
	assert_true(look_until_straight(&tree));
	before = atomic_load(&tree.image.nr_reads);
	for (size_t i = 0; i < nr_ways; i++)
		expect_lookup(&tree, thinp_btree_lookup,
			      tree_model_keys(&tree.model, random_below(&rng, tree.model.nr)));
	assert_true(has_shortcut(&tree));
	assert_in_range(atomic_load(&tree.image.nr_reads) - before, nr_ways / 2, nr_ways);
	expect_all_probes(&tree);
	tree_close(&tree);
}

static void no_more_is_made_than_the_cache_may_hold(void **state)
{
	const struct tree_shape shape = {.per_leaf = 1, .per_node = 50};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 3000, 2, 100);
	assert_false(look_until_straight(&tree));
	expect_all_probes(&tree);
	tree_close(&tree);
}

struct crowd {
	struct tree tree;
	uint64_t seed;
	_Atomic uint64_t nr_wrong;
};

static void *look_around(void *ctx)
{
	struct crowd *crowd = ctx;
	const struct tree_model *model = &crowd->tree.model;
	uint64_t rng = (uint64_t)(uintptr_t)&rng ^ crowd->seed;

	for (size_t i = 0; i < 20000; i++) {
		uint64_t keys[MANY], values[MANY], expected[MANY];
		size_t nr = i % 4 ? 1 : MANY;
		int32_t results[MANY] = {0};
		bool is_right;

		for (size_t k = 0; k < nr; k++) {
			keys[k] = *tree_model_keys(model, random_below(&rng, model->nr));
			tree_model_value(model, &keys[k], (uint8_t *)&expected[k]);
		}
		if (nr == 1)
			is_right =
				!thinp_btree_lookup(crowd->tree.reader.reader, &model->type, model->root, keys, values);
		else
			is_right = !thinp_btree_lookup_many(crowd->tree.reader.reader, &model->type, model->root, keys,
							    nr, values, results);
		is_right = is_right && !memcmp(values, expected, nr * sizeof(values[0]));
		atomic_fetch_add(&crowd->nr_wrong, !is_right);
	}
	return NULL;
}

/* Leaves come and go under the eyes of all; now and then the root goes, and its shortcut with it. */
static void threads_find_their_keys_while_blocks_come_and_go(void **state)
{
	const struct tree_shape shape = {.per_leaf = 130, .per_node = 10};
	struct crowd crowd = {.seed = random_begin()};
	pthread_t threads[3];

	(void)state;
	tree_open(&crowd.tree, &shape, 8, 20000, 2, 60); /* of 171 nodes */
	for (size_t i = 0; i < NR_OF(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_around, &crowd), 0);
	for (size_t i = 0; i < NR_OF(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(atomic_load(&crowd.nr_wrong), 0);
	assert_true(
		look_at_each(&crowd.tree, 1300, 16)); /* a leaf of each node above, which all find room in the cache */
	tree_close(&crowd.tree);
}

/* --- memory ---------------------------------------------------------------------------------------------------------- */

static void without_memory_for_one_all_goes_on(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 10};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 1000, 2, 1000);
	for (size_t i = 0; i < tree.model.nr; i++)
		expect_lookup(&tree, thinp_btree_lookup, tree_model_keys(&tree.model, i));
	tree_close(&tree);

	tree_open(&tree, &shape, 8, 1000, 2, 1000);
	for (size_t i = 0; i < 10; i++) /* all nodes, too few looks */
		expect_lookup(&tree, thinp_btree_lookup, tree_model_keys(&tree.model, i));
	assert_int_equal(thinp_btree_walk(tree.reader.reader, &tree.model.type, tree.model.root, tree_receiver_take,
					  &(struct tree_receiver){.model = &tree.model}),
			 0);
	assert_false(has_shortcut(&tree));
	alloc_counting_fail_from(&tree.reader.alloc, 1);
	detail_mark();
	for (size_t i = 0; i < 20 * tree.model.nr; i++)
		assert_int_equal(thinp_btree_lookup(tree.reader.reader, &tree.model.type, tree.model.root,
						    tree_model_keys(&tree.model, i % tree.model.nr), NULL),
				 0);
	expect_detail_untouched();
	assert_true(alloc_counting_has_failed(&tree.reader.alloc));
	assert_false(has_shortcut(&tree));
	alloc_counting_fail(&tree.reader.alloc, 0);
	assert_true(look_until_straight(&tree));
	tree_close(&tree);
}

/* --- damage ---------------------------------------------------------------------------------------------------------- */

/* What two look-ups of a key, alone and among others, say. */
struct saying {
	int r, r_many;
	int32_t result;
	uint64_t value, value_many;
	struct thinp_error_info info, info_many;
};

static struct saying ask(struct damaged *d, uint64_t key)
{
	struct saying said = {.info.size = sizeof(said.info), .info_many.size = sizeof(said.info_many)};
	struct thinp_reader *reader = d->tree.reader.reader;

	detail_mark();
	said.r = thinp_btree_lookup(reader, &d->tree.model.type, d->root, &key, &said.value);
	thinp_error_last(&said.info);
	detail_mark();
	said.r_many =
		thinp_btree_lookup_many(reader, &d->tree.model.type, d->root, &key, 1, &said.value_many, &said.result);
	thinp_error_last(&said.info_many);
	return said;
}

static void expect_same(const struct saying *a, const struct saying *b, uint64_t key)
{
	if (a->r != b->r || a->r_many != b->r_many || a->result != b->result || a->value != b->value ||
	    a->value_many != b->value_many || a->info.block != b->info.block ||
	    strcmp(a->info.message, b->info.message) || a->info_many.block != b->info_many.block ||
	    strcmp(a->info_many.message, b->info_many.message))
		fail_msg("key %" PRIu64 ": %d %d \"%s\" straight, %d %d \"%s\" before", key, a->r, a->r_many,
			 a->info.message, b->r, b->r_many, b->info.message);
}

enum { LAST_KEY = (DAMAGED_NR_KEYS + 2) * DAMAGED_STEP };

/* What is said of each key by a reader that has no shortcut, then by one that has; false: it gets none. */
static bool expect_same_straight(struct damaged *d)
{
	static struct saying before[LAST_KEY];
	bool is_straight;

	for (uint64_t key = 0; key < LAST_KEY; key++) {
		damaged_reopen(d, 100);
		before[key] = ask(d, key);
	}
	is_straight = look_until_straight(&d->tree);
	for (uint64_t key = 0; key < LAST_KEY; key++) {
		struct saying now = ask(d, key);

		expect_same(&now, &before[key], key);
	}
	return is_straight;
}

/* A node that begins later than its parent says: what is in between belongs to nobody. */
static void a_gap_belongs_to_no_leaf(void **state)
{
	struct damaged d;

	(void)state;
	damaged_open(&d, 100);
	tree_set_key(&d.tree.image, d.mid[1], 0, 105);
	tree_set_key(&d.tree.image, d.leaf[3], 0, 105);
	assert_true(expect_same_straight(&d));
	assert_int_equal(damaged_lookup(&d, 105), 0);

	tree_set_key(&d.tree.image, d.leaf[2], 2, 103); /* beyond its end, where nobody looks */
	assert_true(expect_same_straight(&d));
	assert_int_equal(damaged_lookup(&d, 103), THINP_ENODATA);
	tree_close(&d.tree);
}

static void a_damaged_leaf_is_told_as_without(void **state)
{
	struct damaged d;

	(void)state;
	damaged_open(&d, 100);
	tree_set_key(&d.tree.image, d.leaf[4], 0, 125);
	assert_true(expect_same_straight(&d));
	expect_corrupt(damaged_lookup(&d, 140), d.leaf[4], "its parent");

	image_flip(&d.tree.image, d.leaf[4], 8000);
	assert_true(expect_same_straight(&d));
	expect_corrupt(damaged_lookup(&d, 140), d.leaf[4], "checksum");
	tree_close(&d.tree);
}

/* Any of its nodes, any of its fields. */
static void damage_once(struct damaged *d, uint64_t *rng)
{
	thinp_block_t nodes[13], node;
	uint64_t key;

	nodes[0] = d->root;
	memcpy(nodes + 1, d->mid, sizeof(d->mid));
	memcpy(nodes + 4, d->leaf, sizeof(d->leaf));
	node = nodes[random_below(rng, 13)];
	key = random_below(rng, LAST_KEY);
	if (random_below(rng, 2))
		tree_set_key(&d->tree.image, node, (uint32_t)random_below(rng, 3), key);
	else
		tree_set_child(&d->tree.image, node, (uint32_t)random_below(rng, 3),
			       random_below(rng, 8) ? nodes[random_below(rng, 13)] : random_below(rng, 1000));
}

static void whatever_is_damaged_the_answers_are_those_without(void **state)
{
	uint64_t rng = random_begin();
	size_t nr_with = 0;

	(void)state;
	for (size_t i = 0; i < 150; i++) {
		struct damaged d;

		damaged_open(&d, 100);
		for (uint64_t n = 1 + random_below(&rng, 3); n; n--)
			damage_once(&d, &rng);
		nr_with += expect_same_straight(&d);
		tree_close(&d.tree);
	}
	assert_in_range(nr_with, 10, 149);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_of_a_plain_tree_is_found_and_no_other),
		cmocka_unit_test(every_key_of_a_nested_tree_is_found_and_no_other),
		cmocka_unit_test(every_key_of_a_random_tree_is_found_and_no_other),
		cmocka_unit_test(an_inner_tree_has_a_shortcut_of_its_own),
		cmocka_unit_test(trees_of_any_number_of_leaves_are_found_through),
		cmocka_unit_test(leaves_that_the_cache_has_not_are_read_alone),
		cmocka_unit_test(no_more_is_made_than_the_cache_may_hold),
		cmocka_unit_test(threads_find_their_keys_while_blocks_come_and_go),
		cmocka_unit_test(without_memory_for_one_all_goes_on),
		cmocka_unit_test(a_gap_belongs_to_no_leaf),
		cmocka_unit_test(a_damaged_leaf_is_told_as_without),
		cmocka_unit_test(whatever_is_damaged_the_answers_are_those_without),
	};

	return cmocka_run_group_tests_name("btree/shortcut", tests, NULL, NULL);
}
