/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/splice.c - the way down to a leaf that gets many entries, and the way back up of what did not fit.
 *
 * It ends: a node that gets at most TP_SPLICE_MAX_NEW children becomes at most a third as many nodes and one.
 */
#include "btree/splice.h"

#include <string.h>

uint32_t tp_share_of_first(uint64_t nr, uint32_t nr_nodes, uint32_t capacity, bool is_packed)
{
	uint32_t least = tp_nr_nodes_for(capacity, 3);

	if (!is_packed || nr_nodes == 1)
		return (uint32_t)(nr / nr_nodes);
	/* all nodes but the last two are full */
	if (nr_nodes > 2 || nr - capacity >= least)
		return capacity;
	return (uint32_t)nr - least;
}

static int begin_step(struct tp_splice *splice, const struct tp_btree_child *at, uint64_t last)
{
	struct tp_splice_step *step = &splice->steps[splice->nr_steps];
	int r = tp_btree_shadow(splice->tm, splice->type, at, THINP_CAUSE_SHADOW, &step->frame);

	if (r)
		return r;
	step->last = last;
	if (splice->nr_steps)
		tp_node_set_value64(step[-1].frame.node, step[-1].index, step->frame.block);
	splice->nr_steps++;
	return 0;
}

/* Where to go on from an internal node; the key of its first child is lowered when it has to be. */
static void choose(struct tp_splice_step *step, uint64_t key, struct tp_btree_child *at, uint64_t *last)
{
	uint8_t *node = step->frame.node;
	uint32_t behind = tp_node_upper_bound(node, key);

	if (!behind) {
		tp_node_set_key(node, 0, key);
		behind = 1;
	}
	step->index = behind - 1;
	if (behind < tp_node_nr_entries(node))
		*last = tp_node_key(node, behind) - 1;
	at->parent = step->frame.block;
	at->block = tp_node_value64(node, step->index);
	at->first = tp_node_key(node, step->index);
	at->depth++;
}

int tp_splice_begin(struct tp_splice *splice, struct thinp_tm *tm, const struct thinp_btree_type *type,
		    const struct tp_btree_child *root, uint64_t key)
{
	struct tp_btree_child at = *root;
	uint64_t last = UINT64_MAX;

	splice->tm = tm;
	splice->type = type;
	splice->level = root->level;
	splice->nr_steps = 0;
	for (;;) {
		struct tp_splice_step *step = &splice->steps[splice->nr_steps];
		int r = begin_step(splice, &at, last);

		if (r || tp_node_is_leaf(step->frame.node))
			return r;
		choose(step, key, &at, &last);
	}
}

void tp_splice_end(struct tp_splice *splice)
{
	while (splice->nr_steps)
		tp_btree_end(splice->tm, &splice->steps[--splice->nr_steps].frame);
}

int tp_splice_deepen(struct tp_splice *splice)
{
	struct tp_splice_step *steps = splice->steps;
	uint8_t *root = steps[0].frame.node;
	struct tp_btree_frame child;
	uint64_t first = tp_node_nr_entries(root) ? tp_node_key(root, 0) : 0;
	int r;

	if (splice->nr_steps == THINP_BTREE_MAX_DEPTH)
		return tp_fail(THINP_ECORRUPT, steps[0].frame.block,
			       "btree node: the tree is deeper than %d nodes, or goes round in a circle",
			       THINP_BTREE_MAX_DEPTH);
	r = tp_btree_new_node_like(splice->tm, root, THINP_CAUSE_SPLIT, &child);
	if (r)
		return r;
	memcpy(child.node + TP_NODE_HEADER_SIZE, root + TP_NODE_HEADER_SIZE, THINP_BLOCK_SIZE - TP_NODE_HEADER_SIZE);
	tp_node_set_nr_entries(child.node, tp_node_nr_entries(root));
	tp_node_init(root, TP_NODE_INTERNAL, steps[0].frame.block, 8);
	tp_node_insert64(root, 0, first, child.block);
	memmove(&steps[1], &steps[0], splice->nr_steps * sizeof(*steps));
	splice->nr_steps++;
	steps[1].frame = child;
	steps[0].index = 0;
	return 0;
}

/* The entries of a node together with new ones somewhere among them, to be given out in order. */
struct deal {
	uint8_t old[THINP_BLOCK_SIZE];
	const struct tp_new_child *children;
	uint32_t nr_children;
	uint32_t at;   /* before this entry of old come the children */
	uint32_t next; /* number of the next entry, of all */
};

static void deal_out(struct deal *deal, uint8_t *node, uint32_t nr)
{
	uint32_t base = tp_node_nr_entries(node);

	for (uint32_t i = 0; i < nr; i++, deal->next++) {
		uint32_t child = deal->next - deal->at;

		if (deal->next < deal->at) {
			tp_node_copy(node, base + i, deal->old, deal->next, 1);
		} else if (child < deal->nr_children) {
			tp_node_set_key(node, base + i, deal->children[child].key);
			tp_node_set_value64(node, base + i, deal->children[child].block);
		} else {
			tp_node_copy(node, base + i, deal->old, deal->next - deal->nr_children, 1);
		}
	}
	tp_node_set_nr_entries(node, base + nr);
}

/* Deals the entries out to the node itself and to new ones behind it. */
static int deal_to_nodes(struct tp_splice *splice, uint8_t *node, struct deal *deal, struct tp_new_child *made,
			 uint32_t *nr_made)
{
	uint32_t left = tp_node_nr_entries(deal->old) + deal->nr_children;
	uint32_t capacity = tp_node_capacity(node);
	uint32_t nr_nodes = tp_nr_nodes_for(left, capacity);
	bool is_packed = deal->at == tp_node_nr_entries(deal->old);
	uint32_t nr = tp_share_of_first(left, nr_nodes, capacity, is_packed);

	tp_node_set_nr_entries(node, 0);
	deal_out(deal, node, nr);
	for (*nr_made = 0; --nr_nodes; (*nr_made)++) {
		struct tp_btree_frame frame;
		int r = tp_btree_new_node_like(splice->tm, node, THINP_CAUSE_SPLIT, &frame);

		if (r)
			return r;
		left -= nr;
		nr = tp_share_of_first(left, nr_nodes, capacity, is_packed);
		deal_out(deal, frame.node, nr);
		made[*nr_made] = (struct tp_new_child){tp_node_key(frame.node, 0), frame.block};
		tp_btree_end(splice->tm, &frame);
	}
	return 0;
}

static int check_capacity(const struct tp_btree_frame *frame)
{
	if (tp_node_capacity(frame->node) < 3)
		return tp_fail(THINP_ECORRUPT, frame->block,
			       "btree node: cannot be split, for it has room for only %u entries",
			       tp_node_capacity(frame->node));
	return 0;
}

int tp_splice_add(struct tp_splice *splice, uint32_t step, const struct tp_new_child *children, uint32_t nr_children)
{
	struct tp_new_child lists[2][TP_SPLICE_MAX_NEW];
	struct deal deal = {.children = children, .nr_children = nr_children};

	for (unsigned int round = 0; deal.nr_children; round++) {
		struct tp_new_child *made = lists[round % 2];
		uint32_t nr_made;
		uint8_t *node;
		int r = 0;

		step--;
		if (!step && tp_node_room(splice->steps[0].frame.node) < deal.nr_children) {
			r = tp_splice_deepen(splice);
			step++;
		}
		if (!r)
			r = check_capacity(&splice->steps[step].frame);
		if (r)
			return r;
		node = splice->steps[step].frame.node;
		memcpy(deal.old, node, THINP_BLOCK_SIZE);
		deal.at = splice->steps[step].index + 1;
		deal.next = 0;
		r = deal_to_nodes(splice, node, &deal, made, &nr_made);
		if (r)
			return r;
		deal.children = made;
		deal.nr_children = nr_made;
	}
	return 0;
}
