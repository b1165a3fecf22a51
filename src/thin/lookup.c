/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/lookup.c - where blocks of a device are, and whether a snapshot may have them, too.
 *
 * A mapping is shared when the device was snapshotted after it was made. A snapshot that is gone leaves its time behind, so
 * "shared" may be said too often, and "not shared" never.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "thin/pool.h"

#include <inttypes.h>

static int no_device(uint64_t dev_id)
{
	return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "the pool has no device %" PRIu64, dev_id);
}

typedef int lookup_fn(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
		      const uint64_t *keys, void *value_le);

static inline int get_snapshotted_time(struct thinp_pool *pool, lookup_fn *look_up, uint64_t dev_id, uint32_t *time)
{
	const struct tp_device_details *known = tp_thin_find_record(pool, dev_id);
	struct tp_device_details details;
	uint8_t value[TP_DETAILS_SIZE];
	int r;

	if (known) {
		*time = known->snapshotted_time;
		return 0;
	}
	r = look_up(pool->reader, &tp_thin_details_type, pool->shown->details_root, &dev_id, value);
	if (r)
		return r == THINP_ENODATA ? no_device(dev_id) : r;
	tp_device_details_unpack(value, &details);
	*time = details.snapshotted_time;
	return 0;
}

static inline int find_mapping(struct thinp_pool *pool, lookup_fn *look_up, uint64_t dev_id, uint64_t virtual_block,
			       struct thinp_mapping *out)
{
	const uint64_t keys[] = {dev_id, virtual_block};
	struct tp_mapping mapping;
	uint8_t value[TP_MAPPING_SIZE];
	uint32_t time = 0;
	int r = get_snapshotted_time(pool, look_up, dev_id, &time);

	if (!r)
		r = look_up(pool->reader, &tp_thin_tree_type, pool->shown->mapping_root, keys, value);
	if (r)
		return r;
	tp_mapping_unpack(value, &mapping);
	*out = (struct thinp_mapping){
		.data_block = mapping.data_block, .time = mapping.time, .is_shared = time > mapping.time};
	return 0;
}

int thinp_pool_lookup(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_block, struct thinp_mapping *mapping)
{
	return find_mapping(pool, thinp_btree_lookup, dev_id, virtual_block, mapping);
}

int thinp_pool_lookup_cached(struct thinp_pool *pool, uint64_t dev_id, uint64_t virtual_block,
			     struct thinp_mapping *mapping)
{
	return find_mapping(pool, thinp_btree_lookup_cached, dev_id, virtual_block, mapping);
}

/* --- runs ------------------------------------------------------------------------------------------------------------ */

enum { RUN_ENDS = 1 };

struct search {
	uint32_t snapshotted_time;
	struct thinp_mapped_run run; /* length 0: nothing found yet */
};

static bool continues(const struct search *search, uint64_t virtual_block, struct tp_mapping mapping)
{
	const struct thinp_mapped_run *run = &search->run;

	return virtual_block - run->virtual_begin == run->length &&
	       mapping.data_block - run->data_begin == run->length &&
	       (search->snapshotted_time > mapping.time) == run->is_shared;
}

static int follow_run(void *ctx, const struct thinp_btree_span *span)
{
	struct search *search = ctx;
	const uint8_t *keys = span->keys_le;
	const uint8_t *values = span->values_le;

	for (size_t i = 0; i < span->nr_entries; i++) {
		uint64_t virtual_block = tp_load_le64(keys + 8 * i);
		struct tp_mapping mapping = tp_mapping_unpack64(tp_load_le64(values + 8 * i));

		if (search->run.length && !continues(search, virtual_block, mapping))
			return RUN_ENDS;
		if (!search->run.length)
			search->run = (struct thinp_mapped_run){.virtual_begin = virtual_block,
								.data_begin = mapping.data_block,
								.is_shared = search->snapshotted_time > mapping.time};
		search->run.length++;
	}
	return 0;
}

int thinp_pool_lookup_run(struct thinp_pool *pool, uint64_t dev_id, uint64_t first_virtual, uint64_t last_virtual,
			  struct thinp_mapped_run *run)
{
	struct thinp_device_info device = {.size = sizeof(device)};
	struct search search = {.run = {.length = 0}};
	int r = thinp_pool_get_device(pool, dev_id, &device);

	if (r)
		return r;
	search.snapshotted_time = device.snapshotted_time;
	r = thinp_btree_walk_range(pool->reader, &tp_thin_mappings_type, device.mapping_root, &first_virtual,
				   &last_virtual, follow_run, &search);
	if (r && r != RUN_ENDS)
		return r;
	if (!search.run.length)
		return tp_fail(THINP_ENODATA, THINP_NO_BLOCK,
			       "device %" PRIu64 " has no mapping from block %" PRIu64 " to %" PRIu64, dev_id,
			       first_virtual, last_virtual);
	*run = search.run;
	return 0;
}

int thinp_pool_highest_mapped(struct thinp_pool *pool, uint64_t dev_id, uint64_t *virtual_block)
{
	struct thinp_device_info device = {.size = sizeof(device)};
	int r = thinp_pool_get_device(pool, dev_id, &device);

	return r ? r : thinp_btree_last(pool->reader, &tp_thin_mappings_type, device.mapping_root, virtual_block, NULL);
}
