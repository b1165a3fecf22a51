/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/ring.h - operations in the order of arrival, in a ring that grows. Taken from the front it is fifo, from the
 * back lifo.
 */
#ifndef TP_OP_QUEUE_RING_H
#define TP_OP_QUEUE_RING_H

#include "base/error.h"

#include <thinp/allocator.h>
#include <thinp/op.h>

struct tp_ring;

int tp_ring_create(void *ctx, const struct thinp_allocator *allocator, void **self) TP_MUST_USE;
void tp_ring_destroy(void *self);
int tp_ring_push(void *self, const struct thinp_op *op) TP_MUST_USE;
bool tp_ring_is_empty(const void *self);

/* Only when it is not empty. */
void tp_ring_take_front(struct tp_ring *ring, struct thinp_op *op);
void tp_ring_take_back(struct tp_ring *ring, struct thinp_op *op);

#endif
