/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/backend.h - what the back-ends of this room share.
 */
#ifndef TP_IO_BACKEND_H
#define TP_IO_BACKEND_H

#include <thinp/io.h>

#include <stdint.h>

/* Beyond this many blocks a byte offset would not fit into off_t. */
#define TP_IO_MAX_BLOCKS ((uint64_t)INT64_MAX / THINP_BLOCK_SIZE)

/* Reads the caller's options and allocator of any version and checks what does not depend on the back-end.
 * THINP_ENOTSUP for flags and values that this version does not know, THINP_EINVAL for flags that contradict each
 * other or an allocator without its functions, THINP_ERANGE for a size beyond TP_IO_MAX_BLOCKS. */
int tp_io_opts_take(struct thinp_io_opts *dst, struct thinp_allocator *allocator, const struct thinp_io_opts *src);

/* How a back-end does the two parts of a batch. */
struct tp_io_steps {
	/* Carries out neighbours of which none is a FLUSH, in any order, and sets the result of each: 0, a code or a
	 * negative errno. */
	void (*transfer)(void *ctx, struct thinp_io_op *ops, size_t nr_ops);
	/* Makes all earlier writes durable: 0, a code or a negative errno. */
	int (*flush)(void *ctx);
	/* Both in one, for neighbours with a FLUSH behind them. False: nothing is promised of what was done, and the two
	 * above will do all of it. NULL: there is no such thing. */
	bool (*transfer_and_flush)(void *ctx, struct thinp_io_op *ops, size_t nr_ops);
};

/* Carries out a batch under the rules of thinp_io_batch() for a back-end that does one thing after the other: flushes
 * are barriers, and nothing is done from the first flush on that fails or stands behind a failure. Returns the first
 * failure. */
int tp_io_in_order(const struct tp_io_steps *steps, void *ctx, struct thinp_io_op *ops, size_t nr_ops);

/* How a back-end without a volatile cache treats a block, and discards those from begin to end: 0 or a code. */
struct tp_io_per_block {
	int (*read)(void *ctx, thinp_block_t block, uint8_t *buffer);
	int (*write)(void *ctx, thinp_block_t block, const uint8_t *buffer);
	int (*discard)(void *ctx, thinp_block_t begin, thinp_block_t end);
};

/* As tp_io_in_order(), one block after the other; a flush does nothing. */
int tp_io_per_block(const struct tp_io_per_block *steps, void *ctx, struct thinp_io_op *ops, size_t nr_ops);

/* The number of operations in front of the first FLUSH. */
size_t tp_io_find_flush(const struct thinp_io_op *ops, size_t nr_ops);

/* Gives every operation the result. */
void tp_io_set_results(struct thinp_io_op *ops, size_t nr_ops, int result);

/* The first operation in array order that failed on its own; when there is none, the first that was cancelled. NULL
 * when all succeeded. */
struct thinp_io_op *tp_io_first_failure(struct thinp_io_op *ops, size_t nr_ops);

#endif
