/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/run.c - reads and writes of a batch as transfers.
 *
 * Invariants
 *   1. An operation fails only for its own blocks. When a transfer for several operations fails, the first that is not
 *      done is tried alone; if it fails again the fault is its own, and the others go on without it.
 *   2. Every transfer either brings the work forward or is one of MAX_STALLS that do not, so it ends.
 */
#include "io/run.h"

#include "base/error.h"

#include <inttypes.h>
#include <limits.h>

static_assert(TP_MAX_IOV <= IOV_MAX, "one call must take as many pieces as we give it");

enum {
	/* Transfers without progress before an operation is given up. */
	MAX_STALLS = 3,
};

/* Far from an overflow of the sum of the lengths, which has to fit into ssize_t. */
#define MAX_TRANSFER_BYTES ((uint64_t)1 << 30)

static uint64_t op_bytes(const struct thinp_io_op *op)
{
	return op->nr_blocks * THINP_BLOCK_SIZE;
}

static bool is_continued_by(const struct thinp_io_op *op, const struct thinp_io_op *next)
{
	return next->kind == op->kind && next->block == op->block + op->nr_blocks;
}

void tp_run_begin(struct tp_run *run, struct thinp_io_op *ops, size_t nr_ops)
{
	*run = (struct tp_run){.ops = ops, .nr_ops = 1};
	while (run->nr_ops < nr_ops && is_continued_by(&ops[run->nr_ops - 1], &ops[run->nr_ops]))
		run->nr_ops++;
}

bool tp_run_is_done(const struct tp_run *run)
{
	return run->at == run->nr_ops;
}

/* Adds memory behind the last piece, or as a piece of its own. */
static void add_piece(struct tp_transfer *transfer, uint8_t *base, size_t nbytes)
{
	struct iovec *last = transfer->nr_iov ? &transfer->iov[transfer->nr_iov - 1] : NULL;

	if (last && (uint8_t *)last->iov_base + last->iov_len == base)
		last->iov_len += nbytes;
	else
		transfer->iov[transfer->nr_iov++] = (struct iovec){.iov_base = base, .iov_len = nbytes};
}

void tp_run_next(const struct tp_run *run, struct iovec *iov, size_t max_iov, struct tp_transfer *transfer)
{
	const struct thinp_io_op *first = &run->ops[run->at];
	size_t end = run->is_alone ? run->at + 1 : run->nr_ops;
	uint64_t skip = run->done;
	uint64_t left = MAX_TRANSFER_BYTES;

	*transfer = (struct tp_transfer){
		.iov = iov,
		.offset = (off_t)(first->block * THINP_BLOCK_SIZE + skip),
		.is_write = first->kind == THINP_IO_WRITE,
	};
	for (size_t i = run->at; i < end && transfer->nr_iov < max_iov && left; i++) {
		uint64_t nbytes = op_bytes(&run->ops[i]) - skip;

		if (nbytes > left)
			nbytes = left;
		add_piece(transfer, (uint8_t *)run->ops[i].buffer + skip, (size_t)nbytes);
		transfer->nr_ops++;
		left -= nbytes;
		skip = 0;
	}
}

uint64_t tp_transfer_bytes(const struct tp_transfer *transfer)
{
	uint64_t nbytes = 0;

	for (size_t i = 0; i < transfer->nr_iov; i++)
		nbytes += transfer->iov[i].iov_len;
	return nbytes;
}

bool tp_transfer_is_all(const struct tp_transfer *transfer, const struct tp_run *run)
{
	uint64_t nbytes = 0;

	for (size_t i = run->at; i < run->nr_ops; i++)
		nbytes += op_bytes(&run->ops[i]);
	return tp_transfer_bytes(transfer) == nbytes - run->done;
}

static void finish_op(struct tp_run *run, int result)
{
	run->ops[run->at].result = result;
	run->at++;
	run->done = 0;
	run->is_alone = false;
	run->stalls = 0;
}

static void advance(struct tp_run *run, uint64_t nbytes)
{
	run->stalls = 0;
	run->done += nbytes;
	while (run->at < run->nr_ops && run->done >= op_bytes(&run->ops[run->at])) {
		uint64_t rest = run->done - op_bytes(&run->ops[run->at]);

		finish_op(run, 0);
		run->done = rest;
	}
}

/* A transfer moved nothing without saying why: the file is shorter than it was, or the transfer is stuck. */
static void stall(struct tp_run *run, const char *name)
{
	const struct thinp_io_op *op = &run->ops[run->at];
	thinp_block_t block = op->block + run->done / THINP_BLOCK_SIZE;

	if (++run->stalls < MAX_STALLS)
		return;
	finish_op(run, tp_fail(THINP_EIO, block, "%s: %s of block %" PRIu64 " %s", name,
			       op->kind == THINP_IO_READ ? "read" : "write", block,
			       op->kind == THINP_IO_READ ? "met the end" : "does not get on"));
}

void tp_run_settle(struct tp_run *run, const struct tp_transfer *transfer, ssize_t answer, const char *name)
{
	if (answer > 0)
		advance(run, (uint64_t)answer);
	else if (!answer)
		stall(run, name);
	else if (transfer->nr_ops > 1)
		run->is_alone = true;
	else
		finish_op(run, (int)answer);
}
