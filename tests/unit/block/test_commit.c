/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_commit.c - how changed blocks go to the device, and what is there when something fails.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "block/manager.h"
#include "support/block_change.h"

enum { NR_BLOCKS = 1000, CACHE = 8 };

#define CHANGES (BLOCK_DEVICE_FAIL_WRITE | BLOCK_DEVICE_FAIL_FLUSH)
#define ALL     (CHANGES | BLOCK_DEVICE_FAIL_SIZE | BLOCK_DEVICE_FAIL_READ)

/* --- order and number of operations --- */

static void expect_op(struct block_fixture *f, size_t i, uint32_t kind, thinp_block_t block, uint64_t nr_blocks)
{
	assert_int_equal(f->device.changes[i].kind, kind);
	if (kind == THINP_IO_FLUSH)
		return;
	assert_int_equal(f->device.changes[i].block, block);
	assert_int_equal(f->device.changes[i].nr_blocks, nr_blocks);
}

static void a_commit_is_one_batch_sorted_and_merged_with_the_record_last(void **state)
{
	static const thinp_block_t blocks[] = {21, 9, 3, 5, 20, 4, 11};
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 64);
	struct thinp_bm_stats stats;

	(void)state;
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		assert_int_equal(block_change_new(f, blocks[i], 1), 0);
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_int_equal(block_device_nr_batches(&f->device), 1);
	assert_int_equal(block_device_nr_changes(&f->device), 7);
	expect_op(f, 0, THINP_IO_WRITE, 3, 3);
	expect_op(f, 1, THINP_IO_WRITE, 9, 1);
	expect_op(f, 2, THINP_IO_WRITE, 11, 1);
	expect_op(f, 3, THINP_IO_WRITE, 20, 2);
	expect_op(f, 4, THINP_IO_FLUSH, 0, 0);
	expect_op(f, 5, THINP_IO_WRITE, 0, 1);
	expect_op(f, 6, THINP_IO_FLUSH, 0, 0);
	for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++)
		assert_true(block_change_is_on_device(f, blocks[i], 1));
	stats = block_fixture_stats(f);
	assert_int_equal(stats.written, 8);
	assert_int_equal(stats.write_ops, 5);
	assert_int_equal(stats.written_early, 0);
	block_fixture_free(f);
}

static void many_blocks_go_in_batches_of_a_mebibyte_and_one_flush(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 2 * NR_BLOCKS);

	(void)state;
	for (thinp_block_t block = 600; block > 0; block--)
		assert_int_equal(block_change_new(f, block, 1), 0);
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_int_equal(block_device_nr_batches(&f->device), 3);
	assert_int_equal(block_device_nr_changes(&f->device), 6);
	expect_op(f, 0, THINP_IO_WRITE, 1, 256);
	expect_op(f, 1, THINP_IO_WRITE, 257, 256);
	expect_op(f, 2, THINP_IO_WRITE, 513, 88);
	expect_op(f, 3, THINP_IO_FLUSH, 0, 0);
	expect_op(f, 4, THINP_IO_WRITE, 0, 1);
	for (thinp_block_t block = 1; block <= 600; block++)
		assert_true(block_change_is_on_device(f, block, 1));
	block_fixture_free(f);
}

static void blocks_written_early_are_sorted_and_merged_too(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 16);

	(void)state;
	for (thinp_block_t block = 9; block > 0; block--)
		assert_int_equal(block_change_new(f, block, 1), 0);
	assert_int_equal(block_device_nr_changes(&f->device), 1);
	expect_op(f, 0, THINP_IO_WRITE, 2, 8);
	assert_int_equal(block_fixture_stats(f).written_early, 8);
	assert_int_equal(block_fixture_stats(f).blocks_dirty, 1);
	block_fixture_free(f);
}

static void what_is_on_the_device_is_not_written_again(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 64);

	(void)state;
	block_change_range(f, 1, 11, 1);
	assert_int_equal(thinp_bm_flush(f->bm), 0);
	assert_int_equal(block_change_again(f, 3, 1, 2), 0);
	block_device_forget(&f->device);
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_int_equal(block_device_nr_changes(&f->device), 4);
	expect_op(f, 0, THINP_IO_WRITE, 3, 1);
	assert_int_equal(block_change_commit(f, 2), 0); /* the record alone, with both flushes */
	assert_int_equal(block_device_nr_changes(&f->device), 7);
	assert_int_equal(block_fixture_stats(f).written, 13);
	block_fixture_free(f);
}

static void a_flush_without_changes_is_a_flush(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 64);

	(void)state;
	assert_int_equal(thinp_bm_flush(f->bm), 0);
	assert_int_equal(block_device_nr_changes(&f->device), 1);
	expect_op(f, 0, THINP_IO_FLUSH, 0, 0);
	block_fixture_free(f);
}

static void nothing_is_written_while_a_block_is_locked(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 64);
	struct thinp_buffer *buffer;

	(void)state;
	block_change_range(f, 1, 5, 1);
	buffer = block_change_lock(f, 7, 1);
	assert_int_equal(thinp_bm_flush(f->bm), THINP_EINVAL);
	assert_int_equal(block_change_commit(f, 1), THINP_EINVAL);
	assert_int_equal(block_device_nr_changes(&f->device), 0);
	thinp_bm_unlock(f->bm, buffer);
	assert_int_equal(block_change_commit(f, 1), 0); /* that was no failure of the device */
	assert_true(block_change_is_on_device(f, 7, 1));
	block_fixture_free(f);
}

static void a_record_beyond_the_end_is_refused(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 64);
	uint8_t record[THINP_BLOCK_SIZE] = {0};

	(void)state;
	block_change_range(f, 1, 5, 1);
	assert_int_equal(thinp_bm_commit(f->bm, NR_BLOCKS, thinp_block_type_bitmap(), record), THINP_ERANGE);
	assert_int_equal(block_device_nr_changes(&f->device), 0);
	assert_int_equal(block_change_commit(f, 1), 0);
	block_fixture_free(f);
}

static void after_a_commit_the_new_record_is_read(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 64);

	(void)state;
	assert_int_equal(block_fixture_read(f, 0), 0);
	for (uint64_t version = 1; version < 4; version++) {
		assert_int_equal(block_change_commit(f, version), 0);
		assert_true(block_change_reads(f, 0, version));
	}
	block_fixture_free(f);
}

/* --- a read on its way, overtaken by a change --- */

struct late {
	struct block_fixture *f;
	thinp_block_t block;
	bool is_prefetch;
};

static void *read_late(void *arg)
{
	struct late *late = arg;
	struct thinp_read_section section;
	const void *data;

	if (late->is_prefetch) {
		thinp_reader_prefetch(late->f->reader, thinp_block_type_bitmap(), &late->block, 1);
	} else {
		thinp_read_begin(late->f->reader, &section);
		(void)thinp_read_block(&section, late->block, thinp_block_type_bitmap(), &data);
		thinp_read_end(&section);
	}
	return NULL;
}

/* The reader has the bytes of before in its hands when the block is changed, written, and gone from the cache. */
static void overtake(struct late *late)
{
	struct block_fixture *f = late->f;
	pthread_t thread;

	block_device_shut_gate_behind(&f->device, late->block);
	assert_int_equal(pthread_create(&thread, NULL, read_late, late), 0);
	block_device_wait_stopped(&f->device, 1);
	if (late->block)
		assert_int_equal(block_change_new(f, late->block, 1), 0);
	assert_int_equal(block_change_commit(f, 1), 0);
	if (late->block)
		block_fixture_read_range(f, 100, 200);
	assert_false(block_fixture_has(f, late->block));
	block_device_open_gate(&f->device);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(block_change_reads(f, late->block, 1));
	block_change_expect_at_rest(f);
}

static void a_read_overtaken_by_a_commit_leaves_nothing_old_in_the_cache(void **state)
{
	(void)state;
	for (thinp_block_t block = 0; block <= 7; block += 7) {
		for (int is_prefetch = 0; is_prefetch <= 1; is_prefetch++) {
			struct late late = {block_fixture_new(NR_BLOCKS, CACHE), block, is_prefetch};

			overtake(&late);
			block_fixture_free(late.f);
		}
	}
}

/* --- failures of the device --- */

static void save(struct block_fixture *f, uint8_t *image)
{
	memcpy(image, f->device.blocks, (size_t)NR_BLOCKS * THINP_BLOCK_SIZE);
}

/* Blocks that the transaction does not use are as they were; with_record: and block 0, too. */
static void expect_untouched(struct block_fixture *f, const uint8_t *image, bool with_record)
{
	if (with_record)
		assert_memory_equal(f->device.blocks, image, THINP_BLOCK_SIZE);
	assert_memory_equal(f->device.blocks + (size_t)400 * THINP_BLOCK_SIZE, image + (size_t)400 * THINP_BLOCK_SIZE,
			    (size_t)(NR_BLOCKS - 400) * THINP_BLOCK_SIZE);
}

/* Changes in odd blocks, so that each is a write of its own, and a commit whose n-th write or flush fails. */
static int commit_with_failure(struct block_fixture *f, size_t n)
{
	for (thinp_block_t block = 1; block < 40; block += 2)
		assert_int_equal(block_change_new(f, block, 1), 0);
	assert_int_equal(block_device_nr_changes(&f->device), 0);
	block_device_fail_kinds(&f->device, CHANGES, n, -EIO);
	return block_change_commit(f, 1);
}

static void TM_01_the_record_is_untouched_when_anything_before_it_failed(void **state)
{
	enum { NR_WRITES = 20 };
	uint8_t *image = malloc((size_t)NR_BLOCKS * THINP_BLOCK_SIZE);

	(void)state;
	assert_non_null(image);
	for (size_t n = 1; n <= NR_WRITES + 4; n++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, 64);
		bool is_before = n <= NR_WRITES + 1;
		bool is_unknown = !is_before && n <= NR_WRITES + 3;
		int r;

		save(f, image);
		r = commit_with_failure(f, n);
		assert_int_equal(r, is_before ? THINP_EIO : is_unknown ? THINP_EUNKNOWN : 0);
		expect_untouched(f, image, is_before);
		/* a failed write does not keep its neighbours back, but the flush behind it is not reached */
		assert_int_equal(block_device_nr_changes(&f->device), n <= NR_WRITES       ? NR_WRITES
								      : n <= NR_WRITES + 1 ? NR_WRITES + 1
								      : n <= NR_WRITES + 2 ? NR_WRITES + 2
											   : NR_WRITES + 3);
		thinp_bm_abort(f->bm);
		assert_int_equal(block_change_new(f, 1, 2), is_unknown ? THINP_EUNKNOWN : 0);
		block_fixture_free(f);
	}
	free(image);
}

static void BM_01_after_a_failed_flush_the_record_can_be_read_and_a_transaction_begun(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 64);

	(void)state;
	assert_int_equal(commit_with_failure(f, 21), THINP_EIO);
	assert_int_equal(block_fixture_read(f, 0), 0);
	thinp_bm_abort(f->bm);
	assert_int_equal(block_fixture_read(f, 0), 0);
	block_change_expect_at_rest(f);
	block_change_range(f, 1, 40, 2);
	assert_int_equal(block_change_commit(f, 2), 0);
	assert_true(block_change_is_on_device(f, 0, 2));
	assert_true(block_change_is_on_device(f, 39, 2));
	block_fixture_free(f);
}

/* Of 100 blocks most are written early. Whichever write fails, nothing is forgotten until the abort. */
static void BM_05_an_early_write_that_failed_fails_every_commit_until_the_abort(void **state)
{
	bool has_failed = true;

	(void)state;
	for (size_t n = 1; has_failed; n++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
		struct thinp_error_info info = {.size = sizeof(info)};
		size_t nr_changes;
		int r = 0;

		block_device_fail_kinds(&f->device, BLOCK_DEVICE_FAIL_WRITE, n, -ENOSPC);
		for (thinp_block_t block = 1; block < 200 && !r; block += 2)
			r = block_change_new(f, block, 1);
		has_failed = block_device_has_failed(&f->device);
		block_device_fail(&f->device, 0, 0);
		assert_int_equal(r, has_failed ? THINP_ENOSPC : 0);
		nr_changes = block_device_nr_changes(&f->device);
		for (int i = 0; i < 3 && has_failed; i++) { /* and the device would take it now */
			assert_int_equal(block_change_commit(f, 1), THINP_ENOSPC);
			assert_int_equal(thinp_bm_flush(f->bm), THINP_ENOSPC);
			assert_int_equal(block_change_new(f, 300, 1), THINP_ENOSPC);
			assert_int_equal(block_change_again(f, 1, 1, 2), THINP_ENOSPC);
			thinp_error_last(&info);
			assert_int_equal(info.code, THINP_ENOSPC);
		}
		assert_int_equal(block_device_nr_changes(&f->device), nr_changes);
		assert_int_equal(block_fixture_read(f, 0), 0);
		thinp_bm_abort(f->bm);
		block_change_expect_at_rest(f);
		block_change_range(f, 1, 100, 2);
		assert_int_equal(block_change_commit(f, 2), 0);
		for (thinp_block_t block = 0; block < 100; block++)
			assert_true(block_change_is_on_device(f, block, 2));
		block_fixture_free(f);
	}
}

static void COW_11_a_flush_that_failed_is_not_tried_again(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 64);
	size_t nr_changes;

	(void)state;
	block_change_range(f, 1, 5, 1);
	block_device_fail_kinds(&f->device, BLOCK_DEVICE_FAIL_FLUSH, 1, -EIO);
	assert_int_equal(thinp_bm_flush(f->bm), THINP_EIO);
	nr_changes = block_device_nr_changes(&f->device);
	assert_int_equal(thinp_bm_flush(f->bm), THINP_EIO);
	assert_int_equal(block_change_commit(f, 1), THINP_EIO);
	assert_int_equal(block_device_nr_changes(&f->device), nr_changes);
	thinp_bm_abort(f->bm);
	assert_int_equal(block_change_commit(f, 1), 0);
	block_fixture_free(f);
}

static void BM_09_after_an_unknown_end_every_call_answers_and_nothing_is_written(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
	size_t nr_changes;

	(void)state;
	block_change_range(f, 1, 4, 1);
	block_device_fail_kinds(&f->device, BLOCK_DEVICE_FAIL_FLUSH, 2, -EIO);
	assert_int_equal(block_change_commit(f, 1), THINP_EUNKNOWN);
	nr_changes = block_device_nr_changes(&f->device);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(block_change_new(f, 1, 2), THINP_EUNKNOWN);
		assert_int_equal(block_change_again(f, 1, 1, 2), THINP_EUNKNOWN);
		assert_int_equal(thinp_bm_flush(f->bm), THINP_EUNKNOWN);
		assert_int_equal(block_change_commit(f, 2), THINP_EUNKNOWN);
		thinp_bm_forget(f->bm, 1);
		thinp_reader_prefetch(f->reader, thinp_block_type_bitmap(), &(thinp_block_t){300}, 1);
		block_fixture_read_range(f, 100, 200);
		thinp_bm_abort(f->bm);
	}
	assert_int_equal(block_device_nr_changes(&f->device), nr_changes);
	assert_int_equal(block_fixture_stats(f).blocks_dirty, 0);
	block_fixture_free(f);
}

/* --- ERRLOOP and OOMLOOP: a life that goes through every function --- */

static int change_and_commit(struct block_fixture *f, uint64_t version)
{
	int r = 0;

	for (thinp_block_t block = 1; block < 60 && !r; block++)
		r = block_change_new(f, block, version);
	for (thinp_block_t block = 1; block < 60 && !r; block += 7)
		r = block_change_again(f, block, version, version);
	if (!r) {
		r = block_change_new(f, 300, version);
		thinp_bm_forget(f->bm, 300);
	}
	if (!r)
		r = thinp_bm_flush(f->bm);
	if (!r)
		r = block_change_new(f, 60, version);
	return r ? r : block_change_commit(f, version);
}

/* A transaction that may fail anywhere; the device has its record or not, as the code says; then one that succeeds. */
static int live(struct block_fixture *f)
{
	int r = change_and_commit(f, 2);

	block_device_fail_kinds(&f->device, 0, 0, 0);
	alloc_counting_fail(&f->alloc, 0);
	if (r != THINP_EUNKNOWN)
		assert_int_equal(block_change_is_on_device(f, 0, 2), !r);
	if (!r)
		for (thinp_block_t block = 1; block <= 60; block++)
			assert_true(block_change_reads(f, block, 2) && block_change_is_on_device(f, block, 2));
	thinp_bm_abort(f->bm);
	if (r != THINP_EUNKNOWN) {
		block_change_expect_at_rest(f);
		assert_int_equal(change_and_commit(f, 3), 0);
		assert_true(block_change_is_on_device(f, 0, 3));
	}
	assert_int_equal(block_fixture_stats(f).bytes, f->alloc.live_bytes - sizeof(struct thinp_reader));
	return r;
}

static void one_failed_call_of_the_device_leaves_one_commit_or_the_other(void **state)
{
	static const uint32_t caches[] = {1, 3, 16, 200};

	(void)state;
	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		size_t nr_unknown = 0;
		bool has_failed = true;

		for (size_t n = 1; has_failed; n++) {
			struct block_fixture *f = block_fixture_new(NR_BLOCKS, caches[i]);
			size_t nr_calls = f->device.nr_calls;
			int r;

			block_device_fail_kinds(&f->device, ALL, n, -EIO);
			r = live(f);
			has_failed = f->device.nr_calls - nr_calls >= n;
			assert_true(r == (has_failed ? THINP_EIO : 0) || (has_failed && r == THINP_EUNKNOWN));
			nr_unknown += r == THINP_EUNKNOWN;
			block_fixture_free(f);
		}
		assert_int_equal(nr_unknown, 2); /* the record, and the flush behind it */
	}
}

static void one_failed_allocation_leaves_the_transaction_as_it_was(void **state)
{
	static const uint32_t caches[] = {1, 3, 16, 200};

	(void)state;
	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		bool has_failed = true;

		for (size_t n = 1; has_failed; n++) {
			struct block_fixture *f = block_fixture_new(NR_BLOCKS, caches[i]);
			size_t nr_calls = f->alloc.nr_calls;
			int r;

			alloc_counting_fail(&f->alloc, n);
			r = live(f);
			has_failed = r;
			assert_int_equal(r, has_failed ? THINP_ENOMEM : 0);
			assert_true(f->alloc.nr_calls > nr_calls);
			block_fixture_free(f);
		}
	}
}

/* No failure to make room is needed: what failed for want of memory can be tried again at once. */
static void after_a_failed_allocation_the_call_can_be_made_again(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 200);
	size_t nr_failed = 0;

	(void)state;
	for (thinp_block_t block = 1; block < 190; block++)
		for (size_t n = 1, r = 1; r; n++) {
			alloc_counting_fail(&f->alloc, n);
			r = (size_t)-block_change_new(f, block, 1);
			nr_failed += r != 0;
		}
	alloc_counting_fail(&f->alloc, 0);
	assert_true(nr_failed > 5);
	assert_int_equal(block_change_commit(f, 1), 0);
	for (thinp_block_t block = 0; block < 190; block++)
		assert_true(block_change_is_on_device(f, block, 1));
	block_fixture_free(f);
}

static void BM_12_the_largest_limit_costs_no_large_allocation(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, UINT32_MAX);

	(void)state;
	block_change_range(f, 1, NR_BLOCKS, 1);
	assert_int_equal(block_change_commit(f, 1), 0);
	/* the largest is the stage for writing: part of the block cache, as the buffers are */
	assert_true(f->alloc.largest <= (256 + 1) * THINP_BLOCK_SIZE);
	block_fixture_free(f);
}

/* --- blocks that nobody has a use for any more --- */

static void buffers_of_blocks_without_use_are_the_next_to_be_used(void **state)
{
	struct block_fixture *f = block_fixture_new(1000, 512);
	uint64_t bytes;

	(void)state;
	block_fixture_read_range(f, 0, 64); /* all buffers of a chunk */
	bytes = block_fixture_stats(f).bytes;
	for (thinp_block_t block = 100; block < 900; block += 32) {
		thinp_block_t first = block == 100 ? 0 : block - 32;

		block_fixture_drop_range(f, first, first + 32);
		tp_reader_reuse_dropped(f->reader);
		assert_int_equal(block_fixture_stats(f).blocks_cached, 32);
		block_change_range(f, block, block + 32, 1);
		assert_int_equal(block_change_commit(f, 1), 0);
	}
	assert_true(block_fixture_stats(f).bytes < bytes + (3 << 19)); /* the writer's own memory, no more buffers */
	assert_int_equal(block_fixture_stats(f).evictions, 0);
	block_fixture_free(f);
}

static void what_is_changed_pinned_or_looked_at_is_not_taken_away(void **state)
{
	struct block_fixture *f = block_fixture_new(100, 64);
	struct thinp_read_section section;
	struct thinp_buffer *pinned;
	const void *seen;

	(void)state;
	block_fixture_read_range(f, 1, 4);
	assert_int_equal(tp_reader_pin(f->reader, 2, thinp_block_type_bitmap(), &pinned), 0);
	assert_int_equal(block_change_new(f, 10, 7), 0);
	thinp_read_begin(f->reader, &section);
	seen = block_fixture_get(f, &section, 3);
	block_fixture_drop_range(f, 0, 100);
	tp_reader_reuse_dropped(f->reader);
	assert_int_equal(block_fixture_stats(f).blocks_cached, 2); /* 2 and 10 */
	block_fixture_read_range(f, 20, 80);                       /* which needs buffers */
	assert_true(block_device_is(&f->device, 3, seen));
	thinp_read_end(&section);
	assert_true(block_change_reads(f, 10, 7));
	tp_cache_unpin(&f->bm->cache, pinned);
	assert_int_equal(block_change_commit(f, 1), 0);
	assert_true(block_change_is_on_device(f, 10, 7));
	block_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_of_blocks_without_use_are_the_next_to_be_used),
		cmocka_unit_test(what_is_changed_pinned_or_looked_at_is_not_taken_away),
		cmocka_unit_test(a_commit_is_one_batch_sorted_and_merged_with_the_record_last),
		cmocka_unit_test(many_blocks_go_in_batches_of_a_mebibyte_and_one_flush),
		cmocka_unit_test(blocks_written_early_are_sorted_and_merged_too),
		cmocka_unit_test(what_is_on_the_device_is_not_written_again),
		cmocka_unit_test(a_flush_without_changes_is_a_flush),
		cmocka_unit_test(nothing_is_written_while_a_block_is_locked),
		cmocka_unit_test(a_record_beyond_the_end_is_refused),
		cmocka_unit_test(after_a_commit_the_new_record_is_read),
		cmocka_unit_test(a_read_overtaken_by_a_commit_leaves_nothing_old_in_the_cache),
		cmocka_unit_test(TM_01_the_record_is_untouched_when_anything_before_it_failed),
		cmocka_unit_test(BM_01_after_a_failed_flush_the_record_can_be_read_and_a_transaction_begun),
		cmocka_unit_test(BM_05_an_early_write_that_failed_fails_every_commit_until_the_abort),
		cmocka_unit_test(COW_11_a_flush_that_failed_is_not_tried_again),
		cmocka_unit_test(BM_09_after_an_unknown_end_every_call_answers_and_nothing_is_written),
		cmocka_unit_test(one_failed_call_of_the_device_leaves_one_commit_or_the_other),
		cmocka_unit_test(one_failed_allocation_leaves_the_transaction_as_it_was),
		cmocka_unit_test(after_a_failed_allocation_the_call_can_be_made_again),
		cmocka_unit_test(BM_12_the_largest_limit_costs_no_large_allocation),
	};

	return cmocka_run_group_tests_name("block/commit", tests, NULL, NULL);
}
