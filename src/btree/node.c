/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/node.c - what a node must be, seen from its parent.
 */
#include "btree/node.h"

#include "base/opts.h"
#include "format/address.h"

#include <inttypes.h>

int tp_btree_type_take(struct thinp_btree_type *dst, const struct thinp_btree_type *src)
{
	int r;

	if (tp_btree_type_is_plain(src)) {
		*dst = *src;
		return 0;
	}
	r = tp_opts_take(dst, sizeof(*dst), src);
	if (r)
		return r;
	if (!dst->nr_levels || dst->nr_levels > THINP_BTREE_MAX_LEVELS)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a tree of %u levels, not of 1 to %d", dst->nr_levels,
			       THINP_BTREE_MAX_LEVELS);
	if (!tp_node_max_entries(dst->value_size))
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a tree with values of %u bytes cannot be",
			       dst->value_size);
	return 0;
}

int tp_btree_check_node(const struct thinp_btree_type *type, const struct tp_btree_child *child, const void *node)
{
	uint32_t value_size = tp_btree_value_size(type, child->level);

	if (tp_node_is_leaf(node)) {
		if (tp_node_value_size(node) != value_size)
			return tp_fail(THINP_ECORRUPT, child->block,
				       "btree node: values of %u bytes in a tree with values of %u bytes",
				       tp_node_value_size(node), value_size);
	} else if (child->depth + 1 >= THINP_BTREE_MAX_DEPTH) {
		return tp_fail(THINP_ECORRUPT, child->block,
			       "btree node: the tree is deeper than %d nodes, or goes round in a circle",
			       THINP_BTREE_MAX_DEPTH);
	}
	if (tp_node_nr_entries(node) && tp_node_key(node, 0) < child->first)
		return tp_fail(THINP_ECORRUPT, child->block,
			       "btree node: begins with key %" PRIu64 ", but its parent %" PRIu64 " says %" PRIu64,
			       tp_node_key(node, 0), child->parent, child->first);
	return 0;
}

int tp_btree_check_child(const struct tp_btree_child *child, uint64_t nr_blocks)
{
	if (child->parent == THINP_NO_BLOCK)
		return 0;
	return tp_address_check(child->block, nr_blocks, child->parent, "btree node", "a child");
}

int tp_btree_read_node(struct thinp_read_section *section, const struct thinp_btree_type *type,
		       const struct tp_btree_child *child, const void **node)
{
	int r = tp_btree_check_child(child, thinp_reader_nr_blocks(section->reader));

	if (r)
		return r;
	r = thinp_read_block(section, child->block, thinp_block_type_node(), node);
	return r ? r : tp_btree_check_node(type, child, *node);
}

int tp_btree_check_end(const struct tp_btree_child *child, uint64_t last, const void *node, uint32_t *leaf_depth)
{
	uint32_t nr = tp_node_nr_entries(node);

	if (nr && tp_node_key(node, nr - 1) > last)
		return tp_fail(THINP_ECORRUPT, child->block,
			       "btree node: ends with key %" PRIu64 ", but its parent %" PRIu64
			       " leaves it none behind %" PRIu64,
			       tp_node_key(node, nr - 1), child->parent, last);
	if (!tp_node_is_leaf(node))
		return 0;
	if (*leaf_depth && *leaf_depth != child->depth + 1)
		return tp_fail(THINP_ECORRUPT, child->block,
			       "btree node: a leaf at depth %u of a tree with leaves at depth %u", child->depth,
			       *leaf_depth - 1);
	*leaf_depth = child->depth + 1;
	return 0;
}

struct tp_btree_child tp_btree_child_at(const struct tp_btree_child *at, uint64_t node_last, const void *node,
					uint32_t index, uint64_t *last)
{
	struct tp_btree_child child = {.parent = at->block, .block = tp_node_value64(node, index)};

	if (tp_node_is_leaf(node)) {
		child.level = at->level + 1;
		*last = UINT64_MAX;
		return child;
	}
	child.first = tp_node_key(node, index);
	child.level = at->level;
	child.depth = at->depth + 1;
	*last = index + 1 < tp_node_nr_entries(node) ? tp_node_key(node, index + 1) - 1 : node_last;
	return child;
}
