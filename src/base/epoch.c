/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/epoch.c - announcing readers, and finding the oldest.
 */
#include "base/epoch.h"

#include <stdbool.h>
#include <stddef.h>

void tp_epoch_init(struct tp_epochs *epochs)
{
	atomic_init(&epochs->current, 1);
	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++) {
		atomic_init(&epochs->slots[i].epoch, 0);
		atomic_init(&epochs->slots[i].work, 0);
	}
}

/* Where the calling thread begins its search: where it was last. So threads that met once go separate ways. */
static size_t *favourite_slot(void)
{
	static _Thread_local size_t favourite; /* 0: a new thread; its address spreads threads well enough */

	if (!favourite)
		favourite = (size_t)((uint64_t)(uintptr_t)&favourite * UINT64_C(0x9e3779b97f4a7c15) >> 32) |
			    TP_EPOCH_NR_SLOTS;
	return &favourite;
}

/* Looks first, because an attempt takes the cache line away from the slot's owner even when it fails. */
static bool claim(struct tp_epoch_slot *slot, uint64_t now)
{
	uint64_t idle = 0;

	return !atomic_load_explicit(&slot->epoch, memory_order_relaxed) &&
	       atomic_compare_exchange_strong(&slot->epoch, &idle, now);
}

static struct tp_epoch_slot *slot_at(struct tp_epochs *epochs, size_t place)
{
	return &epochs->slots[place % TP_EPOCH_NR_SLOTS];
}

/* The first idle slot behind the favourite, which becomes the favourite. */
static struct tp_epoch_slot *settle_elsewhere(struct tp_epochs *epochs, uint64_t now, size_t *favourite)
{
	for (size_t i = 1; i < TP_EPOCH_NR_SLOTS; i++) {
		struct tp_epoch_slot *slot = slot_at(epochs, *favourite + i);

		if (claim(slot, now)) {
			*favourite += i;
			return slot;
		}
	}
	return NULL;
}

struct tp_epoch_slot *tp_epoch_enter(struct tp_epochs *epochs)
{
	uint64_t now = atomic_load(&epochs->current);
	size_t *favourite = favourite_slot();
	struct tp_epoch_slot *slot = slot_at(epochs, *favourite);

	return claim(slot, now) ? slot : settle_elsewhere(epochs, now, favourite);
}

void tp_epoch_leave(struct tp_epoch_slot *slot)
{
	atomic_store_explicit(&slot->epoch, 0, memory_order_release);
}

uint64_t tp_epoch_stamp(struct tp_epochs *epochs)
{
	return atomic_fetch_add(&epochs->current, 1);
}

uint64_t tp_epoch_safe(struct tp_epochs *epochs)
{
	uint64_t oldest = atomic_load(&epochs->current);

	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++) {
		uint64_t epoch = atomic_load(&epochs->slots[i].epoch);

		if (epoch && epoch < oldest)
			oldest = epoch;
	}
	return oldest;
}
