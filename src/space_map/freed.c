/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/freed.c - blocks that came free in a commit, and are held for views of earlier ones.
 *
 * A set is an array of runs in ascending order, eight bytes each, apart from the pages: a page can go and come back. Sets of
 * bits in compressed form (CRoaring) would be smaller where free and used blocks alternate, but that library takes its
 * memory from one allocator for the whole process and does not survive when it gets none.
 */
#include "space_map/sm.h"

#include "base/alloc.h"

#include <string.h>

#define RUN_BITS 16u /* for its length; a run lies within a page */

static_assert(TP_PAGE_NR_BLOCKS < 1u << RUN_BITS, "a run of a whole page has a length");
static_assert(TP_DATA_MAX_BLOCKS <= UINT64_MAX >> RUN_BITS, "every block can begin a run");

struct tp_freed {
	struct tp_freed *next;
	uint64_t commit; /* in which the blocks came free */
	uint64_t nr_runs;
	uint64_t runs[]; /* first block << RUN_BITS | number of blocks */
};

static uint64_t first_of(uint64_t run)
{
	return run >> RUN_BITS;
}

static uint32_t length_of(uint64_t run)
{
	return (uint32_t)(run & ((1u << RUN_BITS) - 1));
}

/* --- collecting --- */

static void find_freed(const struct tp_page *page, uint64_t freed[TP_PAGE_NR_WORDS])
{
	for (uint32_t w = 0; w < TP_PAGE_NR_WORDS; w++)
		freed[w] = page->committed[w] ? page->committed[w] & ~tp_page_used_word(page, w) : 0;
}

/* Counts the runs in the bits of a page, and stores them if there is room. */
static uint64_t add_bits(const uint64_t freed[TP_PAGE_NR_WORDS], uint64_t number, uint64_t *runs)
{
	uint64_t nr = 0;
	uint32_t end;

	for (uint32_t i = tp_bits_find_set(freed, 0); i < TP_PAGE_NR_BLOCKS; i = tp_bits_find_set(freed, end)) {
		end = tp_bits_find_clear(freed, i);
		if (runs)
			runs[nr] = (number * TP_PAGE_NR_BLOCKS + i) << RUN_BITS | (end - i);
		nr++;
	}
	return nr;
}

static uint64_t add_runs(const struct tp_page *page, uint64_t *runs)
{
	uint64_t freed[TP_PAGE_NR_WORDS];

	find_freed(page, freed);
	return add_bits(freed, page->number, runs);
}

/* The same for a page that is not in memory. */
static uint64_t add_remnant_runs(const struct tp_remnant *remnant, uint64_t number, uint64_t *runs)
{
	for (uint32_t r = 0; runs && r < remnant->nr_freed; r++)
		runs[r] = (number * TP_PAGE_NR_BLOCKS + tp_remnant_first(remnant->runs[r])) << RUN_BITS |
			  tp_remnant_length(remnant->runs[r]);
	return remnant->nr_freed;
}

static uint64_t add_all_runs(const struct thinp_sm *sm, uint64_t *runs)
{
	uint64_t nr = 0, number = 0;
	struct tp_page *page;
	struct tp_remnant *remnant;

	for (; tp_directory_next_any(&sm->pages, &number, &page, &remnant); number++) {
		uint64_t *place = runs ? runs + nr : NULL;

		if (remnant)
			nr += add_remnant_runs(remnant, number, place);
		else if (page->is_dirty)
			nr += add_runs(page, place);
	}
	return nr;
}

static size_t size_of(uint64_t nr_runs)
{
	return sizeof(struct tp_freed) + nr_runs * sizeof(uint64_t);
}

int tp_sm_collect_freed(struct thinp_sm *sm)
{
	uint64_t nr = add_all_runs(sm, NULL);
	struct tp_freed *freed;

	tp_sm_forget_freed(sm, sm->pending);
	sm->pending = NULL;
	if (!nr)
		return 0;
	freed = tp_alloc_zeroed(&sm->allocator, 1, size_of(nr));
	if (!freed)
		return THINP_ENOMEM;
	freed->nr_runs = nr;
	add_all_runs(sm, freed->runs);
	sm->pending = freed;
	return 0;
}

void tp_sm_forget_freed(struct thinp_sm *sm, struct tp_freed *freed)
{
	if (freed)
		tp_free(&sm->allocator, freed, size_of(freed->nr_runs));
}

void tp_sm_forget_all_freed(struct thinp_sm *sm)
{
	while (sm->freed) {
		struct tp_freed *freed = sm->freed;

		sm->freed = freed->next;
		tp_sm_forget_freed(sm, freed);
	}
	tp_sm_forget_freed(sm, sm->pending);
	sm->pending = NULL;
}

/* --- holding --- */

void tp_sm_hold_freed(struct thinp_sm *sm, uint64_t commit)
{
	struct tp_freed *freed = sm->pending;

	if (!freed)
		return;
	sm->pending = NULL;
	freed->commit = commit;
	if (sm->freed)
		sm->freed_last->next = freed;
	else
		sm->freed = freed;
	sm->freed_last = freed;
}

/* Index of the first run that does not end before the block. */
static uint64_t find_run(const struct tp_freed *freed, uint64_t block)
{
	uint64_t begin = 0, end = freed->nr_runs;

	while (begin < end) {
		uint64_t middle = begin + (end - begin) / 2;
		uint64_t run = freed->runs[middle];

		if (first_of(run) + length_of(run) <= block)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

static bool is_in(const struct tp_freed *freed, uint64_t block)
{
	uint64_t i = find_run(freed, block);

	return i < freed->nr_runs && first_of(freed->runs[i]) <= block;
}

static bool is_in_any(const struct tp_freed *freed, uint64_t block)
{
	for (; freed; freed = freed->next) {
		if (is_in(freed, block))
			return true;
	}
	return false;
}

static void mark_run(struct tp_page *page, uint64_t run)
{
	uint32_t i = (uint32_t)(first_of(run) % TP_PAGE_NR_BLOCKS);

	for (uint32_t end = i + length_of(run); i < end; i++)
		tp_bit_set(page->held, i);
}

void tp_sm_mark_held(const struct thinp_sm *sm, struct tp_page *page)
{
	uint64_t behind = (page->number + 1) * TP_PAGE_NR_BLOCKS;

	for (const struct tp_freed *freed = sm->freed; freed; freed = freed->next) {
		uint64_t i = find_run(freed, page->number * TP_PAGE_NR_BLOCKS);

		for (; i < freed->nr_runs && first_of(freed->runs[i]) < behind; i++)
			mark_run(page, freed->runs[i]);
	}
}

static uint64_t nr_not_held(const struct thinp_sm *sm, uint64_t first, uint64_t nr)
{
	uint64_t sum = nr;

	for (uint64_t i = 0; sm->has_overlaps && i < nr; i++)
		sum -= is_in_any(sm->freed, first + i);
	return sum;
}

void tp_sm_commit_remnants(struct thinp_sm *sm, bool hold)
{
	uint64_t number = 0;
	struct tp_page *page;
	struct tp_remnant *remnant;

	for (; tp_directory_next_any(&sm->pages, &number, &page, &remnant); number++) {
		if (!remnant)
			continue;
		for (uint32_t r = 0; !hold && r < remnant->nr_freed; r++)
			sm->now.nr_available +=
				nr_not_held(sm, number * TP_PAGE_NR_BLOCKS + tp_remnant_first(remnant->runs[r]),
					    tp_remnant_length(remnant->runs[r]));
		*tp_directory_remnant(&sm->pages, number) = NULL;
		sm->pages.bytes -= tp_remnant_bytes(remnant);
		tp_remnant_free(&sm->allocator, remnant);
	}
}

/* --- what the commit before the last needs --- */

static int read_used(struct thinp_reader *reader, thinp_block_t bitmap, uint64_t used[TP_PAGE_NR_WORDS])
{
	struct thinp_read_section section;
	const void *data;
	int r;

	memset(used, 0, TP_PAGE_NR_WORDS * sizeof(*used));
	thinp_read_begin(reader, &section);
	r = thinp_read_block(&section, bitmap, thinp_block_type_bitmap(), &data);
	for (uint32_t i = 0; !r && i < TP_PAGE_NR_BLOCKS; i++)
		if (tp_bitmap_get(data, i))
			tp_bit_set(used, i);
	thinp_read_end(&section);
	return r;
}

/* The blocks of a bitmap that the view before uses, and the one now does not. */
static int find_given_up(const struct tp_sm_view *before, const struct tp_sm_view *now, uint64_t number,
			 uint64_t given_up[TP_PAGE_NR_WORDS])
{
	struct tp_index_entry old_entry, new_entry;
	uint64_t used[TP_PAGE_NR_WORDS];
	int r = tp_sm_find_bitmap(before, number, &old_entry);

	if (!r)
		r = tp_sm_find_bitmap(now, number, &new_entry);
	memset(given_up, 0, sizeof(used));
	if (r || old_entry.bitmap == new_entry.bitmap)
		return r;
	r = read_used(before->reader, old_entry.bitmap, given_up);
	if (!r)
		r = read_used(now->reader, new_entry.bitmap, used);
	for (uint32_t w = 0; !r && w < TP_PAGE_NR_WORDS; w++)
		given_up[w] &= ~used[w];
	return r;
}

static int add_given_up(const struct tp_sm_view *before, const struct tp_sm_view *now, uint64_t *runs, uint64_t *nr)
{
	uint64_t least = before->root.nr_blocks < now->root.nr_blocks ? before->root.nr_blocks : now->root.nr_blocks;
	uint64_t given_up[TP_PAGE_NR_WORDS];
	int r = 0;

	*nr = 0;
	for (uint64_t number = 0; !r && number * TP_PAGE_NR_BLOCKS < least; number++) {
		r = find_given_up(before, now, number, given_up);
		if (!r)
			*nr += add_bits(given_up, number, runs ? runs + *nr : NULL);
	}
	return r;
}

/* No page is in memory yet: each will be told when it is read. */
static void hold_given_up(struct thinp_sm *sm, struct tp_freed *freed, uint64_t commit)
{
	uint64_t nr = 0;

	for (uint64_t i = 0; i < freed->nr_runs; i++)
		nr += length_of(freed->runs[i]);
	tp_sm_forget_freed(sm, sm->pending);
	sm->pending = freed;
	tp_sm_hold_freed(sm, commit);
	sm->committed.nr_available -= nr < sm->committed.nr_available ? nr : sm->committed.nr_available;
	sm->now.nr_available = sm->committed.nr_available;
}

int tp_sm_hold_previous(struct thinp_sm *sm, const struct tp_sm_root *previous, uint64_t commit)
{
	struct tp_sm_view before = {.reader = sm->reader, .root = *previous, .kind = sm->kind};
	struct tp_sm_view now = {.reader = sm->reader, .kind = sm->kind};
	struct tp_freed *freed;
	uint64_t nr;
	int r;

	tp_sm_get_root(sm, &now.root);
	r = add_given_up(&before, &now, NULL, &nr);
	if (r || !nr)
		return r;
	freed = tp_alloc_zeroed(&sm->allocator, 1, size_of(nr));
	if (!freed)
		return THINP_ENOMEM;
	freed->nr_runs = nr;
	r = add_given_up(&before, &now, freed->runs, &nr);
	if (r)
		tp_sm_forget_freed(sm, freed);
	else
		hold_given_up(sm, freed, commit);
	return r;
}

/* --- releasing --- */

/* The committed state of a held block is: free, unless it was counted meanwhile. */
static void release_block(struct thinp_sm *sm, struct tp_page *page, uint64_t block)
{
	uint32_t i = (uint32_t)(block % TP_PAGE_NR_BLOCKS);
	uint32_t count = 0;

	if (!page) {
		sm->committed.nr_available++;
		sm->now.nr_available++;
		return;
	}
	tp_bit_clear(page->held, i);
	if (tp_bit_get(page->committed, i))
		return;
	sm->committed.nr_available++;
	if (tp_sm_get_count(sm, block, &count) || count)
		return; /* the page is in memory: asking cannot fail */
	tp_bit_set(page->available, i);
	page->nr_available++;
	sm->now.nr_available++;
}

static void release_run(struct thinp_sm *sm, const struct tp_freed *later, uint64_t run)
{
	uint64_t first = first_of(run);
	struct tp_page *page = tp_directory_get(&sm->pages, first / TP_PAGE_NR_BLOCKS);

	for (uint64_t block = first; block < first + length_of(run); block++) {
		if (!sm->has_overlaps || !is_in_any(later, block))
			release_block(sm, page, block);
	}
}

/* Blocks that were counted while they were held may be in use: only their pages tell. */
static bool can_release(struct thinp_sm *sm, const struct tp_freed *freed)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	struct tp_page *page;

	if (!sm->has_overlaps)
		return true;
	thinp_error_last(&before);
	for (uint64_t i = 0; i < freed->nr_runs; i++) {
		if (tp_sm_get_page(sm, first_of(freed->runs[i]) / TP_PAGE_NR_BLOCKS, &page)) {
			tp_error_restore(&before);
			return false; /* they stay held; the next release tries again */
		}
	}
	return true;
}

void tp_sm_release(struct thinp_sm *sm, uint64_t commit)
{
	while (sm->freed && sm->freed->commit <= commit && can_release(sm, sm->freed)) {
		struct tp_freed *freed = sm->freed;

		for (uint64_t i = 0; i < freed->nr_runs; i++)
			release_run(sm, freed->next, freed->runs[i]);
		sm->freed = freed->next;
		tp_sm_forget_freed(sm, freed);
	}
	if (!sm->freed)
		sm->has_overlaps = false;
}
