/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/runs.h - for libthinp-check: the mappings of a device, leaf by leaf, without the leaves that are known from other devices.
 */
#ifndef TP_THIN_RUNS_H
#define TP_THIN_RUNS_H

#include "base/private.h"

#include <thinp/pool.h>

/* Is a leaf known? Then its first and its last virtual block are given. */
typedef bool (*tp_leaf_known_fn)(void *ctx, thinp_block_t leaf, uint64_t *first, uint64_t *last);

/* Receives a leaf: its mappings as longest runs, at least one, which those of the next leaf may go on with; or, when it is known,
 * NULL and 0. */
typedef int (*tp_leaf_fn)(void *ctx, thinp_block_t leaf, const struct thinp_run *runs, size_t nr_runs);

/* Visits the leaves of a device. Known ones are not read; what their parents promise is checked all the same. */
TP_PRIVATE_API int tp_pool_walk_leaves(struct thinp_pool *pool, uint64_t dev_id, tp_leaf_known_fn known, tp_leaf_fn fn,
				       void *ctx);

/* Does a run go on where the other one ends? */
static inline bool tp_run_continues(const struct thinp_run *run, const struct thinp_run *next)
{
	return next->virtual_begin - run->virtual_begin == run->length &&
	       next->data_begin - run->data_begin == run->length && next->time == run->time;
}

#endif
