/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/uring_sys.c - what the ring asks of the system, as liburing does it.
 */
#include <thinp/io.h>

#ifdef THINP_WITH_URING
#include "io/uring_sys.h"

static int sys_register_file(struct io_uring *uring, int fd)
{
	return io_uring_register_files(uring, &fd, 1);
}

/* These two are inline in the header of liburing, so that they have no address. */
static struct io_uring_cqe *sys_peek(struct io_uring *uring)
{
	struct io_uring_cqe *cqe;

	return io_uring_peek_cqe(uring, &cqe) ? NULL : cqe;
}

static int sys_wait(struct io_uring *uring)
{
	struct io_uring_cqe *cqe;

	return io_uring_wait_cqe(uring, &cqe);
}

const struct tp_uring_sys tp_uring_sys_liburing = {
	.init = io_uring_queue_init_params,
	.exit = io_uring_queue_exit,
	.register_file = sys_register_file,
	.unregister_file = io_uring_unregister_files,
	.register_buffers = io_uring_register_buffers,
	.unregister_buffers = io_uring_unregister_buffers,
	.submit = io_uring_submit,
	.wait = sys_wait,
	.peek = sys_peek,
};
#endif
