/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/array_block.h - blocks of arrays. Note the order of the fields, which is not that of a node.
 *
 *   0    4  checksum
 *   4    4  max_entries
 *   8    4  nr_entries
 *   12   4  value_size
 *   16   8  own address
 *   24      values, packed
 */
#ifndef TP_FORMAT_ARRAY_BLOCK_H
#define TP_FORMAT_ARRAY_BLOCK_H

#include <thinp/types.h>

#define TP_ARRAY_HEADER_SIZE 24u

struct tp_array_header {
	uint32_t max_entries;
	uint32_t nr_entries;
	uint32_t value_size;
	thinp_block_t block;
};

/* Values that fit a block; 0 for a size of 0 or one that does not fit. */
uint32_t tp_array_max_entries(uint32_t value_size);

/* Reads the header; refuses one that tp_array_block_check would refuse, naming the address in the header. */
int tp_array_block_unpack(const void *data, struct tp_array_header *header);

/* Writes the header but for the checksum; values stay. */
void tp_array_block_pack(const struct tp_array_header *header, void *data);

/* max_entries must be what the value size gives, nr_entries at most that. THINP_ECORRUPT naming block and reason. */
int tp_array_block_check(const void *data, thinp_block_t block);

#endif
