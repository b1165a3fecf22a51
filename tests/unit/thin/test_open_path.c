/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A pool opened by the name of its device.
 */
#include "support/alloc_counting.h"
#include "support/image_expect.h"
#include "support/io_temp.h"

#include <thinp/pool.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NR_METADATA = 200 };

static const struct thinp_pool_opts new_pool = {.size = sizeof(new_pool),
						.flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE,
						.cache_blocks = 64,
						.nr_data_blocks = 1000,
						.nr_metadata_blocks = NR_METADATA};
static const struct thinp_pool_opts writable = {.size = sizeof(writable), .flags = THINP_POOL_WRITABLE};
static const struct thinp_pool_opts with_snap = {.size = sizeof(with_snap), .flags = THINP_POOL_METADATA_SNAP};

struct folder {
	struct io_temp temp;
	const char *path; /* of a file that is not there yet */
};

static int set_up(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	if (!f || io_temp_make(&f->temp, "."))
		return -1;
	f->path = io_temp_path(&f->temp, "pool");
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct folder *f = *state;

	io_temp_remove(&f->temp);
	free(f);
	return 0;
}

static struct thinp_pool *open_path(const char *path, const struct thinp_pool_opts *opts)
{
	struct thinp_pool *pool = NULL;

	assert_int_equal(thinp_pool_open_path(path, opts, &pool), 0);
	return pool;
}

static void expect_refused(const char *path, const struct thinp_pool_opts *opts, int code)
{
	struct thinp_pool *pool = NULL;

	assert_int_equal(thinp_pool_open_path(path, opts, &pool), code);
	assert_null(pool);
}

static off_t size_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

static void make_device(struct thinp_pool *pool, uint64_t dev_id)
{
	assert_int_equal(thinp_pool_begin(pool), 0);
	assert_int_equal(thinp_pool_create_device(pool, dev_id), 0);
	assert_int_equal(thinp_pool_reserve_metadata_snap(pool), 0);
	assert_int_equal(thinp_pool_commit(pool), 0);
}

static void expect_device(struct thinp_pool *pool, uint64_t dev_id)
{
	struct thinp_device_info info = {.size = sizeof(info)};

	assert_int_equal(thinp_pool_get_device(pool, dev_id, &info), 0);
}

static void a_file_is_made_and_opened_again(void **state)
{
	struct folder *f = *state;
	struct thinp_error_info before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct thinp_pool *pool;

	expect_refused(f->path, &writable, THINP_ENOENT);
	expect_refused(f->path, NULL, THINP_ENOENT);
	thinp_error_report(THINP_EINVAL, 4711, "an earlier failure");
	thinp_error_last(&before);
	pool = open_path(f->path, &new_pool);
	thinp_error_last(&after); /* that there was no file is no failure */
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(size_of(f->path), NR_METADATA * THINP_BLOCK_SIZE);
	make_device(pool, 7);
	thinp_pool_close(pool);
	pool = open_path(f->path, &writable); /* nobody has it open any more */
	expect_device(pool, 7);
	thinp_pool_close(pool);
	pool = open_path(f->path, &with_snap);
	thinp_pool_close(pool);
}

static void options_of_new_pools_leave_the_file_of_one_that_is_there(void **state)
{
	struct folder *f = *state;
	struct thinp_pool_opts larger = new_pool;
	struct thinp_pool *pool = open_path(f->path, &new_pool);

	make_device(pool, 7);
	thinp_pool_close(pool);
	larger.nr_metadata_blocks = 2 * NR_METADATA;
	pool = open_path(f->path, &larger);
	assert_int_equal(size_of(f->path), NR_METADATA * THINP_BLOCK_SIZE);
	expect_device(pool, 7);
	thinp_pool_close(pool);
}

static void without_a_size_no_file_is_made(void **state)
{
	struct folder *f = *state;
	struct thinp_pool_opts opts = new_pool;

	opts.nr_metadata_blocks = 0;
	expect_refused(f->path, &opts, THINP_ENOENT);
	assert_true(io_temp_is_empty(&f->temp));
}

static void an_empty_file_gets_its_size(void **state)
{
	struct folder *f = *state;
	struct thinp_pool_opts opts = new_pool;
	int fd = open(f->path, O_CREAT | O_WRONLY, 0600);

	assert_true(fd >= 0);
	close(fd);
	opts.nr_metadata_blocks = 0;
	expect_refused(f->path, &opts, THINP_ECORRUPT);
	expect_refused(f->path, &writable, THINP_ECORRUPT);
	assert_int_equal(size_of(f->path), 0);
	thinp_pool_close(open_path(f->path, &new_pool));
	assert_int_equal(size_of(f->path), NR_METADATA * THINP_BLOCK_SIZE);
}

static void readers_keep_writers_away_and_the_other_way_round(void **state)
{
	struct folder *f = *state;
	struct thinp_pool *pool = open_path(f->path, &new_pool), *other;

	expect_refused(f->path, NULL, THINP_EBUSY);
	expect_refused(f->path, &writable, THINP_EBUSY);
	thinp_pool_close(pool);
	pool = open_path(f->path, NULL);
	other = open_path(f->path, NULL);
	expect_refused(f->path, &writable, THINP_EBUSY);
	assert_int_equal(thinp_pool_begin(pool), THINP_EROFS);
	thinp_pool_close(other);
	thinp_pool_close(pool);
}

/* What is refused has not kept the file. */
static void a_failure_closes_the_device(void **state)
{
	struct folder *f = *state;
	struct thinp_pool_opts opts = new_pool;

	thinp_pool_close(open_path(f->path, &new_pool));
	opts.data_block_sectors = 256;
	expect_refused(f->path, &opts, THINP_EINVAL);
	expect_refused(f->path, &with_snap, THINP_ENOENT);
	opts = new_pool;
	opts.flags = THINP_POOL_CREATE;
	expect_refused(f->path, &opts, THINP_EINVAL);
	opts.flags = UINT32_C(1) << 31;
	expect_refused(f->path, &opts, THINP_ENOTSUP);
	expect_refused(NULL, &new_pool, THINP_EINVAL);
	thinp_pool_close(open_path(f->path, &writable));
}

static int attempt(void *ctx)
{
	struct alloc_counting *alloc = ctx;
	struct thinp_pool_opts opts = new_pool;
	struct thinp_pool *pool = NULL;
	int r;

	opts.allocator = &alloc->table;
	r = thinp_pool_open_path("memory:", &opts, &pool);
	thinp_pool_close(pool);
	return r;
}

static void memory_may_fail_at_any_time(void **state)
{
	struct alloc_counting alloc;
	bool has_failed = true;
	size_t nr_refused = 0;

	(void)state;
	alloc_counting_init(&alloc);
	for (size_t n = 1; has_failed; n++) {
		int r;

		alloc_counting_fail(&alloc, n);
		r = attempt(&alloc);
		has_failed = alloc_counting_has_failed(&alloc);
		if (r)
			assert_true(has_failed && r == THINP_ENOMEM);
		nr_refused += r != 0; /* a cache that cannot grow makes do with what it has */
		alloc_counting_check(&alloc);
	}
	assert_true(nr_refused > 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_is_made_and_opened_again),
		TEST(options_of_new_pools_leave_the_file_of_one_that_is_there),
		TEST(without_a_size_no_file_is_made),
		TEST(an_empty_file_gets_its_size),
		TEST(readers_keep_writers_away_and_the_other_way_round),
		TEST(a_failure_closes_the_device),
		cmocka_unit_test(memory_may_fail_at_any_time),
	};

	return cmocka_run_group_tests_name("thin/open_path", tests, NULL, NULL);
}
