/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/backend.c - what the back-ends of this room share: options, and the order of a batch.
 */
#include "io/backend.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"

#include <inttypes.h>

#define KNOWN_FLAGS   (THINP_IO_READ_ONLY | THINP_IO_CREATE | THINP_IO_EXCLUSIVE | THINP_IO_ZEROS)
#define CONTRADICTORY (THINP_IO_READ_ONLY | THINP_IO_CREATE)

static int check_opts(const struct thinp_io_opts *opts)
{
	if (opts->flags & ~KNOWN_FLAGS)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags 0x%x for a device",
			       (unsigned int)opts->flags);
	if (opts->direct > THINP_IO_DIRECT_OFF)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown value %u for `direct`",
			       (unsigned int)opts->direct);
	if ((opts->flags & CONTRADICTORY) == CONTRADICTORY)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a device cannot be created and be read-only");
	if (opts->nr_blocks > TP_IO_MAX_BLOCKS)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "a device of %" PRIu64 " blocks is beyond the limit",
			       opts->nr_blocks);
	return 0;
}

int tp_io_opts_take(struct thinp_io_opts *dst, struct thinp_allocator *allocator, const struct thinp_io_opts *src)
{
	int r = tp_opts_take(dst, sizeof(*dst), src);

	if (!r)
		r = check_opts(dst);
	if (!r)
		r = tp_allocator_take(allocator, dst->allocator);
	return r;
}

void tp_io_set_results(struct thinp_io_op *ops, size_t nr_ops, int result)
{
	for (size_t i = 0; i < nr_ops; i++)
		ops[i].result = result;
}

struct thinp_io_op *tp_io_first_failure(struct thinp_io_op *ops, size_t nr_ops)
{
	struct thinp_io_op *cancelled = NULL;

	for (size_t i = 0; i < nr_ops; i++) {
		if (ops[i].result && ops[i].result != THINP_ECANCELED)
			return &ops[i];
		if (ops[i].result && !cancelled)
			cancelled = &ops[i];
	}
	return cancelled;
}

size_t tp_io_find_flush(const struct thinp_io_op *ops, size_t nr_ops)
{
	size_t at = 0;

	while (at < nr_ops && ops[at].kind != THINP_IO_FLUSH)
		at++;
	return at;
}

int tp_io_in_order(const struct tp_io_steps *steps, void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	const struct thinp_io_op *failure = NULL;
	size_t at = 0;

	while (at < nr_ops && !failure) {
		size_t flush = at + tp_io_find_flush(ops + at, nr_ops - at);

		if (flush < nr_ops && flush > at && steps->transfer_and_flush &&
		    steps->transfer_and_flush(ctx, ops + at, flush - at)) {
			tp_io_set_results(ops + at, flush + 1 - at, 0);
			at = flush + 1;
			continue;
		}
		steps->transfer(ctx, ops + at, flush - at);
		failure = tp_io_first_failure(ops + at, flush - at);
		at = flush;
		if (at < nr_ops && !failure) {
			ops[at].result = steps->flush(ctx);
			failure = ops[at].result ? &ops[at] : NULL;
			at++;
		}
	}
	tp_io_set_results(ops + at, nr_ops - at, THINP_ECANCELED);
	return failure ? failure->result : 0;
}

struct per_block {
	const struct tp_io_per_block *steps;
	void *ctx;
};

static int per_block_op(const struct per_block *device, const struct thinp_io_op *op)
{
	uint8_t *buffer = op->buffer;
	int r = 0;

	if (op->kind == THINP_IO_DISCARD)
		return device->steps->discard(device->ctx, op->block, op->block + op->nr_blocks);
	for (uint64_t n = 0; n < op->nr_blocks && !r; n++, buffer += THINP_BLOCK_SIZE) {
		if (op->kind == THINP_IO_WRITE)
			r = device->steps->write(device->ctx, op->block + n, buffer);
		else
			r = device->steps->read(device->ctx, op->block + n, buffer);
	}
	return r;
}

static void per_block_transfer(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	for (size_t i = 0; i < nr_ops; i++)
		ops[i].result = per_block_op(ctx, &ops[i]);
}

static int per_block_flush(void *ctx)
{
	(void)ctx;
	return 0;
}

int tp_io_per_block(const struct tp_io_per_block *steps, void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	static const struct tp_io_steps in_order = {.transfer = per_block_transfer, .flush = per_block_flush};
	struct per_block device = {.steps = steps, .ctx = ctx};

	return tp_io_in_order(&in_order, &device, ops, nr_ops);
}
