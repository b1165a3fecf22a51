/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transaction/shadow.c - new blocks, and blocks to be changed.
 *
 * Invariants
 *   1. A block is changed in place only while it is marked: made in this transaction, and never shared since.
 *   2. All that can fail comes before the original loses its reference, which is the last step. What was done until then is
 *      undone; where that fails, too, the transaction is marked.
 *   3. The copy has its reference before the original loses one: who replays the operations sees no count too low.
 */
#include "transaction/manager.h"

#include "base/error.h"

/* A block that is locked for the caller. */
struct target {
	thinp_block_t block;
	struct thinp_buffer *buffer;
	void *data;
};

/* What the block manager's failure means: mostly, that nothing was changed. */
static int judge(struct thinp_tm *tm, int r)
{
	bool is_harmless = r == THINP_ENOMEM || r == THINP_ECORRUPT || r == THINP_EIO || r == THINP_EINVAL;

	return is_harmless && !tp_bm_has_failed(tm->bm) ? r : thinp_tm_poison(tm, r);
}

/* After a failure, which is told and not what comes out here. */
static void give_back(struct thinp_tm *tm, thinp_block_t block, uint32_t cause)
{
	struct thinp_error_info why = {.size = sizeof(why)};
	int r;

	thinp_error_last(&why);
	r = tm->alloc.dec(tm->alloc.ctx, block, 1, cause);
	if (r) {
		thinp_tm_poison(tm, r);
		tp_error_restore(&why);
	}
}

/* Takes a block and fills it; it is not marked yet. content NULL: zeros. */
static int take_filled(struct thinp_tm *tm, const struct thinp_block_type *type, uint32_t cause, const void *content,
		       struct target *target)
{
	int r = tm->alloc.take(tm->alloc.ctx, cause, &target->block);

	if (r)
		return r;
	r = tp_bm_write_lock_filled(tm->bm, target->block, type, content, &target->buffer, &target->data);
	if (!r)
		return 0;
	r = judge(tm, r);
	give_back(tm, target->block, cause);
	return r;
}

static int make_new(struct thinp_tm *tm, const struct thinp_block_type *type, uint32_t cause, struct target *target)
{
	int r = tp_tm_begin_change(tm);

	if (!r)
		r = tp_marks_make_room(&tm->marks);
	return r ? r : take_filled(tm, type, cause, NULL, target);
}

int thinp_tm_new_block(struct thinp_tm *tm, const struct thinp_block_type *type, uint32_t cause, thinp_block_t *block,
		       struct thinp_buffer **buffer, void **data)
{
	struct target target;
	int r;

	tp_tm_enter(tm); /* until it is unlocked */
	r = make_new(tm, type, cause, &target);
	if (r) {
		tp_tm_leave(tm);
		return r;
	}
	tp_marks_add(&tm->marks, target.block, target.buffer, target.data);
	tm->generation++;
	*block = target.block;
	*buffer = target.buffer;
	*data = target.data;
	return 0;
}

/* The copy takes over the caller's reference to the original. */
static int hand_over(struct thinp_tm *tm, thinp_block_t original, uint32_t cause, struct target *copy)
{
	int r = tm->alloc.dec(tm->alloc.ctx, original, 1, cause);

	if (!r)
		return 0;
	thinp_bm_unlock(tm->bm, copy->buffer);
	thinp_bm_forget(tm->bm, copy->block);
	give_back(tm, copy->block, cause);
	return r;
}

/* The original is pinned, not read in a section: the lock may have to wait for sections to end. */
static int copy_pinned(struct thinp_tm *tm, const struct thinp_buffer *original, const struct thinp_block_type *type,
		       uint32_t cause, struct target *copy)
{
	int r = tp_marks_make_room(&tm->marks);

	if (!r)
		r = take_filled(tm, type, cause, original->data, copy);
	return r ? r : hand_over(tm, original->block, cause, copy);
}

static int check_count(struct thinp_tm *tm, thinp_block_t block, bool *is_shared)
{
	uint32_t count;
	int r = tm->alloc.count(tm->alloc.ctx, block, &count);

	if (!r && !count)
		r = tp_fail(THINP_EREFCOUNT, block, "a block without references is to be changed");
	if (!r)
		*is_shared = count > 1;
	return r;
}

static int copy_block(struct thinp_tm *tm, thinp_block_t block, const struct thinp_block_type *type, uint32_t cause,
		      struct target *copy, bool *is_shared)
{
	struct thinp_buffer *original;
	int r = tp_reader_pin(tm->reader, block, type, &original);

	if (r)
		return r;
	r = check_count(tm, block, is_shared);
	if (!r)
		r = copy_pinned(tm, original, type, cause, copy);
	tp_cache_unpin(&tm->bm->cache, original);
	if (!r)
		tp_marks_add(&tm->marks, copy->block, copy->buffer, copy->data);
	return r;
}

/* The buffer of a marked block may have been written and dropped meanwhile. */
static int change_in_place(struct thinp_tm *tm, struct tp_mark *mark, const struct thinp_block_type *type,
			   struct target *target)
{
	int r = thinp_bm_write_lock(tm->bm, mark->block, type, &target->buffer, &target->data);

	if (r)
		return judge(tm, r);
	mark->buffer = target->buffer;
	mark->data = target->data;
	target->block = mark->block;
	return 0;
}

static int shadow_slowly(struct thinp_tm *tm, thinp_block_t block, const struct thinp_block_type *type, uint32_t cause,
			 struct target *target, bool *is_shared)
{
	struct tp_mark *mark = tp_marks_find(&tm->marks, block);
	int r = tp_tm_begin_change(tm);

	*is_shared = false;
	if (r)
		return r;
	return mark ? change_in_place(tm, mark, type, target) : copy_block(tm, block, type, cause, target, is_shared);
}

/* Is the block marked, and does its buffer need no more than to be locked again? Nearly always so where many entries of a
 * tree are changed. */
static bool shadow_fast(struct thinp_tm *tm, thinp_block_t block, const struct thinp_block_type *type,
			struct target *target)
{
	const struct tp_mark *mark = tp_marks_find(&tm->marks, block);

	if (!mark || tm->poison || !tp_bm_relock(tm->bm, mark->buffer, block, type))
		return false;
	*target = (struct target){.block = block, .buffer = mark->buffer, .data = mark->data};
	return true;
}

int thinp_tm_shadow_block(struct thinp_tm *tm, thinp_block_t block, const struct thinp_block_type *type, uint32_t cause,
			  thinp_block_t *new_block, struct thinp_buffer **buffer, void **data, bool *inc_children)
{
	struct target target;
	bool is_shared = false;

	tp_tm_enter(tm); /* until it is unlocked */
	if (!shadow_fast(tm, block, type, &target)) {
		int r = shadow_slowly(tm, block, type, cause, &target, &is_shared);

		if (r) {
			tp_tm_leave(tm);
			return r;
		}
	}
	tm->generation++;
	*new_block = target.block;
	*buffer = target.buffer;
	*data = target.data;
	*inc_children = is_shared;
	return 0;
}

void thinp_tm_unlock(struct thinp_tm *tm, struct thinp_buffer *buffer)
{
	thinp_bm_unlock(tm->bm, buffer);
	if (buffer)
		tp_tm_leave(tm);
}
