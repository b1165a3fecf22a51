/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/thin.h - what only thin pools have: superblock, device details, mapping values.
 */
#ifndef TP_FORMAT_THIN_H
#define TP_FORMAT_THIN_H

#include "base/private.h"

#include "format/space_map.h"

#include <thinp/types.h>

#define TP_THIN_MAGIC             27022010u
#define TP_THIN_VERSION           2u
#define TP_THIN_FLAG_NEEDS_CHECK  1u
#define TP_THIN_MAX_TIME          (((uint32_t)1 << 24) - 1)
#define TP_METADATA_BLOCK_SECTORS 8u
#define TP_DETAILS_SIZE           24u
#define TP_MAPPING_SIZE           8u
#define TP_THIN_SUPERBLOCK_SIZE   364u /* bytes of the record; the rest of the block is kept as it was read */

struct tp_thin_superblock {
	uint32_t flags;
	thinp_block_t block; /* own address */
	uint8_t uuid[16];
	uint64_t magic;
	uint32_t version;
	uint32_t time;
	uint64_t transaction_id;
	thinp_block_t held_root;
	struct tp_sm_root data_sm;
	struct tp_sm_root metadata_sm;
	uint8_t data_sm_tail[TP_SM_ROOT_AREA_SIZE - TP_SM_ROOT_SIZE]; /* zero in all known images; kept */
	uint8_t metadata_sm_tail[TP_SM_ROOT_AREA_SIZE - TP_SM_ROOT_SIZE];
	thinp_block_t mapping_root;
	thinp_block_t details_root;
	uint32_t data_block_size;     /* sectors */
	uint32_t metadata_block_size; /* sectors */
	uint64_t metadata_nr_blocks;  /* at the time of format */
	uint32_t compat_flags;
	uint32_t compat_ro_flags;
	uint32_t incompat_flags;
};

/* Any bytes are taken; tp_thin_superblock_check tells whether they make sense. Packing writes the record, all but the
 * checksum. */
TP_PRIVATE_API void tp_thin_superblock_unpack(const void *data, struct tp_thin_superblock *sb);
void tp_thin_superblock_pack(const struct tp_thin_superblock *sb, void *data);

/* Rules without context, for block type thin superblock: magic, metadata block size, time below 2^24. THINP_ECORRUPT
 * naming block and reason. */
int tp_thin_superblock_check(const void *data, thinp_block_t block);

/* Rules of a live superblock with its roots: sizes of both maps within their limits; space-map roots, tree roots and
 * held root (unless 0: none) in 1..nr_blocks-1 of the metadata map and pairwise different. THINP_ECORRUPT naming
 * sb->block and reason. */
int tp_thin_superblock_check_roots(const struct tp_thin_superblock *sb);

/* The same for the copy in a metadata snapshot, which has tree roots only, neither of them the copy itself;
 * metadata_blocks from the live one. */
int tp_thin_superblock_check_snap_roots(const struct tp_thin_superblock *sb, uint64_t metadata_blocks);

struct tp_device_details {
	uint64_t mapped_blocks;
	uint64_t transaction_id;
	uint32_t creation_time;
	uint32_t snapshotted_time;
};

TP_PRIVATE_API void tp_device_details_unpack(const void *data, struct tp_device_details *details);
void tp_device_details_pack(const struct tp_device_details *details, void *data);

/* A mapping: data block (40 bits) and the pool's clock when it was made (24 bits), in one 64-bit number. */
struct tp_mapping {
	uint64_t data_block;
	uint32_t time;
};

#define TP_MAPPING_STEP ((uint64_t)1 << 24) /* to that of the next data block, made at the same time */

static inline struct tp_mapping tp_mapping_unpack64(uint64_t value)
{
	return (struct tp_mapping){.data_block = value >> 24, .time = (uint32_t)(value & TP_THIN_MAX_TIME)};
}

void tp_mapping_unpack(const void *data, struct tp_mapping *mapping);

/* THINP_ERANGE when data block or time do not fit. */
int tp_mapping_pack(const struct tp_mapping *mapping, void *data);

#endif
