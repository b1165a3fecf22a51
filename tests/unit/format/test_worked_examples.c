/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The excerpts of blocks in "Worked examples" of docs/format.md, written by a kernel: a pool of 1024 metadata and 1024
 * data blocks; device 0 wrote 100 blocks, device 1 was made a snapshot of it, device 0 wrote its blocks 20..69 again.
 * What an excerpt leaves out can be told from its text, and the checksum proves that nothing else was in the block.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/kind.h"
#include "format/node.h"
#include "format/thin.h"

struct row {
	uint32_t offset;
	uint8_t bytes[16];
};

struct block {
	uint8_t data[THINP_BLOCK_SIZE];
};

static struct block block_of(const struct row *rows, size_t nr_rows)
{
	struct block block = {{0}};

	for (size_t i = 0; i < nr_rows; i++)
		memcpy(block.data + rows[i].offset, rows[i].bytes, sizeof(rows[i].bytes));
	return block;
}
#define BLOCK_OF(rows) block_of(rows, sizeof(rows) / sizeof((rows)[0]))

static const struct row superblock_rows[] = {
	{0x000, {0xe9, 0x4c, 0x79, 0xd4}},
	{0x020, {0xba, 0x52, 0x9c, 0x01, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0}},
	{0x040, {0x00, 0x04, 0, 0, 0, 0, 0, 0, 0x96}},
	{0x050, {0x22, 0, 0, 0, 0, 0, 0, 0, 0x05}},
	{0x0c0, {0x00, 0x04, 0, 0, 0, 0, 0, 0, 0x0b}},
	{0x0d0, {0x23, 0, 0, 0, 0, 0, 0, 0, 0x02}},
	{0x140, {0x1f, 0, 0, 0, 0, 0, 0, 0, 0x21}},
	{0x150, {0x80, 0, 0, 0, 0x08, 0, 0, 0, 0x00, 0x04}},
};

static const struct row mapping_leaf_rows[] = {
	{0x000, {0xf2, 0x29, 0xd5, 0x0a, 0x02, 0, 0, 0, 0x20}},
	{0x010, {0x64, 0, 0, 0, 0xfc, 0, 0, 0, 0x08}},
	{0x020, {0, 0, 0, 0, 0, 0, 0, 0, 0x01}},
	{0x800, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01}},
	{0x8a0, {0x01, 0, 0, 0x64, 0, 0, 0, 0, 0x01, 0, 0, 0x65}},
};

static const struct row top_leaf_rows[] = {
	{0x000, {0, 0, 0, 0, 0x02, 0, 0, 0, 0x1f}},
	{0x010, {0x02, 0, 0, 0, 0xfc, 0, 0, 0, 0x08}},
	{0x020, {0, 0, 0, 0, 0, 0, 0, 0, 0x01}},
	{0x800, {0x20, 0, 0, 0, 0, 0, 0, 0, 0x1a}},
};

static const struct row details_leaf_rows[] = {
	{0x000, {0, 0, 0, 0, 0x02, 0, 0, 0, 0x21}}, {0x010, {0x02, 0, 0, 0, 0x7e, 0, 0, 0, 0x18}},
	{0x020, {0, 0, 0, 0, 0, 0, 0, 0, 0x01}},    {0x410, {0x64}},
	{0x420, {0, 0, 0, 0, 0x01, 0, 0, 0, 0x64}}, {0x430, {0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0, 0, 0, 0x01}},
};

static const struct row metadata_bitmap_rows[] = {
	{0x000, {0xd8, 0x7c, 0x46, 0xda, 0, 0, 0, 0, 0x1e}},
	{0x010, {0x22, 0x08, 0, 0, 0, 0, 0x20, 0xa8, 0xaa}},
};

static const struct row index_rows[] = {
	{0x000, {0xa5, 0x54, 0x8d, 0x79, 0, 0, 0, 0, 0x23}},
	{0x010, {0x1e, 0, 0, 0, 0, 0, 0, 0, 0xb5, 0x3f, 0, 0, 0x01}},
};

static const struct row disk_index_leaf_rows[] = {
	{0x000, {0, 0, 0, 0, 0x02, 0, 0, 0, 0x22}},
	{0x010, {0x01, 0, 0, 0, 0xa8, 0, 0, 0, 0x10}},
	{0x560, {0x1d, 0, 0, 0, 0, 0, 0, 0, 0x2a, 0x3f, 0, 0, 0x96}},
};

/* What device 0 has at a virtual block. */
static struct tp_mapping mapping_of_device_0(uint64_t vblock)
{
	if (vblock >= 20 && vblock < 70)
		return (struct tp_mapping){.data_block = 100 + vblock - 20, .time = 1};
	return (struct tp_mapping){.data_block = vblock, .time = 0};
}

static void the_superblock_verifies_and_reads_as_it_is_explained(void **state)
{
	struct block block = BLOCK_OF(superblock_rows);
	struct tp_thin_superblock sb;

	(void)state;
	assert_int_equal(tp_block_crc(block.data), 0xd47b38ef);
	assert_int_equal(tp_block_verify(block.data, 0, thinp_block_type_thin_superblock()), 0);
	tp_thin_superblock_unpack(block.data, &sb);
	assert_int_equal(sb.flags, 0);
	assert_int_equal(sb.block, 0);
	assert_int_equal(sb.magic, 27022010);
	assert_int_equal(sb.version, 2);
	assert_int_equal(sb.time, 1);
	assert_int_equal(sb.transaction_id, 0);
	assert_int_equal(sb.held_root, 0);
	assert_int_equal(sb.data_sm.nr_blocks, 1024);
	assert_int_equal(sb.data_sm.nr_allocated, 150);
	assert_int_equal(sb.data_sm.bitmap_root, 34);
	assert_int_equal(sb.data_sm.ref_count_root, 5);
	assert_int_equal(sb.metadata_sm.nr_blocks, 1024);
	assert_int_equal(sb.metadata_sm.nr_allocated, 11);
	assert_int_equal(sb.metadata_sm.bitmap_root, 35);
	assert_int_equal(sb.metadata_sm.ref_count_root, 2);
	assert_int_equal(sb.mapping_root, 31);
	assert_int_equal(sb.details_root, 33);
	assert_int_equal(sb.data_block_size, 128);
	assert_int_equal(sb.metadata_block_size, 8);
	assert_int_equal(sb.metadata_nr_blocks, 1024);
	assert_int_equal(sb.compat_flags | sb.compat_ro_flags | sb.incompat_flags, 0);
	assert_int_equal(tp_thin_superblock_check_roots(&sb), 0);
}

static void the_superblock_is_written_byte_for_byte(void **state)
{
	const struct tp_thin_superblock sb = {
		.magic = TP_THIN_MAGIC,
		.version = TP_THIN_VERSION,
		.time = 1,
		.data_sm = {.nr_blocks = 1024, .nr_allocated = 150, .bitmap_root = 34, .ref_count_root = 5},
		.metadata_sm = {.nr_blocks = 1024, .nr_allocated = 11, .bitmap_root = 35, .ref_count_root = 2},
		.mapping_root = 31,
		.details_root = 33,
		.data_block_size = 128,
		.metadata_block_size = TP_METADATA_BLOCK_SECTORS,
		.metadata_nr_blocks = 1024,
	};
	struct block expected = BLOCK_OF(superblock_rows);
	struct block block = {{0}};

	(void)state;
	tp_thin_superblock_pack(&sb, block.data);
	tp_block_seal(block.data, 0, thinp_block_type_thin_superblock());
	assert_memory_equal(block.data, expected.data, THINP_BLOCK_SIZE);
}

/* All keys and values, of which the excerpt shows some. */
static void fill_mapping_leaf(struct block *block)
{
	for (uint32_t i = 0; i < 100; i++) {
		struct tp_mapping mapping = mapping_of_device_0(i);

		tp_store_le64(block->data + 0x20 + 8 * (size_t)i, i);
		assert_int_equal(tp_mapping_pack(&mapping, block->data + 0x800 + 8 * (size_t)i), 0);
	}
}

static void the_mapping_leaf_verifies_and_reads_as_it_is_explained(void **state)
{
	struct block block = BLOCK_OF(mapping_leaf_rows);
	struct block excerpt = block;
	struct tp_node_header header;

	(void)state;
	fill_mapping_leaf(&block);
	for (size_t i = 0; i < sizeof(mapping_leaf_rows) / sizeof(mapping_leaf_rows[0]); i++)
		assert_memory_equal(block.data + mapping_leaf_rows[i].offset, mapping_leaf_rows[i].bytes, 16);
	assert_int_equal(tp_block_crc(block.data), 0x0ad4f0e1);
	assert_int_equal(tp_block_verify(block.data, 32, thinp_block_type_node()), 0);
	assert_int_equal(tp_node_unpack(excerpt.data, &header), 0);
	assert_int_equal(header.flags, TP_NODE_LEAF);
	assert_int_equal(header.block, 32);
	assert_int_equal(header.nr_entries, 100);
	assert_int_equal(header.max_entries, 252);
	assert_int_equal(header.value_size, 8);
}

static void a_value_of_the_mapping_leaf_is_block_and_time(void **state)
{
	struct block block = BLOCK_OF(mapping_leaf_rows);
	struct tp_mapping mapping;

	(void)state;
	assert_int_equal(tp_node_key(block.data, 0), 0);
	assert_int_equal(tp_node_key(block.data, 1), 1);
	assert_int_equal(tp_node_value64(block.data, 1), 0x01000000);
	assert_int_equal(tp_node_value64(block.data, 20), 0x64000001);
	mapping = tp_mapping_unpack64(tp_node_value64(block.data, 1));
	assert_int_equal(mapping.data_block, 1);
	assert_int_equal(mapping.time, 0);
	mapping = tp_mapping_unpack64(tp_node_value64(block.data, 20));
	assert_int_equal(mapping.data_block, 100);
	assert_int_equal(mapping.time, 1);
	mapping = tp_mapping_unpack64(tp_node_value64(block.data, 21));
	assert_int_equal(mapping.data_block, 101);
	assert_int_equal(mapping.time, 1);
}

static void the_top_level_leaf_leads_to_both_devices(void **state)
{
	struct block block = BLOCK_OF(top_leaf_rows);

	(void)state;
	assert_int_equal(tp_node_check(block.data, 31), 0);
	assert_true(tp_node_is_leaf(block.data));
	assert_int_equal(tp_node_nr_entries(block.data), 2);
	assert_int_equal(tp_node_key(block.data, 0), 0);
	assert_int_equal(tp_node_value64(block.data, 0), 32);
	assert_int_equal(tp_node_key(block.data, 1), 1);
	assert_int_equal(tp_node_value64(block.data, 1), 26);
}

static void expect_details(const uint8_t *value, uint32_t creation_time, uint32_t snapshotted_time)
{
	struct tp_device_details details;

	tp_device_details_unpack(value, &details);
	assert_int_equal(details.mapped_blocks, 100);
	assert_int_equal(details.transaction_id, 0);
	assert_int_equal(details.creation_time, creation_time);
	assert_int_equal(details.snapshotted_time, snapshotted_time);
}

static void the_details_leaf_tells_when_each_device_was_made_and_snapshotted(void **state)
{
	struct block block = BLOCK_OF(details_leaf_rows);

	(void)state;
	assert_int_equal(tp_node_check(block.data, 33), 0);
	assert_int_equal(tp_node_value_size(block.data), TP_DETAILS_SIZE);
	assert_int_equal(tp_node_capacity(block.data), tp_node_max_entries(TP_DETAILS_SIZE));
	assert_ptr_equal(tp_node_values(block.data), block.data + 0x410);
	expect_details(tp_node_values(block.data), 0, 1);
	expect_details(tp_node_values(block.data) + TP_DETAILS_SIZE, 1, 1);
}

static void the_metadata_bitmap_counts_eleven_blocks_once(void **state)
{
	const uint32_t in_use[] = {0, 2, 5, 26, 29, 30, 31, 32, 33, 34, 35};
	struct block block = BLOCK_OF(metadata_bitmap_rows);
	uint8_t expected[TP_BITMAP_NR_ENTRIES] = {0}, counts[TP_BITMAP_NR_ENTRIES];

	(void)state;
	for (size_t i = 0; i < sizeof(in_use) / sizeof(in_use[0]); i++)
		expected[in_use[i]] = 1;
	assert_int_equal(tp_block_crc(block.data), 0xda45d053);
	assert_int_equal(tp_block_verify(block.data, 30, thinp_block_type_bitmap()), 0);
	tp_bitmap_unpack(block.data, counts);
	assert_memory_equal(counts, expected, sizeof(counts));
}

static void the_metadata_bitmap_is_written_byte_for_byte(void **state)
{
	struct block expected = BLOCK_OF(metadata_bitmap_rows);
	struct block block = {{0}};

	(void)state;
	for (uint32_t i = 29; i < 36; i++)
		tp_bitmap_set(block.data, i, 1);
	tp_bitmap_set(block.data, 0, 1);
	tp_bitmap_set(block.data, 2, 1);
	tp_bitmap_set(block.data, 5, 1);
	tp_bitmap_set(block.data, 26, 1);
	tp_block_seal(block.data, 30, thinp_block_type_bitmap());
	assert_memory_equal(block.data, expected.data, THINP_BLOCK_SIZE);
}

/* Payload of the data bitmap: 55 x 5, aa x 12, 5a, 55 x 7, aa x 12, 0a. */
static void the_data_bitmap_counts_what_both_devices_share_twice(void **state)
{
	struct block block = {{0}};
	uint8_t *payload = block.data + 16;

	(void)state;
	memset(payload, 0x55, 5);
	memset(payload + 5, 0xaa, 12);
	payload[17] = 0x5a;
	memset(payload + 18, 0x55, 7);
	memset(payload + 25, 0xaa, 12);
	payload[37] = 0x0a;
	for (uint32_t i = 0; i < TP_BITMAP_NR_ENTRIES; i++) {
		uint32_t expected = i < 20 ? 2 : i < 70 ? 1 : i < 100 ? 2 : i < 150 ? 1 : 0;

		assert_int_equal(tp_bitmap_get(block.data, i), expected);
	}
}

static void an_overflowed_count_reads_as_three(void **state)
{
	const uint8_t payload[] = {0xbe, 0xef, 0xfb};
	const uint8_t expected[] = {1, 3, 3, 1, 3, 3, 1, 3, 3, 1, 3, 3};
	uint8_t counts[TP_BITMAP_NR_ENTRIES];
	struct block block = {{0}};

	(void)state;
	memcpy(block.data + 16, payload, sizeof(payload));
	tp_bitmap_unpack(block.data, counts);
	assert_memory_equal(counts, expected, sizeof(expected));
}

static void the_metadata_index_verifies_and_leads_to_the_bitmap(void **state)
{
	struct block block = BLOCK_OF(index_rows);
	struct tp_index index;

	(void)state;
	assert_int_equal(tp_block_crc(block.data), 0x798f267b);
	assert_int_equal(tp_block_verify(block.data, 35, thinp_block_type_index()), 0);
	tp_index_unpack(block.data, &index);
	assert_int_equal(index.block, 35);
	assert_int_equal(index.entries[0].bitmap, 30);
	assert_int_equal(index.entries[0].nr_free, 16309);
	assert_int_equal(index.entries[0].none_free_before, 1);
	assert_int_equal(tp_index_entry_check(&index.entries[0], 1024, 35), 0);
	for (size_t i = 1; i < TP_INDEX_NR_ENTRIES; i++) {
		assert_int_equal(index.entries[i].bitmap, 0);
		assert_int_equal(index.entries[i].nr_free, 0);
		assert_int_equal(index.entries[i].none_free_before, 0);
	}
}

static void the_disk_index_leaf_leads_to_the_bitmap(void **state)
{
	struct block block = BLOCK_OF(disk_index_leaf_rows);
	struct tp_index_entry entry;

	(void)state;
	assert_int_equal(tp_node_check(block.data, 34), 0);
	assert_int_equal(tp_node_value_size(block.data), TP_INDEX_ENTRY_SIZE);
	assert_int_equal(tp_node_capacity(block.data), tp_node_max_entries(TP_INDEX_ENTRY_SIZE));
	assert_ptr_equal(tp_node_values(block.data), block.data + 0x560);
	tp_index_entry_unpack(tp_node_values(block.data), &entry);
	assert_int_equal(entry.bitmap, 29);
	assert_int_equal(entry.nr_free, 16170);
	assert_int_equal(entry.none_free_before, 150);
	assert_int_equal(tp_index_entry_check(&entry, 1024, 34), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_superblock_verifies_and_reads_as_it_is_explained),
		cmocka_unit_test(the_superblock_is_written_byte_for_byte),
		cmocka_unit_test(the_mapping_leaf_verifies_and_reads_as_it_is_explained),
		cmocka_unit_test(a_value_of_the_mapping_leaf_is_block_and_time),
		cmocka_unit_test(the_top_level_leaf_leads_to_both_devices),
		cmocka_unit_test(the_details_leaf_tells_when_each_device_was_made_and_snapshotted),
		cmocka_unit_test(the_metadata_bitmap_counts_eleven_blocks_once),
		cmocka_unit_test(the_metadata_bitmap_is_written_byte_for_byte),
		cmocka_unit_test(the_data_bitmap_counts_what_both_devices_share_twice),
		cmocka_unit_test(an_overflowed_count_reads_as_three),
		cmocka_unit_test(the_metadata_index_verifies_and_leads_to_the_bitmap),
		cmocka_unit_test(the_disk_index_leaf_leads_to_the_bitmap),
	};

	return cmocka_run_group_tests_name("format/worked_examples", tests, NULL, NULL);
}
