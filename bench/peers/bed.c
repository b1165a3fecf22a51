/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/bed.c - the map that the benchmarks of a process work on.
 */
#include "bed.h"

#include "keys.h"
#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static struct bed bed;

static void forget_map(void)
{
	if (bed.db)
		bed.engine->close(bed.db);
	bed.db = NULL;
	bed.is_full = false;
	if (bed.folder[0])
		folder_remove(bed.folder);
}

static void forget_keys(void)
{
	free(bed.keys);
	free(bed.values);
	bed.keys = bed.values = NULL;
}

static int make_keys(void)
{
	forget_keys();
	bed.keys = malloc(bed.nr * sizeof(*bed.keys));
	bed.values = malloc(bed.nr * sizeof(*bed.values));
	if (!bed.keys || !bed.values)
		return -1;
	for (size_t i = 0; i < bed.nr; i++) {
		bed.keys[i] = nth_key(i);
		bed.values[i] = i;
	}
	return 0;
}

/* Enough for everything, also for a transaction of all keys: what is missing here would be measured as reading. */
static int open_map(void)
{
	const struct engine_size size = {.nr_keys = bed.nr, .cache_bytes = bed.nr > 1000000 ? 1024 * MIB : 512 * MIB};

	return bed.engine->open(bed.folder, &size, &bed.db);
}

static int make_map(const struct engine *engine, size_t nr)
{
	const char *dir = getenv("THINP_BENCH_DIR");

	bench_at_end(forget_map);
	forget_map();
	bed.engine = engine;
	bed.nr = nr;
	snprintf(bed.folder, sizeof(bed.folder), "%s/bench_peers.%d", dir ? dir : ".", (int)getpid());
	return folder_make(bed.folder) || open_map() ? -1 : 0;
}

static int fill_map(void)
{
	int r = make_keys();

	if (!r)
		r = sort_keys(bed.keys, bed.values, bed.nr);
	if (!r)
		r = bed.engine->load(bed.db, bed.keys, bed.values, bed.nr);
	bed.is_full = !r;
	return r;
}

static void begin_telling(void)
{
	process_reset_peak();
	bed.written = process_written_bytes();
}

static void *ready(struct bench_run *run, int r)
{
	if (r)
		bench_skip(run, "cannot be set up");
	begin_telling();
	return &bed;
}

static int want_empty(struct bench_run *run)
{
	const struct what *what = bench_arg(run);

	return make_map(what->engine, (size_t)bench_size(run));
}

static int want_full(struct bench_run *run)
{
	const struct what *what = bench_arg(run);
	int r;

	if (bed.is_full && bed.engine == what->engine && bed.nr == (size_t)bench_size(run))
		return 0;
	r = want_empty(run);
	return r ? r : fill_map();
}

void *bed_begin_empty(struct bench_run *run)
{
	int r = want_empty(run);

	return ready(run, r ? r : make_keys());
}

void *bed_begin_load(struct bench_run *run)
{
	int r = want_empty(run);

	if (!r)
		r = make_keys();
	return ready(run, r ? r : sort_keys(bed.keys, bed.values, bed.nr));
}

void *bed_begin_full(struct bench_run *run)
{
	int r = want_full(run);

	return ready(run, r ? r : make_keys());
}

/* All of it is looked at, so that the device is not measured. The keys are not needed any more: they would push the map
 * out of the processor's caches. */
void *bed_begin_look(struct bench_run *run)
{
	uint64_t sum = 0;
	int r = want_full(run);

	forget_keys();
	if (!r)
		r = bed.engine->look_begin(bed.db, &bed.look);
	return ready(run, r ? r : bed.engine->scan_next(bed.look, &sum));
}

void *bed_begin_cold(struct bench_run *run)
{
	int r = want_full(run);

	forget_keys();
	if (r)
		return ready(run, r);
	bed.engine->close(bed.db);
	bed.db = NULL;
	folder_drop_cache(bed.folder);
	r = open_map();
	return ready(run, r ? r : bed.engine->look_begin(bed.db, &bed.look));
}

void bed_end(void *ctx)
{
	(void)ctx;
	if (bed.look)
		bed.engine->look_end(bed.look);
	bed.look = NULL;
}

static uint64_t file_bytes(void)
{
	return bed.engine->used_bytes ? bed.engine->used_bytes(bed.db) : folder_bytes(bed.folder);
}

void bed_tell(struct bench_run *run, struct bed *b, int r, uint64_t nr_items)
{
	uint64_t peak = process_peak_bytes(), own = b->keys ? 2 * b->nr * sizeof(*b->keys) : 0;

	bench_pause(run);
	if (r)
		bench_skip(run, "failed");
	bench_count_items(run, nr_items);
	bench_show(run, "written", (double)(process_written_bytes() - b->written));
	bench_show(run, "peak", (double)(peak - own));
	bench_show(run, "file", (double)file_bytes());
	bench_resume(run);
}
