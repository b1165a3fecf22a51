/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * array/read.c - values of arrays.
 *
 * A tree leads from the number of a block of values to the block. The numbers have no gaps, and every block but the
 * last is full, so the place of a value is computed.
 */
#include "array/values.h"

#include "base/bytes.h"
#include "base/opts.h"

#include <thinp/btree.h>

#include <inttypes.h>
#include <string.h>

static const struct thinp_btree_type tree_type = {.size = sizeof(tree_type), .nr_levels = 1, .value_size = 8};

int tp_array_type_take(struct thinp_array_type *dst, const struct thinp_array_type *src, uint32_t *per_block)
{
	int r = tp_opts_take(dst, sizeof(*dst), src);

	if (r)
		return r;
	*per_block = tp_array_max_entries(dst->value_size);
	if (!*per_block || dst->reserved)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "an array with values of %u bytes cannot be",
			       dst->value_size);
	return 0;
}

int tp_array_check_values(const struct thinp_array_type *type, thinp_block_t block, const void *data,
			  struct tp_array_header *header)
{
	int r = tp_array_block_unpack(data, header);

	if (!r && header->value_size != type->value_size)
		r = tp_fail(THINP_ECORRUPT, block,
			    "array block: values of %u bytes in an array with values of %u bytes", header->value_size,
			    type->value_size);
	return r;
}

int tp_array_read_values(struct thinp_read_section *section, const struct thinp_array_type *type, thinp_block_t block,
			 struct tp_array_header *header, const uint8_t **data)
{
	int r = thinp_read_block(section, block, thinp_block_type_array(), (const void **)data);

	return r ? r : tp_array_check_values(type, block, *data, header);
}

int tp_array_too_short(uint64_t index)
{
	return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "the array has no value %" PRIu64, index);
}

int thinp_array_get(struct thinp_reader *reader, const struct thinp_array_type *user_type, thinp_block_t root,
		    uint64_t index, void *value_le)
{
	struct thinp_read_section section;
	struct thinp_array_type type;
	struct tp_array_header header;
	const uint8_t *data;
	uint8_t address[8];
	uint32_t per_block;
	uint64_t number;
	uint32_t slot;
	int r = tp_array_type_take(&type, user_type, &per_block);

	if (r)
		return r;
	number = index / per_block;
	slot = (uint32_t)(index % per_block);
	r = thinp_btree_lookup(reader, &tree_type, root, &number, address);
	if (r)
		return r == THINP_ENODATA ? tp_array_too_short(index) : r;
	thinp_read_begin(reader, &section);
	r = tp_array_read_values(&section, &type, tp_load_le64(address), &header, &data);
	if (!r && slot >= header.nr_entries)
		r = tp_array_too_short(index);
	if (!r)
		memcpy(value_le, data + TP_ARRAY_HEADER_SIZE + (size_t)slot * type.value_size, type.value_size);
	thinp_read_end(&section);
	return r;
}

int thinp_array_nr_values(struct thinp_reader *reader, const struct thinp_array_type *user_type, thinp_block_t root,
			  uint64_t *nr_values)
{
	struct thinp_read_section section;
	struct thinp_array_type type;
	struct tp_array_header header;
	const uint8_t *data;
	uint8_t address[8];
	struct thinp_error_info before = {.size = sizeof(before)};
	uint32_t per_block;
	uint64_t number;
	int r = tp_array_type_take(&type, user_type, &per_block);

	thinp_error_last(&before);
	if (!r)
		r = thinp_btree_last(reader, &tree_type, root, &number, address);
	if (r == THINP_ENODATA) {
		tp_error_restore(&before); /* an empty array is no failure */
		*nr_values = 0;
		return 0;
	}
	if (r)
		return r;
	thinp_read_begin(reader, &section);
	r = tp_array_read_values(&section, &type, tp_load_le64(address), &header, &data);
	thinp_read_end(&section);
	if (r)
		return r;
	if (number > (UINT64_MAX - header.nr_entries) / per_block)
		return tp_fail(THINP_ECORRUPT, root, "array: a block of values has number %" PRIu64, number);
	*nr_values = number * per_block + header.nr_entries;
	return 0;
}

struct walk {
	struct thinp_reader *reader;
	struct thinp_array_type type;
	uint32_t per_block;
	uint64_t next; /* index that comes next */
	uint64_t end;
	thinp_block_t short_block; /* a block that was not full, which only the last may be; THINP_NO_BLOCK: none */
	thinp_array_span_fn fn;
	void *ctx;
};

/* Tells what the walk wants of one block of values. A copy, so that nothing is held during the callback. */
static int walk_block(struct walk *walk, uint64_t number, thinp_block_t block)
{
	struct thinp_read_section section;
	struct tp_array_header header;
	uint8_t copy[THINP_BLOCK_SIZE];
	const uint8_t *data;
	uint64_t base = number * walk->per_block;
	uint64_t end = walk->end - base < walk->per_block ? walk->end : base + walk->per_block;
	struct thinp_array_span span = {.size = sizeof(span), .block = block, .value_size = walk->type.value_size};
	int r;

	thinp_read_begin(walk->reader, &section);
	r = tp_array_read_values(&section, &walk->type, block, &header, &data);
	if (!r)
		memcpy(copy, data, sizeof(copy));
	thinp_read_end(&section);
	if (r)
		return r;
	if (base + header.nr_entries < end) {
		walk->short_block = block;
		return 0;
	}
	span.begin = walk->next;
	span.nr_values = (uint32_t)(end - walk->next);
	span.values_le = copy + TP_ARRAY_HEADER_SIZE + (size_t)(walk->next - base) * walk->type.value_size;
	walk->next = end;
	return walk->fn(walk->ctx, &span);
}

static int walk_leaf(void *ctx, const struct thinp_btree_span *leaf)
{
	const uint8_t *keys = leaf->keys_le;
	const uint8_t *values = leaf->values_le;
	struct walk *walk = ctx;
	thinp_block_t blocks[64];
	uint32_t ahead = 0;

	for (uint32_t i = 0; i < leaf->nr_entries; i++) {
		uint64_t number = tp_load_le64(keys + 8 * (size_t)i);
		int r;

		if (walk->short_block != THINP_NO_BLOCK)
			return tp_fail(THINP_ECORRUPT, walk->short_block,
				       "array block: not full, but not the last one");
		if (number != walk->next / walk->per_block)
			return tp_fail(THINP_ECORRUPT, leaf->block,
				       "array: there are values behind %" PRIu64 ", but not it", walk->next);
		if (i == ahead) {
			for (; ahead < leaf->nr_entries && ahead < i + 64; ahead++)
				blocks[ahead - i] = tp_load_le64(values + 8 * (size_t)ahead);
			thinp_reader_prefetch(walk->reader, thinp_block_type_array(), blocks, ahead - i);
		}
		r = walk_block(walk, number, tp_load_le64(values + 8 * (size_t)i));
		if (r)
			return r;
	}
	return 0;
}

int thinp_array_walk(struct thinp_reader *reader, const struct thinp_array_type *user_type, thinp_block_t root,
		     uint64_t begin, uint64_t end, thinp_array_span_fn fn, void *ctx)
{
	struct walk walk = {
		.reader = reader, .next = begin, .end = end, .short_block = THINP_NO_BLOCK, .fn = fn, .ctx = ctx};
	uint64_t first, last;
	int r = tp_array_type_take(&walk.type, user_type, &walk.per_block);

	if (r || begin >= end)
		return r;
	first = begin / walk.per_block;
	last = (end - 1) / walk.per_block;
	r = thinp_btree_walk_range(reader, &tree_type, root, &first, &last, walk_leaf, &walk);
	return !r && walk.next < end ? tp_array_too_short(walk.next) : r;
}

int thinp_bitset_test(struct thinp_reader *reader, thinp_block_t root, uint64_t bit, bool *is_set)
{
	static const struct thinp_array_type words = {.size = sizeof(words), .value_size = 8};
	uint8_t word[8];
	int r = thinp_array_get(reader, &words, root, bit / 64, word);

	if (!r)
		*is_set = tp_load_le64(word) >> (bit % 64) & 1;
	return r;
}
