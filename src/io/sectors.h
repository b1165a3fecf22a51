/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/sectors.h - blocks of which only some sectors have arrived.
 */
#ifndef TP_IO_SECTORS_H
#define TP_IO_SECTORS_H

#include <thinp/types.h>

#include <string.h>

enum { TP_SECTOR_SIZE = 512, TP_SECTORS_PER_BLOCK = THINP_BLOCK_SIZE / TP_SECTOR_SIZE };

#define TP_SECTORS_NONE 0x00u /* no bit set: nothing of the block */
#define TP_SECTORS_ALL  0xffu /* a bit for each sector of a block */

/* Copies the sectors whose bits are set from one block to another. */
static inline void tp_sectors_copy(uint8_t *to, const uint8_t *from, uint32_t sectors)
{
	for (unsigned int i = 0; i < TP_SECTORS_PER_BLOCK; i++)
		if (sectors >> i & 1)
			memcpy(to + (size_t)i * TP_SECTOR_SIZE, from + (size_t)i * TP_SECTOR_SIZE, TP_SECTOR_SIZE);
}

#endif
