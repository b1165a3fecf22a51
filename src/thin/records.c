/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/records.c - details of the devices that the open transaction changes.
 *
 * Before the first change of a device its details are written to the tree as they are: so the leaf has been copied, and
 * all further writing happens in place. That holds until the details tree gets a second owner, the metadata snapshot: then
 * the records are written and forgotten.
 *
 * A device that is looked for is looked for here first.
 */
#include "btree/look.h"
#include "thin/change.h"

static struct tp_device_record *slot_of(const struct thinp_pool *pool, uint64_t dev_id)
{
	return (struct tp_device_record *)&pool->records[dev_id % TP_THIN_NR_RECORDS];
}

static bool is_record_of(const struct tp_device_record *record, uint64_t dev_id)
{
	return record->is_used && record->dev_id == dev_id;
}

const struct tp_device_details *tp_thin_find_record(const struct thinp_pool *pool, uint64_t dev_id)
{
	const struct tp_device_record *record = slot_of(pool, dev_id);

	return is_record_of(record, dev_id) ? &record->details : NULL;
}

int tp_thin_put_details(struct thinp_pool *pool, uint64_t dev_id, const struct tp_device_details *details)
{
	uint8_t value[TP_DETAILS_SIZE];

	tp_device_details_pack(details, value);
	return thinp_btree_insert(tp_thin_tm(pool), &pool->details, pool->live.details_root, &dev_id, value,
				  &pool->live.details_root, NULL);
}

static int write_record(struct thinp_pool *pool, struct tp_device_record *record)
{
	int r;

	if (!record->is_used || !record->is_dirty)
		return 0;
	r = tp_thin_put_details(pool, record->dev_id, &record->details);
	if (!r)
		record->is_dirty = false;
	return r;
}

int tp_thin_write_records(struct thinp_pool *pool)
{
	int r = 0;

	for (uint32_t i = 0; i < TP_THIN_NR_RECORDS && !r; i++)
		r = write_record(pool, &pool->records[i]);
	return r;
}

void tp_thin_forget_records(struct thinp_pool *pool)
{
	for (uint32_t i = 0; i < TP_THIN_NR_RECORDS; i++)
		pool->records[i].is_used = false;
}

void tp_thin_forget_record(struct thinp_pool *pool, uint64_t dev_id)
{
	struct tp_device_record *record = slot_of(pool, dev_id);

	if (is_record_of(record, dev_id))
		record->is_used = false;
}

/* Room has been asked for: what is kept back must not be asked for again, where it may be used. */
static int copy_leaf(struct thinp_pool *pool, uint64_t dev_id, uint32_t flags, const struct tp_device_details *details)
{
	if (!(flags & THINP_RESERVE_RELEASE))
		return tp_thin_put_details(pool, dev_id, details);
	tp_thin_begin_release(pool);
	return tp_thin_end_release(pool, tp_thin_put_details(pool, dev_id, details));
}

/* Its leaf is copied now, so that it can be written in place later. */
static int make_record(struct thinp_pool *pool, uint64_t dev_id, uint32_t flags, struct tp_device_details *details)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	struct tp_look way = {.path = NULL};
	int r = thinp_pool_get_device(pool, dev_id, &info);

	if (!r)
		r = tp_look(tp_thin_tm(pool), &pool->details, pool->live.details_root, &dev_id, &way);
	if (way.first_shared != way.nr_nodes)
		flags = 0;
	if (!r)
		r = thinp_tm_reserve(tp_thin_tm(pool), way.nr_blocks, flags);
	if (r)
		return r;
	*details = (struct tp_device_details){.mapped_blocks = info.mapped_blocks,
					      .transaction_id = info.transaction_id,
					      .creation_time = info.creation_time,
					      .snapshotted_time = info.snapshotted_time};
	return copy_leaf(pool, dev_id, flags, details);
}

int tp_thin_get_record(struct thinp_pool *pool, uint64_t dev_id, uint32_t flags, struct tp_device_record **out)
{
	struct tp_device_record *record = slot_of(pool, dev_id);
	struct tp_device_details details;
	int r = 0;

	if (!is_record_of(record, dev_id)) {
		r = write_record(pool, record);
		if (!r)
			r = make_record(pool, dev_id, flags, &details);
		if (r)
			return r;
		*record = (struct tp_device_record){.is_used = true, .dev_id = dev_id, .details = details};
	}
	*out = record;
	return 0;
}
