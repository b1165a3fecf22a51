/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/file_open.c - opening, locking, creating and closing a file.
 *
 * The lock belongs to the open file description (F_OFD_SETLK), so that a second handle of the same process meets it
 * like anybody else's, and closing some other descriptor of the file does not drop it. A child inherits the
 * description: closing its copy leaves the lock to the parent, while the parent unlocks before it closes, because a
 * copy in a child that knows nothing of it would hold the lock on.
 *
 * A file that we created is gone again when the opening fails later, and its name is durable when it succeeds.
 */
#include "io/file.h"

#include "base/alloc.h"
#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* Somebody may create and remove the file while we look; so often do we look. */
enum { MAX_TRIES = 8 };

struct opening {
	const char *path;
	const struct tp_file_sys *sys;
	struct thinp_io_opts opts;
	struct tp_file *file;
	bool is_created; /* by us: to be removed when something fails */
};

static int fail_open(const struct opening *o, int err, const char *what)
{
	return tp_fail_os(-err, THINP_NO_BLOCK, "%s: %s", o->path, what);
}

static bool is_read_only(const struct opening *o)
{
	return o->opts.flags & THINP_IO_READ_ONLY;
}

/* Existing files are tried first, and new ones made with O_EXCL, so that we know which of them we created.
 * O_NONBLOCK: a pipe that took the file's place a moment ago shall not make us wait. */
static int open_or_create(struct opening *o)
{
	int flags = (is_read_only(o) ? O_RDONLY : O_RDWR) | O_NONBLOCK;
	int fd = -ENOENT;

	for (int tries = 0; tries < MAX_TRIES; tries++) {
		fd = tp_file_open_fd(o->sys, o->path, flags);
		if (fd != -ENOENT || !(o->opts.flags & THINP_IO_CREATE))
			return fd;
		fd = tp_file_open_fd(o->sys, o->path, flags | O_CREAT | O_EXCL);
		o->is_created = fd >= 0;
		if (fd != -EEXIST)
			return fd;
	}
	return -ENOENT; /* there and not there: a symbolic link to nothing */
}

static int check_kind(const struct opening *o, const struct stat *st)
{
	if (S_ISREG(st->st_mode))
		return 0;
	if (!S_ISBLK(st->st_mode))
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s is neither a file nor a block device", o->path);
	if (!is_read_only(o))
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK,
			       "%s is a block device, which is opened here only for reading", o->path);
	return 0;
}

static int open_path(struct opening *o)
{
	struct stat st;
	int r;

	/* To be looked at before it is opened: the opening alone does something to tapes and watchdogs. */
	r = o->sys->stat(o->path, &st) < 0 ? 0 : check_kind(o, &st);
	if (r)
		return r;
	r = open_or_create(o);
	if (r < 0)
		return fail_open(o, r, o->opts.flags & THINP_IO_CREATE ? "cannot open or create it" : "cannot open it");
	o->file->fd = r;
	return 0;
}

static int take_lock(struct opening *o)
{
	int r = tp_file_lock(o->file, is_read_only(o) ? F_RDLCK : F_WRLCK);

	if (r == -EAGAIN || r == -EACCES) {
		o->is_created = false; /* whoever was faster owns it now */
		return tp_fail(THINP_EBUSY, THINP_NO_BLOCK, "%s is open elsewhere%s", o->path,
			       is_read_only(o) ? " for writing" : "");
	}
	return r ? fail_open(o, r, "cannot lock it") : 0;
}

/* Until we had the lock, the owner before us may have removed the file, as abandon() does, or put another in its place:
 * then we hold something that nobody will ever find. */
static int check_name(struct opening *o, const struct stat *st)
{
	struct stat named;

	if (o->sys->stat(o->path, &named) < 0) {
		if (errno != ENOENT)
			return fail_open(o, -errno, "cannot find it again");
	} else if (named.st_dev == st->st_dev && named.st_ino == st->st_ino) {
		return 0;
	}
	o->is_created = false; /* what bears the name now, if anything, is not ours */
	return tp_fail(THINP_EBUSY, THINP_NO_BLOCK, "%s was removed or replaced while it was being opened", o->path);
}

static int identify_and_lock(struct opening *o)
{
	struct stat st;
	int r;

	if (o->sys->fstat(o->file->fd, &st) < 0)
		return fail_open(o, -errno, "cannot tell what it is");
	r = check_kind(o, &st);
	if (!r)
		r = take_lock(o);
	return r ? r : check_name(o, &st);
}

/* Only under the lock: until then the owner before us may change the size. */
static int learn_size(const struct opening *o)
{
	off_t nbytes = o->sys->lseek(o->file->fd, 0, SEEK_END); /* of a block device stat does not tell it */

	if (nbytes < 0)
		return fail_open(o, -errno, "cannot tell its size");
	atomic_store(&o->file->nr_blocks, (uint64_t)nbytes / THINP_BLOCK_SIZE);
	return 0;
}

static int reach_size(const struct opening *o)
{
	uint64_t nr_blocks = atomic_load(&o->file->nr_blocks);
	int r;

	if (o->opts.nr_blocks <= nr_blocks)
		return 0;
	if (is_read_only(o))
		return tp_fail(THINP_EROFS, THINP_NO_BLOCK, "%s has %" PRIu64 " blocks and may not grow to %" PRIu64,
			       o->path, nr_blocks, o->opts.nr_blocks);
	r = tp_file_resize(o->file, o->opts.nr_blocks);
	return r ? fail_open(o, r, "cannot grow") : 0;
}

/* The directory part of the path as text of its own, in *size bytes. */
static char *copy_directory(const struct opening *o, size_t *size)
{
	const char *slash = strrchr(o->path, '/');
	size_t len = slash && slash > o->path ? (size_t)(slash - o->path) : 1;
	char *copy = tp_alloc_zeroed(&o->file->allocator, len + 1, 1);

	if (copy)
		memcpy(copy, slash ? o->path : ".", len);
	*size = len + 1;
	return copy;
}

static int sync_directory(const struct opening *o, const char *directory)
{
	int fd = tp_file_open_fd(o->sys, directory, O_RDONLY | O_DIRECTORY);
	int r;

	if (fd < 0)
		return fail_open(o, fd, "cannot open its directory");
	r = tp_file_sync_all(o->sys, fd);
	o->sys->close(fd);
	/* EINVAL: there is nothing to be flushed on this file system */
	return r && r != -EINVAL ? fail_open(o, r, "cannot flush its directory") : 0;
}

/* COW-23: the file first, then the name by which it is found. */
static int make_name_durable(const struct opening *o)
{
	size_t size;
	char *directory;
	int r;

	if (!o->is_created)
		return 0;
	r = tp_file_sync_all(o->sys, o->file->fd);
	if (r)
		return fail_open(o, r, "cannot flush it");
	directory = copy_directory(o, &size);
	if (!directory)
		return THINP_ENOMEM;
	r = sync_directory(o, directory);
	tp_free(&o->file->allocator, directory, size);
	return r;
}

/* Some systems take O_DIRECT and then refuse every transfer, for example when sectors are larger than our blocks. */
static int try_direct_read(struct tp_file *file, bool *works)
{
	struct iovec iov = {.iov_len = THINP_BLOCK_SIZE};

	*works = true;
	if (!atomic_load(&file->nr_blocks))
		return 0;
	iov.iov_base = tp_alloc_aligned(&file->allocator, THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	if (!iov.iov_base)
		return THINP_ENOMEM;
	*works = tp_file_move(file, false, &iov, 1, 0) != -EINVAL; /* a bad block is not what we ask about */
	tp_free(&file->allocator, iov.iov_base, THINP_BLOCK_SIZE);
	return 0;
}

static bool wants_direct(const struct opening *o)
{
	if (o->opts.direct == THINP_IO_DIRECT_AUTO)
		return !is_read_only(o);
	return o->opts.direct == THINP_IO_DIRECT_ON;
}

/* O_DIRECT is set on the open descriptor rather than by a second open(), which would need a second lock. Setting the
 * flags also ends O_NONBLOCK. */
static int choose_direct(const struct opening *o)
{
	struct tp_file *file = o->file;
	int r;

	if (wants_direct(o)) {
		file->is_direct = o->sys->set_flags(file->fd, O_DIRECT) == 0;
		if (file->is_direct) {
			r = try_direct_read(file, &file->is_direct);
			if (r || file->is_direct)
				return r;
		}
		if (o->opts.direct == THINP_IO_DIRECT_ON)
			return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s cannot be used past the page cache", o->path);
	}
	return o->sys->set_flags(file->fd, 0) < 0 ? fail_open(o, -errno, "cannot set its flags") : 0;
}

static int open_all(struct opening *o)
{
	int r;

	r = open_path(o);
	if (!r)
		r = identify_and_lock(o);
	if (!r)
		r = learn_size(o);
	if (!r)
		r = reach_size(o);
	if (!r)
		r = make_name_durable(o);
	if (!r)
		r = choose_direct(o);
	return r;
}

static int create_file(const struct opening *o, const struct thinp_allocator *allocator, struct tp_file **file)
{
	struct tp_file *made = tp_alloc_zeroed(allocator, 1, sizeof(*made));
	int err;

	if (!made)
		return THINP_ENOMEM;
	err = pthread_mutex_init(&made->flushing, NULL);
	if (err) {
		tp_free(allocator, made, sizeof(*made));
		return tp_fail_os(err, THINP_NO_BLOCK, "%s: no lock", o->path);
	}
	made->allocator = *allocator;
	made->sys = o->sys;
	made->name = tp_file_backend.name;
	made->fd = -1;
	made->owner = o->sys->getpid();
	made->is_read_only = is_read_only(o);
	made->grow_step = o->opts.grow_step;
	*file = made;
	return 0;
}

void tp_file_close(void *ctx)
{
	struct tp_file *file = ctx;
	struct thinp_allocator allocator = file->allocator;
	bool is_foreign = tp_file_is_foreign(file);

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
static void abandon(const struct opening *o)
{
	if (o->is_created)
		o->sys->unlink(o->path);
	tp_file_close(o->file);
}

int tp_io_open_file_with(const char *path, const struct thinp_io_opts *opts, const struct tp_file_sys *sys,
			 struct thinp_io **io)
{
	struct opening o = {.path = path, .sys = sys};
	struct thinp_allocator allocator;
	int r;

	if (!path)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "no path to open");
	r = tp_io_opts_take(&o.opts, &allocator, opts);
	if (!r)
		r = create_file(&o, &allocator, &o.file);
	if (r)
		return r;
	r = open_all(&o);
	if (!r)
		r = thinp_io_create(&tp_file_backend, o.file, &o.opts, io);
	if (r)
		abandon(&o);
	return r;
}

int thinp_io_open_file(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	return tp_io_open_file_with(path, opts, &tp_file_sys_libc, io);
}
