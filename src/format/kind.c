/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/kind.c - checksums, and what kind of block a checksum says it is.
 *
 * A checksum is the CRC of the block XORed with a constant of its kind. So stored checksum XOR computed CRC is the
 * kind, and a block of the wrong kind can be told from a damaged one.
 */
#include "format/kind.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "format/array_block.h"
#include "format/node.h"
#include "format/store.h"
#include "format/thin.h"

#include <inttypes.h>
#include <string.h>

static const struct thinp_block_type thin_superblock_type = {
	.size = sizeof(thin_superblock_type),
	.name = "thin superblock",
	.csum_xor = TP_CSUM_XOR_THIN_SUPERBLOCK,
	.address_offset = 8,
	.check = tp_thin_superblock_check,
};

static const struct thinp_block_type node_type = {
	.size = sizeof(node_type),
	.name = "btree node",
	.csum_xor = TP_CSUM_XOR_NODE,
	.address_offset = 8,
	.check = tp_node_check,
};

/* Any entries of an index and any counts of a bitmap are possible; only the owner of the map can tell more. */
static const struct thinp_block_type index_type = {
	.size = sizeof(index_type),
	.name = "metadata index",
	.csum_xor = TP_CSUM_XOR_INDEX,
	.address_offset = 8,
};

static const struct thinp_block_type bitmap_type = {
	.size = sizeof(bitmap_type),
	.name = "bitmap",
	.csum_xor = TP_CSUM_XOR_BITMAP,
	.address_offset = 8,
};

static const struct thinp_block_type array_type = {
	.size = sizeof(array_type),
	.name = "array block",
	.csum_xor = TP_CSUM_XOR_ARRAY,
	.address_offset = 16,
	.check = tp_array_block_check,
};

const struct thinp_block_type *thinp_block_type_thin_superblock(void)
{
	return &thin_superblock_type;
}

const struct thinp_block_type *thinp_block_type_node(void)
{
	return &node_type;
}

const struct thinp_block_type *thinp_block_type_index(void)
{
	return &index_type;
}

const struct thinp_block_type *thinp_block_type_bitmap(void)
{
	return &bitmap_type;
}

const struct thinp_block_type *thinp_block_type_array(void)
{
	return &array_type;
}

uint32_t tp_block_crc(const void *data)
{
	const size_t begin = TP_CSUM_OFFSET + sizeof(uint32_t);

	return tp_crc32c(UINT32_MAX, (const uint8_t *)data + begin, THINP_BLOCK_SIZE - begin);
}

static uint32_t stored_csum(const void *data)
{
	return tp_load_le32((const uint8_t *)data + TP_CSUM_OFFSET);
}

/* NULL when the constant is not one that the format knows. */
static const char *name_of_xor(uint32_t csum_xor)
{
	switch (csum_xor) {
	case TP_CSUM_XOR_THIN_SUPERBLOCK:
		return thin_superblock_type.name;
	case TP_CSUM_XOR_NODE:
		return node_type.name;
	case TP_CSUM_XOR_INDEX:
		return index_type.name;
	case TP_CSUM_XOR_BITMAP:
		return bitmap_type.name;
	case TP_CSUM_XOR_ARRAY:
		return array_type.name;
	case TP_CSUM_XOR_CACHE_SUPERBLOCK:
		return "cache superblock";
	case TP_CSUM_XOR_ERA_SUPERBLOCK:
		return "era superblock";
	case TP_CSUM_XOR_STORE_SUPERBLOCK:
		return tp_store_superblock_type()->name;
	default:
		return NULL;
	}
}

const char *tp_block_kind_name(const void *data)
{
	const char *name = name_of_xor(stored_csum(data) ^ tp_block_crc(data));

	return name || !tp_is_zero(data, THINP_BLOCK_SIZE) ? name : "block of zeros";
}

static const char *article(const char *noun)
{
	return strchr("aeiou", noun[0]) ? "an" : "a";
}

/* A block whose checksum is not that of its type: the most helpful thing that can be said of it. */
static int fail_csum(const void *data, thinp_block_t block, const struct thinp_block_type *type, uint32_t wanted)
{
	uint32_t stored = stored_csum(data);
	const char *found = name_of_xor(stored ^ wanted ^ type->csum_xor);

	if (found)
		return tp_fail(THINP_ECORRUPT, block, "holds a valid %s, expected %s %.40s", found, article(type->name),
			       type->name);
	if (tp_is_zero(data, THINP_BLOCK_SIZE))
		return tp_fail(THINP_ECORRUPT, block, "holds nothing but zeros, expected %s %.40s", article(type->name),
			       type->name);
	return tp_fail(THINP_ECORRUPT, block, "%.40s: checksum is 0x%08" PRIx32 ", but the contents give 0x%08" PRIx32,
		       type->name, stored, wanted);
}

/* Success leaves the thread's detail record alone, so the sentence for a check that gives no reason is written only
 * once the check has failed; the second call puts the reason over it, if there is one. */
static int run_check(const void *data, thinp_block_t block, const struct thinp_block_type *type)
{
	if (!type->check(data, block))
		return 0;
	tp_fail(THINP_ECORRUPT, block, "%.40s: breaks the rules of its kind", type->name);
	type->check(data, block);
	return THINP_ECORRUPT;
}

int tp_block_verify(const void *data, thinp_block_t block, const struct thinp_block_type *type)
{
	uint32_t wanted = tp_block_crc(data) ^ type->csum_xor;
	thinp_block_t address = tp_load_le64((const uint8_t *)data + type->address_offset);

	if (stored_csum(data) != wanted)
		return fail_csum(data, block, type, wanted);
	if (address != block)
		return tp_fail(THINP_ECORRUPT, block, "%.40s misplaced: the block says it is %" PRIu64, type->name,
			       address);
	return type->check ? run_check(data, block, type) : 0;
}

void tp_block_seal(void *data, thinp_block_t block, const struct thinp_block_type *type)
{
	tp_store_le64((uint8_t *)data + type->address_offset, block);
	tp_store_le32((uint8_t *)data + TP_CSUM_OFFSET, tp_block_crc(data) ^ type->csum_xor);
}
