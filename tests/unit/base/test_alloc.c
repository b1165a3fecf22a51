/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/error.h"

/* An allocator that hands out one buffer full of rubbish, or nothing, and remembers what it was asked. */
struct spy {
	_Alignas(max_align_t) uint8_t buffer[64];
	bool is_empty;
	size_t nr_allocs;
	size_t nr_frees;
	size_t nbytes;
	size_t align;
	void *freed;
	size_t freed_nbytes;
};

static void *spy_alloc(void *ctx, size_t nbytes, size_t align)
{
	struct spy *spy = ctx;

	spy->nr_allocs++;
	spy->nbytes = nbytes;
	spy->align = align;
	memset(spy->buffer, 0xee, sizeof(spy->buffer));
	return spy->is_empty || nbytes > sizeof(spy->buffer) ? NULL : spy->buffer;
}

static void spy_free(void *ctx, void *ptr, size_t nbytes)
{
	struct spy *spy = ctx;

	spy->nr_frees++;
	spy->freed = ptr;
	spy->freed_nbytes = nbytes;
}

static struct thinp_allocator spying(struct spy *spy)
{
	return (struct thinp_allocator){
		.size = sizeof(struct thinp_allocator), .ctx = spy, .alloc = spy_alloc, .free = spy_free};
}

static void assert_last_code(int code)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	assert_int_equal(info.code, code);
}

static void no_table_means_libc(void **state)
{
	struct thinp_allocator taken;

	(void)state;
	assert_int_equal(tp_allocator_take(&taken, NULL), 0);
	assert_memory_equal(&taken, &tp_libc_allocator, sizeof(taken));
}

static void a_table_of_the_caller_is_copied(void **state)
{
	struct spy spy = {.nr_allocs = 0};
	struct thinp_allocator given = spying(&spy);
	struct thinp_allocator taken;

	(void)state;
	assert_int_equal(tp_allocator_take(&taken, &given), 0);
	assert_memory_equal(&taken, &given, sizeof(taken));
}

static void a_table_without_one_of_its_functions_is_refused(void **state)
{
	struct thinp_allocator no_alloc = tp_libc_allocator, no_free = tp_libc_allocator, short_one = tp_libc_allocator;
	struct thinp_allocator taken;

	(void)state;
	no_alloc.alloc = NULL;
	no_free.free = NULL;
	short_one.size = offsetof(struct thinp_allocator, free);
	assert_int_equal(tp_allocator_take(&taken, &no_alloc), THINP_EINVAL);
	assert_int_equal(tp_allocator_take(&taken, &no_free), THINP_EINVAL);
	assert_int_equal(tp_allocator_take(&taken, &short_one), THINP_EINVAL);
}

static void a_table_that_asks_for_something_newer_is_refused(void **state)
{
	struct {
		struct thinp_allocator known;
		void *unknown;
	} given = {.known = tp_libc_allocator, .unknown = &given};
	struct thinp_allocator taken;

	(void)state;
	given.known.size = sizeof(given);
	assert_int_equal(tp_allocator_take(&taken, &given.known), THINP_ENOTSUP);
}

static void memory_comes_zeroed_and_aligned_for_any_object(void **state)
{
	const uint8_t zeros[60] = {0};
	struct spy spy = {.nr_allocs = 0};
	struct thinp_allocator allocator = spying(&spy);

	(void)state;
	assert_ptr_equal(tp_alloc_zeroed(&allocator, 5, 12), spy.buffer);
	assert_int_equal(spy.nbytes, 60);
	assert_int_equal(spy.align, _Alignof(max_align_t));
	assert_memory_equal(spy.buffer, zeros, 60);
	assert_int_equal(spy.buffer[60], 0xee);
}

static void aligned_memory_is_asked_for_as_it_is_wanted(void **state)
{
	struct spy spy = {.nr_allocs = 0};
	struct thinp_allocator allocator = spying(&spy);

	(void)state;
	assert_ptr_equal(tp_alloc_aligned(&allocator, 24, 4096), spy.buffer);
	assert_int_equal(spy.nbytes, 24);
	assert_int_equal(spy.align, 4096);
}

static void libc_gives_any_power_of_two_as_alignment(void **state)
{
	(void)state;
	for (size_t align = 1; align <= 65536; align *= 2) {
		uint8_t *ptr = tp_alloc_aligned(&tp_libc_allocator, 100, align);

		assert_non_null(ptr);
		assert_int_equal((uintptr_t)ptr % align, 0);
		memset(ptr, 0xee, 100);
		tp_free(&tp_libc_allocator, ptr, 100);
	}
}

static void freeing_tells_the_size_that_was_asked_for(void **state)
{
	struct spy spy = {.nr_allocs = 0};
	struct thinp_allocator allocator = spying(&spy);
	void *ptr = tp_alloc_zeroed(&allocator, 3, 8);

	(void)state;
	tp_free(&allocator, ptr, 24);
	assert_int_equal(spy.nr_frees, 1);
	assert_ptr_equal(spy.freed, ptr);
	assert_int_equal(spy.freed_nbytes, 24);
}

static void freeing_nothing_does_not_trouble_the_caller(void **state)
{
	struct spy spy = {.nr_allocs = 0};
	struct thinp_allocator allocator = spying(&spy);

	(void)state;
	tp_free(&allocator, NULL, 24);
	assert_int_equal(spy.nr_frees, 0);
}

static void no_memory_is_reported(void **state)
{
	struct spy spy = {.is_empty = true};
	struct thinp_allocator allocator = spying(&spy);

	(void)state;
	tp_fail(THINP_EIO, THINP_NO_BLOCK, "before");
	assert_null(tp_alloc_zeroed(&allocator, 1, 8));
	assert_last_code(THINP_ENOMEM);

	tp_fail(THINP_EIO, THINP_NO_BLOCK, "before");
	assert_null(tp_alloc_aligned(&allocator, 8, 64));
	assert_last_code(THINP_ENOMEM);
	assert_int_equal(spy.nr_allocs, 2);
}

static void a_product_that_overflows_is_no_memory(void **state)
{
	struct spy spy = {.nr_allocs = 0};
	struct thinp_allocator allocator = spying(&spy);

	(void)state;
	tp_fail(THINP_EIO, THINP_NO_BLOCK, "before");
	assert_null(tp_alloc_zeroed(&allocator, SIZE_MAX / 8 + 1, 8));
	assert_last_code(THINP_ENOMEM);
	assert_int_equal(spy.nr_allocs, 0);
}

static void libc_refuses_a_size_that_overflows_when_rounded_up(void **state)
{
	(void)state;
	assert_null(tp_alloc_aligned(&tp_libc_allocator, SIZE_MAX - 10, 4096));
	assert_last_code(THINP_ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_table_means_libc),
		cmocka_unit_test(a_table_of_the_caller_is_copied),
		cmocka_unit_test(a_table_without_one_of_its_functions_is_refused),
		cmocka_unit_test(a_table_that_asks_for_something_newer_is_refused),
		cmocka_unit_test(memory_comes_zeroed_and_aligned_for_any_object),
		cmocka_unit_test(aligned_memory_is_asked_for_as_it_is_wanted),
		cmocka_unit_test(libc_gives_any_power_of_two_as_alignment),
		cmocka_unit_test(freeing_tells_the_size_that_was_asked_for),
		cmocka_unit_test(freeing_nothing_does_not_trouble_the_caller),
		cmocka_unit_test(no_memory_is_reported),
		cmocka_unit_test(a_product_that_overflows_is_no_memory),
		cmocka_unit_test(libc_refuses_a_size_that_overflows_when_rounded_up),
	};

	return cmocka_run_group_tests_name("base/alloc", tests, NULL, NULL);
}
