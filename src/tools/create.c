/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/create.c - thinp create: an empty pool.
 */
#include "command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR            512u
#define MAX_BLOCK_SECTORS 2097152u
#define LEAST_METADATA    512u /* blocks, 2 MiB */
#define MOST_METADATA     UINT64_C(4161600)

struct args {
	uint64_t block_size;
	uint64_t metadata_size;
	const char *data_text;
};

/* 64 bytes for a data block: mappings take 16 each, leaves are two thirds full at times, and then there are snapshots. */
static uint64_t default_metadata(uint64_t nr_data_blocks)
{
	uint64_t nr = nr_data_blocks / (THINP_BLOCK_SIZE / 64);

	return nr < LEAST_METADATA ? LEAST_METADATA : nr > MOST_METADATA ? MOST_METADATA : nr;
}

/* The part of a name that is a path in the file system; see thinp_io_open(). */
static const char *path_in(const char *name)
{
	static const char *const words[] = {"file:", "device:", "uring:"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strncmp(name, words[i], strlen(words[i])))
			return name + strlen(words[i]);
	return name;
}

/* The size that the file or device is to have at least: a file that is not there yet, or is empty, gets one. */
static uint64_t size_for(const char *path, const struct thinp_pool_opts *opts, bool *is_there)
{
	uint64_t nr_blocks =
		opts->nr_metadata_blocks ? opts->nr_metadata_blocks : default_metadata(opts->nr_data_blocks);
	struct stat st;

	*is_there = !stat(path, &st);
	if (*is_there && (!S_ISREG(st.st_mode) || st.st_size))
		return opts->nr_metadata_blocks;
	return nr_blocks < MOST_METADATA ? nr_blocks : MOST_METADATA;
}

/* Nothing that is there is overwritten. */
static int check_empty(struct thinp_io *io)
{
	struct thinp_pool *pool;
	int r = thinp_pool_open(io, NULL, &pool);

	if (r == THINP_EUNFORMATTED)
		return 0;
	if (r)
		return r;
	thinp_pool_close(pool);
	return thinp_error_report(THINP_EEXIST, 0, "there is a pool already");
}

/* *is_empty: nothing was there before. */
static int make(struct thinp_io *io, const struct thinp_pool_opts *opts, struct thinp_pool_info *info, bool *is_empty)
{
	struct thinp_pool *pool;
	int r = check_empty(io);

	*is_empty = !r;
	if (!r)
		r = thinp_pool_open(io, opts, &pool);
	if (r)
		return r;
	thinp_pool_get_info(pool, info);
	thinp_pool_close(pool);
	return 0;
}

static int create(const struct command *command, const char *name, const struct thinp_pool_opts *opts)
{
	bool is_there, is_empty;
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = size_for(path_in(name), opts, &is_there)};
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct thinp_io *io;
	int r;

	io_opts.flags = is_there ? 0u : THINP_IO_CREATE;
	r = thinp_io_open(name, &io_opts, &io);
	if (r)
		return report(command, name, r);
	r = make(io, opts, &info, &is_empty);
	if (r)
		report(command, name, r);
	thinp_io_close(io);
	if (r && !is_there && is_empty)
		(void)unlink(path_in(name));
	if (r)
		return EXIT_PROBLEM;
	printf("made a pool of %" PRIu64 " data blocks of %" PRIu32 " sectors, with %" PRIu64 " metadata blocks\n",
	       info.nr_data_blocks, info.data_block_sectors, info.nr_metadata_blocks);
	return finish_output(command);
}

static int make_opts(const struct command *command, const struct args *args, struct thinp_pool_opts *opts)
{
	uint64_t data_size = 0;

	if (args->block_size % SECTOR || args->block_size / SECTOR > MAX_BLOCK_SECTORS)
		return usage_error(command, "data blocks have at most 1 GiB, and are multiples of 64 KiB");
	if (args->data_text && (!args->block_size || !parse_size(args->data_text, args->block_size, &data_size)))
		return usage_error(command, "'%s' is no size of data", args->data_text);
	opts->data_block_sectors = (uint32_t)(args->block_size / SECTOR);
	opts->nr_data_blocks = args->block_size ? data_size / args->block_size : 0;
	opts->nr_metadata_blocks = args->metadata_size / THINP_BLOCK_SIZE;
	return EXIT_FINE;
}

static const struct option options[] = {
	{"data-size", required_argument, NULL, 'd'},
	{"block-size", required_argument, NULL, 'b'},
	{"metadata-size", required_argument, NULL, 'm'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int run(const struct command *command, int argc, char **argv)
{
	struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE};
	struct args args = {.block_size = 65536};
	int option;
	int status;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
		switch (option) {
		case 'd':
			args.data_text = optarg;
			break;
		case 'b':
			if (!parse_size(optarg, SECTOR, &args.block_size) || !args.block_size)
				return usage_error(command, "'%s' is no size of data blocks", optarg);
			break;
		case 'm':
			if (!parse_size(optarg, THINP_BLOCK_SIZE, &args.metadata_size) ||
			    args.metadata_size < THINP_BLOCK_SIZE)
				return usage_error(command, "'%s' is no size of metadata", optarg);
			break;
		case 'h':
			return print_help(command);
		default:
			return usage_error(command, "wrong option");
		}
	if (optind + 1 != argc)
		return usage_error(command, optind == argc ? "which pool?" : "one pool at a time");
	status = make_opts(command, &args, &opts);
	if (status)
		return status;
	return create(command, argv[optind], &opts);
}

const struct command create_command = {
	.name = "create",
	.summary = "make an empty pool",
	.help = "[OPTION]... POOL\n\n"
		"Makes an empty pool in a new file, or in a file or block device whose first block is all zero.\n"
		"Nothing else is overwritten.\n\n"
		"      --data-size SIZE      size of the data device; a number alone counts data blocks.\n"
		"                            Default: 0, to be set with 'thinp resize' or when a kernel uses the pool\n"
		"      --block-size SIZE     size of data blocks, a multiple of 64K; a number alone counts sectors.\n"
		"                            Default: 64K\n"
		"      --metadata-size SIZE  size of the metadata; a number alone counts blocks of 4 KiB. Default: "
		"that of\n"
		"                            the file or device; of a new file 64 bytes for a data block, 2M at least\n"
		"  -h, --help                show this and end\n\n"
		"Sizes have the units s (sectors), K, M, G, T, P, E (powers of 1024).\n",
	.run = run,
};
