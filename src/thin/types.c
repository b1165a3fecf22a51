/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/types.c - the trees of a pool: for reading plain ones, for changing with the counts of what they point to.
 *
 * A mapping owns a reference to its data block; an entry of the top tree owns one to the root of a device's mappings.
 */
#include "base/bytes.h"
#include "thin/change.h"
#include "transaction/manager.h"

#include <string.h>

const struct thinp_btree_type tp_thin_tree_type = {
	.size = sizeof(struct thinp_btree_type), .nr_levels = 2, .value_size = TP_MAPPING_SIZE};
const struct thinp_btree_type tp_thin_roots_type = {
	.size = sizeof(struct thinp_btree_type), .nr_levels = 1, .value_size = 8};
const struct thinp_btree_type tp_thin_mappings_type = {
	.size = sizeof(struct thinp_btree_type), .nr_levels = 1, .value_size = TP_MAPPING_SIZE};
const struct thinp_btree_type tp_thin_details_type = {
	.size = sizeof(struct thinp_btree_type), .nr_levels = 1, .value_size = TP_DETAILS_SIZE};

/* --- counts of values ------------------------------------------------------------------------------------------------ */

typedef int (*count_fn)(struct thinp_pool *pool, uint64_t first, uint64_t nr);

/* Values that follow each other are counted together. */
static int count_runs(struct thinp_pool *pool, const void *values_le, size_t nr, unsigned int shift, count_fn fn)
{
	const uint8_t *values = values_le;
	int r = 0;

	for (size_t i = 0, n; i < nr && !r; i += n) {
		uint64_t first = tp_load_le64(values + 8 * i) >> shift;

		n = 1;
		while (i + n < nr && tp_load_le64(values + 8 * (i + n)) >> shift == first + n)
			n++;
		r = fn(pool, first, n);
	}
	return r;
}

static int inc_data(struct thinp_pool *pool, uint64_t first, uint64_t nr)
{
	return thinp_sm_inc(tp_thin_data_map(pool), first, nr);
}

static int dec_data(struct thinp_pool *pool, uint64_t first, uint64_t nr)
{
	return thinp_sm_dec(tp_thin_data_map(pool), first, nr);
}

static int inc_root(struct thinp_pool *pool, uint64_t first, uint64_t nr)
{
	return thinp_tm_inc(tp_thin_tm(pool), first, nr, THINP_CAUSE_SHADOW);
}

static int inc_mappings(void *ctx, const void *values_le, size_t nr_values)
{
	return count_runs(ctx, values_le, nr_values, 24, inc_data);
}

static int dec_mappings(void *ctx, const void *values_le, size_t nr_values)
{
	return count_runs(ctx, values_le, nr_values, 24, dec_data);
}

static int inc_roots(void *ctx, const void *values_le, size_t nr_values)
{
	return count_runs(ctx, values_le, nr_values, 0, inc_root);
}

static bool is_same_data_block(void *ctx, const void *a_le, const void *b_le)
{
	(void)ctx;
	return tp_load_le64(a_le) >> 24 == tp_load_le64(b_le) >> 24;
}

static uint64_t cost_of_copies(void *ctx, size_t nr_values)
{
	return tp_sm_raise_cost(tp_thin_data_map(ctx), nr_values, nr_values, 0);
}

static uint64_t cost_of_roots(void *ctx, size_t nr_values)
{
	struct thinp_pool *pool = ctx;

	return tp_sm_raise_cost(pool->store->metadata, 0, nr_values, 0);
}

static uint64_t cost_of_drops(void *ctx, size_t nr_values)
{
	return tp_sm_more_cost(tp_thin_data_map(ctx), nr_values, 0, nr_values);
}

void tp_thin_make_types(struct thinp_pool *pool)
{
	pool->mappings = tp_thin_tree_type;
	pool->mappings.ctx = pool;
	pool->mappings.inc = inc_mappings;
	pool->mappings.dec = dec_mappings;
	pool->mappings.equal = is_same_data_block;
	pool->mappings.cost = cost_of_copies;
	pool->mappings.cost_of_dec = cost_of_drops;
	pool->device = pool->mappings;
	pool->device.nr_levels = 1;
	pool->top = tp_thin_roots_type;
	pool->top.ctx = pool;
	pool->top.inc = inc_roots;
	pool->top.cost = cost_of_roots;
	pool->details = tp_thin_details_type;
}
