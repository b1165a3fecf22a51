/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transaction/counts.c - references to metadata blocks.
 *
 * Invariants
 *   1. A block that has got a reference more has lost its mark, and gets none back when the reference goes: somebody may
 *      have looked at the block meanwhile and rely on it.
 *   2. A marked block whose count becomes 0 is dropped from the cache: why should it be written?
 */
#include "transaction/manager.h"

#include "base/error.h"

static int inc(struct thinp_tm *tm, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	int r = tp_tm_begin_change(tm);

	if (!r)
		r = tm->alloc.inc(tm->alloc.ctx, first, nr_blocks, cause);
	if (r)
		return r;
	tp_marks_remove(&tm->marks, first, nr_blocks, NULL, NULL);
	tm->generation++;
	return 0;
}

int thinp_tm_inc(struct thinp_tm *tm, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	int r;

	tp_tm_enter(tm);
	r = inc(tm, first, nr_blocks, cause);
	tp_tm_leave(tm);
	return r;
}

/* Who counted past us has a right to the block; then it only is not ours to change. */
static void forget_unused(void *ctx, thinp_block_t block)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	struct thinp_tm *tm = ctx;
	uint32_t count;

	thinp_error_last(&before);
	if (tm->alloc.count(tm->alloc.ctx, block, &count))
		tp_error_restore(&before);
	else if (!count)
		thinp_bm_forget(tm->bm, block);
}

static int dec(struct thinp_tm *tm, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	int r = tp_tm_begin_change(tm);

	if (!r)
		r = tm->alloc.dec(tm->alloc.ctx, first, nr_blocks, cause);
	if (r)
		return r;
	tp_marks_remove(&tm->marks, first, nr_blocks, forget_unused, tm);
	tm->generation++;
	return 0;
}

int thinp_tm_dec(struct thinp_tm *tm, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	int r;

	tp_tm_enter(tm);
	r = dec(tm, first, nr_blocks, cause);
	tp_tm_leave(tm);
	return r;
}

int thinp_tm_count(struct thinp_tm *tm, thinp_block_t block, uint32_t *count)
{
	return tm->alloc.count(tm->alloc.ctx, block, count);
}
