/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/changing_pools.c - a pool that is made and changed.
 *
 * Every count of data blocks is looked at in the open transaction, every count of all blocks in the image of each commit.
 */
#include "play.h"

#include "base/bytes.h"
#include "support/meta_check.h"
#include "thin/change.h"

#include <thinp/pool_space.h>
#include <thinp/pool_view.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
	NR_METADATA = 200,
	MORE_METADATA = 230,
	NR_DATA = 3000,
	MORE_DATA = 17000, /* in a second bitmap */
	MANY = 300,
	NR_RUN = 20
};
#define UNTOUCHED UINT64_C(0x1234567812345678)

/* References that the test has itself. */
struct own {
	uint32_t data[MORE_DATA];
	uint64_t first, nr; /* taken last, and not mapped yet */
	uint64_t shared;    /* the first of those that snapshots share until the end */
};

struct pools {
	struct stage stage; /* the first */
	struct thinp_pool *pool;
	struct own now, committed;
	uint64_t transaction_id; /* of the last commit */
	uint32_t nr_alarms;
};

static struct pools *of(struct stage *stage)
{
	return (struct pools *)stage;
}

static struct thinp_pool *pool_of(struct stage *stage)
{
	return of(stage)->pool;
}

/* --- the stage --- */

static int open_pool(struct world *w, struct thinp_io *io, uint64_t nr_data, struct thinp_pool **pool)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts),
					     .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE |
						      THINP_POOL_IGNORE_NEEDS_CHECK,
					     .cache_blocks = PLAY_CACHE,
					     .allocator = &w->alloc.table,
					     .nr_data_blocks = nr_data,
					     .nr_metadata_blocks = NR_METADATA};

	return thinp_pool_open(io, &opts, pool);
}

static void share(struct pools *p)
{
	p->stage.bm = p->pool->store->bm;
	p->stage.tm = p->pool->store->tm;
}

static void begin(struct pools *p)
{
	assert_int_equal(thinp_pool_begin(p->pool), 0);
}

static struct stage *open_stage(struct world *w)
{
	struct pools *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->stage.w = w;
	assert_int_equal(open_pool(w, w->io, NR_DATA, &p->pool), 0);
	share(p);
	begin(p);
	return &p->stage;
}

static void close_stage(struct stage *stage)
{
	thinp_pool_close(pool_of(stage));
	free(stage);
}

/* The commits leave nothing open that could fail to begin. */
static void abort_stage(struct stage *stage)
{
	assert_int_equal(thinp_pool_abort(pool_of(stage)), 0);
	of(stage)->now = of(stage)->committed;
	begin(of(stage));
}

/* The superblock tells which commit it is. */
static void reopen_stage(struct stage *stage)
{
	struct pools *p = of(stage);

	thinp_pool_close(p->pool);
	p->pool = NULL;
	assert_int_equal(open_pool(stage->w, stage->w->memory, 0, &p->pool), 0);
	share(p);
	begin(p);
	assert_in_range(p->pool->live.transaction_id, p->transaction_id, p->transaction_id + 1);
	if (p->pool->live.transaction_id == p->transaction_id)
		p->now = p->committed;
}

/* --- looking --- */

static void check_data(const struct pools *p)
{
	struct meta_mappings count;
	struct thinp_pool_info info = {.size = sizeof(info)};
	uint64_t nr_allocated = 0;

	thinp_pool_get_info(p->pool, &info);
	meta_mappings_begin(&count, thinp_pool_reader(p->pool), info.nr_metadata_blocks, info.nr_data_blocks,
			    p->pool->live.mapping_root, p->pool->live.held_root);
	for (uint64_t b = 0; b < info.nr_data_blocks; b++) {
		uint32_t found = 4711;

		assert_int_equal(thinp_pool_get_count(p->pool, THINP_POOL_DATA, b, &found), 0);
		assert_int_equal(found, count.check.data_counts[b] + p->now.data[b]);
		nr_allocated += found != 0;
	}
	assert_int_equal(info.nr_data_allocated, nr_allocated);
	meta_check_end(&count.check);
}

static void refer_own(struct meta_check *check, void *ctx)
{
	const struct own *own = ctx;

	for (uint64_t b = 0; b < check->nr_data; b++)
		for (uint32_t i = 0; i < own->data[b]; i++)
			meta_check_refer_data(check, b);
}

struct seen {
	struct thinp_pool *pool;
	uint64_t number;
};

static int mix_runs(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	struct seen *seen = ctx;

	for (size_t i = 0; i < nr_runs; i++) {
		seen->number = play_mix(seen->number, &runs[i].virtual_begin, sizeof(runs[i].virtual_begin));
		seen->number = play_mix(seen->number, &runs[i].length, sizeof(runs[i].length));
		seen->number = play_mix(seen->number, &runs[i].time, sizeof(runs[i].time));
	}
	return 0;
}

static int mix_device(void *ctx, const struct thinp_device_info *device)
{
	struct seen *seen = ctx;
	const uint64_t numbers[] = {device->dev_id, device->mapped_blocks, device->transaction_id,
				    device->creation_time, device->snapshotted_time};

	seen->number = play_mix(seen->number, numbers, sizeof(numbers));
	return thinp_pool_walk_runs(seen->pool, device->dev_id, 0, UINT64_MAX, mix_runs, seen);
}

static uint64_t look(struct stage *stage, bool is_committed)
{
	struct pools *p = of(stage);
	struct seen seen = {.pool = p->pool};
	struct thinp_pool_info info = {.size = sizeof(info)};

	check_data(p);
	if (is_committed)
		meta_check_thin(stage->w->memory, refer_own, &p->now);
	thinp_pool_get_info(p->pool, &info);
	{
		const uint64_t numbers[] = {
			info.transaction_id, info.nr_data_blocks, info.nr_metadata_blocks, info.nr_data_allocated,
			info.time,           info.flags,          info.metadata_snap != 0, p->now.nr};

		seen.number = play_mix(1, numbers, sizeof(numbers));
	}
	assert_int_equal(thinp_pool_walk_devices(p->pool, mix_device, &seen), 0);
	return seen.number;
}

/* --- acts --- */

static int create(struct stage *stage)
{
	return thinp_pool_create_device(pool_of(stage), 1);
}

static int note(struct pools *p, int r, uint64_t first, uint64_t nr, uint32_t change)
{
	for (uint64_t b = first; !r && b < first + nr; b++)
		p->now.data[b] += change;
	return r;
}

static int take(struct pools *p, uint64_t nr_wanted)
{
	uint64_t first = UNTOUCHED, nr = UNTOUCHED;
	int r = thinp_pool_alloc_data(p->pool, nr_wanted, &first, &nr);

	if (r) {
		assert_true(first == UNTOUCHED && nr == UNTOUCHED);
		return r;
	}
	p->now.first = first;
	p->now.nr = nr;
	return note(p, 0, first, nr, 1);
}

static int take_many(struct stage *stage)
{
	return take(of(stage), MANY);
}

static int take_one(struct stage *stage)
{
	return take(of(stage), 1);
}

static int map_run(struct pools *p, uint64_t device, uint64_t block)
{
	uint64_t nr_done = UNTOUCHED;
	int r = thinp_pool_insert_run(p->pool, device, block, p->now.first, p->now.nr, &nr_done);

	if (r)
		assert_int_equal(nr_done, UNTOUCHED);
	else
		assert_int_equal(nr_done, p->now.nr);
	return note(p, r, p->now.first, p->now.nr, UINT32_MAX);
}

static int map_many(struct stage *stage)
{
	of(stage)->now.shared = of(stage)->now.first;
	return map_run(of(stage), 1, 0);
}

static int map_many_shared(struct stage *stage)
{
	return map_run(of(stage), 1, 100);
}

static int map_more(struct stage *stage)
{
	return map_run(of(stage), 2, 1000);
}

static int map_one(struct stage *stage)
{
	struct pools *p = of(stage);

	return note(p, thinp_pool_insert(p->pool, 2, 150, p->now.first), p->now.first, 1, UINT32_MAX);
}

static int snap(struct stage *stage)
{
	return thinp_pool_create_snapshot(pool_of(stage), 2, 1);
}

static int snap_of_snap(struct stage *stage)
{
	return thinp_pool_create_snapshot(pool_of(stage), 3, 2);
}

static int foretell(struct stage *stage)
{
	const struct thinp_pool_operation op = {
		.size = sizeof(op), .kind = THINP_POOL_INSERT, .dev_id = 1, .begin = 100, .length = MANY};
	uint64_t nr_blocks = UNTOUCHED;
	int r = thinp_pool_cost(pool_of(stage), &op, &nr_blocks);

	assert_int_equal(nr_blocks == UNTOUCHED, r != 0);
	return r;
}

static int raise(struct stage *stage)
{
	uint64_t first = of(stage)->now.shared;

	return note(of(stage), thinp_pool_inc_data(pool_of(stage), first, NR_RUN), first, NR_RUN, 1);
}

static int lower(struct stage *stage)
{
	uint64_t first = of(stage)->now.shared;

	return note(of(stage), thinp_pool_dec_data(pool_of(stage), first, NR_RUN), first, NR_RUN, UINT32_MAX);
}

static int hold(struct stage *stage)
{
	return thinp_pool_reserve_metadata_snap(pool_of(stage));
}

static int release(struct stage *stage)
{
	return thinp_pool_release_metadata_snap(pool_of(stage));
}

static int unmap_one(struct stage *stage)
{
	return thinp_pool_remove(pool_of(stage), 1, 7);
}

static int unmap_range(struct stage *stage)
{
	uint64_t nr_removed = UNTOUCHED;
	bool is_complete;
	int r = thinp_pool_remove_range(pool_of(stage), 2, 50, 260, 0, &nr_removed, &is_complete);

	assert_int_equal(nr_removed, r ? UNTOUCHED : 211);
	return r;
}

static int unmap_step(struct stage *stage)
{
	struct thinp_pool_step step = {.size = sizeof(step), .nr_removed = UNTOUCHED};
	int r = thinp_pool_remove_step(pool_of(stage), 3, 20, 270, 0, &step);

	assert_int_equal(step.nr_removed, r ? UNTOUCHED : 251);
	return r;
}

static int delete_some(struct stage *stage, uint32_t max_leaves, bool is_complete)
{
	struct thinp_pool_step step = {.size = sizeof(step), .nr_removed = UNTOUCHED};
	int r = thinp_pool_delete_step(pool_of(stage), 2, max_leaves, &step);

	assert_int_equal(step.nr_removed == UNTOUCHED, r != 0);
	if (!r)
		assert_int_equal(step.is_complete, is_complete);
	return r;
}

static int delete_leaf(struct stage *stage)
{
	return delete_some(stage, 1, false);
}

static int delete_rest(struct stage *stage)
{
	return delete_some(stage, 0, true);
}

static int release_some(struct stage *stage, uint32_t max_leaves, bool is_complete)
{
	struct thinp_pool_step step = {.size = sizeof(step), .nr_removed = UNTOUCHED};
	int r = thinp_pool_release_step(pool_of(stage), max_leaves, &step);

	assert_int_equal(step.nr_removed == UNTOUCHED, r != 0);
	if (!r)
		assert_int_equal(step.is_complete, is_complete);
	return r;
}

static int release_leaf(struct stage *stage)
{
	return release_some(stage, 1, false);
}

static int release_rest(struct stage *stage)
{
	return release_some(stage, 0, true);
}

static int delete_origin(struct stage *stage)
{
	return thinp_pool_delete_device(pool_of(stage), 1);
}

static int grow_data(struct stage *stage)
{
	return thinp_pool_grow_data(pool_of(stage), MORE_DATA);
}

static int grow_metadata(struct stage *stage)
{
	return thinp_pool_grow_metadata(pool_of(stage), MORE_METADATA);
}

static int mark(struct stage *stage)
{
	return thinp_pool_set_needs_check(pool_of(stage), true);
}

static int unmark(struct stage *stage)
{
	return thinp_pool_set_needs_check(pool_of(stage), false);
}

static void note_alarm(void *ctx, uint64_t nr_available)
{
	struct pools *p = ctx;

	(void)nr_available;
	p->nr_alarms++;
}

static int watch(struct stage *stage)
{
	struct pools *p = of(stage);

	return thinp_pool_set_threshold(p->pool, THINP_POOL_DATA, NR_DATA - 1, note_alarm, p);
}

static int look_up(struct stage *stage)
{
	struct thinp_mapping mapping = {.time = 4711};
	struct thinp_mapped_run run;
	uint64_t last;
	bool is_changed;
	int r = thinp_pool_lookup(pool_of(stage), 1, 5, &mapping);

	if (r) {
		assert_int_equal(mapping.time, 4711);
		return r;
	}
	assert_true(mapping.is_shared);
	r = thinp_pool_lookup_run(pool_of(stage), 1, 5, 90, &run);
	if (!r)
		r = thinp_pool_highest_mapped(pool_of(stage), 1, &last);
	if (!r)
		r = thinp_pool_device_is_changed(pool_of(stage), 1, &is_changed);
	if (!r) {
		assert_int_equal(run.length, 86);
		assert_int_equal(last, 399);
	}
	return r;
}

static int commit(struct stage *stage)
{
	struct pools *p = of(stage);
	uint64_t id = p->pool->live.transaction_id;
	int r = 0;

	if (id == p->transaction_id)
		r = thinp_pool_set_transaction_id(p->pool, id, id + 1);
	if (!r)
		r = thinp_pool_commit(p->pool);
	if (r)
		return r;
	p->committed = p->now;
	p->transaction_id++;
	assert_true(p->nr_alarms > 0);
	begin(p);
	return 0;
}

static const struct act acts[] = {
	{"watch", watch, false},
	{"create a device", create, false},
	{"take many", take_many, false},
	{"map many", map_many, false},
	{"snapshot", snap, false},
	{"take many again", take_many, false},
	{"foretell", foretell, false},
	{"map many where blocks are shared", map_many_shared, false},
	{"look up", look_up, false},
	{"raise", raise, false},
	{"raise to 3", raise, false},
	{"raise to 4", raise, false},
	{"hold", hold, false},
	{"mark", mark, false},
	{"commit", commit, true},
	{"unmark", unmark, false},
	{"snapshot of a snapshot", snap_of_snap, false},
	{"take one", take_one, false},
	{"map one", map_one, false},
	{"unmap one", unmap_one, false},
	{"unmap a range", unmap_range, false},
	{"grow the data", grow_data, false},
	{"grow the metadata", grow_metadata, false},
	{"lower", lower, false},
	{"commit again", commit, true},
	{"delete", delete_origin, false},
	{"release", release, false},
	{"lower again", lower, false},
	{"commit the third time", commit, true},
	{"unmap a step", unmap_step, false},
	{"hold once more", hold, false},
	{"take more", take_many, false},
	{"map more", map_more, false},
	{"commit the fourth time", commit, true},
	{"delete a leaf", delete_leaf, false},
	{"delete the rest", delete_rest, false},
	{"release a leaf", release_leaf, false},
	{"release the rest", release_rest, false},
	{"commit the last time", commit, true},
	{NULL, NULL, false},
};

/* --- looking at what is changed --- */

static struct thinp_pool *open_changed(struct world *w)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts),
					     .flags = THINP_POOL_WRITABLE | THINP_POOL_LIVE |
						      THINP_POOL_IGNORE_NEEDS_CHECK,
					     .cache_blocks = PLAY_CACHE,
					     .allocator = &w->alloc.table};
	struct thinp_pool *pool = NULL;

	assert_int_equal(thinp_pool_open(w->io, &opts, &pool), 0);
	return pool;
}

static void setup_look(struct world *w)
{
	w->own = open_changed(w);
}

static void close_look(struct world *w)
{
	thinp_pool_close(w->own);
}

static int look_at_view(struct world *w)
{
	struct seen seen = {.number = 1};
	int r = thinp_pool_view_open(w->own, 0, &seen.pool);

	if (!r)
		r = thinp_pool_walk_devices(seen.pool, mix_device, &seen);
	thinp_pool_close(seen.pool);
	return r;
}

static int look_at_held(struct world *w)
{
	struct seen seen = {.number = 1};
	int r = thinp_pool_view_open(w->own, THINP_POOL_METADATA_SNAP, &seen.pool);

	if (!r)
		r = thinp_pool_walk_devices(seen.pool, mix_device, &seen);
	thinp_pool_close(seen.pool);
	return r;
}

static int look_live(struct world *w)
{
	struct seen seen = {.pool = w->own, .number = 1};
	int r = look_at_held(w);

	if (!r)
		r = look_at_view(w);
	if (!r)
		r = thinp_pool_live_begin(w->own);
	if (r)
		return r;
	r = thinp_pool_walk_devices(w->own, mix_device, &seen);
	thinp_pool_live_end(w->own);
	return r;
}

/* --- the plays --- */

static const struct play play = {.acts = acts,
				 .open = open_stage,
				 .close = close_stage,
				 .abort = abort_stage,
				 .look = look,
				 .reopen = reopen_stage};

static void going_on(struct world *w)
{
	play_setup(w, &play, false);
}

static void aborting(struct world *w)
{
	play_setup(w, &play, true);
}

static int make_and_close(struct world *w)
{
	struct thinp_pool *pool = NULL;
	int r = open_pool(w, w->io, NR_DATA, &pool);

	thinp_pool_close(pool);
	return r;
}

static const struct scenario making = {
	.name = "making a pool and opening it", .attempt = make_and_close, .large = PLAY_LARGE};
static const struct scenario changing = {.name = "changing a pool",
					 .setup = going_on,
					 .attempt = play_attempt,
					 .close = play_close,
					 .large = PLAY_LARGE};
static const struct scenario aborted = {.name = "changing a pool, and aborting",
					.setup = aborting,
					.attempt = play_attempt,
					.close = play_close,
					.large = PLAY_LARGE};

static const struct scenario viewing = {.name = "viewing a pool that is changed",
					.fixture = "kernel-heldroot.meta",
					.setup = setup_look,
					.attempt = look_live,
					.close = close_look,
					.large = PLAY_LARGE};

const struct covered failures_of_changing_pools[] = {
	{"thinp_pool_begin", &making},
	{"thinp_pool_commit", &changing},
	{"thinp_pool_abort", &aborted},
	{"thinp_pool_lookup", &changing},
	{"thinp_pool_lookup_run", &changing},
	{"thinp_pool_highest_mapped", &changing},
	{"thinp_pool_device_is_changed", &changing},
	{"thinp_pool_set_transaction_id", &changing},
	{"thinp_pool_create_device", &changing},
	{"thinp_pool_create_snapshot", &changing},
	{"thinp_pool_delete_device", &changing},
	{"thinp_pool_insert", &changing},
	{"thinp_pool_insert_run", &changing},
	{"thinp_pool_remove", &changing},
	{"thinp_pool_remove_range", &changing},
	{"thinp_pool_alloc_data", &changing},
	{"thinp_pool_inc_data", &changing},
	{"thinp_pool_dec_data", &changing},
	{"thinp_pool_grow_data", &changing},
	{"thinp_pool_grow_metadata", &changing},
	{"thinp_pool_reserve_metadata_snap", &changing},
	{"thinp_pool_release_metadata_snap", &changing},
	{"thinp_pool_remove_step", &changing},
	{"thinp_pool_delete_step", &changing},
	{"thinp_pool_release_step", &changing},
	{"thinp_pool_cost", &changing},
	{"thinp_pool_view_open", &viewing},
	{"thinp_pool_live_begin", &viewing},
	{NULL, NULL},
};
