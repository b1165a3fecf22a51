/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/opening.c - the handle of an open file or block device: made, locked, switched to direct transfers, closed.
 *
 * The lock belongs to the open file description (F_OFD_SETLK), so that a second handle of the same process meets it
 * like anybody else's, and closing some other descriptor of the file does not drop it. A child inherits the
 * description: closing its copy leaves the lock to the parent, while the parent unlocks before it closes, because a
 * copy in a child that knows nothing of it would hold the lock on.
 */
#include "io/opening.h"

#include "base/alloc.h"
#include "base/error.h"

#include <errno.h>

int tp_opening_fail(const struct tp_opening *o, int err, const char *what)
{
	return tp_fail_os(-err, THINP_NO_BLOCK, "%s: %s", o->path, what);
}

bool tp_opening_is_read_only(const struct tp_opening *o)
{
	return o->opts.flags & THINP_IO_READ_ONLY;
}

static int create_handle(struct tp_opening *o, const char *name)
{
	struct tp_file *file = tp_alloc_zeroed(&o->allocator, 1, sizeof(*file));
	int err;

	if (!file)
		return THINP_ENOMEM;
	err = pthread_mutex_init(&file->flushing, NULL);
	if (err) {
		tp_free(&o->allocator, file, sizeof(*file));
		return tp_fail_os(err, THINP_NO_BLOCK, "%s: no lock", o->path);
	}
	file->allocator = o->allocator;
	file->sys = o->sys;
	file->name = name;
	file->fd = -1;
	file->cached_fd = -1;
	file->owner = o->sys->getpid();
	file->is_read_only = tp_opening_is_read_only(o);
	file->writes_zeros = o->opts.flags & THINP_IO_ZEROS;
	file->grow_step = o->opts.grow_step;
	o->file = file;
	return 0;
}

int tp_opening_begin(struct tp_opening *o, const char *path, const struct thinp_io_opts *opts,
		     const struct tp_file_sys *sys, const char *name)
{
	int r;

	*o = (struct tp_opening){.path = path, .sys = sys};
	if (!path)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "no path to open");
	r = tp_io_opts_take(&o->opts, &o->allocator, opts);
	return r ? r : create_handle(o, name);
}

int tp_opening_lock(struct tp_opening *o)
{
	bool is_read_only = tp_opening_is_read_only(o);
	int r = tp_file_lock(o->file, is_read_only ? F_RDLCK : F_WRLCK);

	if (r == -EAGAIN || r == -EACCES) {
		o->is_created = false; /* whoever was faster owns it now */
		return tp_fail(THINP_EBUSY, THINP_NO_BLOCK, "%s is open elsewhere%s", o->path,
			       is_read_only ? " for writing" : "");
	}
	return r ? tp_opening_fail(o, r, "cannot lock it") : 0;
}

/* Some systems take O_DIRECT and then refuse every transfer, for example when sectors are larger than our blocks. */
static int try_direct_read(struct tp_file *file, bool *works)
{
	struct iovec iov = {.iov_len = THINP_BLOCK_SIZE};

	iov.iov_base = tp_alloc_aligned(&file->allocator, THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	if (!iov.iov_base)
		return THINP_ENOMEM;
	/* a bad block is not what we ask about, and neither is a file too short to have one */
	*works = tp_file_move(file, file->fd, false, &iov, 1, 0) != -EINVAL;
	tp_free(&file->allocator, iov.iov_base, THINP_BLOCK_SIZE);
	return 0;
}

/* O_DIRECT is set on the open descriptor rather than by a second open(), which would need a second lock. Setting the
 * flags also ends O_NONBLOCK. */
int tp_opening_choose_direct(const struct tp_opening *o, bool is_wanted)
{
	struct tp_file *file = o->file;
	int r;

	if (is_wanted) {
		file->is_direct = o->sys->set_flags(file->fd, O_DIRECT) == 0;
		if (file->is_direct) {
			r = try_direct_read(file, &file->is_direct);
			if (r || file->is_direct)
				return r;
		}
		if (o->opts.direct == THINP_IO_DIRECT_ON)
			return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s cannot be used past the page cache", o->path);
	}
	return o->sys->set_flags(file->fd, 0) < 0 ? tp_opening_fail(o, -errno, "cannot set its flags") : 0;
}

void tp_file_close(void *ctx)
{
	struct tp_file *file = ctx;
	struct thinp_allocator allocator = file->allocator;
	bool is_foreign = tp_file_is_foreign(file);

	if (file->cached_fd >= 0)
		file->sys->close(file->cached_fd);
	if (file->fd >= 0) {
		if (!is_foreign)
			tp_file_lock(file, F_UNLCK); /* in a child the lock is the parent's */
		file->sys->close(file->fd); /* nothing is promised of what was not flushed, so nothing to report */
	}
	if (!is_foreign)
		pthread_mutex_destroy(&file->flushing); /* in a child it may look locked for ever */
	tp_free(&allocator, file, sizeof(*file));
}

/* Removes what we created while it is still locked, so that whoever opens it meanwhile finds it busy or nameless. */
void tp_opening_abandon(const struct tp_opening *o)
{
	if (o->is_created)
		o->sys->unlink(o->path);
	tp_file_close(o->file);
}

int tp_opening_do_all(const char *path, const struct thinp_io_opts *opts, const struct tp_file_sys *sys,
		      const struct thinp_io_backend *backend, int (*way)(struct tp_opening *o), struct thinp_io **io)
{
	struct tp_opening o;
	int r = tp_opening_begin(&o, path, opts, sys, backend->name);

	if (r)
		return r;
	r = way(&o);
	if (!r)
		r = thinp_io_create(backend, o.file, &o.opts, io);
	if (r)
		tp_opening_abandon(&o);
	return r;
}
