/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/sm.h - what a map that can be changed is made of.
 *
 * Invariants
 *   1. count(b) = page in memory + what is held or pending for b. `available`, nr_zero and nr_available follow this sum, so a block
 *      that was taken is gone at once, however long its INC waits.
 *   2. A block that the last commit uses, or that a view holds, is never available.
 *   3. No function but those of recording calls the transaction manager.
 */
#ifndef TP_SPACE_MAP_SM_H
#define TP_SPACE_MAP_SM_H

#include "space_map/large.h"
#include "space_map/map.h"
#include "space_map/page.h"
#include "space_map/read.h"

/* One of the trees of a map: how much of it there is, to tell what changing it can cost. */
struct tp_sm_tree {
	thinp_block_t root; /* 0: not made yet */
	uint64_t nr_nodes;
	uint32_t depth; /* 1: the root is a leaf */
};

/* The part that an abort puts back. */
struct tp_sm_state {
	uint64_t nr_blocks;
	uint64_t nr_zero;             /* blocks with count 0 */
	uint64_t nr_available;        /* of these, neither committed nor held: "allocatable" */
	uint64_t nr_bitmaps;          /* that exist */
	thinp_block_t index;          /* metadata maps: the index block; 0: not made yet */
	struct tp_sm_tree index_tree; /* data maps */
	struct tp_sm_tree overflow;
	uint64_t overflow_generation; /* grows with each change of the overflow tree */
};

/* What recording will have to do, as far as it is known; see cost.c. */
struct tp_sm_work {
	uint64_t nr_dirty;   /* pages that are dirty and whose bitmap is none of this transaction */
	uint64_t nr_shadows; /* bitmaps of this transaction that were there before it */
	uint64_t nr_changed; /* entries of the overflow tree to be inserted, changed or removed */
	uint64_t nr_inserts; /* of these, those that may be inserted */
	uint64_t nr_leaves;  /* of the overflow tree, that all this may touch */
};

/* What the least change that frees space copies, as the owner of the trees has said; see tp_sm_set_release(). */
struct tp_sm_release {
	uint64_t nr_nodes; /* 0: nothing was said */
	uint64_t nr_raised;
};

struct tp_freed; /* blocks that came free in one commit; freed.c */

struct thinp_sm {
	struct thinp_allocator allocator;
	struct thinp_reader *reader;
	enum tp_sm_kind kind;
	struct thinp_sm *metadata;  /* where its own blocks are from: a metadata map's is itself */
	struct thinp_sm *data_maps; /* of a metadata map: those that draw from it */
	struct thinp_sm *next;      /* in that list */

	struct tp_sm_state committed;
	struct tp_sm_state now;
	struct tp_sm_work work;
	uint64_t cost; /* of a metadata map: tp_sm_commit_cost(), if it is known */
	struct tp_sm_release release;
	bool cost_is_known; /* since then no map of the group has changed its work, its length or its trees */
	struct tp_directory pages;
	struct tp_large large;
	uint64_t cursor; /* where the next block is looked for */

	uint64_t memory_limit; /* for counts; 0: none */
	uint64_t first_block;  /* of a new metadata map: those before are counted by us */

	/* operations */
	struct thinp_opq *queue;
	struct thinp_op popped; /* what the policy gave last, for the trace */
	struct thinp_op held;   /* taken out and not applied yet, for lack of memory; nr_blocks 0: none */
	bool queue_always;
	bool has_queued;
	bool is_recording; /* of a metadata map: it, or a data map that draws from it */
	bool index_is_shadow;
	bool nr_used_is_set; /* by somebody who has counted */
	bool index_is_known; /* of a metadata map: index_data is what its index block has */
	uint32_t depth;      /* steps of recording that are open */
	int failure;         /* why only an abort helps; 0: none */
	uint8_t index_data[THINP_BLOCK_SIZE];
	uint64_t nr_ops;
	uint64_t nr_queued_most;
	int64_t balance; /* references given less those taken back; tells how trees grow */

	/* views */
	struct tp_freed *freed; /* held for views, the oldest commit first */
	struct tp_freed *freed_last;
	struct tp_freed *pending; /* made by recording, for the commit to come */
	bool has_overlaps;        /* a block may be in more than one of them */

	thinp_op_trace_fn trace;
	void *trace_ctx;
	thinp_sm_threshold_fn threshold_fn;
	void *threshold_ctx;
	uint64_t threshold;
	bool was_below;
	bool tells_later;    /* of a metadata map: thresholds of the group are told by tp_sm_tell_now() */
	bool is_telling_due; /* by then */

	struct tp_watch_policy *watch;
};

/* Both views have the same bitmaps from this number up to *end - 1, if *end is larger; otherwise nothing is known. */
int tp_sm_same_until(const struct tp_sm_view *before, const struct tp_sm_view *now, uint64_t number,
		     uint64_t *end) TP_MUST_USE;

/* --- pages --- */

static inline uint64_t tp_sm_nr_pages(const struct thinp_sm *sm)
{
	return (sm->now.nr_blocks + TP_PAGE_NR_BLOCKS - 1) / TP_PAGE_NR_BLOCKS;
}

/* The page of a number below tp_sm_nr_pages(), read from the last commit if need be. */
int tp_sm_get_page(struct thinp_sm *sm, uint64_t number, struct tp_page **page) TP_MUST_USE;

/* Where the counts are that pages are read from. */
void tp_sm_get_view(const struct thinp_sm *sm, struct tp_sm_view *view);

/* Is there something to read a page from? */
static inline bool tp_sm_has_bitmap(const struct thinp_sm *sm, uint64_t number)
{
	return number < (sm->kind == TP_SM_DATA ? &sm->now : &sm->committed)->nr_bitmaps;
}

/* Blocks of a page that the map has. */
uint32_t tp_sm_page_limit(const struct thinp_sm *sm, uint64_t number);

/* Finds out how many leaves of the overflow tree may have counts of the page, unless that is known. */
int tp_sm_find_leaves(struct thinp_sm *sm, struct tp_page *page) TP_MUST_USE;

/* Takes the large counts of a page out of the table. */
void tp_sm_forget_large(struct thinp_sm *sm, const struct tp_page *page);

/* A remnant stands for a page that differs from the last commit and is not in memory. */
bool tp_sm_has_remnant(const struct thinp_sm *sm, uint64_t number);

/* Gives a page that was read what its remnant knows, and releases the remnant. */
void tp_sm_apply_remnant(struct thinp_sm *sm, struct tp_page *page);

static inline uint32_t tp_sm_page_count(const struct thinp_sm *sm, const struct tp_page *page, uint32_t i)
{
	uint32_t count = page->counts[i];

	if (count < TP_PAGE_LARGE)
		return count;
	return tp_large_get(&sm->large, page->number * TP_PAGE_NR_BLOCKS + i);
}

/* --- trees --- */

int tp_sm_measure_tree(struct thinp_reader *reader, struct tp_sm_tree *tree) TP_MUST_USE;
int tp_sm_measure_depth(struct thinp_reader *reader, struct tp_sm_tree *tree) TP_MUST_USE;

/* --- operations --- */

/* Changes while counts are written down would never be written: THINP_EINVAL for those that come from outside. */
int tp_sm_check_not_recording(const struct thinp_sm *sm) TP_MUST_USE;

/* Checks an operation, then applies or queues it. */
int tp_sm_issue(struct thinp_sm *sm, uint32_t kind, uint64_t first, uint64_t nr_blocks, uint32_t cause) TP_MUST_USE;

/* The same for references to free blocks, when it is known that a commit has room without these. */
int tp_sm_issue_found(struct thinp_sm *sm, uint64_t first, uint64_t nr_blocks, uint32_t cause) TP_MUST_USE;

/* Applies all that is queued. A failure leaves only aborting. */
int tp_sm_drain(struct thinp_sm *sm) TP_MUST_USE;

/* Count with all that is pending. */
int tp_sm_get_count(struct thinp_sm *sm, uint64_t block, uint32_t *count) TP_MUST_USE;

/* The policy given by the caller, within one that remembers in sm->popped what came out last. */
int tp_sm_create_queue(struct thinp_sm *sm, const struct thinp_opq_policy *policy) TP_MUST_USE;
void tp_sm_destroy_queue(struct thinp_sm *sm);

/* --- taking --- */

/* Takes neighbours, and leaves so many blocks to spare on top of what a commit may need. */
int tp_sm_take_cause(struct thinp_sm *sm, uint64_t nr_blocks, uint64_t spare, uint32_t cause, uint64_t *first,
		     uint64_t *nr_taken) TP_MUST_USE;

/* --- costs --- */

/* The most blocks that recording the map may take when its work is this. */
uint64_t tp_sm_cost_of(const struct thinp_sm *sm, const struct tp_sm_work *work);

/* Blocks of a metadata map that are kept back for changes that free space: for one that takes away as little as it can. */
uint64_t tp_sm_release_cost(const struct thinp_sm *metadata);

/* The part of it for nodes that lose an owner, which every change that frees space may need: who asks for room for such a
 * change does not know the counts. */
uint64_t tp_sm_lowering_cost(const struct thinp_sm *metadata);

/* THINP_ENOSPC unless a commit can be recorded after the work of the map is this and so many metadata blocks are gone. */
int tp_sm_check_cost(struct thinp_sm *sm, const struct tp_sm_work *work, uint64_t nr_blocks) TP_MUST_USE;

/* Leaves of the overflow tree that changing nr_changed entries of a page may touch. */
uint64_t tp_sm_page_leaves(const struct tp_page *page, uint32_t nr_changed);

/* --- freed sets --- */

/* Collects what is free now and was used by the last commit. */
int tp_sm_collect_freed(struct thinp_sm *sm) TP_MUST_USE;

/* Marks in a page that was read what is held. */
void tp_sm_mark_held(const struct thinp_sm *sm, struct tp_page *page);

void tp_sm_forget_freed(struct thinp_sm *sm, struct tp_freed *freed);
void tp_sm_forget_all_freed(struct thinp_sm *sm);

/* What came free in pages that are not in memory is available, or will be held. The remnants are done with. */
void tp_sm_commit_remnants(struct thinp_sm *sm, bool hold);

/* Takes the collected set into the held ones. */
void tp_sm_hold_freed(struct thinp_sm *sm, uint64_t commit);

#endif
