/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/format/expect.h - what a refusal must leave behind.
 */
#ifndef UNIT_FORMAT_EXPECT_H
#define UNIT_FORMAT_EXPECT_H

#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

/* r is code, and the detail record of this thread has it, the block and exactly this message. */
static inline void expect_failure(int r, int code, uint64_t block, const char *message)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	assert_int_equal(r, code);
	thinp_error_last(&info);
	assert_int_equal(info.code, code);
	assert_int_equal(info.block, block);
	assert_string_equal(info.message, message);
}

static inline void expect_corrupt(int r, uint64_t block, const char *message)
{
	expect_failure(r, THINP_ECORRUPT, block, message);
}

#endif
