/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/path.c - moving along the leaves of a tree.
 *
 * What makes every walk end: each node's keys must lie in the range that its parent leaves to it. These ranges do not
 * overlap, so a node that has keys can be met in one place only; a circle or a shared child shows itself as a key out
 * of range. The bound on depth catches what has no keys.
 */
#include "btree/path.h"

#include "block/manager.h"

#include <string.h>

/* Where to go at each node of a descent. */
enum aim { AIM_FIRST, AIM_LAST, AIM_KEYS };

void tp_path_init(struct tp_path *path, struct thinp_reader *reader, const struct thinp_btree_type *type,
		  thinp_block_t root)
{
	path->reader = reader;
	path->type = *type;
	path->root = root;
	path->prefetch = false;
	path->prefetch_last = UINT64_MAX;
	path->known = NULL;
	path->is_known = false;
	path->nr_frames = 0;
	path->nr_entries = 0;
}

static bool is_last_level(const struct tp_path *path, uint32_t level)
{
	return level + 1 == path->type.nr_levels;
}

/* Which entry of a node to go on with. *exact: all keys so far were met exactly, so that keys decide. */
static uint32_t choose(const struct tp_path *path, const void *node, uint32_t level, enum aim aim, const uint64_t *keys,
		       bool *exact)
{
	uint32_t nr = tp_node_nr_entries(node);
	uint32_t index;

	if (aim == AIM_LAST)
		return nr ? nr - 1 : 0;
	if (aim == AIM_FIRST || !*exact)
		return 0;
	if (!tp_node_is_leaf(node)) {
		index = tp_node_upper_bound(node, keys[level]);
		return index ? index - 1 : 0;
	}
	index = tp_node_lower_bound(node, keys[level]);
	if (!is_last_level(path, level))
		*exact = index < nr && tp_node_key(node, index) == keys[level];
	return index;
}

/* Is it a leaf whose entries are known, and does it stand where it may? If not, it is read, and that shows what is wrong. */
static bool is_known(const struct tp_path *path, const struct tp_btree_child *at, uint64_t last)
{
	uint32_t leaf_depth = path->leaf_depth[at->level];
	uint64_t first_key, last_key;

	return path->known && path->known(path->known_ctx, at->block, &first_key, &last_key) &&
	       (!leaf_depth || leaf_depth == at->depth + 1) && first_key >= at->first && last_key <= last;
}

/* Addresses of the children to fetch ahead, from the frame's index on. */
static size_t children_ahead(const struct tp_path *path, struct tp_path_frame *frame, const void *node,
			     thinp_block_t *blocks)
{
	uint32_t i;
	size_t nr = 0;

	for (i = frame->index; i < frame->nr_entries && nr < TP_PATH_PREFETCH; i++) {
		uint64_t last;
		struct tp_btree_child child = tp_btree_child_at(&frame->at, frame->last, node, i, &last);

		if (tp_node_key(node, i) > path->prefetch_last)
			break;
		if (!is_known(path, &child, last))
			blocks[nr++] = child.block;
	}
	frame->fetched_until = i;
	return nr;
}

/* Goes from a frame to the child at its index. With prefetch on, the children that follow are fetched with it. */
static void go_to_child(struct tp_path *path, struct tp_path_frame *frame, const void *node,
			struct tp_btree_child *child, uint64_t *last, struct thinp_read_section *section)
{
	thinp_block_t blocks[TP_PATH_PREFETCH];
	size_t nr_ahead = 0;

	*child = tp_btree_child_at(&frame->at, frame->last, node, frame->index, last);
	if (tp_node_is_leaf(node))
		path->keys[frame->at.level] = tp_node_key(node, frame->index);
	if (child->depth == 0)
		path->leaf_depth[child->level] = 0;
	if (path->prefetch && frame->index >= frame->fetched_until)
		nr_ahead = children_ahead(path, frame, node, blocks);
	if (nr_ahead > 1) {
		thinp_read_end(section);
		thinp_reader_prefetch(path->reader, thinp_block_type_node(), blocks, nr_ahead);
		thinp_read_begin(path->reader, section);
	}
}

static void arrive(struct tp_path *path, const struct tp_btree_child *at, uint64_t last, const void *node)
{
	path->leaf_at = *at;
	path->leaf_last = last;
	path->is_known = false;
	path->nr_entries = tp_node_nr_entries(node);
	memcpy(path->leaf, node, THINP_BLOCK_SIZE);
}

static void arrive_unread(struct tp_path *path, const struct tp_btree_child *at, uint64_t last)
{
	path->leaf_at = *at;
	path->leaf_last = last;
	path->leaf_depth[at->level] = at->depth + 1;
	path->is_known = true;
	path->nr_entries = 0;
}

/* Goes down from a node to a leaf of the last level. Ends with THINP_ENODATA, the path ending in the node above, when
 * it comes to a leaf of an upper level that has no entry to go on with. */
static int descend(struct tp_path *path, struct tp_btree_child at, uint64_t last, enum aim aim, const uint64_t *keys,
		   uint32_t *index, struct thinp_read_section *section)
{
	bool exact = aim == AIM_KEYS;

	for (;;) {
		struct tp_path_frame *frame = &path->frames[path->nr_frames];
		const void *node;
		int r;

		if (is_known(path, &at, last)) {
			arrive_unread(path, &at, last);
			return 0;
		}
		r = tp_btree_read_node(section, &path->type, &at, &node);
		if (!r)
			r = tp_btree_check_end(&at, last, node, &path->leaf_depth[at.level]);
		if (r)
			return r;
		*index = choose(path, node, at.level, aim, keys, &exact);
		if (tp_node_is_leaf(node) && is_last_level(path, at.level)) {
			arrive(path, &at, last, node);
			return 0;
		}
		if (*index >= tp_node_nr_entries(node))
			return THINP_ENODATA;
		*frame = (struct tp_path_frame){.at = at,
						.last = last,
						.index = *index,
						.nr_entries = tp_node_nr_entries(node),
						.is_leaf = tp_node_is_leaf(node)};
		path->nr_frames++;
		go_to_child(path, frame, node, &at, &last, section);
	}
}

/* Reads a frame's node once more. It may have left the cache since, and a device can give something else now. */
static int read_again(struct tp_path *path, const struct tp_path_frame *frame, struct thinp_read_section *section,
		      const void **node)
{
	int r = tp_btree_read_node(section, &path->type, &frame->at, node);

	if (!r && (tp_node_nr_entries(*node) != frame->nr_entries || tp_node_is_leaf(*node) != frame->is_leaf))
		r = tp_fail(THINP_ECORRUPT, frame->at.block, "btree node: changed while the tree was being read");
	return r;
}

/* The child behind the one that a frame is at; THINP_NO_BLOCK: its node has none. */
static thinp_block_t block_behind(const struct tp_path_frame *frame, const void *node)
{
	return frame->index + 1 < frame->nr_entries ? tp_node_value64(node, frame->index + 1) : THINP_NO_BLOCK;
}

/* Asks for all lines of a node that is likely to be the next, if the cache has it. Inlined by force, as
 * tp_node_prefetch_group() is. */
static inline __attribute__((always_inline)) void ask_for(const struct thinp_read_section *section, thinp_block_t block)
{
	const struct thinp_buffer *buffer =
		section->slot ? tp_radix_find(&section->reader->bm->cache.table, block) : NULL;

	if (!buffer)
		return;
	__builtin_prefetch(buffer);
	for (size_t at = 0; at < THINP_BLOCK_SIZE; at += 64)
		__builtin_prefetch(buffer->data + at);
}

/* Goes to the neighbour of the child that the path last went to: up as far as needed, one step aside, down. */
static int step(struct tp_path *path, bool forward, struct thinp_read_section *section)
{
	size_t top = path->nr_frames;

	for (;;) {
		thinp_block_t behind = THINP_NO_BLOCK;
		struct tp_path_frame *frame;
		struct tp_btree_child child;
		const void *node;
		uint64_t last;
		uint32_t index;
		int r;

		while (top && (forward ? path->frames[top - 1].index + 1 >= path->frames[top - 1].nr_entries
				       : path->frames[top - 1].index == 0))
			top--;
		if (!top)
			return THINP_ENODATA;
		frame = &path->frames[top - 1];
		r = read_again(path, frame, section, &node);
		if (r)
			return r;
		if (forward) {
			frame->index++;
			behind = block_behind(frame, node);
		} else {
			frame->index--;
		}
		path->nr_frames = top;
		go_to_child(path, frame, node, &child, &last, section);
		r = descend(path, child, last, forward ? AIM_FIRST : AIM_LAST, NULL, &index, section);
		if (!r)
			ask_for(section, behind);
		if (r != THINP_ENODATA)
			return r;
		top = path->nr_frames; /* an upper level without entries: on to its neighbour */
	}
}

static int go_to_neighbour(struct tp_path *path, bool forward)
{
	struct thinp_read_section section;
	int r;

	thinp_read_begin(path->reader, &section);
	r = step(path, forward, &section);
	thinp_read_end(&section);
	return r;
}

int tp_path_next_leaf(struct tp_path *path)
{
	return go_to_neighbour(path, true);
}

int tp_path_prev_leaf(struct tp_path *path)
{
	return go_to_neighbour(path, false);
}

static int start(struct tp_path *path, enum aim aim, const uint64_t *keys, uint32_t *index)
{
	struct tp_btree_child root = {.parent = THINP_NO_BLOCK, .block = path->root};
	struct thinp_read_section section;
	int r;

	path->nr_frames = 0;
	path->nr_entries = 0;
	memset(path->leaf_depth, 0, sizeof(path->leaf_depth));
	thinp_read_begin(path->reader, &section);
	r = descend(path, root, UINT64_MAX, aim, keys, index, &section);
	if (r == THINP_ENODATA) {
		r = step(path, aim != AIM_LAST, &section);
		*index = 0;
	}
	thinp_read_end(&section);
	return r;
}

int tp_path_seek(struct tp_path *path, const uint64_t *keys, uint32_t *index)
{
	return start(path, AIM_KEYS, keys, index);
}

int tp_path_first(struct tp_path *path)
{
	uint32_t index;

	return start(path, AIM_FIRST, NULL, &index);
}

int tp_path_last(struct tp_path *path)
{
	uint32_t index;

	return start(path, AIM_LAST, NULL, &index);
}
