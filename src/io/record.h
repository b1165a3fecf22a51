/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/record.h - the log of a device that keeps one, for those who rebuild states from it.
 */
#ifndef TP_IO_RECORD_H
#define TP_IO_RECORD_H

#include "io/sparse.h"

#include <thinp/record.h>

#include <pthread.h>

/* An entry never moves. Only `result`, `ended` and the size after a RESIZE change, once, when it has ended. */
struct tp_record_entry {
	uint32_t kind; /* enum thinp_record_kind */
	int32_t result;
	thinp_block_t block;
	uint64_t nr_blocks;
	uint8_t *data;
	uint64_t batch;
	uint64_t begun;
	uint64_t ended;
	uint64_t mark;
};

/* Locks
 *   lock  guards all that is marked with (L). Held for moments: never while the allocator or the device below is
 *         called. */
struct thinp_record {
	struct thinp_allocator allocator;
	struct thinp_io *lower;
	uint64_t first_size; /* of the device below, when the record was made */
	uint64_t max_bytes;
	pthread_mutex_t lock;

	struct tp_sparse log; /* (L) pieces of 4096 bytes, each an array of entries */
	uint64_t nr_entries;  /* (L) */
	uint64_t clock;       /* (L) the last tick */
	uint64_t nr_batches;  /* (L) */
	uint64_t nr_bytes;    /* (L) of the log and of first contents */

	struct tp_sparse first; /* (L) first contents of blocks that have been written */
};

/* --- record.c --- */

/* The entry with this index, which must be there. */
const struct tp_record_entry *tp_record_entry(struct thinp_record *record, uint64_t index);

/* Memory of the log, which is bounded: THINP_ENOMEM when it is used up. */
int tp_record_reserve(struct thinp_record *record, uint64_t nr_bytes);
void tp_record_release(struct thinp_record *record, uint64_t nr_bytes);

/* Adds an entry that begins now; its data belongs to the log from then on, and was reserved. */
int tp_record_begin(struct thinp_record *record, const struct tp_record_entry *entry, struct tp_record_entry **added);

/* Keeps what the block holds, unless it was written before. */
int tp_record_keep_first(struct thinp_record *record, thinp_block_t block);

/* What a block within the first size held before it was first written. */
int tp_record_read_first(struct thinp_record *record, thinp_block_t block, uint8_t *buffer);

/* The same for tp_below: ctx is the record. */
int tp_record_read_below(void *ctx, thinp_block_t block, uint8_t *buffer);

#endif
