/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/commit.c - beginning, committing and aborting transactions.
 *
 * The order of a commit, each step only after the one before has succeeded:
 *
 *   the caller's hook     what other devices must have first
 *   record                data maps in their order, then the metadata map: counts go into blocks, blocks move
 *   roots                 of all maps, as they are now
 *   check the slots       does the device still hold the commit that this one follows, and none of somebody else?
 *   write, flush          all blocks but the superblock
 *   superblock, flush     in the slot that does not hold the last commit, where there are two
 *
 * Invariants
 *   1. Nothing of the store is changed in memory before the device has the commit, but what an abort brings back.
 *   2. When the superblock's write or the flush behind it fails, nobody knows which commit the device holds; nothing is
 *      written any more.
 */
#include "store/store.h"

#include "base/alloc.h"
#include "block/manager.h"
#include "format/kind.h"

#include <string.h>

/* --- what state allows --- */

int tp_store_check_usable(const struct thinp_store *store)
{
	switch (store->state) {
	case TP_STORE_UNKNOWN:
		return tp_fail(THINP_EUNKNOWN, THINP_NO_BLOCK, "an earlier commit failed in its last step");
	case TP_STORE_LOST:
		return tp_fail(THINP_ESTALE, THINP_NO_BLOCK, "somebody else has written to the device");
	case TP_STORE_FAILED:
		return tp_fail(THINP_EIO, THINP_NO_BLOCK, "an abort could not read the last commit");
	case TP_STORE_OPEN:
	case TP_STORE_IDLE:
		break;
	}
	return 0;
}

static int refuse(const struct thinp_store *store)
{
	if (store->state == TP_STORE_OPEN)
		return tp_fail(THINP_EBUSY, THINP_NO_BLOCK, "a transaction is open");
	return tp_store_check_usable(store);
}

int thinp_store_begin(struct thinp_store *store)
{
	int r = refuse(store);

	if (r)
		return r;
	if (!store->tm)
		return tp_fail(THINP_EROFS, THINP_NO_BLOCK, "the store was opened read-only");
	tp_tm_enter(store->tm);
	tp_store_release(store); /* views may have been closed since */
	tp_store_note_held(store);
	thinp_tm_begin(store->tm);
	store->generation = thinp_tm_generation(store->tm);
	store->state = TP_STORE_OPEN;
	tp_tm_leave(store->tm);
	return 0;
}

int tp_store_check_changeable(const struct thinp_store *store)
{
	if (store->state != TP_STORE_OPEN)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "no transaction is open");
	return thinp_tm_status(store->tm);
}

/* --- the end of a transaction --- */

void tp_store_end_transaction(struct thinp_store *store, enum tp_store_state state)
{
	store->state = state;
	thinp_tm_poison(store->tm, THINP_EINVAL);
}

static void reload_maps(struct thinp_store *store)
{
	for (uint32_t i = 0; i < THINP_STORE_NR_MAPS; i++) {
		if (!store->maps[i])
			continue;
		if (tp_store_has_map(&store->last->maps, i)) {
			tp_sm_abort(store->maps[i]);
		} else {
			tp_sm_close(store->maps[i]);
			store->maps[i] = NULL;
		}
	}
	tp_sm_abort(store->metadata);
}

/* Memory is again as the last commit has it. */
static int go_back(struct thinp_store *store)
{
	struct tp_store_maps maps;

	thinp_bm_abort(store->bm);
	reload_maps(store);
	thinp_tm_begin(store->tm);
	return store->format->unpack(store->format_ctx, store->last->record, &maps);
}

/* --- commit --- */

static int record_maps(struct thinp_store *store, struct tp_store_maps *maps)
{
	int r = 0;

	for (uint32_t i = 0; i < THINP_STORE_NR_MAPS && !r; i++) {
		if (!store->maps[i])
			continue;
		r = tp_sm_record(store->maps[i], store->tm);
		if (!r)
			tp_sm_get_root(store->maps[i], &maps->data[i]);
	}
	if (!r)
		r = tp_sm_record(store->metadata, store->tm);
	if (!r)
		tp_sm_get_root(store->metadata, &maps->metadata);
	return r;
}

/* The record over that of the last commit: what the format does not know stays as it was read. */
static void make_record(const struct thinp_store *store, struct tp_commit *commit)
{
	const struct tp_store_format *format = store->format;

	if (store->last)
		memcpy(commit->record, store->last->record, THINP_BLOCK_SIZE);
	format->pack(store->format_ctx, &commit->maps, commit->record);
	tp_block_seal(commit->record, commit->maps.commit % format->nr_slots, format->type());
}

/* Would the record of the last commit say the same? */
static bool is_unchanged(struct thinp_store *store, struct tp_commit *commit)
{
	uint64_t number = commit->maps.commit;
	bool is_same;

	if (!store->last || thinp_tm_generation(store->tm) != store->generation)
		return false;
	commit->maps.commit = store->last->maps.commit;
	make_record(store, commit);
	is_same = !memcmp(commit->record, store->last->record, THINP_BLOCK_SIZE);
	commit->maps.commit = number;
	return is_same;
}

static void tell_maps(struct thinp_store *store, uint64_t commit)
{
	tp_sm_committed(store->metadata, commit, true);
	for (uint32_t i = 0; i < THINP_STORE_NR_MAPS; i++)
		if (store->maps[i])
			tp_sm_committed(store->maps[i], commit, true);
}

/* The device has the commit: so does memory. */
static void publish(struct thinp_store *store, struct tp_commit *commit)
{
	uint64_t nr_freed = tp_store_nr_unusable(store) - store->nr_held;

	commit->nr_freed = (store->last ? store->last->nr_freed : 0) + nr_freed;
	store->nr_freed_by_last = nr_freed;
	tell_maps(store, commit->maps.commit);
	tp_store_note_slot(store, commit);
	tp_store_add_commit(store, commit);
	tp_store_limit_views(store);
	tp_store_release(store);
	tp_store_note_held(store);
}

static int write_commit(struct thinp_store *store, struct tp_commit *commit)
{
	const struct tp_store_format *format = store->format;
	int r;

	make_record(store, commit);
	r = tp_store_check_slots(store);
	return r ? r
		 : thinp_bm_commit(store->bm, commit->maps.commit % format->nr_slots, format->type(), commit->record);
}

/* After these nothing is written any more. */
static int note_end(struct thinp_store *store, int r)
{
	if (r == THINP_EUNKNOWN || r == THINP_ESTALE) {
		int failed = store->last ? go_back(store) : 0;

		store->state = failed ? TP_STORE_FAILED : r == THINP_ESTALE ? TP_STORE_LOST : TP_STORE_UNKNOWN;
	}
	return thinp_tm_poison(store->tm, r);
}

/* On success the commit belongs to the store, or was not needed. */
static int commit_as(struct thinp_store *store, struct tp_commit *commit, bool *is_needed)
{
	int r = record_maps(store, &commit->maps);

	*is_needed = r || !is_unchanged(store, commit);
	if (!r && *is_needed)
		r = write_commit(store, commit);
	if (r)
		return note_end(store, r);
	if (*is_needed)
		publish(store, commit);
	else
		tell_maps(store, store->last->maps.commit); /* that recording is over */
	tp_store_end_transaction(store, TP_STORE_IDLE);
	return 0;
}

int thinp_store_commit(struct thinp_store *store)
{
	struct tp_commit *commit;
	bool is_needed;
	int r = tp_store_check_changeable(store);
	if (!r && store->opts.pre_commit)
		r = store->opts.pre_commit(store->opts.pre_commit_ctx);
	if (r)
		return r;
	commit = tp_commit_create(store);
	if (!commit)
		return thinp_tm_poison(store->tm, THINP_ENOMEM);
	commit->maps.commit = store->last ? store->last->maps.commit + 1 : 1;
	tp_tm_enter(store->tm);
	r = commit_as(store, commit, &is_needed);
	tp_tm_leave(store->tm);
	if (r || !is_needed)
		tp_free(&store->allocator, commit, sizeof(*commit));
	return r;
}

/* --- abort --- */

int thinp_store_abort(struct thinp_store *store)
{
	int r;

	if (store->state != TP_STORE_OPEN)
		return 0;
	tp_tm_enter(store->tm);
	r = go_back(store);
	tp_store_end_transaction(store, r ? TP_STORE_FAILED : store->is_lost ? TP_STORE_LOST : TP_STORE_IDLE);
	tp_tm_leave(store->tm);
	return r;
}
