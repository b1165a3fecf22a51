/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/shortcut.h - from a root straight to the leaf of a key.
 *
 * The nodes above the leaves, as one sorted array: where each leaf begins, with pivots above it as an outline has them. It
 * is made once a tree has been looked up in so often that this pays, from nodes that the cache has, and attached to the
 * root's block. What a commit shows does not change, so it holds for all who look at that root.
 *
 *   pivots   every 256th   k0 .................................
 *            every 16th    k0              k16             k32
 *            all           k0 k1 k2 ...    k16 k17 ...     k32     where leaves begin, or gaps between them
 *   leaves                 a  b  c         ...
 *
 * A look-up that goes by it ends as the plain way does. What the plain way checks above the leaves was checked when it was
 * made; where anything is not as it should be, there is none. A gap is where a parent says that a node begins and the node
 * itself says later: keys in there, and all that is not well with a leaf, are left to the plain way.
 */
#ifndef TP_BTREE_SHORTCUT_H
#define TP_BTREE_SHORTCUT_H

#include "btree/search.h"

#define TP_SHORTCUT_MAX_ROWS   5u
#define TP_SHORTCUT_MAX_LEAVES ((size_t)1 << 20) /* five rows of sixteen times as many each */
static_assert(TP_OUTLINE_PIVOTS == 16, "this often");

struct tp_shortcut_leaf {
	thinp_block_t block;                   /* 0: a gap */
	_Atomic(struct thinp_buffer *) buffer; /* where it was found last, or NULL */
};

struct tp_shortcut {
	struct tp_attachment attachment;
	uint64_t nr_blocks; /* no address in it is as high */
	uint32_t depth;     /* of the leaves */
	uint32_t nr_rows;
	uint64_t *firsts;                     /* the bottom row */
	uint64_t *rows[TP_SHORTCUT_MAX_ROWS]; /* from the top; each filled up to whole groups with UINT64_MAX */
	struct tp_shortcut_leaf *leaves;
};

/* That of a root, or NULL. Within an epoch. */
static inline const struct tp_shortcut *tp_shortcut_of(const struct thinp_reader *reader, thinp_block_t root)
{
	struct tp_attachment *attachment =
		tp_reader_is_stale(reader) ? NULL : tp_attachment_of(&reader->bm->cache.attachments, root);
	const struct tp_shortcut *shortcut = (const struct tp_shortcut *)attachment;

	if (!attachment || shortcut->nr_blocks > reader->nr_blocks)
		return NULL;
	tp_buffer_note_use(attachment->buffer);
	return shortcut;
}

/* The leaf, or the gap, that a key belongs to, and where that begins; NULL: that is for the plain way to tell. */
static inline struct tp_shortcut_leaf *tp_shortcut_find(const struct tp_shortcut *shortcut, uint64_t key,
							uint64_t *first)
{
	size_t index = 0;
	uint32_t row = 0;

	if (key == UINT64_MAX)
		return NULL; /* as what the rows are filled up with */
	do
		index = TP_OUTLINE_PIVOTS * index +
			tp_outline_pivot(shortcut->rows[row] + TP_OUTLINE_PIVOTS * index, key);
	while (++row < shortcut->nr_rows);
	*first = shortcut->firsts[index];
	return &shortcut->leaves[index];
}

/* Ways down from this root have been gone without one, and came to leaves at this depth, which is not 0. To be called for one
 * of several ways, see tp_read_is_sample(). Outside of a section. */
void tp_shortcut_wish(struct thinp_reader *reader, thinp_block_t root, uint32_t depth);

#endif
