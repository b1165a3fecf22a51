/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/crash.c - the iterator over the states that a crash could have left.
 *
 *   the device of a state      what the caller writes, and the pieces that are kept in this state
 *     over what is durable       at the beginning of its window; one for all states of the window
 *       over the record            first contents, and what was never written from the device below
 *
 * Invariants
 *   1. What is durable changes only while there is no device of a state.
 *   2. When something fails, the iterator stands on no state, and the next try begins with what is sound.
 */
#include "io/crash.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "io/sectors.h"

enum { DEFAULT_EXHAUSTIVE_MAX = 10, MAX_EXHAUSTIVE_MAX = 32, DEFAULT_NR_RANDOM = 64 };

/* --- options --- */

static uint32_t or_default(uint32_t value, uint32_t if_zero)
{
	if (value == THINP_CRASH_NONE)
		return 0;
	return value ? value : if_zero;
}

static int check_opts(const struct thinp_crash_opts *opts)
{
	if (opts->tear > THINP_CRASH_TEAR_ANY || opts->flags)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "crash: an unknown flag, or value for `tear`");
	if (opts->exhaustive_max > MAX_EXHAUSTIVE_MAX && opts->exhaustive_max != THINP_CRASH_NONE)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "crash: 2^%u subsets are too many",
			       (unsigned int)opts->exhaustive_max);
	return 0;
}

static int take_opts(struct tp_choice *choice, struct thinp_allocator *allocator, const struct thinp_crash_opts *src)
{
	struct thinp_crash_opts taken;
	int r = tp_opts_take(&taken, sizeof(taken), src);

	if (!r)
		r = check_opts(&taken);
	if (!r)
		r = tp_allocator_take(allocator, taken.allocator);
	if (r)
		return r;
	choice->exhaustive_max = or_default(taken.exhaustive_max, DEFAULT_EXHAUSTIVE_MAX);
	choice->nr_random = or_default(taken.nr_random, DEFAULT_NR_RANDOM);
	choice->tear = taken.tear;
	choice->seed = taken.seed;
	return 0;
}

/* --- making --- */

static void add_window(struct thinp_crash *crash)
{
	struct tp_crash_window *window = &crash->windows[crash->nr_windows++];

	window->first_state = crash->nr_states;
	window->nr_states = tp_choice_nr_states(&crash->choice, crash->history);
	crash->nr_states += window->nr_states;
}

/* Goes through the windows once, only to number the states. */
static int number_states(struct thinp_crash *crash)
{
	int r = tp_history_begin(crash->history, false);

	if (r)
		return r;
	add_window(crash);
	while (crash->history->end_entry != THINP_CRASH_NO_ENTRY && !r) {
		r = tp_history_next(crash->history);
		if (!r)
			add_window(crash);
	}
	return r;
}

static int init(struct thinp_crash *crash, struct thinp_record *record)
{
	int r = tp_history_create(record, &crash->allocator, &crash->history);

	if (r)
		return r;
	crash->max_windows = crash->history->max_ends; /* one more than there can be ends */
	crash->windows = tp_alloc_zeroed(&crash->allocator, crash->max_windows, sizeof(crash->windows[0]));
	crash->sectors = tp_alloc_zeroed(&crash->allocator, crash->history->max_pieces, sizeof(crash->sectors[0]));
	if (!crash->windows || !crash->sectors)
		return THINP_ENOMEM;
	return number_states(crash);
}

int thinp_crash_create(struct thinp_record *record, const struct thinp_crash_opts *opts, struct thinp_crash **crash)
{
	struct thinp_allocator allocator;
	struct tp_choice choice;
	struct thinp_crash *made;
	int r;

	r = take_opts(&choice, &allocator, opts);
	if (r)
		return r;
	made = tp_alloc_zeroed(&allocator, 1, sizeof(*made));
	if (!made)
		return THINP_ENOMEM;
	made->allocator = allocator;
	made->choice = choice;
	r = init(made, record);
	if (r)
		thinp_crash_destroy(made);
	else
		*crash = made;
	return r;
}

static void close_state(struct thinp_crash *crash)
{
	thinp_io_close(crash->io);
	crash->io = NULL;
}

void thinp_crash_destroy(struct thinp_crash *crash)
{
	struct thinp_allocator allocator;

	if (!crash)
		return;
	close_state(crash);
	allocator = crash->allocator;
	if (crash->history)
		tp_free(&allocator, crash->sectors, crash->history->max_pieces * sizeof(crash->sectors[0]));
	tp_free(&allocator, crash->windows, crash->max_windows * sizeof(crash->windows[0]));
	tp_history_destroy(crash->history);
	tp_free(&allocator, crash, sizeof(*crash));
}

/* --- moving --- */

static uint64_t find_window(const struct thinp_crash *crash, uint64_t number)
{
	size_t begin = 0, end = crash->nr_windows;

	while (end - begin > 1) {
		size_t middle = begin + (end - begin) / 2;

		if (crash->windows[middle].first_state <= number)
			begin = middle;
		else
			end = middle;
	}
	return begin;
}

/* Windows can only be entered one after the other, so the way back is from the beginning. */
static int go_to_window(struct thinp_crash *crash, uint64_t window)
{
	int r = 0;

	if (!crash->is_in_window || crash->history->window > window)
		r = tp_history_begin(crash->history, true);
	while (!r && crash->history->window < window)
		r = tp_history_next(crash->history);
	crash->is_in_window = !r;
	return r;
}

static int apply_piece(struct tp_overlay *state, const struct tp_piece *piece, uint8_t sectors)
{
	if (piece->data)
		return tp_overlay_write_sectors(state, piece->block, piece->data, sectors);
	if (sectors == TP_SECTORS_NONE)
		return 0;
	return tp_overlay_discard(state, piece->block, piece->block + piece->nr_blocks);
}

static int apply_pieces(struct thinp_crash *crash, struct tp_overlay *state)
{
	const struct tp_history *window = crash->history;
	int r = 0;

	for (size_t i = 0; i < window->nr_pieces && !r; i++)
		r = apply_piece(state, &window->pieces[i], crash->sectors[i]);
	return r;
}

static int read_durable(void *ctx, thinp_block_t block, uint8_t *buffer)
{
	return tp_overlay_read(ctx, block, buffer);
}

static int open_state(struct thinp_crash *crash)
{
	const struct tp_below below = {.read = read_durable, .ctx = crash->history->durable};
	struct tp_overlay *state;
	int r = tp_overlay_create(&crash->allocator, &below, crash->history->nr_blocks, &state);

	if (r)
		return r;
	r = apply_pieces(crash, state);
	if (!r)
		r = tp_overlay_open(state, &crash->io);
	if (r)
		tp_overlay_destroy(state);
	return r;
}

static void count_pieces(struct thinp_crash *crash)
{
	crash->nr_kept = 0;
	crash->nr_torn = 0;
	for (size_t i = 0; i < crash->history->nr_pieces; i++) {
		crash->nr_kept += crash->sectors[i] == TP_SECTORS_ALL;
		crash->nr_torn += crash->sectors[i] != TP_SECTORS_ALL && crash->sectors[i] != TP_SECTORS_NONE;
	}
}

int thinp_crash_seek(struct thinp_crash *crash, uint64_t number, struct thinp_io **io)
{
	uint64_t window = find_window(crash, number);
	int r;

	close_state(crash);
	crash->next = number < crash->nr_states ? number : crash->nr_states;
	if (number >= crash->nr_states)
		return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "crash: there is no such state");
	r = go_to_window(crash, window);
	if (r)
		return r;
	crash->how = tp_choice_make(&crash->choice, crash->history, number - crash->windows[window].first_state,
				    crash->sectors);
	r = open_state(crash);
	if (r)
		return r;
	count_pieces(crash);
	crash->number = number;
	crash->next = number + 1;
	*io = crash->io;
	return 0;
}

int thinp_crash_next(struct thinp_crash *crash, struct thinp_io **io)
{
	return thinp_crash_seek(crash, crash->next, io);
}

int thinp_crash_run(struct thinp_crash *crash, thinp_crash_check_fn check, void *ctx)
{
	struct thinp_crash_state state = {.size = sizeof(state)};
	struct thinp_io *io;
	int r = 0;

	while (!r && crash->next < crash->nr_states) {
		r = thinp_crash_next(crash, &io);
		if (!r)
			r = thinp_crash_get_state(crash, &state);
		if (!r)
			r = check(ctx, io, &state);
	}
	return r;
}

/* --- looking --- */

uint64_t thinp_crash_nr_states(const struct thinp_crash *crash)
{
	return crash->nr_states;
}

static int no_state(void)
{
	return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "crash: the iterator stands on no state");
}

int thinp_crash_get_state(const struct thinp_crash *crash, struct thinp_crash_state *state)
{
	const struct tp_history *window = crash->history;
	struct thinp_crash_state now = {
		.size = sizeof(now),
		.number = crash->number,
		.window = window->window,
		.how = crash->how,
		.has_mark = window->has_mark,
		.mark = window->mark,
		.begin_entry = window->begin_entry,
		.end_entry = window->end_entry,
		.nr_blocks = window->nr_blocks,
		.nr_pieces = window->nr_pieces,
		.nr_kept = crash->nr_kept,
		.nr_torn = crash->nr_torn,
	};

	if (!crash->io)
		return no_state();
	tp_result_give(state, &now, sizeof(now));
	return 0;
}

int thinp_crash_get_piece(const struct thinp_crash *crash, uint64_t index, struct thinp_crash_piece *piece)
{
	const struct tp_history *window = crash->history;
	struct thinp_crash_piece now = {.size = sizeof(now)};

	if (!crash->io)
		return no_state();
	if (index >= window->nr_pieces)
		return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "crash: the state has no such piece");
	now.entry = window->pieces[index].index;
	now.block = window->pieces[index].block;
	now.nr_blocks = window->pieces[index].nr_blocks;
	now.kind = window->pieces[index].data ? THINP_RECORD_WRITE : THINP_RECORD_DISCARD;
	now.sectors = crash->sectors[index];
	tp_result_give(piece, &now, sizeof(now));
	return 0;
}
