/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_transfer.c - reads, writes and discards by one system call after the other.
 */
#include "io/file.h"

#include <errno.h>

void tp_file_finish_run(struct tp_file *file, struct tp_run *run)
{
	int fd = tp_file_fd_for(file, run);
	struct iovec iov[TP_MAX_IOV];
	struct tp_transfer t;

	while (!tp_run_is_done(run)) {
		tp_run_next(run, iov, TP_MAX_IOV, &t);
		tp_run_settle(run, &t, tp_file_move(file, fd, t.is_write, t.iov, t.nr_iov, t.offset), file->name);
	}
}

/* A discard is a hint: a file system that cannot do it has done it. */
int tp_file_discard(const struct tp_file *file, const struct thinp_io_op *op)
{
	int r;

	if (file->is_device)
		return tp_device_discard(file, op);
	r = tp_file_allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, tp_file_offset(op->block),
			     tp_file_offset(op->nr_blocks));
	return r == -EOPNOTSUPP || r == -ENOSYS ? 0 : r;
}

static void transfer(struct tp_file *file, struct thinp_io_op *ops, size_t nr_ops)
{
	size_t at = 0;

	while (at < nr_ops) {
		struct tp_run run;

		if (ops[at].kind == THINP_IO_DISCARD) {
			ops[at].result = tp_file_discard(file, &ops[at]);
			at++;
			continue;
		}
		tp_run_begin(&run, ops + at, nr_ops - at);
		tp_file_finish_run(file, &run);
		at += run.nr_ops;
	}
}

/* Counted when they are done: a flush is for what was done before it began. */
void tp_file_transfer(struct tp_file *file, struct thinp_io_op *ops, size_t nr_ops)
{
	uint64_t nr_changes = 0;

	transfer(file, ops, nr_ops);
	for (size_t i = 0; i < nr_ops; i++)
		nr_changes += ops[i].kind != THINP_IO_READ;
	if (nr_changes)
		atomic_fetch_add(&file->unflushed, nr_changes);
}
