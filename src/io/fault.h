/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/fault.h - the parts of the device that misbehaves by script.
 *
 *   thinp_io_batch()
 *     fault.c          the controls, and the back-end: one operation after the other
 *       fault_script.c   which rule acts on it
 *       fault_action.c   what the rule does to it
 *         fault_cache.c    the volatile cache, when there is one
 *           the device below
 */
#ifndef TP_IO_FAULT_H
#define TP_IO_FAULT_H

#include "io/sparse.h"

#include <thinp/fault.h>

#include <pthread.h>

struct tp_fault_rule {
	struct tp_fault_rule *next;
	struct thinp_fault_rule rule;
	uint64_t id;
	uint64_t matched;
	uint64_t fired;
};

/* A block that was written and not flushed. Its data never changes: a newer write brings a block of its own. */
struct tp_fault_dirty {
	struct tp_fault_dirty *older, *newer;
	uint8_t *data;
	thinp_block_t block;
	uint64_t stamp;     /* when it was written */
	bool is_busy;       /* on its way to the device below */
	bool is_superseded; /* while it was busy: whoever made it busy frees it */
	bool is_survivor;   /* of a power cut */
};

/* Locks
 *   write_back  held while blocks of the volatile cache go to the device below, so that two contents of a block cannot
 *               overtake each other. Reads never wait for it, writes only when the cache is full. The allocator is not
 *               called with it.
 *   lock        guards all that is marked with (L). Held for moments: never while the allocator, a callback or the
 *               device below is called. May be taken with write_back held.
 */
struct thinp_fault {
	struct thinp_allocator allocator;
	struct thinp_io *lower;
	uint32_t flags;
	uint32_t cache_blocks;
	pthread_mutex_t write_back;
	pthread_mutex_t lock;

	struct tp_fault_rule *rules;          /* (L) in the order in which they were added */
	uint64_t nr_added;                    /* (L) the last rule's id */
	uint64_t nr_seen[THINP_IO_FLUSH + 1]; /* (L) operations by kind */
	uint64_t nr_fired;                    /* (L) */
	uint64_t nr_cuts;                     /* (L) */

	struct tp_sparse old;                   /* (L) for STALE: what blocks held before their last write */
	struct tp_sparse dirty;                 /* (L) the volatile cache: a struct tp_fault_dirty for each block */
	struct tp_fault_dirty *oldest, *newest; /* (L) */
	uint64_t nr_dirty;                      /* (L) */
	uint64_t clock;                         /* (L) stamps given out */
};

/* --- fault_script.c --- */

/* Counts the operation and finds the rule that acts on it; false: none does. */
bool tp_fault_match(struct thinp_fault *fault, const struct thinp_io_op *op, struct thinp_fault_rule *acting);

/* Is there a STALE rule that wants to know what the block held before? Needs the lock. */
bool tp_fault_wants_old(const struct thinp_fault *fault, thinp_block_t block);

/* Does the block lie in the rule's range? */
bool tp_fault_in_range(const struct thinp_fault_rule *rule, thinp_block_t block);

/* --- fault_action.c --- */

/* Carries out an operation as the rule says (NULL: as it should be). nr_cuts is how often the power had been cut when
 * the device was opened that it comes through. */
int tp_fault_act(struct thinp_fault *fault, uint64_t nr_cuts, const struct thinp_fault_rule *rule,
		 const struct thinp_io_op *op);

/* --- fault_cache.c --- */

bool tp_fault_has_cache(const struct thinp_fault *fault);

/* The operations of a device with a volatile cache. */
int tp_fault_cache_read(struct thinp_fault *fault, const struct thinp_io_op *op);
int tp_fault_cache_write(struct thinp_fault *fault, uint64_t nr_cuts, const struct thinp_io_op *op);
int tp_fault_cache_discard(struct thinp_fault *fault, const struct thinp_io_op *op);
int tp_fault_cache_flush(struct thinp_fault *fault);

/* Brings everything to the device below, which is not flushed. */
int tp_fault_cache_write_back(struct thinp_fault *fault);

/* Forgets everything. */
void tp_fault_cache_forget(struct thinp_fault *fault);

/* --- fault.c --- */

/* THINP_EIO when the power was cut since the device was opened. Needs the lock. */
int tp_fault_check_power(const struct thinp_fault *fault, uint64_t nr_cuts);

#endif
