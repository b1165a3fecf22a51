/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * alloc/pages.c - reference counts in memory, as they are now and as the last commit had them.
 *
 * Invariants
 *   1. A page that the last commit has is never changed. A slot whose two pages differ is in the list of changed ones.
 *   2. nr_allocatable of a slot is the number of blocks whose counts are 0 on both sides; without a change it is the number
 *      of zeros. So commit and abort take time for what was changed, not for what there is.
 *   3. Commit and abort allocate nothing: they cannot fail.
 */
#include "alloc/pages.h"

#include "base/alloc.h"

#include <thinp/error.h>

#include <stddef.h>
#include <string.h>

static size_t page_bytes(bool is_wide)
{
	return is_wide ? sizeof(struct tp_count_page) : offsetof(struct tp_count_page, narrow) + TP_PAGE_BLOCKS;
}

/* The last slot may have fewer. */
static uint32_t blocks_in_slot(const struct tp_pages *pages, uint64_t slot)
{
	uint64_t left = pages->nr_blocks - (slot << TP_PAGE_SHIFT);

	return left < TP_PAGE_BLOCKS ? (uint32_t)left : TP_PAGE_BLOCKS;
}

int tp_pages_init(struct tp_pages *pages, uint64_t nr_blocks, const struct thinp_allocator *allocator)
{
	uint64_t nr_slots = (nr_blocks >> TP_PAGE_SHIFT) + !!(nr_blocks & (TP_PAGE_BLOCKS - 1));

	*pages = (struct tp_pages){
		.allocator = *allocator,
		.nr_slots = nr_slots,
		.nr_blocks = nr_blocks,
		.first_changed = TP_PAGE_NONE,
		.nr_zero = nr_blocks,
		.nr_allocatable = nr_blocks,
	};
	if (!nr_slots)
		return 0;
	pages->slots = tp_alloc_zeroed(allocator, nr_slots, sizeof(*pages->slots));
	if (!pages->slots)
		return THINP_ENOMEM;
	for (uint64_t i = 0; i < nr_slots; i++) {
		struct tp_page_slot *slot = &pages->slots[i];

		slot->committed_zero = slot->now_zero = slot->nr_allocatable = blocks_in_slot(pages, i);
	}
	return 0;
}

static void free_page(struct tp_pages *pages, struct tp_count_page *page)
{
	if (page)
		tp_free(&pages->allocator, page, page_bytes(page->is_wide));
}

void tp_pages_exit(struct tp_pages *pages)
{
	tp_pages_abort(pages);
	for (uint64_t i = 0; i < pages->nr_slots; i++)
		free_page(pages, pages->slots[i].now);
	if (pages->slots)
		tp_free(&pages->allocator, pages->slots, pages->nr_slots * sizeof(*pages->slots));
	pages->slots = NULL;
}

static void copy_counts(struct tp_count_page *dst, const struct tp_count_page *src)
{
	if (src && src->is_wide == dst->is_wide) {
		memcpy(dst, src, page_bytes(src->is_wide));
		return;
	}
	for (uint32_t i = 0; src && i < TP_PAGE_BLOCKS; i++)
		dst->wide[i] = src->narrow[i]; /* pages never become narrow again */
}

/* The same counts in another page. */
static struct tp_count_page *copy_page(struct tp_pages *pages, const struct tp_count_page *page, bool is_wide)
{
	struct tp_count_page *copy = tp_alloc_zeroed(&pages->allocator, 1, page_bytes(is_wide));

	if (!copy)
		return NULL;
	copy->is_wide = is_wide;
	copy_counts(copy, page);
	return copy;
}

int tp_pages_make_ready(struct tp_pages *pages, uint64_t number, uint32_t max_count)
{
	struct tp_page_slot *slot = &pages->slots[number];
	bool is_changed = slot->now != slot->committed;
	bool is_wide = max_count > UINT8_MAX || (slot->now && slot->now->is_wide);
	struct tp_count_page *page;

	if (is_changed && slot->now->is_wide == is_wide)
		return 0;
	page = copy_page(pages, slot->now, is_wide);
	if (!page)
		return THINP_ENOMEM;
	if (is_changed) {
		free_page(pages, slot->now);
	} else {
		slot->next_changed = pages->first_changed;
		pages->first_changed = number;
	}
	slot->now = page;
	return 0;
}

/* A block has stopped being allocatable, or has become so, or neither. */
static void note_zeros(struct tp_pages *pages, struct tp_page_slot *slot, uint32_t i, bool was_zero, bool is_zero)
{
	bool is_committed_zero = !tp_page_get(slot->committed, i);

	slot->now_zero += (uint32_t)is_zero - (uint32_t)was_zero;
	pages->nr_zero += (uint64_t)is_zero - (uint64_t)was_zero;
	if (is_committed_zero) {
		slot->nr_allocatable += (uint32_t)is_zero - (uint32_t)was_zero;
		pages->nr_allocatable += (uint64_t)is_zero - (uint64_t)was_zero;
	}
}

void tp_pages_set(struct tp_pages *pages, thinp_block_t block, uint32_t count)
{
	struct tp_page_slot *slot = &pages->slots[block >> TP_PAGE_SHIFT];
	uint32_t i = block & (TP_PAGE_BLOCKS - 1);
	uint32_t before = tp_page_get(slot->now, i);

	if (slot->now->is_wide)
		slot->now->wide[i] = count;
	else
		slot->now->narrow[i] = (uint8_t)count;
	if (!before != !count)
		note_zeros(pages, slot, i, !before, !count);
}

static bool find_in_slot(const struct tp_pages *pages, uint64_t number, uint32_t from, thinp_block_t *block)
{
	const struct tp_page_slot *slot = &pages->slots[number];
	uint32_t nr_blocks = blocks_in_slot(pages, number);

	for (uint32_t i = from; slot->nr_allocatable && i < nr_blocks; i++) {
		if (!tp_page_get(slot->now, i) && !tp_page_get(slot->committed, i)) {
			*block = (number << TP_PAGE_SHIFT) + i;
			return true;
		}
	}
	return false;
}

thinp_block_t tp_pages_find(const struct tp_pages *pages, thinp_block_t from)
{
	uint64_t number = from >> TP_PAGE_SHIFT;
	uint32_t offset = from & (TP_PAGE_BLOCKS - 1);
	thinp_block_t block = 0;

	while (!find_in_slot(pages, number, offset, &block)) {
		offset = 0;
		number = number + 1 < pages->nr_slots ? number + 1 : 0;
	}
	return block;
}

/* Takes a slot out of the list of changed ones. */
static struct tp_page_slot *next_changed(struct tp_pages *pages)
{
	struct tp_page_slot *slot;

	if (pages->first_changed == TP_PAGE_NONE)
		return NULL;
	slot = &pages->slots[pages->first_changed];
	pages->first_changed = slot->next_changed;
	return slot;
}

void tp_pages_commit(struct tp_pages *pages)
{
	struct tp_page_slot *slot;

	while ((slot = next_changed(pages))) {
		free_page(pages, slot->committed);
		slot->committed = slot->now;
		slot->committed_zero = slot->now_zero;
		pages->nr_allocatable += slot->now_zero - slot->nr_allocatable;
		slot->nr_allocatable = slot->now_zero;
	}
}

void tp_pages_abort(struct tp_pages *pages)
{
	struct tp_page_slot *slot;

	while ((slot = next_changed(pages))) {
		free_page(pages, slot->now);
		slot->now = slot->committed;
		pages->nr_zero -= slot->now_zero;
		pages->nr_zero += slot->committed_zero;
		slot->now_zero = slot->committed_zero;
		pages->nr_allocatable += slot->now_zero - slot->nr_allocatable;
		slot->nr_allocatable = slot->now_zero;
	}
}
