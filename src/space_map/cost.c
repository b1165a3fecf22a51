/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/cost.c - how many blocks recording may take: what must be kept back, so that a commit finds room.
 *
 * Recording a map takes a block for
 *
 *   - each bitmap that is changed and none of this transaction, and each new one. Of a metadata map that may be all of them,
 *     since taking and freeing blocks for recording changes counts anywhere in it;
 *   - the index block of a metadata map, once;
 *   - copies of nodes, each at most once, for a copy is changed in place afterwards: the leaves that are touched and the
 *     nodes above them, but never more than the tree has;
 *   - new nodes, where nodes are split.
 *
 * Blocks that recording frees do not count against it: the last commit uses them.
 *
 * Leaves. Inserting touches a leaf and a neighbour of it, removing two neighbours. All changes in one page of counts stay
 * within the leaves that have counts of the page, and one neighbour at each end. So a page touches the smaller of three
 * leaves for a change, and that number of leaves and two. The nodes right above them: no more than the leaves, and one
 * neighbour at each end; and so on up; but one root.
 *
 * Splits. A leaf that is touched may be full from the start; after that its parts have room for a third of a leaf each. So
 * there are no more splits than insertions, nor than touched leaves and one for each third of a leaf of insertions. Nodes
 * above are split when they are full, even on the way to a leaf that is not: the same holds for them. A root that is split
 * makes two nodes.
 */
#include "space_map/sm.h"

#include "format/node.h"

#include <inttypes.h>
#include <string.h>

/* The least change that frees space takes the entries of one leaf out of a tree. Each may be in a bitmap of its own. */
#define RELEASE_VALUES 252u

static uint64_t min64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t tp_sm_page_leaves(const struct tp_page *page, uint32_t nr_changed)
{
	return min64((uint64_t)nr_changed * 3, nr_changed ? (uint64_t)page->nr_leaves + 2 : 0);
}

struct changes {
	uint64_t nr_changed;
	uint64_t nr_inserts; /* of these */
	uint64_t nr_leaves;  /* that they touch */
	uint32_t value_size;
};

static uint64_t splits_of(uint64_t nr_changes, uint64_t nr_touched, uint64_t nr_new_below, uint32_t max_entries)
{
	return min64(nr_changes, nr_touched + nr_new_below / (max_entries / 3));
}

static uint64_t new_nodes(const struct tp_sm_tree *tree, const struct changes *changes, uint64_t nr_leaves)
{
	uint64_t splits = splits_of(changes->nr_inserts, nr_leaves, changes->nr_inserts,
				    tp_node_max_entries(changes->value_size));
	uint64_t sum = splits + (changes->nr_inserts || tree->depth > 1 ? 2 : 0);

	for (uint32_t level = 1; level < tree->depth; level++) {
		uint64_t touched = level + 1 == tree->depth ? 1 : nr_leaves + 2;

		splits = splits_of(changes->nr_changed, touched, splits, tp_node_max_entries(8));
		sum += splits;
	}
	return sum;
}

static uint64_t tree_cost(const struct tp_sm_tree *tree, const struct changes *changes)
{
	uint64_t leaves = min64(changes->nr_leaves, tree->nr_nodes);
	uint64_t copies = 1;

	if (!changes->nr_changed)
		return tree->root ? 0 : 1;
	if (tree->depth > 1)
		copies = leaves + (tree->depth - 2) * (leaves + 2) + 1;
	return (tree->root ? min64(copies, tree->nr_nodes) : 1) + new_nodes(tree, changes, leaves);
}

static uint64_t overflow_cost(const struct thinp_sm *sm, const struct tp_sm_work *work)
{
	struct changes changes = {.nr_changed = work->nr_changed,
				  .nr_inserts = work->nr_inserts,
				  .nr_leaves = work->nr_leaves,
				  .value_size = 4};

	return tree_cost(&sm->now.overflow, &changes);
}

static uint64_t data_cost(const struct thinp_sm *sm, const struct tp_sm_work *work)
{
	uint64_t nr_new = tp_sm_nr_pages(sm) - sm->now.nr_bitmaps;
	uint64_t nr_bitmaps = nr_new + work->nr_dirty;
	struct changes changes = {.nr_changed = nr_bitmaps,
				  .nr_inserts = nr_new,
				  .nr_leaves = work->nr_dirty + (nr_new ? 2 : 0),
				  .value_size = TP_INDEX_ENTRY_SIZE};

	return nr_bitmaps + tree_cost(&sm->now.index_tree, &changes) + overflow_cost(sm, work);
}

static uint64_t metadata_cost(const struct thinp_sm *sm, const struct tp_sm_work *work)
{
	return 1 + tp_sm_nr_pages(sm) - work->nr_shadows + overflow_cost(sm, work);
}

uint64_t tp_sm_cost_of(const struct thinp_sm *sm, const struct tp_sm_work *work)
{
	return sm->kind == TP_SM_DATA ? data_cost(sm, work) : metadata_cost(sm, work);
}

uint64_t tp_sm_commit_cost(const struct thinp_sm *metadata)
{
	uint64_t sum = tp_sm_cost_of(metadata, &metadata->work);

	for (const struct thinp_sm *sm = metadata->data_maps; sm; sm = sm->next)
		sum += tp_sm_cost_of(sm, &sm->work);
	return sum;
}

static uint64_t known_cost(struct thinp_sm *metadata)
{
	if (!metadata->cost_is_known)
		metadata->cost = tp_sm_commit_cost(metadata);
	metadata->cost_is_known = true;
	return metadata->cost;
}

/* Nodes by which the overflow tree grows for the work so far, beyond those that come free with the commit: a node is copied
 * before it is split, so each but those for a third of a node of insertions makes up for one. */
static uint64_t lasting_growth(const struct tp_sm_work *work)
{
	uint64_t nr_leaves = work->nr_inserts / (tp_node_max_entries(4) / 3);

	return work->nr_inserts ? 2 + nr_leaves + nr_leaves / (tp_node_max_entries(8) / 3) : 0;
}

/* The work with the counts of nr_raised blocks going up and of nr_lowered down, in so many bitmaps. */
static struct tp_sm_work more_work(const struct thinp_sm *sm, uint64_t nr_bitmaps, uint64_t nr_raised,
				   uint64_t nr_lowered)
{
	uint64_t nr_pages = tp_sm_nr_pages(sm);
	struct tp_sm_work more = sm->work;

	more.nr_dirty = min64(more.nr_dirty + min64(nr_bitmaps, nr_pages), nr_pages);
	more.nr_changed += nr_raised + nr_lowered;
	more.nr_inserts += nr_raised;
	more.nr_leaves += min64(sm->now.overflow.nr_nodes, 3 * (nr_raised + nr_lowered));
	return more;
}

static uint64_t cost_above(const struct thinp_sm *sm, const struct tp_sm_work *more)
{
	return tp_sm_cost_of(sm, more) - tp_sm_cost_of(sm, &sm->work);
}

static uint64_t most_counts(const struct thinp_sm *sm, uint64_t nr)
{
	return min64(nr, sm->now.nr_blocks - sm->now.nr_zero); /* a free block gets no large count at once */
}

uint64_t tp_sm_more_cost(const struct thinp_sm *sm, uint64_t nr_bitmaps, uint64_t nr_raised, uint64_t nr_lowered)
{
	struct tp_sm_work more = more_work(sm, nr_bitmaps, most_counts(sm, nr_raised), most_counts(sm, nr_lowered));

	return cost_above(sm, &more);
}

/* A node of the overflow tree that is made now is one more that giving space back may have to copy later. */
uint64_t tp_sm_raise_cost(const struct thinp_sm *sm, uint64_t nr_bitmaps, uint64_t nr_raised, uint64_t nr_large)
{
	struct tp_sm_work more = more_work(sm, nr_bitmaps, most_counts(sm, nr_raised), most_counts(sm, nr_large));

	return cost_above(sm, &more) + lasting_growth(&more) - lasting_growth(&sm->work);
}

uint64_t tp_sm_cost(const struct thinp_sm *sm, uint64_t nr_blocks)
{
	return tp_sm_raise_cost(sm, nr_blocks, nr_blocks, 0);
}

/* --- changes that free space ----------------------------------------------------------------------------------------- */

/* How deep a tree can be that has at least a third of what its nodes can hold. */
static uint32_t most_depth(const struct thinp_sm *metadata)
{
	uint64_t nr_leaves = 2;
	uint32_t depth = 1;

	while (nr_leaves < metadata->now.nr_blocks) {
		nr_leaves *= 84;
		depth++;
	}
	return depth;
}

/* The nodes on a way down a tree, and two neighbours of each but the root. */
uint64_t tp_sm_release_way(const struct thinp_sm *metadata)
{
	return 3 * (uint64_t)most_depth(metadata) - 2;
}

/* What is kept back does not depend on how many blocks are in use. */
static uint64_t release_of(const struct thinp_sm *sm, uint64_t nr_bitmaps, uint64_t nr_raised, uint64_t nr_lowered)
{
	struct tp_sm_work more = more_work(sm, nr_bitmaps, nr_raised, nr_lowered);

	return cost_above(sm, &more) + lasting_growth(&more);
}

uint64_t tp_sm_lowering_cost(const struct thinp_sm *metadata)
{
	return release_of(metadata, 0, 0, metadata->now.nr_blocks);
}

uint64_t tp_sm_release_cost(const struct thinp_sm *metadata)
{
	uint64_t nr_raised = min64(metadata->release.nr_raised, metadata->now.nr_blocks);
	uint64_t sum = metadata->release.nr_nodes;

	if (!sum) /* nobody has said more: a tree of two levels */
		sum = 2 * tp_sm_release_way(metadata);
	sum += release_of(metadata, 0, nr_raised, metadata->now.nr_blocks);
	for (const struct thinp_sm *sm = metadata->data_maps; sm; sm = sm->next)
		sum += release_of(sm, RELEASE_VALUES, 0, min64(RELEASE_VALUES, sm->now.nr_blocks));
	return sum;
}

void tp_sm_set_release(struct thinp_sm *metadata, uint64_t nr_nodes, uint64_t nr_raised)
{
	metadata->release = (struct tp_sm_release){.nr_nodes = nr_nodes, .nr_raised = nr_raised};
}

/* --- is there room? -------------------------------------------------------------------------------------------------- */

int tp_sm_check_cost(struct thinp_sm *sm, const struct tp_sm_work *work, uint64_t nr_blocks)
{
	struct thinp_sm *metadata = sm->metadata;
	uint64_t cost;

	if (metadata->is_recording)
		return 0; /* this is what was kept back */
	cost = known_cost(metadata);
	if (memcmp(work, &sm->work, sizeof(*work)) != 0)
		cost = cost - tp_sm_cost_of(sm, &sm->work) + tp_sm_cost_of(sm, work);
	if (cost <= metadata->now.nr_available && nr_blocks <= metadata->now.nr_available - cost)
		return 0;
	return tp_fail(THINP_ENOSPC, THINP_NO_BLOCK,
		       "%" PRIu64 " metadata blocks can be taken, %" PRIu64 " of them are kept back for a commit",
		       metadata->now.nr_available, cost);
}
