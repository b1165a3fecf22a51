/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/writer.c - writing changed blocks: sealed, sorted, copied side by side, in as few operations as possible.
 *
 * Invariants
 *   1. A block is clean only after the device has said that it was written.
 *   2. Once something has failed, nothing is written any more until the abort. What the device was told to forget or
 *      to lose cannot be known, so a second flush that succeeds would prove nothing.
 *   3. The commit record goes into the batch of the last writes, behind a flush: the device lets it through only when
 *      all before it has succeeded (thinp_io_batch()).
 *   4. A clean block in the cache is byte for byte what the device was told. Address and checksum may be filled in under
 *      the eyes of nobody: no reader can reach a block that is new in the transaction.
 *   5. What list_dirty() has listed stays where it is although no lock is held: the cache does not evict dirty blocks,
 *      and only the thread that writes makes blocks clean or unlinks dirty ones.
 */
#include "block/writer.h"

#include "base/alloc.h"
#include "base/error.h"
#include "block/huge_page.h"
#include "format/kind.h"

#include <stdlib.h>
#include <string.h>

#define MIN_ORDER   64u
#define FRONT_BYTES 1024u

void tp_writer_init(struct tp_writer *writer, struct tp_cache *cache)
{
	memset(writer, 0, sizeof(*writer));
	writer->cache = cache;
	/* the other half is for blocks that are read meanwhile */
	writer->max_dirty = cache->limit / 2 ? cache->limit / 2 : 1;
	writer->stage_blocks = cache->limit < TP_STAGE_MAX_BLOCKS ? cache->limit : TP_STAGE_MAX_BLOCKS;
}

static size_t stage_bytes(const struct tp_writer *writer)
{
	return writer->is_mapped ? TP_HUGE_PAGE_SIZE : ((size_t)writer->stage_blocks + 1) * THINP_BLOCK_SIZE;
}

/* In a huge page the blocks of a write are one piece of memory for the system and for the device, and not a page each. */
static uint8_t *take_stage(struct tp_writer *writer)
{
	if (writer->cache->use_huge_pages && writer->cache->limit >= TP_HUGE_CHUNK_BUFFERS)
		writer->stage = tp_huge_page_alloc();
	writer->is_mapped = writer->stage;
	if (!writer->stage)
		writer->stage = tp_alloc_aligned(&writer->cache->allocator, stage_bytes(writer), THINP_BLOCK_SIZE);
	return writer->stage;
}

static void free_stage(struct tp_writer *writer)
{
	if (writer->is_mapped)
		tp_huge_page_free(writer->stage);
	else
		tp_free(&writer->cache->allocator, writer->stage, stage_bytes(writer));
	writer->stage = NULL;
	writer->is_mapped = false;
}

/* Writes, a flush, the record, a flush. */
static size_t most_ops(const struct tp_writer *writer)
{
	return (size_t)writer->stage_blocks + 3;
}

static size_t fixed_bytes(const struct tp_writer *writer)
{
	return stage_bytes(writer) + most_ops(writer) * sizeof(*writer->ops);
}

static void count_bytes(struct tp_writer *writer, size_t more, size_t less)
{
	atomic_fetch_add_explicit(&writer->cache->counters.bytes, more - less, memory_order_relaxed);
}

void tp_writer_exit(struct tp_writer *writer)
{
	const struct thinp_allocator *allocator = &writer->cache->allocator;

	free_stage(writer);
	tp_free(allocator, writer->ops, most_ops(writer) * sizeof(*writer->ops));
	tp_free(allocator, writer->order, writer->order_size * sizeof(struct thinp_buffer *));
}

static int take_fixed(struct tp_writer *writer)
{
	const struct thinp_allocator *allocator = &writer->cache->allocator;

	if (!take_stage(writer))
		return THINP_ENOMEM;
	writer->ops = tp_alloc_zeroed(allocator, most_ops(writer), sizeof(*writer->ops));
	if (!writer->ops || tp_own_make(writer->cache)) {
		tp_free(allocator, writer->ops, most_ops(writer) * sizeof(*writer->ops));
		free_stage(writer);
		writer->ops = NULL;
		return THINP_ENOMEM;
	}
	count_bytes(writer, fixed_bytes(writer), 0);
	return 0;
}

/* Its content is of no use between two calls. */
static int grow_order(struct tp_writer *writer)
{
	const struct thinp_allocator *allocator = &writer->cache->allocator;
	uint32_t size = writer->order_size ? 2 * writer->order_size : MIN_ORDER;
	struct thinp_buffer **order = tp_alloc_zeroed(allocator, size, sizeof(struct thinp_buffer *));

	if (!order)
		return THINP_ENOMEM;
	tp_free(allocator, writer->order, writer->order_size * sizeof(struct thinp_buffer *));
	count_bytes(writer, size * sizeof(struct thinp_buffer *), writer->order_size * sizeof(struct thinp_buffer *));
	writer->order = order;
	writer->order_size = size;
	return 0;
}

/* The number of dirty blocks may be read without the lock: it changes only on this thread. */
int tp_writer_make_ready(struct tp_writer *writer)
{
	int r = writer->stage ? 0 : take_fixed(writer);

	if (!r && writer->cache->nr_dirty >= writer->order_size)
		r = grow_order(writer);
	return r;
}

static int by_block(const void *a, const void *b)
{
	thinp_block_t x = (*(struct thinp_buffer *const *)a)->block;
	thinp_block_t y = (*(struct thinp_buffer *const *)b)->block;

	return (x > y) - (x < y);
}

/* Lists the dirty blocks by address: not more than tp_writer_make_ready() has made room for. Returns how many; *locked:
 * one that is being changed and was left out, or NULL. */
static size_t list_dirty(struct tp_writer *writer, const struct thinp_buffer **locked)
{
	struct tp_cache *cache = writer->cache;
	size_t nr = 0;

	*locked = NULL;
	pthread_mutex_lock(&cache->lock);
	for (struct thinp_buffer *buffer = cache->changed; buffer; buffer = buffer->next_changed) {
		if (buffer->is_locked)
			*locked = buffer;
		else if (buffer->is_dirty)
			writer->order[nr++] = buffer;
	}
	pthread_mutex_unlock(&cache->lock);
	qsort(writer->order, nr, sizeof(writer->order[0]), by_block);
	return nr;
}

/* A block is in no near cache any more when it is written. The processor fetches ahead by itself, but not into a page that
 * nobody has looked into: so the front of each block is asked for while the one before it is worked on. */
static void ask_for_front(const struct thinp_buffer *buffer)
{
	for (size_t at = 0; at < FRONT_BYTES; at += 64)
		__builtin_prefetch(buffer->data + at);
}

/* Seals a block and copies it behind what the stage holds already. The operation before it takes it in when it is a
 * neighbour. Its outline is made now that it is in the processor's cache: it is changed no more before it has been written,
 * or, should that fail, has been forgotten. */
static void stage_block(struct tp_writer *writer, size_t at, struct thinp_buffer *buffer, size_t *nr_ops)
{
	uint8_t *copy = writer->stage + at * THINP_BLOCK_SIZE;
	struct thinp_io_op *last = *nr_ops ? &writer->ops[*nr_ops - 1] : NULL;

	tp_block_seal(buffer->data, buffer->block, atomic_load_explicit(&buffer->type, memory_order_relaxed));
	tp_buffer_outline(buffer);
	memcpy(copy, buffer->data, THINP_BLOCK_SIZE);
	if (last && last->block + last->nr_blocks == buffer->block)
		last->nr_blocks++;
	else
		writer->ops[(*nr_ops)++] = (struct thinp_io_op){
			.kind = THINP_IO_WRITE, .block = buffer->block, .nr_blocks = 1, .buffer = copy};
}

static void add_flush(struct tp_writer *writer, size_t *nr_ops)
{
	writer->ops[(*nr_ops)++] = (struct thinp_io_op){.kind = THINP_IO_FLUSH};
}

static void add_record(struct tp_writer *writer, const struct tp_record *record, size_t *nr_ops)
{
	uint8_t *copy = writer->stage + (size_t)writer->stage_blocks * THINP_BLOCK_SIZE;

	memcpy(copy, record->data, THINP_BLOCK_SIZE);
	tp_block_seal(copy, record->block, record->type);
	writer->ops[(*nr_ops)++] =
		(struct thinp_io_op){.kind = THINP_IO_WRITE, .block = record->block, .nr_blocks = 1, .buffer = copy};
	add_flush(writer, nr_ops);
}

static void note_clean(struct tp_writer *writer, struct thinp_buffer **buffers, size_t nr)
{
	pthread_mutex_lock(&writer->cache->lock);
	for (size_t i = 0; i < nr; i++)
		tp_cache_note_written(writer->cache, buffers[i]);
	pthread_mutex_unlock(&writer->cache->lock);
}

static void count_written(struct tp_writer *writer, size_t nr_blocks, size_t nr_ops)
{
	atomic_fetch_add_explicit(&writer->written, nr_blocks, memory_order_relaxed);
	atomic_fetch_add_explicit(&writer->write_ops, nr_ops, memory_order_relaxed);
}

/* What a failure in the last batch of a commit means. Only a record that was certainly not begun leaves the device with
 * the last commit. */
static int judge(const struct tp_writer *writer, size_t nr_ops, const struct tp_record *record, int r)
{
	const struct thinp_io_op *write = record ? &writer->ops[nr_ops - 2] : NULL;

	if (!r || !write || write->result == THINP_ECANCELED)
		return r;
	return tp_fail(THINP_EUNKNOWN, record->block, "the commit record or the flush behind it failed: %s",
		       thinp_strerror(r));
}

/* Writes buffers that fit the stage; with_flush: and makes everything durable, then the record. */
static int write_batch(struct tp_writer *writer, struct thinp_buffer **buffers, size_t nr, bool with_flush,
		       const struct tp_record *record)
{
	size_t nr_ops = 0;
	size_t nr_writes;
	int r;

	for (size_t i = 0; i < nr; i++) {
		if (i + 1 < nr)
			ask_for_front(buffers[i + 1]);
		stage_block(writer, i, buffers[i], &nr_ops);
	}
	nr_writes = nr_ops;
	if (with_flush)
		add_flush(writer, &nr_ops);
	if (record)
		add_record(writer, record, &nr_ops);
	r = thinp_io_batch(writer->cache->io, writer->ops, nr_ops);
	r = judge(writer, nr_ops, record, r);
	if (r) {
		writer->failure = r;
		return r;
	}
	note_clean(writer, buffers, nr);
	count_written(writer, nr + (record ? 1 : 0), nr_writes + (record ? 1 : 0));
	return 0;
}

static int call_before_first(struct tp_writer *writer)
{
	int r = writer->before_first ? writer->before_first(writer->before_first_ctx) : 0;

	if (r)
		writer->failure = r;
	else
		writer->before_first = NULL;
	return r;
}

static int write_all(struct tp_writer *writer, size_t nr, bool with_flush, const struct tp_record *record)
{
	size_t done = 0;
	int failure = call_before_first(writer);

	if (failure)
		return failure;
	for (; nr - done > writer->stage_blocks; done += writer->stage_blocks) {
		int r = write_batch(writer, writer->order + done, writer->stage_blocks, false, NULL);

		if (r)
			return r;
	}
	return write_batch(writer, writer->order + done, nr - done, with_flush, record);
}

int tp_writer_status(const struct tp_writer *writer)
{
	if (!writer->failure)
		return 0;
	if (writer->failure == THINP_EUNKNOWN)
		return tp_fail(THINP_EUNKNOWN, THINP_NO_BLOCK, "an earlier commit ended without anybody knowing how");
	return tp_fail(writer->failure, THINP_NO_BLOCK, "an earlier write or flush failed: the transaction must abort");
}

int tp_writer_make_room(struct tp_writer *writer)
{
	const struct thinp_buffer *locked;
	size_t nr = list_dirty(writer, &locked);
	int r;

	if (!nr)
		return 0;
	r = write_all(writer, nr, false, NULL);
	if (!r)
		atomic_fetch_add_explicit(&writer->written_early, nr, memory_order_relaxed);
	return r;
}

int tp_writer_flush(struct tp_writer *writer, const struct tp_record *record)
{
	const struct thinp_buffer *locked;
	size_t nr = list_dirty(writer, &locked);

	if (locked)
		return tp_fail(THINP_EINVAL, locked->block, "a block is still locked for a change");
	return write_all(writer, nr, true, record);
}
