/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/trees.c - reading B+ trees, arrays and bitsets that are made here, field by field.
 *
 *   block 1       root of the tree and of the array: an internal node over the leaves
 *   block 2, 3    leaves: keys 0 and 1, 2 and 3; values are the addresses of blocks of values
 *   block 4 to 7  509 values each, the last 100: value i is i
 */
#include "failures.h"

#include "base/bytes.h"

#include <thinp/array.h>
#include <thinp/btree.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOT = 1, NR_LEAVES = 2, VALUES = 4, PER_BLOCK = 509, NR_LAST = 100, CAPACITY = 252, NR_KEYS = 4 };

static const struct thinp_btree_type tree_type = {.size = sizeof(tree_type), .value_size = 8, .nr_levels = 1};
static const struct thinp_array_type array_type = {.size = sizeof(array_type), .value_size = 8};

struct trees {
	struct thinp_bm *bm;
	struct thinp_reader *reader;
};

/* --- making them --- */

static uint8_t *lock(struct thinp_bm *bm, thinp_block_t block, const struct thinp_block_type *type,
		     struct thinp_buffer **buffer)
{
	void *data;

	assert_int_equal(thinp_bm_write_lock_zero(bm, block, type, buffer, &data), 0);
	return data;
}

static void put_node(struct thinp_bm *bm, thinp_block_t block, uint32_t flags, uint64_t first_key, uint64_t step,
		     uint64_t first_value)
{
	struct thinp_buffer *buffer;
	uint8_t *node = lock(bm, block, thinp_block_type_node(), &buffer);

	tp_store_le32(node + 4, flags);
	tp_store_le32(node + 16, 2);
	tp_store_le32(node + 20, CAPACITY);
	tp_store_le32(node + 24, 8);
	for (uint64_t i = 0; i < 2; i++) {
		tp_store_le64(node + 32 + 8 * i, first_key + step * i);
		tp_store_le64(node + 32 + (size_t)8 * CAPACITY + 8 * i, first_value + i);
	}
	thinp_bm_unlock(bm, buffer);
}

static void put_values(struct thinp_bm *bm, uint64_t index)
{
	struct thinp_buffer *buffer;
	uint8_t *values = lock(bm, VALUES + index, thinp_block_type_array(), &buffer);
	uint32_t nr = index + 1 < NR_KEYS ? PER_BLOCK : NR_LAST;

	tp_store_le32(values + 4, PER_BLOCK);
	tp_store_le32(values + 8, nr);
	tp_store_le32(values + 12, 8);
	for (uint64_t i = 0; i < nr; i++)
		tp_store_le64(values + 24 + 8 * i, index * PER_BLOCK + i);
	thinp_bm_unlock(bm, buffer);
}

static void setup(struct world *w)
{
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = 2, .allocator = &w->alloc.table};
	struct trees *trees = calloc(1, sizeof(*trees));
	struct thinp_bm *bm;

	assert_non_null(trees);
	assert_int_equal(thinp_bm_create(w->memory, NULL, &bm), 0);
	put_node(bm, ROOT, 1, 0, 2, ROOT + 1);
	for (uint64_t i = 0; i < NR_LEAVES; i++)
		put_node(bm, ROOT + 1 + i, 2, 2 * i, 1, VALUES + 2 * i);
	for (uint64_t i = 0; i < NR_KEYS; i++)
		put_values(bm, i);
	assert_int_equal(thinp_bm_flush(bm), 0);
	thinp_bm_destroy(bm);
	assert_int_equal(thinp_bm_create(w->io, &opts, &trees->bm), 0);
	assert_int_equal(thinp_reader_create(trees->bm, 0, &trees->reader), 0);
	w->own = trees;
}

static void close_trees(struct world *w)
{
	struct trees *trees = w->own;

	thinp_reader_destroy(trees->reader);
	thinp_bm_destroy(trees->bm);
	free(trees);
}

/* --- trees --- */

static int look_up(struct thinp_reader *reader)
{
	static const uint64_t keys[] = {3, 0, 2};
	uint64_t key = 1;
	uint64_t found;
	uint8_t values[24];
	int32_t results[3];
	int r = thinp_btree_lookup(reader, &tree_type, ROOT, &key, values);

	if (!r)
		r = thinp_btree_lookup_ge(reader, &tree_type, ROOT, &key, &found, values);
	if (!r)
		r = thinp_btree_lookup_many(reader, &tree_type, ROOT, keys, 3, values, results);
	if (!r)
		assert_int_equal(tp_load_le64(values), VALUES + 3);
	if (!r)
		r = thinp_btree_first(reader, &tree_type, ROOT, &found, values);
	if (!r)
		r = thinp_btree_last(reader, &tree_type, ROOT, &found, values);
	if (!r)
		assert_int_equal(found, 3);
	return r;
}

static int count_span(void *ctx, const struct thinp_btree_span *span)
{
	*(uint64_t *)ctx += span->nr_entries;
	return 0;
}

static int walk(struct thinp_reader *reader)
{
	uint64_t first = 1;
	uint64_t last = 2;
	uint64_t nr = 0;
	int r = thinp_btree_walk(reader, &tree_type, ROOT, count_span, &nr);

	if (!r)
		assert_int_equal(nr, NR_KEYS);
	nr = 0;
	if (!r)
		r = thinp_btree_walk_range(reader, &tree_type, ROOT, &first, &last, count_span, &nr);
	if (!r)
		assert_int_equal(nr, 2);
	return r;
}

static int move_cursor(struct thinp_btree_cursor *cursor)
{
	uint64_t key = 2;
	uint8_t value[8];
	int r = thinp_btree_cursor_first(cursor);

	for (int i = 0; i < NR_KEYS - 1 && !r; i++)
		r = thinp_btree_cursor_next(cursor);
	if (!r)
		r = thinp_btree_cursor_last(cursor);
	for (int i = 0; i < NR_KEYS - 1 && !r; i++)
		r = thinp_btree_cursor_prev(cursor);
	if (!r)
		r = thinp_btree_cursor_seek(cursor, &key);
	if (!r)
		r = thinp_btree_cursor_get(cursor, &key, value);
	if (!r)
		assert_int_equal(tp_load_le64(value), VALUES + 2);
	return r;
}

static int use_cursor(struct thinp_reader *reader)
{
	struct thinp_btree_cursor *cursor = NULL;
	int r = thinp_btree_cursor_create(reader, &tree_type, ROOT, &cursor);

	if (!r)
		r = move_cursor(cursor);
	thinp_btree_cursor_destroy(cursor);
	return r;
}

static int read_tree(struct world *w)
{
	struct thinp_reader *reader = ((struct trees *)w->own)->reader;
	int r = look_up(reader);

	if (!r)
		r = walk(reader);
	return r ? r : use_cursor(reader);
}

/* --- arrays --- */

static int sum_values(void *ctx, const struct thinp_array_span *span)
{
	*(uint64_t *)ctx += span->nr_values;
	return 0;
}

static int read_array(struct world *w)
{
	struct thinp_reader *reader = ((struct trees *)w->own)->reader;
	const uint64_t nr_all = (uint64_t)(NR_KEYS - 1) * PER_BLOCK + NR_LAST;
	uint64_t nr = 0;
	uint8_t value[8];
	bool is_set = false;
	int r = thinp_array_get(reader, &array_type, ROOT, 600, value);

	if (!r)
		assert_int_equal(tp_load_le64(value), 600);
	if (!r)
		r = thinp_array_nr_values(reader, &array_type, ROOT, &nr);
	if (!r)
		assert_int_equal(nr, nr_all);
	nr = 0;
	if (!r)
		r = thinp_array_walk(reader, &array_type, ROOT, 0, nr_all, sum_values, &nr);
	if (!r)
		r = thinp_bitset_test(reader, ROOT, (uint64_t)64 * 1024 + 10,
				      &is_set); /* the word 1024 has bit 10 alone */
	if (!r)
		assert_true(is_set && nr == nr_all);
	return r;
}

static int move_array_cursor(struct thinp_array_cursor *cursor)
{
	uint64_t index = 0;
	uint8_t value[8];
	int r = thinp_array_cursor_next(cursor);

	if (!r)
		r = thinp_array_cursor_skip(cursor, 2 * PER_BLOCK);
	if (!r)
		r = thinp_array_cursor_seek(cursor, PER_BLOCK - 1);
	if (!r)
		r = thinp_array_cursor_next(cursor);
	if (!r)
		r = thinp_array_cursor_get(cursor, &index, value);
	if (!r)
		assert_true(index == PER_BLOCK && tp_load_le64(value) == PER_BLOCK);
	return r;
}

static int move_over_array(struct world *w)
{
	struct thinp_reader *reader = ((struct trees *)w->own)->reader;
	struct thinp_array_cursor *cursor = NULL;
	int r = thinp_array_cursor_create(reader, &array_type, ROOT, (uint64_t)(NR_KEYS - 1) * PER_BLOCK + NR_LAST,
					  &cursor);

	if (!r)
		r = move_array_cursor(cursor);
	thinp_array_cursor_destroy(cursor);
	return r;
}

static const struct scenario tree = {
	.name = "reading a tree", .setup = setup, .attempt = read_tree, .close = close_trees};
static const struct scenario array = {
	.name = "reading an array", .setup = setup, .attempt = read_array, .close = close_trees};
static const struct scenario array_cursor = {
	.name = "a cursor over an array", .setup = setup, .attempt = move_over_array, .close = close_trees};

const struct covered failures_of_trees[] = {
	{"thinp_btree_lookup", &tree},
	{"thinp_btree_lookup_many", &tree},
	{"thinp_btree_lookup_ge", &tree},
	{"thinp_btree_first", &tree},
	{"thinp_btree_last", &tree},
	{"thinp_btree_walk", &tree},
	{"thinp_btree_walk_range", &tree},
	{"thinp_btree_cursor_create", &tree},
	{"thinp_btree_cursor_seek", &tree},
	{"thinp_btree_cursor_first", &tree},
	{"thinp_btree_cursor_last", &tree},
	{"thinp_btree_cursor_next", &tree},
	{"thinp_btree_cursor_prev", &tree},
	{"thinp_array_get", &array},
	{"thinp_array_nr_values", &array},
	{"thinp_array_walk", &array},
	{"thinp_bitset_test", &array},
	{"thinp_array_cursor_create", &array_cursor},
	{"thinp_array_cursor_seek", &array_cursor},
	{"thinp_array_cursor_skip", &array_cursor},
	{"thinp_array_cursor_next", &array_cursor},
	{NULL, NULL},
};
