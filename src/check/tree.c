/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/tree.c - the way down: from the greatest height to the leaves, one height after the other.
 *
 * A tree does not say how high it is. So a look ahead goes from the root along first children to a leaf, and where a
 * child cannot be read, along the next one. All nodes are then visited at the height that follows from their parents'.
 * A pointer whose target is known to be of another height is damage and is not followed: that is why the work ends,
 * whatever the pointers say.
 */
#include "base/bytes.h"
#include "check/checker.h"
#include "format/kind.h"
#include "format/node.h"

#include <inttypes.h>
#include <string.h>

#define MAX_TRIES 16u   /* children that a look ahead tries for each node */
#define MAX_LOOP  4096u /* nodes to look at, to tell a loop from another wrong height */

/* --- looking ahead --- */

/* A node on the way down. */
struct frame {
	uint32_t block;
	uint32_t at;    /* the child that is being tried */
	uint32_t tries; /* that failed */
};

struct probe {
	struct tp_worker *worker;
	int part;
	uint32_t depth; /* frames in use */
	struct frame frames[TP_PROBE_DEPTH];
};

#define PROBE_FAILED (-1)

/* Only what is needed to go on: the visit will say what is wrong. */
static bool looks_like_node(const uint8_t *data, uint32_t block)
{
	uint32_t flags = tp_load_le32(data + 4);

	return (tp_block_crc(data) ^ TP_CSUM_XOR_NODE) == tp_load_le32(data) && tp_load_le64(data + 8) == block &&
	       (flags == TP_NODE_LEAF ||
		(flags == TP_NODE_INTERNAL && tp_node_value_size(data) == 8 && tp_node_nr_entries(data) > 0 &&
		 tp_node_capacity(data) <= tp_node_max_entries(8) &&
		 tp_node_nr_entries(data) <= tp_node_capacity(data)));
}

/* The height of a node that is known, that is a leaf or that cannot be read; else it is one more frame, and *is_below. */
static int enter(struct probe *probe, uint64_t address, bool *is_below)
{
	struct tp_checker *checker = probe->worker->checker;
	struct tp_node_info *info;
	const uint8_t *data;

	*is_below = false;
	if (!address || address >= checker->nr_blocks || probe->depth > TP_MAX_HEIGHT)
		return PROBE_FAILED;
	info = tp_node_look(checker, address);
	if (info && info->part)
		return info->part == probe->part ? info->height : PROBE_FAILED;
	if (info && info->probed)
		return info->probed - 1;
	for (uint32_t i = 0; i < probe->depth; i++)
		if (probe->frames[i].block == address)
			return PROBE_FAILED;
	data = tp_window_read_one(&checker->ahead, (uint32_t)address);
	if (!data || !looks_like_node(data, (uint32_t)address))
		return PROBE_FAILED;
	if (tp_node_is_leaf(data))
		return 0;
	memcpy(checker->probe_blocks + (size_t)probe->depth * THINP_BLOCK_SIZE, data, THINP_BLOCK_SIZE);
	probe->frames[probe->depth++] = (struct frame){.block = (uint32_t)address};
	*is_below = true;
	return 0;
}

/* Takes what the child of the lowest frame gave. True: the frame has its height, and is gone. */
static bool take_child(struct probe *probe, int *height)
{
	struct frame *frame = &probe->frames[probe->depth - 1];
	const uint8_t *data = probe->worker->checker->probe_blocks + (size_t)(probe->depth - 1) * THINP_BLOCK_SIZE;

	if (*height == PROBE_FAILED && frame->at + 1 < tp_node_nr_entries(data) && ++frame->tries < MAX_TRIES) {
		frame->at++;
		return false;
	}
	*height = *height == PROBE_FAILED ? 1 : *height + 1;
	if (*height > (int)TP_MAX_HEIGHT + 1)
		*height = TP_MAX_HEIGHT + 1;
	probe->depth--;
	return true;
}

static int remember(struct probe *probe, int height)
{
	struct tp_node_info *info = tp_node_make(probe->worker->checker, probe->frames[probe->depth].block);

	if (!info)
		return THINP_ENOMEM;
	info->probed = (uint8_t)(height + 1);
	return 0;
}

/* *height: of the tree; 0 when its root cannot be read, which the visit will tell. */
static int find_height(struct tp_worker *worker, int part, uint64_t root, int *height)
{
	struct probe probe = {.worker = worker, .part = part};
	bool is_below;
	int r = 0;

	*height = enter(&probe, root, &is_below);
	if (*height == PROBE_FAILED)
		*height = 0;
	while (!r && probe.depth) {
		const struct frame *frame = &probe.frames[probe.depth - 1];
		const uint8_t *data = worker->checker->probe_blocks + (size_t)(probe.depth - 1) * THINP_BLOCK_SIZE;

		*height = enter(&probe, tp_node_value64(data, frame->at), &is_below);
		if (is_below)
			continue;
		while (!r && probe.depth && take_child(&probe, height))
			r = remember(&probe, *height);
	}
	return r;
}

int tp_tree_reach_root(struct tp_worker *worker, uint64_t root, struct tp_reach *reach)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_N13, THINP_CHECK_FATAL, reach->part, root);
	bool is_sound;
	int height;
	int r = find_height(worker, reach->part, root, &height);

	if (r)
		return r;
	if (height > (int)TP_MAX_HEIGHT) {
		tp_found(&worker->finder, &finding, "a tree of more than %u levels", TP_MAX_HEIGHT + 1);
		height = 0;
	}
	reach->height = (uint32_t)height;
	reach->lower = 0;
	reach->last = UINT64_MAX;
	reach->flags |= TP_REACHED_ROOT;
	return tp_node_reach(worker, root, reach, &is_sound);
}

/* --- telling loops from other wrong heights: rare --- */

/* A child that is one level below its parent, as it must be; else NULL. */
static const struct tp_node_info *proper_child(const struct tp_checker *checker, uint32_t parent, uint64_t address)
{
	const struct tp_node_info *above = tp_node_look(checker, parent);
	const struct tp_node_info *info;

	if (!address || address >= checker->nr_blocks)
		return NULL;
	info = tp_node_look(checker, address);
	return info && info->part && info->height + 1u == above->height ? info : NULL;
}

/* Is `wanted` below `from`? Goes down by proper children only, so it ends; gives up after MAX_LOOP nodes. */
static bool leads_to(struct tp_checker *checker, uint32_t from, uint32_t wanted)
{
	struct frame frames[TP_PROBE_DEPTH] = {{.block = from}};
	uint32_t nr_read = 0;
	uint32_t depth = 1;

	while (depth && nr_read++ < MAX_LOOP) {
		struct frame *frame = &frames[depth - 1];
		const uint8_t *data = tp_window_read_one(&checker->ahead, frame->block);
		const struct tp_node_info *child;
		uint64_t address;

		if (!data || !looks_like_node(data, frame->block) || tp_node_is_leaf(data) ||
		    frame->at >= tp_node_nr_entries(data)) {
			depth--;
			continue;
		}
		address = tp_node_value64(data, frame->at++);
		if (address == wanted)
			return true;
		child = proper_child(checker, frame->block, address);
		if (child && child->height && depth < TP_PROBE_DEPTH)
			frames[depth++] = (struct frame){.block = (uint32_t)address};
	}
	return false;
}

static bool is_loop(struct tp_checker *checker, uint32_t block, uint32_t height, uint64_t child)
{
	const struct tp_node_info *info;

	if (!child || child >= checker->nr_blocks)
		return false;
	if (child == block)
		return true;
	info = tp_node_look(checker, child);
	return info && info->part && info->height > height && leads_to(checker, (uint32_t)child, block);
}

/* --- internal nodes --- */

static void fail_twice(struct tp_worker *worker, const struct tp_reach *reach, uint64_t child)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_BL6, THINP_CHECK_FATAL, reach->part, reach->from);

	finding.stored = child;
	tp_found(&worker->finder, &finding, "names block %" PRIu64 " as a child twice", child);
}

/* Only a block that is known to be as high as the node, or higher, can lead back to it. */
static bool may_be_loop(const struct tp_checker *checker, const struct tp_node_info *info, uint64_t child)
{
	const struct tp_node_info *below = child < checker->nr_blocks ? tp_node_look(checker, child) : NULL;

	return below && below->part && below->height >= info->height;
}

/* One pointer of a node. The stamp tells of a child that the node has named before. */
static int visit_child(struct tp_worker *worker, struct tp_node_info *info, struct tp_reach *reach, uint64_t child)
{
	struct tp_checker *checker = worker->checker;
	struct tp_node_info *below;
	bool is_sound;
	int r;

	reach->is_loop = may_be_loop(checker, info, child) && is_loop(checker, reach->from, info->height, child);
	r = tp_node_reach(worker, child, reach, &is_sound);
	if (r)
		return r;
	if (!is_sound) {
		info->flags |= TP_NODE_DAMAGED;
		return 0;
	}
	below = tp_node_look(checker, child);
	if (below->flags & TP_NODE_STAMP)
		fail_twice(worker, reach, child);
	below->flags |= TP_NODE_STAMP;
	if (reach->part == THINP_CHECK_MAPPINGS)
		((uint32_t *)checker->edges.entries)[checker->edges.nr++] = (uint32_t)child;
	return 0;
}

static void clear_stamps(const struct tp_checker *checker, const uint8_t *data)
{
	for (uint32_t i = 0; i < tp_node_nr_entries(data); i++) {
		uint64_t child = tp_node_value64(data, i);
		struct tp_node_info *info = child && child < checker->nr_blocks ? tp_node_look(checker, child) : NULL;

		if (info)
			info->flags &= (uint8_t)~TP_NODE_STAMP;
	}
}

/* Makes room for all edges at once. */
static int begin_inner(struct tp_checker *checker, uint32_t block, uint32_t nr_entries)
{
	struct tp_inner *inner = tp_vector_add(checker, &checker->inners, sizeof(*inner));

	if (!inner || tp_vector_reserve(checker, &checker->edges, nr_entries, sizeof(uint32_t)))
		return THINP_ENOMEM;
	*inner = (struct tp_inner){.block = block, .first_edge = checker->edges.nr};
	return 0;
}

static void end_inner(struct tp_checker *checker)
{
	struct tp_inner *inner = (struct tp_inner *)checker->inners.entries + checker->inners.nr - 1;

	inner->nr_edges = (uint32_t)(checker->edges.nr - inner->first_edge);
}

/* Keys that do not ascend say nothing about the children. */
static int visit_children(struct tp_worker *worker, const uint8_t *data, uint32_t block, struct tp_node_info *info,
			  bool in_order)
{
	uint32_t nr = tp_node_nr_entries(data);
	struct tp_reach reach = {
		.part = info->part,
		.height = info->height - 1u,
		.from = block,
		.device_id = THINP_CHECK_NONE,
		.snap_time = info->snap_time,
		.device = info->device,
		.flags = (info->flags & (TP_REACHED_LIVE | TP_REACHED_HELD)) | TP_REACHED_CHILD,
	};
	uint64_t last = info->last;
	int r = 0;

	for (uint32_t i = 0; !r && i < nr; i++) {
		reach.lower = in_order ? tp_node_key(data, i) : 0;
		reach.last = in_order && i + 1 < nr ? tp_node_key(data, i + 1) - 1 : last;
		r = visit_child(worker, info, &reach, tp_node_value64(data, i));
	}
	clear_stamps(worker->checker, data);
	return r;
}

static int visit_internal(struct tp_worker *worker, const uint8_t *data, uint32_t block, struct tp_node_info *info,
			  bool in_order)
{
	bool is_mapping = info->part == THINP_CHECK_MAPPINGS;
	int r = is_mapping ? begin_inner(worker->checker, block, tp_node_nr_entries(data)) : 0;

	if (!r)
		r = visit_children(worker, data, block, info, in_order);
	if (!r && is_mapping)
		end_inner(worker->checker);
	return r;
}

/* --- leaves of the small trees --- */

static int visit_leaf(struct tp_worker *worker, const uint8_t *data, uint32_t block, const struct tp_node_info *info)
{
	struct tp_checker *checker = worker->checker;
	uint32_t flags = info->flags & (TP_REACHED_LIVE | TP_REACHED_HELD);

	switch (info->part) {
	case THINP_CHECK_DEVICES:
		return tp_devices_take_root(checker, data, block, flags);
	case THINP_CHECK_DETAILS:
		return tp_devices_take_details(checker, data, block, flags);
	case THINP_CHECK_DATA_INDEX:
		return tp_maps_take_index(checker, data, block);
	case THINP_CHECK_DATA_OVERFLOW:
		return tp_maps_take_overflow(checker, &checker->data_overflow, data, block);
	case THINP_CHECK_METADATA_OVERFLOW:
		return tp_maps_take_overflow(checker, &checker->metadata_overflow, data, block);
	default:
		return 0; /* a mapping leaf where an internal node is due, which was told */
	}
}

static void fail_depth(struct tp_worker *worker, uint32_t block, const struct tp_node_info *info, bool is_leaf)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_N11, THINP_CHECK_FATAL, info->part, block);

	finding.expected = info->height;
	tp_found(&worker->finder, &finding,
		 is_leaf ? "a leaf, %u levels above the other leaves"
			 : "no leaf, but its neighbours are: %u levels above",
		 info->height);
}

static int visit_node(struct tp_worker *worker, const uint8_t *data, uint32_t block, struct tp_node_info *info)
{
	bool in_order;
	bool is_leaf;

	if (!tp_check_node(worker, data, block, info, &in_order)) {
		info->flags |= TP_NODE_DAMAGED;
		return 0;
	}
	if (!in_order)
		info->flags |= TP_NODE_DAMAGED;
	is_leaf = tp_node_is_leaf(data);
	if (is_leaf == !info->height)
		return is_leaf ? visit_leaf(worker, data, block, info)
			       : visit_internal(worker, data, block, info, in_order);
	info->flags |= TP_NODE_DAMAGED;
	fail_depth(worker, block, info, is_leaf);
	return is_leaf ? visit_leaf(worker, data, block, info) : 0;
}

static int visit_window(struct tp_worker *worker)
{
	struct tp_window *window = &worker->window;
	int r = 0;

	tp_window_read(window);
	for (size_t i = 0; !r && i < window->nr; i++)
		r = visit_node(worker, window->data[i], window->blocks[i],
			       tp_node_look(worker->checker, window->blocks[i]));
	if (!r)
		r = tp_checker_read(worker, window->nr);
	window->nr = 0;
	return r;
}

static int visit_chunk(struct tp_worker *worker, size_t chunk, uint32_t parts, uint32_t height)
{
	struct tp_checker *checker = worker->checker;
	const struct tp_node_info *nodes = checker->nodes[chunk];
	int r = 0;

	for (uint32_t i = 0; !r && i < TP_NODE_CHUNK; i++) {
		if (nodes[i].height != height || !(parts >> nodes[i].part & 1))
			continue;
		checker->nr_pending[nodes[i].part][height]--;
		worker->window.blocks[worker->window.nr++] = (uint32_t)(chunk * TP_NODE_CHUNK) + i;
		if (worker->window.nr == TP_WINDOW_BLOCKS)
			r = visit_window(worker);
	}
	return r;
}

static bool is_pending(const struct tp_checker *checker, uint32_t parts, uint32_t height)
{
	for (uint32_t part = 1; part <= THINP_CHECK_METADATA_INDEX; part++)
		if (parts >> part & 1 && checker->nr_pending[part][height])
			return true;
	return false;
}

/* The sum of the pending ones ends the search early where a pool uses the beginning of much metadata. */
static int visit_height(struct tp_checker *checker, uint32_t parts, uint32_t height)
{
	struct tp_worker *worker = &checker->workers[0];
	int r = 0;

	worker->window.nr = 0;
	for (size_t c = 0; !r && c < checker->nr_chunks && is_pending(checker, parts, height); c++)
		if (checker->nodes[c])
			r = visit_chunk(worker, c, parts, height);
	return !r && worker->window.nr ? visit_window(worker) : r;
}

int tp_tree_visit(struct tp_checker *checker, uint32_t parts)
{
	uint32_t mappings = 1u << THINP_CHECK_MAPPINGS;
	int r = 0;

	for (uint32_t height = TP_MAX_HEIGHT; !r && height > 0; height--)
		r = visit_height(checker, parts, height);
	if (!r)
		r = visit_height(checker, parts & ~mappings, 0);
	if (!r && parts & mappings)
		r = tp_mappings_visit(checker);
	return r;
}
