/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/io/test_uring.c - the suite of all back-ends over io_uring: files and block devices, past and through the page
 * cache, and with a system that is as unhelpful as it may be.
 */
#include "support/uring_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#ifdef THINP_WITH_URING
#include "support/io_conformance.h"
#include "support/io_device_fixture.h"
#include "support/io_file_fixture.h"

#include <thinp/error.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct variant {
	const char *group;
	uint32_t direct;
	size_t transfer_limit; /* transfers move at most that many bytes where the system could do so */
	bool is_interrupted;   /* every call and every second request is interrupted once */
	bool is_torn;          /* the ring has been broken, so that system calls do all the work */
	void *fixture;         /* of files */
	uint32_t sector_bytes; /* of block devices; 0: a file */
	struct io_device_fixture device;
};

static void apply(const struct variant *v)
{
	uring_script_reset();
	uring_limit_transfers(v->transfer_limit);
	uring_interrupt_all(v->is_interrupted);
	io_sys_interrupt_all(v->is_interrupted);
}

/* Of two linked requests the system takes only one. */
static void tear(struct thinp_io *io)
{
	void *zeros = io_blocks_new(1);
	struct thinp_io_op ops[] = {io_op(THINP_IO_WRITE, 0, 1, zeros), io_op(THINP_IO_FLUSH, 0, 0, NULL)};

	memset(zeros, 0, THINP_BLOCK_SIZE);
	uring_cut_submission(1, 1, 1);
	assert_int_equal(thinp_io_batch(io, ops, 2), 0);
	free(zeros);
}

static int open_file(struct variant *v, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io)
{
	struct io_file_fixture *f;

	assert_int_equal(io_file_setup(&v->fixture), 0);
	f = v->fixture;
	apply(v);
	f->opts.direct = v->direct;
	f->opts.nr_blocks = nr_blocks;
	f->opts.flags = THINP_IO_CREATE;
	assert_int_equal(tp_io_open_uring_with(f->path, &f->opts, &io_sys_scripted, &uring_scripted, io), 0);
	if (v->is_torn)
		tear(*io);
	if (!flags)
		return 0;
	thinp_io_close(*io);
	f->opts.flags = flags;
	return tp_io_open_uring_with(f->path, &f->opts, &io_sys_scripted, &uring_scripted, io);
}

static int open_device(struct variant *v, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io)
{
	io_device_make(&v->device, nr_blocks, v->sector_bytes);
	apply(v);
	v->device.opts.flags = flags;
	v->device.opts.direct = v->direct;
	return tp_io_open_uring_with(v->device.loop.path, &v->device.opts, &io_sys_scripted, &uring_scripted, io);
}

static int open_variant(void *ctx, uint32_t flags, uint64_t nr_blocks, struct thinp_io **io)
{
	struct variant *v = ctx;

	return v->sector_bytes ? open_device(v, flags, nr_blocks, io) : open_file(v, flags, nr_blocks, io);
}

static void done_variant(void *ctx)
{
	struct variant *v = ctx;

	assert_int_equal(uring_nr_open(), 0);
	if (v->sector_bytes)
		io_device_remove(&v->device);
	else
		assert_int_equal(io_file_teardown(&v->fixture), 0);
}

static int arm_variant(void *ctx, uint32_t kind, thinp_block_t block)
{
	const struct variant *v = ctx;

	if (v->is_torn)
		return io_sys_arm(NULL, kind, block);
	if (kind == THINP_IO_FLUSH)
		uring_fail_flush(1, 1, EIO);
	else
		uring_spoil_block(block, EIO, true);
	return THINP_EIO;
}

static int run(struct variant *v)
{
	const struct io_conformance device = {
		.group = v->group,
		.ctx = v,
		.open = open_variant,
		.done = done_variant,
		.arm = arm_variant,
		.can_resize = !v->sector_bytes,
		.is_slow = true,
	};
	const char *obstacle = v->sector_bytes ? io_device_obstacle() : NULL;

	if (obstacle) {
		print_message("%s is skipped: loop devices cannot be had here: %s\n", v->group, obstacle);
		return 0;
	}
	return io_conformance_run(&device);
}

static int run_all(void)
{
	static struct variant variants[] = {
		{.group = "io/uring/file/direct"},
		{.group = "io/uring/file/cached", .direct = THINP_IO_DIRECT_OFF},
		{.group = "io/uring/device/512", .sector_bytes = 512},
		{.group = "io/uring/device/4096", .sector_bytes = 4096},
		{.group = "io/uring/device/cached", .sector_bytes = 512, .direct = THINP_IO_DIRECT_OFF},
		{
			.group = "io/uring/unhelpful/cached",
			.direct = THINP_IO_DIRECT_OFF,
			.transfer_limit = 9973, /* a prime, so that transfers end anywhere */
			.is_interrupted = true,
		},
		{
			.group = "io/uring/unhelpful/direct",
			.transfer_limit = 5 * 4096 + 512,
			.is_interrupted = true,
		},
		{.group = "io/uring/torn", .is_torn = true},
	};
	int nr_failed = 0;

	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		nr_failed += run(&variants[i]);
	return nr_failed;
}
#else
static int run_all(void)
{
	return 0;
}
#endif

int main(void)
{
	return uring_run(run_all);
}
