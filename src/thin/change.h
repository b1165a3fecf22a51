/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/change.h - what all functions that change a pool begin and end with.
 */
#ifndef TP_THIN_CHANGE_H
#define TP_THIN_CHANGE_H

#include "store/store.h"
#include "thin/pool.h"

#include <thinp/transaction.h>

static inline struct thinp_tm *tp_thin_tm(const struct thinp_pool *pool)
{
	return pool->store->tm;
}

static inline struct thinp_sm *tp_thin_data_map(const struct thinp_pool *pool)
{
	return pool->store->maps[0];
}

/* A failure after the first of several steps is one half way. */
static inline int tp_thin_half_way(const struct thinp_pool *pool, int r)
{
	return r ? thinp_tm_poison(tp_thin_tm(pool), r) : 0;
}

/* THINP_EROFS: the pool was opened for reading. */
int tp_thin_check_not_read_only(const struct thinp_pool *pool) TP_MUST_USE;

/* Every change is between these two: those who look at the open transaction see all of it or nothing. The end passes on
 * what it is given. */
int tp_thin_begin_change(struct thinp_pool *pool) TP_MUST_USE;
int tp_thin_end_change(struct thinp_pool *pool, int r);

/* The same for changes that give back more than they take. */
int tp_thin_begin_release(struct thinp_pool *pool) TP_MUST_USE;
int tp_thin_end_release(struct thinp_pool *pool, int r);

/* Room for what the values of mappings may take. */
void tp_thin_make_types(struct thinp_pool *pool);

/* Adds the most blocks that inserting a key takes, but for the counts of mappings. */
int tp_thin_add_insert_cost(const struct thinp_pool *pool, const struct thinp_btree_type *type, thinp_block_t root,
			    const uint64_t *keys, uint64_t *nr_blocks) TP_MUST_USE;

/* The same for removing a key of a tree of one level. */
int tp_thin_add_remove_cost(const struct thinp_pool *pool, const struct thinp_btree_type *type, thinp_block_t root,
			    uint64_t key, uint64_t *nr_blocks) TP_MUST_USE;

/* The record of a device that is to be changed. THINP_ENODATA: no such device. A failure has changed nothing. */
int tp_thin_get_record(struct thinp_pool *pool, uint64_t dev_id, struct tp_device_record **record) TP_MUST_USE;

/* Brings the details tree up to date. */
int tp_thin_write_records(struct thinp_pool *pool) TP_MUST_USE;
void tp_thin_forget_records(struct thinp_pool *pool);
void tp_thin_forget_record(struct thinp_pool *pool, uint64_t dev_id);

int tp_thin_put_details(struct thinp_pool *pool, uint64_t dev_id, const struct tp_device_details *details) TP_MUST_USE;

#endif
