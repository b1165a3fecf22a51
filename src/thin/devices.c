/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/devices.c - the devices of a pool. Two trees know them: one has their details, the other their mappings. Both
 * must know the same devices.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "base/opts.h"
#include "thin/pool.h"

#include <inttypes.h>

static void fill_info(const struct thinp_pool *pool, uint64_t dev_id, const void *details_le, const void *root_le,
		      struct thinp_device_info *info)
{
	const struct tp_device_details *newer = tp_thin_find_record(pool, dev_id);
	struct tp_device_details details;

	tp_device_details_unpack(details_le, &details);
	if (newer)
		details = *newer;
	*info = (struct thinp_device_info){
		.size = sizeof(*info),
		.dev_id = dev_id,
		.mapped_blocks = details.mapped_blocks,
		.transaction_id = details.transaction_id,
		.mapping_root = tp_load_le64(root_le),
		.creation_time = details.creation_time,
		.snapshotted_time = details.snapshotted_time,
	};
}

static int only_in_details(const struct thinp_pool *pool, uint64_t dev_id)
{
	return tp_fail(THINP_ECORRUPT, pool->shown->mapping_root, "device %" PRIu64 " has details, but no mappings",
		       dev_id);
}

static int only_in_mappings(const struct thinp_pool *pool, uint64_t dev_id)
{
	return tp_fail(THINP_ECORRUPT, pool->shown->details_root, "device %" PRIu64 " has mappings, but no details",
		       dev_id);
}

int thinp_pool_get_device(struct thinp_pool *pool, uint64_t dev_id, struct thinp_device_info *info)
{
	struct thinp_device_info now;
	uint8_t details[TP_DETAILS_SIZE];
	uint8_t root[8];
	int in_details =
		thinp_btree_lookup(pool->reader, &tp_thin_details_type, pool->shown->details_root, &dev_id, details);
	int in_mappings;

	if (in_details && in_details != THINP_ENODATA)
		return in_details;
	in_mappings = thinp_btree_lookup(pool->reader, &tp_thin_roots_type, pool->shown->mapping_root, &dev_id, root);
	if (in_mappings && in_mappings != THINP_ENODATA)
		return in_mappings;
	if (in_details && in_mappings)
		return tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "the pool has no device %" PRIu64, dev_id);
	if (in_mappings)
		return only_in_details(pool, dev_id);
	if (in_details)
		return only_in_mappings(pool, dev_id);
	fill_info(pool, dev_id, details, root, &now);
	tp_result_give(info, &now, sizeof(now));
	return 0;
}

/* Both trees side by side. */
struct pair {
	struct thinp_btree_cursor *details;
	struct thinp_btree_cursor *roots;
};

/* Moves a cursor on, and tells whether it came to an entry. */
static int advance(struct thinp_btree_cursor *cursor, bool *has_entry)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r;

	thinp_error_last(&before);
	r = thinp_btree_cursor_next(cursor);
	*has_entry = !r;
	if (r != THINP_ENODATA)
		return r;
	tp_error_restore(&before); /* the end is no failure */
	return 0;
}

/* The next device of both trees; THINP_ENODATA at the end of both. */
static int next_device(struct thinp_pool *pool, struct pair *pair, struct thinp_device_info *info)
{
	uint8_t details[TP_DETAILS_SIZE];
	uint8_t root[8];
	bool has_details, has_root;
	uint64_t details_id = 0;
	uint64_t root_id = 0;
	int r = advance(pair->details, &has_details);

	if (!r)
		r = advance(pair->roots, &has_root);
	if (r)
		return r;
	if (!has_details && !has_root)
		return THINP_ENODATA;
	if (has_details)
		(void)thinp_btree_cursor_get(pair->details, &details_id, details);
	if (has_root)
		(void)thinp_btree_cursor_get(pair->roots, &root_id, root);
	if (!has_root || (has_details && details_id < root_id))
		return only_in_details(pool, details_id);
	if (!has_details || root_id < details_id)
		return only_in_mappings(pool, root_id);
	fill_info(pool, details_id, details, root, info);
	return 0;
}

int thinp_pool_walk_devices(struct thinp_pool *pool, thinp_pool_device_fn fn, void *ctx)
{
	struct pair pair = {NULL, NULL};
	struct thinp_device_info info;
	int r;

	r = thinp_btree_cursor_create(pool->reader, &tp_thin_details_type, pool->shown->details_root, &pair.details);
	if (!r)
		r = thinp_btree_cursor_create(pool->reader, &tp_thin_roots_type, pool->shown->mapping_root,
					      &pair.roots);
	while (!r) {
		r = next_device(pool, &pair, &info);
		if (r == THINP_ENODATA) {
			r = 0;
			break;
		}
		if (!r)
			r = fn(ctx, &info);
	}
	thinp_btree_cursor_destroy(pair.roots);
	thinp_btree_cursor_destroy(pair.details);
	return r;
}
