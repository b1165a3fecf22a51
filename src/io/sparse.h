/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/sparse.h - an array of blocks of which only those in use take memory: a radix tree that grows with its size.
 */
#ifndef TP_IO_SPARSE_H
#define TP_IO_SPARSE_H

#include <thinp/allocator.h>

#include <pthread.h>
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

/* The calls below may run on several threads at once. */

/* Makes the nodes on the way to a block, for tp_sparse_put(). THINP_ENOMEM when there is no memory. */
int tp_sparse_make_way(struct tp_sparse *sparse, thinp_block_t block);

/* The first block from this one on that may have memory: it, or one behind those that surely have none. */
thinp_block_t tp_sparse_skip(struct tp_sparse *sparse, thinp_block_t block);

/* The calls below may do so as long as each block has one caller at a time. */

/* The memory of a block, or NULL when it has none. */
uint8_t *tp_sparse_find(struct tp_sparse *sparse, thinp_block_t block);

/* Gives a block its memory: THINP_BLOCK_SIZE bytes from the allocator, or NULL. Returns what it had before, which
 * belongs to the caller now. The way must be there; for NULL it need not. */
uint8_t *tp_sparse_put(struct tp_sparse *sparse, thinp_block_t block, uint8_t *data);

/* The same for whoever shares blocks between threads and guards each by a lock, which is held for a copy at most and not
 * while the allocator is called. */

/* Copies a block in. THINP_ENOMEM when there is no memory for it. */
int tp_sparse_write(struct tp_sparse *sparse, pthread_mutex_t *lock, thinp_block_t block, const uint8_t *buffer);

/* Releases the memory of a block. */
void tp_sparse_drop(struct tp_sparse *sparse, pthread_mutex_t *lock, thinp_block_t block);

#endif
