/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/uring_fixture.c - what tests of io_uring start from.
 */
#include "support/uring_fixture.h"

#ifdef THINP_WITH_URING
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

int uring_fixture_open(struct io_file_fixture *f, struct thinp_io **io)
{
	return tp_io_open_uring_with(f->path, &f->opts, &io_sys_scripted, &uring_scripted, io);
}

int uring_fixture_setup(void **state, uint64_t nr_blocks)
{
	struct io_file_fixture *f;

	if (io_file_setup(state))
		return -1;
	f = *state;
	f->opts.flags = THINP_IO_CREATE;
	f->opts.nr_blocks = nr_blocks;
	uring_script_reset();
	return uring_fixture_open(f, &f->io);
}

int uring_fixture_teardown(void **state)
{
	int r = io_file_teardown(state);

	assert_int_equal(uring_nr_open(), 0);
	uring_script_reset();
	return r;
}
#endif
