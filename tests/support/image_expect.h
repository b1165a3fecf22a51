/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_expect.h - what a failure must leave behind.
 */
#ifndef TP_TEST_IMAGE_EXPECT_H
#define TP_TEST_IMAGE_EXPECT_H

#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* r is code, the detail record of this thread has it and the block, and its message has the words. */
static inline void expect_failure(int r, int code, uint64_t block, const char *words)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	assert_int_equal(r, code);
	thinp_error_last(&info);
	assert_int_equal(info.code, code);
	if (info.block != block || !strstr(info.message, words))
		fail_msg("block %lld, \"%s\"; expected block %lld and \"%s\"", (long long)info.block, info.message,
			 (long long)block, words);
}

static inline void expect_corrupt(int r, uint64_t block, const char *words)
{
	expect_failure(r, THINP_ECORRUPT, block, words);
}

/* The detail record belongs to the failure that was returned. */
static inline void expect_detail(int r)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	assert_int_equal(info.code, r);
	assert_true(info.message[0] != '\0');
}

/* Successful calls leave the detail record alone: writes one before such calls, and looks for it after them. */
static inline void detail_mark(void)
{
	thinp_error_report(THINP_EFORKED, 4711, "written by the test");
}

static inline void expect_detail_untouched(void)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	assert_int_equal(info.code, THINP_EFORKED);
	assert_int_equal(info.block, 4711);
	assert_string_equal(info.message, "written by the test");
}

#endif
