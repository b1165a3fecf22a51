/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A dump that is told to stop, asked how far it is, given structs of other versions, or meets damage.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"
#include "support/image_text.h"

#include <thinp/dump.h>

#include <stdlib.h>

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct tree_shape full = {.per_leaf = 0};
static const struct thinp_run first_runs[] = {{0, 0, 400, 1, 0}}, second_runs[] = {{0, 500, 3, 1, 0}, {9, 1, 1, 1, 0}};
static const struct image_thin devices[] = {
	{.dev_id = 1, .details = {400, 1, 1, 1}, .runs = first_runs, .nr_runs = 1},
	{.dev_id = 2, .details = {4, 1, 1, 1}, .runs = second_runs, .nr_runs = 2},
	{.dev_id = 3, .details = {0, 1, 1, 1}},
};

static struct thinp_pool *open_pool(struct image_pool *image)
{
	struct thinp_pool *pool;

	assert_int_equal(thinp_pool_open(image->image.io, NULL, &pool), 0);
	return pool;
}

/* --- writing that fails ---------------------------------------------------------------------------------------------- */

/* So many runs that the text is handed over in many pieces. */
static struct image_thin long_device(struct thinp_run *runs, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		runs[i] = (struct thinp_run){2 * i, i * 7 % 1000, 1, 3, 0};
	return (struct image_thin){.dev_id = 1, .details = {nr, 0, 0, 0}, .runs = runs, .nr_runs = nr};
}

static void what_the_write_callback_returns_ends_the_dump_at_every_call(void **state)
{
	static const int results[] = {1, -1, -28, THINP_ENOSPC, THINP_ENODATA, INT32_MIN};
	static struct thinp_run runs[3000];
	struct image_thin devs[2] = {long_device(runs, NR_OF(runs)), {.dev_id = 5}};
	struct image_text whole = {.text = NULL};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, devs, 2);
	pool = open_pool(&image);
	assert_int_equal(thinp_dump(pool, NULL, image_text_take, &whole), 0);
	assert_true(whole.nr_calls > 3);
	for (size_t fail_at = 1; fail_at <= whole.nr_calls; fail_at++)
		for (uint32_t format = THINP_DUMP_XML; format <= THINP_DUMP_JSON; format++) {
			const struct thinp_dump_opts opts = {.size = sizeof(opts), .format = format};
			struct image_text text = {.fail_at = fail_at,
						  .fail_with = results[(fail_at + format) % NR_OF(results)]};
			int r = thinp_dump(pool, &opts, image_text_take, &text);

			/* the other forms are shorter and may come to their end before */
			assert_int_equal(r, text.nr_calls == fail_at ? text.fail_with : 0);
			if (format == THINP_DUMP_XML) {
				assert_int_equal(text.nr_calls, fail_at);
				assert_true(text.len < whole.len);
				assert_memory_equal(text.len ? text.text : "", whole.text, text.len);
			}
			image_text_free(&text);
		}
	image_text_free(&whole);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* Nobody wants the rest, so it is not read. */
static void a_dump_that_cannot_be_written_stops_reading(void **state)
{
	static struct thinp_run runs[12000];
	const struct image_thin device = long_device(runs, NR_OF(runs));
	const struct tree_shape small_leaves = {.per_leaf = 20};
	struct image_text text = {.fail_at = 1, .fail_with = THINP_ENOSPC};
	struct image_pool image;
	struct thinp_pool *pool;
	uint64_t before;

	(void)state;
	image_pool_open(&image, &small_leaves, &device, 1);
	pool = open_pool(&image);
	before = atomic_load(&image.image.nr_reads);
	assert_int_equal(thinp_dump(pool, NULL, image_text_take, &text), THINP_ENOSPC);
	assert_true(atomic_load(&image.image.nr_reads) - before < 12000 / 20 / 2);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void a_dump_of_a_few_bytes_is_handed_over_once(void **state)
{
	struct image_text text = {.fail_at = 1, .fail_with = 5};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, NULL, 0);
	pool = open_pool(&image);
	assert_int_equal(thinp_dump(pool, NULL, image_text_take, &text), 5);
	assert_int_equal(text.nr_calls, 1);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* --- progress -------------------------------------------------------------------------------------------------------- */

struct progress {
	size_t nr_calls, stop_at;
	uint64_t done, total;
};

static int watch(void *ctx, uint64_t done, uint64_t total)
{
	struct progress *progress = ctx;

	assert_true(!progress->nr_calls || (done >= progress->done && total == progress->total));
	progress->done = done;
	progress->total = total;
	return ++progress->nr_calls == progress->stop_at;
}

static struct progress watch_dump(struct image_pool *image, struct thinp_dump_opts opts, size_t stop_at, int expected)
{
	struct progress progress = {.stop_at = stop_at};
	struct thinp_pool *pool = open_pool(image);
	struct image_text text = {.text = NULL};

	opts.size = sizeof(opts);
	opts.progress = watch;
	opts.progress_ctx = &progress;
	assert_int_equal(thinp_dump(pool, &opts, image_text_take, &text), expected);
	if (expected)
		expect_detail(expected);
	image_text_free(&text);
	thinp_pool_close(pool);
	return progress;
}

static void progress_ends_with_the_number_of_mappings(void **state)
{
	const uint64_t one[] = {2, 7}, none[] = {7};
	struct progress progress;
	struct image_pool image;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	progress = watch_dump(&image, (struct thinp_dump_opts){.format = THINP_DUMP_XML}, 0, 0);
	assert_int_equal(progress.done, 404);
	assert_int_equal(progress.total, 404);
	progress = watch_dump(&image, (struct thinp_dump_opts){.dev_ids = one, .nr_dev_ids = 2}, 0, 0);
	assert_int_equal(progress.done, 4);
	assert_int_equal(progress.total, 4);
	progress = watch_dump(&image, (struct thinp_dump_opts){.dev_ids = none, .nr_dev_ids = 1}, 0, 0);
	assert_int_equal(progress.done, 0);
	progress = watch_dump(&image, (struct thinp_dump_opts){.flags = THINP_DUMP_SKIP_MAPPINGS}, 0, 0);
	assert_int_equal(progress.done, 0);
	assert_int_equal(progress.total, 0);
	image_pool_close(&image);
}

static void a_dump_can_be_cancelled_at_every_call(void **state)
{
	size_t nr_calls;
	struct image_pool image;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	nr_calls = watch_dump(&image, (struct thinp_dump_opts){.format = THINP_DUMP_JSON}, 0, 0).nr_calls;
	assert_true(nr_calls >= NR_OF(devices));
	for (size_t stop_at = 1; stop_at <= nr_calls; stop_at++) {
		struct progress progress = watch_dump(&image, (struct thinp_dump_opts){.format = THINP_DUMP_JSON},
						      stop_at, THINP_ECANCELED);

		assert_int_equal(progress.nr_calls, stop_at);
	}
	image_pool_close(&image);
}

static void TOOL_10_a_total_of_damaged_numbers_does_not_wrap_round(void **state)
{
	static const struct image_thin damaged[] = {
		{.dev_id = 1, .details = {UINT64_MAX, 1, 1, 1}, .runs = second_runs, .nr_runs = 2},
		{.dev_id = 2, .details = {UINT64_MAX, 1, 1, 1}},
		{.dev_id = 3, .details = {7, 1, 1, 1}},
	};
	struct progress progress;
	struct image_pool image;

	(void)state;
	image_pool_open(&image, &full, damaged, NR_OF(damaged));
	progress = watch_dump(&image, (struct thinp_dump_opts){.format = THINP_DUMP_XML}, 0, 0);
	assert_true(progress.total == UINT64_MAX);
	assert_int_equal(progress.done, 4);
	image_pool_close(&image);
}

/* --- reads ----------------------------------------------------------------------------------------------------------- */

/* What two devices share, the second one has from the first. */
static void leaves_that_devices_share_are_read_once(void **state)
{
	const struct tree_shape small_leaves = {.per_leaf = 4};
	const struct image_thin alike[] = {{.dev_id = 1, .runs = first_runs, .nr_runs = 1},
					   {.dev_id = 2, .runs = first_runs, .nr_runs = 1}};
	const uint64_t one[] = {1};
	const struct thinp_dump_opts opts[] = {{.size = sizeof(opts[0]), .dev_ids = one, .nr_dev_ids = 1},
					       {.size = sizeof(opts[0])}};
	uint64_t nr_reads[2];
	struct image_pool image;

	(void)state;
	image_pool_open(&image, &small_leaves, alike, 2);
	tree_set_child(&image.image, image.sb.mapping_root, 1, tree_child(&image.image, image.sb.mapping_root, 0));
	for (size_t i = 0; i < 2; i++) {
		const struct thinp_pool_opts small_cache = {.size = sizeof(small_cache), .cache_blocks = 2};
		uint64_t before = atomic_load(&image.image.nr_reads);
		struct image_text text = {.text = NULL};
		struct thinp_pool *pool;

		assert_int_equal(thinp_pool_open(image.image.io, &small_cache, &pool), 0);
		assert_int_equal(thinp_dump(pool, &opts[i], image_text_take, &text), 0);
		nr_reads[i] = atomic_load(&image.image.nr_reads) - before;
		image_text_free(&text);
		thinp_pool_close(pool);
	}
	assert_true(nr_reads[0] > 100);
	assert_true(nr_reads[1] < nr_reads[0] + 20);
	image_pool_close(&image);
}

/* --- options --------------------------------------------------------------------------------------------------------- */

static void forms_and_flags_that_are_not_known_are_refused_before_anything_is_written(void **state)
{
	static const struct thinp_dump_opts bad[] = {
		{.size = sizeof(bad[0]), .format = 3},
		{.size = sizeof(bad[0]), .format = UINT32_MAX},
		{.size = sizeof(bad[0]), .flags = 2},
		{.size = sizeof(bad[0]), .flags = UINT32_MAX},
	};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	pool = open_pool(&image);
	for (size_t i = 0; i < NR_OF(bad); i++) {
		struct image_text text = {.text = NULL};

		assert_int_equal(thinp_dump(pool, &bad[i], image_text_take, &text), THINP_ENOTSUP);
		expect_detail(THINP_ENOTSUP);
		assert_int_equal(text.nr_calls, 0);
	}
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void options_of_older_and_newer_callers_are_taken(void **state)
{
	struct {
		struct thinp_dump_opts known;
		uint64_t unknown[2];
	} opts = {.known = {.format = THINP_DUMP_HUMAN_READABLE}};
	struct image_text text = {.text = NULL};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	pool = open_pool(&image);
	for (size_t size = sizeof(size_t); size <= sizeof(opts); size += 4) {
		opts.known.size = size;
		assert_int_equal(thinp_dump(pool, &opts.known, image_text_take, &text), 0);
		/* who does not know forms gets XML */
		assert_int_equal(text.text[0], size <= offsetof(struct thinp_dump_opts, format) ? '<' : 'b');
		image_text_free(&text);
	}
	opts.unknown[1] = 1;
	assert_int_equal(thinp_dump(pool, &opts.known, image_text_take, &text), THINP_ENOTSUP);
	opts.known.size = 0;
	assert_int_equal(thinp_dump(pool, &opts.known, image_text_take, &text), THINP_EINVAL);
	assert_int_equal(text.nr_calls, 0);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void the_ids_of_the_caller_are_left_in_their_order(void **state)
{
	const uint64_t ids[] = {3, 1, 2};
	uint64_t given[] = {3, 1, 2};
	const struct thinp_dump_opts opts = {.size = sizeof(opts), .dev_ids = given, .nr_dev_ids = 3};
	struct image_text text = {.text = NULL};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	pool = open_pool(&image);
	assert_int_equal(thinp_dump(pool, &opts, image_text_take, &text), 0);
	assert_memory_equal(given, ids, sizeof(ids));
	image_text_free(&text);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void more_ids_than_memory_can_hold_are_refused(void **state)
{
	const uint64_t id = 1;
	const struct thinp_dump_opts opts = {.size = sizeof(opts), .dev_ids = &id, .nr_dev_ids = SIZE_MAX / 8 + 2};
	struct image_text text = {.text = NULL};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	pool = open_pool(&image);
	assert_int_equal(thinp_dump(pool, &opts, image_text_take, &text), THINP_ENOMEM);
	assert_int_equal(text.nr_calls, 0);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

/* --- damage and failures --------------------------------------------------------------------------------------------- */

/* What came before the damage has been handed over, and nothing that would make it look complete. */
static void TOOL_11_a_dump_that_meets_damage_does_not_look_complete(void **state)
{
	struct image_text text = {.text = NULL};
	struct image_pool image;
	struct thinp_pool *pool;
	thinp_block_t bad;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	bad = tree_child(&image.image, image.sb.mapping_root, 1);
	image_flip(&image.image, bad, 8 * 90);
	pool = open_pool(&image);
	expect_corrupt(thinp_dump(pool, NULL, image_text_take, &text), bad, "checksum");
	assert_non_null(strstr(text.text, "<device dev_id=\"1\""));
	assert_non_null(strstr(text.text, "length=\"400\""));
	assert_null(strstr(text.text, "<device dev_id=\"3\""));
	assert_null(strstr(text.text, "</superblock>"));
	image_text_free(&text);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void a_device_that_only_one_tree_knows_ends_the_dump(void **state)
{
	struct image_thin odd[NR_OF(devices)];
	struct image_text text = {.text = NULL};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	memcpy(odd, devices, sizeof(odd));
	odd[1].lacks_details = true;
	image_pool_open(&image, &full, odd, NR_OF(odd));
	pool = open_pool(&image);
	expect_corrupt(thinp_dump(pool, NULL, image_text_take, &text), image.sb.details_root, "device 2 has mappings");
	assert_null(strstr(text.text, "</superblock>"));
	image_text_free(&text);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static void a_dump_that_succeeds_leaves_the_detail_record_alone(void **state)
{
	struct image_text text = {.text = NULL};
	struct image_pool image;
	struct thinp_pool *pool;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	pool = open_pool(&image);
	detail_mark();
	assert_int_equal(thinp_dump(pool, NULL, image_text_take, &text), 0);
	expect_detail_untouched();
	image_text_free(&text);
	thinp_pool_close(pool);
	image_pool_close(&image);
}

static int use_dump(struct image_trial *trial)
{
	const uint64_t ids[] = {2, 1};
	const struct thinp_dump_opts opts = {
		.size = sizeof(opts), .dev_ids = ids, .nr_dev_ids = 2, .allocator = &trial->reader.alloc.table};
	struct image_text text = {.text = NULL};
	int r = thinp_dump(trial->handle, &opts, image_text_take, &text);

	assert_true(!r == (text.text && strstr(text.text, "</superblock>\n")));
	image_text_free(&text);
	return r;
}

static void a_dump_survives_failing_reads_and_allocations(void **state)
{
	struct image_pool image;
	struct image_trial trial;

	(void)state;
	image_pool_open(&image, &full, devices, NR_OF(devices));
	trial = image_pool_trial(&image, use_dump, NULL);
	image_trial_run(&trial);
	image_pool_close(&image);
}

static size_t peak_of_a_dump(size_t nr)
{
	static struct thinp_run runs[12000];
	struct image_thin device = long_device(runs, nr);
	struct image_text text = {.text = NULL};
	struct alloc_counting alloc;
	const struct thinp_pool_opts opts = {.size = sizeof(opts), .cache_blocks = 8, .allocator = &alloc.table};
	const struct thinp_dump_opts dump_opts = {.size = sizeof(dump_opts), .allocator = &alloc.table};
	struct image_pool image;
	struct thinp_pool *pool;

	alloc_counting_init(&alloc);
	image_pool_open(&image, &full, &device, 1);
	assert_int_equal(thinp_pool_open(image.image.io, &opts, &pool), 0);
	assert_int_equal(thinp_dump(pool, &dump_opts, image_text_take, &text), 0);
	thinp_pool_close(pool);
	image_pool_close(&image);
	image_text_free(&text);
	alloc_counting_check(&alloc);
	return alloc.peak_bytes;
}

static void the_memory_of_a_dump_of_one_device_does_not_grow_with_it(void **state)
{
	size_t few = peak_of_a_dump(1000);

	(void)state;
	assert_true(peak_of_a_dump(12000) <= few + 2048); /* the cache's table of block numbers may spread */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_write_callback_returns_ends_the_dump_at_every_call),
		cmocka_unit_test(a_dump_that_cannot_be_written_stops_reading),
		cmocka_unit_test(a_dump_of_a_few_bytes_is_handed_over_once),
		cmocka_unit_test(progress_ends_with_the_number_of_mappings),
		cmocka_unit_test(a_dump_can_be_cancelled_at_every_call),
		cmocka_unit_test(TOOL_10_a_total_of_damaged_numbers_does_not_wrap_round),
		cmocka_unit_test(leaves_that_devices_share_are_read_once),
		cmocka_unit_test(forms_and_flags_that_are_not_known_are_refused_before_anything_is_written),
		cmocka_unit_test(options_of_older_and_newer_callers_are_taken),
		cmocka_unit_test(the_ids_of_the_caller_are_left_in_their_order),
		cmocka_unit_test(more_ids_than_memory_can_hold_are_refused),
		cmocka_unit_test(TOOL_11_a_dump_that_meets_damage_does_not_look_complete),
		cmocka_unit_test(a_device_that_only_one_tree_knows_ends_the_dump),
		cmocka_unit_test(a_dump_that_succeeds_leaves_the_detail_record_alone),
		cmocka_unit_test(a_dump_survives_failing_reads_and_allocations),
		cmocka_unit_test(the_memory_of_a_dump_of_one_device_does_not_grow_with_it),
	};

	return cmocka_run_group_tests_name("check/dump_callbacks", tests, NULL, NULL);
}
