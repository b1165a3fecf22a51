/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/store.c - the superblock of a store file of our own.
 */
#include "format/store.h"

#include "base/bytes.h"
#include "base/error.h"
#include "format/kind.h"
#include "format/thin.h"

#include <inttypes.h>
#include <string.h>

/* Where the fields are. Up to VERSION they are where a thin superblock has them. */
enum {
	FLAGS = 4,
	BLOCK = 8,
	UUID = 16,
	MAGIC = 32,
	VERSION = 40,
	BLOCK_SIZE = 44,
	COMMIT = 48,
	COMPAT_FLAGS = 56,
	COMPAT_RO_FLAGS = 60,
	INCOMPAT_FLAGS = 64,
	PADDING = 68,
	METADATA_SM = 72,
	MAPS = METADATA_SM + TP_SM_ROOT_SIZE,
	PADDING_2 = MAPS + TP_STORE_NR_MAPS * TP_SM_ROOT_SIZE,
	ROOTS = 256,
	USER = ROOTS + TP_STORE_NR_ROOTS * 8,
	END = USER + TP_STORE_USER_SIZE,
};
static_assert(PADDING_2 <= ROOTS, "the maps have room");
static_assert(END == TP_STORE_SUPERBLOCK_SIZE, "the last field ends where the record does");

static const struct thinp_block_type superblock_type = {
	.size = sizeof(superblock_type),
	.name = "store superblock",
	.csum_xor = TP_CSUM_XOR_STORE_SUPERBLOCK,
	.address_offset = BLOCK,
	.check = tp_store_superblock_check,
};

const struct thinp_block_type *tp_store_superblock_type(void)
{
	return &superblock_type;
}

void tp_store_superblock_unpack(const void *data, struct tp_store_superblock *sb)
{
	const uint8_t *p = data;

	sb->flags = tp_load_le32(p + FLAGS);
	sb->block = tp_load_le64(p + BLOCK);
	memcpy(sb->uuid, p + UUID, sizeof(sb->uuid));
	sb->magic = tp_load_le64(p + MAGIC);
	sb->version = tp_load_le32(p + VERSION);
	sb->block_size = tp_load_le32(p + BLOCK_SIZE);
	sb->commit = tp_load_le64(p + COMMIT);
	sb->compat_flags = tp_load_le32(p + COMPAT_FLAGS);
	sb->compat_ro_flags = tp_load_le32(p + COMPAT_RO_FLAGS);
	sb->incompat_flags = tp_load_le32(p + INCOMPAT_FLAGS);
	tp_sm_root_unpack(p + METADATA_SM, &sb->metadata_sm);
	for (size_t i = 0; i < TP_STORE_NR_MAPS; i++)
		tp_sm_root_unpack(p + MAPS + i * TP_SM_ROOT_SIZE, &sb->maps[i]);
	for (size_t i = 0; i < TP_STORE_NR_ROOTS; i++)
		sb->roots[i] = tp_load_le64(p + ROOTS + 8 * i);
	memcpy(sb->user, p + USER, sizeof(sb->user));
}

void tp_store_superblock_pack(const struct tp_store_superblock *sb, void *data)
{
	uint8_t *p = data;

	memset(p + FLAGS, 0, END - FLAGS);
	tp_store_le32(p + FLAGS, sb->flags);
	tp_store_le64(p + BLOCK, sb->block);
	memcpy(p + UUID, sb->uuid, sizeof(sb->uuid));
	tp_store_le64(p + MAGIC, sb->magic);
	tp_store_le32(p + VERSION, sb->version);
	tp_store_le32(p + BLOCK_SIZE, sb->block_size);
	tp_store_le64(p + COMMIT, sb->commit);
	tp_store_le32(p + COMPAT_FLAGS, sb->compat_flags);
	tp_store_le32(p + COMPAT_RO_FLAGS, sb->compat_ro_flags);
	tp_store_le32(p + INCOMPAT_FLAGS, sb->incompat_flags);
	tp_sm_root_pack(&sb->metadata_sm, p + METADATA_SM);
	for (size_t i = 0; i < TP_STORE_NR_MAPS; i++)
		tp_sm_root_pack(&sb->maps[i], p + MAPS + i * TP_SM_ROOT_SIZE);
	for (size_t i = 0; i < TP_STORE_NR_ROOTS; i++)
		tp_store_le64(p + ROOTS + 8 * i, sb->roots[i]);
	memcpy(p + USER, sb->user, sizeof(sb->user));
}

int tp_store_superblock_check(const void *data, thinp_block_t block)
{
	const uint8_t *p = data;
	uint64_t magic = tp_load_le64(p + MAGIC);
	uint32_t block_size = tp_load_le32(p + BLOCK_SIZE);
	uint64_t commit = tp_load_le64(p + COMMIT);

	if (magic != TP_STORE_MAGIC)
		return tp_fail(THINP_ECORRUPT, block, "store superblock: magic number is 0x%016" PRIx64, magic);
	if (block_size != TP_METADATA_BLOCK_SECTORS)
		return tp_fail(THINP_ECORRUPT, block,
			       "store superblock: blocks of %" PRIu32 " sectors, but the format knows only %u",
			       block_size, TP_METADATA_BLOCK_SECTORS);
	if (!commit || commit % TP_STORE_NR_SLOTS != block)
		return tp_fail(THINP_ECORRUPT, block, "store superblock: commit %" PRIu64 " in this slot", commit);
	return 0;
}

static int check_root(const struct tp_store_superblock *sb, thinp_block_t root, const char *what)
{
	if (root >= TP_STORE_NR_SLOTS && root < sb->metadata_sm.nr_blocks)
		return 0;
	return tp_fail(THINP_ECORRUPT, sb->block, "store superblock: %s is block %" PRIu64 " of %" PRIu64, what, root,
		       sb->metadata_sm.nr_blocks);
}

static bool is_none(const struct tp_sm_root *map)
{
	return !map->nr_blocks && !map->nr_allocated && !map->bitmap_root && !map->ref_count_root;
}

static int check_map(const struct tp_store_superblock *sb, const struct tp_sm_root *map, uint64_t limit,
		     const char *name)
{
	int r = tp_sm_root_check(map, limit, sb->metadata_sm.nr_blocks, sb->block, name);

	if (!r)
		r = check_root(sb, map->bitmap_root, "the index of a space map");
	return r ? r : check_root(sb, map->ref_count_root, "the overflow tree of a space map");
}

/* No two structures can be in one block. */
static int check_distinct(const struct tp_store_superblock *sb)
{
	thinp_block_t blocks[2 * (1 + TP_STORE_NR_MAPS)] = {sb->metadata_sm.bitmap_root,
							    sb->metadata_sm.ref_count_root};
	size_t nr = 2;

	for (size_t i = 0; i < TP_STORE_NR_MAPS; i++) {
		if (is_none(&sb->maps[i]))
			continue;
		blocks[nr++] = sb->maps[i].bitmap_root;
		blocks[nr++] = sb->maps[i].ref_count_root;
	}
	for (size_t i = 1; i < nr; i++)
		for (size_t j = 0; j < i; j++)
			if (blocks[i] == blocks[j])
				return tp_fail(THINP_ECORRUPT, sb->block,
					       "store superblock: two space maps are both at block %" PRIu64,
					       blocks[i]);
	return 0;
}

int tp_store_superblock_check_roots(const struct tp_store_superblock *sb)
{
	int r = check_map(sb, &sb->metadata_sm, TP_METADATA_MAX_BLOCKS, "metadata");

	for (size_t i = 0; i < TP_STORE_NR_MAPS && !r; i++)
		if (!is_none(&sb->maps[i]))
			r = check_map(sb, &sb->maps[i], TP_DATA_MAX_BLOCKS, "data");
	for (size_t i = 0; i < TP_STORE_NR_ROOTS && !r; i++)
		if (sb->roots[i])
			r = check_root(sb, sb->roots[i], "a root");
	return r ? r : check_distinct(sb);
}
