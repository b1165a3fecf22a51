/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/read.c - finding the bitmap, decoding it, and looking up what does not fit two bits.
 */
#include "space_map/read.h"

#include "base/bytes.h"
#include "base/error.h"
#include "format/address.h"

#include <thinp/btree.h>

#include <inttypes.h>
#include <string.h>

#define OVERFLOW 3u /* in a bitmap: the overflow tree has the count */

static const struct thinp_btree_type index_type = {
	.size = sizeof(index_type), .nr_levels = 1, .value_size = TP_INDEX_ENTRY_SIZE};
static const struct thinp_btree_type overflow_type = {.size = sizeof(overflow_type), .nr_levels = 1, .value_size = 4};

static const char *name_of(const struct tp_sm_view *view)
{
	return view->kind == TP_SM_DATA ? "data" : "metadata";
}

/* Copies a block out, so that nothing is held while callbacks run. */
static int read_copy(struct thinp_reader *reader, thinp_block_t block, const struct thinp_block_type *type, void *copy)
{
	struct thinp_read_section section;
	const void *data;
	int r;

	thinp_read_begin(reader, &section);
	r = thinp_read_block(&section, block, type, &data);
	if (!r)
		memcpy(copy, data, THINP_BLOCK_SIZE);
	thinp_read_end(&section);
	return r;
}

static int find_in_index_block(const struct tp_sm_view *view, uint64_t bitmap, struct tp_index_entry *entry)
{
	struct thinp_read_section section;
	const uint8_t *data;
	int r;

	thinp_read_begin(view->reader, &section);
	r = thinp_read_block(&section, view->root.bitmap_root, thinp_block_type_index(), (const void **)&data);
	if (!r)
		tp_index_entry_unpack(data + 16 + bitmap * TP_INDEX_ENTRY_SIZE, entry);
	thinp_read_end(&section);
	return r;
}

static int find_in_index_tree(const struct tp_sm_view *view, uint64_t bitmap, struct tp_index_entry *entry)
{
	uint8_t value[TP_INDEX_ENTRY_SIZE];
	int r = thinp_btree_lookup(view->reader, &index_type, view->root.bitmap_root, &bitmap, value);

	if (r == THINP_ENODATA)
		return tp_fail(THINP_ECORRUPT, view->root.bitmap_root,
			       "the index of the data space map has no entry for bitmap %" PRIu64, bitmap);
	if (!r)
		tp_index_entry_unpack(value, entry);
	return r;
}

int tp_sm_find_bitmap(const struct tp_sm_view *view, uint64_t bitmap, struct tp_index_entry *entry)
{
	struct tp_index_entry found;
	int r = view->kind == TP_SM_METADATA ? find_in_index_block(view, bitmap, &found)
					     : find_in_index_tree(view, bitmap, &found);

	if (!r) /* the hints in the entry are not used, so they may be wrong */
		r = tp_address_check(found.bitmap, thinp_reader_nr_blocks(view->reader), view->root.bitmap_root,
				     "index of a space map", "the bitmap");
	if (!r)
		*entry = found;
	return r;
}

static int find_overflow(const struct tp_sm_view *view, uint64_t block, uint32_t *count)
{
	uint8_t value[4];
	int r = thinp_btree_lookup(view->reader, &overflow_type, view->root.ref_count_root, &block, value);

	if (r == THINP_ENODATA)
		return tp_fail(THINP_ECORRUPT, view->root.ref_count_root,
			       "the overflow tree of the %s space map lacks block %" PRIu64, name_of(view), block);
	if (!r && tp_load_le32(value) < OVERFLOW)
		r = tp_fail(THINP_ECORRUPT, view->root.ref_count_root,
			    "the overflow tree of the %s space map has count %u for block %" PRIu64, name_of(view),
			    tp_load_le32(value), block);
	if (!r)
		*count = tp_load_le32(value);
	return r;
}

static int check_range(const struct tp_sm_view *view, uint64_t begin, uint64_t end)
{
	if (begin > end || end > view->root.nr_blocks)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK,
			       "blocks %" PRIu64 " to %" PRIu64 " of a %s space map of %" PRIu64, begin, end,
			       name_of(view), view->root.nr_blocks);
	return 0;
}

int tp_sm_count(const struct tp_sm_view *view, uint64_t block, uint32_t *count)
{
	struct thinp_read_section section;
	struct tp_index_entry entry;
	const void *data;
	uint32_t bits;
	int r;

	if (block >= view->root.nr_blocks)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "block %" PRIu64 " of a %s space map of %" PRIu64, block,
			       name_of(view), view->root.nr_blocks);
	r = tp_sm_find_bitmap(view, block / TP_BITMAP_NR_ENTRIES, &entry);
	if (r)
		return r;
	thinp_read_begin(view->reader, &section);
	r = thinp_read_block(&section, entry.bitmap, thinp_block_type_bitmap(), &data);
	if (!r)
		bits = tp_bitmap_get(data, (uint32_t)(block % TP_BITMAP_NR_ENTRIES));
	thinp_read_end(&section);
	if (r)
		return r;
	if (bits == OVERFLOW)
		return find_overflow(view, block, count);
	*count = bits;
	return 0;
}

/* A run that may still grow. */
struct run {
	uint64_t begin;
	uint64_t end;
	uint32_t count;
	tp_sm_run_fn fn;
	void *ctx;
};

static int end_run(const struct run *run)
{
	return run->begin < run->end ? run->fn(run->ctx, run->begin, run->end, run->count) : 0;
}

static int add_to_run(struct run *run, uint64_t block, uint32_t count)
{
	int r = 0;

	if (count != run->count) {
		r = end_run(run);
		run->begin = block;
		run->count = count;
	}
	run->end = block + 1;
	return r;
}

static int walk_bitmap(const struct tp_sm_view *view, uint64_t begin, uint64_t end, const uint8_t *data,
		       struct run *run)
{
	int r = 0;

	for (uint64_t block = begin; !r && block < end; block++) {
		uint32_t count = tp_bitmap_get(data, (uint32_t)(block % TP_BITMAP_NR_ENTRIES));

		if (count == OVERFLOW)
			r = find_overflow(view, block, &count);
		if (!r)
			r = add_to_run(run, block, count);
	}
	return r;
}

int tp_sm_walk(const struct tp_sm_view *view, uint64_t begin, uint64_t end, tp_sm_run_fn fn, void *ctx)
{
	struct run run = {.begin = begin, .end = begin, .fn = fn, .ctx = ctx};
	uint8_t data[THINP_BLOCK_SIZE];
	int r = check_range(view, begin, end);

	while (!r && begin < end) {
		uint64_t bitmap = begin / TP_BITMAP_NR_ENTRIES;
		uint64_t border = (bitmap + 1) * TP_BITMAP_NR_ENTRIES;
		struct tp_index_entry entry;

		if (border > end)
			border = end;
		r = tp_sm_find_bitmap(view, bitmap, &entry);
		if (!r)
			r = read_copy(view->reader, entry.bitmap, thinp_block_type_bitmap(), data);
		if (!r)
			r = walk_bitmap(view, begin, border, data, &run);
		begin = border;
	}
	return r ? r : end_run(&run);
}
