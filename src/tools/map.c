/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/map.c - thinp map: mapping blocks of a device.
 */
#include "change.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run {
	uint64_t virtual_begin, data_begin, length;
};

struct args {
	uint64_t dev_id, virtual_begin, length;
	uint64_t data_begin;
	bool has_data;   /* data blocks are given */
	bool is_counted; /* and have a reference for us */
	bool json;
	struct run *runs; /* what was mapped */
	size_t nr_runs, max_runs;
};

static int no_room(void)
{
	return thinp_error_report(THINP_ENOSPC, THINP_NO_BLOCK,
				  "there is no room in the metadata for so many mappings");
}

static int add_run(struct args *args, const struct run *run)
{
	if (args->nr_runs == args->max_runs) {
		size_t more = args->max_runs ? 2 * args->max_runs : 16;
		struct run *runs = realloc(args->runs, more * sizeof(*runs));

		if (!runs)
			return thinp_error_report(THINP_ENOMEM, THINP_NO_BLOCK, "no memory for the list of runs");
		args->runs = runs;
		args->max_runs = more;
	}
	args->runs[args->nr_runs++] = *run;
	return 0;
}

static int map_run(struct thinp_pool *pool, struct args *args, const struct run *run)
{
	uint64_t nr_done;
	int r = thinp_pool_insert_run(pool, args->dev_id, run->virtual_begin, run->data_begin, run->length, &nr_done);

	if (!r && nr_done < run->length)
		r = no_room();
	return r ? r : add_run(args, run);
}

/* To blocks that are taken. */
static int map_new(struct thinp_pool *pool, struct args *args)
{
	uint64_t done = 0;
	int r = 0;

	while (!r && done < args->length) {
		struct run run = {.virtual_begin = args->virtual_begin + done};

		r = thinp_pool_alloc_data(pool, args->length - done, &run.data_begin, &run.length);
		if (!r)
			r = map_run(pool, args, &run);
		done += run.length;
	}
	return r;
}

static int refuse_used(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	char text[120];

	(void)ctx;
	(void)end;
	if (!count)
		return 0;
	snprintf(text, sizeof(text), "data block %" PRIu64 " is in use, with %" PRIu32 " references", begin, count);
	return thinp_error_report(THINP_EEXIST, THINP_NO_BLOCK, text);
}

/* To blocks that are given: free ones get their first reference now. */
static int map_given(struct thinp_pool *pool, struct args *args)
{
	const struct run run = {args->virtual_begin, args->data_begin, args->length};
	uint64_t end = args->length > UINT64_MAX - args->data_begin ? UINT64_MAX : args->data_begin + args->length;
	int r = 0;

	if (!args->is_counted)
		r = thinp_pool_walk_counts(pool, THINP_POOL_DATA, args->data_begin, end, refuse_used, NULL);
	if (!r && !args->is_counted)
		r = thinp_pool_inc_data(pool, args->data_begin, args->length);
	return r ? r : map_run(pool, args, &run);
}

static int map(struct thinp_pool *pool, void *ctx)
{
	struct args *args = ctx;
	struct thinp_device_info info = {.size = sizeof(info)};
	int r = thinp_pool_get_device(pool, args->dev_id, &info); /* before a large allocation in vain */

	if (!r && args->length - 1 > UINT64_MAX - args->virtual_begin)
		r = thinp_error_report(THINP_EINVAL, THINP_NO_BLOCK, "blocks of a device end before 2^64");
	if (r)
		return r;
	return args->has_data ? map_given(pool, args) : map_new(pool, args);
}

/* --- telling --- */

static json_t *as_json(const struct args *args)
{
	json_t *array = json_array();
	bool is_short = !array;

	for (size_t i = 0; i < args->nr_runs && !is_short; i++) {
		const struct run *run = &args->runs[i];

		is_short = json_array_append_new(array, json_pack("{s:o, s:o, s:o}", "virtual_begin",
								  json_number(run->virtual_begin), "data_begin",
								  json_number(run->data_begin), "length",
								  json_number(run->length))) != 0;
	}
	if (!is_short)
		return array;
	json_decref(array);
	return NULL;
}

static int tell(const struct command *command, const struct args *args)
{
	if (args->json && !change_is_quiet())
		return print_json(command, as_json(args));
	for (size_t i = 0; i < args->nr_runs; i++) {
		const struct run *run = &args->runs[i];

		change_tell("mapped %" PRIu64 " blocks of device %" PRIu64 " from %" PRIu64
			    " on to data blocks from %" PRIu64 " on\n",
			    run->length, args->dev_id, run->virtual_begin, run->data_begin);
	}
	return finish_output(command);
}

/* --- the command line --- */

static int take(const struct command *command, int option, const char *value, void *ctx)
{
	struct args *args = ctx;

	if (option == 'j')
		args->json = true;
	else if (option == 'c')
		args->is_counted = true;
	else if (!parse_number(value, UINT64_MAX, &args->data_begin))
		return usage_error(command, "'%s' is no data block", value);
	else
		args->has_data = true;
	return EXIT_FINE;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"data", required_argument, NULL, 'd'},
						{"counted", no_argument, NULL, 'c'},
						{"json", no_argument, NULL, 'j'},
						CHANGE_OPTIONS};
	struct args args = {.length = 1};
	struct change change;
	int status = change_parse(&change, command, argc, argv, options, take, &args, 2, 3);

	if (status != CHANGE_GO_ON)
		return status;
	if (!change_number(&change, 0, "device id", &args.dev_id) ||
	    !change_number(&change, 1, "block", &args.virtual_begin) ||
	    !change_number(&change, 2, "number of blocks", &args.length))
		return EXIT_USAGE;
	if (!args.length || (args.is_counted && !args.has_data))
		return usage_error(command, args.length ? "--counted goes with --data" : "no blocks are to be mapped");
	status = change_run(&change, map, &args);
	if (!status)
		status = tell(command, &args);
	free(args.runs);
	return status;
}

const struct command map_command = {
	.name = "map",
	.summary = "map blocks of a device",
	.help = "[OPTION]... POOL ID BLOCK [NUMBER]\n\n"
		"Maps NUMBER blocks (default: one) of device ID, from BLOCK on, to free data blocks, which are taken. "
		"What\n"
		"was mapped there before loses its data blocks; snapshots keep theirs. All are mapped or none.\n\n"
		"      --data BLOCK          to these data blocks, from BLOCK on; they must be free\n"
		"      --counted             they have a reference that is moved into the mapping: see 'thinp data'\n"
		"      --json                tell what was mapped as JSON\n" CHANGE_HELP,
	.run = run,
	.is_change = true,
};
