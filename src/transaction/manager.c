/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transaction/manager.c - making a transaction manager, and whether the open transaction can go on.
 */
#include "transaction/manager.h"

#include "alloc/table.h"
#include "base/alloc.h"
#include "base/error.h"

int thinp_tm_create(struct thinp_bm *bm, const struct thinp_alloc *user_alloc, struct thinp_tm **out)
{
	struct thinp_reader *reader;
	struct thinp_alloc alloc;
	struct thinp_tm *tm;
	int r = tp_alloc_table_take(&alloc, user_alloc);

	if (!r)
		r = thinp_reader_create(bm, 0, &reader);
	if (r)
		return r;
	tm = tp_alloc_zeroed(tp_reader_allocator(reader), 1, sizeof(*tm));
	if (!tm) {
		thinp_reader_destroy(reader);
		return THINP_ENOMEM;
	}
	tm->bm = bm;
	tm->reader = reader;
	reader->generation = &tm->generation;
	tm->alloc = alloc;
	tp_marks_init(&tm->marks, tp_reader_allocator(reader));
	*out = tm;
	return 0;
}

void thinp_tm_destroy(struct thinp_tm *tm)
{
	struct thinp_reader *reader;

	if (!tm)
		return;
	reader = tm->reader;
	tp_marks_exit(&tm->marks);
	tp_free(tp_reader_allocator(reader), tm, sizeof(*tm));
	thinp_reader_destroy(reader);
}

struct thinp_reader *thinp_tm_reader(struct thinp_tm *tm)
{
	return tm->reader;
}

int thinp_tm_status(const struct thinp_tm *tm)
{
	if (!tm->poison)
		return 0;
	return tp_fail(THINP_EMUSTABORT, THINP_NO_BLOCK, "an earlier change failed half way with %s: abort",
		       thinp_err_name(tm->poison));
}

int thinp_tm_poison(struct thinp_tm *tm, int code)
{
	tp_tm_enter(tm);
	if (!tm->poison)
		tm->poison = code;
	tp_tm_leave(tm);
	return code;
}

int tp_tm_begin_change(struct thinp_tm *tm)
{
	int r = thinp_tm_status(tm);

	if (r)
		return r;
	r = tp_bm_may_change(tm->bm);
	return tp_bm_has_failed(tm->bm) ? thinp_tm_poison(tm, r) : r;
}

uint64_t thinp_tm_generation(const struct thinp_tm *tm)
{
	return tm->generation;
}

int thinp_tm_reserve(struct thinp_tm *tm, uint64_t nr_blocks, uint32_t flags)
{
	int r = tp_tm_begin_change(tm); /* which alone may change anything: the mark, through the gate */

	return r ? r : tm->alloc.reserve(tm->alloc.ctx, nr_blocks, flags | tm->reserve_flags);
}

void thinp_tm_begin(struct thinp_tm *tm)
{
	tp_tm_enter(tm);
	tp_marks_clear(&tm->marks);
	tp_reader_follow_device(tm->reader);
	tm->poison = 0;
	tm->reserve_flags = 0;
	tm->generation++;
	tm->number++;
	tp_tm_leave(tm);
}
