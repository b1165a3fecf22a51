/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/walk.h - walks over trees that share leaves.
 */
#ifndef TP_BTREE_WALK_H
#define TP_BTREE_WALK_H

#include "btree/path.h"

/* As thinp_btree_walk() over a tree of one level, without reading leaves whose entries are known: the span of such a leaf has no
 * entries, no keys and no values, only its block. All that the parents promise of a leaf is checked all the same. */
TP_MUST_USE int tp_btree_walk_unknown(struct thinp_reader *reader, const struct thinp_btree_type *type,
				      thinp_block_t root, tp_path_known_fn known, thinp_btree_span_fn fn, void *ctx);

#endif
