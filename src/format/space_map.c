/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/space_map.c - space-map roots, index entries, the metadata index block, bitmaps.
 *
 * In a bitmap the lower of the two bits of an entry is the high bit of the count. So a byte of four entries is first
 * put right by exchanging the bits of all its pairs, and is then an ordinary row of four two-bit numbers:
 *
 *   bit     7  6   5  4   3  2   1  0
 *   entry    i+3    i+2    i+1     i
 *   weight  1  2   1  2   1  2   1  2
 */
#include "format/space_map.h"

#include "base/bytes.h"
#include "base/error.h"
#include "format/address.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define INDEX_ENTRIES_OFFSET  16u
#define BITMAP_ENTRIES_OFFSET 16u
#define ENTRIES_PER_BYTE      4u

void tp_sm_root_unpack(const void *data, struct tp_sm_root *root)
{
	const uint8_t *p = data;

	root->nr_blocks = tp_load_le64(p);
	root->nr_allocated = tp_load_le64(p + 8);
	root->bitmap_root = tp_load_le64(p + 16);
	root->ref_count_root = tp_load_le64(p + 24);
}

void tp_sm_root_pack(const struct tp_sm_root *root, void *data)
{
	uint8_t *p = data;

	tp_store_le64(p, root->nr_blocks);
	tp_store_le64(p + 8, root->nr_allocated);
	tp_store_le64(p + 16, root->bitmap_root);
	tp_store_le64(p + 24, root->ref_count_root);
}

static int check_sm_addresses(const struct tp_sm_root *root, uint64_t metadata_blocks, thinp_block_t owner,
			      const char *who)
{
	int r = tp_address_check(root->bitmap_root, metadata_blocks, owner, who, "the index");

	if (!r)
		r = tp_address_check(root->ref_count_root, metadata_blocks, owner, who, "the overflow tree");
	if (!r && root->bitmap_root == root->ref_count_root)
		r = tp_fail(THINP_ECORRUPT, owner, "%s: index and overflow tree are both at block %" PRIu64, who,
			    root->bitmap_root);
	return r;
}

int tp_sm_root_check(const struct tp_sm_root *root, uint64_t limit, uint64_t metadata_blocks, thinp_block_t owner,
		     const char *what)
{
	char who[40];

	snprintf(who, sizeof(who), "%.20s space map", what);
	if (root->nr_blocks > limit)
		return tp_fail(THINP_ECORRUPT, owner, "%s: %" PRIu64 " blocks, but %" PRIu64 " are the most", who,
			       root->nr_blocks, limit);
	return check_sm_addresses(root, metadata_blocks, owner, who);
}

void tp_index_entry_unpack(const void *data, struct tp_index_entry *entry)
{
	const uint8_t *p = data;

	entry->bitmap = tp_load_le64(p);
	entry->nr_free = tp_load_le32(p + 8);
	entry->none_free_before = tp_load_le32(p + 12);
}

void tp_index_entry_pack(const struct tp_index_entry *entry, void *data)
{
	uint8_t *p = data;

	tp_store_le64(p, entry->bitmap);
	tp_store_le32(p + 8, entry->nr_free);
	tp_store_le32(p + 12, entry->none_free_before);
}

int tp_index_entry_check(const struct tp_index_entry *entry, uint64_t metadata_blocks, thinp_block_t owner)
{
	if (entry->nr_free > TP_BITMAP_NR_ENTRIES)
		return tp_fail(THINP_ECORRUPT, owner, "index entry: %" PRIu32 " counts are free, but a bitmap has %u",
			       entry->nr_free, TP_BITMAP_NR_ENTRIES);
	if (entry->none_free_before > TP_BITMAP_NR_ENTRIES)
		return tp_fail(THINP_ECORRUPT, owner,
			       "index entry: none of %" PRIu32 " counts is free, but a bitmap has %u",
			       entry->none_free_before, TP_BITMAP_NR_ENTRIES);
	return tp_address_check(entry->bitmap, metadata_blocks, owner, "index entry", "the bitmap");
}

void tp_index_unpack(const void *data, struct tp_index *index)
{
	const uint8_t *p = data;

	index->block = tp_load_le64(p + 8);
	p += INDEX_ENTRIES_OFFSET;
	for (size_t i = 0; i < TP_INDEX_NR_ENTRIES; i++)
		tp_index_entry_unpack(p + i * TP_INDEX_ENTRY_SIZE, &index->entries[i]);
}

void tp_index_pack(const struct tp_index *index, void *data)
{
	tp_index_set_block(data, index->block);
	for (uint32_t i = 0; i < TP_INDEX_NR_ENTRIES; i++)
		tp_index_set_entry(data, i, &index->entries[i]);
}

void tp_index_set_block(void *data, thinp_block_t block)
{
	uint8_t *p = data;

	tp_store_le32(p + 4, 0);
	tp_store_le64(p + 8, block);
}

void tp_index_set_entry(void *data, uint32_t i, const struct tp_index_entry *entry)
{
	tp_index_entry_pack(entry, (uint8_t *)data + INDEX_ENTRIES_OFFSET + (size_t)i * TP_INDEX_ENTRY_SIZE);
}

/* Exchanges the two bits of each pair: from the disk's form of a count to a number, and back. */
static uint32_t exchange_bits(uint32_t pairs)
{
	return (pairs & 0x55) << 1 | (pairs >> 1 & 0x55);
}

uint32_t tp_bitmap_get(const void *data, uint32_t i)
{
	const uint8_t *bits = (const uint8_t *)data + BITMAP_ENTRIES_OFFSET;
	uint32_t shift = i % ENTRIES_PER_BYTE * 2;

	return exchange_bits((uint32_t)bits[i / ENTRIES_PER_BYTE] >> shift & 3);
}

void tp_bitmap_set(void *data, uint32_t i, uint32_t count)
{
	uint8_t *byte = (uint8_t *)data + BITMAP_ENTRIES_OFFSET + i / ENTRIES_PER_BYTE;
	uint32_t shift = i % ENTRIES_PER_BYTE * 2;

	*byte = (uint8_t)((*byte & ~(3u << shift)) | exchange_bits(count & 3) << shift);
}

/* Four counts of two bits, side by side in a byte, moved into the four bytes of a word; the first one lowest. */
static uint32_t spread(uint32_t packed)
{
	packed = (packed | packed << 12) & 0x000F000F;
	return (packed | packed << 6) & 0x03030303;
}

/* The way back. */
static uint32_t gather(uint32_t counts)
{
	counts = (counts | counts >> 6) & 0x000F000F;
	return (counts | counts >> 12) & 0xFF;
}

/* Stores whole words, which compilers make vector code of; they do not with byte by byte stores. */
void tp_bitmap_unpack(const void *data, uint8_t counts[TP_BITMAP_NR_ENTRIES])
{
	const uint8_t *bits = (const uint8_t *)data + BITMAP_ENTRIES_OFFSET;

	for (size_t i = 0; i < TP_BITMAP_NR_BYTES; i++) {
		uint32_t word_le = htole32(spread(exchange_bits(bits[i])));

		memcpy(counts + i * ENTRIES_PER_BYTE, &word_le, sizeof(word_le));
	}
}

void tp_counts_pack(const uint8_t *counts, size_t nr, uint8_t *packed)
{
	for (size_t i = 0; i < nr / ENTRIES_PER_BYTE; i++) {
		uint32_t word = tp_load_le32(counts + i * ENTRIES_PER_BYTE) & 0x03030303;

		packed[i] = (uint8_t)exchange_bits(gather(word));
	}
}

void tp_bitmap_pack(const uint8_t counts[TP_BITMAP_NR_ENTRIES], void *data)
{
	tp_counts_pack(counts, TP_BITMAP_NR_ENTRIES, (uint8_t *)data + BITMAP_ENTRIES_OFFSET);
}

void tp_bitmap_put(const uint8_t packed[TP_BITMAP_NR_BYTES], void *data)
{
	memcpy((uint8_t *)data + BITMAP_ENTRIES_OFFSET, packed, TP_BITMAP_NR_BYTES);
}

/* The lower bit of each pair is set when the entry is not 0. */
static uint64_t used_pairs(uint64_t pairs)
{
	return (pairs | pairs >> 1) & UINT64_C(0x5555555555555555);
}

/* Brings the lower bits of all pairs together. */
static uint32_t gather_pairs(uint64_t pairs)
{
	pairs = (pairs | pairs >> 1) & UINT64_C(0x3333333333333333);
	pairs = (pairs | pairs >> 2) & UINT64_C(0x0F0F0F0F0F0F0F0F);
	pairs = (pairs | pairs >> 4) & UINT64_C(0x00FF00FF00FF00FF);
	pairs = (pairs | pairs >> 8) & UINT64_C(0x0000FFFF0000FFFF);
	return (uint32_t)(pairs | pairs >> 16);
}

void tp_bitmap_given_up(const void *before, const void *data, uint64_t given_up[TP_BITMAP_NR_ENTRIES / 64])
{
	const uint8_t *old = (const uint8_t *)before + BITMAP_ENTRIES_OFFSET;
	const uint8_t *now = (const uint8_t *)data + BITMAP_ENTRIES_OFFSET;

	for (uint32_t w = 0; w < TP_BITMAP_NR_ENTRIES / 64; w++, old += 16, now += 16) {
		uint64_t low = used_pairs(tp_load_le64(old)) & ~used_pairs(tp_load_le64(now));
		uint64_t high = used_pairs(tp_load_le64(old + 8)) & ~used_pairs(tp_load_le64(now + 8));

		given_up[w] = low | high ? gather_pairs(low) | (uint64_t)gather_pairs(high) << 32 : 0;
	}
}
