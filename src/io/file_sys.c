/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_sys.c - the system calls on files and block devices, as they are.
 */
#include "io/file_sys.h"

#include <sys/ioctl.h>
#include <unistd.h>

/* These take a variable number of arguments, so their addresses do not fit into the table. */
static int sys_open(const char *path, int flags, mode_t mode)
{
	return open(path, flags, mode);
}

static int sys_lock(int fd, struct flock *lock)
{
	return fcntl(fd, F_OFD_SETLK, lock);
}

static int sys_set_flags(int fd, int flags)
{
	return fcntl(fd, F_SETFL, flags);
}

static ssize_t sys_pwritev_durably(int fd, const struct iovec *iov, int nr_iov, off_t offset)
{
	return pwritev2(fd, iov, nr_iov, offset, RWF_DSYNC);
}

static int sys_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

const struct tp_file_sys tp_file_sys_libc = {
	.open = sys_open,
	.close = close,
	.unlink = unlink,
	.fstat = fstat,
	.stat = stat,
	.lseek = lseek,
	.lock = sys_lock,
	.set_flags = sys_set_flags,
	.preadv = preadv,
	.pwritev = pwritev,
	.pwritev_durably = sys_pwritev_durably,
	.fdatasync = fdatasync,
	.fsync = fsync,
	.fallocate = fallocate,
	.ftruncate = ftruncate,
	.ioctl = sys_ioctl,
	.getpid = getpid,
};
