/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/uring_fixture.h - what tests of io_uring start from: a file that is opened over the scripted ring and the
 * scripted system calls; and at its end, that no ring is left open.
 */
#ifndef TP_TEST_URING_FIXTURE_H
#define TP_TEST_URING_FIXTURE_H

#include "support/io_file_fixture.h"
#include "support/uring_script.h"

/* Makes a file of so many blocks and opens it into f->io. 0, or -1 or what the opening returned. */
int uring_fixture_setup(void **state, uint64_t nr_blocks);

/* Fixture function for cmocka, for any fixture of support/io_file_fixture.h. */
int uring_fixture_teardown(void **state);

/* Opens the path with the fixture's options. */
int uring_fixture_open(struct io_file_fixture *f, struct thinp_io **io);

#endif
