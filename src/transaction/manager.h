/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transaction/manager.h - what a transaction manager is made of.
 */
#ifndef TP_TRANSACTION_MANAGER_H
#define TP_TRANSACTION_MANAGER_H

#include "block/manager.h"
#include "transaction/marks.h"

#include <thinp/transaction.h>

#define TP_TM_MEMO_SIZE 128u

/* Keeps those who look at the open transaction away while it changes. */
struct tp_tm_gate {
	void (*close)(void *ctx);
	void (*open)(void *ctx);
	void *ctx;
};

struct thinp_tm {
	struct thinp_bm *bm;
	const struct tp_tm_gate *gate; /* NULL: nobody else looks */
	uint64_t depth;                /* of changes within changes, with a gate */
	struct thinp_reader *reader;
	struct thinp_alloc alloc;
	struct tp_marks marks; /* the blocks of this transaction that nobody shares */
	uint64_t generation;
	uint64_t number;        /* of the open transaction */
	uint32_t reserve_flags; /* that every reservation has now */
	int poison;             /* why it can only be aborted; 0: it can go on */
	uint64_t memo[TP_TM_MEMO_SIZE /
		      sizeof(uint64_t)]; /* for the layer above: zeros at first, then whatever it likes */
};

/* May the block be changed where it is? */
static inline bool tp_tm_is_shadow(struct thinp_tm *tm, thinp_block_t block)
{
	return tp_marks_find(&tm->marks, block);
}

/* The mark of a block that may be changed where it is, which takes no lock: until the next call of anything. NULL: it has
 * to be shadowed. The transaction must not be marked as failed. */
static inline const struct tp_mark *tp_tm_writable(struct thinp_tm *tm, thinp_block_t block,
						   const struct thinp_block_type *type)
{
	const struct tp_mark *mark = tp_marks_find(&tm->marks, block);

	return mark && tp_bm_is_writable(tm->bm, mark->buffer, block, type) ? mark : NULL;
}

/* Where a layer above can remember something. Whether it still holds is to be told by thinp_tm_generation(). */
static inline void *tp_tm_memo(struct thinp_tm *tm)
{
	return tm->memo;
}

/* Every change is made between these two, in which others may be. What new_block() or shadow_block() locked is one change
 * until it is unlocked. */
static inline void tp_tm_enter(struct thinp_tm *tm)
{
	if (tm->gate && !tm->depth++)
		tm->gate->close(tm->gate->ctx);
}

static inline void tp_tm_leave(struct thinp_tm *tm)
{
	if (tm->gate && !--tm->depth)
		tm->gate->open(tm->gate->ctx);
}

/* Until further notice all changes are parts of one that gives back more than it takes: see THINP_RESERVE_RELEASE. */
static inline void tp_tm_set_releasing(struct thinp_tm *tm, bool is_releasing)
{
	tm->reserve_flags = is_releasing ? THINP_RESERVE_RELEASE : 0;
}

/* What recording may take more when the counts of so many blocks rise: to be reserved. */
static inline uint64_t tp_tm_cost_of_raising(const struct thinp_tm *tm, uint64_t nr_blocks)
{
	return nr_blocks && tm->alloc.cost ? tm->alloc.cost(tm->alloc.ctx, nr_blocks) : 0;
}

/* May anything be changed? What stands in the way for ever marks the transaction. */
int tp_tm_begin_change(struct thinp_tm *tm);

#endif
