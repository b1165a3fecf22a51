/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/readers.c - threads that look up, alone and beside one that writes.
 *
 * For a fixed time, since it is how much gets done that matters. Every reader goes to the newest commit after a thousand
 * look-ups. Told are look-ups in a second of real time, and in a second of the readers' CPU time: with more threads than
 * processors only the second one tells whether they are in each other's way.
 */
#include "work.h"

#include "keys.h"
#include "process.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { MOST_THREADS = 64, RENEW_AFTER = 1000, UPDATES_OF_A_COMMIT = 100 };

static const double duration = 0.7; /* seconds */

struct crew {
	struct bed *bed;
	atomic_bool is_over;
	pthread_barrier_t start;
};

struct worker {
	struct crew *crew;
	pthread_t thread;
	uint64_t seed;
	uint64_t nr_done;
	double cpu_seconds;
	int r;
};

static int look_up_many_times(struct worker *worker, void *look)
{
	const struct bed *bed = worker->crew->bed;
	uint64_t next = worker->seed << 32, value;
	int r = 0;

	for (int i = 0; i < RENEW_AFTER && !r; i++, worker->nr_done++)
		r = bed->engine->get(look, nth_key(nth_key(next + worker->nr_done) % bed->nr), &value);
	return r ? r : bed->engine->look_renew(look);
}

static void *read_on(void *ctx)
{
	struct worker *worker = ctx;
	struct crew *crew = worker->crew;
	void *look = NULL;

	worker->r = crew->bed->engine->look_begin(crew->bed->db, &look);
	pthread_barrier_wait(&crew->start);
	worker->cpu_seconds = -process_thread_seconds();
	while (!atomic_load_explicit(&crew->is_over, memory_order_relaxed) && !worker->r)
		worker->r = look_up_many_times(worker, look);
	worker->cpu_seconds += process_thread_seconds();
	if (look)
		crew->bed->engine->look_end(look);
	return NULL;
}

static int commit_updates(struct worker *worker)
{
	const struct bed *bed = worker->crew->bed;
	int r = bed->engine->begin(bed->db);

	for (int i = 0; i < UPDATES_OF_A_COMMIT && !r; i++)
		r = bed->engine->put(
			bed->db, nth_key(nth_key(worker->nr_done * UPDATES_OF_A_COMMIT + (uint64_t)i) % bed->nr), 4);
	worker->nr_done++;
	return r ? r : bed->engine->commit(bed->db);
}

static void *write_on(void *ctx)
{
	struct worker *worker = ctx;
	struct crew *crew = worker->crew;

	pthread_barrier_wait(&crew->start);
	worker->cpu_seconds = -process_thread_seconds();
	while (!atomic_load_explicit(&crew->is_over, memory_order_relaxed) && !worker->r)
		worker->r = commit_updates(worker);
	worker->cpu_seconds += process_thread_seconds();
	return NULL;
}

static void wait_for_the_end(struct crew *crew)
{
	struct timespec rest = {.tv_nsec = (long)(duration * 1e9)};

	pthread_barrier_wait(&crew->start);
	while (nanosleep(&rest, &rest))
		;
	atomic_store(&crew->is_over, true);
}

static void tell(struct bench_run *run, const struct worker *workers, size_t nr_readers, double wall, bool has_writer)
{
	double nr_lookups = 0, cpu_seconds = 0;

	for (size_t i = 0; i < nr_readers; i++) {
		nr_lookups += (double)workers[i].nr_done;
		cpu_seconds += workers[i].cpu_seconds;
	}
	bench_show(run, "lookups_per_second", nr_lookups / wall);
	bench_show(run, "lookups_per_cpu_second", nr_lookups / cpu_seconds);
	if (has_writer)
		bench_show(run, "commits_per_second", (double)workers[nr_readers].nr_done / wall);
}

static void run_crew(struct bench_run *run, struct bed *bed, bool has_writer)
{
	size_t nr_readers = ((const struct what *)bench_arg(run))->param, nr = nr_readers + has_writer;
	struct worker workers[MOST_THREADS] = {{0}};
	struct crew crew = {.bed = bed};
	double wall;
	int r = 0;

	pthread_barrier_init(&crew.start, NULL, (unsigned int)nr + 1);
	for (size_t i = 0; i < nr; i++) {
		workers[i] = (struct worker){.crew = &crew, .seed = i + 1};
		if (pthread_create(&workers[i].thread, NULL, i < nr_readers ? read_on : write_on, &workers[i]))
			abort(); /* the others wait for it at the barrier */
	}
	wall = -process_wall_seconds();
	wait_for_the_end(&crew);
	for (size_t i = 0; i < nr; i++) {
		pthread_join(workers[i].thread, NULL);
		r = r ? r : workers[i].r;
	}
	wall += process_wall_seconds();
	pthread_barrier_destroy(&crew.start);
	tell(run, workers, nr_readers, wall, has_writer);
	bed_tell(run, bed, r, 1);
}

void work_readers(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	(void)nr_times;
	run_crew(run, ctx, false);
}

void work_readers_and_writer(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	(void)nr_times;
	run_crew(run, ctx, true);
}
