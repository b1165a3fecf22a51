/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/ledger.h - what is pending for each block, in the order of arrival: the queue's own book, which no policy sees.
 *
 * Ranges are given by first and last block, so that block 2^64-1 is one like the others.
 */
#ifndef TP_OP_QUEUE_LEDGER_H
#define TP_OP_QUEUE_LEDGER_H

#include "op_queue/spares.h"

#include <bsd/sys/tree.h>

struct tp_ledger_span; /* defined in ledger.c */
RB_HEAD(tp_ledger_tree, tp_ledger_span);

struct tp_ledger {
	struct tp_ledger_tree tree;
	struct tp_spares spares;
};

/* What does not agree. */
struct tp_ledger_doubt {
	uint64_t block;
	int64_t sum;       /* what is pending for it, and never came */
	bool has_overtook; /* an operation of the kind is pending for it, behind one of the other kind */
};

void tp_ledger_init(struct tp_ledger *ledger, const struct thinp_allocator *allocator);
void tp_ledger_clear(struct tp_ledger *ledger);

/* Sees to it that tp_ledger_add() can be called for the range. THINP_ENOMEM also for a block that has too many pending. */
int tp_ledger_prepare(struct tp_ledger *ledger, uint64_t first, uint64_t last) TP_MUST_USE;

/* One more is pending for each block of the range: INC or DEC. */
void tp_ledger_add(struct tp_ledger *ledger, uint64_t first, uint64_t last, uint32_t kind);

/* An operation comes out. For each of its blocks it must be the first of its kind that has before it nothing, or as many
 * INC as DEC, which the policy has dropped; these go with it. THINP_EREFCOUNT: doubt says where it does not agree, and
 * the ledger is as it was; no detail is written. THINP_ENOMEM: nothing has changed. Needs memory only for a range that
 * ends where none that is pending ends. */
int tp_ledger_take(struct tp_ledger *ledger, uint64_t first, uint64_t last, uint32_t kind,
		   struct tp_ledger_doubt *doubt) TP_MUST_USE;

/* INC less DEC. */
int64_t tp_ledger_delta(const struct tp_ledger *ledger, uint64_t block);

bool tp_ledger_is_empty(const struct tp_ledger *ledger);

/* Does what is pending add up to nothing for each block? doubt: where it does not; may be NULL. */
bool tp_ledger_is_balanced(const struct tp_ledger *ledger, struct tp_ledger_doubt *doubt);

#endif
