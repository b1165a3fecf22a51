/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/opts.h"

/* One struct as two releases knew it. */
struct old_opts {
	size_t size;
	uint32_t flags;
	uint32_t cache_blocks;
};

struct new_opts {
	size_t size;
	uint32_t flags;
	uint32_t cache_blocks;
	uint64_t limit;
};

static void the_same_version_is_copied(void **state)
{
	const struct new_opts src = {.size = sizeof(src), .flags = 1, .cache_blocks = 2, .limit = 3};
	struct new_opts dst;

	(void)state;
	assert_int_equal(tp_opts_take(&dst, sizeof(dst), &src), 0);
	assert_memory_equal(&dst, &src, sizeof(dst));
}

static void what_an_older_caller_does_not_know_is_zero(void **state)
{
	const struct old_opts src = {.size = sizeof(src), .flags = 1, .cache_blocks = 2};
	struct new_opts dst;

	(void)state;
	memset(&dst, 0xee, sizeof(dst));
	assert_int_equal(tp_opts_take(&dst, sizeof(dst), &src), 0);
	assert_int_equal(dst.size, sizeof(dst));
	assert_int_equal(dst.flags, 1);
	assert_int_equal(dst.cache_blocks, 2);
	assert_int_equal(dst.limit, 0);
}

static void a_newer_caller_is_taken_when_what_is_unknown_is_zero(void **state)
{
	const struct new_opts src = {.size = sizeof(src), .flags = 1, .cache_blocks = 2};
	struct old_opts dst;

	(void)state;
	assert_int_equal(tp_opts_take(&dst, sizeof(dst), &src), 0);
	assert_int_equal(dst.size, sizeof(dst));
	assert_int_equal(dst.flags, 1);
	assert_int_equal(dst.cache_blocks, 2);
}

static void a_newer_caller_is_refused_when_it_asks_for_the_unknown(void **state)
{
	const struct new_opts src = {.size = sizeof(src), .limit = (uint64_t)1 << 63};
	struct old_opts dst, before;

	(void)state;
	memset(&dst, 0xee, sizeof(dst));
	before = dst;
	assert_int_equal(tp_opts_take(&dst, sizeof(dst), &src), THINP_ENOTSUP);
	assert_memory_equal(&dst, &before, sizeof(dst));
}

static void no_struct_means_all_defaults(void **state)
{
	const struct new_opts expected = {.size = sizeof(expected)};
	struct new_opts dst;

	(void)state;
	memset(&dst, 0xee, sizeof(dst));
	assert_int_equal(tp_opts_take(&dst, sizeof(dst), NULL), 0);
	assert_memory_equal(&dst, &expected, sizeof(dst));
}

static void a_struct_without_its_size_is_refused(void **state)
{
	struct new_opts src = {.flags = 1};
	struct new_opts dst, before;

	(void)state;
	memset(&dst, 0xee, sizeof(dst));
	before = dst;
	for (src.size = 0; src.size < sizeof(size_t); src.size++)
		assert_int_equal(tp_opts_take(&dst, sizeof(dst), &src), THINP_EINVAL);
	assert_memory_equal(&dst, &before, sizeof(dst));
}

static void a_struct_of_nothing_but_its_size_means_all_defaults(void **state)
{
	const size_t src = sizeof(src);
	const struct new_opts expected = {.size = sizeof(expected)};
	struct new_opts dst;

	(void)state;
	memset(&dst, 0xee, sizeof(dst));
	assert_int_equal(tp_opts_take(&dst, sizeof(dst), &src), 0);
	assert_memory_equal(&dst, &expected, sizeof(dst));
}

static void a_result_of_the_same_version_is_copied_but_for_the_size_field(void **state)
{
	const struct new_opts src = {.size = 0, .flags = 1, .cache_blocks = 2, .limit = 3};
	const struct new_opts expected = {.size = sizeof(expected), .flags = 1, .cache_blocks = 2, .limit = 3};
	struct new_opts dst = {.size = sizeof(dst)};

	(void)state;
	tp_result_give(&dst, &src, sizeof(src));
	assert_memory_equal(&dst, &expected, sizeof(dst));
}

static void an_older_caller_gets_what_it_has_room_for(void **state)
{
	const struct new_opts src = {.size = sizeof(src), .flags = 1, .cache_blocks = 2, .limit = 3};
	struct {
		struct old_opts opts;
		uint64_t behind;
	} dst = {.opts.size = sizeof(dst.opts), .behind = 7};

	(void)state;
	tp_result_give(&dst.opts, &src, sizeof(src));
	assert_int_equal(dst.opts.size, sizeof(dst.opts));
	assert_int_equal(dst.opts.flags, 1);
	assert_int_equal(dst.opts.cache_blocks, 2);
	assert_int_equal(dst.behind, 7);
}

static void a_newer_caller_gets_zero_for_what_the_library_lacks(void **state)
{
	const struct old_opts src = {.size = sizeof(src), .flags = 1, .cache_blocks = 2};
	const struct new_opts expected = {.size = sizeof(expected), .flags = 1, .cache_blocks = 2};
	struct new_opts dst;

	(void)state;
	memset(&dst, 0xee, sizeof(dst));
	dst.size = sizeof(dst);
	tp_result_give(&dst, &src, sizeof(src));
	assert_memory_equal(&dst, &expected, sizeof(dst));
}

static void a_caller_without_its_size_gets_nothing(void **state)
{
	const struct old_opts src = {.size = sizeof(src), .flags = 1, .cache_blocks = 2};
	struct old_opts dst = {.size = 0, .flags = 8, .cache_blocks = 9};

	(void)state;
	tp_result_give(&dst, &src, sizeof(src));
	assert_int_equal(dst.size, 0);
	assert_int_equal(dst.flags, 8);
	assert_int_equal(dst.cache_blocks, 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_version_is_copied),
		cmocka_unit_test(what_an_older_caller_does_not_know_is_zero),
		cmocka_unit_test(a_newer_caller_is_taken_when_what_is_unknown_is_zero),
		cmocka_unit_test(a_newer_caller_is_refused_when_it_asks_for_the_unknown),
		cmocka_unit_test(no_struct_means_all_defaults),
		cmocka_unit_test(a_struct_without_its_size_is_refused),
		cmocka_unit_test(a_struct_of_nothing_but_its_size_means_all_defaults),
		cmocka_unit_test(a_result_of_the_same_version_is_copied_but_for_the_size_field),
		cmocka_unit_test(an_older_caller_gets_what_it_has_room_for),
		cmocka_unit_test(a_newer_caller_gets_zero_for_what_the_library_lacks),
		cmocka_unit_test(a_caller_without_its_size_gets_nothing),
	};

	return cmocka_run_group_tests_name("base/opts", tests, NULL, NULL);
}
