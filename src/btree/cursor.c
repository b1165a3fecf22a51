/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/cursor.c - one entry at a time, both ways.
 */
#include "base/alloc.h"
#include "block/manager.h"
#include "btree/path.h"

#include <string.h>

/* Of functions of a few instructions that are called for each entry: processors that do not keep a jump decoded when it ends at
 * a multiple of 32 bytes take a fifth longer for them where the linker happens to put them so. */
#define ALIGNED __attribute__((aligned(32)))

enum place { NOWHERE, BEFORE_FIRST, ON_ENTRY, BEHIND_LAST };

/* What a step within the leaf looks at stands side by side. */
struct thinp_btree_cursor {
	enum place place;
	uint32_t index;      /* in the leaf of the path */
	uint32_t end;        /* entries before this one can be stepped to within the leaf; 0: there is more to do */
	bool is_plain;       /* stands on an entry of the most common kind: one key, and a value of 8 bytes */
	bool is_moved;       /* to another root: of the path, only the keys of the entry count */
	uint64_t generation; /* of what the reader sees, when the cursor was given its root */
	const uint64_t *generation_now;
	const uint8_t *values_le; /* of the leaf */
	struct tp_path path;
};

static void init(struct thinp_btree_cursor *cursor, struct thinp_reader *reader, const struct thinp_btree_type *type,
		 thinp_block_t root)
{
	tp_path_init(&cursor->path, reader, type, root);
	cursor->place = NOWHERE;
	cursor->index = 0;
	cursor->end = 0;
	cursor->generation = tp_reader_generation(reader);
	cursor->generation_now = reader->generation ? reader->generation : &cursor->generation;
	cursor->is_plain = false;
	cursor->is_moved = false;
}

int thinp_btree_cursor_create(struct thinp_reader *reader, const struct thinp_btree_type *user_type, thinp_block_t root,
			      struct thinp_btree_cursor **out)
{
	struct thinp_btree_cursor *cursor;
	struct thinp_btree_type type;
	int r = tp_btree_type_take(&type, user_type);

	if (r)
		return r;
	cursor = tp_alloc_aligned(tp_reader_allocator(reader), sizeof(*cursor), alignof(struct thinp_btree_cursor));
	if (!cursor)
		return THINP_ENOMEM;
	init(cursor, reader, &type, root);
	*out = cursor;
	return 0;
}

void thinp_btree_cursor_destroy(struct thinp_btree_cursor *cursor)
{
	if (cursor)
		tp_free(tp_reader_allocator(cursor->path.reader), cursor, sizeof(*cursor));
}

static int arrive(struct thinp_btree_cursor *cursor, int r, enum place at_end)
{
	const struct tp_path *path = &cursor->path;

	cursor->place = !r ? ON_ENTRY : r == THINP_ENODATA ? at_end : NOWHERE;
	cursor->end = r ? 0 : path->nr_entries;
	cursor->values_le = r ? NULL : tp_node_values(path->leaf);
	cursor->is_plain = !r && path->type.nr_levels == 1 && path->type.value_size == 8;
	return r == THINP_ENODATA ? tp_fail(r, THINP_NO_BLOCK, "no more entries") : r;
}

/* Leaves may be empty, and the place sought may be behind the last entry of one. */
static int settle_forward(struct thinp_btree_cursor *cursor, int r)
{
	while (!r && cursor->index >= cursor->path.nr_entries) {
		r = tp_path_next_leaf(&cursor->path);
		cursor->index = 0;
	}
	return arrive(cursor, r, BEHIND_LAST);
}

static int settle_backward(struct thinp_btree_cursor *cursor, int r)
{
	while (!r && !cursor->path.nr_entries)
		r = tp_path_prev_leaf(&cursor->path);
	if (!r)
		cursor->index = cursor->path.nr_entries - 1;
	return arrive(cursor, r, BEFORE_FIRST);
}

static inline bool is_fresh(const struct thinp_btree_cursor *cursor)
{
	return *cursor->generation_now == cursor->generation;
}

/* An open transaction that was changed may have put other things into the blocks that the path goes through. */
static int check_fresh(const struct thinp_btree_cursor *cursor)
{
	if (is_fresh(cursor))
		return 0;
	return tp_fail(THINP_ESTALE, THINP_NO_BLOCK, "the transaction was changed: give the cursor its new root");
}

static int seek(struct thinp_btree_cursor *cursor, const uint64_t *keys)
{
	cursor->is_moved = false;
	return settle_forward(cursor, tp_path_seek(&cursor->path, keys, &cursor->index));
}

static int go_first(struct thinp_btree_cursor *cursor)
{
	cursor->is_moved = false;
	cursor->index = 0;
	return settle_forward(cursor, tp_path_first(&cursor->path));
}

static int go_last(struct thinp_btree_cursor *cursor)
{
	cursor->is_moved = false;
	return settle_backward(cursor, tp_path_last(&cursor->path));
}

static int step_forward(struct thinp_btree_cursor *cursor)
{
	cursor->index++;
	return settle_forward(cursor, 0);
}

static int step_backward(struct thinp_btree_cursor *cursor)
{
	if (!cursor->index)
		return settle_backward(cursor, tp_path_prev_leaf(&cursor->path));
	cursor->index--;
	return 0;
}

/* Stands on the key of the cursor in its new tree, or on the next one if it is gone from there: *is_there false. */
static int find_again(struct thinp_btree_cursor *cursor, bool *is_there)
{
	uint64_t before[THINP_BTREE_MAX_LEVELS], keys[THINP_BTREE_MAX_LEVELS];
	int r = thinp_btree_cursor_get(cursor, before, NULL);

	if (!r)
		r = seek(cursor, before);
	if (!r)
		r = thinp_btree_cursor_get(cursor, keys, NULL);
	*is_there = !r && !memcmp(before, keys, cursor->path.type.nr_levels * sizeof(*keys));
	return r;
}

int thinp_btree_cursor_seek(struct thinp_btree_cursor *cursor, const uint64_t *keys)
{
	int r = check_fresh(cursor);

	return r ? r : seek(cursor, keys);
}

int thinp_btree_cursor_first(struct thinp_btree_cursor *cursor)
{
	int r = check_fresh(cursor);

	return r ? r : go_first(cursor);
}

int thinp_btree_cursor_last(struct thinp_btree_cursor *cursor)
{
	int r = check_fresh(cursor);

	return r ? r : go_last(cursor);
}

/* Not inlined, as prev() and get() are not: else what they need on the stack is made for each step. */
static __attribute__((noinline)) int next(struct thinp_btree_cursor *cursor)
{
	bool is_there = true;
	int r = check_fresh(cursor);

	if (r)
		return r;
	if (cursor->place == BEHIND_LAST)
		return arrive(cursor, THINP_ENODATA, BEHIND_LAST);
	if (cursor->place != ON_ENTRY)
		return go_first(cursor);
	if (cursor->is_moved)
		r = find_again(cursor, &is_there);
	return r || !is_there ? r : step_forward(cursor);
}

/* All but one of some hundred steps stay in the leaf. */
ALIGNED int thinp_btree_cursor_next(struct thinp_btree_cursor *cursor)
{
	uint32_t index = cursor->index + 1;

	if (index >= cursor->end || !is_fresh(cursor))
		return next(cursor);
	cursor->index = index;
	return 0;
}

static __attribute__((noinline)) int prev(struct thinp_btree_cursor *cursor)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	bool is_there;
	int r = check_fresh(cursor);

	if (r)
		return r;
	if (cursor->place == BEFORE_FIRST)
		return arrive(cursor, THINP_ENODATA, BEFORE_FIRST);
	if (cursor->place != ON_ENTRY)
		return go_last(cursor);
	if (!cursor->is_moved)
		return step_backward(cursor);
	thinp_error_last(&before);
	r = find_again(cursor, &is_there);
	if (r == THINP_ENODATA) {
		tp_error_restore(&before);
		return go_last(cursor);
	}
	return r ? r : step_backward(cursor);
}

ALIGNED int thinp_btree_cursor_prev(struct thinp_btree_cursor *cursor)
{
	if (!cursor->index || !cursor->end || !is_fresh(cursor))
		return prev(cursor);
	cursor->index--;
	return 0;
}

void thinp_btree_cursor_set_root(struct thinp_btree_cursor *cursor, thinp_block_t root)
{
	cursor->path.root = root;
	cursor->generation = tp_reader_generation(cursor->path.reader);
	cursor->is_moved = true;
	cursor->end = 0;
}

static __attribute__((noinline)) int get(const struct thinp_btree_cursor *cursor, uint64_t *keys, void *value_le)
{
	const struct tp_path *path = &cursor->path;
	uint32_t nr_upper = path->type.nr_levels - 1;

	if (cursor->place != ON_ENTRY)
		return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "the cursor stands on no entry");
	if (keys) {
		memcpy(keys, path->keys, nr_upper * sizeof(*keys));
		keys[nr_upper] = tp_node_key(path->leaf, cursor->index);
	}
	if (value_le)
		memcpy(value_le, cursor->values_le + (size_t)cursor->index * path->type.value_size,
		       path->type.value_size);
	return 0;
}

ALIGNED int thinp_btree_cursor_get(const struct thinp_btree_cursor *cursor, uint64_t *keys, void *value_le)
{
	if (!cursor->is_plain || !keys || !value_le)
		return get(cursor, keys, value_le);
	*keys = tp_node_key(cursor->path.leaf, cursor->index);
	memcpy(value_le, cursor->values_le + 8 * (size_t)cursor->index, 8);
	return 0;
}

int thinp_btree_last(struct thinp_reader *reader, const struct thinp_btree_type *user_type, thinp_block_t root,
		     uint64_t *keys, void *value_le)
{
	struct thinp_btree_cursor cursor;
	struct thinp_btree_type type;
	int r = tp_btree_type_take(&type, user_type);

	if (r)
		return r;
	init(&cursor, reader, &type, root);
	r = go_last(&cursor);
	return r ? r : thinp_btree_cursor_get(&cursor, keys, value_le);
}
