/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_model.c - what must be found in a tree.
 */
#include "support/tree_model.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "unit/base/random.h"

const uint64_t tree_edges[TREE_NR_EDGES] = {0, 1, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX - 1, UINT64_MAX};

/* --- writing --------------------------------------------------------------------------------------------------------- */

struct builder {
	struct image *image;
	const struct tree_shape *shape;
	const struct tree_model *model;
};

/* Items first..first+nr-1 that have the same number at a level. */
static size_t nr_alike(const struct tree_item *first, size_t nr, uint32_t level)
{
	size_t n = 1;

	while (n < nr && first[n].keys[level] == first[0].keys[level])
		n++;
	return n;
}

static thinp_block_t build_level(const struct builder *builder, const struct tree_item *items, size_t nr,
				 uint32_t level);

/* The value of a leaf entry that stands for these items. */
static void value_of_items(const struct builder *builder, const struct tree_item *items, size_t nr, uint32_t level,
			   uint8_t *value)
{
	if (level + 1 == builder->model->type.nr_levels)
		tree_model_value(builder->model, items->keys, value);
	else if (items->nr_keys == level + 1)
		tp_store_le64(value, build_level(builder, NULL, 0, level + 1));
	else
		tp_store_le64(value, build_level(builder, items, nr, level + 1));
}

static thinp_block_t build_level(const struct builder *builder, const struct tree_item *items, size_t nr,
				 uint32_t level)
{
	bool is_last = level + 1 == builder->model->type.nr_levels;
	uint32_t value_size = is_last ? builder->model->type.value_size : 8;
	uint64_t *keys = calloc(nr + 1, sizeof(*keys));
	uint8_t *values = calloc(nr + 1, value_size);
	size_t nr_keys = 0;
	thinp_block_t root;

	assert_non_null(keys);
	assert_non_null(values);
	for (size_t i = 0; i < nr; nr_keys++) {
		size_t alike = nr_alike(items + i, nr - i, level);

		keys[nr_keys] = items[i].keys[level];
		value_of_items(builder, items + i, alike, level, values + nr_keys * value_size);
		i += alike;
	}
	root = tree_build(builder->image, builder->shape, value_size, keys, values, nr_keys);
	free(keys);
	free(values);
	return root;
}

static void note_items(struct tree_model *model, const struct tree_item *items, size_t nr_items)
{
	uint32_t nr_levels = model->type.nr_levels;

	model->items = calloc(nr_items + 1, sizeof(*items));
	model->keys = calloc(nr_items + 1, nr_levels * sizeof(uint64_t));
	assert_non_null(model->items);
	assert_non_null(model->keys);
	model->nr_items = nr_items;
	for (size_t i = 0; i < nr_items; i++) {
		model->items[i] = items[i];
		if (items[i].nr_keys == nr_levels)
			memcpy(model->keys + model->nr++ * nr_levels, items[i].keys, nr_levels * sizeof(uint64_t));
	}
}

void tree_model_build(struct tree_model *model, struct image *image, const struct tree_shape *shape, uint32_t nr_levels,
		      uint32_t value_size, const struct tree_item *items, size_t nr_items)
{
	const struct builder builder = {.image = image, .shape = shape, .model = model};

	*model = (struct tree_model){
		.type = {.size = sizeof(model->type), .nr_levels = nr_levels, .value_size = value_size}};
	note_items(model, items, nr_items);
	model->root = build_level(&builder, model->items, nr_items, 0);
}

void tree_model_build_plain(struct tree_model *model, struct image *image, const struct tree_shape *shape,
			    uint32_t value_size, const uint64_t *keys, size_t nr)
{
	struct tree_item *items = calloc(nr + 1, sizeof(*items));

	assert_non_null(items);
	for (size_t i = 0; i < nr; i++)
		items[i] = (struct tree_item){.keys = {keys[i]}, .nr_keys = 1};
	tree_model_build(model, image, shape, 1, value_size, items, nr);
	free(items);
}

void tree_model_free(struct tree_model *model)
{
	free(model->items);
	free(model->keys);
}

/* --- asking ---------------------------------------------------------------------------------------------------------- */

const uint64_t *tree_model_keys(const struct tree_model *model, size_t i)
{
	assert_true(i < model->nr);
	return model->keys + i * model->type.nr_levels;
}

int tree_model_compare(const struct tree_model *model, const uint64_t *a, const uint64_t *b)
{
	for (uint32_t i = 0; i < model->type.nr_levels; i++)
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	return 0;
}

size_t tree_model_find(const struct tree_model *model, const uint64_t *keys)
{
	size_t begin = 0, end = model->nr;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (tree_model_compare(model, tree_model_keys(model, middle), keys) < 0)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

bool tree_model_is(const struct tree_model *model, size_t i, const uint64_t *keys)
{
	return i < model->nr && tree_model_compare(model, tree_model_keys(model, i), keys) == 0;
}

void tree_model_value(const struct tree_model *model, const uint64_t *keys, uint8_t *value)
{
	uint64_t rng = 0;

	for (uint32_t i = 0; i < model->type.nr_levels; i++)
		rng = keys[i] ^ random_next(&rng);
	random_fill(&rng, value, model->type.value_size);
}

void tree_model_expect(const struct tree_model *model, size_t i, const uint64_t *keys, const uint8_t *value)
{
	uint8_t expected[TREE_MAX_VALUE_SIZE];

	assert_memory_equal(keys, tree_model_keys(model, i), model->type.nr_levels * sizeof(*keys));
	tree_model_value(model, keys, expected);
	assert_memory_equal(value, expected, model->type.value_size);
}

/* --- probes ---------------------------------------------------------------------------------------------------------- */

/* An item with nothing changed, and with each of its numbers one larger and one smaller. */
static size_t probes_of_item(const struct tree_model *model)
{
	return 1 + 2 * (size_t)model->type.nr_levels;
}

/* All combinations of edges, or some of them when there are many. */
static size_t nr_combinations(const struct tree_model *model)
{
	size_t nr = 1;

	for (uint32_t i = 0; i < model->type.nr_levels; i++)
		nr *= TREE_NR_EDGES;
	return nr;
}

static size_t probes_of_edges(const struct tree_model *model)
{
	size_t nr = nr_combinations(model);

	return nr < 40 ? nr : 40;
}

size_t tree_model_nr_probes(const struct tree_model *model)
{
	return model->nr_items * probes_of_item(model) + probes_of_edges(model);
}

static void probe_edges(const struct tree_model *model, size_t number, uint64_t *keys)
{
	number = number * 37 % nr_combinations(model); /* 37 and a power of 6 have no common divisor */
	for (uint32_t i = 0; i < model->type.nr_levels; i++) {
		keys[i] = tree_edges[number % TREE_NR_EDGES];
		number /= TREE_NR_EDGES;
	}
}

void tree_model_probe(const struct tree_model *model, size_t number, uint64_t *keys)
{
	size_t nr_of_items = model->nr_items * probes_of_item(model);
	size_t change;

	if (number >= nr_of_items) {
		probe_edges(model, number - nr_of_items, keys);
		return;
	}
	memcpy(keys, model->items[number / probes_of_item(model)].keys, model->type.nr_levels * sizeof(*keys));
	change = number % probes_of_item(model);
	if (change)
		keys[(change - 1) / 2] += change % 2 ? 1 : UINT64_MAX;
}

/* --- walks ----------------------------------------------------------------------------------------------------------- */

int tree_receiver_take(void *ctx, const struct thinp_btree_span *span)
{
	struct tree_receiver *receiver = ctx;
	const struct tree_model *model = receiver->model;
	uint32_t nr_upper = model->type.nr_levels - 1;
	uint64_t keys[THINP_BTREE_MAX_LEVELS] = {0};

	assert_int_equal(span->size, sizeof(*span));
	assert_int_equal(span->value_size, model->type.value_size);
	assert_true(span->nr_entries > 0);
	memcpy(keys, span->prefix, nr_upper * sizeof(*keys));
	for (uint32_t i = 0; i < span->nr_entries; i++) {
		keys[nr_upper] = tp_load_le64((const uint8_t *)span->keys_le + 8 * (size_t)i);
		tree_model_expect(model, receiver->next++, keys,
				  (const uint8_t *)span->values_le + (size_t)i * span->value_size);
	}
	return ++receiver->nr_spans == receiver->stop_at ? receiver->stop_with : 0;
}
