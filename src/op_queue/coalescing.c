/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/coalescing.c - as few operations as possible: an INC is dropped together with the DEC that follows it, and
 * neighbours of one kind come out as one.
 *
 * A DEC is not dropped with the INC that follows it: if the count was 0, that DEC is a fault which is to be seen.
 */
#include "op_queue/pieces.h"
#include "op_queue/policies.h"

static int push(void *self, const struct thinp_op *op)
{
	return tp_pieces_push(self, op, true);
}

/* Can the piece be merged behind what begins at first? The whole range of 2^64 blocks is one more than a length can say. */
static bool fits(const struct tp_piece *piece, uint64_t first, uint32_t kind)
{
	return piece && piece->kind == kind && piece->last - first != UINT64_MAX;
}

static int pop(void *self, struct thinp_op *op)
{
	struct tp_piece *piece = tp_pieces_front(self);
	struct tp_piece oldest = *piece;
	uint64_t first = piece->first, last;

	do {
		if (piece->arrival < oldest.arrival)
			oldest = *piece;
		last = piece->last;
		tp_pieces_remove(self, piece);
		piece = last == UINT64_MAX ? NULL : tp_pieces_at(self, last + 1);
	} while (fits(piece, first, oldest.kind));

	*op = (struct thinp_op){
		.first = first,
		.nr_blocks = last - first + 1,
		.number = oldest.number,
		.kind = oldest.kind,
		.cause = oldest.cause,
	};
	return 0;
}

const struct thinp_opq_policy tp_opq_coalescing = {
	.size = sizeof(struct thinp_opq_policy),
	.name = "coalescing",
	.create = tp_pieces_create,
	.destroy = tp_pieces_destroy,
	.push = push,
	.pop = pop,
	.is_empty = tp_pieces_is_empty,
};
