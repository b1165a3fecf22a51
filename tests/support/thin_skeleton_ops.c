/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/thin_skeleton_ops.c - devices and mappings.
 */
#include "support/thin_skeleton.h"

#include "base/bytes.h"

#include <string.h>

/* After the first step of several, a failure is one half way. */
static int half_way(struct thin_skeleton *s, int r)
{
	return r ? thinp_tm_poison(s->tm, r) : 0;
}

static int get_details(struct thin_skeleton *s, uint64_t device, struct tp_device_details *details)
{
	uint8_t value[TP_DETAILS_SIZE];
	int r = thinp_btree_lookup(thinp_tm_reader(s->tm), &s->details, s->sb.details_root, &device, value);

	if (!r)
		tp_device_details_unpack(value, details);
	return r;
}

static int put_details(struct thin_skeleton *s, uint64_t device, const struct tp_device_details *details)
{
	uint8_t value[TP_DETAILS_SIZE];

	tp_device_details_pack(details, value);
	return thinp_btree_insert(s->tm, &s->details, s->sb.details_root, &device, value, &s->sb.details_root, NULL);
}

static int put_root(struct thin_skeleton *s, uint64_t device, thinp_block_t root)
{
	uint8_t value[8];

	tp_store_le64(value, root);
	return thinp_btree_insert(s->tm, &s->top, s->sb.mapping_root, &device, value, &s->sb.mapping_root, NULL);
}

static int get_root(struct thin_skeleton *s, uint64_t device, thinp_block_t *root)
{
	uint8_t value[8];
	int r = thinp_btree_lookup(thinp_tm_reader(s->tm), &s->top, s->sb.mapping_root, &device, value);

	if (!r)
		*root = tp_load_le64(value);
	return r;
}

/* --- devices ----------------------------------------------------------------------------------------------------------- */

int thin_skeleton_add_device(struct thin_skeleton *s, uint64_t device)
{
	struct tp_device_details details = {.creation_time = s->sb.time, .snapshotted_time = s->sb.time};
	thinp_block_t root;
	int r = thinp_btree_create(s->tm, &s->device, &root);

	if (r)
		return r;
	r = put_root(s, device, root);
	if (!r)
		r = put_details(s, device, &details);
	return half_way(s, r);
}

int thin_skeleton_snapshot(struct thin_skeleton *s, uint64_t origin, uint64_t device)
{
	struct tp_device_details details;
	thinp_block_t root;
	int r = get_details(s, origin, &details);

	if (!r)
		r = get_root(s, origin, &root);
	if (!r)
		r = thinp_tm_inc(s->tm, root, 1, THINP_CAUSE_USER);
	if (r)
		return r;
	s->sb.time++;
	details.snapshotted_time = s->sb.time;
	r = put_details(s, origin, &details);
	details.creation_time = s->sb.time;
	if (!r)
		r = put_details(s, device, &details);
	if (!r)
		r = put_root(s, device, root);
	return half_way(s, r);
}

int thin_skeleton_delete_device(struct thin_skeleton *s, uint64_t device)
{
	thinp_block_t root;
	int r = get_root(s, device, &root);

	if (!r)
		r = thinp_btree_remove(s->tm, &s->top, s->sb.mapping_root, &device, &s->sb.mapping_root);
	if (r)
		return r;
	r = thinp_btree_del(s->tm, &s->device, root);
	if (!r)
		r = thinp_btree_remove(s->tm, &s->details, s->sb.details_root, &device, &s->sb.details_root);
	return half_way(s, r);
}

/* --- mappings ---------------------------------------------------------------------------------------------------------- */

static int add_to_mapped(struct thin_skeleton *s, uint64_t device, uint64_t nr)
{
	struct tp_device_details details;
	int r = nr ? get_details(s, device, &details) : 0;

	if (r || !nr)
		return r;
	details.mapped_blocks += nr; /* it may wrap around: fewer */
	return put_details(s, device, &details);
}

int thin_skeleton_map(struct thin_skeleton *s, uint64_t device, uint64_t block, uint64_t *data_block)
{
	struct tp_mapping mapping = {.time = s->sb.time};
	const uint64_t keys[] = {device, block};
	uint8_t value[TP_MAPPING_SIZE];
	bool inserted = false;
	int r = thinp_sm_take(s->data, 1, &mapping.data_block, NULL);

	if (r)
		return r;
	r = tp_mapping_pack(&mapping, value);
	if (!r)
		r = thinp_btree_insert(s->tm, &s->mappings, s->sb.mapping_root, keys, value, &s->sb.mapping_root,
				       &inserted);
	if (!r)
		r = add_to_mapped(s, device, inserted);
	if (!r && data_block)
		*data_block = mapping.data_block;
	return half_way(s, r);
}

int thin_skeleton_map_run(struct thin_skeleton *s, uint64_t device, uint64_t block, uint64_t nr)
{
	enum { AT_ONCE = 128 };
	uint64_t keys[2 * AT_ONCE], first = 0, nr_inserted = 0;
	uint8_t values[8 * AT_ONCE];
	int r;

	if (!nr || nr > AT_ONCE)
		return THINP_EINVAL;
	r = thinp_sm_take(s->data, nr, &first, &nr);
	if (r)
		return r;
	for (uint64_t i = 0; i < nr; i++) {
		keys[2 * i] = device;
		keys[2 * i + 1] = block + i;
		tp_store_le64(values + 8 * i, (first + i) << 24 | s->sb.time);
	}
	r = thinp_btree_insert_many(s->tm, &s->mappings, s->sb.mapping_root, keys, values, (size_t)nr,
				    &s->sb.mapping_root, &nr_inserted);
	if (!r)
		r = add_to_mapped(s, device, nr_inserted);
	return half_way(s, r);
}

int thin_skeleton_unmap(struct thin_skeleton *s, uint64_t device, uint64_t first, uint64_t last)
{
	const uint64_t first_keys[] = {device, first}, last_keys[] = {device, last};
	uint64_t nr_removed = 0;
	int r = thinp_btree_remove_range(s->tm, &s->mappings, s->sb.mapping_root, first_keys, last_keys, 0,
					 &s->sb.mapping_root, &nr_removed, NULL);

	return r ? r : half_way(s, add_to_mapped(s, device, 0 - nr_removed));
}

int thin_skeleton_lookup(struct thin_skeleton *s, uint64_t device, uint64_t block, uint64_t *data_block)
{
	const uint64_t keys[] = {device, block};
	uint8_t value[TP_MAPPING_SIZE];
	int r = thinp_btree_lookup(thinp_tm_reader(s->tm), &s->mappings, s->sb.mapping_root, keys, value);

	if (!r)
		*data_block = tp_load_le64(value) >> 24;
	return r;
}

/* --- the metadata snapshot --------------------------------------------------------------------------------------------- */

static int write_copy(struct thin_skeleton *s, thinp_block_t *block)
{
	struct tp_thin_superblock copy = s->sb;
	struct thinp_buffer *buffer;
	void *data;
	int r = thinp_tm_new_block(s->tm, thinp_block_type_thin_superblock(), THINP_CAUSE_NEW, block, &buffer, &data);

	if (r)
		return r;
	copy.block = *block;
	memset(&copy.data_sm, 0, sizeof(copy.data_sm));
	memset(&copy.metadata_sm, 0, sizeof(copy.metadata_sm));
	tp_thin_superblock_pack(&copy, data);
	thinp_tm_unlock(s->tm, buffer);
	return 0;
}

int thin_skeleton_hold(struct thin_skeleton *s)
{
	thinp_block_t block;
	int r = s->sb.held_root ? THINP_EBUSY : write_copy(s, &block);

	if (r)
		return r;
	r = thinp_tm_inc(s->tm, s->sb.mapping_root, 1, THINP_CAUSE_USER);
	if (!r)
		r = thinp_tm_inc(s->tm, s->sb.details_root, 1, THINP_CAUSE_USER);
	s->sb.held_root = block;
	return half_way(s, r);
}

int thin_skeleton_release(struct thin_skeleton *s)
{
	struct tp_thin_superblock copy;
	struct thinp_read_section section;
	const void *data;
	int r;

	if (!s->sb.held_root)
		return THINP_ENOENT;
	thinp_read_begin(thinp_tm_reader(s->tm), &section);
	r = thinp_read_block(&section, s->sb.held_root, thinp_block_type_thin_superblock(), &data);
	if (!r)
		tp_thin_superblock_unpack(data, &copy);
	thinp_read_end(&section);
	if (!r)
		r = thinp_btree_del(s->tm, &s->mappings, copy.mapping_root);
	if (r)
		return r;
	r = thinp_btree_del(s->tm, &s->details, copy.details_root);
	if (!r)
		r = thinp_tm_dec(s->tm, s->sb.held_root, 1, THINP_CAUSE_FREE);
	s->sb.held_root = 0;
	return half_way(s, r);
}
