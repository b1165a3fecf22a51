/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/trim.c - keeping the memory for the counts of a data map within a limit.
 *
 * A page that is as the last commit has it can just go. One that was changed is recorded early, and leaves a remnant: which of
 * its blocks came free since the last commit, and which came into use. With that and its bitmap it can be made again.
 */
#include "space_map/record.h"

#include "base/alloc.h"

static size_t size_of(uint32_t nr_runs)
{
	return sizeof(struct tp_remnant) + nr_runs * sizeof(uint32_t);
}

size_t tp_remnant_bytes(const struct tp_remnant *remnant)
{
	return size_of(remnant->nr_runs);
}

void tp_remnant_free(const struct thinp_allocator *allocator, struct tp_remnant *remnant)
{
	if (remnant)
		tp_free(allocator, remnant, size_of(remnant->nr_runs));
}

static void set_run(uint64_t *bits, uint32_t run, bool to)
{
	uint32_t i = tp_remnant_first(run);

	for (uint32_t end = i + tp_remnant_length(run); i < end; i++) {
		if (to)
			tp_bit_set(bits, i);
		else
			tp_bit_clear(bits, i);
	}
}

/* --- making remnants --- */

static uint32_t add_runs(const uint64_t *bits, uint32_t *runs)
{
	uint32_t nr = 0, end;

	for (uint32_t i = tp_bits_find_set(bits, 0); i < TP_PAGE_NR_BLOCKS; i = tp_bits_find_set(bits, end)) {
		end = tp_bits_find_clear(bits, i);
		if (runs)
			runs[nr] = i << 16 | (end - i);
		nr++;
	}
	return nr;
}

static int make_remnant(struct thinp_sm *sm, const struct tp_page *page, struct tp_remnant **out)
{
	uint64_t came_free[TP_PAGE_NR_WORDS], came_into_use[TP_PAGE_NR_WORDS];
	struct tp_remnant *remnant;
	uint32_t nr, nr_freed;

	for (uint32_t w = 0; w < TP_PAGE_NR_WORDS; w++) {
		uint64_t used = tp_page_used_word(page, w);

		came_free[w] = page->committed[w] & ~used;
		came_into_use[w] = used & ~page->committed[w];
	}
	nr_freed = add_runs(came_free, NULL);
	nr = nr_freed + add_runs(came_into_use, NULL);
	remnant = tp_alloc_zeroed(&sm->allocator, 1, size_of(nr));
	if (!remnant)
		return THINP_ENOMEM;
	remnant->nr_freed = nr_freed;
	remnant->nr_runs = nr;
	add_runs(came_free, remnant->runs);
	add_runs(came_into_use, remnant->runs + nr_freed);
	sm->pages.bytes += size_of(nr);
	*out = remnant;
	return 0;
}

static int drop_page(struct thinp_sm *sm, struct tp_page *page)
{
	struct tp_remnant *remnant = NULL;

	if (page->is_dirty) {
		int r = make_remnant(sm, page, &remnant);

		if (r)
			return r;
	}
	tp_directory_set_remnant(&sm->pages, page->number, remnant);
	tp_sm_forget_large(sm, page);
	tp_directory_drop(&sm->pages, page);
	return 0;
}

/* --- using remnants --- */

void tp_sm_apply_remnant(struct thinp_sm *sm, struct tp_page *page)
{
	struct tp_remnant *remnant = tp_directory_remnant(&sm->pages, page->number);

	if (!remnant)
		return;
	for (uint32_t r = 0; r < remnant->nr_runs; r++)
		set_run(page->committed, remnant->runs[r], r < remnant->nr_freed);
	page->is_dirty = true;
	page->is_shadow = true;
	page->is_recorded = true;
	tp_page_mark_all(page->touched);
	tp_directory_set_remnant(&sm->pages, page->number, NULL);
	sm->pages.bytes -= tp_remnant_bytes(remnant);
	tp_remnant_free(&sm->allocator, remnant);
}

bool tp_sm_has_remnant(const struct thinp_sm *sm, uint64_t number)
{
	return tp_directory_remnant(&sm->pages, number);
}

/* --- the limit --- */

/* Drops pages until there are few enough, but for those whose counts are nowhere else. */
static int drop_pages(struct thinp_sm *sm, uint64_t goal)
{
	struct tp_page *page = tp_directory_next(&sm->pages, 0);

	while (page && sm->pages.bytes + tp_large_bytes(&sm->large) > goal) {
		struct tp_page *next = tp_directory_next(&sm->pages, page->number + 1);
		bool is_needed = page->number == sm->cursor / TP_PAGE_NR_BLOCKS;
		int r = is_needed || (page->is_dirty && !page->is_recorded) ? 0 : drop_page(sm, page);

		if (r)
			return r;
		page = next;
	}
	return 0;
}

static int record_early(struct thinp_sm *sm, struct thinp_tm *tm)
{
	int r;

	sm->metadata->is_recording = true;
	r = tp_sm_drain(sm);
	if (!r)
		r = tp_sm_record_data(sm, tm);
	sm->metadata->is_recording = false;
	sm->metadata->cost_is_known = false;
	sm->work = (struct tp_sm_work){0};
	if (!r)
		return 0;
	sm->failure = r;
	return thinp_tm_poison(tm, r);
}

void tp_sm_set_memory_limit(struct thinp_sm *sm, uint64_t nbytes)
{
	sm->memory_limit = nbytes;
}

static bool is_over(const struct thinp_sm *sm, uint64_t limit)
{
	return sm->pages.bytes + tp_large_bytes(&sm->large) > limit;
}

int tp_sm_trim(struct thinp_sm *sm, struct thinp_tm *tm)
{
	uint64_t goal = sm->memory_limit - sm->memory_limit / 4;
	int r = 0;

	if (sm->kind == TP_SM_METADATA || !sm->memory_limit || !is_over(sm, sm->memory_limit))
		return 0;
	if (!sm->has_queued)
		r = drop_pages(sm, goal);
	if (r || !is_over(sm, goal))
		return r;
	r = record_early(sm, tm);
	return r ? r : drop_pages(sm, goal);
}
