/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_open.c - opening and creating a file.
 *
 * A file that we created is gone again when the opening fails later, and its name is durable when it succeeds.
 */
#include "io/opening.h"

#include "base/alloc.h"
#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* Somebody may create and remove the file while we look; so often do we look. */
enum { MAX_TRIES = 8 };

/* Existing files are tried first, and new ones made with O_EXCL, so that we know which of them we created.
 * O_NONBLOCK: a pipe that took the file's place a moment ago shall not make us wait. */
static int open_or_create(struct tp_opening *o)
{
	int flags = (tp_opening_is_read_only(o) ? O_RDONLY : O_RDWR) | O_NONBLOCK;
	int fd = -ENOENT;

	for (int tries = 0; tries < MAX_TRIES; tries++) {
		fd = tp_file_open_fd(o->sys, o->path, flags);
		if (fd != -ENOENT || !(o->opts.flags & THINP_IO_CREATE))
			return fd;
		fd = tp_file_open_fd(o->sys, o->path, flags | O_CREAT | O_EXCL);
		o->is_created = fd >= 0;
		if (fd != -EEXIST)
			return fd;
	}
	return -ENOENT; /* there and not there: a symbolic link to nothing */
}

static int check_kind(const struct tp_opening *o, const struct stat *st)
{
	if (S_ISREG(st->st_mode))
		return 0;
	if (S_ISBLK(st->st_mode))
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s is a block device, not a file", o->path);
	return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s is neither a file nor a block device", o->path);
}

static int open_path(struct tp_opening *o)
{
	struct stat st;
	int r;

	/* To be looked at before it is opened: the opening alone does something to tapes and watchdogs. */
	r = o->sys->stat(o->path, &st) < 0 ? 0 : check_kind(o, &st);
	if (r)
		return r;
	r = open_or_create(o);
	if (r < 0)
		return tp_opening_fail(o, r,
				       o->opts.flags & THINP_IO_CREATE ? "cannot open or create it" : "cannot open it");
	o->file->fd = r;
	return 0;
}

/* Until we had the lock, the owner before us may have removed the file, as abandon() does, or put another in its place:
 * then we hold something that nobody will ever find. */
static int check_name(struct tp_opening *o, const struct stat *st)
{
	struct stat named;

	if (o->sys->stat(o->path, &named) < 0) {
		if (errno != ENOENT)
			return tp_opening_fail(o, -errno, "cannot find it again");
	} else if (named.st_dev == st->st_dev && named.st_ino == st->st_ino) {
		return 0;
	}
	o->is_created = false; /* what bears the name now, if anything, is not ours */
	return tp_fail(THINP_EBUSY, THINP_NO_BLOCK, "%s was removed or replaced while it was being opened", o->path);
}

static int identify_and_lock(struct tp_opening *o)
{
	struct stat st;
	int r;

	if (o->sys->fstat(o->file->fd, &st) < 0)
		return tp_opening_fail(o, -errno, "cannot tell what it is");
	r = check_kind(o, &st);
	if (!r)
		r = tp_opening_lock(o);
	return r ? r : check_name(o, &st);
}

/* Only under the lock: until then the owner before us may change the size. */
static int learn_size(const struct tp_opening *o)
{
	off_t nbytes = o->sys->lseek(o->file->fd, 0, SEEK_END);

	if (nbytes < 0)
		return tp_opening_fail(o, -errno, "cannot tell its size");
	atomic_store(&o->file->nr_blocks, (uint64_t)nbytes / THINP_BLOCK_SIZE);
	return 0;
}

static int reach_size(const struct tp_opening *o)
{
	uint64_t nr_blocks = atomic_load(&o->file->nr_blocks);
	int r;

	if (o->opts.nr_blocks <= nr_blocks)
		return 0;
	if (tp_opening_is_read_only(o))
		return tp_fail(THINP_EROFS, THINP_NO_BLOCK, "%s has %" PRIu64 " blocks and may not grow to %" PRIu64,
			       o->path, nr_blocks, o->opts.nr_blocks);
	r = tp_file_resize(o->file, o->opts.nr_blocks);
	return r ? tp_opening_fail(o, r, "cannot grow") : 0;
}

/* The directory part of the path as text of its own, in *size bytes. */
static char *copy_directory(const struct tp_opening *o, size_t *size)
{
	const char *slash = strrchr(o->path, '/');
	size_t len = slash && slash > o->path ? (size_t)(slash - o->path) : 1;
	char *copy = tp_alloc_zeroed(&o->file->allocator, len + 1, 1);

	if (copy)
		memcpy(copy, slash ? o->path : ".", len);
	*size = len + 1;
	return copy;
}

static int sync_directory(const struct tp_opening *o, const char *directory)
{
	int fd = tp_file_open_fd(o->sys, directory, O_RDONLY | O_DIRECTORY);
	int r;

	if (fd < 0)
		return tp_opening_fail(o, fd, "cannot open its directory");
	r = tp_file_sync_all(o->sys, fd);
	o->sys->close(fd);
	/* EINVAL: there is nothing to be flushed on this file system */
	return r && r != -EINVAL ? tp_opening_fail(o, r, "cannot flush its directory") : 0;
}

/* COW-23: the file first, then the name by which it is found. */
static int make_name_durable(const struct tp_opening *o)
{
	size_t size;
	char *directory;
	int r;

	if (!o->is_created)
		return 0;
	r = tp_file_sync_all(o->sys, o->file->fd);
	if (r)
		return tp_opening_fail(o, r, "cannot flush it");
	directory = copy_directory(o, &size);
	if (!directory)
		return THINP_ENOMEM;
	r = sync_directory(o, directory);
	tp_free(&o->file->allocator, directory, size);
	return r;
}

static bool wants_direct(const struct tp_opening *o)
{
	if (o->opts.direct == THINP_IO_DIRECT_AUTO)
		return !tp_opening_is_read_only(o);
	return o->opts.direct == THINP_IO_DIRECT_ON;
}

int tp_opening_do_file(struct tp_opening *o)
{
	int r;

	r = open_path(o);
	if (!r)
		r = identify_and_lock(o);
	if (!r)
		r = learn_size(o);
	if (!r)
		r = reach_size(o);
	if (!r)
		r = make_name_durable(o);
	if (!r)
		r = tp_opening_choose_direct(o, wants_direct(o));
	return r;
}

int tp_io_open_file_with(const char *path, const struct thinp_io_opts *opts, const struct tp_file_sys *sys,
			 struct thinp_io **io)
{
	return tp_opening_do_all(path, opts, sys, &tp_file_backend, tp_opening_do_file, io);
}

int thinp_io_open_file(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	return tp_io_open_file_with(path, opts, &tp_file_sys_libc, io);
}
