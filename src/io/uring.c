/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/uring.c - a file or block device by io_uring: open, close, the table of the back-end.
 */
#include <thinp/io.h>

#include "base/error.h"

#ifdef THINP_WITH_URING
#include "io/opening.h"
#include "io/uring.h"

#include "base/alloc.h"

static int uring_get_size(void *ctx, uint64_t *nr_blocks)
{
	const struct tp_uring *uring = ctx;

	return tp_file_get_size(uring->file, nr_blocks);
}

/* The fork guard has spoken in get_size, which every batch asks first. */
static int uring_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	return tp_uring_batch(ctx, ops, nr_ops);
}

static int uring_resize(void *ctx, uint64_t nr_blocks)
{
	struct tp_uring *uring = ctx;
	int r = tp_file_check_owner(uring->file);

	return r ? r : tp_file_resize(uring->file, nr_blocks);
}

static int uring_register_buffers(void *ctx, const struct thinp_io_buffer *buffers, size_t nr_buffers)
{
	struct tp_uring *uring = ctx;
	int r = tp_file_check_owner(uring->file);

	return r ? r : tp_ring_register_buffers(&uring->ring, buffers, nr_buffers);
}

static void uring_close(void *ctx)
{
	struct tp_uring *uring = ctx;
	struct thinp_allocator allocator = uring->file->allocator;

	tp_ring_close(&uring->ring, tp_file_is_foreign(uring->file));
	tp_file_close(uring->file);
	tp_free(&allocator, uring, sizeof(*uring));
}

static const struct thinp_io_backend backend = {
	.size = sizeof(backend),
	.name = "uring",
	.get_size = uring_get_size,
	.batch = uring_batch,
	.resize = uring_resize,
	.close = uring_close,
	.register_buffers = uring_register_buffers,
};

/* What is at the path is looked at again when it is opened. */
static int open_by_kind(struct tp_opening *o)
{
	struct stat st;

	if (o->sys->stat(o->path, &st) == 0 && S_ISBLK(st.st_mode))
		return tp_opening_do_device(o);
	return tp_opening_do_file(o);
}

static int create_uring(const struct tp_opening *o, const struct tp_uring_sys *sys, struct tp_uring **uring)
{
	struct tp_uring *made = tp_alloc_zeroed(&o->allocator, 1, sizeof(*made));
	int r;

	if (!made)
		return THINP_ENOMEM;
	made->file = o->file;
	r = tp_ring_open(&made->ring, sys, &o->allocator, o->file->fd, o->path);
	if (r)
		tp_free(&o->allocator, made, sizeof(*made));
	else
		*uring = made;
	return r;
}

/* Leaves the file to the opening. */
static void undo_uring(const struct tp_opening *o, struct tp_uring *uring)
{
	tp_ring_close(&uring->ring, false);
	tp_free(&o->allocator, uring, sizeof(*uring));
}

int tp_io_open_uring_with(const char *path, const struct thinp_io_opts *opts, const struct tp_file_sys *sys,
			  const struct tp_uring_sys *uring_sys, struct thinp_io **io)
{
	struct tp_opening o;
	struct tp_uring *uring;
	int r;

	r = tp_opening_begin(&o, path, opts, sys, backend.name);
	if (r)
		return r;
	r = open_by_kind(&o);
	if (!r)
		r = create_uring(&o, uring_sys, &uring);
	if (!r) {
		r = thinp_io_create(&backend, uring, &o.opts, io);
		if (r)
			undo_uring(&o, uring);
	}
	if (r)
		tp_opening_abandon(&o);
	return r;
}

int thinp_io_open_uring(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	return tp_io_open_uring_with(path, opts, &tp_file_sys_libc, &tp_uring_sys_liburing, io);
}

#else

int thinp_io_open_uring(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	(void)path;
	(void)opts;
	(void)io;
	return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "this libthinp was built without io_uring");
}
#endif
