/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/buffers.c - where the cache's buffers come from: made in chunks up to the limit, then taken from blocks that
 * have not been used for a while.
 *
 * Eviction is a clock: the hand goes round all buffers, passes over those used since it last came by, and unlinks
 * others. An unlinked buffer is retired, and free as soon as every reader that might still look at it has gone.
 */
#include "block/cache.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

/* So many are evicted together, for one look at the readers' slots. */
#define EVICT_BATCH 8u

int tp_cache_init(struct tp_cache *cache, struct thinp_io *io, const struct thinp_allocator *allocator, uint32_t limit)
{
	memset(cache, 0, sizeof(*cache));
	cache->io = io;
	cache->allocator = *allocator;
	cache->limit = limit;
	cache->max_chunks = limit / TP_CHUNK_MAX_BUFFERS + (limit % TP_CHUNK_MAX_BUFFERS != 0);
	cache->chunks = tp_alloc_zeroed(allocator, cache->max_chunks, sizeof(*cache->chunks));
	if (!cache->chunks)
		return THINP_ENOMEM;
	if (pthread_mutex_init(&cache->lock, NULL)) {
		tp_free(allocator, cache->chunks, cache->max_chunks * sizeof(*cache->chunks));
		return tp_fail(THINP_ENOMEM, THINP_NO_BLOCK, "no lock for the block cache");
	}
	tp_epoch_init(&cache->epochs);
	tp_radix_init(&cache->table, &cache->epochs);
	atomic_store(&cache->counters.bytes, cache->max_chunks * sizeof(*cache->chunks));
	return 0;
}

static void free_chunk(struct tp_cache *cache, struct tp_chunk *chunk)
{
	tp_free(&cache->allocator, chunk->buffers, chunk->nr_buffers * sizeof(*chunk->buffers));
	tp_free(&cache->allocator, chunk->data, (size_t)chunk->nr_buffers * THINP_BLOCK_SIZE);
}

void tp_cache_exit(struct tp_cache *cache)
{
	struct tp_radix_node *node;

	while ((node = tp_radix_dismantle(&cache->table)))
		tp_free(&cache->allocator, node, sizeof(*node));
	for (uint32_t i = 0; i < cache->nr_chunks; i++)
		free_chunk(cache, &cache->chunks[i]);
	tp_free(&cache->allocator, cache->chunks, cache->max_chunks * sizeof(*cache->chunks));
	pthread_mutex_destroy(&cache->lock);
}

static void push_free(struct tp_cache *cache, struct tp_buffer *buffer)
{
	buffer->state = TP_BUFFER_FREE;
	buffer->next = cache->free;
	cache->free = buffer;
}

static struct tp_buffer *pop_free(struct tp_cache *cache)
{
	struct tp_buffer *buffer = cache->free;

	if (!buffer)
		return NULL;
	cache->free = buffer->next;
	buffer->next = NULL;
	buffer->state = TP_BUFFER_FILLING;
	return buffer;
}

static void retire(struct tp_cache *cache, struct tp_buffer *buffer)
{
	tp_radix_remove(&cache->table, buffer->block);
	buffer->state = TP_BUFFER_RETIRED;
	buffer->stamp = tp_epoch_stamp(&cache->epochs);
	buffer->next = NULL;
	if (cache->retired_first)
		cache->retired_last->next = buffer;
	else
		cache->retired_first = buffer;
	cache->retired_last = buffer;
	cache->nr_retired++;
	cache->nr_linked--;
	atomic_fetch_add_explicit(&cache->counters.evictions, 1, memory_order_relaxed);
}

static struct tp_buffer *advance_hand(struct tp_cache *cache)
{
	struct tp_chunk *chunk = &cache->chunks[cache->hand_chunk];
	struct tp_buffer *buffer = &chunk->buffers[cache->hand_buffer];

	if (++cache->hand_buffer == chunk->nr_buffers) {
		cache->hand_buffer = 0;
		if (++cache->hand_chunk == cache->nr_chunks)
			cache->hand_chunk = 0;
	}
	return buffer;
}

/* Two rounds of the hand at most: the first may only take away the mark of use. */
static void evict(struct tp_cache *cache, uint32_t wanted)
{
	uint64_t steps = cache->nr_chunks ? 2 * (uint64_t)cache->nr_buffers : 0;

	for (; steps && wanted && cache->nr_linked; steps--) {
		struct tp_buffer *buffer = advance_hand(cache);

		if (buffer->state != TP_BUFFER_LINKED || buffer->pins)
			continue;
		if (atomic_exchange_explicit(&buffer->used, false, memory_order_relaxed))
			continue;
		retire(cache, buffer);
		wanted--;
	}
}

static void free_retired(struct tp_cache *cache)
{
	uint64_t safe = cache->retired_first ? tp_epoch_safe(&cache->epochs) : 0;

	while (cache->retired_first && cache->retired_first->stamp < safe) {
		struct tp_buffer *buffer = cache->retired_first;

		cache->retired_first = buffer->next;
		cache->nr_retired--;
		push_free(cache, buffer);
	}
}

/* When a reader stays in its section for long, retired buffers pile up. Then no more blocks are driven out for its
 * sake than this part of the cache. */
static uint32_t most_retired(const struct tp_cache *cache)
{
	return cache->limit / 4 + 1;
}

static struct tp_buffer *find_free(struct tp_cache *cache)
{
	if (!cache->free)
		free_retired(cache);
	if (!cache->free && cache->nr_retired < most_retired(cache)) {
		evict(cache, cache->limit < 4 * EVICT_BATCH ? 1 : EVICT_BATCH);
		free_retired(cache);
	}
	return pop_free(cache);
}

static bool make_chunk(struct tp_cache *cache, struct tp_chunk *chunk, uint32_t nr_buffers)
{
	chunk->nr_buffers = nr_buffers;
	chunk->data = tp_alloc_aligned(&cache->allocator, (size_t)nr_buffers * THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	chunk->buffers = tp_alloc_zeroed(&cache->allocator, nr_buffers, sizeof(*chunk->buffers));
	if (!chunk->data || !chunk->buffers) {
		free_chunk(cache, chunk);
		return false;
	}
	for (uint32_t i = 0; i < nr_buffers; i++)
		chunk->buffers[i].data = chunk->data + (size_t)i * THINP_BLOCK_SIZE;
	atomic_fetch_add_explicit(&cache->counters.bytes, nr_buffers * (THINP_BLOCK_SIZE + sizeof(*chunk->buffers)),
				  memory_order_relaxed);
	return true;
}

/* Room for a chunk is claimed under the lock, the memory is taken without it. */
static struct tp_buffer *grow(struct tp_cache *cache, uint32_t nr_buffers)
{
	struct tp_chunk chunk;
	struct tp_buffer *buffer;
	bool made = make_chunk(cache, &chunk, nr_buffers);

	pthread_mutex_lock(&cache->lock);
	if (made) {
		cache->chunks[cache->nr_chunks++] = chunk;
		for (uint32_t i = 0; i < nr_buffers; i++)
			push_free(cache, &chunk.buffers[i]);
		buffer = pop_free(cache);
	} else {
		cache->nr_buffers -= nr_buffers;
		buffer = find_free(cache); /* what there is must do */
	}
	pthread_mutex_unlock(&cache->lock);
	return buffer;
}

struct tp_buffer *tp_cache_take_buffer(struct tp_cache *cache)
{
	struct tp_buffer *buffer;
	uint32_t to_grow = 0;

	pthread_mutex_lock(&cache->lock);
	buffer = pop_free(cache);
	if (!buffer && cache->nr_buffers < cache->limit) {
		to_grow = cache->limit - cache->nr_buffers;
		if (to_grow > TP_CHUNK_MAX_BUFFERS)
			to_grow = TP_CHUNK_MAX_BUFFERS;
		cache->nr_buffers += to_grow;
	} else if (!buffer) {
		buffer = find_free(cache);
	}
	pthread_mutex_unlock(&cache->lock);
	return to_grow ? grow(cache, to_grow) : buffer;
}

void tp_cache_return_buffer(struct tp_cache *cache, struct tp_buffer *buffer)
{
	pthread_mutex_lock(&cache->lock);
	push_free(cache, buffer);
	pthread_mutex_unlock(&cache->lock);
}
