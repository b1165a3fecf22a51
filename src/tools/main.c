/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/main.c - the command thinp: finds the subcommand.
 */
#include "command.h"

#include <thinp/version.h>

#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {&info_command, &ls_command, &dump_command, &check_command};

#define NR_COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_usage(FILE *out)
{
	fprintf(out, "Usage: thinp SUBCOMMAND [OPTION]... POOL\n\n"
		     "Works on the metadata of Linux thin pools, without the kernel and without root.\n"
		     "POOL is a file or block device that holds the metadata.\n\nSubcommands:\n");
	for (size_t i = 0; i < NR_COMMANDS; i++)
		fprintf(out, "  %-6s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(out, "\nOptions:\n"
		     "  -h, --help     show this and end; 'thinp SUBCOMMAND --help' tells more\n"
		     "  -V, --version  show the version and end\n\n"
		     "Exit status: 0 fine, 1 found a problem or could not do it, 2 wrong usage.\n");
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
	for (size_t i = 0; i < NR_COMMANDS; i++)
		if (!strcmp(name, commands[i]->name))
			return commands[i]->run(commands[i], argc - 1, argv + 1);
	if (argc > 1)
		fprintf(stderr, "thinp: there is no subcommand '%s'\n\n", name);
	print_usage(stderr);
	return EXIT_USAGE;
}
