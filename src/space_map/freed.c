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
#include "block/manager.h"

#include <string.h>

#define RUN_BITS   16u /* for its length; a run lies within a page */
#define NR_DROPPED 64u /* blocks that the cache is told of at a time */

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

/* Runs being counted, and stored when there is a place for them. */
struct collection {
	uint64_t *runs; /* NULL: they are counted only */
	uint64_t nr;
	uint64_t end; /* of the last run, in this page */
};

static void add_run(struct collection *found, uint64_t first, uint32_t length)
{
	bool goes_on = found->end == first;

	found->end = first + length;
	found->nr += !goes_on;
	if (!found->runs)
		return;
	if (goes_on)
		found->runs[found->nr - 1] += length;
	else
		found->runs[found->nr - 1] = first << RUN_BITS | length;
}

/* The blocks of a word that have their bit set. */
static void add_word(struct collection *found, uint64_t first, uint64_t bits)
{
	while (bits) {
		uint32_t begin = (uint32_t)__builtin_ctzll(bits);
		uint64_t behind = ~(bits >> begin);
		uint32_t length = behind ? (uint32_t)__builtin_ctzll(behind) : 64;

		add_run(found, first + begin, length);
		bits &= begin + length < 64 ? UINT64_MAX << (begin + length) : 0;
	}
}

static void add_page(struct collection *found, const struct tp_page *page)
{
	found->end = UINT64_MAX;
	for (uint32_t w = tp_page_next_word(page->touched, 0); w < TP_PAGE_NR_WORDS;
	     w = tp_page_next_word(page->touched, w + 1)) {
		if (page->committed[w])
			add_word(found, page->number * TP_PAGE_NR_BLOCKS + w * 64,
				 page->committed[w] & ~tp_page_used_word(page, w));
	}
}

/* The same for a page that is not in memory. */
static void add_remnant(struct collection *found, const struct tp_remnant *remnant, uint64_t number)
{
	found->end = UINT64_MAX;
	for (uint32_t r = 0; r < remnant->nr_freed; r++)
		add_run(found, number * TP_PAGE_NR_BLOCKS + tp_remnant_first(remnant->runs[r]),
			tp_remnant_length(remnant->runs[r]));
}

/* Returns how many. */
static uint64_t add_all_runs(const struct thinp_sm *sm, uint64_t *runs)
{
	struct collection found = {.runs = runs};
	uint64_t number = 0;
	struct tp_page *page;
	struct tp_remnant *remnant;

	for (; tp_directory_next_any(&sm->pages, &number, &page, &remnant); number++) {
		if (remnant)
			add_remnant(&found, remnant, number);
		else if (page->is_dirty)
			add_page(&found, page);
	}
	return found.nr;
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
		tp_directory_set_remnant(&sm->pages, number, NULL);
		sm->pages.bytes -= tp_remnant_bytes(remnant);
		tp_remnant_free(&sm->allocator, remnant);
	}
}

/* --- what the commit before the last needs --- */

/* The entries of a bitmap that are 0 in the second one and not in the first. */
static int compare_bitmaps(struct thinp_reader *reader, thinp_block_t before, thinp_block_t now,
			   uint64_t given_up[TP_PAGE_NR_WORDS])
{
	struct thinp_read_section section;
	uint8_t old[THINP_BLOCK_SIZE];
	const void *data;
	int r;

	thinp_read_begin(reader, &section);
	r = thinp_read_block(&section, before, thinp_block_type_bitmap(), &data);
	if (!r) {
		memcpy(old, data, sizeof(old));
		r = thinp_read_block(&section, now, thinp_block_type_bitmap(), &data);
	}
	if (!r)
		tp_bitmap_given_up(old, data, given_up);
	thinp_read_end(&section);
	return r;
}

/* The blocks of a bitmap that the view before uses, and the one now does not. */
static int add_given_up(const struct tp_sm_view *before, const struct tp_sm_view *now, uint64_t number,
			struct collection *found)
{
	struct tp_index_entry old_entry, new_entry;
	uint64_t given_up[TP_PAGE_NR_WORDS];
	int r = tp_sm_find_bitmap(before, number, &old_entry);

	if (!r)
		r = tp_sm_find_bitmap(now, number, &new_entry);
	if (r || old_entry.bitmap == new_entry.bitmap)
		return r;
	r = compare_bitmaps(now->reader, old_entry.bitmap, new_entry.bitmap, given_up);
	found->end = UINT64_MAX;
	for (uint32_t w = 0; !r && w < TP_PAGE_NR_WORDS; w++)
		add_word(found, number * TP_PAGE_NR_BLOCKS + w * 64, given_up[w]);
	return r;
}

static int add_all_given_up(const struct tp_sm_view *before, const struct tp_sm_view *now, uint64_t *runs, uint64_t *nr)
{
	uint64_t least = before->root.nr_blocks < now->root.nr_blocks ? before->root.nr_blocks : now->root.nr_blocks;
	struct collection found = {.runs = runs};
	uint64_t number = 0;
	int r = 0;

	while (!r && number < (least + TP_PAGE_NR_BLOCKS - 1) / TP_PAGE_NR_BLOCKS) {
		uint64_t end = number;

		r = tp_sm_same_until(before, now, number, &end);
		if (!r && end == number)
			r = add_given_up(before, now, number, &found);
		number = end > number ? end : number + 1;
	}
	*nr = found.nr;
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
	r = add_all_given_up(&before, &now, NULL, &nr);
	if (r || !nr)
		return r;
	freed = tp_alloc_zeroed(&sm->allocator, 1, size_of(nr));
	if (!freed)
		return THINP_ENOMEM;
	freed->nr_runs = nr;
	r = add_all_given_up(&before, &now, freed->runs, &nr);
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

/* The cache has no use for them any more. */
static void drop(const struct thinp_sm *sm, const struct tp_freed *freed)
{
	thinp_block_t blocks[NR_DROPPED];
	size_t nr = 0;

	for (uint64_t i = 0; i < freed->nr_runs; i++) {
		uint64_t first = first_of(freed->runs[i]);

		for (uint64_t block = first; block < first + length_of(freed->runs[i]); block++) {
			blocks[nr++] = block;
			if (nr == NR_DROPPED) {
				tp_reader_drop_unused(sm->reader, blocks, nr);
				nr = 0;
			}
		}
	}
	tp_reader_drop_unused(sm->reader, blocks, nr);
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
	const struct tp_freed *first = sm->freed;

	while (sm->freed && sm->freed->commit <= commit && can_release(sm, sm->freed)) {
		struct tp_freed *freed = sm->freed;

		if (sm->kind == TP_SM_METADATA && !sm->has_overlaps) /* else some may be in use again */
			drop(sm, freed);
		for (uint64_t i = 0; i < freed->nr_runs; i++)
			release_run(sm, freed->next, freed->runs[i]);
		sm->freed = freed->next;
		tp_sm_forget_freed(sm, freed);
	}
	if (!sm->freed)
		sm->has_overlaps = false;
	if (sm->kind == TP_SM_METADATA && sm->freed != first)
		tp_reader_reuse_dropped(sm->reader);
}
