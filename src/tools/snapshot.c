/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/snapshot.c - thinp snapshot: a device that begins as another one is.
 */
#include "change.h"

#include <inttypes.h>

struct args {
	uint64_t origin_id;
	uint64_t dev_id;
};

static int snapshot(struct thinp_pool *pool, void *ctx)
{
	const struct args *args = ctx;

	return thinp_pool_create_snapshot(pool, args->dev_id, args->origin_id);
}

static int run(const struct command *command, int argc, char **argv)
{
	struct change change;
	struct args args;
	int status = change_parse(&change, command, argc, argv, NULL, NULL, NULL, 2, 2);

	if (status != CHANGE_GO_ON)
		return status;
	if (!change_number(&change, 0, "device id", &args.origin_id) ||
	    !change_number(&change, 1, "device id", &args.dev_id))
		return EXIT_USAGE;
	status = change_run(&change, snapshot, &args);
	if (status)
		return status;
	change_tell("made device %" PRIu64 ", a snapshot of device %" PRIu64 "\n", args.dev_id, args.origin_id);
	return finish_output(command);
}

const struct command snapshot_command = {
	.name = "snapshot",
	.summary = "make a device that begins as another one is",
	.help = "[OPTION]... POOL ORIGIN ID\n\n"
		"Makes device ID with the mappings that device ORIGIN has now. It takes as long for a large device as\n"
		"for a small one. ORIGIN may be a snapshot itself, and be deleted before its "
		"snapshots.\n\n" CHANGE_HELP,
	.run = run,
	.is_change = true,
};
