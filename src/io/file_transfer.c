/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_transfer.c - reads, writes and discards of a file.
 *
 * Neighbours in the array that are neighbours in the file as well become one system call:
 *
 *   ops     W 7..9   W 10   W 11..12   W 40   R 41      three calls: pwritev 7..12, pwritev 40, preadv 41
 *
 * Invariants
 *   1. An operation fails only for its own blocks. When a call for several operations fails, the first that is not done
 *      is tried alone; if it fails again the fault is its own, and the others go on without it.
 *   2. Every call either brings the work forward or is one of MAX_STALLS that do not, so it ends.
 */
#include "io/file.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>

enum {
	/* What one call takes. Linux allows 1024; 16 bytes each are a bearable load for the stack. */
	MAX_IOV = 1024,
	/* Calls without progress before an operation is given up. */
	MAX_STALLS = 3,
};
static_assert(MAX_IOV <= IOV_MAX, "one call must take as many pieces as we give it");

/* Far from an overflow of the sum of the lengths, which has to fit into ssize_t. */
#define MAX_CALL_BYTES ((uint64_t)1 << 30)

/* Operations of one kind, each beginning at the block where the one before it ends. */
struct run {
	const struct tp_file *file;
	struct thinp_io_op *ops;
	size_t nr_ops;
	size_t at;           /* operations before this one have their result */
	uint64_t done;       /* bytes of ops[at] that are behind us */
	unsigned int stalls; /* calls since the last progress */
	bool is_alone;       /* ops[at] is being tried without the others */
};

static uint64_t op_bytes(const struct thinp_io_op *op)
{
	return op->nr_blocks * THINP_BLOCK_SIZE;
}

/* Describes what is left of a run, as much as one call takes. */
static size_t fill_iov(const struct run *run, struct iovec iov[MAX_IOV])
{
	size_t end = run->is_alone ? run->at + 1 : run->nr_ops;
	uint64_t skip = run->done;
	uint64_t left = MAX_CALL_BYTES;
	size_t nr = 0;

	for (size_t i = run->at; i < end && nr < MAX_IOV && left; i++) {
		const struct thinp_io_op *op = &run->ops[i];
		uint64_t nbytes = op_bytes(op) - skip;

		if (nbytes > left)
			nbytes = left;
		iov[nr].iov_base = (uint8_t *)op->buffer + skip;
		iov[nr].iov_len = (size_t)nbytes;
		nr++;
		left -= nbytes;
		skip = 0;
	}
	return nr;
}

static void finish_op(struct run *run, int result)
{
	run->ops[run->at].result = result;
	run->at++;
	run->done = 0;
	run->is_alone = false;
	run->stalls = 0;
}

static void advance(struct run *run, uint64_t nbytes)
{
	run->stalls = 0;
	run->done += nbytes;
	while (run->at < run->nr_ops && run->done >= op_bytes(&run->ops[run->at])) {
		uint64_t rest = run->done - op_bytes(&run->ops[run->at]);

		finish_op(run, 0);
		run->done = rest;
	}
}

/* A call moved nothing without saying why: the file is shorter than it was, or the transfer is stuck. */
static void stall(struct run *run)
{
	const struct thinp_io_op *op = &run->ops[run->at];

	if (++run->stalls < MAX_STALLS)
		return;
	finish_op(run, tp_fail(THINP_EIO, op->block + run->done / THINP_BLOCK_SIZE, "file: %s of block %" PRIu64 " %s",
			       op->kind == THINP_IO_READ ? "read" : "write", op->block + run->done / THINP_BLOCK_SIZE,
			       op->kind == THINP_IO_READ ? "met the end of the file" : "does not get on"));
}

static void do_run(struct run *run)
{
	struct iovec iov[MAX_IOV];

	while (run->at < run->nr_ops) {
		const struct thinp_io_op *op = &run->ops[run->at];
		size_t nr_iov = fill_iov(run, iov);
		ssize_t n = tp_file_move(run->file, op->kind == THINP_IO_WRITE, iov, nr_iov,
					 tp_file_offset(op->block) + (off_t)run->done);

		if (n > 0)
			advance(run, (uint64_t)n);
		else if (!n)
			stall(run);
		else if (nr_iov > 1)
			run->is_alone = true;
		else
			finish_op(run, (int)n);
	}
}

static bool is_continued_by(const struct thinp_io_op *op, const struct thinp_io_op *next)
{
	return next->kind == op->kind && next->block == op->block + op->nr_blocks;
}

/* A discard is a hint: a file system that cannot do it has done it. */
static int discard(const struct tp_file *file, const struct thinp_io_op *op)
{
	int r = tp_file_allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, tp_file_offset(op->block),
				 (off_t)op_bytes(op));

	return r == -EOPNOTSUPP || r == -ENOSYS ? 0 : r;
}

void tp_file_transfer(const struct tp_file *file, struct thinp_io_op *ops, size_t nr_ops)
{
	size_t begin = 0;

	while (begin < nr_ops) {
		struct run run = {.file = file, .ops = ops + begin, .nr_ops = 1};

		if (ops[begin].kind == THINP_IO_DISCARD) {
			ops[begin].result = discard(file, &ops[begin]);
		} else {
			while (begin + run.nr_ops < nr_ops &&
			       is_continued_by(&run.ops[run.nr_ops - 1], &run.ops[run.nr_ops]))
				run.nr_ops++;
			do_run(&run);
		}
		begin += run.nr_ops;
	}
}
