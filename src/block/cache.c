/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/cache.c - fetching blocks from the device into the cache.
 *
 * Invariants
 *   1. A buffer is linked only after its content has been checked as the kind that was asked for.
 *   2. A linked buffer's content does not change.
 *   3. No lock is held while the device or the allocator works. Two readers may therefore fetch the same block at the
 *      same time; the second one to finish finds the first one's buffer and gives its own back.
 *   4. A buffer in hand belongs to one thread or section, which gives it back or links it, whatever fails.
 */
#include "block/cache.h"

#include "base/alloc.h"
#include "base/error.h"
#include "format/kind.h"

#include <string.h>

static void add_bytes(struct tp_cache *cache, size_t nbytes)
{
	atomic_fetch_add_explicit(&cache->counters.bytes, nbytes, memory_order_relaxed);
}

/* A buffer of one section's own, for when the cache can give none: all are pinned, retired, or being filled. */
static struct tp_buffer *make_private(struct tp_cache *cache)
{
	struct tp_buffer *buffer = tp_alloc_zeroed(&cache->allocator, 1, sizeof(*buffer));

	if (!buffer)
		return NULL;
	buffer->data = tp_alloc_aligned(&cache->allocator, THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	if (!buffer->data) {
		tp_free(&cache->allocator, buffer, sizeof(*buffer));
		return NULL;
	}
	buffer->is_private = true;
	buffer->state = TP_BUFFER_IN_HAND;
	add_bytes(cache, sizeof(*buffer) + THINP_BLOCK_SIZE);
	return buffer;
}

/* Gives up a buffer in hand. */
static void release(struct tp_cache *cache, struct tp_buffer *buffer)
{
	if (buffer->is_private) {
		atomic_fetch_sub_explicit(&cache->counters.bytes, sizeof(*buffer) + THINP_BLOCK_SIZE,
					  memory_order_relaxed);
		tp_free(&cache->allocator, buffer->data, THINP_BLOCK_SIZE);
		tp_free(&cache->allocator, buffer, sizeof(*buffer));
	} else {
		tp_cache_return_buffer(cache, buffer);
	}
}

/* Takes the lock with enough spare nodes for the table; false without the lock when there is no memory for them. */
static bool lock_with_nodes(struct tp_cache *cache, thinp_block_t block)
{
	for (;;) {
		struct tp_radix_node *node;

		pthread_mutex_lock(&cache->lock);
		if (!tp_radix_nodes_missing(&cache->table, block))
			return true;
		pthread_mutex_unlock(&cache->lock);

		node = tp_alloc_zeroed(&cache->allocator, 1, sizeof(*node));
		if (!node)
			return false;
		add_bytes(cache, sizeof(*node));
		pthread_mutex_lock(&cache->lock);
		tp_radix_add_spare(&cache->table, node);
		pthread_mutex_unlock(&cache->lock);
	}
}

/* Makes a filled buffer findable. Gives the buffer that is to be gone on with, pinned as often as asked: this one, or
 * the one that somebody else linked meanwhile. NULL when there is no memory for nodes. */
static struct tp_buffer *link_buffer(struct tp_cache *cache, struct tp_buffer *buffer, uint32_t pins)
{
	struct tp_buffer *linked;

	if (!lock_with_nodes(cache, buffer->block))
		return NULL;
	linked = tp_radix_find(&cache->table, buffer->block);
	if (!linked) {
		linked = buffer;
		linked->state = TP_BUFFER_LINKED;
		tp_radix_insert(&cache->table, linked->block, linked);
		cache->nr_linked++;
	}
	linked->pins += pins;
	pthread_mutex_unlock(&cache->lock);
	return linked;
}

static struct tp_buffer *pin_linked(struct tp_cache *cache, thinp_block_t block)
{
	struct tp_buffer *buffer;

	pthread_mutex_lock(&cache->lock);
	buffer = tp_radix_find(&cache->table, block);
	if (buffer)
		buffer->pins++;
	pthread_mutex_unlock(&cache->lock);
	return buffer;
}

/* The state may be read without the lock: it does not change while the buffer is in hand or pinned. */
void tp_cache_unpin(struct tp_cache *cache, struct tp_buffer *buffer)
{
	if (buffer->state == TP_BUFFER_IN_HAND) {
		release(cache, buffer);
		return;
	}
	pthread_mutex_lock(&cache->lock);
	buffer->pins--;
	pthread_mutex_unlock(&cache->lock);
}

/* A pinned buffer may have been checked as another kind; then it must pass as this one too. */
static int ensure_type(struct tp_cache *cache, struct tp_buffer *buffer, const struct thinp_block_type *type)
{
	int r = 0;

	if (atomic_load_explicit(&buffer->type, memory_order_acquire) != type) {
		r = tp_block_verify(buffer->data, buffer->block, type);
		if (r)
			tp_cache_unpin(cache, buffer);
		else
			atomic_store_explicit(&buffer->type, type, memory_order_release);
	}
	return r;
}

/* Makes a buffer in hand what its content was found to be. */
static void prepare(struct tp_buffer *buffer, thinp_block_t block, const struct thinp_block_type *type,
		    enum tp_buffer_use use)
{
	buffer->block = block;
	atomic_store_explicit(&buffer->type, type, memory_order_release);
	atomic_store_explicit(&buffer->use, (uint8_t)use, memory_order_relaxed);
}

static int fill(struct tp_cache *cache, struct tp_buffer *buffer, thinp_block_t block,
		const struct thinp_block_type *type)
{
	int r = thinp_io_read(cache->io, block, 1, buffer->data);

	if (r)
		return r;
	r = tp_block_verify(buffer->data, block, type);
	if (!r)
		prepare(buffer, block, type, TP_UNUSED);
	return r;
}

/* Links what was fetched. Where that cannot be done, the section keeps the buffer in hand until it needs it no more. */
static int keep(struct tp_cache *cache, struct tp_buffer *buffer, const struct thinp_block_type *type,
		struct tp_buffer **out)
{
	struct tp_buffer *linked = buffer->is_private ? NULL : link_buffer(cache, buffer, 1);
	int r = 0;

	if (!linked) {
		atomic_fetch_add_explicit(&cache->counters.uncached, 1, memory_order_relaxed);
		linked = buffer;
	} else if (linked != buffer) {
		release(cache, buffer);
		r = ensure_type(cache, linked, type);
	}
	if (!r)
		*out = linked;
	return r;
}

static int fetch_from_device(struct tp_cache *cache, thinp_block_t block, const struct thinp_block_type *type,
			     struct tp_buffer **out)
{
	struct tp_buffer *buffer = tp_cache_take_buffer(cache);
	int r;

	if (!buffer)
		buffer = make_private(cache);
	if (!buffer)
		return THINP_ENOMEM;
	r = fill(cache, buffer, block, type);
	if (r) {
		release(cache, buffer);
		return r;
	}
	return keep(cache, buffer, type, out);
}

int tp_cache_fetch(struct tp_cache *cache, thinp_block_t block, const struct thinp_block_type *type,
		   struct tp_buffer **buffer)
{
	struct tp_buffer *linked = pin_linked(cache, block);
	int r;

	if (!linked) {
		atomic_fetch_add_explicit(&cache->counters.misses, 1, memory_order_relaxed);
		return fetch_from_device(cache, block, type, buffer);
	}
	r = ensure_type(cache, linked, type);
	if (r)
		return r;
	atomic_fetch_add_explicit(&cache->counters.hits, 1, memory_order_relaxed);
	tp_buffer_note_use(linked);
	*buffer = linked;
	return 0;
}

size_t tp_cache_drop_cached(struct tp_cache *cache, thinp_block_t *blocks, size_t nr_blocks)
{
	size_t nr_left = 0;

	pthread_mutex_lock(&cache->lock);
	for (size_t i = 0; i < nr_blocks; i++)
		if (!tp_radix_find(&cache->table, blocks[i]))
			blocks[nr_left++] = blocks[i];
	pthread_mutex_unlock(&cache->lock);
	return nr_left;
}

/* One window of a prefetch: as many operations as are handed to the device at once. */
#define WINDOW 64u

struct window {
	struct thinp_io_op ops[WINDOW];
	struct tp_buffer *buffers[WINDOW];
	size_t nr;
};

static void add_to_window(struct window *window, struct tp_buffer *buffer, thinp_block_t block)
{
	window->buffers[window->nr] = buffer;
	window->ops[window->nr++] =
		(struct thinp_io_op){.kind = THINP_IO_READ, .block = block, .nr_blocks = 1, .buffer = buffer->data};
}

static void fetch_window(struct tp_cache *cache, struct window *window, const struct thinp_block_type *type)
{
	(void)thinp_io_batch(cache->io, window->ops, window->nr); /* each operation has its own result */
	for (size_t i = 0; i < window->nr; i++) {
		struct tp_buffer *buffer = window->buffers[i];
		thinp_block_t block = window->ops[i].block;

		if (window->ops[i].result || tp_block_verify(buffer->data, block, type)) {
			release(cache, buffer);
			continue;
		}
		prepare(buffer, block, type, TP_AHEAD);
		if (link_buffer(cache, buffer, 0) != buffer)
			release(cache, buffer);
		else
			atomic_fetch_add_explicit(&cache->counters.prefetched, 1, memory_order_relaxed);
	}
	window->nr = 0;
}

bool tp_cache_prefetch(struct tp_cache *cache, const thinp_block_t *blocks, size_t nr_blocks,
		       const struct thinp_block_type *type)
{
	struct window window = {.nr = 0};
	struct tp_buffer *buffer = NULL;

	for (size_t i = 0; i < nr_blocks; i++) {
		buffer = tp_cache_take_buffer(cache);
		if (!buffer)
			break;
		add_to_window(&window, buffer, blocks[i]);
		if (window.nr == WINDOW)
			fetch_window(cache, &window, type);
	}
	if (window.nr)
		fetch_window(cache, &window, type);
	return buffer;
}
