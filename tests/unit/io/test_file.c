/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_file.c - the suite of all back-ends over files: past and through the page cache, on disk and on tmpfs,
 * and with system calls that are as unhelpful as POSIX allows.
 */
#include "support/io_conformance.h"
#include "support/io_file_fixture.h"

#include <thinp/error.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct variant {
	const char *group;
	const char *where;
	uint32_t direct;
	size_t transfer_limit;    /* every transfer moves at most that many bytes */
	bool is_interrupted;      /* every call is interrupted once */
	bool is_without_allocate; /* fallocate is not supported */
	void *fixture;
};

static void apply(const struct variant *v)
{
	io_sys_reset();
	io_sys_limit_transfers(v->transfer_limit);
	io_sys_interrupt_all(v->is_interrupted);
	if (v->is_without_allocate)
		io_sys_fail(IO_SYS_FALLOCATE, 1, UINT32_MAX, EOPNOTSUPP);
}

static int open_variant(void *ctx, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io)
{
	struct variant *v = ctx;
	struct io_file_fixture *f;

	assert_int_equal(io_file_setup_in(&v->fixture, v->where), 0);
	f = v->fixture;
	apply(v);
	io_file_create(f, nr_blocks, v->direct);
	*io = f->io;
	f->io = NULL;
	if (!flags)
		return 0;
	thinp_io_close(*io);
	f->opts.flags = flags;
	return io_file_open(f, io);
}

static void done_variant(void *ctx)
{
	struct variant *v = ctx;

	assert_int_equal(io_file_teardown(&v->fixture), 0);
}

static int run(struct variant *v)
{
	const struct io_conformance device = {
		.group = v->group,
		.ctx = v,
		.open = open_variant,
		.done = done_variant,
		.arm = io_sys_arm,
		.can_resize = true,
		.is_slow = true,
	};
	struct io_temp temp;

	if (io_temp_make(&temp, v->where)) {
		print_message("%s is skipped: no directory can be made in %s\n", v->group, v->where);
		return 0;
	}
	io_temp_remove(&temp);
	return io_conformance_run(&device);
}

int main(void)
{
	static struct variant variants[] = {
		{.group = "io/file/direct", .where = ".", .direct = THINP_IO_DIRECT_AUTO},
		{.group = "io/file/cached", .where = ".", .direct = THINP_IO_DIRECT_OFF},
		{.group = "io/file/tmpfs/direct", .where = "/dev/shm", .direct = THINP_IO_DIRECT_AUTO},
		{.group = "io/file/tmpfs/cached", .where = "/dev/shm", .direct = THINP_IO_DIRECT_OFF},
		{
			.group = "io/file/unhelpful/cached",
			.where = "/dev/shm",
			.direct = THINP_IO_DIRECT_OFF,
			.transfer_limit = 9973, /* a prime, so that transfers end anywhere */
			.is_interrupted = true,
			.is_without_allocate = true,
		},
		{
			.group = "io/file/unhelpful/direct",
			.where = ".",
			.direct = THINP_IO_DIRECT_AUTO,
			.transfer_limit = 5 * 4096 + 512,
			.is_interrupted = true,
		},
	};
	int nr_failed = 0;

	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		nr_failed += run(&variants[i]);
	return nr_failed;
}
