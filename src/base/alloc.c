/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/alloc.c - memory through the caller's table, or from libc.
 */
#include "base/alloc.h"

#include "base/error.h"
#include "base/opts.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

static void *libc_alloc(void *ctx, size_t nbytes, size_t align)
{
	(void)ctx;
	if (align <= alignof(max_align_t))
		return malloc(nbytes);
	/* aligned_alloc wants a multiple of the alignment */
	return nbytes > SIZE_MAX - align ? NULL : aligned_alloc(align, (nbytes + align - 1) & ~(align - 1));
}

static void libc_free(void *ctx, void *ptr, size_t nbytes)
{
	(void)ctx;
	(void)nbytes;
	free(ptr);
}

const struct thinp_allocator tp_libc_allocator = {
	.size = sizeof(struct thinp_allocator),
	.alloc = libc_alloc,
	.free = libc_free,
};

int tp_allocator_take(struct thinp_allocator *dst, const struct thinp_allocator *src)
{
	int r = tp_opts_take(dst, sizeof(*dst), src ? src : &tp_libc_allocator);

	if (!r && (!dst->alloc || !dst->free))
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "an allocator needs both functions");
	return r;
}

void *tp_alloc_aligned(const struct thinp_allocator *allocator, size_t nbytes, size_t align)
{
	void *ptr = allocator->alloc(allocator->ctx, nbytes, align);

	if (!ptr)
		tp_fail(THINP_ENOMEM, THINP_NO_BLOCK, "no memory for %zu bytes", nbytes);
	return ptr;
}

void *tp_alloc_zeroed(const struct thinp_allocator *allocator, size_t nr, size_t size)
{
	void *ptr;

	if (size && nr > SIZE_MAX / size) {
		tp_fail(THINP_ENOMEM, THINP_NO_BLOCK, "%zu objects of %zu bytes are more than memory can hold", nr,
			size);
		return NULL;
	}
	ptr = tp_alloc_aligned(allocator, nr * size, alignof(max_align_t));
	if (ptr)
		memset(ptr, 0, nr * size);
	return ptr;
}

void tp_free(const struct thinp_allocator *allocator, void *ptr, size_t nbytes)
{
	if (ptr)
		allocator->free(allocator->ctx, ptr, nbytes);
}
