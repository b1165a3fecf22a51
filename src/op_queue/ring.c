/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/ring.c - operations in the order of arrival.
 *
 * A ring that is full is replaced by one of twice the size; one that becomes empty is given back unless it is small.
 */
#include "op_queue/ring.h"

#include "base/alloc.h"

#define FIRST_CAPACITY 32
#define MOST_KEPT      256

struct tp_ring {
	const struct thinp_allocator *allocator;
	struct thinp_op *ops;
	size_t capacity; /* 0, or a power of two */
	size_t front;    /* where the oldest one is */
	size_t nr;
};

int tp_ring_create(void *ctx, const struct thinp_allocator *allocator, void **self)
{
	struct tp_ring *ring = tp_alloc_zeroed(allocator, 1, sizeof(*ring));

	(void)ctx;
	if (!ring)
		return THINP_ENOMEM;
	ring->allocator = allocator;
	*self = ring;
	return 0;
}

static void free_ops(struct tp_ring *ring)
{
	tp_free(ring->allocator, ring->ops, ring->capacity * sizeof(*ring->ops));
}

void tp_ring_destroy(void *self)
{
	struct tp_ring *ring = self;

	free_ops(ring);
	tp_free(ring->allocator, ring, sizeof(*ring));
}

static struct thinp_op *at(const struct tp_ring *ring, size_t i)
{
	return &ring->ops[(ring->front + i) & (ring->capacity - 1)];
}

static int grow(struct tp_ring *ring)
{
	size_t capacity = ring->capacity ? 2 * ring->capacity : FIRST_CAPACITY;
	struct thinp_op *ops = tp_alloc_zeroed(ring->allocator, capacity, sizeof(*ops));

	if (!ops)
		return THINP_ENOMEM;
	for (size_t i = 0; i < ring->nr; i++)
		ops[i] = *at(ring, i);
	free_ops(ring);
	ring->ops = ops;
	ring->capacity = capacity;
	ring->front = 0;
	return 0;
}

int tp_ring_push(void *self, const struct thinp_op *op)
{
	struct tp_ring *ring = self;

	if (ring->nr == ring->capacity) {
		int r = grow(ring);

		if (r)
			return r;
	}
	*at(ring, ring->nr++) = *op;
	return 0;
}

bool tp_ring_is_empty(const void *self)
{
	const struct tp_ring *ring = self;

	return ring->nr == 0;
}

static void shrink(struct tp_ring *ring)
{
	if (ring->nr || ring->capacity <= MOST_KEPT)
		return;
	free_ops(ring);
	ring->ops = NULL;
	ring->capacity = 0;
	ring->front = 0;
}

void tp_ring_take_front(struct tp_ring *ring, struct thinp_op *op)
{
	*op = *at(ring, 0);
	ring->front++;
	ring->nr--;
	shrink(ring);
}

void tp_ring_take_back(struct tp_ring *ring, struct thinp_op *op)
{
	*op = *at(ring, --ring->nr);
	shrink(ring);
}
