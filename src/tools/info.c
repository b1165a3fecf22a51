/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/info.c - thinp info: what the superblock of a pool says.
 */
#include "command.h"

#include <inttypes.h>
#include <stdio.h>

static int count_device(void *ctx, const struct thinp_device_info *device)
{
	uint64_t *nr_devices = ctx;

	(void)device;
	(*nr_devices)++;
	return 0;
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

static void print_text(const struct thinp_pool_info *info, uint64_t nr_devices)
{
	printf("format version     %" PRIu32 "%s\n", info->version,
	       info->is_metadata_snap ? ", shown: the metadata snapshot" : "");
	printf("transaction id     %" PRIu64 "\n", info->transaction_id);
	printf("snapshot clock     %" PRIu32 "\n", info->time);
	printf("devices            %" PRIu64 "\n", nr_devices);
	printf("data block size    %" PRIu32 " sectors, %" PRIu64 " KiB\n", info->data_block_sectors,
	       (uint64_t)info->data_block_sectors / 2);
	printf("data blocks        %" PRIu64 ", %" PRIu64 " in use (%.1f %%)\n", info->nr_data_blocks,
	       info->nr_data_allocated, percent(info->nr_data_allocated, info->nr_data_blocks));
	printf("metadata blocks    %" PRIu64 ", %" PRIu64 " in use (%.1f %%)\n", info->nr_metadata_blocks,
	       info->nr_metadata_allocated, percent(info->nr_metadata_allocated, info->nr_metadata_blocks));
	if (info->metadata_snap)
		printf("metadata snapshot  at block %" PRIu64 "\n", info->metadata_snap);
	else
		printf("metadata snapshot  none\n");
	printf("needs check        %s\n", info->flags & THINP_POOL_NEEDS_CHECK ? "yes" : "no");
	if (info->compat_flags || info->compat_ro_flags)
		printf("unknown features   compat %#" PRIx32 ", compat_ro %#" PRIx32 "\n", info->compat_flags,
		       info->compat_ro_flags);
}

static json_t *as_json(const struct thinp_pool_info *info, uint64_t nr_devices)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b, s:o, s:o}", "version",
			 json_number(info->version), "transaction_id", json_number(info->transaction_id), "time",
			 json_number(info->time), "nr_devices", json_number(nr_devices), "data_block_sectors",
			 json_number(info->data_block_sectors), "nr_data_blocks", json_number(info->nr_data_blocks),
			 "nr_data_allocated", json_number(info->nr_data_allocated), "nr_metadata_blocks",
			 json_number(info->nr_metadata_blocks), "nr_metadata_allocated",
			 json_number(info->nr_metadata_allocated), "metadata_snap", json_number(info->metadata_snap),
			 "is_metadata_snap", (int)info->is_metadata_snap, "needs_check",
			 (int)(info->flags & THINP_POOL_NEEDS_CHECK), "compat_flags", json_number(info->compat_flags),
			 "compat_ro_flags", json_number(info->compat_ro_flags));
}

static int show(const struct command *command, const char *path, struct pool_handle *handle, bool json)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	uint64_t nr_devices = 0;
	int r = thinp_pool_walk_devices(handle->pool, count_device, &nr_devices);

	if (r)
		return report(command, path, r);
	thinp_pool_get_info(handle->pool, &info);
	if (json)
		return print_json(command, as_json(&info, nr_devices));
	print_text(&info, nr_devices);
	return finish_output(command);
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"metadata-snap", no_argument, NULL, 'm'},
						{"help", no_argument, NULL, 'h'},
						{NULL, 0, NULL, 0}};
	struct pool_args args = {.metadata_snap = false};
	struct pool_handle handle;
	bool json = false;
	int option;
	int status;

	while ((option = getopt_long(argc, argv, "mh", options, NULL)) != -1)
		switch (option) {
		case 'j':
			json = true;
			break;
		case 'm':
			args.metadata_snap = true;
			break;
		case 'h':
			return print_help(command);
		default:
			return usage_error(command, "wrong option");
		}
	status = open_pool(command, argc, argv, &args, &handle);
	if (status)
		return status;
	status = show(command, argv[optind], &handle, json);
	close_pool(&handle);
	return status;
}

const struct command info_command = {
	.name = "info",
	.summary = "what a pool is, how large, how full",
	.help = "[OPTION]... POOL\n\n"
		"Shows what the superblock of a pool says.\n\n"
		"      --json           as JSON; numbers of 2^63 and more are strings\n"
		"  -m, --metadata-snap  of the pool's metadata snapshot\n"
		"  -h, --help           show this and end\n",
	.run = run,
};
