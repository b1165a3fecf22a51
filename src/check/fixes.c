/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/fixes.c - putting right what a check found, where nothing is lost by it: leaks, and numbers that are kept twice.
 *
 * All goes through a transaction of the pool, so a crash leaves the pool as it was or as it is to be. Recording a commit
 * changes counts of metadata blocks by itself; therefore what did not go into one transaction is looked for anew.
 */
#include "check/fixes.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "check/checker.h"
#include "thin/fix.h"
#include "thin/pool.h"

#include <inttypes.h>

/* --- noting --- */

static void note(struct tp_fixes *fixes, const struct tp_fix *fix)
{
	fixes->nr_found++;
	if (fixes->nr == TP_FIXES_MOST || fixes->is_short)
		return;
	if (!tp_memory_grow(&fixes->memory, (void **)&fixes->entries, fixes->nr, 1, &fixes->room, sizeof(*fix)))
		fixes->is_short = true;
	else
		fixes->entries[fixes->nr++] = *fix;
}

void tp_fixes_note_counts(struct tp_fixes *fixes, int space, const struct tp_finding *finding)
{
	const struct tp_fix fix = {.kind = TP_FIX_COUNTS,
				   .space = space,
				   .begin = finding->begin,
				   .end = finding->end,
				   .from = finding->stored,
				   .to = finding->expected};

	if (fixes)
		note(fixes, &fix);
}

void tp_fixes_note_bitmap(struct tp_fixes *fixes, int space, uint64_t bitmap)
{
	const struct tp_fix fix = {.kind = TP_FIX_BITMAP, .space = space, .begin = bitmap};

	if (fixes)
		note(fixes, &fix);
}

void tp_fixes_note_mapped(struct tp_fixes *fixes, uint64_t dev_id, uint64_t nr_mappings)
{
	const struct tp_fix fix = {.kind = TP_FIX_MAPPED, .begin = dev_id, .to = nr_mappings};

	if (fixes)
		note(fixes, &fix);
}

void tp_fixes_note_used(struct tp_fixes *fixes, int space, uint64_t nr_used)
{
	if (!fixes)
		return;
	fixes->nr_found++;
	fixes->has_used[space] = true;
	fixes->nr_used[space] = nr_used;
}

void tp_fixes_clear(struct tp_fixes *fixes)
{
	struct tp_memory *memory = &fixes->memory;

	tp_memory_put(memory, fixes->entries, fixes->room, sizeof(*fixes->entries));
	fixes->entries = NULL;
	fixes->nr = 0;
	fixes->room = 0;
	fixes->nr_found = 0;
	fixes->is_short = false;
	fixes->has_used[THINP_POOL_DATA] = false;
	fixes->has_used[THINP_POOL_METADATA] = false;
}

/* --- putting right --- */

static int apply(struct thinp_pool *pool, const struct tp_fix *fix)
{
	switch (fix->kind) {
	case TP_FIX_COUNTS:
		return tp_pool_lower_counts(pool, fix->space, fix->begin, fix->end - fix->begin, (uint32_t)fix->from,
					    (uint32_t)fix->to);
	case TP_FIX_BITMAP:
		return tp_pool_write_bitmap(pool, fix->space, fix->begin);
	default:
		return tp_pool_set_mapped_blocks(pool, fix->begin, fix->to);
	}
}

static int set_sums(struct thinp_pool *pool, const struct tp_fixes *fixes)
{
	int r = 0;

	for (int space = THINP_POOL_DATA; !r && space <= THINP_POOL_METADATA; space++)
		if (fixes->has_used[space])
			r = tp_pool_set_nr_used(pool, space, fixes->nr_used[space]);
	return r;
}

/* As many as there is room for, at least one. What there is no room for is passed over: others give room for it. */
static int apply_all(struct thinp_pool *pool, const struct tp_fixes *fixes)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	size_t nr_left = 0;
	int r = set_sums(pool, fixes);

	thinp_error_last(&before);
	for (size_t i = 0; !r && i < fixes->nr; i++) {
		r = apply(pool, &fixes->entries[i]);
		if (r == THINP_ENOSPC && ++nr_left < fixes->nr)
			r = thinp_pool_status(pool);
	}
	if (!r && nr_left)
		tp_error_restore(&before);
	return r;
}

/* What fails is told with the detail of the failure, not with that of the abort. */
static int give_up(struct thinp_pool *pool, int r)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	(void)thinp_pool_abort(pool); /* when it fails, too, every later use of the pool says so */
	tp_error_restore(&info);
	return r;
}

static int fix(struct thinp_pool *pool, const struct tp_fixes *fixes)
{
	int r = thinp_pool_begin(pool);

	if (r)
		return r;
	r = apply_all(pool, fixes);
	if (!r)
		r = thinp_pool_commit(pool);
	return r ? give_up(pool, r) : 0;
}

static int check_full(const struct thinp_check_opts *opts)
{
	if (!opts->flags)
		return 0;
	return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "without a check of everything nothing is put right");
}

static int begin(const struct thinp_pool *pool, const struct thinp_check_opts *user_opts, struct thinp_check_opts *opts)
{
	int r = tp_opts_take(opts, sizeof(*opts), user_opts);

	opts->size = sizeof(*opts);
	if (!r)
		r = tp_pool_check_idle(pool);
	return r ? r : check_full(opts);
}

/* Checks, and notes anew what can be put right. */
static int look(struct thinp_pool *pool, const struct thinp_check_opts *opts, struct tp_fixes *fixes,
		struct thinp_check_result *result)
{
	int r;

	tp_fixes_clear(fixes);
	*result = (struct thinp_check_result){.size = sizeof(*result)};
	r = tp_check(pool->io, NULL, 0, opts, fixes, result);
	return !r && fixes->is_short ? THINP_ENOMEM : r;
}

/* Until nothing is left, or no less than before. Findings are told once. */
static int fix_all(struct thinp_pool *pool, struct thinp_check_opts *opts, struct tp_fixes *fixes,
		   struct thinp_check_result *now)
{
	uint64_t nr_before = UINT64_MAX;
	int r = 0;

	opts->finding = NULL;
	while (!r && fixes->nr_found && fixes->nr_found < nr_before) {
		nr_before = fixes->nr_found;
		r = fix(pool, fixes);
		if (!r)
			r = look(pool, opts, fixes, now);
	}
	return r;
}

static int refuse(const struct thinp_check_result *found)
{
	return tp_fail(THINP_ECORRUPT, THINP_NO_BLOCK, "%" PRIu64 " fatal findings: before these, nothing is put right",
		       found->nr_fatal);
}

int thinp_check_fix_leaks(struct thinp_pool *pool, const struct thinp_check_opts *user_opts,
			  struct thinp_check_result *before, struct thinp_check_result *after)
{
	struct tp_fixes fixes = {.nr = 0};
	struct thinp_check_result now;
	struct thinp_check_opts opts;
	int r = begin(pool, user_opts, &opts);

	if (!r)
		r = tp_allocator_take(&fixes.memory.allocator, opts.allocator);
	if (r)
		return r;
	r = look(pool, &opts, &fixes, &now);
	if (!r && before)
		tp_result_give(before, &now, sizeof(now));
	if (!r && now.nr_fatal)
		r = refuse(&now);
	if (!r)
		r = fix_all(pool, &opts, &fixes, &now);
	if (!r && after)
		tp_result_give(after, &now, sizeof(now));
	tp_fixes_clear(&fixes);
	return r;
}

/* --- the mark of a pool that asks for a check --- */

static int clear_mark(struct thinp_pool *pool)
{
	int r = thinp_pool_begin(pool);

	if (r)
		return r;
	r = thinp_pool_set_needs_check(pool, false);
	if (!r)
		r = thinp_pool_commit(pool);
	return r ? give_up(pool, r) : 0;
}

/* A node that is too empty is no reason to keep a pool from being used: kernels work with it, and mend it when they remove
 * something beside it. One with an odd capacity is: there the kernel fails, and sets the mark again. */
static int refuse_to_clear(const struct thinp_check_result *found, const struct tp_fixes *fixes)
{
	uint64_t nr_meta = found->nr_meta - fixes->nr_underfull;

	if (!found->nr_fatal && !found->nr_leak && !nr_meta)
		return 0;
	return tp_fail(THINP_ECORRUPT, THINP_NO_BLOCK,
		       "%" PRIu64 " fatal findings, %" PRIu64 " leaks, %" PRIu64 " wrong numbers: the mark stays",
		       found->nr_fatal, found->nr_leak, nr_meta);
}

int thinp_check_clear_needs_check(struct thinp_pool *pool, const struct thinp_check_opts *user_opts,
				  struct thinp_check_result *result)
{
	struct thinp_check_result now = {.size = sizeof(now)};
	struct tp_fixes fixes = {.is_short = true}; /* nothing is to be kept */
	struct thinp_check_opts opts;
	int r = begin(pool, user_opts, &opts);

	if (!r)
		r = tp_check(pool->io, NULL, 0, &opts, &fixes, &now);
	if (!r && result)
		tp_result_give(result, &now, sizeof(now));
	if (!r)
		r = refuse_to_clear(&now, &fixes);
	return r ? r : clear_mark(pool);
}
