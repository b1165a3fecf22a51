/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io_bench.c - how long a commit takes, and the read of a block, through each back-end, on one file.
 *
 * The commit is what a store does: 120 blocks, flush, superblock, flush, as one batch. The blocks are neighbours, or
 * scattered over the file, each time elsewhere. Their memory is in no order, as in a cache. The file was written before,
 * and lies in the current directory or in $THINP_BENCH_DIR: it should be on a real disk. Block devices are loop devices
 * over that file, past the page cache, and need root.
 */
#include "bench.h"
#include "support/loop_device.h"

#include <thinp/error.h>
#include <thinp/io.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	SIZE = 16384, /* blocks of the file */
	NR_BLOCKS = 120,
	NR_OPS = NR_BLOCKS + 3,
	NR_REPETITIONS = 50,
};

struct variant {
	const char *back_end; /* for thinp_io_open() */
	uint32_t direct;
	bool is_device;
	bool is_registered; /* the buffers are */
};

struct fixture {
	struct variant variant;
	struct loop_device loop;
	int file; /* under the loop device */
	struct thinp_io *io;
	uint8_t *memory;
	struct thinp_io_op ops[NR_OPS];
};

/* A small generator, which goes on from repetition to repetition. */
static uint64_t next_random(void)
{
	static uint64_t seed = 20140817;

	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* --- the file --- */

static const char *file_path(void)
{
	static char path[PATH_MAX];
	const char *dir = getenv("THINP_BENCH_DIR");

	snprintf(path, sizeof(path), "%s/thinp-io-bench-%ld", dir ? dir : ".", (long)getpid());
	return path;
}

static void remove_file(void)
{
	unlink(file_path());
}

/* The path of the file, which is made when it is asked for first; NULL when it cannot be. */
static const char *written_file(void)
{
	static bool is_there;
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_CREATE, .nr_blocks = SIZE};
	size_t nbytes = (size_t)SIZE * THINP_BLOCK_SIZE;
	void *blocks = NULL;
	struct thinp_io *io = NULL;
	int r = 0;

	if (is_there)
		return file_path();
	blocks = aligned_alloc(THINP_BLOCK_SIZE, nbytes);
	if (!blocks)
		return NULL;
	memset(blocks, 0x5a, nbytes);
	r = thinp_io_open_file(file_path(), &opts, &io);
	if (!r)
		r = thinp_io_write(io, 0, SIZE, blocks);
	if (!r)
		r = thinp_io_flush(io);
	thinp_io_close(io);
	free(blocks);
	atexit(remove_file);
	is_there = r == 0;
	return is_there ? file_path() : NULL;
}

/* --- set up --- */

/* The path to open, or NULL with a reason. */
static const char *find_path(struct fixture *f, const char **why)
{
	const char *path = written_file();

	if (!path)
		*why = "the file cannot be made";
	if (!path || !f->variant.is_device)
		return path;
	f->file = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (f->file < 0)
		*why = "the file cannot be opened past the page cache";
	else
		*why = loop_device_make(&f->loop, f->file, 512, true);
	return *why ? NULL : f->loop.path;
}

static int open_io(struct fixture *f, const char *path)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .direct = f->variant.direct};
	struct thinp_io_buffer buffer = {f->memory, (size_t)NR_OPS * THINP_BLOCK_SIZE};
	char name[PATH_MAX + 16];
	int r;

	snprintf(name, sizeof(name), "%s:%s", f->variant.back_end, path);
	r = thinp_io_open(name, &opts, &f->io);
	return !r && f->variant.is_registered ? thinp_io_register_buffers(f->io, &buffer, 1) : r;
}

static void *setup(struct bench_run *run)
{
	static struct thinp_error_info info = {.size = sizeof(info)};
	struct fixture *f = calloc(1, sizeof(*f));
	const char *why = "no memory";
	const char *path = NULL;

	if (!f)
		abort();
	f->variant = *(const struct variant *)bench_arg(run);
	f->file = f->loop.fd = -1;
	f->memory = aligned_alloc(THINP_BLOCK_SIZE, (size_t)NR_OPS * THINP_BLOCK_SIZE);
	if (f->memory) {
		memset(f->memory, 0xa5, (size_t)NR_OPS * THINP_BLOCK_SIZE);
		path = find_path(f, &why);
	}
	if (!path) {
		bench_skip(run, why);
	} else if (open_io(f, path)) {
		thinp_error_last(&info);
		bench_skip(run, info.message);
	}
	return f;
}

static void teardown(void *ctx)
{
	struct fixture *f = ctx;

	thinp_io_close(f->io);
	if (f->loop.fd >= 0)
		loop_device_remove(&f->loop);
	if (f->file >= 0)
		close(f->file);
	free(f->memory);
	free(f);
}

/* --- the work --- */

static void *piece(const struct fixture *f, size_t i)
{
	return f->memory + i * 7 % NR_OPS * THINP_BLOCK_SIZE; /* 7 and 123 have no common factor */
}

static void prepare_commit(struct fixture *f, bool is_scattered)
{
	thinp_block_t begin = 1 + next_random() % (SIZE - NR_BLOCKS - 1);

	for (size_t i = 0; i < NR_BLOCKS; i++) {
		/* one block in each of so many parts of the file, so that no two are the same */
		thinp_block_t scattered = 1 + i * (SIZE / NR_BLOCKS) + next_random() % (SIZE / NR_BLOCKS - 1);

		f->ops[i] = (struct thinp_io_op){
			.kind = THINP_IO_WRITE,
			.block = is_scattered ? scattered : begin + i,
			.nr_blocks = 1,
			.buffer = piece(f, i),
		};
	}
	f->ops[NR_BLOCKS] = (struct thinp_io_op){.kind = THINP_IO_FLUSH};
	f->ops[NR_BLOCKS + 1] =
		(struct thinp_io_op){.kind = THINP_IO_WRITE, .block = 0, .nr_blocks = 1, .buffer = piece(f, NR_BLOCKS)};
	f->ops[NR_BLOCKS + 2] = (struct thinp_io_op){.kind = THINP_IO_FLUSH};
}

static void commit(struct bench_run *run, struct fixture *f, uint64_t nr_times, bool is_scattered)
{
	while (nr_times--) {
		bench_pause(run);
		prepare_commit(f, is_scattered);
		bench_resume(run);
		if (thinp_io_batch(f->io, f->ops, NR_OPS)) {
			bench_skip(run, "a commit failed");
			return;
		}
	}
	bench_count_items(run, NR_BLOCKS + 1);
}

static void commit_neighbours(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	commit(run, ctx, nr_times, false);
}

static void commit_scattered(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	commit(run, ctx, nr_times, true);
}

static void read_one(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;

	while (nr_times--) {
		if (thinp_io_read(f->io, next_random() % SIZE, 1, f->memory)) {
			bench_skip(run, "a read failed");
			return;
		}
	}
	bench_count_items(run, 1);
}

/* --- the table --- */

static const struct variant file = {.back_end = "file", .direct = THINP_IO_DIRECT_OFF};
static const struct variant file_direct = {.back_end = "file", .direct = THINP_IO_DIRECT_ON};
static const struct variant device = {.back_end = "device", .is_device = true};
static const struct variant uring = {.back_end = "uring", .direct = THINP_IO_DIRECT_ON};
static const struct variant registered = {.back_end = "uring", .direct = THINP_IO_DIRECT_ON, .is_registered = true};
static const struct variant uring_device = {.back_end = "uring", .is_device = true};

#define FIXTURE    .setup = setup, .teardown = teardown, .in_microseconds = true
#define NEIGHBOURS FIXTURE, .work = commit_neighbours, .nr_times = 1, .nr_repetitions = NR_REPETITIONS
#define SCATTERED  FIXTURE, .work = commit_scattered, .nr_times = 1, .nr_repetitions = NR_REPETITIONS
#define READ       FIXTURE, .work = read_one

const struct bench benches[] = {
	{.name = "io/commit_120/adjacent/file", NEIGHBOURS, .arg = &file},
	{.name = "io/commit_120/adjacent/file_direct", NEIGHBOURS, .arg = &file_direct},
	{.name = "io/commit_120/adjacent/device", NEIGHBOURS, .arg = &device},
	{.name = "io/commit_120/adjacent/uring", NEIGHBOURS, .arg = &uring},
	{.name = "io/commit_120/adjacent/uring_registered", NEIGHBOURS, .arg = &registered},
	{.name = "io/commit_120/adjacent/uring_device", NEIGHBOURS, .arg = &uring_device},
	{.name = "io/commit_120/scattered/file", SCATTERED, .arg = &file},
	{.name = "io/commit_120/scattered/file_direct", SCATTERED, .arg = &file_direct},
	{.name = "io/commit_120/scattered/device", SCATTERED, .arg = &device},
	{.name = "io/commit_120/scattered/uring", SCATTERED, .arg = &uring},
	{.name = "io/commit_120/scattered/uring_registered", SCATTERED, .arg = &registered},
	{.name = "io/commit_120/scattered/uring_device", SCATTERED, .arg = &uring_device},
	{.name = "io/read_1/random/file", READ, .arg = &file},
	{.name = "io/read_1/random/file_direct", READ, .arg = &file_direct},
	{.name = "io/read_1/random/device", READ, .arg = &device},
	{.name = "io/read_1/random/uring", READ, .arg = &uring},
	{.name = "io/read_1/random/uring_registered", READ, .arg = &registered},
	{.name = "io/read_1/random/uring_device", READ, .arg = &uring_device},
	{.name = NULL},
};
