/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/device.c - opening a block device; its size and its discards.
 *
 * A writer opens it with O_EXCL, which the kernel refuses while the device is mounted, part of another device, or open
 * in this way elsewhere, whatever names it has. A reader does not, so that it can look at the metadata snapshot of a
 * pool that runs, unless it asks to (TOOL-26). Both take the lock that files have, too: it is what a reader and a writer
 * that both use this library meet at.
 *
 * Readers go past the page cache as well: the kernel's own users of a device do, and what the cache holds of it would
 * be older than what they wrote.
 *
 * Sectors of up to a block are fine, since all transfers are whole blocks at multiples of their size. A device with
 * larger ones cannot be written: the kernel would read, change and write again what surrounds a block, so a crash could
 * tear a block that nobody has written. Physical sectors may be larger: a disk that has them does the same inside, where
 * it alone can make that safe.
 *
 * Zeros are written by nobody here: a device does not grow by our doing, and what a discarded block reads as is not
 * defined.
 */
#include "io/opening.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>

static int check_kind(const struct tp_opening *o, const struct stat *st)
{
	if (S_ISBLK(st->st_mode))
		return 0;
	return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s is not a block device", o->path);
}

static int open_flags(const struct tp_opening *o)
{
	bool is_exclusive = !tp_opening_is_read_only(o) || (o->opts.flags & THINP_IO_EXCLUSIVE);

	/* O_NONBLOCK: a pipe that took the place of the device a moment ago shall not make us wait */
	return (tp_opening_is_read_only(o) ? O_RDONLY : O_RDWR) | (is_exclusive ? O_EXCL : 0) | O_NONBLOCK;
}

/* As for files: looked at before it is opened, because to open a tape or a watchdog alone does something. */
static int open_path(struct tp_opening *o)
{
	struct stat st;
	int r = o->sys->stat(o->path, &st) < 0 ? 0 : check_kind(o, &st);

	if (r)
		return r;
	r = tp_file_open_fd(o->sys, o->path, open_flags(o));
	if (r == -EBUSY)
		return tp_opening_fail(o, r, "it is mounted, part of another device, or open elsewhere");
	if (r < 0)
		return tp_opening_fail(o, r, "cannot open it");
	o->file->fd = r;
	return 0;
}

static int identify_and_lock(struct tp_opening *o)
{
	struct stat st;
	int r;

	if (o->sys->fstat(o->file->fd, &st) < 0)
		return tp_opening_fail(o, -errno, "cannot tell what it is");
	r = check_kind(o, &st);
	return r ? r : tp_opening_lock(o);
}

static int check_sectors(const struct tp_opening *o)
{
	int nbytes = 0;
	int r = tp_file_ioctl(o->file, BLKSSZGET, &nbytes);

	if (r)
		return tp_opening_fail(o, r, "cannot tell the size of its sectors");
	if (nbytes > THINP_BLOCK_SIZE && !tp_opening_is_read_only(o))
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s has sectors of %d bytes, larger than a block",
			       o->path, nbytes);
	return 0;
}

static int check_size(const struct tp_opening *o)
{
	uint64_t nr_blocks;
	int r = tp_device_get_size(o->file, &nr_blocks);

	if (r)
		return tp_opening_fail(o, r, "cannot tell its size");
	if (o->opts.nr_blocks > nr_blocks)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK,
			       "%s has %" PRIu64 " blocks, and a device cannot be made to have %" PRIu64, o->path,
			       nr_blocks, o->opts.nr_blocks);
	return 0;
}

int tp_opening_do_device(struct tp_opening *o)
{
	int r;

	o->file->is_device = true;
	r = open_path(o);
	if (!r)
		r = identify_and_lock(o);
	if (!r)
		r = check_sectors(o);
	if (!r)
		r = check_size(o);
	if (!r)
		r = tp_opening_choose_direct(o, o->opts.direct != THINP_IO_DIRECT_OFF);
	return r;
}

/* Asked each time: a device may grow, or become smaller, while it is open, and nobody tells us. */
int tp_device_get_size(const struct tp_file *file, uint64_t *nr_blocks)
{
	uint64_t nbytes = 0;
	int r = tp_file_ioctl(file, BLKGETSIZE64, &nbytes);

	if (!r)
		*nr_blocks = nbytes / THINP_BLOCK_SIZE;
	return r;
}

/* A discard is a hint: a device that cannot do it has done it. */
int tp_device_discard(const struct tp_file *file, const struct thinp_io_op *op)
{
	uint64_t range[2] = {op->block * THINP_BLOCK_SIZE, op->nr_blocks * THINP_BLOCK_SIZE};
	int r = tp_file_ioctl(file, BLKDISCARD, range);

	return r == -EOPNOTSUPP ? 0 : r;
}

int tp_io_open_device_with(const char *path, const struct thinp_io_opts *opts, const struct tp_file_sys *sys,
			   struct thinp_io **io)
{
	return tp_opening_do_all(path, opts, sys, &tp_device_backend, tp_opening_do_device, io);
}

int thinp_io_open_device(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	return tp_io_open_device_with(path, opts, &tp_file_sys_libc, io);
}
