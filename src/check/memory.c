/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/memory.c - the caller's memory, with a limit, for several threads.
 */
#include "check/memory.h"

#include "base/alloc.h"
#include "base/error.h"

#include <inttypes.h>
#include <string.h>

#define FIRST_ROOM 64u

static bool charge(struct tp_memory *memory, size_t nbytes)
{
	uint64_t used = atomic_fetch_add(&memory->used, nbytes) + nbytes;
	uint64_t peak = atomic_load(&memory->peak);

	if (memory->limit && used > memory->limit) {
		atomic_fetch_sub(&memory->used, nbytes);
		tp_fail(THINP_ENOMEM, THINP_NO_BLOCK,
			"the check needs more than the %" PRIu64 " bytes that it may take", memory->limit);
		return false;
	}
	while (peak < used && !atomic_compare_exchange_weak(&memory->peak, &peak, used))
		;
	return true;
}

static void *charged(struct tp_memory *memory, void *ptr, size_t nbytes)
{
	if (!ptr)
		atomic_fetch_sub(&memory->used, nbytes);
	return ptr;
}

void *tp_memory_get(struct tp_memory *memory, size_t nr, size_t size)
{
	size_t nbytes = nr * size;

	if (nr > SIZE_MAX / size) {
		tp_fail(THINP_ENOMEM, THINP_NO_BLOCK, "%zu objects are more than memory can hold", nr);
		return NULL;
	}
	return charge(memory, nbytes) ? charged(memory, tp_alloc_zeroed(&memory->allocator, nr, size), nbytes) : NULL;
}

void *tp_memory_get_blocks(struct tp_memory *memory, size_t nr)
{
	size_t nbytes = nr * THINP_BLOCK_SIZE;
	void *ptr;

	if (!charge(memory, nbytes))
		return NULL;
	ptr = memory->allocator.alloc(memory->allocator.ctx, nbytes, THINP_BLOCK_SIZE);
	if (!ptr)
		tp_fail(THINP_ENOMEM, THINP_NO_BLOCK, "no memory for %zu bytes", nbytes);
	return charged(memory, ptr, nbytes);
}

void tp_memory_put(struct tp_memory *memory, void *ptr, size_t nr, size_t size)
{
	if (!ptr)
		return;
	tp_free(&memory->allocator, ptr, nr * size);
	atomic_fetch_sub(&memory->used, nr * size);
}

bool tp_memory_grow(struct tp_memory *memory, void **array, size_t nr, size_t nr_more, size_t *room, size_t size)
{
	size_t more = *room ? 2 * *room : FIRST_ROOM;
	void *grown;

	if (nr_more <= *room - nr)
		return true;
	if (nr_more > more - nr)
		more = nr + nr_more;
	grown = tp_memory_get(memory, more, size);
	if (!grown)
		return false;
	if (nr)
		memcpy(grown, *array, nr * size);
	tp_memory_put(memory, *array, *room, size);
	*array = grown;
	*room = more;
	return true;
}
