/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/set_transaction_id.c - thinp set-transaction-id: the number that user space keeps.
 */
#include "change.h"

#include <inttypes.h>

struct args {
	uint64_t from, to;
};

static int set(struct thinp_pool *pool, void *ctx)
{
	const struct args *args = ctx;

	return thinp_pool_set_transaction_id(pool, args->from, args->to);
}

static int run(const struct command *command, int argc, char **argv)
{
	struct change change;
	struct args args;
	int status = change_parse(&change, command, argc, argv, NULL, NULL, NULL, 2, 2);

	if (status != CHANGE_GO_ON)
		return status;
	if (!change_number(&change, 0, "transaction id", &args.from) ||
	    !change_number(&change, 1, "transaction id", &args.to))
		return EXIT_USAGE;
	status = change_run(&change, set, &args);
	if (status)
		return status;
	change_tell("the transaction id is %" PRIu64 "\n", args.to);
	return finish_output(command);
}

const struct command set_transaction_id_command = {
	.name = "set-transaction-id",
	.summary = "set the number that user space keeps in step",
	.help = "[OPTION]... POOL CURRENT NEW\n\n"
		"Sets the transaction id to NEW, if it is CURRENT. It is a number for user space, lvm2 for example, to "
		"see\n"
		"whether a pool is in step with what is known of it elsewhere.\n\n" CHANGE_HELP,
	.run = run,
	.is_change = true,
};
