/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/lookup.c - thinp lookup: where blocks of a device are.
 */
#include "command.h"

#include <inttypes.h>
#include <stdio.h>

struct args {
	struct pool_args pool;
	bool json;
	uint64_t dev_id, first, last;
};

static json_t *as_json(const struct thinp_mapped_run *run)
{
	return json_pack("{s:o, s:o, s:o, s:b}", "virtual_begin", json_number(run->virtual_begin), "data_begin",
			 json_number(run->data_begin), "length", json_number(run->length), "is_shared",
			 (int)run->is_shared);
}

static int take_run(const struct thinp_mapped_run *run, json_t *array)
{
	if (array)
		return append_run(array, as_json(run));
	printf("%" PRIu64 " blocks from %" PRIu64 " on: data blocks from %" PRIu64 " on%s\n", run->length,
	       run->virtual_begin, run->data_begin, run->is_shared ? ", shared" : "");
	return 0;
}

static int walk(struct thinp_pool *pool, const struct args *args, json_t *array)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	struct thinp_mapped_run run;
	uint64_t next = args->first;
	int r = thinp_pool_get_device(pool, args->dev_id, &info); /* that it is not there is an error here */

	while (!r) {
		r = thinp_pool_lookup_run(pool, args->dev_id, next, args->last, &run);
		if (r == THINP_ENODATA)
			return 0;
		if (!r)
			r = take_run(&run, array);
		next = run.virtual_begin + run.length;
		if (!r && (next > args->last || !next))
			return 0;
	}
	return r;
}

static int show(const struct command *command, const char *path, struct pool_handle *handle, const struct args *args)
{
	json_t *array = args->json ? json_array() : NULL;

	if (args->json && !array)
		return print_json(command, NULL);
	return finish_runs(command, path, walk(handle->pool, args, array), array);
}

/* The words behind the pool. */
static int take_words(const struct command *command, int argc, char **argv, struct args *args)
{
	uint64_t length = 1;
	int nr = argc - optind;

	if (nr < 2 || nr > 4)
		return usage_error(command, nr < 1 ? "which pool?" : nr < 2 ? "which device?" : "too many arguments");
	if (!parse_number(argv[optind + 1], UINT64_MAX, &args->dev_id))
		return usage_error(command, "'%s' is no device id", argv[optind + 1]);
	args->last = UINT64_MAX;
	if (nr == 2)
		return EXIT_FINE;
	if (!parse_number(argv[optind + 2], UINT64_MAX, &args->first))
		return usage_error(command, "'%s' is no block", argv[optind + 2]);
	if (nr == 4 &&
	    (!parse_number(argv[optind + 3], UINT64_MAX, &length) || !length || length - 1 > UINT64_MAX - args->first))
		return usage_error(command, "'%s' is no number of blocks", argv[optind + 3]);
	args->last = args->first + length - 1;
	return EXIT_FINE;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"metadata-snap", no_argument, NULL, 'm'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	struct args args = {.json = false};
	struct pool_handle handle;
	int option;
	int status;

	while ((option = getopt_long(argc, argv, "mh", options, NULL)) != -1)
		switch (option) {
		case 'j':
			args.json = true;
			break;
		case 'm':
			args.pool.metadata_snap = true;
			break;
		case 'h':
			return print_help(command);
		default:
			return usage_error(command, "wrong option");
		}
	status = take_words(command, argc, argv, &args);
	if (!status)
		status = open_pool(command, optind + 1, argv, &args.pool, &handle);
	if (status)
		return status;
	status = show(command, argv[optind], &handle, &args);
	close_pool(&handle);
	return status;
}

const struct command lookup_command = {
	.name = "lookup",
	.summary = "where blocks of a device are",
	.help = "[OPTION]... POOL ID [BLOCK [NUMBER]]\n\n"
		"Tells where blocks of device ID are: NUMBER of them (default: one) from BLOCK on, or all. Blocks that "
		"a\n"
		"snapshot may have, too, are shared: they would be copied before they are written.\n\n"
		"      --json           as JSON; numbers of 2^63 and more are strings\n"
		"  -m, --metadata-snap  as the pool's metadata snapshot has it\n"
		"  -h, --help           show this and end\n",
	.run = run,
};
