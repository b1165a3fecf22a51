/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_sys.h - the system calls on files and block devices as a table, so that tests can make any of them fail.
 */
#ifndef TP_IO_FILE_SYS_H
#define TP_IO_FILE_SYS_H

#include <thinp/io.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

/* As the functions of the same names in POSIX and Linux: -1 and errno on failure. pwritev_durably is pwritev2 with
 * RWF_DSYNC, which returns when the device has for good what it wrote. */
struct tp_file_sys {
	int (*open)(const char *path, int flags, mode_t mode);
	int (*close)(int fd);
	int (*unlink)(const char *path);
	int (*fstat)(int fd, struct stat *st);
	int (*stat)(const char *path, struct stat *st);
	off_t (*lseek)(int fd, off_t offset, int whence);
	int (*lock)(int fd, struct flock *lock); /* fcntl(F_OFD_SETLK) */
	int (*set_flags)(int fd, int flags);     /* fcntl(F_SETFL) */
	ssize_t (*preadv)(int fd, const struct iovec *iov, int nr_iov, off_t offset);
	ssize_t (*pwritev)(int fd, const struct iovec *iov, int nr_iov, off_t offset);
	ssize_t (*pwritev_durably)(int fd, const struct iovec *iov, int nr_iov, off_t offset); /* NULL: there is none */
	int (*fdatasync)(int fd);
	int (*fsync)(int fd);
	int (*fallocate)(int fd, int mode, off_t offset, off_t nbytes);
	int (*ftruncate)(int fd, off_t nbytes);
	int (*ioctl)(int fd, unsigned long request, void *arg);
	pid_t (*getpid)(void);
};

/* The real ones. */
extern const struct tp_file_sys tp_file_sys_libc;

/* thinp_io_open_file() and thinp_io_open_device() over a table, which must outlive the handle. */
int tp_io_open_file_with(const char *path, const struct thinp_io_opts *opts, const struct tp_file_sys *sys,
			 struct thinp_io **io);
int tp_io_open_device_with(const char *path, const struct thinp_io_opts *opts, const struct tp_file_sys *sys,
			   struct thinp_io **io);

#endif
