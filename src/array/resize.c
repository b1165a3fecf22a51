/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * array/resize.c - making arrays longer and shorter.
 *
 * Longer: the last block is filled up, full blocks follow, and one that may be partly filled. Shorter: blocks go, then the
 * one that is now the last is cut. All blocks but the last are full at any time.
 */
#include "array/change.h"

#include "transaction/manager.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <string.h>

#define AT_ONCE 64u /* new blocks that go into the tree together */

/* Where new values come from. */
struct source {
	thinp_array_fill_fn fn; /* NULL: copies of default_le; that is NULL, too: zeros */
	void *ctx;
	const uint8_t *default_le;
};

static int fill(struct tp_array_change *change, const struct source *source, struct tp_array_block *block, uint32_t end)
{
	uint8_t *values = tp_array_value(change, block, block->nr_values);
	uint64_t begin = block->number * change->per_block + block->nr_values;
	uint32_t nr = end - block->nr_values;
	uint32_t size = change->type.value_size;

	block->nr_values = end;
	memset(values, 0, (size_t)nr * size); /* what was cut off before may still be there */
	if (source->fn)
		return source->fn(source->ctx, begin, nr, values);
	if (!source->default_le)
		return 0;
	for (uint32_t i = 0; i < nr; i++)
		memcpy(values + (size_t)i * size, source->default_le, size);
	return tp_array_inc(change, values, nr);
}

/* Makes a block; a new one is not in the tree yet, which makes the end of its change the end of that. */
static int new_block(struct tp_array_change *change, const struct source *source, uint64_t number, uint32_t nr_values,
		     thinp_block_t *address)
{
	struct tp_array_block block = {.number = number};
	void *data;
	int r = thinp_tm_new_block(change->tm, thinp_block_type_array(), THINP_CAUSE_NEW, &block.block, &block.buffer,
				   &data);

	if (r)
		return r;
	block.data = data;
	block.in_tree = block.block;
	r = fill(change, source, &block, nr_values);
	*address = block.block;
	return tp_array_block_end(change, NULL, &block, r);
}

/* Adds blocks behind the last one. */
static int append(struct tp_array_change *change, thinp_block_t *root, uint64_t number, uint64_t new_nr_values,
		  const struct source *source)
{
	uint64_t keys[AT_ONCE];
	uint8_t addresses[8 * AT_ONCE];
	uint64_t left = new_nr_values - number * change->per_block;
	size_t nr = 0;
	int r = 0;

	while (!r && left) {
		uint32_t here = left < change->per_block ? (uint32_t)left : change->per_block;
		thinp_block_t block = 0;

		r = new_block(change, source, number, here, &block);
		keys[nr] = number++;
		tp_store_le64(addresses + 8 * nr++, block);
		left -= here;
		if (!r && (nr == AT_ONCE || !left)) {
			r = thinp_btree_insert_many(change->tm, &change->place, *root, keys, addresses, nr, root, NULL);
			nr = 0;
		}
	}
	return r;
}

/* Blocks that so many values take. */
static uint64_t blocks_of(const struct tp_array_change *change, uint64_t nr_values)
{
	return nr_values / change->per_block + (nr_values % change->per_block != 0);
}

struct tail {
	uint64_t number;
	thinp_block_t at;
	uint32_t nr_values;
};

static int grow(struct tp_array_change *change, thinp_block_t *root, const struct tail *tail, uint64_t new_nr_values,
		const struct source *source)
{
	uint64_t base = tail->number * change->per_block;
	bool is_last = new_nr_values - base <= change->per_block;
	struct tp_array_block block;
	int r = tp_array_block_own(change, root, tail->number, tail->at, &block);

	if (r)
		return r;
	r = fill(change, source, &block, is_last ? (uint32_t)(new_nr_values - base) : change->per_block);
	r = tp_array_block_end(change, root, &block, r);
	return r || is_last ? r : append(change, root, tail->number + 1, new_nr_values, source);
}

/* What the array has must be what its owner says. */
static int check_length(struct tp_array_change *change, thinp_block_t root, uint64_t nr_values)
{
	uint64_t found = 0;
	int r = thinp_array_nr_values(thinp_tm_reader(change->tm), &change->type, root, &found);

	if (!r && found != nr_values)
		r = tp_fail(THINP_ECORRUPT, root, "the array has %" PRIu64 " values, %" PRIu64 " were expected", found,
			    nr_values);
	return r;
}

/* Before anything is changed: a block that will be changed, and has to be full unless it is the last one. */
static int look_at_tail(struct tp_array_change *change, thinp_block_t root, uint64_t nr_values, struct tail *tail)
{
	int r = tp_array_look(change, root, tail->number, &tail->at, &tail->nr_values);

	if (r == THINP_ENODATA)
		return tp_fail(THINP_ECORRUPT, root, "array: block %" PRIu64 " of it is missing", tail->number);
	if (!r && nr_values / change->per_block > tail->number && tail->nr_values < change->per_block)
		r = tp_fail(THINP_ECORRUPT, tail->at, "array block: not full, but not the last one");
	return r;
}

static int longer(struct tp_array_change *change, thinp_block_t *root, uint64_t nr_values, uint64_t new_nr_values,
		  const struct source *source)
{
	struct tail tail = {.number = nr_values / change->per_block};
	bool has_tail = nr_values % change->per_block;
	uint64_t nr_new = blocks_of(change, new_nr_values) - blocks_of(change, nr_values);
	uint64_t nr_counted = source->default_le ? new_nr_values - nr_values : 0;
	int r = has_tail ? look_at_tail(change, *root, nr_values, &tail)
			 : tp_array_look_at_way(change, *root, tail.number);

	if (!r)
		r = tp_array_reserve(change, nr_new, tail.nr_values + (size_t)nr_counted, 0);
	if (r)
		return r;
	r = has_tail ? grow(change, root, &tail, new_nr_values, source)
		     : append(change, root, tail.number, new_nr_values, source);
	return tp_array_end(change, r);
}

/* Cuts the block that has become the last one. */
static int cut(struct tp_array_change *change, thinp_block_t *root, const struct tail *tail, uint32_t nr_values)
{
	struct tp_array_block block;
	int r = tp_array_block_own(change, root, tail->number, tail->at, &block);

	if (r)
		return r;
	r = tp_array_dec(change, tp_array_value(change, &block, nr_values), block.nr_values - nr_values);
	if (!r)
		block.nr_values = nr_values;
	return tp_array_block_end(change, root, &block, r);
}

static int shorter(struct tp_array_change *change, thinp_block_t *root, uint64_t nr_values, uint64_t new_nr_values)
{
	struct tail tail = {.number = new_nr_values / change->per_block};
	uint32_t nr_left = (uint32_t)(new_nr_values % change->per_block);
	uint64_t first = blocks_of(change, new_nr_values), last = UINT64_MAX;
	bool is_only_cut = first == blocks_of(change, nr_values);
	int r = nr_left ? look_at_tail(change, *root, nr_values, &tail)
			: tp_array_look_at_way(change, *root, tail.number);

	change->is_in_place &= is_only_cut; /* nobody knows what the way is like when other blocks are gone */
	if (!r)
		r = tp_array_reserve(change, 0, nr_left ? tail.nr_values : 0, THINP_RESERVE_RELEASE);
	if (!r && !is_only_cut)
		r = thinp_btree_remove_range(change->tm, &change->tree, *root, &first, &last, 0, root, NULL, NULL);
	if (!r && nr_left)
		r = cut(change, root, &tail, nr_left);
	return tp_array_end(change, r);
}

static int resize(struct tp_array_change *change, thinp_block_t *root, uint64_t nr_values, uint64_t new_nr_values,
		  const struct source *source)
{
	int r = check_length(change, *root, nr_values);

	if (r || new_nr_values == nr_values)
		return r;
	return new_nr_values > nr_values ? longer(change, root, nr_values, new_nr_values, source)
					 : shorter(change, root, nr_values, new_nr_values);
}

static int resize_array(struct thinp_tm *tm, const struct thinp_array_type *type, thinp_block_t root,
			uint64_t nr_values, uint64_t new_nr_values, const void *default_le, thinp_block_t *new_root)
{
	struct source source = {.default_le = default_le};
	struct tp_array_change change;
	int r = tp_array_change_begin(&change, tm, type);

	if (!r)
		r = resize(&change, &root, nr_values, new_nr_values, &source);
	if (r)
		return r;
	*new_root = root;
	return 0;
}

int thinp_array_resize(struct thinp_tm *tm, const struct thinp_array_type *type, thinp_block_t root, uint64_t nr_values,
		       uint64_t new_nr_values, const void *default_le, thinp_block_t *new_root)
{
	int r;

	tp_tm_enter(tm);
	r = resize_array(tm, type, root, nr_values, new_nr_values, default_le, new_root);
	tp_tm_leave(tm);
	return r;
}

static int make_array(struct thinp_tm *tm, const struct thinp_array_type *type, uint64_t nr_values,
		      thinp_array_fill_fn fn, void *ctx, thinp_block_t *new_root)
{
	struct source source = {.fn = fn, .ctx = ctx};
	struct tp_array_change change;
	thinp_block_t root;
	int r = tp_array_change_begin(&change, tm, type);

	if (!r)
		r = tp_array_reserve(&change, blocks_of(&change, nr_values) + 1, 0, 0);
	if (!r)
		r = thinp_btree_create(tm, &change.tree, &root);
	if (r)
		return r;
	r = nr_values ? longer(&change, &root, 0, nr_values, &source) : 0;
	if (r)
		return tp_array_end(&change, r);
	*new_root = root;
	return 0;
}

int thinp_array_new(struct thinp_tm *tm, const struct thinp_array_type *type, uint64_t nr_values,
		    thinp_array_fill_fn fn, void *ctx, thinp_block_t *new_root)
{
	int r;

	tp_tm_enter(tm);
	r = make_array(tm, type, nr_values, fn, ctx, new_root);
	tp_tm_leave(tm);
	return r;
}
