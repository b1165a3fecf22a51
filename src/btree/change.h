/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/change.h - nodes that are being changed: new ones, and shadows whose references are counted.
 *
 * None of these functions but tp_btree_failed() marks the transaction as failed: whoever calls them knows whether anything
 * was changed before.
 */
#ifndef TP_BTREE_CHANGE_H
#define TP_BTREE_CHANGE_H

#include "btree/edit.h"
#include "btree/node.h"

#include <thinp/transaction.h>

/* A node that may be written: locked until tp_btree_end(). All zero: none. */
struct tp_btree_frame {
	thinp_block_t block;
	struct thinp_buffer *buffer;
	uint8_t *node;
};

/* What a parent points to must be a block of the metadata. */
TP_MUST_USE int tp_btree_check_address(struct thinp_tm *tm, const struct tp_btree_child *child);

/* Shadows a node: what its parent promises of it is checked. When the original lives on, the copy's references are
 * counted: children of an internal node and roots in leaves of upper levels by thinp_tm_inc(), in ascending runs; values
 * by type->inc(). The caller writes frame->block where child->block stood. */
TP_MUST_USE int tp_btree_shadow(struct thinp_tm *tm, const struct thinp_btree_type *type,
				const struct tp_btree_child *child, uint32_t cause, struct tp_btree_frame *frame);

/* Makes an empty node. flags: TP_NODE_LEAF or TP_NODE_INTERNAL. */
TP_MUST_USE int tp_btree_new_node(struct thinp_tm *tm, uint32_t flags, uint32_t value_size, uint32_t cause,
				  struct tp_btree_frame *frame);

/* Makes an empty node of the same kind, capacity and value size as another. */
TP_MUST_USE int tp_btree_new_node_like(struct thinp_tm *tm, const void *like, uint32_t cause,
				       struct tp_btree_frame *frame);

/* Ends the change of a node. Does nothing for a frame that holds none; afterwards it holds none. */
void tp_btree_end(struct thinp_tm *tm, struct tp_btree_frame *frame);

/* Marks the transaction as failed, unless nothing was changed since it had this generation. Returns the code. */
int tp_btree_failed(struct thinp_tm *tm, uint64_t before, int code);

/* Counts one more owner of all that a node of this level points to. */
TP_MUST_USE int tp_btree_inc_content(struct thinp_tm *tm, const struct thinp_btree_type *type, uint32_t level,
				     const void *node, thinp_block_t block);

/* Values of the last level have one owner less. */
TP_MUST_USE int tp_btree_dec_values(const struct thinp_btree_type *type, const void *values_le, size_t nr_values);

/* The same for one that gives way to another, unless both stand for the same thing. */
TP_MUST_USE static inline int tp_btree_dec_replaced(const struct thinp_btree_type *type, const void *old_le,
						    const void *new_le)
{
	if (!type->dec || (type->equal && type->equal(type->ctx, old_le, new_le)))
		return 0;
	return type->dec(type->ctx, old_le, 1);
}

/* What recording the counts of so many values may take, when they may get an owner, and when they only lose one. */
static inline uint64_t tp_btree_cost_of_inc(const struct thinp_btree_type *type, uint64_t nr_values)
{
	size_t nr = nr_values < SIZE_MAX ? (size_t)nr_values : SIZE_MAX;

	return type->cost && nr ? type->cost(type->ctx, nr) : 0;
}

static inline uint64_t tp_btree_cost_of_dec(const struct thinp_btree_type *type, uint64_t nr_values)
{
	size_t nr = nr_values < SIZE_MAX ? (size_t)nr_values : SIZE_MAX;

	if (!type->dec || !nr)
		return 0;
	return type->cost_of_dec ? type->cost_of_dec(type->ctx, nr) : tp_btree_cost_of_inc(type, nr);
}

#endif
