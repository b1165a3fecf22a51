/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: the details of a device (24 bytes). */
#include "fuzz.h"

#include "format/thin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_block input = fuzz_block(data, size);
	struct tp_device_details first, second;
	uint8_t again[TP_DETAILS_SIZE];

	tp_device_details_unpack(input.data, &first);
	tp_device_details_pack(&first, again);
	tp_device_details_unpack(again, &second);
	FUZZ_HOLDS(memcmp(again, input.data, sizeof(again)) == 0);
	FUZZ_HOLDS(memcmp(&first, &second, sizeof(first)) == 0);
	return 0;
}
