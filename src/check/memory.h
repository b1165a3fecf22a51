/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/memory.h - the caller's memory, with a limit, for several threads.
 */
#ifndef TP_CHECK_MEMORY_H
#define TP_CHECK_MEMORY_H

#include <thinp/allocator.h>

#include <stdatomic.h>

struct tp_memory {
	struct thinp_allocator allocator;
	uint64_t limit; /* bytes; 0: none */
	_Atomic uint64_t used;
	_Atomic uint64_t peak;
};

/* nr * size bytes, zeroed and aligned for any object, or a buffer for blocks, not zeroed. NULL when there is no memory or
 * the limit forbids it; the detail record is then written. */
void *tp_memory_get(struct tp_memory *memory, size_t nr, size_t size);
void *tp_memory_get_blocks(struct tp_memory *memory, size_t nr);

/* ptr may be NULL; nr and size as they were asked for. */
void tp_memory_put(struct tp_memory *memory, void *ptr, size_t nr, size_t size);

/* A growing array of nr entries: makes room for some more. False when there is no memory; nothing is changed then. */
bool tp_memory_grow(struct tp_memory *memory, void **array, size_t nr, size_t nr_more, size_t *room, size_t size);

#endif
