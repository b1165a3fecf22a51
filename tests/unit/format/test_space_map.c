/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format/space_map.h"
#include "unit/base/random.h"
#include "unit/format/expect.h"

#define OWNER           0
#define METADATA_BLOCKS 1024

static const struct tp_sm_root good_root = {
	.nr_blocks = 1024, .nr_allocated = 150, .bitmap_root = 34, .ref_count_root = 5};
static const struct tp_index_entry good_entry = {.bitmap = 29, .nr_free = 16170, .none_free_before = 150};

static void the_limits_are_those_of_the_format(void **state)
{
	(void)state;
	assert_int_equal(TP_BITMAP_NR_ENTRIES, (THINP_BLOCK_SIZE - 16) * 4);
	assert_int_equal(TP_METADATA_MAX_BLOCKS, 4161600);
	assert_int_equal(TP_DATA_MAX_BLOCKS, 1099511627776);
}

static void each_field_of_a_root_has_its_place(void **state)
{
	const struct tp_sm_root in = {
		.nr_blocks = 0x0102030405060708,
		.nr_allocated = 0x1112131415161718,
		.bitmap_root = 0x2122232425262728,
		.ref_count_root = 0x3132333435363738,
	};
	const uint8_t expected[TP_SM_ROOT_SIZE] = {
		8,    7,    6,    5,    4,    3,    2,    1,    0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11,
		0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, 0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31,
	};
	uint8_t data[TP_SM_ROOT_SIZE];
	struct tp_sm_root out;

	(void)state;
	tp_sm_root_pack(&in, data);
	assert_memory_equal(data, expected, sizeof(data));
	tp_sm_root_unpack(data, &out);
	assert_memory_equal(&out, &in, sizeof(out));
}

static int check_root(const struct tp_sm_root *root)
{
	return tp_sm_root_check(root, TP_DATA_MAX_BLOCKS, METADATA_BLOCKS, OWNER, "data");
}

static void a_sound_root_is_taken(void **state)
{
	(void)state;
	assert_int_equal(check_root(&good_root), 0);
}

static void a_map_of_no_blocks_is_taken(void **state)
{
	const struct tp_sm_root root = {.bitmap_root = 4, .ref_count_root = 5};

	(void)state;
	assert_int_equal(check_root(&root), 0);
}

static void a_map_is_taken_up_to_its_limit(void **state)
{
	struct tp_sm_root root = good_root;

	(void)state;
	root.nr_blocks = TP_METADATA_MAX_BLOCKS;
	assert_int_equal(tp_sm_root_check(&root, TP_METADATA_MAX_BLOCKS, METADATA_BLOCKS, OWNER, "metadata"), 0);
	root.nr_blocks++;
	expect_corrupt(tp_sm_root_check(&root, TP_METADATA_MAX_BLOCKS, METADATA_BLOCKS, OWNER, "metadata"), OWNER,
		       "metadata space map: 4161601 blocks, but 4161600 are the most");
	root.nr_blocks = TP_DATA_MAX_BLOCKS;
	assert_int_equal(check_root(&root), 0);
	root.nr_blocks = UINT64_MAX;
	expect_corrupt(tp_sm_root_check(&root, TP_DATA_MAX_BLOCKS, METADATA_BLOCKS, 49, "data"), 49,
		       "data space map: 18446744073709551615 blocks, but 1099511627776 are the most");
}

static void a_wrong_number_of_allocated_blocks_is_no_reason_to_refuse(void **state)
{
	struct tp_sm_root root = good_root;

	(void)state;
	root.nr_allocated = UINT64_MAX;
	assert_int_equal(check_root(&root), 0);
}

static void roots_outside_the_metadata_are_refused(void **state)
{
	struct tp_sm_root root = good_root;

	(void)state;
	root.bitmap_root = METADATA_BLOCKS - 1;
	assert_int_equal(check_root(&root), 0);
	root.bitmap_root = METADATA_BLOCKS;
	expect_corrupt(check_root(&root), OWNER, "data space map: the index cannot be at block 1024 of 1024");
	root = good_root;
	root.ref_count_root = METADATA_BLOCKS - 1;
	assert_int_equal(check_root(&root), 0);
	root.ref_count_root = UINT64_MAX;
	expect_corrupt(check_root(&root), OWNER,
		       "data space map: the overflow tree cannot be at block 18446744073709551615 of 1024");
}

static void roots_in_the_superblock_are_refused(void **state)
{
	struct tp_sm_root root = good_root;

	(void)state;
	root.bitmap_root = 0;
	expect_corrupt(check_root(&root), OWNER, "data space map: the index cannot be at block 0 of 1024");
	root = good_root;
	root.ref_count_root = 0;
	expect_corrupt(check_root(&root), OWNER, "data space map: the overflow tree cannot be at block 0 of 1024");
}

static void both_roots_in_one_block_are_refused(void **state)
{
	struct tp_sm_root root = good_root;

	(void)state;
	root.ref_count_root = root.bitmap_root;
	expect_corrupt(check_root(&root), OWNER, "data space map: index and overflow tree are both at block 34");
}

static void no_root_fits_metadata_without_blocks(void **state)
{
	(void)state;
	expect_corrupt(tp_sm_root_check(&good_root, TP_DATA_MAX_BLOCKS, 0, OWNER, "data"), OWNER,
		       "data space map: the index cannot be at block 34 of 0");
}

static void each_field_of_an_index_entry_has_its_place(void **state)
{
	const struct tp_index_entry in = {
		.bitmap = 0x0102030405060708, .nr_free = 0x11121314, .none_free_before = 0x21222324};
	const uint8_t expected[TP_INDEX_ENTRY_SIZE] = {
		8, 7, 6, 5, 4, 3, 2, 1, 0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21,
	};
	uint8_t data[TP_INDEX_ENTRY_SIZE];
	struct tp_index_entry out;

	(void)state;
	tp_index_entry_pack(&in, data);
	assert_memory_equal(data, expected, sizeof(data));
	tp_index_entry_unpack(data, &out);
	assert_memory_equal(&out, &in, sizeof(out));
}

static void index_entries_of_empty_and_full_bitmaps_are_taken(void **state)
{
	struct tp_index_entry entry = {.bitmap = 1, .nr_free = TP_BITMAP_NR_ENTRIES};

	(void)state;
	assert_int_equal(tp_index_entry_check(&good_entry, METADATA_BLOCKS, OWNER), 0);
	assert_int_equal(tp_index_entry_check(&entry, METADATA_BLOCKS, OWNER), 0);
	entry.nr_free = 0;
	entry.none_free_before = TP_BITMAP_NR_ENTRIES;
	assert_int_equal(tp_index_entry_check(&entry, METADATA_BLOCKS, OWNER), 0);
}

static void an_index_entry_beyond_a_bitmap_is_refused(void **state)
{
	struct tp_index_entry entry = good_entry;

	(void)state;
	entry.nr_free = 16321;
	expect_corrupt(tp_index_entry_check(&entry, METADATA_BLOCKS, 35), 35,
		       "index entry: 16321 counts are free, but a bitmap has 16320");
	entry = good_entry;
	entry.none_free_before = UINT32_MAX;
	expect_corrupt(tp_index_entry_check(&entry, METADATA_BLOCKS, 35), 35,
		       "index entry: none of 4294967295 counts is free, but a bitmap has 16320");
}

static void a_bitmap_outside_the_metadata_is_refused(void **state)
{
	struct tp_index_entry entry = good_entry;

	(void)state;
	entry.bitmap = 0;
	expect_corrupt(tp_index_entry_check(&entry, METADATA_BLOCKS, 35), 35,
		       "index entry: the bitmap cannot be at block 0 of 1024");
	entry.bitmap = METADATA_BLOCKS;
	expect_corrupt(tp_index_entry_check(&entry, METADATA_BLOCKS, 35), 35,
		       "index entry: the bitmap cannot be at block 1024 of 1024");
}

static void an_index_comes_back_as_it_was_packed(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE], again[THINP_BLOCK_SIZE];
	struct tp_index in, out;
	uint64_t rng = random_begin();

	(void)state;
	in.block = random_next(&rng);
	for (size_t i = 0; i < TP_INDEX_NR_ENTRIES; i++)
		in.entries[i] = (struct tp_index_entry){.bitmap = random_next(&rng),
							.nr_free = (uint32_t)random_next(&rng),
							.none_free_before = (uint32_t)random_next(&rng)};
	tp_index_pack(&in, data);
	tp_index_unpack(data, &out);
	assert_int_equal(out.block, in.block);
	assert_memory_equal(out.entries, in.entries, sizeof(in.entries));
	memcpy(again, data, 4);
	tp_index_pack(&out, again);
	assert_memory_equal(again, data, sizeof(data));
}

static void the_entries_of_an_index_fill_the_block_behind_its_header(void **state)
{
	struct tp_index index = {.block = 35};
	uint8_t data[THINP_BLOCK_SIZE], expected[THINP_BLOCK_SIZE];

	(void)state;
	index.entries[0].bitmap = 30;
	index.entries[254].none_free_before = 0x31323334;
	memset(data, 0xee, sizeof(data));
	memset(expected, 0, sizeof(expected));
	memset(expected, 0xee, 4); /* the checksum is not for pack to write */
	expected[8] = 35;
	expected[16] = 30;
	memcpy(expected + 4092, "\x34\x33\x32\x31", 4);
	tp_index_pack(&index, data);
	assert_memory_equal(data, expected, sizeof(data));
}

/* The table of format.md 4.5: what a byte of four equal counts is. */
static void the_lower_bit_of_a_pair_is_the_high_bit_of_the_count(void **state)
{
	const uint8_t bytes[4] = {0x00, 0xaa, 0x55, 0xff};

	(void)state;
	for (uint32_t count = 0; count < 4; count++) {
		uint8_t data[THINP_BLOCK_SIZE] = {0};
		uint8_t counts[TP_BITMAP_NR_ENTRIES];

		data[16] = bytes[count];
		tp_bitmap_unpack(data, counts);
		for (uint32_t i = 0; i < 4; i++) {
			assert_int_equal(tp_bitmap_get(data, i), count);
			assert_int_equal(counts[i], count);
		}
		assert_int_equal(tp_bitmap_get(data, 4), 0);
	}
}

static void entries_of_a_byte_begin_with_its_lowest_bits(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE] = {0};
	uint8_t counts[TP_BITMAP_NR_ENTRIES];
	const uint8_t expected[8] = {2, 1, 0, 3, 0, 0, 0, 1};

	(void)state;
	data[16] = 0x01 | 0x08 | 0xc0;
	data[17] = 0x80;
	tp_bitmap_unpack(data, counts);
	assert_memory_equal(counts, expected, sizeof(expected));
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(tp_bitmap_get(data, i), expected[i]);
}

static void setting_a_count_changes_that_entry_and_no_other(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE], expected[TP_BITMAP_NR_ENTRIES], counts[TP_BITMAP_NR_ENTRIES];
	uint64_t rng = random_begin();

	(void)state;
	random_fill(&rng, data, sizeof(data));
	tp_bitmap_unpack(data, expected);
	for (uint32_t step = 0; step < 2000; step++) {
		uint32_t i = step < 16 ? step : (uint32_t)(random_next(&rng) % TP_BITMAP_NR_ENTRIES);

		expected[i] = random_next(&rng) % 4;
		tp_bitmap_set(data, i, expected[i]);
		tp_bitmap_unpack(data, counts);
		assert_memory_equal(counts, expected, sizeof(counts));
	}
}

static void the_first_and_last_entries_are_those_behind_the_header(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE] = {0}, expected[THINP_BLOCK_SIZE] = {0};

	(void)state;
	tp_bitmap_set(data, 0, 1);
	tp_bitmap_set(data, TP_BITMAP_NR_ENTRIES - 1, 2);
	expected[16] = 0x02;
	expected[4095] = 0x40;
	assert_memory_equal(data, expected, sizeof(data));
}

static void unpacking_agrees_with_reading_one_by_one(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE], counts[TP_BITMAP_NR_ENTRIES];
	uint64_t rng = random_begin();

	(void)state;
	random_fill(&rng, data, sizeof(data));
	for (size_t i = 0; i < 256; i++)
		data[16 + i] = (uint8_t)i;
	tp_bitmap_unpack(data, counts);
	for (uint32_t i = 0; i < TP_BITMAP_NR_ENTRIES; i++)
		assert_int_equal(counts[i], tp_bitmap_get(data, i));
}

static void packing_what_was_unpacked_gives_the_same_bits_and_leaves_the_header_alone(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE], again[THINP_BLOCK_SIZE], counts[TP_BITMAP_NR_ENTRIES];
	uint64_t rng = random_begin();

	(void)state;
	random_fill(&rng, data, sizeof(data));
	memset(data, 0xee, 16);
	memset(again, 0xee, sizeof(again));
	tp_bitmap_unpack(data, counts);
	tp_bitmap_pack(counts, again);
	assert_memory_equal(again, data, sizeof(data));
}

static void what_a_bitmap_gave_up_is_what_became_0(void **state)
{
	uint8_t before[THINP_BLOCK_SIZE], data[THINP_BLOCK_SIZE];
	uint64_t given_up[TP_BITMAP_NR_ENTRIES / 64];
	uint64_t rng = random_begin();

	(void)state;
	random_fill(&rng, before, sizeof(before));
	random_fill(&rng, data, sizeof(data));
	memcpy(data + 1000, before + 1000, 500); /* words that are the same */
	tp_bitmap_given_up(before, data, given_up);
	for (uint32_t i = 0; i < TP_BITMAP_NR_ENTRIES; i++)
		assert_int_equal(given_up[i / 64] >> i % 64 & 1, tp_bitmap_get(before, i) && !tp_bitmap_get(data, i));
}

static void packing_part_by_part_is_packing_all(void **state)
{
	uint8_t counts[TP_BITMAP_NR_ENTRIES], packed[TP_BITMAP_NR_BYTES];
	uint8_t data[THINP_BLOCK_SIZE], again[THINP_BLOCK_SIZE];
	uint64_t rng = random_begin();

	(void)state;
	random_fill(&rng, counts, sizeof(counts));
	for (size_t i = 0; i < sizeof(counts); i++)
		counts[i] &= 3;
	for (size_t i = 0; i < sizeof(counts); i += 64)
		tp_counts_pack(counts + i, 64, packed + i / 4);
	memset(data, 0xee, sizeof(data));
	memset(again, 0xee, sizeof(again));
	tp_bitmap_put(packed, data);
	tp_bitmap_pack(counts, again);
	assert_memory_equal(again, data, sizeof(data));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_bitmap_gave_up_is_what_became_0),
		cmocka_unit_test(packing_part_by_part_is_packing_all),
		cmocka_unit_test(the_limits_are_those_of_the_format),
		cmocka_unit_test(each_field_of_a_root_has_its_place),
		cmocka_unit_test(a_sound_root_is_taken),
		cmocka_unit_test(a_map_of_no_blocks_is_taken),
		cmocka_unit_test(a_map_is_taken_up_to_its_limit),
		cmocka_unit_test(a_wrong_number_of_allocated_blocks_is_no_reason_to_refuse),
		cmocka_unit_test(roots_outside_the_metadata_are_refused),
		cmocka_unit_test(roots_in_the_superblock_are_refused),
		cmocka_unit_test(both_roots_in_one_block_are_refused),
		cmocka_unit_test(no_root_fits_metadata_without_blocks),
		cmocka_unit_test(each_field_of_an_index_entry_has_its_place),
		cmocka_unit_test(index_entries_of_empty_and_full_bitmaps_are_taken),
		cmocka_unit_test(an_index_entry_beyond_a_bitmap_is_refused),
		cmocka_unit_test(a_bitmap_outside_the_metadata_is_refused),
		cmocka_unit_test(an_index_comes_back_as_it_was_packed),
		cmocka_unit_test(the_entries_of_an_index_fill_the_block_behind_its_header),
		cmocka_unit_test(the_lower_bit_of_a_pair_is_the_high_bit_of_the_count),
		cmocka_unit_test(entries_of_a_byte_begin_with_its_lowest_bits),
		cmocka_unit_test(setting_a_count_changes_that_entry_and_no_other),
		cmocka_unit_test(the_first_and_last_entries_are_those_behind_the_header),
		cmocka_unit_test(unpacking_agrees_with_reading_one_by_one),
		cmocka_unit_test(packing_what_was_unpacked_gives_the_same_bits_and_leaves_the_header_alone),
	};

	return cmocka_run_group_tests_name("format/space_map", tests, NULL, NULL);
}
