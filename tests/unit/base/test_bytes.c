/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

#define MAX_OFFSET 16

/* The bytes 01 02 .. 08 at each offset of a buffer that is aligned itself. */
static const uint8_t row[8] = {1, 2, 3, 4, 5, 6, 7, 8};

static void loading_takes_the_lowest_byte_first_at_any_alignment(void **state)
{
	_Alignas(MAX_OFFSET) uint8_t buffer[MAX_OFFSET + sizeof(row)];

	(void)state;
	for (size_t offset = 0; offset < MAX_OFFSET; offset++) {
		memset(buffer, 0xee, sizeof(buffer));
		memcpy(buffer + offset, row, sizeof(row));
		assert_int_equal(tp_load_le16(buffer + offset), 0x0201);
		assert_int_equal(tp_load_le32(buffer + offset), 0x04030201);
		assert_int_equal(tp_load_le64(buffer + offset), 0x0807060504030201);
	}
}

/* What a store of nbytes must have left of a buffer of 0xee. */
static void assert_only_row_stored(const uint8_t *buffer, size_t offset, size_t nbytes)
{
	uint8_t expected[MAX_OFFSET + sizeof(row)];

	memset(expected, 0xee, sizeof(expected));
	memcpy(expected + offset, row, nbytes);
	assert_memory_equal(buffer, expected, sizeof(expected));
}

static void storing_puts_the_lowest_byte_first_and_touches_nothing_else(void **state)
{
	_Alignas(MAX_OFFSET) uint8_t buffer[MAX_OFFSET + sizeof(row)];

	(void)state;
	for (size_t offset = 0; offset < MAX_OFFSET; offset++) {
		memset(buffer, 0xee, sizeof(buffer));
		tp_store_le16(buffer + offset, 0x0201);
		assert_only_row_stored(buffer, offset, 2);
		tp_store_le32(buffer + offset, 0x04030201);
		assert_only_row_stored(buffer, offset, 4);
		tp_store_le64(buffer + offset, 0x0807060504030201);
		assert_only_row_stored(buffer, offset, 8);
	}
}

static void each_single_bit_comes_back_from_its_place(void **state)
{
	uint8_t bytes[8];

	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		uint8_t expected[8] = {0};

		expected[bit / 8] = (uint8_t)(1u << bit % 8);
		tp_store_le64(bytes, (uint64_t)1 << bit);
		assert_memory_equal(bytes, expected, sizeof(bytes));
		assert_int_equal(tp_load_le64(bytes), (uint64_t)1 << bit);
		assert_int_equal(tp_load_le32(bytes), (uint32_t)((uint64_t)1 << bit));
		assert_int_equal(tp_load_le16(bytes), (uint16_t)((uint64_t)1 << bit));
	}
}

static void numbers_with_all_bits_set_keep_their_size(void **state)
{
	uint8_t bytes[8];

	(void)state;
	tp_store_le64(bytes, UINT64_MAX);
	assert_int_equal(tp_load_le64(bytes), UINT64_MAX);
	assert_int_equal(tp_load_le32(bytes), UINT32_MAX);
	assert_int_equal(tp_load_le16(bytes), UINT16_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loading_takes_the_lowest_byte_first_at_any_alignment),
		cmocka_unit_test(storing_puts_the_lowest_byte_first_and_touches_nothing_else),
		cmocka_unit_test(each_single_bit_comes_back_from_its_place),
		cmocka_unit_test(numbers_with_all_bits_set_keep_their_size),
	};

	return cmocka_run_group_tests_name("base/bytes", tests, NULL, NULL);
}
