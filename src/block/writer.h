/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/writer.h - changed blocks on their way to the device.
 *
 * Blocks get address and checksum, and are copied into one piece of memory in the order of their addresses: so
 * neighbours become one large write.
 */
#ifndef TP_BLOCK_WRITER_H
#define TP_BLOCK_WRITER_H

#include "block/cache.h"

#define TP_STAGE_MAX_BLOCKS 256u /* 1 MiB: most commits go in one batch */

struct tp_writer {
	int (*before_first)(void *ctx); /* called before anything is written; NULL once it has succeeded, or none */
	void *before_first_ctx;
	struct tp_cache *cache;
	int failure;                 /* remembered until the abort; THINP_EUNKNOWN for ever */
	uint8_t *stage;              /* stage_blocks and one for the commit record; NULL: nothing was changed yet */
	struct thinp_io_op *ops;     /* one for each of them and two flushes */
	struct thinp_buffer **order; /* the dirty blocks of one call, sorted by address */
	uint32_t order_size;
	uint32_t stage_blocks;
	bool is_mapped;     /* the stage is a huge page, not from the allocator */
	uint32_t max_dirty; /* more only while they are locked */
	_Atomic uint64_t written;
	_Atomic uint64_t written_early;
	_Atomic uint64_t write_ops;
};

/* A commit record to be written behind all else. */
struct tp_record {
	thinp_block_t block;
	const struct thinp_block_type *type;
	const void *data;
};

void tp_writer_init(struct tp_writer *writer, struct tp_cache *cache);
void tp_writer_exit(struct tp_writer *writer);

/* What stands in the way of any change: 0, or the failure that is remembered, told once more. */
int tp_writer_status(const struct tp_writer *writer);

/* Takes the memory that it needs to write all blocks that are dirty, and one more. */
int tp_writer_make_ready(struct tp_writer *writer);

/* Writes the dirty blocks that are not locked, without a flush. */
int tp_writer_make_room(struct tp_writer *writer);

/* Writes all dirty blocks, flushes; then, if there is a record, writes it and flushes again. */
int tp_writer_flush(struct tp_writer *writer, const struct tp_record *record);

#endif
