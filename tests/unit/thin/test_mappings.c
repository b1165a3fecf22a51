/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mappings of a device as longest runs, against a plain list of mappings.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"

#include <stdlib.h>

#include "unit/base/random.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct tree_shape shapes[] = {
	{.per_leaf = 0}, {.per_leaf = 3, .per_node = 4}, {.per_leaf = 1, .per_node = 9}};

/* --- what must come -------------------------------------------------------------------------------------------------- */

/* Runs with gaps or breaks between them, cut to a range. */
struct expected {
	const struct thinp_run *runs;
	size_t nr_runs;
	uint64_t first, last;
	size_t next; /* run that comes next */
	size_t nr_calls;
	size_t stop_at;
	int stop_with;
};

/* The part of a run that lies in the range; length 0: none of it. */
static struct thinp_run cut(const struct thinp_run *run, uint64_t first, uint64_t last)
{
	uint64_t begin = run->virtual_begin > first ? run->virtual_begin : first;
	uint64_t run_last = run->virtual_begin + run->length - 1;
	uint64_t end = run_last < last ? run_last : last;
	struct thinp_run part = {.virtual_begin = begin,
				 .data_begin = run->data_begin + (begin - run->virtual_begin),
				 .time = run->time};

	if (begin <= end)
		part.length = end - begin + 1;
	return part;
}

static struct thinp_run next_part(struct expected *expected)
{
	struct thinp_run part = {.length = 0};

	while (!part.length && expected->next < expected->nr_runs)
		part = cut(&expected->runs[expected->next++], expected->first, expected->last);
	return part;
}

static int take(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	struct expected *expected = ctx;

	assert_true(nr_runs > 0);
	for (size_t i = 0; i < nr_runs; i++) {
		struct thinp_run part = next_part(expected);

		assert_memory_equal(&runs[i], &part, sizeof(part));
	}
	return ++expected->nr_calls == expected->stop_at ? expected->stop_with : 0;
}

static void expect_runs(struct thinp_pool *pool, const struct image_thin *device, uint64_t first, uint64_t last)
{
	struct expected expected = {.runs = device->runs, .nr_runs = device->nr_runs, .first = first, .last = last};

	assert_int_equal(thinp_pool_walk_runs(pool, device->dev_id, first, last, take, &expected), 0);
	assert_int_equal(next_part(&expected).length, 0);
}

/* --- one pool -------------------------------------------------------------------------------------------------------- */

static struct thinp_pool *open_pool(struct image_pool *image, uint32_t cache_blocks)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts), .cache_blocks = cache_blocks};
	struct thinp_pool *pool;

	assert_int_equal(thinp_pool_open(image->image.io, &opts, &pool), 0);
	return pool;
}

static void expect_runs_of_all(const struct tree_shape *shape, const struct image_thin *devices, size_t nr)
{
	struct image_pool image;
	struct thinp_pool *pool;

	image_pool_open(&image, shape, devices, nr);
	for (uint32_t cache_blocks = 1; cache_blocks <= 100; cache_blocks += 33) {
		pool = open_pool(&image, cache_blocks);
		for (size_t i = 0; i < nr; i++)
			expect_runs(pool, &devices[i], 0, UINT64_MAX);
		thinp_pool_close(pool);
	}
	image_pool_close(&image);
}

/* Each breaks off from the one before in another way. */
static const struct thinp_run breaks[] = {
	{0, 500, 1, 5, 0},   {1, 502, 2, 5, 0},  /* data goes on later */
	{3, 504, 1, 6, 0},                       /* another time */
	{4, 505, 3, 5, 0},                       /* and back */
	{8, 508, 2, 5, 0},                       /* a gap in both */
	{10, 100, 40, 5, 0},                     /* data goes back */
	{50, 100, 1, 5, 0},  {51, 100, 1, 5, 0}, /* the same block twice */
	{52, 99, 1, 5, 0},
};

static void runs_end_where_anything_breaks_off(void **state)
{
	static const struct image_thin device = {.dev_id = 1, .runs = breaks, .nr_runs = NR_OF(breaks)};

	(void)state;
	for (size_t i = 0; i < NR_OF(shapes); i++)
		expect_runs_of_all(&shapes[i], &device, 1);
}

/* One side alone goes on without a gap. */
static void rows_of_data_blocks_or_of_virtual_blocks_alone_are_no_runs(void **state)
{
	static struct thinp_run gaps[300], jumps[300];
	static const struct image_thin devices[] = {{.dev_id = 1, .runs = gaps, .nr_runs = NR_OF(gaps)},
						    {.dev_id = 2, .runs = jumps, .nr_runs = NR_OF(jumps)}};

	(void)state;
	for (size_t i = 0; i < NR_OF(gaps); i++) {
		gaps[i] = (struct thinp_run){2 * i, i, 1, 1, 0};
		jumps[i] = (struct thinp_run){i, 2 * i, 1, 1, 0};
	}
	for (size_t i = 0; i < NR_OF(shapes); i++)
		expect_runs_of_all(&shapes[i], devices, NR_OF(devices));
}

static void TOOL_23_each_device_has_its_own_runs(void **state)
{
	static const struct thinp_run one[] = {{5, 10, 5, 1, 0}}, other[] = {{0, 0, 300, 2, 0}, {400, 0, 1, 2, 0}};
	static const struct image_thin devices[] = {
		{.dev_id = 1, .runs = one, .nr_runs = 1},
		{.dev_id = 2},
		{.dev_id = 7, .runs = other, .nr_runs = 2},
	};

	(void)state;
	for (size_t i = 0; i < NR_OF(shapes); i++)
		expect_runs_of_all(&shapes[i], devices, NR_OF(devices));
}

/* A leaf has room for 252 mappings. */
static void a_run_goes_on_from_leaf_to_leaf(void **state)
{
	static const struct thinp_run runs[] = {{100, 0, 251, 1, 0}, {351, 500, 2, 1, 0}, {353, 0, 1000, 1, 0}};
	static const struct image_thin device = {.dev_id = 1, .runs = runs, .nr_runs = NR_OF(runs)};

	(void)state;
	for (size_t i = 0; i < NR_OF(shapes); i++)
		expect_runs_of_all(&shapes[i], &device, 1);
}

/* More than are handed over at once, however they fall on leaves. */
static void many_runs_of_one_block_are_all_told(void **state)
{
	static const size_t sizes[] = {1, 251, 252, 253, 255, 256, 257, 504, 512, 1000};

	(void)state;
	for (size_t i = 0; i < NR_OF(sizes); i++) {
		struct thinp_run *runs = calloc(sizes[i], sizeof(*runs));
		struct image_thin device = {.dev_id = 1, .runs = runs, .nr_runs = sizes[i]};

		assert_non_null(runs);
		for (size_t j = 0; j < sizes[i]; j++)
			runs[j] = (struct thinp_run){2 * j, 999 - j % 1000, 1, 1, 0};
		expect_runs_of_all(&shapes[0], &device, 1);
		free(runs);
	}
}

static void BT_18_numbers_at_the_edges_are_told(void **state)
{
	static const struct thinp_run runs[] = {
		{0, 0, 2, 0, 0},
		{UINT64_C(1) << 32, (UINT64_C(1) << 40) - 1, 1, (1 << 24) - 1, 0},
		{UINT64_C(1) << 63, UINT64_C(1) << 32, 1, 1 << 23, 0},
		{UINT64_MAX - 2, 5, 3, 1, 0},
	};
	static const struct image_thin device = {.dev_id = UINT64_MAX, .runs = runs, .nr_runs = NR_OF(runs)};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	for (size_t s = 0; s < NR_OF(shapes); s++) {
		image_pool_open(&image, &shapes[s], &device, 1);
		pool = open_pool(&image, 8);
		for (size_t i = 0; i < NR_OF(runs); i++)
			for (size_t j = 0; j < NR_OF(runs); j++)
				for (uint64_t d = 0; d < 9; d++)
					expect_runs(pool, &device, runs[i].virtual_begin + d / 3 - 1,
						    runs[j].virtual_begin + d % 3 - 1);
		thinp_pool_close(pool);
		image_pool_close(&image);
	}
}

/* --- ranges ---------------------------------------------------------------------------------------------------------- */

static void every_range_is_cut_at_both_ends(void **state)
{
	static const struct thinp_run runs[] = {
		{3, 0, 1, 1, 0}, {5, 10, 6, 1, 0}, {11, 30, 4, 1, 0}, {15, 34, 3, 2, 0}, {21, 40, 9, 2, 0}};
	static const struct image_thin device = {.dev_id = 1, .runs = runs, .nr_runs = NR_OF(runs)};

	(void)state;
	for (size_t s = 0; s < NR_OF(shapes); s++) {
		struct image_pool image;
		struct thinp_pool *pool;

		image_pool_open(&image, &shapes[s], &device, 1);
		pool = open_pool(&image, 4);
		for (uint64_t first = 0; first <= 32; first++) {
			for (uint64_t last = 0; last <= 32; last++)
				expect_runs(pool, &device, first, last);
			expect_runs(pool, &device, first, UINT64_MAX);
			expect_runs(pool, &device, UINT64_MAX, first);
		}
		thinp_pool_close(pool);
		image_pool_close(&image);
	}
}

/* Runs that break off somehow from one another. */
static size_t random_runs(uint64_t *rng, struct thinp_run *runs, size_t nr)
{
	uint64_t virtual_block = random_next(rng) % 3;

	for (size_t i = 0; i < nr; i++) {
		uint64_t length = 1 + (random_next(rng) % 4 ? random_next(rng) % 3 : random_next(rng) % 60);

		runs[i] = (struct thinp_run){virtual_block, random_next(rng) % 900, length,
					     (uint32_t)(random_next(rng) % 4), 0};
		if (i && runs[i].data_begin == runs[i - 1].data_begin + runs[i - 1].length)
			runs[i].data_begin++;
		virtual_block += length + (random_next(rng) % 2 ? random_next(rng) % 4 : 0);
	}
	return nr;
}

static void random_ranges_of_random_devices_are_told(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (int round = 0; round < 12; round++) {
		struct thinp_run runs[60];
		struct image_thin device = {.dev_id = 5, .runs = runs};
		struct image_pool image;
		struct thinp_pool *pool;

		device.nr_runs = random_runs(&rng, runs, 1 + random_next(&rng) % NR_OF(runs));
		image_pool_open(&image, &shapes[random_next(&rng) % NR_OF(shapes)], &device, 1);
		pool = open_pool(&image, 1 + (uint32_t)(random_next(&rng) % 40));
		for (int i = 0; i < 200; i++) {
			uint64_t first = random_next(&rng) % 300;

			expect_runs(pool, &device, first, first + random_next(&rng) % 100);
		}
		expect_runs(pool, &device, 0, UINT64_MAX);
		thinp_pool_close(pool);
		image_pool_close(&image);
	}
}

/* --- callbacks, errors ----------------------------------------------------------------------------------------------- */

static void what_the_callback_returns_is_returned(void **state)
{
	static const int results[] = {1, -1, INT32_MIN, THINP_ENODATA, THINP_ECORRUPT};
	static const struct image_thin device = {.dev_id = 1, .runs = breaks, .nr_runs = NR_OF(breaks)};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &shapes[1], &device, 1);
	pool = open_pool(&image, 8);
	for (size_t i = 0; i < NR_OF(results); i++)
		for (size_t stop_at = 1; stop_at <= 3; stop_at++) {
			struct expected expected = {.runs = breaks,
						    .nr_runs = NR_OF(breaks),
						    .last = UINT64_MAX,
						    .stop_at = stop_at,
						    .stop_with = results[i]};

			assert_int_equal(thinp_pool_walk_runs(pool, 1, 0, UINT64_MAX, take, &expected), results[i]);
			assert_int_equal(expected.nr_calls, stop_at);
		}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void a_device_that_is_not_there_has_no_runs(void **state)
{
	static const struct image_thin device = {.dev_id = 1, .runs = breaks, .nr_runs = NR_OF(breaks)};
	struct expected expected = {.nr_runs = 0};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &shapes[0], &device, 1);
	pool = open_pool(&image, 8);
	expect_failure(thinp_pool_walk_runs(pool, 2, 0, UINT64_MAX, take, &expected), THINP_ENODATA, THINP_NO_BLOCK,
		       "no device 2");
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static int count(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	for (size_t i = 0; i < nr_runs; i++)
		*(uint64_t *)ctx += runs[i].length;
	return 0;
}

/* What comes before the damage is told. */
static void damage_among_the_mappings_is_told_where_it_is(void **state)
{
	static const struct thinp_run runs[] = {{0, 0, 9, 1, 0}};
	static const struct image_thin device = {.dev_id = 1, .runs = runs, .nr_runs = 1};
	struct image_pool image;
	struct thinp_pool *pool;
	thinp_block_t root, bad;
	uint64_t nr = 0;

	(void)state;
	image_pool_open(&image, &shapes[1], &device, 1);
	root = tree_child(&image.image, image.sb.mapping_root, 0);
	bad = tree_child(&image.image, root, 2);
	image_flip(&image.image, bad, 8 * 33);
	pool = open_pool(&image, 8);
	expect_corrupt(thinp_pool_walk_runs(pool, 1, 0, UINT64_MAX, count, &nr), bad, "checksum");
	assert_true(nr <= 6);
	assert_int_equal(thinp_pool_walk_runs(pool, 1, 0, 4, count, &nr), 0);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void BT_10_a_root_of_mappings_that_leads_to_details_is_refused(void **state)
{
	static const struct thinp_run runs[] = {{0, 0, 9, 1, 0}};
	static const struct image_thin device = {.dev_id = 1, .runs = runs, .nr_runs = 1};
	struct image_pool image;
	struct thinp_pool *pool;
	uint64_t nr = 0;

	(void)state;
	image_pool_open(&image, &shapes[0], &device, 1);
	tree_set_child(&image.image, image.sb.mapping_root, 0, image.sb.details_root);
	pool = open_pool(&image, 8);
	expect_corrupt(thinp_pool_walk_runs(pool, 1, 0, UINT64_MAX, count, &nr), image.sb.details_root,
		       "values of 24 bytes in a tree with values of 8 bytes");
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void TOOL_35_a_root_of_mappings_that_leads_nowhere_is_refused(void **state)
{
	static const thinp_block_t nowhere[] = {0, IMAGE_POOL_BLOCKS, UINT64_C(1) << 40, UINT64_MAX};
	static const struct image_thin device = {.dev_id = 1, .runs = breaks, .nr_runs = NR_OF(breaks)};

	(void)state;
	for (size_t i = 0; i < NR_OF(nowhere); i++) {
		struct image_pool image;
		struct thinp_pool *pool;
		uint64_t nr = 0;

		image_pool_open(&image, &shapes[0], &device, 1);
		tree_set_child(&image.image, image.sb.mapping_root, 0, nowhere[i]);
		pool = open_pool(&image, 8);
		assert_int_equal(thinp_pool_walk_runs(pool, 1, 0, UINT64_MAX, count, &nr), THINP_ECORRUPT);
		expect_detail(THINP_ECORRUPT);
		assert_int_equal(nr, 0);
		thinp_pool_close(pool);
		image_pool_close(&image);
	}
}

static int use_runs(struct image_trial *trial)
{
	const struct image_thin *device = trial->ctx;
	struct expected expected = {.runs = device->runs, .nr_runs = device->nr_runs, .last = UINT64_MAX};
	int r = thinp_pool_walk_runs(trial->handle, device->dev_id, 0, UINT64_MAX, take, &expected);

	assert_true(r || !next_part(&expected).length);
	return r;
}

static void they_survive_failing_reads_and_allocations(void **state)
{
	static const struct image_thin device = {.dev_id = 1, .runs = breaks, .nr_runs = NR_OF(breaks)};
	struct image_pool image;
	struct image_trial trial;

	(void)state;
	image_pool_open(&image, &shapes[1], &device, 1);
	trial = image_pool_trial(&image, use_runs, &device);
	image_trial_run(&trial);
	image_pool_close(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_end_where_anything_breaks_off),
		cmocka_unit_test(rows_of_data_blocks_or_of_virtual_blocks_alone_are_no_runs),
		cmocka_unit_test(TOOL_23_each_device_has_its_own_runs),
		cmocka_unit_test(a_run_goes_on_from_leaf_to_leaf),
		cmocka_unit_test(many_runs_of_one_block_are_all_told),
		cmocka_unit_test(BT_18_numbers_at_the_edges_are_told),
		cmocka_unit_test(every_range_is_cut_at_both_ends),
		cmocka_unit_test(random_ranges_of_random_devices_are_told),
		cmocka_unit_test(what_the_callback_returns_is_returned),
		cmocka_unit_test(a_device_that_is_not_there_has_no_runs),
		cmocka_unit_test(damage_among_the_mappings_is_told_where_it_is),
		cmocka_unit_test(BT_10_a_root_of_mappings_that_leads_to_details_is_refused),
		cmocka_unit_test(TOOL_35_a_root_of_mappings_that_leads_nowhere_is_refused),
		cmocka_unit_test(they_survive_failing_reads_and_allocations),
	};

	return cmocka_run_group_tests_name("thin/mappings", tests, NULL, NULL);
}
