/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/load.c - reading a page of counts: its bitmap, and its part of the overflow tree.
 *
 * A metadata map is read as the last commit has it, for the trees of this transaction may be in the middle of a change when
 * a page is needed. That is right because a page, once changed, stays in memory until the commit.
 */
#include "space_map/sm.h"

#include "base/bytes.h"

#include <thinp/btree.h>

#include <inttypes.h>
#include <string.h>

#define OVERFLOW 3u /* in a bitmap: the overflow tree has the count */

static const struct thinp_btree_type overflow_type = {.size = sizeof(overflow_type), .nr_levels = 1, .value_size = 4};

uint32_t tp_sm_page_limit(const struct thinp_sm *sm, uint64_t number)
{
	uint64_t left = sm->now.nr_blocks - number * TP_PAGE_NR_BLOCKS;

	return left < TP_PAGE_NR_BLOCKS ? (uint32_t)left : TP_PAGE_NR_BLOCKS;
}

void tp_sm_get_view(const struct thinp_sm *sm, struct tp_sm_view *view)
{
	const struct tp_sm_state *state = sm->kind == TP_SM_METADATA ? &sm->committed : &sm->now;

	*view = (struct tp_sm_view){.reader = sm->reader, .kind = sm->kind};
	view->root.nr_blocks = state->nr_blocks;
	view->root.bitmap_root = sm->kind == TP_SM_METADATA ? state->index : state->index_tree.root;
	view->root.ref_count_root = state->overflow.root;
}

static int read_bitmap(struct thinp_sm *sm, struct tp_page *page)
{
	struct thinp_read_section section;
	const void *data;
	int r;

	thinp_read_begin(sm->reader, &section);
	r = thinp_read_block(&section, page->entry.bitmap, thinp_block_type_bitmap(), &data);
	if (!r)
		tp_bitmap_unpack(data, page->counts);
	thinp_read_end(&section);
	return r;
}

struct overflow_walk {
	struct thinp_sm *sm;
	struct tp_page *page;
	uint32_t nr_leaves;
};

static int load_count(struct overflow_walk *walk, uint64_t block, uint32_t count, thinp_block_t leaf)
{
	struct tp_page *page = walk->page;
	uint32_t i = (uint32_t)(block % TP_PAGE_NR_BLOCKS);
	int r = 0;

	tp_bit_set(page->entries, i);
	if (page->counts[i] != OVERFLOW) /* old kernels left such entries; it goes when the count changes */
		return 0;
	if (count < OVERFLOW)
		return tp_fail(THINP_ECORRUPT, leaf, "an overflow tree has count %" PRIu32 " for block %" PRIu64, count,
			       block);
	if (count < TP_PAGE_LARGE) {
		page->counts[i] = (uint8_t)count;
		return 0;
	}
	r = tp_large_reserve(&walk->sm->large, 1);
	if (r)
		return r;
	tp_large_put(&walk->sm->large, block, count);
	page->counts[i] = TP_PAGE_LARGE;
	return 0;
}

static int load_span(void *ctx, const struct thinp_btree_span *span)
{
	struct overflow_walk *walk = ctx;
	int r = 0;

	walk->nr_leaves++;
	for (uint32_t i = 0; !r && i < span->nr_entries; i++) {
		uint64_t block = tp_load_le64((const uint8_t *)span->keys_le + 8 * (size_t)i);
		uint32_t count = tp_load_le32((const uint8_t *)span->values_le + 4 * (size_t)i);

		r = load_count(walk, block, count, span->block);
	}
	return r;
}

static int count_span(void *ctx, const struct thinp_btree_span *span)
{
	struct overflow_walk *walk = ctx;

	(void)span;
	walk->nr_leaves++;
	return 0;
}

static int walk_overflow(struct thinp_sm *sm, struct tp_page *page, thinp_btree_span_fn fn)
{
	struct overflow_walk walk = {.sm = sm, .page = page};
	uint64_t first = page->number * TP_PAGE_NR_BLOCKS;
	uint64_t last = first + TP_PAGE_NR_BLOCKS - 1;
	struct tp_sm_view view;
	int r;

	tp_sm_get_view(sm, &view);
	r = thinp_btree_walk_range(sm->reader, &overflow_type, view.root.ref_count_root, &first, &last, fn, &walk);
	if (r)
		return r;
	page->nr_leaves = walk.nr_leaves ? walk.nr_leaves : 1;
	page->leaves_known_at = sm->now.overflow_generation;
	return 0;
}

int tp_sm_find_leaves(struct thinp_sm *sm, struct tp_page *page)
{
	if (page->leaves_known_at == sm->now.overflow_generation || !sm->now.overflow.root)
		return 0;
	if (!sm->now.overflow.depth || sm->now.overflow.depth == 1) {
		page->nr_leaves = 1;
		page->leaves_known_at = sm->now.overflow_generation;
		return 0;
	}
	return walk_overflow(sm, page, count_span);
}

/* Every 3 of the bitmap must have got its count. */
static int check_all_found(const struct tp_page *page)
{
	for (uint32_t i = 0; i < TP_PAGE_NR_BLOCKS; i++) {
		if (page->counts[i] == OVERFLOW && !tp_bit_get(page->entries, i))
			return tp_fail(THINP_ECORRUPT, page->entry.bitmap, "the overflow tree lacks block %" PRIu64,
				       page->number * TP_PAGE_NR_BLOCKS + i);
	}
	return 0;
}

static int load_counts(struct thinp_sm *sm, struct tp_page *page)
{
	uint64_t behind = sm->committed.nr_blocks - page->number * TP_PAGE_NR_BLOCKS;
	struct tp_sm_view view;
	int r;

	tp_sm_get_view(sm, &view);
	r = tp_sm_find_bitmap(&view, page->number, &page->entry);
	if (!r)
		r = read_bitmap(sm, page);
	if (r)
		return r;
	if (behind < TP_PAGE_NR_BLOCKS &&
	    !tp_sm_has_remnant(sm,
			       page->number)) /* entries behind the end should be 0, and must be when the map grows */
		memset(page->counts + behind, 0, TP_PAGE_NR_BLOCKS - behind);
	page->nr_leaves = 1;
	page->leaves_known_at = UINT64_MAX;
	if (memchr(page->counts, OVERFLOW, sizeof(page->counts))) {
		r = walk_overflow(sm, page, load_span);
		if (!r)
			r = check_all_found(page);
	}
	return r;
}

/* The rows of bits follow from the counts, which are those of the last commit, and from what the remnant tells. */
static void fill_bits(struct thinp_sm *sm, struct tp_page *page)
{
	uint32_t limit = tp_sm_page_limit(sm, page->number);

	tp_page_mark_all(page->unpacked);
	tp_sm_mark_held(sm, page);
	for (uint32_t w = 0; w < TP_PAGE_NR_WORDS; w++) {
		page->committed[w] = tp_page_used_word(page, w);
		page->nr_used += (uint32_t)__builtin_popcountll(page->committed[w]);
	}
	if (page->entry.bitmap)
		page->nr_hidden = (int32_t)(TP_PAGE_NR_BLOCKS - page->nr_used - page->entry.nr_free);
	tp_sm_apply_remnant(sm, page);
	for (uint32_t w = 0; w < TP_PAGE_NR_WORDS; w++) {
		page->available[w] = ~(tp_page_used_word(page, w) | page->committed[w] | page->held[w]);
		if (w * 64 + 64 > limit)
			page->available[w] &= w * 64 >= limit ? 0 : ~(UINT64_MAX << limit % 64);
		page->nr_available += (uint32_t)__builtin_popcountll(page->available[w]);
	}
}

void tp_sm_forget_large(struct thinp_sm *sm, const struct tp_page *page)
{
	for (uint32_t i = 0; i < TP_PAGE_NR_BLOCKS; i++) {
		if (page->counts[i] == TP_PAGE_LARGE)
			tp_large_remove(&sm->large, page->number * TP_PAGE_NR_BLOCKS + i);
	}
}

int tp_sm_get_page(struct thinp_sm *sm, uint64_t number, struct tp_page **out)
{
	struct tp_page *page = tp_directory_get(&sm->pages, number);
	int r;

	if (page) {
		*out = page;
		return 0;
	}
	r = tp_directory_make(&sm->pages, number, &page);
	if (r)
		return r;
	if (tp_sm_has_bitmap(sm, number))
		r = load_counts(sm, page);
	if (r) {
		tp_sm_forget_large(sm, page);
		tp_directory_drop(&sm->pages, page);
		return r;
	}
	fill_bits(sm, page);
	tp_directory_put(&sm->pages, page);
	*out = page;
	return 0;
}
