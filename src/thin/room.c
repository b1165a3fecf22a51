/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/room.c - room for changes: what one may take, and what is kept back for those that give space back.
 */
#include "base/error.h"
#include "btree/look.h"
#include "thin/change.h"
#include "transaction/manager.h"

#define MOST_ENTRIES 252u /* of a leaf of roots */

/* --- what a change may take ------------------------------------------------------------------------------------------ */

/* The trees of devices and of details have other owners only while there is a metadata snapshot. */
static bool may_be_shared(const struct thinp_pool *pool)
{
	return pool->live.held_root || pool->is_holding;
}

int tp_thin_add_insert_cost(const struct thinp_pool *pool, const struct thinp_btree_type *type, thinp_block_t root,
			    const uint64_t *keys, uint64_t *nr_blocks)
{
	struct tp_look way = {.path = NULL};
	int r = tp_look(tp_thin_tm(pool), type, root, keys, &way);

	if (r)
		return r;
	*nr_blocks += way.nr_blocks;
	if (may_be_shared(pool) && type->cost)
		*nr_blocks += type->cost(type->ctx, way.nr_entries);
	return 0;
}

/* Each node with two neighbours, but for the root. */
static uint64_t nodes_of_removal(uint32_t depth)
{
	return 3 * (uint64_t)depth - 2;
}

/* Children and, where they are counted, values of the nodes that it copies: they get an owner more. */
static uint64_t raised_by_removal(const struct thinp_btree_type *type, uint32_t depth, uint32_t nr_entries)
{
	uint64_t nr_values = depth == 1 ? nr_entries : 3 * (uint64_t)MOST_ENTRIES;
	uint64_t nr_children = depth == 1 ? 0 : nodes_of_removal(depth - 1) * TP_LOOK_MOST_CHILDREN;

	return nr_children + (type->inc ? nr_values : 0);
}

int tp_thin_add_remove_cost(const struct thinp_pool *pool, const struct thinp_btree_type *type, thinp_block_t root,
			    uint64_t key, uint64_t *nr_blocks)
{
	struct tp_look way = {.path = NULL};
	int r = tp_look(tp_thin_tm(pool), type, root, &key, &way);

	if (r)
		return r;
	*nr_blocks += nodes_of_removal(way.nr_nodes);
	if (may_be_shared(pool))
		*nr_blocks +=
			tp_tm_cost_of_raising(tp_thin_tm(pool), raised_by_removal(type, way.nr_nodes, way.nr_entries));
	return 0;
}

/* --- what is kept back ----------------------------------------------------------------------------------------------- */

/* A root that is full will be one deeper. */
static int measure(const struct thinp_pool *pool, const struct thinp_btree_type *type, thinp_block_t root,
		   uint32_t *depth, uint32_t *nr_entries)
{
	struct tp_btree_child at = {.parent = THINP_NO_BLOCK, .block = root};
	bool is_leaf = false;
	int r = 0;

	*depth = 0;
	while (!r && !is_leaf) {
		struct thinp_read_section section;
		const void *node;
		uint64_t last;

		thinp_read_begin(pool->reader, &section);
		r = tp_btree_read_node(&section, type, &at, &node);
		if (!r) {
			if (at.depth == 0)
				*depth += !tp_node_room(node);
			*nr_entries = tp_node_nr_entries(node);
			*depth += 1;
			is_leaf = tp_node_is_leaf(node);
			if (!is_leaf)
				at = tp_btree_child_at(&at, UINT64_MAX, node, 0, &last);
		}
		thinp_read_end(&section);
	}
	return r;
}

/*
 * The least changes that give space back, and what each copies:
 *
 *   discarding     mappings of one leaf: a way down the mappings, with neighbours; the ways to the device and its details
 *   deleting       the entries of a device, with neighbours; its mappings first, leaf by leaf, as for discarding
 *   releasing      the metadata snapshot device by device: its block and the details of the device, then the same
 *
 * While there is a metadata snapshot, what deleting has copied is given back only by releasing. So there must be room for
 * one after the other.
 */
int tp_thin_measure_release(struct thinp_pool *pool)
{
	struct thinp_sm *metadata = pool->store->metadata;
	uint64_t way = tp_sm_release_way(metadata);
	uint32_t top, details, nr_entries, nr_details;
	uint64_t entries, nr_raised = 0;
	int r = measure(pool, &tp_thin_roots_type, pool->live.mapping_root, &top, &nr_entries);

	if (!r)
		r = measure(pool, &tp_thin_details_type, pool->live.details_root, &details, &nr_details);
	if (r)
		return r;
	entries = nodes_of_removal(top) + nodes_of_removal(details);
	pool->nr_release = way + entries;
	if (may_be_shared(pool)) {
		pool->nr_release += 1 + top + details;
		nr_raised = raised_by_removal(&pool->top, top, nr_entries) +
			    raised_by_removal(&pool->details, details, nr_details);
	}
	tp_sm_set_release(metadata, pool->nr_release + (may_be_shared(pool) ? entries : 0), nr_raised);
	return 0;
}

/* When it cannot be found out, what was known before holds until the next change. */
void tp_thin_follow_change(struct thinp_pool *pool)
{
	struct thinp_error_info before = {.size = sizeof(before)};

	if (pool->is_measured)
		return;
	thinp_error_last(&before);
	pool->is_measured = !tp_thin_measure_release(pool);
	if (!pool->is_measured)
		tp_error_restore(&before);
}
