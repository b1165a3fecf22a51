/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * To be preloaded: lets one system call of the process fail with EIO. THINP_TEST_FAIL is "read:N", "write:N" or "flush:N": the
 * N-th transfer of this kind, as the library makes them. When it does, it makes the file that THINP_TEST_FAILED names.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static void tell(void)
{
	const char *path = getenv("THINP_TEST_FAILED");
	FILE *file = path ? fopen(path, "w") : NULL;

	if (file)
		fclose(file);
}

/* Is this the one? Counts down. */
static int is_to_fail(const char *kind, long *left)
{
	const char *text = getenv("THINP_TEST_FAIL");
	size_t len = strlen(kind);

	if (!text || strncmp(text, kind, len) != 0 || text[len] != ':')
		return 0;
	if (!*left)
		*left = strtol(text + len + 1, NULL, 10);
	else if (*left < 0)
		return 0;
	if (--*left)
		return 0;
	*left = -1;
	tell();
	errno = EIO;
	return 1;
}

ssize_t preadv64(int fd, const struct iovec *iov, int nr, off64_t offset)
{
	static long left;
	static ssize_t (*next)(int, const struct iovec *, int, off64_t);

	if (is_to_fail("read", &left))
		return -1;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "preadv64");
	return next(fd, iov, nr, offset);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int nr, off64_t offset)
{
	static long left;
	static ssize_t (*next)(int, const struct iovec *, int, off64_t);

	if (is_to_fail("write", &left))
		return -1;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "pwritev64");
	return next(fd, iov, nr, offset);
}

/* There is none here: what it does is done by the two that can fail. */
ssize_t pwritev64v2(int fd, const struct iovec *iov, int nr, off64_t offset, int flags)
{
	(void)fd;
	(void)iov;
	(void)nr;
	(void)offset;
	(void)flags;
	errno = EOPNOTSUPP;
	return -1;
}

int fdatasync(int fd)
{
	static long left;
	static int (*next)(int);

	if (is_to_fail("flush", &left))
		return -1;
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
	return next(fd);
}
