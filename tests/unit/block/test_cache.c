/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_cache.c - memory and its limit, what is driven out and what stays, and what happens when no buffer is
 * to be had.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "block/manager.h"
#include "support/block_fixture.h"
#include "unit/base/random.h"

/* --- making one --- */

static void options_of_the_future_are_refused(void **state)
{
	struct block_fixture *f = block_fixture_new(10, 4);
	struct thinp_bm_opts opts = {.size = sizeof(opts), .flags = 2};
	struct thinp_bm_opts longer[2] = {{.size = sizeof(longer)}, {.size = 1}};
	struct thinp_bm_opts unset = {.size = 0};
	struct thinp_bm *bm = NULL;

	(void)state;
	assert_int_equal(thinp_bm_create(f->device.io, &opts, &bm), THINP_ENOTSUP);
	assert_int_equal(thinp_bm_create(f->device.io, longer, &bm), THINP_ENOTSUP);
	assert_int_equal(thinp_bm_create(f->device.io, &unset, &bm), THINP_EINVAL);
	assert_null(bm);
	block_fixture_free(f);
}

static void without_options_the_cache_is_64_mib(void **state)
{
	struct block_fixture *f = block_fixture_new(10, 4);
	struct thinp_bm_stats stats = {.size = sizeof(stats)};
	struct thinp_bm *bm;

	(void)state;
	assert_int_equal(thinp_bm_create(f->device.io, NULL, &bm), 0);
	thinp_bm_get_stats(bm, &stats);
	assert_int_equal(stats.blocks_limit * THINP_BLOCK_SIZE, 64 << 20);
	thinp_bm_destroy(bm);
	block_fixture_free(f);
}

static void figures_fill_only_what_the_caller_knows(void **state)
{
	struct block_fixture *f = block_fixture_new(10, 4);
	struct thinp_bm_stats stats = {.size = offsetof(struct thinp_bm_stats, misses), .misses = 4711};

	(void)state;
	block_fixture_read_range(f, 0, 3);
	block_fixture_read_range(f, 0, 3);
	thinp_bm_get_stats(f->bm, &stats);
	assert_int_equal(stats.hits, 3);
	assert_int_equal(stats.misses, 4711);
	block_fixture_free(f);
}

/* --- memory --- */

/* Of the allocator's bytes all but the reader belong to the block manager. */
static void expect_bytes_told(struct block_fixture *f)
{
	assert_int_equal(block_fixture_stats(f).bytes, f->alloc.live_bytes - sizeof(struct thinp_reader));
}

static void the_bytes_told_are_those_of_the_allocator(void **state)
{
	struct block_fixture *f = block_fixture_new(600, 100);
	struct thinp_read_section sections[120];

	(void)state;
	expect_bytes_told(f);
	block_fixture_read(f, 1);
	expect_bytes_told(f);
	block_fixture_read_range(f, 0, 600);
	expect_bytes_told(f);
	for (size_t i = 0; i < 120; i++) {
		thinp_read_begin(f->reader, &sections[i]);
		block_fixture_get(f, &sections[i], i);
		expect_bytes_told(f);
	}
	assert_true(block_fixture_stats(f).uncached >= 20);
	for (size_t i = 0; i < 120; i++) {
		thinp_read_end(&sections[i]);
		expect_bytes_told(f);
	}
	block_fixture_free(f);
}

static void buffers_are_made_as_they_are_needed(void **state)
{
	struct block_fixture *f = block_fixture_new(1000, 0);

	(void)state;
	assert_true(block_fixture_stats(f).bytes < 16 << 10);
	block_fixture_read(f, 1);
	assert_true(block_fixture_stats(f).bytes < 300 << 10);
	block_fixture_read_range(f, 0, 1000);
	assert_true(block_fixture_stats(f).bytes < 1064 * (THINP_BLOCK_SIZE + 128));
	assert_true(f->alloc.largest <= 256 << 10);
	block_fixture_free(f);
}

static void BM_12_the_largest_limit_costs_nothing_by_itself(void **state)
{
	struct block_fixture *f = block_fixture_new(100, UINT32_MAX);

	(void)state;
	assert_true(f->alloc.peak_bytes < 16 << 10);
	block_fixture_read_range(f, 0, 100);
	assert_int_equal(block_fixture_stats(f).blocks_limit, UINT32_MAX);
	assert_int_equal(block_fixture_stats(f).blocks_cached, 100);
	assert_true(f->alloc.peak_bytes < 1 << 20);
	block_fixture_free(f);
}

static void BM_07_every_buffer_is_aligned_to_the_block_size(void **state)
{
	struct block_fixture *f = block_fixture_new(100, 3);
	struct thinp_read_section sections[10];

	(void)state;
	for (size_t i = 0; i < 10; i++) {
		thinp_read_begin(f->reader, &sections[i]);
		assert_int_equal((uintptr_t)block_fixture_get(f, &sections[i], i) % THINP_BLOCK_SIZE, 0);
	}
	assert_int_equal(block_fixture_stats(f).uncached, 7);
	for (size_t i = 0; i < 10; i++)
		thinp_read_end(&sections[i]);
	block_fixture_free(f);
}

/* At most: the buffers, and for every block of them a node of its own at each level but the root's. */
static size_t most_bytes(uint32_t cache_blocks, uint32_t levels)
{
	return sizeof(struct thinp_bm) + sizeof(struct thinp_reader) + (cache_blocks / 64 + 1) * 64 +
	       (size_t)cache_blocks * (THINP_BLOCK_SIZE + sizeof(struct thinp_buffer)) +
	       ((size_t)cache_blocks * (levels - 1) + 1) * sizeof(struct tp_radix_node);
}

static void the_limit_holds_whatever_is_read(void **state)
{
	static const uint32_t limits[] = {1, 2, 3, 7, 16, 63, 64, 65, 200};
	uint64_t rng = random_begin();

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct block_fixture *f = block_fixture_new(1000, limits[i]);

		for (int n = 0; n < 1500; n++) {
			thinp_block_t block = random_next(&rng) % 1000;

			if (n % 100 == 0)
				thinp_reader_prefetch(f->reader, thinp_block_type_bitmap(), &block, 1);
			assert_int_equal(block_fixture_read(f, block), 0);
		}
		assert_true(f->alloc.peak_bytes <= most_bytes(limits[i], 2));
		assert_true(block_fixture_stats(f).blocks_cached <= limits[i]);
		assert_int_equal(block_fixture_stats(f).uncached, 0);
		block_fixture_free(f);
	}
}

static void a_full_cache_stays_nearly_full(void **state)
{
	static const uint32_t limits[] = {1, 2, 3, 16, 32, 100};

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct block_fixture *f = block_fixture_new(500, limits[i]);

		for (thinp_block_t block = 0; block < 500; block++) {
			block_fixture_read(f, block);
			if (block >= limits[i])
				assert_true(block_fixture_stats(f).blocks_cached >= limits[i] - limits[i] / 16);
		}
		block_fixture_free(f);
	}
}

/* --- what is driven out --- */

static void of_blocks_read_once_the_oldest_goes_first(void **state)
{
	struct block_fixture *f = block_fixture_new(200, 15);

	(void)state;
	for (thinp_block_t block = 0; block < 200; block++) {
		block_fixture_read(f, block);
		if (block >= 15)
			assert_false(block_fixture_has(f, block - 15));
		assert_int_equal(block_fixture_stats(f).blocks_cached, block < 15 ? block + 1 : 15);
	}
	assert_int_equal(block_fixture_stats(f).evictions, 185);
	block_fixture_free(f);
}

static void a_block_in_use_stays_in_any_cache(void **state)
{
	static const uint32_t limits[] = {2, 3, 4, 8, 16, 33, 64, 100};

	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		struct block_fixture *f = block_fixture_new(500, limits[i]);

		for (thinp_block_t block = 1; block < 500; block++) {
			block_fixture_read(f, 0);
			block_fixture_read(f, block);
		}
		assert_int_equal(block_device_nr_reads(&f->device), 500);
		block_fixture_free(f);
	}
}

/* A path of three hot blocks and a leaf that is never the same. */
static void the_upper_part_of_a_path_stays(void **state)
{
	struct block_fixture *f = block_fixture_new(1000, 5);

	(void)state;
	for (thinp_block_t leaf = 3; leaf < 1000; leaf++) {
		struct thinp_read_section section;

		thinp_read_begin(f->reader, &section);
		for (thinp_block_t block = 0; block < 3; block++)
			block_fixture_get(f, &section, block);
		block_fixture_get(f, &section, leaf);
		thinp_read_end(&section);
	}
	assert_int_equal(block_device_nr_reads(&f->device), 1000);
	block_fixture_free(f);
}

static void what_sections_without_a_slot_use_stays_too(void **state)
{
	struct block_fixture *f = block_fixture_new(500, 16);
	struct thinp_read_section others[BLOCK_FIXTURE_SLOTS];

	(void)state;
	block_fixture_take_slots(f, others);
	for (thinp_block_t block = 1; block < 6; block++) { /* more would pile up behind the others' sections */
		block_fixture_read(f, 0);
		block_fixture_read(f, block);
	}
	block_fixture_read(f, 0);
	block_fixture_give_slots(others);
	block_fixture_read_range(f, 100, 115); /* one round of the hand, but for one */
	assert_true(block_fixture_has(f, 0));
	block_fixture_free(f);
}

static void a_block_that_is_no_longer_used_goes_in_the_end(void **state)
{
	struct block_fixture *f = block_fixture_new(1000, 16);

	(void)state;
	for (int i = 0; i < 10; i++)
		block_fixture_read(f, 0);
	block_fixture_read_range(f, 1, 100);
	assert_false(block_fixture_has(f, 0));
	block_fixture_free(f);
}

static void one_miss_does_not_visit_the_whole_cache(void **state)
{
	enum { LIMIT = 3000, BEARABLE = 1500 };
	struct block_fixture *f = block_fixture_new(LIMIT + 100, LIMIT);
	size_t nr_marked = 0;

	(void)state;
	block_fixture_read_range(f, 0, LIMIT);
	block_fixture_read_range(f, 0, LIMIT); /* all are used now */
	block_fixture_read(f, LIMIT);
	for (thinp_block_t block = 0; block < LIMIT; block++) {
		struct thinp_buffer *buffer = tp_radix_find(&f->bm->cache.table, block);

		nr_marked += buffer && atomic_load(&buffer->use) == TP_USED;
	}
	assert_true(nr_marked >= LIMIT - BEARABLE);
	assert_true(block_fixture_has(f, LIMIT));
	block_fixture_free(f);
}

/* --- when no buffer is to be had --- */

static void the_smallest_caches_serve_one_section_after_the_other(void **state)
{
	(void)state;
	for (uint32_t limit = 1; limit <= 3; limit++) {
		struct block_fixture *f = block_fixture_new(50, limit);

		for (int round = 0; round < 3; round++)
			block_fixture_read_range(f, 0, 50);
		assert_int_equal(block_fixture_stats(f).uncached, 0);
		assert_int_equal(block_fixture_stats(f).blocks_cached, limit);
		block_fixture_free(f);
	}
}

static void the_smallest_caches_serve_one_section_with_many_reads(void **state)
{
	(void)state;
	for (uint32_t limit = 1; limit <= 3; limit++) {
		struct block_fixture *f = block_fixture_new(50, limit);
		struct thinp_read_section section;

		thinp_read_begin(f->reader, &section);
		for (int round = 0; round < 3; round++)
			for (thinp_block_t block = 0; block < 50; block++)
				block_fixture_get(f, &section, block);
		thinp_read_end(&section);
		assert_int_equal(block_fixture_stats(f).uncached, 0);
		block_fixture_free(f);
	}
}

static void with_every_buffer_held_a_section_reads_into_memory_of_its_own(void **state)
{
	(void)state;
	for (uint32_t limit = 1; limit <= 3; limit++) {
		struct block_fixture *f = block_fixture_new(50, limit);
		struct thinp_read_section sections[6];
		const void *data[6];

		for (size_t i = 0; i < 6; i++) {
			thinp_read_begin(f->reader, &sections[i]);
			data[i] = block_fixture_get(f, &sections[i], i);
		}
		assert_int_equal(block_fixture_stats(f).uncached, 6 - limit);
		assert_int_equal(block_fixture_stats(f).blocks_cached, limit);
		for (size_t i = 0; i < 6; i++)
			assert_true(block_device_is(&f->device, i, data[i]));
		for (size_t i = 0; i < 6; i++)
			thinp_read_end(&sections[i]);
		block_fixture_read_range(f, 10, 50);
		assert_int_equal(block_fixture_stats(f).uncached, 6 - limit);
		block_fixture_free(f);
	}
}

static void what_was_read_uncached_is_checked_and_told_as_usual(void **state)
{
	struct block_fixture *f = block_fixture_new(50, 1);
	struct thinp_read_section holder;
	struct thinp_read_section section;
	const void *data;

	(void)state;
	f->device.blocks[3 * THINP_BLOCK_SIZE + 9] ^= 1;
	thinp_read_begin(f->reader, &holder);
	block_fixture_get(f, &holder, 0);
	thinp_read_begin(f->reader, &section);
	assert_int_equal(thinp_read_block(&section, 3, thinp_block_type_bitmap(), &data), THINP_ECORRUPT);
	assert_int_equal(thinp_read_block(&section, 4, thinp_block_type_node(), &data), THINP_ECORRUPT);
	block_fixture_get(f, &section, 4);
	assert_null(thinp_read_peek(&section, 4, thinp_block_type_bitmap()));
	block_fixture_get(f, &section, 4);
	assert_int_equal(block_device_nr_reads(&f->device), 1 + 2 + 2);
	block_fixture_get(f, &section, 0);
	thinp_read_end(&section);
	thinp_read_end(&holder);
	block_fixture_free(f);
}

static void a_section_held_for_long_stops_eviction_but_nobody(void **state)
{
	struct block_fixture *f = block_fixture_new(1000, 64);
	struct thinp_read_section holder;
	struct thinp_bm_stats stats;
	const void *peeked[64];

	(void)state;
	block_fixture_read_range(f, 0, 64);
	thinp_read_begin(f->reader, &holder);
	for (thinp_block_t block = 0; block < 64; block++)
		peeked[block] = thinp_read_peek(&holder, block, thinp_block_type_bitmap());

	block_fixture_read_range(f, 100, 1000);
	stats = block_fixture_stats(f);
	assert_true(stats.evictions < 64 / 4 + 8); /* no more is driven out for its sake */
	assert_int_equal(stats.blocks_cached, 64 - stats.evictions);
	assert_int_equal(stats.uncached, 900);
	for (thinp_block_t block = 0; block < 64; block++)
		assert_true(block_device_is(&f->device, block, peeked[block]));

	thinp_read_end(&holder);
	block_fixture_read_range(f, 100, 1000);
	stats = block_fixture_stats(f);
	assert_int_equal(stats.uncached, 900);
	assert_true(stats.blocks_cached >= 60);
	block_fixture_free(f);
}

static void failed_reads_give_their_buffer_back(void **state)
{
	struct block_fixture *f = block_fixture_new(50, 2);

	(void)state;
	f->device.blocks[2 * THINP_BLOCK_SIZE + 9] ^= 1;
	for (int i = 0; i < 20; i++) {
		block_device_fail(&f->device, 2, THINP_EIO);
		assert_int_equal(block_fixture_read(f, 1), THINP_EIO);
		assert_int_equal(block_fixture_read(f, 2), THINP_ECORRUPT);
	}
	block_fixture_read_range(f, 10, 12);
	assert_int_equal(block_fixture_stats(f).uncached, 0);
	assert_int_equal(block_fixture_stats(f).blocks_cached, 2);
	block_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_of_the_future_are_refused),
		cmocka_unit_test(without_options_the_cache_is_64_mib),
		cmocka_unit_test(figures_fill_only_what_the_caller_knows),
		cmocka_unit_test(the_bytes_told_are_those_of_the_allocator),
		cmocka_unit_test(buffers_are_made_as_they_are_needed),
		cmocka_unit_test(BM_12_the_largest_limit_costs_nothing_by_itself),
		cmocka_unit_test(BM_07_every_buffer_is_aligned_to_the_block_size),
		cmocka_unit_test(the_limit_holds_whatever_is_read),
		cmocka_unit_test(a_full_cache_stays_nearly_full),
		cmocka_unit_test(of_blocks_read_once_the_oldest_goes_first),
		cmocka_unit_test(a_block_in_use_stays_in_any_cache),
		cmocka_unit_test(the_upper_part_of_a_path_stays),
		cmocka_unit_test(what_sections_without_a_slot_use_stays_too),
		cmocka_unit_test(a_block_that_is_no_longer_used_goes_in_the_end),
		cmocka_unit_test(one_miss_does_not_visit_the_whole_cache),
		cmocka_unit_test(the_smallest_caches_serve_one_section_after_the_other),
		cmocka_unit_test(the_smallest_caches_serve_one_section_with_many_reads),
		cmocka_unit_test(with_every_buffer_held_a_section_reads_into_memory_of_its_own),
		cmocka_unit_test(what_was_read_uncached_is_checked_and_told_as_usual),
		cmocka_unit_test(a_section_held_for_long_stops_eviction_but_nobody),
		cmocka_unit_test(failed_reads_give_their_buffer_back),
	};

	return cmocka_run_group_tests_name("block/cache", tests, NULL, NULL);
}
