/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Several threads read one pool at once. To be run under ThreadSanitizer too (tests/run-tsan).
 */
#include "support/image_expect.h"
#include "support/image_pool.h"

#include <pthread.h>

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct thinp_run first[] = {{0, 0, 300, 1, 0}}, second[] = {{0, 300, 300, 1, 0}, {1000, 0, 100, 2, 0}};
static const struct image_thin devices[] = {
	{.dev_id = 1, .details = {300, 1, 1, 1}, .runs = first, .nr_runs = 1},
	{.dev_id = 2, .details = {400, 1, 1, 1}, .runs = second, .nr_runs = 2},
	{.dev_id = 3, .details = {0, 1, 1, 1}},
};
static const struct tree_shape small_nodes = {.per_leaf = 5, .per_node = 5};

enum { NR_THREADS = 4, NR_ROUNDS = 12 };

/* What one thread has found; compared when it has ended, because assertions belong to the main thread. */
struct visitor {
	pthread_t thread;
	struct thinp_pool *pool;
	int result; /* the first that is not 0 */
	uint64_t nr_devices, nr_mappings, nr_counted;
};

static int count_device(void *ctx, const struct thinp_device_info *device)
{
	struct visitor *visitor = ctx;

	(void)device;
	visitor->nr_devices++;
	return 0;
}

static int count_mappings(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	struct visitor *visitor = ctx;

	for (size_t i = 0; i < nr_runs; i++)
		visitor->nr_mappings += runs[i].length;
	return 0;
}

static int count_references(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	struct visitor *visitor = ctx;

	visitor->nr_counted += (end - begin) * count;
	return 0;
}

static void keep(struct visitor *visitor, int r)
{
	if (!visitor->result)
		visitor->result = r;
}

static void *visit(void *ctx)
{
	struct visitor *visitor = ctx;

	for (int round = 0; round < NR_ROUNDS; round++) {
		struct thinp_pool_info info = {.size = sizeof(info)};
		struct thinp_bm_stats stats = {.size = sizeof(stats)};

		keep(visitor, thinp_pool_walk_devices(visitor->pool, count_device, visitor));
		for (uint64_t dev = 1; dev <= 3; dev++)
			keep(visitor, thinp_pool_walk_runs(visitor->pool, dev, 0, UINT64_MAX, count_mappings, visitor));
		keep(visitor, thinp_pool_walk_counts(visitor->pool, THINP_POOL_DATA, 0, IMAGE_POOL_DATA_BLOCKS,
						     count_references, visitor));
		thinp_pool_get_info(visitor->pool, &info);
		thinp_pool_get_cache_stats(visitor->pool, &stats);
	}
	return NULL;
}

static void expect_all_find_the_same(uint32_t cache_blocks)
{
	struct visitor visitors[NR_THREADS] = {{.result = 0}};
	struct alloc_counting alloc;
	const struct thinp_pool_opts opts = {
		.size = sizeof(opts), .cache_blocks = cache_blocks, .allocator = &alloc.table};
	struct image_pool image;
	struct thinp_pool *pool;

	alloc_counting_init(&alloc);
	image_pool_open(&image, &small_nodes, devices, NR_OF(devices));
	assert_int_equal(thinp_pool_open(image.image.io, &opts, &pool), 0);
	for (size_t i = 0; i < NR_THREADS; i++) {
		visitors[i].pool = pool;
		assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
	}
	for (size_t i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_join(visitors[i].thread, NULL), 0);
	for (size_t i = 0; i < NR_THREADS; i++) {
		assert_int_equal(visitors[i].result, 0);
		assert_int_equal(visitors[i].nr_devices, NR_ROUNDS * NR_OF(devices));
		assert_int_equal(visitors[i].nr_mappings, NR_ROUNDS * 700);
		assert_int_equal(visitors[i].nr_counted, NR_ROUNDS * 700);
	}
	thinp_pool_close(pool);
	alloc_counting_check(&alloc);
	image_pool_close(&image);
}

static void threads_that_read_one_pool_find_the_same_with_a_small_cache(void **state)
{
	(void)state;
	expect_all_find_the_same(1);
	expect_all_find_the_same(3);
}

static void threads_that_read_one_pool_find_the_same_with_a_large_cache(void **state)
{
	(void)state;
	expect_all_find_the_same(40);
	expect_all_find_the_same(1000);
}

/* Each thread has its own detail record. */
static void *meet_damage(void *ctx)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct visitor *visitor = ctx;

	visitor->result = thinp_pool_walk_runs(visitor->pool, 1, 0, UINT64_MAX, count_mappings, visitor);
	thinp_error_last(&info);
	visitor->nr_counted = info.block;
	return NULL;
}

static void each_thread_is_told_of_its_own_failure(void **state)
{
	struct thinp_error_info before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct visitor visitor = {.result = 0};
	struct thinp_device_info info = {.size = sizeof(info)};
	struct image_pool image;
	thinp_block_t bad;

	(void)state;
	image_pool_open(&image, &small_nodes, devices, NR_OF(devices));
	bad = tree_child(&image.image, image.sb.mapping_root, 0);
	image_flip(&image.image, bad, 8 * 70);
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &visitor.pool), 0);
	assert_int_equal(thinp_pool_get_device(visitor.pool, 99, &info), THINP_ENODATA);
	thinp_error_last(&before);
	assert_int_equal(pthread_create(&visitor.thread, NULL, meet_damage, &visitor), 0);
	assert_int_equal(pthread_join(visitor.thread, NULL), 0);
	thinp_error_last(&after);
	assert_int_equal(visitor.result, THINP_ECORRUPT);
	assert_int_equal(visitor.nr_counted, bad);
	assert_memory_equal(&before, &after, sizeof(before));
	thinp_pool_close(visitor.pool);
	image_pool_close(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_that_read_one_pool_find_the_same_with_a_small_cache),
		cmocka_unit_test(threads_that_read_one_pool_find_the_same_with_a_large_cache),
		cmocka_unit_test(each_thread_is_told_of_its_own_failure),
	};

	return cmocka_run_group_tests_name("thin/threads", tests, NULL, NULL);
}
