/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/cache.c - fetching blocks from the device into the cache.
 *
 * Invariants
 *   1. A buffer is linked only after its content has been checked as the kind that was asked for.
 *   2. A linked buffer's content does not change, but for one that is new in a transaction, which no reader can reach.
 *   3. No lock is held while the device or the allocator works. Two readers may therefore fetch the same block at the
 *      same time; the second one to finish finds the first one's buffer and gives its own back.
 *   4. What was read is linked only when the block was not changed since the read began. A changed block may have been
 *      written and evicted in the meantime, and then nothing in the table would tell that the read brought the old one.
 *   5. A buffer in hand belongs to one thread or section, which gives it back or links it, whatever fails.
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
static struct thinp_buffer *make_private(struct tp_cache *cache)
{
	struct thinp_buffer *buffer =
		tp_alloc_aligned(&cache->allocator, sizeof(*buffer), alignof(struct thinp_buffer));

	if (!buffer)
		return NULL;
	memset(buffer, 0, sizeof(*buffer));
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

void tp_cache_give_up(struct tp_cache *cache, struct thinp_buffer *buffer)
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
static bool lock_with_nodes(struct tp_cache *cache, const struct thinp_buffer *buffer)
{
	for (;;) {
		struct tp_radix_node *node;

		pthread_mutex_lock(&cache->lock);
		if (buffer->is_own || !tp_radix_nodes_missing(&cache->table, buffer->block))
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

struct thinp_buffer *tp_cache_look_up(struct tp_cache *cache, thinp_block_t block)
{
	struct thinp_buffer *buffer = tp_radix_find(&cache->table, block);

	return buffer ? buffer : tp_own_find(cache, block);
}

/* Makes a buffer findable, for a block that has none. */
static void insert(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	buffer->state = TP_BUFFER_LINKED;
	if (buffer->is_own)
		return; /* tp_own_find() goes by the state */
	tp_radix_insert(&cache->table, buffer->block, buffer);
	atomic_store_explicit(&buffer->outlined, buffer->to_be_outlined, memory_order_release);
	cache->nr_linked++;
}

struct thinp_buffer *tp_cache_look_before_read(struct tp_cache *cache, thinp_block_t block, uint64_t *change_count)
{
	*change_count = cache->change_counts[block % TP_CHANGE_COUNTS];
	return tp_cache_look_up(cache, block);
}

/* In the table no node may come free on the way: there might be none to insert with. */
static void take_place(struct tp_cache *cache, struct thinp_buffer *old, struct thinp_buffer *buffer)
{
	if (old->is_own || buffer->is_own) {
		tp_cache_unlink(cache, old);
		insert(cache, buffer);
		return;
	}
	tp_radix_replace(&cache->table, buffer->block, buffer);
	tp_cache_drop_unlinked(cache, old);
	buffer->state = TP_BUFFER_LINKED;
	cache->nr_linked++;
}

/* Makes a buffer the one that is found for its block, in the place of another one or of none. */
static void put(struct tp_cache *cache, struct thinp_buffer *old, struct thinp_buffer *buffer)
{
	if (old)
		take_place(cache, old, buffer);
	else
		insert(cache, buffer);
}

/* What was read around another block has no kind before it is asked for. */
static bool is_settled(const struct thinp_buffer *buffer)
{
	return atomic_load_explicit(&buffer->type, memory_order_acquire);
}

struct thinp_buffer *tp_cache_link(struct tp_cache *cache, struct thinp_buffer *buffer, uint64_t change_count,
				   uint32_t pins)
{
	struct thinp_buffer *linked;
	uint64_t count_now;

	if (!lock_with_nodes(cache, buffer))
		return NULL;
	linked = tp_cache_look_before_read(cache, buffer->block, &count_now);
	if (!linked || (is_settled(buffer) && !is_settled(linked))) {
		bool is_current = count_now == change_count;

		if (is_current)
			put(cache, linked, buffer);
		linked = is_current ? buffer : NULL;
	}
	if (linked)
		linked->pins += pins;
	pthread_mutex_unlock(&cache->lock);
	return linked;
}

int tp_cache_link_changed(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	struct thinp_buffer *old;

	if (!lock_with_nodes(cache, buffer))
		return THINP_ENOMEM;
	old = tp_cache_look_up(cache, buffer->block);
	put(cache, old, buffer);
	buffer->pins++;
	tp_cache_note_change(cache, buffer);
	pthread_mutex_unlock(&cache->lock);
	return 0;
}

static struct thinp_buffer *pin_linked(struct tp_cache *cache, thinp_block_t block, uint64_t *change_count)
{
	struct thinp_buffer *buffer;

	pthread_mutex_lock(&cache->lock);
	buffer = tp_cache_look_before_read(cache, block, change_count);
	if (buffer)
		buffer->pins++;
	pthread_mutex_unlock(&cache->lock);
	return buffer;
}

/* The state is looked at with the lock, for a pinned buffer may be unlinked by the thread that changes blocks. */
void tp_cache_unpin(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	bool is_in_hand;

	pthread_mutex_lock(&cache->lock);
	is_in_hand = buffer->state == TP_BUFFER_IN_HAND;
	if (!is_in_hand)
		tp_cache_drop_pin(cache, buffer);
	pthread_mutex_unlock(&cache->lock);
	if (is_in_hand)
		tp_cache_give_up(cache, buffer);
}

/* A pinned buffer may have been checked as another kind; then it must pass as this one too. */
static int ensure_type(struct tp_cache *cache, struct thinp_buffer *buffer, const struct thinp_block_type *type)
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

void tp_cache_prepare(struct thinp_buffer *buffer, thinp_block_t block, const struct thinp_block_type *type,
		      enum tp_buffer_use use)
{
	buffer->block = block;
	atomic_store_explicit(&buffer->type, type, memory_order_release);
	atomic_store_explicit(&buffer->use, (uint8_t)use, memory_order_relaxed);
	atomic_store_explicit(&buffer->outlined, TP_NO_OUTLINE, memory_order_relaxed);
	buffer->to_be_outlined = TP_NO_OUTLINE;
}

/* What has none is searched without. */
static enum tp_outlined make_outline(struct thinp_buffer *buffer)
{
	if (atomic_load_explicit(&buffer->type, memory_order_relaxed) != thinp_block_type_node() ||
	    !tp_outline_make(buffer->data, &buffer->outline))
		return TP_NO_OUTLINE;
	return tp_outline_is_usual_leaf(&buffer->outline) ? TP_OUTLINE_OF_USUAL_LEAF : TP_OUTLINE;
}

void tp_buffer_outline_ahead(struct thinp_buffer *buffer)
{
	buffer->to_be_outlined = (uint8_t)make_outline(buffer);
}

/* The writer's own buffers are not found without the lock. */
void tp_buffer_outline(struct thinp_buffer *buffer)
{
	if (!buffer->is_own)
		atomic_store_explicit(&buffer->outlined, (uint8_t)make_outline(buffer), memory_order_release);
}

static int fill(struct tp_cache *cache, struct thinp_buffer *buffer, thinp_block_t block,
		const struct thinp_block_type *type, uint64_t nr_blocks)
{
	int r = tp_cache_read_around(cache, block, nr_blocks, buffer->data);

	if (r)
		return r;
	r = tp_block_verify(buffer->data, block, type);
	if (r)
		return r;
	tp_cache_prepare(buffer, block, type, TP_UNUSED);
	tp_buffer_outline_ahead(buffer);
	return 0;
}

/* Links what was fetched. Where that cannot be done, the section keeps the buffer in hand until it needs it no more. */
static int keep(struct tp_cache *cache, struct thinp_buffer *buffer, const struct thinp_block_type *type,
		uint64_t change_count, struct thinp_buffer **out)
{
	struct thinp_buffer *linked = buffer->is_private ? NULL : tp_cache_link(cache, buffer, change_count, 1);
	int r = 0;

	if (!linked) {
		atomic_fetch_add_explicit(&cache->counters.uncached, 1, memory_order_relaxed);
		linked = buffer;
	} else if (linked != buffer) {
		tp_cache_give_up(cache, buffer);
		r = ensure_type(cache, linked, type);
	}
	if (!r)
		*out = linked;
	return r;
}

static int fetch_from_device(struct tp_cache *cache, thinp_block_t block, const struct thinp_block_type *type,
			     uint64_t nr_blocks, uint64_t change_count, struct thinp_buffer *spare,
			     struct thinp_buffer **out)
{
	struct thinp_buffer *buffer = spare ? spare : tp_cache_take_buffer(cache, TP_FOR_READING);
	int r;

	if (!buffer)
		buffer = make_private(cache);
	if (!buffer)
		return THINP_ENOMEM;
	r = fill(cache, buffer, block, type, nr_blocks);
	if (r) {
		tp_cache_give_up(cache, buffer);
		return r;
	}
	return keep(cache, buffer, type, change_count, out);
}

/* Gives a pinned buffer, which was read around another one, the kind that it is asked for as. False: it is not sound as that,
 * and the pin is gone; if nobody has found it sound, so is the buffer. */
static bool settle(struct tp_cache *cache, struct thinp_buffer *buffer, const struct thinp_block_type *type)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	bool is_sound;

	thinp_error_last(&before);
	is_sound = !tp_block_verify(buffer->data, buffer->block, type);
	pthread_mutex_lock(&cache->lock);
	if (is_sound && !is_settled(buffer)) {
		atomic_store_explicit(&buffer->type, type, memory_order_release);
		if (buffer->state == TP_BUFFER_LINKED)
			tp_buffer_outline(buffer);
	} else if (!is_sound && !is_settled(buffer) && buffer->state == TP_BUFFER_LINKED) {
		tp_cache_unlink(cache, buffer);
	}
	if (!is_sound)
		tp_cache_drop_pin(cache, buffer);
	pthread_mutex_unlock(&cache->lock);
	if (!is_sound)
		tp_error_restore(&before);
	return is_sound;
}

/* What the cache has, pinned; NULL: the block is to be read. */
static struct thinp_buffer *pin_settled(struct tp_cache *cache, thinp_block_t block,
					const struct thinp_block_type *type, uint64_t *change_count)
{
	struct thinp_buffer *linked = pin_linked(cache, block, change_count);

	return !linked || is_settled(linked) || settle(cache, linked, type) ? linked : NULL;
}

static int use_linked(struct tp_cache *cache, struct thinp_buffer *linked, const struct thinp_block_type *type,
		      struct thinp_buffer **buffer)
{
	int r = ensure_type(cache, linked, type);

	if (r)
		return r;
	atomic_fetch_add_explicit(&cache->counters.hits, 1, memory_order_relaxed);
	tp_buffer_note_use(linked);
	*buffer = linked;
	return 0;
}

int tp_cache_pin(struct tp_cache *cache, thinp_block_t block, const struct thinp_block_type *type,
		 struct thinp_buffer **buffer)
{
	uint64_t change_count;
	struct thinp_buffer *linked = pin_settled(cache, block, type, &change_count);

	*buffer = NULL;
	return linked ? use_linked(cache, linked, type, buffer) : 0;
}

int tp_cache_fetch(struct tp_cache *cache, thinp_block_t block, const struct thinp_block_type *type, uint64_t nr_blocks,
		   struct thinp_buffer *spare, struct thinp_buffer **buffer)
{
	uint64_t change_count;
	struct thinp_buffer *linked = pin_settled(cache, block, type, &change_count);

	if (!linked) {
		atomic_fetch_add_explicit(&cache->counters.misses, 1, memory_order_relaxed);
		return fetch_from_device(cache, block, type, nr_blocks, change_count, spare, buffer);
	}
	if (spare)
		tp_cache_give_up(cache, spare);
	return use_linked(cache, linked, type, buffer);
}
