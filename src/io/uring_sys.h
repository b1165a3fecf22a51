/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/uring_sys.h - what the ring asks of the system, as a table, so that tests can make any part of it fail.
 */
#ifndef TP_IO_URING_SYS_H
#define TP_IO_URING_SYS_H

#include "io/file_sys.h"

#include <liburing.h>

/* As the functions of liburing of nearly the same names: a negative errno on failure. */
struct tp_uring_sys {
	int (*init)(unsigned int nr_entries, struct io_uring *uring, struct io_uring_params *params);
	void (*exit)(struct io_uring *uring);
	int (*register_file)(struct io_uring *uring, int fd);
	int (*unregister_file)(struct io_uring *uring);
	int (*register_buffers)(struct io_uring *uring, const struct iovec *buffers, unsigned int nr_buffers);
	int (*unregister_buffers)(struct io_uring *uring);
	int (*submit)(struct io_uring *uring);
	int (*wait)(struct io_uring *uring);                  /* until there is a completion */
	struct io_uring_cqe *(*peek)(struct io_uring *uring); /* the oldest completion; NULL when there is none */
};

/* The real ones. */
extern const struct tp_uring_sys tp_uring_sys_liburing;

/* thinp_io_open_uring() over two tables, which must outlive the handle. */
int tp_io_open_uring_with(const char *path, const struct thinp_io_opts *opts, const struct tp_file_sys *sys,
			  const struct tp_uring_sys *uring_sys, struct thinp_io **io);

#endif
