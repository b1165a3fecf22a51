/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/crash_history.c - the log cut into windows, and what is durable in each.
 *
 *   entries   W W W F W M W F W          M: a mark
 *   windows   |-----| |-----| |
 *             0       1       2
 *
 * Invariants
 *   1. The pieces of a window are all that a crash in its last moment may lose: what has begun and was made durable by
 *      no flush. A crash in an earlier moment of the window finds one of the same states.
 *   2. A piece is in `pieces`, in `durable`, or superseded by something durable; never in two of them.
 *   3. Pieces are in the order of the log. Where two that are kept have a block in common, the later one counts, as it
 *      does on a device that carries out what comes later later; the other order is the state in which it is lost.
 */
#include "io/crash.h"

#include "base/alloc.h"
#include "base/error.h"

#include <stdlib.h>

/* --- making --- */

static bool is_end(const struct tp_record_entry *entry)
{
	return entry->ended && (entry->kind == THINP_RECORD_FLUSH || entry->kind == THINP_RECORD_RESIZE);
}

static size_t nr_pieces_of(const struct tp_record_entry *entry)
{
	if (entry->kind == THINP_RECORD_WRITE)
		return (size_t)entry->nr_blocks;
	return entry->kind == THINP_RECORD_DISCARD;
}

/* Counts what must be allocated. One more of each, so that nothing has no size. */
static void measure(struct tp_history *history)
{
	history->max_ends = 1;
	history->max_pieces = 1;
	for (uint64_t i = 0; i < history->nr_entries; i++) {
		const struct tp_record_entry *entry = tp_record_entry(history->record, i);

		history->max_ends += is_end(entry);
		history->max_pieces += nr_pieces_of(entry);
	}
}

static int compare_ends(const void *a, const void *b)
{
	const struct tp_end *one = a, *two = b;

	return one->entry->ended < two->entry->ended ? -1 : one->entry->ended > two->entry->ended;
}

static void collect_ends(struct tp_history *history)
{
	for (uint64_t i = 0; i < history->nr_entries; i++) {
		const struct tp_record_entry *entry = tp_record_entry(history->record, i);

		if (is_end(entry))
			history->ends[history->nr_ends++] = (struct tp_end){.entry = entry, .index = i};
	}
	qsort(history->ends, history->nr_ends, sizeof(history->ends[0]), compare_ends);
}

int tp_history_create(struct thinp_record *record, const struct thinp_allocator *allocator, struct tp_history **history)
{
	struct tp_history *made = tp_alloc_zeroed(allocator, 1, sizeof(*made));

	if (!made)
		return THINP_ENOMEM;
	made->record = record;
	made->allocator = allocator;
	made->nr_entries = thinp_record_nr_entries(record);
	measure(made);
	made->ends = tp_alloc_zeroed(allocator, made->max_ends, sizeof(made->ends[0]));
	made->pieces = tp_alloc_zeroed(allocator, made->max_pieces, sizeof(made->pieces[0]));
	if (!made->ends || !made->pieces) {
		tp_history_destroy(made);
		return THINP_ENOMEM;
	}
	collect_ends(made);
	*history = made;
	return 0;
}

void tp_history_destroy(struct tp_history *history)
{
	if (!history)
		return;
	tp_overlay_destroy(history->durable);
	tp_free(history->allocator, history->pieces, history->max_pieces * sizeof(history->pieces[0]));
	tp_free(history->allocator, history->ends, history->max_ends * sizeof(history->ends[0]));
	tp_free(history->allocator, history, sizeof(*history));
}

/* --- entering a window --- */

/* The next flush that succeeded, or change of size. NULL: the window ends with the log. */
static const struct tp_end *find_end(struct tp_history *history)
{
	while (history->next_end < history->nr_ends) {
		const struct tp_end *end = &history->ends[history->next_end++];

		if (end->entry->kind == THINP_RECORD_RESIZE || !end->entry->result)
			return end;
		history->failed_until = end->entry->ended;
	}
	return NULL;
}

static void add_piece(struct tp_history *history, struct tp_piece piece)
{
	history->pieces[history->nr_pieces++] = piece;
}

static void add_blocks(struct tp_history *history, const struct tp_record_entry *entry, uint64_t index)
{
	for (uint64_t n = 0; n < entry->nr_blocks; n++)
		add_piece(history, (struct tp_piece){
					   .entry = entry,
					   .index = index,
					   .block = entry->block + n,
					   .nr_blocks = 1,
					   .data = entry->data + n * THINP_BLOCK_SIZE,
				   });
}

static void add_entry(struct tp_history *history, const struct tp_record_entry *entry, uint64_t index)
{
	if (entry->kind == THINP_RECORD_WRITE) {
		add_blocks(history, entry, index);
	} else if (entry->kind == THINP_RECORD_DISCARD) {
		add_piece(history, (struct tp_piece){
					   .entry = entry,
					   .index = index,
					   .block = entry->block,
					   .nr_blocks = entry->nr_blocks,
				   });
	} else if (entry->kind == THINP_RECORD_MARK) {
		history->mark = entry->mark;
		history->has_mark = true;
	}
}

/* Takes in all that begins before the window ends. */
static void enter_window(struct tp_history *history)
{
	const struct tp_end *end = find_end(history);
	uint64_t until = end ? end->entry->ended : UINT64_MAX;

	history->end_entry = end ? end->index : THINP_CRASH_NO_ENTRY;
	for (; history->next_entry < history->nr_entries; history->next_entry++) {
		const struct tp_record_entry *entry = tp_record_entry(history->record, history->next_entry);

		if (entry->begun > until)
			break;
		add_entry(history, entry, history->next_entry);
	}
}

static int make_durable(struct tp_history *history)
{
	const struct tp_below below = {.read = tp_record_read_below, .ctx = history->record};

	return tp_overlay_create(history->allocator, &below, history->record->first_size, &history->durable);
}

int tp_history_begin(struct tp_history *history, bool with_durable)
{
	tp_overlay_destroy(history->durable);
	history->durable = NULL;
	history->nr_pieces = 0;
	history->window = 0;
	history->begin_entry = THINP_CRASH_NO_ENTRY;
	history->nr_blocks = history->record->first_size;
	history->mark = 0;
	history->has_mark = false;
	history->next_end = 0;
	history->next_entry = 0;
	history->failed_until = 0;
	enter_window(history);
	return with_durable ? make_durable(history) : 0;
}

/* --- leaving a window --- */

/* Had it ended before the flush began, well, and with no failed flush since? */
static bool is_covered(const struct tp_history *history, const struct tp_piece *piece,
		       const struct tp_record_entry *flush)
{
	const struct tp_record_entry *entry = piece->entry;

	return entry->ended && !entry->result && entry->ended < flush->begun && entry->begun > history->failed_until;
}

static int apply(struct tp_overlay *durable, const struct tp_piece *piece)
{
	if (piece->data)
		return tp_overlay_write(durable, piece->block, piece->data);
	return tp_overlay_discard(durable, piece->block, piece->block + piece->nr_blocks);
}

/* Does the later piece, once it is durable, leave nothing of the earlier? A discard of which a part is written again is
 * taken to be done with: what its blocks read as is not defined anyway. */
static bool supersedes(const struct tp_piece *later, const struct tp_piece *earlier)
{
	return earlier->block < later->block + later->nr_blocks && later->block < earlier->block + earlier->nr_blocks &&
	       earlier->entry->ended && earlier->entry->ended < later->entry->begun;
}

static bool is_superseded(const struct tp_history *history, const struct tp_piece *piece,
			  const struct tp_record_entry *flush)
{
	for (size_t i = 0; i < history->nr_pieces; i++)
		if (is_covered(history, &history->pieces[i], flush) && supersedes(&history->pieces[i], piece))
			return true;
	return false;
}

/* Which pieces can be lost no more is decided for all before any is moved. */
static void mark_settled(struct tp_history *history, const struct tp_record_entry *flush)
{
	for (size_t i = 0; i < history->nr_pieces; i++) {
		struct tp_piece *piece = &history->pieces[i];

		piece->is_settled = is_covered(history, piece, flush) || is_superseded(history, piece, flush);
	}
}

static void remove_settled(struct tp_history *history)
{
	size_t nr_left = 0;

	for (size_t i = 0; i < history->nr_pieces; i++)
		if (!history->pieces[i].is_settled)
			history->pieces[nr_left++] = history->pieces[i];
	history->nr_pieces = nr_left;
}

static int leave_by_flush(struct tp_history *history, const struct tp_record_entry *flush)
{
	int r = 0;

	for (size_t i = 0; i < history->nr_pieces && history->durable && !r; i++)
		if (is_covered(history, &history->pieces[i], flush))
			r = apply(history->durable, &history->pieces[i]);
	if (r)
		return r;
	mark_settled(history, flush);
	remove_settled(history);
	return 0;
}

/* Nothing becomes durable by it, but what lay beyond the new end is gone. */
static int leave_by_resize(struct tp_history *history, uint64_t nr_blocks)
{
	for (size_t i = 0; i < history->nr_pieces; i++) {
		struct tp_piece *piece = &history->pieces[i];
		uint64_t room = piece->block < nr_blocks ? nr_blocks - piece->block : 0;

		piece->is_settled = !room;
		piece->nr_blocks = piece->nr_blocks < room ? piece->nr_blocks : room;
	}
	remove_settled(history);
	history->nr_blocks = nr_blocks;
	return history->durable ? tp_overlay_resize(history->durable, nr_blocks) : 0;
}

int tp_history_next(struct tp_history *history)
{
	const struct tp_record_entry *end = tp_record_entry(history->record, history->end_entry);
	int r;

	if (end->kind == THINP_RECORD_FLUSH)
		r = leave_by_flush(history, end);
	else
		r = leave_by_resize(history, end->nr_blocks);
	if (r)
		return r;
	history->window++;
	history->begin_entry = history->end_entry;
	enter_window(history);
	return 0;
}
