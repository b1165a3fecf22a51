/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: the index of a metadata space map, from its first byte. */
#include "fuzz.h"

#include "format/space_map.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_block block = fuzz_block(data, size);
	struct fuzz_block again = block;
	struct tp_index first, second;

	tp_index_unpack(block.data, &first);
	memset(again.data + 4, 0xee, sizeof(again.data) - 4);
	tp_index_pack(&first, again.data);
	tp_index_unpack(again.data, &second);
	FUZZ_HOLDS(memcmp(&first, &second, sizeof(first)) == 0);
	FUZZ_HOLDS(memcmp(again.data + 8, block.data + 8, sizeof(again.data) - 8) == 0);
	for (size_t i = 0; i < TP_INDEX_NR_ENTRIES; i++)
		if (!fuzz_checked(tp_index_entry_check(&first.entries[i], 1024, 35), 35))
			FUZZ_HOLDS(first.entries[i].nr_free <= TP_BITMAP_NR_ENTRIES);
	fuzz_verify(&block, thinp_block_type_index());
	return 0;
}
