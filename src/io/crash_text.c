/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/crash_text.c - a state in words.
 */
#include "base/error.h"
#include "io/crash.h"
#include "io/sectors.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { MAX_LISTED = 16 }; /* pieces of one sort */

/* Counts what has no room any more. */
struct text {
	char *bytes;
	size_t nr_bytes;
	size_t used; /* without the NUL byte */
};

static void say(struct text *text, const char *format, ...) TP_PRINTF(2, 3);

static void say(struct text *text, const char *format, ...)
{
	size_t room = text->used < text->nr_bytes ? text->nr_bytes - text->used : 0;
	va_list args;
	int added;

	va_start(args, format);
	added = vsnprintf(room ? text->bytes + text->used : NULL, room, format, args);
	va_end(args);
	text->used += added > 0 ? (size_t)added : 0;
}

static void say_entry(struct text *text, const struct tp_history *window, uint64_t index)
{
	const struct tp_record_entry *entry = tp_record_entry(window->record, index);

	say(text, "entry %" PRIu64 " (%s)", index, entry->kind == THINP_RECORD_FLUSH ? "flush" : "change of size");
}

static void say_when(struct text *text, const struct tp_history *window)
{
	say(text, "crash ");
	if (window->begin_entry != THINP_CRASH_NO_ENTRY) {
		say(text, "after ");
		say_entry(text, window, window->begin_entry);
		say(text, ", ");
	}
	if (window->end_entry != THINP_CRASH_NO_ENTRY) {
		say(text, "before the end of ");
		say_entry(text, window, window->end_entry);
	} else {
		say(text, "before the end of the log");
	}
	if (window->has_mark)
		say(text, "; last mark %" PRIu64, window->mark);
	say(text, "\n");
}

static const char *how(uint32_t value)
{
	static const char *const texts[] = {
		[THINP_CRASH_SUBSET] = "a subset",
		[THINP_CRASH_PREFIX] = "a prefix",
		[THINP_CRASH_LOST_ONE] = "one is lost",
		[THINP_CRASH_KEPT_ONE] = "one is kept",
		[THINP_CRASH_RANDOM] = "a random subset",
		[THINP_CRASH_TORN_LAST] = "one is torn, what follows is lost",
		[THINP_CRASH_TORN_ONE] = "one is torn, the others are kept",
	};

	return texts[value];
}

static void say_piece(struct text *text, const struct tp_piece *piece)
{
	say(text, "entry %" PRIu64 " %s %" PRIu64, piece->index, piece->data ? "block" : "discard of block",
	    piece->block);
	if (piece->nr_blocks > 1)
		say(text, " to %" PRIu64, piece->block + piece->nr_blocks - 1);
}

static void say_sectors(struct text *text, uint8_t sectors)
{
	say(text, " (new sectors:");
	for (unsigned int i = 0; i < TP_SECTORS_PER_BLOCK; i++)
		if (sectors >> i & 1)
			say(text, " %u", i);
	say(text, ")");
}

static bool is_lost(uint8_t sectors)
{
	return sectors == TP_SECTORS_NONE;
}

static bool is_torn(uint8_t sectors)
{
	return sectors != TP_SECTORS_NONE && sectors != TP_SECTORS_ALL;
}

/* Lists the pieces of one sort, as far as that helps anybody. */
static void say_pieces(struct text *text, const struct thinp_crash *crash, const char *title,
		       bool (*is_wanted)(uint8_t))
{
	size_t nr = 0;

	for (size_t i = 0; i < crash->history->nr_pieces; i++) {
		if (!is_wanted(crash->sectors[i]) || ++nr > MAX_LISTED)
			continue;
		say(text, "%s", nr == 1 ? title : ", ");
		say_piece(text, &crash->history->pieces[i]);
		if (is_torn(crash->sectors[i]))
			say_sectors(text, crash->sectors[i]);
	}
	if (nr > MAX_LISTED)
		say(text, " and %zu more", nr - MAX_LISTED);
	if (nr)
		say(text, "\n");
}

static void say_state(struct text *text, const struct thinp_crash *crash)
{
	const struct tp_history *window = crash->history;

	say(text, "state %" PRIu64 " of %" PRIu64 ", window %" PRIu64 ", %" PRIu64 " blocks: ", crash->number,
	    crash->nr_states, window->window, window->nr_blocks);
	say_when(text, window);
	say(text, "%zu pieces not flushed: %" PRIu64 " kept, %" PRIu64 " torn, %" PRIu64 " lost (%s)\n",
	    window->nr_pieces, crash->nr_kept, crash->nr_torn, window->nr_pieces - crash->nr_kept - crash->nr_torn,
	    how(crash->how));
	say_pieces(text, crash, "lost: ", is_lost);
	say_pieces(text, crash, "torn: ", is_torn);
}

size_t thinp_crash_describe(const struct thinp_crash *crash, char *text, size_t nr_bytes)
{
	struct text all = {.bytes = text, .nr_bytes = nr_bytes};

	if (crash->io)
		say_state(&all, crash);
	else
		say(&all, "no state\n");
	return all.used + 1;
}
