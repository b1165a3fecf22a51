/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/sorted.c - by block, and for one block in the order of arrival.
 *
 * Ranges are cut where they overlap. Were they not, one that begins lower would overtake another that came before.
 */
#include "op_queue/pieces.h"
#include "op_queue/policies.h"

static int push(void *self, const struct thinp_op *op)
{
	return tp_pieces_push(self, op, false);
}

static int pop(void *self, struct thinp_op *op)
{
	struct tp_piece *piece = tp_pieces_front(self);

	*op = (struct thinp_op){
		.first = piece->first,
		.nr_blocks = piece->last - piece->first + 1,
		.number = piece->number,
		.kind = piece->kind,
		.cause = piece->cause,
	};
	tp_pieces_remove(self, piece);
	return 0;
}

const struct thinp_opq_policy tp_opq_sorted = {
	.size = sizeof(struct thinp_opq_policy),
	.name = "sorted",
	.create = tp_pieces_create,
	.destroy = tp_pieces_destroy,
	.push = push,
	.pop = pop,
	.is_empty = tp_pieces_is_empty,
};
