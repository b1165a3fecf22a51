/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_huge_page.c - buffers in huge pages: the same cache, whether the system has such pages or not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "block/huge_page.h"
#include "block/manager.h"
#include "support/block_change.h"

enum { NR_BLOCKS = 2000 };

/* Sanitizers end the process when they get no memory for themselves. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NEEDS_MAPPINGS true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define NEEDS_MAPPINGS true
#endif
#endif
#ifndef NEEDS_MAPPINGS
#define NEEDS_MAPPINGS false
#endif

static struct block_fixture *new_fixture(uint32_t cache_blocks)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 1);
	struct thinp_bm_opts opts = {.size = sizeof(opts),
				     .cache_blocks = cache_blocks,
				     .flags = THINP_BM_HUGE_PAGES,
				     .allocator = &f->alloc.table};

	thinp_reader_destroy(f->reader);
	thinp_bm_destroy(f->bm);
	assert_int_equal(thinp_bm_create(f->device.io, &opts, &f->bm), 0);
	assert_int_equal(thinp_reader_create(f->bm, 0, &f->reader), 0);
	return f;
}

/* Twice over all blocks, and as many changes. */
static void use(struct block_fixture *f)
{
	block_fixture_read_range(f, 0, NR_BLOCKS);
	block_fixture_read_range(f, 0, NR_BLOCKS);
	block_change_range(f, 1, NR_BLOCKS, 1);
	for (thinp_block_t block = 1; block < NR_BLOCKS; block++)
		assert_true(block_change_reads(f, block, 1));
	assert_int_equal(block_change_commit(f, 1), 0);
	for (thinp_block_t block = 0; block < NR_BLOCKS; block++)
		assert_true(block_change_is_on_device(f, block, 1));
}

static void a_page_is_aligned_and_can_be_written_to_its_end(void **state)
{
	uint8_t *pages[5];

	(void)state;
	for (size_t i = 0; i < 5; i++) {
		pages[i] = tp_huge_page_alloc();
		assert_non_null(pages[i]);
		assert_int_equal((uintptr_t)pages[i] % TP_HUGE_PAGE_SIZE, 0);
		memset(pages[i], (int)i, TP_HUGE_PAGE_SIZE);
	}
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(pages[i][TP_HUGE_PAGE_SIZE - 1], i);
		tp_huge_page_free(pages[i]);
	}
}

/* The stage for writing is one more. */
static void buffers_lie_in_huge_pages_as_long_as_512_of_them_may_come(void **state)
{
	static const struct {
		uint32_t cache;
		uint64_t nr_pages;
	} cases[] = {{1, 0}, {511, 0}, {512, 2}, {513, 2}, {1100, 3}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct block_fixture *f = new_fixture(cases[i].cache);

		use(f);
		assert_int_equal(block_fixture_stats(f).bytes, f->alloc.live_bytes - sizeof(struct thinp_reader) +
								       cases[i].nr_pages * TP_HUGE_PAGE_SIZE);
		assert_true(block_fixture_stats(f).blocks_cached <= cases[i].cache);
		block_change_expect_at_rest(f);
		block_fixture_free(f);
	}
}

static void BM_07_buffers_in_huge_pages_are_aligned_as_others(void **state)
{
	struct block_fixture *f = new_fixture(600);
	struct thinp_read_section section;
	const void *data;

	(void)state;
	for (thinp_block_t block = 0; block < 600; block++) {
		thinp_read_begin(f->reader, &section);
		assert_int_equal(thinp_read_block(&section, block, thinp_block_type_bitmap(), &data), 0);
		assert_int_equal((uintptr_t)data % THINP_BLOCK_SIZE, 0);
		thinp_read_end(&section);
	}
	block_fixture_free(f);
}

/* With no address space left there is no mapping; what the C library has at hand may do for a few buffers. */
static void without_huge_pages_the_allocator_is_asked(void **state)
{
	struct block_fixture *f = new_fixture(1024);
	size_t nr_calls = f->alloc.nr_calls;
	struct rlimit before;
	struct rlimit none;
	void *page;
	int r = 0;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	none = before;
	none.rlim_cur = 1; /* what is mapped stays; nothing more can be */
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	page = tp_huge_page_alloc();
	if (!NEEDS_MAPPINGS)
		r = block_fixture_read(f, 7);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_null(page);
	assert_true(r == 0 || r == THINP_ENOMEM);
	assert_true(NEEDS_MAPPINGS || f->alloc.largest >= TP_HUGE_PAGE_SIZE);
	assert_true(NEEDS_MAPPINGS || f->alloc.nr_calls > nr_calls);
	use(f);
	block_fixture_free(f);
}

static void one_failed_allocation_takes_no_page_along(void **state)
{
	struct block_fixture *f = new_fixture(1024);
	int r = 1;

	(void)state;
	for (size_t n = 1; r; n++) {
		alloc_counting_fail(&f->alloc, n);
		r = block_change_new(f, 7, 1);
		assert_true(r == 0 || r == THINP_ENOMEM);
	}
	alloc_counting_fail(&f->alloc, 0);
	thinp_bm_abort(f->bm);
	use(f);
	assert_int_equal(block_fixture_stats(f).bytes,
			 f->alloc.live_bytes - sizeof(struct thinp_reader) + 3 * TP_HUGE_PAGE_SIZE);
	block_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_is_aligned_and_can_be_written_to_its_end),
		cmocka_unit_test(buffers_lie_in_huge_pages_as_long_as_512_of_them_may_come),
		cmocka_unit_test(BM_07_buffers_in_huge_pages_are_aligned_as_others),
		cmocka_unit_test(without_huge_pages_the_allocator_is_asked),
		cmocka_unit_test(one_failed_allocation_takes_no_page_along),
	};

	return cmocka_run_group_tests_name("block/huge_page", tests, NULL, NULL);
}
