/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/spine.c - the way down of a change, and how full nodes get room.
 *
 * Full nodes are given room on the way down, before it is known that they need it: so a node that gets a new child always
 * has room for it, and no way back up is needed.
 *
 * Invariants
 *   1. A node's address is in its parent before anything below it is changed.
 *   2. A parent's key is not larger than the first key of its child, also when the key to come is smaller than all.
 *   3. Siblings that are shared with another tree are left alone: to copy them would cost more room than is gained.
 */
#include "btree/spine.h"
#include "btree/redistribute.h"

#include <inttypes.h>

static int check_room_can_be_made(const struct tp_btree_frame *frame)
{
	if (tp_node_capacity(frame->node) < 3)
		return tp_fail(THINP_ECORRUPT, frame->block,
			       "btree node: cannot be split, for it has room for only %u entries",
			       tp_node_capacity(frame->node));
	return 0;
}

int tp_spine_begin(struct tp_btree_spine *spine, struct thinp_tm *tm, const struct thinp_btree_type *type,
		   const struct tp_btree_child *root)
{
	*spine = (struct tp_btree_spine){.tm = tm, .type = type, .level = root->level, .parent_last = UINT64_MAX};
	return tp_btree_shadow(tm, type, root, THINP_CAUSE_SHADOW, &spine->node);
}

void tp_spine_end(struct tp_btree_spine *spine)
{
	tp_btree_end(spine->tm, &spine->node);
	tp_btree_end(spine->tm, &spine->parent);
}

uint64_t tp_spine_first(const struct tp_btree_spine *spine)
{
	return spine->depth ? tp_node_key(spine->parent.node, spine->index) : 0;
}

uint64_t tp_spine_last(const struct tp_btree_spine *spine)
{
	if (!spine->depth || spine->index + 1 == tp_node_nr_entries(spine->parent.node))
		return spine->parent_last;
	return tp_node_key(spine->parent.node, spine->index + 1) - 1;
}

/* What a parent of nodes at the spine's depth + below says of its child. */
static struct tp_btree_child child_at(const struct tp_btree_spine *spine, const struct tp_btree_frame *parent,
				      uint32_t index, uint32_t depth)
{
	return (struct tp_btree_child){.parent = parent->block,
				       .block = tp_node_value64(parent->node, index),
				       .first = tp_node_key(parent->node, index),
				       .level = spine->level,
				       .depth = depth};
}

/* Shadows a child and puts its new address into the parent. */
static int shadow_child(struct tp_btree_spine *spine, struct tp_btree_frame *parent, uint32_t index, uint32_t depth,
			uint32_t cause, struct tp_btree_frame *frame)
{
	struct tp_btree_child child = child_at(spine, parent, index, depth);
	int r = tp_btree_shadow(spine->tm, spine->type, &child, cause, frame);

	if (!r)
		tp_node_set_value64(parent->node, index, frame->block);
	return r;
}

int tp_spine_step(struct tp_btree_spine *spine, uint64_t key)
{
	uint32_t behind = tp_node_upper_bound(spine->node.node, key);
	struct tp_btree_frame child;
	int r;

	if (!behind) {
		tp_node_set_key(spine->node.node, 0, key);
		behind = 1;
	}
	r = shadow_child(spine, &spine->node, behind - 1, spine->depth + 1, THINP_CAUSE_SHADOW, &child);
	if (r)
		return r;
	spine->parent_last = tp_spine_last(spine);
	tp_btree_end(spine->tm, &spine->parent);
	spine->parent = spine->node;
	spine->node = child;
	spine->index = behind - 1;
	spine->depth++;
	return 0;
}

/* --- making room ----------------------------------------------------------------------------------------------------- */

/* The root keeps its address, and gets two children in the place of its entries. */
static int split_beneath(struct tp_btree_spine *spine)
{
	struct tp_btree_frame *root = &spine->node;
	struct tp_btree_frame left = {0}, right = {0};
	uint32_t nr = tp_node_nr_entries(root->node);
	int r = tp_btree_new_node_like(spine->tm, root->node, THINP_CAUSE_SPLIT, &left);

	if (!r)
		r = tp_btree_new_node_like(spine->tm, root->node, THINP_CAUSE_SPLIT, &right);
	if (!r) {
		tp_node_copy(left.node, 0, root->node, 0, nr / 2);
		tp_node_set_nr_entries(left.node, nr / 2);
		tp_node_copy(right.node, 0, root->node, nr / 2, nr - nr / 2);
		tp_node_set_nr_entries(right.node, nr - nr / 2);
		tp_node_init(root->node, TP_NODE_INTERNAL, root->block, 8);
		tp_node_insert64(root->node, 0, tp_node_key(left.node, 0), left.block);
		tp_node_insert64(root->node, 1, tp_node_key(right.node, 0), right.block);
	}
	tp_btree_end(spine->tm, &left);
	tp_btree_end(spine->tm, &right);
	return r;
}

/* Keeps of two locked nodes the one in which the key belongs. */
static void keep(struct tp_btree_spine *spine, struct tp_btree_frame *left, struct tp_btree_frame *right,
		 uint32_t left_index, uint64_t key)
{
	bool is_left = key < tp_node_key(right->node, 0);

	tp_btree_end(spine->tm, is_left ? right : left);
	spine->index = is_left ? left_index : left_index + 1;
	spine->node = is_left ? *left : *right;
}

/* Where the next keys will come, to all appearances: a key behind the end of the last child tells that keys ascend, one
 * before the beginning of the first child that they descend. Then the node to get them is left as empty as may be, and the
 * other one is filled to the brim: it will get no more. */
enum trend { NO_TREND, ASCENDING, DESCENDING };

static enum trend trend_of(const struct tp_btree_spine *spine, uint64_t key)
{
	const void *node = spine->node.node;

	if (spine->index + 1 == tp_node_nr_entries(spine->parent.node) &&
	    key > tp_node_key(node, tp_node_nr_entries(node) - 1))
		return ASCENDING;
	return !spine->index && key < tp_node_key(node, 0) ? DESCENDING : NO_TREND;
}

/* How many of the entries of two nodes of this capacity go to the left one. */
static uint32_t nr_to_the_left(enum trend trend, uint32_t total, uint32_t capacity)
{
	uint32_t few = tp_node_minimum(capacity) + 1;
	uint32_t many = total - few < capacity ? total - few : capacity;

	if (trend == NO_TREND || total < 2 * few)
		return total / 2;
	return trend == ASCENDING ? many : total - many;
}

/* Shares the entries of the nodes at left_index and behind it. */
static void share(struct tp_btree_spine *spine, struct tp_btree_frame *left, struct tp_btree_frame *right,
		  uint32_t left_index, uint64_t key)
{
	uint32_t total = tp_node_nr_entries(left->node) + tp_node_nr_entries(right->node);

	tp_node_share(left->node, right->node,
		      nr_to_the_left(trend_of(spine, key), total, tp_node_capacity(left->node)));
	tp_node_set_key(spine->parent.node, left_index + 1, tp_node_key(right->node, 0));
	keep(spine, left, right, left_index, key);
}

/* What can be done with a sibling. */
struct sibling {
	bool is_there;
	bool is_aloof; /* shared, or made for another number of entries */
	uint32_t room;
};

static int check_sibling(const struct tp_btree_spine *spine, uint32_t index, const void *node)
{
	thinp_block_t block = tp_node_value64(spine->parent.node, index);
	uint32_t nr = tp_node_nr_entries(node);

	if (tp_node_is_leaf(node) != tp_node_is_leaf(spine->node.node))
		return tp_fail(THINP_ECORRUPT, block, "btree node: leaves and internal nodes are siblings");
	if (nr && index + 1 < tp_node_nr_entries(spine->parent.node) &&
	    tp_node_key(node, nr - 1) >= tp_node_key(spine->parent.node, index + 1))
		return tp_fail(THINP_ECORRUPT, block,
			       "btree node: ends with key %" PRIu64 ", but its neighbour begins with %" PRIu64,
			       tp_node_key(node, nr - 1), tp_node_key(spine->parent.node, index + 1));
	return 0;
}

static int read_sibling(struct tp_btree_spine *spine, const struct tp_btree_child *child, uint32_t index,
			struct sibling *sibling)
{
	struct thinp_read_section section;
	const void *node;
	int r;

	thinp_read_begin(thinp_tm_reader(spine->tm), &section);
	r = tp_btree_read_node(&section, spine->type, child, &node);
	if (!r)
		r = check_sibling(spine, index, node);
	if (!r) {
		sibling->is_aloof = tp_node_capacity(node) != tp_node_capacity(spine->node.node);
		sibling->room = tp_node_room(node);
	}
	thinp_read_end(&section);
	return r;
}

/* Looks at the node at an index of the parent, which may be behind its ends. */
static int look_at_sibling(struct tp_btree_spine *spine, uint32_t index, struct sibling *sibling)
{
	struct tp_btree_child child;
	uint32_t count;
	int r;

	*sibling = (struct sibling){.is_there = index < tp_node_nr_entries(spine->parent.node)};
	if (!sibling->is_there)
		return 0;
	child = child_at(spine, &spine->parent, index, spine->depth);
	r = tp_btree_check_address(spine->tm, &child);
	if (!r)
		r = thinp_tm_count(spine->tm, child.block, &count);
	if (r)
		return r;
	sibling->is_aloof = count != 1;
	return sibling->is_aloof ? 0 : read_sibling(spine, &child, index, sibling);
}

static bool is_worth_it(const struct sibling *sibling)
{
	return sibling->is_there && !sibling->is_aloof && sibling->room >= TP_SHARE_MIN_ROOM;
}

static int share_with_left(struct tp_btree_spine *spine, uint64_t key)
{
	struct tp_btree_frame right = spine->node;
	struct tp_btree_frame left;
	int r = shadow_child(spine, &spine->parent, spine->index - 1, spine->depth, THINP_CAUSE_SPLIT, &left);

	if (!r)
		share(spine, &left, &right, spine->index - 1, key);
	return r;
}

static int share_with_right(struct tp_btree_spine *spine, uint64_t key)
{
	struct tp_btree_frame left = spine->node;
	struct tp_btree_frame right;
	int r = shadow_child(spine, &spine->parent, spine->index + 1, spine->depth, THINP_CAUSE_SPLIT, &right);

	if (!r)
		share(spine, &left, &right, spine->index, key);
	return r;
}

static int one_into_two(struct tp_btree_spine *spine, uint64_t key)
{
	struct tp_btree_frame left = spine->node;
	uint32_t nr = tp_node_nr_entries(left.node);
	uint32_t nr_left = nr_to_the_left(trend_of(spine, key), nr, tp_node_capacity(left.node));
	struct tp_btree_frame right;
	int r = tp_btree_new_node_like(spine->tm, left.node, THINP_CAUSE_SPLIT, &right);

	if (r)
		return r;
	tp_node_move_right(left.node, right.node, nr - nr_left);
	tp_node_insert64(spine->parent.node, spine->index + 1, tp_node_key(right.node, 0), right.block);
	keep(spine, &left, &right, spine->index, key);
	return 0;
}

/* Spreads the entries of two nodes over three. The right one is full, the left one nearly so. */
static void spread(uint8_t *left, uint8_t *middle, uint8_t *right)
{
	uint32_t total = tp_node_nr_entries(left) + tp_node_nr_entries(right);
	uint32_t nr_left = total / 3;
	uint32_t nr_middle = (total - nr_left) / 2;
	uint32_t now = tp_node_nr_entries(left);

	if (now > nr_left)
		tp_node_move_right(left, middle, now - nr_left);
	else
		tp_node_move_left(left, right, nr_left - now);
	tp_node_move_left(middle, right, nr_middle - tp_node_nr_entries(middle));
}

static int two_into_three(struct tp_btree_spine *spine, uint64_t key)
{
	struct tp_btree_frame right = spine->node;
	struct tp_btree_frame left = {0}, middle = {0};
	uint32_t i = spine->index;
	int r = shadow_child(spine, &spine->parent, i - 1, spine->depth, THINP_CAUSE_SPLIT, &left);

	if (!r)
		r = tp_btree_new_node_like(spine->tm, right.node, THINP_CAUSE_SPLIT, &middle);
	if (r) {
		tp_btree_end(spine->tm, &left);
		return r;
	}
	spread(left.node, middle.node, right.node);
	tp_node_set_key(spine->parent.node, i, tp_node_key(right.node, 0));
	tp_node_insert64(spine->parent.node, i, tp_node_key(middle.node, 0), middle.block);
	if (key < tp_node_key(middle.node, 0)) {
		tp_btree_end(spine->tm, &right);
		keep(spine, &left, &middle, i - 1, key);
	} else {
		tp_btree_end(spine->tm, &left);
		keep(spine, &middle, &right, i, key);
	}
	return 0;
}

/* The left sibling comes first, then the right one. A new node is made only when both are full or aloof; at the ends of the
 * parent it takes entries of one node, not of two, for keys that ascend or descend would fill only one of three. */
static int make_room_beside(struct tp_btree_spine *spine, uint64_t key)
{
	uint32_t nr = tp_node_nr_entries(spine->parent.node);
	uint32_t i = spine->index;
	struct sibling left, right;
	int r = look_at_sibling(spine, i ? i - 1 : UINT32_MAX, &left);

	if (r)
		return r;
	if (is_worth_it(&left))
		return share_with_left(spine, key);
	r = look_at_sibling(spine, i + 1, &right);
	if (r)
		return r;
	if (is_worth_it(&right))
		return share_with_right(spine, key);
	if (left.is_aloof || right.is_aloof || nr <= 2 || i == 0 || i == nr - 1)
		return one_into_two(spine, key);
	return two_into_three(spine, key);
}

int tp_spine_make_room(struct tp_btree_spine *spine, uint64_t key)
{
	int r = check_room_can_be_made(&spine->node);

	if (r)
		return r;
	return spine->depth ? make_room_beside(spine, key) : split_beneath(spine);
}

/* A full leaf that has the key needs no room. */
static bool needs_room(const void *node, uint64_t key)
{
	uint32_t index;

	return !tp_node_room(node) && !(tp_node_is_leaf(node) && tp_node_find(node, key, &index));
}

int tp_spine_descend(struct tp_btree_spine *spine, uint64_t key, uint32_t *index, bool *is_new)
{
	for (;;) {
		int r = needs_room(spine->node.node, key) ? tp_spine_make_room(spine, key) : 0;

		if (!r && tp_node_is_leaf(spine->node.node))
			break;
		if (!r)
			r = tp_spine_step(spine, key);
		if (r)
			return r;
	}
	*index = tp_node_lower_bound(spine->node.node, key);
	*is_new = *index == tp_node_nr_entries(spine->node.node) || tp_node_key(spine->node.node, *index) != key;
	return 0;
}
