/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * array/change.c - the tree over blocks of values, and blocks that may be written.
 *
 * A block of values is known to be exclusive only when the way to it is: as long as a node above it is shared, its count
 * may be 1 although many arrays have it. So the way is shadowed first, by writing the address that is there once more.
 * When a leaf is copied, the blocks below gain a reference each, and only then the count of a block tells the truth.
 *
 *      root (2)                 root'   root (1)           root'   root
 *        |          the way       |       |     the block    |       |
 *      leaf (1)    -------->    leaf'   leaf    -------->   leaf'   leaf
 *        |                          \   /                    |       |
 *      block (1)                  block (2)                block'  block (1)
 *
 * When all of them may be changed in place already, nothing is written but the block, and nothing is taken.
 *
 * The copy takes over the tree's reference to the original, so writing its address into the tree drops nothing.
 */
#include "array/change.h"

#include "base/bytes.h"
#include "btree/node.h"
#include "transaction/manager.h"

#include <string.h>

int tp_array_inc(const struct tp_array_change *change, const void *values_le, size_t nr_values)
{
	return change->type.inc && nr_values ? change->type.inc(change->type.ctx, values_le, nr_values) : 0;
}

int tp_array_dec(const struct tp_array_change *change, const void *values_le, size_t nr_values)
{
	return change->type.dec && nr_values ? change->type.dec(change->type.ctx, values_le, nr_values) : 0;
}

/* --- the tree's values are addresses of blocks ----------------------------------------------------------------------- */

static int inc_blocks(void *ctx, const void *addresses_le, size_t nr)
{
	const struct tp_array_change *change = ctx;
	const uint8_t *addresses = addresses_le;
	int r = 0;

	for (size_t i = 0, n; i < nr && !r; i += n) {
		thinp_block_t first = tp_load_le64(addresses + 8 * i);

		for (n = 1; i + n < nr && tp_load_le64(addresses + 8 * (i + n)) == first + n; n++)
			;
		r = thinp_tm_inc(change->tm, first, n, THINP_CAUSE_SHADOW);
	}
	return r;
}

/* A copy, so that nothing is held while the caller's function runs. */
static int dec_values_of(const struct tp_array_change *change, thinp_block_t block)
{
	struct thinp_reader *reader = thinp_tm_reader(change->tm);
	struct thinp_read_section section;
	struct tp_array_header header;
	uint8_t copy[THINP_BLOCK_SIZE];
	const uint8_t *data;
	int r;

	thinp_read_begin(reader, &section);
	r = tp_array_read_values(&section, &change->type, block, &header, &data);
	if (!r)
		memcpy(copy, data, sizeof(copy));
	thinp_read_end(&section);
	return r ? r : tp_array_dec(change, copy + TP_ARRAY_HEADER_SIZE, header.nr_entries);
}

/* The values die with the last reference to their block. */
static int dec_blocks(void *ctx, const void *addresses_le, size_t nr)
{
	const struct tp_array_change *change = ctx;
	const uint8_t *addresses = addresses_le;
	int r = 0;

	for (size_t i = 0; i < nr && !r; i++) {
		thinp_block_t block = tp_load_le64(addresses + 8 * i);
		uint32_t count = 0;

		if (change->type.dec)
			r = thinp_tm_count(change->tm, block, &count);
		if (!r && count == 1)
			r = dec_values_of(change, block);
		if (!r)
			r = thinp_tm_dec(change->tm, block, 1, THINP_CAUSE_FREE);
	}
	return r;
}

static uint64_t cost_of_values(const struct tp_array_change *change, size_t nr_values)
{
	return change->type.cost && nr_values ? change->type.cost(change->type.ctx, nr_values) : 0;
}

static uint64_t cost_of_blocks(void *ctx, size_t nr)
{
	const struct tp_array_change *change = ctx;

	return cost_of_values(change, nr * change->per_block);
}

int tp_array_change_begin(struct tp_array_change *change, struct thinp_tm *tm, const struct thinp_array_type *type)
{
	int r = tp_array_type_take(&change->type, type, &change->per_block);

	if (r)
		return r;
	change->tm = tm;
	change->generation = thinp_tm_generation(tm);
	change->depth = 1;
	change->is_in_place = false;
	change->place = (struct thinp_btree_type){
		.size = sizeof(change->place), .nr_levels = 1, .value_size = 8, .ctx = change, .inc = inc_blocks};
	change->tree = change->place;
	change->tree.dec = dec_blocks;
	change->tree.cost = cost_of_blocks;
	return thinp_tm_status(tm);
}

int tp_array_end(struct tp_array_change *change, int r)
{
	return r && thinp_tm_generation(change->tm) != change->generation ? thinp_tm_poison(change->tm, r) : r;
}

/* --- before a change -------------------------------------------------------------------------------------------------- */

int tp_array_look_at_way(struct tp_array_change *change, thinp_block_t root, uint64_t number)
{
	struct thinp_read_section section;
	const void *node;
	uint32_t behind;
	int r = 0;

	change->is_in_place = true;
	thinp_read_begin(thinp_tm_reader(change->tm), &section);
	for (change->depth = 1; change->depth <= THINP_BTREE_MAX_DEPTH; change->depth++) {
		change->is_in_place &= tp_tm_is_shadow(change->tm, root);
		r = thinp_read_block(&section, root, thinp_block_type_node(), &node);
		if (r || tp_node_is_leaf(node))
			break;
		behind = tp_node_upper_bound(node, number);
		root = tp_node_value64(node, behind ? behind - 1 : 0);
	}
	thinp_read_end(&section);
	return r;
}

int tp_array_look(struct tp_array_change *change, thinp_block_t root, uint64_t number, thinp_block_t *block,
		  uint32_t *nr_values)
{
	struct thinp_reader *reader = thinp_tm_reader(change->tm);
	struct thinp_read_section section;
	struct tp_array_header header;
	const uint8_t *data;
	uint8_t address[8];
	int r = thinp_btree_lookup(reader, &change->place, root, &number, address);

	if (r)
		return r;
	thinp_read_begin(reader, &section);
	r = tp_array_read_values(&section, &change->type, tp_load_le64(address), &header, &data);
	thinp_read_end(&section);
	if (r)
		return r;
	*block = tp_load_le64(address);
	*nr_values = header.nr_entries;
	r = tp_array_look_at_way(change, root, number);
	change->is_in_place &= tp_tm_is_shadow(change->tm, *block);
	return r;
}

/* Of each level a change copies a node and its neighbour, and makes a new one; a new root comes on top. Nodes that are filled
 * in order are at least a third full. */
static uint64_t most_nodes(uint32_t depth, uint64_t nr_new)
{
	return 3 * ((uint64_t)depth + 1) + (nr_new ? nr_new / 40 + 1 : 0);
}

int tp_array_reserve(struct tp_array_change *change, uint64_t nr_new, size_t nr_values, uint32_t flags)
{
	uint64_t nr = cost_of_values(change, nr_values);

	if (nr_new > THINP_NO_BLOCK / 2)
		return tp_fail(THINP_ENOSPC, THINP_NO_BLOCK, "no device has so many blocks");
	if (!change->is_in_place || nr_new)
		nr += 1 + nr_new + most_nodes(change->depth, nr_new);
	return nr ? thinp_tm_reserve(change->tm, nr, flags) : 0;
}

/* --- blocks that may be written ---------------------------------------------------------------------------------------- */

static int put_address(struct tp_array_change *change, thinp_block_t *root, uint64_t number, thinp_block_t block)
{
	uint8_t address[8];

	tp_store_le64(address, block);
	return thinp_btree_insert(change->tm, &change->place, *root, &number, address, root, NULL);
}

int tp_array_block_own(struct tp_array_change *change, thinp_block_t *root, uint64_t number, thinp_block_t at,
		       struct tp_array_block *block)
{
	struct tp_array_header header;
	bool inc_values = false;
	void *data;
	int r = change->is_in_place ? 0 : put_address(change, root, number, at);

	*block = (struct tp_array_block){.number = number, .in_tree = at};
	if (!r)
		r = thinp_tm_shadow_block(change->tm, at, thinp_block_type_array(), THINP_CAUSE_SHADOW, &block->block,
					  &block->buffer, &data, &inc_values);
	if (r)
		return r;
	block->data = data;
	r = tp_array_check_values(&change->type, at, data, &header);
	block->nr_values = header.nr_entries;
	if (!r && inc_values)
		r = tp_array_inc(change, tp_array_value(change, block, 0), block->nr_values);
	if (r)
		thinp_tm_unlock(change->tm, block->buffer);
	return r;
}

int tp_array_block_end(struct tp_array_change *change, thinp_block_t *root, struct tp_array_block *block, int r)
{
	struct tp_array_header header = {.max_entries = change->per_block,
					 .nr_entries = block->nr_values,
					 .value_size = change->type.value_size,
					 .block = block->block};

	tp_array_block_pack(&header, block->data);
	thinp_tm_unlock(change->tm, block->buffer);
	if (!r && block->block != block->in_tree)
		r = put_address(change, root, block->number, block->block);
	return r;
}
