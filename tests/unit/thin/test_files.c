/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of any size given as metadata.
 */
#include "support/image_expect.h"
#include "support/image_pool.h"
#include "support/io_temp.h"

#include <fcntl.h>
#include <unistd.h>

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct tree_shape small_nodes = {.per_leaf = 20, .per_node = 10};
static const struct thinp_run runs[] = {{.virtual_begin = 0, .data_begin = 0, .length = 1000, .time = 3}};
static const struct image_thin devices[] = {{.dev_id = 1, .details = {1000, 2, 1, 3}, .runs = runs, .nr_runs = 1}};

/* A pool in a file, cut or made longer to a number of bytes. */
static void write_pool(const char *path, size_t nr_blocks_written, off_t nbytes)
{
	struct image_block content;
	struct image_pool image;
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

	assert_true(fd >= 0);
	image_pool_open(&image, &small_nodes, devices, NR_OF(devices));
	for (thinp_block_t b = 0; b < nr_blocks_written; b++) {
		image_read(&image.image, b, &content);
		assert_int_equal(write(fd, content.data, sizeof(content.data)), sizeof(content.data));
	}
	assert_int_equal(ftruncate(fd, nbytes), 0);
	assert_int_equal(close(fd), 0);
	image_pool_close(&image);
}

static size_t nr_warnings;

static void count_warning(void *ctx, const struct thinp_log_record *rec)
{
	(void)ctx;
	(void)rec;
	nr_warnings++;
}

static int open_file(const char *path, struct thinp_io **io, struct thinp_pool **pool)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .flags = THINP_IO_READ_ONLY};
	const struct thinp_pool_opts opts = {.size = sizeof(opts), .log = count_warning};

	*pool = NULL;
	nr_warnings = 0;
	assert_int_equal(thinp_io_open_file(path, &io_opts, io), 0);
	return thinp_pool_open(*io, &opts, pool);
}

static int count_mappings(void *ctx, const struct thinp_run *found, size_t nr_runs)
{
	for (size_t i = 0; i < nr_runs; i++)
		*(uint64_t *)ctx += found[i].length;
	return 0;
}

static void TOOL_20_files_of_less_than_a_block_are_too_small(void **state)
{
	static const off_t sizes[] = {0, 1, 4095};
	struct io_temp temp;

	(void)state;
	assert_int_equal(io_temp_make(&temp, "."), 0);
	for (size_t i = 0; i < NR_OF(sizes); i++) {
		struct thinp_pool *pool;
		struct thinp_io *io;

		write_pool(io_temp_path(&temp, "pool"), 1, sizes[i]);
		expect_corrupt(open_file(io_temp_path(&temp, "pool"), &io, &pool), 0, "too small");
		assert_null(pool);
		thinp_io_close(io);
	}
	io_temp_remove(&temp);
}

/* The superblock alone, and with one byte more: it opens, and everything behind it is damage. */
static void TOOL_20_a_file_of_one_block_opens_and_the_rest_is_damage(void **state)
{
	static const off_t sizes[] = {4096, 4097, 8191};
	struct io_temp temp;

	(void)state;
	assert_int_equal(io_temp_make(&temp, "."), 0);
	for (size_t i = 0; i < NR_OF(sizes); i++) {
		struct thinp_pool_info info = {.size = sizeof(info)};
		struct thinp_pool *pool;
		struct thinp_io *io;
		uint64_t nr = 0;
		uint32_t count;

		write_pool(io_temp_path(&temp, "pool"), 2, sizes[i]);
		assert_int_equal(open_file(io_temp_path(&temp, "pool"), &io, &pool), 0);
		assert_int_equal(nr_warnings, 1);
		thinp_pool_get_info(pool, &info);
		expect_corrupt(thinp_pool_walk_runs(pool, 1, 0, UINT64_MAX, count_mappings, &nr), info.details_root,
			       "beyond the end");
		assert_int_equal(thinp_pool_get_count(pool, THINP_POOL_DATA, 0, &count), THINP_ECORRUPT);
		assert_int_equal(thinp_pool_get_count(pool, THINP_POOL_METADATA, 0, &count), THINP_ECORRUPT);
		thinp_pool_close(pool);
		thinp_io_close(io);
	}
	io_temp_remove(&temp);
}

static void TOOL_20_a_sparse_file_of_sixteen_gigabytes_is_read(void **state)
{
	struct io_temp temp;
	struct thinp_pool *pool;
	struct thinp_io *io;
	uint64_t nr = 0;

	(void)state;
	assert_int_equal(io_temp_make(&temp, "."), 0);
	write_pool(io_temp_path(&temp, "pool"), IMAGE_POOL_BLOCKS, (off_t)16 << 30);
	assert_int_equal(open_file(io_temp_path(&temp, "pool"), &io, &pool), 0);
	assert_int_equal(nr_warnings, 0);
	assert_int_equal(thinp_pool_walk_runs(pool, 1, 0, UINT64_MAX, count_mappings, &nr), 0);
	assert_int_equal(nr, 1000);
	thinp_pool_close(pool);
	thinp_io_close(io);
	io_temp_remove(&temp);
}

/* The blocks in use are the first ones, and the roots come last in them. */
static void TOOL_11_a_file_that_is_cut_is_never_taken_for_a_complete_one(void **state)
{
	struct image_pool image;
	struct io_temp temp;
	thinp_block_t in_use, details_root;

	(void)state;
	image_pool_open(&image, &small_nodes, devices, NR_OF(devices));
	in_use = image.image.next;
	details_root = image.sb.details_root;
	image_pool_close(&image);
	assert_true(in_use > 50 && details_root > 20);
	assert_int_equal(io_temp_make(&temp, "."), 0);
	for (uint64_t nr_blocks = 1; nr_blocks <= in_use; nr_blocks += 7) {
		struct thinp_pool *pool;
		struct thinp_io *io;
		uint64_t nr = 0;
		int r;

		write_pool(io_temp_path(&temp, "pool"), nr_blocks, (off_t)nr_blocks * THINP_BLOCK_SIZE);
		assert_int_equal(open_file(io_temp_path(&temp, "pool"), &io, &pool), 0);
		assert_int_equal(nr_warnings, 1);
		r = thinp_pool_walk_runs(pool, 1, 0, UINT64_MAX, count_mappings, &nr);
		if (nr_blocks > details_root) {
			assert_int_equal(r, 0);
			assert_int_equal(nr, 1000);
		} else {
			expect_corrupt(r, details_root, "beyond the end");
		}
		thinp_pool_close(pool);
		thinp_io_close(io);
	}
	io_temp_remove(&temp);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TOOL_20_files_of_less_than_a_block_are_too_small),
		cmocka_unit_test(TOOL_20_a_file_of_one_block_opens_and_the_rest_is_damage),
		cmocka_unit_test(TOOL_20_a_sparse_file_of_sixteen_gigabytes_is_read),
		cmocka_unit_test(TOOL_11_a_file_that_is_cut_is_never_taken_for_a_complete_one),
	};

	return cmocka_run_group_tests_name("thin/files", tests, NULL, NULL);
}
