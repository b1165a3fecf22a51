/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/commits.c - the commits that can still be read: the last one, and those that views hold.
 *
 * Blocks freed by commit n are needed by commits before n. They are held back until no such commit is held any more;
 * with two slots, the commit before the last is always one of those, for opening may fall back to it.
 */
#include "store/store.h"

#include "base/alloc.h"
#include "block/manager.h"

struct tp_commit *tp_commit_create(struct thinp_store *store)
{
	return tp_alloc_zeroed(&store->allocator, 1, sizeof(struct tp_commit));
}

static void free_commit(struct thinp_store *store, struct tp_commit *commit)
{
	tp_free(&store->allocator, commit, sizeof(*commit));
}

void tp_store_add_commit(struct thinp_store *store, struct tp_commit *commit)
{
	pthread_mutex_lock(&store->lock);
	if (store->last)
		store->last->newer = commit;
	else
		store->oldest = commit;
	store->last = commit;
	pthread_mutex_unlock(&store->lock);
}

void tp_store_free_commits(struct thinp_store *store)
{
	while (store->oldest) {
		struct tp_commit *commit = store->oldest;

		store->oldest = commit->newer;
		free_commit(store, commit);
	}
	store->last = NULL;
}

/* Stale views may still be looking at blocks until all sections that began before they were told have ended. */
static bool is_over(const struct tp_commit *commit, uint64_t safe_epoch)
{
	return !commit->nr_views && (!commit->has_gone_stale || commit->stale_stamp < safe_epoch);
}

/* A commit whose stale views are not closed yet stays as memory, and holds nothing. */
static uint64_t oldest_held(struct thinp_store *store, struct tp_commit **unused)
{
	uint64_t safe_epoch = tp_reader_safe_epoch(store->reader);
	struct tp_commit **link = &store->oldest;
	uint64_t held = store->last->maps.commit;

	*unused = NULL;
	pthread_mutex_lock(&store->lock);
	while (*link != store->last) {
		struct tp_commit *commit = *link;

		if (!is_over(commit, safe_epoch) && commit->maps.commit < held)
			held = commit->maps.commit;
		if (is_over(commit, safe_epoch) && !commit->views) {
			*link = commit->newer;
			commit->newer = *unused;
			*unused = commit;
		} else {
			link = &commit->newer;
		}
	}
	pthread_mutex_unlock(&store->lock);
	return held;
}

static uint64_t needed_by_slots(const struct thinp_store *store)
{
	uint64_t last = store->last->maps.commit;

	return last - (store->format->nr_slots - 1);
}

void tp_store_release(struct thinp_store *store)
{
	struct tp_commit *unused;
	uint64_t held = oldest_held(store, &unused);

	if (needed_by_slots(store) < held)
		held = needed_by_slots(store);
	while (unused) {
		struct tp_commit *commit = unused;

		unused = commit->newer;
		free_commit(store, commit);
	}
	tp_sm_release(store->metadata, held);
	for (uint32_t i = 0; i < THINP_STORE_NR_MAPS; i++)
		if (store->maps[i])
			tp_sm_release(store->maps[i], held);
}

static uint64_t nr_unusable(const struct thinp_sm *sm)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	thinp_sm_get_info(sm, &info);
	return info.nr_zero - info.nr_allocatable;
}

/* Blocks that are free but cannot be taken: freed in this transaction, or held back. */
uint64_t tp_store_nr_unusable(const struct thinp_store *store)
{
	uint64_t nr = nr_unusable(store->metadata);

	for (uint32_t i = 0; i < THINP_STORE_NR_MAPS; i++)
		if (store->maps[i])
			nr += nr_unusable(store->maps[i]);
	return nr;
}

void tp_store_note_held(struct thinp_store *store)
{
	store->nr_held = tp_store_nr_unusable(store);
}
