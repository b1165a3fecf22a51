/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store_policies_bench.c - the policies of the op queue on the same histories: what order and merging are worth.
 *
 * Every operation waits in the queue (THINP_STORE_QUEUE_ALWAYS). One time of the work is a whole history. Told for each
 * commit, beside the time: operations issued, queued and applied, by the maps' own trace; blocks written, counted at the
 * device; and the longest queue.
 */
#include "bench.h"

#include <thinp/btree.h>
#include <thinp/io.h>
#include <thinp/op_queue.h>
#include <thinp/store.h>

#include <stdlib.h>

enum { NR_BLOCKS = 65536, NR_KEYS = 50000, NR_DATA = 20000, NR_COUNTED = 1500, NR_SNAPSHOTS = 4 };

struct fixture;

struct history {
	const char *policy;
	int (*prepare)(struct fixture *f); /* committed before the work begins */
	int (*commit)(struct fixture *f, uint64_t number);
	uint64_t nr_commits;
};

/* A device in memory that counts what is written to it. */
struct device {
	struct thinp_io *below;
	uint64_t nr_written;
};

struct fixture {
	const struct history *history;
	struct device device;
	struct thinp_io *io;
	struct thinp_store *store;
	struct thinp_tm *tm;
	uint64_t nr_events[THINP_OP_REFUSED + 1];
	uint64_t next;
};

static const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = 8};

static uint64_t scatter(uint64_t i)
{
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9;
	i = (i ^ i >> 27) * 0x94d049bb133111eb;
	return i ^ i >> 31;
}

/* --- the device --- */

static int get_size(void *ctx, uint64_t *nr_blocks)
{
	return thinp_io_size(((struct device *)ctx)->below, nr_blocks);
}

static int batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	struct device *device = ctx;

	for (size_t i = 0; i < nr_ops; i++)
		if (ops[i].kind == THINP_IO_WRITE)
			device->nr_written += ops[i].nr_blocks;
	return thinp_io_batch(device->below, ops, nr_ops);
}

static int open_device(struct fixture *f)
{
	const struct thinp_io_backend backend = {
		.size = sizeof(backend), .name = "counted", .get_size = get_size, .batch = batch};
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = NR_BLOCKS};
	int r = thinp_io_open_memory(&opts, &f->device.below);

	return r ? r : thinp_io_create(&backend, &f->device, NULL, &f->io);
}

/* --- histories --- */

static int change_root(struct fixture *f, uint32_t index, uint64_t nr_updates)
{
	thinp_block_t root;
	int r = thinp_store_get_root(f->store, index, &root);

	for (uint64_t i = 0; i < nr_updates && !r; i++) {
		uint64_t key = scatter(++f->next) % NR_KEYS;

		r = thinp_btree_insert(f->tm, &type, root, &key, &f->next, &root, NULL);
	}
	return r ? r : thinp_store_set_root(f->store, index, root);
}

static int prepare_tree(struct fixture *f)
{
	thinp_block_t root;
	int r = thinp_btree_create(f->tm, &type, &root);

	for (uint64_t key = 0; key < NR_KEYS && !r; key++)
		r = thinp_btree_insert(f->tm, &type, root, &key, &key, &root, NULL);
	return r ? r : thinp_store_set_root(f->store, 0, root);
}

static int commit_updates(struct fixture *f, uint64_t number)
{
	(void)number;
	return change_root(f, 0, 100);
}

/* A snapshot of the tree takes the place of the oldest one, which is deleted; the tree goes on changing. */
static int commit_snapshots(struct fixture *f, uint64_t number)
{
	uint32_t index = 1 + (uint32_t)(number % NR_SNAPSHOTS);
	thinp_block_t root, old;
	int r = thinp_store_get_root(f->store, 0, &root);

	if (!r)
		r = thinp_store_get_root(f->store, index, &old);
	if (!r && old)
		r = thinp_btree_del(f->tm, &type, old);
	if (!r)
		r = thinp_tm_inc(f->tm, root, 1, THINP_CAUSE_USER);
	if (!r)
		r = thinp_store_set_root(f->store, index, root);
	return r ? r : change_root(f, 0, 20);
}

/* Data blocks that are counted to three, to be lowered in no order: their counts leave the overflow tree. */
static int prepare_counts(struct fixture *f)
{
	uint64_t first;
	struct thinp_sm *map;
	int r = thinp_store_add_map(f->store, 0, NR_DATA);

	if (r)
		return r;
	map = thinp_store_map(f->store, 0);
	r = thinp_sm_take(map, NR_COUNTED, &first, NULL);
	for (int i = 0; i < 2 && !r; i++)
		r = thinp_sm_inc(map, first, NR_COUNTED);
	return r;
}

/* 7 has no divisor in common with 1500, so that each block has its turn once. */
static int commit_counts(struct fixture *f, uint64_t number)
{
	struct thinp_sm *map = thinp_store_map(f->store, 0);
	int r = 0;

	for (uint64_t i = number * 25; i < (number + 1) * 25 && !r; i++)
		r = thinp_sm_dec(map, i * 707 % NR_COUNTED, 1);
	return r;
}

/* --- the work --- */

static void watch(void *ctx, const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op, uint32_t depth)
{
	struct fixture *f = ctx;

	(void)sm;
	(void)op;
	(void)depth;
	if (event <= THINP_OP_REFUSED)
		f->nr_events[event]++;
}

static int open_store(struct fixture *f)
{
	const struct thinp_store_opts opts = {.size = sizeof(opts),
					      .flags = THINP_STORE_CREATE | THINP_STORE_QUEUE_ALWAYS,
					      .op_queue_policy = thinp_opq_policy_by_name(f->history->policy)};
	int r = open_device(f);

	if (!r)
		r = thinp_store_open(f->io, &opts, &f->store);
	if (!r)
		r = thinp_store_begin(f->store);
	f->tm = r ? NULL : thinp_store_tm(f->store);
	return r;
}

static int prepare(struct fixture *f)
{
	int r = open_store(f);

	if (!r)
		r = f->history->prepare(f);
	if (!r)
		r = thinp_store_commit(f->store);
	if (r)
		return r;
	f->device.nr_written = 0;
	thinp_sm_set_trace(thinp_store_metadata_map(f->store), watch, f);
	if (thinp_store_map(f->store, 0))
		thinp_sm_set_trace(thinp_store_map(f->store, 0), watch, f);
	return 0;
}

static void *setup(struct bench_run *run)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->history = bench_arg(run);
	if (prepare(f))
		bench_skip(run, "cannot be set up");
	return f;
}

static void teardown(void *ctx)
{
	struct fixture *f = ctx;

	if (!f)
		return;
	thinp_store_close(f->store);
	thinp_io_close(f->io);
	thinp_io_close(f->device.below);
	free(f);
}

static void tell(struct bench_run *run, struct fixture *f)
{
	double nr_commits = (double)f->history->nr_commits;
	struct thinp_sm_info info = {.size = sizeof(info)};

	thinp_sm_get_info(thinp_store_metadata_map(f->store), &info);
	bench_show(run, "issued", (double)f->nr_events[THINP_OP_ISSUED] / nr_commits);
	bench_show(run, "queued", (double)f->nr_events[THINP_OP_QUEUED] / nr_commits);
	bench_show(run, "applied", (double)f->nr_events[THINP_OP_APPLIED] / nr_commits);
	bench_show(run, "blocks_written", (double)f->device.nr_written / nr_commits);
	bench_show(run, "longest_queue", (double)info.nr_queued_most);
	bench_count_items(run, f->history->nr_commits);
}

static int one_commit(struct fixture *f, uint64_t number)
{
	int r = thinp_store_begin(f->store);

	if (!r)
		r = f->history->commit(f, number);
	return r ? r : thinp_store_commit(f->store);
}

static void work(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;
	int r = 0;

	(void)nr_times; /* once: see the table */
	for (uint64_t i = 0; i < f->history->nr_commits && !r; i++)
		r = one_commit(f, i);
	bench_pause(run);
	tell(run, f);
	if (r)
		bench_skip(run, "a commit failed");
	bench_resume(run);
}

#define HISTORY(NAME, POLICY, PREPARE, COMMIT, NR)                                                                     \
	{                                                                                                              \
		.name = "store/policies/" NAME "/" POLICY, .setup = setup, .work = work, .teardown = teardown,         \
		.arg =                                                                                                 \
			&(const struct history){                                                                       \
				.policy = (POLICY), .prepare = (PREPARE), .commit = (COMMIT), .nr_commits = (NR)},     \
		.in_microseconds = true, .nr_times = 1, .nr_repetitions = 5                                            \
	}
#define HISTORIES(POLICY)                                                                                              \
	HISTORY("updates", POLICY, prepare_tree, commit_updates, 100),                                                 \
		HISTORY("snapshots", POLICY, prepare_tree, commit_snapshots, 100),                                     \
		HISTORY("counts", POLICY, prepare_counts, commit_counts, 60)

const struct bench benches[] = {
	HISTORIES("fifo"),
	HISTORIES("coalescing"),
	HISTORIES("sorted"),
	{.name = NULL},
};
