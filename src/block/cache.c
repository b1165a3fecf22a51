/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/cache.c - fetching blocks from the device into the cache.
 *
 * Invariants
 *   1. A buffer is linked only after its content has been checked as the kind that was asked for.
 *   2. A linked buffer's content does not change.
 *   3. No lock is held while the device or the allocator works. Two readers may therefore fetch the same block at the
 *      same time; the second one to finish finds the first one's buffer and gives its own back.
 */
#include "block/cache.h"

#include "base/alloc.h"
#include "base/error.h"
#include "format/kind.h"

#include <string.h>

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
	buffer->state = TP_BUFFER_FILLING;
	atomic_fetch_add_explicit(&cache->counters.uncached, 1, memory_order_relaxed);
	return buffer;
}

static void release(struct tp_cache *cache, struct tp_buffer *buffer)
{
	if (buffer->is_private) {
		tp_free(&cache->allocator, buffer->data, THINP_BLOCK_SIZE);
		tp_free(&cache->allocator, buffer, sizeof(*buffer));
	} else {
		tp_cache_return_buffer(cache, buffer);
	}
}

static void prepare(struct tp_buffer *buffer, thinp_block_t block, const struct thinp_block_type *type)
{
	buffer->block = block;
	buffer->pins = 0;
	atomic_store_explicit(&buffer->type, type, memory_order_release);
	atomic_store_explicit(&buffer->used, true, memory_order_relaxed);
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
		atomic_fetch_add_explicit(&cache->counters.bytes, sizeof(*node), memory_order_relaxed);
		pthread_mutex_lock(&cache->lock);
		tp_radix_add_spare(&cache->table, node);
		pthread_mutex_unlock(&cache->lock);
	}
}

/* Makes a filled buffer findable. Gives the buffer to go on with, pinned as often as asked: this one, or the one that
 * somebody else linked meanwhile (*is_other). NULL when there is no memory. */
static struct tp_buffer *link_buffer(struct tp_cache *cache, struct tp_buffer *buffer, uint32_t pins, bool *is_other)
{
	struct tp_buffer *linked;

	if (!lock_with_nodes(cache, buffer->block))
		return NULL;
	linked = tp_radix_find(&cache->table, buffer->block);
	*is_other = linked;
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

void tp_cache_unpin(struct tp_cache *cache, struct tp_buffer *buffer)
{
	if (buffer->is_private) {
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

static int fill(struct tp_cache *cache, struct tp_buffer *buffer, thinp_block_t block,
		const struct thinp_block_type *type)
{
	int r = thinp_io_read(cache->io, block, 1, buffer->data);

	if (r)
		return r;
	r = tp_block_verify(buffer->data, block, type);
	if (!r)
		prepare(buffer, block, type);
	return r;
}

static int fetch_from_device(struct tp_cache *cache, thinp_block_t block, const struct thinp_block_type *type,
			     struct tp_buffer **out)
{
	struct tp_buffer *buffer = tp_cache_take_buffer(cache);
	struct tp_buffer *linked;
	bool is_other = false;
	int r;

	if (!buffer)
		buffer = make_private(cache);
	if (!buffer)
		return THINP_ENOMEM;
	r = fill(cache, buffer, block, type);
	if (r)
		goto failed;
	if (buffer->is_private) {
		*out = buffer;
		return 0;
	}
	linked = link_buffer(cache, buffer, 1, &is_other);
	if (!linked) {
		r = THINP_ENOMEM;
		goto failed;
	}
	if (is_other)
		release(cache, buffer);
	r = ensure_type(cache, linked, type);
	if (!r)
		*out = linked;
	return r;

failed:
	release(cache, buffer);
	return r;
}

int tp_cache_fetch(struct tp_cache *cache, thinp_block_t block, const struct thinp_block_type *type,
		   struct tp_buffer **buffer)
{
	struct tp_buffer *linked = pin_linked(cache, block);
	int r;

	if (linked) {
		r = ensure_type(cache, linked, type);
		if (!r)
			*buffer = linked;
		return r;
	}
	atomic_fetch_add_explicit(&cache->counters.misses, 1, memory_order_relaxed);
	return fetch_from_device(cache, block, type, buffer);
}

static bool is_cached(struct tp_cache *cache, thinp_block_t block)
{
	struct tp_epoch_slot *slot = tp_epoch_enter(&cache->epochs);
	bool found = slot && tp_radix_find(&cache->table, block);

	if (slot)
		tp_epoch_leave(slot);
	return found;
}

/* One window of a prefetch: as many operations as are handed to the device at once. */
#define WINDOW 64u

struct window {
	struct thinp_io_op ops[WINDOW];
	struct tp_buffer *buffers[WINDOW];
	size_t nr;
};

static void fill_window(struct tp_cache *cache, struct window *window, const struct thinp_block_type *type)
{
	bool is_other;

	(void)thinp_io_batch(cache->io, window->ops, window->nr); /* each operation has its own result */
	for (size_t i = 0; i < window->nr; i++) {
		struct tp_buffer *buffer = window->buffers[i];
		thinp_block_t block = window->ops[i].block;

		if (window->ops[i].result || tp_block_verify(buffer->data, block, type)) {
			release(cache, buffer);
			continue;
		}
		prepare(buffer, block, type);
		if (link_buffer(cache, buffer, 0, &is_other) != buffer)
			release(cache, buffer);
		else
			atomic_fetch_add_explicit(&cache->counters.prefetched, 1, memory_order_relaxed);
	}
	window->nr = 0;
}

void tp_cache_prefetch(struct tp_cache *cache, const thinp_block_t *blocks, size_t nr_blocks,
		       const struct thinp_block_type *type)
{
	struct window window = {.nr = 0};

	for (size_t i = 0; i < nr_blocks; i++) {
		struct tp_buffer *buffer;

		if (is_cached(cache, blocks[i]))
			continue;
		buffer = tp_cache_take_buffer(cache);
		if (!buffer)
			break;
		window.buffers[window.nr] = buffer;
		window.ops[window.nr++] = (struct thinp_io_op){
			.kind = THINP_IO_READ, .block = blocks[i], .nr_blocks = 1, .buffer = buffer->data};
		if (window.nr == WINDOW)
			fill_window(cache, &window, type);
	}
	if (window.nr)
		fill_window(cache, &window, type);
}
