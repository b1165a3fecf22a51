/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/radix.h - which buffer holds a block: a radix table that is read without a lock.
 *
 * Six bits of the block number choose a slot at each level, so that a node is 64 pointers and a lonely block costs
 * little. The table grows at the root when a larger number comes, and lets go of nodes that have become empty.
 *
 * Finding may be done by any thread within an epoch. Everything else needs the owner's lock. No function allocates:
 * nodes come from a list of spare ones that the owner fills while it holds no lock.
 */
#ifndef TP_BLOCK_RADIX_H
#define TP_BLOCK_RADIX_H

#include "base/epoch.h"

#include <stdbool.h>
#include <stddef.h>

#define TP_RADIX_BITS       6u
#define TP_RADIX_FANOUT     (1u << TP_RADIX_BITS)
#define TP_RADIX_MAX_LEVELS 11u /* 64-bit numbers */

struct tp_radix_node {
	_Atomic(void *) slots[TP_RADIX_FANOUT];
	uint32_t shift;             /* bits of the number below this level; 0: the slots hold the items */
	uint32_t in_use;            /* slots that are not NULL */
	struct tp_radix_node *next; /* in the list of spare or retired nodes */
	uint64_t stamp;             /* of a retired node */
};

struct tp_radix {
	_Atomic(struct tp_radix_node *) root;
	struct tp_epochs *epochs;
	struct tp_radix_node *spare;
	size_t nr_spare;
	struct tp_radix_node *retired_first; /* oldest stamp first */
	struct tp_radix_node *retired_last;
};

void tp_radix_init(struct tp_radix *radix, struct tp_epochs *epochs);

/* The item of a number, or NULL. Lock-free, within an epoch. */
static inline void *tp_radix_find(struct tp_radix *radix, uint64_t number)
{
	struct tp_radix_node *node = atomic_load(&radix->root);

	if (!node || number >> node->shift >= TP_RADIX_FANOUT)
		return NULL;
	for (uint32_t shift = node->shift; shift; shift -= TP_RADIX_BITS) {
		node = atomic_load(&node->slots[number >> shift & (TP_RADIX_FANOUT - 1)]);
		if (!node)
			return NULL;
	}
	return atomic_load(&node->slots[number & (TP_RADIX_FANOUT - 1)]);
}

/* How many items there are of numbers that differ from this one in the last six bits alone. */
uint32_t tp_radix_nr_near(struct tp_radix *radix, uint64_t number);

/* How many spare nodes are missing to insert this number. */
size_t tp_radix_nodes_missing(struct tp_radix *radix, uint64_t number);

/* Adds a zeroed node to the spare ones. */
void tp_radix_add_spare(struct tp_radix *radix, struct tp_radix_node *node);

/* Sets the item (not NULL) of a number that has none. tp_radix_nodes_missing() must have said 0. */
void tp_radix_insert(struct tp_radix *radix, uint64_t number, void *item);

/* Sets another item (not NULL) for a number that has one. */
void tp_radix_replace(struct tp_radix *radix, uint64_t number, void *item);

/* Forgets the item of a number that has one. */
void tp_radix_remove(struct tp_radix *radix, uint64_t number);

/* Takes any node out, spare ones included, when no reader is left; NULL when there is none. For destruction. */
struct tp_radix_node *tp_radix_dismantle(struct tp_radix *radix);

#endif
