/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_relock.c - locking a dirty buffer again without the lock of the cache, and reads that are pinned.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "block/manager.h"
#include "support/block_change.h"

enum { NR_BLOCKS = 500, CACHE = 16 };

static bool relock(struct block_fixture *f, struct thinp_buffer *buffer, thinp_block_t block)
{
	return tp_bm_relock(f->bm, buffer, block, thinp_block_type_bitmap());
}

/* A dirty block, unlocked. */
static struct thinp_buffer *dirty(struct block_fixture *f, thinp_block_t block, uint64_t version)
{
	struct thinp_buffer *buffer = block_change_lock(f, block, version);

	thinp_bm_unlock(f->bm, buffer);
	return buffer;
}

static void a_dirty_block_is_locked_again_and_keeps_its_content(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
	struct thinp_buffer *buffer = dirty(f, 7, 1);

	(void)state;
	for (uint64_t version = 2; version < 5; version++) {
		assert_true(relock(f, buffer, 7));
		assert_true(block_change_is(buffer->data, 7, version - 1));
		assert_int_equal(thinp_bm_flush(f->bm), THINP_EINVAL);
		block_change_fill(buffer->data, 7, version);
		thinp_bm_unlock(f->bm, buffer);
	}
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_true(block_change_is_on_device(f, 7, 4));
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

static void what_is_not_the_dirty_unlocked_block_is_not_locked_again(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
	struct thinp_buffer *buffer = block_change_lock(f, 7, 1);

	(void)state;
	assert_false(relock(f, buffer, 7)); /* locked */
	thinp_bm_unlock(f->bm, buffer);
	assert_false(relock(f, buffer, 8));
	assert_false(tp_bm_relock(f->bm, buffer, 7, thinp_block_type_index()));
	assert_true(relock(f, buffer, 7));
	assert_false(relock(f, buffer, 7));
	assert_int_equal(block_change_again(f, 7, 1, 2), THINP_EINVAL);
	assert_int_equal(block_change_new(f, 7, 2), THINP_EINVAL);
	thinp_bm_unlock(f->bm, buffer);
	assert_int_equal(thinp_bm_flush(f->bm), 0);
	assert_false(relock(f, buffer, 7)); /* written: the cache must know that it changes again */
	assert_int_equal(block_change_again(f, 7, 1, 2), 0);
	assert_true(relock(f, buffer, 7));
	thinp_bm_unlock(f->bm, buffer);
	thinp_bm_forget(f->bm, 7);
	assert_false(relock(f, buffer, 7));
	buffer = dirty(f, 9, 1);
	block_device_fail_kinds(&f->device, BLOCK_DEVICE_FAIL_FLUSH, 1, THINP_EIO);
	assert_int_equal(thinp_bm_flush(f->bm), THINP_EIO);
	assert_false(relock(f, buffer, 9)); /* no lock is given once a failure is remembered */
	thinp_bm_abort(f->bm);
	assert_false(relock(f, buffer, 9));
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

static void a_block_that_is_locked_again_is_not_written_early(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
	struct thinp_buffer *buffer = dirty(f, 7, 1);

	(void)state;
	assert_true(relock(f, buffer, 7));
	block_change_fill(buffer->data, 7, 2);
	block_change_range(f, 100, 200, 1);
	block_fixture_read_range(f, 300, 400);
	assert_true(block_fixture_has(f, 7));
	assert_false(block_change_is_on_device(f, 7, 2));
	block_change_fill(buffer->data, 7, 3);
	thinp_bm_unlock(f->bm, buffer);
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_true(block_change_is_on_device(f, 7, 3));
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

/* Its bytes can be touched until it is unlocked, so nobody else may get the buffer. */
static void a_block_that_goes_while_it_is_locked_again_keeps_its_buffer(void **state)
{
	(void)state;
	for (unsigned int by_abort = 0; by_abort < 2; by_abort++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
		struct thinp_buffer *buffer = dirty(f, 7, 1);

		assert_true(relock(f, buffer, 7));
		if (by_abort)
			thinp_bm_abort(f->bm);
		else
			thinp_bm_forget(f->bm, 7);
		assert_int_equal(block_fixture_stats(f).blocks_dirty, 0);
		block_change_range(f, 100, 150, 1);
		block_fixture_read_range(f, 300, 400);
		assert_true(block_change_is(buffer->data, 7, 1));
		block_change_fill(buffer->data, 7, 2);
		assert_true(block_change_is(buffer->data, 7, 2));
		thinp_bm_unlock(f->bm, buffer);
		assert_int_equal(block_change_commit(f, 1), 0);
		assert_false(block_change_is_on_device(f, 7, 2));
		block_change_expect_at_rest(f);
		block_fixture_free(f);
	}
}

static void a_new_block_begins_with_the_content_it_is_given(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
	static uint8_t content[THINP_BLOCK_SIZE];
	struct thinp_buffer *buffer;
	void *data;

	(void)state;
	block_change_fill(content, 7, 5);
	assert_int_equal(tp_bm_write_lock_filled(f->bm, 7, thinp_block_type_bitmap(), content, &buffer, &data), 0);
	assert_true(block_change_is(data, 7, 5));
	thinp_bm_unlock(f->bm, buffer);
	assert_int_equal(block_device_nr_reads(&f->device), 0);
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_true(block_change_is_on_device(f, 7, 5));
	block_fixture_free(f);
}

static void a_pinned_read_stays_whatever_is_read_meanwhile(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);
	struct thinp_buffer *buffer = NULL;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) { /* from the device, and from the cache */
		assert_int_equal(tp_reader_pin(f->reader, 7, thinp_block_type_bitmap(), &buffer), 0);
		block_fixture_read_range(f, 100, 200);
		assert_true(block_device_is(&f->device, 7, buffer->data));
		tp_cache_unpin(&f->bm->cache, buffer);
	}
	buffer = NULL;
	assert_int_equal(tp_reader_pin(f->reader, NR_BLOCKS, thinp_block_type_bitmap(), &buffer), THINP_ECORRUPT);
	block_device_fail(&f->device, 1, THINP_EIO);
	assert_int_equal(tp_reader_pin(f->reader, 450, thinp_block_type_bitmap(), &buffer), THINP_EIO);
	assert_int_equal(tp_reader_pin(f->reader, 450, thinp_block_type_index(), &buffer), THINP_ECORRUPT);
	assert_null(buffer);
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

static void a_pin_without_memory_for_the_cache_is_nobodys_failure(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
	struct thinp_buffer *buffer;
	uint64_t nr_uncached;

	(void)state;
	block_fixture_read_range(f, 0, 1);
	nr_uncached = block_fixture_stats(f).uncached;
	(void)thinp_error_report(THINP_EBUSY, 1, "earlier");
	alloc_counting_fail(&f->alloc, 1);
	assert_int_equal(tp_reader_pin(f->reader, 450, thinp_block_type_bitmap(), &buffer), 0);
	assert_true(alloc_counting_has_failed(&f->alloc));
	assert_true(block_device_is(&f->device, 450, buffer->data));
	tp_cache_unpin(&f->bm->cache, buffer);
	thinp_error_last(&info);
	assert_string_equal(info.message, "earlier");
	assert_int_equal(block_fixture_stats(f).uncached, nr_uncached + 1);
	block_fixture_free(f);
}

/* --- beside readers, for the sanitizer of threads --- */

enum { NR_CHANGES = 20000, NR_CHANGED = 4 };

static void *read_others(void *ctx)
{
	struct block_fixture *f = ctx;

	for (unsigned int i = 0; i < NR_CHANGES / 20; i++)
		if (block_fixture_read(f, 20 + i % 200))
			return f;
	return NULL;
}

static void readers_may_come_and_go_meanwhile(void **state)
{
	struct block_fixture *f = block_fixture_new_quiet(NR_BLOCKS, CACHE);
	struct thinp_buffer *buffers[NR_CHANGED];
	uint64_t versions[NR_CHANGED] = {0};
	pthread_t threads[2];
	void *result;

	(void)state;
	for (unsigned int i = 0; i < NR_CHANGED; i++)
		buffers[i] = dirty(f, 1 + i, 0);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_others, f), 0);
	for (unsigned int n = 0; n < NR_CHANGES; n++) {
		unsigned int i = n % NR_CHANGED;

		if (!relock(f, buffers[i], 1 + i)) {
			void *data;

			assert_int_equal(
				thinp_bm_write_lock(f->bm, 1 + i, thinp_block_type_bitmap(), &buffers[i], &data), 0);
		}
		assert_true(block_change_is(buffers[i]->data, 1 + i, versions[i]));
		block_change_fill(buffers[i]->data, 1 + i, ++versions[i]);
		thinp_bm_unlock(f->bm, buffers[i]);
		if (n % 1000 == 999)
			assert_int_equal(thinp_bm_flush(f->bm), 0);
	}
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
	assert_int_equal(block_change_commit(f, 1), 0);
	block_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dirty_block_is_locked_again_and_keeps_its_content),
		cmocka_unit_test(what_is_not_the_dirty_unlocked_block_is_not_locked_again),
		cmocka_unit_test(a_block_that_is_locked_again_is_not_written_early),
		cmocka_unit_test(a_block_that_goes_while_it_is_locked_again_keeps_its_buffer),
		cmocka_unit_test(a_new_block_begins_with_the_content_it_is_given),
		cmocka_unit_test(a_pinned_read_stays_whatever_is_read_meanwhile),
		cmocka_unit_test(a_pin_without_memory_for_the_cache_is_nobodys_failure),
		cmocka_unit_test(readers_may_come_and_go_meanwhile),
	};

	return cmocka_run_group_tests_name("block/relock", tests, NULL, NULL);
}
