/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/io.c - the handle: checks what goes to a back-end and makes sense of what comes back.
 *
 * Invariants
 *   1. A back-end sees only batches that are valid as a whole: ranges inside the device, aligned buffers, nothing that
 *      changes a read-only device.
 *   2. No failure is lost. Results are preset to a value that no back-end uses, so an operation that the back-end
 *      forgot is an error; a failed batch whose operations all look well has its failure written on every one of them.
 *   3. Callers see only codes of enum thinp_err. Wherever one is returned, the thread's detail record holds the same.
 * Locks
 *   None: the handle does not change after it was made.
 */
#include <thinp/io.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "io/backend.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct thinp_io {
	struct thinp_io_backend backend;
	void *ctx;
	struct thinp_allocator allocator;
	bool is_read_only;
};

/* No code and no errno: what an operation bears until the back-end has set its result. */
#define NOT_SET INT32_MIN

/* The largest errno that a system call can return on Linux. */
#define MAX_ERRNO 4095

static bool is_errno(int r)
{
	return r < 0 && r >= -MAX_ERRNO;
}

static bool is_code(int r)
{
	return strcmp(thinp_err_name(r), "THINP_E?") != 0;
}

/* The code for whatever a back-end returned. */
static int translate(int r)
{
	if (is_code(r))
		return r;
	return is_errno(r) ? tp_err_from_errno(-r) : THINP_EIO;
}

/* Only of operations that are valid. */
static const char *const kind_names[] = {
	[THINP_IO_READ] = "read",
	[THINP_IO_WRITE] = "write",
	[THINP_IO_DISCARD] = "discard",
	[THINP_IO_FLUSH] = "flush",
};

/* Does the thread's record already tell of this failure? A back-end that writes it knows more than we do. */
static bool is_told(int code, uint64_t begin, uint64_t nr_blocks)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	if (info.code != code)
		return false;
	return nr_blocks ? info.block - begin < nr_blocks : info.block == THINP_NO_BLOCK;
}

/* "read of 3 blocks", or "flush". */
static const char *describe(const struct thinp_io_op *op, char *text, size_t size)
{
	if (op->kind == THINP_IO_FLUSH)
		return kind_names[op->kind];
	snprintf(text, size, "%s of %" PRIu64 " blocks", kind_names[op->kind], op->nr_blocks);
	return text;
}

/* Turns what a failed operation got from a back-end into a code, and sees to it that the detail record tells of it. */
static int report_op(const struct thinp_io *io, const struct thinp_io_op *op)
{
	bool is_flush = op->kind == THINP_IO_FLUSH;
	uint64_t block = is_flush ? THINP_NO_BLOCK : op->block;
	const char *name = io->backend.name;
	int r = op->result;
	char text[48];
	const char *what = describe(op, text, sizeof(text));

	if (r == NOT_SET)
		return tp_fail(THINP_EIO, block, "%s: nothing was said of what became of a %s", name, what);
	if (is_errno(r))
		return tp_fail_os(-r, block, "%s: %s failed", name, what);
	if (!is_code(r))
		return tp_fail(THINP_EIO, block, "%s: %s gave %d, which is no error code", name, what, r);
	if (!is_told(r, block, is_flush ? 0 : op->nr_blocks))
		return tp_fail(r, block, "%s: %s failed: %s", name, what, thinp_strerror(r));
	return r;
}

/* The same for what is not part of a batch. */
static int report(const struct thinp_io *io, const char *what, int r)
{
	if (is_errno(r))
		return tp_fail_os(-r, THINP_NO_BLOCK, "%s: %s failed", io->backend.name, what);
	if (!is_code(r))
		return tp_fail(THINP_EIO, THINP_NO_BLOCK, "%s: %s gave %d, which is no error code", io->backend.name,
			       what, r);
	if (!is_told(r, 0, 0))
		return tp_fail(r, THINP_NO_BLOCK, "%s: %s failed: %s", io->backend.name, what, thinp_strerror(r));
	return r;
}

static int take_backend(struct thinp_io_backend *dst, const struct thinp_io_backend *src)
{
	int r = tp_opts_take(dst, sizeof(*dst), src);

	if (r)
		return r;
	if (!dst->get_size || !dst->batch)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a back-end needs get_size and batch");
	if (!dst->name)
		dst->name = "device";
	return 0;
}

int thinp_io_create(const struct thinp_io_backend *backend, void *ctx, const struct thinp_io_opts *opts,
		    struct thinp_io **io)
{
	struct thinp_io_backend table;
	struct thinp_io_opts taken;
	struct thinp_allocator allocator;
	struct thinp_io *made;
	int r;

	r = take_backend(&table, backend);
	if (!r)
		r = tp_io_opts_take(&taken, &allocator, opts);
	if (r)
		return r;
	made = tp_alloc_zeroed(&allocator, 1, sizeof(*made));
	if (!made)
		return THINP_ENOMEM;
	made->backend = table;
	made->ctx = ctx;
	made->allocator = allocator;
	made->is_read_only = taken.flags & THINP_IO_READ_ONLY;
	*io = made;
	return 0;
}

void thinp_io_close(struct thinp_io *io)
{
	struct thinp_allocator allocator;

	if (!io)
		return;
	if (io->backend.close)
		io->backend.close(io->ctx);
	allocator = io->allocator;
	tp_free(&allocator, io, sizeof(*io));
}

bool thinp_io_is_read_only(const struct thinp_io *io)
{
	return io->is_read_only;
}

const char *thinp_io_backend_name(const struct thinp_io *io)
{
	return io->backend.name;
}

int thinp_io_size(struct thinp_io *io, uint64_t *nr_blocks)
{
	uint64_t size = 0;
	int r = io->backend.get_size(io->ctx, &size);

	if (r)
		return report(io, "asking for the size", r);
	/* Past the limit blocks have no byte offset, so nobody can reach them. */
	*nr_blocks = size < TP_IO_MAX_BLOCKS ? size : TP_IO_MAX_BLOCKS;
	return 0;
}

static int refuse(const struct thinp_io *io, const struct thinp_io_op *op, int code, const char *why)
{
	char text[48];

	return tp_fail(code, op->block, "%s: %s %s", io->backend.name, describe(op, text, sizeof(text)), why);
}

static bool is_buffer_usable(const struct thinp_io_op *op)
{
	return op->buffer && (uintptr_t)op->buffer % THINP_BLOCK_SIZE == 0 &&
	       op->nr_blocks <= SIZE_MAX / THINP_BLOCK_SIZE;
}

static int check_op(const struct thinp_io *io, const struct thinp_io_op *op, uint64_t size)
{
	bool has_buffer = op->kind == THINP_IO_READ || op->kind == THINP_IO_WRITE;

	if (op->kind == THINP_IO_FLUSH)
		return 0;
	if (!has_buffer && op->kind != THINP_IO_DISCARD)
		return tp_fail(THINP_EINVAL, op->block, "%s: %u is no kind of operation", io->backend.name,
			       (unsigned int)op->kind);
	if (io->is_read_only && op->kind != THINP_IO_READ)
		return refuse(io, op, THINP_EROFS, "on a read-only device");
	if (!op->nr_blocks)
		return refuse(io, op, THINP_EINVAL, "makes no sense");
	if (op->block > size || op->nr_blocks > size - op->block)
		return refuse(io, op, THINP_ERANGE, "reaches beyond the end of the device");
	if (has_buffer && !is_buffer_usable(op))
		return refuse(io, op, THINP_EINVAL, "needs a buffer aligned to 4096");
	return 0;
}

/* Nothing was done, and the results say so: one operation bears the reason, and the others were not carried out. */
static int refuse_batch(struct thinp_io_op *ops, size_t nr_ops, size_t at, int r)
{
	tp_io_set_results(ops, nr_ops, THINP_ECANCELED);
	ops[at].result = r;
	return r;
}

/* Nothing is done before all is known to be valid. */
static int check_batch(struct thinp_io *io, struct thinp_io_op *ops, size_t nr_ops)
{
	uint64_t size = 0;
	int r;

	if (!ops)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "%s: a batch of %zu operations without an array",
			       io->backend.name, nr_ops);
	r = thinp_io_size(io, &size);
	if (r)
		return refuse_batch(ops, nr_ops, 0, r);
	for (size_t i = 0; i < nr_ops; i++) {
		r = check_op(io, &ops[i], size);
		if (r)
			return refuse_batch(ops, nr_ops, i, r);
	}
	return 0;
}

static bool has_failure(const struct thinp_io_op *ops, size_t nr_ops)
{
	for (size_t i = 0; i < nr_ops; i++)
		if (ops[i].result && ops[i].result != NOT_SET && ops[i].result != THINP_ECANCELED)
			return true;
	return false;
}

/* Linked submissions give the system's number for what was cancelled. */
static void unify_cancelled(struct thinp_io_op *ops, size_t nr_ops)
{
	for (size_t i = 0; i < nr_ops; i++)
		if (ops[i].result == -ECANCELED)
			ops[i].result = THINP_ECANCELED;
}

/* Makes return value and results agree before they are translated. */
static void reconcile(struct thinp_io_op *ops, size_t nr_ops, int r)
{
	if (!r)
		return; /* who is still NOT_SET was forgotten, and fails for that */
	if (!has_failure(ops, nr_ops)) {
		tp_io_set_results(ops, nr_ops, r); /* it failed as a whole: nothing it says can be trusted */
		return;
	}
	for (size_t i = 0; i < nr_ops; i++)
		if (ops[i].result == NOT_SET)
			ops[i].result = THINP_ECANCELED; /* it stopped at its first failure */
}

static int settle(const struct thinp_io *io, struct thinp_io_op *ops, size_t nr_ops, int r)
{
	struct thinp_io_op *failed;

	unify_cancelled(ops, nr_ops);
	reconcile(ops, nr_ops, r);
	failed = tp_io_first_failure(ops, nr_ops);
	if (!failed)
		return 0;
	r = report_op(io, failed);
	for (size_t i = 0; i < nr_ops; i++)
		ops[i].result = translate(ops[i].result);
	return r;
}

int thinp_io_batch(struct thinp_io *io, struct thinp_io_op *ops, size_t nr_ops)
{
	int r;

	if (!nr_ops)
		return 0;
	r = check_batch(io, ops, nr_ops);
	if (r)
		return r;
	tp_io_set_results(ops, nr_ops, NOT_SET);
	return settle(io, ops, nr_ops, io->backend.batch(io->ctx, ops, nr_ops));
}

int thinp_io_read(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, void *buffer)
{
	struct thinp_io_op op = {.kind = THINP_IO_READ, .block = block, .nr_blocks = nr_blocks, .buffer = buffer};

	return thinp_io_batch(io, &op, 1);
}

int thinp_io_write(struct thinp_io *io, thinp_block_t block, uint64_t nr_blocks, const void *buffer)
{
	/* the operation has one pointer for both directions; WRITE only reads through it */
	struct thinp_io_op op = {
		.kind = THINP_IO_WRITE, .block = block, .nr_blocks = nr_blocks, .buffer = (void *)(uintptr_t)buffer};

	return thinp_io_batch(io, &op, 1);
}

int thinp_io_flush(struct thinp_io *io)
{
	struct thinp_io_op op = {.kind = THINP_IO_FLUSH};

	return thinp_io_batch(io, &op, 1);
}

static int register_buffers(struct thinp_io *io, const struct thinp_io_buffer *buffers, size_t nr_buffers)
{
	int r = io->backend.register_buffers ? io->backend.register_buffers(io->ctx, buffers, nr_buffers) : 0;

	return r ? report(io, nr_buffers ? "registering buffers" : "unregistering buffers", r) : 0;
}

int thinp_io_register_buffers(struct thinp_io *io, const struct thinp_io_buffer *buffers, size_t nr_buffers)
{
	if (nr_buffers && !buffers)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "%s: %zu buffers without an array", io->backend.name,
			       nr_buffers);
	for (size_t i = 0; i < nr_buffers; i++)
		if (!buffers[i].begin || !buffers[i].nbytes)
			return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "%s: buffer %zu has no address or no size",
				       io->backend.name, i);
	return register_buffers(io, buffers, nr_buffers);
}

int thinp_io_unregister_buffers(struct thinp_io *io)
{
	return register_buffers(io, NULL, 0);
}

int thinp_io_resize(struct thinp_io *io, uint64_t nr_blocks)
{
	int r;

	if (io->is_read_only)
		return tp_fail(THINP_EROFS, THINP_NO_BLOCK, "%s: changing the size of a read-only device",
			       io->backend.name);
	if (!io->backend.resize)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "%s: this device cannot change its size",
			       io->backend.name);
	if (nr_blocks > TP_IO_MAX_BLOCKS)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "%s: a size of %" PRIu64 " blocks is beyond the limit",
			       io->backend.name, nr_blocks);
	r = io->backend.resize(io->ctx, nr_blocks);
	return r ? report(io, "changing the size", r) : 0;
}
