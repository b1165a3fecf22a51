/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/lookup.c - the way down for one key.
 */
#include "btree/node.h"

#include <string.h>

/* The next step from a node: false at a leaf, or when no child can hold the key (*found false). */
static bool step_down(const void *node, uint64_t key, struct tp_btree_child *child, bool *found)
{
	uint32_t behind = tp_node_upper_bound(node, key);

	*found = behind;
	if (!behind)
		return false;
	child->parent = child->block;
	child->block = tp_node_value64(node, behind - 1);
	child->first = tp_node_key(node, behind - 1);
	child->depth++;
	return true;
}

/* Finds the entry of a key in one level. The node stays valid within the section. */
static int find_in_level(struct thinp_read_section *section, const struct thinp_btree_type *type,
			 struct tp_btree_child *child, uint64_t key, const void **node, uint32_t *index)
{
	bool found = true;
	int r;

	while (!(r = tp_btree_read_node(section, type, child, node)) && !tp_node_is_leaf(*node))
		if (!step_down(*node, key, child, &found))
			break;
	if (r)
		return r;
	return found && tp_node_find(*node, key, index) ? 0 : THINP_ENODATA;
}

static int lookup(struct thinp_read_section *section, const struct thinp_btree_type *type, thinp_block_t root,
		  const uint64_t *keys, void *value_le)
{
	struct tp_btree_child child = {.parent = THINP_NO_BLOCK, .block = root};
	const void *node;
	uint32_t index;

	for (;;) {
		int r = find_in_level(section, type, &child, keys[child.level], &node, &index);

		if (r)
			return r;
		if (child.level + 1 == type->nr_levels)
			break;
		child = (struct tp_btree_child){
			.parent = child.block, .block = tp_node_value64(node, index), .level = child.level + 1};
	}
	if (value_le)
		memcpy(value_le, tp_node_values(node) + (size_t)index * type->value_size, type->value_size);
	return 0;
}

int thinp_btree_lookup(struct thinp_reader *reader, const struct thinp_btree_type *user_type, thinp_block_t root,
		       const uint64_t *keys, void *value_le)
{
	struct thinp_read_section section;
	struct thinp_btree_type type;
	int r = tp_btree_type_take(&type, user_type);

	if (r)
		return r;
	thinp_read_begin(reader, &section);
	r = lookup(&section, &type, root, keys, value_le);
	thinp_read_end(&section);
	return r == THINP_ENODATA ? tp_fail(r, THINP_NO_BLOCK, "no such key") : r;
}
