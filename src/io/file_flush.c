/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_flush.c - flushes, and who is told when one fails.
 *
 * Invariants
 *   1. When a flush fails, every batch that was under way on the handle and flushes is told. The kernel reports a
 *      failed write-back to one caller only and calls the pages clean (COW-11): a second flush, that of another thread,
 *      would succeed although its writes are among the lost ones.
 *   2. A failed fdatasync outside of a FLUSH (after a change of size) is told to the next FLUSH as well.
 *   3. A durable write stands for a flush only when nothing else of the handle waits for one: it may make nothing durable
 *      but itself.
 * Locks
 *   flushing: held while a flush runs, so that a failure is noted before the next flush looks for one.
 */
#include "io/file.h"

#include "base/error.h"

#include <errno.h>

uint64_t tp_file_failed_flushes(const struct tp_file *file)
{
	return atomic_load(&file->failed_flushes);
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
	uint64_t unflushed = atomic_load(&file->unflushed);
	int r = tp_file_sync_data(file);

	if (!r)
		atomic_fetch_sub(&file->unflushed, unflushed);
	if (!r)
		r = file->untold;
	file->untold = 0;
	if (r)
		atomic_fetch_add(&file->failed_flushes, 1);
	else if (atomic_load(&file->failed_flushes) != failed_before)
		r = tp_fail(THINP_EIO, THINP_NO_BLOCK, "%s: another flush failed meanwhile", file->name);
	return r;
}

int tp_file_flush(struct tp_file *file, uint64_t failed_before)
{
	int r;

	if (file->is_read_only)
		return 0; /* nothing of ours to make durable */
	pthread_mutex_lock(&file->flushing);
	r = flush_locked(file, failed_before);
	pthread_mutex_unlock(&file->flushing);
	return r;
}

bool tp_file_flush_begin(struct tp_file *file, uint64_t failed_before)
{
	pthread_mutex_lock(&file->flushing);
	if (!file->untold && atomic_load(&file->failed_flushes) == failed_before)
		return true;
	pthread_mutex_unlock(&file->flushing);
	return false;
}

void tp_file_flush_end(struct tp_file *file, int r)
{
	if (r)
		atomic_fetch_add(&file->failed_flushes, 1);
	pthread_mutex_unlock(&file->flushing);
}

/* --- with the write --- */

static bool is_unknown_call(ssize_t answer)
{
	return answer == -EOPNOTSUPP || answer == -ENOSYS || answer == -EINVAL;
}

/* A failure may be one that the kernel tells of once, so it is a failed flush to all who wait for one, this batch included:
 * it writes and flushes in the ordinary way, and then fails unless its own write does before. */
static bool write_durably_locked(struct tp_file *file, uint64_t failed_before, const struct tp_transfer *t,
				 const struct tp_run *run)
{
	bool is_record = tp_transfer_bytes(t) == THINP_BLOCK_SIZE;
	ssize_t answer;

	if (file->untold || atomic_load(&file->failed_flushes) != failed_before || atomic_load(&file->unflushed))
		return false;
	answer = tp_file_move_durably(file, is_record ? tp_file_record_fd(file) : tp_file_fd_for(file, run), t->iov,
				      t->nr_iov, t->offset);
	if (is_unknown_call(answer))
		atomic_store(&file->lacks_durable, true);
	else if (answer < 0)
		atomic_fetch_add(&file->failed_flushes, 1);
	else if (is_record)
		tp_file_note_record(file, run->ops[0].block);
	return answer >= 0 && (uint64_t)answer == tp_transfer_bytes(t);
}

bool tp_file_write_durably(struct tp_file *file, uint64_t failed_before, struct thinp_io_op *ops, size_t nr_ops)
{
	struct iovec iov[TP_MAX_IOV];
	struct tp_transfer t;
	struct tp_run run;
	bool is_done;

	if (!file->sys->pwritev_durably || ops[0].kind != THINP_IO_WRITE || atomic_load(&file->lacks_durable))
		return false;
	tp_run_begin(&run, ops, nr_ops);
	if (run.nr_ops < nr_ops)
		return false;
	tp_run_next(&run, iov, TP_MAX_IOV, &t);
	if (!tp_transfer_is_all(&t, &run))
		return false;
	pthread_mutex_lock(&file->flushing);
	is_done = write_durably_locked(file, failed_before, &t, &run);
	pthread_mutex_unlock(&file->flushing);
	return is_done;
}
