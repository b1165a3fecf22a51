/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * image_of_pool.c - makes the metadata of a pool for the benchmarks of the tools: bench_image KIND FILE
 *
 *   scattered   one device, 8,000,000 mappings in a row to data blocks in no order
 *   snapshots   a device of 1,000,000 mappings and 63 snapshots, in each of which one in a hundred is its own
 *   range       one device, 20,000,000 mappings in a row to data blocks in a row
 */
#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/pool.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
	SCATTERED = 8000000,
	SHARED = 1000000,
	OWN = SHARED / 100,
	NR_SNAPSHOTS = 63,
	RANGE = 20000000,
	OF_A_COMMIT = 500000
};

struct kind {
	const char *name;
	uint64_t nr_metadata_blocks;
	uint64_t nr_data_blocks;
	int (*fill)(struct thinp_pool *pool);
};

static int next_transaction(struct thinp_pool *pool)
{
	int r = thinp_pool_commit(pool);

	return r ? r : thinp_pool_begin(pool);
}

/* 5000011 is a prime number: each data block has its turn once. */
static int fill_scattered(struct thinp_pool *pool)
{
	uint64_t first;
	int r = thinp_pool_create_device(pool, 1);

	if (!r)
		r = thinp_pool_alloc_data(pool, SCATTERED, &first, NULL);
	for (uint64_t i = 0; i < SCATTERED && !r; i++) {
		r = thinp_pool_insert(pool, 1, i, first + i * 5000011 % SCATTERED);
		if (!r && i % OF_A_COMMIT == OF_A_COMMIT - 1)
			r = next_transaction(pool);
	}
	return r;
}

/* Takes data blocks and maps them, a part in each commit. */
static int map_run(struct thinp_pool *pool, uint64_t dev_id, uint64_t begin, uint64_t end)
{
	int r = 0;

	while (begin < end && !r) {
		uint64_t length = end - begin < OF_A_COMMIT ? end - begin : OF_A_COMMIT, first, nr_done = 0;

		r = thinp_pool_alloc_data(pool, length, &first, &length);
		if (!r)
			r = thinp_pool_insert_run(pool, dev_id, begin, first, length, &nr_done);
		if (!r && nr_done < length)
			r = thinp_pool_dec_data(pool, first + nr_done, length - nr_done);
		if (!r)
			r = next_transaction(pool);
		begin += nr_done;
	}
	return r;
}

static int fill_snapshots(struct thinp_pool *pool)
{
	int r = thinp_pool_create_device(pool, 1);

	if (!r)
		r = map_run(pool, 1, 0, SHARED);
	for (uint64_t i = 1; i <= NR_SNAPSHOTS && !r; i++) {
		r = thinp_pool_create_snapshot(pool, 1 + i, 1);
		if (!r)
			r = map_run(pool, 1 + i, i * OWN, (i + 1) * OWN);
	}
	return r;
}

static int fill_range(struct thinp_pool *pool)
{
	int r = thinp_pool_create_device(pool, 1);

	return r ? r : map_run(pool, 1, 0, RANGE);
}

static const struct kind kinds[] = {
	{"scattered", 40000, SCATTERED + 1000, fill_scattered},
	{"snapshots", 20000, 3 * SHARED, fill_snapshots},
	{"range", 100000, RANGE + 1000, fill_range},
};

static int make(struct thinp_io *io, const struct kind *kind)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts),
					     .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE,
					     .cache_blocks = 131072,
					     .nr_data_blocks = kind->nr_data_blocks};
	struct thinp_pool *pool = NULL;
	int r = thinp_pool_open(io, &opts, &pool);

	if (!r)
		r = thinp_pool_begin(pool);
	if (!r)
		r = kind->fill(pool);
	if (!r)
		r = thinp_pool_commit(pool);
	thinp_pool_close(pool);
	return r;
}

static int make_file(const char *path, const struct kind *kind)
{
	const struct thinp_io_opts opts = {
		.size = sizeof(opts), .flags = THINP_IO_CREATE, .nr_blocks = kind->nr_metadata_blocks};
	struct thinp_io *io;
	int r = thinp_io_open_file(path, &opts, &io);

	if (r)
		return r;
	r = make(io, kind);
	thinp_io_close(io);
	return r;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 3 && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(argv[1], kinds[i].name)) {
			struct thinp_error_info info = {.size = sizeof(info)};
			int r = make_file(argv[2], &kinds[i]);

			thinp_error_last(&info);
			if (r)
				fprintf(stderr, "%s: %s, %s\n", argv[2], thinp_strerror(r), info.message);
			return r ? 1 : 0;
		}
	fprintf(stderr, "usage: bench_image scattered|snapshots|range FILE\n");
	return 2;
}
