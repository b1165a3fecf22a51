/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Dumps of pools whose devices share leaves, of which most is looked at once: the text of all devices is that of each device
 * alone, one behind the other.
 */
#include "support/image_expect.h"
#include "support/image_text.h"

#include <thinp/dump.h>
#include <thinp/io.h>

#include <stdio.h>
#include <stdlib.h>

#include "unit/base/random.h"

enum { NR_METADATA = 3000, NR_DATA = 60000, NR_MAPPED = 6000, NR_DEVICES = 6 };

struct world {
	uint64_t rng;
	struct thinp_io *io;
	struct thinp_pool *pool;
};

static uint64_t below(struct world *w, uint64_t n)
{
	return random_below(&w->rng, n);
}

static void map(struct world *w, uint64_t dev_id, uint64_t begin, uint64_t length)
{
	uint64_t first, nr_done;

	assert_int_equal(thinp_pool_alloc_data(w->pool, length, &first, NULL), 0);
	assert_int_equal(thinp_pool_insert_run(w->pool, dev_id, begin, first, length, &nr_done), 0);
	assert_int_equal(nr_done, length);
}

/* In runs of up to so many blocks, with gaps and jumps. */
static void map_in_runs(struct world *w, uint64_t dev_id, uint64_t begin, uint64_t end, uint64_t longest)
{
	while (begin < end) {
		uint64_t length = 1 + below(w, longest);
		uint64_t first;

		if (below(w, 2)) /* data blocks do not go on */
			assert_int_equal(thinp_pool_alloc_data(w->pool, 1, &first, NULL), 0);
		map(w, dev_id, begin, length);
		begin += length + (below(w, 4) ? 0 : below(w, 300));
	}
}

static void open_world(struct world *w)
{
	static const uint64_t longest[] = {1, 3, 30, 3000};
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_METADATA};
	const struct thinp_pool_opts opts = {
		.size = sizeof(opts), .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE, .nr_data_blocks = NR_DATA};

	assert_int_equal(thinp_io_open_memory(&io_opts, &w->io), 0);
	assert_int_equal(thinp_pool_open(w->io, &opts, &w->pool), 0);
	assert_int_equal(thinp_pool_begin(w->pool), 0);
	assert_int_equal(thinp_pool_create_device(w->pool, 0), 0);
	map_in_runs(w, 0, 0, NR_MAPPED, longest[below(w, 4)]);
	for (uint64_t dev_id = 1; dev_id < NR_DEVICES; dev_id++) {
		uint64_t first = below(w, NR_MAPPED);

		assert_int_equal(thinp_pool_create_snapshot(w->pool, dev_id, below(w, dev_id)), 0);
		map_in_runs(w, dev_id, first, first + below(w, 200), longest[below(w, 4)]);
		first = below(w, NR_MAPPED);
		assert_int_equal(thinp_pool_remove_range(w->pool, dev_id, first, first + below(w, 400), 0, NULL, NULL),
				 0);
	}
	assert_int_equal(thinp_pool_commit(w->pool), 0);
}

static void close_world(struct world *w)
{
	thinp_pool_close(w->pool);
	thinp_io_close(w->io);
}

/* The dump of a device; all of them: of all devices. */
static struct image_text dump(struct world *w, uint32_t format, const uint64_t *dev_id)
{
	const struct thinp_dump_opts opts = {
		.size = sizeof(opts), .format = format, .dev_ids = dev_id, .nr_dev_ids = dev_id ? 1 : 0};
	struct image_text text = {.text = NULL};

	assert_int_equal(thinp_dump(w->pool, &opts, image_text_take, &text), 0);
	return text;
}

/* What stands before and behind the devices is in each dump: as much as one of no device has. */
static void expect_same(struct world *w, uint32_t format, const char *behind, const char *between)
{
	const uint64_t none = 4711;
	struct image_text empty = dump(w, format, &none), all = dump(w, format, NULL);
	size_t len_behind = strlen(behind), len_before = empty.len - len_behind, at = len_before;

	for (uint64_t dev_id = 0; dev_id < NR_DEVICES; dev_id++) {
		struct image_text one = dump(w, format, &dev_id);
		size_t len = one.len - len_before - len_behind;

		if (dev_id) {
			assert_memory_equal(all.text + at, between, strlen(between));
			at += strlen(between);
		}
		assert_true(at + len <= all.len);
		assert_memory_equal(all.text + at, one.text + len_before, len);
		at += len;
		image_text_free(&one);
	}
	assert_string_equal(all.text + at, behind);
	image_text_free(&empty);
	image_text_free(&all);
}

static void the_dump_of_all_devices_is_that_of_each_of_them(void **state)
{
	struct world w = {.rng = random_begin()};

	(void)state;
	for (int round = 0; round < 30; round++) {
		open_world(&w);
		expect_same(&w, THINP_DUMP_XML, "</superblock>\n", "");
		expect_same(&w, THINP_DUMP_HUMAN_READABLE, "end superblock\n", "");
		expect_same(&w, THINP_DUMP_JSON, "]}\n", ",");
		close_world(&w);
	}
}

/* Each leaf has 250 lines, of which 16 MiB hold those of some 850 leaves. */
static void devices_with_more_text_than_is_remembered_are_dumped_in_full(void **state)
{
	enum { NR = 225000 };
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = 8000};
	const struct thinp_pool_opts opts = {
		.size = sizeof(opts), .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE, .nr_data_blocks = NR};
	struct world w;
	uint64_t first;

	(void)state;
	assert_int_equal(thinp_io_open_memory(&io_opts, &w.io), 0);
	assert_int_equal(thinp_pool_open(w.io, &opts, &w.pool), 0);
	assert_int_equal(thinp_pool_begin(w.pool), 0);
	assert_int_equal(thinp_pool_create_device(w.pool, 0), 0);
	assert_int_equal(thinp_pool_alloc_data(w.pool, NR, &first, NULL), 0);
	for (uint64_t i = 0; i < NR; i++)
		assert_int_equal(thinp_pool_insert(w.pool, 0, i, first + (i ^ 1)), 0);
	assert_int_equal(thinp_pool_create_snapshot(w.pool, 1, 0), 0);
	for (uint64_t dev_id = 2; dev_id < NR_DEVICES; dev_id++)
		assert_int_equal(thinp_pool_create_device(w.pool, dev_id), 0);
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	expect_same(&w, THINP_DUMP_XML, "</superblock>\n", "");
	close_world(&w);
}

/* Text that is remembered goes through the buffer in pieces, and stops where it cannot be written. */
static void a_dump_of_remembered_text_ends_where_it_cannot_be_written(void **state)
{
	struct world w = {.rng = random_begin()};
	struct image_text all;

	(void)state;
	open_world(&w);
	all = dump(&w, THINP_DUMP_XML, NULL);
	for (size_t fail_at = 1; fail_at <= all.nr_calls; fail_at++) {
		struct image_text text = {.fail_at = fail_at, .fail_with = 7};

		assert_int_equal(thinp_dump(w.pool, NULL, image_text_take, &text), 7);
		assert_int_equal(text.nr_calls, fail_at);
		assert_memory_equal(text.len ? text.text : "", all.text, text.len);
		image_text_free(&text);
	}
	image_text_free(&all);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_dump_of_all_devices_is_that_of_each_of_them),
		cmocka_unit_test(devices_with_more_text_than_is_remembered_are_dumped_in_full),
		cmocka_unit_test(a_dump_of_remembered_text_ends_where_it_cannot_be_written),
	};

	return cmocka_run_group_tests_name("check/dump_shared", tests, NULL, NULL);
}
