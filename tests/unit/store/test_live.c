/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "store/store.h"

#include <thinp/btree.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { NR_BLOCKS = 2048, NR_LOOKERS = 3, NR_KEYS = 600, NR_ROUNDS = 300 };

static const struct thinp_btree_type tree_type = {.size = sizeof(tree_type), .nr_levels = 1, .value_size = 8};

struct fixture {
	struct thinp_io *io;
	struct thinp_store *store;
};

static int open_store(struct fixture *f, uint32_t flags)
{
	const struct thinp_store_opts opts = {.size = sizeof(opts), .flags = flags, .cache_blocks = 64};

	return thinp_store_open(f->io, &opts, &f->store);
}

static int set_up(void **state)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = NR_BLOCKS};
	static struct fixture f;

	f = (struct fixture){0};
	*state = &f;
	return thinp_io_open_memory(&opts, &f.io) || open_store(&f, THINP_STORE_CREATE | THINP_STORE_LIVE);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	thinp_store_close(f->store);
	thinp_io_close(f->io);
	return 0;
}

static void reopen(struct fixture *f, uint32_t flags)
{
	thinp_store_close(f->store);
	f->store = NULL;
	assert_int_equal(open_store(f, flags), 0);
}

/* --- what is seen --- */

static void begin_tree(struct fixture *f)
{
	thinp_block_t root;

	assert_int_equal(thinp_store_begin(f->store), 0);
	assert_int_equal(thinp_btree_create(thinp_store_tm(f->store), &tree_type, &root), 0);
	assert_int_equal(thinp_store_set_root(f->store, 0, root), 0);
}

static void put(struct fixture *f, uint32_t index, uint64_t key, uint64_t value)
{
	thinp_block_t root;

	thinp_store_change_begin(f->store);
	assert_int_equal(thinp_store_get_root(f->store, index, &root), 0);
	assert_int_equal(thinp_btree_insert(thinp_store_tm(f->store), &tree_type, root, &key, &value, &root, NULL), 0);
	assert_int_equal(thinp_store_set_root(f->store, index, root), 0);
	thinp_store_change_end(f->store);
}

static int look_up(struct fixture *f, uint64_t key, uint64_t *value)
{
	struct thinp_reader *reader;
	thinp_block_t root;
	int r = thinp_store_live_begin(f->store, &reader);

	if (r)
		return r;
	assert_int_equal(thinp_store_get_root(f->store, 0, &root), 0);
	r = root ? thinp_btree_lookup(reader, &tree_type, root, &key, value) : THINP_ENODATA;
	thinp_store_live_end(f->store);
	return r;
}

static void what_is_not_committed_is_seen(void **state)
{
	struct fixture *f = *state;
	uint64_t value = 0;

	begin_tree(f);
	put(f, 0, 7, 70);
	assert_int_equal(look_up(f, 7, &value), 0);
	assert_int_equal(value, 70);
	put(f, 0, 7, 71);
	assert_int_equal(look_up(f, 7, &value), 0);
	assert_int_equal(value, 71);
	assert_int_equal(look_up(f, 8, &value), THINP_ENODATA);
}

static void after_an_abort_the_last_commit_is_seen(void **state)
{
	struct fixture *f = *state;
	uint64_t value = 0;

	begin_tree(f);
	put(f, 0, 7, 70);
	assert_int_equal(thinp_store_commit(f->store), 0);
	assert_int_equal(look_up(f, 7, &value), 0);
	assert_int_equal(thinp_store_begin(f->store), 0);
	put(f, 0, 7, 71);
	assert_int_equal(thinp_store_abort(f->store), 0);
	assert_int_equal(look_up(f, 7, &value), 0);
	assert_int_equal(value, 70);
}

static void a_grown_store_is_seen_to_its_end(void **state)
{
	struct fixture *f = *state;
	struct thinp_reader *reader;

	assert_int_equal(thinp_store_begin(f->store), 0);
	assert_int_equal(thinp_store_grow(f->store, NR_BLOCKS + 100), 0);
	assert_int_equal(thinp_store_live_begin(f->store, &reader), 0);
	assert_int_equal(thinp_reader_nr_blocks(reader), NR_BLOCKS + 100);
	thinp_store_live_end(f->store);
}

static void without_the_flag_it_is_refused(void **state)
{
	struct thinp_reader *reader = NULL;
	struct fixture *f = *state;

	reopen(f, 0);
	assert_int_equal(thinp_store_live_begin(f->store, &reader), THINP_EINVAL);
	assert_null(reader);
	thinp_store_change_begin(f->store); /* does nothing */
	thinp_store_change_end(f->store);
}

static void the_flag_does_not_go_with_read_only(void **state)
{
	struct fixture *f = *state;

	thinp_store_close(f->store);
	f->store = NULL;
	assert_int_equal(open_store(f, THINP_STORE_READ_ONLY | THINP_STORE_LIVE), THINP_EINVAL);
	assert_int_equal(open_store(f, THINP_STORE_READ_ONLY), 0);
	thinp_store_change_begin(f->store); /* nothing can change, and nothing happens */
	thinp_store_change_end(f->store);
}

static void a_change_that_failed_half_way_is_not_shown(void **state)
{
	struct fixture *f = *state;
	uint64_t value;

	begin_tree(f);
	thinp_tm_poison(thinp_store_tm(f->store), THINP_EIO);
	assert_int_equal(look_up(f, 7, &value), THINP_EMUSTABORT);
	assert_int_equal(thinp_store_abort(f->store), 0);
	assert_int_equal(look_up(f, 7, &value), THINP_ENODATA);
}

/* What the states of a store that can only be closed answer; how it comes to them is tested elsewhere. */
static void a_store_that_can_only_be_closed_is_not_shown(void **state)
{
	struct fixture *f = *state;
	uint64_t value;

	f->store->state = TP_STORE_UNKNOWN;
	assert_int_equal(look_up(f, 7, &value), THINP_EUNKNOWN);
	f->store->state = TP_STORE_LOST;
	assert_int_equal(look_up(f, 7, &value), THINP_ESTALE);
	f->store->state = TP_STORE_FAILED;
	assert_int_equal(look_up(f, 7, &value), THINP_EIO);
	assert_int_equal(f->store->live.nr_looking, 0);
	f->store->state = TP_STORE_IDLE;
}

/* --- every change is made behind the gate, and every gate is opened again --- */

static uint64_t nr_changes(const struct fixture *f)
{
	assert_false(f->store->live.is_changing);
	return f->store->live.nr_changes;
}

/* Evaluates a call that must be one change, as seen from the other side of the gate. */
#define ONE_CHANGE(f, call, result)                                                                                    \
	do {                                                                                                           \
		uint64_t before_ = nr_changes(f);                                                                      \
		assert_int_equal(call, result);                                                                        \
		assert_int_equal(nr_changes(f), before_ + 1);                                                          \
	} while (0)

static void every_change_of_a_tree_is_one_change(void **state)
{
	struct fixture *f = *state;
	struct thinp_tm *tm = thinp_store_tm(f->store);
	uint64_t keys[NR_KEYS], values[NR_KEYS], last = NR_KEYS - 1;
	thinp_block_t root;

	for (uint64_t i = 0; i < NR_KEYS; i++)
		keys[i] = values[i] = i;
	ONE_CHANGE(f, thinp_store_begin(f->store), 0);
	ONE_CHANGE(f, thinp_btree_create(tm, &tree_type, &root), 0);
	ONE_CHANGE(f, thinp_btree_insert(tm, &tree_type, root, &last, &last, &root, NULL), 0);
	ONE_CHANGE(f, thinp_btree_insert_many(tm, &tree_type, root, keys, values, NR_KEYS, &root, NULL), 0);
	ONE_CHANGE(f, thinp_btree_remove(tm, &tree_type, root, &keys[5], &root), 0);
	ONE_CHANGE(f, thinp_btree_remove(tm, &tree_type, root, &keys[5], &root), THINP_ENODATA);
	ONE_CHANGE(f, thinp_btree_remove_range(tm, &tree_type, root, &keys[9], &last, 0, &root, NULL, NULL), 0);
	ONE_CHANGE(f, thinp_tm_inc(tm, root, 1, THINP_CAUSE_USER), 0);
	ONE_CHANGE(f, thinp_tm_dec(tm, root, 1, THINP_CAUSE_USER), 0);
	ONE_CHANGE(f, thinp_store_set_root(f->store, 0, root), 0);
	ONE_CHANGE(f, thinp_store_commit(f->store), 0);
	ONE_CHANGE(f, thinp_store_begin(f->store), 0);
	ONE_CHANGE(f, thinp_btree_del(tm, &tree_type, root), 0);
	ONE_CHANGE(f, thinp_store_abort(f->store), 0);
}

static void every_step_of_a_loader_is_one_change(void **state)
{
	struct fixture *f = *state;
	struct thinp_tm *tm = thinp_store_tm(f->store);
	struct thinp_btree_loader *loader;
	uint64_t keys[NR_KEYS], before;
	thinp_block_t root;

	for (uint64_t i = 0; i < NR_KEYS; i++)
		keys[i] = i;
	assert_int_equal(thinp_store_begin(f->store), 0);
	assert_int_equal(thinp_btree_loader_create(tm, &tree_type, &loader), 0);
	ONE_CHANGE(f, thinp_btree_loader_add(loader, keys, keys, NR_KEYS), 0);
	ONE_CHANGE(f, thinp_btree_loader_finish(loader, &root), 0);
	thinp_btree_loader_destroy(loader);
	assert_int_equal(thinp_btree_loader_create(tm, &tree_type, &loader), 0);
	assert_int_equal(thinp_btree_loader_add(loader, keys, keys, NR_KEYS), 0);
	before = nr_changes(f);
	thinp_btree_loader_destroy(loader); /* drops what was loaded */
	assert_int_equal(nr_changes(f), before + 1);
}

static void a_block_is_being_changed_until_it_is_unlocked(void **state)
{
	struct fixture *f = *state;
	struct thinp_tm *tm = thinp_store_tm(f->store);
	const struct thinp_block_type *type = thinp_block_type_node();
	struct thinp_buffer *buffer;
	thinp_block_t block;
	bool inc_children;
	void *data;

	assert_int_equal(thinp_store_begin(f->store), 0);
	assert_int_equal(thinp_tm_new_block(tm, type, THINP_CAUSE_NEW, &block, &buffer, &data), 0);
	assert_true(f->store->live.is_changing);
	thinp_tm_unlock(tm, buffer);
	thinp_tm_unlock(tm, NULL);
	assert_int_equal(
		thinp_tm_shadow_block(tm, block, type, THINP_CAUSE_SHADOW, &block, &buffer, &data, &inc_children), 0);
	assert_true(f->store->live.is_changing);
	thinp_tm_unlock(tm, buffer);
	assert_int_equal(thinp_tm_shadow_block(tm, NR_BLOCKS + 1, type, THINP_CAUSE_SHADOW, &block, &buffer, &data,
					       &inc_children),
			 THINP_ECORRUPT);
	assert_false(f->store->live.is_changing);
}

static void changes_in_brackets_are_one_change(void **state)
{
	struct fixture *f = *state;
	uint64_t before;

	begin_tree(f);
	before = nr_changes(f);
	thinp_store_change_begin(f->store);
	put(f, 0, 1, 1);
	put(f, 0, 2, 2);
	assert_true(f->store->live.is_changing);
	thinp_store_change_end(f->store);
	assert_int_equal(nr_changes(f), before + 1);
}

/* --- turns --- */

static void *look_once(void *ctx)
{
	struct tp_live *live = ctx;

	tp_live_look_begin(live);
	tp_live_look_end(live);
	return NULL;
}

static void *change_once(void *ctx)
{
	struct tp_live *live = ctx;

	live->gate.close(live);
	live->gate.open(live);
	return NULL;
}

/* Waits until another thread has got to where it must wait. */
static void wait_until(struct tp_live *live, uint64_t nr_waiting, bool is_change_coming)
{
	bool is_so = false;

	while (!is_so) {
		sched_yield();
		pthread_mutex_lock(&live->mutex);
		is_so = live->nr_waiting == nr_waiting && live->is_change_coming == is_change_coming;
		pthread_mutex_unlock(&live->mutex);
	}
}

static struct thinp_sm *const no_map = NULL; /* whose thresholds would be told */

static void who_comes_after_a_change_waits_for_it(void **state)
{
	pthread_t writer, looker;
	struct tp_live live;

	(void)state;
	tp_live_init(&live, &no_map);
	tp_live_look_begin(&live);
	assert_int_equal(pthread_create(&writer, NULL, change_once, &live), 0);
	wait_until(&live, 0, true);
	assert_int_equal(pthread_create(&looker, NULL, look_once, &live), 0);
	wait_until(&live, 1, true); /* we still look, yet nobody else is let in */
	tp_live_look_end(&live);
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_int_equal(pthread_join(looker, NULL), 0);
	assert_int_equal(live.nr_looking, 0);
	tp_live_destroy(&live);
}

static void who_waited_for_a_change_looks_before_the_next(void **state)
{
	pthread_t lookers[NR_LOOKERS];
	struct tp_live live;

	(void)state;
	tp_live_init(&live, &no_map);
	live.gate.close(&live);
	for (int i = 0; i < NR_LOOKERS; i++)
		assert_int_equal(pthread_create(&lookers[i], NULL, look_once, &live), 0);
	wait_until(&live, NR_LOOKERS, false);
	live.gate.open(&live);
	live.gate.close(&live); /* at once: waits for all of them */
	assert_int_equal(live.nr_looking, 0);
	assert_int_equal(live.nr_waiting, 0);
	live.gate.open(&live);
	for (int i = 0; i < NR_LOOKERS; i++)
		assert_int_equal(pthread_join(lookers[i], NULL), 0);
	tp_live_destroy(&live);
}

/* --- threads: two trees that always hold the same --- */

struct race {
	struct fixture *f;
	atomic_bool is_over;
	atomic_uint nr_failed;
	atomic_uint nr_looks;
};

struct sums {
	uint64_t nr;
	uint64_t sum;
};

static int add_span(void *ctx, const struct thinp_btree_span *span)
{
	const uint64_t *values =
		span->values_le; /* only compared with one another: the order of bytes does not matter */
	struct sums *sums = ctx;

	sums->nr += span->nr_entries;
	for (uint32_t i = 0; i < span->nr_entries; i++)
		sums->sum += values[i] * (sums->nr + i);
	return 0;
}

static bool is_same(struct thinp_store *store, struct thinp_reader *reader)
{
	struct sums sums[2] = {0};
	thinp_block_t root;
	int r = 0;

	for (uint32_t i = 0; i < 2 && !r; i++) {
		r = thinp_store_get_root(store, i, &root);
		if (!r)
			r = thinp_btree_walk(reader, &tree_type, root, add_span, &sums[i]);
	}
	return !r && sums[0].nr == sums[1].nr && sums[0].sum == sums[1].sum;
}

static void *look_on(void *ctx)
{
	struct race *race = ctx;
	struct thinp_reader *reader;

	while (!atomic_load(&race->is_over)) {
		if (thinp_store_live_begin(race->f->store, &reader)) {
			atomic_fetch_add(&race->nr_failed, 1);
			break;
		}
		if (!is_same(race->f->store, reader))
			atomic_fetch_add(&race->nr_failed, 1);
		thinp_store_live_end(race->f->store);
		atomic_fetch_add(&race->nr_looks, 1);
	}
	return NULL;
}

static void begin_two_trees(struct fixture *f)
{
	thinp_block_t root;

	begin_tree(f);
	assert_int_equal(thinp_btree_create(thinp_store_tm(f->store), &tree_type, &root), 0);
	assert_int_equal(thinp_store_set_root(f->store, 1, root), 0);
	for (uint64_t key = 0; key < NR_KEYS; key++) {
		put(f, 0, key, key);
		put(f, 1, key, key);
	}
	assert_int_equal(thinp_store_commit(f->store), 0);
	assert_int_equal(thinp_store_begin(f->store), 0);
}

static void remove_from(struct fixture *f, uint32_t index, uint64_t key)
{
	thinp_block_t root;
	int r;

	assert_int_equal(thinp_store_get_root(f->store, index, &root), 0);
	r = thinp_btree_remove(thinp_store_tm(f->store), &tree_type, root, &key, &root);
	assert_true(r == 0 || r == THINP_ENODATA);
	assert_int_equal(thinp_store_set_root(f->store, index, root), 0);
}

/* A round leaves both trees the same, and between the two changes of one they differ. */
static void change_both(struct fixture *f, uint64_t round)
{
	uint64_t key = round * 7919 % (2 * NR_KEYS);

	thinp_store_change_begin(f->store);
	for (uint32_t index = 0; index < 2; index++) {
		if (round % 3)
			put(f, index, key, round);
		else
			remove_from(f, index, key);
	}
	thinp_store_change_end(f->store);
	if (round % 16 == 15) {
		assert_int_equal(round % 32 == 31 ? thinp_store_abort(f->store) : thinp_store_commit(f->store), 0);
		assert_int_equal(thinp_store_begin(f->store), 0);
	}
}

static void threads_see_only_whole_changes(void **state)
{
	struct race race = {.f = *state};
	pthread_t lookers[NR_LOOKERS];

	begin_two_trees(race.f);
	for (int i = 0; i < NR_LOOKERS; i++)
		assert_int_equal(pthread_create(&lookers[i], NULL, look_on, &race), 0);
	for (uint64_t round = 0; round < NR_ROUNDS || atomic_load(&race.nr_looks) < NR_ROUNDS; round++)
		change_both(race.f, round);
	atomic_store(&race.is_over, true);
	for (int i = 0; i < NR_LOOKERS; i++)
		assert_int_equal(pthread_join(lookers[i], NULL), 0);
	assert_int_equal(race.nr_failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_not_committed_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(after_an_abort_the_last_commit_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_grown_store_is_seen_to_its_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_the_flag_it_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_flag_does_not_go_with_read_only, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_change_that_failed_half_way_is_not_shown, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_store_that_can_only_be_closed_is_not_shown, set_up, tear_down),
		cmocka_unit_test_setup_teardown(every_change_of_a_tree_is_one_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(every_step_of_a_loader_is_one_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_block_is_being_changed_until_it_is_unlocked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(changes_in_brackets_are_one_change, set_up, tear_down),
		cmocka_unit_test(who_comes_after_a_change_waits_for_it),
		cmocka_unit_test(who_waited_for_a_change_looks_before_the_next),
		cmocka_unit_test_setup_teardown(threads_see_only_whole_changes, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("store/live", tests, NULL, NULL);
}
