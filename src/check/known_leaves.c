/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/known_leaves.c - leaves that a dump has met.
 */
#include "check/known_leaves.h"

#include "base/alloc.h"
#include "base/error.h"

#include <string.h>

int tp_known_leaves_create(struct tp_known_leaves *known, const struct thinp_allocator *allocator, uint64_t nr_blocks)
{
	*known = (struct tp_known_leaves){.allocator = *allocator};
	known->nr_places = nr_blocks < TP_KNOWN_LEAVES_MOST ? (size_t)nr_blocks : TP_KNOWN_LEAVES_MOST;
	known->places = tp_alloc_zeroed(allocator, known->nr_places, sizeof(*known->places));
	return known->places ? 0 : THINP_ENOMEM;
}

void tp_known_leaves_destroy(struct tp_known_leaves *known)
{
	for (size_t i = 0; i < known->nr_chunks; i++)
		tp_free(&known->allocator, known->chunks[i], TP_KNOWN_LEAVES_CHUNK);
	if (known->places)
		tp_free(&known->allocator, known->places, known->nr_places * sizeof(*known->places));
}

struct tp_known_leaf *tp_known_leaves_place(const struct tp_known_leaves *known, thinp_block_t leaf)
{
	return &known->places[leaf % known->nr_places];
}

void tp_known_leaf_set(struct tp_known_leaf *place, thinp_block_t leaf, const struct thinp_run *runs, size_t nr_runs)
{
	*place = (struct tp_known_leaf){.leaf = leaf,
					.first = runs[0],
					.last = runs[nr_runs - 1],
					.has_several = nr_runs > 1,
					.is_complete = nr_runs <= 2};
	for (size_t i = 0; i < nr_runs; i++)
		place->nr_blocks += (uint32_t)runs[i].length;
}

static bool has_room(const struct tp_known_leaves *known, size_t len)
{
	return known->nr_chunks && len <= TP_KNOWN_LEAVES_CHUNK - known->used;
}

static int add_chunk(struct tp_known_leaves *known)
{
	char *chunk = tp_alloc_zeroed(&known->allocator, TP_KNOWN_LEAVES_CHUNK, 1);

	if (!chunk)
		return THINP_ENOMEM;
	known->chunks[known->nr_chunks++] = chunk;
	known->used = 0;
	return 0;
}

int tp_known_leaves_keep(struct tp_known_leaves *known, struct tp_known_leaf *place, const char *text, size_t len)
{
	int r = 0;

	if (!has_room(known, len) && known->nr_chunks < TP_KNOWN_LEAVES_NR_CHUNKS)
		r = add_chunk(known);
	if (r || !has_room(known, len))
		return r;
	place->text = memcpy(known->chunks[known->nr_chunks - 1] + known->used, text, len);
	place->text_len = (uint32_t)len;
	place->is_complete = true;
	known->used += len;
	return 0;
}
