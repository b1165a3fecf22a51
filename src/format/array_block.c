/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/array_block.c - blocks of arrays.
 */
#include "format/array_block.h"

#include "base/bytes.h"
#include "base/error.h"

#include <inttypes.h>

#define ROOM (THINP_BLOCK_SIZE - TP_ARRAY_HEADER_SIZE)

uint32_t tp_array_max_entries(uint32_t value_size)
{
	return value_size ? ROOM / value_size : 0;
}

static void load_header(const uint8_t *data, struct tp_array_header *header)
{
	header->max_entries = tp_load_le32(data + 4);
	header->nr_entries = tp_load_le32(data + 8);
	header->value_size = tp_load_le32(data + 12);
	header->block = tp_load_le64(data + 16);
}

static int check_header(const struct tp_array_header *header, thinp_block_t block)
{
	uint32_t max_entries = tp_array_max_entries(header->value_size);

	if (max_entries == 0)
		return tp_fail(THINP_ECORRUPT, block, "array block: values of %" PRIu32 " bytes are not possible",
			       header->value_size);
	if (header->max_entries != max_entries)
		return tp_fail(THINP_ECORRUPT, block,
			       "array block: says it has room for %" PRIu32 " values of %" PRIu32 " bytes, but %" PRIu32
			       " fit",
			       header->max_entries, header->value_size, max_entries);
	if (header->nr_entries > max_entries)
		return tp_fail(THINP_ECORRUPT, block, "array block: %" PRIu32 " entries, but room for %" PRIu32,
			       header->nr_entries, max_entries);
	return 0;
}

int tp_array_block_unpack(const void *data, struct tp_array_header *header)
{
	struct tp_array_header found;
	int r;

	load_header(data, &found);
	r = check_header(&found, found.block);
	if (!r)
		*header = found;
	return r;
}

void tp_array_block_pack(const struct tp_array_header *header, void *data)
{
	uint8_t *p = data;

	tp_store_le32(p + 4, header->max_entries);
	tp_store_le32(p + 8, header->nr_entries);
	tp_store_le32(p + 12, header->value_size);
	tp_store_le64(p + 16, header->block);
}

int tp_array_block_check(const void *data, thinp_block_t block)
{
	struct tp_array_header header;

	load_header(data, &header);
	return check_header(&header, block);
}
