/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/live.c - looking at the open transaction from other threads.
 *
 * Invariants
 *   1. Nobody looks while something changes: is_changing implies nr_looking == 0.
 *   2. Who waited during a change is counted as looking before the next change can begin, so neither side starves, however
 *      fast the other one comes again.
 */
#include "store/store.h"

/* --- taking turns --- */

static void begin_change(void *ctx)
{
	struct tp_live *live = ctx;

	pthread_mutex_lock(&live->mutex);
	live->is_change_coming = true;
	while (live->nr_looking)
		pthread_cond_wait(&live->news, &live->mutex);
	live->is_change_coming = false;
	live->is_changing = true;
	pthread_mutex_unlock(&live->mutex);
}

static void end_change(void *ctx)
{
	struct tp_live *live = ctx;
	bool is_awaited;

	pthread_mutex_lock(&live->mutex);
	live->is_changing = false;
	live->nr_changes++;
	live->nr_looking = live->nr_waiting;
	live->nr_waiting = 0;
	is_awaited = live->nr_looking;
	pthread_mutex_unlock(&live->mutex);
	if (is_awaited)
		pthread_cond_broadcast(&live->news);
	if (*live->metadata)
		tp_sm_tell_now(*live->metadata);
}

void tp_live_init(struct tp_live *live, struct thinp_sm *const *metadata)
{
	*live = (struct tp_live){.gate = {.close = begin_change, .open = end_change, .ctx = live},
				 .metadata = metadata};
	pthread_mutex_init(&live->mutex, NULL);
	pthread_cond_init(&live->news, NULL);
}

void tp_live_destroy(struct tp_live *live)
{
	pthread_cond_destroy(&live->news);
	pthread_mutex_destroy(&live->mutex);
}

/* Whoever waits is counted in by the change that it waits for. */
static void wait_for_change(struct tp_live *live)
{
	uint64_t nr_changes = live->nr_changes;

	live->nr_waiting++;
	while (live->nr_changes == nr_changes)
		pthread_cond_wait(&live->news, &live->mutex);
}

void tp_live_look_begin(struct tp_live *live)
{
	pthread_mutex_lock(&live->mutex);
	if (live->is_changing || live->is_change_coming)
		wait_for_change(live);
	else
		live->nr_looking++;
	pthread_mutex_unlock(&live->mutex);
}

void tp_live_look_end(struct tp_live *live)
{
	bool is_awaited;

	pthread_mutex_lock(&live->mutex);
	live->nr_looking--;
	is_awaited = !live->nr_looking && live->is_change_coming;
	pthread_mutex_unlock(&live->mutex);
	if (is_awaited)
		pthread_cond_broadcast(&live->news);
}

/* --- the interface --- */

static int check_state(const struct thinp_store *store)
{
	return store->state == TP_STORE_OPEN ? thinp_tm_status(store->tm) : tp_store_check_usable(store);
}

int thinp_store_live_begin(struct thinp_store *store, struct thinp_reader **reader)
{
	int r;

	if (!(store->opts.flags & THINP_STORE_LIVE))
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "the store was opened without THINP_STORE_LIVE");
	tp_live_look_begin(&store->live);
	r = check_state(store);
	if (r)
		tp_live_look_end(&store->live);
	else
		*reader = thinp_tm_reader(store->tm);
	return r;
}

void thinp_store_live_end(struct thinp_store *store)
{
	tp_live_look_end(&store->live);
}

void thinp_store_change_begin(struct thinp_store *store)
{
	if (store->tm)
		tp_tm_enter(store->tm);
}

void thinp_store_change_end(struct thinp_store *store)
{
	if (store->tm)
		tp_tm_leave(store->tm);
}
