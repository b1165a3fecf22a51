/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/live.h - the gate between the changes of the open transaction and those who look at it.
 */
#ifndef TP_STORE_LIVE_H
#define TP_STORE_LIVE_H

#include "space_map/map.h"
#include "transaction/manager.h"

#include <pthread.h>

/* Who looks, and who changes, by turns: a change waits for those that were let in before it came, and whoever comes after
 * that waits for this one change only. The mutex is held for a moment, never while somebody looks or changes. */
struct tp_live {
	pthread_mutex_t mutex;
	pthread_cond_t news;
	uint64_t nr_looking;
	uint64_t nr_waiting;   /* to look, for the change to end */
	uint64_t nr_changes;   /* that have ended */
	bool is_change_coming; /* one waits for those who look */
	bool is_changing;
	struct tp_tm_gate gate; /* for the transaction manager: close() and open() of a change */
	struct thinp_sm *const
		*metadata; /* thresholds are told when a change has ended; points to NULL: there are none */
};

void tp_live_init(struct tp_live *live, struct thinp_sm *const *metadata);
void tp_live_destroy(struct tp_live *live);

void tp_live_look_begin(struct tp_live *live);
void tp_live_look_end(struct tp_live *live);

#endif
