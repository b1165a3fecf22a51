/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/opts.h - option structs and result structs that grow from version to version.
 */
#ifndef TP_BASE_OPTS_H
#define TP_BASE_OPTS_H

#include "base/private.h"

#include <stddef.h>

/* Reads a caller's struct of any version. Its first field is its size in bytes. Copies what both sides know, zeroes
 * what the caller's lacks, sets the size field of dst to dst_size. src NULL: all zero. THINP_EINVAL for a size of
 * less than the size field itself, THINP_ENOTSUP when bytes that this version does not know are not all zero. */
TP_PRIVATE_API int tp_opts_take(void *dst, size_t dst_size, const void *src);

/* Fills a caller's struct of any version, whose first field is its size in bytes: copies what both sides know, zeroes
 * what the library lacks, leaves the caller's size field as it is. */
TP_PRIVATE_API void tp_result_give(void *dst, const void *src, size_t src_size);

#endif
