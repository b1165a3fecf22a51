/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a bitmap, from its first byte. */
#include "fuzz.h"

#include "format/space_map.h"

static void check_single_entries(const struct fuzz_block *block, const uint8_t *counts)
{
	struct fuzz_block again = *block;

	memset(again.data + 16, 0xee, sizeof(again.data) - 16);
	for (uint32_t i = 0; i < TP_BITMAP_NR_ENTRIES; i++) {
		FUZZ_HOLDS(counts[i] <= 3 && tp_bitmap_get(block->data, i) == counts[i]);
		tp_bitmap_set(again.data, i, counts[i]);
	}
	FUZZ_HOLDS(memcmp(again.data, block->data, sizeof(again.data)) == 0);
}

/* Counts packed beside a block, and put into it. */
static void check_parts(const struct fuzz_block *block, const uint8_t *counts)
{
	uint8_t packed[TP_BITMAP_NR_BYTES];
	struct fuzz_block again = *block;

	memset(again.data + 16, 0xee, sizeof(again.data) - 16);
	tp_counts_pack(counts, TP_BITMAP_NR_ENTRIES, packed);
	tp_bitmap_put(packed, again.data);
	FUZZ_HOLDS(memcmp(again.data, block->data, sizeof(again.data)) == 0);
}

/* Compared with the same bitmap the other way round. */
static void check_given_up(const struct fuzz_block *block, const uint8_t *counts)
{
	uint64_t given_up[TP_BITMAP_NR_ENTRIES / 64];
	struct fuzz_block before = *block;

	for (uint32_t i = 0; i < TP_BITMAP_NR_ENTRIES; i++)
		tp_bitmap_set(before.data, i, counts[TP_BITMAP_NR_ENTRIES - 1 - i]);
	tp_bitmap_given_up(before.data, block->data, given_up);
	for (uint32_t i = 0; i < TP_BITMAP_NR_ENTRIES; i++) {
		bool is_given_up = counts[TP_BITMAP_NR_ENTRIES - 1 - i] && !counts[i];

		FUZZ_HOLDS((given_up[i / 64] >> i % 64 & 1) == is_given_up);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_block block = fuzz_block(data, size);
	struct fuzz_block again = block;
	uint8_t counts[TP_BITMAP_NR_ENTRIES];

	tp_bitmap_unpack(block.data, counts);
	memset(again.data + 16, 0xee, sizeof(again.data) - 16);
	tp_bitmap_pack(counts, again.data);
	FUZZ_HOLDS(memcmp(again.data, block.data, sizeof(again.data)) == 0);
	check_single_entries(&block, counts);
	check_parts(&block, counts);
	check_given_up(&block, counts);
	fuzz_verify(&block, thinp_block_type_bitmap());
	return 0;
}
