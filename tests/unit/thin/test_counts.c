/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reference counts of both space maps, as the pool tells them. The maps themselves: unit/space_map.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Data blocks 0 to 9 are mapped four times, 10 to 19 once, 20 to 29 twice. */
static const struct thinp_run first[] = {{0, 0, 20, 1, 0}}, second[] = {{0, 0, 10, 1, 0}, {50, 20, 10, 1, 0}};
static const struct image_thin devices[] = {
	{.dev_id = 1, .runs = first, .nr_runs = 1},
	{.dev_id = 2, .runs = second, .nr_runs = 2},
	{.dev_id = 3, .runs = second, .nr_runs = 2},
	{.dev_id = 4, .runs = second, .nr_runs = 1},
};
static const struct tree_shape full = {.per_leaf = 0};

static uint32_t expected_count(const struct image_pool *image, int space, uint64_t block)
{
	if (space == THINP_POOL_METADATA)
		return block < image->sb.metadata_sm.nr_allocated;
	return block < 10 ? 4 : block < 20 ? 1 : block < 30 ? 2 : 0;
}

static uint64_t nr_blocks_of(int space)
{
	return space == THINP_POOL_DATA ? IMAGE_POOL_DATA_BLOCKS : IMAGE_POOL_BLOCKS;
}

struct receiver {
	const struct image_pool *image;
	int space;
	uint64_t next;
};

static int take(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	struct receiver *receiver = ctx;

	assert_int_equal(begin, receiver->next);
	for (uint64_t b = begin; b < end; b++)
		assert_int_equal(count, expected_count(receiver->image, receiver->space, b));
	receiver->next = end;
	return 0;
}

static void the_counts_of_both_maps_are_told(void **state)
{
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	for (int space = THINP_POOL_DATA; space <= THINP_POOL_METADATA; space++) {
		struct receiver receiver = {.image = &image, .space = space};

		for (uint64_t b = 0; b < nr_blocks_of(space); b++) {
			uint32_t count = 77;

			assert_int_equal(thinp_pool_get_count(pool, space, b, &count), 0);
			assert_int_equal(count, expected_count(&image, space, b));
		}
		assert_int_equal(thinp_pool_walk_counts(pool, space, 0, nr_blocks_of(space), take, &receiver), 0);
		assert_int_equal(receiver.next, nr_blocks_of(space));
	}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void blocks_beyond_the_end_have_no_count(void **state)
{
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	for (int space = THINP_POOL_DATA; space <= THINP_POOL_METADATA; space++) {
		const uint64_t beyond[] = {nr_blocks_of(space), UINT64_C(1) << 40, UINT64_MAX};
		struct receiver receiver = {.image = &image, .space = space};

		for (size_t i = 0; i < NR_OF(beyond); i++) {
			uint32_t count = 77;

			expect_failure(thinp_pool_get_count(pool, space, beyond[i], &count), THINP_ERANGE,
				       THINP_NO_BLOCK, space == THINP_POOL_DATA ? "data" : "metadata");
			assert_int_equal(count, 77);
			assert_int_equal(thinp_pool_walk_counts(pool, space, 0, beyond[i] + 1, take, &receiver),
					 i + 1 < NR_OF(beyond) ? THINP_ERANGE : 0); /* 2^64 is 0: an empty range */
		}
		assert_int_equal(thinp_pool_walk_counts(pool, space, 5, 4, take, &receiver), THINP_ERANGE);
		assert_int_equal(receiver.next, 0);
	}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void there_are_two_spaces_and_no_more(void **state)
{
	static const int spaces[] = {0, 3, -1, INT32_MAX, INT32_MIN};
	struct image_pool image;
	struct receiver receiver = {.image = &image};
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	for (size_t i = 0; i < NR_OF(spaces); i++) {
		uint32_t count = 77;

		assert_int_equal(thinp_pool_get_count(pool, spaces[i], 0, &count), THINP_EINVAL);
		assert_int_equal(thinp_pool_walk_counts(pool, spaces[i], 0, 1, take, &receiver), THINP_EINVAL);
		expect_detail(THINP_EINVAL);
		assert_int_equal(count, 77);
	}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void TOOL_08_a_pool_without_data_blocks_has_no_counts_of_them(void **state)
{
	struct image_pool image;
	struct receiver receiver = {.image = &image, .space = THINP_POOL_DATA};
	struct thinp_pool *pool;
	uint32_t count;

	(void)state;
	image_pool_open(&image, &full, NULL, 0);
	image.sb.data_sm.nr_blocks = 0;
	image.sb.data_sm.nr_allocated = 0;
	image_pool_write_superblock(&image);
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	assert_int_equal(thinp_pool_get_count(pool, THINP_POOL_DATA, 0, &count), THINP_ERANGE);
	assert_int_equal(thinp_pool_walk_counts(pool, THINP_POOL_DATA, 0, 0, take, &receiver), 0);
	assert_int_equal(thinp_pool_walk_counts(pool, THINP_POOL_DATA, 0, 1, take, &receiver), THINP_ERANGE);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* More blocks than there are bitmaps. */
static void counts_that_no_bitmap_has_are_damage(void **state)
{
	struct image_pool image;
	struct thinp_pool *pool;
	uint32_t count;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	image.sb.data_sm.nr_blocks = UINT64_C(1) << 40;
	image_pool_write_superblock(&image);
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	expect_corrupt(thinp_pool_get_count(pool, THINP_POOL_DATA, (UINT64_C(1) << 40) - 1, &count),
		       image.sb.data_sm.bitmap_root, "no entry for bitmap 67372036");
	assert_int_equal(thinp_pool_get_count(pool, THINP_POOL_DATA, 15, &count), 0);
	assert_int_equal(count, 1);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static int use_counts(struct image_trial *trial)
{
	struct receiver receiver = {.image = trial->ctx, .space = THINP_POOL_DATA};
	uint32_t count;
	int r = thinp_pool_get_count(trial->handle, THINP_POOL_METADATA, 3, &count);

	if (!r)
		r = thinp_pool_walk_counts(trial->handle, THINP_POOL_DATA, 0, 100, take, &receiver);
	assert_true(r || receiver.next == 100);
	return r;
}

static void they_survive_failing_reads_and_allocations(void **state)
{
	struct image_pool image;
	struct image_trial trial;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	trial = image_pool_trial(&image, use_counts, &image);
	image_trial_run(&trial);
	image_pool_close(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_counts_of_both_maps_are_told),
		cmocka_unit_test(blocks_beyond_the_end_have_no_count),
		cmocka_unit_test(there_are_two_spaces_and_no_more),
		cmocka_unit_test(TOOL_08_a_pool_without_data_blocks_has_no_counts_of_them),
		cmocka_unit_test(counts_that_no_bitmap_has_are_damage),
		cmocka_unit_test(they_survive_failing_reads_and_allocations),
	};

	return cmocka_run_group_tests_name("thin/counts", tests, NULL, NULL);
}
