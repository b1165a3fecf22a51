/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/bitmaps.h - counts as the bitmaps have them, against counts as they were found.
 */
#ifndef TP_CHECK_BITMAPS_H
#define TP_CHECK_BITMAPS_H

#include "check/checker.h"

/* A bitmap that the index names. */
struct tp_bitmap_ref {
	uint64_t number;
	struct tp_index_entry entry;
	uint32_t from; /* the block of the index that names it */
};

/* Blocks in a row whose counts are wrong in the same way. */
struct tp_wrong_run {
	uint64_t begin;
	uint64_t end;
	uint64_t stored;
	uint64_t expected;
	uint32_t block; /* the bitmap where it begins */
};

/* Numbers in the index beside a bitmap that are not what they should be. */
struct tp_wrong_hints {
	struct tp_bitmap_ref ref;
	uint32_t nr_free;    /* as it should be */
	uint32_t first_free; /* where the search may begin at the latest */
	bool is_one_hidden;  /* the search begins behind one free block, no more */
};

/* One of the two space maps. */
struct tp_map {
	struct tp_fixes *fixes; /* NULL: nobody wants to know */
	int space;              /* one of ::thinp_pool_space */
	const char *name;
	struct tp_finder *finder;
	struct tp_sm_root root;
	int index_part;
	int bitmap_part;
	int overflow_part;
	struct tp_vector *overflow; /* of tp_leaf_entry, by key */
	struct tp_vector bitmaps;   /* of tp_bitmap_ref, by number */
	bool is_whole;              /* all its bitmaps could be read */
	bool is_counted;            /* all references were found */
	bool has_overflow;          /* all of the overflow tree could be read */
	uint64_t nr_allocated;      /* as the bitmaps have it */
	struct tp_wrong_run run;    /* may still grow */
	struct tp_wrong_hints late; /* told when all bitmaps have been seen: one free block too few */
	bool has_late;
	uint64_t *nr_leaked;
	uint64_t *nr_too_low;
};

/* Reads the bitmaps, and compares. */
int tp_bitmaps_check(struct tp_checker *checker, struct tp_map *map);

#endif
