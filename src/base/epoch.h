/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/epoch.h - when memory that readers may still look at can be used again.
 *
 * Readers announce themselves in a slot while they look at shared objects. A writer first unlinks an object, so that
 * nobody new can find it, then takes a stamp, and uses the memory again when every announced reader came later than
 * the stamp. Nobody waits: the writer asks now and then.
 *
 * After K. Fraser, "Practical lock-freedom", University of Cambridge, UCAM-CL-TR-579 (2004), section 5.2.3, with slots
 * claimed for each visit in place of registered threads.
 *
 * Why it is right: the unlinking store, the writer's look at a slot, the reader's announcement and its load of the
 * link are all sequentially consistent. If the writer sees the slot idle, the announcement comes after its look, hence
 * after the unlinking, and the reader finds nothing. If it sees an epoch later than the stamp, the reader had read that
 * epoch after the stamp was taken, and finds nothing either. An epoch that has passed meanwhile only holds back more.
 * Links to such objects must therefore be loaded and cleared with memory_order_seq_cst. Leaving is a release and the
 * look at a slot an acquire, so what a reader did comes before the memory is used again.
 */
#ifndef TP_BASE_EPOCH_H
#define TP_BASE_EPOCH_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TP_EPOCH_NR_SLOTS 64u /* more visits than this at once do without a slot */

struct tp_epoch_slot {
	alignas(64) _Atomic uint64_t epoch; /* 0: idle */
	_Atomic uint64_t work;              /* for statistics: what visits through this slot have done */
};

struct tp_epochs {
	_Atomic uint64_t current; /* starts at 1 */
	struct tp_epoch_slot slots[TP_EPOCH_NR_SLOTS];
};

void tp_epoch_init(struct tp_epochs *epochs);

/* Where the calling thread begins its search for a slot: where it was last. So threads that met once go separate ways. 0: a
 * new thread. */
extern _Thread_local size_t tp_epoch_favourite;

/* Looks first, because an attempt takes the cache line away from the slot's owner even when it fails. */
static inline bool tp_epoch_claim(struct tp_epoch_slot *slot, uint64_t now)
{
	uint64_t idle = 0;

	return !atomic_load_explicit(&slot->epoch, memory_order_relaxed) &&
	       atomic_compare_exchange_strong(&slot->epoch, &idle, now);
}

/* When the favourite slot is not to be had. */
struct tp_epoch_slot *tp_epoch_enter_elsewhere(struct tp_epochs *epochs, uint64_t now);

/* Announces the calling thread. NULL when all slots are taken: then it must not look at shared objects. */
static inline struct tp_epoch_slot *tp_epoch_enter(struct tp_epochs *epochs)
{
	uint64_t now = atomic_load(&epochs->current);
	size_t favourite = tp_epoch_favourite;
	struct tp_epoch_slot *slot = &epochs->slots[favourite % TP_EPOCH_NR_SLOTS];

	return favourite && tp_epoch_claim(slot, now) ? slot : tp_epoch_enter_elsewhere(epochs, now);
}

static inline void tp_epoch_leave(struct tp_epoch_slot *slot)
{
	atomic_store_explicit(&slot->epoch, 0, memory_order_release);
}

/* Adds to the slot's work. It is the caller's alone until it leaves, so this takes no locked instruction. */
static inline void tp_epoch_add_work(struct tp_epoch_slot *slot, uint64_t work)
{
	uint64_t before = atomic_load_explicit(&slot->work, memory_order_relaxed);

	atomic_store_explicit(&slot->work, before + work, memory_order_relaxed);
}

/* The stamp for objects unlinked before this call. */
uint64_t tp_epoch_stamp(struct tp_epochs *epochs);

/* Objects with a stamp lower than this can be used again. */
uint64_t tp_epoch_safe(struct tp_epochs *epochs);

#endif
