/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/manager.h - what the block manager and its readers are made of.
 */
#ifndef TP_BLOCK_MANAGER_H
#define TP_BLOCK_MANAGER_H

#include "block/cache.h"
#include "block/writer.h"

#include <thinp/block.h>

struct thinp_bm {
	struct tp_cache cache;
	struct tp_writer writer;
	uint64_t nr_blocks; /* that the device had when it was asked in this transaction; 0: not asked yet */
};

struct thinp_reader {
	struct thinp_bm *bm;
	uint64_t nr_blocks;
	const uint64_t
		*generation; /* counts the changes of the transaction that the reader sees; NULL: what it sees stays */
	_Atomic bool is_stale; /* what it shows may be used again: every read answers THINP_ESTALE */
};

/* What the reader showed is given up. Its blocks may be used again when tp_reader_safe_epoch() has passed the stamp that
 * tp_reader_stamp_epoch() gives after this call. */
void tp_reader_make_stale(struct thinp_reader *reader);
uint64_t tp_reader_stamp_epoch(struct thinp_reader *reader);
uint64_t tp_reader_safe_epoch(struct thinp_reader *reader);

/* The section has announced itself before it looks here: whoever made the reader stale waits for it, or it is seen here. */
static inline bool tp_reader_is_stale(const struct thinp_reader *reader)
{
	return atomic_load(&reader->is_stale);
}

/* thinp_read_begin() and thinp_read_end(), for those who have so little to do in between that a call counts. */
static inline void tp_read_begin_in(struct thinp_reader *reader, struct tp_epoch_slot *slot,
				    struct thinp_read_section *section)
{
	section->reader = reader;
	section->slot = slot;
	section->held = NULL;
	section->hits = 0;
}

static inline void tp_read_begin(struct thinp_reader *reader, struct thinp_read_section *section)
{
	tp_read_begin_in(reader, tp_epoch_enter(&reader->bm->cache.epochs), section);
}

/* Without a slot nothing is found, so there are no hits. */
static inline void tp_read_leave(struct thinp_read_section *section)
{
	struct tp_epoch_slot *slot = section->slot;

	if (!slot)
		return;
	tp_epoch_add_work(slot, section->hits);
	tp_epoch_leave(slot);
	section->slot = NULL;
	section->hits = 0;
}

static inline void tp_read_end(struct thinp_read_section *section)
{
	if (section->held)
		tp_cache_unpin(&section->reader->bm->cache, section->held);
	tp_read_leave(section);
}

/* As thinp_read_peek(), but gives the buffer. */
static inline struct thinp_buffer *tp_read_peek_buffer(struct thinp_read_section *section, thinp_block_t block,
						       const struct thinp_block_type *type)
{
	struct thinp_reader *reader = section->reader;
	struct thinp_buffer *buffer;

	if (!section->slot || block >= reader->nr_blocks || tp_reader_is_stale(reader))
		return NULL;
	buffer = tp_cache_find(&reader->bm->cache, block, type);
	section->hits += buffer != NULL;
	return buffer;
}

/* Of the sections that looked at nr blocks, is this one of those to be counted? About one for each 64 blocks that were found:
 * so no counter is shared by threads that read. At the end of the section. */
static inline bool tp_read_is_sample(const struct thinp_read_section *section, uint64_t nr)
{
	const struct tp_epoch_slot *slot = section->slot;
	uint64_t found = slot ? atomic_load_explicit(&slot->work, memory_order_relaxed) + section->hits : 0;

	return (found ^ (found - nr)) >= 64 && slot;
}

/* A number that is another one after each change of what the reader sees. */
static inline uint64_t tp_reader_generation(const struct thinp_reader *reader)
{
	return reader->generation ? *reader->generation : 0;
}

/* May blocks be changed? Fails as the locks do, and takes the memory for writing while failing is still harmless. */
int tp_bm_may_change(struct thinp_bm *bm);

/* Has something happened, a write that failed or a commit that nobody knows the end of, after which only an abort helps? */
static inline bool tp_bm_has_failed(const struct thinp_bm *bm)
{
	return bm->writer.failure;
}

/* As thinp_bm_write_lock_zero(), with this content; NULL: zeros. */
int tp_bm_write_lock_filled(struct thinp_bm *bm, thinp_block_t block, const struct thinp_block_type *type,
			    const void *content, struct thinp_buffer **buffer, void **data);

/* Does a buffer that was locked for a block before still hold it, dirty and unlocked, while nothing stands in the way of
 * changes? Then the thread that changes blocks may write to it, lock or no lock, until it calls anything: for dirty
 * buffers belong to that thread, and others leave them where they are. */
static inline bool tp_bm_is_writable(const struct thinp_bm *bm, const struct thinp_buffer *buffer, thinp_block_t block,
				     const struct thinp_block_type *type)
{
	return buffer->is_dirty && !buffer->is_locked && buffer->block == block && !bm->writer.failure &&
	       atomic_load_explicit(&buffer->type, memory_order_relaxed) == type;
}

/* Locks a buffer that was locked for the same block before, unless that takes more than looking at it: false. No lock of
 * the cache is needed. */
static inline bool tp_bm_relock(struct thinp_bm *bm, struct thinp_buffer *buffer, thinp_block_t block,
				const struct thinp_block_type *type)
{
	if (!tp_bm_is_writable(bm, buffer, block, type))
		return false;
	buffer->is_locked = buffer->is_light = true;
	bm->cache.nr_locked++;
	return true;
}

/* Something that must be right on the device before the block manager writes to it for the first time. The function is not
 * called under a lock; when it fails, so does the write, and the next one calls it again. */
static inline void tp_bm_call_before_first_write(struct thinp_bm *bm, int (*fn)(void *ctx), void *ctx)
{
	bm->writer.before_first = fn;
	bm->writer.before_first_ctx = ctx;
}

/* A block as readers get it, but pinned: it stays until tp_cache_unpin(). Outside of a section. */
int tp_reader_pin(struct thinp_reader *reader, thinp_block_t block, const struct thinp_block_type *type,
		  struct thinp_buffer **buffer);

/* Lets the reader see as much as the device has now. Nobody may be using it. When the device does not tell, all stays. */
void tp_reader_follow_device(struct thinp_reader *reader);

/* Neither the last commit nor anybody who reads has a use for these blocks any more, each of which is named once; and that
 * was all, for now. */
static inline void tp_reader_drop_unused(struct thinp_reader *reader, const thinp_block_t *blocks, size_t nr_blocks)
{
	tp_cache_drop_unused(&reader->bm->cache, blocks, nr_blocks);
}

static inline void tp_reader_reuse_dropped(struct thinp_reader *reader)
{
	tp_cache_reuse_dropped(&reader->bm->cache);
}

/* The allocator of the block manager, for objects that live as long as the reader. */
static inline const struct thinp_allocator *tp_reader_allocator(const struct thinp_reader *reader)
{
	return &reader->bm->cache.allocator;
}

#endif
