/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store/open.c - opening, making and closing a store.
 */
#include "store/store.h"

#include "base/alloc.h"
#include "base/opts.h"
#include "block/manager.h"

#include <inttypes.h>
#include <string.h>

#define KNOWN_FLAGS                                                                                                    \
	(THINP_STORE_READ_ONLY | THINP_STORE_CREATE | THINP_STORE_OVERWRITE | THINP_STORE_HUGE_PAGES |                 \
	 THINP_STORE_QUEUE_ALWAYS | THINP_STORE_LIVE)

static int take_opts(const struct thinp_store_opts *user_opts, struct thinp_store_opts *opts,
		     struct thinp_allocator *allocator)
{
	const uint32_t writing = THINP_STORE_CREATE | THINP_STORE_OVERWRITE | THINP_STORE_LIVE;
	int r = tp_opts_take(opts, sizeof(*opts), user_opts);

	if (!r && opts->flags & ~KNOWN_FLAGS)
		r = tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags %#x for a store", opts->flags);
	if (!r && opts->flags & THINP_STORE_READ_ONLY && opts->flags & writing)
		r = tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a store cannot be made read-only, nor looked at live");
	return r ? r : tp_allocator_take(allocator, opts->allocator);
}

static bool is_read_only(const struct thinp_store *store)
{
	return store->opts.flags & THINP_STORE_READ_ONLY;
}

static size_t slots_bytes(const struct thinp_store *store)
{
	return (size_t)2 * store->format->nr_slots * THINP_BLOCK_SIZE;
}

static int open_cache(struct thinp_store *store)
{
	struct thinp_bm_opts opts = {
		.size = sizeof(opts),
		.cache_blocks = store->opts.cache_blocks,
		.flags = store->opts.flags & THINP_STORE_HUGE_PAGES ? THINP_BM_HUGE_PAGES : 0,
		.allocator = &store->allocator,
	};
	int r;

	store->slots = tp_alloc_aligned(&store->allocator, slots_bytes(store), THINP_BLOCK_SIZE);
	if (!store->slots)
		return THINP_ENOMEM;
	r = thinp_bm_create(store->io, &opts, &store->bm);
	return r ? r : thinp_reader_create(store->bm, 0, &store->reader);
}

/* --- the maps --- */

static struct tp_sm_opts map_opts(const struct thinp_store *store)
{
	return (struct tp_sm_opts){
		.allocator = &store->allocator,
		.policy = store->opts.op_queue_policy,
		.queue_always = store->opts.flags & THINP_STORE_QUEUE_ALWAYS,
		.first_block = store->format->nr_slots,
	};
}

static int open_tm(struct thinp_store *store)
{
	struct thinp_alloc alloc = {.size = sizeof(alloc)};
	int r;

	thinp_sm_get_alloc(store->metadata, &alloc);
	r = thinp_tm_create(store->bm, &alloc, &store->tm);
	if (!r && store->opts.flags & THINP_STORE_LIVE) {
		store->tm->gate = &store->live.gate;
		tp_sm_tell_later(store->metadata);
	}
	return r;
}

static int open_data_map(struct thinp_store *store, uint32_t index, const struct tp_sm_root *root)
{
	struct tp_sm_opts opts = map_opts(store);

	return tp_sm_open_data(store->reader, root, store->metadata, &opts, &store->maps[index]);
}

/* The maps of the last commit, and the transaction manager over them. */
static int open_maps(struct thinp_store *store)
{
	const struct tp_store_maps *maps = store->last ? &store->last->maps : NULL;
	struct tp_sm_opts opts = map_opts(store);
	int r = tp_sm_open_metadata(store->reader, maps ? &maps->metadata : NULL, &opts, &store->metadata);

	for (uint32_t i = 0; i < THINP_STORE_NR_MAPS && !r; i++)
		if (maps && tp_store_has_map(maps, i))
			r = open_data_map(store, i, &maps->data[i]);
	return r ? r : open_tm(store);
}

static void close_maps(struct thinp_store *store)
{
	thinp_tm_destroy(store->tm);
	store->tm = NULL;
	for (uint32_t i = 0; i < THINP_STORE_NR_MAPS; i++) {
		tp_sm_close(store->maps[i]);
		store->maps[i] = NULL;
	}
	tp_sm_close(store->metadata);
	store->metadata = NULL;
}

/* --- making a store --- */

static int new_size(struct thinp_store *store, uint64_t *nr_blocks)
{
	int r = thinp_io_size(store->io, nr_blocks);

	if (r)
		return r;
	if (store->opts.nr_blocks > *nr_blocks)
		return tp_fail(THINP_ENOSPC, THINP_NO_BLOCK, "the device is smaller than the store is to be");
	if (store->opts.nr_blocks)
		*nr_blocks = store->opts.nr_blocks;
	if (*nr_blocks > TP_METADATA_MAX_BLOCKS)
		*nr_blocks = TP_METADATA_MAX_BLOCKS;
	return 0;
}

/* Until the first commit is there, the device holds no store. */
static int make(struct thinp_store *store)
{
	uint64_t nr_blocks;
	int r = new_size(store, &nr_blocks);

	if (!r)
		r = tp_store_clear_slots(store);
	if (!r)
		r = open_maps(store);
	if (r)
		return r;
	thinp_tm_begin(store->tm);
	store->state = TP_STORE_OPEN;
	r = thinp_sm_extend(store->metadata, nr_blocks);
	if (!r && store->format->create)
		r = store->format->create(store->format_ctx, store);
	return r ? r : thinp_store_commit(store);
}

/* --- opening --- */

static int read_last_commit(struct thinp_store *store)
{
	struct tp_commit *commit = tp_commit_create(store);
	int r;

	if (!commit)
		return THINP_ENOMEM;
	r = tp_store_read_slots(store, commit);
	if (!r)
		tp_store_add_commit(store, commit);
	else
		tp_free(&store->allocator, commit, sizeof(*commit));
	return r;
}

/* The last commit may still be in the device's cache only, above all when the process before this one saw it fail with
 * THINP_EUNKNOWN. Before blocks that it freed are used again, it is made durable by writing it again. And a commit whose
 * blocks are not held back must not be fallen back to once they are used again. */
static int confirm(void *ctx)
{
	struct thinp_store *store = ctx;
	int r = tp_store_check_slots(store);

	if (r == THINP_ESTALE)
		store->is_lost = true;
	if (!r)
		r = tp_store_write_slot(store);
	if (r || !store->has_broken)
		return r;
	r = tp_store_clear_other_slots(store);
	store->has_broken = r;
	return r;
}

static int check_writable(struct thinp_store *store)
{
	const struct tp_store_maps *maps = &store->last->maps;
	uint64_t nr_blocks;
	int r = thinp_io_size(store->io, &nr_blocks);

	if (!r && maps->is_for_readers)
		r = tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "the store uses features unknown here: open it read-only");
	if (!r && nr_blocks < maps->metadata.nr_blocks)
		r = tp_fail(THINP_ECORRUPT, THINP_NO_BLOCK, "a device of %" PRIu64 " blocks holds a store of %" PRIu64,
			    nr_blocks, maps->metadata.nr_blocks);
	return r;
}

/* What the commit before the last needs is held back, as it would be had the store stayed open. When it cannot be told what
 * that is, the commit goes. */
static int hold_previous(struct thinp_store *store)
{
	const struct tp_store_maps *maps = &store->previous;
	struct thinp_error_info before = {.size = sizeof(before)}, why = before;
	uint64_t commit = store->last->maps.commit;
	int r;

	if (!store->has_previous)
		return 0;
	thinp_error_last(&before);
	r = tp_sm_hold_previous(store->metadata, &maps->metadata, commit);
	for (uint32_t i = 0; i < THINP_STORE_NR_MAPS && !r; i++)
		if (store->maps[i] && tp_store_has_map(maps, i))
			r = tp_sm_hold_previous(store->maps[i], &maps->data[i], commit);
	if (r != THINP_ECORRUPT && r != THINP_EIO)
		return r;
	thinp_error_last(&why);
	tp_error_restore(&before);
	tp_store_warn(store, "the commit before the last is lost", &why);
	store->has_broken = true;
	return 0;
}

static int open_to_write(struct thinp_store *store)
{
	int r = check_writable(store);

	if (!r)
		r = open_maps(store);
	if (!r)
		r = hold_previous(store);
	if (r)
		return r;
	tp_bm_call_before_first_write(store->bm, confirm, store);
	tp_store_note_held(store);
	tp_store_end_transaction(store, TP_STORE_IDLE);
	return 0;
}

/* Where there is none, a store may be asked for. */
static int find_last_commit(struct thinp_store *store, bool *make_it)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r;

	thinp_error_last(&before);
	r = read_last_commit(store);
	*make_it = r == THINP_EUNFORMATTED && store->opts.flags & THINP_STORE_CREATE;
	if (*make_it)
		tp_error_restore(&before);
	return *make_it ? 0 : r;
}

static int open_or_make(struct thinp_store *store)
{
	bool make_it = store->opts.flags & THINP_STORE_OVERWRITE;
	int r = 0;

	if (!is_read_only(store) && thinp_io_is_read_only(store->io))
		return tp_fail(THINP_EROFS, THINP_NO_BLOCK, "the device is read-only");
	if (!make_it)
		r = find_last_commit(store, &make_it);
	if (r)
		return r;
	if (make_it)
		return make(store);
	return is_read_only(store) ? 0 : open_to_write(store);
}

int tp_store_open(struct thinp_io *io, const struct thinp_store_opts *user_opts, const struct tp_store_format *format,
		  void *format_ctx, struct thinp_store **out)
{
	struct thinp_allocator allocator;
	struct thinp_store_opts opts;
	struct thinp_store *store;
	int r = take_opts(user_opts, &opts, &allocator);

	if (r)
		return r;
	store = tp_alloc_zeroed(&allocator, 1, sizeof(*store));
	if (!store)
		return THINP_ENOMEM;
	store->allocator = allocator;
	store->opts = opts;
	store->format = format;
	store->format_ctx = format_ctx ? format_ctx : &store->own;
	store->io = io;
	pthread_mutex_init(&store->lock, NULL);
	tp_live_init(&store->live, &store->metadata);
	r = open_cache(store);
	if (!r)
		r = open_or_make(store);
	if (r) {
		thinp_store_close(store);
		return r;
	}
	*out = store;
	return 0;
}

int thinp_store_open(struct thinp_io *io, const struct thinp_store_opts *opts, struct thinp_store **store)
{
	return tp_store_open(io, opts, &tp_store_own_format, NULL, store);
}

void thinp_store_close(struct thinp_store *store)
{
	struct thinp_allocator allocator;

	if (!store)
		return;
	allocator = store->allocator;
	if (store->bm)
		thinp_bm_abort(store->bm);
	close_maps(store);
	tp_store_free_commits(store);
	thinp_reader_destroy(store->reader);
	thinp_bm_destroy(store->bm);
	tp_free(&allocator, store->slots, slots_bytes(store));
	tp_live_destroy(&store->live);
	pthread_mutex_destroy(&store->lock);
	tp_free(&allocator, store, sizeof(*store));
}

/* --- changing what it is made of --- */

int tp_store_add_map(struct thinp_store *store, uint32_t index, uint64_t nr_blocks)
{
	int r = open_data_map(store, index, NULL);

	if (r)
		return r;
	r = thinp_sm_extend(store->maps[index], nr_blocks);
	if (!r)
		return 0;
	tp_sm_close(store->maps[index]);
	store->maps[index] = NULL;
	return r;
}

int thinp_store_add_map(struct thinp_store *store, uint32_t index, uint64_t nr_blocks)
{
	int r = tp_store_check_changeable(store);

	if (r)
		return r;
	if (index >= THINP_STORE_NR_MAPS || store->maps[index] || !nr_blocks)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "data map %u cannot be made", index);
	return tp_store_add_map(store, index, nr_blocks);
}

/* The device may have room for more than is asked for. */
static int grow_device(struct thinp_store *store, uint64_t nr_blocks)
{
	uint64_t device_blocks;
	int r = thinp_io_size(store->io, &device_blocks);

	if (!r && device_blocks < nr_blocks)
		r = thinp_io_resize(store->io, nr_blocks);
	return r;
}

int thinp_store_grow(struct thinp_store *store, uint64_t nr_blocks)
{
	struct thinp_sm_info info = {.size = sizeof(info)};
	int r = tp_store_check_changeable(store);

	if (r)
		return r;
	thinp_sm_get_info(store->metadata, &info);
	if (nr_blocks < info.nr_blocks)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a store cannot shrink");
	if (nr_blocks > TP_METADATA_MAX_BLOCKS)
		return tp_fail(THINP_ERANGE, THINP_NO_BLOCK, "larger than a store can be");
	r = grow_device(store, nr_blocks);
	if (r)
		return r;
	tp_tm_enter(store->tm);
	tp_reader_follow_device(store->reader);
	tp_reader_follow_device(thinp_tm_reader(store->tm));
	tp_tm_leave(store->tm);
	return thinp_sm_extend(store->metadata, nr_blocks);
}

struct thinp_tm *thinp_store_tm(struct thinp_store *store)
{
	return store->tm;
}

struct thinp_sm *thinp_store_map(struct thinp_store *store, uint32_t index)
{
	return index < THINP_STORE_NR_MAPS ? store->maps[index] : NULL;
}

struct thinp_sm *thinp_store_metadata_map(struct thinp_store *store)
{
	return store->metadata;
}
