/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/sparse.h - an array of blocks of which only those in use take memory: a radix tree that grows with its size.
 */
#ifndef TP_IO_SPARSE_H
#define TP_IO_SPARSE_H

#include <thinp/allocator.h>

#include <stdatomic.h>

struct tp_sparse {
	const struct thinp_allocator *allocator;
	_Atomic(void *) root;
	unsigned int height; /* levels of nodes; the tree reaches 512^height blocks */
};

/* An empty array of one block; the allocator must outlive it. */
void tp_sparse_init(struct tp_sparse *sparse, const struct thinp_allocator *allocator);

/* Makes the array reach nr_blocks blocks. THINP_ENOMEM changes nothing. No other call may be under way. */
int tp_sparse_reach(struct tp_sparse *sparse, uint64_t nr_blocks);

/* Releases the blocks from nr_blocks on. No other call may be under way. */
void tp_sparse_cut(struct tp_sparse *sparse, uint64_t nr_blocks);

/* The calls below may run on several threads at once as long as each block has one caller at a time. */

/* The memory of a block, or NULL when it has none. */
uint8_t *tp_sparse_find(struct tp_sparse *sparse, thinp_block_t block);

/* The memory of a block, made when it has none yet and then not initialised. NULL: no memory. */
uint8_t *tp_sparse_make(struct tp_sparse *sparse, thinp_block_t block);

/* Releases the memory of a block, if it has any. */
void tp_sparse_drop(struct tp_sparse *sparse, thinp_block_t block);

#endif
