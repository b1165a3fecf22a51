/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * alloc/table.h - reading the table of functions that gives blocks.
 */
#ifndef TP_ALLOC_TABLE_H
#define TP_ALLOC_TABLE_H

#include <thinp/alloc.h>

/* Reads a caller's table of any version into ours. All functions must be there: who cannot keep blocks back still has to
 * say so by answering reserve. THINP_EINVAL when one is missing, THINP_ENOTSUP when the table asks for something newer. */
int tp_alloc_table_take(struct thinp_alloc *dst, const struct thinp_alloc *src);

#endif
