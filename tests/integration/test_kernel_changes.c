/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Metadata that kernels wrote is changed, committed, and read again: every count is compared after each commit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "support/meta_check.h"
#include "support/thin_skeleton.h"
#include "unit/base/random.h"

#include <thinp/error.h>

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { MOST_DEVICES = 1000, NEW_ID = 100000 };

struct pool {
	struct thinp_io *io;
	struct thin_skeleton s;
	uint64_t devices[MOST_DEVICES];
	size_t nr_devices;
};

static void load(struct pool *pool, const char *name)
{
	_Alignas(THINP_BLOCK_SIZE) uint8_t block[THINP_BLOCK_SIZE];
	struct thinp_io_opts opts = {.size = sizeof(opts)};
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/kernel-%s.meta", THINP_FIXTURES, name);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	opts.nr_blocks = (uint64_t)lseek(fd, 0, SEEK_END) / THINP_BLOCK_SIZE;
	assert_int_equal(thinp_io_open_memory(&opts, &pool->io), 0);
	for (uint64_t i = 0; i < opts.nr_blocks; i++) {
		assert_int_equal(pread(fd, block, sizeof(block), (off_t)(i * THINP_BLOCK_SIZE)), sizeof(block));
		assert_int_equal(thinp_io_write(pool->io, i, 1, block), 0);
	}
	assert_int_equal(close(fd), 0);
}

static int note_devices(void *ctx, const struct thinp_btree_span *span)
{
	struct pool *pool = ctx;

	for (uint32_t i = 0; i < span->nr_entries; i++) {
		assert_true(pool->nr_devices < MOST_DEVICES);
		pool->devices[pool->nr_devices++] = tp_load_le64((const uint8_t *)span->keys_le + 8 * (size_t)i);
	}
	return 0;
}

static void open_pool(struct pool *pool, const char *name)
{
	const struct thin_skeleton_opts opts = {.cache_blocks = 2048};

	*pool = (struct pool){0};
	load(pool, name);
	meta_check_thin(pool->io, NULL, NULL);
	assert_int_equal(thin_skeleton_open(&pool->s, pool->io, &opts), 0);
	assert_int_equal(thinp_btree_walk(thinp_tm_reader(pool->s.tm), &pool->s.details, pool->s.sb.details_root,
					  note_devices, pool),
			 0);
}

static void close_pool(struct pool *pool)
{
	thin_skeleton_close(&pool->s);
	thinp_io_close(pool->io);
}

static void commit(struct pool *pool)
{
	assert_int_equal(thin_skeleton_commit(&pool->s), 0);
	meta_check_thin(pool->io, NULL, NULL);
}

static void with_each(void (*fn)(struct pool *pool))
{
	static const char *const names[] = {"empty", "fragmented", "heldroot", "snaps", "datafull"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct pool *pool = calloc(1, sizeof(*pool));

		assert_non_null(pool);
		open_pool(pool, names[i]);
		fn(pool);
		close_pool(pool);
		free(pool);
	}
}

/* --- what is done ------------------------------------------------------------------------------------------------------ */

static void change_devices(struct pool *pool)
{
	uint64_t rng = random_begin();
	struct thinp_sm_info info = {.size = sizeof(info)};

	thinp_sm_get_info(pool->s.data, &info);
	assert_int_equal(thinp_sm_extend(pool->s.data, info.nr_blocks + 20000), 0);
	for (size_t i = 0; i < pool->nr_devices; i++) {
		uint64_t device = pool->devices[i], first = random_next(&rng) % 1000;

		assert_int_equal(thin_skeleton_snapshot(&pool->s, device, NEW_ID + i), 0);
		for (unsigned int k = 0; k < 100; k++)
			assert_int_equal(thin_skeleton_map(&pool->s, device, random_next(&rng) % 3000, NULL), 0);
		assert_int_equal(thin_skeleton_unmap(&pool->s, NEW_ID + i, first, first + 400), 0);
		if (i % 3 == 0)
			assert_int_equal(thin_skeleton_delete_device(&pool->s, device), 0);
		if (i % 8 == 0)
			commit(pool);
	}
	commit(pool);
}

static void devices_of_kernels_can_be_changed(void **state)
{
	(void)state;
	with_each(change_devices);
}

/* Without devices and snapshot nothing refers to data, and to metadata only what an empty pool has. */
static void delete_all(struct pool *pool)
{
	struct thinp_sm_info data = {.size = sizeof(data)};

	if (pool->s.sb.held_root)
		assert_int_equal(thin_skeleton_release(&pool->s), 0);
	for (size_t i = 0; i < pool->nr_devices; i++) {
		assert_int_equal(thin_skeleton_delete_device(&pool->s, pool->devices[i]), 0);
		if (i % 8 == 0)
			commit(pool);
	}
	commit(pool);
	thinp_sm_get_info(pool->s.data, &data);
	assert_int_equal(data.nr_zero, data.nr_blocks);
}

static void without_its_devices_a_pool_of_a_kernel_has_no_data(void **state)
{
	(void)state;
	with_each(delete_all);
}

/* What is aborted was not. */
static void abort_changes(struct pool *pool)
{
	struct thinp_sm_info before = {.size = sizeof(before)}, after = {.size = sizeof(after)};

	thinp_sm_get_info(pool->s.metadata, &before);
	for (size_t i = 0; i < pool->nr_devices; i++)
		assert_int_equal(thin_skeleton_delete_device(&pool->s, pool->devices[i]), 0);
	thin_skeleton_abort(&pool->s);
	thinp_sm_get_info(pool->s.metadata, &after);
	assert_int_equal(before.nr_zero, after.nr_zero);
	meta_check_thin(pool->io, NULL, NULL);
	commit(pool);
	delete_all(pool);
}

static void an_abort_leaves_a_pool_of_a_kernel_as_it_was(void **state)
{
	(void)state;
	with_each(abort_changes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_of_kernels_can_be_changed),
		cmocka_unit_test(without_its_devices_a_pool_of_a_kernel_has_no_data),
		cmocka_unit_test(an_abort_leaves_a_pool_of_a_kernel_as_it_was),
	};

	return cmocka_run_group_tests_name("integration/kernel_changes", tests, NULL, NULL);
}
