/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/manager.h - what the block manager and its readers are made of.
 */
#ifndef TP_BLOCK_MANAGER_H
#define TP_BLOCK_MANAGER_H

#include "block/cache.h"
#include "block/writer.h"

#include <thinp/block.h>

struct thinp_bm {
	struct tp_cache cache;
	struct tp_writer writer;
};

struct thinp_reader {
	struct thinp_bm *bm;
	uint64_t nr_blocks;
};

/* The allocator of the block manager, for objects that live as long as the reader. */
static inline const struct thinp_allocator *tp_reader_allocator(const struct thinp_reader *reader)
{
	return &reader->bm->cache.allocator;
}

#endif
