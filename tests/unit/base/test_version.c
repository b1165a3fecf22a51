/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <thinp/version.h>

static void the_running_version_is_that_of_the_header(void **state)
{
	char expected[32];

	(void)state;
	snprintf(expected, sizeof(expected), "%d.%d.%d", THINP_VERSION_MAJOR, THINP_VERSION_MINOR, THINP_VERSION_PATCH);
	assert_string_equal(thinp_version(), expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_running_version_is_that_of_the_header),
	};

	return cmocka_run_group_tests_name("base/version", tests, NULL, NULL);
}
