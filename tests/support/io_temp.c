/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_temp.c - a directory for the files of a test.
 */
#include "support/io_temp.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int io_temp_make(struct io_temp *temp, const char *where)
{
	snprintf(temp->dir, sizeof(temp->dir), "%s/thinp-io-test-XXXXXX", where);
	return mkdtemp(temp->dir) ? 0 : -1;
}

const char *io_temp_path(struct io_temp *temp, const char *name)
{
	snprintf(temp->path, sizeof(temp->path), "%s/%s", temp->dir, name);
	return temp->path;
}

/* Walks the entries but "." and ".."; removes them when that is wanted, and counts them. */
static int walk(const struct io_temp *temp, int remove_them)
{
	DIR *dir = opendir(temp->dir);
	const struct dirent *entry;
	int nr = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		nr++;
		if (remove_them)
			unlinkat(dirfd(dir), entry->d_name, 0);
	}
	closedir(dir);
	return nr;
}

int io_temp_is_empty(const struct io_temp *temp)
{
	return walk(temp, 0) == 0;
}

void io_temp_remove(struct io_temp *temp)
{
	walk(temp, 1);
	rmdir(temp->dir);
}
