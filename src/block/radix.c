/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/radix.c - changing the radix table.
 *
 * Invariants
 *   1. A node is complete before it is linked, so a reader never sees a half-made one.
 *   2. A node that was unlinked is cleared and linked again only when no reader can still be in it (epochs).
 *   3. shift never changes while a node can be reached.
 */
#include "block/radix.h"

#include <string.h>

void tp_radix_init(struct tp_radix *radix, struct tp_epochs *epochs)
{
	memset(radix, 0, sizeof(*radix));
	atomic_init(&radix->root, NULL);
	radix->epochs = epochs;
}

static _Atomic(void *) *slot_of(struct tp_radix_node *node, uint64_t number)
{
	return &node->slots[number >> node->shift & (TP_RADIX_FANOUT - 1)];
}

static bool covers(const struct tp_radix_node *node, uint64_t number)
{
	return number >> node->shift < TP_RADIX_FANOUT;
}

static uint32_t shift_for(uint64_t number)
{
	uint32_t shift = 0;

	while (number >> shift >= TP_RADIX_FANOUT)
		shift += TP_RADIX_BITS;
	return shift;
}

/* Nodes that the path to a number still needs. */
static size_t nodes_needed(struct tp_radix *radix, uint64_t number)
{
	struct tp_radix_node *node = atomic_load(&radix->root);
	size_t growth = 0;

	if (!node)
		return shift_for(number) / TP_RADIX_BITS + 1;
	if (!covers(node, number)) {
		/* new roots above, and a whole new path below the new root */
		growth = (shift_for(number) - node->shift) / TP_RADIX_BITS;
		return growth + shift_for(number) / TP_RADIX_BITS;
	}
	while (node->shift) {
		struct tp_radix_node *child = atomic_load(slot_of(node, number));

		if (!child)
			return node->shift / TP_RADIX_BITS;
		node = child;
	}
	return 0;
}

uint32_t tp_radix_nr_near(struct tp_radix *radix, uint64_t number)
{
	struct tp_radix_node *node = atomic_load(&radix->root);

	if (node && !covers(node, number))
		return 0;
	while (node && node->shift)
		node = atomic_load(slot_of(node, number));
	return node ? node->in_use : 0;
}

static void take_back_retired(struct tp_radix *radix)
{
	uint64_t safe = radix->retired_first ? tp_epoch_safe(radix->epochs) : 0;

	while (radix->retired_first && radix->retired_first->stamp < safe) {
		struct tp_radix_node *node = radix->retired_first;

		radix->retired_first = node->next;
		tp_radix_add_spare(radix, node);
	}
}

size_t tp_radix_nodes_missing(struct tp_radix *radix, uint64_t number)
{
	size_t needed = nodes_needed(radix, number);

	if (needed > radix->nr_spare)
		take_back_retired(radix);
	return needed > radix->nr_spare ? needed - radix->nr_spare : 0;
}

void tp_radix_add_spare(struct tp_radix *radix, struct tp_radix_node *node)
{
	node->next = radix->spare;
	radix->spare = node;
	radix->nr_spare++;
}

/* Only empty nodes are retired, so their slots need no clearing. */
static struct tp_radix_node *take_spare(struct tp_radix *radix, uint32_t shift)
{
	struct tp_radix_node *node = radix->spare;

	radix->spare = node->next;
	radix->nr_spare--;
	node->next = NULL;
	node->shift = shift;
	node->in_use = 0;
	return node;
}

static void link_into(struct tp_radix_node *node, uint64_t number, void *item)
{
	atomic_store(slot_of(node, number), item);
	node->in_use++;
}

static void grow_root(struct tp_radix *radix, uint64_t number)
{
	struct tp_radix_node *root = atomic_load(&radix->root);

	if (!root) {
		atomic_store(&radix->root, take_spare(radix, shift_for(number)));
		return;
	}
	while (!covers(root, number)) {
		struct tp_radix_node *above = take_spare(radix, root->shift + TP_RADIX_BITS);

		link_into(above, 0, root);
		atomic_store(&radix->root, above);
		root = above;
	}
}

void tp_radix_insert(struct tp_radix *radix, uint64_t number, void *item)
{
	struct tp_radix_node *node;

	grow_root(radix, number);
	node = atomic_load(&radix->root);
	while (node->shift) {
		struct tp_radix_node *child = atomic_load(slot_of(node, number));

		if (!child) {
			child = take_spare(radix, node->shift - TP_RADIX_BITS);
			link_into(node, number, child);
		}
		node = child;
	}
	link_into(node, number, item);
}

void tp_radix_replace(struct tp_radix *radix, uint64_t number, void *item)
{
	struct tp_radix_node *node = atomic_load(&radix->root);

	while (node->shift)
		node = atomic_load(slot_of(node, number));
	atomic_store(slot_of(node, number), item);
}

static void retire(struct tp_radix *radix, struct tp_radix_node *node)
{
	node->stamp = tp_epoch_stamp(radix->epochs);
	node->next = NULL;
	if (radix->retired_first)
		radix->retired_last->next = node;
	else
		radix->retired_first = node;
	radix->retired_last = node;
}

/* A node is retired after it has been unlinked, for that is what its stamp stands for. */
void tp_radix_remove(struct tp_radix *radix, uint64_t number)
{
	struct tp_radix_node *path[TP_RADIX_MAX_LEVELS];
	struct tp_radix_node *emptied = NULL;
	size_t depth = 0;

	path[0] = atomic_load(&radix->root);
	while (path[depth]->shift) {
		path[depth + 1] = atomic_load(slot_of(path[depth], number));
		depth++;
	}
	for (size_t i = depth + 1; i--;) {
		atomic_store(slot_of(path[i], number), NULL);
		if (emptied)
			retire(radix, emptied);
		if (--path[i]->in_use)
			return;
		emptied = path[i];
	}
	atomic_store(&radix->root, NULL);
	retire(radix, emptied);
}

/* Unlinks the deepest node on the way to the first child. */
static struct tp_radix_node *take_lowest(struct tp_radix *radix)
{
	struct tp_radix_node *node = atomic_load(&radix->root);
	struct tp_radix_node *parent = NULL;
	uint32_t at = 0;

	while (node && node->shift && node->in_use) {
		for (at = 0; !atomic_load(&node->slots[at]); at++)
			;
		parent = node;
		node = atomic_load(&node->slots[at]);
	}
	if (parent) {
		atomic_store(&parent->slots[at], NULL);
		parent->in_use--;
	} else {
		atomic_store(&radix->root, NULL);
	}
	return node;
}

struct tp_radix_node *tp_radix_dismantle(struct tp_radix *radix)
{
	struct tp_radix_node **lists[] = {&radix->spare, &radix->retired_first};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct tp_radix_node *node = *lists[i];

		if (node) {
			*lists[i] = node->next;
			return node;
		}
	}
	return take_lowest(radix);
}
