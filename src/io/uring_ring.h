/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/uring_ring.h - one io_uring, used by several threads at once.
 */
#ifndef TP_IO_URING_RING_H
#define TP_IO_URING_RING_H

#include "io/run.h"
#include "io/uring_sys.h"

#include <pthread.h>

/* As many requests go into one submission. A commit has some hundred blocks, most of them neighbours. */
#define TP_RING_ENTRIES 128u

struct tp_ring {
	const struct tp_uring_sys *sys;
	struct thinp_allocator allocator;
	struct io_uring uring;
	unsigned int max_in_flight; /* completions that the ring has room for */
	pthread_mutex_t lock;       /* guards all below, and the submission side of the ring */
	pthread_cond_t moved;       /* completions were taken, or nobody waits for them any more */
	bool is_watched;            /* a thread waits for completions in the kernel, without the lock */
	bool is_broken;             /* it holds requests that must not be submitted any more, see uring_ring.c */
	unsigned int nr_in_flight;
	struct iovec *buffers; /* that are registered, by address */
	size_t nr_buffers;
};

/* A request is one transfer, or, when that has nothing to move, a flush. */
struct tp_ring_request {
	struct tp_transfer transfer;
	bool is_linked; /* the next one waits for this one, and is cancelled unless it does all it was to do */
	int answer;     /* as of pwritev or fdatasync, with a negative errno; or TP_NOT_SUBMITTED */
	void *owner;    /* for the caller */
	unsigned int *nr_pending; /* of those that run together */
};

/* No errno: the request never reached the system. */
#define TP_NOT_SUBMITTED INT32_MIN

/* Makes a ring for one open file. Gives 0 or one of enum thinp_err; path is for the message. */
int tp_ring_open(struct tp_ring *ring, const struct tp_uring_sys *sys, const struct thinp_allocator *allocator, int fd,
		 const char *path);

/* In a child of the process that opened it, the parent's ring stays as it is. */
void tp_ring_close(struct tp_ring *ring, bool is_foreign);

/* Hands over at most TP_RING_ENTRIES requests in one submission and waits until all have their answer. */
void tp_ring_run(struct tp_ring *ring, struct tp_ring_request *requests, unsigned int nr);

/* thinp_io_register_buffers() for this ring. */
int tp_ring_register_buffers(struct tp_ring *ring, const struct thinp_io_buffer *buffers, size_t nr_buffers);

/* Between uring_ring.c and uring_buffers.c; the caller holds the lock. The first waits until some requests have got
 * their answer, and gives up the lock in between. The second gives the number of the registered buffer in which all of
 * the memory lies, or -1. */
void tp_ring_wait(struct tp_ring *ring);
int tp_ring_find_buffer(const struct tp_ring *ring, const struct iovec *memory);

#endif
