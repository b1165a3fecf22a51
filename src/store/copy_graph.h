/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/copy_graph.h - copying what is reachable from a root, block by block, to another store.
 */
#ifndef TP_STORE_COPY_GRAPH_H
#define TP_STORE_COPY_GRAPH_H

#include "base/error.h"

#include <thinp/allocator.h>
#include <thinp/block.h>
#include <thinp/transaction.h>

#define TP_COPY_MAX_LEVELS 4u
#define TP_COPY_MAX_DEPTH  15u /* of nodes in each level */

/* What is below a root: trees within trees, whose values may begin with the address of a block. */
struct tp_copy_shape {
	uint32_t nr_levels;
	uint32_t value_size;                /* in the last level; 8 above */
	const struct thinp_block_type *end; /* what values of the last level point to; NULL: they are no addresses */
};

struct tp_copy_frame;

struct tp_copy {
	struct thinp_allocator allocator;
	struct thinp_reader *reader; /* from here */
	uint64_t nr_blocks;          /* that there are */
	struct thinp_tm *tm;         /* to there */
	uint32_t *places;            /* where each block has gone; 0: nowhere yet */
	struct tp_copy_frame *frames[TP_COPY_MAX_LEVELS * TP_COPY_MAX_DEPTH];
	uint32_t nr_frames;
	uint64_t nr_copied;
	int (*progress)(void *ctx, uint64_t nr_copied, uint64_t nr_blocks); /* NULL: nobody wants to know */
	void *progress_ctx;
	uint64_t nr_expected;
};

/* Needs allocator and nr_blocks; tp_copy_exit() also after a failure. */
int tp_copy_init(struct tp_copy *copy) TP_MUST_USE;
void tp_copy_exit(struct tp_copy *copy);

/* A copy of the root, with one reference; of what has been copied before, one reference more. */
int tp_copy_root(struct tp_copy *copy, const struct tp_copy_shape *shape, thinp_block_t root,
		 thinp_block_t *new_root) TP_MUST_USE;

#endif
