/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree_bench.c - how long an insert takes, in one transaction over a device and a map in memory: keys that ascend and keys in
 * no order, one by one; sorted keys as one batch; and the loader; then how long it takes to remove them again. The times are those of the whole tree, items are keys.
 */
#include "bench.h"

#include <thinp/alloc.h>
#include <thinp/btree.h>
#include <thinp/io.h>

#include <stdlib.h>
#include <string.h>

enum what {
	ASCENDING,
	RANDOM,
	BATCH_ASCENDING,
	BATCH_RANDOM,
	BATCH_INTO_TREE,
	LOAD,
	REMOVE_ASCENDING,
	REMOVE_RANDOM,
	REMOVE_RANGE,
	DEL
};

struct fixture {
	enum what what;
	size_t nr;
	struct thinp_io *io;
	struct thinp_bm *bm;
	struct thinp_memory_map *map;
	struct thinp_tm *tm;
	uint64_t *keys;
	uint64_t *values;
	thinp_block_t root;
};

static const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = 8};

/* A bijection: no key comes twice. */
static uint64_t scatter(uint64_t i)
{
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9;
	i = (i ^ i >> 27) * 0x94d049bb133111eb;
	return i ^ i >> 31;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int make_keys(struct fixture *f)
{
	bool is_scattered =
		f->what == RANDOM || f->what == BATCH_RANDOM || f->what == BATCH_INTO_TREE || f->what == REMOVE_RANDOM;

	f->keys = malloc(f->nr * sizeof(*f->keys));
	f->values = malloc(f->nr * sizeof(*f->values));
	if (!f->keys || !f->values)
		return -1;
	for (size_t i = 0; i < f->nr; i++) {
		f->keys[i] = is_scattered ? scatter(i + 1) : i;
		f->values[i] = i;
	}
	if (is_scattered && f->what != RANDOM && f->what != REMOVE_RANDOM)
		qsort(f->keys, f->nr, sizeof(*f->keys), by_number);
	return 0;
}

static int make_transaction(struct fixture *f, uint64_t nr_blocks)
{
	struct thinp_bm_opts opts = {.size = sizeof(opts), .flags = THINP_BM_HUGE_PAGES};
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = nr_blocks};
	struct thinp_alloc alloc = {.size = sizeof(alloc)};
	int r;

	opts.cache_blocks = (uint32_t)(2 * nr_blocks + 64); /* half of it may be dirty */
	r = thinp_io_open_memory(&io_opts, &f->io);
	if (!r)
		r = thinp_bm_create(f->io, &opts, &f->bm);
	if (!r)
		r = thinp_memory_map_create(nr_blocks, NULL, &f->map);
	if (r)
		return r;
	thinp_memory_map_get_alloc(f->map, &alloc);
	r = alloc.inc(alloc.ctx, 0, 1, THINP_CAUSE_USER);
	if (!r)
		r = thinp_tm_create(f->bm, &alloc, &f->tm);
	return r ? r : thinp_btree_create(f->tm, &type, &f->root);
}

static void *begin(struct bench_run *run)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->what = *(const enum what *)bench_arg(run);
	f->nr = (size_t)bench_size(run);
	if (make_keys(f) || make_transaction(f, f->nr / 60 + 200))
		bench_skip(run, "cannot be set up");
	return f;
}

static void end(void *ctx)
{
	struct fixture *f = ctx;

	if (!f)
		return;
	thinp_tm_destroy(f->tm);
	thinp_memory_map_destroy(f->map);
	thinp_bm_destroy(f->bm);
	thinp_io_close(f->io);
	free(f->keys);
	free(f->values);
	free(f);
}

static int insert_one_by_one(struct fixture *f)
{
	int r = 0;

	for (size_t i = 0; !r && i < f->nr; i++)
		r = thinp_btree_insert(f->tm, &type, f->root, &f->keys[i], &f->values[i], &f->root, NULL);
	return r;
}

static int insert_batch(struct fixture *f)
{
	return thinp_btree_insert_many(f->tm, &type, f->root, f->keys, f->values, f->nr, &f->root, NULL);
}

/* The first half of the keys, every other one, is there already. */
static int insert_every_other(struct fixture *f, size_t first)
{
	for (size_t i = first; i < f->nr; i += 2)
		f->values[i / 2] = f->keys[i];
	return thinp_btree_insert_many(f->tm, &type, f->root, f->values, f->values, f->nr / 2, &f->root, NULL);
}

static int load(struct fixture *f)
{
	struct thinp_btree_loader *loader;
	int r = thinp_btree_loader_create(f->tm, &type, &loader);

	for (size_t i = 0; !r && i < f->nr; i += 1000)
		r = thinp_btree_loader_add(loader, f->keys + i, f->values + i, f->nr - i < 1000 ? f->nr - i : 1000);
	if (!r)
		r = thinp_btree_loader_finish(loader, &f->root);
	return r;
}

/* A full tree of the keys, which stay in the order they have. */
static int prepare_removal(struct fixture *f)
{
	uint64_t *order = f->keys;
	int r;

	memcpy(f->values, f->keys, f->nr * sizeof(*f->keys));
	qsort(f->values, f->nr, sizeof(*f->values), by_number);
	f->keys = f->values;
	r = load(f);
	f->keys = order;
	return r;
}

static int remove_all(struct fixture *f)
{
	const uint64_t first = 0, last = UINT64_MAX;
	int r = 0;

	if (f->what == DEL)
		return thinp_btree_del(f->tm, &type, f->root);
	if (f->what == REMOVE_RANGE)
		return thinp_btree_remove_range(f->tm, &type, f->root, &first, &last, 0, &f->root, NULL, NULL);
	for (size_t i = 0; !r && i < f->nr; i++)
		r = thinp_btree_remove(f->tm, &type, f->root, &f->keys[i], &f->root);
	return r;
}

static void remove_keys(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;
	int r;

	(void)nr_times; /* once: see the table */
	bench_pause(run);
	r = prepare_removal(f);
	bench_resume(run);
	if (!r)
		r = remove_all(f);
	bench_count_items(run, f->nr);
	if (r)
		bench_skip(run, "a removal failed");
}

static void insert(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;
	int r;

	(void)nr_times; /* once: see the table */
	if (f->what == BATCH_INTO_TREE) {
		bench_pause(run);
		r = insert_every_other(f, 0);
		bench_resume(run);
		if (!r)
			r = insert_every_other(f, 1);
		bench_count_items(run, f->nr / 2);
	} else {
		r = f->what == LOAD ? load(f) : f->what <= RANDOM ? insert_one_by_one(f) : insert_batch(f);
		bench_count_items(run, f->nr);
	}
	if (r)
		bench_skip(run, "an insert failed");
}

static const int64_t sizes[] = {100000, 1000000, 0};
static const enum what whats[] = {ASCENDING, RANDOM,           BATCH_ASCENDING, BATCH_RANDOM, BATCH_INTO_TREE,
				  LOAD,      REMOVE_ASCENDING, REMOVE_RANDOM,   REMOVE_RANGE, DEL};

#define BENCH(NAME, WHAT, WORK)                                                                                        \
	{                                                                                                              \
		.name = (NAME), .setup = begin, .work = (WORK), .teardown = end, .arg = &whats[WHAT], .sizes = sizes,  \
		.in_microseconds = true, .nr_times = 1, .nr_repetitions = 5                                            \
	}

const struct bench benches[] = {
	BENCH("btree/insert/ascending", ASCENDING, insert),
	BENCH("btree/insert/random", RANDOM, insert),
	BENCH("btree/insert_many/ascending", BATCH_ASCENDING, insert),
	BENCH("btree/insert_many/random", BATCH_RANDOM, insert),
	BENCH("btree/insert_many/random_into_tree", BATCH_INTO_TREE, insert),
	BENCH("btree/load/ascending", LOAD, insert),
	BENCH("btree/remove/ascending", REMOVE_ASCENDING, remove_keys),
	BENCH("btree/remove/random", REMOVE_RANDOM, remove_keys),
	BENCH("btree/remove_range/all", REMOVE_RANGE, remove_keys),
	BENCH("btree/del/all", DEL, remove_keys),
	{.name = NULL},
};
