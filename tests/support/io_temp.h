/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_temp.h - a directory for the files of a test.
 */
#ifndef TP_TEST_IO_TEMP_H
#define TP_TEST_IO_TEMP_H

struct io_temp {
	char dir[64];
	char path[96]; /* what io_temp_path() gave last */
};

/* Makes a directory below `where`, for example "." (the build directory) or "/dev/shm". 0, or -1 when it cannot. */
int io_temp_make(struct io_temp *temp, const char *where);

/* The path of a file in it; valid until the next call. */
const char *io_temp_path(struct io_temp *temp, const char *name);

/* Is nothing in it? */
int io_temp_is_empty(const struct io_temp *temp);

/* Removes the directory and the files in it. */
void io_temp_remove(struct io_temp *temp);

#endif
