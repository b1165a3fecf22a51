/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * array/cursor.c - one value at a time.
 */
#include "array/values.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/manager.h"

#include <thinp/btree.h>

#include <stdalign.h>
#include <string.h>

enum place { NOWHERE, ON_VALUE, BEHIND_LAST };

struct thinp_array_cursor {
	struct thinp_reader *reader;
	struct thinp_array_type type;
	uint32_t per_block;
	thinp_block_t root;
	uint64_t nr_values;
	enum place place;
	bool has_block;
	uint64_t index;
	uint64_t number; /* of the block in data */
	uint32_t nr_in_it;
	alignas(64) uint8_t data[THINP_BLOCK_SIZE];
};

int thinp_array_cursor_create(struct thinp_reader *reader, const struct thinp_array_type *user_type, thinp_block_t root,
			      uint64_t nr_values, struct thinp_array_cursor **out)
{
	struct thinp_array_cursor *cursor;
	struct thinp_array_type type;
	uint32_t per_block;
	int r = tp_array_type_take(&type, user_type, &per_block);

	if (r)
		return r;
	cursor = tp_alloc_aligned(tp_reader_allocator(reader), sizeof(*cursor), alignof(struct thinp_array_cursor));
	if (!cursor)
		return THINP_ENOMEM;
	cursor->reader = reader;
	cursor->type = type;
	cursor->per_block = per_block;
	cursor->root = root;
	cursor->nr_values = nr_values;
	cursor->place = NOWHERE;
	cursor->has_block = false;
	cursor->index = 0;
	*out = cursor;
	return 0;
}

void thinp_array_cursor_destroy(struct thinp_array_cursor *cursor)
{
	if (cursor)
		tp_free(tp_reader_allocator(cursor->reader), cursor, sizeof(*cursor));
}

static int fetch(struct thinp_array_cursor *cursor, uint64_t number)
{
	static const struct thinp_btree_type tree_type = {.size = sizeof(tree_type), .nr_levels = 1, .value_size = 8};
	struct thinp_read_section section;
	struct tp_array_header header;
	const uint8_t *data;
	uint8_t address[8];
	int r = thinp_btree_lookup(cursor->reader, &tree_type, cursor->root, &number, address);

	if (r)
		return r == THINP_ENODATA ? tp_fail(THINP_ECORRUPT, cursor->root,
						    "array: the owner's length asks for a block that is not there")
					  : r;
	thinp_read_begin(cursor->reader, &section);
	r = tp_array_read_values(&section, &cursor->type, tp_load_le64(address), &header, &data);
	if (!r)
		memcpy(cursor->data, data, sizeof(cursor->data));
	thinp_read_end(&section);
	if (r)
		return r;
	cursor->has_block = true;
	cursor->number = number;
	cursor->nr_in_it = header.nr_entries;
	return 0;
}

int thinp_array_cursor_seek(struct thinp_array_cursor *cursor, uint64_t index)
{
	uint64_t number = index / cursor->per_block;
	int r = 0;

	if (index >= cursor->nr_values) {
		cursor->place = BEHIND_LAST;
		return tp_array_too_short(index);
	}
	cursor->place = NOWHERE;
	if (!cursor->has_block || cursor->number != number)
		r = fetch(cursor, number);
	if (r)
		return r;
	if (index % cursor->per_block >= cursor->nr_in_it)
		return tp_fail(THINP_ECORRUPT, cursor->root, "array: a block of values has only %u of them",
			       cursor->nr_in_it);
	cursor->index = index;
	cursor->place = ON_VALUE;
	return 0;
}

int thinp_array_cursor_skip(struct thinp_array_cursor *cursor, uint64_t distance)
{
	uint64_t index = cursor->index;

	if (cursor->place == BEHIND_LAST)
		return tp_array_too_short(cursor->nr_values);
	if (cursor->place == NOWHERE) {
		if (!distance)
			return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "the cursor stands on no value");
		index = UINT64_MAX; /* one before the first */
	}
	if (cursor->place == ON_VALUE && distance > UINT64_MAX - index)
		index = UINT64_MAX - distance;
	return thinp_array_cursor_seek(cursor, index + distance);
}

int thinp_array_cursor_next(struct thinp_array_cursor *cursor)
{
	return thinp_array_cursor_skip(cursor, 1);
}

int thinp_array_cursor_get(const struct thinp_array_cursor *cursor, uint64_t *index, void *value_le)
{
	uint32_t size = cursor->type.value_size;

	if (cursor->place != ON_VALUE)
		return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "the cursor stands on no value");
	if (index)
		*index = cursor->index;
	if (value_le)
		memcpy(value_le, cursor->data + TP_ARRAY_HEADER_SIZE + cursor->index % cursor->per_block * size, size);
	return 0;
}
