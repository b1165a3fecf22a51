/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transaction/marks.c - which blocks may be changed in place.
 *
 * Invariants
 *   1. Between the place where a block belongs and the place where it is, no place is free: searches end at a free one. So
 *      whatever is taken away is replaced by one behind it that may stand there.
 *   2. At least a third of the places are free.
 */
#include "transaction/marks.h"

#include "base/alloc.h"

#include <thinp/error.h>

#include <string.h>

/* A table larger than this, or with room for so many times its marks, is given back when all marks go: the next transaction
 * may be a small one, and clearing the table would be most of its work. */
#define KEPT_BITS 12u
#define KEPT_ROOM 16u

static size_t nr_places(const struct tp_marks *marks)
{
	return (size_t)1 << marks->bits;
}

static void make_free(struct tp_mark *table, size_t nr)
{
	static_assert(THINP_NO_BLOCK == UINT64_MAX, "all bits set");
	memset(table, 0xff, nr * sizeof(*table));
}

static void use_small(struct tp_marks *marks)
{
	marks->table = marks->small;
	marks->bits = TP_MARKS_SMALL_BITS;
}

void tp_marks_init(struct tp_marks *marks, const struct thinp_allocator *allocator)
{
	marks->allocator = *allocator;
	marks->nr = 0;
	use_small(marks);
	make_free(marks->table, nr_places(marks));
}

static void free_table(struct tp_marks *marks, struct tp_mark *table, size_t nr)
{
	if (table != marks->small)
		tp_free(&marks->allocator, table, nr * sizeof(*table));
}

void tp_marks_exit(struct tp_marks *marks)
{
	free_table(marks, marks->table, nr_places(marks));
}

static void put(struct tp_marks *marks, struct tp_mark mark)
{
	size_t place = tp_marks_home(marks, mark.block);

	while (marks->table[place].block != THINP_NO_BLOCK)
		place = tp_marks_next(marks, place);
	marks->table[place] = mark;
}

int tp_marks_make_room(struct tp_marks *marks)
{
	struct tp_mark *old = marks->table;
	size_t nr_old = nr_places(marks);
	struct tp_mark *table;

	if (marks->nr < nr_old * 2 / 3)
		return 0;
	table = tp_alloc_zeroed(&marks->allocator, 2 * nr_old, sizeof(*table));
	if (!table)
		return THINP_ENOMEM;
	make_free(table, 2 * nr_old);
	marks->table = table;
	marks->bits++;
	for (size_t i = 0; i < nr_old; i++)
		if (old[i].block != THINP_NO_BLOCK)
			put(marks, old[i]);
	free_table(marks, old, nr_old);
	return 0;
}

void tp_marks_add(struct tp_marks *marks, thinp_block_t block, struct thinp_buffer *buffer, void *data)
{
	struct tp_mark *mark = tp_marks_find(marks, block);

	if (mark) {
		mark->buffer = buffer;
		mark->data = data;
		return;
	}
	put(marks, (struct tp_mark){.block = block, .buffer = buffer, .data = data});
	marks->nr++;
}

/* May what stands at a place stand at the free one before it? Only if it belongs there or before. */
static bool may_move(const struct tp_marks *marks, size_t place, size_t to)
{
	size_t mask = nr_places(marks) - 1;
	size_t home = tp_marks_home(marks, marks->table[place].block);

	return ((place - home) & mask) >= ((place - to) & mask);
}

static void remove_at(struct tp_marks *marks, size_t hole)
{
	size_t place = tp_marks_next(marks, hole);

	for (; marks->table[place].block != THINP_NO_BLOCK; place = tp_marks_next(marks, place)) {
		if (may_move(marks, place, hole)) {
			marks->table[hole] = marks->table[place];
			hole = place;
		}
	}
	marks->table[hole].block = THINP_NO_BLOCK;
	marks->nr--;
}

typedef void (*gone_fn)(void *ctx, thinp_block_t block);

static void remove_mark(struct tp_marks *marks, struct tp_mark *mark, gone_fn gone, void *ctx)
{
	thinp_block_t block = mark->block;

	remove_at(marks, (size_t)(mark - marks->table));
	if (gone)
		gone(ctx, block);
}

/* What takes the place of a mark that goes is looked at next. One that comes from the front of the table to its end was
 * looked at before: once more does no harm. */
static void remove_by_table(struct tp_marks *marks, thinp_block_t first, uint64_t nr_blocks, gone_fn gone, void *ctx)
{
	size_t place = 0;

	while (place < nr_places(marks)) {
		struct tp_mark *mark = &marks->table[place];

		if (mark->block != THINP_NO_BLOCK && mark->block - first < nr_blocks)
			remove_mark(marks, mark, gone, ctx);
		else
			place++;
	}
}

void tp_marks_remove(struct tp_marks *marks, thinp_block_t first, uint64_t nr_blocks, gone_fn gone, void *ctx)
{
	if (nr_blocks > nr_places(marks)) {
		remove_by_table(marks, first, nr_blocks, gone, ctx);
		return;
	}
	for (uint64_t i = 0; i < nr_blocks; i++) {
		struct tp_mark *mark = tp_marks_find(marks, first + i);

		if (mark)
			remove_mark(marks, mark, gone, ctx);
	}
}

void tp_marks_clear(struct tp_marks *marks)
{
	if (marks->bits > KEPT_BITS || marks->nr * KEPT_ROOM < nr_places(marks)) {
		free_table(marks, marks->table, nr_places(marks));
		use_small(marks);
	}
	make_free(marks->table, nr_places(marks));
	marks->nr = 0;
}
