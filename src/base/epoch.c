/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/epoch.c - announcing readers, and finding the oldest.
 */
#include "base/epoch.h"

#include <stddef.h>

void tp_epoch_init(struct tp_epochs *epochs)
{
	atomic_init(&epochs->current, 1);
	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++) {
		atomic_init(&epochs->slots[i].epoch, 0);
		atomic_init(&epochs->slots[i].work, 0);
	}
}

/* Where a thread begins its search: its own place, so that threads seldom meet. */
static size_t favourite_slot(void)
{
	static _Thread_local char here;
	uint64_t spread = (uint64_t)(uintptr_t)&here * UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(spread >> 32) % TP_EPOCH_NR_SLOTS;
}

struct tp_epoch_slot *tp_epoch_enter(struct tp_epochs *epochs)
{
	uint64_t now = atomic_load(&epochs->current);
	size_t first = favourite_slot();

	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++) {
		struct tp_epoch_slot *slot = &epochs->slots[(first + i) % TP_EPOCH_NR_SLOTS];
		uint64_t idle = 0;

		if (atomic_compare_exchange_strong(&slot->epoch, &idle, now))
			return slot;
	}
	return NULL;
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
