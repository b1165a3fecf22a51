/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/sparse.c - an array of blocks of which only those in use take memory.
 *
 *   height 2:   root --> node of 512 --> node of 512 --> block of 4096 bytes
 *
 * Invariants
 *   1. Nodes are published with a compare-and-swap and stay until tp_sparse_cut(), so a thread can go down without a
 *      lock while others add nodes.
 *   2. The last pointer on the way, to the block itself, belongs to the only caller for this block: by agreement, or by
 *      the lock that tp_sparse_write() and tp_sparse_drop() are given.
 *   3. No allocation is larger than a block (4096 bytes; nodes have that size too on 64-bit machines).
 */
#include "io/sparse.h"

#include "base/alloc.h"
#include "base/error.h"

#include <stdalign.h>
#include <string.h>

enum { BITS = 9, FANOUT = 1 << BITS };

typedef _Atomic(void *) slot_t;

struct node {
	slot_t slots[FANOUT];
};

/* Blocks that a tree with this many levels of nodes reaches. At most 2^54, for the device size limit of 2^51. */
static uint64_t reach_of(unsigned int height)
{
	return (uint64_t)1 << (BITS * height);
}

void tp_sparse_init(struct tp_sparse *sparse, const struct thinp_allocator *allocator)
{
	sparse->allocator = allocator;
	atomic_init(&sparse->root, NULL);
	sparse->height = 0;
}

/* Puts a node above the root, which becomes its first child. An empty tree just becomes higher. */
static int raise_root(struct tp_sparse *sparse)
{
	void *old = atomic_load_explicit(&sparse->root, memory_order_relaxed);
	struct node *node;

	if (old) {
		node = tp_alloc_zeroed(sparse->allocator, 1, sizeof(*node));
		if (!node)
			return THINP_ENOMEM;
		atomic_init(&node->slots[0], old);
		atomic_store_explicit(&sparse->root, node, memory_order_release);
	}
	sparse->height++;
	return 0;
}

int tp_sparse_reach(struct tp_sparse *sparse, uint64_t nr_blocks)
{
	int r = 0;

	/* a tree that is higher than needed is as good as before, so a failure half-way needs no way back */
	while (!r && reach_of(sparse->height) < nr_blocks)
		r = raise_root(sparse);
	return r;
}

/* Releases what lies from block `keep` on below a slot that covers the blocks from `first` on. */
static void cut_below(struct tp_sparse *sparse, slot_t *slot, unsigned int height, uint64_t first, uint64_t keep)
{
	void *below = atomic_load_explicit(slot, memory_order_acquire);
	struct node *node = below;

	if (!below || first + reach_of(height) <= keep)
		return;
	for (unsigned int i = 0; height && i < FANOUT; i++)
		cut_below(sparse, &node->slots[i], height - 1, first + i * reach_of(height - 1), keep);
	if (first < keep)
		return;
	tp_free(sparse->allocator, below, height ? sizeof(*node) : THINP_BLOCK_SIZE);
	atomic_store_explicit(slot, NULL, memory_order_release);
}

void tp_sparse_cut(struct tp_sparse *sparse, uint64_t nr_blocks)
{
	cut_below(sparse, &sparse->root, sparse->height, 0, nr_blocks);
}

/* Another thread may be doing the same: then the first one's node counts, and ours goes back. */
static struct node *publish_node(struct tp_sparse *sparse, slot_t *slot)
{
	struct node *node = tp_alloc_zeroed(sparse->allocator, 1, sizeof(*node));
	void *there = NULL;

	if (!node ||
	    atomic_compare_exchange_strong_explicit(slot, &there, node, memory_order_acq_rel, memory_order_acquire))
		return node;
	tp_free(sparse->allocator, node, sizeof(*node));
	return there;
}

static slot_t *child(struct node *node, thinp_block_t block, unsigned int height)
{
	return &node->slots[block >> (BITS * (height - 1)) & (FANOUT - 1)];
}

int tp_sparse_make_way(struct tp_sparse *sparse, thinp_block_t block)
{
	slot_t *slot = &sparse->root;

	for (unsigned int height = sparse->height; height; height--) {
		struct node *node = atomic_load_explicit(slot, memory_order_acquire);

		if (!node)
			node = publish_node(sparse, slot);
		if (!node)
			return THINP_ENOMEM;
		slot = child(node, block, height);
	}
	return 0;
}

/* The slot of a block. NULL: a node on the way is missing; then *missing is its height. */
static slot_t *find_slot(struct tp_sparse *sparse, thinp_block_t block, unsigned int *missing)
{
	slot_t *slot = &sparse->root;

	for (unsigned int height = sparse->height; height; height--) {
		struct node *node = atomic_load_explicit(slot, memory_order_acquire);

		if (!node) {
			*missing = height;
			return NULL;
		}
		slot = child(node, block, height);
	}
	return slot;
}

thinp_block_t tp_sparse_skip(struct tp_sparse *sparse, thinp_block_t block)
{
	unsigned int missing;

	if (find_slot(sparse, block, &missing))
		return block;
	return (block | (reach_of(missing) - 1)) + 1;
}

uint8_t *tp_sparse_find(struct tp_sparse *sparse, thinp_block_t block)
{
	unsigned int missing;
	slot_t *slot = find_slot(sparse, block, &missing);

	return slot ? atomic_load_explicit(slot, memory_order_relaxed) : NULL;
}

uint8_t *tp_sparse_put(struct tp_sparse *sparse, thinp_block_t block, uint8_t *data)
{
	unsigned int missing;
	slot_t *slot = find_slot(sparse, block, &missing);

	return slot ? atomic_exchange_explicit(slot, data, memory_order_relaxed) : NULL;
}

/* --- for blocks that threads share --- */

static bool overwrite(struct tp_sparse *sparse, pthread_mutex_t *lock, thinp_block_t block, const uint8_t *buffer)
{
	uint8_t *data;

	pthread_mutex_lock(lock);
	data = tp_sparse_find(sparse, block);
	if (data)
		memcpy(data, buffer, THINP_BLOCK_SIZE);
	pthread_mutex_unlock(lock);
	return data;
}

/* Gives the block other memory, or none, and releases what it had. */
static void replace(struct tp_sparse *sparse, pthread_mutex_t *lock, thinp_block_t block, uint8_t *data)
{
	uint8_t *old;

	pthread_mutex_lock(lock);
	old = tp_sparse_put(sparse, block, data);
	pthread_mutex_unlock(lock);
	tp_free(sparse->allocator, old, THINP_BLOCK_SIZE);
}

int tp_sparse_write(struct tp_sparse *sparse, pthread_mutex_t *lock, thinp_block_t block, const uint8_t *buffer)
{
	uint8_t *data;

	if (overwrite(sparse, lock, block, buffer))
		return 0;
	if (tp_sparse_make_way(sparse, block))
		return THINP_ENOMEM;
	data = tp_alloc_aligned(sparse->allocator, THINP_BLOCK_SIZE, alignof(max_align_t));
	if (!data)
		return THINP_ENOMEM;
	memcpy(data, buffer, THINP_BLOCK_SIZE);
	replace(sparse, lock, block, data); /* another thread may have been faster; then ours is the later write */
	return 0;
}

void tp_sparse_drop(struct tp_sparse *sparse, pthread_mutex_t *lock, thinp_block_t block)
{
	replace(sparse, lock, block, NULL);
}
