/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cursors over arrays. Values of 1000 bytes, four to a block.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "format/array_block.h"
#include "support/image_array.h"

#include <thinp/error.h>

#include <string.h>

enum { BIG = 1000, PER_BLOCK = 4, NR = 3 * PER_BLOCK - 1 };

static struct thinp_array_cursor *new_cursor(struct array *array)
{
	struct thinp_array_cursor *cursor;

	assert_int_equal(thinp_array_cursor_create(array->reader.reader, &array->type, array->root, array->nr, &cursor),
			 0);
	return cursor;
}

static void open_array(struct array *array, uint64_t nr)
{
	const struct tree_shape shape = {0};

	array_open(array, &shape, BIG, nr, 4);
}

static void expect_at(struct array *array, const struct thinp_array_cursor *cursor, uint64_t wanted)
{
	uint64_t index = UINT64_MAX;
	uint8_t value[BIG];

	assert_int_equal(thinp_array_cursor_get(cursor, &index, value), 0);
	assert_int_equal(index, wanted);
	assert_memory_equal(value, array->values + wanted * BIG, BIG);
}

static void expect_nowhere(const struct thinp_array_cursor *cursor)
{
	uint64_t index = 77;

	assert_int_equal(thinp_array_cursor_get(cursor, &index, NULL), THINP_ENODATA);
	assert_int_equal(index, 77);
}

static void next_goes_through_all_values(void **state)
{
	struct array array;

	(void)state;
	for (uint64_t nr = 0; nr <= NR; nr++) {
		struct thinp_array_cursor *cursor;

		open_array(&array, nr);
		cursor = new_cursor(&array);
		expect_nowhere(cursor);
		for (uint64_t i = 0; i < nr; i++) {
			assert_int_equal(thinp_array_cursor_next(cursor), 0);
			expect_at(&array, cursor, i);
		}
		assert_int_equal(thinp_array_cursor_next(cursor), THINP_ENODATA);
		assert_int_equal(thinp_array_cursor_next(cursor), THINP_ENODATA);
		expect_nowhere(cursor);
		thinp_array_cursor_destroy(cursor);
		array_close(&array);
	}
}

static void AR_06_skipping_lands_where_it_should_for_all_places_and_distances(void **state)
{
	struct thinp_array_cursor *cursor;
	struct array array;

	(void)state;
	open_array(&array, NR);
	cursor = new_cursor(&array);
	for (uint64_t place = 0; place < NR; place++)
		for (uint64_t distance = 0; distance < NR + 2; distance++) {
			bool is_there = place + distance < NR;

			assert_int_equal(thinp_array_cursor_seek(cursor, place), 0);
			assert_int_equal(thinp_array_cursor_skip(cursor, distance), is_there ? 0 : THINP_ENODATA);
			if (is_there)
				expect_at(&array, cursor, place + distance);
			else
				expect_nowhere(cursor);
		}
	for (uint64_t distance = UINT64_MAX - 3; distance >= UINT64_MAX - 3; distance++) {
		assert_int_equal(thinp_array_cursor_seek(cursor, 5), 0);
		assert_int_equal(thinp_array_cursor_skip(cursor, distance), THINP_ENODATA);
		if (distance == UINT64_MAX)
			break;
	}
	thinp_array_cursor_destroy(cursor);
	array_close(&array);
}

static void AR_06_skipping_from_nowhere_counts_from_before_the_first_value(void **state)
{
	struct array array;

	(void)state;
	open_array(&array, NR);
	for (uint64_t distance = 0; distance < NR + 2; distance++) {
		struct thinp_array_cursor *cursor = new_cursor(&array);
		bool is_there = distance >= 1 && distance <= NR;

		assert_int_equal(thinp_array_cursor_skip(cursor, distance), is_there ? 0 : THINP_ENODATA);
		if (is_there)
			expect_at(&array, cursor, distance - 1);
		thinp_array_cursor_destroy(cursor);
	}
	array_close(&array);
}

static void expect_stops_at(struct array *array, uint64_t first_bad, int code)
{
	struct thinp_array_cursor *cursor = new_cursor(array);

	for (uint64_t i = 0; i < first_bad; i++)
		assert_int_equal(thinp_array_cursor_next(cursor), 0);
	assert_int_equal(thinp_array_cursor_next(cursor), code);
	expect_nowhere(cursor);
	assert_int_equal(thinp_array_cursor_seek(cursor, first_bad), code);
	expect_nowhere(cursor);
	thinp_array_cursor_destroy(cursor);
}

/* array_close() fails when a buffer is pinned or memory is left. */
static void AR_04_a_cursor_that_meets_a_damaged_block_can_be_ended(void **state)
{
	(void)state;
	for (uint32_t number = 0; number < 3; number++) {
		struct array array;

		open_array(&array, NR);
		image_flip(&array.image, array_block(&array, number), 3000);
		expect_stops_at(&array, number * (uint64_t)PER_BLOCK, THINP_ECORRUPT);
		array_close(&array);
	}
}

static void AR_05_a_cursor_that_meets_a_damaged_tree_can_be_ended(void **state)
{
	struct array array;

	(void)state;
	open_array(&array, NR);
	image_flip(&array.image, array.root, 3000);
	expect_stops_at(&array, 0, THINP_ECORRUPT);
	array_close(&array);
}

static void AR_07_a_header_that_is_wrong_is_not_believed(void **state)
{
	const struct {
		size_t offset;
		uint32_t value;
	} bad[] = {{ARRAY_MAX_ENTRIES, PER_BLOCK + 1},
		   {ARRAY_NR_ENTRIES, PER_BLOCK + 1},
		   {ARRAY_NR_ENTRIES, 0},
		   {ARRAY_VALUE_SIZE, 500},
		   {ARRAY_ADDRESS, 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct array array;

		open_array(&array, NR);
		image_set32(&array.image, array_block(&array, 1), bad[i].offset, bad[i].value);
		expect_stops_at(&array, PER_BLOCK, THINP_ECORRUPT);
		array_close(&array);
	}
}

static void AR_05_reads_that_fail_leave_a_cursor_that_can_go_on(void **state)
{
	struct thinp_array_cursor *cursor;
	struct array array;

	(void)state;
	open_array(&array, NR);
	for (uint64_t n = 1; n <= 2; n++) {
		array_reopen(&array, 4);
		cursor = new_cursor(&array);
		image_fail_reads(&array.image, n, n);
		assert_int_equal(thinp_array_cursor_next(cursor), THINP_EIO);
		image_fail_no_reads(&array.image);
		expect_nowhere(cursor);
		assert_int_equal(thinp_array_cursor_next(cursor), 0);
		expect_at(&array, cursor, 0);
		thinp_array_cursor_destroy(cursor);
	}
	array_close(&array);
}

static void a_length_that_the_array_does_not_have_is_damage(void **state)
{
	struct array array;

	(void)state;
	open_array(&array, NR);
	array.nr = NR + 1;
	expect_stops_at(&array, NR, THINP_ECORRUPT);
	array.nr = NR + 1 + PER_BLOCK;
	expect_stops_at(&array, NR, THINP_ECORRUPT);
	array.nr = NR;
	array_close(&array);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(next_goes_through_all_values),
		cmocka_unit_test(AR_06_skipping_lands_where_it_should_for_all_places_and_distances),
		cmocka_unit_test(AR_06_skipping_from_nowhere_counts_from_before_the_first_value),
		cmocka_unit_test(AR_04_a_cursor_that_meets_a_damaged_block_can_be_ended),
		cmocka_unit_test(AR_05_a_cursor_that_meets_a_damaged_tree_can_be_ended),
		cmocka_unit_test(AR_07_a_header_that_is_wrong_is_not_believed),
		cmocka_unit_test(AR_05_reads_that_fail_leave_a_cursor_that_can_go_on),
		cmocka_unit_test(a_length_that_the_array_does_not_have_is_damage),
	};

	return cmocka_run_group_tests_name("array/cursor", tests, NULL, NULL);
}
