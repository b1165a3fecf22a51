/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/record.c - bringing the blocks of a map up to date.
 *
 * A data map takes its blocks from another map, so its counts stand still while it is recorded: page by page, large counts,
 * the bitmap, its entry in the index.
 *
 * A metadata map counts the very blocks that it is recorded in, so its counts change with each step:
 *
 *   repeat: large counts into the overflow tree; a bitmap of this transaction for each page that changed; the index block
 *   until a round finds nothing to do
 *   then write what the counts are now, which changes none
 *
 * This ends. A page gets a bitmap once, the index block is replaced once. A large count is recorded once, and again only when
 * an operation has changed it since. Such operations are the first and the last reference to blocks of the map itself: a new
 * block goes from 0 to 1, which is not large. An old one goes down by one, and each block is an old one only once, for then
 * it is none of the map any more. So each round has less left to do.
 *
 * Index hints follow the kernel: nr_free counts all zeros of the bitmap, those behind the end of the map included;
 * none_free_before is the place of the first of them.
 */
#include "space_map/record.h"

#include <string.h>

/* --- data maps --- */

static int record_page(struct thinp_sm *sm, struct thinp_tm *tm, struct tp_page *page)
{
	bool found = true;
	int r = 0;

	while (!r && found)
		r = tp_sm_step_overflow(sm, tm, page, &found);
	if (!r && !page->is_shadow)
		r = tp_sm_step_bitmap(sm, tm, page);
	if (!r)
		r = tp_sm_write_bitmap(tm, page);
	if (!r)
		r = tp_sm_step_index_entry(sm, tm, page->number, &page->entry);
	page->is_recorded = !r;
	return r;
}

/* A bitmap of zeros, for blocks that nobody has asked for yet. */
static int record_empty(struct thinp_sm *sm, struct thinp_tm *tm, uint64_t number)
{
	struct tp_index_entry entry = {.nr_free = TP_PAGE_NR_BLOCKS};
	int r = tp_sm_step_replace(sm, tm, thinp_block_type_bitmap(), &entry.bitmap);

	if (!r)
		r = tp_sm_step_index_entry(sm, tm, number, &entry);
	if (!r)
		sm->now.nr_bitmaps++;
	return r;
}

/* In ascending order: the index has no gaps. */
static int record_new_pages(struct thinp_sm *sm, struct thinp_tm *tm)
{
	uint64_t nr_pages = tp_sm_nr_pages(sm);
	int r = 0;

	while (!r && sm->now.nr_bitmaps < nr_pages) {
		struct tp_page *page = tp_directory_get(&sm->pages, sm->now.nr_bitmaps);

		r = page ? record_page(sm, tm, page) : record_empty(sm, tm, sm->now.nr_bitmaps);
	}
	return r;
}

int tp_sm_record_data(struct thinp_sm *sm, struct thinp_tm *tm)
{
	uint64_t nr_before = sm->now.nr_bitmaps;
	struct tp_page *page = tp_directory_next(&sm->pages, 0);
	int r = tp_sm_step_make_trees(sm, tm);

	for (; !r && page && page->number < nr_before; page = tp_directory_next(&sm->pages, page->number + 1)) {
		if (page->is_dirty && !page->is_recorded)
			r = record_page(sm, tm, page);
	}
	return r ? r : record_new_pages(sm, tm);
}

/* --- metadata maps --- */

/* One round: all that is to be done for one page. */
static int shadow_page(struct thinp_sm *sm, struct thinp_tm *tm, struct tp_page *page, bool *progress)
{
	bool found = true;
	int r = 0;

	while (!r && found) {
		r = tp_sm_step_overflow(sm, tm, page, &found);
		*progress |= found;
	}
	if (r || page->is_shadow || (!page->is_dirty && page->entry.bitmap))
		return r;
	*progress = true;
	return tp_sm_step_bitmap(sm, tm, page);
}

static int shadow_index(struct thinp_sm *sm, struct thinp_tm *tm, bool *progress)
{
	if (sm->index_is_shadow)
		return 0;
	sm->index_is_shadow = true;
	*progress = true;
	return tp_sm_step_replace(sm, tm, thinp_block_type_index(), &sm->now.index);
}

static int shadow_pages(struct thinp_sm *sm, struct thinp_tm *tm, bool *progress)
{
	uint64_t nr_pages = tp_sm_nr_pages(sm);
	struct tp_page *page;
	int r = 0;

	for (uint64_t number = 0; !r && number < nr_pages; number++) {
		page = tp_directory_get(&sm->pages, number);
		if (!page && number >= sm->now.nr_bitmaps)
			r = tp_sm_get_page(sm, number, &page);
		if (!r && page)
			r = shadow_page(sm, tm, page, progress);
	}
	return r;
}

static bool is_up_to_date(const struct thinp_sm *sm)
{
	const struct tp_page *page = tp_directory_next(&sm->pages, 0);

	if (!sm->now.index || !sm->now.overflow.root || sm->now.nr_bitmaps < tp_sm_nr_pages(sm))
		return false;
	while (page && !page->is_dirty)
		page = tp_directory_next(&sm->pages, page->number + 1);
	return !page;
}

/* What is behind the last bitmap may be anything. */
static void clear_unused_entries(struct thinp_sm *sm)
{
	const struct tp_index_entry none = {0};

	for (uint64_t number = sm->committed.nr_bitmaps; number < TP_INDEX_NR_ENTRIES; number++)
		tp_index_set_entry(sm->index_data, (uint32_t)number, &none);
}

/* The index as the last commit has it, for pages that are not in memory. */
static int read_index(struct thinp_sm *sm)
{
	struct thinp_read_section section;
	const void *data;
	int r = 0;

	memset(sm->index_data, 0, sizeof(sm->index_data));
	if (sm->committed.index) {
		thinp_read_begin(sm->reader, &section);
		r = thinp_read_block(&section, sm->committed.index, thinp_block_type_index(), &data);
		if (!r)
			memcpy(sm->index_data, data, sizeof(sm->index_data));
		thinp_read_end(&section);
	}
	clear_unused_entries(sm);
	sm->index_is_known = !r;
	return r;
}

static bool hides_anything(const struct thinp_sm *sm)
{
	const struct tp_page *page = tp_directory_next(&sm->pages, 0);

	while (page && !page->nr_hidden)
		page = tp_directory_next(&sm->pages, page->number + 1);
	return page;
}

/* How many blocks of count 0 the root and the index of the last commit have hidden alike, in pages that are in memory. Where
 * the two do not agree, nobody knows what the root is wrong by. nr_free of the last bitmap may leave out its tail. */
static int64_t hidden_by_root(const struct thinp_sm *sm)
{
	struct tp_index index;
	uint64_t tail = sm->committed.nr_bitmaps * TP_PAGE_NR_BLOCKS - sm->committed.nr_blocks;
	uint64_t sum = 0;
	int64_t nr_hidden = 0;

	tp_index_unpack(sm->index_data, &index);
	for (uint64_t number = 0; number < sm->committed.nr_bitmaps; number++) {
		const struct tp_page *page = tp_directory_get(&sm->pages, number);

		sum += index.entries[number].nr_free;
		nr_hidden += page ? page->nr_hidden : 0;
	}
	if (sum == sm->committed.nr_zero + tail)
		return nr_hidden;
	if (sum != sm->committed.nr_zero)
		return 0;
	return tp_directory_get(&sm->pages, sm->committed.nr_bitmaps - 1) ? nr_hidden - (int64_t)tail : nr_hidden;
}

/* Restore 0.9 counts one block too many in the root and in an entry. Who writes one of the two right has to write both. */
static void mend_hints(struct thinp_sm *sm)
{
	int64_t nr_hidden = sm->nr_used_is_set ? 0 : hidden_by_root(sm);

	if (nr_hidden > 0 && (uint64_t)nr_hidden <= sm->now.nr_blocks - sm->now.nr_zero) {
		sm->now.nr_zero += (uint64_t)nr_hidden;
		sm->now.nr_available += (uint64_t)nr_hidden;
	}
	for (struct tp_page *page = tp_directory_next(&sm->pages, 0); page;
	     page = tp_directory_next(&sm->pages, page->number + 1)) {
		if (!page->nr_hidden)
			continue;
		tp_sm_set_hints(page);
		tp_index_set_entry(sm->index_data, (uint32_t)page->number, &page->entry);
	}
}

static int write_index(struct thinp_sm *sm, struct thinp_tm *tm)
{
	struct thinp_buffer *buffer;
	void *data;
	int r = tp_sm_write_again(tm, sm->now.index, thinp_block_type_index(), &buffer, &data);

	if (r)
		return r;
	for (const struct tp_page *page = tp_directory_next(&sm->pages, 0); page;
	     page = tp_directory_next(&sm->pages, page->number + 1)) {
		if (page->is_dirty)
			tp_index_set_entry(sm->index_data, (uint32_t)page->number, &page->entry);
	}
	tp_index_set_block(sm->index_data, sm->now.index);
	memcpy(data, sm->index_data, THINP_BLOCK_SIZE);
	thinp_tm_unlock(tm, buffer);
	return 0;
}

static int write_all(struct thinp_sm *sm, struct thinp_tm *tm)
{
	uint64_t nr_ops = sm->nr_ops;
	int r = sm->index_is_known ? 0 : read_index(sm);

	if (!r && hides_anything(sm))
		mend_hints(sm);
	for (struct tp_page *page = tp_directory_next(&sm->pages, 0); !r && page;
	     page = tp_directory_next(&sm->pages, page->number + 1)) {
		if (page->is_dirty)
			r = tp_sm_write_bitmap(tm, page);
	}
	if (!r)
		r = write_index(sm, tm);
	if (!r && sm->nr_ops != nr_ops)
		r = tp_fail(THINP_EREFCOUNT, THINP_NO_BLOCK, "counts have changed while they were written");
	return r;
}

int tp_sm_record_metadata(struct thinp_sm *sm, struct thinp_tm *tm)
{
	bool progress = true;
	int r;

	if (is_up_to_date(sm))
		return 0;
	r = tp_sm_step_make_trees(sm, tm);
	while (!r && progress) {
		progress = false;
		r = shadow_pages(sm, tm, &progress);
		if (!r)
			r = shadow_index(sm, tm, &progress);
	}
	return r ? r : write_all(sm, tm);
}

/* --- both --- */

static int record(struct thinp_sm *sm, struct thinp_tm *tm)
{
	int r = tp_sm_drain(sm);

	if (!r)
		r = sm->kind == TP_SM_DATA ? tp_sm_record_data(sm, tm) : tp_sm_record_metadata(sm, tm);
	return r ? r : tp_sm_collect_freed(sm);
}

int tp_sm_record(struct thinp_sm *sm, struct thinp_tm *tm)
{
	int r = thinp_tm_status(tm);

	if (!r && sm->failure)
		r = tp_fail(THINP_EMUSTABORT, THINP_NO_BLOCK, "operations were not applied, with %s: abort",
			    thinp_err_name(sm->failure));
	if (r)
		return r;
	sm->metadata->is_recording = true;
	r = record(sm, tm);
	if (!r)
		return 0;
	sm->failure = r;
	return thinp_tm_poison(tm, r);
}
