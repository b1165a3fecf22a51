/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/mappings.c - the mappings of a device as runs.
 */
#include "base/bytes.h"
#include "thin/pool.h"

#define BATCH 256u /* a full leaf has 252 entries, and one run may be left from the leaf before */

struct collector {
	thinp_pool_run_fn fn;
	void *ctx;
	struct thinp_run current; /* may still grow; length 0: none */
	size_t nr_runs;
	struct thinp_run runs[BATCH];
};

static int hand_over(struct collector *collector)
{
	size_t nr_runs = collector->nr_runs;

	collector->nr_runs = 0;
	return nr_runs ? collector->fn(collector->ctx, collector->runs, nr_runs) : 0;
}

static int end_current(struct collector *collector)
{
	int r = collector->nr_runs == BATCH ? hand_over(collector) : 0;

	if (!r && collector->current.length)
		collector->runs[collector->nr_runs++] = collector->current;
	return r;
}

static bool continues(const struct thinp_run *run, uint64_t virtual_block, struct tp_mapping mapping)
{
	return virtual_block - run->virtual_begin == run->length &&
	       mapping.data_block - run->data_begin == run->length && mapping.time == run->time;
}

static int collect_leaf(void *ctx, const struct thinp_btree_span *span)
{
	struct collector *collector = ctx;
	const uint8_t *keys = span->keys_le;
	const uint8_t *values = span->values_le;
	int r;

	for (size_t i = 0; i < span->nr_entries; i++) {
		uint64_t virtual_block = tp_load_le64(keys + 8 * i);
		struct tp_mapping mapping = tp_mapping_unpack64(tp_load_le64(values + 8 * i));

		if (continues(&collector->current, virtual_block, mapping)) {
			collector->current.length++;
			continue;
		}
		r = end_current(collector);
		if (r)
			return r;
		collector->current = (struct thinp_run){.virtual_begin = virtual_block,
							.data_begin = mapping.data_block,
							.length = 1,
							.time = mapping.time};
	}
	return hand_over(collector);
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
	collector.nr_runs = 0;
	collector.current = (struct thinp_run){0};
	r = thinp_btree_walk_range(pool->reader, &tp_thin_mappings_type, device.mapping_root, &first_virtual,
				   &last_virtual, collect_leaf, &collector);
	if (!r)
		r = end_current(&collector);
	return r ? r : hand_over(&collector);
}
