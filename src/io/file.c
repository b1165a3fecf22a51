/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file.c - files and block devices by system calls: the tables of the two back-ends.
 *
 * Invariant
 *   The handle works only in the process that opened it. A child shares the open file description, so its writes would
 *   go through the parent's lock, and nobody would know of the other.
 */
#include "io/file.h"

#include "base/error.h"

bool tp_file_is_foreign(const struct tp_file *file)
{
	return file->sys->getpid() != file->owner;
}

int tp_file_check_owner(const struct tp_file *file)
{
	if (!tp_file_is_foreign(file))
		return 0;
	return tp_fail(THINP_EFORKED, THINP_NO_BLOCK, "%s: the handle belongs to process %ld", file->name,
		       (long)file->owner);
}

int tp_file_get_size(const struct tp_file *file, uint64_t *nr_blocks)
{
	int r = tp_file_check_owner(file);

	if (r)
		return r;
	if (file->is_device)
		return tp_device_get_size(file, nr_blocks);
	*nr_blocks = atomic_load(&file->nr_blocks);
	return 0;
}

struct batch {
	struct tp_file *file;
	uint64_t failed_before;
};

static void batch_transfer(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	const struct batch *batch = ctx;

	tp_file_transfer(batch->file, ops, nr_ops);
}

static int batch_flush(void *ctx)
{
	const struct batch *batch = ctx;

	return tp_file_flush(batch->file, batch->failed_before);
}

static bool batch_transfer_and_flush(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	const struct batch *batch = ctx;

	return tp_file_write_durably(batch->file, batch->failed_before, ops, nr_ops);
}

static int get_size(void *ctx, uint64_t *nr_blocks)
{
	return tp_file_get_size(ctx, nr_blocks);
}

/* The fork guard has spoken in get_size, which every batch asks first. */
static int do_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	static const struct tp_io_steps steps = {
		.transfer = batch_transfer, .flush = batch_flush, .transfer_and_flush = batch_transfer_and_flush};
	struct batch batch = {.file = ctx, .failed_before = tp_file_failed_flushes(ctx)};

	return tp_io_in_order(&steps, &batch, ops, nr_ops);
}

static int resize(void *ctx, uint64_t nr_blocks)
{
	struct tp_file *file = ctx;
	int r = tp_file_check_owner(file);

	return r ? r : tp_file_resize(file, nr_blocks);
}

const struct thinp_io_backend tp_file_backend = {
	.size = sizeof(tp_file_backend),
	.name = "file",
	.get_size = get_size,
	.batch = do_batch,
	.resize = resize,
	.close = tp_file_close,
};

const struct thinp_io_backend tp_device_backend = {
	.size = sizeof(tp_device_backend),
	.name = "device",
	.get_size = get_size,
	.batch = do_batch,
	.close = tp_file_close,
};
