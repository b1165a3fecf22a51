/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/look.h - the look before a change: is all sound on the way to a key, and what may the change take?
 */
#ifndef TP_BTREE_LOOK_H
#define TP_BTREE_LOOK_H

#include "btree/change.h"

#define TP_LOOK_MOST_CHILDREN 256u /* of a node, whoever made it */

/* What the way to a key is like. */
struct tp_look {
	thinp_block_t *path;   /* set by the caller: gets the addresses of the nodes; NULL: they are not wanted */
	uint64_t nr_blocks;    /* the most blocks that inserting the key may take */
	uint64_t nr_raised;    /* children that get an owner more, in that way; what this takes is in nr_blocks */
	uint32_t nr_nodes;     /* on the way */
	uint32_t nr_in_place;  /* of these, from the root on, that may be written where they are */
	uint32_t first_shared; /* the first that others own, too, and so all that follow; nr_nodes: none */
	uint32_t nr_full;      /* of these, nodes that have no room for a new entry */
	uint32_t nr_missing;   /* trees that are not there yet */
	bool is_lowered;       /* the key is smaller than the keys of some node above a leaf */
	struct tp_btree_child leaf_at; /* the last leaf; all below is for it */
	uint64_t leaf_last;            /* no key that belongs to it is larger */
	uint32_t nr_entries;
	uint32_t leaf_capacity;
	uint32_t least_capacity; /* of internal nodes, if there are any */
	uint32_t index;          /* the place of the key */
	bool is_found;
};

/* Goes down to the leaf of a key; checks all nodes that inserting it will change. Nothing is changed. */
TP_MUST_USE int tp_look(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
			const uint64_t *keys, struct tp_look *look);

#endif
