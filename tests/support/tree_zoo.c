/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_zoo.c - the trees that every function is tried on.
 */
#include "support/tree_zoo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "unit/base/random.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))
#define MAX_BLOCKS   20000u
#define MAX_ITEMS    400u /* of a nested tree */

/* --- one tree -------------------------------------------------------------------------------------------------------- */

static void try_items(tree_zoo_fn fn, uint64_t *rng, const struct tree_shape *shape, uint32_t nr_levels,
		      uint32_t value_size, const struct tree_item *items, size_t nr, uint32_t cache_blocks)
{
	struct tree tree = {.rng = rng};

	image_open(&tree.image, MAX_BLOCKS);
	tree_model_build(&tree.model, &tree.image, shape, nr_levels, value_size, items, nr);
	assert_int_equal(image_reader_open(&tree.reader, &tree.image, cache_blocks), 0);
	fn(&tree);
	tree_close(&tree);
}

void tree_open(struct tree *tree, const struct tree_shape *shape, uint32_t value_size, size_t nr, uint64_t step,
	       uint32_t cache_blocks)
{
	uint64_t *keys = calloc(nr + 1, sizeof(*keys));

	assert_non_null(keys);
	for (size_t i = 0; i < nr; i++)
		keys[i] = (i + 1) * step;
	image_open(&tree->image, MAX_BLOCKS);
	tree_model_build_plain(&tree->model, &tree->image, shape, value_size, keys, nr);
	assert_int_equal(image_reader_open(&tree->reader, &tree->image, cache_blocks), 0);
	tree->rng = NULL;
	free(keys);
}

void tree_close(struct tree *tree)
{
	image_reader_close(&tree->reader);
	tree_model_free(&tree->model);
	image_close(&tree->image);
}

/* --- keys ------------------------------------------------------------------------------------------------------------ */

enum key_style { DENSE, WITH_GAPS, RUNS, ANYWHERE, NR_STYLES };

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static size_t sort_unique(uint64_t *keys, size_t nr)
{
	size_t nr_unique = nr != 0;

	qsort(keys, nr, sizeof(*keys), by_number);
	for (size_t i = 1; i < nr; i++)
		if (keys[i] != keys[nr_unique - 1])
			keys[nr_unique++] = keys[i];
	return nr_unique;
}

/* Half of them at the edges, the rest spread over all numbers; fewer come out when some are alike. */
static size_t keys_anywhere(uint64_t *rng, uint64_t *keys, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		keys[i] = i < TREE_NR_EDGES ? tree_edges[i] : random_next(rng) >> random_next(rng) % 64;
	return sort_unique(keys, nr);
}

static size_t make_keys(uint64_t *rng, enum key_style style, uint64_t *keys, size_t nr)
{
	uint64_t key = style == DENSE ? 0 : 1 + random_next(rng) % 5;

	if (style == ANYWHERE)
		return keys_anywhere(rng, keys, nr);
	for (size_t i = 0; i < nr; i++) {
		keys[i] = key;
		key += style == WITH_GAPS || (style == RUNS && random_next(rng) % 8 == 0) ? 2 + random_next(rng) % 9
											  : 1;
	}
	return nr;
}

static void try_plain(tree_zoo_fn fn, uint64_t *rng, const struct tree_shape *shape, uint32_t value_size,
		      enum key_style style, size_t nr, uint32_t cache_blocks)
{
	struct tree_item *items = calloc(nr + 1, sizeof(*items));
	uint64_t *keys = calloc(nr + 1, sizeof(*keys));

	assert_non_null(items);
	assert_non_null(keys);
	nr = make_keys(rng, style, keys, nr);
	for (size_t i = 0; i < nr; i++)
		items[i] = (struct tree_item){.keys = {keys[i]}, .nr_keys = 1};
	try_items(fn, rng, shape, 1, value_size, items, nr, cache_blocks);
	free(items);
	free(keys);
}

/* --- plain trees ----------------------------------------------------------------------------------------------------- */

/* About a full leaf. */
static void try_leaf_sizes(tree_zoo_fn fn, uint64_t *rng, uint32_t value_size)
{
	const size_t capacity = 4064 / (8 + value_size) / 3 * 3;
	const size_t sizes[] = {0, 1, 2, capacity - 1, capacity, capacity + 1};
	const struct tree_shape full = {0};

	for (size_t i = 0; i < NR_OF(sizes); i++)
		for (int style = 0; style < NR_STYLES; style++)
			try_plain(fn, rng, &full, value_size, (enum key_style)style, sizes[i], 1 + (uint32_t)i % 3);
}

/* Three entries in a leaf, two or three children in a node. */
static void try_deep(tree_zoo_fn fn, uint64_t *rng, uint32_t cache_blocks)
{
	static const size_t sizes[] = {1, 3, 4, 9, 10, 18, 19, 54, 80};

	for (size_t i = 0; i < NR_OF(sizes); i++)
		for (uint32_t depth = 1; depth <= 4; depth++) {
			const struct tree_shape shape = {.per_leaf = 3, .per_node = 2 + depth % 2, .min_depth = depth};

			try_plain(fn, rng, &shape, 1000, i % 2 ? WITH_GAPS : ANYWHERE, sizes[i], cache_blocks);
		}
}

void tree_zoo_plain(tree_zoo_fn fn)
{
	static const uint32_t value_sizes[] = {4, 8, 12, 16, 24};
	const struct tree_shape full = {0}, narrow = {.per_leaf = 20, .per_node = 8};
	uint64_t rng = random_begin();

	for (size_t i = 0; i < NR_OF(value_sizes); i++)
		try_leaf_sizes(fn, &rng, value_sizes[i]);
	for (uint32_t cache_blocks = 1; cache_blocks <= 3; cache_blocks++)
		try_deep(fn, &rng, cache_blocks);
	try_plain(fn, &rng, &full, 8, RUNS, 3000, 200);
	try_plain(fn, &rng, &full, 24, ANYWHERE, 2000, 0);
	try_plain(fn, &rng, &narrow, 8, WITH_GAPS, 1500, 40); /* more nodes than the cache has room for */
}

/* --- nested trees ---------------------------------------------------------------------------------------------------- */

struct item_list {
	struct tree_item items[MAX_ITEMS];
	size_t nr;
};

static void add_item(struct item_list *list, const uint64_t *keys, uint32_t nr_keys)
{
	struct tree_item *item = &list->items[list->nr++];

	assert_true(list->nr <= MAX_ITEMS);
	memset(item, 0, sizeof(*item));
	memcpy(item->keys, keys, nr_keys * sizeof(*keys));
	item->nr_keys = nr_keys;
}

/* Every tree of the last but one level is empty or not as the bits of `pattern` have it, lowest first. */
static void add_by_pattern(struct item_list *list, uint64_t *keys, uint32_t level, uint32_t nr_levels, uint32_t fan_out,
			   uint32_t *pattern)
{
	for (uint32_t i = 0; i < fan_out; i++) {
		keys[level] = 10 * (i + 1);
		if (level + 1 == nr_levels) {
			add_item(list, keys, nr_levels);
		} else if (level + 2 == nr_levels && *pattern & 1) {
			add_item(list, keys, level + 1);
			*pattern >>= 1;
		} else {
			if (level + 2 == nr_levels)
				*pattern >>= 1;
			add_by_pattern(list, keys, level + 1, nr_levels, fan_out, pattern);
		}
	}
}

/* Every step-th pattern; with an odd step, in the end every bit has been seen with every other. */
static void try_patterns(tree_zoo_fn fn, uint64_t *rng, uint32_t nr_levels, uint32_t fan_out, uint32_t nr_bits,
			 uint32_t step)
{
	static const struct tree_shape shapes[] = {{.per_leaf = 0}, {.per_leaf = 1, .per_node = 2}, {.min_depth = 2}};
	uint64_t keys[THINP_BTREE_MAX_LEVELS];
	struct item_list list;

	for (uint32_t pattern = 0; pattern < 1u << nr_bits; pattern += step) {
		uint32_t rest = pattern;

		list.nr = 0;
		add_by_pattern(&list, keys, 0, nr_levels, fan_out, &rest);
		try_items(fn, rng, &shapes[pattern % NR_OF(shapes)], nr_levels, 8, list.items, list.nr,
			  1 + pattern % 3);
	}
}

/* Empty trees of any level below the first. */
static void add_at_random(struct item_list *list, uint64_t *rng, uint64_t *keys, uint32_t level, uint32_t nr_levels)
{
	uint64_t numbers[8];
	size_t nr = make_keys(rng, (enum key_style)(random_next(rng) % NR_STYLES), numbers, random_next(rng) % 5);

	if (level && !nr)
		add_item(list, keys, level);
	for (size_t i = 0; i < nr && list->nr + 64 < MAX_ITEMS; i++) {
		keys[level] = numbers[i];
		if (level + 1 == nr_levels)
			add_item(list, keys, nr_levels);
		else
			add_at_random(list, rng, keys, level + 1, nr_levels);
	}
}

static void try_random_nested(tree_zoo_fn fn, uint64_t *rng)
{
	const struct tree_shape shape = {.per_leaf = 1 + (uint32_t)(random_next(rng) % 3),
					 .per_node = 2 + (uint32_t)(random_next(rng) % 2),
					 .min_depth = (uint32_t)(random_next(rng) % 3)};
	uint32_t nr_levels = 2 + (uint32_t)(random_next(rng) % 3);
	uint32_t value_size = random_next(rng) % 2 ? 8 : 1 + (uint32_t)(random_next(rng) % 30);
	uint64_t keys[THINP_BTREE_MAX_LEVELS];
	struct item_list list = {.nr = 0};

	add_at_random(&list, rng, keys, 0, nr_levels);
	try_items(fn, rng, &shape, nr_levels, value_size, list.items, list.nr, 1 + (uint32_t)(random_next(rng) % 20));
}

void tree_zoo_nested(tree_zoo_fn fn)
{
	uint64_t rng = random_begin();

	try_patterns(fn, &rng, 2, 3, 3, 1);
	try_patterns(fn, &rng, 3, 2, 4, 1);
	try_patterns(fn, &rng, 4, 2, 8, 5);
	for (int i = 0; i < 30; i++)
		try_random_nested(fn, &rng);
}

/* --- random trees ---------------------------------------------------------------------------------------------------- */

static void try_random_plain(tree_zoo_fn fn, uint64_t *rng)
{
	struct tree_shape shape = {.per_leaf = 1 + (uint32_t)(random_next(rng) % 40),
				   .per_node = 5 + (uint32_t)(random_next(rng) % 20),
				   .min_depth = (uint32_t)(random_next(rng) % 5),
				   .rng = rng};
	uint32_t value_size = 1 + (uint32_t)(random_next(rng) % 60);

	try_plain(fn, rng, &shape, value_size, (enum key_style)(random_next(rng) % NR_STYLES), random_next(rng) % 400,
		  1 + (uint32_t)(random_next(rng) % 60));
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void tree_zoo_random(tree_zoo_fn fn, unsigned int ms)
{
	uint64_t rng = random_begin();
	uint64_t end = now_ms() + ms;
	unsigned int nr = 0;

	for (; now_ms() < end; nr++) {
		if (nr % 2)
			try_random_nested(fn, &rng);
		else
			try_random_plain(fn, &rng);
	}
	print_message("%u random trees\n", nr);
}
