/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin_counts_bench.c - counts of data blocks in no order, in pools of up to 2^32 of them, with 8 MiB for counts: what it costs to
 * stay below that.
 *
 * In a file in $THINP_BENCH_DIR or the current directory; of a pool of 2^32 blocks it becomes more than 1 GiB large. One
 * transaction changes 3000 counts, nearly each in a bitmap of its own where there are so many.
 */
#include "bench.h"
#include "process.h"

#include <thinp/io.h>
#include <thinp/pool.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NR_CHANGES = 3000, LIMIT_MIB = 8, BLOCKS_OF_A_BITMAP = 16320 };

struct world {
	char path[256];
	uint64_t nr; /* data blocks; 0: there is no pool */
	uint64_t next;
	uint64_t most_bytes; /* taken for counts */
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
	if (world.nr)
		unlink(world.path);
	world = (struct world){0};
}

static int make(uint64_t nr)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts),
					      .flags = THINP_IO_CREATE,
					      .nr_blocks = nr / BLOCKS_OF_A_BITMAP * 5 / 4 + 32768};
	const struct thinp_pool_opts opts = {.size = sizeof(opts),
					     .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE,
					     .nr_data_blocks = nr,
					     .counts_mib = LIMIT_MIB};
	const char *dir = getenv("THINP_BENCH_DIR");
	int r;

	bench_at_end(forget);
	forget();
	snprintf(world.path, sizeof(world.path), "%s/bench_counts.%d", dir ? dir : ".", (int)getpid());
	unlink(world.path);
	world.nr = nr;
	r = thinp_io_open_file(world.path, &io_opts, &world.io);
	return r ? r : thinp_pool_open(world.io, &opts, &world.pool);
}

static void *setup(struct bench_run *run)
{
	uint64_t nr = (uint64_t)bench_size(run);

	if (world.nr != nr && make(nr))
		bench_skip(run, "cannot be made");
	return &world;
}

static int count_one(void)
{
	struct thinp_sm_info info = {.size = sizeof(info)};
	int r = thinp_pool_inc_data(world.pool, scatter(++world.next) % world.nr, 1);

	if (!r)
		r = thinp_pool_get_space(world.pool, THINP_POOL_DATA, &info);
	if (!r && info.bytes > world.most_bytes)
		world.most_bytes = info.bytes;
	return r;
}

static void count(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	int r = thinp_pool_begin(world.pool);

	(void)ctx;
	(void)nr_times; /* once */
	for (int i = 0; i < NR_CHANGES && !r; i++)
		r = count_one();
	if (!r)
		r = thinp_pool_commit(world.pool);
	bench_show(run, "mib_of_the_map", (double)world.most_bytes / (1 << 20));
	bench_show(run, "peak_mib", (double)process_peak_bytes() / (1 << 20));
	bench_count_items(run, NR_CHANGES);
	if (r)
		bench_skip(run, "failed");
}

static const int64_t sizes[] = {INT64_C(1) << 16, INT64_C(1) << 20, INT64_C(1) << 24,
				INT64_C(1) << 28, INT64_C(1) << 32, 0};

const struct bench benches[] = {
	{.name = "scale/count_limited",
	 .setup = setup,
	 .work = count,
	 .sizes = sizes,
	 .in_microseconds = true,
	 .nr_times = 1},
	{.name = NULL},
};
