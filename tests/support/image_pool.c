/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_pool.c - superblock, details, mappings, both space maps.
 */
#include "support/image_pool.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- trees ----------------------------------------------------------------------------------------------------------- */

static size_t nr_mappings(const struct image_thin *device)
{
	size_t nr = 0;

	for (size_t i = 0; i < device->nr_runs; i++)
		nr += device->runs[i].length;
	return nr;
}

/* The two values are put together without a mask, as the format has it. */
static thinp_block_t write_mappings(struct image *image, const struct tree_shape *shape,
				    const struct image_thin *device)
{
	size_t nr = nr_mappings(device), n = 0;
	uint64_t *keys = calloc(nr + 1, sizeof(*keys));
	uint8_t *values = calloc(nr + 1, 8);
	thinp_block_t root;

	assert_non_null(keys);
	assert_non_null(values);
	for (size_t i = 0; i < device->nr_runs; i++)
		for (uint64_t j = 0; j < device->runs[i].length; j++, n++) {
			keys[n] = device->runs[i].virtual_begin + j;
			tp_store_le64(values + 8 * n, (device->runs[i].data_begin + j) << 24 | device->runs[i].time);
		}
	root = tree_build(image, shape, 8, keys, values, nr);
	free(keys);
	free(values);
	return root;
}

static void pack_details(const struct tp_device_details *details, uint8_t *value)
{
	tp_store_le64(value, details->mapped_blocks);
	tp_store_le64(value + 8, details->transaction_id);
	tp_store_le32(value + 16, details->creation_time);
	tp_store_le32(value + 20, details->snapshotted_time);
}

void image_pool_trees(struct image *image, const struct tree_shape *shape, const struct image_thin *devices,
		      size_t nr_devices, thinp_block_t *mapping_root, thinp_block_t *details_root)
{
	uint64_t *with_roots = calloc(nr_devices + 1, sizeof(uint64_t));
	uint64_t *with_details = calloc(nr_devices + 1, sizeof(uint64_t));
	uint8_t *roots = calloc(nr_devices + 1, 8);
	uint8_t *details = calloc(nr_devices + 1, TP_DETAILS_SIZE);
	size_t nr_roots = 0, nr_details = 0;

	assert_true(with_roots && with_details && roots && details);
	for (size_t i = 0; i < nr_devices; i++) {
		if (!devices[i].lacks_mappings) {
			tp_store_le64(roots + 8 * nr_roots, write_mappings(image, shape, &devices[i]));
			with_roots[nr_roots++] = devices[i].dev_id;
		}
		if (!devices[i].lacks_details) {
			pack_details(&devices[i].details, details + TP_DETAILS_SIZE * nr_details);
			with_details[nr_details++] = devices[i].dev_id;
		}
	}
	*mapping_root = tree_build(image, shape, 8, with_roots, roots, nr_roots);
	*details_root = tree_build(image, shape, TP_DETAILS_SIZE, with_details, details, nr_details);
	free(with_roots);
	free(with_details);
	free(roots);
	free(details);
}

/* --- space maps ------------------------------------------------------------------------------------------------------ */

static void write_data_map(struct image_pool *pool, const struct image_thin *devices, size_t nr_devices)
{
	uint32_t *counts = calloc(IMAGE_POOL_DATA_BLOCKS, sizeof(*counts));

	assert_non_null(counts);
	for (size_t i = 0; i < nr_devices; i++)
		for (size_t j = 0; j < devices[i].nr_runs; j++)
			for (uint64_t k = 0; k < devices[i].runs[j].length; k++)
				if (devices[i].runs[j].data_begin + k < IMAGE_POOL_DATA_BLOCKS)
					counts[devices[i].runs[j].data_begin + k]++;
	image_space_map(&pool->image, IMAGE_DATA_MAP, &pool->shape, counts, IMAGE_POOL_DATA_BLOCKS, &pool->sb.data_sm);
	free(counts);
}

/* It comes last, but for its own three blocks. */
static void write_metadata_map(struct image_pool *pool)
{
	uint32_t *counts = calloc(IMAGE_POOL_BLOCKS, sizeof(*counts));

	assert_non_null(counts);
	for (thinp_block_t b = 0; b < pool->image.next + 3; b++)
		counts[b] = 1;
	image_space_map(&pool->image, IMAGE_METADATA_MAP, &pool->shape, counts, IMAGE_POOL_BLOCKS,
			&pool->sb.metadata_sm);
	free(counts);
}

/* --- superblocks ----------------------------------------------------------------------------------------------------- */

static void write_superblock(struct image *image, const struct tp_thin_superblock *sb, thinp_block_t block)
{
	struct image_block content = {{0}};

	tp_thin_superblock_pack(sb, content.data);
	image_put(image, block, &content, thinp_block_type_thin_superblock());
}

void image_pool_write_superblock(struct image_pool *pool)
{
	write_superblock(&pool->image, &pool->sb, 0);
}

void image_pool_open(struct image_pool *pool, const struct tree_shape *shape, const struct image_thin *devices,
		     size_t nr_devices)
{
	memset(pool, 0, sizeof(*pool));
	pool->shape = *shape;
	pool->sb = (struct tp_thin_superblock){
		.magic = TP_THIN_MAGIC,
		.version = TP_THIN_VERSION,
		.time = 7,
		.transaction_id = 11,
		.data_block_size = 128,
		.metadata_block_size = TP_METADATA_BLOCK_SECTORS,
		.metadata_nr_blocks = IMAGE_POOL_BLOCKS,
	};
	image_open(&pool->image, IMAGE_POOL_BLOCKS);
	image_pool_trees(&pool->image, shape, devices, nr_devices, &pool->sb.mapping_root, &pool->sb.details_root);
	write_data_map(pool, devices, nr_devices);
	write_metadata_map(pool);
	image_pool_write_superblock(pool);
}

void image_pool_close(struct image_pool *pool)
{
	image_close(&pool->image);
}

thinp_block_t image_pool_snap(struct image_pool *pool, const struct image_thin *devices, size_t nr_devices)
{
	const struct tp_sm_root none = {0};
	struct tp_thin_superblock copy = pool->sb;

	image_pool_trees(&pool->image, &pool->shape, devices, nr_devices, &copy.mapping_root, &copy.details_root);
	copy.held_root = 0;
	copy.data_sm = none;
	copy.metadata_sm = none;
	pool->sb.held_root = image_take(&pool->image);
	write_superblock(&pool->image, &copy, pool->sb.held_root);
	image_pool_write_superblock(pool);
	return pool->sb.held_root;
}

/* --- trials ---------------------------------------------------------------------------------------------------------- */

static int open_pool(struct image_trial *trial)
{
	const struct thinp_pool_opts opts = {
		.size = sizeof(opts), .cache_blocks = 2, .allocator = &trial->reader.alloc.table};
	struct thinp_pool *pool;
	int r = thinp_pool_open(trial->image->io, &opts, &pool);

	if (!r)
		trial->handle = pool;
	return r;
}

static void close_pool(struct image_trial *trial)
{
	thinp_pool_close(trial->handle);
}

struct image_trial image_pool_trial(struct image_pool *pool, int (*use)(struct image_trial *trial), const void *ctx)
{
	return (struct image_trial){
		.image = &pool->image, .open = open_pool, .use = use, .close = close_pool, .ctx = ctx};
}
