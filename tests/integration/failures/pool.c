/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/pool.c - a pool that a kernel wrote.
 */
#include "play.h"

#include <thinp/pool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int open_pool(struct world *w, struct thinp_pool **pool)
{
	/* so small that most is read anew */
	struct thinp_pool_opts opts = {.size = sizeof(opts), .cache_blocks = 2, .allocator = &w->alloc.table};

	return thinp_pool_open(w->io, &opts, pool);
}

static int open_and_close(struct world *w)
{
	struct thinp_pool *pool = NULL;
	int r = open_pool(w, &pool);

	thinp_pool_close(pool);
	return r;
}

/* A device in memory, which is made and closed with the pool. */
static int open_path_and_close(struct world *w)
{
	struct thinp_pool_opts opts = {.size = sizeof(opts),
				       .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE,
				       .cache_blocks = PLAY_CACHE,
				       .allocator = &w->alloc.table,
				       .nr_metadata_blocks = WORLD_BLOCKS};
	struct thinp_pool *pool = NULL;
	int r = thinp_pool_open_path("memory:", &opts, &pool);

	thinp_pool_close(pool);
	return r;
}

static void setup(struct world *w)
{
	struct thinp_pool *pool;

	assert_int_equal(open_pool(w, &pool), 0);
	w->own = pool;
}

static void close_pool(struct world *w)
{
	thinp_pool_close(w->own);
}

struct devices {
	uint64_t ids[16];
	size_t nr;
};

static int note_device(void *ctx, const struct thinp_device_info *device)
{
	struct devices *devices = ctx;

	if (devices->nr < 16)
		devices->ids[devices->nr++] = device->dev_id;
	return 0;
}

static int note_run(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	*(uint64_t *)ctx += runs[nr_runs - 1].length;
	return 0;
}

static int note_count(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	*(uint64_t *)ctx += (end - begin) * count;
	return 0;
}

static int read_device(struct thinp_pool *pool, uint64_t dev_id)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	uint64_t total = 0;
	int r = thinp_pool_get_device(pool, dev_id, &info);

	return r ? r : thinp_pool_walk_runs(pool, dev_id, 0, UINT64_MAX, note_run, &total);
}

static int read_counts(struct thinp_pool *pool, int space, uint64_t nr_blocks)
{
	uint64_t total = 0;
	uint32_t count;
	int r = thinp_pool_get_count(pool, space, 0, &count);

	if (!r)
		r = thinp_pool_walk_counts(pool, space, 0, nr_blocks, note_count, &total);
	if (!r)
		assert_true(total > 0);
	return r;
}

static int read_all(struct world *w)
{
	struct thinp_pool *pool = w->own;
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct devices devices = {.nr = 0};
	int r = thinp_pool_walk_devices(pool, note_device, &devices);

	if (!r)
		assert_true(devices.nr > 0);
	thinp_pool_get_info(pool, &info);
	for (size_t i = 0; i < devices.nr && i < 2 && !r; i++)
		r = read_device(pool, devices.ids[i]);
	if (!r)
		r = read_counts(pool, THINP_POOL_DATA, info.nr_data_blocks);
	return r ? r : read_counts(pool, THINP_POOL_METADATA, info.nr_metadata_blocks);
}

#define FIXTURE "kernel-heldroot.meta"

static const struct scenario opening = {.name = "opening a pool", .fixture = FIXTURE, .attempt = open_and_close};
static const struct scenario by_path = {
	.name = "opening a pool by its path", .attempt = open_path_and_close, .large = PLAY_LARGE};
static const struct scenario reading = {
	.name = "reading a pool", .fixture = FIXTURE, .setup = setup, .attempt = read_all, .close = close_pool};

const struct covered failures_of_pool[] = {
	{"thinp_pool_open", &opening},         {"thinp_pool_open_path", &by_path},
	{"thinp_pool_walk_devices", &reading}, {"thinp_pool_get_device", &reading},
	{"thinp_pool_walk_runs", &reading},    {"thinp_pool_get_count", &reading},
	{"thinp_pool_walk_counts", &reading},  {NULL, NULL},
};
