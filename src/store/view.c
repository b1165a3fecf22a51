/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/view.c - views of commits.
 *
 * A view holds its commit by being on the commit's list. The lock of the store is taken to open and close it, never to read.
 */
#include "store/view.h"

#include "base/alloc.h"
#include "base/opts.h"
#include "block/manager.h"
#include "space_map/read.h"

#include <string.h>

static void link_to(struct thinp_view *view, struct tp_commit *commit)
{
	struct thinp_store *store = view->store;

	view->commit = commit;
	view->next = commit->views;
	if (view->next)
		view->next->previous = view;
	commit->views = view;
	commit->nr_views++;
	store->nr_views++;
}

/* Puts a view on the last commit, or on that of another view. */
static int link_view(struct thinp_view *view, const struct thinp_view *other)
{
	struct thinp_store *store = view->store;
	bool is_stale;

	pthread_mutex_lock(&store->lock);
	is_stale = other && other->is_stale;
	if (!is_stale)
		link_to(view, other ? other->commit : store->last);
	pthread_mutex_unlock(&store->lock);
	return is_stale ? tp_fail(THINP_ESTALE, THINP_NO_BLOCK, "the view had to give way") : 0;
}

static void unlink_view(struct thinp_view *view)
{
	struct thinp_store *store = view->store;
	struct tp_commit *commit = view->commit;

	pthread_mutex_lock(&store->lock);
	if (view->previous)
		view->previous->next = view->next;
	else
		commit->views = view->next;
	if (view->next)
		view->next->previous = view->previous;
	if (!view->is_stale)
		commit->nr_views--;
	store->nr_views--;
	pthread_mutex_unlock(&store->lock);
}

static int open_view(struct thinp_store *store, const struct thinp_view *other, struct thinp_view **out)
{
	struct thinp_view *view = tp_alloc_zeroed(&store->allocator, 1, sizeof(*view));
	int r;

	if (!view)
		return THINP_ENOMEM;
	view->store = store;
	r = thinp_reader_create(store->bm, 0, &view->reader);
	if (!r)
		r = link_view(view, other);
	if (r) {
		thinp_reader_destroy(view->reader);
		tp_free(&store->allocator, view, sizeof(*view));
		return r;
	}
	if (thinp_reader_nr_blocks(view->reader) < view->commit->maps.metadata.nr_blocks)
		tp_reader_follow_device(view->reader); /* it has grown while the view was opened */
	*out = view;
	return 0;
}

int thinp_view_open(struct thinp_store *store, struct thinp_view **view)
{
	return open_view(store, NULL, view);
}

int tp_view_open_same(struct thinp_view *other, struct thinp_view **view)
{
	return open_view(other->store, other, view);
}

void thinp_view_close(struct thinp_view *view)
{
	if (!view)
		return;
	unlink_view(view);
	thinp_reader_destroy(view->reader);
	tp_free(&view->store->allocator, view, sizeof(*view));
}

struct thinp_reader *thinp_view_reader(struct thinp_view *view)
{
	return view->reader;
}

/* --- giving way --- */

static void make_stale(struct thinp_store *store, struct tp_commit *commit)
{
	for (struct thinp_view *view = commit->views; view; view = view->next) {
		tp_reader_make_stale(view->reader);
		view->is_stale = true;
	}
	commit->nr_views = 0;
	commit->has_gone_stale = true;
	commit->stale_stamp = tp_reader_stamp_epoch(store->reader);
}

/* The oldest commit that a view holds; NULL when that is the last one. */
static struct tp_commit *oldest_viewed(const struct thinp_store *store)
{
	for (struct tp_commit *commit = store->oldest; commit != store->last; commit = commit->newer)
		if (commit->nr_views)
			return commit;
	return NULL;
}

/* Freed blocks that a view of the commit holds back, and the slots do not. */
static uint64_t nr_held_by(const struct thinp_store *store, const struct tp_commit *commit)
{
	uint64_t nr = store->last->nr_freed - commit->nr_freed;
	uint64_t by_slots = store->format->nr_slots > 1 ? store->nr_freed_by_last : 0;

	return nr > by_slots ? nr - by_slots : 0;
}

uint64_t tp_store_nr_held(const struct thinp_store *store)
{
	const struct tp_commit *commit = oldest_viewed(store);

	return commit ? nr_held_by(store, commit) : 0;
}

void tp_store_limit_views(struct thinp_store *store)
{
	struct tp_commit *commit;

	if (!store->opts.view_limit_blocks)
		return;
	pthread_mutex_lock(&store->lock);
	for (commit = oldest_viewed(store); commit; commit = oldest_viewed(store)) {
		if (nr_held_by(store, commit) <= store->opts.view_limit_blocks)
			break;
		make_stale(store, commit);
	}
	pthread_mutex_unlock(&store->lock);
}

/* --- what it shows --- */

void thinp_view_get_info(struct thinp_view *view, struct thinp_view_info *info)
{
	struct thinp_store *store = view->store;
	struct thinp_view_info now = {.commit = view->commit->maps.commit};

	pthread_mutex_lock(&store->lock);
	now.nr_newer = store->last->maps.commit - now.commit;
	now.is_stale = view->is_stale;
	if (!view->is_stale)
		now.nr_held_blocks = nr_held_by(store, view->commit);
	pthread_mutex_unlock(&store->lock);
	tp_result_give(info, &now, sizeof(now));
}

int thinp_view_count(struct thinp_view *view, uint32_t index, uint64_t block, uint32_t *count)
{
	struct tp_sm_view map = {.reader = view->reader, .kind = TP_SM_DATA};

	if (index >= THINP_STORE_NR_MAPS || !tp_store_has_map(&view->commit->maps, index))
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "the store has no data map %u", index);
	map.root = view->commit->maps.data[index];
	return tp_sm_count(&map, block, count);
}
