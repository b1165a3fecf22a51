/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/dump.c - thinp dump: the metadata of a pool as text.
 */
#include "command.h"
#include "output.h"
#include "progress.h"

#include <thinp/dump.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CACHE_MIB 65536u

struct args {
	struct pool_args pool;
	struct thinp_dump_opts opts;
	uint64_t *dev_ids;
	const char *output_path;
	bool is_done; /* --help was asked for */
};

struct sink {
	struct output output;
	int write_errno;
};

static int write_text(void *ctx, const char *text, size_t nbytes)
{
	struct sink *sink = ctx;

	sink->write_errno = output_write(&sink->output, text, nbytes, progress_is_interrupted);
	return sink->write_errno ? THINP_EIO : 0;
}

static int tell_progress(void *ctx, uint64_t done, uint64_t total)
{
	return progress_tell(ctx, done, total);
}

static int report_write(const struct command *command, const struct args *args, int err)
{
	if (err == EINTR)
		fprintf(stderr, "thinp %s: cancelled\n", command->name);
	else if (err != EPIPE)
		fprintf(stderr, "thinp %s: cannot write %s: %s\n", command->name,
			args->output_path ? args->output_path : "standard output", strerror(err));
	return EXIT_PROBLEM;
}

static int dump(const struct command *command, struct args *args, const char *path, struct pool_handle *handle)
{
	struct progress progress;
	struct sink sink = {.write_errno = 0};
	int err = output_open(&sink.output, args->output_path);
	int r;

	if (err)
		return report_write(command, args, err);
	progress_begin(&progress, "thinp dump");
	args->opts.progress = tell_progress;
	args->opts.progress_ctx = &progress;
	r = thinp_dump(handle->pool, &args->opts, write_text, &sink);
	progress_end(&progress);
	if (r) {
		output_abandon(&sink.output);
		return sink.write_errno ? report_write(command, args, sink.write_errno) : report(command, path, r);
	}
	err = output_commit(&sink.output);
	return err ? report_write(command, args, err) : EXIT_FINE;
}

static bool parse_format(const char *text, uint32_t *format)
{
	if (!strcmp(text, "xml"))
		*format = THINP_DUMP_XML;
	else if (!strcmp(text, "human_readable"))
		*format = THINP_DUMP_HUMAN_READABLE;
	else
		return false;
	return true;
}

/* There are at most argc of them. */
static bool add_dev_id(struct args *args, const char *text)
{
	return parse_number(text, UINT64_MAX, &args->dev_ids[args->opts.nr_dev_ids++]);
}

static const struct option options[] = {
	{"format", required_argument, NULL, 'f'},
	{"json", no_argument, NULL, 'j'},
	{"dev-id", required_argument, NULL, 'd'},
	{"skip-mappings", no_argument, NULL, 's'},
	{"metadata-snap", no_argument, NULL, 'm'},
	{"output", required_argument, NULL, 'o'},
	{"cache-size", required_argument, NULL, 'c'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* An exit status. */
static int parse(const struct command *command, int argc, char **argv, struct args *args)
{
	int option;

	while ((option = getopt_long(argc, argv, "f:mo:h", options, NULL)) != -1)
		switch (option) {
		case 'f':
			if (!parse_format(optarg, &args->opts.format))
				return usage_error(command, "unknown format '%s'", optarg);
			break;
		case 'j':
			args->opts.format = THINP_DUMP_JSON;
			break;
		case 'd':
			if (!add_dev_id(args, optarg))
				return usage_error(command, "'%s' is no device id", optarg);
			break;
		case 's':
			args->opts.flags |= THINP_DUMP_SKIP_MAPPINGS;
			break;
		case 'm':
			args->pool.metadata_snap = true;
			break;
		case 'o':
			args->output_path = optarg;
			break;
		case 'c':
			if (!parse_number(optarg, MAX_CACHE_MIB, &args->pool.cache_mib) || !args->pool.cache_mib)
				return usage_error(command, "'%s' is no cache size in MiB", optarg);
			break;
		case 'h':
			args->is_done = true;
			return print_help(command);
		default:
			return usage_error(command, "wrong option");
		}
	return EXIT_FINE;
}

static int run(const struct command *command, int argc, char **argv)
{
	struct args args = {.opts = {.size = sizeof(args.opts)}};
	struct pool_handle handle;
	int status;

	args.dev_ids = calloc((size_t)argc, sizeof(*args.dev_ids));
	if (!args.dev_ids) {
		fprintf(stderr, "thinp %s: no memory\n", command->name);
		return EXIT_PROBLEM;
	}
	args.opts.dev_ids = args.dev_ids;
	status = parse(command, argc, argv, &args);
	if (status || args.is_done)
		goto out;
	status = open_pool(command, argc, argv, &args.pool, &handle);
	if (status)
		goto out;
	status = dump(command, &args, argv[optind], &handle);
	close_pool(&handle);
out:
	free(args.dev_ids);
	return status;
}

const struct command dump_command = {
	.name = "dump",
	.summary = "devices and mappings as XML, JSON or readable text",
	.help = "[OPTION]... POOL\n\n"
		"Writes the metadata of a pool as text. XML and readable text are what thin_dump 0.9.0 writes.\n\n"
		"  -f, --format FORMAT    xml (default) or human_readable\n"
		"      --json             as JSON\n"
		"      --dev-id ID        only this device; can be given several times\n"
		"      --skip-mappings    devices without their mappings\n"
		"  -m, --metadata-snap    the pool's metadata snapshot\n"
		"  -o, --output FILE      write to FILE, which is replaced only when all went well\n"
		"      --cache-size MIB   most memory for cached metadata (default 16)\n"
		"  -h, --help             show this and end\n",
	.run = run,
};
