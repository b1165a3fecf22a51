/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The devices of a pool, and what happens when its two trees disagree about them.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"

#include <stdio.h>
#include <stdlib.h>

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct tree_shape full = {.per_leaf = 0};
static const struct tree_shape small_nodes = {.per_leaf = 3, .per_node = 3};

static const struct image_thin some[] = {
	{.dev_id = 0, .details = {UINT64_MAX, 1, 2, 3}},
	{.dev_id = 1, .details = {5, UINT64_MAX, UINT32_MAX, 4}},
	{.dev_id = (1 << 24) - 1, .details = {0, 0, 0, UINT32_MAX}},
	{.dev_id = UINT64_MAX, .details = {7, 8, 9, 10}},
};

/* Compares each device with what was written. */
struct receiver {
	const struct image_thin *devices;
	struct image_pool *image;
	size_t nr, stop_at;
	int stop_with;
};

static void expect_device(struct receiver *receiver, const struct thinp_device_info *device)
{
	const struct image_thin *expected = &receiver->devices[receiver->nr];

	assert_int_equal(device->size, sizeof(*device));
	assert_int_equal(device->dev_id, expected->dev_id);
	assert_int_equal(device->mapped_blocks, expected->details.mapped_blocks);
	assert_int_equal(device->transaction_id, expected->details.transaction_id);
	assert_int_equal(device->creation_time, expected->details.creation_time);
	assert_int_equal(device->snapshotted_time, expected->details.snapshotted_time);
	assert_int_equal(image_get64(&receiver->image->image, device->mapping_root, 8), device->mapping_root);
}

static int take(void *ctx, const struct thinp_device_info *device)
{
	struct receiver *receiver = ctx;

	expect_device(receiver, device);
	return ++receiver->nr == receiver->stop_at ? receiver->stop_with : 0;
}

/* --- good pools ------------------------------------------------------------------------------------------------------ */

static void expect_devices(const struct tree_shape *shape, const struct image_thin *devices, size_t nr)
{
	struct image_pool image;
	struct receiver receiver = {.devices = devices, .image = &image};
	struct thinp_pool *pool;

	image_pool_open(&image, shape, devices, nr);
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	assert_int_equal(thinp_pool_walk_devices(pool, take, &receiver), 0);
	assert_int_equal(receiver.nr, nr);
	for (receiver.nr = 0; receiver.nr < nr; receiver.nr++) {
		struct thinp_device_info info = {.size = sizeof(info)};

		assert_int_equal(thinp_pool_get_device(pool, devices[receiver.nr].dev_id, &info), 0);
		expect_device(&receiver, &info);
	}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void BT_18_devices_of_every_id_are_told_with_their_details(void **state)
{
	(void)state;
	expect_devices(&full, some, NR_OF(some));
	expect_devices(&small_nodes, some, NR_OF(some));
}

static void TOOL_08_a_pool_without_devices_is_normal(void **state)
{
	(void)state;
	expect_devices(&full, NULL, 0);
}

static void many_devices_are_told_in_order(void **state)
{
	enum { NR = 300 };
	struct image_thin *devices = calloc(NR, sizeof(*devices));

	(void)state;
	assert_non_null(devices);
	for (size_t i = 0; i < NR; i++)
		devices[i] = (struct image_thin){.dev_id = 3 * i + 1, .details = {i, 2 * i, (uint32_t)i, 7}};
	expect_devices(&full, devices, NR);
	expect_devices(&small_nodes, devices, NR);
	free(devices);
}

static void a_device_that_is_not_there_is_told_so(void **state)
{
	static const uint64_t not_there[] = {2, 3, (1 << 24), UINT64_MAX - 1};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, some, NR_OF(some));
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	for (size_t i = 0; i < NR_OF(not_there); i++) {
		struct thinp_device_info info = {.size = sizeof(info), .dev_id = 77};

		expect_failure(thinp_pool_get_device(pool, not_there[i], &info), THINP_ENODATA, THINP_NO_BLOCK,
			       "no device");
		assert_int_equal(info.dev_id, 77);
	}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void what_the_callback_returns_is_returned(void **state)
{
	static const int results[] = {1, -1, INT32_MIN, THINP_ENODATA, THINP_ECORRUPT};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, some, NR_OF(some));
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	for (size_t i = 0; i < NR_OF(results); i++)
		for (size_t stop_at = 1; stop_at <= NR_OF(some); stop_at++) {
			struct receiver receiver = {
				.devices = some, .image = &image, .stop_at = stop_at, .stop_with = results[i]};

			assert_int_equal(thinp_pool_walk_devices(pool, take, &receiver), results[i]);
			assert_int_equal(receiver.nr, stop_at);
		}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static int count(void *ctx, const struct thinp_device_info *device)
{
	(void)device;
	++*(size_t *)ctx;
	return 0;
}

struct inner {
	struct thinp_pool *pool;
	size_t nr_outer, nr_inner;
};

static int walk_again(void *ctx, const struct thinp_device_info *device)
{
	struct thinp_device_info again = {.size = sizeof(again)};
	struct inner *inner = ctx;

	inner->nr_outer++;
	assert_int_equal(thinp_pool_get_device(inner->pool, device->dev_id, &again), 0);
	assert_memory_equal(&again, device, sizeof(again));
	return thinp_pool_walk_devices(inner->pool, count, &inner->nr_inner);
}

static void the_callback_may_count(void **state)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts), .cache_blocks = 1};
	struct inner inner = {.nr_outer = 0};
	struct image_pool image;

	(void)state;
	image_pool_open(&image, &small_nodes, some, NR_OF(some));
	assert_int_equal(thinp_pool_open(image.image.io, &opts, &inner.pool), 0);
	assert_int_equal(thinp_pool_walk_devices(inner.pool, walk_again, &inner), 0);
	assert_int_equal(inner.nr_outer, NR_OF(some));
	assert_int_equal(inner.nr_inner, NR_OF(some) * NR_OF(some));
	thinp_pool_close(inner.pool);
	image_pool_close(&image);
}

/* --- trees that disagree --------------------------------------------------------------------------------------------- */

static int no_runs(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	(void)ctx;
	(void)runs;
	(void)nr_runs;
	fail();
	return 0;
}

/* The device of number `odd` is in one of the trees only. */
static void expect_disagreement(const struct image_thin *devices, size_t nr, size_t odd)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	bool lacks_details = devices[odd].lacks_details;
	struct image_pool image;
	struct thinp_pool *pool;
	thinp_block_t named;
	size_t nr_told = 0;
	char words[64];

	snprintf(words, sizeof(words), "device %llu has %s", (unsigned long long)devices[odd].dev_id,
		 lacks_details ? "mappings, but no details" : "details, but no mappings");
	image_pool_open(&image, &full, devices, nr);
	named = lacks_details ? image.sb.details_root : image.sb.mapping_root;
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	expect_corrupt(thinp_pool_walk_devices(pool, count, &nr_told), named, words);
	assert_int_equal(nr_told, odd);
	expect_corrupt(thinp_pool_get_device(pool, devices[odd].dev_id, &info), named, words);
	expect_corrupt(thinp_pool_walk_runs(pool, devices[odd].dev_id, 0, UINT64_MAX, no_runs, NULL), named, words);
	for (size_t i = 0; i < nr; i++)
		if (i != odd)
			assert_int_equal(thinp_pool_get_device(pool, devices[i].dev_id, &info), 0);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void a_device_that_only_one_tree_knows_is_damage_wherever_it_stands(void **state)
{
	(void)state;
	for (int lacks_details = 0; lacks_details <= 1; lacks_details++)
		for (size_t nr = 1; nr <= NR_OF(some); nr++)
			for (size_t odd = 0; odd < nr; odd++) {
				struct image_thin devices[NR_OF(some)];

				memcpy(devices, some, sizeof(devices));
				devices[odd].lacks_details = lacks_details;
				devices[odd].lacks_mappings = !lacks_details;
				expect_disagreement(devices, nr, odd);
			}
}

/* One device each, and not the same. */
static void trees_that_know_different_devices_are_damage(void **state)
{
	static const struct image_thin devices[] = {{.dev_id = 3, .lacks_mappings = true},
						    {.dev_id = 4, .lacks_details = true}};
	struct image_pool image;
	struct thinp_pool *pool;
	size_t nr = 0;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	expect_corrupt(thinp_pool_walk_devices(pool, count, &nr), image.sb.mapping_root,
		       "device 3 has details, but no");
	assert_int_equal(nr, 0);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* --- damage ---------------------------------------------------------------------------------------------------------- */

static void BT_10_trees_that_are_exchanged_are_refused(void **state)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	struct image_pool image;
	struct thinp_pool *pool;
	thinp_block_t details;
	size_t nr = 0;

	(void)state;
	image_pool_open(&image, &full, some, NR_OF(some));
	details = image.sb.details_root;
	image.sb.details_root = image.sb.mapping_root;
	image.sb.mapping_root = details;
	image_pool_write_superblock(&image);
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	expect_corrupt(thinp_pool_walk_devices(pool, count, &nr), image.sb.details_root, "values of 8 bytes in a tree");
	expect_corrupt(thinp_pool_get_device(pool, 1, &info), image.sb.details_root, "values of 8 bytes in a tree");
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void damage_in_either_tree_is_told(void **state)
{
	struct thinp_device_info info = {.size = sizeof(info)};

	(void)state;
	for (int of_details = 0; of_details <= 1; of_details++) {
		struct image_pool image;
		struct thinp_pool *pool;
		thinp_block_t bad;
		size_t nr = 0;

		image_pool_open(&image, &full, some, NR_OF(some));
		bad = of_details ? image.sb.details_root : image.sb.mapping_root;
		image_flip(&image.image, bad, 8 * 40);
		assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
		expect_corrupt(thinp_pool_walk_devices(pool, count, &nr), bad, "checksum");
		expect_corrupt(thinp_pool_get_device(pool, 1, &info), bad, "checksum");
		assert_int_equal(nr, 0);
		thinp_pool_close(pool);
		image_pool_close(&image);
	}
}

/* --- failures of others ---------------------------------------------------------------------------------------------- */

/* A walk ends when both trees have no more entries, which is no failure. */
static void calls_that_succeed_leave_the_detail_record_alone(void **state)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	struct image_pool image;
	struct thinp_pool *pool;
	size_t nr = 0;

	(void)state;
	image_pool_open(&image, &small_nodes, some, NR_OF(some));
	detail_mark();
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	expect_detail_untouched();
	assert_int_equal(thinp_pool_get_device(pool, 1, &info), 0);
	expect_detail_untouched();
	assert_int_equal(thinp_pool_walk_runs(pool, 1, 0, UINT64_MAX, no_runs, NULL), 0);
	expect_detail_untouched();
	assert_int_equal(thinp_pool_walk_devices(pool, count, &nr), 0);
	expect_detail_untouched();
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static int use_devices(struct image_trial *trial)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	size_t nr = 0;
	int r = thinp_pool_get_device(trial->handle, 1, &info);

	if (!r)
		r = thinp_pool_walk_devices(trial->handle, count, &nr);
	assert_true(r || nr == NR_OF(some));
	return r;
}

static void they_survive_failing_reads_and_allocations(void **state)
{
	struct image_pool image;
	struct image_trial trial;

	(void)state;
	image_pool_open(&image, &small_nodes, some, NR_OF(some));
	trial = image_pool_trial(&image, use_devices, NULL);
	image_trial_run(&trial);
	image_pool_close(&image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BT_18_devices_of_every_id_are_told_with_their_details),
		cmocka_unit_test(TOOL_08_a_pool_without_devices_is_normal),
		cmocka_unit_test(many_devices_are_told_in_order),
		cmocka_unit_test(a_device_that_is_not_there_is_told_so),
		cmocka_unit_test(what_the_callback_returns_is_returned),
		cmocka_unit_test(the_callback_may_count),
		cmocka_unit_test(a_device_that_only_one_tree_knows_is_damage_wherever_it_stands),
		cmocka_unit_test(trees_that_know_different_devices_are_damage),
		cmocka_unit_test(BT_10_trees_that_are_exchanged_are_refused),
		cmocka_unit_test(damage_in_either_tree_is_told),
		cmocka_unit_test(calls_that_succeed_leave_the_detail_record_alone),
		cmocka_unit_test(they_survive_failing_reads_and_allocations),
	};

	return cmocka_run_group_tests_name("thin/devices", tests, NULL, NULL);
}
