/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: a mapping as it is on disk (8 bytes), then a data block (8) and a time (4) to make one of. */
#include "fuzz.h"

#include "format/thin.h"

static void run_value(const uint8_t *value_le)
{
	uint8_t again[TP_MAPPING_SIZE];
	struct tp_mapping mapping, same = tp_mapping_unpack64(tp_load_le64(value_le));

	tp_mapping_unpack(value_le, &mapping);
	FUZZ_HOLDS(mapping.data_block == same.data_block && mapping.time == same.time);
	FUZZ_HOLDS(tp_mapping_pack(&mapping, again) == 0);
	FUZZ_HOLDS(memcmp(again, value_le, sizeof(again)) == 0);
}

static void run_mapping(const struct tp_mapping *mapping)
{
	bool fits = mapping->data_block < TP_DATA_MAX_BLOCKS && mapping->time <= TP_THIN_MAX_TIME;
	uint8_t value_le[TP_MAPPING_SIZE];
	int r = tp_mapping_pack(mapping, value_le);
	struct tp_mapping again;

	FUZZ_HOLDS(r == (fits ? 0 : THINP_ERANGE));
	if (r)
		return;
	tp_mapping_unpack(value_le, &again);
	FUZZ_HOLDS(again.data_block == mapping->data_block && again.time == mapping->time);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_block input = fuzz_block(data, size);
	const struct tp_mapping mapping = {
		.data_block = tp_load_le64(input.data + 8),
		.time = tp_load_le32(input.data + 16),
	};

	run_value(input.data);
	run_mapping(&mapping);
	return 0;
}
