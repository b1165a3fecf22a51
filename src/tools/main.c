/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/main.c - the command thinp: finds the subcommand.
 */
#include "command.h"

#include <thinp/version.h>

#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
	&create_command,      &volume_command,        &snapshot_command,
	&map_command,         &unmap_command,         &resize_command,
	&data_command,        &metadata_snap_command, &set_transaction_id_command,
	&needs_check_command, &info_command,          &ls_command,
	&lookup_command,      &counts_command,        &dump_command,
	&check_command,       &ops_command,           NULL,
};

static void print_members(FILE *out, const struct command *const *members)
{
	for (; *members; members++)
		fprintf(out, "  %-20s %s\n", (*members)->name, (*members)->summary);
}

static void print_usage(FILE *out)
{
	fprintf(out, "Usage: thinp SUBCOMMAND [OPTION]... POOL [ARGUMENT]...\n\n"
		     "Works on the metadata of Linux thin pools, without the kernel and without root.\n"
		     "POOL is a file or block device that holds the metadata.\n\nSubcommands:\n");
	print_members(out, commands);
	fprintf(out, "\nOptions:\n"
		     "  -h, --help     show this and end; 'thinp SUBCOMMAND --help' tells more\n"
		     "  -V, --version  show the version and end\n\n"
		     "Exit status: 0 fine, 1 found a problem or could not do it, 2 wrong usage.\n");
}

static void print_group(FILE *out, const struct command *group)
{
	fprintf(out, "Usage: thinp %s SUBCOMMAND [OPTION]... POOL [ARGUMENT]...\n\n%s", group->name, group->help);
	for (const struct command *const *member = group->members; *member; member++)
		fprintf(out, "\nthinp %s %s", (*member)->name, (*member)->help);
}

static const struct command *find(const struct command *const *members, const char *word)
{
	for (; *members; members++) {
		const char *blank = strrchr((*members)->name, ' ');

		if (!strcmp(word, blank ? blank + 1 : (*members)->name))
			break;
	}
	return *members;
}

/* The second word. */
static const struct command *find_member(const struct command *group, int *argc, char ***argv, int *status)
{
	const char *word = *argc > 1 ? (*argv)[1] : "";
	const struct command *found = find(group->members, word);

	if (!strcmp(word, "-h") || !strcmp(word, "--help")) {
		print_group(stdout, group);
		*status = finish_output(group);
	} else if (!found) {
		*status = *word ? usage_error(group, "there is no subcommand '%s'", word)
				: usage_error(group, "which subcommand?");
	}
	++*argv;
	--*argc;
	return found;
}

const struct command *find_command(int *argc, char ***argv, int *status)
{
	const struct command *found = find(commands, (*argv)[0]);

	if (found && found->members)
		return find_member(found, argc, argv, status);
	if (!found)
		fprintf(stderr, "thinp: there is no subcommand '%s'\n", (*argv)[0]);
	*status = EXIT_USAGE;
	return found;
}

static int run(int argc, char **argv)
{
	int status;
	const struct command *command = find_command(&argc, &argv, &status);

	return command ? command->run(command, argc, argv) : status;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (!strcmp(name, "-h") || !strcmp(name, "--help")) {
		print_usage(stdout);
		return fflush(stdout) ? EXIT_PROBLEM : EXIT_FINE;
	}
	if (!strcmp(name, "-V") || !strcmp(name, "--version")) {
		printf("thinp %s\n", thinp_version());
		return fflush(stdout) ? EXIT_PROBLEM : EXIT_FINE;
	}
	if (argc > 1)
		return run(argc - 1, argv + 1);
	print_usage(stderr);
	return EXIT_USAGE;
}
