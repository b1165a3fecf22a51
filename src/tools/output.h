/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/output.h - a file that is there in full or not at all.
 */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

/* Where a command writes. A regular file is written beside its name and gets it at the end. */
struct output {
	int fd;
	const char *path; /* NULL: standard output */
	char *temporary;  /* name until the end; NULL: written directly */
};

/* Opens path, or standard output for NULL. 0, or an errno. */
int output_open(struct output *output, const char *path);

/* Writes all of it. 0, or an errno: EINTR when stop() says so. */
int output_write(struct output *output, const void *data, size_t nbytes, bool (*stop)(void));

/* Ends with success: the file gets its name. 0, or an errno. */
int output_commit(struct output *output);

/* Ends without: what was written to a file is removed. */
void output_abandon(struct output *output);

#endif
