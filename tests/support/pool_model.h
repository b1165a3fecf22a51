/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/pool_model.h - a pool that is changed, and beside it what it should hold: plain arrays.
 *
 * Each operation here does the same to both. One that finds no room must have changed nothing, and not marked the
 * transaction.
 */
#ifndef TP_TEST_POOL_MODEL_H
#define TP_TEST_POOL_MODEL_H

#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/pool.h>

enum { MODEL_DEVICES = 14, MODEL_BLOCKS = 900 };

struct model_device {
	bool is_there;
	uint32_t created, snapped;
	uint64_t transaction_id;
	uint64_t data[MODEL_BLOCKS]; /* data block + 1; 0: not mapped */
	uint32_t time[MODEL_BLOCKS];
};

struct model_content {
	struct model_device devices[MODEL_DEVICES];
	uint32_t time;
	uint64_t transaction_id;
	bool is_held;
	bool needs_check;
	uint64_t nr_data;
	struct model_device held[MODEL_DEVICES]; /* in the metadata snapshot */
};

struct pool_model {
	struct thinp_io *io;
	struct thinp_pool *pool;
	struct thinp_pool_opts opts;
	uint64_t stride; /* between the virtual blocks of the pool that stand for those of the model */
	struct model_content now, committed;
	uint64_t nr_ops, nr_refused, nr_commits, nr_aborts;
	uint64_t rng;
	uint64_t nr_data; /* of a new pool */
	uint64_t nr_metadata;
	const bool *is_kept; /* data blocks that must not be handed out; NULL: none */
};

/* A new pool in memory. opts: flags, cache, policy; WRITABLE and CREATE are added. */
void pool_model_open(struct pool_model *m, uint64_t nr_metadata, uint64_t nr_data, const struct thinp_pool_opts *opts);
void pool_model_close(struct pool_model *m);

/* The same on a device that is given, and closed with the pool. */
void pool_model_open_on(struct pool_model *m, struct thinp_io *io, uint64_t nr_data,
			const struct thinp_pool_opts *opts);

uint64_t pool_model_random(struct pool_model *m, uint64_t below);

/* Transactions. The image is counted after each commit. */
void pool_model_begin(struct pool_model *m);
void pool_model_commit(struct pool_model *m);
void pool_model_abort(struct pool_model *m);
void pool_model_reopen(struct pool_model *m); /* what is open is lost */

/* Changes. 0 or THINP_ENOSPC; everything else fails the test. */
int pool_model_create(struct pool_model *m, uint32_t device);
int pool_model_snap(struct pool_model *m, uint32_t device, uint32_t origin);
int pool_model_delete(struct pool_model *m, uint32_t device);
int pool_model_map(struct pool_model *m, uint32_t device, uint32_t block);
int pool_model_map_run(struct pool_model *m, uint32_t device, uint32_t block, uint32_t nr); /* stride 1 */
int pool_model_share(struct pool_model *m, uint32_t device, uint32_t block, uint32_t from_device, uint32_t from_block);
int pool_model_unmap(struct pool_model *m, uint32_t device, uint32_t first, uint32_t last);
int pool_model_hold(struct pool_model *m);
int pool_model_release(struct pool_model *m);

/* Some changes at random: of mappings, or of which devices there are. */
void pool_model_change(struct pool_model *m);
void pool_model_change_mappings(struct pool_model *m, uint32_t device);
void pool_model_change_devices(struct pool_model *m, uint32_t device);

/* Is everything as the model has it? Look-ups, runs, devices, highest block, mapped counts. */
void pool_model_compare(struct pool_model *m);

/* The same for the devices of another pool: a view, or a metadata snapshot. */
void pool_model_compare_devices(struct pool_model *m, struct thinp_pool *pool, const struct model_device *devices);

#endif
