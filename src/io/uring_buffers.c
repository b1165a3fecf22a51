/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/uring_buffers.c - memory that is registered with the ring: the kernel pins it once, not for every transfer.
 */
#include <thinp/io.h>

#ifdef THINP_WITH_URING
#include "io/uring_ring.h"

#include "base/alloc.h"
#include "base/error.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

/* The kernel takes no larger ones, so these are registered in parts. No transfer is larger either. */
#define MAX_PART_BYTES ((size_t)1 << 30)

int tp_ring_find_buffer(const struct tp_ring *ring, const struct iovec *memory)
{
	uintptr_t begin = (uintptr_t)memory->iov_base;
	size_t low = 0;
	size_t high = ring->nr_buffers;

	/* the last one that begins at or before the memory: buffers below `low` do, those from `high` on do not */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if ((uintptr_t)ring->buffers[middle].iov_base <= begin)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return -1;
	begin -= (uintptr_t)ring->buffers[low - 1].iov_base;
	if (begin > ring->buffers[low - 1].iov_len || memory->iov_len > ring->buffers[low - 1].iov_len - begin)
		return -1;
	return (int)(low - 1);
}

static size_t count_parts(const struct thinp_io_buffer *buffers, size_t nr_buffers)
{
	size_t nr = 0;

	for (size_t i = 0; i < nr_buffers; i++)
		nr += (buffers[i].nbytes - 1) / MAX_PART_BYTES + 1;
	return nr;
}

static int by_address(const void *a, const void *b)
{
	uintptr_t first = (uintptr_t)((const struct iovec *)a)->iov_base;
	uintptr_t second = (uintptr_t)((const struct iovec *)b)->iov_base;

	return (first > second) - (first < second);
}

static void fill_parts(struct iovec *parts, const struct thinp_io_buffer *buffers, size_t nr_buffers)
{
	size_t nr = 0;

	for (size_t i = 0; i < nr_buffers; i++) {
		for (size_t at = 0; at < buffers[i].nbytes; at += MAX_PART_BYTES) {
			size_t left = buffers[i].nbytes - at;

			parts[nr].iov_base = (uint8_t *)buffers[i].begin + at;
			parts[nr].iov_len = left < MAX_PART_BYTES ? left : MAX_PART_BYTES;
			nr++;
		}
	}
	qsort(parts, nr, sizeof(*parts), by_address);
}

/* No request may be under way: it may use what is registered. */
static void lock_idle(struct tp_ring *ring)
{
	pthread_mutex_lock(&ring->lock);
	while (ring->nr_in_flight)
		tp_ring_wait(ring);
}

static int forget(struct tp_ring *ring)
{
	struct iovec *parts;
	size_t nr;
	int r;

	lock_idle(ring);
	parts = ring->buffers;
	nr = ring->nr_buffers;
	r = parts ? ring->sys->unregister_buffers(&ring->uring) : 0;
	if (!r) {
		ring->buffers = NULL;
		ring->nr_buffers = 0;
	}
	pthread_mutex_unlock(&ring->lock);
	if (!r)
		tp_free(&ring->allocator, parts, nr * sizeof(*parts));
	return r;
}

static int learn(struct tp_ring *ring, struct iovec *parts, size_t nr)
{
	int r;

	lock_idle(ring);
	r = ring->sys->register_buffers(&ring->uring, parts, (unsigned int)nr);
	if (!r) {
		ring->buffers = parts;
		ring->nr_buffers = nr;
	}
	pthread_mutex_unlock(&ring->lock);
	return r;
}

int tp_ring_register_buffers(struct tp_ring *ring, const struct thinp_io_buffer *buffers, size_t nr_buffers)
{
	size_t nr = count_parts(buffers, nr_buffers);
	struct iovec *parts;
	int r = forget(ring);

	if (r || !nr)
		return r;
	if (nr > INT_MAX)
		return -EINVAL;
	parts = tp_alloc_zeroed(&ring->allocator, nr, sizeof(*parts));
	if (!parts)
		return THINP_ENOMEM;
	fill_parts(parts, buffers, nr_buffers);
	r = learn(ring, parts, nr);
	if (r)
		tp_free(&ring->allocator, parts, nr * sizeof(*parts));
	return r;
}
#endif
