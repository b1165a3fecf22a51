/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays and bitsets that a Linux 6.1 kernel wrote, against what other tools printed of them: the stored XML.
 */
#include "base/bytes.h"

#include <thinp/array.h>
#include <thinp/btree.h>
#include <thinp/error.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- an image, its superblock, and its XML --------------------------------------------------------------------------- */

struct kernel_image {
	struct thinp_io *io;
	struct thinp_bm *bm;
	struct thinp_reader *reader;
	FILE *xml;
	alignas(THINP_BLOCK_SIZE) uint8_t sb[THINP_BLOCK_SIZE];
};

static const char *path_of(const char *name, const char *suffix)
{
	static char path[1024];

	snprintf(path, sizeof(path), "%s/%s.%s", THINP_FIXTURES, name, suffix);
	return path;
}

static void kernel_image_open(struct kernel_image *image, const char *name)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_READ_ONLY};

	assert_int_equal(thinp_io_open_file(path_of(name, "meta"), &opts, &image->io), 0);
	assert_int_equal(thinp_bm_create(image->io, NULL, &image->bm), 0);
	assert_int_equal(thinp_reader_create(image->bm, 0, &image->reader), 0);
	assert_int_equal(thinp_io_read(image->io, 0, 1, image->sb), 0);
	image->xml = fopen(path_of(name, "xml"), "r");
	assert_non_null(image->xml);
}

static void kernel_image_close(struct kernel_image *image)
{
	fclose(image->xml);
	thinp_reader_destroy(image->reader);
	thinp_bm_destroy(image->bm);
	thinp_io_close(image->io);
}

/* --- caches ---------------------------------------------------------------------------------------------------------- */

/* Where the fields of a cache superblock are (docs/format.md). */
enum { CACHE_VERSION = 40, CACHE_MAPPING_ROOT = 192, CACHE_NR_BLOCKS = 240, CACHE_DIRTY_ROOT = 284 };

struct cache_entry {
	bool is_mapped, is_dirty;
	uint64_t origin_block;
};

static uint32_t read_cache_xml(struct kernel_image *image, struct cache_entry *entries, uint32_t nr)
{
	uint32_t nr_mapped = 0;
	char line[256];

	while (fgets(line, sizeof(line), image->xml)) {
		struct cache_entry entry = {.is_mapped = true, .is_dirty = strstr(line, "dirty=\"true\"")};
		uint32_t block;

		if (sscanf(line, " <mapping cache_block=\"%" SCNu32 "\" origin_block=\"%" SCNu64 "\"", &block,
			   &entry.origin_block) != 2)
			continue;
		assert_true(block < nr);
		entries[block] = entry;
		nr_mapped++;
	}
	return nr_mapped;
}

static struct cache_entry *cache_entries_of(struct kernel_image *image, uint32_t nr)
{
	struct cache_entry *entries = calloc(nr, sizeof(*entries));

	assert_non_null(entries);
	assert_true(read_cache_xml(image, entries, nr) > 100);
	return entries;
}

struct expected_mappings {
	const struct cache_entry *entries;
	uint64_t next;
};

/* The value: the origin's block above 16 bits of flags, of which 1 is "valid". */
static int compare_mappings(void *ctx, const struct thinp_array_span *span)
{
	struct expected_mappings *expected = ctx;

	assert_int_equal(span->begin, expected->next);
	for (uint32_t i = 0; i < span->nr_values; i++) {
		const struct cache_entry *entry = &expected->entries[expected->next++];
		uint64_t value = tp_load_le64((const uint8_t *)span->values_le + 8 * (size_t)i);

		assert_int_equal(value & 1, entry->is_mapped);
		if (entry->is_mapped)
			assert_int_equal(value >> 16, entry->origin_block);
	}
	return 0;
}

static void expect_cache_mappings(const char *name, uint32_t version)
{
	static const struct thinp_array_type type = {.size = sizeof(type), .value_size = 8};
	struct expected_mappings expected = {.next = 0};
	struct kernel_image image;
	struct cache_entry *entries;
	uint64_t nr_values;
	uint32_t nr;

	kernel_image_open(&image, name);
	assert_int_equal(tp_load_le32(image.sb + CACHE_VERSION), version);
	nr = tp_load_le32(image.sb + CACHE_NR_BLOCKS);
	expected.entries = entries = cache_entries_of(&image, nr);
	assert_int_equal(
		thinp_array_nr_values(image.reader, &type, tp_load_le64(image.sb + CACHE_MAPPING_ROOT), &nr_values), 0);
	assert_int_equal(nr_values, nr);
	assert_int_equal(thinp_array_walk(image.reader, &type, tp_load_le64(image.sb + CACHE_MAPPING_ROOT), 0, nr,
					  compare_mappings, &expected),
			 0);
	assert_int_equal(expected.next, nr);
	free(entries);
	kernel_image_close(&image);
}

static void the_mappings_of_a_cache_of_version_1_are_those_of_its_XML(void **state)
{
	(void)state;
	expect_cache_mappings("kernel-cache1", 1);
}

static void the_mappings_of_a_cache_of_version_2_are_those_of_its_XML(void **state)
{
	(void)state;
	expect_cache_mappings("kernel-cache2", 2);
}

static void the_dirty_bits_of_a_cache_are_those_of_its_XML(void **state)
{
	struct kernel_image image;
	struct cache_entry *entries;
	uint32_t nr;

	(void)state;
	kernel_image_open(&image, "kernel-cache2");
	nr = tp_load_le32(image.sb + CACHE_NR_BLOCKS);
	entries = cache_entries_of(&image, nr);
	for (uint32_t i = 0; i < nr; i++) {
		bool is_dirty;

		assert_int_equal(
			thinp_bitset_test(image.reader, tp_load_le64(image.sb + CACHE_DIRTY_ROOT), i, &is_dirty), 0);
		if (entries[i].is_mapped)
			assert_int_equal(is_dirty, entries[i].is_dirty);
	}
	free(entries);
	kernel_image_close(&image);
}

/* --- eras ------------------------------------------------------------------------------------------------------------ */

/* Where the fields of an era superblock are. */
enum { ERA_NR_BLOCKS = 180, ERA_CURRENT_ROOT = 192, ERA_WRITESETS = 200, ERA_ARRAY_ROOT = 208 };

/* A block that stands in a writeset was written in its era, which the array need not know yet. */
static uint32_t era_by_writesets(struct kernel_image *image, uint32_t block, uint32_t era_of_array)
{
	static const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = 12};
	uint32_t era = era_of_array;
	struct thinp_btree_cursor *cursor;
	int r;

	assert_int_equal(
		thinp_btree_cursor_create(image->reader, &type, tp_load_le64(image->sb + ERA_WRITESETS), &cursor), 0);
	while (!(r = thinp_btree_cursor_next(cursor))) {
		uint8_t writeset[12]; /* number of bits, root of the bitset */
		bool is_set = false;
		uint64_t number;

		assert_int_equal(thinp_btree_cursor_get(cursor, &number, writeset), 0);
		if (block < tp_load_le32(writeset))
			assert_int_equal(thinp_bitset_test(image->reader, tp_load_le64(writeset + 4), block, &is_set),
					 0);
		if (is_set && number > era)
			era = (uint32_t)number;
	}
	assert_int_equal(r, THINP_ENODATA);
	thinp_btree_cursor_destroy(cursor);
	return era;
}

static void the_eras_of_all_blocks_are_those_of_the_XML(void **state)
{
	static const struct thinp_array_type type = {.size = sizeof(type), .value_size = 4};
	struct kernel_image image;
	uint64_t root, nr_values;
	uint32_t nr = 0;
	char line[256];

	(void)state;
	kernel_image_open(&image, "kernel-era");
	assert_int_equal(tp_load_le64(image.sb + ERA_CURRENT_ROOT),
			 0); /* it was suspended, so there is no current one */
	root = tp_load_le64(image.sb + ERA_ARRAY_ROOT);
	while (fgets(line, sizeof(line), image.xml)) {
		uint32_t block, era;
		uint8_t value[4];

		if (sscanf(line, " <era block=\"%" SCNu32 "\" era=\"%" SCNu32 "\"", &block, &era) != 2)
			continue;
		assert_int_equal(block, nr);
		assert_int_equal(thinp_array_get(image.reader, &type, root, nr++, value), 0);
		assert_int_equal(era_by_writesets(&image, block, tp_load_le32(value)), era);
	}
	assert_int_equal(nr, tp_load_le32(image.sb + ERA_NR_BLOCKS));
	assert_int_equal(thinp_array_nr_values(image.reader, &type, root, &nr_values), 0);
	assert_int_equal(nr_values, nr);
	kernel_image_close(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_mappings_of_a_cache_of_version_1_are_those_of_its_XML),
		cmocka_unit_test(the_mappings_of_a_cache_of_version_2_are_those_of_its_XML),
		cmocka_unit_test(the_dirty_bits_of_a_cache_are_those_of_its_XML),
		cmocka_unit_test(the_eras_of_all_blocks_are_those_of_the_XML),
	};

	return cmocka_run_group_tests_name("array/kernel_images", tests, NULL, NULL);
}
