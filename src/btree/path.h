/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/path.h - the way from a root to a leaf, and from leaf to leaf.
 *
 * A nested tree is treated as one tree: a leaf of an upper level is a node whose children are the roots of the level
 * below. A path remembers a frame for each node on the way; it holds no buffer, only numbers, and ends in a copy of the
 * leaf. So it stays usable whatever the block cache does, and no section is open between calls.
 */
#ifndef TP_BTREE_PATH_H
#define TP_BTREE_PATH_H

#include "btree/node.h"

#include <stdalign.h>

#define TP_PATH_MAX_FRAMES ((size_t)THINP_BTREE_MAX_LEVELS * THINP_BTREE_MAX_DEPTH)
#define TP_PATH_PREFETCH   64u /* children fetched ahead */

/* Are the entries of a leaf known to the one who walks? Then its first and its last key are given. */
typedef bool (*tp_path_known_fn)(void *ctx, thinp_block_t leaf, uint64_t *first, uint64_t *last);

struct tp_path_frame {
	struct tp_btree_child at;
	uint64_t last; /* no key of the node is larger */
	uint32_t index;
	uint32_t nr_entries;
	bool is_leaf;           /* of an upper level: its children are roots */
	uint32_t fetched_until; /* children before this one have been fetched ahead */
};

struct tp_path {
	struct thinp_reader *reader;
	struct thinp_btree_type type;
	thinp_block_t root;
	bool prefetch;          /* fetch children ahead: for walks */
	uint64_t prefetch_last; /* but none whose keys are all larger; only in trees of one level */
	tp_path_known_fn known; /* leaves that need not be read; NULL: all are. Only in trees of one level */
	void *known_ctx;
	size_t nr_frames; /* without the leaf */
	struct tp_path_frame frames[TP_PATH_MAX_FRAMES];
	uint32_t leaf_depth[THINP_BTREE_MAX_LEVELS]; /* of the tree that the path is in; 0: not known yet, else + 1 */
	uint64_t keys[THINP_BTREE_MAX_LEVELS];       /* of the upper levels */
	struct tp_btree_child leaf_at;
	uint64_t leaf_last;  /* no key that belongs to the leaf is larger */
	bool is_known;       /* the leaf was not read */
	uint32_t nr_entries; /* of the leaf; 0 if it was not read */
	alignas(64) uint8_t leaf[THINP_BLOCK_SIZE];
};

void tp_path_init(struct tp_path *path, struct thinp_reader *reader, const struct thinp_btree_type *type,
		  thinp_block_t root);

/* Goes to the leaf where keys belong; *index is the place in it, which is nr_entries when all its keys are smaller. */
int tp_path_seek(struct tp_path *path, const uint64_t *keys, uint32_t *index);

/* Goes to the first or the last leaf; it may be empty. */
int tp_path_first(struct tp_path *path);
int tp_path_last(struct tp_path *path);

/* Goes to the next leaf, or the one before. It may be empty. THINP_ENODATA when there is none; then, as after any other
 * failure, the path is nowhere. */
int tp_path_next_leaf(struct tp_path *path);
int tp_path_prev_leaf(struct tp_path *path);

#endif
