/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What has gone wrong with thin pools before, each by its number.
 */
#include "support/image_device.h"
#include "support/image_expect.h"
#include "support/pool_model.h"

#include <stdlib.h>
#include <string.h>

static const struct thinp_pool_opts defaults = {.cache_blocks = 512};

static int set_up(void **state)
{
	struct pool_model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->rng = 20140817;
	pool_model_open(m, 500, 3000, &defaults);
	pool_model_begin(m);
	*state = m;
	return 0;
}

static int tear_down(void **state)
{
	struct pool_model *m = *state;

	pool_model_close(m);
	free(m);
	return 0;
}

static void commit_and_begin(struct pool_model *m)
{
	pool_model_commit(m);
	pool_model_begin(m);
}

static void make_devices(struct pool_model *m)
{
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(pool_model_create(m, i), 0);
		assert_int_equal(pool_model_map_run(m, i, 10 * i, 300), 0);
	}
}

/* --- the metadata snapshot ------------------------------------------------------------------------------------------- */

static void TH_01_a_metadata_snapshot_is_there_with_the_commit(void **state)
{
	struct pool_model *m = *state;

	make_devices(m);
	assert_int_equal(pool_model_hold(m), 0);
	pool_model_compare(m); /* others do not see it yet */
	pool_model_commit(m);
	pool_model_compare(m);
}

static void TH_02_a_metadata_snapshot_has_what_was_there_when_it_was_made(void **state)
{
	struct pool_model *m = *state;

	make_devices(m);
	commit_and_begin(m);
	assert_int_equal(pool_model_map_run(m, 1, 500, 100), 0);
	assert_int_equal(pool_model_hold(m), 0);
	assert_int_equal(pool_model_map_run(m, 1, 600, 100), 0);
	commit_and_begin(m);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(pool_model_unmap(m, i, 0, MODEL_BLOCKS - 1), 0);
	commit_and_begin(m);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(pool_model_map_run(m, i, 400, 200), 0);
	pool_model_commit(m);
	pool_model_compare(m);
}

static uint64_t nr_used(struct pool_model *m, int space)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	assert_int_equal(thinp_pool_get_space(m->pool, space, &info), 0);
	return info.nr_blocks - info.nr_zero;
}

static void TH_03_nothing_is_left_of_a_metadata_snapshot(void **state)
{
	struct pool_model *m = *state;
	uint64_t data, metadata;

	assert_int_equal(pool_model_create(m, 5), 0);
	commit_and_begin(m);
	data = nr_used(m, THINP_POOL_DATA);
	metadata = nr_used(m, THINP_POOL_METADATA);
	make_devices(m);
	assert_int_equal(pool_model_hold(m), 0);
	commit_and_begin(m);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(pool_model_delete(m, i), 0);
	commit_and_begin(m);
	assert_true(nr_used(m, THINP_POOL_DATA) > data);
	assert_int_equal(pool_model_release(m), 0);
	pool_model_commit(m);
	assert_int_equal(nr_used(m, THINP_POOL_DATA), data);
	assert_int_equal(nr_used(m, THINP_POOL_METADATA), metadata);
}

static void TH_04_there_is_one_metadata_snapshot_or_none(void **state)
{
	struct pool_model *m = *state;

	expect_failure(thinp_pool_release_metadata_snap(m->pool), THINP_ENOENT, THINP_NO_BLOCK, "no metadata snapshot");
	make_devices(m);
	assert_int_equal(pool_model_hold(m), 0);
	assert_int_equal(thinp_pool_reserve_metadata_snap(m->pool), THINP_EBUSY);
	commit_and_begin(m);
	assert_int_equal(thinp_pool_reserve_metadata_snap(m->pool), THINP_EBUSY);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(pool_model_delete(m, i), 0);
	assert_int_equal(thinp_pool_grow_data(m->pool, 40000), 0);
	m->now.nr_data = 40000;
	assert_int_equal(thinp_pool_grow_metadata(m->pool, 20000), 0);
	commit_and_begin(m);
	pool_model_compare(m);
	assert_int_equal(pool_model_release(m), 0);
	assert_int_equal(thinp_pool_release_metadata_snap(m->pool), THINP_ENOENT);
	pool_model_commit(m);
	pool_model_compare(m);
}

/* --- opening --------------------------------------------------------------------------------------------------------- */

static void expect_refused(struct pool_model *m, const struct thinp_pool_opts *opts, int code)
{
	struct thinp_pool *pool = NULL;

	assert_int_equal(thinp_pool_open(m->io, opts, &pool), code);
	assert_null(pool);
}

static void TH_05_data_blocks_of_another_size_are_refused(void **state)
{
	struct pool_model *m = *state;
	struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_WRITABLE, .data_block_sectors = 256};

	expect_refused(m, &opts, THINP_EINVAL);
	opts.data_block_sectors = 128;
	pool_model_reopen(m);
	thinp_pool_close(m->pool);
	assert_int_equal(thinp_pool_open(m->io, &opts, &m->pool), 0);
}

static void TH_06_a_metadata_device_that_has_grown_is_used_when_asked(void **state)
{
	struct pool_model *m = *state;
	struct thinp_pool_info info = {.size = sizeof(info)};

	make_devices(m);
	pool_model_commit(m);
	assert_int_equal(thinp_io_resize(m->io, 40000), 0);
	pool_model_reopen(m);
	thinp_pool_get_info(m->pool, &info);
	assert_int_equal(info.nr_metadata_blocks, 500);
	pool_model_begin(m);
	assert_int_equal(thinp_pool_grow_metadata(m->pool, 499), THINP_EINVAL);
	assert_int_equal(thinp_pool_grow_metadata(m->pool, 40000), 0);
	pool_model_commit(m);
	pool_model_reopen(m);
	thinp_pool_get_info(m->pool, &info);
	assert_int_equal(info.nr_metadata_blocks, 40000);
	pool_model_compare(m);
}

static void TH_06_a_metadata_device_that_has_shrunk_is_refused(void **state)
{
	struct pool_model *m = *state;
	const struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_WRITABLE};

	pool_model_commit(m);
	assert_int_equal(thinp_io_resize(m->io, 400), 0);
	expect_refused(m, &opts, THINP_EINVAL);
}

static void TH_28_a_data_device_that_has_shrunk_is_refused(void **state)
{
	struct pool_model *m = *state;
	struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_WRITABLE, .nr_data_blocks = 2999};

	pool_model_commit(m);
	expect_refused(m, &opts, THINP_EINVAL);
	assert_int_equal(thinp_pool_begin(m->pool), 0);
	expect_failure(thinp_pool_grow_data(m->pool, 2999), THINP_EINVAL, THINP_NO_BLOCK, "shrink");
}

/* Fields by their places in the block, as docs/format.md has them: nothing of the library reads them here. */
enum {
	SB_FLAGS = 4,
	SB_ADDRESS = 8,
	SB_UUID = 16,
	SB_MAGIC = 32,
	SB_VERSION = 40,
	SB_TIME = 44,
	SB_TRANSACTION_ID = 48,
	SB_HELD_ROOT = 56,
	SB_DATA_SM = 64,
	SB_METADATA_SM = 192,
	SB_MAPPING_ROOT = 320,
	SB_DETAILS_ROOT = 328,
	SB_DATA_BLOCK_SIZE = 336,
	SB_METADATA_BLOCK_SIZE = 340,
	SB_METADATA_NR_BLOCKS = 344,
	SB_COMPAT = 352,
	SB_COMPAT_RO = 356,
	SB_INCOMPAT = 360,
	SB_END = 364
};

static void set_field(struct pool_model *m, uint32_t offset, uint32_t value)
{
	struct image image = {.memory = m->io, .io = m->io};

	image_set32(&image, 0, offset, value);
}

static void TH_26_only_zeros_are_formatted(void **state)
{
	struct pool_model *m = *state;
	struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE};
	struct image image = {.memory = m->io, .io = m->io};
	struct image_block block;

	make_devices(m);
	pool_model_commit(m);
	pool_model_reopen(m); /* with CREATE, and all is still there */
	pool_model_compare(m);
	thinp_pool_close(m->pool);
	m->pool = NULL;
	set_field(m, SB_MAGIC, 27022011); /* and the checksum is right */
	expect_refused(m, &opts, THINP_ECORRUPT);
	set_field(m, SB_MAGIC, 27022010);
	image_flip(&image, 0, 8 * SB_TIME); /* and the checksum is wrong */
	expect_refused(m, &opts, THINP_ECORRUPT);
	image_flip(&image, 0, 8 * SB_TIME);
	pool_model_reopen(m); /* nothing was formatted */
	pool_model_compare(m);
	memset(block.data, 0x5a, sizeof(block.data));
	assert_int_equal(thinp_io_write(m->io, 0, 1, block.data), 0);
	expect_refused(m, &opts, THINP_ECORRUPT);
	memset(block.data, 0, sizeof(block.data));
	assert_int_equal(thinp_io_write(m->io, 0, 1, block.data), 0);
	opts.flags = THINP_POOL_WRITABLE;
	expect_refused(m, &opts, THINP_EUNFORMATTED);
}

static uint32_t field32(struct pool_model *m, size_t offset)
{
	struct image image = {.memory = m->io, .io = m->io};

	return image_get32(&image, 0, offset);
}

static uint64_t field64(struct pool_model *m, size_t offset)
{
	struct image image = {.memory = m->io, .io = m->io};

	return image_get64(&image, 0, offset);
}

static void expect_zeros(struct pool_model *m, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i += 4)
		assert_int_equal(field32(m, i), 0);
}

static void expect_fixed_fields(struct pool_model *m)
{
	assert_int_equal(field64(m, SB_ADDRESS), 0);
	assert_int_equal(field64(m, SB_MAGIC), 27022010);
	assert_int_equal(field32(m, SB_VERSION), 2);
	assert_int_equal(field32(m, SB_DATA_BLOCK_SIZE), 128);
	assert_int_equal(field32(m, SB_METADATA_BLOCK_SIZE), 8); /* sectors, not bytes */
	assert_int_equal(field64(m, SB_METADATA_NR_BLOCKS), 500);
	assert_int_equal(field64(m, SB_DATA_SM + 8), 0); /* in use */
	assert_in_range(field64(m, SB_DATA_SM + 16), 1, 499);
	assert_in_range(field64(m, SB_DATA_SM + 24), 1, 499);
	assert_in_range(field64(m, SB_METADATA_SM + 8), 7, 20);
	assert_in_range(field64(m, SB_METADATA_SM + 16), 1, 499);
	assert_in_range(field64(m, SB_METADATA_SM + 24), 1, 499);
	assert_in_range(field64(m, SB_MAPPING_ROOT), 1, 499);
	assert_in_range(field64(m, SB_DETAILS_ROOT), 1, 499);
	expect_zeros(m, SB_DATA_SM + 32, SB_METADATA_SM);
	expect_zeros(m, SB_METADATA_SM + 32, SB_MAPPING_ROOT);
	expect_zeros(m, SB_COMPAT_RO, SB_END);
}

static void TH_25_a_new_superblock_has_every_field_right(void **state)
{
	struct pool_model *m = *state;

	expect_fixed_fields(m);
	expect_zeros(m, SB_FLAGS, SB_MAGIC);
	expect_zeros(m, SB_TIME, SB_DATA_SM);
	assert_int_equal(field64(m, SB_DATA_SM), 3000);
	assert_int_equal(field64(m, SB_METADATA_SM), 500);
	expect_zeros(m, SB_COMPAT, THINP_BLOCK_SIZE);
}

/* What changes is written, and what is not ours is written back. */
static void TH_25_a_superblock_that_is_changed_has_every_field_right(void **state)
{
	static const size_t not_ours[] = {SB_UUID, SB_UUID + 12, SB_COMPAT, SB_END, THINP_BLOCK_SIZE - 4};
	struct pool_model *m = *state;
	struct image image = {.memory = m->io, .io = m->io};

	thinp_pool_close(m->pool);
	m->pool = NULL;
	for (size_t i = 0; i < sizeof(not_ours) / sizeof(not_ours[0]); i++)
		image_set32(&image, 0, not_ours[i], 0x12345678);
	pool_model_reopen(m);
	pool_model_begin(m);
	assert_int_equal(pool_model_create(m, 1), 0);
	assert_int_equal(pool_model_snap(m, 2, 1), 0);
	assert_int_equal(pool_model_hold(m), 0);
	assert_int_equal(thinp_pool_set_transaction_id(m->pool, 0, UINT64_C(0x123456789a)), 0);
	assert_int_equal(thinp_pool_grow_data(m->pool, 3001), 0);
	assert_int_equal(thinp_pool_grow_metadata(m->pool, 501), 0);
	assert_int_equal(thinp_pool_set_needs_check(m->pool, true), 0);
	assert_int_equal(thinp_pool_commit(m->pool), 0);
	expect_fixed_fields(m);
	assert_int_equal(field32(m, SB_FLAGS), 1);
	assert_int_equal(field32(m, SB_TIME), 1);
	assert_int_equal(field64(m, SB_TRANSACTION_ID), UINT64_C(0x123456789a));
	assert_in_range(field64(m, SB_HELD_ROOT), 1, 500);
	assert_int_equal(field64(m, SB_DATA_SM), 3001);
	assert_int_equal(field64(m, SB_METADATA_SM), 501);
	for (size_t i = 0; i < sizeof(not_ours) / sizeof(not_ours[0]); i++)
		assert_int_equal(field32(m, not_ours[i]), 0x12345678);
}

/* --- devices --------------------------------------------------------------------------------------------------------- */

static void TH_08_mapped_blocks_are_counted(void **state)
{
	struct pool_model *m = *state;

	make_devices(m);
	assert_int_equal(pool_model_map(m, 0, 5), 0); /* again */
	assert_int_equal(pool_model_unmap(m, 0, 7, 7), 0);
	expect_failure(thinp_pool_remove(m->pool, 0, 7), THINP_ENODATA, THINP_NO_BLOCK, "not mapped");
	assert_int_equal(pool_model_unmap(m, 1, 0, 200), 0);
	assert_int_equal(pool_model_snap(m, 7, 1), 0);
	assert_int_equal(pool_model_unmap(m, 1, 250, 260), 0);
	pool_model_compare(m);
	pool_model_commit(m);
	pool_model_compare(m);
}

static void TH_09_a_device_that_cannot_be_made_leaves_no_trace(void **state)
{
	struct pool_model *m = *state;

	make_devices(m); /* not committed: they are known all the same */
	assert_int_equal(thinp_pool_create_device(m->pool, 1), THINP_EEXIST);
	assert_int_equal(thinp_pool_create_snapshot(m->pool, 1, 2), THINP_EEXIST);
	assert_int_equal(thinp_pool_create_snapshot(m->pool, 8, 9), THINP_ENODATA);
	assert_int_equal(thinp_pool_create_device(m->pool, UINT64_C(1) << 24), THINP_ERANGE);
	assert_int_equal(thinp_pool_create_snapshot(m->pool, UINT64_C(1) << 24, 1), THINP_ERANGE);
	assert_int_equal(thinp_pool_delete_device(m->pool, 8), THINP_ENODATA);
	assert_int_equal(thinp_pool_insert(m->pool, 8, 0, 0), THINP_ENODATA);
	assert_int_equal(thinp_pool_insert(m->pool, 1, 0, 3000), THINP_ERANGE);
	assert_int_equal(thinp_pool_insert(m->pool, 1, 0, 2999), THINP_EINVAL);
	assert_int_equal(thinp_pool_status(m->pool), 0);
	assert_int_equal(pool_model_delete(m, 1), 0); /* made in this very transaction */
	assert_int_equal(pool_model_create(m, 1), 0);
	pool_model_commit(m);
	pool_model_compare(m);
}

static void TH_10_an_abort_brings_back_details_of_devices(void **state)
{
	struct pool_model *m = *state;

	make_devices(m);
	commit_and_begin(m);
	assert_int_equal(pool_model_map_run(m, 1, 600, 50), 0);
	assert_int_equal(pool_model_snap(m, 6, 1), 0);
	assert_int_equal(pool_model_delete(m, 0), 0);
	pool_model_abort(m);
	pool_model_compare(m);
	assert_int_equal(thinp_pool_insert(m->pool, 1, 0, 0), THINP_EINVAL); /* no transaction is open */
	pool_model_begin(m);
	assert_int_equal(pool_model_create(m, 6), 0);
	pool_model_commit(m);
	pool_model_compare(m);
}

static void TH_18_shared_is_never_denied_wrongly(void **state)
{
	struct pool_model *m = *state;
	struct thinp_mapping mapping;

	make_devices(m);
	assert_int_equal(pool_model_snap(m, 6, 1), 0);
	assert_int_equal(pool_model_delete(m, 6), 0);
	pool_model_compare(m);
	assert_int_equal(thinp_pool_lookup(m->pool, 1, 20, &mapping), 0);
	assert_int_equal(mapping.is_shared, 1); /* allowed */
	assert_int_equal(pool_model_map(m, 1, 20), 0);
	assert_int_equal(thinp_pool_lookup(m->pool, 1, 20, &mapping), 0);
	assert_int_equal(mapping.is_shared, 0);
}

/* What a data path must know to pass discards on: which data blocks lose a reference, told before; and which of them have
 * come free, told by their counts after. Before, counts say nothing of owners of the leaf that a mapping is in. */
struct unmapping {
	bool is_unmapped[3000]; /* data blocks */
	uint64_t nr;
};

static int note_runs(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	struct unmapping *u = ctx;

	for (size_t i = 0; i < nr_runs; i++) {
		for (uint64_t b = runs[i].data_begin; b < runs[i].data_begin + runs[i].length; b++)
			u->is_unmapped[b] = true;
		u->nr += runs[i].length;
	}
	return 0;
}

static bool is_mapped_by(const struct pool_model *m, uint32_t device, uint64_t data_block)
{
	for (uint32_t i = 0; i < MODEL_BLOCKS; i++)
		if (m->now.devices[device].data[i] == data_block + 1)
			return true;
	return false;
}

/* Device 6 is the only one that shares anything with device 1. */
static void unmap_as_told(struct pool_model *m, uint32_t first, uint32_t last)
{
	struct thinp_device_info before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct unmapping u = {.nr = 0};

	assert_int_equal(thinp_pool_get_device(m->pool, 1, &before), 0);
	assert_int_equal(thinp_pool_walk_runs(m->pool, 1, first, last, note_runs, &u), 0);
	assert_int_equal(pool_model_unmap(m, 1, first, last), 0);
	assert_int_equal(thinp_pool_get_device(m->pool, 1, &after), 0);
	assert_int_equal(before.mapped_blocks - after.mapped_blocks, u.nr);
	for (uint64_t b = 0; b < 3000; b++) {
		uint32_t count;

		assert_int_equal(thinp_pool_get_count(m->pool, THINP_POOL_DATA, b, &count), 0);
		if (u.is_unmapped[b])
			assert_int_equal(count, is_mapped_by(m, 6, b));
	}
}

static void TH_21_ranges_are_unmapped(void **state)
{
	struct pool_model *m = *state;
	static const uint32_t ranges[][2] = {{0, 0}, {0, 9}, {100, 130}, {131, 131}, {290, 899}, {0, 899}, {0, 899}};

	make_devices(m);
	assert_int_equal(pool_model_snap(m, 6, 1), 0);
	assert_int_equal(pool_model_map_run(m, 1, 120, 40), 0); /* its own, between shared ones */
	assert_int_equal(pool_model_unmap(m, 1, 125, 127), 0);  /* a hole */
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
		unmap_as_told(m, ranges[i][0], ranges[i][1]);
		pool_model_compare(m);
	}
	pool_model_commit(m);
	pool_model_compare(m);
}

static void TH_23_an_id_is_used_again(void **state)
{
	struct pool_model *m = *state;

	make_devices(m);
	assert_int_equal(pool_model_delete(m, 1), 0);
	assert_int_equal(pool_model_create(m, 1), 0);
	pool_model_compare(m);
	commit_and_begin(m);
	assert_int_equal(pool_model_delete(m, 1), 0);
	assert_int_equal(pool_model_snap(m, 1, 2), 0);
	pool_model_commit(m);
	pool_model_compare(m);
}

/* --- the pool as a whole --------------------------------------------------------------------------------------------- */

static void TH_11_a_pool_that_needs_a_check_is_not_changed(void **state)
{
	struct pool_model *m = *state;
	struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_WRITABLE};

	make_devices(m);
	assert_int_equal(thinp_pool_set_needs_check(m->pool, true), 0);
	m->now.needs_check = true;
	assert_int_equal(thinp_pool_grow_data(m->pool, 4000), THINP_ENEEDSCHECK);
	assert_int_equal(thinp_pool_grow_metadata(m->pool, 4000), THINP_ENEEDSCHECK);
	pool_model_commit(m);
	expect_refused(m, &opts, THINP_ENEEDSCHECK);
	m->opts.flags |= THINP_POOL_IGNORE_NEEDS_CHECK;
	pool_model_reopen(m);
	pool_model_compare(m);
	pool_model_begin(m);
	assert_int_equal(thinp_pool_set_needs_check(m->pool, false), 0);
	m->now.needs_check = false;
	pool_model_commit(m);
	m->opts.flags &= ~THINP_POOL_IGNORE_NEEDS_CHECK;
	pool_model_reopen(m);
	pool_model_compare(m);
}

static void TH_24_a_transaction_id_is_set_only_by_who_knows_it(void **state)
{
	struct pool_model *m = *state;

	assert_int_equal(thinp_pool_set_transaction_id(m->pool, 0, 7), 0);
	m->now.transaction_id = 7;
	expect_failure(thinp_pool_set_transaction_id(m->pool, 0, 8), THINP_EINVAL, THINP_NO_BLOCK, "is 7, not 0");
	assert_int_equal(pool_model_create(m, 1), 0);
	pool_model_commit(m);
	pool_model_reopen(m);
	pool_model_compare(m);
}

static void TH_17_a_full_pool_can_be_emptied(void **state)
{
	struct pool_model *m = *state;
	uint64_t metadata;

	pool_model_close(m);
	pool_model_open(m, 40, 3000, &defaults);
	metadata = nr_used(m, THINP_POOL_METADATA);
	pool_model_begin(m);
	assert_int_equal(pool_model_create(m, 0), 0);
	for (uint32_t device = 1; m->nr_refused < 20; device = device % 12 + 1) {
		(void)pool_model_map(m, 0, (uint32_t)pool_model_random(m, MODEL_BLOCKS));
		if (!m->now.devices[device].is_there)
			(void)pool_model_snap(m, device, 0);
		commit_and_begin(m);
	}
	pool_model_compare(m);
	for (uint32_t i = 0; i <= 12; i++) {
		if (m->now.devices[i].is_there) {
			assert_int_equal(pool_model_unmap(m, i, 0, MODEL_BLOCKS / 2), 0);
			commit_and_begin(m);
			assert_int_equal(pool_model_delete(m, i), 0);
		}
		commit_and_begin(m);
	}
	assert_int_equal(nr_used(m, THINP_POOL_METADATA), metadata);
	assert_int_equal(nr_used(m, THINP_POOL_DATA), 0);
}

/* The clock of a pool is set by writing its superblock. */
static void set_clock(struct pool_model *m, uint32_t time)
{
	struct image image = {.memory = m->io, .io = m->io};

	thinp_pool_close(m->pool);
	image_set32(&image, 0, SB_TIME, time);
	assert_int_equal(thinp_pool_open(m->io, &m->opts, &m->pool), 0);
}

static uint32_t get_compat(struct pool_model *m)
{
	struct thinp_pool_info info = {.size = sizeof(info)};

	thinp_pool_get_info(m->pool, &info);
	return info.compat_flags;
}

static void TH_27_features_that_are_not_known_are_refused_or_kept(void **state)
{
	const struct thinp_pool_opts reading = {.size = sizeof(reading)};
	struct pool_model *m = *state;
	struct thinp_pool *pool;

	pool_model_commit(m);
	thinp_pool_close(m->pool);
	m->pool = NULL;
	set_field(m, SB_INCOMPAT, 1);
	expect_refused(m, &m->opts, THINP_ENOTSUP);
	expect_refused(m, &reading, THINP_ENOTSUP);
	set_field(m, SB_INCOMPAT, 0);
	set_field(m, SB_COMPAT_RO, 4);
	expect_refused(m, &m->opts, THINP_ENOTSUP);
	assert_int_equal(thinp_pool_open(m->io, &reading, &pool), 0);
	thinp_pool_close(pool);
	set_field(m, SB_COMPAT_RO, 0);
	set_field(m, SB_VERSION, 3);
	expect_refused(m, &m->opts, THINP_ENOTSUP);
	set_field(m, SB_VERSION, 2);
	set_field(m, SB_COMPAT, 8);
	assert_int_equal(thinp_pool_open(m->io, &m->opts, &m->pool), 0);
	pool_model_begin(m);
	make_devices(m);
	pool_model_commit(m);
	pool_model_reopen(m);
	assert_int_equal(get_compat(m), 8);
	pool_model_compare(m);
}

static void TH_19_the_snapshot_clock_stops(void **state)
{
	struct pool_model *m = *state;

	make_devices(m);
	pool_model_commit(m);
	set_clock(m, THINP_POOL_MAX_TIME - 1);
	m->now.time = m->committed.time = THINP_POOL_MAX_TIME - 1;
	pool_model_begin(m);
	assert_int_equal(pool_model_snap(m, 6, 1), 0);
	expect_failure(thinp_pool_create_snapshot(m->pool, 7, 1), THINP_ERANGE, THINP_NO_BLOCK, "clock");
	assert_int_equal(pool_model_map_run(m, 6, 400, 300), 0);
	pool_model_commit(m);
	pool_model_compare(m);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(TH_01_a_metadata_snapshot_is_there_with_the_commit),
		TEST(TH_02_a_metadata_snapshot_has_what_was_there_when_it_was_made),
		TEST(TH_03_nothing_is_left_of_a_metadata_snapshot),
		TEST(TH_04_there_is_one_metadata_snapshot_or_none),
		TEST(TH_05_data_blocks_of_another_size_are_refused),
		TEST(TH_06_a_metadata_device_that_has_grown_is_used_when_asked),
		TEST(TH_06_a_metadata_device_that_has_shrunk_is_refused),
		TEST(TH_08_mapped_blocks_are_counted),
		TEST(TH_09_a_device_that_cannot_be_made_leaves_no_trace),
		TEST(TH_10_an_abort_brings_back_details_of_devices),
		TEST(TH_11_a_pool_that_needs_a_check_is_not_changed),
		TEST(TH_17_a_full_pool_can_be_emptied),
		TEST(TH_18_shared_is_never_denied_wrongly),
		TEST(TH_19_the_snapshot_clock_stops),
		TEST(TH_21_ranges_are_unmapped),
		TEST(TH_23_an_id_is_used_again),
		TEST(TH_24_a_transaction_id_is_set_only_by_who_knows_it),
		TEST(TH_25_a_new_superblock_has_every_field_right),
		TEST(TH_25_a_superblock_that_is_changed_has_every_field_right),
		TEST(TH_26_only_zeros_are_formatted),
		TEST(TH_27_features_that_are_not_known_are_refused_or_kept),
		TEST(TH_28_a_data_device_that_has_shrunk_is_refused),
	};

	return cmocka_run_group_tests_name("thin/change_history", tests, NULL, NULL);
}
