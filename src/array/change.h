/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * array/change.h - what all changes of arrays share: the tree over the blocks of values, and blocks that may be written.
 *
 * A function that fails half way leaves it to the call that began the change to mark the transaction: tp_array_end().
 */
#ifndef TP_ARRAY_CHANGE_H
#define TP_ARRAY_CHANGE_H

#include "array/values.h"

#include <thinp/btree.h>

struct tp_array_change {
	struct thinp_tm *tm;
	struct thinp_array_type type;
	uint32_t per_block;
	uint64_t generation; /* of the transaction, before the change */
	uint32_t depth;      /* of the tree */
	bool is_in_place;    /* the block looked at, and all nodes on the way to it, may be changed where they are */
	struct thinp_btree_type tree;  /* an entry that goes drops its block of values */
	struct thinp_btree_type place; /* an address gives way to another that has taken over its reference */
};

/* A block of values that may be written. */
struct tp_array_block {
	uint64_t number;
	thinp_block_t in_tree; /* where the tree has it */
	thinp_block_t block;
	struct thinp_buffer *buffer;
	uint8_t *data;
	uint32_t nr_values;
};

/* The types of the tree point into the change, which must stay where it is. */
TP_MUST_USE int tp_array_change_begin(struct tp_array_change *change, struct thinp_tm *tm,
				      const struct thinp_array_type *type);

/* What a change that ends with r returns: when it failed half way, the transaction can only be aborted. */
int tp_array_end(struct tp_array_change *change, int r);

/* Address and length of a block, which is checked; the way to it is looked at. THINP_ENODATA: the array has no such
 * block. */
TP_MUST_USE int tp_array_look(struct tp_array_change *change, thinp_block_t root, uint64_t number, thinp_block_t *block,
			      uint32_t *nr_values);

/* Looks only at the nodes on the way to a block of values, or, when there is none of that number, to its place. */
TP_MUST_USE int tp_array_look_at_way(struct tp_array_change *change, thinp_block_t root, uint64_t number);

/* Asks for what changing the block looked at, making nr_new more, and nr_values counts may take. */
TP_MUST_USE int tp_array_reserve(struct tp_array_change *change, uint64_t nr_new, size_t nr_values, uint32_t flags);

/* Makes a block one that may be written, and the way to it: the values of a copy are counted. tp_array_look() was the last
 * to look, and found it at `at`. *root is moved as soon as the tree changes. */
TP_MUST_USE int tp_array_block_own(struct tp_array_change *change, thinp_block_t *root, uint64_t number,
				   thinp_block_t at, struct tp_array_block *block);

/* Ends the change of a block: its length is written, and its new address put into the tree. r: how it went; returned
 * unless it is 0. */
TP_MUST_USE int tp_array_block_end(struct tp_array_change *change, thinp_block_t *root, struct tp_array_block *block,
				   int r);

/* Value i of a block. */
static inline uint8_t *tp_array_value(const struct tp_array_change *change, const struct tp_array_block *block,
				      uint32_t i)
{
	return block->data + TP_ARRAY_HEADER_SIZE + (size_t)i * change->type.value_size;
}

/* Values have one owner more, or less. */
TP_MUST_USE int tp_array_inc(const struct tp_array_change *change, const void *values_le, size_t nr_values);
TP_MUST_USE int tp_array_dec(const struct tp_array_change *change, const void *values_le, size_t nr_values);

#endif
