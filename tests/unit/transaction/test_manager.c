/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/transaction/test_manager.c - making a transaction manager, its figures, devices that are read-only or grow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "support/tm_fixture.h"

enum { NR_BLOCKS = 50, CACHE = 16 };

static void a_table_that_lacks_something_is_refused(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	struct {
		struct thinp_alloc table;
		void *more;
	} newer = {.table = f->table, .more = f};
	struct thinp_alloc less = f->table;
	struct thinp_tm *tm = NULL;

	(void)state;
	less.dec = NULL;
	assert_int_equal(thinp_tm_create(f->b->bm, &less, &tm), THINP_EINVAL);
	newer.table.size = sizeof(newer);
	assert_int_equal(thinp_tm_create(f->b->bm, &newer.table, &tm), THINP_ENOTSUP);
	block_device_fail_kinds(&f->b->device, BLOCK_DEVICE_FAIL_SIZE, 1, THINP_EIO);
	assert_int_equal(thinp_tm_create(f->b->bm, &f->table, &tm), THINP_EIO);
	assert_null(tm);
	thinp_tm_destroy(NULL);
	tm_fixture_free(f);
}

static void the_table_is_copied(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);

	(void)state;
	memset(&f->table, 0, sizeof(f->table));
	(void)tm_fixture_new_block(f, 1);
	tm_fixture_commit(f);
	tm_fixture_free(f);
}

static void every_change_raises_the_generation_and_nothing_else_does(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	uint64_t before = thinp_tm_generation(f->tm);
	thinp_block_t block = tm_fixture_new_block(f, 1);
	uint32_t count;

	(void)state;
	assert_true(thinp_tm_generation(f->tm) > before);
	before = thinp_tm_generation(f->tm);
	(void)tm_fixture_change(f, block, 1, 2);
	assert_true(thinp_tm_generation(f->tm) > before);
	before = thinp_tm_generation(f->tm);
	assert_int_equal(thinp_tm_inc(f->tm, block, 1, THINP_CAUSE_USER), 0);
	assert_true(thinp_tm_generation(f->tm) > before);
	before = thinp_tm_generation(f->tm);
	assert_int_equal(thinp_tm_dec(f->tm, block, 1, THINP_CAUSE_USER), 0);
	assert_true(thinp_tm_generation(f->tm) > before);
	before = thinp_tm_generation(f->tm);
	block = tm_fixture_change(f, block, 2, 3);
	assert_true(thinp_tm_generation(f->tm) > before);
	before = thinp_tm_generation(f->tm);
	assert_true(tm_fixture_reads(f, block, 3));
	assert_int_equal(thinp_tm_count(f->tm, block, &count), 0);
	assert_int_equal(thinp_tm_reserve(f->tm, 1, 0), 0);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(thinp_tm_generation(f->tm), before);
	tm_fixture_commit(f);
	assert_true(thinp_tm_generation(f->tm) > before);
	tm_fixture_free(f);
}

static void reserve_asks_what_gives_the_blocks(void **state)
{
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);

	(void)state;
	assert_int_equal(thinp_tm_reserve(f->tm, NR_BLOCKS - 1, 0), 0);
	assert_int_equal(thinp_tm_reserve(f->tm, NR_BLOCKS, 0), THINP_ENOSPC);
	assert_int_equal(thinp_tm_reserve(f->tm, NR_BLOCKS, THINP_RESERVE_RELEASE), THINP_ENOSPC);
	assert_int_equal(thinp_tm_reserve(f->tm, 1, 4), THINP_ENOTSUP);
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(thinp_memory_map_nr_zero(f->map), NR_BLOCKS - 1);
	tm_fixture_free(f);
}

static void nothing_is_changed_on_a_read_only_device(void **state)
{
	struct block_device device;
	struct thinp_memory_map *map;
	struct thinp_alloc table = {.size = sizeof(table)};
	struct thinp_read_section section;
	struct thinp_buffer *buffer;
	struct thinp_io *io;
	struct thinp_bm *bm;
	struct thinp_tm *tm;
	thinp_block_t block;
	bool inc_children;
	void *data;
	const void *seen;

	(void)state;
	block_device_open(&device, NR_BLOCKS);
	io = block_device_open_read_only(&device);
	assert_int_equal(thinp_bm_create(io, NULL, &bm), 0);
	assert_int_equal(thinp_memory_map_create(NR_BLOCKS, NULL, &map), 0);
	thinp_memory_map_get_alloc(map, &table);
	assert_int_equal(table.inc(table.ctx, 5, 1, THINP_CAUSE_USER), 0);
	assert_int_equal(thinp_tm_create(bm, &table, &tm), 0);
	assert_int_equal(thinp_tm_new_block(tm, thinp_block_type_bitmap(), THINP_CAUSE_NEW, &block, &buffer, &data),
			 THINP_EROFS);
	assert_int_equal(thinp_tm_shadow_block(tm, 5, thinp_block_type_bitmap(), THINP_CAUSE_SHADOW, &block, &buffer,
					       &data, &inc_children),
			 THINP_EROFS);
	assert_int_equal(thinp_tm_inc(tm, 5, 1, THINP_CAUSE_USER), THINP_EROFS);
	assert_int_equal(thinp_tm_dec(tm, 5, 1, THINP_CAUSE_USER), THINP_EROFS);
	assert_int_equal(thinp_tm_reserve(tm, 1, 0), THINP_EROFS);
	assert_int_equal(thinp_tm_status(tm), 0);
	assert_int_equal(thinp_memory_map_nr_zero(map), NR_BLOCKS - 1);
	thinp_read_begin(thinp_tm_reader(tm), &section);
	assert_int_equal(thinp_read_block(&section, 5, thinp_block_type_bitmap(), &seen), 0);
	thinp_read_end(&section);
	thinp_tm_destroy(tm);
	thinp_memory_map_destroy(map);
	thinp_bm_destroy(bm);
	thinp_io_close(io);
	block_device_close(&device);
}

static void a_transaction_sees_as_much_as_the_device_has_when_it_begins(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);

	(void)state;
	f->b->device.nr_blocks = NR_BLOCKS - 10;
	thinp_tm_begin(f->tm);
	assert_int_equal(thinp_reader_nr_blocks(thinp_tm_reader(f->tm)), NR_BLOCKS - 10);
	f->b->device.nr_blocks = NR_BLOCKS;
	assert_int_equal(thinp_reader_nr_blocks(thinp_tm_reader(f->tm)), NR_BLOCKS - 10);
	(void)thinp_error_report(THINP_EBUSY, 1, "earlier");
	block_device_fail_kinds(&f->b->device, BLOCK_DEVICE_FAIL_SIZE, 1, THINP_EIO);
	thinp_tm_begin(f->tm);
	assert_true(block_device_has_failed(&f->b->device));
	assert_int_equal(thinp_reader_nr_blocks(thinp_tm_reader(f->tm)), NR_BLOCKS - 10);
	thinp_error_last(&info);
	assert_string_equal(info.message, "earlier");
	thinp_tm_begin(f->tm);
	assert_int_equal(thinp_reader_nr_blocks(thinp_tm_reader(f->tm)), NR_BLOCKS);
	tm_fixture_free(f);
}

static void calls_that_succeed_leave_the_error_record_alone(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct tm_fixture *f = tm_fixture_new(NR_BLOCKS, CACHE);
	thinp_block_t blocks[20];

	(void)state;
	(void)thinp_error_report(THINP_EBUSY, 1, "earlier");
	for (unsigned int i = 0; i < 20; i++)
		blocks[i] = tm_fixture_new_block(f, i);
	tm_fixture_commit(f);
	for (unsigned int i = 0; i < 20; i++)
		blocks[i] = tm_fixture_change(f, blocks[i], i, i);
	assert_int_equal(thinp_tm_inc(f->tm, blocks[0], 20, THINP_CAUSE_USER), 0);
	assert_int_equal(thinp_tm_dec(f->tm, blocks[0], 20, THINP_CAUSE_USER), 0);
	tm_fixture_abort(f);
	thinp_error_last(&info);
	assert_string_equal(info.message, "earlier");
	tm_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_table_that_lacks_something_is_refused),
		cmocka_unit_test(the_table_is_copied),
		cmocka_unit_test(every_change_raises_the_generation_and_nothing_else_does),
		cmocka_unit_test(reserve_asks_what_gives_the_blocks),
		cmocka_unit_test(nothing_is_changed_on_a_read_only_device),
		cmocka_unit_test(a_transaction_sees_as_much_as_the_device_has_when_it_begins),
		cmocka_unit_test(calls_that_succeed_leave_the_error_record_alone),
	};

	return cmocka_run_group_tests_name("transaction/manager", tests, NULL, NULL);
}
