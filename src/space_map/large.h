/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/large.h - the few counts that do not fit the byte of a page: block number to count.
 *
 * Room is made before a change begins, so that the change itself cannot fail.
 */
#ifndef TP_SPACE_MAP_LARGE_H
#define TP_SPACE_MAP_LARGE_H

#include "base/error.h"

#include <thinp/allocator.h>

#include <stdint.h>

struct tp_large_slot;

struct tp_large {
	struct thinp_allocator allocator;
	struct tp_large_slot *slots;
	size_t nr_slots; /* 0 or a power of two */
	size_t nr_taken; /* slots that have ever been taken, since the table was last made anew */
	size_t nr_used;  /* of these, with a count */
};

void tp_large_init(struct tp_large *large, const struct thinp_allocator *allocator);

/* Forgets all counts and gives the memory back. */
void tp_large_clear(struct tp_large *large);

/* Sees to it that so many more blocks can be put in. */
int tp_large_reserve(struct tp_large *large, uint64_t nr) TP_MUST_USE;

/* The count of a block that was put in. */
uint32_t tp_large_get(const struct tp_large *large, uint64_t block);

/* Puts a block in, or changes its count. For a new block there must be room. */
void tp_large_put(struct tp_large *large, uint64_t block, uint32_t count);

/* Takes a block out. */
void tp_large_remove(struct tp_large *large, uint64_t block);

uint64_t tp_large_bytes(const struct tp_large *large);

#endif
