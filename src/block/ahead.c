/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/ahead.c - blocks that are brought into the cache before anybody asks for them.
 */
#include "block/cache.h"

#include "format/kind.h"

size_t tp_cache_drop_cached(struct tp_cache *cache, thinp_block_t *blocks, size_t nr_blocks)
{
	size_t nr_left = 0;

	pthread_mutex_lock(&cache->lock);
	for (size_t i = 0; i < nr_blocks; i++)
		if (!tp_cache_look_up(cache, blocks[i]))
			blocks[nr_left++] = blocks[i];
	pthread_mutex_unlock(&cache->lock);
	return nr_left;
}

/* One window of a prefetch: as many operations as are handed to the device at once. */
#define WINDOW 64u

struct window {
	struct thinp_io_op ops[WINDOW];
	struct thinp_buffer *buffers[WINDOW];
	uint64_t change_counts[WINDOW];
	size_t nr;
};

/* Gives the buffer back when the block has come into the cache meanwhile. */
static void add_to_window(struct tp_cache *cache, struct window *window, struct thinp_buffer *buffer,
			  thinp_block_t block)
{
	bool is_cached;

	pthread_mutex_lock(&cache->lock);
	is_cached = tp_cache_look_before_read(cache, block, &window->change_counts[window->nr]);
	pthread_mutex_unlock(&cache->lock);
	if (is_cached) {
		tp_cache_give_up(cache, buffer);
		return;
	}
	window->buffers[window->nr] = buffer;
	window->ops[window->nr++] =
		(struct thinp_io_op){.kind = THINP_IO_READ, .block = block, .nr_blocks = 1, .buffer = buffer->data};
}

static void fetch_window(struct tp_cache *cache, struct window *window, const struct thinp_block_type *type)
{
	(void)thinp_io_batch(cache->io, window->ops, window->nr); /* each operation has its own result */
	for (size_t i = 0; i < window->nr; i++) {
		struct thinp_buffer *buffer = window->buffers[i];
		thinp_block_t block = window->ops[i].block;

		if (window->ops[i].result || tp_block_verify(buffer->data, block, type)) {
			tp_cache_give_up(cache, buffer);
			continue;
		}
		tp_cache_prepare(buffer, block, type, TP_AHEAD);
		tp_buffer_outline_ahead(buffer);
		if (tp_cache_link(cache, buffer, window->change_counts[i], 0) != buffer)
			tp_cache_give_up(cache, buffer);
		else
			atomic_fetch_add_explicit(&cache->counters.prefetched, 1, memory_order_relaxed);
	}
	window->nr = 0;
}

bool tp_cache_prefetch(struct tp_cache *cache, const thinp_block_t *blocks, size_t nr_blocks,
		       const struct thinp_block_type *type)
{
	struct window window = {.nr = 0};
	struct thinp_buffer *buffer = NULL;

	for (size_t i = 0; i < nr_blocks; i++) {
		buffer = tp_cache_take_buffer(cache, TP_FOR_READING);
		if (!buffer)
			break;
		add_to_window(cache, &window, buffer, blocks[i]);
		if (window.nr == WINDOW)
			fetch_window(cache, &window, type);
	}
	if (window.nr)
		fetch_window(cache, &window, type);
	return buffer;
}
