/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/buffers.c - where the cache's buffers come from: made in chunks up to the limit, then taken from blocks that
 * have not been used for a while.
 *
 * Eviction is a clock: the hand goes round all buffers, passes over those used since it last came by, and unlinks
 * others. The read that fetched a block is not counted as use, so blocks that are read once go first. An unlinked buffer
 * is retired, and free as soon as every reader that might still look at it has gone.
 */
#include "block/cache.h"
#include "block/huge_page.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>
#include <utlist.h>

/* So many are evicted together, for one look at the readers' slots; fewer when that were more than 1/16 of all. */
#define MAX_EVICT_BATCH 8u

/* So many blocks without use are dropped at a time, for readers may wait for the lock. */
#define NR_DROPPED_AT_ONCE 64u

/* So many marks of use are taken away in one go. Who waits for the lock shall not wait for a round of a large cache. */
#define MAX_MARKS_TAKEN 1024u

int tp_cache_init(struct tp_cache *cache, struct thinp_io *io, const struct thinp_allocator *allocator, uint32_t limit)
{
	memset(cache, 0, sizeof(*cache));
	cache->io = io;
	cache->allocator = *allocator;
	cache->limit = limit;
	if (pthread_mutex_init(&cache->lock, NULL))
		return tp_fail(THINP_ENOMEM, THINP_NO_BLOCK, "no lock for the block cache");
	tp_epoch_init(&cache->epochs);
	tp_radix_init(&cache->table, &cache->epochs);
	return 0;
}

struct tp_chunk *tp_chunk_alloc(struct tp_cache *cache, uint32_t nr_buffers)
{
	size_t nbytes = tp_chunk_bytes(nr_buffers);
	struct tp_chunk *chunk = tp_alloc_aligned(&cache->allocator, nbytes, alignof(struct tp_chunk));

	if (!chunk)
		return NULL;
	memset(chunk, 0, nbytes);
	chunk->nr_buffers = nr_buffers;
	return chunk;
}

static void free_chunk(struct tp_cache *cache, struct tp_chunk *chunk)
{
	if (chunk->is_mapped)
		tp_huge_page_free(chunk->data);
	else
		tp_free(&cache->allocator, chunk->data, (size_t)chunk->nr_buffers * THINP_BLOCK_SIZE);
	tp_free(&cache->allocator, chunk, tp_chunk_bytes(chunk->nr_buffers));
}

void tp_cache_exit(struct tp_cache *cache)
{
	struct tp_radix_node *node;
	struct tp_chunk *chunk;

	tp_attachment_exit(cache);
	while ((node = tp_radix_dismantle(&cache->table)))
		tp_free(&cache->allocator, node, sizeof(*node));
	while ((chunk = cache->chunks)) {
		cache->chunks = chunk->next;
		free_chunk(cache, chunk);
	}
	tp_own_exit(cache);
	pthread_mutex_destroy(&cache->lock);
}

static void push_free(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	buffer->state = TP_BUFFER_FREE;
	if (buffer->is_own)
		return; /* tp_own_take() finds it */
	buffer->next = cache->free;
	cache->free = buffer;
}

static struct thinp_buffer *pop_free(struct tp_cache *cache)
{
	struct thinp_buffer *buffer = cache->free;

	if (!buffer)
		return NULL;
	cache->free = buffer->next;
	buffer->next = NULL;
	buffer->state = TP_BUFFER_IN_HAND;
	return buffer;
}

void tp_cache_note_outdated(struct tp_cache *cache, thinp_block_t block)
{
	cache->change_counts[block % TP_CHANGE_COUNTS]++;
}

void tp_cache_note_change(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	buffer->is_locked = true;
	cache->nr_locked++;
	if (!buffer->is_dirty) {
		buffer->is_dirty = true;
		if (buffer->has_attachment)
			tp_attachment_detach(cache, buffer);
		atomic_store_explicit(&buffer->outlined, TP_NO_OUTLINE, memory_order_relaxed);
		cache->nr_dirty++;
		tp_cache_note_outdated(cache, buffer->block);
	}
	if (!buffer->is_changed) {
		buffer->is_changed = true;
		DL_APPEND2(cache->changed, buffer, prev_changed, next_changed);
	}
}

void tp_cache_unlock(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	buffer->is_locked = false;
	cache->nr_locked--;
	tp_cache_drop_pin(cache, buffer);
}

void tp_cache_note_written(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	if (buffer->is_dirty) {
		buffer->is_dirty = false;
		cache->nr_dirty--;
	}
}

void tp_cache_note_no_change(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	tp_cache_note_written(cache, buffer);
	if (buffer->is_changed) {
		buffer->is_changed = false;
		DL_DELETE2(cache->changed, buffer, prev_changed, next_changed);
	}
}

/* Its stamp is taken when it is neither linked nor pinned, so the stamps in the list ascend, and nothing in it waits for
 * more than readers that are announced. */
static void retire(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	if (buffer->is_own) {
		push_free(cache, buffer); /* nobody finds it without a pin */
		return;
	}
	buffer->state = TP_BUFFER_RETIRED;
	buffer->stamp = tp_epoch_stamp(&cache->epochs);
	buffer->next = NULL;
	if (cache->retired_first)
		cache->retired_last->next = buffer;
	else
		cache->retired_first = buffer;
	cache->retired_last = buffer;
	cache->nr_retired++;
}

void tp_cache_drop_unlinked(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	tp_cache_note_no_change(cache, buffer);
	if (!buffer->is_own)
		cache->nr_linked--;
	if (buffer->has_attachment)
		tp_attachment_detach(cache, buffer);
	atomic_store(&buffer->outlined, TP_NO_OUTLINE);
	buffer->state = TP_BUFFER_UNLINKED;
	if (!buffer->pins)
		retire(cache, buffer);
}

void tp_cache_drop_pin(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	buffer->pins--;
	if (!buffer->pins && buffer->state == TP_BUFFER_UNLINKED)
		retire(cache, buffer);
}

void tp_cache_unlink(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	if (!buffer->is_own)
		tp_radix_remove(&cache->table, buffer->block);
	tp_cache_drop_unlinked(cache, buffer);
}

static struct thinp_buffer *advance_hand(struct tp_cache *cache)
{
	struct tp_chunk *chunk = cache->hand_chunk;
	struct thinp_buffer *buffer = &chunk->buffers[cache->hand_buffer];

	if (++cache->hand_buffer == chunk->nr_buffers) {
		cache->hand_buffer = 0;
		cache->hand_chunk = chunk->next ? chunk->next : cache->chunks;
	}
	return buffer;
}

/* Says whether the buffer had a mark, and takes it away. A use at the same moment may get lost: it is only a mark. */
static bool take_mark(struct thinp_buffer *buffer)
{
	if (atomic_load_explicit(&buffer->use, memory_order_relaxed) != TP_USED)
		return false;
	atomic_store_explicit(&buffer->use, TP_UNUSED, memory_order_relaxed);
	return true;
}

/* Two rounds of the hand at most: the first may only take away marks. */
static void evict(struct tp_cache *cache, uint32_t wanted)
{
	uint64_t steps = cache->chunks ? 2 * (uint64_t)cache->nr_buffers : 0;
	uint32_t marks_taken = 0;

	for (; steps && wanted && cache->nr_linked; steps--) {
		struct thinp_buffer *buffer = advance_hand(cache);

		if (buffer->state != TP_BUFFER_LINKED || buffer->pins || buffer->is_dirty)
			continue;
		if (marks_taken < MAX_MARKS_TAKEN && take_mark(buffer)) {
			marks_taken++;
			continue;
		}
		tp_cache_unlink(cache, buffer);
		atomic_fetch_add_explicit(&cache->counters.evictions, 1, memory_order_relaxed);
		wanted--;
	}
}

static uint32_t evict_batch(const struct tp_cache *cache)
{
	uint32_t part = cache->limit / 16;

	if (part < 1)
		return 1;
	return part < MAX_EVICT_BATCH ? part : MAX_EVICT_BATCH;
}

static void free_retired(struct tp_cache *cache)
{
	uint64_t safe = cache->retired_first ? tp_epoch_safe(&cache->epochs) : 0;

	while (cache->retired_first && cache->retired_first->stamp < safe) {
		struct thinp_buffer *buffer = cache->retired_first;

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

static struct thinp_buffer *find_free(struct tp_cache *cache)
{
	if (!cache->free)
		free_retired(cache);
	if (!cache->free && cache->nr_retired < most_retired(cache)) {
		evict(cache, evict_batch(cache));
		free_retired(cache);
	}
	return pop_free(cache);
}

static struct tp_chunk *make_chunk(struct tp_cache *cache, uint32_t nr_buffers)
{
	size_t data_bytes = (size_t)nr_buffers * THINP_BLOCK_SIZE;
	struct tp_chunk *chunk = tp_chunk_alloc(cache, nr_buffers);

	if (!chunk)
		return NULL;
	if (cache->use_huge_pages && data_bytes == TP_HUGE_PAGE_SIZE)
		chunk->data = tp_huge_page_alloc();
	chunk->is_mapped = chunk->data;
	if (!chunk->data)
		chunk->data = tp_alloc_aligned(&cache->allocator, data_bytes, THINP_BLOCK_SIZE);
	if (!chunk->data) {
		free_chunk(cache, chunk);
		return NULL;
	}
	for (uint32_t i = 0; i < nr_buffers; i++)
		chunk->buffers[i].data = chunk->data + (size_t)i * THINP_BLOCK_SIZE;
	atomic_fetch_add_explicit(&cache->counters.bytes, data_bytes + tp_chunk_bytes(nr_buffers),
				  memory_order_relaxed);
	return chunk;
}

/* The buffers are pushed from the last to the first, so that they are taken, and later evicted, in ascending order. */
static void add_chunk(struct tp_cache *cache, struct tp_chunk *chunk)
{
	if (cache->last_chunk)
		cache->last_chunk->next = chunk;
	else
		cache->chunks = cache->hand_chunk = chunk;
	cache->last_chunk = chunk;
	for (uint32_t i = chunk->nr_buffers; i--;)
		push_free(cache, &chunk->buffers[i]);
}

/* Room for a chunk is claimed under the lock, the memory is taken without it. When there is none for more buffers, those
 * that are there must do, and that is nobody's failure. */
static struct thinp_buffer *grow(struct tp_cache *cache, uint32_t nr_buffers, enum tp_taker taker)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	struct thinp_buffer *buffer;
	struct tp_chunk *chunk;

	thinp_error_last(&before);
	chunk = make_chunk(cache, nr_buffers);
	if (!chunk)
		tp_error_restore(&before);
	pthread_mutex_lock(&cache->lock);
	if (chunk)
		add_chunk(cache, chunk);
	else
		cache->nr_buffers -= nr_buffers;
	buffer = taker == TP_FOR_NEIGHBOURS ? pop_free(cache) : find_free(cache);
	pthread_mutex_unlock(&cache->lock);
	return buffer;
}

/* A huge page of them when so many may still come. */
static uint32_t buffers_of_next_chunk(const struct tp_cache *cache)
{
	uint32_t left = cache->limit - cache->nr_buffers;

	if (cache->use_huge_pages && left >= TP_HUGE_CHUNK_BUFFERS)
		return TP_HUGE_CHUNK_BUFFERS;
	return left < TP_CHUNK_MAX_BUFFERS ? left : TP_CHUNK_MAX_BUFFERS;
}

/* A free one, or room for more in *to_grow. For neighbours, no block is dropped. */
static struct thinp_buffer *find_or_claim(struct tp_cache *cache, enum tp_taker taker, uint32_t *to_grow)
{
	struct thinp_buffer *buffer = pop_free(cache);

	if (!buffer && cache->retired_first) {
		free_retired(cache);
		buffer = pop_free(cache);
	}
	if (buffer)
		return buffer;
	if (cache->nr_buffers == cache->limit)
		return taker == TP_FOR_NEIGHBOURS ? NULL : find_free(cache);
	*to_grow = buffers_of_next_chunk(cache);
	cache->nr_buffers += *to_grow;
	return NULL;
}

struct thinp_buffer *tp_cache_take_buffer(struct tp_cache *cache, enum tp_taker taker)
{
	struct thinp_buffer *buffer = NULL;
	uint32_t to_grow = 0;

	pthread_mutex_lock(&cache->lock);
	if (taker == TP_FOR_CHANGE || !cache->is_reserved)
		buffer = find_or_claim(cache, taker, &to_grow);
	pthread_mutex_unlock(&cache->lock);
	return to_grow ? grow(cache, to_grow, taker) : buffer;
}

/* What is dropped has not been looked at for a while: all buffers are asked for before the first one is needed. */
static void drop_some(struct tp_cache *cache, const thinp_block_t *blocks, size_t nr_blocks)
{
	struct thinp_buffer *buffers[NR_DROPPED_AT_ONCE];

	pthread_mutex_lock(&cache->lock);
	for (size_t i = 0; i < nr_blocks; i++) {
		buffers[i] = tp_radix_find(&cache->table, blocks[i]);
		__builtin_prefetch(buffers[i], 1);
	}
	for (size_t i = 0; i < nr_blocks; i++)
		if (buffers[i] && !buffers[i]->pins && !buffers[i]->is_changed)
			tp_cache_unlink(cache, buffers[i]);
	pthread_mutex_unlock(&cache->lock);
}

void tp_cache_drop_unused(struct tp_cache *cache, const thinp_block_t *blocks, size_t nr_blocks)
{
	while (nr_blocks) {
		size_t nr = nr_blocks < NR_DROPPED_AT_ONCE ? nr_blocks : NR_DROPPED_AT_ONCE;

		drop_some(cache, blocks, nr);
		blocks += nr;
		nr_blocks -= nr;
	}
}

void tp_cache_reuse_dropped(struct tp_cache *cache)
{
	pthread_mutex_lock(&cache->lock);
	free_retired(cache);
	pthread_mutex_unlock(&cache->lock);
}

void tp_cache_reserve(struct tp_cache *cache, bool is_reserved)
{
	pthread_mutex_lock(&cache->lock);
	cache->is_reserved = is_reserved;
	pthread_mutex_unlock(&cache->lock);
}

void tp_cache_return_buffer(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	pthread_mutex_lock(&cache->lock);
	push_free(cache, buffer);
	pthread_mutex_unlock(&cache->lock);
}
