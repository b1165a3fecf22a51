/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/fixes.h - what a check found that can be put right without losing anything.
 *
 * Bounded: what does not fit is found again by the next check.
 */
#ifndef TP_CHECK_FIXES_H
#define TP_CHECK_FIXES_H

#include "check/findings.h"

#define TP_FIXES_MOST 32768u

enum tp_fix_kind {
	TP_FIX_COUNTS, /* blocks begin..end are counted `from` times, and are to be `to` times */
	TP_FIX_BITMAP, /* bitmap `begin` is to be written anew */
	TP_FIX_MAPPED, /* device `begin` has `to` mappings */
};

struct tp_fix {
	uint64_t begin;
	uint64_t end;
	uint64_t from;
	uint64_t to;
	int32_t kind;
	int32_t space; /* one of ::thinp_pool_space */
};

struct tp_fixes {
	struct tp_memory memory;
	struct tp_fix *entries;
	size_t nr;
	size_t room;
	uint64_t nr_found;     /* all of them, and wrong sums */
	uint64_t nr_underfull; /* nodes; these are left as they are */
	bool is_short;         /* of memory */
	bool has_used[THINP_POOL_METADATA + 1];
	uint64_t nr_used[THINP_POOL_METADATA + 1]; /* blocks in use, by space */
};

/* To note one. fixes NULL: nobody wants to know. */
void tp_fixes_note_counts(struct tp_fixes *fixes, int space, const struct tp_finding *finding);
void tp_fixes_note_bitmap(struct tp_fixes *fixes, int space, uint64_t bitmap);
void tp_fixes_note_used(struct tp_fixes *fixes, int space, uint64_t nr_used);
void tp_fixes_note_mapped(struct tp_fixes *fixes, uint64_t dev_id, uint64_t nr_mappings);

/* Forgets them all. */
void tp_fixes_clear(struct tp_fixes *fixes);

#endif
