/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/thin.c - superblock, device details and mapping values of thin pools.
 */
#include "format/thin.h"

#include "base/bytes.h"
#include "base/error.h"
#include "format/address.h"

#include <inttypes.h>
#include <string.h>

/* Where the fields of the superblock are. */
enum {
	FLAGS = 4,
	BLOCK = 8,
	UUID = 16,
	MAGIC = 32,
	VERSION = 40,
	TIME = 44,
	TRANSACTION_ID = 48,
	HELD_ROOT = 56,
	DATA_SM = 64,
	METADATA_SM = 192,
	MAPPING_ROOT = 320,
	DETAILS_ROOT = 328,
	DATA_BLOCK_SIZE = 336,
	METADATA_BLOCK_SIZE = 340,
	METADATA_NR_BLOCKS = 344,
	COMPAT_FLAGS = 352,
	COMPAT_RO_FLAGS = 356,
	INCOMPAT_FLAGS = 360,
	END = 364
};
static_assert(END == TP_THIN_SUPERBLOCK_SIZE, "the last field ends where the record does");
static_assert(METADATA_SM - DATA_SM == TP_SM_ROOT_AREA_SIZE && MAPPING_ROOT - METADATA_SM == TP_SM_ROOT_AREA_SIZE,
	      "the space-map roots fill their areas");

static void unpack_sm_areas(const uint8_t *p, struct tp_thin_superblock *sb)
{
	tp_sm_root_unpack(p + DATA_SM, &sb->data_sm);
	memcpy(sb->data_sm_tail, p + DATA_SM + TP_SM_ROOT_SIZE, sizeof(sb->data_sm_tail));
	tp_sm_root_unpack(p + METADATA_SM, &sb->metadata_sm);
	memcpy(sb->metadata_sm_tail, p + METADATA_SM + TP_SM_ROOT_SIZE, sizeof(sb->metadata_sm_tail));
}

static void pack_sm_areas(const struct tp_thin_superblock *sb, uint8_t *p)
{
	tp_sm_root_pack(&sb->data_sm, p + DATA_SM);
	memcpy(p + DATA_SM + TP_SM_ROOT_SIZE, sb->data_sm_tail, sizeof(sb->data_sm_tail));
	tp_sm_root_pack(&sb->metadata_sm, p + METADATA_SM);
	memcpy(p + METADATA_SM + TP_SM_ROOT_SIZE, sb->metadata_sm_tail, sizeof(sb->metadata_sm_tail));
}

void tp_thin_superblock_unpack(const void *data, struct tp_thin_superblock *sb)
{
	const uint8_t *p = data;

	sb->flags = tp_load_le32(p + FLAGS);
	sb->block = tp_load_le64(p + BLOCK);
	memcpy(sb->uuid, p + UUID, sizeof(sb->uuid));
	sb->magic = tp_load_le64(p + MAGIC);
	sb->version = tp_load_le32(p + VERSION);
	sb->time = tp_load_le32(p + TIME);
	sb->transaction_id = tp_load_le64(p + TRANSACTION_ID);
	sb->held_root = tp_load_le64(p + HELD_ROOT);
	unpack_sm_areas(p, sb);
	sb->mapping_root = tp_load_le64(p + MAPPING_ROOT);
	sb->details_root = tp_load_le64(p + DETAILS_ROOT);
	sb->data_block_size = tp_load_le32(p + DATA_BLOCK_SIZE);
	sb->metadata_block_size = tp_load_le32(p + METADATA_BLOCK_SIZE);
	sb->metadata_nr_blocks = tp_load_le64(p + METADATA_NR_BLOCKS);
	sb->compat_flags = tp_load_le32(p + COMPAT_FLAGS);
	sb->compat_ro_flags = tp_load_le32(p + COMPAT_RO_FLAGS);
	sb->incompat_flags = tp_load_le32(p + INCOMPAT_FLAGS);
}

void tp_thin_superblock_pack(const struct tp_thin_superblock *sb, void *data)
{
	uint8_t *p = data;

	tp_store_le32(p + FLAGS, sb->flags);
	tp_store_le64(p + BLOCK, sb->block);
	memcpy(p + UUID, sb->uuid, sizeof(sb->uuid));
	tp_store_le64(p + MAGIC, sb->magic);
	tp_store_le32(p + VERSION, sb->version);
	tp_store_le32(p + TIME, sb->time);
	tp_store_le64(p + TRANSACTION_ID, sb->transaction_id);
	tp_store_le64(p + HELD_ROOT, sb->held_root);
	pack_sm_areas(sb, p);
	tp_store_le64(p + MAPPING_ROOT, sb->mapping_root);
	tp_store_le64(p + DETAILS_ROOT, sb->details_root);
	tp_store_le32(p + DATA_BLOCK_SIZE, sb->data_block_size);
	tp_store_le32(p + METADATA_BLOCK_SIZE, sb->metadata_block_size);
	tp_store_le64(p + METADATA_NR_BLOCKS, sb->metadata_nr_blocks);
	tp_store_le32(p + COMPAT_FLAGS, sb->compat_flags);
	tp_store_le32(p + COMPAT_RO_FLAGS, sb->compat_ro_flags);
	tp_store_le32(p + INCOMPAT_FLAGS, sb->incompat_flags);
}

int tp_thin_superblock_check(const void *data, thinp_block_t block)
{
	const uint8_t *p = data;
	uint64_t magic = tp_load_le64(p + MAGIC);
	uint32_t block_size = tp_load_le32(p + METADATA_BLOCK_SIZE);
	uint32_t time = tp_load_le32(p + TIME);

	if (magic != TP_THIN_MAGIC)
		return tp_fail(THINP_ECORRUPT, block, "thin superblock: magic number is %" PRIu64 ", not %u", magic,
			       TP_THIN_MAGIC);
	if (block_size != TP_METADATA_BLOCK_SECTORS)
		return tp_fail(THINP_ECORRUPT, block,
			       "thin superblock: metadata blocks of %" PRIu32 " sectors, but the format knows only %u",
			       block_size, TP_METADATA_BLOCK_SECTORS);
	if (time > TP_THIN_MAX_TIME)
		return tp_fail(THINP_ECORRUPT, block,
			       "thin superblock: time is %" PRIu32 ", but %" PRIu32 " is the last", time,
			       TP_THIN_MAX_TIME);
	return 0;
}

/* A block that a superblock names. */
struct named_block {
	const char *name;
	thinp_block_t block;
};

/* No two structures can be in one block. */
static int check_distinct(const struct named_block *blocks, size_t nr, thinp_block_t owner)
{
	for (size_t i = 1; i < nr; i++)
		for (size_t j = 0; j < i; j++)
			if (blocks[i].block == blocks[j].block)
				return tp_fail(THINP_ECORRUPT, owner,
					       "thin superblock: %s and %s are both at block %" PRIu64, blocks[j].name,
					       blocks[i].name, blocks[i].block);
	return 0;
}

static int check_tree_roots(const struct tp_thin_superblock *sb, uint64_t metadata_blocks)
{
	int r = tp_address_check(sb->mapping_root, metadata_blocks, sb->block, "thin superblock", "the mapping tree");

	if (!r)
		r = tp_address_check(sb->details_root, metadata_blocks, sb->block, "thin superblock",
				     "the details tree");
	return r;
}

static int check_sm_roots(const struct tp_thin_superblock *sb)
{
	uint64_t metadata_blocks = sb->metadata_sm.nr_blocks;
	int r = tp_sm_root_check(&sb->metadata_sm, TP_METADATA_MAX_BLOCKS, metadata_blocks, sb->block, "metadata");

	return r ? r : tp_sm_root_check(&sb->data_sm, TP_DATA_MAX_BLOCKS, metadata_blocks, sb->block, "data");
}

int tp_thin_superblock_check_roots(const struct tp_thin_superblock *sb)
{
	const struct named_block blocks[] = {
		{"the index of the metadata map", sb->metadata_sm.bitmap_root},
		{"the overflow tree of the metadata map", sb->metadata_sm.ref_count_root},
		{"the index of the data map", sb->data_sm.bitmap_root},
		{"the overflow tree of the data map", sb->data_sm.ref_count_root},
		{"the mapping tree", sb->mapping_root},
		{"the details tree", sb->details_root},
		{"the metadata snapshot", sb->held_root},
	};
	uint64_t metadata_blocks = sb->metadata_sm.nr_blocks;
	size_t nr = sizeof(blocks) / sizeof(blocks[0]);
	int r = check_sm_roots(sb);

	if (!r)
		r = check_tree_roots(sb, metadata_blocks);
	if (!r && sb->held_root)
		r = tp_address_check(sb->held_root, metadata_blocks, sb->block, "thin superblock",
				     "the metadata snapshot");
	/* a held root of 0 means that there is none; as all others are known not to be 0, it equals none of them */
	return r ? r : check_distinct(blocks, nr, sb->block);
}

int tp_thin_superblock_check_snap_roots(const struct tp_thin_superblock *sb, uint64_t metadata_blocks)
{
	const struct named_block blocks[] = {
		{"the metadata snapshot", sb->block},
		{"the mapping tree", sb->mapping_root},
		{"the details tree", sb->details_root},
	};
	int r = check_tree_roots(sb, metadata_blocks);

	return r ? r : check_distinct(blocks, sizeof(blocks) / sizeof(blocks[0]), sb->block);
}

void tp_device_details_unpack(const void *data, struct tp_device_details *details)
{
	const uint8_t *p = data;

	details->mapped_blocks = tp_load_le64(p);
	details->transaction_id = tp_load_le64(p + 8);
	details->creation_time = tp_load_le32(p + 16);
	details->snapshotted_time = tp_load_le32(p + 20);
}

void tp_device_details_pack(const struct tp_device_details *details, void *data)
{
	uint8_t *p = data;

	tp_store_le64(p, details->mapped_blocks);
	tp_store_le64(p + 8, details->transaction_id);
	tp_store_le32(p + 16, details->creation_time);
	tp_store_le32(p + 20, details->snapshotted_time);
}

void tp_mapping_unpack(const void *data, struct tp_mapping *mapping)
{
	*mapping = tp_mapping_unpack64(tp_load_le64(data));
}

int tp_mapping_pack(const struct tp_mapping *mapping, void *data)
{
	if (mapping->data_block >= TP_DATA_MAX_BLOCKS)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "data block %" PRIu64 " does not fit a mapping",
			       mapping->data_block);
	if (mapping->time > TP_THIN_MAX_TIME)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "time %" PRIu32 " does not fit a mapping", mapping->time);
	tp_store_le64(data, mapping->data_block << 24 | mapping->time);
	return 0;
}
