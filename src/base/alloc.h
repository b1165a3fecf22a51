/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/alloc.h - memory through the caller's table, or from libc.
 */
#ifndef TP_BASE_ALLOC_H
#define TP_BASE_ALLOC_H

#include "base/private.h"

#include <thinp/allocator.h>

/* libc's allocator as a table. */
extern const struct thinp_allocator tp_libc_allocator;

/* Reads the caller's table of any version into ours; NULL gives libc. THINP_EINVAL when a function is missing,
 * THINP_ENOTSUP when the table asks for something newer. */
TP_PRIVATE_API int tp_allocator_take(struct thinp_allocator *dst, const struct thinp_allocator *src);

/* nr * size bytes (neither is 0), zeroed, aligned for any object. NULL when there is no memory or the product overflows; the detail
 * record is then written. */
TP_PRIVATE_API void *tp_alloc_zeroed(const struct thinp_allocator *allocator, size_t nr, size_t size);

/* nbytes bytes aligned to align, not zeroed. NULL as above. */
void *tp_alloc_aligned(const struct thinp_allocator *allocator, size_t nbytes, size_t align);

/* Gives back what one of the two gave; ptr may be NULL. */
TP_PRIVATE_API void tp_free(const struct thinp_allocator *allocator, void *ptr, size_t nbytes);

#endif
