/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/redistribute.c - who gets how many of the entries of neighbours, when one of them is to lose an entry.
 *
 * Two nodes stay when each then has t + 1 entries, else one. Three stay when each then has t + 1, and not before 4t + 1
 * together, so that nodes that were just evened out are not merged right after that. What two can hold:
 * 4t <= 2M, and for t = 1, where 3(t + 1) is the larger bound, 5 <= 2M because M is at least 3.
 *
 * The parent was looked at before, and can lose one entry, so only one node may go away. Of three nodes with at least t
 * entries each, two go away only when 3t < 2(t + 1), which is when t is 1: then the one in the middle goes to the left, and
 * the right one stays as it is.
 */
#include "btree/redistribute.h"

void tp_redistribute2(uint32_t capacity, const uint32_t nr[2], uint32_t after[2])
{
	uint32_t total = nr[0] + nr[1];

	after[0] = total < 2 * (tp_node_minimum(capacity) + 1) ? total : total / 2;
	after[1] = total - after[0];
}

/* The fewest entries that three nodes are kept for. */
static uint32_t enough_for_three(uint32_t t)
{
	return 4 * t + 1 > 3 * (t + 1) ? 4 * t + 1 : 3 * (t + 1);
}

/* The one in the middle goes away. */
static void merge_middle(uint32_t capacity, const uint32_t nr[3], uint32_t after[3])
{
	uint32_t outer[2] = {nr[0], nr[1] + nr[2]};
	uint32_t outer_after[2];
	uint32_t t = tp_node_minimum(capacity);

	tp_redistribute2(capacity, outer, outer_after);
	if (!outer_after[1] && nr[2] && nr[2] >= t && nr[0] + nr[1] > t) {
		outer_after[0] = nr[0] + nr[1];
		outer_after[1] = nr[2];
	}
	after[0] = outer_after[0];
	after[1] = 0;
	after[2] = outer_after[1];
}

void tp_redistribute3(uint32_t capacity, const uint32_t nr[3], uint32_t after[3])
{
	uint32_t total = nr[0] + nr[1] + nr[2];

	if (total < enough_for_three(tp_node_minimum(capacity))) {
		merge_middle(capacity, nr, after);
		return;
	}
	after[2] = total / 3;
	after[0] = total / 3 + (total % 3 != 0);
	after[1] = total - after[0] - after[2];
}

void tp_redistribute(uint32_t capacity, uint32_t nr_nodes, const uint32_t *nr, uint32_t *after)
{
	if (nr_nodes == 2)
		tp_redistribute2(capacity, nr, after);
	else
		tp_redistribute3(capacity, nr, after);
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Moves entries over a border until the left node has what it is to have, or as many as can be moved now. */
static void fill_left(void *left, void *right, uint32_t after)
{
	uint32_t nr = tp_node_nr_entries(left);

	if (nr < after)
		tp_node_move_left(left, right, least(after - nr, tp_node_nr_entries(right)));
	else if (nr > after)
		tp_node_move_right(left, right, least(nr - after, tp_node_room(right)));
}

static void fill_right(void *left, void *right, uint32_t after)
{
	uint32_t nr = tp_node_nr_entries(right);

	if (nr < after)
		tp_node_move_right(left, right, least(after - nr, tp_node_nr_entries(left)));
	else if (nr > after)
		tp_node_move_left(left, right, least(nr - after, tp_node_room(left)));
}

/* What the outer nodes lack or have too much goes through the one in the middle. When that has no room, or nothing to
 * give, for one of them, then the other takes from it, or gives to it: every round moves something. */
void tp_node_redistribute(void *const *nodes, uint32_t nr_nodes, const uint32_t *after)
{
	if (nr_nodes == 2) {
		fill_left(nodes[0], nodes[1], after[0]);
		return;
	}
	while (tp_node_nr_entries(nodes[0]) != after[0] || tp_node_nr_entries(nodes[2]) != after[2]) {
		fill_left(nodes[0], nodes[1], after[0]);
		fill_right(nodes[1], nodes[2], after[2]);
	}
}
