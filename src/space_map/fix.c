/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/fix.c - putting numbers right that a check found to be wrong.
 */
#include "space_map/sm.h"

#include <inttypes.h>

int tp_sm_write_anew(struct thinp_sm *sm, uint64_t bitmap)
{
	struct tp_sm_work work = sm->work;
	struct tp_page *page;
	int r = tp_sm_check_not_recording(sm);

	if (!r && bitmap >= tp_sm_nr_pages(sm))
		r = tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "bitmap %" PRIu64 " of %" PRIu64, bitmap, tp_sm_nr_pages(sm));
	if (!r)
		r = tp_sm_get_page(sm, bitmap, &page);
	if (r || page->is_dirty)
		return r;
	work.nr_dirty += page->entry.bitmap != 0;
	r = tp_sm_check_cost(sm, &work, 0);
	if (r)
		return r;
	sm->work = work;
	sm->metadata->cost_is_known = false;
	page->is_dirty = true;
	page->is_recorded = false;
	return 0;
}

void tp_sm_set_nr_used(struct thinp_sm *sm, uint64_t nr_used)
{
	uint64_t nr_zero = sm->now.nr_blocks - nr_used;

	sm->now.nr_available += nr_zero - sm->now.nr_zero;
	sm->now.nr_zero = nr_zero;
	sm->nr_used_is_set = true;
	sm->metadata->cost_is_known = false;
}
