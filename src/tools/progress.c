/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/progress.c - a line on the terminal for what takes longer than a second, and an end by SIGINT.
 */
#include "progress.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define CALLS_PER_LOOK 64u /* looks at the clock once in so many calls */

static volatile sig_atomic_t interrupted;

/* A system call that begins just behind a look at the mark would wait as if nothing had happened, so it is interrupted, too:
 * by an alarm each second, from now on. */
static void on_signal(int signal_number)
{
	if (signal_number != SIGALRM)
		interrupted = signal_number;
	(void)alarm(1);
}

bool progress_is_interrupted(void)
{
	return interrupted;
}

void progress_begin(struct progress *progress, const char *what)
{
	struct sigaction action = {.sa_handler = on_signal};

	*progress = (struct progress){.what = what, .on_terminal = isatty(STDERR_FILENO)};
	clock_gettime(CLOCK_MONOTONIC, &progress->next);
	progress->next.tv_sec++;
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
}

static bool is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

int progress_tell(struct progress *progress, uint64_t done, uint64_t total)
{
	struct timespec now;

	if (progress_is_interrupted())
		return 1;
	if (!progress->on_terminal || ++progress->nr_calls % CALLS_PER_LOOK)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (is_before(&now, &progress->next))
		return 0;
	progress->next = now;
	progress->next.tv_sec++;
	progress->is_shown = true;
	fprintf(stderr, "\r%s: %5.1f %%", progress->what, done < total ? 100.0 * (double)done / (double)total : 100.0);
	return 0;
}

void progress_end(struct progress *progress)
{
	if (progress->is_shown)
		fputs("\r\033[K", stderr);
}
