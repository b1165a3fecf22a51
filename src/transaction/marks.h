/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transaction/marks.h - which blocks may be changed in place: a set of addresses, each with its buffer in the cache.
 *
 * Asked whenever a block is shadowed, so it is a table of our own, with open addressing and the hash in one multiplication:
 * a block is found in one cache line.
 */
#ifndef TP_TRANSACTION_MARKS_H
#define TP_TRANSACTION_MARKS_H

#include <thinp/allocator.h>
#include <thinp/block.h>

#define TP_MARKS_SMALL_BITS 6u
#define TP_MARKS_SMALL      (1u << TP_MARKS_SMALL_BITS)

struct tp_mark {
	thinp_block_t block;         /* THINP_NO_BLOCK: the place is free */
	struct thinp_buffer *buffer; /* the last one that it was in; it may have left it */
	uint8_t *data;               /* of this buffer, so that nobody has to wait for the one to find the other */
};

struct tp_marks {
	struct thinp_allocator allocator;
	struct tp_mark *table;
	unsigned int bits; /* the table has 2^bits places, at least half as many more as marks */
	size_t nr;
	struct tp_mark small[TP_MARKS_SMALL]; /* the first table */
};

void tp_marks_init(struct tp_marks *marks, const struct thinp_allocator *allocator);
void tp_marks_exit(struct tp_marks *marks);

static inline size_t tp_marks_home(const struct tp_marks *marks, thinp_block_t block)
{
	return (block * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - marks->bits);
}

static inline size_t tp_marks_next(const struct tp_marks *marks, size_t place)
{
	return (place + 1) & (((size_t)1 << marks->bits) - 1);
}

/* The mark of a block, or NULL. */
static inline struct tp_mark *tp_marks_find(struct tp_marks *marks, thinp_block_t block)
{
	for (size_t place = tp_marks_home(marks, block);; place = tp_marks_next(marks, place)) {
		struct tp_mark *mark = &marks->table[place];

		if (mark->block == block)
			return block == THINP_NO_BLOCK ? NULL : mark;
		if (mark->block == THINP_NO_BLOCK)
			return NULL;
	}
}

/* Makes room for one more. THINP_ENOMEM: nothing has changed. */
int tp_marks_make_room(struct tp_marks *marks);

/* Marks a block; there must be room. */
void tp_marks_add(struct tp_marks *marks, thinp_block_t block, struct thinp_buffer *buffer, void *data);

/* Takes away the marks of some neighbouring blocks, and tells of each that had one. Takes time for the range or for the
 * marks, whichever is less. */
void tp_marks_remove(struct tp_marks *marks, thinp_block_t first, uint64_t nr_blocks,
		     void (*gone)(void *ctx, thinp_block_t block), void *ctx);

/* Takes away all. */
void tp_marks_clear(struct tp_marks *marks);

#endif
