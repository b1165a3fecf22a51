/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/resize.c - thinp resize: a pool that grows.
 */
#include "change.h"

#include <inttypes.h>

struct args {
	const char *data_text, *metadata_text; /* NULL: stays as it is */
	uint64_t nr_data_blocks, nr_metadata_blocks;
};

/* A size, or with a plus sign so much more than it is. */
static int size_of(const char *text, uint64_t nr_blocks, uint64_t block_bytes, uint64_t *result)
{
	uint64_t nbytes;
	uint64_t before = *text == '+' ? nr_blocks : 0;

	if (!parse_size(text + (*text == '+'), block_bytes, &nbytes))
		return thinp_error_report(THINP_EINVAL, THINP_NO_BLOCK, "that is no size");
	if (nbytes / block_bytes > UINT64_MAX - before)
		return thinp_error_report(THINP_ERANGE, THINP_NO_BLOCK, "more than a pool can have");
	*result = before + nbytes / block_bytes;
	return 0;
}

static int resize(struct thinp_pool *pool, void *ctx)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct args *args = ctx;
	int r = 0;

	thinp_pool_get_info(pool, &info);
	args->nr_data_blocks = info.nr_data_blocks;
	args->nr_metadata_blocks = info.nr_metadata_blocks;
	if (args->metadata_text) /* first: it may be needed for the other */
		r = size_of(args->metadata_text, info.nr_metadata_blocks, THINP_BLOCK_SIZE, &args->nr_metadata_blocks);
	if (!r && args->metadata_text)
		r = thinp_pool_grow_metadata(pool, args->nr_metadata_blocks);
	if (!r && args->data_text)
		r = size_of(args->data_text, info.nr_data_blocks, (uint64_t)info.data_block_sectors * 512,
			    &args->nr_data_blocks);
	return r || !args->data_text ? r : thinp_pool_grow_data(pool, args->nr_data_blocks);
}

static bool is_size(const char *text)
{
	uint64_t nbytes;

	return parse_size(text + (*text == '+'), 1, &nbytes);
}

static int take(const struct command *command, int option, const char *value, void *ctx)
{
	struct args *args = ctx;

	if (!is_size(value))
		return usage_error(command, "'%s' is no size", value);
	*(option == 'd' ? &args->data_text : &args->metadata_text) = value;
	return EXIT_FINE;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"data-size", required_argument, NULL, 'd'},
						{"metadata-size", required_argument, NULL, 'm'},
						CHANGE_OPTIONS};
	struct args args = {.data_text = NULL};
	struct change change;
	int status = change_parse(&change, command, argc, argv, options, take, &args, 0, 0);

	if (status != CHANGE_GO_ON)
		return status;
	if (!args.data_text && !args.metadata_text)
		return usage_error(command, "which size?");
	status = change_run(&change, resize, &args);
	if (status)
		return status;
	change_tell("the pool has %" PRIu64 " data blocks and %" PRIu64 " metadata blocks\n", args.nr_data_blocks,
		    args.nr_metadata_blocks);
	return finish_output(command);
}

const struct command resize_command = {
	.name = "resize",
	.summary = "make a pool larger",
	.help = "[OPTION]... POOL\n\n"
		"Makes a pool count more data blocks, or use more metadata blocks. Pools cannot shrink.\n\n"
		"      --data-size SIZE      size of the data device; a number alone counts data blocks\n"
		"      --metadata-size SIZE  size of the metadata; a number alone counts blocks of 4 KiB. A file "
		"grows, a\n"
		"                            block device must have grown\n" CHANGE_HELP
		"\n+SIZE is so much more than there is. Sizes have the units s (sectors), K, M, G, T, P, E (powers of "
		"1024);\n"
		"a rest smaller than a block is left out.\n",
	.run = run,
	.is_change = true,
};
