/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/check.c - thinp check: what is wrong with the metadata of a pool.
 */
#include "command.h"
#include "progress.h"

#include <thinp/check.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAX_THREADS 64u

struct args {
	struct thinp_check_opts opts;
	bool quiet;
	bool json;
	bool fix_leaks;
	bool clear_needs_check;
};

/* What was found, and what was done about it. */
struct outcome {
	struct thinp_check_result found;
	struct thinp_check_result left; /* the same, when nothing was put right */
	bool has_fixed;
	bool has_cleared;
};

/* Where findings go. */
struct sink {
	bool quiet;
	json_t *findings; /* NULL: to be printed as they come */
	bool is_short;    /* of memory */
};

static json_t *number_or_null(uint64_t number)
{
	return number == THINP_CHECK_NONE ? json_null() : json_number(number);
}

static json_t *finding_as_json(const struct thinp_check_finding *finding)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:s}", "severity",
			 thinp_check_severity_name(finding->severity), "rule", finding->name, "part",
			 thinp_check_part_name(finding->part), "block", number_or_null(finding->block), "device",
			 number_or_null(finding->device), "begin", number_or_null(finding->begin), "end",
			 number_or_null(finding->end), "stored", number_or_null(finding->stored), "expected",
			 number_or_null(finding->expected), "text", finding->text);
}

static void print_finding(const struct thinp_check_finding *finding)
{
	printf("%-7s %-4s %s", thinp_check_severity_name(finding->severity), finding->name,
	       thinp_check_part_name(finding->part));
	if (finding->block != THINP_NO_BLOCK)
		printf(", block %" PRIu64, finding->block);
	if (finding->device != THINP_CHECK_NONE)
		printf(", device %" PRIu64, finding->device);
	printf(": %s\n", finding->text);
}

static int take_finding(void *ctx, const struct thinp_check_finding *finding)
{
	struct sink *sink = ctx;

	if (sink->findings)
		sink->is_short |= json_array_append_new(sink->findings, finding_as_json(finding)) != 0;
	else if (!sink->quiet)
		print_finding(finding);
	return 0;
}

static int tell_progress(void *ctx, uint64_t done, uint64_t total)
{
	return progress_tell(ctx, done, total);
}

static bool is_damaged(const struct thinp_check_result *result)
{
	return result->nr_fatal || result->nr_leak || result->nr_meta;
}

static const char *verdict_of(const struct thinp_check_result *result)
{
	if (result->nr_fatal)
		return "damaged: do not use it before it is repaired";
	if (is_damaged(result))
		return "usable, but not all numbers are right";
	return "sound";
}

static void print_summary(const struct thinp_check_result *result)
{
	printf("devices            %" PRIu64 ", %" PRIu64 " mappings\n", result->nr_devices, result->nr_mappings);
	printf("metadata blocks    %" PRIu64 " in use, %" PRIu64 " leaked, %" PRIu64 " counted too low\n",
	       result->nr_metadata_used, result->nr_metadata_leaked, result->nr_metadata_too_low);
	printf("data blocks        %" PRIu64 " in use, %" PRIu64 " leaked, %" PRIu64 " counted too low\n",
	       result->nr_data_used, result->nr_data_leaked, result->nr_data_too_low);
	printf("findings           %" PRIu64 " fatal, %" PRIu64 " leaks, %" PRIu64 " wrong numbers, %" PRIu64
	       " warnings\n",
	       result->nr_fatal, result->nr_leak, result->nr_meta, result->nr_warning);
	if (result->nr_unreadable)
		printf("unreadable blocks  %" PRIu64 "\n", result->nr_unreadable);
	printf("verdict            %s\n", verdict_of(result));
}

static void print_fixed(const struct outcome *outcome)
{
	const struct thinp_check_result *found = &outcome->found, *left = &outcome->left;

	if (outcome->has_fixed)
		printf("put right          %" PRIu64 " metadata blocks, %" PRIu64 " data blocks, %" PRIu64
		       " wrong numbers\n",
		       found->nr_metadata_leaked - left->nr_metadata_leaked,
		       found->nr_data_leaked - left->nr_data_leaked, found->nr_meta - left->nr_meta);
	if (outcome->has_cleared)
		printf("needs check        cleared\n");
}

static json_t *result_as_json(const struct thinp_check_result *result, json_t *findings)
{
	return json_pack(
		"{s:s, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "verdict",
		verdict_of(result), "is_damaged", is_damaged(result), "counts_skipped",
		(int)(result->flags & THINP_CHECK_COUNTS_SKIPPED), "counts_incomplete",
		(int)(result->flags & THINP_CHECK_COUNTS_INCOMPLETE), "nr_fatal", json_number(result->nr_fatal),
		"nr_leak", json_number(result->nr_leak), "nr_meta", json_number(result->nr_meta), "nr_warning",
		json_number(result->nr_warning), "nr_state", json_number(result->nr_state), "nr_devices",
		json_number(result->nr_devices), "nr_mappings", json_number(result->nr_mappings), "nr_data_used",
		json_number(result->nr_data_used), "nr_metadata_used", json_number(result->nr_metadata_used),
		"nr_data_leaked", json_number(result->nr_data_leaked), "nr_metadata_leaked",
		json_number(result->nr_metadata_leaked), "nr_data_too_low", json_number(result->nr_data_too_low),
		"nr_metadata_too_low", json_number(result->nr_metadata_too_low), "findings", findings);
}

/* Figures only: what can be left are findings that have been told. */
static json_t *left_as_json(const struct outcome *outcome)
{
	json_t *object = outcome->has_fixed ? result_as_json(&outcome->left, json_null()) : json_null();

	if (json_is_object(object))
		json_object_del(object, "findings");
	return object;
}

static json_t *outcome_as_json(const struct args *args, const struct outcome *outcome, json_t *findings)
{
	json_t *object = result_as_json(&outcome->found, findings);

	if (object && args->fix_leaks)
		json_object_set_new(object, "left", left_as_json(outcome));
	if (object && args->clear_needs_check)
		json_object_set_new(object, "needs_check_cleared", json_boolean(outcome->has_cleared));
	return object;
}

static int show(const struct command *command, const struct args *args, struct sink *sink,
		const struct outcome *outcome)
{
	int status = EXIT_FINE;

	if (args->json) {
		json_t *findings = sink->is_short ? NULL : json_incref(sink->findings);

		status = print_json(command, findings ? outcome_as_json(args, outcome, findings) : NULL);
	} else if (!args->quiet) {
		print_fixed(outcome);
		print_summary(&outcome->left);
		status = finish_output(command);
	}
	return is_damaged(&outcome->left) ? EXIT_PROBLEM : status;
}

/* --- checking --- */

static bool is_to_change(const struct args *args)
{
	return args->fix_leaks || args->clear_needs_check;
}

static int fix(struct thinp_pool *pool, const struct args *args, struct outcome *outcome)
{
	struct thinp_check_opts opts = args->opts;
	int r = 0;

	if (args->fix_leaks) {
		r = thinp_check_fix_leaks(pool, &opts, &outcome->found, &outcome->left);
		outcome->has_fixed = !r;
		opts.finding = NULL; /* they have been told */
	}
	if (!r && args->clear_needs_check) {
		r = thinp_check_clear_needs_check(pool, &opts, &outcome->left);
		outcome->has_cleared = !r;
	}
	if (!args->fix_leaks)
		outcome->found = outcome->left;
	else if (r)
		outcome->left = outcome->has_fixed ? outcome->left : outcome->found;
	return r;
}

/* A pool that is too damaged to be opened is checked all the same, so that one sees why. */
static int look_only(const struct args *args, struct thinp_io *io, struct outcome *outcome, int failed)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	int r;

	thinp_error_last(&info);
	r = thinp_check_device(io, &args->opts, &outcome->found);
	outcome->left = outcome->found;
	return r || !failed ? r : thinp_error_report(failed, info.block, info.message);
}

static int check_and_fix(const struct args *args, struct thinp_io *io, struct outcome *outcome)
{
	/* without a log: the check tells what is odd */
	const struct thinp_pool_opts opts = {.size = sizeof(opts),
					     .flags = THINP_POOL_WRITABLE | THINP_POOL_IGNORE_NEEDS_CHECK};
	struct thinp_pool *pool;
	int r = thinp_pool_open(io, &opts, &pool);

	if (r)
		return look_only(args, io, outcome, r);
	r = fix(pool, args, outcome);
	thinp_pool_close(pool);
	return r;
}

static int check(const struct command *command, struct args *args, const char *path, struct thinp_io *io)
{
	struct outcome outcome = {.found = {.size = sizeof(outcome.found)}, .left = {.size = sizeof(outcome.left)}};
	struct sink sink = {.quiet = args->quiet, .findings = args->json ? json_array() : NULL};
	struct progress progress;
	int status = EXIT_FINE;
	int r;

	sink.is_short = args->json && !sink.findings;
	progress_begin(&progress, "thinp check");
	args->opts.finding = take_finding;
	args->opts.finding_ctx = &sink;
	args->opts.progress = tell_progress;
	args->opts.progress_ctx = &progress;
	r = is_to_change(args) ? check_and_fix(args, io, &outcome) : look_only(args, io, &outcome, 0);
	progress_end(&progress);
	if (!r || outcome.found.nr_tasks) /* a check has been made */
		status = show(command, args, &sink, &outcome);
	if (r == THINP_ECANCELED)
		fprintf(stderr, "thinp %s: cancelled\n", command->name);
	else if (r)
		report(command, path, r);
	json_decref(sink.findings);
	return r ? EXIT_PROBLEM : status;
}

/* As many threads as there are processors, but not more than are of use. */
static uint32_t default_threads(void)
{
	long nr = sysconf(_SC_NPROCESSORS_ONLN);

	return nr < 1 ? 1 : nr > 8 ? 8 : (uint32_t)nr;
}

static const struct option options[] = {
	{"json", no_argument, NULL, 'j'},
	{"quiet", no_argument, NULL, 'q'},
	{"skip-mappings", no_argument, NULL, 's'},
	{"metadata-snap", no_argument, NULL, 'm'},
	{"threads", required_argument, NULL, 't'},
	{"fix-leaks", no_argument, NULL, 'f'},
	{"clear-needs-check", no_argument, NULL, 'c'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* An exit status, or GO_ON. */
#define GO_ON (-1)

static int parse(const struct command *command, int argc, char **argv, struct args *args)
{
	uint64_t nr_threads = default_threads();
	int option;

	while ((option = getopt_long(argc, argv, "qmh", options, NULL)) != -1)
		switch (option) {
		case 'j':
			args->json = true;
			break;
		case 'q':
			args->quiet = true;
			break;
		case 's':
			args->opts.flags |= THINP_CHECK_SKIP_MAPPINGS;
			break;
		case 'm':
			args->opts.flags |= THINP_CHECK_METADATA_SNAP;
			break;
		case 't':
			if (!parse_number(optarg, MAX_THREADS, &nr_threads) || !nr_threads)
				return usage_error(command, "'%s' is no number of threads", optarg);
			break;
		case 'f':
			args->fix_leaks = true;
			break;
		case 'c':
			args->clear_needs_check = true;
			break;
		case 'h':
			return print_help(command);
		default:
			return usage_error(command, "wrong option");
		}
	args->opts.nr_tasks = (uint32_t)nr_threads;
	if (is_to_change(args) && args->opts.flags)
		return usage_error(command, "only a check of everything can put something right");
	if (optind + 1 != argc)
		return usage_error(command, optind == argc ? "which pool?" : "one pool at a time");
	return GO_ON;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct args args = {.opts = {.size = sizeof(args.opts), .parallel_for = thinp_parallel_for_pthreads}};
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .flags = THINP_IO_READ_ONLY | THINP_IO_EXCLUSIVE};
	struct thinp_io *io;
	int status = parse(command, argc, argv, &args);

	if (status != GO_ON)
		return status;
	if (is_to_change(&args))
		io_opts.flags = 0;
	else if (args.opts.flags & THINP_CHECK_METADATA_SNAP) /* it stays as it is while the pool is in use */
		io_opts.flags = THINP_IO_READ_ONLY;
	status = thinp_io_open(argv[optind], &io_opts, &io);
	if (status)
		return report(command, argv[optind], status);
	status = check(command, &args, argv[optind], io);
	thinp_io_close(io);
	return status;
}

const struct command check_command = {
	.name = "check",
	.summary = "what is wrong with the metadata",
	.help = "[OPTION]... POOL\n\n"
		"Reads all metadata of a pool, counts all references anew, and tells what is not as it should be.\n"
		"Nothing is written, unless asked for. Exit status 0: sound, there may be warnings; 1: damaged, or not "
		"to\n"
		"be checked.\n\n"
		"      --json               as JSON; numbers of 2^63 and more are strings\n"
		"  -q, --quiet              print nothing, the exit status tells\n"
		"      --skip-mappings      superblock and devices only\n"
		"  -m, --metadata-snap      the pool's metadata snapshot only, also while the pool is in use\n"
		"      --threads N          work on N threads; default: as many as processors, at most 8\n"
		"      --fix-leaks          put right counts that are too high, and numbers that are kept twice, if\n"
		"                           nothing worse is found\n"
		"      --clear-needs-check  if the pool is sound, take away its mark that asks for a check\n"
		"  -h, --help               show this and end\n",
	.run = run,
};
