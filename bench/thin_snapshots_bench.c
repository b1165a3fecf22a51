/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin_snapshots_bench.c - pools with many snapshots of one device: making one more, writing to one, deleting one.
 *
 * The device has 100,000 mappings; the pool is in memory. Each time of the work ends with a commit.
 */
#include "bench.h"

#include <thinp/io.h>
#include <thinp/pool.h>

#include <stdlib.h>

enum { NR_MAPPED = 100000, NR_AT_ONCE = 20, NR_WRITES = 100, OF_A_COMMIT = 500, NR_METADATA = 262144 };

struct world {
	uint64_t nr; /* snapshots, besides those of the benchmark that is running; 0: there is no pool */
	uint64_t next;
	struct thinp_io *io;
	struct thinp_pool *pool;
};

static struct world world;

static uint64_t scatter(uint64_t i)
{
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9;
	i = (i ^ i >> 27) * 0x94d049bb133111eb;
	return i ^ i >> 31;
}

static void forget(void)
{
	thinp_pool_close(world.pool);
	thinp_io_close(world.io);
	world = (struct world){0};
}

static int open_pool(void)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_METADATA};
	const struct thinp_pool_opts opts = {.size = sizeof(opts),
					     .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE,
					     .cache_blocks = 65536,
					     .nr_data_blocks = UINT64_C(1) << 24};
	int r = thinp_io_open_memory(&io_opts, &world.io);

	if (!r)
		r = thinp_pool_open(world.io, &opts, &world.pool);
	return r ? r : thinp_pool_begin(world.pool);
}

static int next_transaction(void)
{
	int r = thinp_pool_commit(world.pool);

	return r ? r : thinp_pool_begin(world.pool);
}

static int map_device(void)
{
	uint64_t first, nr_done = 0;
	int r = thinp_pool_create_device(world.pool, 0);

	if (!r)
		r = thinp_pool_alloc_data(world.pool, NR_MAPPED, &first, NULL);
	return r ? r : thinp_pool_insert_run(world.pool, 0, 0, first, NR_MAPPED, &nr_done);
}

/* New data for a random block of a device. */
static int write_block(uint64_t dev_id)
{
	uint64_t block;
	int r = thinp_pool_alloc_data(world.pool, 1, &block, NULL);

	return r ? r : thinp_pool_insert(world.pool, dev_id, scatter(++world.next) % NR_MAPPED, block);
}

/* Snapshots that were written to in one place each: an own path down its tree. */
static int make(uint64_t nr)
{
	int r;

	bench_at_end(forget);
	forget();
	r = open_pool();
	if (!r)
		r = map_device();
	for (uint64_t i = 1; i <= nr && !r; i++) {
		r = thinp_pool_create_snapshot(world.pool, i, 0);
		if (!r)
			r = write_block(i);
		if (!r && i % OF_A_COMMIT == 0)
			r = next_transaction();
	}
	world.nr = r ? 0 : nr;
	return r ? r : thinp_pool_commit(world.pool);
}

static void *setup(struct bench_run *run)
{
	uint64_t nr = (uint64_t)bench_size(run);

	if (world.nr != nr && make(nr))
		bench_skip(run, "cannot be made");
	return &world;
}

static int of_all(int (*fn)(uint64_t i))
{
	int r = thinp_pool_begin(world.pool);

	for (uint64_t i = 0; i < NR_AT_ONCE && !r; i++)
		r = fn(i);
	return r ? r : thinp_pool_commit(world.pool);
}

static int create_one(uint64_t i)
{
	return thinp_pool_create_snapshot(world.pool, world.nr + 1 + i, 0);
}

static int delete_one(uint64_t i)
{
	return thinp_pool_delete_device(world.pool, world.nr + 1 + i);
}

static int create_and_write(uint64_t i)
{
	int r = create_one(i);

	return r ? r : write_block(world.nr + 1 + i);
}

static void tell(struct bench_run *run, int r, uint64_t nr_items)
{
	bench_count_items(run, nr_items);
	if (r)
		bench_skip(run, "failed");
}

static void create(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	int r = of_all(create_one);

	(void)ctx;
	(void)nr_times; /* once */
	bench_pause(run);
	if (!r)
		r = of_all(delete_one);
	tell(run, r, NR_AT_ONCE);
	bench_resume(run);
}

static void delete_some(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	int r;

	(void)ctx;
	(void)nr_times;
	bench_pause(run);
	r = of_all(create_and_write);
	bench_resume(run);
	if (!r)
		r = of_all(delete_one);
	tell(run, r, NR_AT_ONCE);
}

/* To snapshots in no order: most have nothing of their own where it goes to. */
static void diverge(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	int r = thinp_pool_begin(world.pool);

	(void)ctx;
	(void)nr_times;
	for (int i = 0; i < NR_WRITES && !r; i++)
		r = write_block(1 + scatter(~world.next) % world.nr);
	tell(run, r ? r : thinp_pool_commit(world.pool), NR_WRITES);
}

static const int64_t sizes[] = {1, 10, 100, 1000, 10000, 0};

#define ROW(NAME, WORK)                                                                                                \
	{                                                                                                              \
		.name = "scale/" NAME, .setup = setup, .work = (WORK), .sizes = sizes, .in_microseconds = true,        \
		.nr_times = 1                                                                                          \
	}

const struct bench benches[] = {
	ROW("snapshot_create", create),
	ROW("snapshot_delete", delete_some),
	ROW("snapshot_write", diverge),
	{.name = NULL},
};
