/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/crash.h - the parts of the crash kit.
 *
 *   crash.c           the iterator: a number to a window, to a choice, to a device
 *     crash_text.c      a state in words
 *     crash_choice.c    which pieces of a window are kept in its n-th state
 *     crash_history.c   the log cut into windows, and what is durable in each
 *       record.c, overlay.c
 */
#ifndef TP_IO_CRASH_H
#define TP_IO_CRASH_H

#include "io/overlay.h"
#include "io/record.h"

#include <thinp/crash.h>

/* --- crash_history.c --- */

/* What a crash keeps or loses as a whole, but for torn blocks. */
struct tp_piece {
	const struct tp_record_entry *entry;
	uint64_t index; /* of the entry */
	thinp_block_t block;
	uint64_t nr_blocks;
	const uint8_t *data; /* NULL: a discard */
	bool is_settled;     /* durable or superseded: to be removed */
};

/* What may end a window. */
struct tp_end {
	const struct tp_record_entry *entry;
	uint64_t index;
};

/* Stands in a window of the log. */
struct tp_history {
	struct thinp_record *record;
	const struct thinp_allocator *allocator;
	uint64_t nr_entries;
	struct tp_end *ends; /* in the order in which they ended */
	size_t nr_ends;
	size_t max_ends;
	struct tp_piece *pieces; /* what may be lost in this window */
	size_t nr_pieces;
	size_t max_pieces;

	uint64_t window;
	uint64_t begin_entry, end_entry; /* or THINP_CRASH_NO_ENTRY */
	uint64_t nr_blocks;
	uint64_t mark;
	bool has_mark;
	struct tp_overlay *durable; /* what no crash in this window can lose; NULL: nobody asked for it */

	size_t next_end;       /* in ends */
	uint64_t next_entry;   /* the first that begins later */
	uint64_t failed_until; /* what began before this tick is helped by no flush: one has failed */
};

int tp_history_create(struct thinp_record *record, const struct thinp_allocator *allocator,
		      struct tp_history **history);
void tp_history_destroy(struct tp_history *history);

/* Goes to the first window. Afterwards, and only then, it can be used, also after a failure of the next function. */
int tp_history_begin(struct tp_history *history, bool with_durable);

/* Goes to the next window, if this one has an end. */
int tp_history_next(struct tp_history *history);

/* --- crash_choice.c --- */

/* The caller's options with all defaults filled in. */
struct tp_choice {
	uint32_t exhaustive_max;
	uint32_t nr_random;
	uint32_t tear;
	uint64_t seed;
};

/* How many states the window has that the history stands in. */
uint64_t tp_choice_nr_states(const struct tp_choice *choice, const struct tp_history *window);

/* Chooses the sectors of each piece for the n-th state of that window. Returns one of enum thinp_crash_how. */
uint32_t tp_choice_make(const struct tp_choice *choice, const struct tp_history *window, uint64_t n, uint8_t *sectors);

/* --- crash.c --- */

struct tp_crash_window {
	uint64_t first_state;
	uint64_t nr_states;
};

struct thinp_crash {
	struct thinp_allocator allocator;
	struct tp_choice choice;
	struct tp_history *history;
	bool is_in_window; /* false: the history must begin anew */
	struct tp_crash_window *windows;
	size_t nr_windows;
	size_t max_windows;
	uint64_t nr_states;
	uint64_t next;             /* the number that thinp_crash_next() goes to */
	struct thinp_io *io;       /* the state it stands on; NULL: none */
	uint64_t nr_kept, nr_torn; /* in this state */
	uint64_t number;           /* of this state */
	uint32_t how;              /* of this state */
	uint8_t *sectors;          /* of each piece in this state */
};

#endif
