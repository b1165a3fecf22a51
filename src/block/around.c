/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/around.c - reading neighbours together with a block that has to be read.
 *
 * A device takes two to three times as long for 16 blocks that are side by side as for one. Whether the others will be needed
 * shows in how many the cache has of the same part of the device, the 64 blocks of a node of the radix table: two to four times
 * as many are read with the one that is missing, up to 32. So a part that is visited once costs nothing more, one that is
 * visited now and then little, and one that is in use is there after a few reads.
 *
 * Invariants
 *   1. What was read around a block has no kind yet, for nobody knows what it is. So no reader is given it: it is checked as
 *      what it is asked for as, and if it is not sound, it is forgotten and read anew.
 *   2. No block is dropped for the sake of neighbours: they get what is free or can still be made, until the cache is nearly
 *      full. Nor do they count as used.
 *   3. A failure to read a neighbour is nobody's failure. Where it may have been the reason why what is wanted was not read,
 *      that is read alone.
 */
#include "block/cache.h"

#define MAX_RUN 32u

/* This part of the cache is left to what is asked for; it has to be as large as the longest run. */
#define PART_LEFT 16u

struct around {
	thinp_block_t first; /* of a run of blocks, what is wanted among them */
	uint32_t nr;
	struct thinp_buffer *buffers[MAX_RUN]; /* NULL: for what is wanted */
	uint64_t change_counts[MAX_RUN];
	bool is_cached[MAX_RUN]; /* when the read began: it is not kept, for it may be other than what is read */
	struct thinp_io_op ops[MAX_RUN];
};

/* Leaves out what the cache has at the ends of the run. What it has in between is read again, for that is faster than to read
 * what lies around it by itself. */
static void trim(struct tp_cache *cache, struct around *around, thinp_block_t wanted)
{
	while (around->first < wanted && tp_cache_look_up(cache, around->first)) {
		around->first++;
		around->nr--;
	}
	while (around->first + around->nr - 1 > wanted && tp_cache_look_up(cache, around->first + around->nr - 1))
		around->nr--;
}

/* Of blocks that begin at a multiple of their number, a power of two. */
static uint32_t length_of_run(uint32_t nr_near)
{
	uint32_t length = 1;

	while (length < MAX_RUN && length <= 2 * nr_near)
		length *= 2;
	return length;
}

static void choose_locked(struct tp_cache *cache, struct around *around, thinp_block_t wanted, uint64_t nr_blocks)
{
	uint32_t length = length_of_run(tp_radix_nr_near(&cache->table, wanted));

	if (cache->nr_linked > cache->limit - cache->limit / PART_LEFT)
		return;
	around->first = wanted / length * length;
	around->nr = nr_blocks - around->first < length ? (uint32_t)(nr_blocks - around->first) : length;
	trim(cache, around, wanted);
	for (uint32_t i = 0; i < around->nr; i++)
		around->is_cached[i] = tp_cache_look_before_read(cache, around->first + i, &around->change_counts[i]);
}

static void choose(struct tp_cache *cache, struct around *around, thinp_block_t wanted, uint64_t nr_blocks)
{
	around->nr = 0;
	if (wanted >= nr_blocks || cache->limit / PART_LEFT < MAX_RUN)
		return;
	pthread_mutex_lock(&cache->lock);
	choose_locked(cache, around, wanted, nr_blocks);
	pthread_mutex_unlock(&cache->lock);
}

/* For all or for none: where room is short, what is wanted is read alone. */
static bool take_buffers(struct tp_cache *cache, struct around *around, thinp_block_t wanted)
{
	for (uint32_t i = 0; i < around->nr; i++) {
		bool is_wanted = around->first + i == wanted;

		around->buffers[i] = is_wanted ? NULL : tp_cache_take_buffer(cache, TP_FOR_NEIGHBOURS);
		if (is_wanted || around->buffers[i])
			continue;
		while (i--)
			if (around->buffers[i])
				tp_cache_give_up(cache, around->buffers[i]);
		return false;
	}
	return true;
}

static void link_neighbour(struct tp_cache *cache, struct thinp_buffer *buffer, thinp_block_t block,
			   uint64_t change_count)
{
	tp_cache_prepare(buffer, block, NULL, TP_AHEAD);
	if (tp_cache_link(cache, buffer, change_count, 0) == buffer)
		atomic_fetch_add_explicit(&cache->counters.prefetched, 1, memory_order_relaxed);
	else
		tp_cache_give_up(cache, buffer);
}

static void keep_neighbours(struct tp_cache *cache, const struct around *around, bool is_any_kept)
{
	for (uint32_t i = 0; i < around->nr; i++) {
		bool is_kept = is_any_kept && !around->ops[i].result && !around->is_cached[i];
		struct thinp_buffer *buffer = around->buffers[i];

		if (buffer && is_kept)
			link_neighbour(cache, buffer, around->ops[i].block, around->change_counts[i]);
		else if (buffer)
			tp_cache_give_up(cache, buffer);
	}
}

static void read_run(struct tp_cache *cache, struct around *around, void *data)
{
	for (uint32_t i = 0; i < around->nr; i++)
		around->ops[i] = (struct thinp_io_op){.kind = THINP_IO_READ,
						      .block = around->first + i,
						      .nr_blocks = 1,
						      .buffer = around->buffers[i] ? around->buffers[i]->data : data};
	(void)thinp_io_batch(cache->io, around->ops, around->nr); /* each operation has its own result */
}

/* Has what is wanted been read, or has it failed by itself, so that the thread's detail record, which is that of the first
 * failure, tells of it? A device may also refuse all for the sake of one. */
static bool is_answered(const struct around *around, uint32_t wanted)
{
	bool is_any_read = false;

	for (uint32_t i = 0; i < around->nr; i++)
		is_any_read |= !around->ops[i].result;
	for (uint32_t i = 0; i < wanted; i++)
		if (around->ops[i].result)
			return !around->ops[wanted].result;
	return is_any_read;
}

int tp_cache_read_around(struct tp_cache *cache, thinp_block_t wanted, uint64_t nr_blocks, void *data)
{
	struct around around;
	bool is_done = false;
	int r = 0;

	choose(cache, &around, wanted, nr_blocks);
	if (around.nr > 1 && take_buffers(cache, &around, wanted)) {
		uint32_t at = (uint32_t)(wanted - around.first);

		read_run(cache, &around, data);
		r = around.ops[at].result;
		is_done = is_answered(&around, at);
		keep_neighbours(cache, &around, !r); /* which must not write to the detail record of a failure */
	}
	return is_done ? r : thinp_io_read(cache->io, wanted, 1, data);
}
