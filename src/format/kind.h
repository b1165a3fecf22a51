/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/kind.h - checksums, and what kind of block a checksum says it is.
 */
#ifndef TP_FORMAT_KIND_H
#define TP_FORMAT_KIND_H

#include "base/private.h"

#include <thinp/format.h>

/* Offset of the checksum in every block. */
#define TP_CSUM_OFFSET 0

/* Constants that the checksum of each kind of block is XORed with (docs/format.md, "Checksums"). */
#define TP_CSUM_XOR_THIN_SUPERBLOCK  160774u
#define TP_CSUM_XOR_NODE             121107u
#define TP_CSUM_XOR_INDEX            160478u
#define TP_CSUM_XOR_BITMAP           240779u
#define TP_CSUM_XOR_ARRAY            595846735u
#define TP_CSUM_XOR_CACHE_SUPERBLOCK 9031977u
#define TP_CSUM_XOR_ERA_SUPERBLOCK   146538381u
#define TP_CSUM_XOR_STORE_SUPERBLOCK 1869771892u /* of a store file of our own; known to no kernel */

/* The raw register over the block but for the checksum itself, before the XOR. */
TP_PRIVATE_API uint32_t tp_block_crc(const void *data);

/* What kind of block the stored checksum stands for, for example "bitmap"; "block of zeros"; NULL when it fits none. */
TP_PRIVATE_API const char *tp_block_kind_name(const void *data);

/* Checksum, then own address, then the kind's own rules; type->address_offset must lie inside the block. 0, leaving the
 * thread's detail record alone, or THINP_ECORRUPT with the record written, whatever type->check returned. A check that
 * fails is called once more, so that its reason outlasts the sentence written for those that give none. */
int tp_block_verify(const void *data, thinp_block_t block, const struct thinp_block_type *type);

/* Fills in address and checksum, as a block leaves for the device. */
void tp_block_seal(void *data, thinp_block_t block, const struct thinp_block_type *type);

#endif
