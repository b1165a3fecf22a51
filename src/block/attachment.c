/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/attachment.c - making attachments findable, and taking their memory back.
 *
 * Invariants
 *   1. An attachment in a place belongs to a buffer that is linked and was not changed in this transaction.
 *   2. It is stamped after its place was cleared, and freed when all readers came later than the stamp.
 *   3. The allocator is not called under the lock.
 */
#include "block/cache.h"

#include "base/alloc.h"
#include "base/error.h"

static _Atomic(struct tp_attachment *) *place_of(struct tp_cache *cache, thinp_block_t block)
{
	return &cache->attachments.places[block % TP_ATTACHMENT_PLACES];
}

uint32_t tp_attachment_wish(struct tp_attachments *attachments, thinp_block_t block)
{
	size_t place = block % TP_ATTACHMENT_PLACES;
	uint32_t wishes = 0;

	if (atomic_load_explicit(&attachments->places[place], memory_order_relaxed))
		return 0;
	if (atomic_load_explicit(&attachments->wanted[place], memory_order_relaxed) == block)
		wishes = atomic_load_explicit(&attachments->wishes[place], memory_order_relaxed);
	else
		atomic_store_explicit(&attachments->wanted[place], block, memory_order_relaxed);
	wishes += wishes < UINT32_MAX;
	atomic_store_explicit(&attachments->wishes[place], wishes, memory_order_relaxed);
	return wishes;
}

/* Those that nobody looks at any more, as a list. */
static struct tp_attachment *take_unreachable(struct tp_cache *cache)
{
	struct tp_attachments *all = &cache->attachments;
	struct tp_attachment *first, **end = &first;

	pthread_mutex_lock(&cache->lock);
	first = all->detached_first;
	if (first) {
		uint64_t safe = tp_epoch_safe(&cache->epochs);

		while (*end && (*end)->stamp < safe)
			end = &(*end)->next;
		all->detached_first = *end;
		*end = NULL;
	}
	pthread_mutex_unlock(&cache->lock);
	return first;
}

static bool claim(struct tp_cache *cache, size_t nbytes)
{
	size_t most = (size_t)cache->limit * (THINP_BLOCK_SIZE / TP_ATTACHMENT_SHARE);
	bool is_granted;

	pthread_mutex_lock(&cache->lock);
	is_granted = nbytes <= most && cache->attachments.nbytes <= most - nbytes;
	if (is_granted)
		cache->attachments.nbytes += nbytes;
	pthread_mutex_unlock(&cache->lock);
	return is_granted;
}

static void disclaim(struct tp_cache *cache, size_t nbytes)
{
	pthread_mutex_lock(&cache->lock);
	cache->attachments.nbytes -= nbytes;
	pthread_mutex_unlock(&cache->lock);
}

static void free_memory(struct tp_cache *cache, struct tp_attachment *attachment)
{
	atomic_fetch_sub_explicit(&cache->counters.bytes, attachment->nbytes, memory_order_relaxed);
	tp_free(&cache->allocator, attachment, attachment->nbytes);
}

void tp_attachment_free(struct tp_cache *cache, struct tp_attachment *attachment)
{
	disclaim(cache, attachment->nbytes);
	free_memory(cache, attachment);
}

static void free_list(struct tp_cache *cache, struct tp_attachment *first)
{
	while (first) {
		struct tp_attachment *next = first->next;

		tp_attachment_free(cache, first);
		first = next;
	}
}

struct tp_attachment *tp_attachment_alloc(struct tp_cache *cache, size_t nbytes)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	struct tp_attachment *attachment;

	free_list(cache, take_unreachable(cache));
	if (!claim(cache, nbytes))
		return NULL;
	thinp_error_last(&before);
	attachment = tp_alloc_aligned(&cache->allocator, nbytes, 64);
	if (!attachment) {
		tp_error_restore(&before);
		disclaim(cache, nbytes);
		return NULL;
	}
	attachment->nbytes = nbytes;
	atomic_fetch_add_explicit(&cache->counters.bytes, nbytes, memory_order_relaxed);
	return attachment;
}

bool tp_attachment_attach(struct tp_cache *cache, struct tp_attachment *attachment, struct thinp_buffer *buffer)
{
	_Atomic(struct tp_attachment *) *place = place_of(cache, buffer->block);
	bool is_free;

	attachment->block = buffer->block;
	attachment->buffer = buffer;
	pthread_mutex_lock(&cache->lock);
	is_free = buffer->state == TP_BUFFER_LINKED && !buffer->is_own && !buffer->is_changed && !atomic_load(place);
	if (is_free) {
		atomic_store(place, attachment);
		buffer->has_attachment = true;
	}
	pthread_mutex_unlock(&cache->lock);
	return is_free;
}

void tp_attachment_detach(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	_Atomic(struct tp_attachment *) *place = place_of(cache, buffer->block);
	struct tp_attachments *all = &cache->attachments;
	struct tp_attachment *attachment = atomic_load(place);

	buffer->has_attachment = false;
	atomic_store(place, NULL);
	attachment->stamp = tp_epoch_stamp(&cache->epochs);
	attachment->next = NULL;
	if (all->detached_first)
		all->detached_last->next = attachment;
	else
		all->detached_first = attachment;
	all->detached_last = attachment;
}

void tp_attachment_exit(struct tp_cache *cache)
{
	for (size_t i = 0; i < TP_ATTACHMENT_PLACES; i++) {
		struct tp_attachment *attachment = atomic_load(&cache->attachments.places[i]);

		if (attachment)
			free_memory(cache, attachment);
	}
	free_list(cache, cache->attachments.detached_first);
}
