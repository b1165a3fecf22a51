/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/uring.h - a file or block device by io_uring.
 *
 *   uring.c          open, close, the table of the back-end
 *   uring_batch.c    a batch as submissions; flushes that stop what is behind them
 *   uring_ring.c     the ring, used by several threads at once
 *   uring_buffers.c  registered memory
 *   uring_sys.c      what is asked of the system, as a table
 *
 * Everything else, opening, size, the rules for flushes, is that of the file (file.h).
 */
#ifndef TP_IO_URING_H
#define TP_IO_URING_H

#include "io/file.h"
#include "io/uring_ring.h"

struct tp_uring {
	struct tp_file *file;
	struct tp_ring ring;
};

/* Carries out a batch. */
int tp_uring_batch(struct tp_uring *uring, struct thinp_io_op *ops, size_t nr_ops);

#endif
