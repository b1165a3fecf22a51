/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/work.h - what is measured: bench::work functions over a bed. `param` is that of struct what.
 */
#ifndef BENCH_PEERS_WORK_H
#define BENCH_PEERS_WORK_H

#include "bed.h"

/* Transactions, durable commit included. */
void work_load(struct bench_run *run, void *ctx, uint64_t nr_times);
void work_insert_ascending(struct bench_run *run, void *ctx, uint64_t nr_times);
void work_insert_random(struct bench_run *run, void *ctx, uint64_t nr_times);
void work_put_batch(struct bench_run *run, void *ctx, uint64_t nr_times); /* param: most keys; 0: all */
void work_overwrite(struct bench_run *run, void *ctx, uint64_t nr_times); /* param: most keys */
void work_remove(struct bench_run *run, void *ctx, uint64_t nr_times);    /* param: most keys */
void work_remove_batch(struct bench_run *run, void *ctx, uint64_t nr_times);

/* Commits of `param` updates of random keys each; and of 1000 new keys each. */
void work_commits(struct bench_run *run, void *ctx, uint64_t nr_times);
void work_insert_commits(struct bench_run *run, void *ctx, uint64_t nr_times);

/* Looking: `param` look-ups. */
void work_lookup(struct bench_run *run, void *ctx, uint64_t nr_times);
void work_lookup_many(struct bench_run *run, void *ctx, uint64_t nr_times);
void work_lookup_ge(struct bench_run *run, void *ctx, uint64_t nr_times);
void work_scan_next(struct bench_run *run, void *ctx, uint64_t nr_times);
void work_scan_spans(struct bench_run *run, void *ctx, uint64_t nr_times);

/* `param` threads that look up; the second one: beside a thread that commits 100 updates after another. */
void work_readers(struct bench_run *run, void *ctx, uint64_t nr_times);
void work_readers_and_writer(struct bench_run *run, void *ctx, uint64_t nr_times);

#endif
