/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/io_sys_script.c - the system calls on files and block devices with faults by script.
 */
#include "support/io_sys_script.h"

#include <thinp/error.h>

#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <pthread.h>
#include <string.h>

enum { MAX_TRACE = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Guarded by lock. */
static struct {
	unsigned int counts[IO_SYS_NR_CALLS + 1]; /* the last one counts all */
	enum io_sys_call fail_call;
	unsigned int fail_from, fail_to; /* counts[fail_call] at which it fails, half-open */
	int fail_errno;
	bool has_failed;
	thinp_block_t bad_block;
	int bad_errno;
	bool bad_heals;
	size_t limit;
	unsigned int cut_in; /* transfers until the one to be cut, which is 1 */
	size_t cut_to;
	bool interrupts;
	bool was_interrupted[IO_SYS_NR_CALLS];
	mode_t kind;
	int sector_bytes;
	bool is_child;
	enum io_sys_call hook_call;
	unsigned int hook_at;
	void (*hook)(void *ctx);
	void *hook_ctx;
	unsigned int nr_open;
	unsigned int nr_unaligned;
	size_t most_pieces;
	size_t most_bytes;
	int last_fd;
	int last_flags;
	enum io_sys_call trace[MAX_TRACE];
	size_t nr_trace;
} script;

/* --- setting it up --- */

void io_sys_reset(void)
{
	unsigned int nr_open;
	int last_fd;

	pthread_mutex_lock(&lock);
	nr_open = script.nr_open;
	last_fd = script.last_fd;
	memset(&script, 0, sizeof(script));
	script.nr_open = nr_open;
	script.last_fd = last_fd;
	pthread_mutex_unlock(&lock);
}

void io_sys_fail(enum io_sys_call call, unsigned int n, unsigned int times, int err)
{
	pthread_mutex_lock(&lock);
	script.fail_call = call;
	script.fail_from = script.counts[call] + n;
	script.fail_to = times > UINT_MAX - script.fail_from ? UINT_MAX : script.fail_from + times;
	script.fail_errno = err;
	script.has_failed = false;
	pthread_mutex_unlock(&lock);
}

void io_sys_spoil_block(thinp_block_t block, int err, bool heals)
{
	pthread_mutex_lock(&lock);
	script.bad_heals = heals;
	script.bad_block = block;
	script.bad_errno = err;
	pthread_mutex_unlock(&lock);
}

int io_sys_arm(void *ctx, uint32_t kind, thinp_block_t block)
{
	(void)ctx;
	if (kind == THINP_IO_FLUSH)
		io_sys_fail(IO_SYS_FDATASYNC, 1, 1, EIO);
	else
		io_sys_spoil_block(block, EIO, true);
	return THINP_EIO;
}

void io_sys_limit_transfers(size_t nbytes)
{
	pthread_mutex_lock(&lock);
	script.limit = nbytes;
	pthread_mutex_unlock(&lock);
}

void io_sys_cut_transfer(unsigned int n, size_t nbytes)
{
	pthread_mutex_lock(&lock);
	script.cut_in = n;
	script.cut_to = nbytes;
	pthread_mutex_unlock(&lock);
}

void io_sys_interrupt_all(bool on)
{
	pthread_mutex_lock(&lock);
	script.interrupts = on;
	pthread_mutex_unlock(&lock);
}

void io_sys_pretend_kind(mode_t kind)
{
	pthread_mutex_lock(&lock);
	script.kind = kind;
	pthread_mutex_unlock(&lock);
}

void io_sys_pretend_sectors(int nbytes)
{
	pthread_mutex_lock(&lock);
	script.sector_bytes = nbytes;
	pthread_mutex_unlock(&lock);
}

void io_sys_pretend_child(bool on)
{
	pthread_mutex_lock(&lock);
	script.is_child = on;
	pthread_mutex_unlock(&lock);
}

void io_sys_before(enum io_sys_call call, unsigned int n, void (*hook)(void *ctx), void *ctx)
{
	pthread_mutex_lock(&lock);
	script.hook_call = call;
	script.hook_at = script.counts[call] + n;
	script.hook = hook;
	script.hook_ctx = ctx;
	pthread_mutex_unlock(&lock);
}

/* --- asking it --- */

bool io_sys_has_failed(void)
{
	bool has_failed;

	pthread_mutex_lock(&lock);
	has_failed = script.has_failed;
	pthread_mutex_unlock(&lock);
	return has_failed;
}

unsigned int io_sys_count(enum io_sys_call call)
{
	unsigned int count;

	pthread_mutex_lock(&lock);
	count = script.counts[call];
	pthread_mutex_unlock(&lock);
	return count;
}

unsigned int io_sys_nr_open(void)
{
	unsigned int nr_open;

	pthread_mutex_lock(&lock);
	nr_open = script.nr_open;
	pthread_mutex_unlock(&lock);
	return nr_open;
}

unsigned int io_sys_nr_unaligned(void)
{
	unsigned int nr_unaligned;

	pthread_mutex_lock(&lock);
	nr_unaligned = script.nr_unaligned;
	pthread_mutex_unlock(&lock);
	return nr_unaligned;
}

size_t io_sys_most_pieces(void)
{
	size_t most;

	pthread_mutex_lock(&lock);
	most = script.most_pieces;
	pthread_mutex_unlock(&lock);
	return most;
}

size_t io_sys_most_bytes(void)
{
	size_t most;

	pthread_mutex_lock(&lock);
	most = script.most_bytes;
	pthread_mutex_unlock(&lock);
	return most;
}

int io_sys_last_fd(void)
{
	int fd;

	pthread_mutex_lock(&lock);
	fd = script.last_fd;
	pthread_mutex_unlock(&lock);
	return fd;
}

int io_sys_last_flags(void)
{
	int flags;

	pthread_mutex_lock(&lock);
	flags = script.last_flags;
	pthread_mutex_unlock(&lock);
	return flags;
}

bool io_sys_had_order(const enum io_sys_call *calls, size_t nr)
{
	size_t at = 0;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < script.nr_trace && at < nr; i++)
		at += script.trace[i] == calls[at];
	pthread_mutex_unlock(&lock);
	return at == nr;
}

/* --- the calls --- */

static bool is_interruptible(enum io_sys_call call)
{
	return call != IO_SYS_CLOSE && call != IO_SYS_UNLINK && call != IO_SYS_FSTAT && call != IO_SYS_STAT &&
	       call != IO_SYS_LSEEK && call != IO_SYS_SET_FLAGS;
}

static int fault_locked(enum io_sys_call call)
{
	unsigned int count;

	if (script.interrupts && is_interruptible(call)) {
		script.was_interrupted[call] = !script.was_interrupted[call];
		if (script.was_interrupted[call])
			return EINTR;
	}
	script.counts[call]++;
	script.counts[IO_SYS_ANY]++;
	if (script.nr_trace < MAX_TRACE)
		script.trace[script.nr_trace++] = call;
	if (script.fail_call != call && script.fail_call != IO_SYS_ANY)
		return 0;
	count = script.counts[script.fail_call];
	if (!script.fail_errno || count < script.fail_from || count >= script.fail_to)
		return 0;
	script.has_failed = true;
	return script.fail_errno;
}

/* Notes a call. Gives -1 with errno when it shall fail. */
static int begin(enum io_sys_call call)
{
	void (*hook)(void *ctx) = NULL;
	void *hook_ctx;
	int err;

	pthread_mutex_lock(&lock);
	err = fault_locked(call);
	if (script.hook && script.hook_call == call && script.counts[call] == script.hook_at)
		hook = script.hook;
	hook_ctx = script.hook_ctx;
	pthread_mutex_unlock(&lock);
	if (hook)
		hook(hook_ctx);
	errno = err;
	return err ? -1 : 0;
}

static int scripted_open(const char *path, int flags, mode_t mode)
{
	int fd = begin(IO_SYS_OPEN) ? -1 : tp_file_sys_libc.open(path, flags, mode);

	pthread_mutex_lock(&lock);
	script.nr_open += fd >= 0;
	script.last_flags = flags;
	if (!(flags & O_DIRECTORY))
		script.last_fd = fd;
	pthread_mutex_unlock(&lock);
	return fd;
}

static int scripted_close(int fd)
{
	int fault = begin(IO_SYS_CLOSE);
	int err = errno;
	int r = tp_file_sys_libc.close(fd);

	pthread_mutex_lock(&lock);
	script.nr_open -= r == 0;
	pthread_mutex_unlock(&lock);
	if (fault)
		errno = err;
	return fault ? fault : r;
}

static int scripted_unlink(const char *path)
{
	return begin(IO_SYS_UNLINK) ? -1 : tp_file_sys_libc.unlink(path);
}

static int pretend(int r, struct stat *st)
{
	pthread_mutex_lock(&lock);
	if (!r && script.kind)
		st->st_mode = (st->st_mode & ~(mode_t)S_IFMT) | script.kind;
	if (!r && script.kind)
		st->st_size = 0; /* as for devices */
	pthread_mutex_unlock(&lock);
	return r;
}

static int scripted_fstat(int fd, struct stat *st)
{
	return begin(IO_SYS_FSTAT) ? -1 : pretend(tp_file_sys_libc.fstat(fd, st), st);
}

static int scripted_stat(const char *path, struct stat *st)
{
	return begin(IO_SYS_STAT) ? -1 : pretend(tp_file_sys_libc.stat(path, st), st);
}

static off_t scripted_lseek(int fd, off_t offset, int whence)
{
	return begin(IO_SYS_LSEEK) ? -1 : tp_file_sys_libc.lseek(fd, offset, whence);
}

static int scripted_lock(int fd, struct flock *flock)
{
	return begin(IO_SYS_LOCK) ? -1 : tp_file_sys_libc.lock(fd, flock);
}

static int scripted_set_flags(int fd, int flags)
{
	return begin(IO_SYS_SET_FLAGS) ? -1 : tp_file_sys_libc.set_flags(fd, flags);
}

static bool is_unaligned(const struct iovec *iov, int nr_iov, off_t offset)
{
	bool is_bad = offset % THINP_BLOCK_SIZE != 0;

	for (int i = 0; i < nr_iov; i++)
		is_bad |= (uintptr_t)iov[i].iov_base % THINP_BLOCK_SIZE || iov[i].iov_len % THINP_BLOCK_SIZE;
	return is_bad;
}

static size_t sum(const struct iovec *iov, int nr_iov)
{
	size_t nbytes = 0;

	for (int i = 0; i < nr_iov; i++)
		nbytes += iov[i].iov_len;
	return nbytes;
}

/* How many of the bytes may move: up to the limit, and up to a bad block, as a disk does it. -1 at a bad block. */
static ssize_t allowed_locked(size_t nbytes, off_t offset)
{
	off_t bad = (off_t)script.bad_block * THINP_BLOCK_SIZE;

	if (script.limit && nbytes > script.limit)
		nbytes = script.limit;
	if (script.cut_in && !--script.cut_in && nbytes > script.cut_to)
		nbytes = script.cut_to;
	if (!script.bad_errno || offset >= bad + THINP_BLOCK_SIZE || offset + (off_t)nbytes <= bad)
		return (ssize_t)nbytes;
	if (offset < bad)
		return bad - offset;
	errno = script.bad_errno;
	if (script.bad_heals && nbytes <= THINP_BLOCK_SIZE)
		script.bad_errno = 0;
	return -1;
}

/* The first nbytes of a list. Gives the number of its pieces. */
static int shorten(struct iovec *dst, const struct iovec *src, size_t nbytes)
{
	int nr = 0;

	for (; nbytes; nr++) {
		dst[nr] = src[nr];
		if (dst[nr].iov_len > nbytes)
			dst[nr].iov_len = nbytes;
		nbytes -= dst[nr].iov_len;
	}
	return nr;
}

static void note_transfer(const struct iovec *iov, int nr_iov, off_t offset)
{
	size_t nbytes = sum(iov, nr_iov);

	pthread_mutex_lock(&lock);
	script.nr_unaligned += is_unaligned(iov, nr_iov, offset);
	if ((size_t)nr_iov > script.most_pieces)
		script.most_pieces = (size_t)nr_iov;
	if (nbytes > script.most_bytes)
		script.most_bytes = nbytes;
	pthread_mutex_unlock(&lock);
}

static ssize_t allowed_bytes(size_t nbytes, off_t offset)
{
	ssize_t allowed;

	pthread_mutex_lock(&lock);
	allowed = allowed_locked(nbytes, offset);
	pthread_mutex_unlock(&lock);
	return allowed;
}

static ssize_t move(enum io_sys_call call, int fd, const struct iovec *iov, int nr_iov, off_t offset)
{
	struct iovec part[IOV_MAX];
	ssize_t allowed;
	ssize_t moved;
	size_t rest;
	int nr_part;

	note_transfer(iov, nr_iov, offset);
	if (begin(call))
		return -1;
	allowed = allowed_bytes(sum(iov, nr_iov), offset);
	if (allowed <= 0)
		return allowed;
	rest = fcntl(fd, F_GETFL) & O_DIRECT ? (size_t)allowed % THINP_BLOCK_SIZE : 0;
	nr_part = shorten(part, iov, (size_t)allowed - rest);
	moved = call == IO_SYS_PREADV ? tp_file_sys_libc.preadv(fd, part, nr_part, offset)
				      : tp_file_sys_libc.pwritev(fd, part, nr_part, offset);
	return moved == allowed - (ssize_t)rest ? allowed : moved;
}

static ssize_t scripted_preadv(int fd, const struct iovec *iov, int nr_iov, off_t offset)
{
	return move(IO_SYS_PREADV, fd, iov, nr_iov, offset);
}

static ssize_t scripted_pwritev(int fd, const struct iovec *iov, int nr_iov, off_t offset)
{
	return move(IO_SYS_PWRITEV, fd, iov, nr_iov, offset);
}

static int scripted_fdatasync(int fd)
{
	return begin(IO_SYS_FDATASYNC) ? -1 : tp_file_sys_libc.fdatasync(fd);
}

static int scripted_fsync(int fd)
{
	return begin(IO_SYS_FSYNC) ? -1 : tp_file_sys_libc.fsync(fd);
}

static int scripted_fallocate(int fd, int mode, off_t offset, off_t nbytes)
{
	return begin(IO_SYS_FALLOCATE) ? -1 : tp_file_sys_libc.fallocate(fd, mode, offset, nbytes);
}

static int scripted_ftruncate(int fd, off_t nbytes)
{
	return begin(IO_SYS_FTRUNCATE) ? -1 : tp_file_sys_libc.ftruncate(fd, nbytes);
}

/* What a block device would answer, in the place of a file that is claimed to be one. */
static int device_ioctl(int fd, unsigned long request, void *arg)
{
	const uint64_t *range = arg;
	struct stat st;

	if (tp_file_sys_libc.fstat(fd, &st))
		return -1;
	if (request == BLKGETSIZE64)
		*(uint64_t *)arg = (uint64_t)st.st_size;
	else if (request == BLKSSZGET)
		*(int *)arg = 512;
	else if (request == BLKDISCARD)
		return tp_file_sys_libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)range[0],
						  (off_t)range[1]);
	return 0;
}

static int scripted_ioctl(int fd, unsigned long request, void *arg)
{
	bool is_pretended;
	int sector_bytes;
	int r;

	if (begin(IO_SYS_IOCTL))
		return -1;
	pthread_mutex_lock(&lock);
	is_pretended = S_ISBLK(script.kind);
	sector_bytes = script.sector_bytes;
	pthread_mutex_unlock(&lock);
	r = is_pretended ? device_ioctl(fd, request, arg) : tp_file_sys_libc.ioctl(fd, request, arg);
	if (!r && request == BLKSSZGET && sector_bytes)
		*(int *)arg = sector_bytes;
	return r;
}

static pid_t scripted_getpid(void)
{
	bool is_child;

	pthread_mutex_lock(&lock);
	is_child = script.is_child;
	pthread_mutex_unlock(&lock);
	return tp_file_sys_libc.getpid() + is_child;
}

const struct tp_file_sys io_sys_scripted = {
	.open = scripted_open,
	.close = scripted_close,
	.unlink = scripted_unlink,
	.fstat = scripted_fstat,
	.stat = scripted_stat,
	.lseek = scripted_lseek,
	.lock = scripted_lock,
	.set_flags = scripted_set_flags,
	.preadv = scripted_preadv,
	.pwritev = scripted_pwritev,
	.fdatasync = scripted_fdatasync,
	.fsync = scripted_fsync,
	.fallocate = scripted_fallocate,
	.ftruncate = scripted_ftruncate,
	.ioctl = scripted_ioctl,
	.getpid = scripted_getpid,
};
