/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file.h - an open file or block device, and what the back-ends over it know of each other.
 *
 *   opening.h        what opening a file and opening a block device have in common; close
 *   file_open.c      opening and creating a file
 *   file_size.c      growing and shrinking a file
 *   device.c         opening a block device; its size and its discards
 *   file.c           the tables of the two back-ends that make system calls, fork guard
 *   file_transfer.c  reads, writes and discards, as the runs of run.h
 *   file_flush.c     flushes, and who is told when one fails
 *   file_record.c    records of one block that are read back before they are written again
 *   file_calls.c     the system calls that are repeated when a signal interrupts them
 *   uring.h          the back-end that hands the same work to a ring
 *
 * Functions that give an int return 0 or a negative errno, which the handle (io.c) or opening.c translates, unless they
 * say otherwise.
 */
#ifndef TP_IO_FILE_H
#define TP_IO_FILE_H

#include "io/backend.h"
#include "io/file_sys.h"
#include "io/run.h"

#include <pthread.h>
#include <stdatomic.h>

#define TP_FILE_NR_CACHED 2u

struct tp_file {
	struct thinp_allocator allocator;
	const struct tp_file_sys *sys;
	const char *name; /* of the back-end, for messages */
	int fd;
	pid_t owner; /* who opened it */
	bool is_device;
	bool is_read_only;
	bool is_direct;    /* O_DIRECT is set */
	bool writes_zeros; /* to new blocks */
	uint64_t grow_step;
	_Atomic uint64_t nr_blocks;      /* of a file; a device is asked each time */
	pthread_mutex_t flushing;        /* one flush at a time, see file_flush.c */
	_Atomic uint64_t failed_flushes; /* changed with `flushing` held */
	int untold;                      /* failure that the next FLUSH has to tell; used with `flushing` held */
	_Atomic uint64_t unflushed;      /* writes and discards since the last flush began */
	_Atomic bool lacks_durable;      /* the system cannot write durably */
	/* see file_record.c; changed with `flushing` held */
	int cached_fd;                              /* the file through the page cache; negative: none */
	bool has_tried_cache;                       /* to get that */
	_Atomic uint64_t cached[TP_FILE_NR_CACHED]; /* blocks that the page cache has, each + 1; 0: none */
};

/* Byte offset of a block. Blocks are below TP_IO_MAX_BLOCKS. */
off_t tp_file_offset(uint64_t block);

/* Called in a process that does not own the handle? tp_file_check_owner() gives THINP_EFORKED then. */
bool tp_file_is_foreign(const struct tp_file *file);
int tp_file_check_owner(const struct tp_file *file);

/* The size for thinp_io_size(). In a process that does not own the handle THINP_EFORKED. */
int tp_file_get_size(const struct tp_file *file, uint64_t *nr_blocks);

/* One preadv or pwritev. Returns the number of bytes that are behind us, which is less than asked for after a short
 * transfer and 0 at the end of the file, or a negative errno. */
ssize_t tp_file_move(const struct tp_file *file, int fd, bool is_write, const struct iovec *iov, size_t nr_iov,
		     off_t offset);

/* One pwritev_durably. */
ssize_t tp_file_move_durably(const struct tp_file *file, int fd, const struct iovec *iov, size_t nr_iov, off_t offset);

/* Where a block is written durably that comes alone; with `flushing` held. */
int tp_file_record_fd(struct tp_file *file);

/* It has been written there. */
void tp_file_note_record(struct tp_file *file, thinp_block_t block);

/* Where a run is read or written: by the page cache when all of it is in there. */
int tp_file_fd_for(struct tp_file *file, const struct tp_run *run);

/* How many of the bytes that a transfer moved are behind us. */
ssize_t tp_file_behind(const struct tp_file *file, ssize_t moved);

/* open, fcntl(F_OFD_SETLK) on the whole file, fdatasync, fsync, fallocate, ftruncate and ioctl. */
int tp_file_open_fd(const struct tp_file_sys *sys, const char *path, int flags);
int tp_file_lock(const struct tp_file *file, short type);
int tp_file_sync_data(const struct tp_file *file);
int tp_file_sync_all(const struct tp_file_sys *sys, int fd);
int tp_file_allocate(const struct tp_file *file, int mode, off_t begin, off_t nbytes);
int tp_file_truncate(const struct tp_file *file, off_t nbytes);
int tp_file_ioctl(const struct tp_file *file, unsigned long request, void *arg);

/* Carries out neighbours of a batch, none of them a FLUSH, and sets their results. */
void tp_file_transfer(struct tp_file *file, struct thinp_io_op *ops, size_t nr_ops);

/* The parts of that: carries out what is left of a run; carries out a DISCARD. */
void tp_file_finish_run(struct tp_file *file, struct tp_run *run);
int tp_file_discard(const struct tp_file *file, const struct thinp_io_op *op);

/* A run of writes and the FLUSH behind it by one system call, which may end with the one request to the device, too. That is
 * a flush only while no other write of the handle waits for one. False: it was not done, or nobody knows how much of it, and
 * both are to be done in the ordinary way. */
bool tp_file_write_durably(struct tp_file *file, uint64_t failed_before, struct thinp_io_op *ops, size_t nr_ops);

/* The failures of flushes that a batch looks back to: to be asked when it begins. */
uint64_t tp_file_failed_flushes(const struct tp_file *file);

/* Makes all earlier writes durable, for a batch that began when tp_file_failed_flushes() gave failed_before. Gives 0, a
 * code or a negative errno. */
int tp_file_flush(struct tp_file *file, uint64_t failed_before);

/* The same for who flushes by other means: begin, flush, end with what came of it. When begin gives false, nothing is to
 * be flushed or ended, and tp_file_flush() will tell of a failure. No other flush runs between the two. */
bool tp_file_flush_begin(struct tp_file *file, uint64_t failed_before);
void tp_file_flush_end(struct tp_file *file, int r);

/* Makes a new size durable. When that fails, the next FLUSH fails too: the kernel tells of lost writes only once, and
 * they may have been those of earlier batches. */
int tp_file_sync_size(struct tp_file *file);

/* Gives the file at least nr_blocks blocks (grow_step may make it more), or exactly as many when that is fewer. When it
 * returns 0, the new size is durable and the new blocks have room on the file system. Of a block device THINP_ENOTSUP. */
int tp_file_resize(struct tp_file *file, uint64_t nr_blocks);

/* A block device's size in blocks, and a DISCARD of it. */
int tp_device_get_size(const struct tp_file *file, uint64_t *nr_blocks);
int tp_device_discard(const struct tp_file *file, const struct thinp_io_op *op);

/* Unlocks, closes and releases. In a child of the owner it leaves the owner's lock alone. */
void tp_file_close(void *ctx);

/* The tables of the back-ends. */
extern const struct thinp_io_backend tp_file_backend;
extern const struct thinp_io_backend tp_device_backend;

#endif
