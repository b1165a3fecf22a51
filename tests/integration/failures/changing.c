/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/changing.c - the stage for changes of blocks, trees and arrays.
 */
#include "changing.h"

#include "base/bytes.h"
#include "support/meta_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- values --- */

void changing_value(uint32_t number, uint8_t *value)
{
	for (size_t i = 4; i < CHANGING_VALUE; i++)
		value[i] = (uint8_t)(number * 31 + i);
	tp_store_le32(value, number);
}

static uint32_t number_of(const void *value)
{
	uint32_t number = tp_load_le32(value);
	uint8_t expected[CHANGING_VALUE];

	assert_true(number < CHANGING_NUMBERS);
	changing_value(number, expected);
	assert_memory_equal(value, expected, CHANGING_VALUE);
	return number;
}

static int inc_values(void *ctx, const void *values_le, size_t nr)
{
	struct changing *c = ctx;

	for (size_t i = 0; i < nr; i++)
		c->now.owners[number_of((const uint8_t *)values_le + i * CHANGING_VALUE)]++;
	return 0;
}

static int dec_values(void *ctx, const void *values_le, size_t nr)
{
	struct changing *c = ctx;

	for (size_t i = 0; i < nr; i++)
		assert_true(c->now.owners[number_of((const uint8_t *)values_le + i * CHANGING_VALUE)]-- > 0);
	return 0;
}

static bool same_number(void *ctx, const void *a_le, const void *b_le)
{
	(void)ctx;
	return tp_load_le32(a_le) == tp_load_le32(b_le);
}

static void make_types(struct changing *c)
{
	c->tree = (struct thinp_btree_type){.size = sizeof(c->tree),
					    .nr_levels = 1,
					    .value_size = CHANGING_VALUE,
					    .ctx = c,
					    .inc = inc_values,
					    .dec = dec_values,
					    .equal = same_number};
	c->nested = c->tree;
	c->nested.nr_levels = CHANGING_NESTED;
	c->array = (struct thinp_array_type){.size = sizeof(c->array),
					     .value_size = CHANGING_VALUE,
					     .ctx = c,
					     .inc = inc_values,
					     .dec = dec_values,
					     .equal = same_number};
}

/* --- life --- */

static void open_tm(struct changing *c)
{
	struct thinp_bm_opts opts = {
		.size = sizeof(opts), .cache_blocks = PLAY_CACHE, .allocator = &c->stage.w->alloc.table};
	struct thinp_alloc table = {.size = sizeof(table)};

	assert_int_equal(thinp_bm_create(c->stage.w->io, &opts, &c->stage.bm), 0);
	thinp_memory_map_get_alloc(c->map, &table);
	assert_int_equal(thinp_tm_create(c->stage.bm, &table, &c->stage.tm), 0);
}

static void close_tm(struct changing *c)
{
	thinp_tm_destroy(c->stage.tm);
	thinp_bm_destroy(c->stage.bm);
}

struct changing *changing_new(struct world *w)
{
	struct changing *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->stage.w = w;
	make_types(c);
	assert_int_equal(thinp_memory_map_create(WORLD_BLOCKS, &w->alloc.table, &c->map), 0);
	open_tm(c);
	assert_int_equal(thinp_tm_inc(c->stage.tm, 0, 1, THINP_CAUSE_USER), 0);
	assert_int_equal(changing_commit(&c->stage), 0);
	return c;
}

void changing_close(struct stage *stage)
{
	struct changing *c = (struct changing *)stage;

	close_tm(c);
	thinp_memory_map_destroy(c->map);
	free(c);
}

int changing_commit(struct stage *stage)
{
	static const uint8_t record[THINP_BLOCK_SIZE];
	struct changing *c = (struct changing *)stage;
	int r = thinp_bm_commit(stage->bm, 0, thinp_block_type_bitmap(), record);

	if (r)
		return r;
	thinp_memory_map_commit(c->map);
	thinp_tm_begin(stage->tm);
	c->committed = c->now;
	return 0;
}

void changing_abort(struct stage *stage)
{
	struct changing *c = (struct changing *)stage;

	thinp_bm_abort(stage->bm);
	thinp_memory_map_abort(c->map);
	thinp_tm_begin(stage->tm);
	c->now = c->committed;
}

void changing_reopen(struct changing *c)
{
	close_tm(c);
	open_tm(c);
}

/* --- looking: counts --- */

struct count {
	struct meta_check check; /* the first */
	struct changing *c;
	struct meta_kind tree, nested;
	struct meta_array array, bits;
	uint32_t owners[CHANGING_NUMBERS];
};

static void take_values(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
			const uint8_t *values_le, uint32_t nr)
{
	struct count *count = (struct count *)check;

	(void)kind, (void)keys;
	for (size_t i = 0; i < nr; i++)
		count->owners[number_of(values_le + i * CHANGING_VALUE)]++;
}

static void take_trees(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
		       const uint8_t *values_le, uint32_t nr)
{
	(void)kind, (void)keys;
	for (size_t i = 0; i < nr; i++)
		meta_check_tree(check, tp_load_le64(values_le + 8 * i), &((struct count *)check)->tree);
}

static void count_thing(struct count *count, const struct thing *thing)
{
	static const char block[] = "block";

	for (uint64_t i = 0; thing->kind == BLOCK && i < thing->nr; i++)
		meta_check_refer(&count->check, thing->root, block);
	if (thing->kind == TREE)
		meta_check_tree(&count->check, thing->root, &count->tree);
	else if (thing->kind == NESTED_TREE)
		meta_check_tree(&count->check, thing->root, &count->nested);
	else if (thing->kind == ARRAY)
		meta_check_array(&count->check, thing->root, &count->array, thing->nr);
	else if (thing->kind == BITS)
		meta_check_array(&count->check, thing->root, &count->bits, thing->nr);
}

static void check_counts(struct changing *c)
{
	static const char record[] = "record";
	struct count count = {
		.c = c,
		.tree = {.name = "tree", .value_size = CHANGING_VALUE, .take = take_values},
		.nested = {.name = "nested tree", .value_size = 8, .take = take_trees},
		.array = {.values = {.name = "array", .value_size = CHANGING_VALUE, .take = take_values}},
		.bits = {.values = {.name = "bitset", .value_size = 8}},
	};

	meta_check_begin(&count.check, thinp_tm_reader(c->stage.tm), WORLD_BLOCKS, 0);
	meta_check_refer(&count.check, 0, record);
	for (size_t i = 0; i < CHANGING_THINGS; i++)
		count_thing(&count, &c->now.list[i]);
	meta_check_compare_tm(&count.check, c->stage.tm);
	meta_check_end(&count.check);
	assert_memory_equal(count.owners, c->now.owners, sizeof(count.owners));
}

/* --- looking: content --- */

struct content {
	uint64_t number, nr;
	uint32_t nr_prefix;
};

static int mix_entries(void *ctx, const struct thinp_btree_span *span)
{
	struct content *content = ctx;

	for (size_t i = 0; i < span->nr_entries; i++) {
		content->number = play_mix(content->number, span->prefix, content->nr_prefix * sizeof(span->prefix[0]));
		content->number = play_mix(content->number, (const uint8_t *)span->keys_le + 8 * i, 8);
		content->number = play_mix(content->number, (const uint8_t *)span->values_le + i * span->value_size,
					   span->value_size);
	}
	content->nr += span->nr_entries;
	return 0;
}

static int mix_values(void *ctx, const struct thinp_array_span *span)
{
	struct content *content = ctx;

	content->number = play_mix(content->number, span->values_le, (size_t)span->nr_values * span->value_size);
	content->nr += span->nr_values;
	return 0;
}

static int mix_block(struct thinp_reader *reader, thinp_block_t block, struct content *content)
{
	struct thinp_read_section section;
	const void *data;
	int r;

	thinp_read_begin(reader, &section);
	r = thinp_read_block(&section, block, thinp_block_type_bitmap(), &data);
	if (!r)
		content->number = play_mix(content->number, (const uint8_t *)data + 16, THINP_BLOCK_SIZE - 16);
	thinp_read_end(&section);
	return r;
}

static int mix_thing(struct changing *c, const struct thing *thing, struct content *content)
{
	const struct thinp_array_type words = {.size = sizeof(words), .value_size = 8};
	struct thinp_reader *reader = thinp_tm_reader(c->stage.tm);

	content->nr_prefix = thing->kind == NESTED_TREE;
	switch (thing->kind) {
	case BLOCK:
		return mix_block(reader, thing->root, content);
	case TREE:
		return thinp_btree_walk(reader, &c->tree, thing->root, mix_entries, content);
	case NESTED_TREE:
		return thinp_btree_walk(reader, &c->nested, thing->root, mix_entries, content);
	case ARRAY:
		return thinp_array_walk(reader, &c->array, thing->root, 0, thing->nr, mix_values, content);
	case BITS:
		return thinp_array_walk(reader, &words, thing->root, 0, thing->nr, mix_values, content);
	default:
		return 0;
	}
}

uint64_t changing_look(struct stage *stage, bool is_committed)
{
	struct changing *c = (struct changing *)stage;
	struct content content = {.number = 1};

	if (is_committed)
		assert_memory_equal(&c->now, &c->committed, sizeof(c->now));
	check_counts(c);
	for (size_t i = 0; i < CHANGING_THINGS; i++) {
		const struct thing *thing = &c->now.list[i];

		content.number = play_mix(content.number, &thing->kind, sizeof(thing->kind));
		content.number = play_mix(content.number, &thing->nr, sizeof(thing->nr));
		assert_int_equal(mix_thing(c, thing, &content), 0);
		content.number = play_mix(content.number, &content.nr, sizeof(content.nr));
	}
	return content.number;
}
