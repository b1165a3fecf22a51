/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/spares.c - pieces of memory of one size, got before a change so that the change cannot fail.
 */
#include "op_queue/spares.h"

#include "base/alloc.h"

#include <stdalign.h>

#include <utlist.h>

#define MOST_KEPT 64

struct tp_spare {
	struct tp_spare *next;
};

void tp_spares_init(struct tp_spares *spares, const struct thinp_allocator *allocator, size_t nbytes)
{
	*spares = (struct tp_spares){.allocator = allocator, .nbytes = nbytes};
}

static void put(struct tp_spares *spares, struct tp_spare *spare)
{
	LL_PREPEND(spares->first, spare);
	spares->nr++;
}

int tp_spares_reserve(struct tp_spares *spares, size_t nr)
{
	while (spares->nr < nr) {
		struct tp_spare *spare = tp_alloc_aligned(spares->allocator, spares->nbytes, alignof(max_align_t));

		if (!spare) {
			tp_spares_trim(spares, MOST_KEPT);
			return THINP_ENOMEM;
		}
		put(spares, spare);
	}
	return 0;
}

void *tp_spares_take(struct tp_spares *spares)
{
	struct tp_spare *spare = spares->first;

	LL_DELETE(spares->first, spare);
	spares->nr--;
	return spare;
}

void tp_spares_give(struct tp_spares *spares, void *piece)
{
	if (spares->nr < MOST_KEPT)
		put(spares, piece);
	else
		tp_free(spares->allocator, piece, spares->nbytes);
}

void tp_spares_trim(struct tp_spares *spares, size_t nr)
{
	while (spares->nr > nr)
		tp_free(spares->allocator, tp_spares_take(spares), spares->nbytes);
}
