/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/lookup_cached.c - the way down for one key, as far as the cache has it.
 */
#include "btree/search.h"

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

static int lookup(struct thinp_read_section *section, const struct thinp_btree_type *type, thinp_block_t root,
		  const uint64_t *keys, void *value_le)
{
	struct tp_btree_child child = {.parent = THINP_NO_BLOCK, .block = root};
	struct tp_found found;

	for (;;) {
		uint64_t key = keys[child.level];
		const void *node;
		int r = peek_node(section, type, &child, &node);

		if (r)
			return r;
		if (!tp_search_node(node, key, &found) || (found.is_leaf && found.key != key))
			return THINP_ENODATA;
		if (found.is_leaf && child.level + 1 == type->nr_levels)
			break;
		tp_search_go_down(&child, &found);
	}
	if (value_le)
		tp_search_copy_value(value_le, found.value_le, type->value_size);
	return 0;
}

int thinp_btree_lookup_cached(struct thinp_reader *reader, const struct thinp_btree_type *user_type, thinp_block_t root,
			      const uint64_t *keys, void *value_le)
{
	struct thinp_read_section section;
	const struct thinp_btree_type *type;
	struct thinp_btree_type room;
	int r = tp_btree_type_see(&room, user_type, &type);

	if (r)
		return r;
	thinp_read_begin(reader, &section);
	r = lookup(&section, type, root, keys, value_le);
	thinp_read_end(&section);
	return r == THINP_ENODATA ? tp_fail(r, THINP_NO_BLOCK, "no such key") : r;
}
