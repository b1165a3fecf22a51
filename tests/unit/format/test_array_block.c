/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/array_block.h"
#include "unit/format/expect.h"

#define READ_FROM 31
#define SAYS      32

struct block {
	uint8_t data[THINP_BLOCK_SIZE];
};

static struct block make_block(uint32_t nr_entries, uint32_t max_entries, uint32_t value_size)
{
	const struct tp_array_header header = {
		.max_entries = max_entries,
		.nr_entries = nr_entries,
		.value_size = value_size,
		.block = SAYS,
	};
	struct block block = {{0}};

	tp_array_block_pack(&header, block.data);
	return block;
}

static void expect_refused(const struct block *block, const char *message)
{
	struct tp_array_header header, untouched;

	memset(&header, 0xee, sizeof(header));
	untouched = header;
	expect_corrupt(tp_array_block_check(block->data, READ_FROM), READ_FROM, message);
	expect_corrupt(tp_array_block_unpack(block->data, &header), SAYS, message);
	assert_memory_equal(&header, &untouched, sizeof(header));
}

static void capacities_are_those_of_the_format(void **state)
{
	(void)state;
	assert_int_equal(tp_array_max_entries(8), 509);
	assert_int_equal(tp_array_max_entries(4), 1018);
}

static void a_capacity_is_the_greatest_that_fits_for_every_value_size(void **state)
{
	(void)state;
	for (uint32_t value_size = 1; value_size <= 4072; value_size++) {
		uint32_t max_entries = tp_array_max_entries(value_size);

		assert_true(max_entries > 0);
		assert_true(TP_ARRAY_HEADER_SIZE + max_entries * value_size <= THINP_BLOCK_SIZE);
		assert_true(TP_ARRAY_HEADER_SIZE + (max_entries + 1) * value_size > THINP_BLOCK_SIZE);
	}
}

static void values_of_no_bytes_or_too_many_have_no_capacity(void **state)
{
	(void)state;
	assert_int_equal(tp_array_max_entries(0), 0);
	assert_int_equal(tp_array_max_entries(4073), 0);
	assert_int_equal(tp_array_max_entries(UINT32_MAX), 0);
}

static void a_header_comes_back_as_it_was_packed(void **state)
{
	struct block block = make_block(100, 509, 8);
	struct tp_array_header out;

	(void)state;
	assert_int_equal(tp_array_block_unpack(block.data, &out), 0);
	assert_int_equal(out.max_entries, 509);
	assert_int_equal(out.nr_entries, 100);
	assert_int_equal(out.value_size, 8);
	assert_int_equal(out.block, SAYS);
}

static void each_field_has_its_place_and_the_rest_of_the_block_is_left_alone(void **state)
{
	const struct tp_array_header header = {
		.max_entries = 0x11121314,
		.nr_entries = 0x21222324,
		.value_size = 0x31323334,
		.block = 0x0102030405060708,
	};
	const uint8_t expected[TP_ARRAY_HEADER_SIZE] = {
		0xee, 0xee, 0xee, 0xee, 0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21,
		0x34, 0x33, 0x32, 0x31, 8,    7,    6,    5,    4,    3,    2,    1,
	};
	uint8_t data[THINP_BLOCK_SIZE], rest[THINP_BLOCK_SIZE];

	(void)state;
	memset(data, 0xee, sizeof(data));
	memset(rest, 0xee, sizeof(rest));
	tp_array_block_pack(&header, data);
	assert_memory_equal(data, expected, sizeof(expected));
	assert_memory_equal(data + sizeof(expected), rest, sizeof(rest) - sizeof(expected));
}

static void empty_and_full_blocks_are_taken_for_every_value_size(void **state)
{
	(void)state;
	for (uint32_t value_size = 1; value_size <= 4072; value_size++) {
		uint32_t max_entries = tp_array_max_entries(value_size);
		struct block empty = make_block(0, max_entries, value_size);
		struct block full = make_block(max_entries, max_entries, value_size);

		assert_int_equal(tp_array_block_check(empty.data, READ_FROM), 0);
		assert_int_equal(tp_array_block_check(full.data, READ_FROM), 0);
	}
}

static void values_of_no_bytes_are_refused(void **state)
{
	struct block block = make_block(0, 0, 0);

	(void)state;
	expect_refused(&block, "array block: values of 0 bytes are not possible");
}

static void values_larger_than_a_block_are_refused(void **state)
{
	struct block block = make_block(0, 0, 4073);

	(void)state;
	expect_refused(&block, "array block: values of 4073 bytes are not possible");
}

static void any_capacity_but_that_of_the_value_size_is_refused(void **state)
{
	struct block smaller = make_block(0, 508, 8);
	struct block larger = make_block(0, 510, 8);

	(void)state;
	expect_refused(&smaller, "array block: says it has room for 508 values of 8 bytes, but 509 fit");
	expect_refused(&larger, "array block: says it has room for 510 values of 8 bytes, but 509 fit");
}

static void more_entries_than_room_are_refused(void **state)
{
	struct block block = make_block(510, 509, 8);

	(void)state;
	expect_refused(&block, "array block: 510 entries, but room for 509");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capacities_are_those_of_the_format),
		cmocka_unit_test(a_capacity_is_the_greatest_that_fits_for_every_value_size),
		cmocka_unit_test(values_of_no_bytes_or_too_many_have_no_capacity),
		cmocka_unit_test(a_header_comes_back_as_it_was_packed),
		cmocka_unit_test(each_field_has_its_place_and_the_rest_of_the_block_is_left_alone),
		cmocka_unit_test(empty_and_full_blocks_are_taken_for_every_value_size),
		cmocka_unit_test(values_of_no_bytes_are_refused),
		cmocka_unit_test(values_larger_than_a_block_are_refused),
		cmocka_unit_test(any_capacity_but_that_of_the_value_size_is_refused),
		cmocka_unit_test(more_entries_than_room_are_refused),
	};

	return cmocka_run_group_tests_name("format/array_block", tests, NULL, NULL);
}
