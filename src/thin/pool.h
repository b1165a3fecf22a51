/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/pool.h - what an open pool is made of.
 */
#ifndef TP_THIN_POOL_H
#define TP_THIN_POOL_H

#include "format/thin.h"

#include <thinp/btree.h>
#include <thinp/pool.h>

struct thinp_pool {
	struct thinp_allocator allocator;
	thinp_log_fn log;
	void *log_ctx;
	struct thinp_io *io;
	struct thinp_bm *bm;
	struct thinp_reader *reader;
	struct tp_thin_superblock live;  /* block 0 */
	struct tp_thin_superblock shown; /* the same, or the copy in the metadata snapshot */
	bool is_metadata_snap;
};

/* Trees of a pool. */
extern const struct thinp_btree_type tp_thin_roots_type;    /* device -> root of its mappings */
extern const struct thinp_btree_type tp_thin_mappings_type; /* virtual block -> mapping */
extern const struct thinp_btree_type tp_thin_details_type;  /* device -> details */

/* Reads and checks block 0; tells the log what is odd. */
int tp_thin_read_superblock(struct thinp_pool *pool);

/* Reads and checks the copy that the live superblock's held root names. */
int tp_thin_read_metadata_snap(struct thinp_pool *pool);

#endif
