/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tools/change.c - what the subcommands that change a pool share.
 */
#include "change.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct watch *watch;

void change_watch(const struct watch *new_watch)
{
	watch = new_watch;
}

bool change_is_quiet(void)
{
	return watch && watch->is_quiet;
}

void change_tell(const char *format, ...)
{
	va_list args;

	if (change_is_quiet())
		return;
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
}

/* --- the command line --- */

static int take_words(struct change *change, int argc, char **argv, int least, int most)
{
	int nr = argc - optind - 1;

	if (nr < 0)
		return usage_error(change->command, "which pool?");
	if (nr < least || nr > most)
		return usage_error(change->command, nr < least ? "too few arguments" : "too many arguments");
	change->path = argv[optind];
	for (int i = 0; i < nr; i++)
		change->words[i] = argv[optind + 1 + i];
	return CHANGE_GO_ON;
}

int change_parse(struct change *change, const struct command *command, int argc, char **argv,
		 const struct option *options, change_option_fn take, void *ctx, int least, int most)
{
	static const struct option common[] = {CHANGE_OPTIONS};
	int option;

	*change = (struct change){.command = command};
	while ((option = getopt_long(argc, argv, "h", options ? options : common, NULL)) != -1) {
		int status = EXIT_FINE;

		if (option == 'h')
			return print_help(command);
		if (option == 'I')
			change->ignores_needs_check = true;
		else if (option == '?' || !take)
			status = usage_error(command, "wrong option");
		else
			status = take(command, option, optarg, ctx);
		if (status)
			return status;
	}
	return take_words(change, argc, argv, least, most);
}

bool change_number(const struct change *change, int i, const char *what, uint64_t *number)
{
	if (!change->words[i] || parse_number(change->words[i], UINT64_MAX, number))
		return true;
	usage_error(change->command, "'%s' is no %s", change->words[i], what);
	return false;
}

/* --- the pool --- */

static int set_trace(struct change *change)
{
	int r;

	if (!watch)
		return 0;
	r = thinp_pool_set_trace(change->pool, THINP_POOL_DATA, watch->trace, (void *)(uintptr_t) "data");
	return r ? r
		 : thinp_pool_set_trace(change->pool, THINP_POOL_METADATA, watch->trace,
					(void *)(uintptr_t) "metadata");
}

int change_open(struct change *change)
{
	struct thinp_io_opts io_opts = {.size = sizeof(io_opts)};
	struct thinp_pool_opts opts = {
		.size = sizeof(opts),
		.flags = THINP_POOL_WRITABLE | (change->ignores_needs_check ? THINP_POOL_IGNORE_NEEDS_CHECK : 0u) |
			 (watch && watch->queue_always ? THINP_POOL_QUEUE_ALWAYS : 0u),
		.op_queue_policy = watch ? watch->policy : NULL,
		.log = log_warning,
		.log_ctx = (void *)(uintptr_t)change->command,
	};
	int r = thinp_io_open(change->path, &io_opts, &change->io);

	if (!r)
		r = thinp_pool_open(change->io, &opts, &change->pool);
	if (!r)
		r = set_trace(change);
	if (!r)
		return EXIT_FINE;
	change_report(change, r);
	change_close(change);
	return EXIT_PROBLEM;
}

void change_close(struct change *change)
{
	thinp_pool_close(change->pool);
	thinp_io_close(change->io);
	change->pool = NULL;
	change->io = NULL;
}

int change_report(const struct change *change, int r)
{
	if (r == THINP_ECANCELED) {
		fprintf(stderr, "thinp %s: cancelled\n", change->command->name);
		return EXIT_PROBLEM;
	}
	return report(change->command, change->path, r);
}

/* --- a transaction --- */

/* What has failed is told later: its detail outlives the abort. */
static int give_up(struct change *change, int r)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	(void)thinp_pool_abort(change->pool); /* if that fails, too, nothing more is done with the pool */
	return info.code == r ? thinp_error_report(r, info.block, info.message) : r;
}

int change_try(struct change *change, change_fn fn, void *ctx)
{
	int r = thinp_pool_begin(change->pool);

	if (r)
		return r;
	r = fn(change->pool, ctx);
	if (!r)
		r = thinp_pool_commit(change->pool);
	return r ? give_up(change, r) : 0;
}

int change_commit(struct change *change, change_fn fn, void *ctx)
{
	int r = change_try(change, fn, ctx);

	return r ? change_report(change, r) : EXIT_FINE;
}

int change_run(struct change *change, change_fn fn, void *ctx)
{
	int status = change_open(change);

	if (status)
		return status;
	status = change_commit(change, fn, ctx);
	change_close(change);
	return status;
}

/* --- giving much back --- */

struct step {
	change_step_fn fn;
	const struct removal *removal;
	struct thinp_pool_step done;
};

static int make_step(struct thinp_pool *pool, void *ctx)
{
	struct step *step = ctx;

	return step->fn(pool, step->removal, &step->done);
}

static int try_step(struct change *change, struct step *step, struct removal *removal)
{
	int r = change_try(change, make_step, step);

	if (r)
		return r;
	removal->nr_removed += step->done.nr_removed;
	removal->nr_commits++;
	return 0;
}

/* A signal ends the first step as it ends any program: the pool is as it was. Behind that it is seen between steps. */
int change_in_steps(struct change *change, change_step_fn fn, struct removal *removal)
{
	struct step step = {.fn = fn, .removal = removal, .done = {.size = sizeof(step.done)}};
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct progress progress;
	int r = try_step(change, &step, removal);

	if (r || step.done.is_complete)
		return r;
	thinp_pool_get_info(change->pool, &info);
	progress_begin(&progress, change->command->name);
	while (!r && !step.done.is_complete) {
		r = progress_tell(&progress, removal->nr_removed, removal->nr_removed + info.nr_data_allocated);
		r = r ? THINP_ECANCELED : try_step(change, &step, removal);
	}
	progress_end(&progress);
	return r;
}

int change_report_steps(const struct change *change, const struct removal *removal, int r)
{
	change_report(change, r);
	if (removal->nr_commits)
		fprintf(stderr, "%" PRIu64 " mappings are gone; go on by the same command\n", removal->nr_removed);
	return EXIT_PROBLEM;
}
