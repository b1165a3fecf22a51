/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a superblock, from its first byte. */
#include "fuzz.h"

#include "format/thin.h"

/* The record has a field for each of its bytes, so the same bytes are the same struct. */
static struct tp_thin_superblock round_trip(const struct fuzz_block *block)
{
	struct fuzz_block again = *block;
	struct tp_thin_superblock sb;

	tp_thin_superblock_unpack(block->data, &sb);
	memset(again.data + 4, 0, TP_THIN_SUPERBLOCK_SIZE - 4);
	tp_thin_superblock_pack(&sb, again.data);
	FUZZ_HOLDS(memcmp(again.data, block->data, sizeof(again.data)) == 0);
	return sb;
}

static void check_rules(const struct fuzz_block *block, const struct tp_thin_superblock *sb)
{
	if (fuzz_checked(tp_thin_superblock_check(block->data, 7), 7))
		return;
	FUZZ_HOLDS(sb->magic == TP_THIN_MAGIC && sb->metadata_block_size == TP_METADATA_BLOCK_SECTORS);
	FUZZ_HOLDS(sb->time <= TP_THIN_MAX_TIME);
}

static void check_roots(const struct tp_thin_superblock *sb)
{
	uint64_t nr_blocks = sb->metadata_sm.nr_blocks;

	if (!fuzz_checked(tp_thin_superblock_check_roots(sb), sb->block)) {
		FUZZ_HOLDS(nr_blocks <= TP_METADATA_MAX_BLOCKS && sb->data_sm.nr_blocks <= TP_DATA_MAX_BLOCKS);
		FUZZ_HOLDS(sb->held_root < nr_blocks && sb->held_root != sb->mapping_root);
	}
	if (!fuzz_checked(tp_thin_superblock_check_snap_roots(sb, nr_blocks), sb->block))
		FUZZ_HOLDS(sb->mapping_root && sb->mapping_root < nr_blocks && sb->mapping_root != sb->details_root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_block block = fuzz_block(data, size);
	struct tp_thin_superblock sb = round_trip(&block);

	check_rules(&block, &sb);
	check_roots(&sb);
	fuzz_verify(&block, thinp_block_type_thin_superblock());
	return 0;
}
