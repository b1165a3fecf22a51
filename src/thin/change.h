/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * thin/change.h - what all functions that change a pool begin and end with.
 */
#ifndef TP_THIN_CHANGE_H
#define TP_THIN_CHANGE_H

#include "store/store.h"
#include "thin/pool.h"
#include "transaction/manager.h"

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

/* Around parts of a change that give back more than they take, and have reserved all that they take. The end passes on
 * what it is given. */
void tp_thin_begin_release(struct thinp_pool *pool);
int tp_thin_end_release(struct thinp_pool *pool, int r);

/* Tells the space map what is to be kept back for such changes; the second one only if that may be another than before, and
 * it never fails. */
int tp_thin_measure_release(struct thinp_pool *pool) TP_MUST_USE;
void tp_thin_follow_change(struct thinp_pool *pool);

/* Room for what the values of mappings may take. */
void tp_thin_make_types(struct thinp_pool *pool);

/* Adds the most blocks that inserting a key takes, but for the counts of mappings. */
int tp_thin_add_insert_cost(const struct thinp_pool *pool, const struct thinp_btree_type *type, thinp_block_t root,
			    const uint64_t *keys, uint64_t *nr_blocks) TP_MUST_USE;

/* The same for removing a key of a tree of one level. */
int tp_thin_add_remove_cost(const struct thinp_pool *pool, const struct thinp_btree_type *type, thinp_block_t root,
			    uint64_t key, uint64_t *nr_blocks) TP_MUST_USE;

/* Reserves what giving data blocks an owner more may take. THINP_ERANGE: there are not so many; THINP_ENOSPC. */
int tp_thin_reserve_raise(const struct thinp_pool *pool, uint64_t first, uint64_t nr) TP_MUST_USE;

/* The record of a device that is to be changed; flags: for thinp_tm_reserve(), if nobody else owns what is copied.
 * THINP_ENODATA: no such device. A failure has changed nothing. */
int tp_thin_get_record(struct thinp_pool *pool, uint64_t dev_id, uint32_t flags,
		       struct tp_device_record **record) TP_MUST_USE;

/* Brings the details tree up to date. */
int tp_thin_write_records(struct thinp_pool *pool) TP_MUST_USE;
void tp_thin_forget_records(struct thinp_pool *pool);
void tp_thin_forget_record(struct thinp_pool *pool, uint64_t dev_id);

/* Deletes a device. THINP_ENOSPC has changed nothing. */
int tp_thin_delete(struct thinp_pool *pool, const struct thinp_device_info *info) TP_MUST_USE;

/* The copy of the superblock in the metadata snapshot, if the transaction can go on. THINP_ENOENT: there is none. */
int tp_thin_read_held(struct thinp_pool *pool, struct tp_thin_superblock *copy) TP_MUST_USE;

/* Drops the metadata snapshot, as tp_thin_delete() a device. */
int tp_thin_drop_held(struct thinp_pool *pool, const struct tp_thin_superblock *copy) TP_MUST_USE;

/* Mappings of a device that are to be removed, the first ones first; steps.c. */
struct tp_thin_part {
	uint64_t first, last;
	uint32_t max_leaves; /* at most those in so many leaves; 0: no limit */
	bool is_step;        /* when there is no room for that, as many as there is room for */
	bool is_deletion;    /* of everything; nobody else owns the tree of the device */
};

/* Removes them from a tree of devices. */
int tp_thin_remove_part(struct thinp_pool *pool, thinp_block_t *root, uint64_t dev_id, const struct tp_thin_part *part,
			uint64_t *nr_removed, bool *is_complete) TP_MUST_USE;

/* Removes them from the pool. When there are none, nothing has been changed. */
int tp_thin_remove_mappings(struct thinp_pool *pool, uint64_t dev_id, const struct tp_thin_part *part,
			    uint64_t *nr_removed, bool *is_complete) TP_MUST_USE;

/* How many own the mappings of a device? Copies the leaf that refers to them, if others share it. */
int tp_thin_count_owners(struct thinp_pool *pool, thinp_block_t *root, uint64_t dev_id, thinp_block_t *tree,
			 uint32_t *count) TP_MUST_USE;

/* Has a change failed half way? As thinp_tm_status(), without a word about it. */
static inline bool tp_thin_is_marked(const struct thinp_pool *pool)
{
	return tp_thin_tm(pool)->poison;
}

/* When something was done before a failure, and nothing half way, what was done is told, and the next step meets the failure. */
int tp_thin_settle(const struct thinp_pool *pool, int r, const struct thinp_error_info *before);

static inline bool tp_thin_is_only_room(const struct thinp_pool *pool, int r)
{
	return r == THINP_ENOSPC && !tp_thin_is_marked(pool);
}

int tp_thin_put_details(struct thinp_pool *pool, uint64_t dev_id, const struct tp_device_details *details) TP_MUST_USE;

#endif
