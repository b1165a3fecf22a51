/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_change.c - locking, changing, forgetting and aborting blocks, whatever the size of the cache.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "block/manager.h"
#include "format/kind.h"
#include "format/node.h"
#include "support/block_change.h"

enum { NR_BLOCKS = 500 };

static const uint32_t small_caches[] = {1, 2, 3, 16};
#define NR_SMALL_CACHES (sizeof(small_caches) / sizeof(small_caches[0]))

/* --- one block --- */

static void a_new_block_is_zeros_and_the_device_is_not_asked(void **state)
{
	static const uint8_t zeros[THINP_BLOCK_SIZE];
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);
	struct thinp_buffer *buffer;
	void *data;

	(void)state;
	block_fixture_read_range(f, 5, 6);
	block_device_forget(&f->device);
	for (thinp_block_t block = 5; block < 7; block++) { /* one that the cache has, and one that it has not */
		assert_int_equal(thinp_bm_write_lock_zero(f->bm, block, thinp_block_type_bitmap(), &buffer, &data), 0);
		assert_memory_equal(data, zeros, THINP_BLOCK_SIZE);
		thinp_bm_unlock(f->bm, buffer);
	}
	assert_int_equal(block_device_nr_reads(&f->device), 0);
	assert_int_equal(block_device_nr_changes(&f->device), 0);
	assert_int_equal(block_fixture_stats(f).blocks_dirty, 2);
	block_fixture_free(f);
}

static void what_was_changed_is_read_from_the_cache_and_from_the_device(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);

	(void)state;
	assert_int_equal(block_change_new(f, 7, 1), 0);
	assert_true(block_change_reads(f, 7, 1));
	assert_int_equal(block_device_nr_changes(&f->device), 0);
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_true(block_change_reads(f, 7, 1));
	assert_true(block_change_is_on_device(f, 7, 1));
	block_fixture_read_range(f, 100, 200);
	assert_false(block_fixture_has(f, 7));
	assert_true(block_change_reads(f, 7, 1));
	block_fixture_free(f);
}

static void a_clean_block_in_the_cache_is_what_the_device_has(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);
	struct thinp_read_section section;
	const void *data;

	(void)state;
	assert_int_equal(block_change_new(f, 7, 1), 0);
	assert_int_equal(thinp_bm_flush(f->bm), 0);
	thinp_read_begin(f->reader, &section);
	data = thinp_read_peek(&section, 7, thinp_block_type_bitmap());
	assert_non_null(data);
	assert_true(block_device_is(&f->device, 7, data));
	thinp_read_end(&section);
	block_fixture_free(f);
}

static void a_block_is_changed_again_wherever_it_is(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);

	(void)state;
	assert_int_equal(block_change_new(f, 7, 1), 0);
	assert_int_equal(block_change_again(f, 7, 1, 2), 0); /* dirty */
	assert_int_equal(thinp_bm_flush(f->bm), 0);
	assert_int_equal(block_change_again(f, 7, 2, 3), 0); /* clean */
	assert_int_equal(thinp_bm_flush(f->bm), 0);
	block_fixture_read_range(f, 100, 200);
	assert_int_equal(block_change_again(f, 7, 3, 4), 0); /* on the device only */
	assert_int_equal(block_fixture_stats(f).blocks_dirty, 1);
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_true(block_change_is_on_device(f, 7, 4));
	block_fixture_free(f);
}

static void a_block_is_locked_by_one_at_a_time(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);
	struct thinp_buffer *buffer = block_change_lock(f, 7, 1);

	(void)state;
	assert_int_equal(block_change_new(f, 7, 2), THINP_EINVAL);
	assert_int_equal(block_change_again(f, 7, 1, 2), THINP_EINVAL);
	thinp_bm_unlock(f->bm, buffer);
	thinp_bm_unlock(f->bm, NULL);
	assert_int_equal(block_change_again(f, 7, 1, 2), 0);
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

static void BM_14_a_block_beyond_the_end_is_not_locked(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);

	(void)state;
	assert_int_equal(block_change_new(f, NR_BLOCKS, 1), THINP_ERANGE);
	assert_int_equal(block_change_again(f, UINT64_MAX, 0, 1), THINP_ERANGE);
	assert_int_equal(block_fixture_stats(f).blocks_dirty, 0);
	block_fixture_free(f);
}

static void a_block_that_fails_its_check_is_not_locked(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 1);

	(void)state;
	f->device.blocks[7 * THINP_BLOCK_SIZE + 100] ^= 1;
	for (int i = 0; i < 5; i++)
		assert_int_equal(block_change_again(f, 7, 0, 1), THINP_ECORRUPT);
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

/* --- BM-03: the kind of a block that is used anew --- */

static int read_as(struct block_fixture *f, thinp_block_t block, const struct thinp_block_type *type)
{
	struct thinp_read_section section;
	const void *data;
	int r;

	thinp_read_begin(f->reader, &section);
	r = thinp_read_block(&section, block, type, &data);
	thinp_read_end(&section);
	return r;
}

static void make_node(struct block_fixture *f, thinp_block_t block)
{
	struct thinp_buffer *buffer;
	void *data;

	assert_int_equal(thinp_bm_write_lock_zero(f->bm, block, thinp_block_type_node(), &buffer, &data), 0);
	tp_node_pack(&(struct tp_node_header){.flags = TP_NODE_LEAF, .max_entries = 252, .value_size = 8}, data);
	thinp_bm_unlock(f->bm, buffer);
}

static void BM_03_a_new_block_drops_the_kind_it_had(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);

	(void)state;
	assert_int_equal(read_as(f, 7, thinp_block_type_bitmap()), 0);
	for (int i = 0; i < 3; i++) {
		make_node(f, 7); /* over a clean bitmap, then a dirty one */
		assert_int_equal(read_as(f, 7, thinp_block_type_node()), 0);
		assert_int_equal(read_as(f, 7, thinp_block_type_bitmap()), THINP_ECORRUPT);
		if (i == 1)
			assert_int_equal(block_change_commit(f, 1), 0);
		assert_int_equal(read_as(f, 7, thinp_block_type_bitmap()), THINP_ECORRUPT);
		assert_int_equal(block_change_new(f, 7, 2), 0); /* over a dirty node, then a clean one */
		assert_int_equal(read_as(f, 7, thinp_block_type_node()), THINP_ECORRUPT);
		assert_true(block_change_reads(f, 7, 2));
	}
	make_node(f, 7);
	assert_int_equal(block_change_commit(f, 2), 0);
	block_fixture_read_range(f, 100, 200);
	assert_int_equal(read_as(f, 7, thinp_block_type_bitmap()), THINP_ECORRUPT);
	assert_int_equal(read_as(f, 7, thinp_block_type_node()), 0);
	block_fixture_free(f);
}

/* --- the cache is smaller than the transaction --- */

static void a_transaction_may_be_larger_than_the_cache(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_SMALL_CACHES; i++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, small_caches[i]);
		struct thinp_bm_stats stats;

		block_change_range(f, 1, 101, 1);
		for (thinp_block_t block = 1; block < 101; block++)
			assert_true(block_change_reads(f, block, 1));
		for (thinp_block_t block = 1; block < 101; block += 3)
			assert_int_equal(block_change_again(f, block, 1, 2), 0);
		assert_int_equal(block_change_commit(f, 1), 0);
		for (thinp_block_t block = 1; block < 101; block++)
			assert_true(block_change_is_on_device(f, block, block % 3 == 1 ? 2 : 1));
		assert_true(block_change_is_on_device(f, 0, 1));
		stats = block_fixture_stats(f);
		assert_int_equal(stats.written, 100 + 34 + 1);
		assert_true(stats.written_early >= 134 - small_caches[i]);
		assert_int_equal(stats.blocks_dirty, 0);
		assert_true(stats.blocks_cached <= small_caches[i]);
		assert_int_equal(stats.bytes, f->alloc.live_bytes - sizeof(struct thinp_reader));
		block_change_expect_at_rest(f);
		block_fixture_free(f);
	}
}

/* The buffers, as many staged for writing, one record, the writer's own; tables come to less than another 40 KiB. */
static void the_limit_on_memory_holds_with_dirty_blocks(void **state)
{
	(void)state;
	for (size_t i = 0; i < NR_SMALL_CACHES; i++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, small_caches[i]);

		for (uint64_t version = 1; version < 5; version++) {
			block_change_range(f, 1, NR_BLOCKS, version);
			block_fixture_read_range(f, 0, 1);
			thinp_bm_abort(f->bm);
		}
		assert_true(f->alloc.peak_bytes <
			    (2 * (size_t)small_caches[i] + 1 + TP_OWN_BUFFERS) * THINP_BLOCK_SIZE + (size_t)40 * 1024);
		block_fixture_free(f);
	}
}

static void without_memory_for_more_buffers_the_old_ones_do_and_nobody_is_told(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 2 * TP_CHUNK_MAX_BUFFERS);

	(void)state;
	assert_int_equal(block_change_new(f, TP_CHUNK_MAX_BUFFERS, 1), 0);
	block_fixture_read_range(f, 1, TP_CHUNK_MAX_BUFFERS); /* now the first half of the buffers is in use */

	thinp_error_report(THINP_ENODATA, 0, "of before");
	alloc_counting_fail(&f->alloc, 1);
	assert_int_equal(block_change_new(f, TP_CHUNK_MAX_BUFFERS + 1, 1), 0);
	assert_true(alloc_counting_has_failed(&f->alloc));
	thinp_error_last(&info);
	assert_int_equal(info.code, THINP_ENODATA);
	block_fixture_free(f);
}

static void BM_02_as_many_blocks_may_be_locked_as_there_are_buffers(void **state)
{
	static const uint32_t caches[] = {1, 2, 3, 16, 200};

	(void)state;
	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, caches[i]);
		struct thinp_buffer *buffers[200 + TP_OWN_BUFFERS];
		uint32_t nr = caches[i] + TP_OWN_BUFFERS;

		for (uint32_t n = 0; n < nr; n++)
			buffers[n] = block_change_lock(f, 1 + n, 1);
		assert_int_equal(block_change_new(f, 300, 1), THINP_ENOMEM);
		assert_int_equal(block_change_again(f, 300, 0, 1), THINP_ENOMEM);
		assert_int_equal(block_device_nr_changes(&f->device), 0);
		block_fixture_read_range(f, 400, 410); /* readers do without */
		for (uint32_t n = 0; n < nr; n++)
			thinp_bm_unlock(f->bm, buffers[n]);
		assert_int_equal(block_fixture_stats(f).blocks_dirty, nr);
		assert_int_equal(block_change_commit(f, 1), 0);
		for (uint32_t n = 0; n < nr; n++)
			assert_true(block_change_is_on_device(f, 1 + n, 1));
		block_change_expect_at_rest(f);
		block_fixture_free(f);
	}
}

static void a_locked_block_is_not_written_to_make_room(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);
	struct thinp_buffer *buffer = block_change_lock(f, 7, 1);

	(void)state;
	block_change_range(f, 10, 60, 1);
	block_fixture_read_range(f, 100, 150);
	assert_true(block_device_nr_changes(&f->device) > 0);
	for (size_t i = 0; i < block_device_nr_changes(&f->device); i++)
		assert_int_not_equal(f->device.changes[i].block, 7);
	assert_true(block_change_reads(f, 7, 1));
	thinp_bm_unlock(f->bm, buffer);
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_true(block_change_is_on_device(f, 7, 1));
	block_fixture_free(f);
}

static void a_dirty_block_is_locked_again_without_making_room(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 8);

	(void)state;
	block_change_range(f, 1, 5, 1); /* half of the cache, as many as may be dirty */
	for (uint64_t version = 1; version < 20; version++)
		assert_int_equal(block_change_again(f, 2, version, version + 1), 0);
	assert_int_equal(block_device_nr_changes(&f->device), 0);
	assert_int_equal(block_change_new(f, 5, 1), 0);
	assert_int_equal(block_fixture_stats(f).written_early, 4);
	assert_int_equal(block_fixture_stats(f).blocks_dirty, 1);
	block_fixture_free(f);
}

/* --- forget and abort --- */

static void a_forgotten_block_is_not_written(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 8);
	struct thinp_buffer *buffer;

	(void)state;
	block_change_range(f, 5, 8, 1);
	thinp_bm_forget(f->bm, 6);
	thinp_bm_forget(f->bm, 300); /* never seen */
	buffer = block_change_lock(f, 9, 1);
	thinp_bm_forget(f->bm, 9); /* locked */
	block_change_range(f, 20, 22, 1);
	thinp_bm_unlock(f->bm, buffer);
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_true(block_change_is_on_device(f, 5, 1));
	assert_false(block_change_is_on_device(f, 6, 1));
	assert_true(block_change_is_on_device(f, 7, 1));
	assert_false(block_change_is_on_device(f, 9, 1));
	assert_int_equal(block_fixture_read(f, 6), 0); /* what the device has had all the time */
	assert_int_equal(block_fixture_stats(f).written, 2 + 2 + 1);
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

static void TM_11_an_abort_leaves_nothing_of_it_in_the_cache(void **state)
{
	static const uint32_t caches[] = {1, 3, 16, 300, 1000};

	(void)state;
	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		struct block_fixture *f = block_fixture_new(1100, caches[i]);

		block_change_range(f, 1, 51, 1);
		assert_int_equal(block_change_commit(f, 1), 0);
		block_change_range(f, 51, 1051, 2);
		thinp_bm_abort(f->bm);
		for (thinp_block_t block = 51; block < 1051; block++)
			assert_false(block_fixture_has(f, block));
		assert_int_equal(block_fixture_stats(f).blocks_dirty, 0);
		for (thinp_block_t block = 0; block < 51; block++)
			assert_true(block_change_reads(f, block, 1));
		for (thinp_block_t block = 51; block < 1051; block += 10) { /* the same addresses as another kind */
			make_node(f, block);
			assert_int_equal(read_as(f, block, thinp_block_type_node()), 0);
		}
		assert_int_equal(block_change_commit(f, 2), 0);
		for (thinp_block_t block = 51; block < 1051; block += 10)
			assert_int_equal(read_as(f, block, thinp_block_type_node()), 0);
		block_fixture_free(f);
	}
}

static void what_was_committed_stays_when_the_next_transaction_aborts(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 16);

	(void)state;
	block_change_range(f, 1, 5, 1);
	assert_int_equal(block_change_commit(f, 1), 0);
	block_device_forget(&f->device);
	thinp_bm_abort(f->bm);
	for (thinp_block_t block = 1; block < 5; block++)
		assert_true(block_change_reads(f, block, 1));
	assert_int_equal(block_device_nr_reads(&f->device), 0);
	block_fixture_free(f);
}

static void BM_01_locks_that_are_left_at_an_abort_can_be_given_back(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);
	struct thinp_buffer *buffers[3];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		buffers[i] = block_change_lock(f, 5 + i, 1);
	thinp_bm_abort(f->bm);
	assert_int_equal(block_fixture_stats(f).blocks_dirty, 0);
	assert_int_equal(block_change_new(f, 5, 2), 0); /* not locked any more, and another buffer */
	for (size_t i = 0; i < 3; i++)
		thinp_bm_unlock(f->bm, buffers[i]);
	assert_true(block_change_reads(f, 5, 2));
	assert_int_equal(block_change_commit(f, 2), 0);
	assert_int_equal(block_fixture_stats(f).written, 2);
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

/* --- read-only --- */

static void BM_13_a_read_only_device_gets_no_write(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 4);
	struct thinp_io *io = block_device_open_read_only(&f->device);
	size_t nbytes = (size_t)NR_BLOCKS * THINP_BLOCK_SIZE;
	uint8_t *before = malloc(nbytes);
	struct block_fixture read_only = *f;

	(void)state;
	assert_non_null(before);
	memcpy(before, f->device.blocks, nbytes);
	assert_int_equal(thinp_bm_create(io, NULL, &read_only.bm), 0);
	assert_int_equal(block_change_new(&read_only, 5, 1), THINP_EROFS);
	assert_int_equal(block_change_again(&read_only, 5, 0, 1), THINP_EROFS);
	assert_int_equal(thinp_bm_flush(read_only.bm), THINP_EROFS);
	assert_int_equal(block_change_commit(&read_only, 1), THINP_EROFS);
	thinp_bm_forget(read_only.bm, 5);
	thinp_bm_abort(read_only.bm);
	thinp_bm_destroy(read_only.bm);
	thinp_io_close(io);
	assert_int_equal(block_device_nr_changes(&f->device), 0);
	assert_memory_equal(f->device.blocks, before, nbytes);
	free(before);
	block_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_block_is_zeros_and_the_device_is_not_asked),
		cmocka_unit_test(what_was_changed_is_read_from_the_cache_and_from_the_device),
		cmocka_unit_test(a_clean_block_in_the_cache_is_what_the_device_has),
		cmocka_unit_test(a_block_is_changed_again_wherever_it_is),
		cmocka_unit_test(a_block_is_locked_by_one_at_a_time),
		cmocka_unit_test(BM_14_a_block_beyond_the_end_is_not_locked),
		cmocka_unit_test(a_block_that_fails_its_check_is_not_locked),
		cmocka_unit_test(BM_03_a_new_block_drops_the_kind_it_had),
		cmocka_unit_test(a_transaction_may_be_larger_than_the_cache),
		cmocka_unit_test(the_limit_on_memory_holds_with_dirty_blocks),
		cmocka_unit_test(without_memory_for_more_buffers_the_old_ones_do_and_nobody_is_told),
		cmocka_unit_test(BM_02_as_many_blocks_may_be_locked_as_there_are_buffers),
		cmocka_unit_test(a_locked_block_is_not_written_to_make_room),
		cmocka_unit_test(a_dirty_block_is_locked_again_without_making_room),
		cmocka_unit_test(a_forgotten_block_is_not_written),
		cmocka_unit_test(TM_11_an_abort_leaves_nothing_of_it_in_the_cache),
		cmocka_unit_test(what_was_committed_stays_when_the_next_transaction_aborts),
		cmocka_unit_test(BM_01_locks_that_are_left_at_an_abort_can_be_given_back),
		cmocka_unit_test(BM_13_a_read_only_device_gets_no_write),
	};

	return cmocka_run_group_tests_name("block/change", tests, NULL, NULL);
}
