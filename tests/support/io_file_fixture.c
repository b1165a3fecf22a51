/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_file_fixture.c - what every test of the file back-end starts from.
 */
#include "support/io_file_fixture.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

int io_file_setup_in(void **state, const char *where)
{
	struct io_file_fixture *f = calloc(1, sizeof(*f));

	if (!f || io_temp_make(&f->temp, where)) {
		free(f);
		return -1;
	}
	snprintf(f->path, sizeof(f->path), "%s", io_temp_path(&f->temp, "file"));
	alloc_counting_init(&f->alloc);
	f->opts = (struct thinp_io_opts){.size = sizeof(f->opts), .allocator = &f->alloc.table};
	io_sys_reset();
	*state = f;
	return 0;
}

int io_file_setup(void **state)
{
	return io_file_setup_in(state, ".");
}

int io_file_teardown(void **state)
{
	struct io_file_fixture *f = *state;

	io_file_close(f);
	assert_int_equal(io_sys_nr_open(), 0);
	alloc_counting_check(&f->alloc);
	io_sys_reset();
	io_temp_remove(&f->temp);
	free(f);
	return 0;
}

int io_file_open(struct io_file_fixture *f, struct thinp_io **io)
{
	return tp_io_open_file_with(f->path, &f->opts, &io_sys_scripted, io);
}

void io_file_create(struct io_file_fixture *f, uint64_t nr_blocks, uint32_t direct)
{
	f->opts.flags = THINP_IO_CREATE;
	f->opts.nr_blocks = nr_blocks;
	f->opts.direct = direct;
	assert_int_equal(io_file_open(f, &f->io), 0);
	f->opts.flags = 0;
	f->opts.nr_blocks = 0;
}

void io_file_close(struct io_file_fixture *f)
{
	thinp_io_close(f->io);
	f->io = NULL;
}

void io_file_make(const struct io_file_fixture *f, size_t nbytes, int value)
{
	int fd = open(f->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	void *bytes = malloc(nbytes + 1);

	assert_true(fd >= 0);
	assert_non_null(bytes);
	memset(bytes, value, nbytes);
	assert_int_equal(write(fd, bytes, nbytes), (ssize_t)nbytes);
	free(bytes);
	assert_int_equal(close(fd), 0);
}

int io_file_stat(const struct io_file_fixture *f, struct stat *st)
{
	return stat(f->path, st);
}
