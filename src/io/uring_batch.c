/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/uring_batch.c - a batch as submissions; flushes that stop what is behind them.
 *
 * What lies between two flushes runs side by side, and the flush behind it must not begin before all of it has
 * succeeded. The ring has no request that waits for many others and looks whether they succeeded: a drained one waits
 * and does not look, a linked one looks at one other. So many runs are one submission of their own, and their answers
 * are looked at before anything behind them is handed over. What follows in single file is linked, and is one
 * submission:
 *
 *   W W W W W F S F      1. W W W W W    2. F --> S --> F       scattered blocks, flush, superblock, flush
 *   W F S F              1. W --> F --> S --> F                 the blocks are neighbours, which is one run
 *
 * The kernel cancels all that is behind a request that fails or moves less than it was asked to. What is behind an
 * answer like that is looked at no more, and begun anew once the run is complete: a short write is continued, and then
 * the flush and the rest are linked and submitted again.
 *
 * Invariants
 *   1. No request is handed over before everything in front of the nearest flush before it has succeeded, or is linked,
 *      in the same submission, to what it waits for.
 *   2. A submission that has a flush in it runs between tp_file_flush_begin() and tp_file_flush_end(), so that no other
 *      flush of the handle can take a failure away from it.
 *   3. When the ring takes no more, system calls carry out the rest.
 */
#include <thinp/io.h>

#ifdef THINP_WITH_URING
#include "io/uring.h"

#include "base/error.h"

#include <errno.h>

enum {
	/* Pieces of memory in one submission; the rest waits for the next one. 8 KiB of the stack. */
	NR_IOV = 512,
};

struct batch {
	struct tp_uring *uring;
	uint64_t failed_before; /* flushes that had failed when it began */
	struct tp_run runs[TP_RING_ENTRIES];
	struct tp_ring_request requests[TP_RING_ENTRIES];
	struct iovec iov[NR_IOV];
};

static bool is_flush(const struct tp_ring_request *request)
{
	return !request->transfer.nr_iov;
}

/* The ring could not do it for want of something; a system call waits for that. */
static bool needs_call(const struct tp_ring_request *request)
{
	return request->answer == TP_NOT_SUBMITTED || request->answer == -EAGAIN;
}

/* Nobody has cancelled a request that did not wait for one that failed, but some answer there must be. */
static int failure_of(const struct tp_ring_request *request)
{
	return request->answer == -ECANCELED ? -EIO : request->answer;
}

/* --- side by side --- */

/* Asks for what is left of the runs, as far as the pieces of memory go. Gives the number of requests. */
static unsigned int request_rest(struct batch *b, unsigned int nr_runs)
{
	unsigned int nr = 0;
	size_t nr_iov = 0;

	for (unsigned int i = 0; i < nr_runs && nr_iov < NR_IOV; i++) {
		struct tp_ring_request *request = &b->requests[nr];

		if (tp_run_is_done(&b->runs[i]))
			continue;
		*request = (struct tp_ring_request){.owner = &b->runs[i]};
		tp_run_next(&b->runs[i], b->iov + nr_iov, NR_IOV - nr_iov, &request->transfer);
		nr_iov += request->transfer.nr_iov;
		nr++;
	}
	return nr;
}

static void settle_run(const struct batch *b, const struct tp_ring_request *request)
{
	struct tp_file *file = b->uring->file;
	struct tp_run *run = request->owner;

	if (needs_call(request))
		tp_file_finish_run(file, run);
	else if (request->answer >= 0)
		tp_run_settle(run, &request->transfer, tp_file_behind(file, request->answer), file->name);
	else if (request->answer != -EINTR) /* else it is asked for once more */
		tp_run_settle(run, &request->transfer, failure_of(request), file->name);
}

static void finish_runs(struct batch *b, unsigned int nr_runs)
{
	unsigned int nr = request_rest(b, nr_runs);

	while (nr) {
		tp_ring_run(&b->uring->ring, b->requests, nr);
		for (unsigned int i = 0; i < nr; i++)
			settle_run(b, &b->requests[i]);
		nr = request_rest(b, nr_runs);
	}
}

/* Carries out neighbours, none of them a FLUSH. */
static void transfer(struct batch *b, struct thinp_io_op *ops, size_t nr_ops)
{
	size_t at = 0;

	while (at < nr_ops) {
		unsigned int nr = 0;

		while (at < nr_ops && nr < TP_RING_ENTRIES) {
			if (ops[at].kind == THINP_IO_DISCARD) {
				ops[at].result = tp_file_discard(b->uring->file, &ops[at]);
				at++;
				continue;
			}
			tp_run_begin(&b->runs[nr], ops + at, nr_ops - at);
			at += b->runs[nr].nr_ops;
			nr++;
		}
		finish_runs(b, nr);
	}
}

/* --- in single file --- */

/* A chain being put together: so many requests, operations and pieces of memory. */
struct chain {
	unsigned int nr;
	size_t nr_ops;
	size_t nr_iov;
	bool has_flush;
};

/* Adds what lies before the next flush, if one transfer does all of it. */
static bool add_run(struct batch *b, struct chain *c, struct thinp_io_op *ops, size_t nr_ops)
{
	struct tp_ring_request *request = &b->requests[c->nr];
	struct tp_run *run = &b->runs[c->nr];

	if (ops[0].kind == THINP_IO_DISCARD || c->nr_iov == NR_IOV)
		return false;
	tp_run_begin(run, ops, nr_ops);
	if (run->nr_ops < tp_io_find_flush(ops, nr_ops))
		return false;
	*request = (struct tp_ring_request){.owner = run};
	tp_run_next(run, b->iov + c->nr_iov, NR_IOV - c->nr_iov, &request->transfer);
	if (!tp_transfer_is_all(&request->transfer, run))
		return false;
	c->nr_iov += request->transfer.nr_iov;
	c->nr_ops += run->nr_ops;
	c->nr++;
	return true;
}

static void add_flush(struct batch *b, struct chain *c, struct thinp_io_op *op)
{
	b->requests[c->nr] = (struct tp_ring_request){.owner = op};
	c->nr_ops++;
	c->nr++;
	c->has_flush = true;
}

static struct chain put_together(struct batch *b, struct thinp_io_op *ops, size_t nr_ops)
{
	struct chain c = {.nr = 0};

	while (c.nr_ops < nr_ops && c.nr < TP_RING_ENTRIES) {
		struct thinp_io_op *next = ops + c.nr_ops;

		if (next->kind == THINP_IO_FLUSH)
			add_flush(b, &c, next);
		else if (!add_run(b, &c, next, nr_ops - c.nr_ops))
			break;
	}
	for (unsigned int i = 0; i + 1 < c.nr; i++)
		b->requests[i].is_linked = true;
	return c;
}

/* Did it do all it was to do? Then the system went on with what is linked to it. */
static bool is_complete(const struct tp_ring_request *request)
{
	return request->answer >= 0 && (uint64_t)request->answer == tp_transfer_bytes(&request->transfer);
}

/* The failure of a flush of the chain, or 0. All are asked: should the system have gone on behind something incomplete,
 * a failure there is no less one, which the flush that is begun anew must not miss. */
static int failed_flush(const struct batch *b, const struct chain *c)
{
	for (unsigned int i = 0; i < c->nr; i++) {
		const struct tp_ring_request *request = &b->requests[i];

		if (is_flush(request) && !needs_call(request) && request->answer != -EINTR &&
		    request->answer != -ECANCELED && request->answer < 0)
			return request->answer;
	}
	return 0;
}

/* Takes the answers up to the first that is not as hoped for. Gives the number of operations that have their result. */
static size_t settle_chain(struct batch *b, const struct chain *c)
{
	size_t nr_done = 0;

	for (unsigned int i = 0; i < c->nr; i++) {
		const struct tp_ring_request *request = &b->requests[i];
		bool goes_on = is_complete(request);

		if (is_flush(request)) {
			struct thinp_io_op *op = request->owner;

			if (request->answer == -EINTR || needs_call(request))
				return nr_done;
			op->result = failure_of(request);
			nr_done++;
		} else {
			settle_run(b, request);
			nr_done += b->runs[i].nr_ops;
			if (!goes_on) {
				b->runs[0] = b->runs[i];
				finish_runs(b, 1);
			}
		}
		if (!goes_on)
			break;
	}
	return nr_done;
}

/* Carries out the longest chain with which the operations begin. Gives the number of those that have their result: 0 when
 * there is none, or it did not get anywhere. */
static size_t run_chain(struct batch *b, struct thinp_io_op *ops, size_t nr_ops)
{
	struct tp_file *file = b->uring->file;
	struct chain c;

	if (file->is_read_only) /* there is nothing of ours to be flushed */
		return 0;
	c = put_together(b, ops, nr_ops);
	if (!c.has_flush || !tp_file_flush_begin(file, b->failed_before))
		return 0;
	tp_ring_run(&b->uring->ring, b->requests, c.nr);
	tp_file_flush_end(file, failed_flush(b, &c));
	return settle_chain(b, &c);
}

/* --- one after the other --- */

/* Carries out what lies before the next flush, or that flush, without a chain. */
static size_t do_next(struct batch *b, struct thinp_io_op *ops, size_t nr_ops)
{
	size_t flush = tp_io_find_flush(ops, nr_ops);

	if (flush) {
		transfer(b, ops, flush);
		return flush;
	}
	ops[0].result = tp_file_flush(b->uring->file, b->failed_before);
	return 1;
}

int tp_uring_batch(struct tp_uring *uring, struct thinp_io_op *ops, size_t nr_ops)
{
	const struct thinp_io_op *failure = NULL;
	size_t at = 0;
	struct batch b;

	b.uring = uring;
	b.failed_before = tp_file_failed_flushes(uring->file);
	while (at < nr_ops && !failure) {
		size_t n = run_chain(&b, ops + at, nr_ops - at);

		if (!n)
			n = do_next(&b, ops + at, nr_ops - at);
		failure = tp_io_first_failure(ops + at, n);
		at += n;
	}
	tp_io_set_results(ops + at, nr_ops - at, THINP_ECANCELED);
	return failure ? failure->result : 0;
}
#endif
