/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/store/test_failing.c - ERRLOOP and OOMLOOP of the defect history over each change of a store, its commit and its abort,
 * with two slots and with one: the n-th allocation, read, write or flush fails, alone or with all that come after it.
 */
#include "support/store_world.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NR_BLOCKS = 300, CACHE = 16, NR_KEYS = 150, NEW_KEY = 500 };

static struct store_world world, *const w = &world;

/* --- what is done --- */

static int insert(void)
{
	return store_world_insert(w, NEW_KEY, 1);
}

static int overwrite(void)
{
	return store_world_insert(w, NR_KEYS / 2, 1);
}

static int remove_range(void)
{
	return store_world_remove(w, 20, 90);
}

static int take_snapshot(void)
{
	return store_world_snapshot(w);
}

static int drop_snapshot(void)
{
	return store_world_drop_snapshot(w);
}

static int drop_tree(void)
{
	return store_world_drop_tree(w);
}

static int raise_counts(void)
{
	return store_world_count_data(w, 10, 100, 1);
}

static int lower_counts(void)
{
	return store_world_count_data(w, 50, 20, -1);
}

static int grow(void)
{
	return thinp_store_grow(w->store, store_world_info(w->store).nr_blocks + 1);
}

static int change_all(void)
{
	int (*const changes[])(void) = {insert, overwrite, remove_range, lower_counts, drop_snapshot, take_snapshot};
	int r = 0;

	for (size_t i = 0; !r && i < sizeof(changes) / sizeof(changes[0]); i++)
		r = changes[i]();
	return r;
}

static int commit(void)
{
	return thinp_store_commit(w->store);
}

static int abort_all(void)
{
	return thinp_store_abort(w->store);
}

static int make_map(void)
{
	return store_world_add_map(w);
}

static const struct action {
	int (*run)(void);
	int (*before)(void); /* done before it, with nothing failing */
	bool is_whole;       /* when it fails without a mark, nothing was changed, and it may be tried again */
} actions[] = {
	{.run = insert, .is_whole = true},
	{.run = overwrite, .is_whole = true},
	{.run = remove_range, .is_whole = true},
	{.run = drop_snapshot, .is_whole = true},
	{.run = drop_tree, .is_whole = true},
	{.run = raise_counts, .is_whole = true},
	{.run = lower_counts, .is_whole = true},
	{.run = grow, .is_whole = true},
	{.run = make_map, .is_whole = true},
	{.run = take_snapshot},
	{.run = change_all},
	{.run = commit, .before = change_all},
	{.run = abort_all, .before = change_all},
};
#define NR_ACTIONS (sizeof(actions) / sizeof(actions[0]))

/* --- what fails --- */

/* The code, and whether anything was made to fail. Kind 0: an allocation. */
static int run_with_failure(const struct action *action, uint32_t kind, uint64_t nth, bool goes_on, bool *has_failed)
{
	const struct thinp_fault_rule rule = {.size = sizeof(rule),
					      .kinds = kind,
					      .action = THINP_FAULT_FAIL,
					      .nth = nth,
					      .times = goes_on ? THINP_FAULT_ALWAYS : 1};
	uint64_t id = 0, matched, fired = 0;
	int r;

	if (kind)
		assert_int_equal(thinp_fault_add(w->fault, &rule, &id), 0);
	else
		(goes_on ? alloc_counting_fail_from : alloc_counting_fail)(&w->alloc, nth);
	r = action->run();
	if (kind)
		assert_int_equal(thinp_fault_get_counts(w->fault, id, &matched, &fired), 0);
	*has_failed = kind ? fired : alloc_counting_has_failed(&w->alloc);
	alloc_counting_fail(&w->alloc, 0);
	thinp_fault_clear(w->fault);
	return r;
}

/* --- what must come of it --- */

static void expect_marked(void)
{
	const uint8_t user[THINP_STORE_USER_SIZE] = {0};

	assert_int_equal(thinp_store_commit(w->store), THINP_EMUSTABORT);
	assert_int_equal(insert(), THINP_EMUSTABORT);
	assert_int_equal(grow(), THINP_EMUSTABORT);
	assert_int_equal(thinp_store_add_map(w->store, 3, 10), THINP_EMUSTABORT);
	assert_int_equal(thinp_store_set_root(w->store, 5, 10), THINP_EMUSTABORT);
	assert_int_equal(thinp_store_set_user(w->store, user), THINP_EMUSTABORT);
	w->now = w->committed;
}

/* A change has failed: it goes on, or must be aborted. */
static void end_change(const struct action *action)
{
	bool is_marked = thinp_tm_status(thinp_store_tm(w->store));

	if (is_marked)
		expect_marked();
	else if (action->is_whole)
		assert_int_equal(action->run(), 0);
	if (!is_marked && action->is_whole)
		store_world_commit(w);
	else
		store_world_abort(w);
	store_world_check(w->store, &w->committed);
}

static uint64_t number_of(const struct thinp_store *store)
{
	uint8_t user[THINP_STORE_USER_SIZE];

	thinp_store_get_user(store, user);
	return tp_load_le64(user);
}

/* Nobody knows; until the store is opened again, it shows the last commit. */
static void end_unknown(void)
{
	struct store_model next = w->now;

	assert_int_equal(thinp_store_begin(w->store), THINP_EUNKNOWN);
	assert_int_equal(thinp_store_abort(w->store), 0);
	store_world_check(w->store, &w->committed);
	thinp_store_close(w->store);
	assert_int_equal(store_world_open_on(w, w->io, 0, &w->store), 0);
	if (number_of(w->store) == next.number)
		w->committed = next;
}

static void end_abort(int r)
{
	assert_int_equal(thinp_store_begin(w->store), r ? THINP_EIO : 0);
	assert_int_equal(thinp_store_abort(w->store), 0);
}

static void end_attempt(const struct action *action, int r)
{
	if (action->run == abort_all)
		end_abort(r);
	else if (r == THINP_EUNKNOWN)
		end_unknown();
	else if (r)
		end_change(action);
	else if (action->run == commit)
		w->committed = w->now;
	else
		store_world_commit(w);
}

/* A tree, a snapshot that shares some of it, counts; and nothing in the cache. */
static void begin_world(const struct tp_store_format *format, bool with_map)
{
	const struct thinp_store_opts opts = {.size = sizeof(opts), .cache_blocks = CACHE};

	store_world_begin(w, NR_BLOCKS, &opts, format);
	store_world_commit_some(w, 0, NR_KEYS);
	store_world_start(w);
	assert_int_equal(store_world_snapshot(w), 0);
	assert_int_equal(store_world_insert(w, 30, 20), 0);
	if (with_map)
		assert_int_equal(store_world_add_map(w), 0);
	for (int i = 0; with_map && i < 3; i++)
		assert_int_equal(store_world_count_data(w, 0, STORE_DATA, 1), 0);
	store_world_commit(w);
	store_world_reopen(w);
}

struct tally {
	uint64_t nr_failed, nr_unknown_last, nr_unknown_next;
};

static void note(struct tally *tally, int r, bool is_next)
{
	tally->nr_failed += r != 0;
	tally->nr_unknown_last += r == THINP_EUNKNOWN && !is_next;
	tally->nr_unknown_next += r == THINP_EUNKNOWN && is_next;
}

static bool attempt(const struct action *action, uint32_t kind, uint64_t nth, bool goes_on, struct tally *tally)
{
	uint64_t number;
	bool has_failed;
	int r;

	store_world_start(w);
	number = w->now.number;
	if (action->before)
		assert_int_equal(action->before(), 0);
	r = run_with_failure(action, kind, nth, goes_on, &has_failed);
	assert_true(!r || has_failed);
	if (r == THINP_EUNKNOWN)
		assert_ptr_equal(action->run, commit);
	else if (r)
		assert_int_equal(r, kind ? THINP_EIO : THINP_ENOMEM);
	end_attempt(action, r);
	note(tally, r, w->committed.number == number);
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
	return has_failed;
}

static void fail_everything(const struct tp_store_format *format, uint32_t kind, bool goes_on)
{
	struct tally tally = {0};

	for (size_t i = 0; i < NR_ACTIONS; i++) {
		bool has_failed = true;

		for (uint64_t nth = 1; has_failed; nth++) {
			begin_world(format, actions[i].run != make_map);
			has_failed = attempt(&actions[i], kind, nth, goes_on, &tally);
			store_world_end(w);
		}
	}
	print_message("%" PRIu64 " failures; of unknown ends %" PRIu64 " were the last commit, %" PRIu64 " the next\n",
		      tally.nr_failed, tally.nr_unknown_last, tally.nr_unknown_next);
	assert_true(tally.nr_failed > 0);
	if (kind == THINP_FAULT_ON_WRITE)
		assert_true(tally.nr_unknown_last > 0);
	if (kind == THINP_FAULT_ON_FLUSH)
		assert_true(tally.nr_unknown_next > 0);
}

static void fail_with_both_formats(uint32_t kind)
{
	for (int goes_on = 0; goes_on < 2; goes_on++) {
		fail_everything(&tp_store_own_format, kind, goes_on);
		fail_everything(&store_world_one_slot, kind, goes_on);
	}
}

static void OOMLOOP_any_allocation(void **state)
{
	(void)state;
	fail_with_both_formats(0);
}

static void ERRLOOP_any_read(void **state)
{
	(void)state;
	fail_with_both_formats(THINP_FAULT_ON_READ);
}

static void ERRLOOP_TM_01_any_write(void **state)
{
	(void)state;
	fail_with_both_formats(THINP_FAULT_ON_WRITE);
}

static void ERRLOOP_TM_01_any_flush(void **state)
{
	(void)state;
	fail_with_both_formats(THINP_FAULT_ON_FLUSH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(OOMLOOP_any_allocation),
		cmocka_unit_test(ERRLOOP_any_read),
		cmocka_unit_test(ERRLOOP_TM_01_any_write),
		cmocka_unit_test(ERRLOOP_TM_01_any_flush),
	};

	return cmocka_run_group_tests_name("store/failing", tests, NULL, NULL);
}
