/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/descent.c - going down a tree and shadowing each node on the way.
 *
 * Invariants
 *   1. A node that goes away is not shadowed: it is read, and loses a reference. When others own it, too, what was moved
 *      out of it is counted once more, before that.
 *   2. What the parent says of a child is the child's new address before the parent is left.
 */
#include "btree/descent.h"

#include "btree/redistribute.h"
#include "format/address.h"

#include <stdalign.h>

static int shadow(struct tp_descent *descent, const struct tp_btree_child *child, struct tp_btree_frame *frame)
{
	int r = tp_btree_shadow(descent->tm, descent->type, child, THINP_CAUSE_SHADOW, frame);

	if (!r || thinp_tm_generation(descent->tm) != descent->generation)
		descent->has_begun = true;
	return r;
}

int tp_descent_begin(struct tp_descent *descent, struct thinp_tm *tm, const struct thinp_btree_type *type,
		     thinp_block_t root)
{
	*descent = (struct tp_descent){
		.tm = tm, .type = type, .at = {.parent = THINP_NO_BLOCK, .block = root}, .last = UINT64_MAX};
	return shadow(descent, &descent->at, &descent->node);
}

int tp_descent_resume(struct tp_descent *descent, const struct tp_btree_child *at, uint64_t last)
{
	descent->at = *at;
	descent->last = last;
	return shadow(descent, at, &descent->node);
}

void tp_descent_end(struct tp_descent *descent)
{
	tp_btree_end(descent->tm, &descent->node);
}

/* Children are seen from where the node is now. */
static struct tp_btree_child child_at(const struct tp_descent *descent, uint32_t index, uint64_t *last)
{
	struct tp_btree_child at = descent->at;

	at.block = descent->node.block;
	return tp_btree_child_at(&at, descent->last, descent->node.node, index, last);
}

static int shadow_child(struct tp_descent *descent, uint32_t index, struct tp_btree_child *child, uint64_t *last,
			struct tp_btree_frame *frame)
{
	int r;

	*child = child_at(descent, index, last);
	r = tp_address_check(child->block, thinp_reader_nr_blocks(thinp_tm_reader(descent->tm)), child->parent,
			     "btree node", "a child");
	if (!r)
		r = shadow(descent, child, frame);
	if (!r)
		tp_node_set_value64(descent->node.node, index, frame->block);
	return r;
}

int tp_descent_shadow_child(struct tp_descent *descent, uint32_t index)
{
	struct tp_btree_frame frame;
	struct tp_btree_child child;
	uint64_t last;
	int r = shadow_child(descent, index, &child, &last, &frame);

	if (!r)
		tp_btree_end(descent->tm, &frame);
	return r;
}

int tp_descent_down(struct tp_descent *descent, uint32_t index)
{
	struct tp_btree_frame frame;
	struct tp_btree_child child;
	uint64_t last;
	int r = shadow_child(descent, index, &child, &last, &frame);

	if (r)
		return r;
	tp_descent_end(descent);
	descent->node = frame;
	descent->at = child;
	descent->at.block = frame.block;
	descent->last = last;
	return 0;
}

int tp_descent_find_child(const struct tp_descent *descent, uint64_t key, uint32_t *index)
{
	uint32_t behind = tp_node_upper_bound(descent->node.node, key);

	if (!behind)
		return tp_fail(THINP_ECORRUPT, descent->node.block, "btree node: has no child for a key of the tree");
	*index = behind - 1;
	return 0;
}

/* --- neighbours -------------------------------------------------------------------------------------------------------- */

/* A child that takes part in evening out. */
struct neighbour {
	struct tp_btree_child at;
	struct tp_btree_frame frame; /* when it is changed and stays */
	bool goes_away;
	bool is_shared;
	alignas(64) uint8_t copy[THINP_BLOCK_SIZE]; /* as it was */
};

struct neighbours {
	uint32_t first; /* place of the left one */
	uint32_t nr_nodes;
	uint32_t nr[TP_MAX_NEIGHBOURS];
	uint32_t after[TP_MAX_NEIGHBOURS];
	struct neighbour nodes[TP_MAX_NEIGHBOURS];
};

/* Reads a child, checked in every way that can be seen from its parent. */
static int read_child(const struct tp_descent *descent, uint32_t index, struct tp_btree_child *child, void *copy)
{
	struct thinp_read_section section;
	uint32_t leaf_depth = 0;
	const void *node;
	uint64_t last;
	int r;

	*child = child_at(descent, index, &last);
	thinp_read_begin(thinp_tm_reader(descent->tm), &section);
	r = tp_btree_read_node(&section, descent->type, child, &node);
	if (!r)
		r = tp_btree_check_end(child, last, node, &leaf_depth);
	if (!r)
		memcpy(copy, node, THINP_BLOCK_SIZE);
	thinp_read_end(&section);
	return r;
}

int tp_descent_child_fill(const struct tp_descent *descent, uint32_t index, struct tp_descent_fill *fill)
{
	struct thinp_read_section section;
	struct tp_btree_child child;
	const void *node;
	uint64_t last;
	int r;

	child = child_at(descent, index, &last);
	thinp_read_begin(thinp_tm_reader(descent->tm), &section);
	r = tp_btree_read_node(&section, descent->type, &child, &node);
	if (!r) {
		fill->is_leaf = tp_node_is_leaf(node);
		fill->nr_entries = tp_node_nr_entries(node);
		fill->minimum = tp_node_minimum(tp_node_capacity(node));
	}
	thinp_read_end(&section);
	return r;
}

/* Chooses a child's neighbours, on both sides if it has them, and reads them all. */
static int gather(const struct tp_descent *descent, uint32_t index, struct neighbours *n)
{
	uint32_t nr = tp_node_nr_entries(descent->node.node);
	uint32_t end = index + 2 < nr ? index + 2 : nr;
	int r = 0;

	n->first = index ? index - 1 : 0;
	n->nr_nodes = end - n->first;
	for (uint32_t i = 0; !r && i < n->nr_nodes; i++) {
		struct neighbour *node = &n->nodes[i];

		node->frame.buffer = NULL;
		r = read_child(descent, n->first + i, &node->at, node->copy);
		if (!r && tp_node_is_leaf(node->copy) != tp_node_is_leaf(n->nodes[0].copy))
			r = tp_fail(THINP_ECORRUPT, descent->node.block,
				    "btree node: has leaves and other nodes as children");
		if (!r)
			n->nr[i] = tp_node_nr_entries(node->copy);
	}
	return r;
}

static bool is_even(const struct neighbours *n)
{
	for (uint32_t i = 0; i < n->nr_nodes; i++)
		if (n->nr[i] != n->after[i] || (i && !n->after[i]))
			return false;
	return true;
}

static bool have_one_capacity(const struct neighbours *n)
{
	for (uint32_t i = 1; i < n->nr_nodes; i++)
		if (tp_node_capacity(n->nodes[i].copy) != tp_node_capacity(n->nodes[0].copy))
			return false;
	return true;
}

/* A child whose entries go elsewhere. */
static int empty_out(struct tp_descent *descent, struct neighbour *node)
{
	uint32_t count;
	int r = thinp_tm_count(descent->tm, node->at.block, &count);

	if (r || count < 2)
		return r;
	descent->has_begun = true;
	return tp_btree_inc_content(descent->tm, descent->type, node->at.level, node->copy, node->at.block);
}

/* Makes ready what will be changed. What stays as it is, or goes away, is not shadowed. */
static int prepare(struct tp_descent *descent, struct neighbours *n, void **data)
{
	int r = 0;

	for (uint32_t i = 0; !r && i < n->nr_nodes; i++) {
		struct neighbour *node = &n->nodes[i];
		uint64_t last;

		data[i] = node->copy;
		node->goes_away = i && !n->after[i];
		if (node->goes_away) {
			r = empty_out(descent, node);
		} else if (n->after[i] != n->nr[i]) {
			r = shadow_child(descent, n->first + i, &node->at, &last, &node->frame);
			data[i] = node->frame.node;
		}
	}
	return r;
}

/* Entries have been moved: the parent is told where nodes begin, and which are gone. */
static int tell_parent(struct tp_descent *descent, struct neighbours *n, void *const *data)
{
	uint8_t *parent = descent->node.node;
	int r = 0;

	for (uint32_t i = n->nr_nodes; !r && --i;) {
		if (!n->nodes[i].goes_away) {
			tp_node_set_key(parent, n->first + i, tp_node_key(data[i], 0));
			continue;
		}
		tp_node_remove(parent, n->first + i, 1);
		r = thinp_tm_dec(descent->tm, n->nodes[i].at.block, 1, THINP_CAUSE_MERGE);
		descent->has_begun = true;
	}
	return r;
}

int tp_descent_rebalance(struct tp_descent *descent, uint32_t index, bool *changed)
{
	void *data[TP_MAX_NEIGHBOURS];
	struct neighbours n;
	int r;

	*changed = false;
	if (tp_node_nr_entries(descent->node.node) < 2)
		return 0;
	r = gather(descent, index, &n);
	if (r || !have_one_capacity(&n))
		return r;
	tp_redistribute(tp_node_capacity(n.nodes[0].copy), n.nr_nodes, n.nr, n.after);
	if (is_even(&n))
		return 0;
	r = prepare(descent, &n, data);
	if (!r) {
		tp_node_redistribute(data, n.nr_nodes, n.after);
		r = tell_parent(descent, &n, data);
	}
	for (uint32_t i = 0; i < n.nr_nodes; i++)
		tp_btree_end(descent->tm, &n.nodes[i].frame);
	*changed = true;
	return r;
}

int tp_descent_drop_child(struct tp_descent *descent, uint32_t index, struct tp_drop *drop)
{
	uint64_t last;
	struct tp_btree_child child = child_at(descent, index, &last);
	int r;

	descent->has_begun = true;
	if (tp_node_nr_entries(descent->node.node) > 1)
		tp_node_remove(descent->node.node, index, 1);
	else
		tp_node_init(descent->node.node, TP_NODE_LEAF, descent->node.block, descent->type->value_size);
	r = tp_drop_node(drop, &child, last);
	return r ? r : tp_drop_finish(drop);
}

/* --- the root -------------------------------------------------------------------------------------------------------- */

int tp_descent_collapse(struct tp_descent *descent)
{
	struct tp_node_header header;
	struct neighbour only;
	int r = read_child(descent, 0, &only.at, only.copy);

	if (!r)
		r = tp_node_unpack(only.copy, &header);
	if (!r)
		r = empty_out(descent, &only);
	if (r)
		return r;
	header.block = descent->node.block;
	memcpy(descent->node.node, only.copy, THINP_BLOCK_SIZE);
	tp_node_pack(&header, descent->node.node);
	return thinp_tm_dec(descent->tm, only.at.block, 1, THINP_CAUSE_MERGE);
}

int tp_descent_down_to_poorer(struct tp_descent *descent, uint64_t key)
{
	struct tp_descent_fill fill;
	bool changed = false;
	uint32_t index;
	int r = tp_descent_find_child(descent, key, &index);

	if (!r)
		r = tp_descent_child_fill(descent, index, &fill);
	if (!r && fill.nr_entries <= fill.minimum)
		r = tp_descent_rebalance(descent, index, &changed);
	if (!r && descent->at.depth == 0 && tp_node_nr_entries(descent->node.node) == 1)
		return tp_descent_collapse(descent);
	if (!r && changed)
		r = tp_descent_find_child(descent, key, &index);
	return r ? r : tp_descent_down(descent, index);
}
