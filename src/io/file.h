/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file.h - what the parts of the file back-end know of each other.
 *
 *   file.c           the table of the back-end, fork guard, flush
 *   file_open.c      open, lock, create, close
 *   file_transfer.c  reads, writes and discards, as the runs of run.h
 *   file_size.c      growing and shrinking
 *   file_calls.c     the system calls that are repeated when a signal interrupts them
 *
 * Functions that give an int return 0 or a negative errno, which the handle (io.c) or file_open.c translates.
 */
#ifndef TP_IO_FILE_H
#define TP_IO_FILE_H

#include "io/backend.h"
#include "io/file_sys.h"
#include "io/run.h"

#include <pthread.h>
#include <stdatomic.h>

struct tp_file {
	struct thinp_allocator allocator;
	const struct tp_file_sys *sys;
	const char *name; /* of the back-end, for messages */
	int fd;
	pid_t owner; /* who opened it */
	bool is_read_only;
	bool is_direct; /* O_DIRECT is set */
	uint64_t grow_step;
	_Atomic uint64_t nr_blocks;
	pthread_mutex_t flushing;        /* one fdatasync at a time, see file.c */
	_Atomic uint64_t failed_flushes; /* changed with `flushing` held */
	int untold;                      /* failure that the next FLUSH has to tell; used with `flushing` held */
};

/* Byte offset of a block. Blocks are below TP_IO_MAX_BLOCKS. */
off_t tp_file_offset(uint64_t block);

/* Called in a process that does not own the handle? */
bool tp_file_is_foreign(const struct tp_file *file);

/* One preadv or pwritev. Returns the number of bytes that are behind us, which is less than asked for after a short
 * transfer and 0 at the end of the file, or a negative errno. */
ssize_t tp_file_move(const struct tp_file *file, bool is_write, const struct iovec *iov, size_t nr_iov, off_t offset);

/* open, fcntl(F_OFD_SETLK) on the whole file, fdatasync, fsync, fallocate and ftruncate. */
int tp_file_open_fd(const struct tp_file_sys *sys, const char *path, int flags);
int tp_file_lock(const struct tp_file *file, short type);
int tp_file_sync_data(const struct tp_file *file);
int tp_file_sync_all(const struct tp_file_sys *sys, int fd);
int tp_file_allocate(const struct tp_file *file, int mode, off_t begin, off_t nbytes);
int tp_file_truncate(const struct tp_file *file, off_t nbytes);

/* Makes a new size durable. When that fails, the next FLUSH fails too: the kernel tells of lost writes only once, and
 * they may have been those of earlier batches. */
int tp_file_sync_size(struct tp_file *file);

/* Carries out neighbours of a batch, none of them a FLUSH, and sets their results. */
void tp_file_transfer(const struct tp_file *file, struct thinp_io_op *ops, size_t nr_ops);

/* The parts of that: carries out what is left of a run; carries out a DISCARD. */
void tp_file_finish_run(const struct tp_file *file, struct tp_run *run);
int tp_file_discard(const struct tp_file *file, const struct thinp_io_op *op);

/* Gives the file at least nr_blocks blocks (grow_step may make it more), or exactly as many when that is fewer. When it
 * returns 0, the new size is durable and the new blocks have room on the file system. */
int tp_file_resize(struct tp_file *file, uint64_t nr_blocks);

/* The table of the back-end. */
extern const struct thinp_io_backend tp_file_backend;

/* Unlocks, closes and releases. In a child of the owner it leaves the owner's lock alone. */
void tp_file_close(void *ctx);

#endif
