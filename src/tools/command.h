/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/command.h - what the subcommands of thinp share.
 */
#ifndef TOOLS_COMMAND_H
#define TOOLS_COMMAND_H

#include <thinp/error.h>
#include <thinp/pool.h>

#include <getopt.h>
#include <jansson.h>

/* Exit statuses. */
#define EXIT_FINE    0
#define EXIT_PROBLEM 1 /* found a problem, or could not do it */
#define EXIT_USAGE   2

struct command {
	const char *name; /* all words of it, as in "volume create" */
	const char *summary;
	const char *help;                                                 /* behind the usage line */
	int (*run)(const struct command *command, int argc, char **argv); /* argv[0]: the last word; an exit status */
	bool is_change;                                                   /* it changes a pool: change.h */
	const struct command *const *members; /* of a group, in place of run: its subcommands, ended by NULL */
};

extern const struct command create_command, volume_command, snapshot_command, map_command, unmap_command;
extern const struct command resize_command, metadata_snap_command, set_transaction_id_command, needs_check_command;
extern const struct command data_command, info_command, ls_command, lookup_command, counts_command, dump_command;
extern const struct command check_command, ops_command;

/* Finds a command by its words, argv[0] being the first; argc and argv then begin with the last one. Says what is wrong, or
 * prints the help of a group: then NULL, and an exit status. */
const struct command *find_command(int *argc, char ***argv, int *status);

/* Of ls, and of the group volume. */
int run_ls(const struct command *command, int argc, char **argv);

/* --help of a subcommand. */
int print_help(const struct command *command);

/* A complaint about the command line; "usage" is printed by the caller's return of what this returns. */
int usage_error(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A number in decimal, the whole of the text. */
bool parse_number(const char *text, uint64_t most, uint64_t *number);

/* A size in bytes: a number with one of the units s (sectors), K, M, G, T, P, E (powers of 1024, also KiB ...), or without:
 * then it counts pieces of so many bytes. */
bool parse_size(const char *text, uint64_t bytes_of_one, uint64_t *nbytes);

/* Says what failed, from the library's detail record, after a call that returned r. Returns EXIT_PROBLEM. */
int report(const struct command *command, const char *path, int r);

/* A pool and what it is opened on. */
struct pool_handle {
	struct thinp_io *io;
	struct thinp_pool *pool;
};

/* The options that all readers of pools have. */
struct pool_args {
	bool metadata_snap;
	uint64_t cache_mib; /* 0: DEFAULT_CACHE_MIB */
};

/* Passes what the library's log says on to standard error; ctx: the command. */
struct thinp_log_record;
void log_warning(void *ctx, const struct thinp_log_record *rec);

/* Opens the one pool that the command line names behind its options; reports what fails. An exit status. */
int open_pool(const struct command *command, int argc, char **argv, const struct pool_args *args,
	      struct pool_handle *handle);
void close_pool(struct pool_handle *handle);

/* jansson's integers end at 2^63-1; larger numbers become text, so that no digit is lost. */
json_t *json_number(uint64_t number);

/* Prints and releases a JSON document. An exit status. */
int print_json(const struct command *command, json_t *document);

/* Adds to a list of runs, and releases the item; NULL: there was no memory for it. 0 or THINP_ENOMEM, with its detail. */
int append_run(json_t *runs, json_t *item);

/* The end of a command that listed runs, as lines or, when there is a list, as JSON; r: what the listing returned. Releases
 * the list. An exit status. */
int finish_runs(const struct command *command, const char *path, int r, json_t *runs);

/* The end of a command that printed to standard output: a full disk must not pass for success. An exit status. */
int finish_output(const struct command *command);

#endif
