/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/change.h - what the subcommands that change a pool share.
 *
 * Each opens a transaction, makes its changes, commits, and says what it did; when something fails it aborts, and the pool
 * is as it was. What is too large for the room that a pool has left is done in several transactions, and can be taken up
 * again.
 */
#ifndef TOOLS_CHANGE_H
#define TOOLS_CHANGE_H

#include "command.h"
#include "progress.h"

#include <thinp/pool_space.h>

#define CHANGE_MAX_WORDS 4

/* The command line of a change, and the pool while it is open. */
struct change {
	const struct command *command;
	bool ignores_needs_check;
	const char *path;
	const char *words[CHANGE_MAX_WORDS]; /* behind the pool; NULL: not given */
	struct thinp_io *io;
	struct thinp_pool *pool;
};

/* Options that all of them have. */
#define CHANGE_OPTIONS                                                                                                 \
	{"ignore-needs-check", no_argument, NULL, 'I'}, {"help", no_argument, NULL, 'h'},                              \
	{                                                                                                              \
		NULL, 0, NULL, 0                                                                                       \
	}

#define CHANGE_HELP                                                                                                    \
	"      --ignore-needs-check  change the pool though it asks for a check\n"                                     \
	"  -h, --help                show this and end\n"

/* An option of the subcommand's own. An exit status; EXIT_FINE: go on. */
typedef int (*change_option_fn)(const struct command *command, int option, const char *value, void *ctx);

#define CHANGE_GO_ON (-1)

/* Takes the command line apart: the pool and so many words behind it. CHANGE_GO_ON, or an exit status. options NULL: only
 * those that all have. */
int change_parse(struct change *change, const struct command *command, int argc, char **argv,
		 const struct option *options, change_option_fn take, void *ctx, int least, int most);

/* Word i as a number; says what is wrong. `what` names it. */
bool change_number(const struct change *change, int i, const char *what, uint64_t *number);

/* What is done in a transaction. A code of the library; what it returns is told with the library's detail. */
typedef int (*change_fn)(struct thinp_pool *pool, void *ctx);

/* Opens the pool, or says why not. An exit status. */
int change_open(struct change *change);
void change_close(struct change *change);

/* Begins, calls, commits; or aborts, and says why. An exit status. */
int change_commit(struct change *change, change_fn fn, void *ctx);

/* The same without saying why: a code, to be told with change_report(). */
int change_try(struct change *change, change_fn fn, void *ctx);
int change_report(const struct change *change, int r);

/* All of it: opens, commits, closes. An exit status. */
int change_run(struct change *change, change_fn fn, void *ctx);

/* What was done, for people. Nothing under ops --json, which alone prints. */
bool change_is_quiet(void);
void change_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- giving much back ------------------------------------------------------------------------------------------------- */

struct removal {
	uint64_t dev_id;
	uint64_t first;
	uint64_t last;
	uint32_t max_leaves; /* in a transaction; 0: as many as there is room for */
	uint64_t nr_removed; /* mappings */
	uint64_t nr_commits;
};

/* As much of it as there is room for: thinp/pool_space.h. */
typedef int (*change_step_fn)(struct thinp_pool *pool, const struct removal *removal, struct thinp_pool_step *step);

/* Calls it with as many commits as are needed. A code; what was done so far is in the removal. */
int change_in_steps(struct change *change, change_step_fn fn, struct removal *removal);

/* Says why it ended, and what is done already. EXIT_PROBLEM. */
int change_report_steps(const struct change *change, const struct removal *removal, int r);

/* --- watching: ops ---------------------------------------------------------------------------------------------------- */

struct watch {
	const struct thinp_opq_policy *policy; /* NULL: fifo */
	bool queue_always;
	bool is_quiet;
	thinp_op_trace_fn trace; /* ctx: the name of the map */
};

/* From now on, pools are opened so. The struct is the caller's, and stays. */
void change_watch(const struct watch *watch);

#endif
