/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/unmap.c - thinp unmap: taking mappings away.
 */
#include "change.h"

#include <inttypes.h>

struct args {
	struct removal removal;
	bool all;
};

static int unmap_some(struct thinp_pool *pool, const struct removal *removal, struct thinp_pool_step *step)
{
	return thinp_pool_remove_step(pool, removal->dev_id, removal->first, removal->last, removal->max_leaves, step);
}

static int unmap(struct change *change, struct removal *removal)
{
	int r = change_in_steps(change, unmap_some, removal);

	if (r)
		return change_report_steps(change, removal, r);
	change_tell("took away %" PRIu64 " mappings of device %" PRIu64 ", with %" PRIu64 " commits\n",
		    removal->nr_removed, removal->dev_id, removal->nr_commits);
	return finish_output(change->command);
}

static int take(const struct command *command, int option, const char *value, void *ctx)
{
	struct args *args = ctx;
	uint64_t nr;

	if (option == 'a') {
		args->all = true;
		return EXIT_FINE;
	}
	if (!parse_number(value, UINT32_MAX, &nr) || !nr)
		return usage_error(command, "'%s' is no number of metadata blocks", value);
	args->removal.max_leaves = (uint32_t)nr;
	return EXIT_FINE;
}

/* An exit status, or CHANGE_GO_ON. */
static int take_range(const struct change *change, struct args *args)
{
	struct removal *removal = &args->removal;
	uint64_t length = 1;

	if (!change_number(change, 0, "device id", &removal->dev_id) ||
	    !change_number(change, 1, "block", &removal->first) ||
	    !change_number(change, 2, "number of blocks", &length))
		return EXIT_USAGE;
	if (args->all == (change->words[1] != NULL))
		return usage_error(change->command, args->all ? "which blocks, or all?" : "which blocks? or --all");
	if (!length || (!args->all && length - 1 > UINT64_MAX - removal->first))
		return usage_error(change->command, "a device has no such blocks");
	removal->last = args->all ? UINT64_MAX : removal->first + length - 1;
	return CHANGE_GO_ON;
}

static int run(const struct command *command, int argc, char **argv)
{
	static const struct option options[] = {
		{"all", no_argument, NULL, 'a'}, {"step", required_argument, NULL, 's'}, CHANGE_OPTIONS};
	struct args args = {.all = false};
	struct change change;
	int status = change_parse(&change, command, argc, argv, options, take, &args, 1, 3);

	if (status == CHANGE_GO_ON)
		status = take_range(&change, &args);
	if (status != CHANGE_GO_ON)
		return status;
	status = change_open(&change);
	if (status)
		return status;
	status = unmap(&change, &args.removal);
	change_close(&change);
	return status;
}

const struct command unmap_command = {
	.name = "unmap",
	.summary = "take mappings away",
	.help = "[OPTION]... POOL ID BLOCK [NUMBER]\n"
		"   or: thinp unmap [OPTION]... --all POOL ID\n\n"
		"Takes away what NUMBER blocks (default: one) of device ID are mapped to, from BLOCK on. Data blocks "
		"that\n"
		"nothing else has mapped become free. Blocks that are not mapped are passed over.\n"
		"When there is no room to do that at once, it is done in steps, each with a commit of its own; an\n"
		"interrupted one is taken up again by the same command.\n\n"
		"      --all                 all of the device\n"
		"      --step N              in steps of N metadata blocks of mappings, with about 250 mappings "
		"each\n" CHANGE_HELP,
	.run = run,
	.is_change = true,
};
