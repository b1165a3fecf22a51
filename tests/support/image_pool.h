/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_pool.h - the metadata of a thin pool, written by the test itself.
 */
#ifndef TP_TEST_IMAGE_POOL_H
#define TP_TEST_IMAGE_POOL_H

#include "format/thin.h"
#include "support/image_space_map.h"
#include "support/image_trial.h"

#include <thinp/pool.h>

/* A device as the test wants it. Its mappings are given as runs, ascending. */
struct image_thin {
	uint64_t dev_id;
	struct tp_device_details details; /* as it stands here: nothing is counted */
	const struct thinp_run *runs;
	size_t nr_runs;
	bool lacks_details;
	bool lacks_mappings;
};

struct image_pool {
	struct image image;
	struct tp_thin_superblock sb; /* what block 0 holds; to be changed and written again */
	struct tree_shape shape;      /* of all trees */
};

enum { IMAGE_POOL_BLOCKS = 2000, IMAGE_POOL_DATA_BLOCKS = 1000 };

/* Writes a pool of 2000 metadata blocks and 1000 data blocks of 128 sectors. Data blocks that are mapped count once for
 * each mapping; metadata blocks that are written count 1. */
void image_pool_open(struct image_pool *pool, const struct tree_shape *shape, const struct image_thin *devices,
		     size_t nr_devices);
void image_pool_close(struct image_pool *pool);

/* Packs, seals and writes pool->sb to block 0. */
void image_pool_write_superblock(struct image_pool *pool);

/* Writes the trees of devices; gives their roots. */
void image_pool_trees(struct image *image, const struct tree_shape *shape, const struct image_thin *devices,
		      size_t nr_devices, thinp_block_t *mapping_root, thinp_block_t *details_root);

/* Makes a metadata snapshot of these devices: a copy of the superblock, without space maps. Gives its address. */
thinp_block_t image_pool_snap(struct image_pool *pool, const struct image_thin *devices, size_t nr_devices);

/* A trial of the pool that is opened anew each time, with a cache of two blocks; trial->handle is the thinp_pool. */
struct image_trial image_pool_trial(struct image_pool *pool, int (*use)(struct image_trial *trial), const void *ctx);

#endif
