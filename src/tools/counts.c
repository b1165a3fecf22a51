/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/counts.c - thinp counts: how often blocks are referenced.
 */
#include "command.h"

#include <inttypes.h>
#include <stdio.h>

struct args {
	struct pool_args pool;
	bool json;
	int space;
	uint64_t begin, end;
};

static int take_run(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	json_t *array = ctx;

	if (!array) {
		printf("%" PRIu64 " blocks from %" PRIu64 " on: %" PRIu32 "\n", end - begin, begin, count);
		return 0;
	}
	return append_run(array, json_pack("{s:o, s:o, s:o}", "begin", json_number(begin), "end", json_number(end),
					   "count", json_number(count)));
}

static int show(const struct command *command, const char *path, struct pool_handle *handle, struct args *args)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	json_t *array = args->json ? json_array() : NULL;
	int r;

	if (args->json && !array)
		return print_json(command, NULL);
	thinp_pool_get_info(handle->pool, &info);
	if (args->end == UINT64_MAX)
		args->end = args->space == THINP_POOL_DATA ? info.nr_data_blocks : info.nr_metadata_blocks;
	r = thinp_pool_walk_counts(handle->pool, args->space, args->begin, args->end, take_run, array);
	return finish_runs(command, path, r, array);
}

/* The words behind the pool. */
static int take_words(const struct command *command, int argc, char **argv, struct args *args)
{
	uint64_t length = 1;
	int nr = argc - optind;

	if (nr < 1 || nr > 3)
		return usage_error(command, nr < 1 ? "which pool?" : "too many arguments");
	args->end = UINT64_MAX;
	if (nr == 1)
		return EXIT_FINE;
	if (!parse_number(argv[optind + 1], UINT64_MAX - 1, &args->begin))
		return usage_error(command, "'%s' is no block", argv[optind + 1]);
	if (nr == 3 && (!parse_number(argv[optind + 2], UINT64_MAX - 1 - args->begin, &length) || !length))
		return usage_error(command, "'%s' is no number of blocks", argv[optind + 2]);
	args->end = args->begin + length;
	return EXIT_FINE;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"metadata", no_argument, NULL, 'M'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	struct args args = {.space = THINP_POOL_DATA};
	struct pool_handle handle;
	int option;
	int status;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
		switch (option) {
		case 'j':
			args.json = true;
			break;
		case 'M':
			args.space = THINP_POOL_METADATA;
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

const struct command counts_command = {
	.name = "counts",
	.summary = "how often blocks are referenced",
	.help = "[OPTION]... POOL [BLOCK [NUMBER]]\n\n"
		"Tells the reference counts of data blocks: of NUMBER (default: one) from BLOCK on, or of all. 0: "
		"free.\n\n"
		"      --metadata       of metadata blocks\n"
		"      --json           as JSON; numbers of 2^63 and more are strings\n"
		"  -h, --help           show this and end\n",
	.run = run,
};
