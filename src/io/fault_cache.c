/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/fault_cache.c - the volatile cache: blocks that were written and not flushed, and are lost with the power.
 *
 * Invariants
 *   1. A block in the cache is newer than the same block below. It leaves the cache only after it has arrived there,
 *      was overwritten or discarded, or with the power. So a read that does not find it may go below.
 *   2. The list holds the blocks in the order of their stamps.
 *   3. The table holds pointers to struct tp_fault_dirty; it is emptied before its nodes are released.
 */
#include "io/fault.h"

#include "base/alloc.h"
#include "base/error.h"
#include "io/backend.h"

#include <string.h>

bool tp_fault_has_cache(const struct thinp_fault *fault)
{
	return fault->flags & THINP_FAULT_VOLATILE_CACHE;
}

/* --- one block --- */

static void free_dirty(struct thinp_fault *fault, struct tp_fault_dirty *dirty)
{
	if (!dirty)
		return;
	tp_free(&fault->allocator, dirty->data, THINP_BLOCK_SIZE);
	tp_free(&fault->allocator, dirty, sizeof(*dirty));
}

static struct tp_fault_dirty *make_dirty(struct thinp_fault *fault, thinp_block_t block, const uint8_t *buffer)
{
	struct tp_fault_dirty *made = tp_alloc_zeroed(&fault->allocator, 1, sizeof(*made));

	if (!made)
		return NULL;
	made->block = block;
	made->data = tp_alloc_aligned(&fault->allocator, THINP_BLOCK_SIZE, THINP_BLOCK_SIZE); /* goes below as it is */
	if (!made->data) {
		free_dirty(fault, made);
		return NULL;
	}
	memcpy(made->data, buffer, THINP_BLOCK_SIZE);
	return made;
}

/* --- table and list; all of it under the lock --- */

static struct tp_fault_dirty *find(struct thinp_fault *fault, thinp_block_t block)
{
	return (void *)tp_sparse_find(&fault->dirty, block);
}

static void append(struct thinp_fault *fault, struct tp_fault_dirty *dirty)
{
	dirty->stamp = ++fault->clock;
	dirty->older = fault->newest;
	*(fault->newest ? &fault->newest->newer : &fault->oldest) = dirty;
	fault->newest = dirty;
	fault->nr_dirty++;
}

static void unlink_dirty(struct thinp_fault *fault, struct tp_fault_dirty *dirty)
{
	*(dirty->older ? &dirty->older->newer : &fault->oldest) = dirty->newer;
	*(dirty->newer ? &dirty->newer->older : &fault->newest) = dirty->older;
	fault->nr_dirty--;
}

/* Gives a block a new content, or none. Returns what is to be freed: the old one, unless it is on its way below. */
static struct tp_fault_dirty *exchange(struct thinp_fault *fault, thinp_block_t block, struct tp_fault_dirty *dirty)
{
	struct tp_fault_dirty *old = (void *)tp_sparse_put(&fault->dirty, block, (void *)dirty);

	if (dirty)
		append(fault, dirty);
	if (!old)
		return NULL;
	unlink_dirty(fault, old);
	old->is_superseded = old->is_busy;
	return old->is_busy ? NULL : old;
}

/* --- to the device below; with write_back held --- */

/* The block that has waited longest, if it was written before the stamp. It is busy now. */
static struct tp_fault_dirty *begin_oldest(struct thinp_fault *fault, uint64_t stamp)
{
	struct tp_fault_dirty *oldest;

	pthread_mutex_lock(&fault->lock);
	oldest = fault->oldest && fault->oldest->stamp <= stamp ? fault->oldest : NULL;
	if (oldest)
		oldest->is_busy = true;
	pthread_mutex_unlock(&fault->lock);
	return oldest;
}

/* Returns what is to be freed once write_back is not held any more. */
static struct tp_fault_dirty *end_oldest(struct thinp_fault *fault, struct tp_fault_dirty *dirty, bool has_arrived)
{
	struct tp_fault_dirty *done = NULL;

	pthread_mutex_lock(&fault->lock);
	dirty->is_busy = false;
	if (dirty->is_superseded)
		done = dirty;
	else if (has_arrived)
		done = exchange(fault, dirty->block, NULL);
	pthread_mutex_unlock(&fault->lock);
	return done;
}

/* Adds to the list what is to be freed. */
static int write_back_until(struct thinp_fault *fault, uint64_t stamp, struct tp_fault_dirty **done)
{
	struct tp_fault_dirty *dirty;
	int r = 0;

	while (!r && (dirty = begin_oldest(fault, stamp))) {
		r = thinp_io_write(fault->lower, dirty->block, 1, dirty->data);
		dirty = end_oldest(fault, dirty, !r);
		if (dirty) {
			dirty->newer = *done;
			*done = dirty;
		}
	}
	return r;
}

static void free_all(struct thinp_fault *fault, struct tp_fault_dirty *at)
{
	struct tp_fault_dirty *next;

	for (; at; at = next) {
		next = at->newer;
		free_dirty(fault, at);
	}
}

/* Blocks that are written from now on are none of this call's business; else it might never end. */
int tp_fault_cache_write_back(struct thinp_fault *fault)
{
	struct tp_fault_dirty *done = NULL;
	uint64_t stamp;
	int r;

	pthread_mutex_lock(&fault->write_back);
	pthread_mutex_lock(&fault->lock);
	stamp = fault->clock;
	pthread_mutex_unlock(&fault->lock);
	r = write_back_until(fault, stamp, &done);
	pthread_mutex_unlock(&fault->write_back);
	free_all(fault, done);
	return r;
}

/* How far blocks must go below so that the cache has room for another one; 0: it has. */
static uint64_t stamp_to_make_room(struct thinp_fault *fault)
{
	uint64_t stamp;

	pthread_mutex_lock(&fault->lock);
	stamp = fault->nr_dirty < fault->cache_blocks ? 0 : fault->oldest->stamp;
	pthread_mutex_unlock(&fault->lock);
	return stamp;
}

static int make_room(struct thinp_fault *fault)
{
	uint64_t stamp = stamp_to_make_room(fault);
	struct tp_fault_dirty *done = NULL;
	int r = 0;

	if (!stamp)
		return 0;
	pthread_mutex_lock(&fault->write_back);
	stamp = stamp_to_make_room(fault); /* another thread may have made it meanwhile */
	if (stamp)
		r = write_back_until(fault, stamp, &done);
	pthread_mutex_unlock(&fault->write_back);
	free_all(fault, done);
	return r;
}

/* --- operations --- */

static int write_block(struct thinp_fault *fault, uint64_t nr_cuts, thinp_block_t block, const uint8_t *buffer)
{
	struct tp_fault_dirty *dirty, *old;
	int r = make_room(fault);

	if (!r)
		r = tp_sparse_make_way(&fault->dirty, block);
	if (r)
		return r;
	dirty = make_dirty(fault, block, buffer);
	if (!dirty)
		return THINP_ENOMEM;
	pthread_mutex_lock(&fault->lock);
	r = tp_fault_check_power(fault, nr_cuts);
	old = r ? dirty : exchange(fault, block, dirty);
	pthread_mutex_unlock(&fault->lock);
	free_dirty(fault, old);
	return r;
}

int tp_fault_cache_write(struct thinp_fault *fault, uint64_t nr_cuts, const struct thinp_io_op *op)
{
	const uint8_t *buffer = op->buffer;
	int r = 0;

	for (uint64_t n = 0; n < op->nr_blocks && !r; n++)
		r = write_block(fault, nr_cuts, op->block + n, buffer + n * THINP_BLOCK_SIZE);
	return r;
}

static bool read_dirty(struct thinp_fault *fault, thinp_block_t block, uint8_t *buffer)
{
	const struct tp_fault_dirty *dirty;

	pthread_mutex_lock(&fault->lock);
	dirty = find(fault, block);
	if (dirty)
		memcpy(buffer, dirty->data, THINP_BLOCK_SIZE);
	pthread_mutex_unlock(&fault->lock);
	return dirty;
}

/* The cache is asked first: a block that is not there has arrived below, and not the other way round. */
int tp_fault_cache_read(struct thinp_fault *fault, const struct thinp_io_op *op)
{
	uint8_t *buffer = op->buffer;
	int r = 0;

	for (uint64_t n = 0; n < op->nr_blocks && !r; n++, buffer += THINP_BLOCK_SIZE)
		if (!read_dirty(fault, op->block + n, buffer))
			r = thinp_io_read(fault->lower, op->block + n, 1, buffer);
	return r;
}

static thinp_block_t drop_one(struct thinp_fault *fault, thinp_block_t from, thinp_block_t end)
{
	struct tp_fault_dirty *old = NULL;
	thinp_block_t block;

	pthread_mutex_lock(&fault->lock);
	block = tp_sparse_skip(&fault->dirty, from);
	if (block < end)
		old = exchange(fault, block, NULL);
	pthread_mutex_unlock(&fault->lock);
	free_dirty(fault, old);
	return block + 1;
}

int tp_fault_cache_discard(struct thinp_fault *fault, const struct thinp_io_op *op)
{
	thinp_block_t end = op->block + op->nr_blocks;
	struct thinp_io_op below = *op;

	for (thinp_block_t block = op->block; block < end;)
		block = drop_one(fault, block, end);
	return thinp_io_batch(fault->lower, &below, 1);
}

int tp_fault_cache_flush(struct thinp_fault *fault)
{
	int r = tp_fault_cache_write_back(fault);

	return r ? r : thinp_io_flush(fault->lower);
}

void tp_fault_cache_forget(struct thinp_fault *fault)
{
	while (fault->oldest)
		free_dirty(fault, exchange(fault, fault->oldest->block, NULL));
}

/* --- power --- */

size_t thinp_fault_list_unflushed(struct thinp_fault *fault, thinp_block_t *blocks, size_t max)
{
	size_t nr = 0;

	pthread_mutex_lock(&fault->lock);
	for (const struct tp_fault_dirty *at = fault->oldest; at; at = at->newer, nr++)
		if (nr < max)
			blocks[nr] = at->block;
	pthread_mutex_unlock(&fault->lock);
	return nr;
}

static void mark_survivors(struct thinp_fault *fault, const thinp_block_t *survivors, size_t nr_survivors)
{
	for (size_t i = 0; i < nr_survivors; i++) {
		bool is_possible = survivors[i] < TP_IO_MAX_BLOCKS; /* the table cannot tell larger numbers apart */
		struct tp_fault_dirty *dirty = is_possible ? find(fault, survivors[i]) : NULL;

		if (dirty)
			dirty->is_survivor = true;
	}
}

/* Takes everything out of the cache; from then on nothing gets in through the devices that are open now. */
static struct tp_fault_dirty *cut(struct thinp_fault *fault, const thinp_block_t *survivors, size_t nr_survivors)
{
	struct tp_fault_dirty *all;

	pthread_mutex_lock(&fault->lock);
	fault->nr_cuts++;
	mark_survivors(fault, survivors, nr_survivors);
	all = fault->oldest;
	for (const struct tp_fault_dirty *at = all; at; at = at->newer)
		tp_sparse_put(&fault->dirty, at->block, NULL);
	fault->oldest = fault->newest = NULL;
	fault->nr_dirty = 0;
	pthread_mutex_unlock(&fault->lock);
	return all;
}

int thinp_fault_power_cut(struct thinp_fault *fault, const thinp_block_t *survivors, size_t nr_survivors)
{
	struct tp_fault_dirty *all;
	int first = 0;

	pthread_mutex_lock(&fault->write_back); /* so that no block is busy */
	all = cut(fault, survivors, nr_survivors);
	for (const struct tp_fault_dirty *at = all; at; at = at->newer) {
		int r = at->is_survivor ? thinp_io_write(fault->lower, at->block, 1, at->data) : 0;

		first = first ? first : r;
	}
	pthread_mutex_unlock(&fault->write_back);
	free_all(fault, all);
	return first;
}
