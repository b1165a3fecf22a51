/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/copy_graph.c - copying what is reachable from a root.
 *
 * Depth first, children before their parents, so that a block is written once and for all, with the new addresses in it. A
 * table with a number for each block of the old store says where it has gone: what is met again only gets one reference
 * more. So shared blocks stay shared, every block is copied once at most, whatever the damage, and the new counts are right.
 *
 * A block that is on the way down stands in the table as BEING_COPIED: met again, it is its own ancestor.
 */
#include "store/copy_graph.h"

#include "base/alloc.h"
#include "format/address.h"
#include "format/node.h"

#include <inttypes.h>
#include <string.h>

#define BEING_COPIED      UINT32_MAX
#define PROGRESS_INTERVAL 64u /* blocks */

/* A node on the way from the root. */
struct tp_copy_frame {
	thinp_block_t block;
	uint32_t level;
	uint32_t depth; /* within its level */
	uint32_t index; /* of the child that is being copied */
	uint8_t node[THINP_BLOCK_SIZE];
};

int tp_copy_init(struct tp_copy *copy)
{
	copy->places = tp_alloc_zeroed(&copy->allocator, copy->nr_blocks, sizeof(*copy->places));
	return copy->places ? 0 : THINP_ENOMEM;
}

void tp_copy_exit(struct tp_copy *copy)
{
	for (uint32_t i = 0; i < TP_COPY_MAX_LEVELS * TP_COPY_MAX_DEPTH; i++)
		tp_free(&copy->allocator, copy->frames[i], sizeof(*copy->frames[i]));
	tp_free(&copy->allocator, copy->places, copy->nr_blocks * sizeof(*copy->places));
}

/* --- single blocks --- */

static int read_copy(struct tp_copy *copy, thinp_block_t block, const struct thinp_block_type *type, void *data)
{
	struct thinp_read_section section;
	const void *found;
	int r;

	thinp_read_begin(copy->reader, &section);
	r = thinp_read_block(&section, block, type, &found);
	if (!r)
		memcpy(data, found, THINP_BLOCK_SIZE);
	thinp_read_end(&section);
	return r;
}

static int tell_progress(const struct tp_copy *copy)
{
	return copy->progress ? copy->progress(copy->progress_ctx, copy->nr_copied, copy->nr_expected) : 0;
}

/* Address and checksum are filled in when the block is written. */
static int write_copy(struct tp_copy *copy, thinp_block_t block, const struct thinp_block_type *type, const void *data)
{
	struct thinp_buffer *buffer;
	thinp_block_t place;
	void *new_data;
	int r = thinp_tm_reserve(copy->tm, 1, 0);

	if (!r)
		r = thinp_tm_new_block(copy->tm, type, THINP_CAUSE_NEW, &place, &buffer, &new_data);
	if (r)
		return r;
	memcpy(new_data, data, THINP_BLOCK_SIZE);
	thinp_tm_unlock(copy->tm, buffer);
	copy->places[block] = (uint32_t)place;
	return ++copy->nr_copied % PROGRESS_INTERVAL ? 0 : tell_progress(copy);
}

static int copy_end(struct tp_copy *copy, thinp_block_t block, const struct thinp_block_type *type)
{
	uint8_t data[THINP_BLOCK_SIZE];
	int r = read_copy(copy, block, type, data);

	return r ? r : write_copy(copy, block, type, data);
}

/* --- nodes on the way --- */

static struct tp_copy_frame *top(const struct tp_copy *copy)
{
	return copy->frames[copy->nr_frames - 1];
}

static bool is_last_level(const struct tp_copy_shape *shape, const struct tp_copy_frame *frame)
{
	return frame->level + 1 == shape->nr_levels;
}

/* What the values of a node point to; NULL: they are no addresses. */
static const struct thinp_block_type *child_type(const struct tp_copy_shape *shape, const struct tp_copy_frame *frame)
{
	return tp_node_is_leaf(frame->node) && is_last_level(shape, frame) ? shape->end : thinp_block_type_node();
}

static uint8_t *value_at(struct tp_copy_frame *frame, uint32_t index)
{
	size_t size = tp_node_value_size(frame->node);

	return frame->node + TP_NODE_HEADER_SIZE + 8 * (size_t)tp_node_capacity(frame->node) + index * size;
}

static int check_node(const struct tp_copy_shape *shape, const struct tp_copy_frame *frame)
{
	bool is_leaf = tp_node_is_leaf(frame->node);
	uint32_t value_size = is_last_level(shape, frame) ? shape->value_size : 8;

	if (is_leaf && tp_node_value_size(frame->node) != value_size)
		return tp_fail(THINP_ECORRUPT, frame->block,
			       "btree node: values of %" PRIu32 " bytes instead of %" PRIu32,
			       tp_node_value_size(frame->node), value_size);
	if (!is_leaf && frame->depth + 1 == TP_COPY_MAX_DEPTH)
		return tp_fail(THINP_ECORRUPT, frame->block, "btree node: deeper than a tree can be");
	return 0;
}

/* Only a hint: wrong addresses are passed over, and come out when they are read. */
static void prefetch_children(struct tp_copy *copy, const struct tp_copy_shape *shape, struct tp_copy_frame *frame)
{
	const struct thinp_block_type *type = child_type(shape, frame);
	thinp_block_t blocks[THINP_BLOCK_SIZE / 16];
	uint32_t nr = tp_node_nr_entries(frame->node);

	for (uint32_t i = 0; type && i < nr; i++)
		blocks[i] = tp_load_le64(value_at(frame, i));
	if (type && nr)
		thinp_reader_prefetch(copy->reader, type, blocks, nr);
}

static int push(struct tp_copy *copy, const struct tp_copy_shape *shape, thinp_block_t block, uint32_t level,
		uint32_t depth)
{
	struct tp_copy_frame **frame = &copy->frames[copy->nr_frames];
	int r;

	if (!*frame)
		*frame = tp_alloc_zeroed(&copy->allocator, 1, sizeof(**frame));
	if (!*frame)
		return THINP_ENOMEM;
	(*frame)->block = block;
	(*frame)->level = level;
	(*frame)->depth = depth;
	(*frame)->index = 0;
	r = read_copy(copy, block, thinp_block_type_node(), (*frame)->node);
	if (!r)
		r = check_node(shape, *frame);
	if (r)
		return r;
	prefetch_children(copy, shape, *frame);
	copy->places[block] = BEING_COPIED;
	copy->nr_frames++;
	return 0;
}

static int push_child(struct tp_copy *copy, const struct tp_copy_shape *shape, thinp_block_t block)
{
	const struct tp_copy_frame *frame = top(copy);

	if (tp_node_is_leaf(frame->node))
		return push(copy, shape, block, frame->level + 1, 0);
	return push(copy, shape, block, frame->level, frame->depth + 1);
}

/* --- the way --- */

/* The child's new address takes the place of the old one. */
static void put_place(struct tp_copy_frame *frame, uint32_t place)
{
	tp_store_le64(value_at(frame, frame->index++), place);
}

/* What was met before: one more points to it. */
static int share(struct tp_copy *copy, thinp_block_t block, thinp_block_t parent)
{
	if (copy->places[block] == BEING_COPIED)
		return tp_fail(THINP_ECORRUPT, parent, "btree node: block %" PRIu64 " is its own ancestor", block);
	return thinp_tm_inc(copy->tm, copy->places[block], 1, THINP_CAUSE_USER);
}

/* Copies the next child of the node on top, or begins to. */
static int copy_child(struct tp_copy *copy, const struct tp_copy_shape *shape)
{
	struct tp_copy_frame *frame = top(copy);
	const struct thinp_block_type *type = child_type(shape, frame);
	thinp_block_t child = tp_load_le64(value_at(frame, frame->index));
	int r = tp_address_check(child, copy->nr_blocks, frame->block, "btree node", "a child");

	if (r)
		return r;
	if (copy->places[child])
		r = share(copy, child, frame->block);
	else if (tp_node_is_leaf(frame->node) && is_last_level(shape, frame))
		r = copy_end(copy, child, type);
	else
		return push_child(copy, shape, child);
	if (!r)
		put_place(frame, copy->places[child]);
	return r;
}

/* All children of the node on top have their new addresses. */
static int pop(struct tp_copy *copy)
{
	struct tp_copy_frame *frame = top(copy);
	int r = write_copy(copy, frame->block, thinp_block_type_node(), frame->node);

	if (r)
		return r;
	copy->nr_frames--;
	if (copy->nr_frames)
		put_place(top(copy), copy->places[frame->block]);
	return 0;
}

int tp_copy_root(struct tp_copy *copy, const struct tp_copy_shape *shape, thinp_block_t root, thinp_block_t *new_root)
{
	int r = tp_address_check(root, copy->nr_blocks, THINP_NO_BLOCK, "superblock", "a root");

	if (r)
		return r;
	r = copy->places[root] ? share(copy, root, root) : push(copy, shape, root, 0, 0);
	while (!r && copy->nr_frames) {
		struct tp_copy_frame *frame = top(copy);
		bool is_done = !child_type(shape, frame) || frame->index == tp_node_nr_entries(frame->node);

		r = is_done ? pop(copy) : copy_child(copy, shape);
	}
	if (!r)
		*new_root = copy->places[root];
	return r;
}
