/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/store/test_copy_crash.c - a crash while a view is copied: on the device of the copy there is no store, what was there
 * before, an empty store, or the whole copy; never part of one.
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

#include <cmocka.h>

#include "unit/base/random.h"

enum { NR_BLOCKS = 400, NOTHING_DONE = 0, COPIED = 1, TAKEN_BACK = 2 };

static const struct thinp_copy_root roots[] = {
	{.index = 0, .kind = THINP_ROOT_TREE, .nr_levels = 1, .value_size = STORE_VALUE_SIZE},
	{.index = 1, .kind = THINP_ROOT_TREE, .nr_levels = 1, .value_size = STORE_VALUE_SIZE},
};

struct copy_test {
	struct store_world from;
	struct store_world to; /* its store is NULL; models: of what is on the device already */
	struct store_model none;
	struct store_model before; /* the commit before the last of what is on the device already */
	uint64_t nr_copies, nr_old, nr_empty, nr_unformatted;
};

/* --- the source, and what is there before --- */

static void fill(struct store_world *w, uint64_t number, uint64_t first)
{
	w->committed.number = number;
	store_world_start(w);
	assert_int_equal(store_world_insert(w, first, 700), 0);
	assert_int_equal(store_world_snapshot(w), 0);
	assert_int_equal(store_world_remove(w, first + 50, first + 60), 0);
	store_world_commit(w);
}

static void fill_source(struct copy_test *t)
{
	struct store_world *w = &t->from;

	fill(w, 1000, 0);
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 100, 20), 0);
	assert_int_equal(store_world_add_map(w), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(store_world_count_data(w, 30, 50, 1), 0);
	store_world_commit(w);
}

/* Commits until the last one uses what a new store would write first. */
static void fill_target(struct copy_test *t)
{
	struct store_world *w = &t->to;
	bool is_used[NR_BLOCKS] = {false};

	fill(w, 2000, 0);
	for (uint64_t i = 0; !is_used[3] || !is_used[4]; i++) {
		assert_true(i < 500);
		t->before = w->committed;
		store_world_start(w);
		assert_int_equal(store_world_insert(w, i * 67 % 900, 40), 0);
		store_world_commit(w);
		store_world_list_used(w->store, is_used, NR_BLOCKS);
	}
	store_world_check(w->store, &w->committed);
}

static struct copy_test *begin_test(bool is_old)
{
	const struct thinp_store_opts opts = {.size = sizeof(opts)};
	struct copy_test *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	store_world_begin(&t->from, NR_BLOCKS, &opts, NULL);
	fill_source(t);
	store_world_begin(&t->to, NR_BLOCKS, &opts, NULL);
	if (is_old)
		fill_target(t);
	thinp_store_close(t->to.store);
	t->to.store = NULL;
	return t;
}

/* A log that begins with what is there. */
static void restart_log(struct store_world *w, bool is_old)
{
	static const _Alignas(THINP_BLOCK_SIZE) uint8_t zeros[2 * THINP_BLOCK_SIZE];

	if (!is_old)
		assert_int_equal(thinp_io_write(w->memory, 0, 2, zeros), 0);
	thinp_io_close(w->io);
	thinp_fault_destroy(w->fault);
	thinp_io_close(w->recorded);
	thinp_record_destroy(w->record);
	assert_int_equal(thinp_record_create(w->memory, NULL, &w->record), 0);
	assert_int_equal(thinp_record_open(w->record, NULL, &w->recorded), 0);
	assert_int_equal(thinp_fault_create(w->recorded, NULL, &w->fault), 0);
	assert_int_equal(thinp_fault_open(w->fault, NULL, &w->io), 0);
	assert_int_equal(thinp_record_mark(w->record, NOTHING_DONE), 0);
}

static void end_test(struct copy_test *t)
{
	store_world_end(&t->to);
	store_world_end(&t->from);
	free(t);
}

/* --- the states --- */

static void check_copy(struct copy_test *t, struct store_world *after)
{
	store_world_check(after->store, &t->from.committed);
	after->committed = t->from.committed;
	if (t->nr_copies++ % 4)
		return;
	store_world_start(after);
	assert_int_equal(store_world_remove(after, 100, 500), 0);
	store_world_commit(after);
	store_world_reopen(after);
	store_world_check(after->store, &after->committed);
}

static uint64_t number_of(const struct thinp_store *store)
{
	uint8_t user[THINP_STORE_USER_SIZE];

	thinp_store_get_user(store, user);
	return tp_load_le64(user);
}

/* Is the copy there? */
static bool check_store(struct copy_test *t, struct store_world *after, const struct thinp_crash_state *state)
{
	uint64_t number = number_of(after->store);

	if (number == t->from.committed.number) {
		check_copy(t, after);
		return true;
	}
	assert_int_not_equal(state->mark, COPIED);
	if (!number) {
		t->nr_empty++;
		store_world_check(after->store, &t->none);
		return false;
	}
	t->nr_old++;
	store_world_check(after->store, number == t->before.number ? &t->before : &t->to.committed);
	return false;
}

static bool check_state(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	struct copy_test *t = ctx;
	struct store_world after = {.format = t->to.format, .opts = t->to.opts, .io = io};
	int r = store_world_open_on(&after, io, 0, &after.store);
	bool is_copy;

	if (r) {
		assert_int_not_equal(state->mark, COPIED);
		assert_true(r == THINP_EUNFORMATTED || (r == THINP_ECORRUPT && state->nr_torn));
		t->nr_unformatted++;
		return false;
	}
	assert_int_not_equal(state->mark, TAKEN_BACK);
	is_copy = check_store(t, &after, state);
	thinp_store_close(after.store);
	return is_copy && state->mark == NOTHING_DONE;
}

static void tell(const struct copy_test *t)
{
	print_message("%" PRIu64 " copies, %" PRIu64 " of what was there, %" PRIu64 " empty, %" PRIu64 " none\n",
		      t->nr_copies, t->nr_old, t->nr_empty, t->nr_unformatted);
}

static int copy(struct copy_test *t, int (*progress)(void *, uint64_t, uint64_t))
{
	const struct thinp_copy_opts opts = {.size = sizeof(opts),
					     .roots = roots,
					     .nr_roots = 2,
					     .flags = THINP_STORE_OVERWRITE,
					     .cache_blocks = 32,
					     .progress = progress};
	struct thinp_view *view;
	int r;

	assert_int_equal(thinp_view_open(t->from.store, &view), 0);
	r = thinp_view_copy(view, t->to.io, &opts);
	thinp_view_close(view);
	return r;
}

static void copy_and_crash(bool is_old)
{
	struct copy_test *t = begin_test(is_old);
	uint64_t seed = random_begin();

	restart_log(&t->to, is_old);
	assert_int_equal(copy(t, NULL), 0);
	assert_int_equal(thinp_record_mark(t->to.record, COPIED), 0);
	crash_states_check(t->to.record, seed, crash_states_every(1), check_state, t);
	tell(t);
	assert_true(t->nr_copies && t->nr_empty && t->nr_unformatted);
	assert_true(!is_old || t->nr_old);
	end_test(t);
}

static void a_crash_leaves_the_whole_copy_or_nothing_of_it(void **state)
{
	(void)state;
	copy_and_crash(false);
}

static void a_crash_leaves_the_whole_copy_or_nothing_of_it_where_another_store_was(void **state)
{
	(void)state;
	copy_and_crash(true);
}

static int give_up(void *ctx, uint64_t nr_copied, uint64_t nr_blocks)
{
	(void)ctx, (void)nr_copied, (void)nr_blocks;
	return 77;
}

static void a_copy_that_was_given_up_is_nowhere(void **state)
{
	struct copy_test *t = begin_test(false);
	struct thinp_crash_opts opts = {.size = sizeof(opts), .seed = random_begin(), .nr_random = 16};
	struct thinp_crash_state which = {.size = sizeof(which)};
	struct thinp_crash *crash;
	struct thinp_io *io;

	(void)state;
	restart_log(&t->to, false);
	assert_int_equal(copy(t, give_up), 77);
	assert_int_equal(thinp_record_mark(t->to.record, TAKEN_BACK), 0);
	assert_int_equal(thinp_crash_create(t->to.record, &opts, &crash), 0);
	while (!thinp_crash_next(crash, &io)) {
		assert_int_equal(thinp_crash_get_state(crash, &which), 0);
		check_state(t, io, &which);
	}
	tell(t);
	assert_int_equal(t->nr_copies, 0);
	assert_true(t->nr_empty && t->nr_unformatted);
	thinp_crash_destroy(crash);
	end_test(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_crash_leaves_the_whole_copy_or_nothing_of_it),
		cmocka_unit_test(a_crash_leaves_the_whole_copy_or_nothing_of_it_where_another_store_was),
		cmocka_unit_test(a_copy_that_was_given_up_is_nowhere),
	};

	return cmocka_run_group_tests_name("store/copy_crash", tests, NULL, NULL);
}
