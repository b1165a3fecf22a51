/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief Kinds of blocks: how a block that comes from the device is told from damage.
 *
 *  Every metadata block carries a CRC-32C at its start, XORed with a constant that tells the kind of the block, and its
 *  own address. A block is handed out only after checksum, address and the rules of its kind hold. A structure of the
 *  caller's own gets the same protection with a ::thinp_block_type of its own.
 */
#ifndef THINP_FORMAT_H
#define THINP_FORMAT_H

#include <thinp/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A kind of block. Compared by address: one object per kind, which must outlive everything that it was given to. */
struct thinp_block_type {
	size_t size;             /**< sizeof(struct thinp_block_type), set by the caller */
	const char *name;        /**< for messages, for example "btree node" */
	uint32_t csum_xor;       /**< what the checksum is XORed with; different for each kind */
	uint32_t address_offset; /**< byte offset of the block's own address, 64 bits little-endian; a multiple of 8 */
	/** Further rules, checked once checksum and address hold. NULL: none.
	 *  Returns 0 or #THINP_ECORRUPT; thinp_error_report() tells the reason. May be called more than once for the same
	 *  block, and must not call the library otherwise. */
	int (*check)(const void *data, thinp_block_t block);
};
static_assert(sizeof(void *) != 8 || sizeof(struct thinp_block_type) == 32, "published layout, version 1");

/** Superblock of a thin pool, also its copy in a metadata snapshot. @return the kind; lives for ever */
THINP_API const struct thinp_block_type *thinp_block_type_thin_superblock(void);
/** Node of a B+ tree. @return the kind; lives for ever */
THINP_API const struct thinp_block_type *thinp_block_type_node(void);
/** Index of a metadata space map. @return the kind; lives for ever */
THINP_API const struct thinp_block_type *thinp_block_type_index(void);
/** Bitmap of a space map. @return the kind; lives for ever */
THINP_API const struct thinp_block_type *thinp_block_type_bitmap(void);
/** Block of an array. @return the kind; lives for ever */
THINP_API const struct thinp_block_type *thinp_block_type_array(void);

#ifdef __cplusplus
}
#endif
#endif
