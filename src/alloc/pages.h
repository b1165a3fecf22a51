/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * alloc/pages.h - reference counts in memory, in pages, as they are now and as the last commit had them.
 *
 * A page has a byte for each of its blocks until one of the counts is larger; then it has four. A page that has never been
 * changed is not there: its counts are 0.
 *
 *          last commit     now
 *   slot   [ * ]           [ * ]      the same page: not changed in this transaction
 *   slot   [ * ]           [ * ]      another page: a copy, made before the first change, so that an abort only forgets
 *   slot   [NULL]          [NULL]     all counts are 0
 */
#ifndef TP_ALLOC_PAGES_H
#define TP_ALLOC_PAGES_H

#include <thinp/allocator.h>
#include <thinp/types.h>

#include <stdbool.h>

#define TP_PAGE_SHIFT  12u
#define TP_PAGE_BLOCKS (1u << TP_PAGE_SHIFT)
#define TP_PAGE_NONE   UINT64_MAX

struct tp_count_page {
	bool is_wide;
	union {
		uint8_t narrow[TP_PAGE_BLOCKS];
		uint32_t wide[TP_PAGE_BLOCKS]; /* of a wide page only: a narrow one is allocated without */
	};
};

struct tp_page_slot {
	struct tp_count_page *committed; /* NULL: all 0 */
	struct tp_count_page *now;
	uint32_t committed_zero; /* blocks with a count of 0 */
	uint32_t now_zero;
	uint32_t nr_allocatable; /* both counts 0 */
	uint64_t next_changed;   /* in the list of changed slots; TP_PAGE_NONE: the last one */
};

struct tp_pages {
	struct thinp_allocator allocator;
	struct tp_page_slot *slots;
	uint64_t nr_slots;
	uint64_t nr_blocks;
	uint64_t first_changed; /* slots whose two pages differ */
	uint64_t nr_zero;
	uint64_t nr_allocatable;
};

int tp_pages_init(struct tp_pages *pages, uint64_t nr_blocks, const struct thinp_allocator *allocator);
void tp_pages_exit(struct tp_pages *pages);

static inline uint32_t tp_page_get(const struct tp_count_page *page, uint32_t i)
{
	if (!page)
		return 0;
	return page->is_wide ? page->wide[i] : page->narrow[i];
}

static inline uint32_t tp_pages_get(const struct tp_pages *pages, thinp_block_t block)
{
	return tp_page_get(pages->slots[block >> TP_PAGE_SHIFT].now, block & (TP_PAGE_BLOCKS - 1));
}

/* Makes the page of a slot one of this transaction's own, which can hold counts up to this one. No count changes.
 * THINP_ENOMEM: nothing has. */
int tp_pages_make_ready(struct tp_pages *pages, uint64_t slot, uint32_t max_count);

/* Sets a count for which tp_pages_make_ready() was called. */
void tp_pages_set(struct tp_pages *pages, thinp_block_t block, uint32_t count);

/* A block whose counts are both 0, the first at or behind a block, or else from the front; there must be one. */
thinp_block_t tp_pages_find(const struct tp_pages *pages, thinp_block_t from);

/* From now on the counts as they are now are those of the last commit; or they become again what that had. */
void tp_pages_commit(struct tp_pages *pages);
void tp_pages_abort(struct tp_pages *pages);

#endif
