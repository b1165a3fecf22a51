/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Removing from trees whose values nobody counts: most keys are taken out of leaves that are shadows already, and nothing
 * else is touched.
 */
#include "support/image_expect.h"
#include "support/tree_grow.h"

#include "unit/base/random.h"

#include <thinp/error.h>

#include <stdlib.h>

#define NR_BLOCKS 4096u

static void begin(struct tree_grow *g, uint32_t nr_levels, uint32_t value_size)
{
	tree_grow_begin(g, NR_BLOCKS, nr_levels, value_size);
	g->t->type.dec = NULL;
	g->t->type.inc = NULL;
}

static void end(struct tree_grow *g)
{
	ordered_map_free(&g->map);
	tree_change_free(g->t);
}

static void expect_blocks_counted(struct tree_change *t, const thinp_block_t *roots, size_t nr_roots)
{
	struct tree_refs refs;

	tree_refs_init(&refs, NR_BLOCKS, 0);
	refs.blocks[0] = 1;
	for (size_t i = 0; i < nr_roots; i++)
		tree_refs_add(&refs, thinp_tm_reader(t->tm), &t->type, roots[i]);
	tree_refs_expect(&refs, t->tm);
	tree_refs_free(&refs);
}

static void forget(struct ordered_map *map, size_t at)
{
	size_t width = map->nr_levels;

	map->nr--;
	memmove(map->keys + at * width, map->keys + (at + 1) * width, (map->nr - at) * width * sizeof(*map->keys));
	memmove(map->values + at, map->values + at + 1, (map->nr - at) * sizeof(*map->values));
}

/* Removes an entry; *calls: of the map. */
static void remove_at(struct tree_grow *g, size_t at, size_t *calls)
{
	uint64_t keys[3];

	memcpy(keys, ordered_map_keys(&g->map, at), g->map.nr_levels * sizeof(*keys));
	g->t->nr_calls = 0;
	assert_int_equal(thinp_btree_remove(g->t->tm, &g->t->type, g->root, keys, &g->root), 0);
	*calls = g->t->nr_calls;
	forget(&g->map, at);
}

static void expect_no_such_key(struct tree_grow *g, const uint64_t *keys)
{
	thinp_block_t root = g->root;

	expect_failure(thinp_btree_remove(g->t->tm, &g->t->type, g->root, keys, &g->root), THINP_ENODATA,
		       THINP_NO_BLOCK, "no such key");
	assert_int_equal(g->root, root);
}

static void random_keys(const struct tree_grow *g, uint64_t *rng, uint64_t *keys)
{
	for (uint32_t i = 0; i + 1 < g->map.nr_levels; i++)
		keys[i] = random_next(rng) % 3;
	keys[g->map.nr_levels - 1] = random_next(rng) % 5000;
}

/* Grows, shrinks, and grows again, until it is empty; keys that are not there are asked for in between. */
static void grow_and_shrink(uint32_t nr_levels, uint32_t value_size, uint64_t *rng)
{
	struct tree_snapshots s = {.nr = 0};
	size_t nr_removed = 0, nr_alone = 0, calls;
	struct tree_grow g;

	begin(&g, nr_levels, value_size);
	for (unsigned int round = 0; round < 12 || g.map.nr; round++) {
		bool is_growing = round % 3 == 0 && round < 12;

		for (int i = 0; i < 500; i++) {
			uint64_t keys[3];
			bool is_there;

			random_keys(&g, rng, keys);
			ordered_map_find(&g.map, keys, &is_there);
			if (!is_there && i % 10 == 0)
				expect_no_such_key(&g, keys);
			if (is_growing) {
				tree_grow_insert(&g, keys);
			} else if (g.map.nr) {
				remove_at(&g, random_next(rng) % g.map.nr, &calls);
				nr_removed++;
				nr_alone += !calls;
			}
		}
		tree_shape_expect(thinp_tm_reader(g.t->tm), &g.t->type, g.root, NULL);
		tree_change_expect(g.t, g.root, &g.map);
		if (round % 4 == 1 && s.nr < 3)
			tree_grow_snapshot(&g, &s);
		if (round % 4 == 3)
			tree_change_commit(g.t);
	}
	for (size_t i = 0; i < s.nr; i++)
		tree_change_expect(g.t, s.roots[i], &s.maps[i]);
	s.roots[s.nr] = g.root;
	expect_blocks_counted(g.t, s.roots, s.nr + 1);
	assert_true(nr_alone > nr_removed / 4);
	tree_grow_free_snapshots(&s);
	end(&g);
}

static void BT_20_trees_without_counted_values_keep_shape_and_content(void **state)
{
	static const uint32_t value_sizes[] = {8, 24, 400, 1000};
	uint64_t rng = random_begin();

	(void)state;
	for (uint32_t nr_levels = 1; nr_levels <= 3; nr_levels++)
		for (size_t i = 0; i < sizeof(value_sizes) / sizeof(*value_sizes); i++)
			grow_and_shrink(nr_levels, value_sizes[i], &rng);
}

/* From a leaf of three entries of nine, the fewest that it may have, none goes without its neighbours. */
static void a_leaf_with_the_fewest_entries_loses_none_alone(void **state)
{
	size_t calls, nr_alone = 0;
	struct tree_grow g;

	(void)state;
	begin(&g, 1, 400);
	for (uint64_t i = 0; i < 90; i++)
		tree_grow_insert_key(&g, i);
	while (g.map.nr > 45) {
		remove_at(&g, 9, &calls); /* always out of the same leaf, or what became of it */
		nr_alone += !calls;
		tree_shape_expect(thinp_tm_reader(g.t->tm), &g.t->type, g.root, NULL);
	}
	assert_in_range(nr_alone, 20, 44);
	end(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BT_20_trees_without_counted_values_keep_shape_and_content),
		cmocka_unit_test(a_leaf_with_the_fewest_entries_loses_none_alone),
	};

	return cmocka_run_group_tests_name("btree/remove_in_place", tests, NULL, NULL);
}
