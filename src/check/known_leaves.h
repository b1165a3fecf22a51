/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/known_leaves.h - leaves that a dump has met, for the next device that has them, too.
 *
 * Of a leaf it takes the first run and the last one, which neighbours may go on with, and the text of those between them. Leaves
 * have places in a table, by their block numbers: one that takes another's place costs a second look and nothing else. Texts
 * are kept as long as there is room, so that devices that are gone through one after the other do not drive out each time what
 * the next one begins with.
 */
#ifndef TP_CHECK_KNOWN_LEAVES_H
#define TP_CHECK_KNOWN_LEAVES_H

#include <thinp/pool.h>

enum { TP_KNOWN_LEAVES_MOST = 32768, TP_KNOWN_LEAVES_CHUNK = 1 << 16, TP_KNOWN_LEAVES_NR_CHUNKS = 256 };

struct tp_known_leaf {
	thinp_block_t leaf;
	struct thinp_run first, last; /* may be the same */
	const char *text;
	uint32_t text_len;
	uint32_t nr_blocks; /* of all its runs */
	bool has_several;   /* runs */
	bool is_complete;   /* it is known; else the place is empty, or the text is not there */
};

struct tp_known_leaves {
	struct thinp_allocator allocator;
	size_t nr_places;
	struct tp_known_leaf *places;
	size_t nr_chunks, used; /* of the last chunk */
	char *chunks[TP_KNOWN_LEAVES_NR_CHUNKS];
};

/* For the blocks of a pool. What is all zero can be destroyed, too. */
int tp_known_leaves_create(struct tp_known_leaves *known, const struct thinp_allocator *allocator, uint64_t nr_blocks);
void tp_known_leaves_destroy(struct tp_known_leaves *known);

/* The place of a leaf, which may be another's. */
struct tp_known_leaf *tp_known_leaves_place(const struct tp_known_leaves *known, thinp_block_t leaf);

/* Makes a place that of a leaf, which is complete when there is nothing between its first run and its last. */
void tp_known_leaf_set(struct tp_known_leaf *place, thinp_block_t leaf, const struct thinp_run *runs, size_t nr_runs);

/* Gives it the text of what is between; when there is no room for more, it stays incomplete. THINP_ENOMEM. */
int tp_known_leaves_keep(struct tp_known_leaves *known, struct tp_known_leaf *place, const char *text, size_t len);

#endif
