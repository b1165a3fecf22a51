/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/mappings.c - the mappings of a device as runs.
 */
#include "base/alloc.h"
#include "base/bytes.h"
#include "btree/walk.h"
#include "thin/pool.h"
#include "thin/runs.h"

#define BATCH     256u /* a full leaf has 252 entries, and one run may be left from the leaf before */
#define MOST_RUNS 65536u

struct collector {
	thinp_pool_run_fn fn;
	void *ctx;
	struct tp_leaf_runs *known; /* NULL: nothing is remembered */
	struct thinp_run current;   /* may still grow; length 0: none */
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

static bool continues(const struct thinp_run *run, const struct thinp_run *next)
{
	return next->virtual_begin - run->virtual_begin == run->length &&
	       next->data_begin - run->data_begin == run->length && next->time == run->time;
}

static int add(struct collector *collector, const struct thinp_run *run)
{
	int r;

	if (continues(&collector->current, run)) {
		collector->current.length += run->length;
		return 0;
	}
	r = end_current(collector);
	if (!r)
		collector->current = *run;
	return r;
}

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

static int add_leaf(struct collector *collector, const struct thinp_btree_span *span)
{
	int r = 0;

	for (size_t i = 0; i < span->nr_entries && !r; i++) {
		struct thinp_run run = run_of(span, i, 1);

		r = add(collector, &run);
	}
	return r;
}

static struct tp_leaf_run *place_of(const struct tp_leaf_runs *known, thinp_block_t leaf)
{
	return &known->places[leaf % known->nr_places];
}

static int collect_leaf(void *ctx, const struct thinp_btree_span *span)
{
	struct collector *collector = ctx;
	struct thinp_run run;
	int r;

	if (!span->keys_le) {
		r = add(collector, &place_of(collector->known, span->block)->run);
	} else if (is_one_run(span)) {
		run = run_of(span, 0, span->nr_entries);
		if (collector->known)
			*place_of(collector->known, span->block) =
				(struct tp_leaf_run){.leaf = span->block, .run = run};
		r = add(collector, &run);
	} else {
		r = add_leaf(collector, span);
	}
	return r ? r : hand_over(collector);
}

static void begin(struct collector *collector, thinp_pool_run_fn fn, void *ctx, struct tp_leaf_runs *known)
{
	collector->fn = fn;
	collector->ctx = ctx;
	collector->known = known;
	collector->nr_runs = 0;
	collector->current = (struct thinp_run){0};
}

static int end(struct collector *collector, int r)
{
	if (!r)
		r = end_current(collector);
	return r ? r : hand_over(collector);
}

int thinp_pool_walk_runs(struct thinp_pool *pool, uint64_t dev_id, uint64_t first_virtual, uint64_t last_virtual,
			 thinp_pool_run_fn fn, void *ctx)
{
	struct thinp_device_info device = {.size = sizeof(device)};
	struct collector collector;
	int r = thinp_pool_get_device(pool, dev_id, &device);

	if (r)
		return r;
	begin(&collector, fn, ctx, NULL);
	return end(&collector, thinp_btree_walk_range(pool->reader, &tp_thin_mappings_type, device.mapping_root,
						      &first_virtual, &last_virtual, collect_leaf, &collector));
}

/* --- of devices that share leaves ------------------------------------------------------------------------------------ */

int tp_pool_leaf_runs_create(const struct thinp_pool *pool, const struct thinp_allocator *allocator,
			     struct tp_leaf_runs *known)
{
	uint64_t nr_blocks = thinp_reader_nr_blocks(pool->reader);

	known->allocator = *allocator;
	known->nr_places = nr_blocks < MOST_RUNS ? (size_t)nr_blocks : MOST_RUNS;
	known->places = tp_alloc_zeroed(allocator, known->nr_places, sizeof(*known->places));
	return known->places ? 0 : THINP_ENOMEM;
}

void tp_pool_leaf_runs_destroy(struct tp_leaf_runs *known)
{
	tp_free(&known->allocator, known->places, known->nr_places * sizeof(*known->places));
}

static bool find_run(void *ctx, thinp_block_t leaf, uint64_t *first, uint64_t *last)
{
	const struct collector *collector = ctx;
	const struct tp_leaf_run *place = place_of(collector->known, leaf);

	if (place->leaf != leaf || !place->run.length)
		return false;
	*first = place->run.virtual_begin;
	*last = place->run.virtual_begin + (place->run.length - 1);
	return true;
}

int tp_pool_walk_unknown_runs(struct thinp_pool *pool, uint64_t dev_id, struct tp_leaf_runs *known,
			      thinp_pool_run_fn fn, void *ctx)
{
	struct thinp_device_info device = {.size = sizeof(device)};
	struct collector collector;
	int r = thinp_pool_get_device(pool, dev_id, &device);

	if (r)
		return r;
	begin(&collector, fn, ctx, known);
	return end(&collector, tp_btree_walk_unknown(pool->reader, &tp_thin_mappings_type, device.mapping_root,
						     find_run, collect_leaf, &collector));
}
