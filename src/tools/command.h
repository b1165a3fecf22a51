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
	const char *name;
	const char *summary;
	const char *help;                                                 /* behind the usage line */
	int (*run)(const struct command *command, int argc, char **argv); /* argv[0]: the subcommand; an exit status */
};

extern const struct command info_command;
extern const struct command ls_command;
extern const struct command dump_command;
extern const struct command check_command;

/* --help of a subcommand. */
int print_help(const struct command *command);

/* A complaint about the command line; "usage" is printed by the caller's return of what this returns. */
int usage_error(const struct command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A number in decimal, the whole of the text. */
bool parse_number(const char *text, uint64_t most, uint64_t *number);

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

/* Opens the one pool that the command line names behind its options; reports what fails. An exit status. */
int open_pool(const struct command *command, int argc, char **argv, const struct pool_args *args,
	      struct pool_handle *handle);
void close_pool(struct pool_handle *handle);

/* jansson's integers end at 2^63-1; larger numbers become text, so that no digit is lost. */
json_t *json_number(uint64_t number);

/* Prints and releases a JSON document. An exit status. */
int print_json(const struct command *command, json_t *document);

/* The end of a command that printed to standard output: a full disk must not pass for success. An exit status. */
int finish_output(const struct command *command);

#endif
