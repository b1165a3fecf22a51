/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * instructions/icount.c - carries out one of eleven operations many times, for bench/icount to count its instructions.
 *
 * Everything is in memory. What is counted happens in a function work_...() and nowhere else: callgrind is told to
 * collect only there.
 *
 *   bench_icount            the names, one a line: name, operations in one call of its function
 *   bench_icount NAME       carry it out
 *   bench_icount --pins     what the figures depend on
 */
#include <thinp/btree.h>
#include <thinp/dump.h>
#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/pool.h>
#include <thinp/store.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	NR_KEYS = 50000,
	NR_HALF = NR_KEYS / 2,
	NR_LOOKUPS = 5120,
	AT_ONCE = 256,
	NR_COMMITS = 40,
	NR_DUMPS = 10,
	NR_MAPPED = 252
};

#ifdef __clang__
#define WORK __attribute__((noinline)) static int
#else
#define WORK __attribute__((noinline, noclone)) static int
#endif

static const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = 8};

struct world {
	struct thinp_io *io;
	struct thinp_store *store;
	struct thinp_tm *tm;
	struct thinp_view *view;
	struct thinp_reader *reader;
	struct thinp_pool *pool;
	thinp_block_t root;
	uint64_t keys[NR_KEYS];   /* in random order */
	uint64_t sorted[NR_KEYS]; /* the same */
};

static struct world world;

struct operation {
	const char *name;
	uint64_t nr; /* in one call of work() */
	int (*prepare)(void);
	int (*work)(void);
};

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

static int open_memory(uint64_t nr_blocks)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = nr_blocks};

	return thinp_io_open_memory(&opts, &world.io);
}

/* --- preparing --- */

static int empty_tree(void)
{
	const struct thinp_store_opts opts = {.size = sizeof(opts), .flags = THINP_STORE_CREATE};
	int r = open_memory(4096);

	for (uint64_t i = 0; i < NR_KEYS; i++)
		world.keys[i] = world.sorted[i] = scatter(i + 1);
	qsort(world.sorted, NR_KEYS, sizeof(world.sorted[0]), by_number);
	if (!r)
		r = thinp_store_open(world.io, &opts, &world.store);
	if (!r)
		r = thinp_store_begin(world.store);
	world.tm = thinp_store_tm(world.store);
	return r ? r : thinp_btree_create(world.tm, &type, &world.root);
}

static int insert_sorted(const uint64_t *keys, size_t nr)
{
	return thinp_btree_insert_many(world.tm, &type, world.root, keys, keys, nr, &world.root, NULL);
}

static int full_tree(void)
{
	int r = empty_tree();

	return r ? r : insert_sorted(world.sorted, NR_KEYS);
}

/* Every other key, in their order. */
static int half_tree(void)
{
	int r = empty_tree();

	for (size_t i = 0; i < NR_HALF; i++) {
		uint64_t here = world.sorted[2 * i];

		world.keys[i] = world.sorted[2 * i + 1];
		world.sorted[i] = here;
	}
	return r ? r : insert_sorted(world.sorted, NR_HALF);
}

/* All keys are there; the list has every other one, in their order. */
static int full_tree_and_half_the_keys(void)
{
	int r = full_tree();

	for (size_t i = 0; i < NR_HALF; i++)
		world.keys[i] = world.sorted[2 * i + 1];
	return r;
}

static int commit(void)
{
	int r = thinp_store_set_root(world.store, 0, world.root);

	return r ? r : thinp_store_commit(world.store);
}

static int committed_tree(void)
{
	int r = full_tree();

	return r ? r : commit();
}

static int scan_all(void);

/* All of it has been looked at once. */
static int viewed_tree(void)
{
	int r = committed_tree();

	if (!r)
		r = thinp_view_open(world.store, &world.view);
	if (r)
		return r;
	world.reader = thinp_view_reader(world.view);
	return scan_all();
}

static int look_up_some(void);

/* And so often looked up in that it is as fast as it gets. */
static int hot_tree(void)
{
	int r = viewed_tree();

	return r ? r : look_up_some();
}

/* A device with one leaf of mappings that are no neighbours. */
static int pool_of_one_leaf(void)
{
	const struct thinp_pool_opts opts = {
		.size = sizeof(opts), .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE, .nr_data_blocks = 65536};
	uint64_t first;
	int r = open_memory(1024);

	if (!r)
		r = thinp_pool_open(world.io, &opts, &world.pool);
	if (!r)
		r = thinp_pool_begin(world.pool);
	if (!r)
		r = thinp_pool_create_device(world.pool, 1);
	if (!r)
		r = thinp_pool_alloc_data(world.pool, NR_MAPPED, &first, NULL);
	for (uint64_t i = 0; i < NR_MAPPED && !r; i++)
		r = thinp_pool_insert(world.pool, 1, i * 7, first + i * 5 % NR_MAPPED);
	return r ? r : thinp_pool_commit(world.pool);
}

/* --- what is counted --- */

WORK work_lookup(void)
{
	return look_up_some();
}

static int look_up_some(void)
{
	uint64_t value, sum = 0;
	int r = 0;

	for (size_t i = 0; i < NR_LOOKUPS && !r; i++) {
		r = thinp_btree_lookup(world.reader, &type, world.root, &world.keys[i], &value);
		sum += value;
	}
	return r ? r : sum == 0;
}

WORK work_lookup_many(void)
{
	uint64_t values[AT_ONCE];
	int32_t results[AT_ONCE];
	int r = 0;

	for (size_t i = 0; i < NR_LOOKUPS && !r; i += AT_ONCE)
		r = thinp_btree_lookup_many(world.reader, &type, world.root, &world.keys[i], AT_ONCE, values, results);
	return r;
}

WORK work_lookup_ge(void)
{
	int r = 0;

	for (size_t i = 0; i < NR_LOOKUPS && !r; i++) {
		uint64_t key = world.keys[i] - 1, found, value;

		r = thinp_btree_lookup_ge(world.reader, &type, world.root, &key, &found, &value);
	}
	return r;
}

static int insert_one(uint64_t key)
{
	return thinp_btree_insert(world.tm, &type, world.root, &key, &key, &world.root, NULL);
}

WORK work_insert_ascending(void)
{
	int r = 0;

	for (size_t i = 0; i < NR_HALF && !r; i++)
		r = insert_one(i);
	return r;
}

WORK work_insert_random(void)
{
	int r = 0;

	for (size_t i = 0; i < NR_HALF && !r; i++)
		r = insert_one(world.keys[i]);
	return r;
}

WORK work_insert_batch(void)
{
	return insert_sorted(world.keys, NR_HALF);
}

WORK work_remove(void)
{
	int r = 0;

	for (size_t i = 0; i < NR_HALF && !r; i++)
		r = thinp_btree_remove(world.tm, &type, world.root, &world.keys[i], &world.root);
	return r;
}

WORK work_remove_batch(void)
{
	uint64_t nr_removed = 0;
	int r = thinp_btree_remove_many(world.tm, &type, world.root, world.keys, NR_HALF, &world.root, &nr_removed);

	return r ? r : nr_removed != NR_HALF;
}

WORK work_scan(void)
{
	return scan_all();
}

static int scan_all(void)
{
	struct thinp_btree_cursor *cursor;
	uint64_t key, value, sum = 0;
	int r = thinp_btree_cursor_create(world.reader, &type, world.root, &cursor);

	if (r)
		return r;
	while (!(r = thinp_btree_cursor_next(cursor)) && !(r = thinp_btree_cursor_get(cursor, &key, &value)))
		sum += value;
	thinp_btree_cursor_destroy(cursor);
	return r == THINP_ENODATA ? sum == 0 : r;
}

WORK work_commit(void)
{
	int r = 0;

	for (size_t i = 0; i < NR_COMMITS && !r; i++) {
		r = thinp_store_begin(world.store);
		if (!r)
			r = thinp_store_get_root(world.store, 0, &world.root);
		if (!r)
			r = insert_one(world.keys[i]);
		if (!r)
			r = commit();
	}
	return r;
}

static int throw_away(void *ctx, const char *text, size_t nbytes)
{
	uint64_t *sum = ctx;

	*sum += nbytes + (unsigned char)text[0];
	return 0;
}

WORK work_dump(void)
{
	uint64_t sum = 0;
	int r = 0;

	for (size_t i = 0; i < NR_DUMPS && !r; i++)
		r = thinp_dump(world.pool, NULL, throw_away, &sum);
	return r ? r : sum == 0;
}

static const struct operation operations[] = {
	{"lookup", NR_LOOKUPS, hot_tree, work_lookup},
	{"lookup_many", NR_LOOKUPS, hot_tree, work_lookup_many},
	{"lookup_ge", NR_LOOKUPS, viewed_tree, work_lookup_ge},
	{"insert_ascending", NR_HALF, empty_tree, work_insert_ascending},
	{"insert_random", NR_HALF, empty_tree, work_insert_random},
	{"insert_batch", NR_HALF, half_tree, work_insert_batch},
	{"remove", NR_HALF, full_tree, work_remove},
	{"remove_batch", NR_HALF, full_tree_and_half_the_keys, work_remove_batch},
	{"scan", NR_KEYS, viewed_tree, work_scan},
	{"commit", NR_COMMITS, committed_tree, work_commit},
	{"dump", NR_DUMPS, pool_of_one_leaf, work_dump},
};

enum { NR_OPERATIONS = sizeof(operations) / sizeof(operations[0]) };

static void release(void)
{
	thinp_pool_close(world.pool);
	thinp_view_close(world.view);
	thinp_store_close(world.store);
	thinp_io_close(world.io);
}

static int carry_out(const struct operation *operation)
{
	int r = operation->prepare();

	if (!r)
		r = operation->work();
	release();
	if (r)
		fprintf(stderr, "%s: %s\n", operation->name, thinp_strerror(r));
	return r ? 1 : 0;
}

static void show_pins(void)
{
#ifdef __clang__
	printf("compiler clang %d.%d\n", __clang_major__, __clang_minor__);
#else
	printf("compiler gcc %d.%d\n", __GNUC__, __GNUC_MINOR__);
#endif
	printf("build %s\nchecksums %s\nprocessor %s\n", ICOUNT_BUILD, ICOUNT_CHECKSUMS, ICOUNT_PROCESSOR);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--pins")) {
		show_pins();
		return 0;
	}
	for (int i = 0; i < NR_OPERATIONS; i++)
		if (argc == 1)
			printf("%s %" PRIu64 "\n", operations[i].name, operations[i].nr);
		else if (!strcmp(operations[i].name, argv[1]))
			return carry_out(&operations[i]);
	return argc == 1 ? 0 : 2;
}
