/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_damaged.c - what the functions that read a damaged tree say.
 */
#include "support/tree_damaged.h"

#include "support/image_expect.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

void damaged_open(struct damaged *d, uint32_t cache_blocks)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};

	tree_open(&d->tree, &shape, 8, DAMAGED_NR_KEYS, DAMAGED_STEP, cache_blocks);
	d->root = d->tree.model.root;
	for (uint32_t i = 0; i < 3; i++)
		d->mid[i] = tree_child(&d->tree.image, d->root, i);
	for (uint32_t i = 0; i < 9; i++)
		d->leaf[i] = tree_child(&d->tree.image, d->mid[i / 3], i % 3);
}

void damaged_reopen(struct damaged *d, uint32_t cache_blocks)
{
	image_reader_close(&d->tree.reader);
	assert_int_equal(image_reader_open(&d->tree.reader, &d->tree.image, cache_blocks), 0);
}

/* --- the functions --------------------------------------------------------------------------------------------------- */

int damaged_lookup(struct damaged *d, uint64_t key)
{
	uint8_t value[8];

	return thinp_btree_lookup(d->tree.reader.reader, &d->tree.model.type, d->root, &key, value);
}

int damaged_lookup_ge(struct damaged *d, uint64_t key)
{
	uint8_t value[8];

	return thinp_btree_lookup_ge(d->tree.reader.reader, &d->tree.model.type, d->root, &key, &key, value);
}

int damaged_lookup_many(struct damaged *d, uint64_t key)
{
	uint8_t value[8];
	int32_t result;

	return thinp_btree_lookup_many(d->tree.reader.reader, &d->tree.model.type, d->root, &key, 1, value, &result);
}

static int take(void *ctx, const struct thinp_btree_span *span)
{
	*(size_t *)ctx += span->nr_entries;
	return 0;
}

int damaged_walk(struct damaged *d)
{
	size_t nr = 0;

	return thinp_btree_walk(d->tree.reader.reader, &d->tree.model.type, d->root, take, &nr);
}

int damaged_walk_from(struct damaged *d, uint64_t key)
{
	uint64_t last = UINT64_MAX;
	size_t nr = 0;

	return thinp_btree_walk_range(d->tree.reader.reader, &d->tree.model.type, d->root, &key, &last, take, &nr);
}

/* To the end of the tree or to the damage. */
static int step_through(struct damaged *d, int (*step)(struct thinp_btree_cursor *cursor))
{
	struct thinp_btree_cursor *cursor;
	int r;

	assert_int_equal(thinp_btree_cursor_create(d->tree.reader.reader, &d->tree.model.type, d->root, &cursor), 0);
	do
		r = step(cursor);
	while (!r);
	thinp_btree_cursor_destroy(cursor);
	return r == THINP_ENODATA ? 0 : r;
}

int damaged_forwards(struct damaged *d)
{
	return step_through(d, thinp_btree_cursor_next);
}

int damaged_backwards(struct damaged *d)
{
	return step_through(d, thinp_btree_cursor_prev);
}

/* --- what is expected ------------------------------------------------------------------------------------------------ */

static void expect_answer(struct damaged *d, int r, uint64_t nr_reads_before, uint64_t most_reads)
{
	assert_true(r == 0 || r == THINP_ENODATA || r == THINP_ECORRUPT);
	if (r)
		expect_detail(r);
	assert_true(atomic_load(&d->tree.image.nr_reads) - nr_reads_before <= most_reads);
}

/* Whatever they answer, it comes after few reads. */
void damaged_expect_all_end(struct damaged *d)
{
	static int (*const of_key[])(struct damaged * d, uint64_t key) = {damaged_lookup, damaged_lookup_ge,
									  damaged_lookup_many, damaged_walk_from};
	static int (*const of_tree[])(struct damaged * d) = {damaged_walk, damaged_forwards, damaged_backwards};
	const uint64_t nr_nodes = 1 + NR_OF(d->mid) + NR_OF(d->leaf);
	const uint64_t most_reads = THINP_BTREE_MAX_DEPTH * (nr_nodes + THINP_BTREE_MAX_DEPTH);

	for (size_t f = 0; f < NR_OF(of_key); f++)
		for (uint64_t key = 0; key <= DAMAGED_STEP * (DAMAGED_NR_KEYS + 1); key += DAMAGED_STEP / 2) {
			uint64_t before = atomic_load(&d->tree.image.nr_reads);

			expect_answer(d, of_key[f](d, key), before,
				      of_key[f] == damaged_lookup ? THINP_BTREE_MAX_DEPTH : most_reads);
		}
	for (size_t f = 0; f < NR_OF(of_tree); f++) {
		uint64_t before = atomic_load(&d->tree.image.nr_reads);

		expect_answer(d, of_tree[f](d), before, most_reads);
	}
}

/* Every function that comes by says so. */
void damaged_expect_key_damaged(struct damaged *d, uint64_t key, thinp_block_t block, const char *words)
{
	expect_corrupt(damaged_lookup(d, key), block, words);
	expect_corrupt(damaged_lookup_many(d, key), block, words);
	expect_corrupt(damaged_lookup_ge(d, key), block, words);
	expect_corrupt(damaged_walk_from(d, key), block, words);
}

void damaged_expect_walks_damaged(struct damaged *d, thinp_block_t block, const char *words)
{
	expect_corrupt(damaged_walk(d), block, words);
	expect_corrupt(damaged_forwards(d), block, words);
	expect_corrupt(damaged_backwards(d), block, words);
}

void damaged_expect_everything_damaged(struct damaged *d, uint64_t key, thinp_block_t block, const char *words)
{
	damaged_expect_key_damaged(d, key, block, words);
	damaged_expect_walks_damaged(d, block, words);
	damaged_expect_all_end(d);
}

void damaged_expect_undamaged(struct damaged *d)
{
	for (uint64_t key = DAMAGED_STEP; key <= DAMAGED_STEP * DAMAGED_NR_KEYS; key += DAMAGED_STEP) {
		assert_int_equal(damaged_lookup(d, key), 0);
		assert_int_equal(damaged_lookup_many(d, key), 0);
		assert_int_equal(damaged_lookup_ge(d, key), 0);
	}
	assert_int_equal(damaged_walk(d), 0);
	assert_int_equal(damaged_forwards(d), 0);
	assert_int_equal(damaged_backwards(d), 0);
}
