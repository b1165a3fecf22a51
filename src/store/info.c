/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/info.c - the figures of a store.
 */
#include "store/store.h"

#include "base/opts.h"

#include <string.h>

static uint64_t oldest_viewed(const struct thinp_store *store)
{
	for (const struct tp_commit *commit = store->oldest; commit; commit = commit->newer)
		if (commit->nr_views)
			return commit->maps.commit;
	return store->last->maps.commit;
}

void thinp_store_get_info(struct thinp_store *store, struct thinp_store_info *info)
{
	struct thinp_sm_info map = {.size = sizeof(map), .nr_blocks = store->last->maps.metadata.nr_blocks};
	struct thinp_store_info now = {
		.commit = store->last->maps.commit,
		.fell_back = store->fell_back,
		.is_read_only = !store->tm,
	};

	if (store->metadata)
		thinp_sm_get_info(store->metadata, &map);
	now.nr_blocks = map.nr_blocks;
	now.nr_available = map.nr_available;
	memcpy(now.uuid, store->own.uuid, sizeof(now.uuid));
	pthread_mutex_lock(&store->lock);
	now.nr_views = store->nr_views;
	now.oldest_commit = oldest_viewed(store);
	now.nr_held_blocks = tp_store_nr_held(store);
	pthread_mutex_unlock(&store->lock);
	tp_result_give(info, &now, sizeof(now));
}
