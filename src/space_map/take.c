/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/take.c - finding free blocks.
 *
 * The cursor goes from the first block to the last and begins again, and keeps its place over commits, so that what was
 * freed is used again as late as can be. Blocks are taken one behind the other as long as they are free: one commit gets
 * neighbours, which are written together. When a run ends, the next one is looked for.
 *
 *   cursor      v
 *   available   0011111111110000000000100100000000000011111111111111
 *                           ^ here the run ends           ^ a long run is taken before short holes, if the page has one
 *
 * A search looks at words of 64 blocks, and not at all into a page in memory that has none. So the cursor passes each word
 * once for each time that it goes round.
 */
#include "space_map/sm.h"

#include <inttypes.h>

#define REACH 4u /* pages searched for the longest run, when a shorter one will do */

static int no_space(const struct thinp_sm *sm, uint64_t nr_blocks)
{
	return tp_fail(THINP_ENOSPC, THINP_NO_BLOCK,
		       "no %" PRIu64 " neighbouring blocks can be taken: %" PRIu64 " of %" PRIu64
		       " have count 0, %" PRIu64 " of these are used by neither the last commit nor a view",
		       nr_blocks, sm->now.nr_zero, sm->now.nr_blocks, sm->now.nr_available);
}

/* --- one block --- */

/* A whole word of free blocks behind bit i: the first block of the run that it is in. */
static uint32_t find_long_run(const struct tp_page *page, uint32_t i)
{
	uint32_t w = i / 64 + 1;

	while (w < TP_PAGE_NR_WORDS && page->available[w] != UINT64_MAX)
		w++;
	if (w >= TP_PAGE_NR_WORDS)
		return TP_PAGE_NR_BLOCKS;
	i = w * 64 - (uint32_t)(~page->available[w - 1] ? __builtin_clzll(~page->available[w - 1]) : 64);
	return i;
}

/* The next free block of a page, from bit i on. */
static uint32_t find_in_page(const struct tp_page *page, uint32_t i)
{
	uint32_t first, run;

	if (!page->nr_available)
		return TP_PAGE_NR_BLOCKS;
	first = tp_bits_find_set(page->available, i);
	if (first == i || first == TP_PAGE_NR_BLOCKS)
		return first;
	run = find_long_run(page, first);
	return run > first && run < TP_PAGE_NR_BLOCKS ? run : first;
}

/* Looks from begin on, to the end of the page that `last` is in. */
static int find_one(struct thinp_sm *sm, uint64_t begin, uint64_t last, uint64_t *block)
{
	uint32_t i = (uint32_t)(begin % TP_PAGE_NR_BLOCKS);

	for (uint64_t number = begin / TP_PAGE_NR_BLOCKS; number <= last / TP_PAGE_NR_BLOCKS; number++, i = 0) {
		struct tp_page *page;
		int r = tp_sm_get_page(sm, number, &page);

		if (r)
			return r;
		i = find_in_page(page, i);
		if (i < TP_PAGE_NR_BLOCKS) {
			*block = number * TP_PAGE_NR_BLOCKS + i;
			return 0;
		}
	}
	return THINP_ENODATA;
}

static int find_next(struct thinp_sm *sm, uint64_t *block)
{
	uint64_t last = sm->now.nr_blocks - 1;
	int r = find_one(sm, sm->cursor, last, block);

	if (r == THINP_ENODATA)
		r = find_one(sm, 0, sm->cursor, block);
	return r == THINP_ENODATA ? no_space(sm, 1) : r;
}

/* --- several --- */

struct search {
	uint64_t wanted;
	uint64_t begin, nr;        /* the run that is being followed */
	uint64_t best, nr_of_best; /* the longest one */
};

static bool add_run(struct search *search, uint64_t first, uint64_t nr)
{
	if (!search->nr || search->begin + search->nr != first) {
		search->begin = first;
		search->nr = 0;
	}
	search->nr += nr;
	if (search->nr > search->nr_of_best) {
		search->best = search->begin;
		search->nr_of_best = search->nr;
	}
	return search->nr >= search->wanted;
}

/* True when it has found what is wanted. */
static bool search_page(const struct tp_page *page, uint32_t i, struct search *search)
{
	uint32_t end;

	if (!page->nr_available)
		return false;
	for (i = tp_bits_find_set(page->available, i); i < TP_PAGE_NR_BLOCKS;
	     i = tp_bits_find_set(page->available, end)) {
		end = tp_bits_find_clear(page->available, i);
		if (add_run(search, page->number * TP_PAGE_NR_BLOCKS + i, end - i))
			return true;
	}
	return false;
}

/* Searches pages begin..end-1, the first one from bit i on; gives up after nr_pages of them once it has found anything. */
static int search_pages(struct thinp_sm *sm, uint64_t begin, uint64_t end, uint32_t i, uint64_t nr_pages,
			struct search *search)
{
	for (uint64_t number = begin; number < end; number++, i = 0) {
		struct tp_page *page;
		int r;

		if (search->nr_of_best && number - begin >= nr_pages)
			return 0;
		r = tp_sm_get_page(sm, number, &page);
		if (r)
			return r;
		if (search_page(page, i, search))
			return 0;
	}
	return 0;
}

static int find_run(struct thinp_sm *sm, uint64_t nr_pages, struct search *search)
{
	uint64_t at = sm->cursor / TP_PAGE_NR_BLOCKS;
	int r = search_pages(sm, at, tp_sm_nr_pages(sm), (uint32_t)(sm->cursor % TP_PAGE_NR_BLOCKS), nr_pages, search);

	if (r || search->nr_of_best >= search->wanted || (search->nr_of_best && nr_pages != UINT64_MAX))
		return r;
	search->nr = 0;
	return search_pages(sm, 0, at + 1, 0, nr_pages, search);
}

static int find(struct thinp_sm *sm, uint64_t nr_blocks, bool may_be_less, uint64_t *first, uint64_t *nr)
{
	struct search search = {.wanted = nr_blocks};
	int r;

	if (nr_blocks == 1) {
		*nr = 1;
		return find_next(sm, first);
	}
	r = find_run(sm, may_be_less ? REACH : UINT64_MAX, &search);
	if (r)
		return r;
	if (!search.nr_of_best || (!may_be_less && search.nr_of_best < nr_blocks))
		return no_space(sm, nr_blocks);
	*first = search.best;
	*nr = search.nr_of_best < nr_blocks ? search.nr_of_best : nr_blocks;
	return 0;
}

/* --- few blocks left --- */

static bool is_below(const struct thinp_sm *sm, uint64_t *nr_available)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	thinp_sm_get_info(sm, &info);
	*nr_available = info.nr_available;
	return info.nr_available <= sm->threshold;
}

/* When there are more again, the caller will be told once more. */
static void rearm_threshold(struct thinp_sm *sm)
{
	uint64_t nr_available;

	if (sm->threshold_fn && sm->was_below && !sm->metadata->is_recording)
		sm->was_below = is_below(sm, &nr_available);
}

static void check_threshold(struct thinp_sm *sm)
{
	uint64_t nr_available;
	bool was_below = sm->was_below;

	if (!sm->threshold_fn || sm->metadata->is_recording)
		return;
	sm->was_below = is_below(sm, &nr_available);
	if (!sm->was_below || was_below)
		return;
	sm->is_telling_due = sm->metadata->tells_later;
	if (!sm->is_telling_due)
		sm->threshold_fn(sm->threshold_ctx, nr_available);
}

void tp_sm_tell_later(struct thinp_sm *metadata)
{
	metadata->tells_later = true;
}

static void tell_now(struct thinp_sm *sm)
{
	uint64_t nr_available;

	if (!sm->is_telling_due)
		return;
	sm->is_telling_due = false;
	if (sm->threshold_fn && is_below(sm, &nr_available))
		sm->threshold_fn(sm->threshold_ctx, nr_available);
}

void tp_sm_tell_now(struct thinp_sm *metadata)
{
	tell_now(metadata);
	for (struct thinp_sm *sm = metadata->data_maps; sm; sm = sm->next)
		tell_now(sm);
}

/* --- all of it ------------------------------------------------------------------------------------------------------- */

int tp_sm_take_cause(struct thinp_sm *sm, uint64_t nr_blocks, uint64_t spare, uint32_t cause, uint64_t *first,
		     uint64_t *nr_taken)
{
	uint64_t found = 0, nr = 0;
	int r;

	if (!nr_blocks)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "no blocks to take");
	rearm_threshold(sm); /* more may have come free in any way: by a commit, a view, an abort, growth */
	if (!sm->now.nr_available || (!nr_taken && nr_blocks > sm->now.nr_available))
		return no_space(sm, nr_blocks);
	r = find(sm, nr_blocks, nr_taken, &found, &nr);
	if (!r && sm->kind == TP_SM_METADATA)
		r = tp_sm_check_cost(sm, &sm->work, nr + spare);
	if (!r)
		r = tp_sm_issue_found(sm, found, nr, cause);
	if (r)
		return r;
	sm->cursor = found + nr < sm->now.nr_blocks ? found + nr : 0;
	*first = found;
	if (nr_taken)
		*nr_taken = nr;
	check_threshold(sm);
	return 0;
}
