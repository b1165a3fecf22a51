/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/store_world.h - a store over a device that fails on demand and keeps a log, and what must be in it.
 *
 *   root 0    a tree that grows and shrinks
 *   root 1    a snapshot of it, or nothing
 *   map 0     counts of data blocks, if store_world_add_map() was called
 *   user      the number of the transaction
 *
 * store_world_check() compares content with the model and every count with what it met: MODEL and REFCHECK of the defect
 * history.
 */
#ifndef TP_TEST_STORE_WORLD_H
#define TP_TEST_STORE_WORLD_H

#include "store/store.h"
#include "support/alloc_counting.h"

#include <thinp/btree.h>
#include <thinp/fault.h>
#include <thinp/record.h>

enum { STORE_KEYS = 1024, STORE_DATA = 200, STORE_VALUE_SIZE = 200 };

/* Values of keys; 0: the key is not there. */
struct store_model {
	uint64_t number;
	uint64_t values[STORE_KEYS];
	bool has_snapshot;
	uint64_t snapshot[STORE_KEYS];
	bool has_map;
	uint32_t data[STORE_DATA];
};

struct store_world {
	struct alloc_counting alloc;
	struct thinp_io *memory;
	struct thinp_record *record;
	struct thinp_io *recorded;
	struct thinp_fault *fault;
	struct thinp_io *io; /* fails on demand, over the log, over memory */
	const struct tp_store_format *format;
	struct thinp_store_opts opts;
	struct thinp_store *store;
	struct store_model now, committed;
};

extern const struct thinp_btree_type store_world_tree;

/* A superblock of the same content in one slot. */
extern const struct tp_store_format store_world_one_slot;

/* A new store of so many blocks. format NULL: of our own. */
void store_world_begin(struct store_world *w, uint64_t nr_blocks, const struct thinp_store_opts *opts,
		       const struct tp_store_format *format);
void store_world_end(struct store_world *w);

/* The same for cmocka; the set-up of a test has put its world there. */
int store_world_tear_down(void **state);

struct thinp_store_info store_world_info(struct thinp_store *store);

/* Opens the store on a device; the code. */
int store_world_open_on(struct store_world *w, struct thinp_io *io, uint32_t flags, struct thinp_store **store);
void store_world_reopen(struct store_world *w);

/* Changes of the open transaction. The first code that is not 0; then the model has not followed. */
int store_world_insert(struct store_world *w, uint64_t first, uint64_t nr);
int store_world_remove(struct store_world *w, uint64_t first, uint64_t last);
int store_world_snapshot(struct store_world *w); /* in place of the one before */
int store_world_drop_snapshot(struct store_world *w);
int store_world_drop_tree(struct store_world *w);
int store_world_add_map(struct store_world *w);
int store_world_count_data(struct store_world *w, uint64_t first, uint64_t nr, int step);

/* These must succeed. */
void store_world_start(struct store_world *w);
void store_world_commit(struct store_world *w);
void store_world_abort(struct store_world *w);

/* A transaction that inserts. */
void store_world_commit_some(struct store_world *w, uint64_t first, uint64_t nr);

/* A transaction of random changes, without the commit. */
int store_world_change(struct store_world *w, uint64_t *rng);

/* Content of the last commit, and every count. The store has no open transaction. */
void store_world_check(struct thinp_store *store, const struct store_model *model);

/* Content only, through a view. 0, or the code that reading ended with; THINP_ECORRUPT where it is not the model's. */
int store_world_read_view(struct thinp_view *view, const struct store_model *model);

/* Which blocks the last commit of a store uses, its slots left out. */
void store_world_list_used(struct thinp_store *store, bool *is_used, uint64_t nr_blocks);

/* Operations that changed the device since the log began. */
uint64_t store_world_nr_writes(struct store_world *w);

/* Past the store: gets and changes blocks of the device. */
void store_world_peek(struct store_world *w, thinp_block_t block, void *data);
void store_world_poke(struct store_world *w, thinp_block_t block, const void *data);
void store_world_rot(struct store_world *w, thinp_block_t block);

#endif
