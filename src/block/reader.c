/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/reader.c - readers and their sections.
 *
 * Within a section the thread is announced in an epoch slot, so that buffers it finds cannot be used again under its
 * eyes. To fetch a block it leaves the epoch, does the I/O, holds the result by a pin, and enters again: no epoch is
 * held across I/O. Without a slot (more sections at once than there are slots) every block is fetched and pinned.
 */
#include "base/alloc.h"
#include "base/error.h"
#include "block/manager.h"

#include <inttypes.h>
#include <stdlib.h>

int thinp_reader_create(struct thinp_bm *bm, uint64_t nr_blocks, struct thinp_reader **out)
{
	struct thinp_reader *reader;
	uint64_t device_blocks;
	int r = thinp_io_size(bm->cache.io, &device_blocks);

	if (r)
		return r;
	reader = tp_alloc_zeroed(&bm->cache.allocator, 1, sizeof(*reader));
	if (!reader)
		return THINP_ENOMEM;
	reader->bm = bm;
	reader->nr_blocks = nr_blocks && nr_blocks < device_blocks ? nr_blocks : device_blocks;
	*out = reader;
	return 0;
}

void thinp_reader_destroy(struct thinp_reader *reader)
{
	if (reader)
		tp_free(&reader->bm->cache.allocator, reader, sizeof(*reader));
}

uint64_t thinp_reader_nr_blocks(const struct thinp_reader *reader)
{
	return reader->nr_blocks;
}

void tp_reader_follow_device(struct thinp_reader *reader)
{
	struct thinp_error_info before = {.size = sizeof(before)};

	thinp_error_last(&before);
	if (thinp_io_size(reader->bm->cache.io, &reader->nr_blocks))
		tp_error_restore(&before);
}

void thinp_read_begin(struct thinp_reader *reader, struct thinp_read_section *section)
{
	tp_read_begin(reader, section);
}

void thinp_read_end(struct thinp_read_section *section)
{
	tp_read_end(section);
}

static void drop_held(struct thinp_read_section *section)
{
	if (section->held)
		tp_cache_unpin(&section->reader->bm->cache, section->held);
	section->held = NULL;
}

void tp_reader_make_stale(struct thinp_reader *reader)
{
	atomic_store(&reader->is_stale, true);
}

uint64_t tp_reader_stamp_epoch(struct thinp_reader *reader)
{
	return tp_epoch_stamp(&reader->bm->cache.epochs);
}

uint64_t tp_reader_safe_epoch(struct thinp_reader *reader)
{
	return tp_epoch_safe(&reader->bm->cache.epochs);
}

const void *thinp_read_peek(struct thinp_read_section *section, thinp_block_t block,
			    const struct thinp_block_type *type)
{
	const struct thinp_buffer *buffer = tp_read_peek_buffer(section, block, type);

	return buffer ? buffer->data : NULL;
}

static int check_range(const struct thinp_reader *reader, thinp_block_t block, const struct thinp_block_type *type)
{
	if (block < reader->nr_blocks)
		return 0;
	return tp_fail(THINP_ECORRUPT, block, "%s beyond the end of the metadata, %" PRIu64 " blocks", type->name,
		       reader->nr_blocks);
}

/* Memory for the cache may have been missing: that has become nobody's failure. */
static int fetch_pinned(struct thinp_reader *reader, thinp_block_t block, const struct thinp_block_type *type,
			struct thinp_buffer **buffer)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r;

	thinp_error_last(&before);
	r = tp_cache_fetch(&reader->bm->cache, block, type, reader->nr_blocks, NULL, buffer);
	if (!r)
		tp_error_restore(&before);
	return r;
}

int tp_reader_pin(struct thinp_reader *reader, thinp_block_t block, const struct thinp_block_type *type,
		  struct thinp_buffer **out)
{
	struct tp_cache *cache = &reader->bm->cache;
	struct thinp_buffer *buffer;
	int r = check_range(reader, block, type);

	if (!r)
		r = tp_cache_pin(cache, block, type, &buffer);
	if (!r && !buffer)
		r = fetch_pinned(reader, block, type, &buffer);
	if (!r)
		*out = buffer;
	return r;
}

static int fetch(struct thinp_read_section *section, thinp_block_t block, const struct thinp_block_type *type,
		 const void **data)
{
	struct tp_cache *cache = &section->reader->bm->cache;
	struct thinp_buffer *buffer;
	int r;

	tp_read_leave(section);
	drop_held(section);
	r = fetch_pinned(section->reader, block, type, &buffer);
	section->slot = tp_epoch_enter(&cache->epochs);
	if (tp_reader_is_stale(section->reader)) { /* the bytes, or the failure, may be those of another owner */
		if (!r)
			tp_cache_unpin(cache, buffer);
		return tp_fail(THINP_ESTALE, block, "the view had to give way");
	}
	if (r)
		return r;
	section->held = buffer;
	*data = buffer->data;
	return 0;
}

int thinp_read_block(struct thinp_read_section *section, thinp_block_t block, const struct thinp_block_type *type,
		     const void **data)
{
	const void *cached = thinp_read_peek(section, block, type);
	int r;

	if (cached) {
		drop_held(section);
		*data = cached;
		return 0;
	}
	if (tp_reader_is_stale(section->reader))
		return tp_fail(THINP_ESTALE, block, "the view had to give way");
	r = check_range(section->reader, block, type);
	return r ? r : fetch(section, block, type, data);
}

static int by_number(const void *a, const void *b)
{
	thinp_block_t x = *(const thinp_block_t *)a;
	thinp_block_t y = *(const thinp_block_t *)b;

	return (x > y) - (x < y);
}

/* A prefetch is done in pieces of this size. */
#define PIECE 256u

/* Of the blocks named, the first that are in range and not in the cache; at most as many as wanted. Returns how many of
 * those named it has dealt with. */
static size_t choose(struct thinp_reader *reader, const thinp_block_t *blocks, size_t nr_blocks, size_t wanted,
		     thinp_block_t *piece, size_t *nr)
{
	size_t i;

	*nr = 0;
	for (i = 0; i < nr_blocks && *nr < wanted; i++)
		if (blocks[i] < reader->nr_blocks)
			piece[(*nr)++] = blocks[i];
	*nr = tp_cache_drop_cached(&reader->bm->cache, piece, *nr);
	return i;
}

/* Puts neighbours side by side, so that they can be read together, and what was named twice. */
static size_t sort_unique(thinp_block_t *piece, size_t nr)
{
	size_t nr_unique = 0;

	qsort(piece, nr, sizeof(piece[0]), by_number);
	for (size_t i = 0; i < nr; i++)
		if (!nr_unique || piece[i] != piece[nr_unique - 1])
			piece[nr_unique++] = piece[i];
	return nr_unique;
}

static void prefetch(struct thinp_reader *reader, const struct thinp_block_type *type, const thinp_block_t *blocks,
		     size_t nr_blocks)
{
	struct tp_cache *cache = &reader->bm->cache;
	size_t left = cache->limit / 4;
	thinp_block_t piece[PIECE];

	while (nr_blocks && left) {
		size_t nr;
		size_t nr_chosen = choose(reader, blocks, nr_blocks, left < PIECE ? left : PIECE, piece, &nr);

		nr = sort_unique(piece, nr);
		if (nr && !tp_cache_prefetch(cache, piece, nr, type))
			return;
		blocks += nr_chosen;
		nr_blocks -= nr_chosen;
		left -= nr;
	}
}

void thinp_reader_prefetch(struct thinp_reader *reader, const struct thinp_block_type *type,
			   const thinp_block_t *blocks, size_t nr_blocks)
{
	struct thinp_error_info before = {.size = sizeof(before)};

	thinp_error_last(&before);
	prefetch(reader, type, blocks, nr_blocks);
	tp_error_restore(&before);
}
