/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Structs of other versions: shorter ones of an older caller, longer ones of a newer one, in every function that takes
 * or fills one. Those of arrays and of thinp_dump(): unit/array, unit/check.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"

#include <thinp/btree.h>

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct tree_shape full = {.per_leaf = 0};
static const struct thinp_run runs[] = {{5, 10, 20, 3, 0}};
static const struct image_thin devices[] = {{.dev_id = 1, .details = {20, 2, 1, 3}, .runs = runs, .nr_runs = 1}};

/* What a newer caller hands over: fields behind those that this version knows. */
#define NEWER(type)                                                                                                    \
	struct {                                                                                                       \
		struct type known;                                                                                     \
		uint64_t unknown[2];                                                                                   \
	}

/* --- options --------------------------------------------------------------------------------------------------------- */

static struct image_pool image;

static int set_up(void **state)
{
	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	image_pool_close(&image);
	return 0;
}

static void a_pool_is_opened_with_shorter_and_longer_options(void **state)
{
	NEWER(thinp_pool_opts) opts = {.known = {.cache_blocks = 7, .flags = THINP_POOL_METADATA_SNAP}};
	struct thinp_pool *pool = NULL;

	(void)state;
	opts.known.size = offsetof(struct thinp_pool_opts, flags); /* knows no flags: the last commit */
	assert_int_equal(thinp_pool_open(image.image.io, &opts.known, &pool), 0);
	thinp_pool_close(pool);

	opts.known.flags = 0;
	for (size_t size = sizeof(size_t); size <= sizeof(opts); size += 4) {
		opts.known.size = size;
		assert_int_equal(thinp_pool_open(image.image.io, &opts.known, &pool), 0);
		thinp_pool_close(pool);
	}
	pool = NULL;
	opts.unknown[1] = 1;
	expect_failure(thinp_pool_open(image.image.io, &opts.known, &pool), THINP_ENOTSUP, THINP_NO_BLOCK, "too old");
	opts.known.size = 0;
	expect_failure(thinp_pool_open(image.image.io, &opts.known, &pool), THINP_EINVAL, THINP_NO_BLOCK, "size");
	assert_null(pool);
}

static void flags_that_a_pool_does_not_know_are_refused(void **state)
{
	struct thinp_pool *pool = NULL;

	(void)state;
	for (uint32_t flag = 64; flag; flag <<= 1) {
		const struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = flag};

		expect_failure(thinp_pool_open(image.image.io, &opts, &pool), THINP_ENOTSUP, THINP_NO_BLOCK, "flags");
	}
	assert_null(pool);
}

static void an_allocator_of_another_version_is_read_by_its_size(void **state)
{
	struct alloc_counting alloc;
	NEWER(thinp_allocator) table = {.unknown = {0}};
	struct thinp_pool_opts opts = {.size = sizeof(opts), .allocator = &table.known};
	struct thinp_pool *pool = NULL;

	(void)state;
	alloc_counting_init(&alloc);
	table.known = alloc.table;
	table.known.size = sizeof(table);
	assert_int_equal(thinp_pool_open(image.image.io, &opts, &pool), 0);
	assert_true(alloc.live_allocations > 0);
	thinp_pool_close(pool);
	alloc_counting_check(&alloc);

	pool = NULL;
	table.unknown[0] = 1;
	assert_int_equal(thinp_pool_open(image.image.io, &opts, &pool), THINP_ENOTSUP);
	table.known.size = offsetof(struct thinp_allocator, free); /* one function lacks */
	assert_int_equal(thinp_pool_open(image.image.io, &opts, &pool), THINP_EINVAL);
	assert_null(pool);
}

static void a_block_manager_is_made_with_shorter_and_longer_options(void **state)
{
	NEWER(thinp_bm_opts) opts = {.known = {.cache_blocks = 7}};
	struct thinp_bm *bm = NULL;

	(void)state;
	for (size_t size = sizeof(size_t); size <= sizeof(opts); size += 4) {
		opts.known.size = size;
		assert_int_equal(thinp_bm_create(image.image.io, &opts.known, &bm), 0);
		thinp_bm_destroy(bm);
	}
	bm = NULL;
	opts.unknown[0] = UINT64_C(1) << 63;
	assert_int_equal(thinp_bm_create(image.image.io, &opts.known, &bm), THINP_ENOTSUP);
	assert_null(bm);
}

/* --- types of trees --------------------------------------------------------------------------------------- */

static int no_span(void *ctx, const struct thinp_btree_span *span)
{
	(void)span;
	++*(size_t *)ctx;
	return 0;
}

/* Every function that takes the type of a tree gives the same answer. */
static void expect_of_trees(struct thinp_reader *reader, const struct thinp_btree_type *type, int expected)
{
	thinp_block_t root = tree_child(&image.image, image.sb.mapping_root, 0);
	struct thinp_btree_cursor *cursor = NULL;
	uint64_t key = 5, last = 24;
	int32_t result = 77;
	uint8_t value[8];
	size_t nr = 0;

	assert_int_equal(thinp_btree_lookup(reader, type, root, &key, value), expected);
	assert_int_equal(thinp_btree_lookup_many(reader, type, root, &key, 1, value, &result), expected);
	assert_int_equal(thinp_btree_lookup_ge(reader, type, root, &key, &key, value), expected);
	assert_int_equal(thinp_btree_first(reader, type, root, &key, value), expected);
	assert_int_equal(thinp_btree_last(reader, type, root, &key, value), expected);
	assert_int_equal(thinp_btree_walk(reader, type, root, no_span, &nr), expected);
	assert_int_equal(thinp_btree_walk_range(reader, type, root, &key, &last, no_span, &nr), expected);
	assert_int_equal(nr, expected ? 0 : 2);
	assert_int_equal(thinp_btree_cursor_create(reader, type, root, &cursor), expected);
	assert_true(!cursor == !!expected);
	thinp_btree_cursor_destroy(cursor);
}

static void trees_are_read_by_shorter_and_longer_types(void **state)
{
	NEWER(thinp_btree_type) type = {.known = {.size = sizeof(type), .nr_levels = 1, .value_size = 8}};
	struct thinp_pool *pool;

	(void)state;
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	expect_of_trees(thinp_pool_reader(pool), &type.known, 0);
	type.unknown[0] = 1;
	expect_of_trees(thinp_pool_reader(pool), &type.known, THINP_ENOTSUP);
	type.known.size = offsetof(struct thinp_btree_type, value_size); /* knows no sizes, so it has one of 0 */
	expect_of_trees(thinp_pool_reader(pool), &type.known, THINP_EINVAL);
	type.known.size = 0;
	expect_of_trees(thinp_pool_reader(pool), &type.known, THINP_EINVAL);
	expect_of_trees(thinp_pool_reader(pool), NULL, THINP_EINVAL);
	thinp_pool_close(pool);
}

/* --- structs that are filled in -------------------------------------------------------------------------------------- */

enum { ROOM = 256, UNTOUCHED = 0xa5 };

struct filler {
	void (*fill)(struct thinp_pool *pool, void *result);
	size_t known; /* bytes that this version knows */
};

static void fill_info(struct thinp_pool *pool, void *result)
{
	thinp_pool_get_info(pool, result);
}

static void fill_stats(struct thinp_pool *pool, void *result)
{
	thinp_pool_get_cache_stats(pool, result);
}

static void fill_device(struct thinp_pool *pool, void *result)
{
	assert_int_equal(thinp_pool_get_device(pool, 1, result), 0);
}

/* As many bytes as the caller knows, the size left as it is, zeros for what only the caller knows. */
static void expect_filled(struct thinp_pool *pool, const struct filler *filler, size_t size)
{
	_Alignas(8) uint8_t result[ROOM], reference[ROOM];
	size_t known = filler->known;

	memset(result, UNTOUCHED, sizeof(result));
	memset(reference, UNTOUCHED, sizeof(reference));
	memcpy(result, &size, sizeof(size));
	memcpy(reference, &known, sizeof(known));
	filler->fill(pool, reference);
	filler->fill(pool, result);
	assert_memory_equal(result, &size, sizeof(size));
	for (size_t i = sizeof(size); i < ROOM; i++) {
		uint8_t expected = i < known ? reference[i] : 0;

		assert_int_equal(result[i], i < size ? expected : UNTOUCHED);
	}
}

static void results_are_filled_in_as_far_as_both_sides_know_them(void **state)
{
	static const struct filler fillers[] = {
		{fill_info, sizeof(struct thinp_pool_info)},
		{fill_stats, sizeof(struct thinp_bm_stats)},
		{fill_device, sizeof(struct thinp_device_info)},
	};
	struct thinp_pool *pool;

	(void)state;
	assert_int_equal(thinp_pool_open(image.image.io, NULL, &pool), 0);
	fill_device(pool, &(struct thinp_device_info){.size = sizeof(struct thinp_device_info)}); /* into the cache */
	for (size_t i = 0; i < NR_OF(fillers); i++)
		for (size_t size = sizeof(size_t); size <= ROOM; size += 4)
			expect_filled(pool, &fillers[i], size);
	thinp_pool_close(pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_pool_is_opened_with_shorter_and_longer_options, set_up, tear_down),
		cmocka_unit_test_setup_teardown(flags_that_a_pool_does_not_know_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_allocator_of_another_version_is_read_by_its_size, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_block_manager_is_made_with_shorter_and_longer_options, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(trees_are_read_by_shorter_and_longer_types, set_up, tear_down),
		cmocka_unit_test_setup_teardown(results_are_filled_in_as_far_as_both_sides_know_them, set_up,
						tear_down),
	};

	return cmocka_run_group_tests_name("thin/structs", tests, NULL, NULL);
}
