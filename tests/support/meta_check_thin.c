/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/meta_check_thin.c - REFCHECK of a whole image of a thin pool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/meta_check.h"

#include "base/bytes.h"
#include "format/thin.h"

#include <thinp/error.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BITMAPS = 4096, MOST_DEVICES = 4096 };

struct device {
	uint64_t id, nr_mapped;
};

struct devices {
	struct device list[MOST_DEVICES];
	size_t nr;
};

/* What a space map says of its blocks. */
struct map {
	const char *name;
	struct tp_sm_root root;
	struct tp_index_entry *entries;
	uint64_t nr_entries;
	uint32_t *counts;  /* 3 until the overflow tree has been read */
	uint8_t *overflow; /* whether it has the block */
	struct meta_kind index_kind, overflow_kind;
};

struct thin_check {
	struct meta_check check;
	struct tp_thin_superblock sb;
	struct map data, metadata;
	struct meta_kind top, device, details;
	void (*more)(struct meta_check *check, void *ctx);
	void *ctx;
	struct devices roots, records; /* of the superblock that is being walked */
};

/* --- trees ------------------------------------------------------------------------------------------------------------- */

static void take_mappings(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
			  const uint8_t *values_le, uint32_t nr)
{
	(void)kind, (void)keys;
	for (uint32_t i = 0; i < nr; i++)
		meta_check_refer_data(check, tp_load_le64(values_le + 8 * (size_t)i) >> 24);
}

static void add_device(struct devices *devices, uint64_t id, uint64_t nr_mapped)
{
	assert_true(devices->nr < MOST_DEVICES);
	devices->list[devices->nr++] = (struct device){.id = id, .nr_mapped = nr_mapped};
}

static void take_roots(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
		       const uint8_t *values_le, uint32_t nr)
{
	struct thin_check *thin = kind->ctx;

	for (uint32_t i = 0; i < nr; i++) {
		struct meta_below below =
			meta_check_tree(check, tp_load_le64(values_le + 8 * (size_t)i), &thin->device);

		add_device(&thin->roots, keys[i], below.nr_entries);
	}
}

static void take_details(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
			 const uint8_t *values_le, uint32_t nr)
{
	struct thin_check *thin = kind->ctx;

	(void)check;
	for (uint32_t i = 0; i < nr; i++) {
		struct tp_device_details details;

		tp_device_details_unpack(values_le + (size_t)i * TP_DETAILS_SIZE, &details);
		add_device(&thin->records, keys[i], details.mapped_blocks);
		assert_true(details.creation_time <= details.snapshotted_time);
		assert_true(details.snapshotted_time <= thin->sb.time);
	}
}

/* Leaves that the live trees and those of the snapshot share are met once, so only the live ones are compared. */
static void walk_trees(struct thin_check *thin, const struct tp_thin_superblock *sb, bool is_live)
{
	meta_check_tree(&thin->check, sb->mapping_root, &thin->top);
	meta_check_tree(&thin->check, sb->details_root, &thin->details);
	if (!is_live)
		return;
	assert_int_equal(thin->roots.nr, thin->records.nr);
	for (size_t i = 0; i < thin->roots.nr; i++) {
		assert_int_equal(thin->roots.list[i].id, thin->records.list[i].id);
		if (thin->roots.list[i].nr_mapped != thin->records.list[i].nr_mapped)
			fail_msg("device %" PRIu64 ": mapped_blocks %" PRIu64 ", %" PRIu64 " mappings",
				 thin->roots.list[i].id, thin->records.list[i].nr_mapped,
				 thin->roots.list[i].nr_mapped);
	}
}

static void read_block(struct thin_check *thin, thinp_block_t block, const struct thinp_block_type *type, void *copy)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct thinp_read_section section;
	const void *data;
	int r;

	thinp_read_begin(thin->check.reader, &section);
	r = thinp_read_block(&section, block, type, &data);
	if (!r)
		memcpy(copy, data, THINP_BLOCK_SIZE);
	thinp_read_end(&section);
	thinp_error_last(&info);
	if (r)
		fail_msg("block %" PRIu64 ": %s", block, info.message);
}

static void walk_snapshot(struct thin_check *thin)
{
	static const char kind[] = "metadata snapshot";
	uint8_t block[THINP_BLOCK_SIZE];
	struct tp_thin_superblock copy;

	if (!thin->sb.held_root)
		return;
	meta_check_refer(&thin->check, thin->sb.held_root, kind);
	read_block(thin, thin->sb.held_root, thinp_block_type_thin_superblock(), block);
	tp_thin_superblock_unpack(block, &copy);
	assert_int_equal(tp_thin_superblock_check_snap_roots(&copy, thin->sb.metadata_sm.nr_blocks), 0);
	walk_trees(thin, &copy, false);
}

/* --- space maps -------------------------------------------------------------------------------------------------------- */

static void take_entries(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
			 const uint8_t *values_le, uint32_t nr)
{
	struct map *map = kind->ctx;

	(void)check;
	for (uint32_t i = 0; i < nr; i++) {
		assert_int_equal(keys[i], map->nr_entries);
		tp_index_entry_unpack(values_le + (size_t)i * TP_INDEX_ENTRY_SIZE, &map->entries[map->nr_entries++]);
	}
}

static void take_large(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
		       const uint8_t *values_le, uint32_t nr)
{
	struct map *map = kind->ctx;

	(void)check;
	for (uint32_t i = 0; i < nr; i++) {
		uint32_t count = tp_load_le32(values_le + 4 * (size_t)i);

		if (keys[i] >= map->root.nr_blocks || count < 3 || map->counts[keys[i]] != 3)
			fail_msg("%s map: block %" PRIu64 " is in the overflow tree with %u, and not marked so",
				 map->name, keys[i], count);
		map->counts[keys[i]] = count;
		map->overflow[keys[i]] = 1;
	}
}

static void read_bitmap(struct thin_check *thin, struct map *map, uint64_t number)
{
	const struct tp_index_entry *entry = &map->entries[number];
	uint8_t block[THINP_BLOCK_SIZE], counts[TP_BITMAP_NR_ENTRIES];
	uint32_t nr_free = 0, first_free = TP_BITMAP_NR_ENTRIES;

	meta_check_refer(&thin->check, entry->bitmap, map);
	read_block(thin, entry->bitmap, thinp_block_type_bitmap(), block);
	tp_bitmap_unpack(block, counts);
	for (uint32_t i = TP_BITMAP_NR_ENTRIES; i-- > 0;) {
		uint64_t b = number * TP_BITMAP_NR_ENTRIES + i;

		nr_free += !counts[i];
		first_free = counts[i] ? first_free : i;
		if (b < map->root.nr_blocks)
			map->counts[b] = counts[i];
		else
			assert_int_equal(counts[i], 0);
	}
	assert_int_equal(entry->nr_free, nr_free);
	assert_true(entry->none_free_before <= first_free);
}

static void *allocate(uint64_t nr, size_t size)
{
	void *ptr = calloc(nr ? nr : 1, size);

	assert_non_null(ptr);
	return ptr;
}

static void read_map(struct thin_check *thin, struct map *map, const struct tp_sm_root *root, const char *name,
		     bool is_metadata)
{
	uint64_t nr_bitmaps = (root->nr_blocks + TP_BITMAP_NR_ENTRIES - 1) / TP_BITMAP_NR_ENTRIES;

	assert_true(nr_bitmaps <= MOST_BITMAPS);
	map->name = name;
	map->root = *root;
	map->entries = allocate(MOST_BITMAPS, sizeof(*map->entries));
	map->counts = allocate(root->nr_blocks, sizeof(*map->counts));
	map->overflow = allocate(root->nr_blocks, 1);
	map->index_kind =
		(struct meta_kind){.name = name, .value_size = TP_INDEX_ENTRY_SIZE, .take = take_entries, .ctx = map};
	map->overflow_kind = (struct meta_kind){.name = name, .value_size = 4, .take = take_large, .ctx = map};
	if (is_metadata) {
		uint8_t block[THINP_BLOCK_SIZE];
		struct tp_index index;

		meta_check_refer(&thin->check, root->bitmap_root, &map->index_kind);
		read_block(thin, root->bitmap_root, thinp_block_type_index(), block);
		tp_index_unpack(block, &index);
		memcpy(map->entries, index.entries, sizeof(index.entries));
		map->nr_entries = nr_bitmaps;
	} else {
		meta_check_tree(&thin->check, root->bitmap_root, &map->index_kind);
	}
	assert_int_equal(map->nr_entries, nr_bitmaps);
	for (uint64_t i = 0; i < nr_bitmaps; i++)
		read_bitmap(thin, map, i);
	meta_check_tree(&thin->check, root->ref_count_root, &map->overflow_kind);
}

static void compare(const struct map *map, const uint32_t *references)
{
	uint64_t nr_allocated = 0;

	for (uint64_t b = 0; b < map->root.nr_blocks; b++) {
		nr_allocated += map->counts[b] != 0;
		if (map->counts[b] != references[b])
			fail_msg("%s map: block %" PRIu64 ": count %u, %u references", map->name, b, map->counts[b],
				 references[b]);
		if ((map->counts[b] >= 3) != map->overflow[b])
			fail_msg("%s map: block %" PRIu64 " is marked 3, and not in the overflow tree", map->name, b);
	}
	assert_int_equal(map->root.nr_allocated, nr_allocated);
}

static void free_map(struct map *map)
{
	free(map->entries);
	free(map->counts);
	free(map->overflow);
}

/* --- all --------------------------------------------------------------------------------------------------------------- */

static void check_image(struct thin_check *thin, struct thinp_reader *reader)
{
	static const char superblock[] = "superblock";
	uint8_t block[THINP_BLOCK_SIZE];

	thin->check.reader = reader;
	read_block(thin, 0, thinp_block_type_thin_superblock(), block);
	tp_thin_superblock_unpack(block, &thin->sb);
	assert_int_equal(tp_thin_superblock_check_roots(&thin->sb), 0);
	meta_check_begin(&thin->check, reader, thin->sb.metadata_sm.nr_blocks, thin->sb.data_sm.nr_blocks);
	meta_check_refer(&thin->check, 0, superblock);
	thin->top = (struct meta_kind){.name = "top level", .value_size = 8, .take = take_roots, .ctx = thin};
	thin->device = (struct meta_kind){.name = "mappings", .value_size = 8, .take = take_mappings};
	thin->details =
		(struct meta_kind){.name = "details", .value_size = TP_DETAILS_SIZE, .take = take_details, .ctx = thin};
	walk_trees(thin, &thin->sb, true);
	walk_snapshot(thin);
	if (thin->more)
		thin->more(&thin->check, thin->ctx);
	read_map(thin, &thin->data, &thin->sb.data_sm, "data", false);
	read_map(thin, &thin->metadata, &thin->sb.metadata_sm, "metadata", true);
	compare(&thin->data, thin->check.data_counts);
	compare(&thin->metadata, thin->check.counts);
	meta_check_end(&thin->check);
	free_map(&thin->data);
	free_map(&thin->metadata);
}

void meta_check_thin(struct thinp_io *io, void (*more)(struct meta_check *check, void *ctx), void *ctx)
{
	struct thin_check *thin = allocate(1, sizeof(*thin));
	const struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = 256};
	struct thinp_reader *reader;
	struct thinp_bm *bm;

	thin->more = more;
	thin->ctx = ctx;
	assert_int_equal(thinp_bm_create(io, &opts, &bm), 0);
	assert_int_equal(thinp_reader_create(bm, 0, &reader), 0);
	check_image(thin, reader);
	thinp_reader_destroy(reader);
	thinp_bm_destroy(bm);
	free(thin);
}
