/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/error.h"
#include "format/array_block.h"
#include "format/kind.h"
#include "format/node.h"
#include "format/thin.h"
#include "unit/format/expect.h"

#define OWN 12

/* Blocks that pass the check of their kind, still without address and checksum. */
static void make_superblock(uint8_t *data)
{
	const struct tp_thin_superblock sb = {.magic = TP_THIN_MAGIC, .metadata_block_size = TP_METADATA_BLOCK_SECTORS};

	tp_thin_superblock_pack(&sb, data);
}

static void make_node(uint8_t *data)
{
	tp_node_pack(&(struct tp_node_header){.flags = TP_NODE_LEAF, .max_entries = 252, .value_size = 8}, data);
}

static void make_array_block(uint8_t *data)
{
	tp_array_block_pack(&(struct tp_array_header){.max_entries = 509, .value_size = 8}, data);
}

static void make_any(uint8_t *data)
{
	data[100] = 1;
}

struct kind {
	const struct thinp_block_type *(*type)(void);
	const char *name;
	const char *with_article;
	uint32_t csum_xor;
	uint32_t address_offset;
	int (*check)(const void *data, thinp_block_t block);
	void (*make)(uint8_t *data);
};

static const struct kind kinds[] = {
	{thinp_block_type_thin_superblock, "thin superblock", "a thin superblock", 160774, 8, tp_thin_superblock_check,
	 make_superblock},
	{thinp_block_type_node, "btree node", "a btree node", 121107, 8, tp_node_check, make_node},
	{thinp_block_type_index, "metadata index", "a metadata index", 160478, 8, NULL, make_any},
	{thinp_block_type_bitmap, "bitmap", "a bitmap", 240779, 8, NULL, make_any},
	{thinp_block_type_array, "array block", "an array block", 595846735, 16, tp_array_block_check,
	 make_array_block},
};
#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void make_sealed(const struct kind *kind, uint8_t *data)
{
	memset(data, 0, THINP_BLOCK_SIZE);
	kind->make(data);
	tp_block_seal(data, OWN, kind->type());
}

static void each_kind_is_what_the_format_says(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_KINDS; i++) {
		const struct thinp_block_type *type = kinds[i].type();

		assert_ptr_equal(type, kinds[i].type());
		assert_int_equal(type->size, sizeof(*type));
		assert_string_equal(type->name, kinds[i].name);
		assert_int_equal(type->csum_xor, kinds[i].csum_xor);
		assert_int_equal(type->address_offset, kinds[i].address_offset);
		assert_true(type->check == kinds[i].check);
	}
}

static void the_crc_covers_the_whole_block_but_the_checksum(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE] = {0};
	uint32_t crc = tp_block_crc(data);

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		data[i] = 1;
		assert_int_equal(tp_block_crc(data), crc);
		data[i] = 0;
	}
	for (size_t i = 4; i < sizeof(data); i++) {
		data[i] = 1;
		assert_int_not_equal(tp_block_crc(data), crc);
		data[i] = 0;
	}
}

static void a_sealed_block_holds_its_address_and_passes(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE];

	(void)state;
	for (size_t i = 0; i < NR_KINDS; i++) {
		make_sealed(&kinds[i], data);
		assert_int_equal(tp_load_le64(data + kinds[i].address_offset), OWN);
		assert_int_equal(tp_load_le32(data) ^ tp_block_crc(data), kinds[i].csum_xor);
		assert_int_equal(tp_block_verify(data, OWN, kinds[i].type()), 0);
		assert_string_equal(tp_block_kind_name(data), kinds[i].name);
	}
}

static void sealing_writes_nothing_but_address_and_checksum(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE], expected[THINP_BLOCK_SIZE];

	(void)state;
	for (size_t i = 0; i < NR_KINDS; i++) {
		memset(data, 0xee, sizeof(data));
		memset(expected, 0xee, sizeof(expected));
		tp_block_seal(data, OWN, kinds[i].type());
		tp_store_le64(expected + kinds[i].address_offset, OWN);
		memcpy(expected, data, 4);
		assert_memory_equal(data, expected, sizeof(data));
	}
}

static void success_leaves_the_detail_record_alone(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE];

	(void)state;
	for (size_t i = 0; i < NR_KINDS; i++) {
		int r = tp_fail(THINP_EIO, 1, "earlier");

		make_sealed(&kinds[i], data);
		assert_int_equal(tp_block_verify(data, OWN, kinds[i].type()), 0);
		expect_failure(r, THINP_EIO, 1, "earlier");
	}
}

static void a_block_of_another_kind_is_named(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE];
	char message[168];

	(void)state;
	for (size_t i = 0; i < NR_KINDS; i++)
		for (size_t j = 0; j < NR_KINDS; j++) {
			if (i == j)
				continue;
			make_sealed(&kinds[i], data);
			snprintf(message, sizeof(message), "holds a valid %s, expected %s", kinds[i].name,
				 kinds[j].with_article);
			expect_corrupt(tp_block_verify(data, OWN, kinds[j].type()), OWN, message);
		}
}

static void superblocks_of_caches_and_eras_are_named_too(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	tp_store_le32(data, tp_block_crc(data) ^ 9031977);
	assert_string_equal(tp_block_kind_name(data), "cache superblock");
	expect_corrupt(tp_block_verify(data, 0, thinp_block_type_thin_superblock()), 0,
		       "holds a valid cache superblock, expected a thin superblock");
	tp_store_le32(data, tp_block_crc(data) ^ 146538381);
	assert_string_equal(tp_block_kind_name(data), "era superblock");
	expect_corrupt(tp_block_verify(data, 0, thinp_block_type_array()), 0,
		       "holds a valid era superblock, expected an array block");
}

static void a_block_of_zeros_is_called_one(void **state)
{
	const uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	assert_string_equal(tp_block_kind_name(data), "block of zeros");
	expect_corrupt(tp_block_verify(data, 5, thinp_block_type_node()), 5,
		       "holds nothing but zeros, expected a btree node");
	expect_corrupt(tp_block_verify(data, 0, thinp_block_type_array()), 0,
		       "holds nothing but zeros, expected an array block");
}

static void a_block_with_one_bit_set_is_no_block_of_zeros(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++) {
		data[i] = 0x80;
		assert_null(tp_block_kind_name(data));
		data[i] = 0;
	}
}

static void a_checksum_that_fits_no_kind_is_shown_with_the_one_wanted(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE];
	uint32_t wanted;
	char message[168];

	(void)state;
	make_sealed(&kinds[3], data);
	wanted = tp_load_le32(data);
	tp_store_le32(data, 0x0000beef);
	snprintf(message, sizeof(message), "bitmap: checksum is 0x0000beef, but the contents give 0x%08x", wanted);
	assert_null(tp_block_kind_name(data));
	expect_corrupt(tp_block_verify(data, OWN, thinp_block_type_bitmap()), OWN, message);
}

static void any_flipped_bit_is_noticed(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE];

	(void)state;
	make_sealed(&kinds[1], data);
	for (size_t bit = 0; bit < 8 * sizeof(data); bit++) {
		data[bit / 8] = (uint8_t)(data[bit / 8] ^ 1u << bit % 8);
		assert_int_equal(tp_block_verify(data, OWN, thinp_block_type_node()), THINP_ECORRUPT);
		data[bit / 8] = (uint8_t)(data[bit / 8] ^ 1u << bit % 8);
	}
	assert_int_equal(tp_block_verify(data, OWN, thinp_block_type_node()), 0);
}

static void a_block_in_the_wrong_place_says_where_it_belongs(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE];
	char message[168];

	(void)state;
	for (size_t i = 0; i < NR_KINDS; i++) {
		make_sealed(&kinds[i], data);
		snprintf(message, sizeof(message), "%s misplaced: the block says it is 12", kinds[i].name);
		expect_corrupt(tp_block_verify(data, 13, kinds[i].type()), 13, message);
	}
}

static void the_reason_of_the_check_is_kept(void **state)
{
	uint8_t data[THINP_BLOCK_SIZE];

	(void)state;
	make_sealed(&kinds[1], data);
	tp_store_le32(data + 16, 253);
	tp_block_seal(data, OWN, thinp_block_type_node());
	expect_corrupt(tp_block_verify(data, OWN, thinp_block_type_node()), OWN,
		       "btree node: 253 entries, but room for 252");
}

static int refuse_silently(const void *data, thinp_block_t block)
{
	(void)data;
	(void)block;
	return -1;
}

static int refuse_with_words(const void *data, thinp_block_t block)
{
	(void)data;
	return thinp_error_report(THINP_ECORRUPT, block, "journal: no room");
}

static int expect_and_accept(const void *data, thinp_block_t block)
{
	check_expected_ptr(data);
	check_expected(block);
	return 0;
}

static void a_kind_of_the_callers_own_is_protected_like_ours(void **state)
{
	struct thinp_block_type type = {.size = sizeof(type),
					.name = "journal",
					.csum_xor = 1,
					.address_offset = 4088,
					.check = expect_and_accept};
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	tp_block_seal(data, OWN, &type);
	expect_value(expect_and_accept, data, (uintptr_t)data);
	expect_value(expect_and_accept, block, OWN);
	assert_int_equal(tp_block_verify(data, OWN, &type), 0);
	expect_corrupt(tp_block_verify(data, 13, &type), 13, "journal misplaced: the block says it is 12");
	assert_null(tp_block_kind_name(data));

	type.check = refuse_with_words;
	expect_corrupt(tp_block_verify(data, OWN, &type), OWN, "journal: no room");
}

static void a_check_without_a_reason_still_leaves_a_message(void **state)
{
	const struct thinp_block_type type = {
		.size = sizeof(type), .name = "journal", .csum_xor = 1, .address_offset = 8, .check = refuse_silently};
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	tp_block_seal(data, OWN, &type);
	expect_corrupt(tp_block_verify(data, OWN, &type), OWN, "journal: breaks the rules of its kind");
}

static void a_long_name_does_not_push_the_reason_out_of_the_message(void **state)
{
	const struct thinp_block_type type = {
		.size = sizeof(type),
		.name = "index of the index of the index of the index of the index of the index of the index of the "
			"index",
		.csum_xor = 1,
		.address_offset = 8,
	};
	uint8_t data[THINP_BLOCK_SIZE];

	(void)state;
	make_sealed(&kinds[0], data);
	expect_corrupt(tp_block_verify(data, OWN, &type), OWN,
		       "holds a valid thin superblock, expected an index of the index of the index of the i");
	memset(data, 0, sizeof(data));
	tp_block_seal(data, UINT64_MAX, &type);
	expect_corrupt(tp_block_verify(data, OWN, &type), OWN,
		       "index of the index of the index of the i misplaced: the block says it is 18446744073709551615");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_is_what_the_format_says),
		cmocka_unit_test(the_crc_covers_the_whole_block_but_the_checksum),
		cmocka_unit_test(a_sealed_block_holds_its_address_and_passes),
		cmocka_unit_test(sealing_writes_nothing_but_address_and_checksum),
		cmocka_unit_test(success_leaves_the_detail_record_alone),
		cmocka_unit_test(a_block_of_another_kind_is_named),
		cmocka_unit_test(superblocks_of_caches_and_eras_are_named_too),
		cmocka_unit_test(a_block_of_zeros_is_called_one),
		cmocka_unit_test(a_block_with_one_bit_set_is_no_block_of_zeros),
		cmocka_unit_test(a_checksum_that_fits_no_kind_is_shown_with_the_one_wanted),
		cmocka_unit_test(any_flipped_bit_is_noticed),
		cmocka_unit_test(a_block_in_the_wrong_place_says_where_it_belongs),
		cmocka_unit_test(the_reason_of_the_check_is_kept),
		cmocka_unit_test(a_kind_of_the_callers_own_is_protected_like_ours),
		cmocka_unit_test(a_check_without_a_reason_still_leaves_a_message),
		cmocka_unit_test(a_long_name_does_not_push_the_reason_out_of_the_message),
	};

	return cmocka_run_group_tests_name("format/kind", tests, NULL, NULL);
}
