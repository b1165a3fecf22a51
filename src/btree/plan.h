/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/plan.h - sorted entries to be inserted together, and the most that this may take.
 */
#ifndef TP_BTREE_PLAN_H
#define TP_BTREE_PLAN_H

#include "btree/change.h"

/* Sorted entries; of equal neighbours the last one counts. */
struct tp_batch {
	const struct thinp_btree_type *type;
	const uint64_t *keys; /* nr_levels for each entry */
	const uint8_t *values_le;
	size_t nr;
};

static inline const uint64_t *tp_batch_keys(const struct tp_batch *batch, size_t i)
{
	return batch->keys + i * batch->type->nr_levels;
}

/* The key in the last level. */
static inline uint64_t tp_batch_key(const struct tp_batch *batch, size_t i)
{
	return batch->keys[(i + 1) * batch->type->nr_levels - 1];
}

static inline const uint8_t *tp_batch_value(const struct tp_batch *batch, size_t i)
{
	return batch->values_le + i * batch->type->value_size;
}

/* THINP_EINVAL unless the entries ascend. */
TP_MUST_USE int tp_batch_check(const struct tp_batch *batch);

/* The end of the entries from i on that go into the same tree of the last level. */
size_t tp_batch_end_of_tree(const struct tp_batch *batch, size_t i);

/* The end of the entries from i on, before `end`, whose keys are not larger than the last one. */
size_t tp_batch_end_of_range(const struct tp_batch *batch, size_t i, size_t end, uint64_t last);

/* Looks at all nodes that the entries will change. *nr_blocks: the most blocks that it may take; *nr_values: the most
 * values whose counts may change. */
TP_MUST_USE int tp_plan(struct thinp_tm *tm, const struct tp_batch *batch, thinp_block_t root, uint64_t *nr_blocks,
			uint64_t *nr_values);

#endif
