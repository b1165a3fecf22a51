/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/thin/test_change_crash.c - CRASHALL, REFCHECK and PREVCHECK of the defect history over a pool: after a crash at any
 * moment it opens as the last commit or as the next one, and goes on from there.
 *
 * The id of the transaction is the number of the commit. What the environment may say is in support/crash_states.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "store/view.h"
#include "support/crash_device.h"
#include "support/crash_states.h"
#include "support/meta_check.h"
#include "support/pool_model.h"
#include "thin/change.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "unit/base/random.h"

enum { NR_BLOCKS = 110, GROWN = 130, NR_DATA = 2500, GROWN_DATA = 3000, CACHE = 16 };
enum { FULL_BLOCKS = 110, FULL_DATA = 13000 };

/* What must not be written, or handed out, until the next commit. */
struct needed {
	bool metadata[GROWN];
	bool data[GROWN_DATA];
};

struct crash_test {
	struct pool_model m;
	struct crash_device device;
	struct model_content *models; /* by number of the commit */
	struct needed by_last, by_view, all;
	struct thinp_view *view;
	struct model_content *shown; /* by the view */
	uint64_t nr_commits;
	uint64_t *nr_metadata; /* by number of the commit, where they differ */
	uint64_t nr_ahead;     /* commits that may be there although they were not promised */
	uint64_t next_entry;   /* of the log, for PREVCHECK */
};

/* --- a pool over a log --- */

static struct crash_test *begin_test(uint64_t seed, uint64_t nr_commits, uint64_t nr_blocks, uint64_t nr_data)
{
	const struct thinp_pool_opts opts = {.cache_blocks = CACHE};
	struct crash_test *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->m.rng = seed * 2 + 1;
	t->nr_ahead = 1;
	t->nr_commits = nr_commits;
	t->models = calloc(nr_commits + 2, sizeof(*t->models));
	t->shown = calloc(1, sizeof(*t->shown));
	assert_true(t->models && t->shown);
	crash_device_begin(&t->device, nr_blocks);
	pool_model_open_on(&t->m, t->device.io, nr_data, &opts);
	if (seed % 2) /* counts are written down in the middle of transactions */
		tp_sm_set_memory_limit(tp_thin_data_map(t->m.pool), 1);
	t->models[0] = t->m.committed;
	assert_int_equal(thinp_record_mark(t->device.record, 0), 0);
	return t;
}

static void end_test(struct crash_test *t)
{
	thinp_pool_close(t->m.pool);
	crash_device_end(&t->device);
	free(t->models);
	free(t->shown);
	free(t);
}

/* --- PREVCHECK --- */

static int note_counted(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	bool *is_used = ctx;

	for (uint64_t i = begin; i < end; i++)
		is_used[i] = count;
	return 0;
}

/* REFCHECK has shown that what is counted is what is in use. */
static void note_needed(struct crash_test *t, struct needed *needed)
{
	struct thinp_pool *pool = t->m.pool;
	struct thinp_pool_info info = {.size = sizeof(info)};

	memset(needed, 0, sizeof(*needed));
	thinp_pool_get_info(pool, &info);
	assert_int_equal(thinp_pool_walk_counts(pool, THINP_POOL_METADATA, 1, info.nr_metadata_blocks, note_counted,
						needed->metadata),
			 0);
	assert_int_equal(
		thinp_pool_walk_counts(pool, THINP_POOL_DATA, 0, info.nr_data_blocks, note_counted, needed->data), 0);
}

static void add_up(struct crash_test *t)
{
	t->all = t->by_last;
	for (size_t i = 0; t->view && i < GROWN; i++)
		t->all.metadata[i] |= t->by_view.metadata[i];
	for (size_t i = 0; t->view && i < GROWN_DATA; i++)
		t->all.data[i] |= t->by_view.data[i];
	t->m.is_kept = t->all.data;
}

static void prevcheck(struct crash_test *t)
{
	for (; t->next_entry < thinp_record_nr_entries(t->device.record); t->next_entry++) {
		struct thinp_record_entry e = {.size = sizeof(e)};

		assert_int_equal(thinp_record_get_entry(t->device.record, t->next_entry, &e), 0);
		for (uint64_t i = 0; e.kind == THINP_RECORD_WRITE && i < e.nr_blocks; i++)
			if (t->all.metadata[e.block + i])
				fail_msg("entry %" PRIu64 " writes block %" PRIu64 ", which is needed", t->next_entry,
					 e.block + i);
	}
}

/* --- views --- */

static void look_at(struct crash_test *t, uint32_t device, uint32_t block)
{
	const struct model_device *d = &t->shown->devices[device];
	uint64_t keys[2] = {device, block}, value = 0;
	struct tp_thin_superblock sb;
	int r;

	tp_thin_superblock_unpack(t->view->commit->record, &sb);
	r = thinp_btree_lookup(thinp_view_reader(t->view), &tp_thin_tree_type, sb.mapping_root, keys, &value);
	assert_int_equal(r, d->is_there && d->data[block] ? 0 : THINP_ENODATA);
	if (!r)
		assert_int_equal(tp_load_le64(&value) >> 24, d->data[block] - 1);
}

/* It shows to its end what it showed at first. */
static void close_view(struct crash_test *t)
{
	for (uint32_t device = 0; t->view && device < MODEL_DEVICES; device++)
		for (uint32_t block = 0; block < MODEL_BLOCKS; block++)
			look_at(t, device, block);
	thinp_view_close(t->view);
	t->view = NULL;
}

static void change_view(struct crash_test *t)
{
	if (pool_model_random(&t->m, 8))
		return;
	close_view(t);
	if (pool_model_random(&t->m, 3) == 0)
		return;
	assert_int_equal(thinp_view_open(t->m.pool->store, &t->view), 0);
	*t->shown = t->m.committed;
	t->by_view = t->by_last;
}

/* --- the workload --- */

static void start(struct pool_model *m)
{
	pool_model_begin(m);
	assert_int_equal(thinp_pool_set_transaction_id(m->pool, m->now.transaction_id, m->now.transaction_id + 1), 0);
	m->now.transaction_id++;
}

static void change_some(struct pool_model *m)
{
	uint64_t nr = 1 + pool_model_random(m, 24);

	for (uint64_t i = 0; i < nr; i++)
		pool_model_change(m);
	if (pool_model_random(m, 8) == 0)
		(void)(m->now.is_held ? pool_model_release(m) : pool_model_hold(m));
}

static void grow(struct pool_model *m)
{
	assert_int_equal(thinp_pool_grow_metadata(m->pool, GROWN), 0);
	assert_int_equal(thinp_pool_grow_data(m->pool, GROWN_DATA), 0);
	m->now.nr_data = GROWN_DATA;
}

static void promise(struct crash_test *t)
{
	struct pool_model *m = &t->m;

	t->models[m->now.transaction_id] = m->now;
	pool_model_commit(m);
	assert_int_equal(thinp_record_mark(t->device.record, m->committed.transaction_id), 0);
}

static void commit_once(struct crash_test *t)
{
	struct pool_model *m = &t->m;

	start(m);
	change_some(m);
	if (m->now.transaction_id == t->nr_commits / 2)
		grow(m);
	prevcheck(t);
	if (pool_model_random(m, 16) == 0) {
		pool_model_abort(m);
		return;
	}
	promise(t);
	prevcheck(t);
	note_needed(t, &t->by_last);
	change_view(t);
	if (pool_model_random(m, 10) == 0) { /* as a program that was stopped and started */
		close_view(t);
		pool_model_reopen(m);
	}
	add_up(t);
}

static void run_workload(struct crash_test *t)
{
	note_needed(t, &t->by_last);
	add_up(t);
	t->next_entry = thinp_record_nr_entries(t->device.record);
	while (t->m.committed.transaction_id < t->nr_commits)
		commit_once(t);
	close_view(t);
	pool_model_compare(&t->m);
	print_message("%" PRIu64 " changes, %" PRIu64 " of them refused for lack of space\n", t->m.nr_ops,
		      t->m.nr_refused);
}

/* --- the states --- */

struct walk {
	const struct model_device *device;
	uint64_t nr;
};

static int compare_runs(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	struct walk *walk = ctx;

	for (size_t i = 0; i < nr_runs; i++) {
		for (uint64_t n = 0; n < runs[i].length; n++) {
			uint64_t block = runs[i].virtual_begin + n;

			assert_true(block < MODEL_BLOCKS);
			assert_int_equal(walk->device->data[block], runs[i].data_begin + n + 1);
			assert_int_equal(walk->device->time[block], runs[i].time);
		}
		walk->nr += runs[i].length;
	}
	return 0;
}

static void compare_device(struct thinp_pool *pool, uint32_t id, const struct model_device *device)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	struct walk walk = {.device = device};
	uint64_t nr = 0;
	int r = thinp_pool_get_device(pool, id, &info);

	assert_int_equal(r, device->is_there ? 0 : THINP_ENODATA);
	if (r)
		return;
	assert_int_equal(thinp_pool_walk_runs(pool, id, 0, UINT64_MAX, compare_runs, &walk), 0);
	for (uint32_t block = 0; block < MODEL_BLOCKS; block++)
		nr += device->data[block] != 0;
	assert_int_equal(walk.nr, nr);
	assert_int_equal(info.mapped_blocks, nr);
	assert_int_equal(info.creation_time, device->created);
	assert_int_equal(info.snapshotted_time, device->snapped);
	assert_int_equal(info.transaction_id, device->transaction_id);
}

/* Contents; look-ups of all kinds are compared where a state goes on. */
static void compare(struct thinp_pool *pool, const struct model_content *content)
{
	struct thinp_pool_info info = {.size = sizeof(info)};

	thinp_pool_get_info(pool, &info);
	assert_int_equal(info.time, content->time);
	assert_int_equal(info.nr_data_blocks, content->nr_data);
	assert_int_equal(info.metadata_snap != 0, content->is_held);
	for (uint32_t id = 0; id < MODEL_DEVICES; id++)
		compare_device(pool, id, &content->devices[id]);
}

/* More commits on what the crash has left. */
static void go_on(struct crash_test *t, struct thinp_io *io, uint64_t number)
{
	struct pool_model *after = calloc(1, sizeof(*after));

	assert_non_null(after);
	after->io = io;
	after->opts = t->m.opts;
	after->stride = t->m.stride;
	after->rng = t->m.rng + number;
	after->committed = t->models[number];
	pool_model_reopen(after);
	pool_model_compare(after);
	for (int i = 0; i < 2; i++) {
		start(after);
		for (int n = 0; n < 12; n++)
			pool_model_change(after);
		pool_model_commit(after);
	}
	pool_model_reopen(after);
	pool_model_compare(after);
	thinp_pool_close(after->pool);
	free(after);
}

/* The crash came while the pool was made: there is none, or an empty one. */
static void check_unmade(struct crash_test *t, struct thinp_io *io)
{
	struct thinp_pool *pool = NULL;
	int r = thinp_pool_open(io, NULL, &pool);

	assert_true(r == 0 || r == THINP_EUNFORMATTED);
	if (!r)
		compare(pool, &t->models[0]);
	thinp_pool_close(pool);
}

static bool check_state(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_WRITABLE, .cache_blocks = CACHE};
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct crash_test *t = ctx;
	struct thinp_pool *pool;

	if (!state->has_mark) {
		check_unmade(t, io);
		return false;
	}
	assert_int_equal(thinp_pool_open(io, &opts, &pool), 0);
	thinp_pool_get_info(pool, &info);
	if (info.transaction_id < state->mark || info.transaction_id > state->mark + t->nr_ahead)
		fail_msg("%" PRIu64 " was promised, %" PRIu64 " is there", state->mark, info.transaction_id);
	compare(pool, &t->models[info.transaction_id]);
	thinp_pool_close(pool);
	meta_check_thin(io, NULL, NULL);
	if (state->number % 8 == 1)
		go_on(t, io, info.transaction_id);
	return info.transaction_id > state->mark;
}

static void TM_01_COW_22_every_crash_leaves_the_last_or_the_next_commit(void **state)
{
	uint64_t seed = random_begin(), nr_random;
	struct crash_test *t = begin_test(seed, crash_states_commits(40), NR_BLOCKS, NR_DATA);

	(void)state;
	run_workload(t);
	nr_random = crash_states_check(t->device.record, seed, crash_states_every(17), check_state, t);
	assert_true(nr_random >= crash_states_demand());
	end_test(t);
}

/* --- growth --- */

/* One after the other, and both at once; with changes that use what is new, and without. */
static void grow_once(struct crash_test *t, uint64_t nr_metadata, uint64_t nr_data, bool changes)
{
	struct pool_model *m = &t->m;

	start(m);
	if (changes)
		change_some(m);
	assert_int_equal(thinp_pool_grow_metadata(m->pool, nr_metadata), 0);
	assert_int_equal(thinp_pool_grow_data(m->pool, nr_data), 0);
	m->now.nr_data = nr_data;
	t->nr_metadata[m->now.transaction_id] = nr_metadata;
	if (changes)
		change_some(m);
	promise(t);
}

static bool check_growth(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct crash_test *t = ctx;
	struct thinp_pool *pool;
	bool is_ahead = check_state(ctx, io, state);

	if (!state->has_mark)
		return is_ahead;
	assert_int_equal(thinp_pool_open(io, NULL, &pool), 0);
	thinp_pool_get_info(pool, &info);
	if (state->number % 8 != 1) { /* else more was committed */
		assert_int_equal(info.nr_metadata_blocks, t->nr_metadata[info.transaction_id]);
		assert_int_equal(info.nr_data_blocks, t->models[info.transaction_id].nr_data);
	}
	thinp_pool_close(pool);
	return is_ahead;
}

static void TH_32_a_crash_while_a_pool_grows_leaves_the_old_sizes_or_the_new_ones(void **state)
{
	static const struct {
		uint64_t nr_metadata, nr_data;
		bool changes;
	} steps[] = {
		{NR_BLOCKS, NR_DATA, true},
		{NR_BLOCKS, NR_DATA + 1, false},
		{NR_BLOCKS, NR_DATA + 100, true},
		{NR_BLOCKS + 1, NR_DATA + 100, false},
		{NR_BLOCKS + 5, NR_DATA + 100, true},
		{NR_BLOCKS + 10, NR_DATA + 200, false},
		{GROWN, GROWN_DATA, true},
	};
	enum { NR_STEPS = sizeof(steps) / sizeof(steps[0]) };
	uint64_t nr_metadata[NR_STEPS + 2] = {NR_BLOCKS};
	uint64_t seed = random_begin();
	struct crash_test *t = begin_test(seed, NR_STEPS, NR_BLOCKS, NR_DATA);

	(void)state;
	t->nr_metadata = nr_metadata;
	for (size_t i = 0; i < NR_STEPS; i++)
		grow_once(t, steps[i].nr_metadata, steps[i].nr_data, steps[i].changes);
	crash_states_check(t->device.record, seed, crash_states_every(1), check_growth, t);
	end_test(t);
}

/* --- a commit that fails in its last step --- */

/* Blocks that the commit before has freed are used again: nothing that is free stays so. */
static void fill_up(struct pool_model *m)
{
	bool is_full = false;

	for (uint32_t device = 0; !is_full; device++) {
		assert_true(device < MODEL_DEVICES);
		if (!m->now.devices[device].is_there)
			is_full = pool_model_create(m, device);
		if (!is_full)
			is_full = pool_model_map_run(m, device, 0, MODEL_BLOCKS) ||
				  !m->now.devices[device].data[MODEL_BLOCKS - 1];
	}
}

static void replace_devices(struct pool_model *m, uint32_t first)
{
	start(m);
	for (uint32_t device = 0; device < MODEL_DEVICES; device++)
		if (m->now.devices[device].is_there)
			assert_int_equal(pool_model_delete(m, device), 0);
	for (uint32_t device = first; device < first + 4; device++) {
		assert_int_equal(pool_model_create(m, device), 0);
		assert_int_equal(pool_model_map_run(m, device, 0, 400), 0);
	}
}

static struct crash_test *begin_with_faults(void)
{
	struct crash_test *t = begin_test(0, 6, FULL_BLOCKS, FULL_DATA);

	for (uint32_t i = 0; i < 2; i++) {
		replace_devices(&t->m, i * 4);
		promise(t);
	}
	return t;
}

static void fail_commit(struct crash_test *t, uint32_t kinds, uint64_t nth)
{
	struct thinp_fault_rule rule = {.size = sizeof(rule), .kinds = kinds, .action = THINP_FAULT_FAIL, .nth = nth};

	if (kinds == THINP_FAULT_ON_WRITE)
		rule.end = 1; /* the superblock */
	assert_int_equal(thinp_fault_add(t->device.below, &rule, NULL), 0);
	assert_int_equal(thinp_pool_commit(t->m.pool), THINP_EUNKNOWN);
	assert_int_equal(thinp_pool_begin(t->m.pool), THINP_EUNKNOWN);
	assert_int_equal(thinp_pool_commit(t->m.pool), THINP_EINVAL);
	assert_int_equal(thinp_pool_status(t->m.pool), THINP_EINVAL);
	compare(t->m.pool, &t->m.committed); /* what can be read is the last commit */
	thinp_fault_clear(t->device.below);
}

static void TM_01_a_superblock_that_cannot_be_written_leaves_the_last_commit(void **state)
{
	struct crash_test *t = begin_with_faults();

	(void)state;
	replace_devices(&t->m, 8);
	fail_commit(t, THINP_FAULT_ON_WRITE, 1);
	pool_model_reopen(&t->m);
	pool_model_compare(&t->m);
	meta_check_thin(t->m.io, NULL, NULL);
	end_test(t);
}

/* The device forgets what it could not flush, and says so once. The commit is seen nevertheless, until the power goes. */
static void COW_11_what_a_failed_flush_lost_is_written_again_before_anything_else(void **state)
{
	struct crash_test *t = begin_with_faults();
	struct pool_model *m = &t->m;

	(void)state;
	t->nr_ahead = 2;
	replace_devices(m, 8);
	t->models[m->now.transaction_id] = m->now;
	fail_commit(t, THINP_FAULT_ON_FLUSH, 2);
	m->committed = m->now;
	pool_model_reopen(m);
	pool_model_compare(m);
	start(m);
	fill_up(m);
	promise(t);
	crash_states_check(t->device.record, 0, crash_states_every(4), check_state, t);
	end_test(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TM_01_COW_22_every_crash_leaves_the_last_or_the_next_commit),
		cmocka_unit_test(TH_32_a_crash_while_a_pool_grows_leaves_the_old_sizes_or_the_new_ones),
		cmocka_unit_test(TM_01_a_superblock_that_cannot_be_written_leaves_the_last_commit),
		cmocka_unit_test(COW_11_what_a_failed_flush_lost_is_written_again_before_anything_else),
	};

	return cmocka_run_group_tests_name("thin/change_crash", tests, NULL, NULL);
}
