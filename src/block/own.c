/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/own.c - a few buffers of the writer's own, for when readers hold back all others.
 *
 * A buffer that readers find without a lock can be used again only when every section has ended that was open when it was
 * unlinked. A section may stay for as long as it likes, so with such buffers alone it could stop the writer. These are
 * found under the lock only, and kept by pins: when the block has been written and nobody has it pinned, the buffer is
 * free at once.
 *
 * Invariants
 *   1. A buffer of the writer's own is never in the radix table, and never in the list of free or of retired buffers.
 *   2. What is linked in it was changed in this transaction, or is about to be. After that it is unlinked, for a block
 *      that many read must be found without a lock.
 */
#include "block/cache.h"

#include "base/alloc.h"

#include <thinp/error.h>

#define DATA_BYTES ((size_t)TP_OWN_BUFFERS * THINP_BLOCK_SIZE)

static struct tp_chunk *make_chunk(struct tp_cache *cache)
{
	struct tp_chunk *own = tp_chunk_alloc(cache, TP_OWN_BUFFERS);

	if (!own)
		return NULL;
	own->data = tp_alloc_aligned(&cache->allocator, DATA_BYTES, THINP_BLOCK_SIZE);
	if (!own->data) {
		tp_free(&cache->allocator, own, tp_chunk_bytes(TP_OWN_BUFFERS));
		return NULL;
	}
	for (uint32_t i = 0; i < TP_OWN_BUFFERS; i++) {
		own->buffers[i].data = own->data + (size_t)i * THINP_BLOCK_SIZE;
		own->buffers[i].is_own = true;
	}
	return own;
}

int tp_own_make(struct tp_cache *cache)
{
	struct tp_chunk *own = make_chunk(cache);

	if (!own)
		return THINP_ENOMEM;
	atomic_fetch_add_explicit(&cache->counters.bytes, tp_chunk_bytes(TP_OWN_BUFFERS) + DATA_BYTES,
				  memory_order_relaxed);
	pthread_mutex_lock(&cache->lock);
	cache->own = own;
	pthread_mutex_unlock(&cache->lock);
	return 0;
}

void tp_own_exit(struct tp_cache *cache)
{
	if (!cache->own)
		return;
	tp_free(&cache->allocator, cache->own->data, DATA_BYTES);
	tp_free(&cache->allocator, cache->own, tp_chunk_bytes(TP_OWN_BUFFERS));
	cache->own = NULL;
}

struct thinp_buffer *tp_own_find(struct tp_cache *cache, thinp_block_t block)
{
	for (uint32_t i = 0; cache->own && i < TP_OWN_BUFFERS; i++) {
		struct thinp_buffer *buffer = &cache->own->buffers[i];

		if (buffer->state == TP_BUFFER_LINKED && buffer->block == block)
			return buffer;
	}
	return NULL;
}

static bool is_idle(const struct thinp_buffer *buffer)
{
	return buffer->state == TP_BUFFER_LINKED && !buffer->pins && !buffer->is_dirty;
}

struct thinp_buffer *tp_own_take(struct tp_cache *cache)
{
	struct thinp_buffer *taken = NULL;

	pthread_mutex_lock(&cache->lock);
	for (uint32_t i = 0; !taken && cache->own && i < TP_OWN_BUFFERS; i++) {
		struct thinp_buffer *buffer = &cache->own->buffers[i];

		if (is_idle(buffer))
			tp_cache_unlink(cache, buffer);
		if (buffer->state == TP_BUFFER_FREE)
			taken = buffer;
	}
	if (taken)
		taken->state = TP_BUFFER_IN_HAND;
	pthread_mutex_unlock(&cache->lock);
	return taken;
}

void tp_own_unlink_all(struct tp_cache *cache)
{
	for (uint32_t i = 0; cache->own && i < TP_OWN_BUFFERS; i++)
		if (cache->own->buffers[i].state == TP_BUFFER_LINKED)
			tp_cache_unlink(cache, &cache->own->buffers[i]);
}
