/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store_scale_bench.c - how the cost of a look-up, an insert and a commit grows with the number of entries.
 *
 * A tree in a file in $THINP_BENCH_DIR or the current directory, filled once for all benchmarks of its size: scale/OPERATION/KEYS.
 * The cache has room for all of it; for scale/lookup_limited it has 64 MiB.
 */
#include "bench.h"
#include "process.h"

#include <thinp/btree.h>
#include <thinp/io.h>
#include <thinp/space_map.h>
#include <thinp/store.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
	NR_LOOKUPS = 200000,
	NR_LIMITED = 20000,
	NR_INSERTS = 100000,
	NR_UPDATES = 100,
	AT_ONCE = 256,
	PART = 4096,
	LIMITED = 16384
};

static const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = 8};

struct tree {
	char path[256];
	uint64_t nr; /* entries; 0: there is no tree */
	uint64_t next;
	uint32_t cache_blocks;
	struct thinp_io *io;
	struct thinp_store *store;
	struct thinp_view *view;
	struct thinp_reader *reader;
	thinp_block_t root;
};

static struct tree tree;

static uint64_t scatter(uint64_t i)
{
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9;
	i = (i ^ i >> 27) * 0x94d049bb133111eb;
	return i ^ i >> 31;
}

/* The i-th key in order: one in each of nr equal parts of all numbers, at random in there. */
static uint64_t nth_key(uint64_t i)
{
	uint64_t part = UINT64_MAX / tree.nr;

	return i * part + scatter(i) % part;
}

static uint64_t choose(void)
{
	return nth_key(scatter(++tree.next) % tree.nr);
}

/* --- the tree of all benchmarks of a size --- */

static void close_tree(void)
{
	thinp_view_close(tree.view);
	thinp_store_close(tree.store);
	thinp_io_close(tree.io);
	tree.view = NULL;
	tree.store = NULL;
	tree.io = NULL;
}

static void forget_tree(void)
{
	close_tree();
	if (tree.nr)
		unlink(tree.path);
	tree.nr = 0;
}

static int open_store(uint32_t cache_blocks)
{
	const struct thinp_io_opts io_opts = {
		.size = sizeof(io_opts), .flags = THINP_IO_CREATE, .nr_blocks = tree.nr / 100 + 65536};
	const struct thinp_store_opts opts = {.size = sizeof(opts),
					      .flags = THINP_STORE_CREATE | THINP_STORE_HUGE_PAGES,
					      .cache_blocks = cache_blocks};
	int r = thinp_io_open_file(tree.path, &io_opts, &tree.io);

	tree.cache_blocks = cache_blocks;
	return r ? r : thinp_store_open(tree.io, &opts, &tree.store);
}

static int load_part(struct thinp_btree_loader *loader, uint64_t begin, uint64_t end)
{
	uint64_t keys[PART];

	for (uint64_t i = begin; i < end; i++)
		keys[i - begin] = nth_key(i);
	return thinp_btree_loader_add(loader, keys, keys, end - begin);
}

static int load(void)
{
	struct thinp_btree_loader *loader;
	int r = thinp_btree_loader_create(thinp_store_tm(tree.store), &type, &loader);

	if (r)
		return r;
	for (uint64_t i = 0; i < tree.nr && !r; i += PART)
		r = load_part(loader, i, tree.nr - i < PART ? tree.nr : i + PART);
	if (!r)
		r = thinp_btree_loader_finish(loader, &tree.root);
	thinp_btree_loader_destroy(loader);
	return r;
}

static int commit(void)
{
	int r = thinp_store_set_root(tree.store, 0, tree.root);

	return r ? r : thinp_store_commit(tree.store);
}

static int begin(void)
{
	int r = thinp_store_begin(tree.store);

	return r ? r : thinp_store_get_root(tree.store, 0, &tree.root);
}

static uint32_t enough_cache(void)
{
	return (uint32_t)(tree.nr / 100 + 65536);
}

static int make_tree(uint64_t nr)
{
	const char *dir = getenv("THINP_BENCH_DIR");
	int r;

	bench_at_end(forget_tree);
	forget_tree();
	snprintf(tree.path, sizeof(tree.path), "%s/bench_scale.%d", dir ? dir : ".", (int)getpid());
	unlink(tree.path);
	tree.nr = nr;
	r = open_store(enough_cache());
	if (!r)
		r = begin();
	if (!r)
		r = load();
	return r ? r : commit();
}

static int want_tree(struct bench_run *run, uint32_t limit)
{
	uint64_t nr = (uint64_t)bench_size(run);
	uint32_t cache_blocks;
	int r = tree.nr == nr ? 0 : make_tree(nr);

	cache_blocks = limit ? limit : enough_cache();
	if (r || tree.cache_blocks == cache_blocks)
		return r;
	close_tree();
	return open_store(cache_blocks);
}

static int open_view(void)
{
	int r = thinp_view_open(tree.store, &tree.view);

	if (r)
		return r;
	tree.reader = thinp_view_reader(tree.view);
	return thinp_view_get_root(tree.view, 0, &tree.root);
}

static int pass_over(void *ctx, const struct thinp_btree_span *span)
{
	*(uint64_t *)ctx += span->nr_entries;
	return 0;
}

static void *ready(struct bench_run *run, int r)
{
	if (r)
		bench_skip(run, "cannot be set up");
	return &tree;
}

static void *setup_change(struct bench_run *run)
{
	return ready(run, want_tree(run, 0));
}

static void *setup_look(struct bench_run *run)
{
	uint64_t nr = 0;
	int r = want_tree(run, 0);

	if (!r)
		r = open_view();
	return ready(run, r ? r : thinp_btree_walk(tree.reader, &type, tree.root, pass_over, &nr));
}

static void *setup_limited(struct bench_run *run)
{
	int r = want_tree(run, LIMITED);

	return ready(run, r ? r : open_view());
}

static void teardown(void *ctx)
{
	(void)ctx;
	thinp_view_close(tree.view);
	tree.view = NULL;
}

/* --- the work --- */

static void tell(struct bench_run *run, int r, uint64_t nr_items)
{
	bench_count_items(run, nr_items);
	if (r)
		bench_skip(run, "failed");
}

static int look_up(uint64_t nr)
{
	uint64_t value, sum = 0;
	int r = 0;

	for (uint64_t i = 0; i < nr && !r; i++) {
		uint64_t key = choose();

		r = thinp_btree_lookup(tree.reader, &type, tree.root, &key, &value);
		sum += value;
	}
	bench_keep(sum);
	return r;
}

static void lookup(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	(void)ctx;
	(void)nr_times; /* all of them are once: see the table */
	tell(run, look_up(NR_LOOKUPS), NR_LOOKUPS);
}

static void lookup_limited(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	(void)ctx;
	(void)nr_times;
	tell(run, look_up(NR_LIMITED), NR_LIMITED);
}

static void lookup_many(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	uint64_t keys[AT_ONCE], values[AT_ONCE], nr = NR_LOOKUPS / AT_ONCE * AT_ONCE;
	int32_t results[AT_ONCE];
	int r = 0;

	(void)ctx;
	(void)nr_times;
	for (uint64_t i = 0; i < nr && !r; i += AT_ONCE) {
		for (int k = 0; k < AT_ONCE; k++)
			keys[k] = choose();
		r = thinp_btree_lookup_many(tree.reader, &type, tree.root, keys, AT_ONCE, values, results);
		bench_keep(values[0]);
	}
	tell(run, r, nr);
}

/* New keys: each is one behind a key that is there. */
static int change(uint64_t nr, uint64_t behind)
{
	struct thinp_tm *tm = thinp_store_tm(tree.store);
	int r = 0;

	for (uint64_t i = 0; i < nr && !r; i++) {
		uint64_t key = choose() + behind;

		r = thinp_btree_insert(tm, &type, tree.root, &key, &key, &tree.root, NULL);
	}
	return r;
}

static uint64_t nr_free(void)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	thinp_sm_get_info(thinp_store_metadata_map(tree.store), &info);
	return info.nr_allocatable;
}

/* In one transaction, which is aborted, so that the next benchmark finds the tree as it was. */
static void insert(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	uint64_t nr_zero = nr_free();
	int r = begin();

	(void)ctx;
	(void)nr_times;
	if (!r)
		r = change(NR_INSERTS, 1);
	bench_pause(run);
	bench_show(run, "blocks_taken", (double)(nr_zero - nr_free()) / NR_INSERTS);
	if (!r)
		r = thinp_store_abort(tree.store);
	tell(run, r, NR_INSERTS);
	bench_resume(run);
}

static void commits(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	uint64_t written = process_written_bytes();
	uint64_t nr = nr_times;
	int r = 0;

	(void)ctx;
	while (nr_times-- && !r) {
		r = begin();
		if (!r)
			r = change(NR_UPDATES, 0);
		if (!r)
			r = commit();
	}
	bench_show(run, "blocks_written", (double)(process_written_bytes() - written) / THINP_BLOCK_SIZE / (double)nr);
	tell(run, r, 1);
}

static const int64_t sizes[] = {10000, 100000, 1000000, 10000000, 100000000, 0};

#define ROW(NAME, SETUP, WORK, TIMES)                                                                                  \
	{                                                                                                              \
		.name = "scale/" NAME, .setup = (SETUP), .work = (WORK), .teardown = teardown, .sizes = sizes,         \
		.in_microseconds = true, .nr_times = (TIMES)                                                           \
	}

const struct bench benches[] = {
	ROW("lookup", setup_look, lookup, 1),
	ROW("lookup_many", setup_look, lookup_many, 1),
	ROW("insert_random", setup_change, insert, 1),
	ROW("commit_of_100", setup_change, commits, 50),
	ROW("lookup_limited", setup_limited, lookup_limited, 1),
	{.name = NULL},
};
