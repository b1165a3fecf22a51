/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/changed.c - what the open transaction has changed.
 *
 * What the last commit has is never changed in place: a device whose root and details are those of the last commit is what
 * it was, and every other one has been touched.
 */
#include "thin/change.h"

#include <string.h>

static bool are_fields_changed(const struct thinp_pool *pool, const struct tp_thin_superblock *last)
{
	const struct tp_thin_superblock *now = &pool->live;

	return now->transaction_id != last->transaction_id || now->flags != last->flags || now->time != last->time ||
	       now->held_root != last->held_root || now->mapping_root != last->mapping_root ||
	       now->details_root != last->details_root;
}

static void get_last(const struct thinp_pool *pool, struct tp_thin_superblock *last)
{
	tp_thin_superblock_unpack(pool->store->last->record, last);
}

int thinp_pool_is_changed(struct thinp_pool *pool, bool *is_changed)
{
	struct tp_thin_superblock last;
	int r = tp_thin_check_not_read_only(pool);

	if (r)
		return r;
	get_last(pool, &last);
	*is_changed = are_fields_changed(pool, &last) || tp_sm_is_changed(tp_thin_data_map(pool)) ||
		      tp_sm_is_changed(pool->store->metadata);
	return 0;
}

/* THINP_ENODATA: the last commit has no such device. */
static int get_device_of_last(const struct thinp_pool *pool, uint64_t dev_id, struct thinp_device_info *info)
{
	struct tp_thin_superblock last;
	struct thinp_pool shown = {.reader = pool->store->reader, .shown = &last};

	get_last(pool, &last);
	return thinp_pool_get_device(&shown, dev_id, info);
}

int thinp_pool_device_is_changed(struct thinp_pool *pool, uint64_t dev_id, bool *is_changed)
{
	struct thinp_device_info now = {.size = sizeof(now)}, last = {.size = sizeof(last)};
	struct thinp_error_info before = {.size = sizeof(before)};
	int r = tp_thin_check_not_read_only(pool);

	if (!r)
		r = thinp_pool_get_device(pool, dev_id, &now);
	if (r)
		return r;
	thinp_error_last(&before);
	r = get_device_of_last(pool, dev_id, &last);
	if (r && r != THINP_ENODATA)
		return r;
	if (r)
		tp_error_restore(&before);
	*is_changed = r || memcmp(&now, &last, sizeof(now)) != 0;
	return 0;
}
