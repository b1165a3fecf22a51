/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/metadata_snap.c - thinp metadata-snap: the metadata snapshot of a pool.
 */
#include "change.h"

#include <inttypes.h>

static int reserve(struct thinp_pool *pool, void *ctx)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	int r = thinp_pool_reserve_metadata_snap(pool);

	if (r)
		return r;
	thinp_pool_get_info(pool, &info);
	*(uint64_t *)ctx = info.metadata_snap;
	return 0;
}

static int release_some(struct thinp_pool *pool, const struct removal *removal, struct thinp_pool_step *step)
{
	return thinp_pool_release_step(pool, removal->max_leaves, step);
}

static int release(struct change *change)
{
	struct removal removal = {.max_leaves = 0};
	int r = change_in_steps(change, release_some, &removal);

	if (r)
		return change_report_steps(change, &removal, r);
	change_tell("dropped the metadata snapshot\n");
	return finish_output(change->command);
}

static int run_reserve(const struct command *command, int argc, char **argv)
{
	struct change change;
	uint64_t block;
	int status = change_parse(&change, command, argc, argv, NULL, NULL, NULL, 0, 0);

	if (status == CHANGE_GO_ON)
		status = change_run(&change, reserve, &block);
	else
		return status;
	if (status)
		return status;
	change_tell("made a metadata snapshot at block %" PRIu64 "\n", block);
	return finish_output(command);
}

static int run_release(const struct command *command, int argc, char **argv)
{
	struct change change;
	int status = change_parse(&change, command, argc, argv, NULL, NULL, NULL, 0, 0);

	if (status != CHANGE_GO_ON)
		return status;
	status = change_open(&change);
	if (status)
		return status;
	status = release(&change);
	change_close(&change);
	return status;
}

static const struct command reserve_command = {
	.name = "metadata-snap reserve",
	.summary = "keep all devices as they are now",
	.help = "[OPTION]... POOL\n\n"
		"Keeps all devices as they are now, for programs that read: option -m of several "
		"subcommands.\n\n" CHANGE_HELP,
	.run = run_reserve,
	.is_change = true,
};

static const struct command release_command = {
	.name = "metadata-snap release",
	.summary = "drop the metadata snapshot",
	.help = "[OPTION]... POOL\n\n"
		"Drops the metadata snapshot. What only it has becomes free. When there is no room to do that at once, "
		"it is\n"
		"done in steps, as by 'thinp volume delete'.\n\n" CHANGE_HELP,
	.run = run_release,
	.is_change = true,
};

static const struct command *const members[] = {&reserve_command, &release_command, NULL};

const struct command metadata_snap_command = {
	.name = "metadata-snap",
	.summary = "make or drop the metadata snapshot",
	.help = "Makes or drops the metadata snapshot of a pool, which stays as it is while the pool is used.\n",
	.members = members,
};
