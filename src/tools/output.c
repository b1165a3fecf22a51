/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/output.c - a file that is there in full or not at all.
 */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Devices, pipes and the like keep their place in the file system, so they are written directly. */
static bool is_special(const char *path)
{
	struct stat st;

	return !stat(path, &st) && !S_ISREG(st.st_mode);
}

static int open_temporary(struct output *output)
{
	mode_t mask;

	if (asprintf(&output->temporary, "%s.XXXXXX", output->path) < 0) {
		output->temporary = NULL;
		return ENOMEM;
	}
	output->fd = mkostemp(output->temporary, O_CLOEXEC);
	if (output->fd < 0) {
		int err = errno;

		free(output->temporary);
		return err;
	}
	mask = umask(0); /* mkostemp makes it private; a new file has what umask leaves */
	umask(mask);
	(void)fchmod(output->fd, 0666 & ~mask);
	return 0;
}

int output_open(struct output *output, const char *path)
{
	*output = (struct output){.fd = STDOUT_FILENO, .path = path};
	if (!path)
		return 0;
	if (!is_special(path))
		return open_temporary(output);
	output->fd = open(path, O_WRONLY | O_CLOEXEC);
	return output->fd < 0 ? errno : 0;
}

int output_write(struct output *output, const void *data, size_t nbytes, bool (*stop)(void))
{
	const char *p = data;

	while (nbytes) {
		ssize_t n;

		if (stop())
			return EINTR;
		n = write(output->fd, p, nbytes);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		p += n;
		nbytes -= (size_t)n;
	}
	return 0;
}

int output_commit(struct output *output)
{
	int err = 0;

	if (!output->path)
		return 0;
	if (close(output->fd))
		err = errno;
	if (output->temporary) {
		if (!err && rename(output->temporary, output->path))
			err = errno;
		if (err)
			(void)unlink(output->temporary);
		free(output->temporary);
	}
	return err;
}

void output_abandon(struct output *output)
{
	if (!output->path)
		return;
	(void)close(output->fd);
	if (output->temporary)
		(void)unlink(output->temporary);
	free(output->temporary);
}
