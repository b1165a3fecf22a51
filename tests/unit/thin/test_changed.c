/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the open transaction has changed, and that nothing is written when nothing has.
 */
#include "support/alloc_counting.h"
#include "support/image_expect.h"

#include <thinp/fault.h>
#include <thinp/pool.h>
#include <thinp/pool_space.h>

enum { NR_METADATA = 200, NR_DATA = 1000, NR_DEVICES = 3 };

struct world {
	struct thinp_io *memory, *io;
	struct thinp_fault *fault;
	struct thinp_pool *pool;
};

static const struct thinp_pool_opts opts = {.size = sizeof(opts),
					    .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE,
					    .cache_blocks = 64,
					    .nr_data_blocks = NR_DATA};

static int map(struct world *w, uint64_t dev_id, uint64_t block)
{
	uint64_t first;
	int r = thinp_pool_alloc_data(w->pool, 1, &first, NULL);

	return r ? r : thinp_pool_insert(w->pool, dev_id, block, first);
}

static void begin(struct world *w)
{
	assert_int_equal(thinp_pool_begin(w->pool), 0);
}

/* Devices 1 to 3, with a mapping each. */
static void open_world(struct world *w)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_METADATA};

	assert_int_equal(thinp_io_open_memory(&io_opts, &w->memory), 0);
	assert_int_equal(thinp_fault_create(w->memory, NULL, &w->fault), 0);
	assert_int_equal(thinp_fault_open(w->fault, NULL, &w->io), 0);
	assert_int_equal(thinp_pool_open(w->io, &opts, &w->pool), 0);
	begin(w);
	for (uint64_t dev_id = 1; dev_id <= NR_DEVICES; dev_id++) {
		assert_int_equal(thinp_pool_create_device(w->pool, dev_id), 0);
		assert_int_equal(map(w, dev_id, 7), 0);
	}
	assert_int_equal(thinp_pool_commit(w->pool), 0);
}

static void close_world(struct world *w)
{
	thinp_pool_close(w->pool);
	thinp_io_close(w->io);
	thinp_fault_destroy(w->fault);
	thinp_io_close(w->memory);
}

static uint64_t nr_writes(const struct world *w)
{
	struct thinp_fault_stats stats = {.size = sizeof(stats)};

	thinp_fault_get_stats(w->fault, &stats);
	return stats.writes;
}

static bool is_changed(struct world *w)
{
	bool changed;

	assert_int_equal(thinp_pool_is_changed(w->pool, &changed), 0);
	return changed;
}

static bool is_device_changed(struct world *w, uint64_t dev_id)
{
	bool changed;

	assert_int_equal(thinp_pool_device_is_changed(w->pool, dev_id, &changed), 0);
	return changed;
}

static void expect_changed(struct world *w, bool changed, bool first, bool second, bool third)
{
	assert_int_equal(is_changed(w), changed);
	assert_int_equal(is_device_changed(w, 1), first);
	assert_int_equal(is_device_changed(w, 2), second);
	assert_int_equal(is_device_changed(w, 3), third);
}

/* --- what writes nothing --------------------------------------------------------------------------------------------- */

static void expect_step_of_nothing(struct world *w, uint64_t dev_id, uint64_t first, uint64_t last)
{
	struct thinp_pool_step step = {.size = sizeof(step), .nr_removed = 5};

	assert_int_equal(thinp_pool_remove_step(w->pool, dev_id, first, last, 1, &step), 0);
	assert_int_equal(step.nr_removed, 0);
	assert_true(step.is_complete);
}

static void TM_07_a_pool_that_is_not_changed_is_not_written(void **state)
{
	struct world w;
	uint64_t before;

	(void)state;
	open_world(&w);
	before = nr_writes(&w);
	begin(&w);
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	begin(&w);
	assert_int_equal(thinp_pool_remove_range(w.pool, 1, 8, UINT64_MAX, 0, NULL, NULL), 0); /* of nothing */
	assert_int_equal(thinp_pool_remove_range(w.pool, 1, 0, 6, 0, NULL, NULL), 0);
	assert_int_equal(thinp_pool_remove_range(w.pool, NR_DEVICES, 8, 9, 0, NULL, NULL), 0);
	assert_int_equal(thinp_pool_remove(w.pool, 2, 8), THINP_ENODATA);
	assert_int_equal(thinp_pool_remove_range(w.pool, 99, 0, 9, 0, NULL, NULL), THINP_ENODATA);
	expect_step_of_nothing(&w, 1, 8, UINT64_MAX);
	expect_step_of_nothing(&w, NR_DEVICES, 0, 6);
	assert_int_equal(thinp_pool_remove_step(w.pool, 99, 0, 9, 0, NULL), THINP_ENODATA);
	assert_false(is_changed(&w));
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	thinp_pool_close(w.pool);
	assert_int_equal(thinp_pool_open(w.io, &opts, &w.pool), 0);
	begin(&w);
	thinp_pool_close(w.pool); /* with a transaction that is open */
	assert_int_equal(thinp_pool_open(w.io, &opts, &w.pool), 0);
	assert_int_equal(nr_writes(&w), before);
	begin(&w);
	assert_int_equal(map(&w, 1, 8), 0); /* and the next change goes */
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	assert_true(nr_writes(&w) > before);
	close_world(&w);
}

static void where_nothing_is_mapped_nothing_is_removed_from_a_changed_device_either(void **state)
{
	uint64_t nr_removed = 5;
	bool is_complete = false;
	struct world w;

	(void)state;
	open_world(&w);
	begin(&w);
	assert_int_equal(map(&w, 1, 9), 0);
	expect_step_of_nothing(&w, 1, 8, 8);
	assert_int_equal(thinp_pool_remove_range(w.pool, 1, 10, UINT64_MAX, 0, &nr_removed, &is_complete), 0);
	assert_int_equal(nr_removed, 0);
	assert_true(is_complete);
	assert_int_equal(thinp_pool_remove_range(w.pool, 1, 0, UINT64_MAX, 0, &nr_removed, &is_complete), 0);
	assert_int_equal(nr_removed, 2);
	close_world(&w);
}

/* --- what is changed ------------------------------------------------------------------------------------------------- */

static void devices_are_changed_one_by_one(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	expect_changed(&w, false, false, false, false); /* no transaction */
	begin(&w);
	expect_changed(&w, false, false, false, false);
	assert_int_equal(map(&w, 1, 7), 0); /* once more: as many blocks are mapped as before */
	expect_changed(&w, true, true, false, false);
	assert_int_equal(thinp_pool_remove(w.pool, 2, 7), 0);
	expect_changed(&w, true, true, true, false);
	assert_int_equal(thinp_pool_create_snapshot(w.pool, 4, 3), 0); /* when it was snapshotted last */
	expect_changed(&w, true, true, true, true);
	assert_true(is_device_changed(&w, 4));
	assert_int_equal(thinp_pool_commit(w.pool), 0);
	expect_changed(&w, false, false, false, false);
	assert_false(is_device_changed(&w, 4));
	close_world(&w);
}

static void an_abort_changes_all_back(void **state)
{
	struct world w;

	(void)state;
	open_world(&w);
	begin(&w);
	assert_int_equal(map(&w, 2, 8), 0);
	expect_changed(&w, true, false, true, false);
	assert_int_equal(thinp_pool_abort(w.pool), 0);
	expect_changed(&w, false, false, false, false);
	close_world(&w);
}

static int take(struct world *w)
{
	uint64_t first;

	return thinp_pool_alloc_data(w->pool, 1, &first, NULL);
}

static int set_id(struct world *w)
{
	return thinp_pool_set_transaction_id(w->pool, 0, 1);
}

static int mark(struct world *w)
{
	return thinp_pool_set_needs_check(w->pool, true);
}

static int grow_data(struct world *w)
{
	return thinp_pool_grow_data(w->pool, NR_DATA + 1);
}

static int grow_metadata(struct world *w)
{
	return thinp_pool_grow_metadata(w->pool, NR_METADATA + 1);
}

static int hold(struct world *w)
{
	return thinp_pool_reserve_metadata_snap(w->pool);
}

/* A commit writes if, and only if, something has changed. */
static void a_pool_can_be_changed_when_no_device_is(void **state)
{
	static int (*const changes[])(struct world *) = {take, set_id, mark, grow_data, grow_metadata, hold};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct world w;
		uint64_t before;

		open_world(&w);
		begin(&w);
		assert_int_equal(changes[i](&w), 0);
		expect_changed(&w, true, false, false, false);
		before = nr_writes(&w);
		assert_int_equal(thinp_pool_commit(w.pool), 0);
		assert_true(nr_writes(&w) > before);
		expect_changed(&w, false, false, false, false);
		close_world(&w);
	}
}

static void who_cannot_be_asked_says_so(void **state)
{
	struct thinp_pool *pool;
	bool changed = true;
	struct world w;

	(void)state;
	open_world(&w);
	assert_int_equal(thinp_pool_device_is_changed(w.pool, 99, &changed), THINP_ENODATA);
	begin(&w);
	assert_int_equal(thinp_pool_delete_device(w.pool, 1), 0);
	assert_int_equal(thinp_pool_device_is_changed(w.pool, 1, &changed), THINP_ENODATA);
	assert_true(is_changed(&w));
	assert_int_equal(thinp_pool_open(w.io, NULL, &pool), 0);
	assert_int_equal(thinp_pool_is_changed(pool, &changed), THINP_EROFS);
	assert_int_equal(thinp_pool_device_is_changed(pool, 1, &changed), THINP_EROFS);
	assert_true(changed);
	thinp_pool_close(pool);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TM_07_a_pool_that_is_not_changed_is_not_written),
		cmocka_unit_test(where_nothing_is_mapped_nothing_is_removed_from_a_changed_device_either),
		cmocka_unit_test(devices_are_changed_one_by_one),
		cmocka_unit_test(an_abort_changes_all_back),
		cmocka_unit_test(a_pool_can_be_changed_when_no_device_is),
		cmocka_unit_test(who_cannot_be_asked_says_so),
	};

	return cmocka_run_group_tests_name("thin/changed", tests, NULL, NULL);
}
