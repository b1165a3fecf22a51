/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store_bench.c - a map in a store, beside the same map in LMDB: both on a file in $THINP_BENCH_DIR or the current directory.
 *
 * What changes is one transaction, its durable commit included; what looks does so at a commit, all of it cached.
 */
#include "bench.h"
#include "store_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { AT_ONCE = 256, NR_OF_COMMITS = 1000000 };

enum shape {
	ASCENDING,
	RANDOM,
	SORTED, /* random keys, sorted, handed over at once */
};

struct what {
	const struct engine *engine;
	enum shape shape;
};

struct fixture {
	const struct engine *engine;
	enum shape shape;
	void *db;
	char path[256];
	size_t nr; /* of keys */
	uint64_t *keys;
	uint64_t *values;
	uint64_t next; /* for random choices */
};

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

static uint64_t choose(struct fixture *f)
{
	return f->keys[scatter(++f->next) % f->nr];
}

static void sort_keys(struct fixture *f)
{
	qsort(f->keys, f->nr, sizeof(*f->keys), by_number);
}

static int make_keys(struct fixture *f)
{
	f->keys = malloc(f->nr * sizeof(*f->keys));
	f->values = malloc(f->nr * sizeof(*f->values));
	if (!f->keys || !f->values)
		return -1;
	for (size_t i = 0; i < f->nr; i++) {
		f->keys[i] = f->shape == ASCENDING ? i : scatter(i + 1);
		f->values[i] = i;
	}
	if (f->shape == SORTED)
		sort_keys(f);
	return 0;
}

static int open_db(struct fixture *f)
{
	const char *dir = getenv("THINP_BENCH_DIR");

	snprintf(f->path, sizeof(f->path), "%s/bench_store.%s", dir ? dir : ".", f->engine->name);
	unlink(f->path);
	f->db = f->engine->open(f->path);
	return f->db ? 0 : -1;
}

static struct fixture *begin_with(struct bench_run *run, size_t nr)
{
	const struct what *what = bench_arg(run);
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->engine = what->engine;
	f->shape = what->shape;
	f->nr = nr;
	if (make_keys(f) || open_db(f))
		bench_skip(run, "cannot be set up");
	return f;
}

static void *begin_empty(struct bench_run *run)
{
	return begin_with(run, (size_t)bench_size(run));
}

static int commit_after(struct fixture *f, int r)
{
	return r ? r : f->engine->commit(f->db);
}

/* Puts all keys in, in one commit, and leaves them in the order that the shape wants. */
static int load(struct fixture *f)
{
	int r;

	sort_keys(f);
	r = f->engine->begin(f->db);
	if (!r)
		r = f->engine->put_sorted(f->db, f->keys, f->values, f->nr);
	r = commit_after(f, r);
	for (size_t i = 0; i < f->nr && f->shape == RANDOM; i++)
		f->keys[i] = scatter(i + 1);
	return r;
}

static void *begin_full_of(struct bench_run *run, size_t nr)
{
	struct fixture *f = begin_with(run, nr);

	if (f && f->db && load(f))
		bench_skip(run, "cannot be filled");
	return f;
}

static void *begin_full(struct bench_run *run)
{
	return begin_full_of(run, (size_t)bench_size(run));
}

static void *begin_for_commits(struct bench_run *run)
{
	return begin_full_of(run, NR_OF_COMMITS);
}

/* A look at all of it first, so that the device is not measured. */
static void *begin_looking(struct bench_run *run)
{
	struct fixture *f = begin_full(run);
	uint64_t sum = 0;

	if (f && f->db && (f->engine->look_begin(f->db) || f->engine->scan(f->db, &sum)))
		bench_skip(run, "cannot be read");
	return f;
}

static void end(void *ctx)
{
	struct fixture *f = ctx;

	if (!f)
		return;
	if (f->db)
		f->engine->close(f->db);
	unlink(f->path);
	free(f->keys);
	free(f->values);
	free(f);
}

static void end_looking(void *ctx)
{
	struct fixture *f = ctx;

	if (f && f->db)
		f->engine->look_end(f->db);
	end(ctx);
}

static void end_run(struct bench_run *run, int r, uint64_t nr_items)
{
	bench_count_items(run, nr_items);
	if (r)
		bench_skip(run, "failed");
}

/* --- the work --- */

static void insert(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;
	int r = f->engine->begin(f->db);

	(void)nr_times; /* once: see the table */
	if (!r && f->shape == SORTED)
		r = f->engine->put_sorted(f->db, f->keys, f->values, f->nr);
	else
		for (size_t i = 0; i < f->nr && !r; i++)
			r = f->engine->put(f->db, f->keys[i], f->values[i]);
	end_run(run, commit_after(f, r), f->nr);
}

static void remove_all(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;
	int r = f->engine->begin(f->db);

	(void)nr_times; /* once: see the table */
	for (size_t i = 0; i < f->nr && !r; i++)
		r = f->engine->del(f->db, f->keys[i]);
	end_run(run, commit_after(f, r), f->nr);
}

static void look_up(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;
	uint64_t value = 0;
	int r = 0;

	while (nr_times-- && !r)
		r = f->engine->get(f->db, choose(f), &value);
	bench_keep(value);
	end_run(run, r, 1);
}

static void look_up_many(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	uint64_t keys[AT_ONCE], values[AT_ONCE];
	struct fixture *f = ctx;
	int r = 0;

	while (nr_times-- && !r) {
		for (size_t i = 0; i < AT_ONCE; i++)
			keys[i] = choose(f);
		r = f->engine->get_many(f->db, keys, AT_ONCE, values);
		bench_keep(values[0]);
	}
	end_run(run, r, AT_ONCE);
}

static void scan(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;
	uint64_t sum = 0;
	int r = 0;

	while (nr_times-- && !r)
		r = f->engine->scan(f->db, &sum);
	bench_keep(sum);
	end_run(run, r, f->nr);
}

/* Commits of so many updates of random keys. */
static void commit(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	int64_t nr_updates = bench_size(run);
	struct fixture *f = ctx;
	int r = 0;

	while (nr_times-- && !r) {
		r = f->engine->begin(f->db);
		for (int64_t i = 0; i < nr_updates && !r; i++)
			r = f->engine->put(f->db, choose(f), f->next);
		r = commit_after(f, r);
	}
	end_run(run, r, 1);
}

static const int64_t sizes[] = {100000, 1000000, 0};
static const int64_t updates[] = {1, 10, 100, 0};

static const struct what thinp_whats[] = {{&engine_thinp, ASCENDING}, {&engine_thinp, RANDOM}, {&engine_thinp, SORTED}};

#define ONCE(NAME, SHAPE, SETUP, WORK)                                                                                 \
	{                                                                                                              \
		.name = "store/" NAME, .setup = (SETUP), .work = (WORK), .teardown = end, .arg = &(SHAPE),             \
		.sizes = sizes, .in_microseconds = true, .nr_times = 1, .nr_repetitions = 5                            \
	}
#define LOOK(NAME, SHAPE, WORK)                                                                                        \
	{                                                                                                              \
		.name = "store/" NAME, .setup = begin_looking, .work = (WORK), .teardown = end_looking,                \
		.arg = &(SHAPE), .sizes = sizes, .nr_repetitions = 5                                                   \
	}
#define COMMIT(NAME, SHAPE)                                                                                            \
	{                                                                                                              \
		.name = "store/" NAME, .setup = begin_for_commits, .work = commit, .teardown = end, .arg = &(SHAPE),   \
		.sizes = updates, .in_microseconds = true, .nr_times = 200, .nr_repetitions = 5                        \
	}
#define ENGINE(NAME, WHATS)                                                                                            \
	ONCE("insert/ascending/" NAME, (WHATS)[ASCENDING], begin_empty, insert),                                       \
		ONCE("insert/random/" NAME, (WHATS)[RANDOM], begin_empty, insert),                                     \
		ONCE("insert/batch/" NAME, (WHATS)[SORTED], begin_empty, insert),                                      \
		ONCE("remove/random/" NAME, (WHATS)[RANDOM], begin_full, remove_all),                                  \
		LOOK("lookup/one/" NAME, (WHATS)[RANDOM], look_up),                                                    \
		LOOK("lookup/many/" NAME, (WHATS)[RANDOM], look_up_many),                                              \
		LOOK("scan/all/" NAME, (WHATS)[RANDOM], scan), COMMIT("commit/random/" NAME, (WHATS)[RANDOM])

#ifdef THINP_WITH_LMDB
static const struct what lmdb_whats[] = {{&engine_lmdb, ASCENDING}, {&engine_lmdb, RANDOM}, {&engine_lmdb, SORTED}};
#endif

const struct bench benches[] = {
	ENGINE("thinp", thinp_whats),
#ifdef THINP_WITH_LMDB
	ENGINE("lmdb", lmdb_whats),
#endif
	{.name = NULL},
};
