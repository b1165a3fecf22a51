/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reference counts as a space map on the disk has them, against a plain array.
 */
#include "space_map/read.h"

#include "support/image_expect.h"
#include "support/image_space_map.h"
#include "support/image_trial.h"

#include <stdlib.h>

#include "unit/base/random.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { PER_BITMAP = 16320 };

struct map {
	struct image image;
	struct image_reader reader;
	struct tp_sm_view view;
	uint32_t *counts;
	uint64_t nr;
};

static void map_open(struct map *map, enum tp_sm_kind kind, const struct tree_shape *shape, uint64_t nr,
		     uint32_t (*count_of)(uint64_t block), uint32_t cache_blocks)
{
	map->nr = nr;
	map->counts = calloc(nr + 1, sizeof(*map->counts));
	assert_non_null(map->counts);
	for (uint64_t b = 0; b < nr; b++)
		map->counts[b] = count_of(b);
	image_open(&map->image, 1000);
	image_space_map(&map->image, kind == TP_SM_DATA ? IMAGE_DATA_MAP : IMAGE_METADATA_MAP, shape, map->counts, nr,
			&map->view.root);
	assert_int_equal(image_reader_open(&map->reader, &map->image, cache_blocks), 0);
	map->view.reader = map->reader.reader;
	map->view.kind = kind;
}

static void map_close(struct map *map)
{
	image_reader_close(&map->reader);
	image_close(&map->image);
	free(map->counts);
}

static void map_reopen(struct map *map)
{
	image_reader_close(&map->reader);
	assert_int_equal(image_reader_open(&map->reader, &map->image, 1), 0);
	map->view.reader = map->reader.reader;
}

static thinp_block_t bitmap_of(struct map *map, uint32_t i)
{
	return image_bitmap(&map->image, map->view.kind == TP_SM_DATA ? IMAGE_DATA_MAP : IMAGE_METADATA_MAP,
			    &map->view.root, i);
}

/* --- patterns of counts ---------------------------------------------------------------------------------------------- */

static uint32_t none(uint64_t block)
{
	(void)block;
	return 0;
}

static uint32_t one(uint64_t block)
{
	(void)block;
	return 1;
}

/* Every count that a bitmap can tell and some that it cannot, in every place of a byte. */
static uint32_t rising(uint64_t block)
{
	return (uint32_t)(block % 7);
}

static uint32_t in_runs(uint64_t block)
{
	return (uint32_t)(block / 1000 % 5);
}

static uint32_t mostly_free(uint64_t block)
{
	return block % 1000 == 999 ? UINT32_MAX - (uint32_t)(block / 1000) : 0;
}

static uint32_t scattered(uint64_t block)
{
	uint64_t rng = block;

	return (uint32_t)(random_next(&rng) % 6);
}

/* --- single counts --------------------------------------------------------------------------------------------------- */

static void expect_count(struct map *map, uint64_t block)
{
	uint32_t count = 77;
	int r = tp_sm_count(&map->view, block, &count);

	if (block < map->nr) {
		assert_int_equal(r, 0);
		assert_int_equal(count, map->counts[block]);
	} else {
		assert_int_equal(r, THINP_ERANGE);
		expect_detail(r);
		assert_int_equal(count, 77);
	}
}

static void expect_counts_behind_the_end(struct map *map)
{
	const uint64_t behind[] = {map->nr,           map->nr + 1,    map->nr + PER_BITMAP,
				   UINT64_C(1) << 40, UINT64_MAX - 1, UINT64_MAX};

	for (size_t i = 0; i < NR_OF(behind); i++)
		expect_count(map, behind[i]);
}

/* --- runs ------------------------------------------------------------------------------------------------------------ */

struct receiver {
	const struct map *map;
	uint64_t next, end;
	uint32_t count; /* of the run before */
	size_t nr_runs, stop_at;
	int stop_with;
};

/* Runs follow one another without gaps, are as long as can be, and are cut at the ends of the range. */
static int take(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	struct receiver *receiver = ctx;

	assert_int_equal(begin, receiver->next);
	assert_true(begin < end && end <= receiver->end);
	assert_true(!receiver->nr_runs || count != receiver->count);
	while (receiver->next < end && receiver->map->counts[receiver->next] == count)
		receiver->next++;
	assert_int_equal(receiver->next, end);
	receiver->count = count;
	return ++receiver->nr_runs == receiver->stop_at ? receiver->stop_with : 0;
}

static void expect_walk(struct map *map, uint64_t begin, uint64_t end)
{
	struct receiver receiver = {.map = map, .next = begin, .end = end};
	int r = tp_sm_walk(&map->view, begin, end, take, &receiver);

	if (begin > end || end > map->nr) {
		assert_int_equal(r, THINP_ERANGE);
		expect_detail(r);
		assert_int_equal(receiver.nr_runs, 0);
	} else {
		assert_int_equal(r, 0);
		assert_int_equal(receiver.next, end);
	}
}

/* Every pair of places near the beginning, the borders of bitmaps, and the end. */
static void expect_walks(struct map *map)
{
	const uint64_t borders[] = {0, PER_BITMAP, 2 * PER_BITMAP, map->nr};
	uint64_t near[NR_OF(borders) * 3];
	size_t nr = 0;

	for (size_t i = 0; i < NR_OF(borders); i++)
		for (uint64_t j = 0; j < 3; j++)
			if (borders[i] + j >= 1)
				near[nr++] = borders[i] + j - 1;
	for (size_t i = 0; i < nr; i++)
		for (size_t j = 0; j < nr; j++)
			expect_walk(map, near[i], near[j]);
	expect_walk(map, 0, UINT64_MAX);
	expect_walk(map, UINT64_MAX, UINT64_MAX);
}

/* --- against the model ----------------------------------------------------------------------------------------------- */

static void expect_all_of(struct map *map)
{
	for (uint64_t b = 0; b < map->nr; b++)
		if (b < 100 || b % PER_BITMAP < 10 || b % PER_BITMAP > PER_BITMAP - 10 || b % 61 == 0)
			expect_count(map, b);
	expect_counts_behind_the_end(map);
	expect_walks(map);
}

static void expect_detail_left_alone(struct map *map)
{
	detail_mark();
	for (uint64_t b = 0; b < map->nr && b < 8; b++)
		expect_count(map, b);
	expect_walk(map, 0, map->nr);
	expect_detail_untouched();
}

static void maps_of_every_size_are_read(enum tp_sm_kind kind)
{
	static const uint64_t sizes[] = {
		0, 1, 2, 3, 4, 5, 63, PER_BITMAP - 1, PER_BITMAP, PER_BITMAP + 1, 2 * PER_BITMAP + 100};
	static uint32_t (*const patterns[])(uint64_t block) = {none, one, rising, in_runs, mostly_free, scattered};
	const struct tree_shape full = {0};

	for (size_t s = 0; s < NR_OF(sizes); s++)
		for (size_t p = 0; p < NR_OF(patterns); p++) {
			struct map map;

			if (sizes[s] > 100 && (patterns[p] == scattered || patterns[p] == rising))
				continue; /* many look-ups in the overflow tree, and nothing new */
			map_open(&map, kind, &full, sizes[s], patterns[p], 200);
			expect_detail_left_alone(&map);
			expect_all_of(&map);
			map_close(&map);
		}
}

static void data_maps_of_every_size_are_read(void **state)
{
	(void)state;
	maps_of_every_size_are_read(TP_SM_DATA);
}

static void metadata_maps_of_every_size_are_read(void **state)
{
	(void)state;
	maps_of_every_size_are_read(TP_SM_METADATA);
}

/* An index tree and an overflow tree of three levels, and a cache that is too small for them. */
static void maps_with_deep_trees_are_read_with_small_caches(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2, .min_depth = 3};

	(void)state;
	for (uint32_t cache_blocks = 1; cache_blocks <= 3; cache_blocks++)
		for (int kind = TP_SM_DATA; kind <= TP_SM_METADATA; kind++) {
			struct map map;

			map_open(&map, (enum tp_sm_kind)kind, &shape, 5 * PER_BITMAP + 5, mostly_free, cache_blocks);
			expect_walk(&map, 0, map.nr);
			for (uint64_t b = 997; b < map.nr; b += 1000)
				for (uint64_t i = 0; i < 4 && b + i < map.nr; i++)
					expect_count(&map, b + i);
			map_close(&map);
		}
}

/* Junk behind the entries in use is not looked at. */
static void an_index_block_is_read_as_far_as_the_map_goes(void **state)
{
	const struct tree_shape shape = {0};
	struct map map;

	(void)state;
	map_open(&map, TP_SM_METADATA, &shape, 2 * PER_BITMAP, in_runs, 8);
	image_set64(&map.image, map.view.root.bitmap_root, IMAGE_INDEX_ENTRY(2), UINT64_MAX);
	image_set64(&map.image, map.view.root.bitmap_root, IMAGE_INDEX_ENTRY(254) + 8, UINT64_MAX);
	expect_walk(&map, 0, map.nr);
	map_close(&map);
}

static void all_255_entries_of_an_index_block_can_be_used(void **state)
{
	const struct tree_shape shape = {0};
	uint64_t last = TP_METADATA_MAX_BLOCKS - 1;
	struct map map;

	(void)state;
	map_open(&map, TP_SM_METADATA, &shape, TP_METADATA_MAX_BLOCKS, none, 8);
	image_set32(&map.image, bitmap_of(&map, 254), 16 + 4076, 0x80000000); /* the last count: 1 */
	map.counts[last] = 1;
	expect_count(&map, last);
	expect_count(&map, last - 1);
	expect_walk(&map, last - PER_BITMAP - 5, last + 1);
	map_close(&map);
}

static void what_the_callback_returns_is_returned(void **state)
{
	static const int results[] = {1, -1, INT32_MIN, THINP_ENODATA, THINP_ECORRUPT, THINP_ERANGE};
	const struct tree_shape shape = {0};
	struct map map;

	(void)state;
	map_open(&map, TP_SM_DATA, &shape, 4000, in_runs, 8);
	for (size_t i = 0; i < NR_OF(results); i++)
		for (size_t stop_at = 1; stop_at <= 4; stop_at++) {
			struct receiver receiver = {
				.map = &map, .end = map.nr, .stop_at = stop_at, .stop_with = results[i]};

			assert_int_equal(tp_sm_walk(&map.view, 0, map.nr, take, &receiver), results[i]);
			assert_int_equal(receiver.nr_runs, stop_at);
		}
	map_close(&map);
}

/* --- damage ---------------------------------------------------------------------------------------------------------- */

static void expect_damaged(struct map *map, uint64_t block, thinp_block_t named, const char *words)
{
	struct receiver receiver = {.map = map, .next = block, .end = map->nr};
	uint32_t count = 77;

	expect_corrupt(tp_sm_count(&map->view, block, &count), named, words);
	assert_int_equal(count, 77);
	expect_corrupt(tp_sm_walk(&map->view, block, map->nr, take, &receiver), named, words);
}

/* Offset of entry 1 in the index of a map. */
static size_t second_entry(const struct map *map)
{
	return map->view.kind == TP_SM_DATA ? TREE_KEYS + 8 * 168 + 16 : IMAGE_INDEX_ENTRY(1);
}

static void TOOL_09_an_index_entry_that_points_nowhere_is_found(void **state)
{
	static const uint64_t nowhere[] = {0, 1000, 1001, UINT64_C(1) << 40, UINT64_MAX};
	const struct tree_shape shape = {0};

	(void)state;
	for (int kind = TP_SM_DATA; kind <= TP_SM_METADATA; kind++)
		for (size_t i = 0; i < NR_OF(nowhere); i++) {
			struct map map;

			map_open(&map, (enum tp_sm_kind)kind, &shape, PER_BITMAP + 10, in_runs, 8);
			image_set64(&map.image, map.view.root.bitmap_root, second_entry(&map), nowhere[i]);
			expect_damaged(&map, PER_BITMAP, map.view.root.bitmap_root, "the bitmap cannot be at block");
			expect_count(&map, PER_BITMAP - 1); /* the bitmap before is still read */
			map_close(&map);
		}
}

/* A kernel accepts wrong ones, so they are for the checker to tell. */
static void the_hints_of_an_index_entry_are_not_needed(void **state)
{
	static const uint32_t hints[] = {0, 1, PER_BITMAP, PER_BITMAP + 1, UINT32_MAX};
	const struct tree_shape shape = {0};

	(void)state;
	for (int kind = TP_SM_DATA; kind <= TP_SM_METADATA; kind++)
		for (size_t i = 0; i < NR_OF(hints); i++) {
			struct map map;

			map_open(&map, (enum tp_sm_kind)kind, &shape, PER_BITMAP + 10, in_runs, 8);
			image_set32(&map.image, map.view.root.bitmap_root, second_entry(&map) + 8, hints[i]);
			image_set32(&map.image, map.view.root.bitmap_root, second_entry(&map) + 12, hints[i]);
			expect_walk(&map, 0, map.nr);
			expect_count(&map, PER_BITMAP);
			map_close(&map);
		}
}

static void an_index_tree_that_lacks_a_bitmap_is_found(void **state)
{
	const struct tree_shape shape = {0};
	struct map map;

	(void)state;
	map_open(&map, TP_SM_DATA, &shape, 3 * PER_BITMAP, in_runs, 1);
	tree_set_key(&map.image, map.view.root.bitmap_root, 2, 3);
	expect_damaged(&map, 2 * PER_BITMAP, map.view.root.bitmap_root, "no entry for bitmap 2");
	tree_set_key(&map.image, map.view.root.bitmap_root, 2, 2);
	image_set32(&map.image, map.view.root.bitmap_root, TREE_NR_ENTRIES, 2);
	map_reopen(&map);
	expect_damaged(&map, 2 * PER_BITMAP, map.view.root.bitmap_root, "no entry for bitmap 2");
	map_close(&map);
}

static void a_damaged_bitmap_is_found(void **state)
{
	const struct tree_shape shape = {0};

	(void)state;
	for (int kind = TP_SM_DATA; kind <= TP_SM_METADATA; kind++) {
		thinp_block_t bitmap;
		struct map map;

		map_open(&map, (enum tp_sm_kind)kind, &shape, 2 * PER_BITMAP, in_runs, 1);
		bitmap = bitmap_of(&map, 1);
		image_flip(&map.image, bitmap, 8 * 4095);
		expect_damaged(&map, PER_BITMAP + 3, bitmap, "bitmap: checksum");
		image_flip(&map.image, bitmap, 8 * 4095);
		image_set64(&map.image, bitmap, 8, 3);
		map_reopen(&map);
		expect_damaged(&map, PER_BITMAP + 3, bitmap, "misplaced");
		expect_count(&map, PER_BITMAP - 1);
		map_close(&map);
	}
}

static void a_damaged_index_is_found(void **state)
{
	const struct tree_shape shape = {0};

	(void)state;
	for (int kind = TP_SM_DATA; kind <= TP_SM_METADATA; kind++) {
		struct map map;

		map_open(&map, (enum tp_sm_kind)kind, &shape, 10, in_runs, 1);
		image_flip(&map.image, map.view.root.bitmap_root, 8 * 3000);
		expect_damaged(&map, 3, map.view.root.bitmap_root, "checksum");
		map_close(&map);
	}
}

/* The other variant's index. */
static void an_index_of_the_other_kind_is_named(void **state)
{
	const struct tree_shape shape = {0};
	struct map map;

	(void)state;
	map_open(&map, TP_SM_DATA, &shape, 10, in_runs, 1);
	map.view.kind = TP_SM_METADATA;
	expect_damaged(&map, 3, map.view.root.bitmap_root, "holds a valid btree node, expected a metadata index");
	map_close(&map);
	map_open(&map, TP_SM_METADATA, &shape, 10, in_runs, 1);
	map.view.kind = TP_SM_DATA;
	expect_damaged(&map, 3, map.view.root.bitmap_root, "holds a valid metadata index, expected a btree node");
	map_close(&map);
}

static void BT_10_an_overflow_tree_in_place_of_the_index_tree_is_refused(void **state)
{
	const struct tree_shape shape = {0};
	struct map map;

	(void)state;
	map_open(&map, TP_SM_DATA, &shape, 10, rising, 1);
	map.view.root.bitmap_root = map.view.root.ref_count_root;
	expect_damaged(&map, 3, map.view.root.bitmap_root, "values of 4 bytes in a tree with values of 16 bytes");
	map_close(&map);
}

static void an_overflow_tree_that_lacks_a_block_is_found(void **state)
{
	const struct tree_shape shape = {0};

	(void)state;
	for (int kind = TP_SM_DATA; kind <= TP_SM_METADATA; kind++) {
		struct map map;

		map_open(&map, (enum tp_sm_kind)kind, &shape, 10, rising, 1); /* 3 to 6 are in the tree */
		image_set32(&map.image, map.view.root.ref_count_root, TREE_NR_ENTRIES, 3);
		expect_damaged(&map, 6, map.view.root.ref_count_root, "lacks block 6");
		expect_count(&map, 5);
		expect_count(&map, 2);
		map_close(&map);
	}
}

/* A count that the bitmap could have told itself, in the overflow tree; 0 would give a block away that is in use. */
static void an_overflow_count_below_three_is_damage(void **state)
{
	const struct tree_shape shape = {0};

	(void)state;
	for (uint32_t count = 0; count < 3; count++) {
		struct map map;

		map_open(&map, TP_SM_DATA, &shape, 10, rising, 1);
		image_set32(&map.image, map.view.root.ref_count_root, TREE_KEYS + 8 * 336 + 4, count);
		expect_damaged(&map, 4, map.view.root.ref_count_root, "block 4");
		expect_count(&map, 3);
		map_close(&map);
	}
}

static void a_damaged_overflow_tree_does_not_spoil_small_counts(void **state)
{
	const struct tree_shape shape = {0};
	struct map map;

	(void)state;
	map_open(&map, TP_SM_METADATA, &shape, 10, rising, 1);
	image_flip(&map.image, map.view.root.ref_count_root, 8 * 2000);
	expect_damaged(&map, 3, map.view.root.ref_count_root, "checksum");
	for (uint64_t b = 0; b < 3; b++)
		expect_count(&map, b);
	map_close(&map);
}

/* --- failures of others ---------------------------------------------------------------------------------------------- */

static int use_map(struct image_trial *trial)
{
	struct map *map = trial->handle;
	struct receiver receiver = {.map = map, .end = map->nr};
	struct tp_sm_view view = map->view;
	uint32_t count;
	int r;

	view.reader = trial->reader.reader;
	r = tp_sm_count(&view, 6, &count);
	if (!r) {
		assert_int_equal(count, 6);
		r = tp_sm_walk(&view, 0, map->nr, take, &receiver);
	}
	assert_true(r || receiver.next == map->nr);
	return r;
}

static void they_survive_failing_reads_and_allocations(void **state)
{
	const struct tree_shape shape = {0};

	(void)state;
	for (int kind = TP_SM_DATA; kind <= TP_SM_METADATA; kind++) {
		struct image_trial trial;
		struct map map;

		map_open(&map, (enum tp_sm_kind)kind, &shape, 30, rising, 1);
		trial = image_trial_of_reader(&map.image, use_map, NULL);
		trial.handle = &map;
		image_trial_run(&trial);
		map_close(&map);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(data_maps_of_every_size_are_read),
		cmocka_unit_test(metadata_maps_of_every_size_are_read),
		cmocka_unit_test(maps_with_deep_trees_are_read_with_small_caches),
		cmocka_unit_test(an_index_block_is_read_as_far_as_the_map_goes),
		cmocka_unit_test(all_255_entries_of_an_index_block_can_be_used),
		cmocka_unit_test(what_the_callback_returns_is_returned),
		cmocka_unit_test(TOOL_09_an_index_entry_that_points_nowhere_is_found),
		cmocka_unit_test(the_hints_of_an_index_entry_are_not_needed),
		cmocka_unit_test(an_index_tree_that_lacks_a_bitmap_is_found),
		cmocka_unit_test(a_damaged_bitmap_is_found),
		cmocka_unit_test(a_damaged_index_is_found),
		cmocka_unit_test(an_index_of_the_other_kind_is_named),
		cmocka_unit_test(BT_10_an_overflow_tree_in_place_of_the_index_tree_is_refused),
		cmocka_unit_test(an_overflow_tree_that_lacks_a_block_is_found),
		cmocka_unit_test(an_overflow_count_below_three_is_damage),
		cmocka_unit_test(a_damaged_overflow_tree_does_not_spoil_small_counts),
		cmocka_unit_test(they_survive_failing_reads_and_allocations),
	};

	return cmocka_run_group_tests_name("space_map/read", tests, NULL, NULL);
}
