/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/redistribute.h - who gets how many of the entries of neighbours, when one of them is to lose an entry.
 *
 * Pure functions on numbers and on nodes in memory. Two neighbours, or three: 0 is the left one. All have the same
 * capacity M; t = M / 3 is what a node that is not a root should have at least.
 */
#ifndef TP_BTREE_REDISTRIBUTE_H
#define TP_BTREE_REDISTRIBUTE_H

#include "btree/edit.h"

#include <stdbool.h>

#define TP_MAX_NEIGHBOURS 3u

/* A node with no more entries than that cannot lose one. */
static inline uint32_t tp_node_minimum(uint32_t capacity)
{
	return capacity / 3;
}

/* How many entries each is to have: 0 for one whose entries go to the others, and which is to go away; node 0 stays. What
 * stays can lose an entry, unless all entries together are too few for that: then all are in node 0, or node 2 stays as it
 * was. Node 1 is the one that is to lose an entry; of two, it may be either. */
void tp_redistribute2(uint32_t capacity, const uint32_t nr[2], uint32_t after[2]);
void tp_redistribute3(uint32_t capacity, const uint32_t nr[3], uint32_t after[3]);

/* The same for two or three. */
void tp_redistribute(uint32_t capacity, uint32_t nr_nodes, const uint32_t *nr, uint32_t *after);

/* Moves entries so that each node has what was said. A node that has that already is not touched. */
void tp_node_redistribute(void *const *nodes, uint32_t nr_nodes, const uint32_t *after);

#endif
