/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transaction/manager.h - what a transaction manager is made of.
 */
#ifndef TP_TRANSACTION_MANAGER_H
#define TP_TRANSACTION_MANAGER_H

#include "block/manager.h"
#include "transaction/marks.h"

#include <thinp/transaction.h>

struct thinp_tm {
	struct thinp_bm *bm;
	struct thinp_reader *reader;
	struct thinp_alloc alloc;
	struct tp_marks marks; /* the blocks of this transaction that nobody shares */
	uint64_t generation;
	int poison; /* why it can only be aborted; 0: it can go on */
};

/* May anything be changed? What stands in the way for ever marks the transaction. */
int tp_tm_begin_change(struct thinp_tm *tm);

#endif
