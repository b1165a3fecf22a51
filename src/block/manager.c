/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/manager.c - the block manager as callers see it: making it, and its figures.
 */
#include "block/manager.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"

#define DEFAULT_CACHE_BLOCKS 16384u /* 64 MiB */

int thinp_bm_create(struct thinp_io *io, const struct thinp_bm_opts *user_opts, struct thinp_bm **out)
{
	struct thinp_allocator allocator;
	struct thinp_bm_opts opts;
	struct thinp_bm *bm;
	int r = tp_opts_take(&opts, sizeof(opts), user_opts);

	if (!r)
		r = tp_allocator_take(&allocator, opts.allocator);
	if (r)
		return r;
	if (opts.flags & ~THINP_BM_HUGE_PAGES)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags %#x for a block manager", opts.flags);
	/* aligned for the readers' slots, which have a cache line each */
	bm = tp_alloc_aligned(&allocator, sizeof(*bm), alignof(struct thinp_bm));
	if (!bm)
		return THINP_ENOMEM;
	r = tp_cache_init(&bm->cache, io, &allocator, opts.cache_blocks ? opts.cache_blocks : DEFAULT_CACHE_BLOCKS);
	if (r) {
		tp_free(&allocator, bm, sizeof(*bm));
		return r;
	}
	bm->cache.use_huge_pages = opts.flags & THINP_BM_HUGE_PAGES;
	tp_writer_init(&bm->writer, &bm->cache);
	bm->nr_blocks = 0;
	*out = bm;
	return 0;
}

void thinp_bm_destroy(struct thinp_bm *bm)
{
	struct thinp_allocator allocator;

	if (!bm)
		return;
	allocator = bm->cache.allocator;
	tp_writer_exit(&bm->writer);
	tp_cache_exit(&bm->cache);
	tp_free(&allocator, bm, sizeof(*bm));
}

static uint64_t hits_of(struct tp_cache *cache)
{
	uint64_t hits = atomic_load(&cache->counters.hits);

	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++)
		hits += atomic_load_explicit(&cache->epochs.slots[i].work, memory_order_relaxed);
	return hits;
}

void thinp_bm_get_stats(struct thinp_bm *bm, struct thinp_bm_stats *stats)
{
	struct tp_cache *cache = &bm->cache;
	struct thinp_bm_stats now = {
		.hits = hits_of(cache),
		.misses = atomic_load(&cache->counters.misses),
		.prefetched = atomic_load(&cache->counters.prefetched),
		.evictions = atomic_load(&cache->counters.evictions),
		.uncached = atomic_load(&cache->counters.uncached),
		.bytes = sizeof(*bm) + atomic_load(&cache->counters.bytes),
		.written = atomic_load(&bm->writer.written),
		.written_early = atomic_load(&bm->writer.written_early),
		.write_ops = atomic_load(&bm->writer.write_ops),
	};

	pthread_mutex_lock(&cache->lock);
	now.blocks_cached = cache->nr_linked;
	now.blocks_limit = cache->limit;
	now.blocks_dirty = cache->nr_dirty;
	pthread_mutex_unlock(&cache->lock);
	tp_result_give(stats, &now, sizeof(now));
}
