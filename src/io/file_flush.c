/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_flush.c - flushes, and who is told when one fails.
 *
 * Invariants
 *   1. When a flush fails, every batch that was under way on the handle and flushes is told. The kernel reports a
 *      failed write-back to one caller only and calls the pages clean (COW-11): a second flush, that of another thread,
 *      would succeed although its writes are among the lost ones.
 *   2. A failed fdatasync outside of a FLUSH (after a change of size) is told to the next FLUSH as well.
 * Locks
 *   flushing: held while a flush runs, so that a failure is noted before the next flush looks for one.
 */
#include "io/file.h"

#include "base/error.h"

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
	int r = tp_file_sync_data(file);

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
