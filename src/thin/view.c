/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/view.c - views of pools, and looking at the open transaction.
 *
 * A view is a pool that is opened for reading, over the reader of a view of the store: so all that reads a pool reads a view.
 */
#include "store/view.h"
#include "base/alloc.h"
#include "base/error.h"
#include "thin/change.h"

#include <thinp/pool_view.h>

static int check_flags(uint32_t flags)
{
	if (!(flags & ~THINP_POOL_METADATA_SNAP))
		return 0;
	return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags %#x for a view of a pool", flags);
}

/* What a commit has. */
static int show_commit(struct thinp_pool *view, struct thinp_store *store)
{
	int r = thinp_view_open(store, &view->view);

	if (r)
		return r;
	tp_thin_superblock_unpack(view->view->commit->record, &view->live);
	view->reader = thinp_view_reader(view->view);
	view->shown = &view->live;
	return 0;
}

/* What a pool shows that nobody changes, or another view. */
static int show_same(struct thinp_pool *view, const struct thinp_pool *pool)
{
	int r = pool->view ? tp_view_open_same(pool->view, &view->view)
			   : thinp_reader_create(pool->bm, thinp_reader_nr_blocks(pool->reader), &view->reader);

	if (r)
		return r;
	if (view->view)
		view->reader = thinp_view_reader(view->view);
	view->live = pool->live;
	view->snap = pool->snap;
	view->is_metadata_snap = pool->is_metadata_snap;
	view->shown = view->is_metadata_snap ? &view->snap : &view->live;
	return 0;
}

int thinp_pool_view_open(struct thinp_pool *pool, uint32_t flags, struct thinp_pool **out)
{
	struct thinp_pool *view;
	int r = check_flags(flags);

	if (r)
		return r;
	view = tp_alloc_zeroed(&pool->allocator, 1, sizeof(*view));
	if (!view)
		return THINP_ENOMEM;
	view->allocator = pool->allocator;
	view->log = pool->log;
	view->log_ctx = pool->log_ctx;
	view->io = pool->io;
	view->bm = pool->bm;
	view->is_view = true;
	r = pool->store ? show_commit(view, pool->store) : show_same(view, pool);
	if (!r && flags & THINP_POOL_METADATA_SNAP && !view->is_metadata_snap)
		r = tp_thin_read_metadata_snap(view);
	if (r) {
		thinp_pool_close(view);
		return r;
	}
	*out = view;
	return 0;
}

int thinp_pool_view_get_info(struct thinp_pool *view, struct thinp_view_info *info)
{
	if (!view->view)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "not a view of a pool that is changed");
	thinp_view_get_info(view->view, info);
	return 0;
}

int thinp_pool_live_begin(struct thinp_pool *pool)
{
	struct thinp_reader *reader;
	int r = tp_thin_check_not_read_only(pool);

	return r ? r : thinp_store_live_begin(pool->store, &reader);
}

void thinp_pool_live_end(struct thinp_pool *pool)
{
	thinp_store_live_end(pool->store);
}
