/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/look.c - the look before a change.
 *
 * The most blocks that an insert takes, beside those for the counts of values:
 *
 *   - each node on the way is copied, from the first one on that may not be written where it is: 1;
 *   - a full node gets room: a root by two new nodes, another by the copy of a sibling and one new node: 2;
 *   - each tree that is missing on the way begins with an empty leaf: 1.
 *
 * A node that is made by such a split has room, so it is not split again; entries that move to a sibling do not move a
 * second time. A shadow below a node that others share with us counts as a copy: copying that one adds a reference to it.
 *
 * When a node is copied that others share, all its children get an owner, and their counts may become large ones: that is
 * recorded with the commit.
 */
#include "btree/look.h"

#include "transaction/manager.h"

#include <inttypes.h>
#include <string.h>

struct looking {
	struct thinp_tm *tm;
	const struct thinp_btree_type *type;
	const uint64_t *keys;
	struct thinp_read_section section;
	struct tp_btree_child at;
	uint64_t last; /* no key of the node is larger */
	const void *node;
	struct tp_look *look;
	thinp_block_t path[THINP_BTREE_MAX_LEVELS * THINP_BTREE_MAX_DEPTH];
	uint32_t nr_children[THINP_BTREE_MAX_LEVELS * THINP_BTREE_MAX_DEPTH]; /* of each node */
};

/* The last key, too, must be one that the parent leaves to the node; and what must be split must be large enough. */
static int check_further(const struct looking *l, bool is_full)
{
	uint32_t nr = tp_node_nr_entries(l->node);

	if (nr && tp_node_key(l->node, nr - 1) > l->last)
		return tp_fail(THINP_ECORRUPT, l->at.block,
			       "btree node: ends with key %" PRIu64 ", but its parent %" PRIu64
			       " leaves it none behind %" PRIu64,
			       tp_node_key(l->node, nr - 1), l->at.parent, l->last);
	if (is_full && tp_node_capacity(l->node) < 3)
		return tp_fail(THINP_ECORRUPT, l->at.block,
			       "btree node: cannot be split, for it has room for only %u entries",
			       tp_node_capacity(l->node));
	return 0;
}

static int read_node(struct looking *l)
{
	int r = tp_btree_read_node(&l->section, l->type, &l->at, &l->node);

	if (r)
		return r;
	l->path[l->look->nr_nodes] = l->at.block;
	l->nr_children[l->look->nr_nodes] = tp_node_nr_entries(l->node);
	if (l->look->nr_in_place == l->look->nr_nodes && tp_tm_is_shadow(l->tm, l->at.block))
		l->look->nr_in_place++;
	l->look->nr_nodes++;
	return 0;
}

/* From an internal node to the child where the key belongs. */
static int step_down(struct looking *l)
{
	uint32_t nr = tp_node_nr_entries(l->node);
	uint32_t behind = tp_node_upper_bound(l->node, l->keys[l->at.level]);
	bool is_full = !tp_node_room(l->node);

	l->look->is_lowered |= !behind;
	l->look->nr_full += is_full;
	behind += !behind;
	if (is_full) {
		int r = check_further(l, true);

		if (r)
			return r;
	}
	if (tp_node_capacity(l->node) < l->look->least_capacity)
		l->look->least_capacity = tp_node_capacity(l->node);
	if (behind < nr)
		l->last = tp_node_key(l->node, behind) - 1;
	l->at.parent = l->at.block;
	l->at.block = tp_node_value64(l->node, behind - 1);
	l->at.first = tp_node_key(l->node, behind - 1);
	l->at.depth++;
	return 0;
}

static int arrive(struct looking *l)
{
	struct tp_look *look = l->look;
	uint64_t key = l->keys[l->at.level];
	bool is_full;

	look->leaf_at = l->at;
	look->leaf_last = l->last;
	look->leaf_capacity = tp_node_capacity(l->node);
	look->nr_entries = tp_node_nr_entries(l->node);
	look->index = tp_node_lower_bound(l->node, key);
	look->is_found = look->index < look->nr_entries && tp_node_key(l->node, look->index) == key;
	is_full = !look->is_found && !tp_node_room(l->node);
	look->nr_full += is_full;
	return check_further(l, is_full);
}

static int look_in_level(struct looking *l)
{
	int r;

	l->last = UINT64_MAX;
	while (!(r = read_node(l)) && !tp_node_is_leaf(l->node)) {
		r = step_down(l);
		if (r)
			return r;
	}
	return r ? r : arrive(l);
}

static int look_in_all_levels(struct looking *l)
{
	for (;;) {
		int r = look_in_level(l);

		if (r || l->at.level + 1 == l->type->nr_levels)
			return r;
		if (!l->look->is_found) {
			l->look->nr_missing = l->type->nr_levels - 1 - l->at.level;
			return 0;
		}
		l->at = (struct tp_btree_child){.parent = l->at.block,
						.block = tp_node_value64(l->node, l->look->index),
						.level = l->at.level + 1};
	}
}

/* Nodes of this transaction are shared by nobody. A last leaf has no children. */
static int look_for_owners(const struct looking *l)
{
	struct tp_look *look = l->look;
	uint32_t nr_with_children = look->nr_nodes - !look->nr_missing;

	look->first_shared = look->nr_nodes;
	for (uint32_t i = look->nr_in_place; i < look->nr_nodes; i++) {
		uint32_t count;
		int r = thinp_tm_count(l->tm, l->path[i], &count);

		if (r)
			return r;
		if (count > 1) {
			look->first_shared = i;
			break;
		}
	}
	for (uint32_t i = look->first_shared; i < nr_with_children; i++)
		look->nr_raised += l->nr_children[i];
	return 0;
}

int tp_look(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root, const uint64_t *keys,
	    struct tp_look *look)
{
	struct looking l = {
		.tm = tm, .type = type, .keys = keys, .at = {.parent = THINP_NO_BLOCK, .block = root}, .look = look};
	int r;

	*look = (struct tp_look){.path = look->path, .least_capacity = UINT32_MAX};
	thinp_read_begin(thinp_tm_reader(tm), &l.section);
	r = look_in_all_levels(&l);
	thinp_read_end(&l.section);
	if (r)
		return r;
	if (look->path)
		memcpy(look->path, l.path, look->nr_nodes * sizeof(*l.path));
	look->nr_blocks = look->nr_nodes - look->nr_in_place + 2 * (uint64_t)look->nr_full + look->nr_missing;
	r = look_for_owners(&l);
	look->nr_blocks += tp_tm_cost_of_raising(tm, look->nr_raised);
	return r;
}
