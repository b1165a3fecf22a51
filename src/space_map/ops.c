/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/ops.c - the way of an operation: checked, then applied at once or queued, and drained when a step ends.
 *
 *   issue ---> check: counts, room to record ---+---> apply ----------------> page
 *                                               |                              ^
 *                                               +---> queue ---> drain: pop ---+
 *
 * Free blocks, and what recording will cost, are counted when an operation is issued. Pages hold the counts of what is
 * applied; the ledger of the queue holds the difference.
 */
#include "space_map/sm.h"

#include <inttypes.h>

/* --- telling --- */

static void tell(const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op)
{
	if (sm->trace)
		sm->trace(sm->trace_ctx, sm, event, op, sm->depth);
}

static int refuse(const struct thinp_sm *sm, const struct thinp_op *op, uint64_t block)
{
	tell(sm, THINP_OP_REFUSED, op);
	return tp_fail(THINP_EREFCOUNT, block, "op %" PRIu64 ": the count of block %" PRIu64 " would %s", op->number,
		       block, op->kind == THINP_OP_INC ? "pass 2^32-1" : "fall below 0");
}

/* --- counts --- */

static int64_t held_delta(const struct thinp_sm *sm, uint64_t block)
{
	if (block < sm->held.first || block - sm->held.first >= sm->held.nr_blocks)
		return 0;
	return sm->held.kind == THINP_OP_INC ? 1 : -1;
}

static uint32_t with_pending(const struct thinp_sm *sm, const struct tp_page *page, uint32_t i)
{
	uint32_t count = tp_sm_page_count(sm, page, i);
	uint64_t block = page->number * TP_PAGE_NR_BLOCKS + i;

	if (!sm->has_queued)
		return count;
	return (uint32_t)(count + held_delta(sm, block) + thinp_opq_delta(sm->queue, block));
}

static int check_range(const struct thinp_sm *sm, uint64_t first, uint64_t nr_blocks)
{
	if (first <= sm->now.nr_blocks && nr_blocks <= sm->now.nr_blocks - first)
		return 0;
	return tp_fail(THINP_ERANGE, THINP_NO_BLOCK,
		       "%" PRIu64 " blocks from %" PRIu64 " on, of a space map of %" PRIu64, nr_blocks, first,
		       sm->now.nr_blocks);
}

int tp_sm_get_count(struct thinp_sm *sm, uint64_t block, uint32_t *count)
{
	struct tp_page *page;
	int r = check_range(sm, block, 1);

	if (!r)
		r = tp_sm_get_page(sm, block / TP_PAGE_NR_BLOCKS, &page);
	if (!r)
		*count = with_pending(sm, page, (uint32_t)(block % TP_PAGE_NR_BLOCKS));
	return r;
}

int tp_sm_peek_count(const struct thinp_sm *sm, uint64_t block, uint32_t *count)
{
	const struct tp_page *page = tp_directory_get(&sm->pages, block / TP_PAGE_NR_BLOCKS);
	struct tp_sm_view view;
	int r = check_range(sm, block, 1);

	if (r)
		return r;
	if (page) {
		*count = with_pending(sm, page, (uint32_t)(block % TP_PAGE_NR_BLOCKS));
		return 0;
	}
	tp_sm_get_view(sm, &view);
	if (tp_sm_has_bitmap(sm, block / TP_PAGE_NR_BLOCKS) && block < view.root.nr_blocks)
		return tp_sm_count(&view, block, count);
	*count = 0; /* the map has grown, and nothing was counted there yet */
	return 0;
}

/* --- the blocks of an operation, page by page --- */

struct part {
	struct tp_page *page;
	uint32_t begin, end;
};

/* The part that begins at a block; an operation goes on behind it. */
static int get_part(struct thinp_sm *sm, const struct thinp_op *op, uint64_t block, struct part *part)
{
	uint64_t left = op->first + op->nr_blocks - block;

	part->begin = (uint32_t)(block % TP_PAGE_NR_BLOCKS);
	part->end = left < TP_PAGE_NR_BLOCKS - part->begin ? part->begin + (uint32_t)left : TP_PAGE_NR_BLOCKS;
	return tp_sm_get_page(sm, block / TP_PAGE_NR_BLOCKS, &part->page);
}

/* --- checking: nothing is changed --- */

struct check {
	struct tp_sm_work work; /* as it will be */
	uint64_t nr_large;      /* counts that will be large */
	uint64_t nr_taken;      /* blocks that were available, and will not be */
	bool has_room;          /* they and what a user must spare were asked for before */
};

/* Will the overflow tree have to do with a count that changes from this one? */
static bool is_for_overflow(const struct tp_page *page, uint32_t i, uint32_t kind, uint32_t before)
{
	return tp_bit_get(page->entries, i) || before >= 3 || (kind == THINP_OP_INC && before == 2);
}

static int check_part(struct thinp_sm *sm, const struct thinp_op *op, const struct part *part, struct check *check)
{
	struct tp_page *page = part->page;
	uint32_t limit = op->kind == THINP_OP_INC ? UINT32_MAX : 0;
	uint32_t nr_changed = 0, nr_inserts = 0;
	int r;

	for (uint32_t i = part->begin; i < part->end; i++) {
		uint32_t before = with_pending(sm, page, i);

		if (before == limit)
			return refuse(sm, op, page->number * TP_PAGE_NR_BLOCKS + i);
		check->nr_large += before >= TP_PAGE_LARGE - 1;
		check->nr_taken += !before && tp_bit_get(page->available, i);
		if (!is_for_overflow(page, i, op->kind, before) || tp_bit_get(page->changed, i))
			continue;
		nr_changed++;
		nr_inserts += !tp_bit_get(page->entries, i);
	}
	check->work.nr_dirty += !page->is_dirty && page->entry.bitmap;
	if (!nr_changed)
		return 0;
	if (!sm->metadata->is_recording) {
		r = tp_sm_find_leaves(sm, page);
		if (r)
			return r;
	}
	check->work.nr_changed += nr_changed;
	check->work.nr_inserts += nr_inserts;
	check->work.nr_leaves +=
		tp_sm_page_leaves(page, page->nr_changed + nr_changed) - tp_sm_page_leaves(page, page->nr_changed);
	return 0;
}

/* Metadata blocks that go, and those that a user who takes them must leave to changes that free space. */
static uint64_t room_of(const struct thinp_sm *sm, const struct thinp_op *op, const struct check *check)
{
	if (sm->kind != TP_SM_METADATA || !check->nr_taken || check->has_room)
		return 0;
	return check->nr_taken + (op->cause == THINP_CAUSE_USER ? tp_sm_release_cost(sm) : 0);
}

static int check_op(struct thinp_sm *sm, const struct thinp_op *op, struct check *check)
{
	uint64_t end = op->first + op->nr_blocks;
	struct part part;

	for (uint64_t block = op->first; block < end; block += part.end - part.begin) {
		int r = get_part(sm, op, block, &part);

		if (!r)
			r = check_part(sm, op, &part, check);
		if (r)
			return r;
	}
	return tp_sm_check_cost(sm, &check->work, room_of(sm, op, check));
}

/* --- counting what is free, and what is to be recorded --- */

static void note_zero_left(struct thinp_sm *sm, struct tp_page *page, uint32_t i)
{
	sm->now.nr_zero--;
	if (!tp_bit_get(page->available, i)) {
		sm->has_overlaps |= tp_bit_get(page->held, i);
		return;
	}
	tp_bit_clear(page->available, i);
	page->nr_available--;
	sm->now.nr_available--;
}

static void note_zero_reached(struct thinp_sm *sm, struct tp_page *page, uint32_t i)
{
	sm->now.nr_zero++;
	if (tp_bit_get(page->committed, i) || tp_bit_get(page->held, i))
		return;
	tp_bit_set(page->available, i);
	page->nr_available++;
	sm->now.nr_available++;
}

static void note_changed(struct tp_page *page, uint32_t i)
{
	if (tp_bit_get(page->changed, i))
		return;
	tp_bit_set(page->changed, i);
	page->nr_changed++;
	page->nr_inserts += !tp_bit_get(page->entries, i);
}

/* To be called when the operation is in the queue, or before it is applied. */
static void note_part(struct thinp_sm *sm, const struct thinp_op *op, const struct part *part, bool is_queued)
{
	struct tp_page *page = part->page;
	uint32_t step = op->kind == THINP_OP_INC ? 1 : UINT32_MAX;

	for (uint32_t i = part->begin; i < part->end; i++) {
		uint32_t before = with_pending(sm, page, i) - (is_queued ? step : 0);

		if (before == 0)
			note_zero_left(sm, page, i);
		else if (before == 1 && op->kind == THINP_OP_DEC)
			note_zero_reached(sm, page, i);
		if (is_for_overflow(page, i, op->kind, before))
			note_changed(page, i);
	}
	page->is_dirty = true;
	page->is_recorded = false;
}

static void note_op(struct thinp_sm *sm, const struct thinp_op *op, const struct tp_sm_work *work, bool is_queued)
{
	uint64_t end = op->first + op->nr_blocks;
	struct part part;

	for (uint64_t block = op->first; block < end; block += part.end - part.begin) {
		if (get_part(sm, op, block, &part))
			return; /* cannot be: the page is in memory since the check */
		note_part(sm, op, &part, is_queued);
	}
	sm->work = *work;
	sm->metadata->cost_is_known = false;
	if (op->kind == THINP_OP_INC)
		sm->balance += (int64_t)op->nr_blocks;
	else
		sm->balance -= (int64_t)op->nr_blocks;
}

/* --- applying --- */

static void set_count(struct thinp_sm *sm, struct tp_page *page, uint32_t i, uint32_t count)
{
	uint64_t block = page->number * TP_PAGE_NR_BLOCKS + i;
	bool was_large = page->counts[i] == TP_PAGE_LARGE;

	tp_page_touch(page, i);
	page->nr_used += !page->counts[i];
	page->nr_used -= !count;
	page->counts[i] = count < TP_PAGE_LARGE ? (uint8_t)count : TP_PAGE_LARGE;
	if (count >= TP_PAGE_LARGE)
		tp_large_put(&sm->large, block, count);
	else if (was_large)
		tp_large_remove(&sm->large, block);
}

static int apply_part(struct thinp_sm *sm, const struct thinp_op *op, const struct part *part)
{
	uint32_t limit = op->kind == THINP_OP_INC ? UINT32_MAX : 0;
	uint32_t step = op->kind == THINP_OP_INC ? 1 : UINT32_MAX;

	for (uint32_t i = part->begin; i < part->end; i++) {
		uint32_t count = tp_sm_page_count(sm, part->page, i);

		if (count == limit)
			return refuse(sm, op, part->page->number * TP_PAGE_NR_BLOCKS + i);
		set_count(sm, part->page, i, count + step);
	}
	return 0;
}

/* Room for the large counts must be there. */
static int apply(struct thinp_sm *sm, const struct thinp_op *op)
{
	uint64_t end = op->first + op->nr_blocks;
	struct part part;

	for (uint64_t block = op->first; block < end; block += part.end - part.begin) {
		int r = get_part(sm, op, block, &part);

		if (!r)
			r = apply_part(sm, op, &part);
		if (r)
			return r;
	}
	tell(sm, THINP_OP_APPLIED, op);
	return 0;
}

static uint64_t nr_large_of(const struct thinp_sm *sm, const struct thinp_op *op)
{
	const struct tp_page *page = tp_directory_get(&sm->pages, op->first / TP_PAGE_NR_BLOCKS);

	if (op->kind == THINP_OP_DEC)
		return 0;
	if (op->nr_blocks > 1 || !page)
		return op->nr_blocks;
	return page->counts[op->first % TP_PAGE_NR_BLOCKS] == TP_PAGE_LARGE - 1;
}

/* The next one stays held until it is applied. */
static int hold_next(struct thinp_sm *sm)
{
	struct thinp_op op;
	int r = sm->held.nr_blocks ? 0 : thinp_opq_pop(sm->queue, &op);

	if (r == THINP_EREFCOUNT)
		tell(sm, THINP_OP_REFUSED, &sm->popped);
	if (!r && !sm->held.nr_blocks)
		sm->held = op;
	return r;
}

static int drain_one(struct thinp_sm *sm)
{
	struct thinp_op op;
	int r = hold_next(sm);

	if (r)
		return r;
	op = sm->held;
	r = check_range(sm, op.first, op.nr_blocks);
	if (!r)
		r = tp_large_reserve(&sm->large, nr_large_of(sm, &op));
	if (r)
		return r;
	sm->held.nr_blocks = 0;
	return apply(sm, &op);
}

/* Without memory the rest goes on waiting: nothing is lost. */
int tp_sm_drain(struct thinp_sm *sm)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r = sm->failure;

	if (r || !sm->has_queued)
		return r;
	thinp_error_last(&before);
	while (!r)
		r = drain_one(sm);
	if (r != THINP_ENODATA) {
		sm->failure = r == THINP_ENOMEM ? 0 : r;
		return r;
	}
	tp_error_restore(&before);
	sm->has_queued = false;
	return 0;
}

/* --- issuing --- */

static int push(struct thinp_sm *sm, const struct thinp_op *op)
{
	int r = thinp_opq_push(sm->queue, op);

	if (r == THINP_ENOMEM && !sm->depth && sm->has_queued) { /* perhaps too many for one block: put them through */
		r = tp_sm_drain(sm);
		if (!r)
			r = thinp_opq_push(sm->queue, op);
	}
	if (r)
		return r;
	sm->has_queued = true;
	if (thinp_opq_nr_pending(sm->queue) > sm->nr_queued_most)
		sm->nr_queued_most = thinp_opq_nr_pending(sm->queue);
	return 0;
}

static int put_in(struct thinp_sm *sm, const struct thinp_op *op, const struct check *check)
{
	bool is_queued = sm->depth || sm->queue_always;
	int r = is_queued ? push(sm, op) : tp_large_reserve(&sm->large, check->nr_large);

	if (r)
		return r;
	note_op(sm, op, &check->work, is_queued);
	if (!is_queued)
		return apply(sm, op);
	tell(sm, THINP_OP_QUEUED, op);
	return 0;
}

static int check_not_failed(const struct thinp_sm *sm)
{
	if (!sm->failure)
		return 0;
	return tp_fail(THINP_EMUSTABORT, THINP_NO_BLOCK, "operations were not applied, with %s: abort",
		       thinp_err_name(sm->failure));
}

/* Most operations are like this: one block, whose count stays small, in a page in memory that will be recorded anyhow. Then
 * there is no cost to check, but for a free metadata block that nobody has asked for. Returns false, with nothing changed, for
 * all others. */
static bool issue_small(struct thinp_sm *sm, const struct thinp_op *op, bool has_room)
{
	struct tp_page *page = tp_directory_get(&sm->pages, op->first / TP_PAGE_NR_BLOCKS);
	uint32_t i = (uint32_t)(op->first % TP_PAGE_NR_BLOCKS);
	uint32_t count;

	if (!page || !page->is_dirty || sm->depth || sm->queue_always || op->nr_blocks != 1)
		return false;
	count = page->counts[i];
	if (count > 2 || count == (op->kind == THINP_OP_INC ? 2 : 0) || tp_bit_get(page->entries, i))
		return false;
	if (!count && !has_room && sm->kind == TP_SM_METADATA)
		return false;
	page->is_recorded = false;
	tp_page_touch(page, i);
	if (op->kind == THINP_OP_INC) {
		if (!page->counts[i]++) {
			page->nr_used++;
			note_zero_left(sm, page, i);
		}
		sm->balance++;
	} else {
		if (!--page->counts[i]) {
			page->nr_used--;
			note_zero_reached(sm, page, i);
		}
		sm->balance--;
	}
	tell(sm, THINP_OP_APPLIED, op);
	return true;
}

static inline int issue(struct thinp_sm *sm, struct thinp_op *op, bool has_room)
{
	struct check check = {.work = sm->work, .has_room = has_room};
	int r = check_not_failed(sm);

	if (!r)
		r = check_range(sm, op->first, op->nr_blocks);
	if (r || !op->nr_blocks)
		return r;
	op->number = sm->nr_ops++;
	tell(sm, THINP_OP_ISSUED, op);
	if (issue_small(sm, op, has_room))
		return 0;
	r = check_op(sm, op, &check);
	return r ? r : put_in(sm, op, &check);
}

int tp_sm_issue(struct thinp_sm *sm, uint32_t kind, uint64_t first, uint64_t nr_blocks, uint32_t cause)
{
	struct thinp_op op = {.first = first, .nr_blocks = nr_blocks, .kind = kind, .cause = cause};

	return issue(sm, &op, false);
}

int tp_sm_issue_found(struct thinp_sm *sm, uint64_t first, uint64_t nr_blocks, uint32_t cause)
{
	struct thinp_op op = {.first = first, .nr_blocks = nr_blocks, .kind = THINP_OP_INC, .cause = cause};

	return issue(sm, &op, true);
}

/* --- putting counts right that are too high --- */

/* To `to` + 1; the operation that follows does the last step, and all that goes with it: an entry of the overflow tree is
 * noted as changed, and a count that becomes 0 is free. */
static void lower_part(struct thinp_sm *sm, const struct part *part, uint32_t to)
{
	for (uint32_t i = part->begin; i < part->end; i++)
		set_count(sm, part->page, i, to + 1);
}

static int lower_all(struct thinp_sm *sm, const struct thinp_op *op, uint32_t to)
{
	uint64_t end = op->first + op->nr_blocks;
	struct part part;

	for (uint64_t block = op->first; block < end; block += part.end - part.begin) {
		int r = get_part(sm, op, block, &part);

		if (r)
			return r;
		lower_part(sm, &part, to);
	}
	return 0;
}

static int check_all_are(struct thinp_sm *sm, uint64_t first, uint64_t nr_blocks, uint32_t count)
{
	for (uint64_t block = first; block < first + nr_blocks; block++) {
		uint32_t found;
		int r = tp_sm_get_count(sm, block, &found);

		if (r)
			return r;
		if (found != count)
			return tp_fail(THINP_EREFCOUNT, block, "its count is %" PRIu32 ", not %" PRIu32, found, count);
	}
	return 0;
}

int tp_sm_lower(struct thinp_sm *sm, uint64_t first, uint64_t nr_blocks, uint32_t from, uint32_t to)
{
	struct thinp_op op = {.first = first, .nr_blocks = nr_blocks, .kind = THINP_OP_DEC};
	struct check check = {.work = sm->work};
	int r = tp_sm_check_not_recording(sm);

	if (!r)
		r = check_range(sm, first, nr_blocks);
	if (!r && from <= to)
		r = tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "%" PRIu32 " is not lower than %" PRIu32, to, from);
	if (!r)
		r = tp_sm_drain(sm);
	if (!r)
		r = check_all_are(sm, first, nr_blocks, from);
	if (!r)
		r = check_op(sm, &op, &check);
	if (!r) /* behind the check: the last step needs no more room, for it changes the same entries */
		r = lower_all(sm, &op, to);
	return r ? r : thinp_sm_dec(sm, first, nr_blocks);
}
