/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_reader.c - what a read gives, what it refuses, and how long its pointers hold.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "format/kind.h"
#include "support/block_fixture.h"
#include "unit/format/expect.h"

enum { NR_BLOCKS = 200, CACHE = 16 };

static int setup(void **state)
{
	*state = block_fixture_new(NR_BLOCKS, CACHE);
	return 0;
}

static int teardown(void **state)
{
	block_fixture_free(*state);
	return 0;
}

/* Reads in a section of its own; what was given must be the block's bytes. */
static int read_as(struct block_fixture *f, thinp_block_t block, const struct thinp_block_type *type)
{
	struct thinp_read_section section;
	const void *data = NULL;
	int r;

	thinp_read_begin(f->reader, &section);
	r = thinp_read_block(&section, block, type, &data);
	if (r)
		assert_null(data); /* outputs stay untouched on failure */
	else
		assert_true(block_device_is(&f->device, block, data));
	thinp_read_end(&section);
	return r;
}

static void expect_stats(struct block_fixture *f, uint64_t hits, uint64_t misses, uint64_t blocks_cached)
{
	struct thinp_bm_stats stats = block_fixture_stats(f);

	assert_int_equal(stats.hits, hits);
	assert_int_equal(stats.misses, misses);
	assert_int_equal(stats.blocks_cached, blocks_cached);
}

/* --- the cache between reader and device --- */

static void a_block_is_read_from_the_device_once(void **state)
{
	struct block_fixture *f = *state;

	assert_int_equal(block_fixture_read(f, 7), 0);
	expect_stats(f, 0, 1, 1);
	assert_int_equal(block_fixture_read(f, 7), 0);
	assert_int_equal(block_fixture_read(f, 7), 0);
	expect_stats(f, 2, 1, 1);
	assert_int_equal(block_fixture_read(f, 8), 0);
	expect_stats(f, 2, 2, 2);
	assert_int_equal(block_device_nr_reads(&f->device), 2);
}

static void hits_are_counted_when_the_section_ends(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section section;

	block_fixture_read(f, 1);
	thinp_read_begin(f->reader, &section);
	block_fixture_get(f, &section, 1);
	assert_non_null(thinp_read_peek(&section, 1, thinp_block_type_bitmap()));
	expect_stats(f, 0, 1, 1);
	thinp_read_end(&section);
	expect_stats(f, 2, 1, 1);
}

static void readers_of_one_block_manager_share_its_cache(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_reader *first = f->reader;

	assert_int_equal(thinp_reader_create(f->bm, 0, &f->reader), 0);
	block_fixture_read(f, 3);
	thinp_reader_destroy(f->reader);
	f->reader = first;
	block_fixture_read(f, 3);
	expect_stats(f, 1, 1, 1);
}

static void peeking_never_asks_the_device(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section section;

	block_fixture_read(f, 5);
	block_device_forget(&f->device);
	thinp_read_begin(f->reader, &section);
	assert_non_null(thinp_read_peek(&section, 5, thinp_block_type_bitmap()));
	assert_null(thinp_read_peek(&section, 5, thinp_block_type_node()));
	assert_null(thinp_read_peek(&section, 6, thinp_block_type_bitmap()));
	assert_null(thinp_read_peek(&section, NR_BLOCKS, thinp_block_type_bitmap()));
	assert_null(thinp_read_peek(&section, THINP_NO_BLOCK, thinp_block_type_bitmap()));
	thinp_read_end(&section);
	assert_int_equal(f->device.nr_batches + f->device.nr_sizes, 0);
	expect_stats(f, 1, 1, 1);
}

/* --- checks --- */

static const struct thinp_block_type *(*const kinds[])(void) = {
	thinp_block_type_thin_superblock, thinp_block_type_node,  thinp_block_type_index,
	thinp_block_type_bitmap,          thinp_block_type_array,
};
enum { NR_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static void every_kind_is_read_as_what_it_is(void **state)
{
	struct block_fixture *f = *state;

	for (size_t i = 0; i < NR_KINDS; i++) {
		block_device_fill(&f->device, i, kinds[i](), i);
		assert_int_equal(read_as(f, i, kinds[i]()), 0);
	}
}

static void BM_03_a_cached_block_is_checked_as_every_kind_it_is_asked_as(void **state)
{
	struct block_fixture *f = *state;

	block_device_fill(&f->device, 4, thinp_block_type_node(), 4);
	assert_int_equal(read_as(f, 4, thinp_block_type_node()), 0);
	expect_corrupt(read_as(f, 4, thinp_block_type_bitmap()), 4, "holds a valid btree node, expected a bitmap");
	expect_corrupt(read_as(f, 4, thinp_block_type_index()), 4,
		       "holds a valid btree node, expected a metadata index");

	/* the refusals have neither dropped it nor changed what it is known as */
	assert_int_equal(read_as(f, 4, thinp_block_type_node()), 0);
	assert_int_equal(block_device_nr_reads(&f->device), 1);
	expect_stats(f, 1, 1, 1);
}

static void BM_03_every_kind_is_refused_as_every_other(void **state)
{
	struct block_fixture *f = *state;

	for (size_t i = 0; i < NR_KINDS; i++)
		block_device_fill(&f->device, i, kinds[i](), i);
	for (size_t is_cached = 0; is_cached < 2; is_cached++) {
		for (size_t i = 0; i < NR_KINDS; i++) {
			for (size_t k = 0; k < NR_KINDS; k++) {
				char message[100];

				if (i == k)
					continue;
				snprintf(message, sizeof(message), "holds a valid %s, expected %s %s", kinds[i]()->name,
					 strchr("aeiou", kinds[k]()->name[0]) ? "an" : "a", kinds[k]()->name);
				expect_corrupt(read_as(f, i, kinds[k]()), i, message);
			}
			assert_int_equal(read_as(f, i, kinds[i]()), 0);
		}
	}
}

static void BM_03_a_block_that_failed_as_one_kind_may_be_another(void **state)
{
	struct block_fixture *f = *state;

	assert_int_equal(read_as(f, 9, thinp_block_type_node()), THINP_ECORRUPT);
	assert_int_equal(read_as(f, 9, thinp_block_type_bitmap()), 0);
	assert_int_equal(read_as(f, 9, thinp_block_type_node()), THINP_ECORRUPT);
}

static int refuse(const void *data, thinp_block_t block)
{
	(void)data;
	return thinp_error_report(THINP_ECORRUPT, block, "too blue");
}

/* A caller's own kinds, of the same checksum as bitmaps. */
static struct thinp_block_type own_kind(int (*check)(const void *data, thinp_block_t block))
{
	struct thinp_block_type type = *thinp_block_type_bitmap();

	type.name = "painting";
	type.check = check;
	return type;
}

static void BM_03_two_kinds_that_both_fit_share_one_buffer(void **state)
{
	struct block_fixture *f = *state;
	const struct thinp_block_type twin = own_kind(NULL);

	for (int i = 0; i < 3; i++) {
		assert_int_equal(read_as(f, 2, thinp_block_type_bitmap()), 0);
		assert_int_equal(read_as(f, 2, &twin), 0);
	}
	assert_int_equal(block_device_nr_reads(&f->device), 1);
	expect_stats(f, 5, 1, 1);
}

static void BM_03_rules_of_a_kind_are_run_on_a_clean_buffer_too(void **state)
{
	struct block_fixture *f = *state;
	const struct thinp_block_type strict = own_kind(refuse);

	expect_corrupt(read_as(f, 2, &strict), 2, "too blue");
	assert_int_equal(read_as(f, 2, thinp_block_type_bitmap()), 0);
	expect_corrupt(read_as(f, 2, &strict), 2, "too blue");
	assert_int_equal(read_as(f, 2, thinp_block_type_bitmap()), 0);
	assert_int_equal(block_device_nr_reads(&f->device), 2); /* the first was not kept, the second was */
}

static void BM_04_a_block_of_another_place_is_refused(void **state)
{
	struct block_fixture *f = *state;

	for (size_t i = 0; i < NR_KINDS; i++) {
		char message[100];

		block_device_fill(&f->device, 50 + i, kinds[i](), 7);
		snprintf(message, sizeof(message), "%s misplaced: the block says it is 7", kinds[i]()->name);
		expect_corrupt(read_as(f, 50 + i, kinds[i]()), 50 + i, message);
	}
	expect_stats(f, 0, NR_KINDS, 0);
}

static void a_failed_check_is_not_remembered(void **state)
{
	struct block_fixture *f = *state;
	uint8_t *data = f->device.blocks + 11 * THINP_BLOCK_SIZE;

	data[4000] ^= 1;
	assert_int_equal(read_as(f, 11, thinp_block_type_bitmap()), THINP_ECORRUPT);
	assert_int_equal(read_as(f, 11, thinp_block_type_bitmap()), THINP_ECORRUPT);
	assert_int_equal(block_device_nr_reads(&f->device), 2);
	expect_stats(f, 0, 2, 0);
	data[4000] ^= 1;
	assert_int_equal(read_as(f, 11, thinp_block_type_bitmap()), 0);
	expect_stats(f, 0, 3, 1);
}

static void an_error_of_the_device_is_not_remembered(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_error_info info = {.size = sizeof(info)};

	block_device_fail(&f->device, 2, -EIO); /* the size is asked for first */
	assert_int_equal(read_as(f, 11, thinp_block_type_bitmap()), THINP_EIO);
	thinp_error_last(&info);
	assert_int_equal(info.code, THINP_EIO);
	assert_int_equal(info.os_errno, EIO);
	assert_int_equal(info.block, 11);
	assert_int_equal(read_as(f, 11, thinp_block_type_bitmap()), 0);
	expect_stats(f, 0, 2, 1);
}

/* --- the end --- */

static void BM_14_addresses_beyond_the_end_are_refused_without_asking(void **state)
{
	struct block_fixture *f = *state;

	assert_int_equal(thinp_reader_nr_blocks(f->reader), NR_BLOCKS);
	assert_int_equal(read_as(f, NR_BLOCKS - 1, thinp_block_type_bitmap()), 0);
	block_device_forget(&f->device);
	expect_corrupt(read_as(f, NR_BLOCKS, thinp_block_type_node()), NR_BLOCKS,
		       "btree node beyond the end of the metadata, 200 blocks");
	expect_corrupt(read_as(f, UINT64_MAX, thinp_block_type_bitmap()), UINT64_MAX,
		       "bitmap beyond the end of the metadata, 200 blocks");
	assert_int_equal(f->device.nr_batches, 0);
	expect_stats(f, 0, 1, 1);
}

static void BM_14_a_reader_keeps_to_its_window(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_reader *whole = f->reader;

	assert_int_equal(block_fixture_read(f, 20), 0); /* cached, and still refused below */
	assert_int_equal(thinp_reader_create(f->bm, 20, &f->reader), 0);
	assert_int_equal(thinp_reader_nr_blocks(f->reader), 20);
	assert_int_equal(block_fixture_read(f, 19), 0);
	expect_corrupt(read_as(f, 20, thinp_block_type_bitmap()), 20,
		       "bitmap beyond the end of the metadata, 20 blocks");
	assert_false(block_fixture_has(f, 20));
	thinp_reader_destroy(f->reader);
	f->reader = whole;
}

static void BM_14_a_device_shorter_than_it_should_be_is_the_limit(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_reader *reader;

	assert_int_equal(thinp_reader_create(f->bm, NR_BLOCKS + 1, &reader), 0);
	assert_int_equal(thinp_reader_nr_blocks(reader), NR_BLOCKS);
	thinp_reader_destroy(reader);
}

static void a_device_that_does_not_tell_its_size_has_no_reader(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_reader *reader = NULL;

	block_device_fail(&f->device, 1, -EIO);
	assert_int_equal(thinp_reader_create(f->bm, 0, &reader), THINP_EIO);
	assert_null(reader);
	thinp_reader_destroy(NULL);
	thinp_bm_destroy(NULL);
}

/* --- pointers --- */

static void what_was_peeked_holds_until_the_next_miss(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section section;
	const void *peeked[CACHE];

	block_fixture_read_range(f, 0, CACHE);
	thinp_read_begin(f->reader, &section);
	for (thinp_block_t block = 0; block < CACHE; block++)
		peeked[block] = thinp_read_peek(&section, block, thinp_block_type_bitmap());
	block_fixture_get(f, &section, CACHE - 1); /* a hit changes nothing */
	block_fixture_read_range(f, 100, 150);     /* other sections drive blocks out meanwhile */
	for (thinp_block_t block = 0; block < CACHE; block++)
		assert_true(block_device_is(&f->device, block, peeked[block]));
	thinp_read_end(&section);
}

static void what_was_fetched_holds_until_the_next_read(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section section;

	thinp_read_begin(f->reader, &section);
	for (thinp_block_t block = 0; block < 3 * CACHE; block++) {
		const void *data = block_fixture_get(f, &section, block);

		block_fixture_read_range(f, 100, 100 + 2 * CACHE); /* as much as the cache holds, twice */
		assert_true(block_device_is(&f->device, block, data));
	}
	thinp_read_end(&section);
}

static void a_pointer_survives_peeks_and_refusals(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section section;
	const void *data;

	thinp_read_begin(f->reader, &section);
	data = block_fixture_get(f, &section, 1);
	thinp_read_peek(&section, 2, thinp_block_type_bitmap());
	thinp_read_peek(&section, 1, thinp_block_type_node());
	block_fixture_read_range(f, 100, 100 + 2 * CACHE);
	assert_true(block_device_is(&f->device, 1, data));
	thinp_read_end(&section);
}

static void a_section_goes_on_after_a_failure(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section section;
	const void *data;

	thinp_read_begin(f->reader, &section);
	block_fixture_get(f, &section, 1);
	block_device_fail(&f->device, 2, -EIO);
	assert_int_equal(thinp_read_block(&section, 2, thinp_block_type_bitmap(), &data), THINP_EIO);
	assert_int_equal(thinp_read_block(&section, 1, thinp_block_type_node(), &data), THINP_ECORRUPT);
	assert_int_equal(thinp_read_block(&section, NR_BLOCKS, thinp_block_type_node(), &data), THINP_ECORRUPT);
	block_fixture_get(f, &section, 1);
	block_fixture_get(f, &section, 2);
	thinp_read_end(&section);
	expect_stats(f, 1, 3, 2);
}

/* --- more sections at once than there are slots --- */

static void a_section_without_a_slot_reads_as_any_other(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section others[BLOCK_FIXTURE_SLOTS];
	struct thinp_read_section section;
	const void *data;

	block_fixture_take_slots(f, others);
	thinp_read_begin(f->reader, &section);
	data = block_fixture_get(f, &section, 1);
	assert_null(thinp_read_peek(&section, 1, thinp_block_type_bitmap()));
	assert_true(block_device_is(&f->device, 1, data));
	assert_int_equal(thinp_read_block(&section, 1, thinp_block_type_node(), &data), THINP_ECORRUPT);
	assert_int_equal(thinp_read_block(&section, NR_BLOCKS, thinp_block_type_node(), &data), THINP_ECORRUPT);
	block_fixture_get(f, &section, 2);
	thinp_read_end(&section);
	block_fixture_give_slots(others);
}

static void a_section_without_a_slot_counts_its_hits(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section others[BLOCK_FIXTURE_SLOTS];

	block_fixture_take_slots(f, others);
	for (int i = 0; i < 5; i++)
		block_fixture_read(f, 1);
	block_fixture_give_slots(others);
	assert_int_equal(block_device_nr_reads(&f->device), 1);
	expect_stats(f, 4, 1, 1);
}

static void a_section_gets_a_slot_when_one_is_given_back(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section others[BLOCK_FIXTURE_SLOTS];
	struct thinp_read_section section;

	block_fixture_take_slots(f, others);
	thinp_read_begin(f->reader, &section);
	block_fixture_get(f, &section, 1);
	block_fixture_give_slots(others);
	block_fixture_get(f, &section, 2);
	assert_non_null(thinp_read_peek(&section, 1, thinp_block_type_bitmap()));
	thinp_read_end(&section);
}

static void two_hundred_sections_may_be_open_at_once(void **state)
{
	struct block_fixture *f = *state;
	struct thinp_read_section sections[NR_BLOCKS];
	const void *data[NR_BLOCKS];

	for (thinp_block_t block = 0; block < NR_BLOCKS; block++) {
		thinp_read_begin(f->reader, &sections[block]);
		data[block] = block_fixture_get(f, &sections[block], block);
	}
	for (thinp_block_t block = 0; block < NR_BLOCKS; block++) {
		assert_true(block_device_is(&f->device, block, data[block]));
		thinp_read_end(&sections[block]);
	}
	block_fixture_read_range(f, 0, NR_BLOCKS);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_block_is_read_from_the_device_once),
		TEST(hits_are_counted_when_the_section_ends),
		TEST(readers_of_one_block_manager_share_its_cache),
		TEST(peeking_never_asks_the_device),
		TEST(every_kind_is_read_as_what_it_is),
		TEST(BM_03_a_cached_block_is_checked_as_every_kind_it_is_asked_as),
		TEST(BM_03_every_kind_is_refused_as_every_other),
		TEST(BM_03_a_block_that_failed_as_one_kind_may_be_another),
		TEST(BM_03_two_kinds_that_both_fit_share_one_buffer),
		TEST(BM_03_rules_of_a_kind_are_run_on_a_clean_buffer_too),
		TEST(BM_04_a_block_of_another_place_is_refused),
		TEST(a_failed_check_is_not_remembered),
		TEST(an_error_of_the_device_is_not_remembered),
		TEST(BM_14_addresses_beyond_the_end_are_refused_without_asking),
		TEST(BM_14_a_reader_keeps_to_its_window),
		TEST(BM_14_a_device_shorter_than_it_should_be_is_the_limit),
		TEST(a_device_that_does_not_tell_its_size_has_no_reader),
		TEST(what_was_peeked_holds_until_the_next_miss),
		TEST(what_was_fetched_holds_until_the_next_read),
		TEST(a_pointer_survives_peeks_and_refusals),
		TEST(a_section_goes_on_after_a_failure),
		TEST(a_section_without_a_slot_reads_as_any_other),
		TEST(a_section_without_a_slot_counts_its_hits),
		TEST(a_section_gets_a_slot_when_one_is_given_back),
		TEST(two_hundred_sections_may_be_open_at_once),
	};

	return cmocka_run_group_tests_name("block/reader", tests, NULL, NULL);
}
