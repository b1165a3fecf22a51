/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_file_fixture.h - what every test of the file back-end starts from: an empty directory in the build tree,
 * a counting allocator and scripted system calls; and at its end, that nothing has leaked.
 */
#ifndef TP_TEST_IO_FILE_FIXTURE_H
#define TP_TEST_IO_FILE_FIXTURE_H

#include "support/alloc_counting.h"
#include "support/io_sys_script.h"
#include "support/io_temp.h"

struct io_file_fixture {
	struct io_temp temp;
	struct alloc_counting alloc;
	char path[96];             /* of a file that is not there yet */
	struct thinp_io_opts opts; /* the allocator is set */
	struct thinp_io *io;       /* closed at the end when it is not NULL */
};

/* Fixture functions for cmocka; the state becomes a struct io_file_fixture. */
int io_file_setup(void **state);
int io_file_teardown(void **state);

/* The same in another directory than "."; -1 when none can be made there. */
int io_file_setup_in(void **state, const char *where);

/* Opens the path with the fixture's options over the scripted calls. */
int io_file_open(struct io_file_fixture *f, struct thinp_io **io);

/* The same with CREATE and a size, into f->io; fails the test when it fails. */
void io_file_create(struct io_file_fixture *f, uint64_t nr_blocks, uint32_t direct);

/* Closes f->io. */
void io_file_close(struct io_file_fixture *f);

/* Makes the file with so many bytes of a value, past the library. */
void io_file_make(const struct io_file_fixture *f, size_t nbytes, int value);

/* What the system says of the file: 0, or -1 when it is not there. */
int io_file_stat(const struct io_file_fixture *f, struct stat *st);

#endif
