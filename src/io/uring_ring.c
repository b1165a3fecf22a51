/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/uring_ring.c - one io_uring, used by several threads at once.
 *
 * A thread puts its requests into the ring and submits them under the lock. Then one of those that wait, the watcher,
 * waits in the kernel for completions, without the lock, and takes them for everybody. Who finds nobody watching
 * becomes the watcher. So a read does not wait for the flush of another thread.
 *
 * Invariants
 *   1. The completion queue does not overflow: there are never more requests under way than it has room for.
 *   2. Whoever submits takes all with him: nothing is left in the submission queue when the lock is given up. When the
 *      system takes only a part, the ring is broken: links reach no further than one submission, so what is left behind
 *      would be carried out without waiting for what went before. It is never submitted.
 *   3. tp_ring_run() returns only when the system has answered: until then it may use the buffers.
 *   4. Only the watcher touches the completion queue.
 * Locks
 *   lock: nothing is called with it held but the ring.
 */
#include <thinp/io.h>

#ifdef THINP_WITH_URING
#include "io/uring_ring.h"

#include "base/alloc.h"
#include "base/error.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

enum {
	/* Submissions without progress before the ring is given up. */
	MAX_STALLS = 3,
	/* The number of our file among the registered ones. */
	FILE_INDEX = 0,
};

/* --- open and close --- */

static int report_setup(int err, const char *path)
{
	if (err == ENOSYS)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s: this kernel has no io_uring", path);
	if (err == EPERM)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK,
			       "%s: io_uring is forbidden here, by kernel.io_uring_disabled or a system call filter",
			       path);
	return tp_fail_os(err, THINP_NO_BLOCK, "%s: cannot set up io_uring", path);
}

static int set_up(struct tp_ring *ring, int fd, const char *path)
{
	struct io_uring_params params = {.flags = 0};
	int r = ring->sys->init(TP_RING_ENTRIES, &ring->uring, &params);

	if (r)
		return report_setup(-r, path);
	/* it came with Linux 5.6, and so did all else that is used here, links and plain reads and writes among it */
	if (!(params.features & IORING_FEAT_RW_CUR_POS)) {
		ring->sys->exit(&ring->uring);
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s: the io_uring of this kernel is too old", path);
	}
	r = ring->sys->register_file(&ring->uring, fd);
	if (r) {
		ring->sys->exit(&ring->uring);
		return tp_fail_os(-r, THINP_NO_BLOCK, "%s: cannot register it with io_uring", path);
	}
	ring->max_in_flight = params.cq_entries;
	return 0;
}

static int create_locks(struct tp_ring *ring, const char *path)
{
	int err = pthread_mutex_init(&ring->lock, NULL);

	if (!err) {
		err = pthread_cond_init(&ring->moved, NULL);
		if (err)
			pthread_mutex_destroy(&ring->lock);
	}
	return err ? tp_fail_os(err, THINP_NO_BLOCK, "%s: no lock", path) : 0;
}

static void destroy_locks(struct tp_ring *ring)
{
	pthread_cond_destroy(&ring->moved);
	pthread_mutex_destroy(&ring->lock);
}

int tp_ring_open(struct tp_ring *ring, const struct tp_uring_sys *sys, const struct thinp_allocator *allocator, int fd,
		 const char *path)
{
	int r;

	memset(ring, 0, sizeof(*ring));
	ring->sys = sys;
	ring->allocator = *allocator;
	r = create_locks(ring, path);
	if (r)
		return r;
	r = set_up(ring, fd, path);
	if (r)
		destroy_locks(ring);
	return r;
}

/* The kernel takes a closed ring apart when it finds the time. Until then it keeps the file that is registered, and with
 * it the claim on a block device: so that is taken out first. In a child the ring is the parent's, and the locks may look
 * locked for ever. */
void tp_ring_close(struct tp_ring *ring, bool is_foreign)
{
	if (!is_foreign)
		ring->sys->unregister_file(&ring->uring);
	ring->sys->exit(&ring->uring);
	if (!is_foreign)
		destroy_locks(ring);
	tp_free(&ring->allocator, ring->buffers, ring->nr_buffers * sizeof(*ring->buffers));
}

/* --- completions --- */

static void take_completions(struct tp_ring *ring)
{
	struct io_uring_cqe *cqe = ring->sys->peek(&ring->uring);

	while (cqe) {
		struct tp_ring_request *request = io_uring_cqe_get_data(cqe);

		request->answer = cqe->res;
		(*request->nr_pending)--;
		ring->nr_in_flight--;
		io_uring_cqe_seen(&ring->uring, cqe);
		cqe = ring->sys->peek(&ring->uring);
	}
}

void tp_ring_wait(struct tp_ring *ring)
{
	int r;

	if (ring->is_watched) {
		pthread_cond_wait(&ring->moved, &ring->lock);
		return;
	}
	ring->is_watched = true;
	pthread_mutex_unlock(&ring->lock);
	r = ring->sys->wait(&ring->uring);
	if (r)
		sched_yield(); /* interrupted, most likely; there is no way to go on but to look again */
	pthread_mutex_lock(&ring->lock);
	take_completions(ring);
	ring->is_watched = false;
	pthread_cond_broadcast(&ring->moved);
}

/* --- submissions --- */

static void prepare_transfer(const struct tp_ring *ring, struct io_uring_sqe *sqe, const struct tp_transfer *t)
{
	const struct iovec *iov = t->iov;
	int buffer = t->nr_iov == 1 ? tp_ring_find_buffer(ring, iov) : -1;
	unsigned int nbytes = (unsigned int)iov->iov_len; /* which tp_run_next() keeps small enough */
	unsigned int nr_iov = (unsigned int)t->nr_iov;
	uint64_t offset = (uint64_t)t->offset;

	if (buffer >= 0 && t->is_write)
		io_uring_prep_write_fixed(sqe, FILE_INDEX, iov->iov_base, nbytes, offset, buffer);
	else if (buffer >= 0)
		io_uring_prep_read_fixed(sqe, FILE_INDEX, iov->iov_base, nbytes, offset, buffer);
	else if (nr_iov == 1 && t->is_write)
		io_uring_prep_write(sqe, FILE_INDEX, iov->iov_base, nbytes, offset);
	else if (nr_iov == 1)
		io_uring_prep_read(sqe, FILE_INDEX, iov->iov_base, nbytes, offset);
	else if (t->is_write)
		io_uring_prep_writev(sqe, FILE_INDEX, iov, nr_iov, offset);
	else
		io_uring_prep_readv(sqe, FILE_INDEX, iov, nr_iov, offset);
}

/* The queue is empty (invariant 2), and has room for TP_RING_ENTRIES. */
static void prepare(struct tp_ring *ring, struct tp_ring_request *request)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
	unsigned int flags = IOSQE_FIXED_FILE | (request->is_linked ? IOSQE_IO_LINK : 0);

	if (request->transfer.nr_iov)
		prepare_transfer(ring, sqe, &request->transfer);
	else
		io_uring_prep_fsync(sqe, FILE_INDEX, IORING_FSYNC_DATASYNC);
	io_uring_sqe_set_flags(sqe, flags);
	io_uring_sqe_set_data(sqe, request);
}

/* Is a link cut when only the first `taken` of the requests are submitted together? */
static bool is_cut(const struct tp_ring_request *requests, unsigned int taken)
{
	return taken && requests[taken - 1].is_linked;
}

/* Gives the number of requests that the system took. */
static unsigned int submit(struct tp_ring *ring, const struct tp_ring_request *requests, unsigned int nr)
{
	unsigned int stalls = 0;
	unsigned int taken = 0;

	while (taken < nr && stalls < MAX_STALLS && !is_cut(requests, taken)) {
		int n = ring->sys->submit(&ring->uring);

		if (n > 0)
			taken += (unsigned int)n;
		else
			stalls++; /* interrupted, or short of memory */
	}
	return taken;
}

static void hand_over(struct tp_ring *ring, struct tp_ring_request *requests, unsigned int nr, unsigned int *nr_pending)
{
	unsigned int taken;

	for (unsigned int i = 0; i < nr; i++) {
		requests[i].nr_pending = nr_pending;
		prepare(ring, &requests[i]);
	}
	taken = submit(ring, requests, nr);
	*nr_pending = taken;
	ring->nr_in_flight += taken;
	ring->is_broken = taken < nr;
}

void tp_ring_run(struct tp_ring *ring, struct tp_ring_request *requests, unsigned int nr)
{
	unsigned int nr_pending = 0;

	for (unsigned int i = 0; i < nr; i++)
		requests[i].answer = TP_NOT_SUBMITTED;
	pthread_mutex_lock(&ring->lock);
	while (ring->nr_in_flight + nr > ring->max_in_flight)
		tp_ring_wait(ring);
	if (!ring->is_broken)
		hand_over(ring, requests, nr, &nr_pending);
	while (nr_pending)
		tp_ring_wait(ring);
	pthread_mutex_unlock(&ring->lock);
}
#endif
