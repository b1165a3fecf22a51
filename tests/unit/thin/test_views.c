/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Views of pools and looks at the open transaction, while another thread changes the pool. To be run under ThreadSanitizer
 * too (tests/run-tsan).
 *
 * The writer keeps some things true: each commit bears a number, its transaction id, and maps as many blocks of device 1
 * as that; device 2 is a snapshot of it, made in each commit; and mapped_blocks is always what is mapped.
 */
#include "support/alloc_counting.h"
#include "support/image_expect.h"
#include "support/meta_check.h"

#include <thinp/fault.h>
#include <thinp/pool_view.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { NR_METADATA = 2000, NR_DATA = 40000, NR_THREADS = 3, NR_COMMITS = 60, NR_FAILURES = 30 };

struct world {
	struct thinp_io *io;
	struct thinp_pool *pool;
	atomic_bool is_over;
	atomic_uint nr_looks;
};

/* What one thread has found; told when it has ended, because assertions belong to the main thread. */
struct visitor {
	pthread_t thread;
	struct world *world;
	int result;
	const char *wrong;
};

static void open_memory(struct thinp_io **io)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_METADATA};

	assert_int_equal(thinp_io_open_memory(&io_opts, io), 0);
}

static void open_pool(struct world *w, uint32_t flags, uint64_t limit)
{
	const struct thinp_pool_opts opts = {.size = sizeof(opts),
					     .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE | flags,
					     .cache_blocks = 100, /* less than there is, so that it is read again */
					     .nr_data_blocks = NR_DATA,
					     .view_limit_blocks = limit};

	assert_int_equal(thinp_pool_open(w->io, &opts, &w->pool), 0);
	atomic_init(&w->is_over, false);
	atomic_init(&w->nr_looks, 0);
}

static void open_world(struct world *w, uint32_t flags, uint64_t limit)
{
	open_memory(&w->io);
	open_pool(w, flags, limit);
}

static void close_world(struct world *w)
{
	thinp_pool_close(w->pool);
	thinp_io_close(w->io);
}

/* --- what the writer does -------------------------------------------------------------------------------------------- */

static int map(struct thinp_pool *pool, uint64_t device, uint64_t block)
{
	uint64_t data;
	int r = thinp_pool_alloc_data(pool, 1, &data, NULL);

	return r ? r : thinp_pool_insert(pool, device, block * 40, data);
}

/* From the commit before: one block more, all of the old ones anew here and there, a new snapshot. */
static int change(struct thinp_pool *pool, uint64_t number)
{
	int r = thinp_pool_set_transaction_id(pool, number - 1, number);

	if (!r)
		r = number == 1 ? thinp_pool_create_device(pool, 1) : thinp_pool_delete_device(pool, 2);
	if (!r)
		r = map(pool, 1, number - 1);
	for (uint64_t i = 0; !r && i < number; i += 1 + number % 7)
		r = map(pool, 1, i);
	return r ? r : thinp_pool_create_snapshot(pool, 2, 1);
}

static void make_commit(struct world *w, uint64_t number)
{
	assert_int_equal(thinp_pool_begin(w->pool), 0);
	assert_int_equal(change(w->pool, number), 0);
	if (number % 5 == 0) { /* all for nothing */
		assert_int_equal(thinp_pool_abort(w->pool), 0);
		assert_int_equal(thinp_pool_begin(w->pool), 0);
		assert_int_equal(change(w->pool, number), 0);
	}
	assert_int_equal(thinp_pool_commit(w->pool), 0);
}

/* --- what others find ------------------------------------------------------------------------------------------------ */

static int count_runs(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	for (size_t i = 0; i < nr_runs; i++)
		*(uint64_t *)ctx += runs[i].length;
	return 0;
}

static int count_used(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	*(uint64_t *)ctx += count ? end - begin : 0;
	return 0;
}

struct found {
	struct thinp_pool *pool;
	uint64_t nr_devices;
	bool is_wrong;
};

static int visit_device(void *ctx, const struct thinp_device_info *device)
{
	struct found *found = ctx;
	uint64_t nr = 0;
	int r = thinp_pool_walk_runs(found->pool, device->dev_id, 0, UINT64_MAX, count_runs, &nr);

	found->nr_devices++;
	found->is_wrong |= nr != device->mapped_blocks;
	return r;
}

static void keep(struct visitor *visitor, int r, const char *wrong)
{
	if (!visitor->result)
		visitor->result = r;
	if (!visitor->wrong)
		visitor->wrong = wrong;
}

/* Every block is found, and counted as used. */
static void look_up_blocks(struct visitor *visitor, struct thinp_pool *pool, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i += 11) {
		struct thinp_mapping mapping = {.data_block = 0};
		uint32_t count = 0;
		int r = thinp_pool_lookup(pool, 1, i * 40, &mapping);

		if (!r)
			r = thinp_pool_get_count(pool, THINP_POOL_DATA, mapping.data_block, &count);
		keep(visitor, r, count ? NULL : "a mapped block is free");
	}
}

/* All that is true of a commit. */
static void visit_commit(struct visitor *visitor, struct thinp_pool *view)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	struct thinp_device_info device = {.size = sizeof(device)};
	struct found found = {.pool = view};
	uint64_t nr_used = 0;
	int r;

	thinp_pool_get_info(view, &info);
	r = thinp_pool_walk_devices(view, visit_device, &found);
	keep(visitor, r, found.is_wrong ? "mapped_blocks is wrong" : NULL);
	keep(visitor, 0, found.nr_devices == (info.transaction_id ? 2 : 0) ? NULL : "wrong number of devices");
	r = info.transaction_id ? thinp_pool_get_device(view, 1, &device) : 0;
	keep(visitor, r, device.mapped_blocks == info.transaction_id ? NULL : "not of that commit");
	r = thinp_pool_walk_counts(view, THINP_POOL_DATA, 0, info.nr_data_blocks, count_used, &nr_used);
	keep(visitor, r, nr_used == info.transaction_id ? NULL : "wrong counts");
	look_up_blocks(visitor, view, info.transaction_id);
}

static void *visit_views(void *ctx)
{
	struct visitor *visitor = ctx;

	while (!atomic_load(&visitor->world->is_over) && !visitor->result && !visitor->wrong) {
		struct thinp_pool *view = NULL;

		keep(visitor, thinp_pool_view_open(visitor->world->pool, 0, &view), NULL);
		for (int i = 0; i < 3 && view; i++)
			visit_commit(visitor, view);
		thinp_pool_close(view);
		atomic_fetch_add(&visitor->world->nr_looks, 1);
	}
	return NULL;
}

static void start(struct visitor *visitors, struct world *w, void *(*run)(void *))
{
	for (size_t i = 0; i < NR_THREADS; i++) {
		visitors[i] = (struct visitor){.world = w};
		assert_int_equal(pthread_create(&visitors[i].thread, NULL, run, &visitors[i]), 0);
	}
}

static void stop(struct visitor *visitors, struct world *w)
{
	atomic_store(&w->is_over, true);
	for (size_t i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_join(visitors[i].thread, NULL), 0);
	for (size_t i = 0; i < NR_THREADS; i++) {
		if (visitors[i].wrong)
			fail_msg("%s", visitors[i].wrong);
		assert_int_equal(visitors[i].result, 0);
	}
}

static void views_show_one_commit_while_others_are_made(void **state)
{
	struct visitor visitors[NR_THREADS], old = {.result = 0};
	struct thinp_pool *view;
	struct world w;
	uint64_t number = 0;

	(void)state;
	open_world(&w, 0, 0);
	make_commit(&w, ++number);
	assert_int_equal(thinp_pool_view_open(w.pool, 0, &view), 0);
	start(visitors, &w, visit_views);
	while (number < NR_COMMITS || atomic_load(&w.nr_looks) < NR_THREADS)
		make_commit(&w, ++number);
	stop(visitors, &w);
	visit_commit(&old, view); /* the oldest shows what it did at first */
	assert_true(!old.result && !old.wrong);
	thinp_pool_close(view);
	close_world(&w);
}

/* --- the open transaction -------------------------------------------------------------------------------------------- */

/* All that is true between two changes. */
static void look(struct visitor *visitor, struct thinp_pool *pool)
{
	struct found found = {.pool = pool};
	struct thinp_sm_info info = {.size = sizeof(info)};
	struct thinp_pool_info whole = {.size = sizeof(whole)};
	struct thinp_mapping mapping = {.data_block = 0};
	uint32_t count = 1;
	int r = thinp_pool_walk_devices(pool, visit_device, &found);

	keep(visitor, r, found.is_wrong ? "mapped_blocks is not that of the open transaction" : NULL);
	keep(visitor, thinp_pool_get_space(pool, THINP_POOL_DATA, &info), NULL);
	thinp_pool_get_info(pool, &whole);
	keep(visitor, 0,
	     whole.nr_data_allocated == info.nr_blocks - info.nr_zero ? NULL : "it has changed during the look");
	if (thinp_pool_lookup(pool, 1, 0, &mapping))
		return;
	r = thinp_pool_get_count(pool, THINP_POOL_DATA, mapping.data_block, &count);
	keep(visitor, r, count ? NULL : "a block that was just mapped is free");
}

static void *look_live(void *ctx)
{
	struct visitor *visitor = ctx;
	struct world *w = visitor->world;

	while (!atomic_load(&w->is_over) && !visitor->result && !visitor->wrong) {
		keep(visitor, thinp_pool_live_begin(w->pool), NULL);
		if (visitor->result)
			break;
		look(visitor, w->pool);
		thinp_pool_live_end(w->pool);
		atomic_fetch_add(&w->nr_looks, 1);
	}
	return NULL;
}

static void live_looks_see_whole_changes(void **state)
{
	struct visitor visitors[NR_THREADS];
	struct world w;
	uint64_t number = 0;

	(void)state;
	open_world(&w, THINP_POOL_LIVE, 0);
	start(visitors, &w, look_live);
	while (number < NR_COMMITS / 2 || atomic_load(&w.nr_looks) < 10 * NR_THREADS)
		make_commit(&w, ++number);
	stop(visitors, &w);
	close_world(&w);
}

static void a_live_look_sees_what_is_not_committed(void **state)
{
	struct thinp_mapping mapping;
	struct thinp_pool *view;
	struct world w;

	(void)state;
	open_world(&w, THINP_POOL_LIVE, 0);
	assert_int_equal(thinp_pool_begin(w.pool), 0);
	assert_int_equal(thinp_pool_create_device(w.pool, 1), 0);
	assert_int_equal(map(w.pool, 1, 5), 0);
	assert_int_equal(thinp_pool_view_open(w.pool, 0, &view), 0);
	assert_int_equal(thinp_pool_live_begin(w.pool), 0);
	assert_int_equal(thinp_pool_lookup(w.pool, 1, 200, &mapping), 0);
	thinp_pool_live_end(w.pool);
	assert_int_equal(thinp_pool_lookup(view, 1, 200, &mapping), THINP_ENODATA);
	thinp_pool_close(view);
	close_world(&w);
}

/* --- a device that fails --------------------------------------------------------------------------------------------- */

/* Why nothing is found while the device fails, or after a change failed half way. */
static bool is_refusal(int r)
{
	return r == THINP_EIO || r == THINP_EMUSTABORT || r == THINP_EUNKNOWN;
}

/* What is found is right, or nothing is. */
static void visit_failing(struct visitor *visitor, struct thinp_pool *pool)
{
	struct found found = {.pool = pool};
	struct thinp_mapping mapping;
	int r = thinp_pool_walk_devices(pool, visit_device, &found);

	if (!is_refusal(r))
		keep(visitor, r, found.is_wrong ? "mapped_blocks is wrong" : NULL);
	r = thinp_pool_lookup(pool, 1, 0, &mapping);
	if (!is_refusal(r) && r != THINP_ENODATA)
		keep(visitor, r, NULL);
}

static void visit_failing_view(struct visitor *visitor)
{
	struct thinp_pool *view = NULL;
	int r = thinp_pool_view_open(visitor->world->pool, 0, &view);

	if (r && !is_refusal(r))
		keep(visitor, r, NULL);
	if (!r)
		visit_failing(visitor, view);
	thinp_pool_close(view);
}

static void look_failing(struct visitor *visitor)
{
	struct thinp_pool *pool = visitor->world->pool;
	struct thinp_pool_info info = {.size = sizeof(info)};
	int r = thinp_pool_live_begin(pool);

	if (r) {
		keep(visitor, is_refusal(r) ? 0 : r, NULL);
		return;
	}
	r = thinp_pool_status(pool);
	if (r && !is_refusal(r) && r != THINP_EINVAL) /* no transaction is open */
		keep(visitor, r, NULL);
	thinp_pool_get_info(pool, &info);
	visit_failing(visitor, pool);
	thinp_pool_live_end(pool);
}

static void *look_while_it_fails(void *ctx)
{
	struct visitor *visitor = ctx;
	struct world *w = visitor->world;

	while (!atomic_load(&w->is_over) && !visitor->result && !visitor->wrong) {
		look_failing(visitor);
		visit_failing_view(visitor);
		atomic_fetch_add(&w->nr_looks, 1);
	}
	return NULL;
}

/* One operation fails, or the device as a whole from there on until the abort. The superblock is spared: what its failure
 * leaves comes last. Returns whether there was a commit. */
static bool commit_on_failing_device(struct world *w, struct thinp_fault *fault, uint64_t number, uint64_t round)
{
	static const uint32_t kinds[] = {THINP_FAULT_ON_READ, THINP_FAULT_ON_WRITE, THINP_FAULT_ON_FLUSH,
					 THINP_FAULT_ON_READ | THINP_FAULT_ON_WRITE};
	struct thinp_fault_rule rule = {.size = sizeof(rule),
					.action = THINP_FAULT_FAIL,
					.kinds = kinds[round % 4],
					.nth = 1 + round % 5,
					.times = round % 3 ? 1 : THINP_FAULT_ALWAYS,
					.begin = round % 4 != 2};
	int r = thinp_pool_begin(w->pool);

	assert_int_equal(r, 0);
	if (rule.kinds == THINP_FAULT_ON_FLUSH)
		rule.nth = 1; /* the second one comes behind the superblock */
	if (round % 5)
		assert_int_equal(thinp_fault_add(fault, &rule, NULL), 0);
	r = change(w->pool, number);
	if (!r)
		r = thinp_pool_commit(w->pool);
	if (r) {
		assert_true(is_refusal(r) && r != THINP_EUNKNOWN);
		assert_int_equal(thinp_pool_abort(w->pool), 0); /* while it fails */
	}
	thinp_fault_clear(fault);
	return !r;
}

static void fail_last_flush(struct world *w, struct thinp_fault *fault, uint64_t number)
{
	assert_int_equal(thinp_pool_begin(w->pool), 0);
	assert_int_equal(change(w->pool, number), 0);
	assert_int_equal(thinp_fault_fail_nth(fault, THINP_IO_FLUSH, 2, THINP_EIO, NULL), 0);
	assert_int_equal(thinp_pool_commit(w->pool), THINP_EUNKNOWN);
	assert_int_equal(thinp_pool_abort(w->pool), 0);
}

static void wait_for_looks(struct world *w)
{
	unsigned int before = atomic_load(&w->nr_looks);

	while (atomic_load(&w->nr_looks) < before + 2 * NR_THREADS)
		sched_yield();
}

static void TH_13_looks_go_on_while_the_device_fails_and_changes_are_aborted(void **state)
{
	struct visitor visitors[NR_THREADS];
	uint64_t number = 0, nr_failed = 0;
	struct thinp_fault *fault;
	struct thinp_io *memory;
	struct world w;

	(void)state;
	open_memory(&memory);
	assert_int_equal(thinp_fault_create(memory, NULL, &fault), 0);
	assert_int_equal(thinp_fault_open(fault, NULL, &w.io), 0);
	open_pool(&w, THINP_POOL_LIVE, 0);
	start(visitors, &w, look_while_it_fails);
	for (uint64_t round = 1; nr_failed < NR_FAILURES || atomic_load(&w.nr_looks) < 10 * NR_THREADS; round++) {
		bool is_done = commit_on_failing_device(&w, fault, number + 1, round);

		number += is_done;
		nr_failed += !is_done;
	}
	assert_true(number > 0);
	meta_check_thin(memory, NULL, NULL);
	fail_last_flush(&w, fault, number + 1);
	wait_for_looks(&w);
	stop(visitors, &w);
	close_world(&w);
	thinp_fault_destroy(fault);
	meta_check_thin(memory, NULL, NULL);
	thinp_io_close(memory);
}

/* --- what a view is, and is not -------------------------------------------------------------------------------------- */

static void a_view_can_only_be_read(void **state)
{
	struct thinp_view_info info = {.size = sizeof(info)};
	struct thinp_pool *view, *same;
	struct world w;

	(void)state;
	open_world(&w, 0, 0);
	make_commit(&w, 1);
	assert_int_equal(thinp_pool_view_open(w.pool, 0, &view), 0);
	assert_int_equal(thinp_pool_begin(view), THINP_EROFS);
	assert_int_equal(thinp_pool_create_device(view, 7), THINP_EROFS);
	assert_int_equal(thinp_pool_live_begin(view), THINP_EROFS);
	assert_int_equal(thinp_pool_live_begin(w.pool), THINP_EINVAL); /* without the flag */
	assert_int_equal(thinp_pool_view_get_info(w.pool, &info), THINP_EINVAL);
	assert_int_equal(thinp_pool_view_open(w.pool, THINP_POOL_WRITABLE, &same), THINP_ENOTSUP);
	assert_int_equal(thinp_pool_view_open(w.pool, THINP_POOL_METADATA_SNAP, &same), THINP_ENOENT);
	make_commit(&w, 2);
	assert_int_equal(thinp_pool_view_open(view, 0, &same), 0); /* the same commit, not the last one */
	thinp_pool_close(view);
	assert_int_equal(thinp_pool_view_get_info(same, &info), 0);
	assert_int_equal(info.nr_newer, 1);
	assert_true(info.nr_held_blocks > 0);
	thinp_pool_close(same);
	close_world(&w);
}

static void a_pool_that_nobody_changes_has_views_too(void **state)
{
	struct visitor visitor = {.result = 0};
	struct thinp_pool *pool, *view, *same;
	struct world w;

	(void)state;
	open_world(&w, 0, 0);
	make_commit(&w, 1);
	make_commit(&w, 2);
	assert_int_equal(thinp_pool_open(w.io, NULL, &pool), 0);
	assert_int_equal(thinp_pool_view_open(pool, 0, &view), 0);
	assert_int_equal(thinp_pool_view_open(view, 0, &same), 0);
	visit_commit(&visitor, same);
	visit_commit(&visitor, view);
	assert_true(!visitor.result && !visitor.wrong);
	thinp_pool_close(same);
	thinp_pool_close(view);
	thinp_pool_close(pool);
	close_world(&w);
}

static void a_view_of_a_metadata_snapshot_outlives_it(void **state)
{
	struct thinp_device_info device = {.size = sizeof(device)};
	struct thinp_pool *snap, *same;
	struct world w;

	(void)state;
	open_world(&w, 0, 0);
	make_commit(&w, 1);
	assert_int_equal(thinp_pool_begin(w.pool), 0);
	assert_int_equal(thinp_pool_reserve_metadata_snap(w.pool), 0);
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	make_commit(&w, 2);
	assert_int_equal(thinp_pool_view_open(w.pool, THINP_POOL_METADATA_SNAP, &snap), 0);
	assert_int_equal(thinp_pool_begin(w.pool), 0);
	assert_int_equal(thinp_pool_release_metadata_snap(w.pool), 0);
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	make_commit(&w, 3);
	assert_int_equal(thinp_pool_view_open(snap, 0, &same), 0);
	assert_int_equal(thinp_pool_get_device(same, 1, &device), 0);
	assert_int_equal(device.mapped_blocks, 1);
	thinp_pool_close(same);
	thinp_pool_close(snap);
	close_world(&w);
}

static void the_oldest_view_gives_way(void **state)
{
	struct thinp_mapping mapping;
	struct thinp_view_info info = {.size = sizeof(info)};
	struct thinp_pool *view, *same;
	struct world w;

	(void)state;
	open_world(&w, 0, 5);
	make_commit(&w, 1);
	assert_int_equal(thinp_pool_view_open(w.pool, 0, &view), 0);
	for (uint64_t number = 2; number < 10; number++)
		make_commit(&w, number);
	assert_int_equal(thinp_pool_view_get_info(view, &info), 0);
	assert_true(info.is_stale);
	assert_int_equal(thinp_pool_lookup(view, 1, 0, &mapping), THINP_ESTALE);
	assert_int_equal(thinp_pool_view_open(view, 0, &same), THINP_ESTALE);
	thinp_pool_close(view);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(views_show_one_commit_while_others_are_made),
		cmocka_unit_test(live_looks_see_whole_changes),
		cmocka_unit_test(a_live_look_sees_what_is_not_committed),
		cmocka_unit_test(TH_13_looks_go_on_while_the_device_fails_and_changes_are_aborted),
		cmocka_unit_test(a_view_can_only_be_read),
		cmocka_unit_test(a_pool_that_nobody_changes_has_views_too),
		cmocka_unit_test(a_view_of_a_metadata_snapshot_outlives_it),
		cmocka_unit_test(the_oldest_view_gives_way),
	};

	return cmocka_run_group_tests_name("thin/views", tests, NULL, NULL);
}
