/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/thin_skeleton.h - the rooms tied together as a pool ties them, without a pool: block manager, both space maps,
 * transaction, the two trees, and a thin superblock around them. The images are those of a thin pool.
 *
 * An operation that fails either has changed nothing or has marked the transaction: then thin_skeleton_abort().
 */
#ifndef TP_TEST_THIN_SKELETON_H
#define TP_TEST_THIN_SKELETON_H

#include "format/thin.h"
#include "space_map/map.h"

#include <thinp/btree.h>
#include <thinp/io.h>

struct thin_skeleton_opts {
	uint64_t nr_metadata; /* to create: blocks of the metadata map; 0: all that the device has */
	uint64_t nr_data;     /* to create */
	uint32_t cache_blocks;
	const struct thinp_allocator *allocator;
	const struct thinp_opq_policy *policy;
	bool queue_always;
};

struct thin_skeleton {
	struct thinp_io *io;
	struct thin_skeleton_opts opts;
	struct thinp_bm *bm;
	struct thinp_reader *reader;
	struct thinp_sm *metadata, *data;
	struct thinp_tm *tm;
	struct tp_thin_superblock sb;        /* as the next commit writes it, but for the maps */
	struct tp_thin_superblock committed; /* as it is on the device */
	uint64_t nr_commits;
	struct thinp_btree_type mappings; /* two levels */
	struct thinp_btree_type device;   /* the lower one */
	struct thinp_btree_type top;      /* the upper one; who removes an entry drops the tree */
	struct thinp_btree_type details;
};

/* Formats a device, commits. Nothing is open when it fails. */
int thin_skeleton_create(struct thin_skeleton *s, struct thinp_io *io, const struct thin_skeleton_opts *opts);

/* Opens the last commit. */
int thin_skeleton_open(struct thin_skeleton *s, struct thinp_io *io, const struct thin_skeleton_opts *opts);

/* What was not committed is lost. The device stays open. */
void thin_skeleton_close(struct thin_skeleton *s);

/* The order of a commit: data map, metadata map, roots, all blocks, flush, superblock, flush. */
int thin_skeleton_commit(struct thin_skeleton *s);
void thin_skeleton_abort(struct thin_skeleton *s);

/* Devices. */
int thin_skeleton_add_device(struct thin_skeleton *s, uint64_t device);
int thin_skeleton_snapshot(struct thin_skeleton *s, uint64_t origin, uint64_t device);
int thin_skeleton_delete_device(struct thin_skeleton *s, uint64_t device);

/* Maps a block to a data block that is taken for it; what it was mapped to loses a reference. */
int thin_skeleton_map(struct thin_skeleton *s, uint64_t device, uint64_t block, uint64_t *data_block);

/* The same for some neighbouring blocks at once. */
int thin_skeleton_map_run(struct thin_skeleton *s, uint64_t device, uint64_t block, uint64_t nr);

int thin_skeleton_unmap(struct thin_skeleton *s, uint64_t device, uint64_t first, uint64_t last);

/* THINP_ENODATA: not mapped. */
int thin_skeleton_lookup(struct thin_skeleton *s, uint64_t device, uint64_t block, uint64_t *data_block);

/* The metadata snapshot, as it would be after a commit. */
int thin_skeleton_hold(struct thin_skeleton *s);
int thin_skeleton_release(struct thin_skeleton *s);

#endif
