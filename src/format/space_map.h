/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/space_map.h - space-map roots, index entries, the metadata index block, bitmaps.
 */
#ifndef TP_FORMAT_SPACE_MAP_H
#define TP_FORMAT_SPACE_MAP_H

#include "base/private.h"

#include <thinp/types.h>

#define TP_SM_ROOT_SIZE        32u    /* bytes in use of the root record */
#define TP_SM_ROOT_AREA_SIZE   128u   /* bytes set aside for it in a superblock */
#define TP_BITMAP_NR_ENTRIES   16320u /* (4096 - 16) * 4 */
#define TP_BITMAP_NR_BYTES     (TP_BITMAP_NR_ENTRIES / 4)
#define TP_INDEX_NR_ENTRIES    255u /* entries in a metadata index block */
#define TP_INDEX_ENTRY_SIZE    16u
#define TP_METADATA_MAX_BLOCKS ((uint64_t)TP_INDEX_NR_ENTRIES * TP_BITMAP_NR_ENTRIES)
#define TP_DATA_MAX_BLOCKS     ((uint64_t)1 << 40) /* limit of the mapping value */

struct tp_sm_root {
	uint64_t nr_blocks;
	uint64_t nr_allocated;
	thinp_block_t bitmap_root;
	thinp_block_t ref_count_root;
};

struct tp_index_entry {
	thinp_block_t bitmap;
	uint32_t nr_free;
	uint32_t none_free_before;
};

struct tp_index {
	thinp_block_t block;
	struct tp_index_entry entries[TP_INDEX_NR_ENTRIES];
};

/* No check is possible without the owner's limits: any bytes are taken. */
void tp_sm_root_unpack(const void *data, struct tp_sm_root *root);
void tp_sm_root_pack(const struct tp_sm_root *root, void *data);

/* Roots of a live map: nr_blocks within limit (either of the two above), both root addresses in 1..metadata_blocks-1
 * and different. THINP_ECORRUPT naming owner (the block the record stands in) and reason; what: "data" or "metadata".
 */
int tp_sm_root_check(const struct tp_sm_root *root, uint64_t limit, uint64_t metadata_blocks, thinp_block_t owner,
		     const char *what);

TP_PRIVATE_API void tp_index_entry_unpack(const void *data, struct tp_index_entry *entry);
void tp_index_entry_pack(const struct tp_index_entry *entry, void *data);

/* THINP_ECORRUPT when nr_free or none_free_before exceed the entries of a bitmap, or the bitmap is not in
 * 1..metadata_blocks-1; owner: block it stands in. */
int tp_index_entry_check(const struct tp_index_entry *entry, uint64_t metadata_blocks, thinp_block_t owner);

/* The block's own header is read and written, all but the checksum; what is behind the entries in use may be junk and
 * is not checked. */
void tp_index_unpack(const void *data, struct tp_index *index);
void tp_index_pack(const struct tp_index *index, void *data);

/* Parts of a packed index block: its own address, and one entry. */
void tp_index_set_block(void *data, thinp_block_t block);
void tp_index_set_entry(void *data, uint32_t i, const struct tp_index_entry *entry);

/* Count of entry i (< TP_BITMAP_NR_ENTRIES) of a bitmap block: 0, 1, 2, or 3 for "look in the overflow tree". */
uint32_t tp_bitmap_get(const void *data, uint32_t i);
void tp_bitmap_set(void *data, uint32_t i, uint32_t count);

/* All counts of a bitmap block at once, one byte per entry. Packing takes 0..3 and leaves the block's header alone. */
void tp_bitmap_unpack(const void *data, uint8_t counts[TP_BITMAP_NR_ENTRIES]);
void tp_bitmap_pack(const uint8_t counts[TP_BITMAP_NR_ENTRIES], void *data);

/* One bit for each entry that is 0 in a bitmap block and is not in the one before it. */
void tp_bitmap_given_up(const void *before, const void *data, uint64_t given_up[TP_BITMAP_NR_ENTRIES / 64]);

/* Some counts as a bitmap has them, nr a multiple of 4; and all of them into a block, whose header is left alone. */
void tp_counts_pack(const uint8_t *counts, size_t nr, uint8_t *packed);
void tp_bitmap_put(const uint8_t packed[TP_BITMAP_NR_BYTES], void *data);

#endif
