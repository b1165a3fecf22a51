/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/epoch.c - announcing readers, and finding the oldest.
 */
#include "base/epoch.h"

void tp_epoch_init(struct tp_epochs *epochs)
{
	atomic_init(&epochs->current, 1);
	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++) {
		atomic_init(&epochs->slots[i].epoch, 0);
		atomic_init(&epochs->slots[i].work, 0);
	}
}

_Thread_local size_t tp_epoch_favourite;

static struct tp_epoch_slot *slot_at(struct tp_epochs *epochs, size_t place)
{
	return &epochs->slots[place % TP_EPOCH_NR_SLOTS];
}

/* The first idle slot from the favourite on, which becomes the favourite. The address of a new thread's own variable spreads
 * threads well enough. */
struct tp_epoch_slot *tp_epoch_enter_elsewhere(struct tp_epochs *epochs, uint64_t now)
{
	size_t *favourite = &tp_epoch_favourite;

	if (!*favourite)
		*favourite = (size_t)((uint64_t)(uintptr_t)favourite * UINT64_C(0x9e3779b97f4a7c15) >> 32) |
			     TP_EPOCH_NR_SLOTS;
	for (size_t i = 0; i < TP_EPOCH_NR_SLOTS; i++) {
		struct tp_epoch_slot *slot = slot_at(epochs, *favourite + i);

		if (tp_epoch_claim(slot, now)) {
			*favourite += i;
			return slot;
		}
	}
	return NULL;
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
