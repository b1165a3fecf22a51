/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * alloc/memory_map.c - a map in memory that gives blocks and counts references.
 *
 * Invariants
 *   1. A block is taken only when its count is 0 both now and in the last commit. The cursor is a hint.
 *   2. A change of several counts is checked, then made ready, then made: only the second step can fail half way, and it
 *      changes no count.
 */
#include "alloc/memory_map.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"

#include <inttypes.h>

int thinp_memory_map_create(uint64_t nr_blocks, const struct thinp_allocator *user_allocator,
			    struct thinp_memory_map **out)
{
	struct thinp_allocator allocator;
	struct thinp_memory_map *map;
	int r = tp_allocator_take(&allocator, user_allocator);

	if (r)
		return r;
	map = tp_alloc_zeroed(&allocator, 1, sizeof(*map));
	if (!map)
		return THINP_ENOMEM;
	r = tp_pages_init(&map->pages, nr_blocks, &allocator);
	if (r) {
		tp_free(&allocator, map, sizeof(*map));
		return r;
	}
	*out = map;
	return 0;
}

void thinp_memory_map_destroy(struct thinp_memory_map *map)
{
	struct thinp_allocator allocator;

	if (!map)
		return;
	allocator = map->pages.allocator;
	tp_pages_exit(&map->pages);
	tp_free(&allocator, map, sizeof(*map));
}

static int check_range(const struct thinp_memory_map *map, thinp_block_t first, uint64_t nr_blocks)
{
	uint64_t limit = map->pages.nr_blocks;

	if (first <= limit && nr_blocks <= limit - first)
		return 0;
	return tp_fail(THINP_ERANGE, first < limit ? limit : first, "beyond the end of the map, %" PRIu64 " blocks",
		       limit);
}

/* How much of a range lies in the page of its first block. */
static uint64_t part_in_page(thinp_block_t first, uint64_t nr_blocks)
{
	uint64_t left = TP_PAGE_BLOCKS - (first & (TP_PAGE_BLOCKS - 1));

	return nr_blocks < left ? nr_blocks : left;
}

/* --- the functions of the table --- */

static int map_take(void *ctx, uint32_t cause, thinp_block_t *out)
{
	struct thinp_memory_map *map = ctx;
	thinp_block_t block;
	int r;

	(void)cause;
	if (!map->pages.nr_allocatable)
		return tp_fail(THINP_ENOSPC, THINP_NO_BLOCK, "none of %" PRIu64 " blocks can be taken",
			       map->pages.nr_blocks);
	block = tp_pages_find(&map->pages, map->cursor);
	r = tp_pages_make_ready(&map->pages, block >> TP_PAGE_SHIFT, 1);
	if (r)
		return r;
	tp_pages_set(&map->pages, block, 1);
	map->cursor = block + 1 < map->pages.nr_blocks ? block + 1 : 0;
	*out = block;
	return 0;
}

/* Everything but the counts themselves: a step up or down is possible for each block, and the pages can hold it. */
static int check_step(struct thinp_memory_map *map, thinp_block_t first, uint64_t nr_blocks, uint32_t refused)
{
	int r = check_range(map, first, nr_blocks);

	for (thinp_block_t block = first; !r && block < first + nr_blocks; block++)
		if (tp_pages_get(&map->pages, block) == refused)
			r = tp_fail(THINP_EREFCOUNT, block, "a reference count of %" PRIu32 " cannot be %s", refused,
				    refused ? "raised" : "lowered");
	return r;
}

static int make_ready(struct thinp_memory_map *map, thinp_block_t first, uint64_t nr_blocks, uint32_t step)
{
	int r = 0;

	for (uint64_t part = 0; !r && nr_blocks; first += part, nr_blocks -= part) {
		uint32_t max_count = 0;

		part = part_in_page(first, nr_blocks);
		for (thinp_block_t block = first; block < first + part; block++) {
			uint32_t count = tp_pages_get(&map->pages, block) + step;

			max_count = count > max_count ? count : max_count;
		}
		r = tp_pages_make_ready(&map->pages, first >> TP_PAGE_SHIFT, max_count);
	}
	return r;
}

static int step_all(struct thinp_memory_map *map, thinp_block_t first, uint64_t nr_blocks, uint32_t step,
		    uint32_t refused)
{
	int r = check_step(map, first, nr_blocks, refused);

	if (!r)
		r = make_ready(map, first, nr_blocks, step);
	for (thinp_block_t block = first; !r && block < first + nr_blocks; block++)
		tp_pages_set(&map->pages, block, tp_pages_get(&map->pages, block) + step);
	return r;
}

static int map_inc(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	(void)cause;
	return step_all(ctx, first, nr_blocks, 1, UINT32_MAX);
}

static int map_dec(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	(void)cause;
	return step_all(ctx, first, nr_blocks, UINT32_MAX, 0); /* one less */
}

static int map_count(void *ctx, thinp_block_t block, uint32_t *count)
{
	const struct thinp_memory_map *map = ctx;
	int r = check_range(map, block, 1);

	if (!r)
		*count = tp_pages_get(&map->pages, block);
	return r;
}

static int map_reserve(void *ctx, uint64_t nr_blocks, uint32_t flags)
{
	const struct thinp_memory_map *map = ctx;

	if (flags & ~THINP_RESERVE_RELEASE)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags %#" PRIx32 " for a reserve", flags);
	if (nr_blocks > map->pages.nr_allocatable)
		return tp_fail(THINP_ENOSPC, THINP_NO_BLOCK, "%" PRIu64 " blocks are wanted, %" PRIu64 " can be taken",
			       nr_blocks, map->pages.nr_allocatable);
	return 0;
}

void thinp_memory_map_get_alloc(struct thinp_memory_map *map, struct thinp_alloc *alloc)
{
	const struct thinp_alloc table = {
		.size = sizeof(table),
		.ctx = map,
		.take = map_take,
		.inc = map_inc,
		.dec = map_dec,
		.count = map_count,
		.reserve = map_reserve,
	};

	tp_result_give(alloc, &table, sizeof(table));
}

/* --- transactions --- */

void thinp_memory_map_commit(struct thinp_memory_map *map)
{
	tp_pages_commit(&map->pages);
	map->committed_cursor = map->cursor;
}

void thinp_memory_map_abort(struct thinp_memory_map *map)
{
	tp_pages_abort(&map->pages);
	map->cursor = map->committed_cursor;
}

uint64_t thinp_memory_map_nr_zero(const struct thinp_memory_map *map)
{
	return map->pages.nr_zero;
}
