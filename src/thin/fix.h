/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/fix.h - for libthinp-check: putting right in a transaction what a check of the last commit found to be wrong.
 *
 * None of them ever makes a count lower than the check found references, so what is not known to be leaked stays.
 */
#ifndef TP_THIN_FIX_H
#define TP_THIN_FIX_H

#include "base/private.h"

#include <thinp/pool.h>

/* Has the pool been opened for changes, with no transaction open? THINP_EROFS, THINP_EBUSY. */
TP_PRIVATE_API int tp_pool_check_idle(const struct thinp_pool *pool);

/* What the superblock says of blocks in use is wrong. The first change of a transaction. */
TP_PRIVATE_API int tp_pool_set_nr_used(struct thinp_pool *pool, int space, uint64_t nr_used);

/* A bitmap, or what the index says of it, is wrong, though counts are right. THINP_ENOSPC: nothing was changed. */
TP_PRIVATE_API int tp_pool_write_bitmap(struct thinp_pool *pool, int space, uint64_t bitmap);

/* Counts of neighbours are too high. THINP_ENOSPC, or THINP_EREFCOUNT when they are not `from`: nothing was changed. */
TP_PRIVATE_API int tp_pool_lower_counts(struct thinp_pool *pool, int space, uint64_t first, uint64_t nr_blocks,
					uint32_t from, uint32_t to);

/* A device has another number of mappings than it says. THINP_ENOSPC: nothing was changed. */
TP_PRIVATE_API int tp_pool_set_mapped_blocks(struct thinp_pool *pool, uint64_t dev_id, uint64_t mapped_blocks);

#endif
