/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/lifo.c - the last one first: wrong as soon as two operations of different kinds are pending for one block.
 *
 * Only to show what that does; docs/op-ordering.md.
 */
#include "op_queue/policies.h"
#include "op_queue/ring.h"

static int pop(void *self, struct thinp_op *op)
{
	tp_ring_take_back(self, op);
	return 0;
}

const struct thinp_opq_policy tp_opq_lifo = {
	.size = sizeof(struct thinp_opq_policy),
	.name = "lifo",
	.create = tp_ring_create,
	.destroy = tp_ring_destroy,
	.push = tp_ring_push,
	.pop = pop,
	.is_empty = tp_ring_is_empty,
};
