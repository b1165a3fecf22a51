/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: the root of a space map (32 bytes), an index entry (16), and the size of the metadata (8). */
#include "fuzz.h"

#include "format/space_map.h"

static bool is_pointer(thinp_block_t block, uint64_t metadata_blocks)
{
	return block > 0 && block < metadata_blocks;
}

static void run_root(const uint8_t *record, uint64_t limit, uint64_t metadata_blocks)
{
	uint8_t again[TP_SM_ROOT_SIZE];
	struct tp_sm_root root;

	tp_sm_root_unpack(record, &root);
	tp_sm_root_pack(&root, again);
	FUZZ_HOLDS(memcmp(again, record, sizeof(again)) == 0);
	if (fuzz_checked(tp_sm_root_check(&root, limit, metadata_blocks, 49, "data"), 49))
		return;
	FUZZ_HOLDS(root.nr_blocks <= limit && root.bitmap_root != root.ref_count_root);
	FUZZ_HOLDS(is_pointer(root.bitmap_root, metadata_blocks) && is_pointer(root.ref_count_root, metadata_blocks));
}

static void run_entry(const uint8_t *record, uint64_t metadata_blocks)
{
	uint8_t again[TP_INDEX_ENTRY_SIZE];
	struct tp_index_entry entry;

	tp_index_entry_unpack(record, &entry);
	tp_index_entry_pack(&entry, again);
	FUZZ_HOLDS(memcmp(again, record, sizeof(again)) == 0);
	if (fuzz_checked(tp_index_entry_check(&entry, metadata_blocks, 35), 35))
		return;
	FUZZ_HOLDS(entry.nr_free <= TP_BITMAP_NR_ENTRIES && entry.none_free_before <= TP_BITMAP_NR_ENTRIES);
	FUZZ_HOLDS(is_pointer(entry.bitmap, metadata_blocks));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_block input = fuzz_block(data, size);
	uint64_t metadata_blocks = tp_load_le64(input.data + TP_SM_ROOT_SIZE + TP_INDEX_ENTRY_SIZE);

	run_root(input.data, TP_METADATA_MAX_BLOCKS, metadata_blocks);
	run_root(input.data, TP_DATA_MAX_BLOCKS, metadata_blocks);
	run_entry(input.data + TP_SM_ROOT_SIZE, metadata_blocks);
	return 0;
}
