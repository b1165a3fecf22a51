/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/map.c - opening and closing a map, growing it, the end of a transaction.
 */
#include "space_map/sm.h"

#include "base/alloc.h"
#include "base/opts.h"

#include <inttypes.h>
#include <string.h>

/* --- opening --- */

static int measure(struct thinp_sm *sm)
{
	int r = tp_sm_measure_tree(sm->reader, &sm->committed.overflow);

	if (!r && sm->kind == TP_SM_DATA)
		r = tp_sm_measure_tree(sm->reader, &sm->committed.index_tree);
	return r;
}

static int take_root(struct thinp_sm *sm, const struct tp_sm_root *root)
{
	struct tp_sm_state *state = &sm->committed;

	state->overflow.depth = 1;
	state->index_tree.depth = 1;
	if (!root)
		return 0;
	state->nr_blocks = root->nr_blocks;
	state->nr_zero = root->nr_allocated < root->nr_blocks ? root->nr_blocks - root->nr_allocated : 0;
	state->nr_available = state->nr_zero;
	state->nr_bitmaps = (root->nr_blocks + TP_PAGE_NR_BLOCKS - 1) / TP_PAGE_NR_BLOCKS;
	state->overflow.root = root->ref_count_root;
	if (sm->kind == TP_SM_METADATA)
		state->index = root->bitmap_root;
	else
		state->index_tree.root = root->bitmap_root;
	return measure(sm);
}

static int set_up(struct thinp_sm *sm, const struct tp_sm_root *root, const struct tp_sm_opts *opts)
{
	int r = take_root(sm, root);

	sm->now = sm->committed;
	if (!r)
		r = tp_directory_grow(&sm->pages, sm->now.nr_bitmaps);
	if (!r)
		r = tp_sm_create_queue(sm, opts ? opts->policy : NULL);
	return r;
}

static int open_map(enum tp_sm_kind kind, struct thinp_reader *reader, const struct tp_sm_root *root,
		    const struct tp_sm_opts *opts, struct thinp_sm **out)
{
	struct thinp_allocator allocator;
	struct thinp_sm *sm;
	int r = tp_allocator_take(&allocator, opts ? opts->allocator : NULL);

	if (r)
		return r;
	sm = tp_alloc_zeroed(&allocator, 1, sizeof(*sm));
	if (!sm)
		return THINP_ENOMEM;
	sm->allocator = allocator;
	sm->reader = reader;
	sm->kind = kind;
	sm->first_block = opts && opts->first_block ? opts->first_block : 1;
	sm->memory_limit = opts ? opts->memory_limit : 0;
	sm->queue_always = opts && opts->queue_always;
	tp_directory_init(&sm->pages, &allocator);
	tp_large_init(&sm->large, &allocator);
	r = set_up(sm, root, opts);
	if (r) {
		tp_directory_clear(&sm->pages);
		tp_free(&allocator, sm, sizeof(*sm));
		return r;
	}
	*out = sm;
	return 0;
}

int tp_sm_open_metadata(struct thinp_reader *reader, const struct tp_sm_root *root, const struct tp_sm_opts *opts,
			struct thinp_sm **out)
{
	struct thinp_sm *sm;
	int r = open_map(TP_SM_METADATA, reader, root, opts, &sm);

	if (r)
		return r;
	sm->metadata = sm;
	*out = sm;
	return 0;
}

int tp_sm_open_data(struct thinp_reader *reader, const struct tp_sm_root *root, struct thinp_sm *metadata,
		    const struct tp_sm_opts *opts, struct thinp_sm **out)
{
	struct thinp_sm *sm;
	int r = open_map(TP_SM_DATA, reader, root, opts, &sm);

	if (r)
		return r;
	sm->metadata = metadata;
	metadata->cost_is_known = false;
	sm->next = metadata->data_maps;
	metadata->data_maps = sm;
	*out = sm;
	return 0;
}

void tp_sm_set_reader(struct thinp_sm *sm, struct thinp_reader *reader)
{
	sm->reader = reader;
}

static void unlink_data_map(struct thinp_sm *sm)
{
	struct thinp_sm **link = &sm->metadata->data_maps;

	while (*link && *link != sm)
		link = &(*link)->next;
	if (*link)
		*link = sm->next;
	sm->metadata->cost_is_known = false;
}

void tp_sm_close(struct thinp_sm *sm)
{
	struct thinp_allocator allocator;

	if (!sm)
		return;
	if (sm->kind == TP_SM_DATA)
		unlink_data_map(sm);
	tp_sm_forget_all_freed(sm);
	tp_large_clear(&sm->large);
	tp_directory_clear(&sm->pages);
	tp_sm_destroy_queue(sm);
	allocator = sm->allocator;
	tp_free(&allocator, sm, sizeof(*sm));
}

/* --- growing --- */

static int check_length(const struct thinp_sm *sm, uint64_t nr_blocks)
{
	uint64_t limit = TP_DATA_MAX_BLOCKS;

	if (sm->kind == TP_SM_METADATA) { /* its blocks must be there to be taken */
		limit = thinp_reader_nr_blocks(sm->reader);
		limit = limit < TP_METADATA_MAX_BLOCKS ? limit : TP_METADATA_MAX_BLOCKS;
	}
	if (nr_blocks < sm->now.nr_blocks)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK,
			       "a space map of %" PRIu64 " blocks cannot shrink to %" PRIu64, sm->now.nr_blocks,
			       nr_blocks);
	if (nr_blocks > limit)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "%" PRIu64 " blocks, but %" PRIu64 " are the most",
			       nr_blocks, limit);
	return 0;
}

/* The blocks that the page of the old end gets, when it is in memory, can be handed out. */
static void free_tail(struct tp_page *page, uint32_t begin, uint32_t end)
{
	for (uint32_t i = begin; i < end; i++)
		tp_bit_set(page->available, i);
	page->nr_available += end - begin;
}

static void set_length(struct thinp_sm *sm, uint64_t nr_blocks)
{
	uint64_t before = sm->now.nr_blocks;
	struct tp_page *page = tp_directory_get(&sm->pages, before / TP_PAGE_NR_BLOCKS);

	sm->metadata->cost_is_known = false;
	sm->now.nr_blocks = nr_blocks;
	sm->now.nr_zero += nr_blocks - before;
	sm->now.nr_available += nr_blocks - before;
	if (page)
		free_tail(page, (uint32_t)(before % TP_PAGE_NR_BLOCKS),
			  tp_sm_page_limit(sm, before / TP_PAGE_NR_BLOCKS));
}

static void set_length_back(struct thinp_sm *sm, const struct tp_sm_state *before)
{
	uint64_t number = before->nr_blocks / TP_PAGE_NR_BLOCKS;
	struct tp_page *page = tp_directory_get(&sm->pages, number);

	if (page) {
		uint32_t end = tp_sm_page_limit(sm, number);

		for (uint32_t i = (uint32_t)(before->nr_blocks % TP_PAGE_NR_BLOCKS); i < end; i++)
			tp_bit_clear(page->available, i);
		page->nr_available -= end - (uint32_t)(before->nr_blocks % TP_PAGE_NR_BLOCKS);
	}
	sm->now = *before;
	sm->metadata->cost_is_known = false;
}

/* What a new metadata map begins with: superblocks. */
static int count_first_blocks(struct thinp_sm *sm)
{
	uint64_t nr = sm->first_block < sm->now.nr_blocks ? sm->first_block : sm->now.nr_blocks;

	return tp_sm_issue_found(sm, 0, nr, THINP_CAUSE_USER);
}

uint64_t tp_sm_extend_cost(const struct thinp_sm *sm, uint64_t nr_blocks)
{
	struct thinp_sm longer = *sm; /* to be asked, not to be used */

	longer.now.nr_blocks = nr_blocks;
	return tp_sm_cost_of(&longer, &sm->work) - tp_sm_cost_of(sm, &sm->work);
}

/* The bitmaps of a longer data map stay, so they must leave what is kept for changes that free space. A longer metadata map
 * brings more than it takes, and a store that is being made has nothing to free. */
static uint64_t spare_of(const struct thinp_sm *sm)
{
	if (sm->kind == TP_SM_METADATA || !sm->metadata->committed.nr_blocks)
		return 0;
	return tp_sm_release_cost(sm->metadata);
}

/* Restore 0.9 counts in nr_free only blocks that exist. A kernel would not see the new ones, so such an entry has to be
 * written with the length. The page is read before anything is changed. */
static int read_hidden_tail(struct thinp_sm *sm, bool *is_hidden)
{
	uint64_t number = sm->now.nr_blocks / TP_PAGE_NR_BLOCKS;
	struct tp_page *page;
	int r;

	*is_hidden = false;
	if (sm->now.nr_blocks % TP_PAGE_NR_BLOCKS == 0 || !tp_sm_has_bitmap(sm, number))
		return 0;
	r = tp_sm_get_page(sm, number, &page);
	*is_hidden = !r && page->nr_hidden;
	return r;
}

static int prepare_length(struct thinp_sm *sm, uint64_t nr_blocks, bool *is_hidden)
{
	int r = tp_directory_grow(&sm->pages, (nr_blocks + TP_PAGE_NR_BLOCKS - 1) / TP_PAGE_NR_BLOCKS);

	return r ? r : read_hidden_tail(sm, is_hidden);
}

int thinp_sm_extend(struct thinp_sm *sm, uint64_t nr_blocks)
{
	const struct tp_sm_state before = sm->now;
	bool is_hidden;
	int r = tp_sm_check_not_recording(sm);

	if (!r)
		r = check_length(sm, nr_blocks);
	if (r || nr_blocks == before.nr_blocks)
		return r;
	r = prepare_length(sm, nr_blocks, &is_hidden);
	if (r)
		return r;
	set_length(sm, nr_blocks);
	r = tp_sm_check_cost(sm, &sm->work, spare_of(sm));
	if (!r && is_hidden)
		r = tp_sm_write_anew(sm, before.nr_blocks / TP_PAGE_NR_BLOCKS);
	if (!r && !before.nr_blocks && sm->kind == TP_SM_METADATA)
		r = count_first_blocks(sm);
	if (r) {
		set_length_back(sm, &before);
		return r;
	}
	/* a map that records itself takes what it needs from the new blocks: there may be no others */
	if (sm->kind == TP_SM_METADATA)
		sm->cursor = before.nr_blocks;
	return 0;
}

/* --- the end of a transaction --- */

bool tp_sm_is_changed(const struct thinp_sm *sm)
{
	if (sm->now.nr_blocks != sm->committed.nr_blocks || sm->has_queued ||
	    sm->now.index_tree.root != sm->committed.index_tree.root || /* recorded early */
	    sm->now.overflow_generation != sm->committed.overflow_generation)
		return true;
	for (const struct tp_page *page = tp_directory_next(&sm->pages, 0); page;
	     page = tp_directory_next(&sm->pages, page->number + 1))
		if (page->is_dirty)
			return true;
	return false;
}

void tp_sm_get_root(const struct thinp_sm *sm, struct tp_sm_root *root)
{
	*root = (struct tp_sm_root){
		.nr_blocks = sm->now.nr_blocks,
		.nr_allocated = sm->now.nr_blocks - sm->now.nr_zero,
		.bitmap_root = sm->kind == TP_SM_METADATA ? sm->now.index : sm->now.index_tree.root,
		.ref_count_root = sm->now.overflow.root,
	};
}

/* What was freed in the transaction comes free, or is held. */
static void commit_page(struct thinp_sm *sm, struct tp_page *page, bool hold)
{
	for (uint32_t w = tp_page_next_word(page->touched, 0); w < TP_PAGE_NR_WORDS;
	     w = tp_page_next_word(page->touched, w + 1)) {
		uint64_t used = tp_page_used_word(page, w);
		uint64_t freed = page->committed[w] & ~used;

		page->committed[w] = used;
		if (!freed)
			continue;
		page->held[w] |= hold ? freed : 0;
		freed &= ~page->held[w];
		page->available[w] |= freed;
		page->nr_available += (uint32_t)__builtin_popcountll(freed);
		sm->now.nr_available += (uint64_t)__builtin_popcountll(freed);
	}
	memset(page->touched, 0, sizeof(page->touched));
	page->is_dirty = false;
	page->is_shadow = false;
	page->is_recorded = false;
}

void tp_sm_committed(struct thinp_sm *sm, uint64_t commit, bool hold)
{
	for (struct tp_page *page = tp_directory_next(&sm->pages, 0); page;
	     page = tp_directory_next(&sm->pages, page->number + 1)) {
		if (page->is_dirty)
			commit_page(sm, page, hold);
	}
	tp_sm_commit_remnants(sm, hold);
	if (hold)
		tp_sm_hold_freed(sm, commit);
	tp_sm_forget_freed(sm, sm->pending);
	sm->pending = NULL;
	sm->work = (struct tp_sm_work){0};
	sm->committed = sm->now;
	sm->is_recording = false;
	sm->metadata->is_recording = false;
	sm->metadata->cost_is_known = false;
	sm->index_is_shadow = false;
	sm->nr_used_is_set = false;
}

void tp_sm_abort(struct thinp_sm *sm)
{
	tp_sm_forget_freed(sm, sm->pending);
	sm->pending = NULL;
	tp_directory_clear(&sm->pages);
	tp_large_clear(&sm->large);
	thinp_opq_clear(sm->queue);
	sm->held.nr_blocks = 0;
	sm->has_queued = false;
	sm->now = sm->committed;
	sm->work = (struct tp_sm_work){0};
	sm->depth = 0;
	sm->failure = 0;
	sm->is_recording = false;
	sm->metadata->is_recording = false;
	sm->metadata->cost_is_known = false;
	sm->index_is_shadow = false;
	sm->nr_used_is_set = false;
	sm->index_is_known = false;
	if (sm->cursor >= sm->now.nr_blocks)
		sm->cursor = 0;
}

/* --- figures --- */

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

void thinp_sm_get_info(const struct thinp_sm *sm, struct thinp_sm_info *out)
{
	struct thinp_sm_info info = {
		.size = sizeof(info),
		.nr_blocks = sm->now.nr_blocks,
		.nr_zero = sm->now.nr_zero,
		.nr_allocatable = sm->now.nr_available,
		.nr_available = sm->now.nr_available,
		.commit_cost = tp_sm_cost_of(sm, &sm->work),
		.bytes = sm->pages.bytes + tp_large_bytes(&sm->large),
		.nr_queued_most = sm->nr_queued_most,
	};

	if (sm->kind == TP_SM_METADATA)
		info.nr_available = less(sm->now.nr_available, tp_sm_commit_cost(sm) + tp_sm_release_cost(sm));
	tp_result_give(out, &info, sizeof(info));
}

void thinp_sm_set_threshold(struct thinp_sm *sm, uint64_t threshold, thinp_sm_threshold_fn fn, void *ctx)
{
	sm->threshold = threshold;
	sm->threshold_fn = fn;
	sm->threshold_ctx = ctx;
	sm->was_below = false;
}

void thinp_sm_set_trace(struct thinp_sm *sm, thinp_op_trace_fn fn, void *ctx)
{
	sm->trace = fn;
	sm->trace_ctx = ctx;
}
