/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_calls.c - system calls that a signal may interrupt, repeated until they are done (COW-13).
 */
#include "io/file.h"

#include <errno.h>

static bool is_interrupted(ssize_t r)
{
	return r < 0 && errno == EINTR;
}

static int outcome(int r)
{
	return r < 0 ? -errno : r;
}

off_t tp_file_offset(uint64_t block)
{
	return (off_t)(block * THINP_BLOCK_SIZE);
}

ssize_t tp_file_move(const struct tp_file *file, int fd, bool is_write, const struct iovec *iov, size_t nr_iov,
		     off_t offset)
{
	ssize_t n;

	do
		n = is_write ? file->sys->pwritev(fd, iov, (int)nr_iov, offset)
			     : file->sys->preadv(fd, iov, (int)nr_iov, offset);
	while (is_interrupted(n));
	return n < 0 ? -errno : tp_file_behind(file, n);
}

ssize_t tp_file_move_durably(const struct tp_file *file, int fd, const struct iovec *iov, size_t nr_iov, off_t offset)
{
	ssize_t n;

	do
		n = file->sys->pwritev_durably(fd, iov, (int)nr_iov, offset);
	while (is_interrupted(n));
	return n < 0 ? -errno : n;
}

/* Past the page cache the next transfer must begin at a block, so one that is not whole is done once more. */
ssize_t tp_file_behind(const struct tp_file *file, ssize_t moved)
{
	return file->is_direct ? moved - moved % THINP_BLOCK_SIZE : moved;
}

int tp_file_sync_data(const struct tp_file *file)
{
	int r;

	do
		r = file->sys->fdatasync(file->fd);
	while (is_interrupted(r));
	return outcome(r);
}

int tp_file_sync_all(const struct tp_file_sys *sys, int fd)
{
	int r;

	do
		r = sys->fsync(fd);
	while (is_interrupted(r));
	return outcome(r);
}

int tp_file_allocate(const struct tp_file *file, int mode, off_t begin, off_t nbytes)
{
	int r;

	do
		r = file->sys->fallocate(file->fd, mode, begin, nbytes);
	while (is_interrupted(r));
	return outcome(r);
}

int tp_file_truncate(const struct tp_file *file, off_t nbytes)
{
	int r;

	do
		r = file->sys->ftruncate(file->fd, nbytes);
	while (is_interrupted(r));
	return outcome(r);
}

int tp_file_ioctl(const struct tp_file *file, unsigned long request, void *arg)
{
	int r;

	do
		r = file->sys->ioctl(file->fd, request, arg);
	while (is_interrupted(r));
	return outcome(r);
}

int tp_file_open_fd(const struct tp_file_sys *sys, const char *path, int flags)
{
	int fd;

	do
		fd = sys->open(path, flags | O_CLOEXEC | O_NOCTTY, 0666);
	while (is_interrupted(fd));
	return outcome(fd);
}

int tp_file_lock(const struct tp_file *file, short type)
{
	int r;

	do {
		struct flock lock = {.l_type = type, .l_whence = SEEK_SET}; /* length 0: the whole file */

		r = file->sys->lock(file->fd, &lock);
	} while (is_interrupted(r));
	return outcome(r);
}
