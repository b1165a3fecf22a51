/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/same.c - the part that two commits of a map have in common, as far as nodes of their index trees tell.
 *
 * A commit changes few bitmaps, so most nodes of the index are in both trees, at the same address: what is below them need
 * not be read.
 */
#include "space_map/sm.h"

#include "format/node.h"

#include <thinp/btree.h>

#include <inttypes.h>

/* On the way to the entry of a bitmap: below this node is what belongs to each bitmap up to `end`. */
struct place {
	thinp_block_t node;
	uint64_t end;
	bool is_leaf;
	uint32_t depth;
};

/* The last child whose key is not larger; the first one when there is none. */
static uint32_t child_of(const void *node, uint64_t number)
{
	uint32_t begin = 0, end = tp_node_nr_entries(node);

	while (end - begin > 1) {
		uint32_t middle = begin + (end - begin) / 2;

		if (tp_node_key(node, middle) <= number)
			begin = middle;
		else
			end = middle;
	}
	return begin;
}

static void go_down(const void *node, uint64_t number, struct place *place)
{
	uint32_t nr = tp_node_nr_entries(node), i;

	place->is_leaf = tp_node_is_leaf(node) || !nr;
	if (place->is_leaf)
		return;
	i = child_of(node, number);
	if (i + 1 < nr && tp_node_key(node, i + 1) < place->end)
		place->end = tp_node_key(node, i + 1);
	place->node = tp_node_value64(node, i);
	place->depth++;
}

static int step(struct thinp_reader *reader, uint64_t number, struct place *place)
{
	struct thinp_read_section section;
	const void *node;
	int r;

	if (place->is_leaf)
		return 0;
	if (place->depth == THINP_BTREE_MAX_DEPTH)
		return tp_fail(THINP_ECORRUPT, place->node, "a tree of a space map is deeper than %u nodes",
			       THINP_BTREE_MAX_DEPTH);
	thinp_read_begin(reader, &section);
	r = thinp_read_block(&section, place->node, thinp_block_type_node(), &node);
	if (!r)
		go_down(node, number, place);
	thinp_read_end(&section);
	return r;
}

static int find_same(const struct tp_sm_view *before, const struct tp_sm_view *now, uint64_t number, uint64_t *end)
{
	struct place old = {.node = before->root.bitmap_root, .end = UINT64_MAX};
	struct place new = {.node = now->root.bitmap_root, .end = UINT64_MAX};
	int r = 0;

	while (!r && old.node != new.node && !(old.is_leaf && new.is_leaf)) {
		r = step(before->reader, number, &old);
		if (!r)
			r = step(now->reader, number, &new);
	}
	if (!r && old.node == new.node)
		*end = old.end < new.end ? old.end : new.end;
	if (*end < number)
		*end = number; /* a node that is not sound: whoever uses its entries will see that */
	return r;
}

int tp_sm_same_until(const struct tp_sm_view *before, const struct tp_sm_view *now, uint64_t number, uint64_t *end)
{
	*end = number;
	if (before->root.bitmap_root == now->root.bitmap_root)
		*end = UINT64_MAX;
	else if (before->kind == TP_SM_DATA)
		return find_same(before, now, number, end);
	return 0;
}
