/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/drop.h - dropping references to trees and parts of trees, and what dies with the last one.
 */
#ifndef TP_BTREE_DROP_H
#define TP_BTREE_DROP_H

#include "btree/change.h"
#include "btree/path.h"

/* A node whose children are being dropped, one after the other. */
struct tp_drop_frame {
	struct tp_btree_child at;
	uint64_t last; /* no key of the node is larger */
	uint32_t index;
	uint32_t nr_entries;
	uint32_t fetched_until; /* children before this one have been fetched ahead */
	bool is_leaf;           /* of an upper level: its children are roots */
	bool is_kept;           /* others own it: its entries are counted, and nothing is dropped */
};

/* Neighbouring blocks that have lost a reference, which the counts do not know yet. */
struct tp_drop_run {
	thinp_block_t first;
	uint64_t nr;
};

struct tp_drop {
	struct thinp_tm *tm;
	const struct thinp_btree_type *type;
	bool is_counting;    /* shared parts are read, too, to count their entries */
	uint64_t nr_entries; /* of the last level, that are gone */
	bool has_begun;      /* something has been changed */
	struct tp_drop_run run;
	uint32_t leaf_depth[THINP_BTREE_MAX_LEVELS]; /* of the tree of that level; 0: not known yet, else + 1 */
	size_t nr_frames;
	struct tp_drop_frame frames[TP_PATH_MAX_FRAMES];
	alignas(64) uint8_t leaf[THINP_BLOCK_SIZE];
};

void tp_drop_init(struct tp_drop *drop, struct thinp_tm *tm, const struct thinp_btree_type *type, bool is_counting);

/* Drops a reference to a node and, if it was the last one, what is below it: values before their leaf, children before
 * their parent. Nothing is copied or written. last: no key of the node is larger. */
TP_MUST_USE int tp_drop_node(struct tp_drop *drop, const struct tp_btree_child *at, uint64_t last);

/* Tells the counts what they do not know yet. */
TP_MUST_USE int tp_drop_finish(struct tp_drop *drop);

#endif
