/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/cache.h - the buffers of a block manager: found without a lock, fetched and dropped under one.
 */
#ifndef TP_BLOCK_CACHE_H
#define TP_BLOCK_CACHE_H

#include "base/epoch.h"
#include "block/radix.h"

#include <thinp/allocator.h>
#include <thinp/format.h>
#include <thinp/io.h>

#include <pthread.h>

#define TP_CHUNK_MAX_BUFFERS 64u

/* A buffer is in exactly one of four states: free, in the hands of the thread that fills it, linked (readers can find
 * it), retired (no new reader can find it, an old one may still look at it). */
enum tp_buffer_state { TP_BUFFER_FREE, TP_BUFFER_FILLING, TP_BUFFER_LINKED, TP_BUFFER_RETIRED };

struct tp_buffer {
	thinp_block_t block;
	uint8_t *data;                                 /* 4096 bytes, aligned to 4096 */
	_Atomic(const struct thinp_block_type *) type; /* the kind that the content was checked as */
	atomic_bool used;                              /* since the clock's hand came by */
	bool is_private;                               /* not of the cache: belongs to one section */
	uint8_t state;                                 /* enum tp_buffer_state */
	uint32_t pins;                                 /* readers that hold it across I/O; under the lock */
	struct tp_buffer *next;                        /* in the list of free or retired buffers */
	uint64_t stamp;                                /* of a retired buffer */
};

/* Buffers are made in chunks, as they are needed. */
struct tp_chunk {
	uint8_t *data;
	struct tp_buffer *buffers;
	uint32_t nr_buffers;
};

struct tp_cache_counters {
	_Atomic uint64_t misses;
	_Atomic uint64_t prefetched;
	_Atomic uint64_t evictions;
	_Atomic uint64_t uncached;
	_Atomic uint64_t slotless_hits;
	_Atomic uint64_t bytes;
};

struct tp_cache {
	struct thinp_io *io;
	struct thinp_allocator allocator;
	struct tp_epochs epochs;
	struct tp_radix table;
	struct tp_cache_counters counters;

	pthread_mutex_t
		lock;        /* all below, and changes of the table; never held across I/O or a call of the allocator */
	uint32_t limit;      /* most buffers */
	uint32_t nr_buffers; /* made, or about to be made by somebody */
	uint32_t nr_linked;
	uint32_t nr_retired;
	struct tp_buffer *free;
	struct tp_buffer *retired_first; /* oldest stamp first */
	struct tp_buffer *retired_last;
	struct tp_chunk *chunks;
	uint32_t nr_chunks;
	uint32_t max_chunks;
	uint32_t hand_chunk; /* the clock's hand */
	uint32_t hand_buffer;
};

int tp_cache_init(struct tp_cache *cache, struct thinp_io *io, const struct thinp_allocator *allocator, uint32_t limit);

/* Releases all memory. No reader may be left. */
void tp_cache_exit(struct tp_cache *cache);

/* A block that the cache has, checked as the kind; NULL otherwise. Lock-free, within an epoch. */
static inline struct tp_buffer *tp_cache_find(struct tp_cache *cache, thinp_block_t block,
					      const struct thinp_block_type *type)
{
	struct tp_buffer *buffer = tp_radix_find(&cache->table, block);

	if (!buffer || atomic_load_explicit(&buffer->type, memory_order_acquire) != type)
		return NULL;
	if (!atomic_load_explicit(&buffer->used, memory_order_relaxed))
		atomic_store_explicit(&buffer->used, true, memory_order_relaxed);
	return buffer;
}

/* The block, from the device if need be, checked as the kind and pinned: it stays until tp_cache_unpin(). Outside of
 * an epoch. */
int tp_cache_fetch(struct tp_cache *cache, thinp_block_t block, const struct thinp_block_type *type,
		   struct tp_buffer **buffer);
void tp_cache_unpin(struct tp_cache *cache, struct tp_buffer *buffer);

/* Fetches blocks in as few operations as possible; tells nothing. blocks ascend, none is beyond the device. */
void tp_cache_prefetch(struct tp_cache *cache, const thinp_block_t *blocks, size_t nr_blocks,
		       const struct thinp_block_type *type);

/* For the two halves of the cache: buffers.c gives buffers, cache.c fills them. The lock is taken inside. */
struct tp_buffer *tp_cache_take_buffer(struct tp_cache *cache);                /* NULL: none can be had now */
void tp_cache_return_buffer(struct tp_cache *cache, struct tp_buffer *buffer); /* not linked */

#endif
