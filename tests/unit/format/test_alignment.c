/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BT-19: everything of the format is read and written at any address, in little-endian order on every machine. A sanitizer
 * for undefined behaviour sees accesses that are not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "format/array_block.h"
#include "format/kind.h"
#include "format/node.h"
#include "format/space_map.h"
#include "format/store.h"
#include "format/thin.h"

enum { NR_SHIFTS = 9, BLOCK = 7 };

static _Alignas(64) uint8_t memory[THINP_BLOCK_SIZE + 64];
static _Alignas(64) uint8_t aligned[THINP_BLOCK_SIZE];

/* The bytes of `aligned`, at an address that is shifted by so many. */
static uint8_t *shifted(size_t shift)
{
	memset(memory, 0xee, sizeof(memory));
	memcpy(memory + shift, aligned, THINP_BLOCK_SIZE);
	return memory + shift;
}

static void seal(const struct thinp_block_type *type)
{
	tp_block_seal(aligned, BLOCK, type);
	for (size_t shift = 1; shift < NR_SHIFTS; shift++) {
		uint8_t *data = shifted(shift);

		assert_int_equal(tp_block_verify(data, BLOCK, type), 0);
		memset(data, 0, 4);
		tp_block_seal(data, BLOCK, type);
		assert_memory_equal(data, aligned, THINP_BLOCK_SIZE);
	}
}

/* Number i of a run of numbers that differ in each byte. */
static uint64_t number(uint32_t i)
{
	return UINT64_C(0x0102030405060708) + UINT64_C(0x0001000100010001) * i;
}

static void BT_19_nodes_are_read_at_odd_addresses(void **state)
{
	const struct tp_node_header header = {
		.flags = TP_NODE_INTERNAL, .nr_entries = 250, .max_entries = 251, .value_size = 8};
	static const uint8_t first_key[] = {8, 7, 6, 5, 4, 3, 2, 1};

	(void)state;
	memset(aligned, 0, sizeof(aligned));
	tp_node_pack(&header, aligned);
	for (uint32_t i = 0; i < 250; i++) {
		tp_store_le64(aligned + TP_NODE_HEADER_SIZE + 8 * (size_t)i, number(i));
		tp_store_le64(aligned + TP_NODE_HEADER_SIZE + 8 * (size_t)(251 + i), ~number(i));
	}
	assert_memory_equal(aligned + TP_NODE_HEADER_SIZE, first_key, sizeof(first_key));
	seal(thinp_block_type_node());
	for (size_t shift = 1; shift < NR_SHIFTS; shift++) {
		const uint8_t *data = shifted(shift);
		struct tp_node_header read;

		assert_int_equal(tp_node_unpack(data, &read), 0);
		assert_int_equal(read.block, BLOCK);
		assert_false(tp_node_is_leaf(data));
		assert_int_equal(tp_node_nr_entries(data), 250);
		assert_int_equal(tp_node_capacity(data), 251);
		assert_int_equal(tp_node_value_size(data), 8);
		for (uint32_t i = 0; i < 250; i++) {
			assert_int_equal(tp_node_key(data, i), number(i));
			assert_int_equal(tp_node_value64(data, i), ~number(i));
		}
	}
}

static void BT_19_blocks_of_arrays_are_read_at_odd_addresses(void **state)
{
	const struct tp_array_header header = {.max_entries = 509, .nr_entries = 300, .value_size = 8};

	(void)state;
	memset(aligned, 0x33, sizeof(aligned));
	tp_array_block_pack(&header, aligned);
	seal(thinp_block_type_array());
	for (size_t shift = 1; shift < NR_SHIFTS; shift++) {
		struct tp_array_header read;

		assert_int_equal(tp_array_block_unpack(shifted(shift), &read), 0);
		assert_int_equal(read.block, BLOCK);
		assert_int_equal(read.nr_entries, 300);
	}
}

static void BT_19_bitmaps_are_read_and_written_at_odd_addresses(void **state)
{
	static uint8_t counts[TP_BITMAP_NR_ENTRIES], read[TP_BITMAP_NR_ENTRIES];

	(void)state;
	memset(aligned, 0, sizeof(aligned));
	for (uint32_t i = 0; i < TP_BITMAP_NR_ENTRIES; i++)
		counts[i] = (uint8_t)(i * 7 / 5 % 4);
	tp_bitmap_pack(counts, aligned);
	seal(thinp_block_type_bitmap());
	for (size_t shift = 1; shift < NR_SHIFTS; shift++) {
		uint8_t *data = shifted(shift);

		tp_bitmap_unpack(data, read);
		assert_memory_equal(read, counts, sizeof(counts));
		tp_bitmap_pack(counts, data);
		assert_memory_equal(data, aligned, THINP_BLOCK_SIZE);
		for (uint32_t i = 0; i < TP_BITMAP_NR_ENTRIES; i += 37) {
			assert_int_equal(tp_bitmap_get(data, i), counts[i]);
			tp_bitmap_set(data, i, 3U - counts[i]);
			assert_int_equal(tp_bitmap_get(data, i), 3 - counts[i]);
		}
	}
}

static void BT_19_an_index_is_read_and_written_at_odd_addresses(void **state)
{
	static struct tp_index index, read;

	(void)state;
	memset(aligned, 0, sizeof(aligned));
	index.block = BLOCK;
	for (uint32_t i = 0; i < TP_INDEX_NR_ENTRIES; i++)
		index.entries[i] = (struct tp_index_entry){number(i), 100 + i, 16320 - i};
	tp_index_pack(&index, aligned);
	seal(thinp_block_type_index());
	for (size_t shift = 1; shift < NR_SHIFTS; shift++) {
		uint8_t *data = shifted(shift);

		tp_index_unpack(data, &read);
		assert_int_equal(read.block, BLOCK);
		for (uint32_t i = 0; i < TP_INDEX_NR_ENTRIES; i++) {
			assert_int_equal(read.entries[i].bitmap, number(i));
			assert_int_equal(read.entries[i].nr_free, 100 + i);
			assert_int_equal(read.entries[i].none_free_before, 16320 - i);
		}
		index.block++;
		tp_index_pack(&index, data);
		tp_index_unpack(data, &read);
		assert_int_equal(read.block, index.block);
		index.block = BLOCK;
	}
}

static void BT_19_records_are_read_and_written_at_odd_addresses(void **state)
{
	const struct tp_thin_superblock sb = {.magic = TP_THIN_MAGIC,
					      .metadata_block_size = TP_METADATA_BLOCK_SECTORS,
					      .transaction_id = number(1),
					      .data_sm = {.nr_blocks = number(2), .bitmap_root = number(3)},
					      .metadata_sm = {.nr_allocated = number(4), .ref_count_root = number(5)},
					      .details_root = number(6)};
	const struct tp_device_details details = {number(7), number(8), 0x01020304, 0x05060708};

	(void)state;
	memset(aligned, 0, sizeof(aligned));
	tp_thin_superblock_pack(&sb, aligned);
	tp_device_details_pack(&details, aligned + 1024);
	tp_store_le64(aligned + 2048, number(9) << 24 | 77);
	seal(thinp_block_type_thin_superblock());
	for (size_t shift = 1; shift < NR_SHIFTS; shift++) {
		uint8_t *data = shifted(shift);
		struct tp_device_details details_read;
		struct tp_thin_superblock read;
		struct tp_mapping mapping;

		tp_thin_superblock_unpack(data, &read);
		assert_int_equal(read.transaction_id, number(1));
		assert_int_equal(read.details_root, number(6));
		assert_memory_equal(&read.data_sm, &sb.data_sm, sizeof(sb.data_sm));
		assert_memory_equal(&read.metadata_sm, &sb.metadata_sm, sizeof(sb.metadata_sm));
		tp_thin_superblock_pack(&read, data);
		tp_device_details_unpack(data + 1024, &details_read);
		assert_memory_equal(&details_read, &details, sizeof(details));
		tp_device_details_pack(&details, data + 1024);
		tp_mapping_unpack(data + 2048, &mapping);
		assert_int_equal(mapping.data_block, number(9) & (((uint64_t)1 << 40) - 1));
		assert_int_equal(mapping.time, 77);
		assert_int_equal(tp_mapping_pack(&mapping, data + 2048), 0);
		assert_memory_equal(data, aligned, THINP_BLOCK_SIZE);
	}
}

static void BT_19_the_superblock_of_a_store_is_read_at_odd_addresses(void **state)
{
	struct tp_store_superblock sb, read, again;

	(void)state;
	for (size_t i = 0; i < sizeof(aligned); i++)
		aligned[i] = (uint8_t)(i * 13 + i / 256);
	tp_store_superblock_unpack(aligned, &sb);
	memset(aligned, 0, sizeof(aligned));
	tp_store_superblock_pack(&sb, aligned);
	tp_store_superblock_unpack(aligned, &read);
	for (size_t shift = 1; shift < NR_SHIFTS; shift++) {
		uint8_t *data = shifted(shift);

		memcpy(&again, &read, sizeof(again)); /* padding, too */
		tp_store_superblock_unpack(data, &again);
		assert_memory_equal(&again, &read, sizeof(read));
		memset(data, 0, THINP_BLOCK_SIZE);
		tp_store_superblock_pack(&again, data);
		assert_memory_equal(data, aligned, THINP_BLOCK_SIZE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BT_19_nodes_are_read_at_odd_addresses),
		cmocka_unit_test(BT_19_blocks_of_arrays_are_read_at_odd_addresses),
		cmocka_unit_test(BT_19_bitmaps_are_read_and_written_at_odd_addresses),
		cmocka_unit_test(BT_19_an_index_is_read_and_written_at_odd_addresses),
		cmocka_unit_test(BT_19_records_are_read_and_written_at_odd_addresses),
		cmocka_unit_test(BT_19_the_superblock_of_a_store_is_read_at_odd_addresses),
	};

	return cmocka_run_group_tests_name("format/alignment", tests, NULL, NULL);
}
