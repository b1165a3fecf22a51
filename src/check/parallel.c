/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/parallel.c - tasks on threads of their own, made for one call.
 */
#include <thinp/parallel.h>

#include <pthread.h>
#include <signal.h>

#define MAX_THREADS 64u

struct job {
	pthread_t thread;
	thinp_task_fn task;
	void *task_ctx;
	size_t number;
	bool is_started;
};

static void *run(void *arg)
{
	const struct job *job = arg;

	job->task(job->task_ctx, job->number);
	return NULL;
}

/* Signals are for the threads of the program; a new thread inherits the mask of the one that makes it. */
static void start(struct job *job)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	job->is_started = !pthread_create(&job->thread, NULL, run, job);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void thinp_parallel_for_pthreads(void *ctx, size_t nr_tasks, thinp_task_fn task, void *task_ctx)
{
	struct job jobs[MAX_THREADS];
	size_t nr_jobs = nr_tasks > MAX_THREADS ? MAX_THREADS : nr_tasks;

	(void)ctx;
	for (size_t i = 1; i < nr_jobs; i++) {
		jobs[i] = (struct job){.task = task, .task_ctx = task_ctx, .number = i};
		start(&jobs[i]);
	}
	if (nr_tasks)
		task(task_ctx, 0);
	for (size_t i = nr_jobs; i < nr_tasks; i++)
		task(task_ctx, i);
	for (size_t i = 1; i < nr_jobs; i++) {
		if (jobs[i].is_started)
			pthread_join(jobs[i].thread, NULL);
		else
			task(task_ctx, i);
	}
}
