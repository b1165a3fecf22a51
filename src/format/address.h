/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/address.h - pointers from one metadata block to another.
 */
#ifndef TP_FORMAT_ADDRESS_H
#define TP_FORMAT_ADDRESS_H

#include <thinp/types.h>

/* A pointer names a block in 1..metadata_blocks-1; block 0 is the superblock, to which nothing points. THINP_ECORRUPT
 * naming owner, the block that the pointer stands in; the message begins with "who: what". */
int tp_address_check(thinp_block_t address, uint64_t metadata_blocks, thinp_block_t owner, const char *who,
		     const char *what);

#endif
