/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/pool.h - what an open pool is made of.
 */
#ifndef TP_THIN_POOL_H
#define TP_THIN_POOL_H

#include "base/error.h"
#include "format/thin.h"

#include <thinp/btree.h>
#include <thinp/pool.h>
#include <thinp/store.h>

#define TP_THIN_NR_RECORDS 16u

/* Details of a device that is being changed. Its leaf in the details tree has been written in this transaction, so writing
 * it there once more takes no block, and cannot fail for lack of space. */
struct tp_device_record {
	bool is_used;
	bool is_dirty; /* the tree does not know yet */
	uint64_t dev_id;
	struct tp_device_details details;
};

struct thinp_pool {
	struct thinp_allocator allocator;
	thinp_log_fn log;
	void *log_ctx;
	struct thinp_io *io;
	bool owns_io;
	struct thinp_bm *bm;
	struct thinp_reader *reader;
	struct tp_thin_superblock live;         /* block 0; of an open transaction: what it will be, but for the maps */
	struct tp_thin_superblock snap;         /* the copy in the metadata snapshot, if that is shown */
	const struct tp_thin_superblock *shown; /* one of the two */
	bool is_metadata_snap;
	bool is_view;            /* bm belongs to the pool that it is a view of */
	struct thinp_view *view; /* it owns the reader; NULL: of a pool that nobody changes */

	/* of a pool that is changed; see change.h */
	struct thinp_store *store; /* NULL: opened for reading; owns bm and reader otherwise */
	uint32_t flags;
	uint64_t nr_data_blocks; /* of a new pool, as the next one */
	uint32_t data_block_sectors;
	struct thinp_btree_type mappings; /* device, virtual block -> mapping: top and device in one */
	struct thinp_btree_type top;      /* device -> root of its mappings; who removes an entry drops the tree */
	struct thinp_btree_type device;   /* virtual block -> mapping; to make one, or drop it as a whole */
	struct thinp_btree_type details;
	bool is_measured;    /* what is kept back for giving space back is known */
	bool is_holding;     /* a metadata snapshot is being made */
	uint64_t nr_release; /* nodes that releasing it, or else any change that gives space back, copies at least */
	struct tp_device_record records[TP_THIN_NR_RECORDS]; /* that of a device is at its id modulo the number */
};

/* Trees of a pool, for reading. */
extern const struct thinp_btree_type tp_thin_tree_type;     /* device, virtual block -> mapping */
extern const struct thinp_btree_type tp_thin_roots_type;    /* device -> root of its mappings */
extern const struct thinp_btree_type tp_thin_mappings_type; /* virtual block -> mapping */
extern const struct thinp_btree_type tp_thin_details_type;  /* device -> details */

/* The options of a pool, in the form of this version, and its allocator. */
int tp_thin_take_opts(struct thinp_pool_opts *opts, struct thinp_allocator *allocator,
		      const struct thinp_pool_opts *user_opts) TP_MUST_USE;

/* Reads and checks block 0; tells the log what is odd. */
int tp_thin_read_superblock(struct thinp_pool *pool) TP_MUST_USE;

/* Tells the log that the device is larger than metadata can be, if so. */
void tp_thin_warn_of_excess(const struct thinp_pool *pool);

/* Reads and checks the copy that the live superblock's held root names. */
int tp_thin_read_metadata_snap(struct thinp_pool *pool) TP_MUST_USE;

/* Can the pool be changed that was read last? */
int tp_thin_check_writable(struct thinp_pool *pool, const struct thinp_pool_opts *opts) TP_MUST_USE;

/* Opens the store below a pool, or makes both. */
int tp_thin_open_store(struct thinp_pool *pool, const struct thinp_pool_opts *opts, bool is_new) TP_MUST_USE;

/* What is known of a device and not in the tree yet; NULL: nothing. */
const struct tp_device_details *tp_thin_find_record(const struct thinp_pool *pool, uint64_t dev_id);

#endif
