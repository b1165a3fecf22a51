/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tm_fixture.c - a transaction manager to be tested.
 */
#include "support/tm_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

/* --- the table in between --- */

static bool does_fail(struct tm_fixture *f, char letter)
{
	if (f->nr_calls < TM_FIXTURE_LOG)
		f->log[f->nr_calls] = letter;
	f->nr_calls++;
	return f->fail_at && f->nr_calls >= f->fail_at && f->nr_calls < f->fail_at + f->nr_failing;
}

static int refuse(struct tm_fixture *f, const char *what)
{
	return thinp_error_report(f->fail_with, THINP_NO_BLOCK, what);
}

static int table_take(void *ctx, uint32_t cause, thinp_block_t *block)
{
	struct tm_fixture *f = ctx;

	return does_fail(f, 't') ? refuse(f, "take") : f->map_table.take(f->map_table.ctx, cause, block);
}

static int table_inc(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	struct tm_fixture *f = ctx;

	return does_fail(f, 'i') ? refuse(f, "inc") : f->map_table.inc(f->map_table.ctx, first, nr_blocks, cause);
}

static int table_dec(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	struct tm_fixture *f = ctx;

	return does_fail(f, 'd') ? refuse(f, "dec") : f->map_table.dec(f->map_table.ctx, first, nr_blocks, cause);
}

static int table_count(void *ctx, thinp_block_t block, uint32_t *count)
{
	struct tm_fixture *f = ctx;

	return does_fail(f, 'c') ? refuse(f, "count") : f->map_table.count(f->map_table.ctx, block, count);
}

static int table_reserve(void *ctx, uint64_t nr_blocks, uint32_t flags)
{
	struct tm_fixture *f = ctx;

	return f->map_table.reserve(f->map_table.ctx, nr_blocks, flags);
}

/* --- life --- */

static void make_table(struct tm_fixture *f)
{
	f->map_table.size = sizeof(f->map_table);
	thinp_memory_map_get_alloc(f->map, &f->map_table);
	f->table = (struct thinp_alloc){
		.size = sizeof(f->table),
		.ctx = f,
		.take = table_take,
		.inc = table_inc,
		.dec = table_dec,
		.count = table_count,
		.reserve = table_reserve,
	};
}

struct tm_fixture *tm_fixture_new(uint64_t nr_blocks, uint32_t cache_blocks)
{
	struct tm_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->b = block_fixture_new(nr_blocks, cache_blocks);
	f->committed = malloc(nr_blocks * THINP_BLOCK_SIZE);
	f->is_committed = calloc(nr_blocks, sizeof(bool));
	assert_true(f->committed && f->is_committed);
	memcpy(f->committed, f->b->device.blocks, nr_blocks * THINP_BLOCK_SIZE);
	assert_int_equal(thinp_memory_map_create(nr_blocks, &f->b->alloc.table, &f->map), 0);
	make_table(f);
	assert_int_equal(f->map_table.inc(f->map_table.ctx, 0, 1, THINP_CAUSE_USER), 0);
	thinp_memory_map_commit(f->map);
	assert_int_equal(thinp_tm_create(f->b->bm, &f->table, &f->tm), 0);
	return f;
}

void tm_fixture_free(struct tm_fixture *f)
{
	thinp_tm_destroy(f->tm);
	thinp_memory_map_destroy(f->map);
	block_fixture_free(f->b);
	free(f->committed);
	free(f->is_committed);
	free(f);
}

void tm_fixture_fail(struct tm_fixture *f, size_t n, size_t nr, int result)
{
	memset(f->log, 0, sizeof(f->log));
	f->nr_calls = 0;
	f->fail_at = n;
	f->nr_failing = nr;
	f->fail_with = result;
}

void tm_fixture_commit(struct tm_fixture *f)
{
	assert_int_equal(thinp_tm_status(f->tm), 0);
	tm_fixture_check_committed(f);
	assert_int_equal(block_change_commit(f->b, 1), 0);
	tm_fixture_check_committed(f);
	thinp_memory_map_commit(f->map);
	memcpy(f->committed, f->b->device.blocks, f->b->device.nr_blocks * THINP_BLOCK_SIZE);
	for (thinp_block_t block = 0; block < f->b->device.nr_blocks; block++)
		f->is_committed[block] = tm_fixture_count(f, block);
	thinp_tm_begin(f->tm);
}

void tm_fixture_abort(struct tm_fixture *f)
{
	thinp_bm_abort(f->b->bm);
	thinp_memory_map_abort(f->map);
	thinp_tm_begin(f->tm);
	tm_fixture_check_committed(f);
}

void tm_fixture_check_committed(struct tm_fixture *f)
{
	for (thinp_block_t block = 1; block < f->b->device.nr_blocks; block++) {
		size_t at = block * THINP_BLOCK_SIZE;

		if (f->is_committed[block])
			assert_memory_equal(f->committed + at, f->b->device.blocks + at, THINP_BLOCK_SIZE);
	}
}

/* --- blocks --- */

thinp_block_t tm_fixture_new_block(struct tm_fixture *f, uint64_t version)
{
	thinp_block_t block = THINP_NO_BLOCK;
	struct thinp_buffer *buffer = NULL;
	void *data = NULL;

	assert_int_equal(thinp_tm_new_block(f->tm, thinp_block_type_bitmap(), THINP_CAUSE_NEW, &block, &buffer, &data),
			 0);
	block_change_fill(data, 0, version);
	thinp_tm_unlock(f->tm, buffer);
	return block;
}

int tm_fixture_shadow(struct tm_fixture *f, thinp_block_t block, uint64_t before, uint64_t version,
		      thinp_block_t *new_block, bool *inc_children)
{
	static const bool untouched = true;
	struct thinp_buffer *buffer = NULL;
	thinp_block_t shadow = THINP_NO_BLOCK;
	bool is_shared = untouched;
	void *data = NULL;
	int r = thinp_tm_shadow_block(f->tm, block, thinp_block_type_bitmap(), THINP_CAUSE_SHADOW, &shadow, &buffer,
				      &data, &is_shared);

	if (r) {
		assert_true(!buffer && !data && shadow == THINP_NO_BLOCK && is_shared == untouched);
		return r;
	}
	assert_true(block_change_is(data, 0, before));
	block_change_fill(data, 0, version);
	thinp_tm_unlock(f->tm, buffer);
	*new_block = shadow;
	if (inc_children)
		*inc_children = is_shared;
	return 0;
}

thinp_block_t tm_fixture_change(struct tm_fixture *f, thinp_block_t block, uint64_t before, uint64_t version)
{
	thinp_block_t shadow = THINP_NO_BLOCK;

	assert_int_equal(tm_fixture_shadow(f, block, before, version, &shadow, NULL), 0);
	return shadow;
}

bool tm_fixture_reads(struct tm_fixture *f, thinp_block_t block, uint64_t version)
{
	struct thinp_read_section section;
	const void *data;
	bool is_right;

	thinp_read_begin(thinp_tm_reader(f->tm), &section);
	is_right = !thinp_read_block(&section, block, thinp_block_type_bitmap(), &data) &&
		   block_change_is(data, 0, version);
	thinp_read_end(&section);
	return is_right;
}

uint32_t tm_fixture_count(struct tm_fixture *f, thinp_block_t block)
{
	uint32_t count = UINT32_MAX;

	assert_int_equal(f->map_table.count(f->map_table.ctx, block, &count), 0);
	return count;
}
