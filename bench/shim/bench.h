/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shim/bench.h - benchmarks in C for Google Benchmark.
 *
 * A program has one table of benchmarks, called `benches`; the shim brings main(). Each benchmark has a function that does
 * the work so many times in a loop of its own, so that nothing of the shim is measured:
 *
 *   static void look_up(struct bench_run *run, void *ctx, uint64_t nr_times)
 *   {
 *           while (nr_times--)
 *                   bench_keep(tree_lookup(ctx, next_key()));
 *           bench_count_items(run, 1);
 *   }
 */
#ifndef BENCH_SHIM_BENCH_H
#define BENCH_SHIM_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One run of a benchmark. */
struct bench_run;

struct bench {
	const char *name; /* room/what/shape */

	/* Makes what the work needs; gives its ctx. It may call bench_skip(), and its ctx is given to teardown() then,
	 * too. NULL: nothing is needed. */
	void *(*setup)(struct bench_run *run);
	void (*work)(struct bench_run *run, void *ctx, uint64_t nr_times); /* this is measured */
	void (*teardown)(void *ctx);                                       /* NULL: nothing to be done */

	const void *arg;      /* for bench_arg() */
	const int64_t *sizes; /* a benchmark for each, which has the size behind its name; ended by 0; NULL: only one */
	bool in_microseconds; /* what is shown; else nanoseconds */
	unsigned int nr_times; /* in each repetition; 0: as many as it takes to measure well */

	/* Each repetition is a run of its own, with setup and teardown, and mean, median and deviation are shown. 0: once. */
	unsigned int nr_repetitions;
};

/* The table, ended by an entry without a name. */
extern const struct bench benches[];

/* The `arg` of the table, and the size this run is for. */
const void *bench_arg(const struct bench_run *run);
int64_t bench_size(const struct bench_run *run);

/* Ends the run with a sentence in the place of numbers: from setup(), or from work(), which then should return. */
void bench_skip(struct bench_run *run, const char *why);

/* What work() does between these two is not measured. They cost some 100 ns. */
void bench_pause(struct bench_run *run);
void bench_resume(struct bench_run *run);

/* So many items are one time of the work: shown as items per second. */
void bench_count_items(struct bench_run *run, uint64_t nr_items);

/* A number to be shown beside the times, for example blocks written per item. */
void bench_show(struct bench_run *run, const char *name, double number);

/* Called after the last benchmark, before the destructors of any library. Only one function can be. */
void bench_at_end(void (*fn)(void));

/* Keeps the compiler from leaving out what gave this value. */
void bench_keep(uint64_t value);

#ifdef __cplusplus
}
#endif
#endif
