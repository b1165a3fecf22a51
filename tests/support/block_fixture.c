/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/block_fixture.c - a block manager to be tested.
 */
#include "support/block_fixture.h"

#include "base/epoch.h"
#include "block/manager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static_assert(BLOCK_FIXTURE_SLOTS == TP_EPOCH_NR_SLOTS, "as many sections as there are slots");

static struct block_fixture *complete(struct block_fixture *f, uint32_t cache_blocks)
{
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = cache_blocks, .allocator = &f->alloc.table};

	alloc_counting_init(&f->alloc);
	assert_int_equal(thinp_bm_create(f->device.io, &opts, &f->bm), 0);
	assert_int_equal(thinp_reader_create(f->bm, 0, &f->reader), 0);
	block_device_forget(&f->device);
	return f;
}

struct block_fixture *block_fixture_new(uint64_t nr_blocks, uint32_t cache_blocks)
{
	struct block_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	block_device_open(&f->device, nr_blocks);
	return complete(f, cache_blocks);
}

struct block_fixture *block_fixture_new_quiet(uint64_t nr_blocks, uint32_t cache_blocks)
{
	struct block_fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	block_device_open_quiet(&f->device, nr_blocks);
	return complete(f, cache_blocks);
}

void block_fixture_free(struct block_fixture *f)
{
	thinp_reader_destroy(f->reader);
	thinp_bm_destroy(f->bm);
	alloc_counting_check(&f->alloc);
	block_device_close(&f->device);
	free(f);
}

struct thinp_bm_stats block_fixture_stats(struct block_fixture *f)
{
	struct thinp_bm_stats stats = {.size = sizeof(stats)};

	thinp_bm_get_stats(f->bm, &stats);
	return stats;
}

int block_fixture_read(struct block_fixture *f, thinp_block_t block)
{
	struct thinp_read_section section;
	const void *data;
	bool is_right = true;
	int r;

	thinp_read_begin(f->reader, &section);
	r = thinp_read_block(&section, block, thinp_block_type_bitmap(), &data);
	if (!r)
		is_right = block_device_is(&f->device, block, data);
	thinp_read_end(&section);
	assert_true(is_right);
	return r;
}

void block_fixture_read_range(struct block_fixture *f, thinp_block_t begin, thinp_block_t end)
{
	for (thinp_block_t block = begin; block < end; block++)
		assert_int_equal(block_fixture_read(f, block), 0);
}

void block_fixture_drop_range(struct block_fixture *f, thinp_block_t begin, thinp_block_t end)
{
	thinp_block_t blocks[100];
	size_t nr = 0;

	assert_true(end - begin <= 100);
	for (thinp_block_t block = begin; block < end; block++)
		blocks[nr++] = block;
	tp_reader_drop_unused(f->reader, blocks, nr);
}

const void *block_fixture_get(struct block_fixture *f, struct thinp_read_section *section, thinp_block_t block)
{
	const void *data;

	assert_int_equal(thinp_read_block(section, block, thinp_block_type_bitmap(), &data), 0);
	assert_true(block_device_is(&f->device, block, data));
	return data;
}

bool block_fixture_has(struct block_fixture *f, thinp_block_t block)
{
	struct thinp_read_section section;
	bool has;

	thinp_read_begin(f->reader, &section);
	has = thinp_read_peek(&section, block, thinp_block_type_bitmap());
	thinp_read_end(&section);
	return has;
}

void block_fixture_take_slots(struct block_fixture *f, struct thinp_read_section *sections)
{
	for (size_t i = 0; i < BLOCK_FIXTURE_SLOTS; i++)
		thinp_read_begin(f->reader, &sections[i]);
}

void block_fixture_give_slots(struct thinp_read_section *sections)
{
	for (size_t i = 0; i < BLOCK_FIXTURE_SLOTS; i++)
		thinp_read_end(&sections[i]);
}

double block_fixture_seconds(void)
{
	const char *given = getenv("THINP_TEST_SECONDS");

	return given ? strtod(given, NULL) : 2;
}

double block_fixture_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
