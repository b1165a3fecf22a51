/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "base/error.h"

/* All codes, so that one without its texts is noticed. A switch without default makes the compiler name a new one. */
static const int codes[] = {
	THINP_ENOMEM,    THINP_EIO,          THINP_ENOSPC,      THINP_ECORRUPT,    THINP_EINVAL,    THINP_ENOTSUP,
	THINP_EBUSY,     THINP_ENODATA,      THINP_ENOENT,      THINP_EACCES,      THINP_EROFS,     THINP_ERANGE,
	THINP_ECANCELED, THINP_EUNFORMATTED, THINP_EFORKED,     THINP_EUNKNOWN,    THINP_EREFCOUNT, THINP_EMUSTABORT,
	THINP_ESTALE,    THINP_EEXIST,       THINP_ENEEDSCHECK, THINP_EWOULDBLOCK,
};
#define NR_CODES (sizeof(codes) / sizeof(codes[0]))

static const char *spelled(enum thinp_err code)
{
#define SPELL(code)                                                                                                    \
	case code:                                                                                                     \
		return #code
	switch (code) {
		SPELL(THINP_OK);
		SPELL(THINP_ENOMEM);
		SPELL(THINP_EIO);
		SPELL(THINP_ENOSPC);
		SPELL(THINP_ECORRUPT);
		SPELL(THINP_EINVAL);
		SPELL(THINP_ENOTSUP);
		SPELL(THINP_EBUSY);
		SPELL(THINP_ENODATA);
		SPELL(THINP_ENOENT);
		SPELL(THINP_EACCES);
		SPELL(THINP_EROFS);
		SPELL(THINP_ERANGE);
		SPELL(THINP_ECANCELED);
		SPELL(THINP_EUNFORMATTED);
		SPELL(THINP_EFORKED);
		SPELL(THINP_EUNKNOWN);
		SPELL(THINP_EREFCOUNT);
		SPELL(THINP_EMUSTABORT);
		SPELL(THINP_ESTALE);
		SPELL(THINP_EEXIST);
		SPELL(THINP_ENEEDSCHECK);
		SPELL(THINP_EWOULDBLOCK);
	}
#undef SPELL
	return NULL;
}

static struct thinp_error_info last_error(void)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	return info;
}

static void the_codes_are_the_published_numbers_without_a_gap(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_CODES; i++)
		assert_int_equal(codes[i], -10001 - (int)i);
	assert_int_equal(THINP_OK, 0);
}

static void every_code_has_its_own_name(void **state)
{
	(void)state;
	assert_string_equal(thinp_err_name(THINP_OK), "THINP_OK");
	for (size_t i = 0; i < NR_CODES; i++)
		assert_string_equal(thinp_err_name(codes[i]), spelled((enum thinp_err)codes[i]));
}

static void every_code_has_a_text_of_its_own(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_CODES; i++) {
		assert_true(strlen(thinp_strerror(codes[i])) > 0);
		assert_string_not_equal(thinp_strerror(codes[i]), thinp_strerror(1));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(thinp_strerror(codes[i]), thinp_strerror(codes[j]));
	}
}

static void every_code_has_an_errno(void **state)
{
	(void)state;
	assert_int_equal(thinp_err_to_errno(THINP_OK), 0);
	for (size_t i = 0; i < NR_CODES; i++)
		assert_true(thinp_err_to_errno(codes[i]) > 0);
	assert_int_equal(thinp_err_to_errno(THINP_ECORRUPT), EILSEQ);
	assert_int_equal(thinp_err_to_errno(THINP_ENOSPC), ENOSPC);
}

static void a_number_that_is_no_code_is_named_as_such(void **state)
{
	const int numbers[] = {1, -1, -EIO, -10000, -10099, INT32_MAX, INT32_MIN};

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		assert_string_equal(thinp_err_name(numbers[i]), "THINP_E?");
		assert_string_equal(thinp_strerror(numbers[i]), "unknown error code");
		assert_int_equal(thinp_err_to_errno(numbers[i]), EINVAL);
	}
}

/* For what only this library can find out; no system call has ever failed of them. */
static const int our_own[] = {
	THINP_EUNFORMATTED, THINP_EFORKED, THINP_EUNKNOWN,    THINP_EREFCOUNT,   THINP_EMUSTABORT,
	THINP_ESTALE,       THINP_EEXIST,  THINP_ENEEDSCHECK, THINP_EWOULDBLOCK,
};

static bool is_our_own(int code)
{
	for (size_t i = 0; i < sizeof(our_own) / sizeof(our_own[0]); i++)
		if (our_own[i] == code)
			return true;
	return false;
}

static void a_code_comes_back_from_its_errno(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_CODES; i++)
		if (!is_our_own(codes[i]))
			assert_int_equal(tp_err_from_errno(thinp_err_to_errno(codes[i])), codes[i]);
}

static void no_errno_becomes_a_code_of_our_own(void **state)
{
	(void)state;
	for (int e = 1; e < 4096; e++)
		assert_false(is_our_own(tp_err_from_errno(e)));
}

static void errnos_of_the_same_meaning_share_a_code(void **state)
{
	(void)state;
	assert_int_equal(tp_err_from_errno(EAGAIN), THINP_EBUSY);
	assert_int_equal(tp_err_from_errno(EWOULDBLOCK), THINP_EBUSY);
	assert_int_equal(tp_err_from_errno(EDQUOT), THINP_ENOSPC);
	assert_int_equal(tp_err_from_errno(EFBIG), THINP_ENOSPC);
	assert_int_equal(tp_err_from_errno(ENOTDIR), THINP_ENOENT);
	assert_int_equal(tp_err_from_errno(ENXIO), THINP_ENOENT);
	assert_int_equal(tp_err_from_errno(ENODEV), THINP_ENOENT);
	assert_int_equal(tp_err_from_errno(EOPNOTSUPP), THINP_ENOTSUP);
	assert_int_equal(tp_err_from_errno(ENOSYS), THINP_ENOTSUP);
	assert_int_equal(tp_err_from_errno(EPERM), THINP_EACCES);
}

static void any_other_errno_is_an_input_output_error(void **state)
{
	(void)state;
	assert_int_equal(tp_err_from_errno(EPIPE), THINP_EIO);
	assert_int_equal(tp_err_from_errno(ESTALE), THINP_EIO);
	assert_int_equal(tp_err_from_errno(4095), THINP_EIO);
}

static void a_failure_leaves_code_block_and_sentence(void **state)
{
	struct thinp_error_info info;

	(void)state;
	assert_int_equal(tp_fail(THINP_ECORRUPT, 7, "%d entries, but room for %d", 253, 252), THINP_ECORRUPT);
	info = last_error();
	assert_int_equal(info.code, THINP_ECORRUPT);
	assert_int_equal(info.os_errno, 0);
	assert_int_equal(info.block, 7);
	assert_string_equal(info.message, "253 entries, but room for 252");
}

static void a_failure_of_the_system_adds_its_errno_and_text(void **state)
{
	struct thinp_error_info info;
	char expected[168];

	(void)state;
	assert_int_equal(tp_fail_os(EDQUOT, THINP_NO_BLOCK, "cannot grow %s", "meta.img"), THINP_ENOSPC);
	info = last_error();
	snprintf(expected, sizeof(expected), "cannot grow meta.img: %s", strerror(EDQUOT));
	assert_int_equal(info.code, THINP_ENOSPC);
	assert_int_equal(info.os_errno, EDQUOT);
	assert_int_equal(info.block, THINP_NO_BLOCK);
	assert_string_equal(info.message, expected);
}

static void the_errno_of_an_earlier_failure_does_not_stay(void **state)
{
	(void)state;
	tp_fail_os(EIO, 3, "cannot read");
	tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "no such flag");
	assert_int_equal(last_error().os_errno, 0);
	assert_int_equal(last_error().block, THINP_NO_BLOCK);
}

static void a_callback_reports_with_its_own_words(void **state)
{
	(void)state;
	assert_int_equal(thinp_error_report(THINP_ECORRUPT, 9, "100% wrong: %s"), THINP_ECORRUPT);
	assert_int_equal(last_error().code, THINP_ECORRUPT);
	assert_int_equal(last_error().block, 9);
	assert_string_equal(last_error().message, "100% wrong: %s");
}

static void a_long_sentence_is_cut_and_ended(void **state)
{
	char words[400];
	struct thinp_error_info info;

	(void)state;
	memset(words, 'x', sizeof(words));
	words[sizeof(words) - 1] = '\0';
	thinp_error_report(THINP_EIO, THINP_NO_BLOCK, words);
	info = last_error();
	assert_int_equal(strlen(info.message), sizeof(info.message) - 1);
	tp_fail_os(EIO, THINP_NO_BLOCK, "%s", words);
	info = last_error();
	assert_int_equal(strlen(info.message), sizeof(info.message) - 1);
}

static void the_text_of_the_system_is_cut_where_the_record_ends(void **state)
{
	struct thinp_error_info info;

	(void)state;
	tp_fail_os(EIO, THINP_NO_BLOCK, "%0160d", 0);
	info = last_error();
	assert_int_equal(strlen(info.message), sizeof(info.message) - 1);
	assert_memory_equal(info.message + 160, ": Input", 7);
}

static void an_older_caller_gets_the_fields_it_knows(void **state)
{
	struct {
		size_t size;
		int32_t code;
		int32_t os_errno;
		uint64_t behind;
	} info = {.size = 16, .behind = 5};

	(void)state;
	tp_fail(THINP_ENODATA, 11, "no such key");
	thinp_error_last((struct thinp_error_info *)(void *)&info);
	assert_int_equal(info.size, 16);
	assert_int_equal(info.code, THINP_ENODATA);
	assert_int_equal(info.behind, 5);
}

static void *fail_elsewhere(void *result)
{
	struct thinp_error_info *infos = result;

	infos[0] = last_error();
	tp_fail(THINP_EIO, 2, "there");
	infos[1] = last_error();
	return NULL;
}

static void each_thread_has_its_own_record(void **state)
{
	struct thinp_error_info infos[2];
	pthread_t thread;

	(void)state;
	tp_fail(THINP_EBUSY, 1, "here");
	assert_int_equal(pthread_create(&thread, NULL, fail_elsewhere, infos), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);

	assert_int_equal(infos[0].code, 0);
	assert_int_equal(infos[0].block, THINP_NO_BLOCK);
	assert_string_equal(infos[0].message, "");
	assert_string_equal(infos[1].message, "there");
	assert_int_equal(last_error().code, THINP_EBUSY);
	assert_int_equal(last_error().block, 1);
	assert_string_equal(last_error().message, "here");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_codes_are_the_published_numbers_without_a_gap),
		cmocka_unit_test(every_code_has_its_own_name),
		cmocka_unit_test(every_code_has_a_text_of_its_own),
		cmocka_unit_test(every_code_has_an_errno),
		cmocka_unit_test(a_number_that_is_no_code_is_named_as_such),
		cmocka_unit_test(a_code_comes_back_from_its_errno),
		cmocka_unit_test(no_errno_becomes_a_code_of_our_own),
		cmocka_unit_test(errnos_of_the_same_meaning_share_a_code),
		cmocka_unit_test(any_other_errno_is_an_input_output_error),
		cmocka_unit_test(a_failure_leaves_code_block_and_sentence),
		cmocka_unit_test(a_failure_of_the_system_adds_its_errno_and_text),
		cmocka_unit_test(the_errno_of_an_earlier_failure_does_not_stay),
		cmocka_unit_test(a_callback_reports_with_its_own_words),
		cmocka_unit_test(a_long_sentence_is_cut_and_ended),
		cmocka_unit_test(the_text_of_the_system_is_cut_where_the_record_ends),
		cmocka_unit_test(an_older_caller_gets_the_fields_it_knows),
		cmocka_unit_test(each_thread_has_its_own_record),
	};

	return cmocka_run_group_tests_name("base/error", tests, NULL, NULL);
}
