/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a block of an array, from its first byte. */
#include "fuzz.h"

#include "format/array_block.h"

static bool is_same(const struct tp_array_header *a, const struct tp_array_header *b)
{
	return a->max_entries == b->max_entries && a->nr_entries == b->nr_entries && a->value_size == b->value_size &&
	       a->block == b->block;
}

static int round_trip(const struct fuzz_block *block)
{
	thinp_block_t says = tp_load_le64(block->data + 16);
	struct tp_array_header first, second;
	struct fuzz_block again = *block;
	int r = fuzz_checked(tp_array_block_unpack(block->data, &first), says);

	if (r)
		return r;
	memset(again.data + 4, 0xee, TP_ARRAY_HEADER_SIZE - 4);
	tp_array_block_pack(&first, again.data);
	FUZZ_HOLDS(memcmp(again.data, block->data, sizeof(again.data)) == 0);
	FUZZ_HOLDS(tp_array_block_unpack(again.data, &second) == 0 && is_same(&first, &second));
	FUZZ_HOLDS(TP_ARRAY_HEADER_SIZE + (uint64_t)first.nr_entries * first.value_size <= THINP_BLOCK_SIZE);
	FUZZ_HOLDS(first.max_entries == tp_array_max_entries(first.value_size));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_block block = fuzz_block(data, size);
	int r = round_trip(&block);

	FUZZ_HOLDS(fuzz_checked(tp_array_block_check(block.data, 7), 7) == r);
	fuzz_verify(&block, thinp_block_type_array());
	return 0;
}
