/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/prune.h - taking a tree that is to go apart, bit by bit.
 */
#ifndef TP_BTREE_PRUNE_H
#define TP_BTREE_PRUNE_H

#include "btree/change.h"

/* What has been taken away. */
struct tp_pruned {
	uint64_t nr_entries;
	bool is_empty; /* nothing is left */
};

/* Takes the first leaf out of a tree of the last level, or something before it that others own, too, as a whole. Gives no
 * owner to anything below the tree's root, which nobody else may own. Uses what is kept back for changes that free space.
 * upper_keys: of the tree. THINP_ENOSPC: nothing was changed; so it is with other failures unless they mark the
 * transaction. */
TP_MUST_USE int tp_btree_prune(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
			       const uint64_t *upper_keys, thinp_block_t *new_root, struct tp_pruned *pruned);

#endif
