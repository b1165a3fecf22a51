/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/spares.h - pieces of memory of one size, got before a change so that the change cannot fail.
 *
 * What is given back is kept for the next change, as far as that needs little memory.
 */
#ifndef TP_OP_QUEUE_SPARES_H
#define TP_OP_QUEUE_SPARES_H

#include "base/error.h"

#include <thinp/allocator.h>

struct tp_spare; /* defined in spares.c: a link, which lies in the piece itself */

struct tp_spares {
	const struct thinp_allocator *allocator;
	size_t nbytes; /* of each, at least that of a pointer */
	size_t nr;
	struct tp_spare *first;
};

void tp_spares_init(struct tp_spares *spares, const struct thinp_allocator *allocator, size_t nbytes);

/* Sees to it that so many can be taken. */
int tp_spares_reserve(struct tp_spares *spares, size_t nr) TP_MUST_USE;

/* One that was reserved; not zeroed. */
void *tp_spares_take(struct tp_spares *spares);

void tp_spares_give(struct tp_spares *spares, void *piece);

/* Gives back to the allocator what goes beyond nr. */
void tp_spares_trim(struct tp_spares *spares, size_t nr);

#endif
