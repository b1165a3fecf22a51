/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/lookup.c - the way down for one key: from the device where need be, or as far as the cache has it.
 */
#include "btree/search.h"

/* How a node comes that has no outline in the cache, checked. The two look-ups differ in nothing else. */
typedef int read_node_fn(struct thinp_read_section *section, const struct thinp_btree_type *type,
			 const struct tp_btree_child *child, const void **node);

static int peek_node(struct thinp_read_section *section, const struct thinp_btree_type *type,
		     const struct tp_btree_child *child, const void **node)
{
	int r = tp_btree_check_child(child, thinp_reader_nr_blocks(section->reader));

	if (r)
		return r;
	*node = thinp_read_peek(section, child->block, thinp_block_type_node());
	if (!*node)
		return tp_fail(THINP_EWOULDBLOCK, child->block, "btree node: not in the cache");
	return tp_btree_check_node(type, child, *node);
}

/* By the outline, if the cache has the node and the node one: *is_there as tp_search_node() says. */
static inline bool search_cached(struct thinp_read_section *section, const struct thinp_btree_type *type,
				 const struct thinp_block_type *node_type, const struct tp_btree_child *child,
				 uint64_t key, struct tp_found *found, bool *is_there)
{
	const struct thinp_buffer *buffer = tp_read_peek_buffer(section, child->block, node_type);
	uint32_t group;

	if (!buffer || !tp_search_has_outline(type, child, buffer))
		return false;
	*is_there = tp_outline_reaches(&buffer->outline, key);
	if (!*is_there)
		return true;
	group = tp_outline_group(&buffer->outline, key);
	if (tp_outline_has_all_keys(&buffer->outline)) {
		*found = tp_search_pivot(buffer, group);
		return true;
	}
	tp_node_prefetch_group(buffer->data, tp_outline_shape(&buffer->outline), group);
	*found = tp_search_group(buffer, group, key);
	return true;
}

/* One step: THINP_ENODATA when the key is certainly not there. */
static inline int step(struct thinp_read_section *section, const struct thinp_btree_type *type,
		       const struct thinp_block_type *node_type, read_node_fn *read_node,
		       const struct tp_btree_child *child, uint64_t key, struct tp_found *found)
{
	bool is_there;

	if (!search_cached(section, type, node_type, child, key, found, &is_there)) {
		const void *node;
		int r = read_node(section, type, child, &node);

		if (r)
			return r;
		is_there = tp_search_node(node, key, found);
	}
	return is_there && (!found->is_leaf || found->key == key) ? 0 : THINP_ENODATA;
}

static inline int go_down(struct thinp_read_section *section, const struct thinp_btree_type *type,
			  read_node_fn *read_node, thinp_block_t root, const uint64_t *keys, void *value_le)
{
	const struct thinp_block_type *node_type = thinp_block_type_node();
	struct tp_btree_child child = {.parent = THINP_NO_BLOCK, .block = root};
	struct tp_found found;

	for (;;) {
		int r = step(section, type, node_type, read_node, &child, keys[child.level], &found);

		if (r)
			return r;
		if (found.is_leaf && child.level + 1 == type->nr_levels)
			break;
		tp_search_go_down(&child, &found);
	}
	if (value_le)
		tp_search_copy_value(value_le, found.value_le, type->value_size);
	return 0;
}

static inline int look_up(struct thinp_reader *reader, const struct thinp_btree_type *user_type,
			  read_node_fn *read_node, thinp_block_t root, const uint64_t *keys, void *value_le)
{
	struct thinp_read_section section;
	const struct thinp_btree_type *type;
	struct thinp_btree_type room;
	int r = tp_btree_type_see(&room, user_type, &type);

	if (r)
		return r;
	thinp_read_begin(reader, &section);
	r = go_down(&section, type, read_node, root, keys, value_le);
	thinp_read_end(&section);
	return r == THINP_ENODATA ? tp_fail(r, THINP_NO_BLOCK, "no such key") : r;
}

int thinp_btree_lookup(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
		       const uint64_t *keys, void *value_le)
{
	return look_up(reader, type, tp_btree_read_node, root, keys, value_le);
}

int thinp_btree_lookup_cached(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
			      const uint64_t *keys, void *value_le)
{
	return look_up(reader, type, peek_node, root, keys, value_le);
}
