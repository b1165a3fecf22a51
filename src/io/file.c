/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file.c - a file as a device: the table of the back-end.
 *
 * Invariants
 *   1. The handle works only in the process that opened it. A child shares the open file description, so its writes
 *      would go through the parent's lock, and nobody would know of the other.
 *   2. When a flush fails, every batch that was under way on the handle and flushes is told. The kernel reports a
 *      failed write-back to one caller only and calls the pages clean: a second flush, that of another thread, would
 *      succeed although its writes are among the lost ones.
 *   3. A failed fdatasync outside of a FLUSH (after a change of size) is told to the next FLUSH as well.
 * Locks
 *   flushing: held while fdatasync runs, so that a failure is noted before the next flush looks for one.
 */
#include "io/file.h"

#include "base/error.h"

struct batch {
	struct tp_file *file;
	uint64_t failed_flushes; /* the count when the batch began */
};

bool tp_file_is_foreign(const struct tp_file *file)
{
	return file->sys->getpid() != file->owner;
}

static int refuse_foreign(const struct tp_file *file)
{
	return tp_fail(THINP_EFORKED, THINP_NO_BLOCK, "file: the handle belongs to process %ld", (long)file->owner);
}

static int file_get_size(void *ctx, uint64_t *nr_blocks)
{
	struct tp_file *file = ctx;

	if (tp_file_is_foreign(file))
		return refuse_foreign(file);
	*nr_blocks = atomic_load(&file->nr_blocks);
	return 0;
}

static void batch_transfer(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	const struct batch *batch = ctx;

	tp_file_transfer(batch->file, ops, nr_ops);
}

int tp_file_sync_size(struct tp_file *file)
{
	int r;

	pthread_mutex_lock(&file->flushing);
	r = tp_file_sync_data(file);
	if (r)
		file->untold = r;
	pthread_mutex_unlock(&file->flushing);
	return r;
}

/* The caller holds `flushing`. */
static int flush_locked(struct tp_file *file, uint64_t failed_before)
{
	int r = tp_file_sync_data(file);

	if (!r)
		r = file->untold;
	file->untold = 0;
	if (r)
		atomic_fetch_add(&file->failed_flushes, 1);
	else if (atomic_load(&file->failed_flushes) != failed_before)
		r = tp_fail(THINP_EIO, THINP_NO_BLOCK, "file: a flush on another thread failed meanwhile");
	return r;
}

static int batch_flush(void *ctx)
{
	const struct batch *batch = ctx;
	struct tp_file *file = batch->file;
	int r;

	if (file->is_read_only)
		return 0; /* nothing of ours to make durable */
	pthread_mutex_lock(&file->flushing);
	r = flush_locked(file, batch->failed_flushes);
	pthread_mutex_unlock(&file->flushing);
	return r;
}

/* The fork guard has spoken in get_size, which every batch asks first. */
static int file_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	static const struct tp_io_steps steps = {.transfer = batch_transfer, .flush = batch_flush};
	struct tp_file *file = ctx;
	struct batch batch = {.file = file, .failed_flushes = atomic_load(&file->failed_flushes)};

	return tp_io_in_order(&steps, &batch, ops, nr_ops);
}

static int file_resize(void *ctx, uint64_t nr_blocks)
{
	struct tp_file *file = ctx;

	return tp_file_is_foreign(file) ? refuse_foreign(file) : tp_file_resize(file, nr_blocks);
}

const struct thinp_io_backend tp_file_backend = {
	.size = sizeof(tp_file_backend),
	.name = "file",
	.get_size = file_get_size,
	.batch = file_batch,
	.resize = file_resize,
	.close = tp_file_close,
};
