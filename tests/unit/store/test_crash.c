/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/store/test_crash.c - CRASHALL, REFCHECK and PREVCHECK of the defect history: after a crash at any moment a store
 * opens as the last commit or as the next one, goes on from there, and can still go back to the one before.
 *
 * What the environment may say is in support/crash_states.h.
 */
#include "support/crash_states.h"
#include "support/store_world.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/base/random.h"

enum { NR_BLOCKS = 300, GROWN = 400, CACHE = 32, TIGHT = 190, TIGHT_ONE_SLOT = 140 };

struct crash_test {
	struct store_world world;
	struct store_model *models; /* by number of the transaction */
	bool *used[2];              /* by the last commit, and by the one before it */
	bool *used_by_view;
	struct thinp_view *view;
	uint64_t nr_commits;
	uint64_t nr_ahead;   /* commits that may be there although they were not promised */
	uint64_t next_entry; /* of the log, for PREVCHECK */
};

/* --- the workload --- */

static bool is_kept(const struct crash_test *t, uint64_t block)
{
	/* with one slot, the commit before the last cannot be opened any more */
	bool by_previous = t->world.format->nr_slots > 1 && t->used[1][block];

	return t->used[0][block] || by_previous || (t->view && t->used_by_view[block]);
}

static void prevcheck(struct crash_test *t)
{
	struct thinp_record *record = t->world.record;

	for (; t->next_entry < thinp_record_nr_entries(record); t->next_entry++) {
		struct thinp_record_entry e = {.size = sizeof(e)};

		assert_int_equal(thinp_record_get_entry(record, t->next_entry, &e), 0);
		for (uint64_t i = 0; e.kind == THINP_RECORD_WRITE && i < e.nr_blocks; i++)
			if (is_kept(t, e.block + i))
				fail_msg("entry %" PRIu64 " writes block %" PRIu64 ", which is needed", t->next_entry,
					 e.block + i);
	}
}

static void note_used(struct crash_test *t)
{
	bool *reused = t->used[1];

	t->used[1] = t->used[0];
	t->used[0] = reused;
	memset(reused, 0, GROWN);
	store_world_list_used(t->world.store, reused, t->world.store->last->maps.metadata.nr_blocks);
}

static void change_view(struct crash_test *t, uint64_t *rng)
{
	if (random_next(rng) % 8)
		return;
	thinp_view_close(t->view);
	t->view = NULL;
	if (random_next(rng) % 3 == 0)
		return;
	assert_int_equal(thinp_view_open(t->world.store, &t->view), 0);
	memcpy(t->used_by_view, t->used[0], GROWN);
}

/* As a program that was stopped and started between two transactions. */
static void reopen_now_and_then(struct crash_test *t, uint64_t *rng)
{
	if (random_next(rng) % 10)
		return;
	thinp_view_close(t->view);
	t->view = NULL;
	store_world_reopen(&t->world);
}

static void commit_once(struct crash_test *t, uint64_t *rng)
{
	struct store_world *w = &t->world;
	int r = store_world_change(w, rng);

	if (!r && w->now.number == t->nr_commits / 2)
		r = thinp_store_grow(w->store, GROWN);
	prevcheck(t);
	if (r == THINP_ENOSPC || (!r && random_next(rng) % 16 == 0)) {
		store_world_abort(w);
		return;
	}
	assert_int_equal(r, 0);
	t->models[w->now.number] = w->now;
	store_world_commit(w);
	prevcheck(t);
	assert_int_equal(thinp_record_mark(w->record, w->committed.number), 0);
	note_used(t);
	change_view(t, rng);
	reopen_now_and_then(t, rng);
}

static void run_workload(struct crash_test *t, uint64_t seed, const struct tp_store_format *format)
{
	struct thinp_store_opts opts = {.size = sizeof(opts), .cache_blocks = CACHE};
	uint64_t rng = seed;

	memset(t, 0, sizeof(*t));
	t->nr_ahead = 1;
	t->nr_commits = crash_states_commits(40);
	t->models = calloc(t->nr_commits + 2, sizeof(*t->models));
	t->used[0] = calloc(GROWN, sizeof(bool));
	t->used[1] = calloc(GROWN, sizeof(bool));
	t->used_by_view = calloc(GROWN, sizeof(bool));
	assert_true(t->models && t->used[0] && t->used[1] && t->used_by_view);
	store_world_begin(&t->world, NR_BLOCKS, &opts, format);
	assert_int_equal(thinp_record_mark(t->world.record, 0), 0);
	note_used(t);
	t->next_entry = thinp_record_nr_entries(t->world.record);
	while (t->world.committed.number < t->nr_commits)
		commit_once(t, &rng);
	thinp_view_close(t->view);
	t->view = NULL;
	store_world_check(t->world.store, &t->world.committed);
}

static void end_workload(struct crash_test *t)
{
	store_world_end(&t->world);
	free(t->models);
	free(t->used[0]);
	free(t->used[1]);
	free(t->used_by_view);
}

/* --- the states --- */

static uint64_t number_of(const struct thinp_store *store)
{
	uint8_t user[THINP_STORE_USER_SIZE];

	thinp_store_get_user(store, user);
	return tp_load_le64(user);
}

/* The store makes one more commit, most of it written early, and is opened again. */
static void go_on(struct store_world *after)
{
	store_world_start(after);
	assert_int_equal(store_world_remove(after, 100, 400), 0);
	assert_int_equal(store_world_insert(after, 200, 30), 0);
	store_world_commit(after);
	store_world_reopen(after);
	store_world_check(after->store, &after->committed);
}

/* What the commit before the last needs is still there although another transaction has written all it could. */
static void go_back(struct store_world *after, const struct store_model *before)
{
	uint8_t zeros[THINP_BLOCK_SIZE] __attribute__((aligned(THINP_BLOCK_SIZE))) = {0};
	uint64_t last = after->store->last->maps.commit;

	if (!after->store->has_previous) /* the crash came while its slot was written over */
		return;
	store_world_start(after);
	assert_int_equal(store_world_insert(after, 0, 300), 0);
	thinp_store_close(after->store);
	after->store = NULL;
	assert_int_equal(thinp_io_write(after->io, last % 2, 1, zeros), 0);
	after->committed = *before;
	store_world_reopen(after);
	store_world_check(after->store, before);
}

/* The crash came while the store was made: there is none, or an empty one. */
static void check_unmade(struct crash_test *t, struct thinp_io *io, const struct thinp_crash_state *state)
{
	struct store_world after = {.format = t->world.format, .opts = t->world.opts};
	int r = store_world_open_on(&after, io, 0, &after.store);

	assert_true(r == 0 || r == THINP_EUNFORMATTED || (r == THINP_ECORRUPT && state->nr_torn));
	if (!r)
		store_world_check(after.store, &t->models[0]);
	thinp_store_close(after.store);
}

static bool check_state(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	struct crash_test *t = ctx;
	struct store_world after = {.format = t->world.format, .opts = t->world.opts, .io = io};
	uint64_t number;

	if (!state->has_mark) {
		check_unmade(t, io, state);
		return false;
	}
	assert_int_equal(store_world_open_on(&after, io, 0, &after.store), 0);
	number = number_of(after.store);
	if (number < state->mark || number > state->mark + t->nr_ahead)
		fail_msg("%" PRIu64 " was promised, %" PRIu64 " is there", state->mark, number);
	after.committed = after.now = t->models[number];
	store_world_check(after.store, &after.committed);
	if (number && state->number % 3 == 1)
		go_on(&after);
	else if (number && state->number % 3 == 2 && after.format->nr_slots > 1)
		go_back(&after, &t->models[number - 1]);
	thinp_store_close(after.store);
	return number > state->mark;
}

static void crash_everywhere(const struct tp_store_format *format)
{
	struct crash_test *t = calloc(1, sizeof(*t));
	uint64_t seed = random_begin(), nr_random;

	assert_non_null(t);
	run_workload(t, seed, format);
	nr_random = crash_states_check(t->world.record, seed, crash_states_every(17), check_state, t);
	assert_true(nr_random >= crash_states_demand());
	end_workload(t);
	free(t);
}

static void TM_01_COW_22_every_crash_leaves_the_last_or_the_next_commit(void **state)
{
	(void)state;
	crash_everywhere(NULL);
}

static void TM_01_COW_22_every_crash_leaves_the_last_or_the_next_commit_with_one_slot(void **state)
{
	(void)state;
	crash_everywhere(&store_world_one_slot);
}

/* --- a flush that fails --- */

/* As store_world_begin(), but faults are below the log: it knows what a failed flush means. */
static void begin_over_faults(struct crash_test *t, const struct tp_store_format *format)
{
	struct thinp_io_opts memory = {.size = sizeof(memory),
				       .nr_blocks = format->nr_slots > 1 ? TIGHT : TIGHT_ONE_SLOT};
	struct store_world *w = &t->world;

	alloc_counting_init(&w->alloc);
	assert_int_equal(thinp_io_open_memory(&memory, &w->memory), 0);
	assert_int_equal(thinp_fault_create(w->memory, NULL, &w->fault), 0);
	assert_int_equal(thinp_fault_open(w->fault, NULL, &w->recorded), 0);
	assert_int_equal(thinp_record_create(w->recorded, NULL, &w->record), 0);
	assert_int_equal(thinp_record_open(w->record, NULL, &w->io), 0);
	w->format = format;
	w->opts =
		(struct thinp_store_opts){.size = sizeof(w->opts), .cache_blocks = CACHE, .allocator = &w->alloc.table};
	assert_int_equal(store_world_open_on(w, w->io, THINP_STORE_CREATE, &w->store), 0);
}

static void end_over_faults(struct store_world *w)
{
	thinp_store_close(w->store);
	alloc_counting_check(&w->alloc);
	thinp_io_close(w->io);
	thinp_record_destroy(w->record);
	thinp_io_close(w->recorded);
	thinp_fault_destroy(w->fault);
	thinp_io_close(w->memory);
}

static void change_much(struct crash_test *t, uint64_t first, uint64_t nr)
{
	struct store_world *w = &t->world;

	store_world_start(w);
	assert_int_equal(store_world_remove(w, 0, STORE_KEYS - 1), 0);
	assert_int_equal(store_world_insert(w, first, nr), 0);
	t->models[w->now.number] = w->now;
}

/* Nothing that is free stays so: blocks that the commit before has freed are used again. */
static void change_all(struct crash_test *t)
{
	struct store_world *w = &t->world;
	int r = 0;

	store_world_start(w);
	assert_int_equal(store_world_remove(w, 0, STORE_KEYS - 1), 0);
	for (uint64_t key = 0; !r; key++) {
		assert_true(key < STORE_KEYS);
		r = store_world_insert(w, key, 1);
	}
	assert_int_equal(r, THINP_ENOSPC);
	t->models[w->now.number] = w->now;
}

static void promise(struct crash_test *t)
{
	store_world_commit(&t->world);
	assert_int_equal(thinp_record_mark(t->world.record, t->world.committed.number), 0);
}

/* The device forgets what it could not flush, and says so once. The commit is seen nevertheless, until the power goes. */
static void fail_last_flush(struct crash_test *t)
{
	struct thinp_fault_rule rule = {
		.size = sizeof(rule), .kinds = THINP_FAULT_ON_FLUSH, .action = THINP_FAULT_FAIL, .nth = 2};
	struct store_world *w = &t->world;

	assert_int_equal(thinp_fault_add(w->fault, &rule, NULL), 0);
	assert_int_equal(thinp_store_commit(w->store), THINP_EUNKNOWN);
	w->committed = w->now;
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

static void flush_fails(const struct tp_store_format *format)
{
	struct crash_test *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->models = calloc(8, sizeof(*t->models));
	assert_non_null(t->models);
	t->nr_ahead = 2;
	begin_over_faults(t, format);
	assert_int_equal(thinp_record_mark(t->world.record, 0), 0);
	for (uint64_t i = 0; i < 3; i++) {
		change_much(t, i * 100, 500);
		promise(t);
	}
	change_much(t, 500, 500);
	fail_last_flush(t);
	change_all(t);
	promise(t);
	crash_states_check(t->world.record, 0, crash_states_every(4), check_state, t);
	end_over_faults(&t->world);
	free(t->models);
	free(t);
}

static void COW_11_what_a_failed_flush_lost_is_written_again_before_anything_else(void **state)
{
	(void)state;
	flush_fails(&tp_store_own_format);
}

static void COW_11_what_a_failed_flush_lost_is_written_again_with_one_slot(void **state)
{
	(void)state;
	flush_fails(&store_world_one_slot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TM_01_COW_22_every_crash_leaves_the_last_or_the_next_commit),
		cmocka_unit_test(TM_01_COW_22_every_crash_leaves_the_last_or_the_next_commit_with_one_slot),
		cmocka_unit_test(COW_11_what_a_failed_flush_lost_is_written_again_before_anything_else),
		cmocka_unit_test(COW_11_what_a_failed_flush_lost_is_written_again_with_one_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
