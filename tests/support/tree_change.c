/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_change.c - a transaction to be tested with trees.
 */
#include "support/tree_change.h"

#include "base/bytes.h"

#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- a table that fails ---------------------------------------------------------------------------------------------- */

static int count_call(struct tree_change *t)
{
	if (++t->nr_calls != t->fail_at)
		return 0;
	return thinp_error_report(t->fail_with, THINP_NO_BLOCK, "the test lets it fail");
}

static int table_take(void *ctx, uint32_t cause, thinp_block_t *block)
{
	struct tree_change *t = ctx;
	int r = count_call(t);

	if (!r)
		r = t->map_table.take(t->map_table.ctx, cause, block);
	t->nr_taken += !r;
	return r;
}

static int table_inc(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	struct tree_change *t = ctx;
	int r = count_call(t);

	return r ? r : t->map_table.inc(t->map_table.ctx, first, nr_blocks, cause);
}

static int table_dec(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	struct tree_change *t = ctx;
	int r = count_call(t);

	return r ? r : t->map_table.dec(t->map_table.ctx, first, nr_blocks, cause);
}

static int table_count(void *ctx, thinp_block_t block, uint32_t *count)
{
	struct tree_change *t = ctx;
	int r = count_call(t);

	return r ? r : t->map_table.count(t->map_table.ctx, block, count);
}

static int table_reserve(void *ctx, uint64_t nr_blocks, uint32_t flags)
{
	struct tree_change *t = ctx;
	int r = count_call(t);

	if (nr_blocks > t->most_asked)
		t->most_asked = nr_blocks;
	if (!r && t->is_full)
		return thinp_error_report(THINP_ENOSPC, THINP_NO_BLOCK, "the test lets it be full");
	return r ? r : t->map_table.reserve(t->map_table.ctx, nr_blocks, flags);
}

/* --- values ---------------------------------------------------------------------------------------------------------- */

static int step_values(struct tree_change *t, const uint8_t *values, size_t nr, int step)
{
	if (++t->nr_value_calls == t->value_fail_at)
		return thinp_error_report(THINP_EREFCOUNT, THINP_NO_BLOCK, "the test lets a value fail");
	for (size_t i = 0; i < nr; i++) {
		uint32_t number = tp_load_le32(values + i * t->type.value_size);

		assert_true(number < t->next_value);
		assert_true(t->counts[number] > 0);
		t->counts[number] += (uint32_t)step;
	}
	return 0;
}

static int inc_values(void *ctx, const void *values, size_t nr)
{
	return step_values(ctx, values, nr, 1);
}

static int dec_values(void *ctx, const void *values, size_t nr)
{
	return step_values(ctx, values, nr, -1);
}

void tree_change_fill_value(const struct tree_change *t, uint32_t number, uint8_t *value)
{
	for (uint32_t i = 4; i < t->type.value_size; i++)
		value[i] = (uint8_t)((number + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 8 * (i % 8)) + (uint8_t)i;
	tp_store_le32(value, number);
}

uint32_t tree_change_value(struct tree_change *t, uint8_t *value)
{
	uint32_t number = t->next_value++;

	assert_true(number < TREE_CHANGE_MAX_VALUES);
	t->counts[number] = 1;
	tree_change_fill_value(t, number, value);
	return number;
}

/* --- the whole ------------------------------------------------------------------------------------------------------- */

struct tree_change *tree_change_new_cached(uint64_t nr_blocks, uint32_t nr_levels, uint32_t value_size,
					   uint32_t cache_blocks)
{
	struct tree_change *t = calloc(1, sizeof(*t));
	struct thinp_alloc table = {.size = sizeof(table),
				    .ctx = t,
				    .take = table_take,
				    .inc = table_inc,
				    .dec = table_dec,
				    .count = table_count,
				    .reserve = table_reserve};
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = cache_blocks};

	assert_non_null(t);
	block_device_open(&t->device, nr_blocks);
	alloc_counting_init(&t->memory);
	opts.allocator = &t->memory.table;
	assert_int_equal(thinp_bm_create(t->device.io, &opts, &t->bm), 0);
	assert_int_equal(thinp_memory_map_create(nr_blocks, NULL, &t->map), 0);
	t->map_table.size = sizeof(t->map_table);
	thinp_memory_map_get_alloc(t->map, &t->map_table);
	assert_int_equal(t->map_table.inc(t->map_table.ctx, 0, 1, THINP_CAUSE_USER), 0);
	thinp_memory_map_commit(t->map);
	assert_int_equal(thinp_tm_create(t->bm, &table, &t->tm), 0);
	t->counts = calloc(TREE_CHANGE_MAX_VALUES, sizeof(*t->counts));
	assert_non_null(t->counts);
	t->type = (struct thinp_btree_type){.size = sizeof(t->type),
					    .nr_levels = nr_levels,
					    .value_size = value_size,
					    .ctx = t,
					    .inc = inc_values,
					    .dec = dec_values};
	return t;
}

struct tree_change *tree_change_new(uint64_t nr_blocks, uint32_t nr_levels, uint32_t value_size)
{
	return tree_change_new_cached(nr_blocks, nr_levels, value_size, 0);
}

void tree_change_free(struct tree_change *t)
{
	thinp_tm_destroy(t->tm);
	thinp_bm_destroy(t->bm);
	alloc_counting_check(&t->memory);
	thinp_memory_map_destroy(t->map);
	block_device_close(&t->device);
	free(t->counts);
	free(t);
}

void tree_change_commit(struct tree_change *t)
{
	assert_int_equal(thinp_bm_flush(t->bm), 0);
	thinp_memory_map_commit(t->map);
	thinp_tm_begin(t->tm);
}

void tree_change_abort(struct tree_change *t)
{
	thinp_bm_abort(t->bm);
	thinp_memory_map_abort(t->map);
	thinp_tm_begin(t->tm);
}

/* --- an ordered map -------------------------------------------------------------------------------------------------- */

void ordered_map_init(struct ordered_map *map, uint32_t nr_levels)
{
	*map = (struct ordered_map){.nr_levels = nr_levels};
}

static void make_room(struct ordered_map *map, size_t room)
{
	if (room <= map->room)
		return;
	map->room = 2 * room;
	map->keys = realloc(map->keys, map->room * map->nr_levels * sizeof(*map->keys));
	map->values = realloc(map->values, map->room * sizeof(*map->values));
	assert_non_null(map->keys);
	assert_non_null(map->values);
}

void ordered_map_copy(struct ordered_map *map, const struct ordered_map *from)
{
	ordered_map_init(map, from->nr_levels);
	make_room(map, from->nr + 1);
	map->nr = from->nr;
	if (!from->nr)
		return;
	memcpy(map->keys, from->keys, from->nr * from->nr_levels * sizeof(*map->keys));
	memcpy(map->values, from->values, from->nr * sizeof(*map->values));
}

void ordered_map_free(struct ordered_map *map)
{
	free(map->keys);
	free(map->values);
}

const uint64_t *ordered_map_keys(const struct ordered_map *map, size_t i)
{
	return map->keys + i * map->nr_levels;
}

static int compare(const struct ordered_map *map, const uint64_t *a, const uint64_t *b)
{
	for (uint32_t i = 0; i < map->nr_levels; i++)
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	return 0;
}

size_t ordered_map_find(const struct ordered_map *map, const uint64_t *keys, bool *is_there)
{
	size_t begin = 0, end = map->nr;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (compare(map, ordered_map_keys(map, middle), keys) < 0)
			begin = middle + 1;
		else
			end = middle;
	}
	*is_there = begin < map->nr && !compare(map, ordered_map_keys(map, begin), keys);
	return begin;
}

bool ordered_map_set(struct ordered_map *map, const uint64_t *keys, uint32_t value)
{
	bool is_there;
	size_t at = ordered_map_find(map, keys, &is_there);
	size_t width = map->nr_levels;

	if (!is_there) {
		make_room(map, map->nr + 1);
		memmove(map->keys + (at + 1) * width, map->keys + at * width,
			(map->nr - at) * width * sizeof(*map->keys));
		memmove(map->values + at + 1, map->values + at, (map->nr - at) * sizeof(*map->values));
		memcpy(map->keys + at * width, keys, width * sizeof(*map->keys));
		map->nr++;
	}
	map->values[at] = value;
	return !is_there;
}

/* --- comparing ------------------------------------------------------------------------------------------------------- */

struct comparison {
	const struct tree_change *t;
	const struct ordered_map *map;
	size_t next;
};

static void expect_entry(const struct comparison *c, size_t i, const uint64_t *keys, const uint8_t *value)
{
	uint8_t expected[THINP_BLOCK_SIZE];

	assert_true(i < c->map->nr);
	assert_int_equal(compare(c->map, ordered_map_keys(c->map, i), keys), 0);
	tree_change_fill_value(c->t, c->map->values[i], expected);
	assert_memory_equal(value, expected, c->t->type.value_size);
}

static int compare_span(void *ctx, const struct thinp_btree_span *span)
{
	struct comparison *c = ctx;
	uint32_t nr_upper = c->map->nr_levels - 1;
	uint64_t keys[THINP_BTREE_MAX_LEVELS] = {0};

	memcpy(keys, span->prefix, nr_upper * sizeof(*keys));
	for (uint32_t i = 0; i < span->nr_entries; i++) {
		keys[nr_upper] = tp_load_le64((const uint8_t *)span->keys_le + 8 * (size_t)i);
		expect_entry(c, c->next++, keys, (const uint8_t *)span->values_le + (size_t)i * span->value_size);
	}
	return 0;
}

void tree_change_expect(struct tree_change *t, thinp_block_t root, const struct ordered_map *map)
{
	struct comparison c = {.t = t, .map = map};

	assert_int_equal(thinp_btree_walk(thinp_tm_reader(t->tm), &t->type, root, compare_span, &c), 0);
	assert_int_equal(c.next, map->nr);
}

void tree_change_expect_lookups(struct tree_change *t, thinp_block_t root, const struct ordered_map *map)
{
	const struct comparison c = {.t = t, .map = map};

	for (size_t i = 0; i < map->nr; i++) {
		uint8_t value[THINP_BLOCK_SIZE];

		assert_int_equal(
			thinp_btree_lookup(thinp_tm_reader(t->tm), &t->type, root, ordered_map_keys(map, i), value), 0);
		expect_entry(&c, i, ordered_map_keys(map, i), value);
	}
}

void tree_change_expect_counts(struct tree_change *t, const thinp_block_t *roots, size_t nr_roots)
{
	struct tree_refs refs;

	t->fail_at = 0;
	tree_refs_init(&refs, t->device.nr_blocks, TREE_CHANGE_MAX_VALUES);
	refs.blocks[0] = 1;
	for (size_t i = 0; i < nr_roots; i++)
		tree_refs_add(&refs, thinp_tm_reader(t->tm), &t->type, roots[i]);
	tree_refs_expect(&refs, t->tm);
	for (uint32_t i = 0; i < t->next_value; i++)
		if (t->counts[i] != refs.values[i])
			fail_msg("value %u has the count %u, and %u references", i, t->counts[i], refs.values[i]);
	tree_refs_free(&refs);
}
