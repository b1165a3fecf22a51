/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Memory from the caller: the table of functions that a handle takes its memory from.
 */
#ifndef THINP_ALLOCATOR_H
#define THINP_ALLOCATOR_H

#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Where memory comes from. It belongs to one handle, never to the process, must outlive the handle, and is called
 *  from every thread that uses the handle. Wherever one can be given, NULL means the C library's allocator. */
struct thinp_allocator {
	size_t size; /**< sizeof(struct thinp_allocator), set by the caller */
	void *ctx;   /**< handed to both functions */
	/** Give @p nbytes bytes (never 0) aligned to @p align (a power of two), or NULL. */
	void *(*alloc)(void *ctx, size_t nbytes, size_t align);
	/** Take back @p ptr (never NULL), which alloc() gave for @p nbytes bytes. */
	void (*free)(void *ctx, void *ptr, size_t nbytes);
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_allocator) == 32, "published layout, version 1");

#ifdef __cplusplus
}
#endif
#endif
