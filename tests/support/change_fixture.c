/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/change_fixture.c - a transaction over a map in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/change_fixture.h"

#include <stdlib.h>

static void open_tm(struct change_fixture *f)
{
	struct thinp_bm_opts opts = {
		.size = sizeof(opts), .cache_blocks = f->cache_blocks, .allocator = &f->alloc.table};
	struct thinp_alloc table = {.size = sizeof(table)};

	assert_int_equal(thinp_bm_create(f->io, &opts, &f->bm), 0);
	thinp_memory_map_get_alloc(f->map, &table);
	assert_int_equal(thinp_tm_create(f->bm, &table, &f->tm), 0);
}

static void close_tm(struct change_fixture *f)
{
	thinp_tm_destroy(f->tm);
	thinp_bm_destroy(f->bm);
}

struct change_fixture *change_fixture_new(uint64_t nr_blocks, uint32_t cache_blocks)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = nr_blocks};
	struct change_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	alloc_counting_init(&f->alloc);
	f->cache_blocks = cache_blocks;
	f->image.nr_blocks = nr_blocks;
	assert_int_equal(thinp_io_open_memory(&opts, &f->image.memory), 0);
	assert_int_equal(thinp_fault_create(f->image.memory, NULL, &f->fault), 0);
	assert_int_equal(thinp_fault_open(f->fault, NULL, &f->io), 0);
	assert_int_equal(thinp_memory_map_create(nr_blocks, &f->alloc.table, &f->map), 0);
	open_tm(f);
	assert_int_equal(thinp_tm_inc(f->tm, 0, 1, THINP_CAUSE_USER), 0);
	change_fixture_commit(f);
	return f;
}

void change_fixture_free(struct change_fixture *f)
{
	close_tm(f);
	thinp_memory_map_destroy(f->map);
	alloc_counting_check(&f->alloc);
	thinp_io_close(f->io);
	thinp_fault_destroy(f->fault);
	thinp_io_close(f->image.memory);
	free(f);
}

void change_fixture_commit(struct change_fixture *f)
{
	static const struct image_block record;

	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(thinp_bm_commit(f->bm, 0, thinp_block_type_bitmap(), record.data), 0);
	thinp_memory_map_commit(f->map);
	thinp_tm_begin(f->tm);
}

void change_fixture_abort(struct change_fixture *f)
{
	thinp_bm_abort(f->bm);
	thinp_memory_map_abort(f->map);
	thinp_tm_begin(f->tm);
}

void change_fixture_reopen(struct change_fixture *f)
{
	close_tm(f);
	open_tm(f);
}

void change_fixture_expect_unlocked(struct change_fixture *f)
{
	assert_int_equal(thinp_bm_flush(f->bm), 0);
}
