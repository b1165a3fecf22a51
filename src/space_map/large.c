/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/large.c - a table with open addressing.
 *
 * Invariants
 *   1. At least a quarter of the slots has never been taken: searches end at one of those.
 *   2. A slot without a count keeps its block, so that searches go on behind it; it is dropped when the table is made anew.
 */
#include "space_map/large.h"

#include "base/alloc.h"

#define SMALLEST 64u

struct tp_large_slot {
	uint64_t block_plus_1; /* 0: never taken */
	uint64_t count;        /* 0: no count any more */
};

void tp_large_init(struct tp_large *large, const struct thinp_allocator *allocator)
{
	*large = (struct tp_large){.allocator = *allocator};
}

void tp_large_clear(struct tp_large *large)
{
	tp_free(&large->allocator, large->slots, large->nr_slots * sizeof(*large->slots));
	tp_large_init(large, &large->allocator);
}

uint64_t tp_large_bytes(const struct tp_large *large)
{
	return large->nr_slots * sizeof(*large->slots);
}

/* The slot of a block, or the free one where it would go. */
static struct tp_large_slot *find(struct tp_large_slot *slots, size_t nr_slots, uint64_t block)
{
	size_t i = (size_t)(block * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (nr_slots - 1);

	while (slots[i].block_plus_1 && slots[i].block_plus_1 != block + 1)
		i = (i + 1) & (nr_slots - 1);
	return &slots[i];
}

static bool has_room(size_t nr_slots, uint64_t nr)
{
	return nr <= nr_slots - nr_slots / 4;
}

static int make_anew(struct tp_large *large, size_t nr_slots)
{
	struct tp_large_slot *slots = tp_alloc_zeroed(&large->allocator, nr_slots, sizeof(*slots));

	if (!slots)
		return THINP_ENOMEM;
	for (size_t i = 0; i < large->nr_slots; i++) {
		if (large->slots[i].count)
			*find(slots, nr_slots, large->slots[i].block_plus_1 - 1) = large->slots[i];
	}
	tp_free(&large->allocator, large->slots, large->nr_slots * sizeof(*slots));
	large->slots = slots;
	large->nr_slots = nr_slots;
	large->nr_taken = large->nr_used;
	return 0;
}

int tp_large_reserve(struct tp_large *large, uint64_t nr)
{
	size_t nr_slots = SMALLEST;

	if (!nr || has_room(large->nr_slots, large->nr_taken + nr))
		return 0;
	/* half full after it, so that the next time is far away */
	while (!has_room(nr_slots, (large->nr_used + nr) * 3 / 2))
		nr_slots *= 2;
	return make_anew(large, nr_slots);
}

uint32_t tp_large_get(const struct tp_large *large, uint64_t block)
{
	return (uint32_t)find(large->slots, large->nr_slots, block)->count;
}

void tp_large_put(struct tp_large *large, uint64_t block, uint32_t count)
{
	struct tp_large_slot *slot = find(large->slots, large->nr_slots, block);

	large->nr_taken += !slot->block_plus_1;
	large->nr_used += !slot->count;
	slot->block_plus_1 = block + 1;
	slot->count = count;
}

void tp_large_remove(struct tp_large *large, uint64_t block)
{
	find(large->slots, large->nr_slots, block)->count = 0;
	large->nr_used--;
}
