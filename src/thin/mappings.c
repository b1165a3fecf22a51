/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/mappings.c - the mappings of a device as runs.
 */
#include "base/bytes.h"
#include "btree/walk.h"
#include "thin/pool.h"
#include "thin/runs.h"

#define MOST_RUNS 256u /* a leaf has no more than 254 entries */

static struct thinp_run run_of(const struct thinp_btree_span *span, size_t first, uint64_t length)
{
	struct tp_mapping mapping = tp_mapping_unpack64(tp_load_le64((const uint8_t *)span->values_le + 8 * first));

	return (struct thinp_run){.virtual_begin = tp_load_le64((const uint8_t *)span->keys_le + 8 * first),
				  .data_begin = mapping.data_block,
				  .length = length,
				  .time = mapping.time};
}

static bool is_one_run(const struct thinp_btree_span *span)
{
	return tp_is_row_le64(span->values_le, span->nr_entries, TP_MAPPING_STEP) &&
	       tp_is_row_le64(span->keys_le, span->nr_entries, 1);
}

/* The mappings of a leaf as runs; tells how many. */
static size_t split(const struct thinp_btree_span *span, struct thinp_run *runs)
{
	struct thinp_run current = run_of(span, 0, 1);
	size_t nr_runs = 0;

	if (is_one_run(span)) {
		current.length = span->nr_entries;
	} else {
		for (size_t i = 1; i < span->nr_entries; i++) {
			struct thinp_run run = run_of(span, i, 1);

			if (tp_run_continues(&current, &run)) {
				current.length++;
				continue;
			}
			runs[nr_runs++] = current;
			current = run;
		}
	}
	runs[nr_runs] = current;
	return nr_runs + 1;
}

/* --- longest runs ---------------------------------------------------------------------------------------------------- */

struct collector {
	thinp_pool_run_fn fn;
	void *ctx;
	struct thinp_run runs[1 + MOST_RUNS]; /* the first is the last one of the leaf before; length 0: none */
};

/* All but the last run are handed over: that one may still grow. */
static int collect_leaf(void *ctx, const struct thinp_btree_span *span)
{
	struct collector *collector = ctx;
	struct thinp_run *before = &collector->runs[0], *first = &collector->runs[1];
	struct thinp_run *last = first + split(span, first) - 1;
	int r = 0;

	if (before->length && tp_run_continues(before, first)) {
		first->virtual_begin = before->virtual_begin;
		first->data_begin = before->data_begin;
		first->length += before->length;
	} else if (before->length) {
		first = before;
	}
	if (first != last)
		r = collector->fn(collector->ctx, first, (size_t)(last - first));
	*before = *last;
	return r;
}

int thinp_pool_walk_runs(struct thinp_pool *pool, uint64_t dev_id, uint64_t first_virtual, uint64_t last_virtual,
			 thinp_pool_run_fn fn, void *ctx)
{
	struct thinp_device_info device = {.size = sizeof(device)};
	struct collector collector;
	int r = thinp_pool_get_device(pool, dev_id, &device);

	if (r)
		return r;
	collector.fn = fn;
	collector.ctx = ctx;
	collector.runs[0].length = 0;
	r = thinp_btree_walk_range(pool->reader, &tp_thin_mappings_type, device.mapping_root, &first_virtual,
				   &last_virtual, collect_leaf, &collector);
	return r || !collector.runs[0].length ? r : fn(ctx, collector.runs, 1);
}

/* --- leaf by leaf ---------------------------------------------------------------------------------------------------- */

struct leaves {
	tp_leaf_known_fn known;
	tp_leaf_fn fn;
	void *ctx;
	struct thinp_run runs[MOST_RUNS];
};

static bool is_known(void *ctx, thinp_block_t leaf, uint64_t *first, uint64_t *last)
{
	const struct leaves *leaves = ctx;

	return leaves->known(leaves->ctx, leaf, first, last);
}

static int take_leaf(void *ctx, const struct thinp_btree_span *span)
{
	struct leaves *leaves = ctx;

	if (!span->keys_le)
		return leaves->fn(leaves->ctx, span->block, NULL, 0);
	return leaves->fn(leaves->ctx, span->block, leaves->runs, split(span, leaves->runs));
}

int tp_pool_walk_leaves(struct thinp_pool *pool, uint64_t dev_id, tp_leaf_known_fn known, tp_leaf_fn fn, void *ctx)
{
	struct thinp_device_info device = {.size = sizeof(device)};
	struct leaves leaves;
	int r = thinp_pool_get_device(pool, dev_id, &device);

	if (r)
		return r;
	leaves.known = known;
	leaves.fn = fn;
	leaves.ctx = ctx;
	return tp_btree_walk_unknown(pool->reader, &tp_thin_mappings_type, device.mapping_root, is_known, take_leaf,
				     &leaves);
}
