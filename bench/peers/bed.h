/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/bed.h - the one map that the benchmarks of a process work on, and what each of them has to tell.
 *
 * Filling a map costs more than most benchmarks. So it stays from one benchmark to the next, as long as that one wants the
 * same engine, the same number of keys, and all of them to be there.
 */
#ifndef BENCH_PEERS_BED_H
#define BENCH_PEERS_BED_H

#include "bench.h"
#include "engine.h"

#include <stdbool.h>

struct bed {
	const struct engine *engine;
	void *db;
	void *look; /* of the benchmark that is running, or NULL */
	char folder[1024];
	size_t nr;        /* keys of the map: the first ones of nth_key() */
	bool is_full;     /* all of them are there, and nothing else */
	uint64_t *keys;   /* nr keys and values, in the order that the benchmark wants */
	uint64_t *values; /* */
	uint64_t written; /* when the benchmark began */
};

/* What `arg` of each benchmark is. */
struct what {
	const struct engine *engine;
	uint64_t param; /* whatever the benchmark wants */
};

/* Setups. They give the bed: with an empty map; with a full one; with a full one that is cached, and a look at it. The first
 * two leave the keys in random order, for batches; begin_load() leaves them sorted. */
void *bed_begin_empty(struct bench_run *run);
void *bed_begin_load(struct bench_run *run);
void *bed_begin_full(struct bench_run *run);
void *bed_begin_look(struct bench_run *run);
void *bed_begin_cold(struct bench_run *run); /* full, just opened, nothing cached */

/* The teardown of all. */
void bed_end(void *bed);

/* To be called when the work is done: how many operations one time of it was, and what it came to. */
void bed_tell(struct bench_run *run, struct bed *bed, int r, uint64_t nr_items);

#endif
