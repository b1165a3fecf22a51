/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/fifo.c - in the order of arrival: right for every block, whatever arrives.
 */
#include "op_queue/policies.h"
#include "op_queue/ring.h"

static int pop(void *self, struct thinp_op *op)
{
	tp_ring_take_front(self, op);
	return 0;
}

const struct thinp_opq_policy tp_opq_fifo = {
	.size = sizeof(struct thinp_opq_policy),
	.name = "fifo",
	.create = tp_ring_create,
	.destroy = tp_ring_destroy,
	.push = tp_ring_push,
	.pop = pop,
	.is_empty = tp_ring_is_empty,
};
