/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/needs_check.c - thinp needs-check: the mark of a pool that asks for a check.
 */
#include "change.h"

static int set(struct thinp_pool *pool, void *ctx)
{
	return thinp_pool_set_needs_check(pool, *(const bool *)ctx);
}

static int run(const struct command *command, int argc, char **argv, bool is_set)
{
	struct change change;
	int status = change_parse(&change, command, argc, argv, NULL, NULL, NULL, 0, 0);

	if (status != CHANGE_GO_ON)
		return status;
	change.ignores_needs_check = true;
	status = change_run(&change, set, &is_set);
	if (status)
		return status;
	change_tell(is_set ? "the pool asks for a check\n" : "the pool does not ask for a check\n");
	return finish_output(command);
}

static int run_set(const struct command *command, int argc, char **argv)
{
	return run(command, argc, argv, true);
}

static int run_clear(const struct command *command, int argc, char **argv)
{
	return run(command, argc, argv, false);
}

static const struct command set_command = {
	.name = "needs-check set",
	.summary = "make the pool ask for a check",
	.help = "[OPTION]... POOL\n\n"
		"Makes the pool ask for a check: a kernel uses it read-only then, and so does this "
		"program.\n\n" CHANGE_HELP,
	.run = run_set,
	.is_change = true,
};

static const struct command clear_command = {
	.name = "needs-check clear",
	.summary = "take the mark away, without a check",
	.help = "[OPTION]... POOL\n\n"
		"Takes the mark away without a check. 'thinp check --clear-needs-check' does it when the pool is "
		"sound, and\n"
		"is what should be used.\n\n" CHANGE_HELP,
	.run = run_clear,
	.is_change = true,
};

static const struct command *const members[] = {&set_command, &clear_command, NULL};

const struct command needs_check_command = {
	.name = "needs-check",
	.summary = "set or clear the mark that asks for a check",
	.help = "Sets or clears the mark in the superblock by which a pool asks for a check of its metadata.\n",
	.members = members,
};
