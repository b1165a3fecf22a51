/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/runs.h - for libthinp-check: the mappings of many devices as runs, one device after the other.
 *
 * Devices share leaves, and most of what is shared for long are leaves that one run fills. These are remembered, in a table of
 * fixed size with one place for each block number modulo that size: a leaf that takes another's place costs a second look
 * and nothing else.
 */
#ifndef TP_THIN_RUNS_H
#define TP_THIN_RUNS_H

#include "base/private.h"

#include <thinp/pool.h>

struct tp_leaf_run {
	thinp_block_t leaf;
	struct thinp_run run; /* length 0: the place is empty */
};

struct tp_leaf_runs {
	struct thinp_allocator allocator;
	size_t nr_places;
	struct tp_leaf_run *places;
};

TP_PRIVATE_API int tp_pool_leaf_runs_create(const struct thinp_pool *pool, const struct thinp_allocator *allocator,
					    struct tp_leaf_runs *known);
TP_PRIVATE_API void tp_pool_leaf_runs_destroy(struct tp_leaf_runs *known);

/* As thinp_pool_walk_runs() over the whole device. The pool must not be changed from one call to the next. */
TP_PRIVATE_API int tp_pool_walk_unknown_runs(struct thinp_pool *pool, uint64_t dev_id, struct tp_leaf_runs *known,
					     thinp_pool_run_fn fn, void *ctx);

#endif
