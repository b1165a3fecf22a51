/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store_maps_bench.c - data maps of up to 2^32 blocks: opening, taking blocks, changing counts in no order, and the memory that
 * it takes with a cache of 64 MiB.
 *
 * In a file in $THINP_BENCH_DIR or the current directory; of a map of 2^32 blocks it becomes more than 1 GiB large.
 */
#include "bench.h"
#include "process.h"

#include <thinp/io.h>
#include <thinp/space_map.h>
#include <thinp/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NR_CHANGES = 1000, BLOCKS_OF_A_BITMAP = 16320 };

struct maps {
	char path[256];
	uint64_t nr; /* blocks of the data map; 0: there is none */
	uint64_t next;
	struct thinp_io *io;
	struct thinp_store *store;
};

static struct maps maps;

static uint64_t scatter(uint64_t i)
{
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9;
	i = (i ^ i >> 27) * 0x94d049bb133111eb;
	return i ^ i >> 31;
}

static void close_store(void)
{
	thinp_store_close(maps.store);
	thinp_io_close(maps.io);
	maps.store = NULL;
	maps.io = NULL;
}

static void forget(void)
{
	close_store();
	if (maps.nr)
		unlink(maps.path);
	maps.nr = 0;
}

static int open_store(void)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts),
					      .flags = THINP_IO_CREATE,
					      .nr_blocks = maps.nr / BLOCKS_OF_A_BITMAP * 5 / 4 + 32768};
	const struct thinp_store_opts opts = {.size = sizeof(opts), .flags = THINP_STORE_CREATE};
	int r = thinp_io_open_file(maps.path, &io_opts, &maps.io);

	return r ? r : thinp_store_open(maps.io, &opts, &maps.store);
}

static int make(uint64_t nr)
{
	const char *dir = getenv("THINP_BENCH_DIR");
	int r;

	bench_at_end(forget);
	forget();
	snprintf(maps.path, sizeof(maps.path), "%s/bench_maps.%d", dir ? dir : ".", (int)getpid());
	unlink(maps.path);
	maps.nr = nr;
	r = open_store();
	if (!r)
		r = thinp_store_begin(maps.store);
	if (!r)
		r = thinp_store_add_map(maps.store, 0, nr);
	return r ? r : thinp_store_commit(maps.store);
}

static void *setup_map(struct bench_run *run)
{
	uint64_t nr = (uint64_t)bench_size(run);

	if (maps.nr != nr && make(nr))
		bench_skip(run, "cannot be made");
	return &maps;
}

static void tell(struct bench_run *run, int r, uint64_t nr_items)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	if (thinp_store_map(maps.store, 0))
		thinp_sm_get_info(thinp_store_map(maps.store, 0), &info);
	bench_show(run, "mib_of_the_map", (double)info.bytes / (1 << 20));
	bench_show(run, "peak_mib", (double)process_peak_bytes() / (1 << 20));
	bench_count_items(run, nr_items);
	if (r)
		bench_skip(run, "failed");
}

static void make_map(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	(void)ctx;
	(void)nr_times; /* once */
	tell(run, make((uint64_t)bench_size(run)), 1);
}

static void reopen(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	int r = 0;

	(void)ctx;
	while (nr_times-- && !r) {
		close_store();
		r = open_store();
	}
	tell(run, r, 1);
}

/* One block at a time, and a commit. */
static void take(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct thinp_sm *map = thinp_store_map(maps.store, 0);
	int r = thinp_store_begin(maps.store);
	uint64_t block;

	(void)ctx;
	(void)nr_times;
	for (int i = 0; i < NR_CHANGES && !r; i++)
		r = thinp_sm_take(map, 1, &block, NULL);
	tell(run, r ? r : thinp_store_commit(maps.store), NR_CHANGES);
}

/* Of blocks far from each other: almost each is in a bitmap of its own. */
static void count(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct thinp_sm *map = thinp_store_map(maps.store, 0);
	int r = thinp_store_begin(maps.store);

	(void)ctx;
	(void)nr_times;
	for (int i = 0; i < NR_CHANGES && !r; i++)
		r = thinp_sm_inc(map, scatter(++maps.next) % maps.nr, 1);
	tell(run, r ? r : thinp_store_commit(maps.store), NR_CHANGES);
}

static const int64_t sizes[] = {INT64_C(1) << 16, INT64_C(1) << 20, INT64_C(1) << 24,
				INT64_C(1) << 28, INT64_C(1) << 32, 0};

#define ROW(NAME, SETUP, WORK, TIMES)                                                                                  \
	{                                                                                                              \
		.name = "scale/" NAME, .setup = (SETUP), .work = (WORK), .sizes = sizes, .in_microseconds = true,      \
		.nr_times = (TIMES)                                                                                    \
	}

const struct bench benches[] = {
	ROW("map_make", NULL, make_map, 1),
	ROW("map_open", setup_map, reopen, 5),
	ROW("map_take", setup_map, take, 1),
	ROW("map_count_random", setup_map, count, 1),
	{.name = NULL},
};
