/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/ops.c - thinp ops: a change, with the trace of its operations on reference counts.
 */
#include "change.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_INDENT 8

struct args {
	struct watch watch;
	bool json;
};

/* The trace is of one thread; it is printed as it comes, for it may be long. */
static uint64_t nr_events;

static const char *name_of(const char *const *names, size_t nr, uint32_t i)
{
	return i < nr && names[i] ? names[i] : "?";
}

#define NAME_OF(names, i) name_of(names, sizeof(names) / sizeof((names)[0]), i)

static const char *const events[] = {NULL, "issued", "queued", "applied", "refused"};
static const char *const kinds[] = {NULL, "INC", "DEC"};
static const char *const causes[] = {"user", "new", "shadow", "split", "merge", "free"};

static void print_op(void *ctx, const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op, uint32_t depth)
{
	int indent = depth < MAX_INDENT ? (int)depth * 2 : MAX_INDENT * 2;

	(void)sm;
	printf("%-8s %6" PRIu64 "  %*s%-7s  %s %" PRIu64, (const char *)ctx, op->number, indent, "",
	       NAME_OF(events, event), NAME_OF(kinds, op->kind), op->first);
	if (op->nr_blocks > 1)
		printf(" to %" PRIu64, op->first + op->nr_blocks - 1);
	printf("  (%s)\n", NAME_OF(causes, op->cause));
}

static void print_op_json(void *ctx, const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op,
			  uint32_t depth)
{
	(void)sm;
	printf("%s\n    {\"map\": \"%s\", \"number\": %" PRIu64
	       ", \"event\": \"%s\", \"kind\": \"%s\", \"first\": %" PRIu64 ", \"nr_blocks\": %" PRIu64
	       ", \"cause\": \"%s\", \"depth\": %" PRIu32 "}",
	       nr_events++ ? "," : "", (const char *)ctx, op->number, NAME_OF(events, event), NAME_OF(kinds, op->kind),
	       op->first, op->nr_blocks, NAME_OF(causes, op->cause), depth);
}

/* The words of the subcommand, the pool, what follows. */
static int run_traced(const struct command *command, const char *pool, int nr, char **words)
{
	int nr_words = nr;
	int status;
	const struct command *found = find_command(&nr_words, &words, &status);
	char **argv;

	if (!found)
		return status;
	if (!found->is_change)
		return usage_error(command, "'%s' changes nothing in a pool that is there", found->name);
	argv = calloc((size_t)nr_words + 2, sizeof(*argv));
	if (!argv) {
		fprintf(stderr, "thinp %s: no memory\n", command->name);
		return EXIT_PROBLEM;
	}
	argv[0] = words[0];
	argv[1] = (char *)(uintptr_t)pool;
	memcpy(argv + 2, words + 1, ((size_t)nr_words - 1) * sizeof(*argv));
	optind = 0; /* getopt begins anew */
	status = found->run(found, nr_words + 1, argv);
	free(argv);
	return status;
}

static int trace(const struct command *command, struct args *args, const char *pool, int nr, char **words)
{
	int status;

	args->watch.is_quiet = args->json;
	args->watch.trace = args->json ? print_op_json : print_op;
	change_watch(&args->watch);
	if (args->json)
		printf("{\n  \"operations\": [");
	status = run_traced(command, pool, nr, words);
	change_watch(NULL);
	if (args->json)
		printf("\n  ],\n  \"status\": %d\n}\n", status);
	return status ? status : finish_output(command);
}

static const struct option options[] = {
	{"policy", required_argument, NULL, 'p'},
	{"queue-always", no_argument, NULL, 'q'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int run(const struct command *command, int argc, char **argv)
{
	struct args args = {.json = false};
	int option;
	int first;

	while ((option = getopt_long(argc, argv, "+h", options, NULL)) != -1)
		switch (option) {
		case 'p':
			args.watch.policy = thinp_opq_policy_by_name(optarg);
			if (!args.watch.policy)
				return usage_error(command, "there is no policy '%s'", optarg);
			break;
		case 'q':
			args.watch.queue_always = true;
			break;
		case 'j':
			args.json = true;
			break;
		case 'h':
			return print_help(command);
		default:
			return usage_error(command, "wrong option");
		}
	if (optind >= argc)
		return usage_error(command, "which pool?");
	first = optind + 1;
	if (first < argc && !strcmp(argv[first], "--"))
		first++;
	if (first >= argc)
		return usage_error(command, "which subcommand?");
	return trace(command, &args, argv[optind], argc - first, argv + first);
}

const struct command ops_command = {
	.name = "ops",
	.summary = "a change, with the trace of its reference counts",
	.help = "[OPTION]... POOL -- SUBCOMMAND [OPTION]... [ARGUMENT]...\n\n"
		"Runs a subcommand that changes a pool, and prints every operation on reference counts as it happens: "
		"the\n"
		"map (data or metadata), the number of the operation in this map, what happens to it, what it is, and "
		"why\n"
		"it was issued. What arises while counts are written down is queued, and applied when that step is "
		"done.\n"
		"The pool is given once, in front: thinp ops POOL -- snapshot 1 2\n\n"
		"      --policy NAME   order of the queue: fifo (default), coalescing, sorted, or lifo, which is "
		"wrong: its\n"
		"                      commit may be refused, and the pool stays as it was\n"
		"      --queue-always  every operation waits in the queue until the commit\n"
		"      --json          as JSON\n"
		"  -h, --help          show this and end\n",
	.run = run,
};
