/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/range.h - a range of keys that is being removed.
 */
#ifndef TP_BTREE_RANGE_H
#define TP_BTREE_RANGE_H

#include "btree/descent.h"
#include "btree/drop.h"
#include "btree/path.h"
#include "btree/remove_leaf.h"

struct tp_range {
	struct thinp_tm *tm;
	const struct thinp_btree_type *type;
	const uint64_t *upper_keys;
	uint64_t first; /* in the tree of the last level, to which everything below refers */
	uint64_t last;
	uint32_t max_leaves;
	bool has_left;
	bool has_right;
	uint64_t left;
	uint64_t right;

	bool is_one_leaf;
	struct tp_leaf_part part; /* then */

	uint64_t nr_blocks; /* the most the change may take */
	uint64_t nr_values; /* the most values that go */
	uint64_t nr_copied; /* the most values that get an owner, when leaves that others share are copied */
	bool is_shared;     /* others own a node on the way, or a neighbour of one */
	bool is_known;      /* and no other node can be copied */
	uint64_t nr_raised; /* the most children that get an owner more */
	uint32_t rounds;    /* how often nodes above leaves may still be evened out */
	uint32_t leaf_rounds;

	uint64_t nr_removed;
	struct tp_descent descent;
	struct tp_btree_child top; /* root of the tree, as it is now */
	union {
		struct tp_path path; /* before the change */
		struct tp_drop drop; /* in it */
	};
	alignas(64) uint8_t node[THINP_BLOCK_SIZE]; /* as it was before it was cut */
};

/* Finds out what there is to remove, and what that may take; changes nothing. *found false: nothing. */
TP_MUST_USE int tp_range_survey(struct tp_range *range, thinp_block_t root, bool *found);

/* Is there room for it? */
TP_MUST_USE int tp_range_reserve(const struct tp_range *range);

#endif
