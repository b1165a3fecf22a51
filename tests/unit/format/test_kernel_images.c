/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Images that a Linux 6.1 kernel wrote. What is expected of them was read with a program of its own, not with this one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "format/array_block.h"
#include "format/kind.h"
#include "format/node.h"
#include "format/thin.h"
#include "unit/format/image.h"

/* How many blocks of each kind an image has. */
struct census {
	uint32_t nr_thin_superblocks;
	uint32_t nr_nodes;
	uint32_t nr_indexes;
	uint32_t nr_bitmaps;
	uint32_t nr_array_blocks;
	uint32_t nr_other_superblocks; /* of caches and eras */
	uint32_t nr_zero;
};

struct fixture {
	const char *name;
	struct census census;
};

static const struct fixture kernel_empty = {"kernel-empty", {1, 6, 2, 3, 0, 0, 1012}};
static const struct fixture kernel_datafull = {"kernel-datafull", {1, 18, 4, 6, 0, 0, 995}};
static const struct fixture kernel_heldroot = {"kernel-heldroot", {2, 63, 9, 14, 0, 0, 1960}};
static const struct fixture kernel_snaps = {"kernel-snaps", {1, 1936, 80, 139, 0, 0, 1940}};
static const struct fixture kernel_fragmented = {"kernel-fragmented", {1, 2014, 41, 95, 0, 0, 1945}};
static const struct fixture kernel_metafull = {"kernel-metafull", {1, 482, 7, 22, 0, 0, 0}};
static const struct fixture kernel_cache1 = {"kernel-cache1", {0, 8, 5, 5, 8, 1, 997}};
static const struct fixture kernel_cache2 = {"kernel-cache2", {0, 11, 5, 5, 10, 1, 992}};
static const struct fixture kernel_era = {"kernel-era", {0, 262, 250, 249, 261, 2, 0}};

/* --- every block ------------------------------------------------------------------------------------------------- */

/* Unpacks from data and packs over again, a copy of the block or one of zeros. */
static void repack_superblock(const uint8_t *data, uint8_t *again)
{
	struct tp_thin_superblock sb;

	tp_thin_superblock_unpack(data, &sb);
	tp_thin_superblock_pack(&sb, again);
}

static void repack_node(const uint8_t *data, uint8_t *again)
{
	struct tp_node_header header;

	assert_int_equal(tp_node_unpack(data, &header), 0);
	tp_node_pack(&header, again);
}

static void repack_index(const uint8_t *data, uint8_t *again)
{
	struct tp_index index;

	tp_index_unpack(data, &index);
	tp_index_pack(&index, again);
}

static void repack_bitmap(const uint8_t *data, uint8_t *again)
{
	uint8_t counts[TP_BITMAP_NR_ENTRIES];

	tp_bitmap_unpack(data, counts);
	tp_bitmap_pack(counts, again);
}

static void repack_array_block(const uint8_t *data, uint8_t *again)
{
	struct tp_array_header header;

	assert_int_equal(tp_array_block_unpack(data, &header), 0);
	tp_array_block_pack(&header, again);
}

struct kind {
	const struct thinp_block_type *(*type)(void);
	void (*repack)(const uint8_t *data, uint8_t *again);
	size_t begin, end; /* the bytes that packing writes */
};

static const struct kind kinds[] = {
	{thinp_block_type_thin_superblock, repack_superblock, 4, TP_THIN_SUPERBLOCK_SIZE},
	{thinp_block_type_node, repack_node, 4, TP_NODE_HEADER_SIZE},
	{thinp_block_type_index, repack_index, 4, THINP_BLOCK_SIZE},
	{thinp_block_type_bitmap, repack_bitmap, 16, THINP_BLOCK_SIZE},
	{thinp_block_type_array, repack_array_block, 4, TP_ARRAY_HEADER_SIZE},
};

/* NULL for the superblocks of caches and eras, and for zeros. */
static const struct kind *kind_of(const uint8_t *data)
{
	const char *name = tp_block_kind_name(data);

	assert_non_null(name);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(name, kinds[i].type()->name) == 0)
			return &kinds[i];
	return NULL;
}

static void expect_same_record(const uint8_t *data, const struct kind *kind)
{
	uint8_t blank[THINP_BLOCK_SIZE] = {0}, expected[THINP_BLOCK_SIZE] = {0};

	memcpy(expected + kind->begin, data + kind->begin, kind->end - kind->begin);
	kind->repack(data, blank);
	assert_memory_equal(blank, expected, sizeof(blank));
}

/* A copy without address and checksum, packed over and sealed, is the block again. */
static void expect_same_block(const uint8_t *data, thinp_block_t block, const struct kind *kind)
{
	uint8_t copy[THINP_BLOCK_SIZE];

	memcpy(copy, data, sizeof(copy));
	memset(copy, 0, 4);
	kind->repack(data, copy);
	tp_store_le64(copy + kind->type()->address_offset, 0);
	tp_block_seal(copy, block, kind->type());
	assert_memory_equal(copy, data, sizeof(copy));
}

static void every_block_verifies_and_packs_to_its_own_bytes(void **state)
{
	const struct fixture *fixture = *state;
	struct image image = image_load(fixture->name);

	for (thinp_block_t block = 0; block < image.nr_blocks; block++) {
		const uint8_t *data = image_block(&image, block);
		const struct kind *kind = kind_of(data);

		if (!kind)
			continue;
		assert_int_equal(tp_block_verify(data, block, kind->type()), 0);
		expect_same_record(data, kind);
		expect_same_block(data, block, kind);
	}
	image_unload(&image);
}

static void count_block(struct census *census, const char *name)
{
	census->nr_thin_superblocks += strcmp(name, "thin superblock") == 0;
	census->nr_nodes += strcmp(name, "btree node") == 0;
	census->nr_indexes += strcmp(name, "metadata index") == 0;
	census->nr_bitmaps += strcmp(name, "bitmap") == 0;
	census->nr_array_blocks += strcmp(name, "array block") == 0;
	census->nr_other_superblocks += strcmp(name, "cache superblock") == 0 || strcmp(name, "era superblock") == 0;
	census->nr_zero += strcmp(name, "block of zeros") == 0;
}

static void the_checksum_tells_the_kind_of_every_block(void **state)
{
	const struct fixture *fixture = *state;
	struct image image = image_load(fixture->name);
	struct census census = {0};

	for (thinp_block_t block = 0; block < image.nr_blocks; block++) {
		const char *name = tp_block_kind_name(image_block(&image, block));

		assert_non_null(name);
		count_block(&census, name);
	}
	image_unload(&image);
	assert_memory_equal(&census, &fixture->census, sizeof(census));
}

/* --- live metadata ------------------------------------------------------------------------------------------------ */

static struct tp_thin_superblock superblock_of(const struct image *image, thinp_block_t block)
{
	struct tp_thin_superblock sb;

	assert_int_equal(tp_block_verify(image_block(image, block), block, thinp_block_type_thin_superblock()), 0);
	tp_thin_superblock_unpack(image_block(image, block), &sb);
	return sb;
}

/* A node that has passed all its checks. */
static const uint8_t *node_of(const struct image *image, thinp_block_t block)
{
	assert_int_equal(tp_block_verify(image_block(image, block), block, thinp_block_type_node()), 0);
	return image_block(image, block);
}

static void the_roots_of_a_live_superblock_and_of_its_snapshot_hold(void **state)
{
	const struct fixture *fixture = *state;
	struct image image = image_load(fixture->name);
	struct tp_thin_superblock sb = superblock_of(&image, 0);

	assert_int_equal(tp_thin_superblock_check_roots(&sb), 0);
	if (sb.held_root) {
		struct tp_thin_superblock copy = superblock_of(&image, sb.held_root);

		assert_int_equal(tp_thin_superblock_check_snap_roots(&copy, sb.metadata_sm.nr_blocks), 0);
	}
	image_unload(&image);
}

/* Counts that are not zero in a bitmap, which its index entry must agree with. */
static uint64_t allocated_in(const struct image *image, const struct tp_index_entry *entry, thinp_block_t owner)
{
	uint8_t counts[TP_BITMAP_NR_ENTRIES];
	uint32_t nr_free = 0, first_free = TP_BITMAP_NR_ENTRIES;
	const uint8_t *data;

	assert_int_equal(tp_index_entry_check(entry, image->nr_blocks, owner), 0);
	data = image_block(image, entry->bitmap);
	assert_int_equal(tp_block_verify(data, entry->bitmap, thinp_block_type_bitmap()), 0);
	tp_bitmap_unpack(data, counts);
	for (uint32_t i = TP_BITMAP_NR_ENTRIES; i-- > 0;)
		if (counts[i] == 0) {
			nr_free++;
			first_free = i;
		}
	assert_int_equal(entry->nr_free, nr_free);
	assert_true(entry->none_free_before <= first_free);
	return TP_BITMAP_NR_ENTRIES - nr_free;
}

static void the_metadata_map_agrees_with_its_bitmaps(void **state)
{
	const struct fixture *fixture = *state;
	struct image image = image_load(fixture->name);
	struct tp_sm_root root = superblock_of(&image, 0).metadata_sm;
	const uint8_t *data = image_block(&image, root.bitmap_root);
	uint64_t nr_allocated = 0;
	struct tp_index index;

	assert_int_equal(tp_block_verify(data, root.bitmap_root, thinp_block_type_index()), 0);
	tp_index_unpack(data, &index);
	for (uint64_t i = 0; i * TP_BITMAP_NR_ENTRIES < root.nr_blocks; i++)
		nr_allocated += allocated_in(&image, &index.entries[i], root.bitmap_root);
	assert_int_equal(nr_allocated, root.nr_allocated);
	image_unload(&image);
}

/* The index trees of these images are single leaves. */
static void the_data_map_agrees_with_its_bitmaps(void **state)
{
	const struct fixture *fixture = *state;
	struct image image = image_load(fixture->name);
	struct tp_sm_root root = superblock_of(&image, 0).data_sm;
	const uint8_t *leaf = node_of(&image, root.bitmap_root);
	uint64_t nr_allocated = 0;

	assert_true(tp_node_is_leaf(leaf));
	assert_int_equal(tp_node_value_size(leaf), TP_INDEX_ENTRY_SIZE);
	for (uint32_t i = 0; i < tp_node_nr_entries(leaf); i++) {
		struct tp_index_entry entry;

		tp_index_entry_unpack(tp_node_values(leaf) + i * (size_t)TP_INDEX_ENTRY_SIZE, &entry);
		nr_allocated += allocated_in(&image, &entry, root.bitmap_root);
	}
	assert_int_equal(nr_allocated, root.nr_allocated);
	image_unload(&image);
}

/* --- field by field ----------------------------------------------------------------------------------------------- */

static void the_superblock_of_an_empty_pool_reads_as_documented(void **state)
{
	struct image image = image_load("kernel-empty");
	struct tp_thin_superblock sb = superblock_of(&image, 0);
	const struct tp_thin_superblock expected = {
		.magic = 27022010,
		.version = 2,
		.data_sm = {.nr_blocks = 1024, .nr_allocated = 0, .bitmap_root = 10, .ref_count_root = 5},
		.metadata_sm = {.nr_blocks = 1024, .nr_allocated = 9, .bitmap_root = 11, .ref_count_root = 2},
		.mapping_root = 6,
		.details_root = 7,
		.data_block_size = 128,
		.metadata_block_size = 8,
		.metadata_nr_blocks = 1024,
	};
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	assert_int_equal(sb.data_sm.nr_blocks, 1024);
	assert_int_equal(sb.data_sm.bitmap_root, 10);
	assert_int_equal(sb.metadata_sm.nr_allocated, 9);
	assert_int_equal(sb.metadata_sm.bitmap_root, 11);
	assert_int_equal(sb.mapping_root, 6);
	assert_int_equal(sb.details_root, 7);
	tp_thin_superblock_pack(&expected, data);
	tp_block_seal(data, 0, thinp_block_type_thin_superblock());
	assert_memory_equal(data, image_block(&image, 0), sizeof(data));
	image_unload(&image);
}

struct empty_leaf {
	thinp_block_t block;
	uint32_t value_size;
};

static void the_empty_trees_of_an_empty_pool_are_written_byte_for_byte(void **state)
{
	const struct empty_leaf leaves[] = {{2, 4}, {4, 16}, {5, 4}, {6, 8}, {7, 24}};
	struct image image = image_load("kernel-empty");

	(void)state;
	for (size_t i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		const struct tp_node_header header = {
			.flags = TP_NODE_LEAF,
			.max_entries = tp_node_max_entries(leaves[i].value_size),
			.value_size = leaves[i].value_size,
		};
		uint8_t data[THINP_BLOCK_SIZE] = {0};

		tp_node_pack(&header, data);
		tp_block_seal(data, leaves[i].block, thinp_block_type_node());
		assert_memory_equal(data, image_block(&image, leaves[i].block), sizeof(data));
	}
	image_unload(&image);
}

static void the_data_index_leaf_of_an_empty_pool_is_written_byte_for_byte(void **state)
{
	const struct tp_node_header header = {
		.flags = TP_NODE_LEAF, .nr_entries = 1, .max_entries = 168, .value_size = 16};
	const struct tp_index_entry entry = {.bitmap = 8, .nr_free = TP_BITMAP_NR_ENTRIES};
	struct image image = image_load("kernel-empty");
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	tp_node_pack(&header, data);
	tp_index_entry_pack(&entry, data + (tp_node_values(data) - data));
	tp_block_seal(data, 10, thinp_block_type_node());
	assert_memory_equal(data, image_block(&image, 10), sizeof(data));
	image_unload(&image);
}

static void the_metadata_index_of_an_empty_pool_is_written_byte_for_byte(void **state)
{
	struct image image = image_load("kernel-empty");
	struct tp_index index = {.block = 11};
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	index.entries[0] = (struct tp_index_entry){.bitmap = 9, .nr_free = 16311, .none_free_before = 1};
	tp_index_pack(&index, data);
	tp_block_seal(data, 11, thinp_block_type_index());
	assert_memory_equal(data, image_block(&image, 11), sizeof(data));
	image_unload(&image);
}

/* Block 3 is the bitmap of the format step, block 9 that of the first commit, after which 1, 3 and 4 are free. */
static void the_bitmaps_of_an_empty_pool_are_written_byte_for_byte(void **state)
{
	struct image image = image_load("kernel-empty");
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	tp_block_seal(data, 8, thinp_block_type_bitmap());
	assert_memory_equal(data, image_block(&image, 8), sizeof(data));
	for (uint32_t i = 0; i < 8; i++)
		tp_bitmap_set(data, i, 1);
	tp_block_seal(data, 3, thinp_block_type_bitmap());
	assert_memory_equal(data, image_block(&image, 3), sizeof(data));
	for (uint32_t i = 8; i < 12; i++)
		tp_bitmap_set(data, i, 1);
	tp_bitmap_set(data, 1, 0);
	tp_bitmap_set(data, 3, 0);
	tp_bitmap_set(data, 4, 0);
	tp_block_seal(data, 9, thinp_block_type_bitmap());
	assert_memory_equal(data, image_block(&image, 9), sizeof(data));
	image_unload(&image);
}

static void an_internal_node_reads_as_keys_and_children(void **state)
{
	const uint64_t keys[] = {50, 3428, 6073, 8813, 12638};
	const thinp_block_t children[] = {21, 24, 25, 22, 23};
	struct image image = image_load("kernel-datafull");
	const uint8_t *node = node_of(&image, 20);

	(void)state;
	assert_false(tp_node_is_leaf(node));
	assert_int_equal(tp_node_nr_entries(node), 5);
	assert_int_equal(tp_node_capacity(node), 252);
	assert_int_equal(tp_node_value_size(node), 8);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(tp_node_key(node, i), keys[i]);
		assert_int_equal(tp_node_value64(node, i), children[i]);
		assert_true(tp_node_is_leaf(node_of(&image, children[i])));
	}
	image_unload(&image);
}

static void the_details_of_devices_with_snapshots_read_as_they_were_made(void **state)
{
	const struct tp_device_details expected[] = {
		{.mapped_blocks = 0x1b08, .creation_time = 0, .snapshotted_time = 20},
		{.mapped_blocks = 0x13b7, .creation_time = 1, .snapshotted_time = 1},
		{.mapped_blocks = 0x147f, .creation_time = 3, .snapshotted_time = 3},
		{.mapped_blocks = 0x116a, .creation_time = 5, .snapshotted_time = 21},
	};
	const uint64_t ids[] = {0, 1, 3, 5};
	struct image image = image_load("kernel-snaps");
	const uint8_t *leaf = node_of(&image, 2126);

	(void)state;
	assert_int_equal(tp_node_nr_entries(leaf), 18);
	for (uint32_t i = 0; i < 4; i++) {
		struct tp_device_details details;

		tp_device_details_unpack(tp_node_values(leaf) + (size_t)TP_DETAILS_SIZE * i, &details);
		assert_int_equal(tp_node_key(leaf, i), ids[i]);
		assert_memory_equal(&details, &expected[i], sizeof(details));
	}
	image_unload(&image);
}

static void a_metadata_snapshot_is_a_copy_without_space_maps(void **state)
{
	const struct tp_sm_root none = {0};
	struct image image = image_load("kernel-heldroot");
	struct tp_thin_superblock live = superblock_of(&image, 0);
	struct tp_thin_superblock copy = superblock_of(&image, 49);

	(void)state;
	assert_int_equal(live.held_root, 49);
	assert_int_equal(copy.block, 49);
	assert_int_equal(copy.held_root, 0);
	assert_int_equal(copy.mapping_root, 33);
	assert_int_equal(copy.details_root, 45);
	assert_int_equal(copy.data_block_size, 256);
	assert_memory_equal(&copy.data_sm, &none, sizeof(none));
	assert_memory_equal(&copy.metadata_sm, &none, sizeof(none));
	image_unload(&image);
}

static void an_array_block_reads_as_its_header_says(void **state)
{
	struct image image = image_load("kernel-era");
	struct tp_array_header header;

	(void)state;
	assert_int_equal(tp_block_verify(image_block(&image, 5), 5, thinp_block_type_array()), 0);
	assert_int_equal(tp_array_block_unpack(image_block(&image, 5), &header), 0);
	assert_int_equal(header.max_entries, 509);
	assert_int_equal(header.nr_entries, 48);
	assert_int_equal(header.value_size, 8);
	assert_int_equal(header.block, 5);
	image_unload(&image);
}

#define TEST_OF(sentence, fixture)                                                                                     \
	{                                                                                                              \
#fixture ": " #sentence, sentence, NULL, NULL, (void *)(uintptr_t) & (fixture)                         \
	}
#define TESTS_OF_ANY(fixture)                                                                                          \
	TEST_OF(the_checksum_tells_the_kind_of_every_block, fixture),                                                  \
		TEST_OF(every_block_verifies_and_packs_to_its_own_bytes, fixture)
#define TESTS_OF_POOL(fixture)                                                                                         \
	TESTS_OF_ANY(fixture), TEST_OF(the_roots_of_a_live_superblock_and_of_its_snapshot_hold, fixture),              \
		TEST_OF(the_metadata_map_agrees_with_its_bitmaps, fixture),                                            \
		TEST_OF(the_data_map_agrees_with_its_bitmaps, fixture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS_OF_POOL(kernel_empty),
		TESTS_OF_POOL(kernel_datafull),
		TESTS_OF_POOL(kernel_heldroot),
		TESTS_OF_POOL(kernel_snaps),
		TESTS_OF_POOL(kernel_fragmented),
		TESTS_OF_POOL(kernel_metafull),
		TESTS_OF_ANY(kernel_cache1),
		TESTS_OF_ANY(kernel_cache2),
		TESTS_OF_ANY(kernel_era),
		cmocka_unit_test(the_superblock_of_an_empty_pool_reads_as_documented),
		cmocka_unit_test(the_empty_trees_of_an_empty_pool_are_written_byte_for_byte),
		cmocka_unit_test(the_data_index_leaf_of_an_empty_pool_is_written_byte_for_byte),
		cmocka_unit_test(the_metadata_index_of_an_empty_pool_is_written_byte_for_byte),
		cmocka_unit_test(the_bitmaps_of_an_empty_pool_are_written_byte_for_byte),
		cmocka_unit_test(an_internal_node_reads_as_keys_and_children),
		cmocka_unit_test(the_details_of_devices_with_snapshots_read_as_they_were_made),
		cmocka_unit_test(a_metadata_snapshot_is_a_copy_without_space_maps),
		cmocka_unit_test(an_array_block_reads_as_its_header_says),
	};

	return cmocka_run_group_tests_name("format/kernel_images", tests, NULL, NULL);
}
