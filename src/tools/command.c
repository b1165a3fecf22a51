/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/command.c - what the subcommands of thinp share.
 */
#include "command.h"

#include <thinp/error.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Enough for the nodes that many snapshots share, and less than the older tools take for everything. */
#define DEFAULT_CACHE_MIB 16u

int print_help(const struct command *command)
{
	printf("Usage: thinp %s %s", command->name, command->help);
	return finish_output(command);
}

int usage_error(const struct command *command, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "thinp %s: ", command->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nTry 'thinp %s --help'.\n", command->name);
	return EXIT_USAGE;
}

bool parse_number(const char *text, uint64_t most, uint64_t *number)
{
	unsigned long long value;
	char *end;

	if (*text < '0' || *text > '9') /* strtoull would take blanks and signs */
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || *end || value > most)
		return false;
	*number = value;
	return true;
}

static bool find_unit(const char *text, uint64_t *nbytes)
{
	static const char letters[] = "KMGTPE";
	const char *letter = strchr(letters, *text >= 'a' ? *text - 'a' + 'A' : *text);

	if (!strcmp(text, "s")) {
		*nbytes = 512;
		return true;
	}
	if (!letter || !*letter || (text[1] && strcmp(text + 1, "iB") != 0))
		return false;
	*nbytes = UINT64_C(1024) << 10 * (letter - letters);
	return true;
}

bool parse_size(const char *text, uint64_t bytes_of_one, uint64_t *nbytes)
{
	unsigned long long value;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || (*end && !find_unit(end, &bytes_of_one)) || value > UINT64_MAX / bytes_of_one)
		return false;
	*nbytes = value * bytes_of_one;
	return true;
}

int report(const struct command *command, const char *path, int r)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	fprintf(stderr, "thinp %s: %s: ", command->name, path);
	if (info.code == r && info.block != THINP_NO_BLOCK)
		fprintf(stderr, "block %" PRIu64 ": ", info.block);
	fprintf(stderr, "%s\n", info.code == r ? info.message : thinp_strerror(r));
	return EXIT_PROBLEM;
}

void log_warning(void *ctx, const struct thinp_log_record *rec)
{
	const struct command *command = ctx;

	fprintf(stderr, "thinp %s: warning: %s\n", command->name, rec->text);
}

int open_pool(const struct command *command, int argc, char **argv, const struct pool_args *args,
	      struct pool_handle *handle)
{
	/* the metadata snapshot of a pool stays as it is while the pool is in use; all else may change while it is read */
	struct thinp_io_opts io_opts = {
		.size = sizeof(io_opts),
		.flags = THINP_IO_READ_ONLY | (args->metadata_snap ? 0 : THINP_IO_EXCLUSIVE),
	};
	uint64_t cache_mib = args->cache_mib ? args->cache_mib : DEFAULT_CACHE_MIB;
	struct thinp_pool_opts opts = {
		.size = sizeof(opts),
		.flags = args->metadata_snap ? THINP_POOL_METADATA_SNAP : 0,
		.cache_blocks = (uint32_t)(cache_mib * (1024 * 1024 / THINP_BLOCK_SIZE)),
		.log = log_warning,
		.log_ctx = (void *)(uintptr_t)command,
	};
	int r;

	if (optind + 1 != argc)
		return usage_error(command, optind == argc ? "which pool?" : "one pool at a time");
	r = thinp_io_open(argv[optind], &io_opts, &handle->io);
	if (r)
		return report(command, argv[optind], r);
	r = thinp_pool_open(handle->io, &opts, &handle->pool);
	if (!r)
		return EXIT_FINE;
	report(command, argv[optind], r);
	thinp_io_close(handle->io);
	return EXIT_PROBLEM;
}

void close_pool(struct pool_handle *handle)
{
	thinp_pool_close(handle->pool);
	thinp_io_close(handle->io);
}

json_t *json_number(uint64_t number)
{
	char digits[24];

	if (number <= INT64_MAX)
		return json_integer((json_int_t)number);
	snprintf(digits, sizeof(digits), "%" PRIu64, number);
	return json_string(digits);
}

int print_json(const struct command *command, json_t *document)
{
	if (!document || json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER)) {
		json_decref(document);
		fprintf(stderr, "thinp %s: cannot write JSON\n", command->name);
		return EXIT_PROBLEM;
	}
	json_decref(document);
	putchar('\n');
	return finish_output(command);
}

int finish_output(const struct command *command)
{
	if (!fflush(stdout) && !ferror(stdout))
		return EXIT_FINE;
	fprintf(stderr, "thinp %s: cannot write: %s\n", command->name, strerror(errno));
	return EXIT_PROBLEM;
}

int append_run(json_t *runs, json_t *item)
{
	if (!json_array_append_new(runs, item))
		return 0;
	return thinp_error_report(THINP_ENOMEM, THINP_NO_BLOCK, "no memory for the list of runs");
}

int finish_runs(const struct command *command, const char *path, int r, json_t *runs)
{
	if (r) {
		json_decref(runs);
		return report(command, path, r);
	}
	return runs ? print_json(command, runs) : finish_output(command);
}
