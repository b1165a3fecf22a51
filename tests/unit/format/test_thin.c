/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/thin.h"
#include "unit/base/random.h"
#include "unit/format/expect.h"

/* A live superblock that obeys all rules. */
static const struct tp_thin_superblock good = {
	.magic = TP_THIN_MAGIC,
	.version = TP_THIN_VERSION,
	.held_root = 40,
	.data_sm = {.nr_blocks = 1024, .nr_allocated = 150, .bitmap_root = 34, .ref_count_root = 5},
	.metadata_sm = {.nr_blocks = 1024, .nr_allocated = 11, .bitmap_root = 35, .ref_count_root = 2},
	.mapping_root = 31,
	.details_root = 33,
	.data_block_size = 128,
	.metadata_block_size = TP_METADATA_BLOCK_SECTORS,
	.metadata_nr_blocks = 1024,
};

/* The copy of it in a metadata snapshot. */
static struct tp_thin_superblock snap(void)
{
	struct tp_thin_superblock sb = good;

	sb.block = 40;
	sb.held_root = 0;
	memset(&sb.data_sm, 0, sizeof(sb.data_sm));
	memset(&sb.metadata_sm, 0, sizeof(sb.metadata_sm));
	return sb;
}

static void each_field_of_a_superblock_has_its_place(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE];
	struct tp_thin_superblock sb;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i % 251);
	tp_thin_superblock_unpack(data, &sb);

	assert_int_equal(sb.flags, tp_load_le32(data + 4));
	assert_int_equal(sb.block, tp_load_le64(data + 8));
	assert_memory_equal(sb.uuid, data + 16, 16);
	assert_int_equal(sb.magic, tp_load_le64(data + 32));
	assert_int_equal(sb.version, tp_load_le32(data + 40));
	assert_int_equal(sb.time, tp_load_le32(data + 44));
	assert_int_equal(sb.transaction_id, tp_load_le64(data + 48));
	assert_int_equal(sb.held_root, tp_load_le64(data + 56));
	assert_int_equal(sb.data_sm.nr_blocks, tp_load_le64(data + 64));
	assert_int_equal(sb.data_sm.nr_allocated, tp_load_le64(data + 72));
	assert_int_equal(sb.data_sm.bitmap_root, tp_load_le64(data + 80));
	assert_int_equal(sb.data_sm.ref_count_root, tp_load_le64(data + 88));
	assert_memory_equal(sb.data_sm_tail, data + 96, 96);
	assert_int_equal(sb.metadata_sm.nr_blocks, tp_load_le64(data + 192));
	assert_int_equal(sb.metadata_sm.nr_allocated, tp_load_le64(data + 200));
	assert_int_equal(sb.metadata_sm.bitmap_root, tp_load_le64(data + 208));
	assert_int_equal(sb.metadata_sm.ref_count_root, tp_load_le64(data + 216));
	assert_memory_equal(sb.metadata_sm_tail, data + 224, 96);
	assert_int_equal(sb.mapping_root, tp_load_le64(data + 320));
	assert_int_equal(sb.details_root, tp_load_le64(data + 328));
	assert_int_equal(sb.data_block_size, tp_load_le32(data + 336));
	assert_int_equal(sb.metadata_block_size, tp_load_le32(data + 340));
	assert_int_equal(sb.metadata_nr_blocks, tp_load_le64(data + 344));
	assert_int_equal(sb.compat_flags, tp_load_le32(data + 352));
	assert_int_equal(sb.compat_ro_flags, tp_load_le32(data + 356));
	assert_int_equal(sb.incompat_flags, tp_load_le32(data + 360));
}

/* Together with the test above: unpacking gives back what was packed. */
static void packing_what_was_unpacked_gives_the_record_again_and_leaves_the_rest_alone(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE], again[THINP_BLOCK_SIZE], rest[THINP_BLOCK_SIZE];
	struct tp_thin_superblock sb;
	uint64_t rng = random_begin();

	(void)state;
	random_fill(&rng, data, sizeof(data));
	memset(again, 0xee, sizeof(again));
	memset(rest, 0xee, sizeof(rest));
	tp_thin_superblock_unpack(data, &sb);
	tp_thin_superblock_pack(&sb, again);
	assert_memory_equal(again, rest, 4);
	assert_memory_equal(again + 4, data + 4, TP_THIN_SUPERBLOCK_SIZE - 4);
	assert_memory_equal(again + TP_THIN_SUPERBLOCK_SIZE, rest, sizeof(rest) - TP_THIN_SUPERBLOCK_SIZE);
}

static int check(const struct tp_thin_superblock *sb)
{
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	tp_thin_superblock_pack(sb, data);
	return tp_thin_superblock_check(data, 7);
}

static void a_sound_superblock_is_taken(void **state)
{
	(void)state;
	assert_int_equal(check(&good), 0);
	assert_int_equal(tp_thin_superblock_check_roots(&good), 0);
}

static void a_wrong_magic_number_is_refused(void **state)
{
	struct tp_thin_superblock sb = good;

	(void)state;
	sb.magic = TP_THIN_MAGIC + 1;
	expect_corrupt(check(&sb), 7, "thin superblock: magic number is 27022011, not 27022010");
	sb.magic = (uint64_t)1 << 32 | TP_THIN_MAGIC;
	expect_corrupt(check(&sb), 7, "thin superblock: magic number is 4321989306, not 27022010");
}

static void metadata_blocks_of_another_size_are_refused(void **state)
{
	struct tp_thin_superblock sb = good;

	(void)state;
	sb.metadata_block_size = 16;
	expect_corrupt(check(&sb), 7, "thin superblock: metadata blocks of 16 sectors, but the format knows only 8");
}

static void a_time_that_mappings_cannot_hold_is_refused(void **state)
{
	struct tp_thin_superblock sb = good;

	(void)state;
	sb.time = 16777215;
	assert_int_equal(check(&sb), 0);
	sb.time = 16777216;
	expect_corrupt(check(&sb), 7, "thin superblock: time is 16777216, but 16777215 is the last");
}

static void what_other_writers_may_set_is_not_refused(void **state)
{
	struct tp_thin_superblock sb = good;

	(void)state;
	sb.version = 1;
	sb.flags = UINT32_MAX;
	sb.compat_flags = sb.compat_ro_flags = sb.incompat_flags = UINT32_MAX;
	memset(sb.uuid, 0xff, sizeof(sb.uuid));
	memset(sb.data_sm_tail, 0xff, sizeof(sb.data_sm_tail));
	sb.metadata_nr_blocks = 8;
	sb.data_block_size = 1;
	assert_int_equal(check(&sb), 0);
	assert_int_equal(tp_thin_superblock_check_roots(&sb), 0);
}

static void no_metadata_snapshot_is_fine(void **state)
{
	struct tp_thin_superblock sb = good;

	(void)state;
	sb.held_root = 0;
	assert_int_equal(tp_thin_superblock_check_roots(&sb), 0);
}

static void maps_beyond_their_limits_are_refused(void **state)
{
	struct tp_thin_superblock sb = good;

	(void)state;
	sb.metadata_sm.nr_blocks = TP_METADATA_MAX_BLOCKS + 1;
	expect_corrupt(tp_thin_superblock_check_roots(&sb), 0,
		       "metadata space map: 4161601 blocks, but 4161600 are the most");
	sb = good;
	sb.data_sm.nr_blocks = TP_DATA_MAX_BLOCKS + 1;
	expect_corrupt(tp_thin_superblock_check_roots(&sb), 0,
		       "data space map: 1099511627777 blocks, but 1099511627776 are the most");
}

/* The seven addresses of a live superblock. */
struct root {
	const char *where; /* what a message says when it is out of range */
	const char *name;  /* what a message says when it equals another one */
	size_t offset;
};

#define ROOT(where, name, field)                                                                                       \
	{                                                                                                              \
		where, name, offsetof(struct tp_thin_superblock, field)                                                \
	}
static const struct root roots[] = {
	ROOT("metadata space map: the index", "the index of the metadata map", metadata_sm.bitmap_root),
	ROOT("metadata space map: the overflow tree", "the overflow tree of the metadata map",
	     metadata_sm.ref_count_root),
	ROOT("data space map: the index", "the index of the data map", data_sm.bitmap_root),
	ROOT("data space map: the overflow tree", "the overflow tree of the data map", data_sm.ref_count_root),
	ROOT("thin superblock: the mapping tree", "the mapping tree", mapping_root),
	ROOT("thin superblock: the details tree", "the details tree", details_root),
	ROOT("thin superblock: the metadata snapshot", "the metadata snapshot", held_root),
};
#define NR_ROOTS (sizeof(roots) / sizeof(roots[0]))

static thinp_block_t *root_of(struct tp_thin_superblock *sb, size_t i)
{
	return (thinp_block_t *)(void *)((char *)sb + roots[i].offset);
}

static void each_root_must_be_in_the_metadata(void **state)
{
	char message[168];

	(void)state;
	for (size_t i = 0; i < NR_ROOTS; i++) {
		struct tp_thin_superblock sb = good;

		*root_of(&sb, i) = 1023;
		assert_int_equal(tp_thin_superblock_check_roots(&sb), 0);
		*root_of(&sb, i) = 1024;
		snprintf(message, sizeof(message), "%s cannot be at block 1024 of 1024", roots[i].where);
		expect_corrupt(tp_thin_superblock_check_roots(&sb), 0, message);
	}
}

static void each_root_but_the_held_one_must_be_there(void **state)
{
	char message[168];

	(void)state;
	for (size_t i = 0; i < NR_ROOTS - 1; i++) {
		struct tp_thin_superblock sb = good;

		*root_of(&sb, i) = 0;
		snprintf(message, sizeof(message), "%s cannot be at block 0 of 1024", roots[i].where);
		expect_corrupt(tp_thin_superblock_check_roots(&sb), 0, message);
	}
}

/* The two roots of one map are compared by tp_sm_root_check, which has its own words for it. */
static bool are_of_one_map(size_t i, size_t j)
{
	return i < 4 && j < 4 && i / 2 == j / 2;
}

static void no_two_roots_may_be_the_same(void **state)
{
	char message[168];

	(void)state;
	for (size_t i = 0; i < NR_ROOTS; i++)
		for (size_t j = 0; j < i; j++) {
			struct tp_thin_superblock sb = good;

			*root_of(&sb, i) = *root_of(&sb, j) = 500;
			snprintf(message, sizeof(message), "thin superblock: %s and %s are both at block 500",
				 roots[j].name, roots[i].name);
			if (are_of_one_map(i, j))
				assert_int_equal(tp_thin_superblock_check_roots(&sb), THINP_ECORRUPT);
			else
				expect_corrupt(tp_thin_superblock_check_roots(&sb), 0, message);
		}
}

static void the_copy_in_a_metadata_snapshot_needs_its_two_trees_only(void **state)
{
	struct tp_thin_superblock sb = snap();

	(void)state;
	assert_int_equal(tp_thin_superblock_check_snap_roots(&sb, 1024), 0);
	assert_int_equal(tp_thin_superblock_check_roots(&sb), THINP_ECORRUPT);
}

static void trees_of_a_snapshot_must_be_in_the_metadata(void **state)
{
	struct tp_thin_superblock sb = snap();

	(void)state;
	sb.mapping_root = 0;
	expect_corrupt(tp_thin_superblock_check_snap_roots(&sb, 1024), 40,
		       "thin superblock: the mapping tree cannot be at block 0 of 1024");
	sb.mapping_root = 1024;
	expect_corrupt(tp_thin_superblock_check_snap_roots(&sb, 1024), 40,
		       "thin superblock: the mapping tree cannot be at block 1024 of 1024");
	sb = snap();
	sb.details_root = 0;
	expect_corrupt(tp_thin_superblock_check_snap_roots(&sb, 1024), 40,
		       "thin superblock: the details tree cannot be at block 0 of 1024");
	sb.details_root = UINT64_MAX;
	expect_corrupt(tp_thin_superblock_check_snap_roots(&sb, 1024), 40,
		       "thin superblock: the details tree cannot be at block 18446744073709551615 of 1024");
}

static void trees_of_a_snapshot_may_be_neither_each_other_nor_the_copy(void **state)
{
	struct tp_thin_superblock sb = snap();

	(void)state;
	sb.details_root = sb.mapping_root;
	expect_corrupt(tp_thin_superblock_check_snap_roots(&sb, 1024), 40,
		       "thin superblock: the mapping tree and the details tree are both at block 31");
	sb = snap();
	sb.mapping_root = 40;
	expect_corrupt(tp_thin_superblock_check_snap_roots(&sb, 1024), 40,
		       "thin superblock: the metadata snapshot and the mapping tree are both at block 40");
	sb = snap();
	sb.details_root = 40;
	expect_corrupt(tp_thin_superblock_check_snap_roots(&sb, 1024), 40,
		       "thin superblock: the metadata snapshot and the details tree are both at block 40");
}

static void each_field_of_device_details_has_its_place(void **state)
{
	const struct tp_device_details in = {
		.mapped_blocks = 0x0102030405060708,
		.transaction_id = 0x1112131415161718,
		.creation_time = 0x21222324,
		.snapshotted_time = 0x31323334,
	};
	const uint8_t expected[TP_DETAILS_SIZE] = {
		8,    7,    6,    5,    4,    3,    2,    1,    0x18, 0x17, 0x16, 0x15,
		0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21, 0x34, 0x33, 0x32, 0x31,
	};
	uint8_t data[TP_DETAILS_SIZE];
	struct tp_device_details out;

	(void)state;
	tp_device_details_pack(&in, data);
	assert_memory_equal(data, expected, sizeof(data));
	tp_device_details_unpack(data, &out);
	assert_memory_equal(&out, &in, sizeof(out));
}

static void a_mapping_is_forty_bits_of_block_over_twenty_four_of_time(void **state)
{
	const struct tp_mapping in = {.data_block = 0x0102030405, .time = 0x060708};
	const uint8_t expected[TP_MAPPING_SIZE] = {8, 7, 6, 5, 4, 3, 2, 1};
	uint8_t data[TP_MAPPING_SIZE];
	struct tp_mapping out;

	(void)state;
	assert_int_equal(tp_mapping_pack(&in, data), 0);
	assert_memory_equal(data, expected, sizeof(data));
	tp_mapping_unpack(data, &out);
	assert_int_equal(out.data_block, in.data_block);
	assert_int_equal(out.time, in.time);
	out = tp_mapping_unpack64(0x0102030405060708);
	assert_int_equal(out.data_block, in.data_block);
	assert_int_equal(out.time, in.time);
}

static void the_greatest_block_and_time_fit_a_mapping(void **state)
{
	const struct tp_mapping in = {.data_block = TP_DATA_MAX_BLOCKS - 1, .time = TP_THIN_MAX_TIME};
	uint8_t data[TP_MAPPING_SIZE];

	(void)state;
	assert_int_equal(tp_mapping_pack(&in, data), 0);
	assert_int_equal(tp_load_le64(data), UINT64_MAX);
}

static void a_block_or_time_that_does_not_fit_a_mapping_is_refused(void **state)
{
	struct tp_mapping mapping = {.data_block = TP_DATA_MAX_BLOCKS};
	const uint8_t untouched[TP_MAPPING_SIZE] = {0};
	uint8_t data[TP_MAPPING_SIZE] = {0};

	(void)state;
	expect_failure(tp_mapping_pack(&mapping, data), THINP_ERANGE, THINP_NO_BLOCK,
		       "data block 1099511627776 does not fit a mapping");
	mapping = (struct tp_mapping){.data_block = 1, .time = TP_THIN_MAX_TIME + 1};
	expect_failure(tp_mapping_pack(&mapping, data), THINP_ERANGE, THINP_NO_BLOCK,
		       "time 16777216 does not fit a mapping");
	assert_memory_equal(data, untouched, sizeof(data));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_field_of_a_superblock_has_its_place),
		cmocka_unit_test(packing_what_was_unpacked_gives_the_record_again_and_leaves_the_rest_alone),
		cmocka_unit_test(a_sound_superblock_is_taken),
		cmocka_unit_test(a_wrong_magic_number_is_refused),
		cmocka_unit_test(metadata_blocks_of_another_size_are_refused),
		cmocka_unit_test(a_time_that_mappings_cannot_hold_is_refused),
		cmocka_unit_test(what_other_writers_may_set_is_not_refused),
		cmocka_unit_test(no_metadata_snapshot_is_fine),
		cmocka_unit_test(maps_beyond_their_limits_are_refused),
		cmocka_unit_test(each_root_must_be_in_the_metadata),
		cmocka_unit_test(each_root_but_the_held_one_must_be_there),
		cmocka_unit_test(no_two_roots_may_be_the_same),
		cmocka_unit_test(the_copy_in_a_metadata_snapshot_needs_its_two_trees_only),
		cmocka_unit_test(trees_of_a_snapshot_must_be_in_the_metadata),
		cmocka_unit_test(trees_of_a_snapshot_may_be_neither_each_other_nor_the_copy),
		cmocka_unit_test(each_field_of_device_details_has_its_place),
		cmocka_unit_test(a_mapping_is_forty_bits_of_block_over_twenty_four_of_time),
		cmocka_unit_test(the_greatest_block_and_time_fit_a_mapping),
		cmocka_unit_test(a_block_or_time_that_does_not_fit_a_mapping_is_refused),
	};

	return cmocka_run_group_tests_name("format/thin", tests, NULL, NULL);
}
