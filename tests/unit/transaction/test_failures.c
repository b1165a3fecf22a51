/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/transaction/test_failures.c - every call of the table, the device and the allocator that can fail: either nothing was
 * changed, or the transaction can only be aborted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "support/tm_fixture.h"
#include "transaction/manager.h"

enum { NR_BLOCKS = 100, CACHE = 16 };

static const int codes[] = {THINP_ENOSPC, THINP_ENOMEM, THINP_EIO, THINP_EREFCOUNT, THINP_ECORRUPT};
#define NR_CODES (sizeof(codes) / sizeof(codes[0]))

/* --- small helpers --- */

static int new_block(struct tm_fixture *f)
{
	struct thinp_buffer *buffer = NULL;
	thinp_block_t block = THINP_NO_BLOCK;
	void *data = NULL;
	int r = thinp_tm_new_block(f->tm, thinp_block_type_bitmap(), THINP_CAUSE_NEW, &block, &buffer, &data);

	if (r)
		assert_true(!buffer && !data && block == THINP_NO_BLOCK);
	thinp_tm_unlock(f->tm, buffer);
	return r;
}

static int shadow(struct tm_fixture *f, thinp_block_t block, uint64_t before)
{
	thinp_block_t copy;

	return tm_fixture_shadow(f, block, before, before + 1, &copy, NULL);
}

static uint64_t sum_of_counts(struct tm_fixture *f)
{
	uint64_t sum = 0;

	for (thinp_block_t block = 0; block < NR_BLOCKS; block++)
		sum = sum * 31 + tm_fixture_count(f, block);
	return sum;
}

static void expect_message(const char *text)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	if (!strstr(info.message, text))
		fail_msg("\"%s\" is not in \"%s\"", text, info.message);
}

/* TM-08: all that changes is refused, with the first reason; looking still works. */
static void expect_poisoned(struct tm_fixture *f, const char *reason)
{
	uint64_t counts = sum_of_counts(f);
	thinp_block_t any = 1;
	uint32_t count;

	assert_int_equal(thinp_tm_status(f->tm), THINP_EMUSTABORT);
	expect_message(reason);
	assert_int_equal(new_block(f), THINP_EMUSTABORT);
	assert_int_equal(shadow(f, any, 0), THINP_EMUSTABORT);
	assert_int_equal(thinp_tm_inc(f->tm, any, 1, THINP_CAUSE_USER), THINP_EMUSTABORT);
	assert_int_equal(thinp_tm_dec(f->tm, any, 1, THINP_CAUSE_USER), THINP_EMUSTABORT);
	assert_int_equal(thinp_tm_reserve(f->tm, 0, 0), THINP_EMUSTABORT);
	expect_message(reason);
	assert_int_equal(thinp_tm_count(f->tm, any, &count), 0);
	assert_int_equal(sum_of_counts(f), counts);
	tm_fixture_check_committed(f);
}

/* A block of the last commit (version 5) and, if asked for, one more reference to it. */
static thinp_block_t committed_block(struct tm_fixture *f, bool is_shared)
{
	thinp_block_t block = tm_fixture_new_block(f, 5);

	if (is_shared)
		assert_int_equal(thinp_tm_inc(f->tm, block, 1, THINP_CAUSE_USER), 0);
	tm_fixture_commit(f);
	return block;
}

/* --- what gives blocks fails --- */

static void ERRLOOP_TM_09_a_shadow_that_fails_once_has_changed_nothing(void **state)
{
	(void)state;
	for (unsigned int k = 0; k < 2 * 3 * NR_CODES; k++) { /* count, take, dec */
		bool is_shared = k % 2;
		size_t at = 1 + k / 2 % 3;
		int code = codes[k / 6];
		struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
		thinp_block_t block = committed_block(f, is_shared);
		uint64_t counts = sum_of_counts(f);
		uint64_t generation = thinp_tm_generation(f->tm);

		tm_fixture_fail(f, at, 1, code);
		assert_int_equal(shadow(f, block, 5), code);
		assert_int_equal(thinp_tm_status(f->tm), 0);
		assert_int_equal(thinp_tm_generation(f->tm), generation);
		assert_int_equal(sum_of_counts(f), counts);
		assert_int_equal(block_fixture_stats(f->b).blocks_dirty, 0);
		assert_true(tm_fixture_reads(f, block, 5));
		tm_fixture_fail(f, 0, 0, 0);
		assert_int_not_equal(tm_fixture_change(f, block, 5, 6), block);
		tm_fixture_commit(f);
		block_change_expect_at_rest(f->b);
		tm_fixture_free(f);
	}
}

static void TM_08_a_shadow_that_cannot_be_undone_marks_the_transaction(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = committed_block(f, false);

	(void)state;
	tm_fixture_fail(f, 3, 2, THINP_ECORRUPT); /* the original's dec, and the copy's */
	assert_int_equal(shadow(f, block, 5), THINP_ECORRUPT);
	assert_string_equal(f->log, "ctdd");
	tm_fixture_fail(f, 0, 0, 0);
	expect_poisoned(f, "THINP_ECORRUPT");
	tm_fixture_abort(f);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_true(tm_fixture_reads(f, block, 5));
	assert_int_not_equal(tm_fixture_change(f, block, 5, 6), block);
	tm_fixture_commit(f);
	block_change_expect_at_rest(f->b);
	tm_fixture_free(f);
}

static void a_new_block_that_fails_has_changed_nothing(void **state)
{
	(void)state;
	for (unsigned int k = 0; k < NR_CODES; k++) {
		struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
		uint64_t counts = sum_of_counts(f);

		tm_fixture_fail(f, 1, 1, codes[k]);
		assert_int_equal(new_block(f), codes[k]);
		assert_int_equal(thinp_tm_status(f->tm), 0);
		assert_int_equal(sum_of_counts(f), counts);
		assert_int_equal(new_block(f), 0);
		tm_fixture_free(f);
	}
}

static void references_that_cannot_be_counted_leave_marks_and_all_as_it_was(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	uint32_t count = 77;

	(void)state;
	tm_fixture_fail(f, 1, 3, THINP_EIO);
	assert_int_equal(thinp_tm_inc(f->tm, block, 1, THINP_CAUSE_USER), THINP_EIO);
	assert_int_equal(thinp_tm_dec(f->tm, block, 1, THINP_CAUSE_USER), THINP_EIO);
	assert_int_equal(thinp_tm_count(f->tm, block, &count), THINP_EIO);
	assert_int_equal(count, 77);
	tm_fixture_fail(f, 0, 0, 0);
	assert_int_equal(thinp_tm_inc(f->tm, block, NR_BLOCKS, THINP_CAUSE_USER), THINP_ERANGE);
	assert_int_equal(thinp_tm_dec(f->tm, block, 2, THINP_CAUSE_USER), THINP_EREFCOUNT);
	assert_int_equal(thinp_tm_count(f->tm, NR_BLOCKS, &count), THINP_ERANGE);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(tm_fixture_change(f, block, 1, 2), block);
	tm_fixture_commit(f);
	tm_fixture_free(f);
}

/* The block is dropped only when its count is known to be 0. */
static void a_count_that_is_not_told_costs_a_write_and_nothing_else(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);

	(void)state;
	(void)thinp_error_report(THINP_EBUSY, 1, "earlier");
	tm_fixture_fail(f, 2, 1, THINP_EIO);
	assert_int_equal(thinp_tm_dec(f->tm, block, 1, THINP_CAUSE_FREE), 0);
	assert_string_equal(f->log, "dc");
	thinp_error_last(&info);
	assert_string_equal(info.message, "earlier");
	assert_int_equal(block_fixture_stats(f->b).blocks_dirty, 1);
	tm_fixture_commit(f);
	tm_fixture_free(f);
}

static void a_reference_counted_past_the_manager_keeps_the_content(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);

	(void)state;
	assert_int_equal(f->table.inc(f->table.ctx, block, 1, THINP_CAUSE_USER), 0);
	assert_int_equal(thinp_tm_dec(f->tm, block, 1, THINP_CAUSE_FREE), 0);
	assert_int_not_equal(tm_fixture_change(f, block, 1, 2), block);
	tm_fixture_commit(f);
	tm_fixture_free(f);
}

static void a_block_without_references_is_not_shadowed(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = committed_block(f, false);

	(void)state;
	assert_int_equal(thinp_tm_dec(f->tm, block, 1, THINP_CAUSE_FREE), 0);
	assert_int_equal(shadow(f, block, 5), THINP_EREFCOUNT);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(tm_fixture_count(f, block), 0);
	tm_fixture_commit(f);
	tm_fixture_free(f);
}

static void no_space_is_told_before_anything_is_changed(void **state)
{
	struct tm_fixture *f = tm_fixture_new(4, CACHE);
	thinp_block_t blocks[3];
	uint64_t generation;

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		blocks[i] = tm_fixture_new_block(f, i);
	tm_fixture_commit(f);
	assert_int_equal(thinp_tm_dec(f->tm, blocks[2], 1, THINP_CAUSE_FREE), 0);
	generation = thinp_tm_generation(f->tm);
	assert_int_equal(new_block(f), THINP_ENOSPC); /* what the last commit uses is not taken */
	assert_int_equal(shadow(f, blocks[0], 0), THINP_ENOSPC);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(thinp_tm_generation(f->tm), generation);
	assert_int_equal(tm_fixture_count(f, blocks[0]), 1);
	tm_fixture_commit(f);
	assert_int_equal(tm_fixture_change(f, blocks[0], 0, 9), blocks[2]);
	tm_fixture_free(f);
}

static void a_map_larger_than_the_device_is_found_out(void **state)
{
	struct tm_fixture *f = tm_fixture_new(8, CACHE);
	struct thinp_memory_map *larger;
	struct thinp_alloc table = {.size = sizeof(table)};
	struct thinp_tm *tm = f->tm;

	(void)state;
	assert_int_equal(thinp_memory_map_create(NR_BLOCKS, NULL, &larger), 0);
	thinp_memory_map_get_alloc(larger, &table);
	assert_int_equal(table.inc(table.ctx, 0, 8, THINP_CAUSE_USER), 0);
	assert_int_equal(thinp_tm_create(f->b->bm, &table, &f->tm), 0);
	assert_int_equal(new_block(f), THINP_ERANGE);
	assert_int_equal(thinp_tm_status(f->tm), THINP_EMUSTABORT);
	expect_message("THINP_ERANGE");
	assert_int_equal(thinp_memory_map_nr_zero(larger), NR_BLOCKS - 8); /* given back all the same */
	thinp_tm_destroy(f->tm);
	f->tm = tm;
	thinp_memory_map_destroy(larger);
	tm_fixture_free(f);
}

/* --- the device fails --- */

static void an_original_that_cannot_be_read_is_not_shadowed(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = committed_block(f, false);
	uint64_t counts = sum_of_counts(f);

	(void)state;
	thinp_bm_forget(f->b->bm, block);
	block_device_fail_kinds(&f->b->device, BLOCK_DEVICE_FAIL_READ, 1, THINP_EIO);
	assert_int_equal(shadow(f, block, 5), THINP_EIO);
	f->b->device.blocks[block * THINP_BLOCK_SIZE + 100] ^= 1;
	assert_int_equal(shadow(f, block, 5), THINP_ECORRUPT);
	f->b->device.blocks[block * THINP_BLOCK_SIZE + 100] ^= 1;
	assert_int_equal(shadow(f, NR_BLOCKS, 5), THINP_ECORRUPT);
	assert_int_equal(shadow(f, THINP_NO_BLOCK, 5), THINP_ECORRUPT);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(sum_of_counts(f), counts);
	assert_int_not_equal(tm_fixture_change(f, block, 5, 6), block);
	tm_fixture_commit(f);
	block_change_expect_at_rest(f->b);
	tm_fixture_free(f);
}

static void a_shadow_of_another_kind_is_refused(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	struct thinp_buffer *buffer = NULL;
	thinp_block_t copy;
	bool inc_children;
	void *data;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) { /* in place, and by a copy */
		assert_int_equal(thinp_tm_shadow_block(f->tm, block, thinp_block_type_index(), THINP_CAUSE_SHADOW,
						       &copy, &buffer, &data, &inc_children),
				 THINP_ECORRUPT);
		assert_null(buffer);
		assert_int_equal(thinp_tm_status(f->tm), 0);
		tm_fixture_commit(f);
	}
	tm_fixture_free(f);
}

static void a_marked_block_that_cannot_be_read_again_keeps_its_mark(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);

	(void)state;
	assert_int_equal(thinp_bm_flush(f->b->bm), 0);
	block_fixture_read_range(f->b, 50, 100); /* drives it out of the cache */
	assert_false(block_fixture_has(f->b, block));
	block_device_fail_kinds(&f->b->device, BLOCK_DEVICE_FAIL_READ, 1, THINP_EIO);
	assert_int_equal(shadow(f, block, 1), THINP_EIO);
	assert_true(block_device_has_failed(&f->b->device));
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(tm_fixture_change(f, block, 1, 2), block);
	assert_int_equal(tp_marks_find(&f->tm->marks, block)->buffer->block, block); /* found fast from now on */
	tm_fixture_commit(f);
	tm_fixture_free(f);
}

/* Every write of a transaction larger than the cache fails once. */
static void ERRLOOP_TM_08_an_early_write_that_fails_marks_the_transaction(void **state)
{
	bool has_failed = true;

	(void)state;
	for (size_t n = 1; has_failed; n++) {
		struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
		thinp_block_t blocks[20];
		int r = 0;

		for (unsigned int i = 0; i < 20; i++)
			blocks[i] = tm_fixture_new_block(f, i);
		tm_fixture_commit(f);
		block_device_fail_kinds(&f->b->device, BLOCK_DEVICE_FAIL_WRITE, n, THINP_EIO);
		for (unsigned int i = 0; !r && i < 20; i++)
			r = i % 2 ? shadow(f, blocks[i], i) : new_block(f);
		has_failed = block_device_has_failed(&f->b->device);
		assert_int_equal(r, has_failed ? THINP_EIO : 0);
		if (r)
			expect_poisoned(f, "THINP_EIO");
		block_device_fail_kinds(&f->b->device, 0, 0, 0);
		tm_fixture_abort(f);
		for (unsigned int i = 0; i < 20; i++)
			assert_true(tm_fixture_reads(f, blocks[i], i));
		(void)tm_fixture_change(f, blocks[3], 3, 99);
		tm_fixture_commit(f);
		block_change_expect_at_rest(f->b);
		tm_fixture_free(f);
	}
}

/* The fast way to a dirty block must see it, too. */
static void TM_08_after_a_failed_flush_no_block_is_changed_in_place(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);

	(void)state;
	block_device_fail_kinds(&f->b->device, BLOCK_DEVICE_FAIL_FLUSH, 1, THINP_EIO);
	assert_int_equal(thinp_bm_flush(f->b->bm), THINP_EIO);
	assert_int_equal(shadow(f, block, 1), THINP_EIO);
	expect_poisoned(f, "THINP_EIO");
	tm_fixture_abort(f);
	assert_int_equal(new_block(f), 0);
	tm_fixture_free(f);
}

static void TM_08_a_mark_by_the_caller_stops_changes_in_place(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = tm_fixture_new_block(f, 1);

	(void)state;
	assert_int_equal(thinp_tm_poison(f->tm, THINP_ENOSPC), THINP_ENOSPC);
	assert_int_equal(thinp_tm_poison(f->tm, THINP_EIO), THINP_EIO); /* the first reason is the one to be told */
	assert_int_equal(shadow(f, block, 1), THINP_EMUSTABORT);
	assert_true(tm_fixture_reads(f, block, 1));
	expect_poisoned(f, "THINP_ENOSPC");
	tm_fixture_abort(f);
	assert_int_equal(thinp_tm_poison(f->tm, 0), 0);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	tm_fixture_free(f);
}

static void BM_09_after_a_commit_of_unknown_end_nothing_is_changed_and_all_is_read(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t block = committed_block(f, false);
	uint32_t count;

	(void)state;
	block_device_fail_kinds(&f->b->device, BLOCK_DEVICE_FAIL_FLUSH, 2, THINP_EIO);
	assert_int_equal(block_change_commit(f->b, 2), THINP_EUNKNOWN);
	for (unsigned int i = 0; i < 2; i++) { /* an abort does not help */
		assert_int_equal(new_block(f), THINP_EUNKNOWN);
		assert_int_equal(shadow(f, block, 5), THINP_EMUSTABORT);
		assert_int_equal(thinp_tm_inc(f->tm, block, 1, THINP_CAUSE_USER), THINP_EMUSTABORT);
		assert_int_equal(thinp_tm_dec(f->tm, block, 1, THINP_CAUSE_USER), THINP_EMUSTABORT);
		assert_int_equal(thinp_tm_reserve(f->tm, 1, 0), THINP_EMUSTABORT);
		thinp_reader_prefetch(thinp_tm_reader(f->tm), thinp_block_type_bitmap(), &block, 1);
		assert_true(tm_fixture_reads(f, block, 5));
		assert_int_equal(thinp_tm_count(f->tm, block, &count), 0);
		tm_fixture_abort(f);
	}
	tm_fixture_free(f);
}

/* --- the allocator fails --- */

/* Changes of all sorts, each of which is tried again when there was no memory; then all must be as without failures. */
static void live(struct tm_fixture *f, size_t *nr_failed)
{
	thinp_block_t blocks[60];

	for (unsigned int i = 0; i < 60; i++) {
		struct thinp_buffer *buffer;
		void *data;
		int r = THINP_ENOMEM;

		for (; r; *nr_failed += r != 0) {
			r = thinp_tm_new_block(f->tm, thinp_block_type_bitmap(), THINP_CAUSE_NEW, &blocks[i], &buffer,
					       &data);
			assert_true(!r || r == THINP_ENOMEM);
			assert_int_equal(thinp_tm_status(f->tm), 0);
		}
		block_change_fill(data, 0, i);
		thinp_tm_unlock(f->tm, buffer);
	}
	tm_fixture_commit(f);
	for (unsigned int i = 0; i < 60; i++) {
		thinp_block_t copy = blocks[i];
		int r = THINP_ENOMEM;

		for (; r; *nr_failed += r != 0) {
			uint64_t counts = sum_of_counts(f);

			r = tm_fixture_shadow(f, blocks[i], i, i + 1, &copy, NULL);
			assert_true(!r || (r == THINP_ENOMEM && sum_of_counts(f) == counts));
			assert_int_equal(thinp_tm_status(f->tm), 0);
		}
		assert_int_equal(tm_fixture_count(f, blocks[i]), 0);
		assert_int_equal(tm_fixture_change(f, copy, i + 1, i + 2), copy);
	}
	for (int r = THINP_ENOMEM; r; *nr_failed += r != 0) {
		r = thinp_tm_inc(f->tm, blocks[0], 60, THINP_CAUSE_USER);
		assert_true(!r || r == THINP_ENOMEM);
	}
}

static void OOMLOOP_without_memory_nothing_is_changed(void **state)
{
	size_t nr_failed = 0;

	(void)state;
	for (size_t n = 1;; n++) {
		struct tm_fixture *f = tm_fixture_new(300, 32);
		bool has_failed;

		alloc_counting_fail(&f->b->alloc, n);
		live(f, &nr_failed);
		has_failed = alloc_counting_has_failed(&f->b->alloc);
		alloc_counting_fail(&f->b->alloc, 0);
		assert_int_equal(thinp_memory_map_nr_zero(f->map), 300 - 1 - 120);
		tm_fixture_abort(f);
		block_change_expect_at_rest(f->b);
		tm_fixture_free(f);
		if (!has_failed)
			break;
	}
	assert_true(nr_failed > 5);
}

static int create(void *ctx)
{
	struct block_fixture *b = ctx;
	struct thinp_memory_map *map;
	struct thinp_alloc table = {.size = sizeof(table)};
	struct thinp_tm *tm;
	int r = thinp_memory_map_create(10, &b->alloc.table, &map);

	if (r)
		return r;
	thinp_memory_map_get_alloc(map, &table);
	r = thinp_tm_create(b->bm, &table, &tm);
	if (!r)
		thinp_tm_destroy(tm);
	thinp_memory_map_destroy(map);
	return r;
}

static void OOMLOOP_a_manager_is_made_or_nothing_is_left(void **state)
{
	struct block_fixture *b = block_fixture_new(10, CACHE);
	size_t n = 0;
	bool has_failed = true;

	(void)state;
	while (has_failed) {
		size_t live_bytes = b->alloc.live_bytes;
		int r;

		alloc_counting_fail(&b->alloc, ++n);
		r = create(b);
		has_failed = alloc_counting_has_failed(&b->alloc);
		assert_int_equal(r, has_failed ? THINP_ENOMEM : 0);
		alloc_counting_fail(&b->alloc, 0);
		assert_int_equal(b->alloc.live_bytes, live_bytes);
	}
	assert_int_equal(n, 5); /* a map, its slots, a reader, a manager */
	block_fixture_free(b);
}

static void too_many_blocks_at_once_are_refused_and_nothing_was_changed(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, 4);
	struct thinp_buffer *buffers[NR_BLOCKS];
	thinp_block_t block = THINP_NO_BLOCK;
	unsigned int nr = 0;
	void *data;
	int r = 0;

	(void)state;
	while (!r) {
		r = thinp_tm_new_block(f->tm, thinp_block_type_bitmap(), THINP_CAUSE_NEW, &block, &buffers[nr], &data);
		nr += !r;
		assert_true(nr < NR_BLOCKS);
	}
	assert_int_equal(r, THINP_ENOMEM);
	assert_true(nr >= 4);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(thinp_memory_map_nr_zero(f->map), NR_BLOCKS - 1 - nr);
	while (nr--)
		thinp_tm_unlock(f->tm, buffers[nr]);
	assert_int_equal(new_block(f), 0);
	tm_fixture_commit(f);
	tm_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ERRLOOP_TM_09_a_shadow_that_fails_once_has_changed_nothing),
		cmocka_unit_test(TM_08_a_shadow_that_cannot_be_undone_marks_the_transaction),
		cmocka_unit_test(a_new_block_that_fails_has_changed_nothing),
		cmocka_unit_test(references_that_cannot_be_counted_leave_marks_and_all_as_it_was),
		cmocka_unit_test(a_count_that_is_not_told_costs_a_write_and_nothing_else),
		cmocka_unit_test(a_reference_counted_past_the_manager_keeps_the_content),
		cmocka_unit_test(a_block_without_references_is_not_shadowed),
		cmocka_unit_test(no_space_is_told_before_anything_is_changed),
		cmocka_unit_test(a_map_larger_than_the_device_is_found_out),
		cmocka_unit_test(an_original_that_cannot_be_read_is_not_shadowed),
		cmocka_unit_test(a_shadow_of_another_kind_is_refused),
		cmocka_unit_test(a_marked_block_that_cannot_be_read_again_keeps_its_mark),
		cmocka_unit_test(ERRLOOP_TM_08_an_early_write_that_fails_marks_the_transaction),
		cmocka_unit_test(TM_08_after_a_failed_flush_no_block_is_changed_in_place),
		cmocka_unit_test(TM_08_a_mark_by_the_caller_stops_changes_in_place),
		cmocka_unit_test(BM_09_after_a_commit_of_unknown_end_nothing_is_changed_and_all_is_read),
		cmocka_unit_test(OOMLOOP_without_memory_nothing_is_changed),
		cmocka_unit_test(OOMLOOP_a_manager_is_made_or_nothing_is_left),
		cmocka_unit_test(too_many_blocks_at_once_are_refused_and_nothing_was_changed),
	};

	return cmocka_run_group_tests_name("transaction/failures", tests, NULL, NULL);
}
