/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/run.h - reads and writes of a batch as transfers: what is asked of the system, and what to make of its answer.
 *
 * Neighbours in the array that are neighbours on the device as well are one run, which is one transfer when the system
 * takes it as a whole:
 *
 *   ops     W 7..9   W 10   W 11..12   W 40   R 41      three runs: write 7..12, write 40, read 41
 *
 * Who carries the transfers out does not matter here: tp_run_next() tells what is left to do, tp_run_settle() takes the
 * answer, until tp_run_is_done().
 */
#ifndef TP_IO_RUN_H
#define TP_IO_RUN_H

#include <thinp/io.h>

#include <sys/types.h>
#include <sys/uio.h>

/* What one transfer takes. Linux allows 1024; 16 bytes each are a bearable load for the stack. */
#define TP_MAX_IOV 1024

/* Operations of one kind, each beginning at the block where the one before it ends. */
struct tp_run {
	struct thinp_io_op *ops;
	size_t nr_ops;
	size_t at;           /* operations before this one have their result */
	uint64_t done;       /* bytes of ops[at] that are behind us */
	unsigned int stalls; /* transfers since the last progress */
	bool is_alone;       /* ops[at] is being tried without the others */
};

/* One request to the system. */
struct tp_transfer {
	struct iovec *iov;
	size_t nr_iov;
	size_t nr_ops; /* that it touches */
	off_t offset;
	bool is_write;
};

/* The run that begins with the first of these operations, a READ or a WRITE. */
void tp_run_begin(struct tp_run *run, struct thinp_io_op *ops, size_t nr_ops);

bool tp_run_is_done(const struct tp_run *run);

/* Describes what is left of a run, as much as one transfer with max_iov pieces takes. */
void tp_run_next(const struct tp_run *run, struct iovec *iov, size_t max_iov, struct tp_transfer *transfer);

uint64_t tp_transfer_bytes(const struct tp_transfer *transfer);

/* Would that be all of it? */
bool tp_transfer_is_all(const struct tp_transfer *transfer, const struct tp_run *run);

/* Takes what came of a transfer: the number of bytes that are behind us, or a negative errno. name: of the back-end, for
 * messages. */
void tp_run_settle(struct tp_run *run, const struct tp_transfer *transfer, ssize_t answer, const char *name);

#endif
