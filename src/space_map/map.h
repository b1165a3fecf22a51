/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/map.h - what a store does with the maps of its transactions.
 *
 * The order of a commit: tp_sm_record() for the data maps, then for the metadata map; the roots; the superblock; then
 * tp_sm_committed() for all. Aborting is tp_sm_abort() for all: forgetting memory.
 */
#ifndef TP_SPACE_MAP_MAP_H
#define TP_SPACE_MAP_MAP_H

#include "base/error.h"
#include "format/space_map.h"

#include <thinp/op_queue.h>
#include <thinp/space_map.h>
#include <thinp/transaction.h>

struct tp_sm_opts {
	const struct thinp_allocator *allocator;
	const struct thinp_opq_policy *policy; /* NULL: fifo */
	bool queue_always;                     /* every operation waits until the commit, or until the ledger is full */
	uint64_t memory_limit; /* bytes for the counts of a data map, kept by tp_sm_trim(); 0: no limit */
	uint64_t first_block;  /* of a new metadata map: blocks before it (superblocks) are counted once; 0: 1 */
};

/* The metadata map of the last commit; root NULL: of an empty device, to be made with thinp_sm_extend(). opts NULL:
 * defaults. The reader must let through every block of the device, and outlive the map. */
int tp_sm_open_metadata(struct thinp_reader *reader, const struct tp_sm_root *root, const struct tp_sm_opts *opts,
			struct thinp_sm **sm) TP_MUST_USE;

/* A data map, which takes its blocks from a metadata map; root NULL: a new one of 0 blocks. */
int tp_sm_open_data(struct thinp_reader *reader, const struct tp_sm_root *root, struct thinp_sm *metadata,
		    const struct tp_sm_opts *opts, struct thinp_sm **sm) TP_MUST_USE;

/* For a device that has grown. */
void tp_sm_set_reader(struct thinp_sm *sm, struct thinp_reader *reader);

/* Data maps are closed before their metadata map. NULL is allowed. */
void tp_sm_close(struct thinp_sm *sm);

/* The most blocks that recording takes more when the counts of so many blocks, anywhere in the map, change by one. For
 * thinp_btree_type::cost of trees whose values are counted by the map. */
uint64_t tp_sm_cost(const struct thinp_sm *sm, uint64_t nr_blocks);

/* The count of a block, as thinp_sm_count(). Changes nothing, not even what is in memory: while nobody changes the map, any
 * number of threads may ask. */
int tp_sm_peek_count(const struct thinp_sm *sm, uint64_t block, uint32_t *count) TP_MUST_USE;

/* As tp_sm_opts::memory_limit. */
void tp_sm_set_memory_limit(struct thinp_sm *sm, uint64_t nbytes);

/* When counts take more memory than the limit of a data map: writes pages down and drops them. To be called between
 * changes, outside of any change of a tree. When it fails and thinp_tm_status() is still 0, only memory was short, and the
 * transaction can go on. */
int tp_sm_trim(struct thinp_sm *sm, struct thinp_tm *tm) TP_MUST_USE;

/* From now on who set a threshold, of the metadata map or of a data map that draws from it, is told by tp_sm_tell_now(), when
 * nothing is locked, and not when blocks are taken. */
void tp_sm_tell_later(struct thinp_sm *metadata);
void tp_sm_tell_now(struct thinp_sm *metadata);

/* The most metadata blocks that recording the map may take on top of what it may take now, when counts in so many bitmaps
 * change, and of these so many grow and so many shrink. */
uint64_t tp_sm_more_cost(const struct thinp_sm *sm, uint64_t nr_bitmaps, uint64_t nr_raised, uint64_t nr_lowered);

/* What is to be reserved before counts grow, of so many that may become large by it and so many that are: that, and as much as
 * there has to be kept back more for giving space back. */
uint64_t tp_sm_raise_cost(const struct thinp_sm *sm, uint64_t nr_bitmaps, uint64_t nr_raised, uint64_t nr_large);

/* The most nodes that taking the entries of one leaf out of a tree copies: those on the way down, each with two neighbours,
 * of a tree as deep as one can be. */
uint64_t tp_sm_release_way(const struct thinp_sm *metadata);

/* What is kept back for the least change that frees space, beside what counts of values take: so many nodes are copied,
 * and so many blocks get an owner more. Until it is said: two ways, and nothing is shared. */
void tp_sm_set_release(struct thinp_sm *metadata, uint64_t nr_nodes, uint64_t nr_raised);

/* The same when the map is made longer. */
uint64_t tp_sm_extend_cost(const struct thinp_sm *sm, uint64_t nr_blocks);

/* Blocks of a metadata map that are kept back for recording it and all data maps that draw from it. */
uint64_t tp_sm_commit_cost(const struct thinp_sm *metadata);

/* Brings the blocks of the map up to date. Takes what was kept back for it, so it does not fail for lack of space. When it
 * fails, the transaction can only be aborted. From now on to the commit nothing may be changed but other maps be recorded. */
int tp_sm_record(struct thinp_sm *sm, struct thinp_tm *tm) TP_MUST_USE;

/* Lowers the counts of some neighbours, all of them `from`, to `to`: what a check found to be too high is put right. Takes
 * as long for many references as for one. No operation is issued but the last. THINP_ENOSPC, THINP_EREFCOUNT (another
 * count): nothing was changed. */
int tp_sm_lower(struct thinp_sm *sm, uint64_t first, uint64_t nr_blocks, uint32_t from, uint32_t to) TP_MUST_USE;

/* Sees to it that a bitmap is written with the next commit, and what the index says of it, though no count has changed.
 * THINP_ENOSPC: nothing was changed. */
int tp_sm_write_anew(struct thinp_sm *sm, uint64_t bitmap) TP_MUST_USE;

/* The root record has a wrong number of blocks in use: in truth it is this. Before any count is changed. */
void tp_sm_set_nr_used(struct thinp_sm *sm, uint64_t nr_used);

/* Is there something to record? Counts that have changed, and changed back, count, too. */
bool tp_sm_is_changed(const struct thinp_sm *sm);

/* The root record, right after recording. */
void tp_sm_get_root(const struct thinp_sm *sm, struct tp_sm_root *root);

/* The commit is on the device. What was freed in it may be used again, unless hold: then it waits for tp_sm_release(). */
void tp_sm_committed(struct thinp_sm *sm, uint64_t commit, bool hold);

/* Right after opening: what the commit before the last, with this root, uses and the last one does not is held back as if
 * it had been freed now, in `commit`. When it fails, nothing is held. */
int tp_sm_hold_previous(struct thinp_sm *sm, const struct tp_sm_root *previous, uint64_t commit) TP_MUST_USE;

/* No view of a commit before this one is left: what these hold comes free. */
void tp_sm_release(struct thinp_sm *sm, uint64_t commit);

/* Everything is again as the last commit had it. */
void tp_sm_abort(struct thinp_sm *sm);

#endif
