/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/open.c - a device by its name: "uring:/dev/x", or a plain path, of which a look tells what it is.
 */
#include <thinp/io.h>

#include "base/error.h"

#include <string.h>
#include <sys/stat.h>

typedef int (*open_fn)(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io);

static int open_memory(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	if (*path)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "memory has no path, and this is one: %s", path);
	return thinp_io_open_memory(opts, io);
}

/* What cannot be looked at is left to the opening of files, which says why. */
static int open_plain(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	struct stat st;

	if (stat(path, &st) == 0 && S_ISBLK(st.st_mode))
		return thinp_io_open_device(path, opts, io);
	return thinp_io_open_file(path, opts, io);
}

static const struct {
	const char *word;
	open_fn open;
} kinds[] = {
	{"file:", thinp_io_open_file},
	{"device:", thinp_io_open_device},
	{"uring:", thinp_io_open_uring},
	{"memory:", open_memory},
};

int thinp_io_open(const char *name, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	if (!name)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "no name to open");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].word);

		if (!strncmp(name, kinds[i].word, len))
			return kinds[i].open(name + len, opts, io);
	}
	return open_plain(name, opts, io);
}
