/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/record.h - the steps that recording is made of.
 *
 * While a step of a metadata map is open, operations on it wait. They are applied when it ends.
 */
#ifndef TP_SPACE_MAP_RECORD_H
#define TP_SPACE_MAP_RECORD_H

#include "space_map/sm.h"

#include <thinp/btree.h>

/* Makes the trees that are not there yet. */
int tp_sm_step_make_trees(struct thinp_sm *sm, struct thinp_tm *tm) TP_MUST_USE;

/* Brings the overflow tree up to date for one block of a page; *found: there was one. */
int tp_sm_step_overflow(struct thinp_sm *sm, struct thinp_tm *tm, struct tp_page *page, bool *found) TP_MUST_USE;

/* Gives a page a bitmap of this transaction. */
int tp_sm_step_bitmap(struct thinp_sm *sm, struct thinp_tm *tm, struct tp_page *page) TP_MUST_USE;

/* A new block in the place of another (0: of none). */
int tp_sm_step_replace(struct thinp_sm *sm, struct thinp_tm *tm, const struct thinp_block_type *type,
		       thinp_block_t *block) TP_MUST_USE;

/* Puts an entry into the index tree of a data map. */
int tp_sm_step_index_entry(struct thinp_sm *sm, struct thinp_tm *tm, uint64_t number,
			   const struct tp_index_entry *entry) TP_MUST_USE;

/* Writes the counts into the bitmap, which is of this transaction, and the hints into the entry. Issues nothing. */
int tp_sm_write_bitmap(struct thinp_tm *tm, struct tp_page *page) TP_MUST_USE;

/* Makes the hints of the page's entry what its counts are. */
void tp_sm_set_hints(struct tp_page *page);

/* Gives the 4096 bytes of a block of this transaction, to be overwritten. Issues nothing. */
int tp_sm_write_again(struct thinp_tm *tm, thinp_block_t block, const struct thinp_block_type *type,
		      struct thinp_buffer **buffer, void **data) TP_MUST_USE;

int tp_sm_record_data(struct thinp_sm *sm, struct thinp_tm *tm) TP_MUST_USE;
int tp_sm_record_metadata(struct thinp_sm *sm, struct thinp_tm *tm) TP_MUST_USE;

#endif
