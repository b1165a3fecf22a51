/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/progress.h - a line on the terminal for what takes longer than a second, and an end by SIGINT.
 */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct progress {
	const char *what; /* for example "thinp dump" */
	bool on_terminal;
	bool is_shown;
	uint32_t nr_calls;
	struct timespec next; /* when to say something again */
};

/* From here on SIGINT and SIGTERM only ask progress_tell() to end the work. */
void progress_begin(struct progress *progress, const char *what);

/* Has the user asked for an end? */
bool progress_is_interrupted(void);

/* Non-zero when the user wants an end. Cheap enough to be called often. */
int progress_tell(struct progress *progress, uint64_t done, uint64_t total);

/* Wipes the line. */
void progress_end(struct progress *progress);

#endif
