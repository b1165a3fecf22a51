/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/io.c - devices. That each system call under a file can fail is shown in tests/unit/io, which can script
 * them; here it is memory that runs out.
 */
#include "failures.h"

#include "support/io_temp.h"
#include "support/loop_device.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { NR_BLOCKS = 32 };

/* Every kind of operation, with content that is compared. */
static int use(struct thinp_io *io, bool can_resize)
{
	uint8_t *blocks = world_blocks(6);
	struct thinp_io_buffer buffer = {.begin = blocks, .nbytes = 4096};
	struct thinp_io_op ops[] = {
		{.kind = THINP_IO_WRITE, .block = 20, .nr_blocks = 3, .buffer = blocks},
		{.kind = THINP_IO_WRITE, .block = 7, .nr_blocks = 1, .buffer = blocks},
		{.kind = THINP_IO_FLUSH},
		{.kind = THINP_IO_DISCARD, .block = 7, .nr_blocks = 1},
		{.kind = THINP_IO_READ, .block = 20, .nr_blocks = 3, .buffer = blocks + (size_t)3 * 4096},
	};
	uint64_t size = 0;
	int r = thinp_io_size(io, &size);

	memset(blocks, 0x5a, (size_t)3 * 4096);
	if (!r)
		r = thinp_io_register_buffers(io, &buffer, 1);
	if (!r)
		r = thinp_io_batch(io, ops, 5);
	if (!r)
		assert_memory_equal(blocks, blocks + (size_t)3 * 4096, (size_t)3 * 4096);
	if (!r)
		r = thinp_io_write(io, 1, 1, blocks);
	if (!r)
		r = thinp_io_read(io, 1, 1, blocks + (size_t)4 * 4096);
	if (!r)
		r = thinp_io_flush(io);
	if (!r && can_resize)
		r = thinp_io_resize(io, size + 5);
	if (!r)
		r = thinp_io_unregister_buffers(io);
	free(blocks);
	return r;
}

/* --- memory, and a table of the caller's --- */

static int use_memory(struct world *w)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = NR_BLOCKS, .allocator = &w->alloc.table};
	struct thinp_io *io = NULL;
	int r = thinp_io_open_memory(&opts, &io);

	if (!r)
		r = use(io, true);
	thinp_io_close(io);
	return r;
}

static int pass_size(void *ctx, uint64_t *nr_blocks)
{
	return thinp_io_size(ctx, nr_blocks);
}

static int pass_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	return thinp_io_batch(ctx, ops, nr_ops);
}

static int use_table(struct world *w)
{
	const struct thinp_io_backend table = {
		.size = sizeof(table), .name = "table", .get_size = pass_size, .batch = pass_batch};
	struct thinp_io_opts opts = {.size = sizeof(opts), .allocator = &w->alloc.table};
	struct thinp_io *io = NULL;
	int r = thinp_io_create(&table, w->io, &opts, &io);

	if (!r)
		r = use(io, false);
	thinp_io_close(io);
	return r;
}

static const struct scenario memory = {.name = "a device in memory", .attempt = use_memory};
static const struct scenario table = {.name = "a device of the caller's functions", .attempt = use_table};

/* --- files and block devices --- */

struct file {
	struct io_temp temp;
	struct loop_device loop;
	char path[96];
	char device[96]; /* empty: there is none */
	int fd;
};

static void make_file(struct world *w)
{
	struct file *file = calloc(1, sizeof(*file));

	assert_non_null(file);
	assert_int_equal(io_temp_make(&file->temp, "."), 0);
	strcpy(file->path, io_temp_path(&file->temp, "file"));
	file->fd = -1;
	w->own = file;
}

static void make_device(struct world *w)
{
	struct file *file;

	make_file(w);
	file = w->own;
	file->fd = open(file->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(file->fd >= 0);
	assert_int_equal(ftruncate(file->fd, (off_t)NR_BLOCKS * 4096), 0);
	if (!loop_device_make(&file->loop, file->fd, 512, false))
		strcpy(file->device, file->loop.path);
}

static void remove_file(struct world *w)
{
	struct file *file = w->own;

	if (file->device[0])
		loop_device_remove(&file->loop);
	if (file->fd >= 0)
		close(file->fd);
	io_temp_remove(&file->temp);
	free(file);
}

typedef int (*open_fn)(const char *path, const struct thinp_io_opts *opts, struct thinp_io **io);

static int use_path(struct world *w, open_fn fn, const char *path, uint32_t flags)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = flags, .allocator = &w->alloc.table};
	struct thinp_io *io = NULL;
	int r;

	if (flags)
		opts.nr_blocks = NR_BLOCKS;
	r = fn(path, &opts, &io);
	if (!r)
		r = use(io, flags);
	thinp_io_close(io);
	return r;
}

static int use_file(struct world *w)
{
	struct file *file = w->own;
	int r = use_path(w, thinp_io_open_file, file->path, THINP_IO_CREATE);

	return r ? r : use_path(w, thinp_io_open, file->path, 0);
}

static int use_device(struct world *w)
{
	struct file *file = w->own;

	if (file->device[0])
		return use_path(w, thinp_io_open_device, file->device, 0);
	print_message("no loop device can be made here\n");
	return 0;
}

static int use_uring(struct world *w)
{
	struct file *file = w->own;
	int r = use_path(w, thinp_io_open_uring, file->path, THINP_IO_CREATE);

	return r == THINP_ENOTSUP ? 0 : r; /* this system has none */
}

static const struct scenario file = {.name = "a file", .setup = make_file, .attempt = use_file, .close = remove_file};
static const struct scenario device = {
	.name = "a block device", .setup = make_device, .attempt = use_device, .close = remove_file};
static const struct scenario uring = {
	.name = "a file by io_uring", .setup = make_file, .attempt = use_uring, .close = remove_file};

const struct covered failures_of_io[] = {
	{"thinp_io_open_memory", &memory},
	{"thinp_io_resize", &memory},
	{"thinp_io_create", &table},
	{"thinp_io_size", &table},
	{"thinp_io_batch", &table},
	{"thinp_io_read", &table},
	{"thinp_io_write", &table},
	{"thinp_io_flush", &table},
	{"thinp_io_open", &file},
	{"thinp_io_open_file", &file},
	{"thinp_io_open_device", &device},
	{"thinp_io_open_uring", &uring},
	{"thinp_io_register_buffers", &uring},
	{"thinp_io_unregister_buffers", &uring},
	{NULL, NULL},
};
