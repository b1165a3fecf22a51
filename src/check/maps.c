/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/maps.c - finding the bitmaps of both space maps, and the numbers that stand beside them.
 */
#include "base/bytes.h"
#include "check/bitmaps.h"
#include "format/node.h"

#include <inttypes.h>

/* --- leaves --- */

int tp_maps_take_index(struct tp_checker *checker, const uint8_t *leaf, uint32_t block)
{
	for (uint32_t i = 0; i < tp_node_nr_entries(leaf); i++) {
		struct tp_index_found *found = tp_vector_add(checker, &checker->index, sizeof(*found));

		if (!found)
			return THINP_ENOMEM;
		*found = (struct tp_index_found){.at = {.key = tp_node_key(leaf, i), .block = block}};
		tp_index_entry_unpack(tp_node_values(leaf) + TP_INDEX_ENTRY_SIZE * (size_t)i, &found->entry);
	}
	return 0;
}

int tp_maps_take_overflow(struct tp_checker *checker, struct tp_vector *overflow, const uint8_t *leaf, uint32_t block)
{
	for (uint32_t i = 0; i < tp_node_nr_entries(leaf); i++) {
		struct tp_leaf_entry *entry = tp_vector_add(checker, overflow, sizeof(*entry));

		if (!entry)
			return THINP_ENOMEM;
		*entry = (struct tp_leaf_entry){.key = tp_node_key(leaf, i),
						.count = tp_load_le32(tp_node_values(leaf) + 4 * (size_t)i),
						.block = block};
	}
	return 0;
}

/* --- overflow --- */

static void found_overflow(struct tp_map *map, int rule, const struct tp_leaf_entry *entry, const char *text)
{
	struct tp_finding finding = tp_finding(rule, THINP_CHECK_FATAL, map->overflow_part, entry->block);

	finding.begin = entry->key;
	finding.end = entry->key + 1;
	finding.stored = entry->count;
	tp_found(map->finder, &finding, "%s block %" PRIu64 ": count %" PRIu32 " %s", map->name, entry->key,
		 entry->count, text);
}

static void check_overflow(struct tp_map *map)
{
	struct tp_leaf_entry *entries = map->overflow->entries;

	tp_leaf_entries_sort(map->overflow, sizeof(*entries));
	for (size_t i = 0; i < map->overflow->nr; i++) {
		if (entries[i].key >= map->root.nr_blocks)
			found_overflow(map, THINP_CHECK_SM10, &entries[i], "of a block that does not exist");
		else if (entries[i].count < 3)
			found_overflow(map, THINP_CHECK_SM9, &entries[i], "is too small for the overflow tree");
	}
}

/* --- index --- */

static uint64_t bitmaps_of(const struct tp_map *map)
{
	return map->root.nr_blocks / TP_BITMAP_NR_ENTRIES + (map->root.nr_blocks % TP_BITMAP_NR_ENTRIES != 0);
}

static void found_gap(struct tp_map *map, uint64_t begin, uint64_t end)
{
	struct tp_finding finding =
		tp_finding(THINP_CHECK_SM1, THINP_CHECK_FATAL, map->index_part, map->root.bitmap_root);

	finding.begin = begin;
	finding.end = end;
	tp_found(map->finder, &finding, "the index of the %s map lacks bitmaps %" PRIu64 " to %" PRIu64, map->name,
		 begin, end - 1);
	map->is_whole = false;
}

static void found_surplus(struct tp_map *map, const struct tp_index_found *found)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_SM1, THINP_CHECK_FATAL, map->index_part, found->at.block);

	finding.begin = found->at.key;
	finding.end = found->at.key + 1;
	tp_found(map->finder, &finding, "the index of the %s map has bitmap %" PRIu64 " of %" PRIu64, map->name,
		 found->at.key, bitmaps_of(map));
}

/* Follows the pointer to a bitmap. */
static int reach_bitmap(struct tp_checker *checker, struct tp_map *map, const struct tp_index_found *found)
{
	struct tp_bitmap_ref *ref = tp_vector_add(checker, &map->bitmaps, sizeof(*ref));
	struct tp_reach reach = {.part = map->bitmap_part,
				 .from = found->at.block,
				 .device_id = THINP_CHECK_NONE,
				 .device = TP_NO_DEVICE};
	bool is_sound;
	int r = ref ? tp_node_reach(&checker->workers[0], found->entry.bitmap, &reach, &is_sound) : THINP_ENOMEM;

	if (r)
		return r;
	*ref = (struct tp_bitmap_ref){.number = found->at.key, .entry = found->entry, .from = found->at.block};
	if (!is_sound) {
		map->bitmaps.nr--;
		map->is_whole = false;
	}
	return 0;
}

static int reach_data_bitmaps(struct tp_checker *checker, struct tp_map *map)
{
	struct tp_index_found *entries = checker->index.entries;
	bool is_index_whole = !(map->finder->broken >> map->index_part & 1);
	uint64_t next = 0;
	int r = 0;

	tp_leaf_entries_sort(&checker->index, sizeof(*entries));
	for (size_t i = 0; !r && i < checker->index.nr; i++) {
		if (entries[i].at.key >= bitmaps_of(map) || (i && entries[i].at.key == entries[i - 1].at.key)) {
			found_surplus(map, &entries[i]);
			continue;
		}
		if (entries[i].at.key > next && is_index_whole)
			found_gap(map, next, entries[i].at.key);
		next = entries[i].at.key + 1;
		r = reach_bitmap(checker, map, &entries[i]);
	}
	if (!r && next < bitmaps_of(map) && is_index_whole)
		found_gap(map, next, bitmaps_of(map));
	map->is_whole &= is_index_whole;
	return r;
}

static void found_junk(struct tp_map *map, uint32_t i)
{
	struct tp_finding finding =
		tp_finding(THINP_CHECK_SM1, THINP_CHECK_WARNING, map->index_part, map->root.bitmap_root);

	finding.begin = i;
	finding.end = i + 1u;
	tp_found(map->finder, &finding, "the index of the metadata map has old bytes behind its last entry");
}

static int take_metadata_index(struct tp_checker *checker, struct tp_map *map, const uint8_t *data)
{
	uint64_t nr = bitmaps_of(map) < TP_INDEX_NR_ENTRIES ? bitmaps_of(map) : TP_INDEX_NR_ENTRIES;
	uint32_t i;
	int r = 0;

	for (i = 0; !r && i < nr; i++) {
		struct tp_index_found found = {.at = {.key = i, .block = (uint32_t)map->root.bitmap_root}};

		tp_index_entry_unpack(data + 16 + TP_INDEX_ENTRY_SIZE * (size_t)i, &found.entry);
		r = reach_bitmap(checker, map, &found);
	}
	for (; !r && i < TP_INDEX_NR_ENTRIES; i++)
		if (tp_load_le64(data + 16 + TP_INDEX_ENTRY_SIZE * (size_t)i) |
		    tp_load_le64(data + 24 + TP_INDEX_ENTRY_SIZE * (size_t)i)) {
			found_junk(map, i);
			break;
		}
	return r;
}

static int reach_metadata_bitmaps(struct tp_checker *checker, struct tp_map *map)
{
	struct tp_worker *worker = &checker->workers[0];
	struct tp_reach reach = {.part = map->index_part, .device_id = THINP_CHECK_NONE, .device = TP_NO_DEVICE};
	const uint8_t *data;
	bool is_sound;
	int r = tp_node_reach(worker, map->root.bitmap_root, &reach, &is_sound);

	map->is_whole &= is_sound;
	if (r || !is_sound)
		return r;
	worker->nr_read++;
	data = tp_window_read_one(&checker->ahead, (uint32_t)map->root.bitmap_root);
	if (tp_check_block(worker, data, (uint32_t)map->root.bitmap_root, map->index_part))
		return take_metadata_index(checker, map, data);
	map->is_whole = false;
	return 0;
}

/* --- both maps --- */

static void say_incomplete(struct tp_checker *checker)
{
	struct tp_finding finding =
		tp_finding(THINP_CHECK_SM11, THINP_CHECK_STATE, THINP_CHECK_SUPERBLOCK, THINP_NO_BLOCK);

	checker->result.flags |= THINP_CHECK_COUNTS_INCOMPLETE;
	tp_found(&checker->workers[0].finder, &finding,
		 "leaks were not looked for: damage may hide references to blocks");
}

#define PART(name) (1u << THINP_CHECK_##name)

/* Damage that may hide references: lower bounds are all that is known of the counts then. */
static void judge_completeness(struct tp_checker *checker, struct tp_map *data, struct tp_map *metadata)
{
	uint32_t broken = checker->workers[0].finder.broken;
	uint32_t bitmaps = PART(DATA_BITMAP) | PART(METADATA_BITMAP);

	data->is_counted = checker->has_data_map &&
			   !(broken & (PART(DEVICES) | PART(MAPPINGS) | PART(SNAP) | PART(SUPERBLOCK) | bitmaps));
	metadata->is_counted = !broken && data->is_whole && metadata->is_whole;
	data->has_overflow = !(broken & PART(DATA_OVERFLOW));
	metadata->has_overflow = !(broken & PART(METADATA_OVERFLOW));
	if (!metadata->is_counted)
		say_incomplete(checker);
}

static void init_maps(struct tp_checker *checker, struct tp_map *data, struct tp_map *metadata)
{
	*data = (struct tp_map){.fixes = checker->fixes,
				.space = THINP_POOL_DATA,
				.name = "data",
				.finder = &checker->workers[0].finder,
				.root = checker->live.data_sm,
				.index_part = THINP_CHECK_DATA_INDEX,
				.bitmap_part = THINP_CHECK_DATA_BITMAP,
				.overflow_part = THINP_CHECK_DATA_OVERFLOW,
				.overflow = &checker->data_overflow,
				.is_whole = checker->has_data_map,
				.nr_leaked = &checker->result.nr_data_leaked,
				.nr_too_low = &checker->result.nr_data_too_low};
	*metadata = (struct tp_map){.fixes = checker->fixes,
				    .space = THINP_POOL_METADATA,
				    .name = "metadata",
				    .finder = &checker->workers[0].finder,
				    .root = checker->live.metadata_sm,
				    .index_part = THINP_CHECK_METADATA_INDEX,
				    .bitmap_part = THINP_CHECK_METADATA_BITMAP,
				    .overflow_part = THINP_CHECK_METADATA_OVERFLOW,
				    .overflow = &checker->metadata_overflow,
				    .is_whole = true,
				    .nr_leaked = &checker->result.nr_metadata_leaked,
				    .nr_too_low = &checker->result.nr_metadata_too_low};
	metadata->root.nr_blocks = checker->map_blocks;
}

static void exit_map(struct tp_checker *checker, struct tp_map *map)
{
	tp_memory_put(&checker->memory, map->bitmaps.entries, map->bitmaps.room, sizeof(struct tp_bitmap_ref));
}

int tp_maps_check(struct tp_checker *checker)
{
	struct tp_map data, metadata;
	int r;

	init_maps(checker, &data, &metadata);
	check_overflow(&data);
	check_overflow(&metadata);
	r = reach_data_bitmaps(checker, &data);
	if (!r)
		r = reach_metadata_bitmaps(checker, &metadata);
	if (!r) {
		judge_completeness(checker, &data, &metadata);
		r = tp_bitmaps_check(checker, &data);
	}
	if (!r)
		r = tp_bitmaps_check(checker, &metadata);
	exit_map(checker, &data);
	exit_map(checker, &metadata);
	return r;
}
