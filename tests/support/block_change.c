/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/block_change.c - changing blocks, and looking at what came of it.
 */
#include "support/block_change.h"

#include "base/bytes.h"
#include "block/cache.h"
#include "format/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t word(thinp_block_t block, uint64_t version, uint64_t offset)
{
	return (block + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ version * UINT64_C(0xd1b54a32d192ed03) ^
	       offset * UINT64_C(0x94d049bb133111eb);
}

void block_change_fill(void *data, thinp_block_t block, uint64_t version)
{
	for (uint64_t i = BLOCK_CHANGE_HEADER; i < THINP_BLOCK_SIZE; i += 8)
		tp_store_le64((uint8_t *)data + i, word(block, version, i));
}

bool block_change_is(const void *data, thinp_block_t block, uint64_t version)
{
	for (uint64_t i = BLOCK_CHANGE_HEADER; i < THINP_BLOCK_SIZE; i += 8)
		if (tp_load_le64((const uint8_t *)data + i) != word(block, version, i))
			return false;
	return true;
}

struct thinp_buffer *block_change_lock(struct block_fixture *f, thinp_block_t block, uint64_t version)
{
	struct thinp_buffer *buffer = NULL;
	void *data;

	assert_int_equal(thinp_bm_write_lock_zero(f->bm, block, thinp_block_type_bitmap(), &buffer, &data), 0);
	block_change_fill(data, block, version);
	return buffer;
}

int block_change_new(struct block_fixture *f, thinp_block_t block, uint64_t version)
{
	struct thinp_buffer *buffer = NULL;
	void *data = NULL;
	int r = thinp_bm_write_lock_zero(f->bm, block, thinp_block_type_bitmap(), &buffer, &data);

	if (r) {
		assert_null(buffer);
		assert_null(data);
		return r;
	}
	block_change_fill(data, block, version);
	thinp_bm_unlock(f->bm, buffer);
	return 0;
}

int block_change_again(struct block_fixture *f, thinp_block_t block, uint64_t before, uint64_t version)
{
	struct thinp_buffer *buffer = NULL;
	void *data = NULL;
	int r = thinp_bm_write_lock(f->bm, block, thinp_block_type_bitmap(), &buffer, &data);

	if (r) {
		assert_null(buffer);
		assert_null(data);
		return r;
	}
	assert_true(block_change_is(data, block, before));
	block_change_fill(data, block, version);
	thinp_bm_unlock(f->bm, buffer);
	return 0;
}

void block_change_range(struct block_fixture *f, thinp_block_t begin, thinp_block_t end, uint64_t version)
{
	for (thinp_block_t block = begin; block < end; block++)
		assert_int_equal(block_change_new(f, block, version), 0);
}

int block_change_commit(struct block_fixture *f, uint64_t version)
{
	uint8_t record[THINP_BLOCK_SIZE] = {0};

	block_change_fill(record, 0, version);
	return thinp_bm_commit(f->bm, 0, thinp_block_type_bitmap(), record);
}

bool block_change_reads(struct block_fixture *f, thinp_block_t block, uint64_t version)
{
	struct thinp_read_section section;
	const void *data;
	bool is_right;

	thinp_read_begin(f->reader, &section);
	is_right = !thinp_read_block(&section, block, thinp_block_type_bitmap(), &data) &&
		   block_change_is(data, block, version);
	thinp_read_end(&section);
	return is_right;
}

bool block_change_is_on_device(struct block_fixture *f, thinp_block_t block, uint64_t version)
{
	const uint8_t *data = f->device.blocks + block * THINP_BLOCK_SIZE;

	return !tp_block_verify(data, block, thinp_block_type_bitmap()) && block_change_is(data, block, version);
}

void block_change_expect_at_rest(struct block_fixture *f)
{
	struct thinp_bm_stats stats = block_fixture_stats(f);
	size_t nr = stats.blocks_limit + TP_OWN_BUFFERS;
	struct thinp_buffer **buffers = calloc(nr, sizeof(struct thinp_buffer *));
	void *data;

	assert_non_null(buffers);
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(thinp_bm_write_lock_zero(f->bm, i, thinp_block_type_bitmap(), &buffers[i], &data), 0);
	for (size_t i = 0; i < nr; i++)
		thinp_bm_unlock(f->bm, buffers[i]);
	thinp_bm_abort(f->bm);
	free(buffers);
	stats = block_fixture_stats(f);
	assert_int_equal(stats.blocks_dirty, 0);
	assert_int_equal(stats.blocks_cached, 0);
}
