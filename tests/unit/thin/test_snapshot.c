/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The metadata snapshot as a second way into a pool.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { FLAGS = 4, MAGIC = 32, VERSION = 40, TIME = 44, TRANSACTION_ID = 48, HELD_ROOT = 56, DATA_MAP = 64 };
enum { MAPPING_ROOT = 320, DETAILS_ROOT = 328, DATA_BLOCK_SIZE = 336, METADATA_BLOCK_SIZE = 340, INCOMPAT = 360 };

static const struct tree_shape full = {.per_leaf = 0};
static const struct thinp_run now[] = {{.virtual_begin = 0, .data_begin = 100, .length = 30, .time = 7}};
static const struct thinp_run then[] = {{.virtual_begin = 0, .data_begin = 10, .length = 20, .time = 3}};
static const struct image_thin live[] = {
	{.dev_id = 2, .details = {30, 2, 1, 3}, .runs = now, .nr_runs = 1},
};
static const struct image_thin held[] = {
	{.dev_id = 1, .details = {20, 1, 1, 1}, .runs = then, .nr_runs = 1},
	{.dev_id = 2, .details = {0, 2, 1, 3}},
};

static int open_snap(struct image_pool *image, struct thinp_pool **pool)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_METADATA_SNAP};

	*pool = NULL;
	return thinp_pool_open(image->image.io, &opts, pool);
}

static void expect_refused(struct image_pool *image, int code, uint64_t block, const char *words)
{
	struct thinp_pool *pool;

	expect_failure(open_snap(image, &pool), code, block, words);
	assert_null(pool);
	assert_int_equal(thinp_pool_open(image->image.io, NULL, &pool), 0); /* the last commit can still be read */
	thinp_pool_close(pool);
}

static void a_pool_without_a_snapshot_says_so(void **state)
{
	struct image_pool image;

	(void)state;
	image_pool_open(&image, &full, live, NR_OF(live));
	expect_refused(&image, THINP_ENOENT, THINP_NO_BLOCK, "no metadata snapshot");
	image_pool_close(&image);
}

/* --- what it shows --------------------------------------------------------------------------------------------------- */

struct seen {
	struct thinp_device_info devices[4];
	struct thinp_run runs[4];
	size_t nr_devices, nr_runs;
};

static int see_device(void *ctx, const struct thinp_device_info *device)
{
	struct seen *seen = ctx;

	assert_true(seen->nr_devices < NR_OF(seen->devices));
	seen->devices[seen->nr_devices++] = *device;
	return 0;
}

static int see_runs(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	struct seen *seen = ctx;

	for (size_t i = 0; i < nr_runs; i++) {
		assert_true(seen->nr_runs < NR_OF(seen->runs));
		seen->runs[seen->nr_runs++] = runs[i];
	}
	return 0;
}

static void TOOL_07_the_devices_and_mappings_shown_are_those_of_the_snapshot(void **state)
{
	struct thinp_device_info device = {.size = sizeof(device)};
	struct seen seen = {.nr_devices = 0};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, live, NR_OF(live));
	image_pool_snap(&image, held, NR_OF(held));
	assert_int_equal(open_snap(&image, &pool), 0);
	assert_int_equal(thinp_pool_walk_devices(pool, see_device, &seen), 0);
	assert_int_equal(seen.nr_devices, 2);
	assert_int_equal(seen.devices[0].dev_id, 1);
	assert_int_equal(seen.devices[0].mapped_blocks, 20);
	assert_int_equal(seen.devices[1].dev_id, 2);
	assert_int_equal(seen.devices[1].mapped_blocks, 0);
	assert_int_equal(thinp_pool_walk_runs(pool, 1, 0, UINT64_MAX, see_runs, &seen), 0);
	assert_int_equal(thinp_pool_walk_runs(pool, 2, 0, UINT64_MAX, see_runs, &seen), 0);
	assert_int_equal(seen.nr_runs, 1);
	assert_memory_equal(&seen.runs[0], &then[0], sizeof(then[0]));
	assert_int_equal(thinp_pool_get_device(pool, 2, &device), 0);
	assert_int_equal(device.mapped_blocks, 0);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* The copy has no space maps; what it would say of sizes is not used. */
static void TOOL_07_sizes_and_counts_come_from_the_live_superblock(void **state)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct image_pool image;
	struct thinp_pool *pool;
	thinp_block_t snap;

	(void)state;
	image_pool_open(&image, &full, live, NR_OF(live));
	snap = image_pool_snap(&image, held, NR_OF(held));
	image_set32(&image.image, snap, TIME, 3);
	image_set64(&image.image, snap, TRANSACTION_ID, 1000); /* may be larger: user space sets it as it likes */
	assert_int_equal(open_snap(&image, &pool), 0);
	thinp_pool_get_info(pool, &info);
	assert_int_equal(info.is_metadata_snap, 1);
	assert_int_equal(info.metadata_snap, snap);
	assert_int_equal(info.time, 3);
	assert_int_equal(info.transaction_id, 1000);
	assert_int_equal(info.nr_data_blocks, IMAGE_POOL_DATA_BLOCKS);
	assert_int_equal(info.nr_data_allocated, 30);
	assert_int_equal(info.nr_metadata_blocks, IMAGE_POOL_BLOCKS);
	assert_int_equal(info.nr_metadata_allocated, image.sb.metadata_sm.nr_allocated);
	assert_int_equal(info.mapping_root, image_get64(&image.image, snap, MAPPING_ROOT));
	assert_int_equal(info.details_root, image_get64(&image.image, snap, DETAILS_ROOT));
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static int never_called(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	(void)ctx;
	(void)begin;
	(void)end;
	(void)count;
	fail();
	return 0;
}

static void a_snapshot_has_no_counts(void **state)
{
	struct image_pool image;
	struct thinp_pool *pool;
	uint32_t count = 77;

	(void)state;
	image_pool_open(&image, &full, live, NR_OF(live));
	image_pool_snap(&image, held, NR_OF(held));
	assert_int_equal(open_snap(&image, &pool), 0);
	for (int space = THINP_POOL_DATA; space <= THINP_POOL_METADATA; space++) {
		assert_int_equal(thinp_pool_get_count(pool, space, 0, &count), THINP_ENOTSUP);
		assert_int_equal(thinp_pool_walk_counts(pool, space, 0, 10, never_called, NULL), THINP_ENOTSUP);
		expect_detail(THINP_ENOTSUP);
	}
	assert_int_equal(count, 77);
	assert_int_equal(thinp_pool_get_count(pool, 0, 0, &count), THINP_EINVAL);
	assert_int_equal(thinp_pool_get_count(pool, 3, 0, &count), THINP_EINVAL);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void the_last_commit_is_shown_when_the_snapshot_is_not_asked_for(void **state)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct seen seen = {.nr_devices = 0};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, live, NR_OF(live));
	image_pool_snap(&image, held, NR_OF(held));
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	assert_int_equal(thinp_pool_walk_devices(pool, see_device, &seen), 0);
	assert_int_equal(seen.nr_devices, 1);
	thinp_pool_get_info(pool, &info);
	assert_int_equal(info.is_metadata_snap, 0);
	assert_int_equal(info.metadata_snap, image.sb.held_root);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* --- what is refused ------------------------------------------------------------------------------------------------- */

struct field {
	size_t offset;
	size_t nr_bytes;
	uint64_t value;
	int code;
	const char *words;
};

static void a_copy_that_makes_no_sense_is_refused(void **state)
{
	static const struct field bad[] = {
		{8, 8, 3, THINP_ECORRUPT, "misplaced"},
		{MAGIC, 8, 5, THINP_ECORRUPT, "magic"},
		{METADATA_BLOCK_SIZE, 4, 16, THINP_ECORRUPT, "metadata blocks of 16 sectors"},
		{DATA_BLOCK_SIZE, 4, 256, THINP_ECORRUPT, "data blocks of 256 sectors, the pool has 128"},
		{TIME, 4, 8, THINP_ECORRUPT, "time 8 is later than the pool's 7"},
		{TIME, 4, 1 << 24, THINP_ECORRUPT, "time is 16777216"},
		{INCOMPAT, 4, 2, THINP_ENOTSUP, "0x2"},
		{MAPPING_ROOT, 8, 0, THINP_ECORRUPT, "the mapping tree cannot be at block 0"},
		{MAPPING_ROOT, 8, IMAGE_POOL_BLOCKS, THINP_ECORRUPT, "the mapping tree cannot be at block 2000"},
		{DETAILS_ROOT, 8, 0, THINP_ECORRUPT, "the details tree cannot be at block 0"},
		{DETAILS_ROOT, 8, UINT64_MAX, THINP_ECORRUPT, "the details tree cannot be"},
	};

	(void)state;
	for (size_t i = 0; i < NR_OF(bad); i++) {
		struct image_pool image;
		thinp_block_t snap;

		image_pool_open(&image, &full, live, NR_OF(live));
		snap = image_pool_snap(&image, held, NR_OF(held));
		if (bad[i].nr_bytes == 4)
			image_set32(&image.image, snap, bad[i].offset, (uint32_t)bad[i].value);
		else
			image_set64(&image.image, snap, bad[i].offset, bad[i].value);
		expect_refused(&image, bad[i].code, snap, bad[i].words);
		image_pool_close(&image);
	}
}

static void trees_of_a_copy_in_one_block_are_refused(void **state)
{
	struct image_pool image;
	thinp_block_t snap;

	(void)state;
	image_pool_open(&image, &full, live, NR_OF(live));
	snap = image_pool_snap(&image, held, NR_OF(held));
	image_set64(&image.image, snap, MAPPING_ROOT, image_get64(&image.image, snap, DETAILS_ROOT));
	expect_refused(&image, THINP_ECORRUPT, snap, "are both at block");
	image_set64(&image.image, snap, MAPPING_ROOT, snap);
	expect_refused(&image, THINP_ECORRUPT, snap, "are both at block");
	image_pool_close(&image);
}

static void a_block_of_another_kind_in_place_of_the_copy_is_named(void **state)
{
	struct image_pool image;

	(void)state;
	image_pool_open(&image, &full, live, NR_OF(live));
	image.sb.held_root = image_bitmap(&image.image, IMAGE_METADATA_MAP, &image.sb.metadata_sm, 0);
	image_pool_write_superblock(&image);
	expect_refused(&image, THINP_ECORRUPT, image.sb.held_root, "holds a valid bitmap, expected a thin superblock");
	image.sb.held_root = IMAGE_POOL_BLOCKS - 1;
	image_pool_write_superblock(&image);
	expect_refused(&image, THINP_ECORRUPT, image.sb.held_root, "nothing but zeros, expected a thin superblock");
	image_pool_close(&image);
}

static void BM_04_the_live_superblock_in_place_of_the_copy_is_refused(void **state)
{
	struct image_block content;
	struct image_pool image;
	thinp_block_t snap;

	(void)state;
	image_pool_open(&image, &full, live, NR_OF(live));
	snap = image_pool_snap(&image, held, NR_OF(held));
	image_read(&image.image, 0, &content);
	image_write(&image.image, snap, &content);
	expect_refused(&image, THINP_ECORRUPT, snap, "misplaced: the block says it is 0");
	image_pool_close(&image);
}

static void a_copy_with_a_bad_checksum_is_refused(void **state)
{
	struct image_pool image;
	thinp_block_t snap;

	(void)state;
	image_pool_open(&image, &full, live, NR_OF(live));
	snap = image_pool_snap(&image, held, NR_OF(held));
	image_flip(&image.image, snap, 8 * 325);
	expect_refused(&image, THINP_ECORRUPT, snap, "checksum");
	image_pool_close(&image);
}

/* What is only odd in a copy: it is read. */
static void a_copy_with_space_maps_or_a_snapshot_of_its_own_is_taken(void **state)
{
	struct image_pool image;
	struct thinp_pool *pool;
	thinp_block_t snap;

	(void)state;
	image_pool_open(&image, &full, live, NR_OF(live));
	snap = image_pool_snap(&image, held, NR_OF(held));
	image_set64(&image.image, snap, HELD_ROOT, snap);
	image_set64(&image.image, snap, DATA_MAP, 5);
	image_set32(&image.image, snap, FLAGS, 1);
	image_set32(&image.image, snap, VERSION, 1);
	assert_int_equal(open_snap(&image, &pool), 0);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pool_without_a_snapshot_says_so),
		cmocka_unit_test(TOOL_07_the_devices_and_mappings_shown_are_those_of_the_snapshot),
		cmocka_unit_test(TOOL_07_sizes_and_counts_come_from_the_live_superblock),
		cmocka_unit_test(a_snapshot_has_no_counts),
		cmocka_unit_test(the_last_commit_is_shown_when_the_snapshot_is_not_asked_for),
		cmocka_unit_test(a_copy_that_makes_no_sense_is_refused),
		cmocka_unit_test(trees_of_a_copy_in_one_block_are_refused),
		cmocka_unit_test(a_block_of_another_kind_in_place_of_the_copy_is_named),
		cmocka_unit_test(BM_04_the_live_superblock_in_place_of_the_copy_is_refused),
		cmocka_unit_test(a_copy_with_a_bad_checksum_is_refused),
		cmocka_unit_test(a_copy_with_space_maps_or_a_snapshot_of_its_own_is_taken),
	};

	return cmocka_run_group_tests_name("thin/snapshot", tests, NULL, NULL);
}
