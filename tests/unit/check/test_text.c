/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Numbers in decimal.
 */
#include "check/text.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "unit/base/random.h"

static void expect_number(uint64_t number)
{
	char expected[32], written[32];
	char *end;

	snprintf(expected, sizeof(expected), "%" PRIu64, number);
	memset(written, '#', sizeof(written));
	end = tp_put_number(written, number);
	assert_int_equal(end - written, strlen(expected));
	assert_int_equal(*end, '#');
	*end = '\0';
	assert_string_equal(written, expected);
}

static void every_number_of_up_to_five_digits_is_written(void **state)
{
	(void)state;
	for (uint64_t number = 0; number < 100000; number++)
		expect_number(number);
}

static void numbers_about_the_powers_of_ten_and_two_are_written(void **state)
{
	(void)state;
	for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10)
		for (uint64_t d = 0; d < 3; d++)
			expect_number(power * 10 + d - 1);
	for (unsigned int bit = 0; bit < 64; bit++)
		for (uint64_t d = 0; d < 3; d++)
			expect_number((UINT64_C(1) << bit) + d - 1);
	expect_number(UINT64_MAX);
}

static void random_numbers_are_written(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (int i = 0; i < 20000; i++)
		expect_number(random_next(&rng) >> random_next(&rng) % 64);
}

static void strings_are_written_without_their_end(void **state)
{
	char written[8] = "#######";

	(void)state;
	assert_ptr_equal(tp_put_string(written, "ab"), written + 2);
	assert_ptr_equal(tp_put_string(written + 2, ""), written + 2);
	assert_ptr_equal(tp_put_literal(written + 2, "cd"), written + 4);
	assert_string_equal(written, "abcd###");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_number_of_up_to_five_digits_is_written),
		cmocka_unit_test(numbers_about_the_powers_of_ten_and_two_are_written),
		cmocka_unit_test(random_numbers_are_written),
		cmocka_unit_test(strings_are_written_without_their_end),
	};

	return cmocka_run_group_tests_name("check/text", tests, NULL, NULL);
}
