/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/change.c - changing blocks within a transaction, and its end.
 *
 * One thread at a time calls these functions. Readers go on meanwhile: they cannot reach the blocks that are changed,
 * and the cache's own state is under its lock.
 *
 * Invariants
 *   1. A locked block is linked, pinned, dirty and on the list of changed ones, until it is unlocked or forgotten. One that
 *      was locked by tp_bm_relock() gets its pin when it is forgotten.
 *   2. A call that fails has changed nothing, but that dirty blocks may have gone to the device.
 *   3. Nothing is written, and no lock given, once a failure is remembered.
 */
#include "base/alloc.h"
#include "base/error.h"
#include "block/manager.h"

#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <time.h>

/* Sections are short, unless the system has put a reader to sleep in one: so often the writer looks again before it
 * takes a buffer of its own. When those are pinned, too, it gives way for about a quarter of a second; where the system
 * is that busy, these naps last longer. */
#define NR_YIELDS   16u
#define NR_NAPS     300u
#define NAP_STEP_NS 10000u /* each is longer than the one before */
#define NAP_MAX_NS  1000000u

/* So many blocks are forgotten at a time, for readers may wait for the lock. */
#define NR_ABORTED_AT_ONCE 64u

/* The size is asked for when a transaction changes its first block, and when it seems to have grown: each time costs a
 * system call or two. A device that has become smaller since refuses the batch. */
static int check_range(struct thinp_bm *bm, thinp_block_t block)
{
	uint64_t nr_blocks;
	int r;

	if (block < bm->nr_blocks)
		return 0;
	r = thinp_io_size(bm->cache.io, &nr_blocks);
	if (r)
		return r;
	bm->nr_blocks = nr_blocks;
	if (block >= nr_blocks)
		return tp_fail(THINP_ERANGE, block, "beyond the end of the device, %" PRIu64 " blocks", nr_blocks);
	return 0;
}

/* May anything be changed? Takes the memory for writing while failing is still harmless. */
static int begin(struct thinp_bm *bm, thinp_block_t block)
{
	int r;

	if (thinp_io_is_read_only(bm->cache.io))
		return tp_fail(THINP_EROFS, block, "the device is read-only");
	r = tp_writer_status(&bm->writer);
	return r ? r : tp_writer_make_ready(&bm->writer);
}

int tp_bm_may_change(struct thinp_bm *bm)
{
	return begin(bm, THINP_NO_BLOCK);
}

/* What the cache knows of a block. */
struct prospect {
	bool is_locked;
	bool is_dirty;
	bool is_full; /* as many blocks are dirty as may be */
};

static struct prospect look_at(struct thinp_bm *bm, thinp_block_t block)
{
	struct tp_cache *cache = &bm->cache;
	struct prospect prospect = {.is_locked = false};
	const struct thinp_buffer *buffer;

	pthread_mutex_lock(&cache->lock);
	buffer = tp_cache_look_up(cache, block);
	prospect.is_locked = buffer && buffer->is_locked;
	prospect.is_dirty = buffer && buffer->is_dirty;
	prospect.is_full = cache->nr_dirty >= bm->writer.max_dirty;
	pthread_mutex_unlock(&cache->lock);
	return prospect;
}

static int begin_change(struct thinp_bm *bm, thinp_block_t block)
{
	struct prospect prospect;
	int r = begin(bm, block);

	if (!r)
		r = check_range(bm, block);
	if (r)
		return r;
	prospect = look_at(bm, block);
	if (prospect.is_locked)
		return tp_fail(THINP_EINVAL, block, "the block is locked already");
	return prospect.is_full && !prospect.is_dirty ? tp_writer_make_room(&bm->writer) : 0;
}

static void take_nap(unsigned int nr_before)
{
	uint32_t nanoseconds = NAP_STEP_NS * (nr_before + 1);
	struct timespec nap = {.tv_nsec = nanoseconds < NAP_MAX_NS ? nanoseconds : NAP_MAX_NS};

	(void)nanosleep(&nap, NULL);
}

static bool are_all_locked(const struct tp_cache *cache)
{
	return cache->nr_locked == (uint64_t)cache->limit + TP_OWN_BUFFERS;
}

/* One of the cache; or else one of the writer's own, which readers that stay in their sections do not hold back. */
static struct thinp_buffer *take_one(struct tp_cache *cache)
{
	struct thinp_buffer *buffer = tp_cache_take_buffer(cache, TP_FOR_CHANGE);

	for (unsigned int i = 0; !buffer && i < NR_YIELDS && cache->nr_locked < cache->limit; i++) {
		(void)sched_yield();
		buffer = tp_cache_take_buffer(cache, TP_FOR_CHANGE);
	}
	return buffer ? buffer : tp_own_take(cache);
}

/* The writer has as many blocks locked as it has buffers of its own, or more, and readers hold all others. While it waits,
 * readers do without, or they would take what comes free. */
static struct thinp_buffer *take_patiently(struct tp_cache *cache)
{
	struct thinp_buffer *buffer = NULL;

	if (are_all_locked(cache))
		return NULL;
	tp_cache_reserve(cache, true);
	for (unsigned int i = 0; !buffer && i < NR_NAPS; i++) {
		take_nap(i);
		buffer = take_one(cache);
	}
	tp_cache_reserve(cache, false);
	return buffer;
}

/* A buffer for a block that is to be changed. When none is to be had, dirty ones are written, so that they can be used
 * again. */
static int take_buffer(struct thinp_bm *bm, struct thinp_buffer **buffer)
{
	int r;

	*buffer = take_one(&bm->cache);
	if (*buffer)
		return 0;
	r = tp_writer_make_room(&bm->writer);
	if (r)
		return r;
	*buffer = take_one(&bm->cache);
	if (!*buffer)
		*buffer = take_patiently(&bm->cache);
	if (!*buffer)
		return tp_fail(THINP_ENOMEM, THINP_NO_BLOCK, "all buffers of the block cache are in use");
	return 0;
}

int thinp_bm_write_lock_zero(struct thinp_bm *bm, thinp_block_t block, const struct thinp_block_type *type,
			     struct thinp_buffer **buffer, void **data)
{
	return tp_bm_write_lock_filled(bm, block, type, NULL, buffer, data);
}

int tp_bm_write_lock_filled(struct thinp_bm *bm, thinp_block_t block, const struct thinp_block_type *type,
			    const void *content, struct thinp_buffer **out, void **data)
{
	struct thinp_buffer *buffer;
	int r = begin_change(bm, block);

	if (!r)
		r = take_buffer(bm, &buffer);
	if (r)
		return r;
	if (content)
		memcpy(buffer->data, content, THINP_BLOCK_SIZE);
	else
		memset(buffer->data, 0, THINP_BLOCK_SIZE);
	tp_cache_prepare(buffer, block, type, TP_USED);
	r = tp_cache_link_changed(&bm->cache, buffer);
	if (r) {
		tp_cache_return_buffer(&bm->cache, buffer);
		return r;
	}
	*out = buffer;
	*data = buffer->data;
	return 0;
}

/* With a buffer of the cache, which a reader's fetch can do without. */
static int pin_or_fetch(struct thinp_bm *bm, thinp_block_t block, const struct thinp_block_type *type,
			struct thinp_buffer **buffer)
{
	struct thinp_buffer *spare;
	int r = tp_cache_pin(&bm->cache, block, type, buffer);

	if (r || *buffer)
		return r;
	r = take_buffer(bm, &spare);
	return r ? r : tp_cache_fetch(&bm->cache, block, type, 0, spare, buffer);
}

/* Only a buffer that is linked can be changed: the section of a reader may go on without, a change would be lost. */
static int lock_fetched(struct thinp_bm *bm, struct thinp_buffer *buffer)
{
	bool is_linked;

	pthread_mutex_lock(&bm->cache.lock);
	is_linked = buffer->state == TP_BUFFER_LINKED;
	if (is_linked)
		tp_cache_note_change(&bm->cache, buffer);
	pthread_mutex_unlock(&bm->cache.lock);
	if (is_linked)
		return 0;
	tp_cache_unpin(&bm->cache, buffer);
	return tp_fail(THINP_ENOMEM, THINP_NO_BLOCK, "no memory to keep a block in the cache");
}

int thinp_bm_write_lock(struct thinp_bm *bm, thinp_block_t block, const struct thinp_block_type *type,
			struct thinp_buffer **out, void **data)
{
	struct thinp_buffer *buffer;
	int r = begin_change(bm, block);

	if (!r)
		r = pin_or_fetch(bm, block, type, &buffer);
	if (!r)
		r = lock_fetched(bm, buffer);
	if (r)
		return r;
	*out = buffer;
	*data = buffer->data;
	return 0;
}

void thinp_bm_unlock(struct thinp_bm *bm, struct thinp_buffer *buffer)
{
	if (!buffer)
		return;
	if (buffer->is_light) {
		buffer->is_locked = buffer->is_light = false;
		bm->cache.nr_locked--;
		return;
	}
	pthread_mutex_lock(&bm->cache.lock);
	tp_cache_unlock(&bm->cache, buffer);
	pthread_mutex_unlock(&bm->cache.lock);
}

/* From now on only a pin keeps the buffer while it is locked. With the lock of the cache. */
static void unlink_changed(struct tp_cache *cache, struct thinp_buffer *buffer)
{
	if (buffer->is_light) {
		buffer->is_light = false;
		buffer->pins++;
	}
	tp_cache_unlink(cache, buffer);
}

void thinp_bm_forget(struct thinp_bm *bm, thinp_block_t block)
{
	struct thinp_buffer *buffer;

	pthread_mutex_lock(&bm->cache.lock);
	buffer = tp_cache_look_up(&bm->cache, block);
	if (buffer)
		unlink_changed(&bm->cache, buffer);
	tp_cache_note_outdated(&bm->cache, block);
	pthread_mutex_unlock(&bm->cache.lock);
}

int thinp_bm_flush(struct thinp_bm *bm)
{
	int r = begin(bm, THINP_NO_BLOCK);

	return r ? r : tp_writer_flush(&bm->writer, NULL);
}

/* The changed blocks belong to the commit now, and to no transaction. */
static void end_transaction(struct thinp_bm *bm)
{
	pthread_mutex_lock(&bm->cache.lock);
	while (bm->cache.changed)
		tp_cache_note_no_change(&bm->cache, bm->cache.changed);
	tp_own_unlink_all(&bm->cache);
	pthread_mutex_unlock(&bm->cache.lock);
	bm->nr_blocks = 0;
}

int thinp_bm_commit(struct thinp_bm *bm, thinp_block_t block, const struct thinp_block_type *type, const void *data)
{
	const struct tp_record record = {.block = block, .type = type, .data = data};
	int r = begin(bm, block);

	if (!r)
		r = check_range(bm, block);
	if (!r)
		r = tp_writer_flush(&bm->writer, &record);
	if (r)
		return r;
	end_transaction(bm);
	thinp_bm_forget(bm, block); /* the cache, or a read on its way there, may have the record before this one */
	return 0;
}

static bool abort_some(struct tp_cache *cache)
{
	bool is_done;

	pthread_mutex_lock(&cache->lock);
	for (unsigned int i = 0; cache->changed && i < NR_ABORTED_AT_ONCE; i++)
		unlink_changed(cache, cache->changed);
	is_done = !cache->changed;
	if (is_done)
		tp_own_unlink_all(cache);
	pthread_mutex_unlock(&cache->lock);
	return is_done;
}

void thinp_bm_abort(struct thinp_bm *bm)
{
	while (!abort_some(&bm->cache))
		;
	bm->nr_blocks = 0;
	if (bm->writer.failure != THINP_EUNKNOWN)
		bm->writer.failure = 0;
}
