/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/data.c - thinp data: data blocks and references to them, by hand.
 */
#include "change.h"

#include <inttypes.h>

struct args {
	uint64_t first, nr_blocks;
};

/* --- alloc --- */

static int alloc(struct thinp_pool *pool, void *ctx)
{
	struct args *args = ctx;

	return thinp_pool_alloc_data(pool, args->nr_blocks, &args->first, NULL);
}

static int run_alloc(const struct command *command, int argc, char **argv)
{
	struct args args = {.nr_blocks = 1};
	struct change change;
	int status = change_parse(&change, command, argc, argv, NULL, NULL, NULL, 0, 1);

	if (status != CHANGE_GO_ON)
		return status;
	if (!change_number(&change, 0, "number of blocks", &args.nr_blocks))
		return EXIT_USAGE;
	status = change_run(&change, alloc, &args);
	if (status)
		return status;
	change_tell("took %" PRIu64 " data blocks from %" PRIu64 " on\n", args.nr_blocks, args.first);
	return finish_output(command);
}

/* --- inc and dec --- */

static int inc(struct thinp_pool *pool, void *ctx)
{
	const struct args *args = ctx;

	return thinp_pool_inc_data(pool, args->first, args->nr_blocks);
}

static int dec(struct thinp_pool *pool, void *ctx)
{
	const struct args *args = ctx;

	return thinp_pool_dec_data(pool, args->first, args->nr_blocks);
}

static int run_count(const struct command *command, int argc, char **argv, change_fn fn, const char *what)
{
	struct args args = {.nr_blocks = 1};
	struct change change;
	int status = change_parse(&change, command, argc, argv, NULL, NULL, NULL, 1, 2);

	if (status != CHANGE_GO_ON)
		return status;
	if (!change_number(&change, 0, "data block", &args.first) ||
	    !change_number(&change, 1, "number of blocks", &args.nr_blocks))
		return EXIT_USAGE;
	status = change_run(&change, fn, &args);
	if (status)
		return status;
	change_tell("%" PRIu64 " data blocks from %" PRIu64 " on have one reference %s each\n", args.nr_blocks,
		    args.first, what);
	return finish_output(command);
}

static int run_inc(const struct command *command, int argc, char **argv)
{
	return run_count(command, argc, argv, inc, "more");
}

static int run_dec(const struct command *command, int argc, char **argv)
{
	return run_count(command, argc, argv, dec, "less");
}

static const struct command alloc_command = {
	.name = "data alloc",
	.summary = "take neighbouring free data blocks",
	.help = "[OPTION]... POOL [NUMBER]\n\n"
		"Takes NUMBER (default: one) neighbouring free data blocks. Each has one reference then, which is "
		"yours:\n"
		"'thinp map --data BLOCK --counted' moves it into a mapping, 'thinp data dec' drops "
		"it.\n\n" CHANGE_HELP,
	.run = run_alloc,
	.is_change = true,
};

static const struct command inc_command = {
	.name = "data inc",
	.summary = "add a reference to data blocks",
	.help = "[OPTION]... POOL BLOCK [NUMBER]\n\n"
		"Adds a reference to each of NUMBER data blocks (default: one), from BLOCK on.\n\n" CHANGE_HELP,
	.run = run_inc,
	.is_change = true,
};

static const struct command dec_command = {
	.name = "data dec",
	.summary = "drop a reference to data blocks",
	.help = "[OPTION]... POOL BLOCK [NUMBER]\n\n"
		"Drops a reference to each of NUMBER data blocks (default: one), from BLOCK on. Dropping one that a "
		"mapping\n"
		"needs damages the pool.\n\n" CHANGE_HELP,
	.run = run_dec,
	.is_change = true,
};

static const struct command *const members[] = {&alloc_command, &inc_command, &dec_command, NULL};

const struct command data_command = {
	.name = "data",
	.summary = "data blocks and references to them, by hand",
	.help = "Takes data blocks, and counts references to them, by hand. A reference that no mapping has is a leak "
		"to a\n"
		"check: 'thinp check --fix-leaks' drops it.\n",
	.members = members,
};
