/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_shape.c - looking at every node of a tree.
 */
#include "support/tree_shape.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct node {
	uint8_t data[THINP_BLOCK_SIZE];
	bool is_leaf;
	uint32_t nr;
	uint32_t max;
	uint32_t value_size;
};

static void read_node(struct thinp_reader *reader, thinp_block_t block, struct node *node)
{
	struct thinp_read_section section;
	const void *data;
	uint32_t flags;

	thinp_read_begin(reader, &section);
	assert_int_equal(thinp_read_block(&section, block, thinp_block_type_node(), &data), 0);
	memcpy(node->data, data, THINP_BLOCK_SIZE);
	thinp_read_end(&section);
	flags = tp_load_le32(node->data + 4);
	assert_true(flags == 1 || flags == 2);
	node->is_leaf = flags == 2;
	node->nr = tp_load_le32(node->data + 16);
	node->max = tp_load_le32(node->data + 20);
	node->value_size = tp_load_le32(node->data + 24);
}

static uint64_t key_of(const struct node *node, uint32_t i)
{
	return tp_load_le64(node->data + 32 + 8 * (size_t)i);
}

static const uint8_t *value_of(const struct node *node, uint32_t i)
{
	return node->data + 32 + 8 * (size_t)node->max + (size_t)node->value_size * i;
}

/* --- SHAPE ----------------------------------------------------------------------------------------------------------- */

struct shape {
	struct thinp_reader *reader;
	const struct thinp_btree_type *type;
	struct tree_figures *figures;
	bool is_strict;
};

/* A tree that is being looked at. */
struct level {
	uint32_t level;
	uint32_t leaf_depth; /* of the leaves; UINT32_MAX: not known yet */
};

static void expect_header(const struct shape *shape, const struct level *level, const struct node *node, bool is_root)
{
	bool is_last = level->level + 1 == shape->type->nr_levels;
	uint32_t value_size = node->is_leaf && is_last ? shape->type->value_size : 8;

	assert_int_equal(node->value_size, value_size);
	assert_int_equal(node->max, (4096 - 32) / (8 + value_size) / 3 * 3);
	assert_in_range(node->nr, is_root && node->is_leaf ? 0 : 1, node->max);
	if (!is_root && node->nr < node->max / 3) {
		assert_false(shape->is_strict);
		shape->figures->nr_underfull++;
	}
}

static void expect_keys(const struct node *node, uint64_t first, uint64_t last)
{
	for (uint32_t i = 1; i < node->nr; i++)
		assert_true(key_of(node, i - 1) < key_of(node, i));
	if (!node->nr)
		return;
	assert_true(key_of(node, 0) >= first);
	assert_true(key_of(node, node->nr - 1) <= last);
}

static void expect_tree(const struct shape *shape, thinp_block_t root, uint32_t level);

static void expect_leaf(const struct shape *shape, struct level *level, const struct node *node, uint32_t depth)
{
	if (level->leaf_depth == UINT32_MAX)
		level->leaf_depth = depth;
	assert_int_equal(level->leaf_depth, depth);
	if (depth + 1 > shape->figures->depth)
		shape->figures->depth = depth + 1;
	if (level->level + 1 < shape->type->nr_levels) {
		for (uint32_t i = 0; i < node->nr; i++)
			expect_tree(shape, tp_load_le64(value_of(node, i)), level->level + 1);
		return;
	}
	shape->figures->nr_leaves++;
	shape->figures->nr_entries += node->nr;
	shape->figures->nr_places += node->max;
}

static void expect_node(const struct shape *shape, struct level *level, thinp_block_t block, uint32_t depth,
			uint64_t first, uint64_t last)
{
	struct node node;

	assert_true(depth < THINP_BTREE_MAX_DEPTH);
	read_node(shape->reader, block, &node);
	expect_header(shape, level, &node, depth == 0);
	expect_keys(&node, first, last);
	if (node.is_leaf) {
		expect_leaf(shape, level, &node, depth);
		return;
	}
	shape->figures->nr_internal++;
	for (uint32_t i = 0; i < node.nr; i++)
		expect_node(shape, level, tp_load_le64(value_of(&node, i)), depth + 1, key_of(&node, i),
			    i + 1 < node.nr ? key_of(&node, i + 1) - 1 : last);
}

static void expect_tree(const struct shape *shape, thinp_block_t root, uint32_t level)
{
	struct level state = {.level = level, .leaf_depth = UINT32_MAX};

	shape->figures->nr_trees++;
	expect_node(shape, &state, root, 0, 0, UINT64_MAX);
}

static void expect_shape(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
			 struct tree_figures *figures, bool is_strict)
{
	struct tree_figures own;
	const struct shape shape = {
		.reader = reader, .type = type, .figures = figures ? figures : &own, .is_strict = is_strict};

	*shape.figures = (struct tree_figures){0};
	expect_tree(&shape, root, 0);
}

void tree_shape_expect(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
		       struct tree_figures *figures)
{
	expect_shape(reader, type, root, figures, true);
}

void tree_shape_expect_loosely(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
			       struct tree_figures *figures)
{
	expect_shape(reader, type, root, figures, false);
}

/* --- REFCHECK -------------------------------------------------------------------------------------------------------- */

void tree_refs_init(struct tree_refs *refs, uint64_t nr_blocks, uint64_t nr_values)
{
	refs->nr_blocks = nr_blocks;
	refs->nr_values = nr_values;
	refs->blocks = calloc(nr_blocks, sizeof(*refs->blocks));
	refs->values = nr_values ? calloc(nr_values, sizeof(*refs->values)) : NULL;
	assert_non_null(refs->blocks);
	assert_true(refs->values || !nr_values);
}

void tree_refs_free(struct tree_refs *refs)
{
	free(refs->blocks);
	free(refs->values);
}

static void add_node(struct tree_refs *refs, struct thinp_reader *reader, const struct thinp_btree_type *type,
		     thinp_block_t block, uint32_t level);

static void add_values(struct tree_refs *refs, const struct node *node)
{
	for (uint32_t i = 0; refs->values && i < node->nr; i++) {
		uint32_t number = tp_load_le32(value_of(node, i));

		assert_true(number < refs->nr_values);
		refs->values[number]++;
	}
}

static void add_node(struct tree_refs *refs, struct thinp_reader *reader, const struct thinp_btree_type *type,
		     thinp_block_t block, uint32_t level)
{
	struct node node;

	assert_true(block < refs->nr_blocks);
	if (refs->blocks[block]++)
		return;
	read_node(reader, block, &node);
	if (node.is_leaf && level + 1 == type->nr_levels) {
		add_values(refs, &node);
		return;
	}
	for (uint32_t i = 0; i < node.nr; i++)
		add_node(refs, reader, type, tp_load_le64(value_of(&node, i)), level + node.is_leaf);
}

void tree_refs_add(struct tree_refs *refs, struct thinp_reader *reader, const struct thinp_btree_type *type,
		   thinp_block_t root)
{
	add_node(refs, reader, type, root, 0);
}

void tree_refs_expect(const struct tree_refs *refs, struct thinp_tm *tm)
{
	for (thinp_block_t block = 0; block < refs->nr_blocks; block++) {
		uint32_t count;

		assert_int_equal(thinp_tm_count(tm, block, &count), 0);
		if (count != refs->blocks[block])
			fail_msg("block %llu has the count %u, and %u references", (unsigned long long)block, count,
				 refs->blocks[block]);
	}
}
