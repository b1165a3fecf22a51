/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/nodes.c - how large the trees of a map are. Only internal nodes are read, of which there are few.
 */
#include "space_map/sm.h"

#include "format/node.h"

#include <thinp/btree.h>

/* Tells how many children a node has, 0 for a leaf, and the address of child i if there is one. */
static int read_child(struct thinp_reader *reader, thinp_block_t block, uint32_t i, uint32_t *nr, thinp_block_t *child)
{
	struct thinp_read_section section;
	const void *node;
	int r;

	thinp_read_begin(reader, &section);
	r = thinp_read_block(&section, block, thinp_block_type_node(), &node);
	if (!r) {
		*nr = tp_node_is_leaf(node) ? 0 : tp_node_nr_entries(node);
		if (i < *nr)
			*child = tp_node_value64(node, i);
	}
	thinp_read_end(&section);
	return r;
}

int tp_sm_measure_depth(struct thinp_reader *reader, struct tp_sm_tree *tree)
{
	thinp_block_t block = tree->root;

	for (uint32_t depth = 1; depth <= THINP_BTREE_MAX_DEPTH; depth++) {
		uint32_t nr;
		int r = read_child(reader, block, 0, &nr, &block);

		if (r)
			return r;
		if (!nr) {
			tree->depth = depth;
			return 0;
		}
	}
	return tp_fail(THINP_ECORRUPT, tree->root, "a tree of a space map is deeper than %u nodes",
		       THINP_BTREE_MAX_DEPTH);
}

struct frame {
	thinp_block_t block;
	uint32_t next;
};

/* Visits all internal nodes, and adds up their children. */
static int add_up(struct thinp_reader *reader, const struct tp_sm_tree *tree, uint64_t *nr_nodes)
{
	struct frame frames[THINP_BTREE_MAX_DEPTH] = {{.block = tree->root}};
	uint64_t limit = thinp_reader_nr_blocks(reader);
	uint32_t at = 0;

	*nr_nodes = 1;
	for (;;) {
		struct frame *frame = &frames[at];
		thinp_block_t child = 0;
		uint32_t nr;
		int r = read_child(reader, frame->block, frame->next, &nr, &child);

		if (r)
			return r;
		*nr_nodes += frame->next ? 0 : nr;
		if (*nr_nodes > limit)
			return tp_fail(THINP_ECORRUPT, tree->root,
				       "a tree of a space map has more nodes than there are");
		if (frame->next < nr && at + 2 < tree->depth) {
			frame->next++;
			frames[++at] = (struct frame){.block = child};
		} else if (!at--) {
			return 0;
		}
	}
}

int tp_sm_measure_tree(struct thinp_reader *reader, struct tp_sm_tree *tree)
{
	int r = tp_sm_measure_depth(reader, tree);

	return r ? r : add_up(reader, tree, &tree->nr_nodes);
}
