/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/drop.c - dropping references to trees and parts of trees, and what dies with the last one.
 *
 * Invariants
 *   1. What is below a node loses its references before the node does, so whatever is read here is still in use.
 *   2. Blocks lose their references in ascending runs, a little later than they are passed. A block is not asked for its
 *      count while it waits in the run: met a second time in one call, it would seem to be shared still.
 *   3. The stack cannot overflow: tp_btree_check_node() bounds the depth within a level.
 *
 * Damage shows itself as in path.c: the ranges of keys that parents leave to their children do not overlap, and what has
 * no keys is bounded by depth. A block that is referred to more often than it is counted is met with a count of 0.
 */
#include "btree/drop.h"

#include "format/address.h"

#include <inttypes.h>

void tp_drop_init(struct tp_drop *drop, struct thinp_tm *tm, const struct thinp_btree_type *type, bool is_counting)
{
	drop->tm = tm;
	drop->type = type;
	drop->is_counting = is_counting;
	drop->nr_entries = 0;
	drop->run.nr = 0;
	drop->has_begun = false;
	drop->nr_frames = 0;
	memset(drop->leaf_depth, 0, sizeof(drop->leaf_depth));
}

int tp_drop_finish(struct tp_drop *drop)
{
	struct tp_drop_run run = drop->run;
	int r;

	if (!run.nr)
		return 0;
	drop->run.nr = 0;
	r = thinp_tm_dec(drop->tm, run.first, run.nr, THINP_CAUSE_FREE);
	if (!r)
		drop->has_begun = true;
	return r;
}

static int dec_block(struct tp_drop *drop, thinp_block_t block)
{
	int r;

	if (drop->run.nr && block == drop->run.first + drop->run.nr) {
		drop->run.nr++;
		return 0;
	}
	r = tp_drop_finish(drop);
	drop->run = (struct tp_drop_run){.first = block, .nr = 1};
	return r;
}

/* Tells how many own a block. */
static int count_owners(struct tp_drop *drop, const struct tp_btree_child *at, uint32_t *count)
{
	uint64_t nr_blocks = thinp_reader_nr_blocks(thinp_tm_reader(drop->tm));
	int r = 0;

	if (at->parent != THINP_NO_BLOCK)
		r = tp_address_check(at->block, nr_blocks, at->parent, "btree node", "a child");
	else if (at->block >= nr_blocks)
		r = tp_fail(THINP_ECORRUPT, at->block, "btree node: a root behind the last of %" PRIu64 " blocks",
			    nr_blocks);
	if (!r && at->block - drop->run.first < drop->run.nr)
		r = tp_drop_finish(drop);
	if (!r)
		r = thinp_tm_count(drop->tm, at->block, count);
	if (!r && !*count)
		r = tp_fail(THINP_ECORRUPT, at->block, "btree node: used by %" PRIu64 ", but counted as free",
			    at->parent);
	return r;
}

static bool is_leaf_of_values(const struct tp_drop *drop, uint32_t level, bool is_leaf)
{
	return is_leaf && level + 1 == drop->type->nr_levels;
}

/* A leaf of the last level in drop->leaf. */
static int drop_values(struct tp_drop *drop, const struct tp_drop_frame *frame)
{
	int r = 0;

	drop->nr_entries += frame->nr_entries;
	if (frame->is_kept)
		return 0;
	drop->has_begun |= drop->type->dec && frame->nr_entries;
	r = tp_btree_dec_values(drop->type, tp_node_values(drop->leaf), frame->nr_entries);
	return r ? r : dec_block(drop, frame->at.block);
}

/* Reads a node that is being dropped. Of a leaf with values that are to be told a copy is made: no section is open while
 * the caller's function runs. */
static int read_node(struct tp_drop *drop, struct tp_drop_frame *frame)
{
	struct thinp_read_section section;
	const void *node;
	int r;

	thinp_read_begin(thinp_tm_reader(drop->tm), &section);
	r = tp_btree_read_node(&section, drop->type, &frame->at, &node);
	if (!r)
		r = tp_btree_check_end(&frame->at, frame->last, node, &drop->leaf_depth[frame->at.level]);
	if (!r) {
		frame->is_leaf = tp_node_is_leaf(node);
		frame->nr_entries = tp_node_nr_entries(node);
		if (is_leaf_of_values(drop, frame->at.level, frame->is_leaf) && drop->type->dec && !frame->is_kept)
			memcpy(drop->leaf, node, THINP_BLOCK_SIZE);
	}
	thinp_read_end(&section);
	return r;
}

/* Comes to a node: drops the reference to it when others have one, else goes on with what is below it. */
static int enter(struct tp_drop *drop, const struct tp_btree_child *at, uint64_t last, bool is_kept)
{
	struct tp_drop_frame frame = {.at = *at, .last = last, .is_kept = is_kept};
	uint32_t count = 0;
	int r = is_kept ? 0 : count_owners(drop, at, &count);

	if (!r && count > 1) {
		r = dec_block(drop, at->block);
		frame.is_kept = true;
		if (!drop->is_counting)
			return r;
	}
	if (!r && at->depth == 0)
		drop->leaf_depth[at->level] = 0;
	if (!r)
		r = read_node(drop, &frame);
	if (r)
		return r;
	if (is_leaf_of_values(drop, at->level, frame.is_leaf))
		return drop_values(drop, &frame);
	if (drop->nr_frames == TP_PATH_MAX_FRAMES)
		return tp_fail(THINP_ECORRUPT, at->block, "btree node: deeper than a tree can be");
	drop->frames[drop->nr_frames++] = frame;
	return 0;
}

/* Addresses of children from the frame's index on. */
static size_t children_ahead(const struct tp_drop_frame *frame, const void *node, thinp_block_t *blocks)
{
	size_t nr = 0;

	for (uint32_t i = frame->index; i < frame->nr_entries && nr < TP_PATH_PREFETCH; i++)
		blocks[nr++] = tp_node_value64(node, i);
	return nr;
}

/* Fetches children ahead, but none that will not be read because others own it, too. */
static void prefetch(struct tp_drop *drop, const struct tp_drop_frame *frame, thinp_block_t *blocks, size_t nr)
{
	struct thinp_reader *reader = thinp_tm_reader(drop->tm);
	struct thinp_error_info before = {.size = sizeof(before)};
	size_t nr_wanted = 0;

	thinp_error_last(&before);
	for (size_t i = 0; i < nr; i++) {
		uint32_t count = 1;

		if (blocks[i] >= thinp_reader_nr_blocks(reader))
			continue;
		if (!frame->is_kept && !drop->is_counting && thinp_tm_count(drop->tm, blocks[i], &count))
			tp_error_restore(&before);
		if (count == 1)
			blocks[nr_wanted++] = blocks[i];
	}
	if (nr_wanted > 1)
		thinp_reader_prefetch(reader, thinp_block_type_node(), blocks, nr_wanted);
}

/* Finds the next child. The node may have left the cache since, and a device can give something else now. */
static int next_child(struct tp_drop *drop, struct tp_drop_frame *frame, struct tp_btree_child *child, uint64_t *last)
{
	thinp_block_t blocks[TP_PATH_PREFETCH];
	struct thinp_read_section section;
	size_t nr_ahead = 0;
	const void *node;
	int r;

	thinp_read_begin(thinp_tm_reader(drop->tm), &section);
	r = tp_btree_read_node(&section, drop->type, &frame->at, &node);
	if (!r && (tp_node_nr_entries(node) != frame->nr_entries || tp_node_is_leaf(node) != frame->is_leaf))
		r = tp_fail(THINP_ECORRUPT, frame->at.block, "btree node: changed while the tree was being dropped");
	if (!r) {
		*child = tp_btree_child_at(&frame->at, frame->last, node, frame->index, last);
		if (frame->index >= frame->fetched_until) {
			nr_ahead = children_ahead(frame, node, blocks);
			frame->fetched_until = frame->index + (uint32_t)nr_ahead;
		}
	}
	thinp_read_end(&section);
	if (nr_ahead > 1)
		prefetch(drop, frame, blocks, nr_ahead);
	frame->index++;
	return r;
}

/* One step with the last frame: on to its next child, or away with it. */
static int step(struct tp_drop *drop)
{
	struct tp_drop_frame *frame = &drop->frames[drop->nr_frames - 1];
	struct tp_btree_child child;
	uint64_t last;
	int r;

	if (frame->index == frame->nr_entries) {
		drop->nr_frames--;
		return frame->is_kept ? 0 : dec_block(drop, frame->at.block);
	}
	r = next_child(drop, frame, &child, &last);
	return r ? r : enter(drop, &child, last, frame->is_kept);
}

int tp_drop_node(struct tp_drop *drop, const struct tp_btree_child *at, uint64_t last)
{
	int r = enter(drop, at, last, false);

	while (!r && drop->nr_frames)
		r = step(drop);
	drop->nr_frames = 0;
	return r;
}
