/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/view.h - what a view is made of.
 */
#ifndef TP_STORE_VIEW_H
#define TP_STORE_VIEW_H

#include "store/store.h"

struct thinp_view {
	struct thinp_store *store;
	struct tp_commit *commit;
	struct thinp_reader *reader;
	struct thinp_view *next; /* view of the same commit; under the store's lock, as the next two */
	struct thinp_view *previous;
	bool is_stale;
};

/* Another view of the commit that a view shows. THINP_ESTALE: it had to give way. */
int tp_view_open_same(struct thinp_view *other, struct thinp_view **view) TP_MUST_USE;

#endif
