/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/kind.h"
#include "format/store.h"
#include "format/thin.h"
#include "unit/base/random.h"
#include "unit/format/expect.h"

/* A superblock that obeys all rules: commit 6, in slot 0. */
static const struct tp_store_superblock good = {
	.magic = TP_STORE_MAGIC,
	.version = TP_STORE_VERSION,
	.block_size = TP_METADATA_BLOCK_SECTORS,
	.commit = 6,
	.metadata_sm = {.nr_blocks = 1024, .nr_allocated = 11, .bitmap_root = 35, .ref_count_root = 2},
	.maps = {{0}, {.nr_blocks = 500, .nr_allocated = 3, .bitmap_root = 36, .ref_count_root = 37}},
	.roots = {40, 0, 1023, 40},
};

static void each_field_has_its_place(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE];
	struct tp_store_superblock sb;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i % 251);
	tp_store_superblock_unpack(data, &sb);
	assert_int_equal(sb.flags, tp_load_le32(data + 4));
	assert_int_equal(sb.block, tp_load_le64(data + 8));
	assert_memory_equal(sb.uuid, data + 16, 16);
	assert_int_equal(sb.magic, tp_load_le64(data + 32));
	assert_int_equal(sb.version, tp_load_le32(data + 40));
	assert_int_equal(sb.block_size, tp_load_le32(data + 44));
	assert_int_equal(sb.commit, tp_load_le64(data + 48));
	assert_int_equal(sb.compat_flags, tp_load_le32(data + 56));
	assert_int_equal(sb.compat_ro_flags, tp_load_le32(data + 60));
	assert_int_equal(sb.incompat_flags, tp_load_le32(data + 64));
	assert_int_equal(sb.metadata_sm.nr_blocks, tp_load_le64(data + 72));
	assert_int_equal(sb.maps[0].nr_blocks, tp_load_le64(data + 104));
	assert_int_equal(sb.maps[3].ref_count_root, tp_load_le64(data + 224));
	assert_int_equal(sb.roots[0], tp_load_le64(data + 256));
	assert_int_equal(sb.roots[15], tp_load_le64(data + 376));
	assert_memory_equal(sb.user, data + 384, 256);
}

static void unpacking_gives_back_what_was_packed_and_the_rest_is_left_alone(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE], packed[THINP_BLOCK_SIZE], again[THINP_BLOCK_SIZE];
	struct tp_store_superblock sb;
	uint64_t rng = random_begin();

	(void)state;
	random_fill(&rng, data, sizeof(data));
	memset(packed, 0xee, sizeof(packed));
	tp_store_superblock_unpack(data, &sb);
	tp_store_superblock_pack(&sb, packed);
	for (size_t i = 0; i < sizeof(packed); i++)
		if (i < 4 || i >= TP_STORE_SUPERBLOCK_SIZE)
			assert_int_equal(packed[i], 0xee);
	memset(again, 0xee, sizeof(again));
	tp_store_superblock_unpack(packed, &sb);
	tp_store_superblock_pack(&sb, again);
	assert_memory_equal(again, packed, sizeof(again));
	assert_memory_equal(packed + 4, data + 4, 64);
	assert_memory_equal(packed + 72, data + 72, 160);
	assert_memory_equal(packed + 256, data + 256, TP_STORE_SUPERBLOCK_SIZE - 256);
}

static int check(const struct tp_store_superblock *sb, thinp_block_t block)
{
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	tp_store_superblock_pack(sb, data);
	return tp_store_superblock_check(data, block);
}

static void a_sound_superblock_is_taken(void **state)
{
	(void)state;
	assert_int_equal(check(&good, 0), 0);
	assert_int_equal(tp_store_superblock_check_roots(&good), 0);
}

static void a_sealed_one_passes_as_its_kind_and_no_other(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	tp_store_superblock_pack(&good, data);
	tp_block_seal(data, 0, tp_store_superblock_type());
	assert_int_equal(tp_block_verify(data, 0, tp_store_superblock_type()), 0);
	assert_string_equal(tp_block_kind_name(data), "store superblock");
	expect_corrupt(tp_block_verify(data, 0, thinp_block_type_thin_superblock()), 0,
		       "holds a valid store superblock, expected a thin superblock");
}

static void another_magic_or_block_size_is_refused(void **state)
{
	struct tp_store_superblock sb = good;

	(void)state;
	sb.magic = TP_THIN_MAGIC;
	expect_corrupt(check(&sb, 0), 0, "store superblock: magic number is 0x00000000019c52ba");
	sb = good;
	sb.block_size = 16;
	expect_corrupt(check(&sb, 0), 0, "store superblock: blocks of 16 sectors, but the format knows only 8");
}

static void COW_01_a_commit_in_the_slot_of_another_is_refused(void **state)
{
	struct tp_store_superblock sb = good;

	(void)state;
	expect_corrupt(check(&sb, 1), 1, "store superblock: commit 6 in this slot");
	sb.commit = 7;
	assert_int_equal(check(&sb, 1), 0);
	expect_corrupt(check(&sb, 0), 0, "store superblock: commit 7 in this slot");
	sb.commit = 0;
	expect_corrupt(check(&sb, 0), 0, "store superblock: commit 0 in this slot");
}

static void roots_must_be_behind_the_slots_and_in_the_metadata(void **state)
{
	struct tp_store_superblock sb = good;

	(void)state;
	sb.roots[5] = 1;
	expect_corrupt(tp_store_superblock_check_roots(&sb), 0, "store superblock: a root is block 1 of 1024");
	sb.roots[5] = 1024;
	expect_corrupt(tp_store_superblock_check_roots(&sb), 0, "store superblock: a root is block 1024 of 1024");
	sb = good;
	sb.metadata_sm.bitmap_root = 1;
	expect_corrupt(tp_store_superblock_check_roots(&sb), 0,
		       "store superblock: the index of a space map is block 1 of 1024");
	sb = good;
	sb.maps[1].ref_count_root = 1;
	expect_corrupt(tp_store_superblock_check_roots(&sb), 0,
		       "store superblock: the overflow tree of a space map is block 1 of 1024");
	sb = good;
	sb.maps[1].ref_count_root = 2000;
	assert_int_equal(tp_store_superblock_check_roots(&sb), THINP_ECORRUPT);
}

static void maps_beyond_their_limits_or_at_one_place_are_refused(void **state)
{
	struct tp_store_superblock sb = good;

	(void)state;
	sb.metadata_sm.nr_blocks = TP_METADATA_MAX_BLOCKS + 1;
	assert_int_equal(tp_store_superblock_check_roots(&sb), THINP_ECORRUPT);
	sb = good;
	sb.maps[1].nr_blocks = TP_DATA_MAX_BLOCKS + 1;
	assert_int_equal(tp_store_superblock_check_roots(&sb), THINP_ECORRUPT);
	sb = good;
	sb.maps[1].bitmap_root = 35;
	expect_corrupt(tp_store_superblock_check_roots(&sb), 0,
		       "store superblock: two space maps are both at block 35");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_field_has_its_place),
		cmocka_unit_test(unpacking_gives_back_what_was_packed_and_the_rest_is_left_alone),
		cmocka_unit_test(a_sound_superblock_is_taken),
		cmocka_unit_test(a_sealed_one_passes_as_its_kind_and_no_other),
		cmocka_unit_test(another_magic_or_block_size_is_refused),
		cmocka_unit_test(COW_01_a_commit_in_the_slot_of_another_is_refused),
		cmocka_unit_test(roots_must_be_behind_the_slots_and_in_the_metadata),
		cmocka_unit_test(maps_beyond_their_limits_or_at_one_place_are_refused),
	};

	return cmocka_run_group_tests_name("format/store", tests, NULL, NULL);
}
