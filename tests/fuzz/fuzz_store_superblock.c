/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a superblock of a store file, from its first byte. */
#include "fuzz.h"

#include "format/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_block block = fuzz_block(data, size);
	struct fuzz_block once = block, twice = block;
	struct tp_store_superblock sb;

	tp_store_superblock_unpack(block.data, &sb);
	tp_store_superblock_pack(&sb, once.data);
	tp_store_superblock_unpack(once.data, &sb);
	tp_store_superblock_pack(&sb, twice.data);
	FUZZ_HOLDS(memcmp(once.data, twice.data, sizeof(once.data)) == 0);
	if (!fuzz_checked(tp_store_superblock_check(block.data, 0), 0))
		FUZZ_HOLDS(sb.commit && sb.commit % 2 == 0);
	if (!fuzz_checked(tp_store_superblock_check_roots(&sb), sb.block))
		for (size_t i = 0; i < TP_STORE_NR_ROOTS; i++)
			FUZZ_HOLDS(!sb.roots[i] || (sb.roots[i] > 1 && sb.roots[i] < sb.metadata_sm.nr_blocks));
	fuzz_verify(&block, tp_store_superblock_type());
	return 0;
}
