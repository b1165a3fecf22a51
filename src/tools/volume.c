/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/volume.c - thinp volume: making, deleting, listing thin devices.
 */
#include "change.h"

#include <inttypes.h>

/* --- create --- */

static int create(struct thinp_pool *pool, void *ctx)
{
	return thinp_pool_create_device(pool, *(const uint64_t *)ctx);
}

static int run_create(const struct command *command, int argc, char **argv)
{
	struct change change;
	uint64_t dev_id;
	int status = change_parse(&change, command, argc, argv, NULL, NULL, NULL, 1, 1);

	if (status != CHANGE_GO_ON)
		return status;
	if (!change_number(&change, 0, "device id", &dev_id))
		return EXIT_USAGE;
	status = change_run(&change, create, &dev_id);
	if (status)
		return status;
	change_tell("made device %" PRIu64 "\n", dev_id);
	return finish_output(command);
}

static const struct command create_volume = {
	.name = "volume create",
	.help = "[OPTION]... POOL ID\n\n"
		"Makes an empty thin device.\n\n" CHANGE_HELP,
	.summary = "make an empty device",
	.run = run_create,
	.is_change = true,
};

/* --- delete --- */

static int delete_some(struct thinp_pool *pool, const struct removal *removal, struct thinp_pool_step *step)
{
	return thinp_pool_delete_step(pool, removal->dev_id, removal->max_leaves, step);
}

static int delete_one(struct change *change, struct removal *removal)
{
	int r = change_in_steps(change, delete_some, removal);

	if (r)
		return change_report_steps(change, removal, r);
	change_tell("deleted device %" PRIu64 ", with %" PRIu64 " commits\n", removal->dev_id, removal->nr_commits);
	return finish_output(change->command);
}

static int take_delete(const struct command *command, int option, const char *value, void *ctx)
{
	uint64_t nr;

	(void)option;
	if (!parse_number(value, UINT32_MAX, &nr) || !nr)
		return usage_error(command, "'%s' is no number of metadata blocks", value);
	((struct removal *)ctx)->max_leaves = (uint32_t)nr;
	return EXIT_FINE;
}

static int run_delete(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {{"step", required_argument, NULL, 's'}, CHANGE_OPTIONS};
	struct removal removal = {.max_leaves = 0};
	struct change change;
	int status = change_parse(&change, command, argc, argv, options, take_delete, &removal, 1, 1);

	if (status != CHANGE_GO_ON)
		return status;
	if (!change_number(&change, 0, "device id", &removal.dev_id))
		return EXIT_USAGE;
	status = change_open(&change);
	if (status)
		return status;
	status = delete_one(&change, &removal);
	change_close(&change);
	return status;
}

static const struct command delete_volume = {
	.name = "volume delete",
	.summary = "delete a device",
	.help = "[OPTION]... POOL ID\n\n"
		"Deletes a thin device. Data blocks that only it has mapped become free.\n"
		"When there is no room to do that at once, its mappings are taken away in steps, each with a commit "
		"of\n"
		"its own; an interrupted one is taken up again by the same command.\n\n"
		"      --step N              in steps of N metadata blocks of mappings, with about 250 mappings "
		"each\n" CHANGE_HELP,
	.run = run_delete,
	.is_change = true,
};

/* --- ls --- */

static const struct command list_volumes = {
	.name = "volume ls",
	.summary = "list the devices",
	.help = "[OPTION]... POOL\n\n"
		"The same as 'thinp ls'.\n\n"
		"      --json           as JSON; numbers of 2^63 and more are strings\n"
		"      --no-headers     without the line of headers\n"
		"  -m, --metadata-snap  of the pool's metadata snapshot\n"
		"  -h, --help           show this and end\n",
	.run = run_ls,
};

static const struct command *const members[] = {&create_volume, &delete_volume, &list_volumes, NULL};

const struct command volume_command = {
	.name = "volume",
	.summary = "make, delete or list thin devices",
	.help = "Makes, deletes or lists thin devices.\n",
	.members = members,
};
