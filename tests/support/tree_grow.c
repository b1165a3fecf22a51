/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_grow.c - a tree that grows beside its model.
 */
#include "support/tree_grow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void tree_grow_begin(struct tree_grow *g, uint64_t nr_blocks, uint32_t nr_levels, uint32_t value_size)
{
	g->t = tree_change_new(nr_blocks, nr_levels, value_size);
	ordered_map_init(&g->map, nr_levels);
	assert_int_equal(thinp_btree_create(g->t->tm, &g->t->type, &g->root), 0);
}

void tree_grow_end(struct tree_grow *g)
{
	tree_grow_expect(g);
	tree_change_expect_lookups(g->t, g->root, &g->map);
	tree_change_expect_counts(g->t, &g->root, 1);
	ordered_map_free(&g->map);
	tree_change_free(g->t);
}

void tree_grow_insert(struct tree_grow *g, const uint64_t *keys)
{
	uint8_t value[THINP_BLOCK_SIZE];
	uint32_t number = tree_change_value(g->t, value);
	bool is_new = ordered_map_set(&g->map, keys, number);
	bool inserted = !is_new;

	assert_int_equal(thinp_btree_insert(g->t->tm, &g->t->type, g->root, keys, value, &g->root, &inserted), 0);
	assert_int_equal(inserted, is_new);
}

void tree_grow_insert_many(struct tree_grow *g, const uint64_t *keys, size_t nr)
{
	uint8_t *values = malloc((nr + 1) * g->t->type.value_size);
	uint64_t nr_inserted = UINT64_MAX;
	uint64_t nr_new = 0;

	assert_non_null(values);
	for (size_t i = 0; i < nr; i++) {
		uint32_t number = tree_change_value(g->t, values + i * g->t->type.value_size);

		nr_new += ordered_map_set(&g->map, keys + i * g->map.nr_levels, number);
	}
	assert_int_equal(
		thinp_btree_insert_many(g->t->tm, &g->t->type, g->root, keys, values, nr, &g->root, &nr_inserted), 0);
	assert_int_equal(nr_inserted, nr_new);
	free(values);
}

void tree_grow_expect(struct tree_grow *g)
{
	tree_shape_expect(thinp_tm_reader(g->t->tm), &g->t->type, g->root, NULL);
	tree_change_expect(g->t, g->root, &g->map);
}

void tree_grow_snapshot(struct tree_grow *g, struct tree_snapshots *s)
{
	assert_true(s->nr < TREE_GROW_MAX_SNAPSHOTS);
	assert_int_equal(thinp_tm_inc(g->t->tm, g->root, 1, THINP_CAUSE_USER), 0);
	s->roots[s->nr] = g->root;
	ordered_map_copy(&s->maps[s->nr], &g->map);
	s->nr++;
}

void tree_grow_expect_snapshots(struct tree_grow *g, struct tree_snapshots *s)
{
	for (size_t i = 0; i < s->nr; i++) {
		tree_shape_expect(thinp_tm_reader(g->t->tm), &g->t->type, s->roots[i], NULL);
		tree_change_expect(g->t, s->roots[i], &s->maps[i]);
	}
	s->roots[s->nr] = g->root;
	tree_change_expect_counts(g->t, s->roots, s->nr + 1);
}

void tree_grow_free_snapshots(struct tree_snapshots *s)
{
	for (size_t i = 0; i < s->nr; i++)
		ordered_map_free(&s->maps[i]);
	s->nr = 0;
}
