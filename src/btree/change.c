/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/change.c - nodes that are being changed.
 *
 * A copy whose original lives on owns one more reference to everything that the node points to. That is counted before
 * anything else is done with the copy.
 */
#include "btree/change.h"

#include "format/address.h"

/* How many values from i on are neighbouring block numbers in ascending order. */
static uint32_t length_of_run(const void *node, uint32_t i)
{
	uint64_t first = tp_node_value64(node, i);
	uint32_t nr = 1;

	while (i + nr < tp_node_nr_entries(node) && tp_node_value64(node, i + nr) == first + nr)
		nr++;
	return nr;
}

static int inc_blocks(struct thinp_tm *tm, const void *node, thinp_block_t block)
{
	uint64_t nr_blocks = thinp_reader_nr_blocks(thinp_tm_reader(tm));
	uint32_t nr;
	int r = 0;

	for (uint32_t i = 0; !r && i < tp_node_nr_entries(node); i += nr) {
		uint64_t first = tp_node_value64(node, i);

		nr = length_of_run(node, i);
		r = tp_address_check(first, nr_blocks, block, "btree node", "a child");
		if (!r)
			r = tp_address_check(first + nr - 1, nr_blocks, block, "btree node", "a child");
		if (!r)
			r = thinp_tm_inc(tm, first, nr, THINP_CAUSE_SHADOW);
	}
	return r;
}

int tp_btree_inc_content(struct thinp_tm *tm, const struct thinp_btree_type *type, uint32_t level, const void *node,
			 thinp_block_t block)
{
	if (!tp_node_is_leaf(node) || level + 1 < type->nr_levels)
		return inc_blocks(tm, node, block);
	if (!type->inc || !tp_node_nr_entries(node))
		return 0;
	return type->inc(type->ctx, tp_node_values(node), tp_node_nr_entries(node));
}

int tp_btree_check_address(struct thinp_tm *tm, const struct tp_btree_child *child)
{
	if (child->parent == THINP_NO_BLOCK)
		return 0;
	return tp_address_check(child->block, thinp_reader_nr_blocks(thinp_tm_reader(tm)), child->parent, "btree node",
				"a child");
}

static int shadow_block(struct thinp_tm *tm, const struct tp_btree_child *child, uint32_t cause,
			struct tp_btree_frame *frame, bool *inc_children)
{
	void *data;
	int r = tp_btree_check_address(tm, child);

	if (!r)
		r = thinp_tm_shadow_block(tm, child->block, thinp_block_type_node(), cause, &frame->block,
					  &frame->buffer, &data, inc_children);
	if (!r)
		frame->node = data;
	return r;
}

int tp_btree_shadow(struct thinp_tm *tm, const struct thinp_btree_type *type, const struct tp_btree_child *child,
		    uint32_t cause, struct tp_btree_frame *frame)
{
	struct tp_btree_frame shadow;
	bool inc_children;
	int r = shadow_block(tm, child, cause, &shadow, &inc_children);

	if (r)
		return r;
	r = tp_btree_check_node(type, child, shadow.node);
	if (!r && inc_children)
		r = tp_btree_inc_content(tm, type, child->level, shadow.node, child->block);
	if (r) {
		thinp_tm_unlock(tm, shadow.buffer);
		return r;
	}
	*frame = shadow;
	return 0;
}

static int new_block(struct thinp_tm *tm, uint32_t cause, struct tp_btree_frame *frame)
{
	void *data;
	int r = thinp_tm_new_block(tm, thinp_block_type_node(), cause, &frame->block, &frame->buffer, &data);

	if (!r)
		frame->node = data;
	return r;
}

int tp_btree_new_node(struct thinp_tm *tm, uint32_t flags, uint32_t value_size, uint32_t cause,
		      struct tp_btree_frame *frame)
{
	int r = new_block(tm, cause, frame);

	if (!r)
		tp_node_init(frame->node, flags, frame->block, value_size);
	return r;
}

int tp_btree_new_node_like(struct thinp_tm *tm, const void *like, uint32_t cause, struct tp_btree_frame *frame)
{
	int r = new_block(tm, cause, frame);

	if (!r)
		tp_node_init_like(frame->node, like, frame->block);
	return r;
}

void tp_btree_end(struct thinp_tm *tm, struct tp_btree_frame *frame)
{
	if (frame->buffer)
		thinp_tm_unlock(tm, frame->buffer);
	frame->buffer = NULL;
}

int tp_btree_failed(struct thinp_tm *tm, uint64_t before, int code)
{
	return thinp_tm_generation(tm) == before ? code : thinp_tm_poison(tm, code);
}

int tp_btree_dec_values(const struct thinp_btree_type *type, const void *values_le, size_t nr_values)
{
	return type->dec && nr_values ? type->dec(type->ctx, values_le, nr_values) : 0;
}
