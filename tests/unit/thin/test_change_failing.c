/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of a pool while memory and the device fail: what is on the device stays sound, and the pool goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/alloc_counting.h"
#include "support/meta_check.h"
#include "thin/change.h"

#include <thinp/error.h>
#include <thinp/fault.h>
#include <thinp/pool.h>

static const struct thinp_pool_opts base_opts = {.size = sizeof(base_opts),
						 .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE,
						 .cache_blocks = 256,
						 .nr_data_blocks = 2000};

static int map_some(struct thinp_pool *pool, uint64_t device, uint64_t block, uint64_t nr)
{
	uint64_t first, nr_taken, nr_done;
	int r = thinp_pool_alloc_data(pool, nr, &first, &nr_taken);

	if (r)
		return r;
	r = thinp_pool_insert_run(pool, device, block, first, nr_taken, &nr_done);
	if (r && !thinp_pool_status(pool))
		(void)thinp_pool_dec_data(pool, first, nr_taken);
	return r;
}

static int change(struct thinp_pool *pool)
{
	int r = thinp_pool_begin(pool);

	if (!r)
		r = thinp_pool_create_device(pool, 1);
	if (!r)
		r = map_some(pool, 1, 0, 600);
	if (!r)
		r = thinp_pool_create_snapshot(pool, 2, 1);
	if (!r)
		r = map_some(pool, 1, 100, 300);
	if (!r)
		r = thinp_pool_reserve_metadata_snap(pool);
	if (!r)
		r = thinp_pool_remove_range(pool, 2, 50, 400, 0, NULL, NULL);
	if (!r)
		r = thinp_pool_commit(pool);
	if (!r)
		r = thinp_pool_begin(pool);
	if (!r)
		r = thinp_pool_delete_device(pool, 1);
	if (!r)
		r = thinp_pool_release_metadata_snap(pool);
	return r ? r : thinp_pool_commit(pool);
}

static bool has_little_memory; /* for counts: they are written down in the middle of the transaction */

/* After a failure the transaction is aborted, and nothing on the device is wrong. */
static int attempt(struct thinp_io *io, const struct thinp_allocator *allocator)
{
	struct thinp_pool_opts opts = base_opts;
	struct thinp_pool *pool;
	int r;

	opts.allocator = allocator;
	r = thinp_pool_open(io, &opts, &pool);
	if (r)
		return r;
	if (has_little_memory)
		tp_sm_set_memory_limit(tp_thin_data_map(pool), 1);
	r = change(pool);
	if (r)
		(void)thinp_pool_abort(pool);
	thinp_pool_close(pool);
	return r;
}

static void open_memory(struct thinp_io **io)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = 300};

	assert_int_equal(thinp_io_open_memory(&opts, io), 0);
}

static void expect_sound(struct thinp_io *io)
{
	struct thinp_pool *pool;

	/* as if the failure had never been: a pool is there, or can be made */
	assert_int_equal(thinp_pool_open(io, &base_opts, &pool), 0);
	thinp_pool_close(pool);
	meta_check_thin(io, NULL, NULL);
}

static struct thinp_io *memory;

static int attempt_in_memory(void *ctx)
{
	struct alloc_counting *alloc = ctx;
	int r;

	open_memory(&memory);
	r = attempt(memory, &alloc->table);
	expect_sound(memory);
	thinp_io_close(memory);
	return r;
}

static void memory_may_fail_at_any_time(void **state)
{
	struct alloc_counting alloc;
	bool has_failed = true;
	size_t nr_refused = 0;

	(void)state;
	alloc_counting_init(&alloc);
	for (size_t n = 1; has_failed; n++) {
		int r;

		alloc_counting_fail(&alloc, n);
		r = attempt_in_memory(&alloc);
		has_failed = alloc_counting_has_failed(&alloc);
		if (r)
			assert_true(has_failed && r == THINP_ENOMEM);
		nr_refused += r != 0; /* a cache that cannot grow makes do with what it has */
		alloc_counting_check(&alloc);
	}
	assert_true(nr_refused > 20);
}

static int attempt_with_fault(uint32_t kind, uint64_t nth)
{
	const struct thinp_fault_opts opts = {.size = sizeof(opts)};
	struct thinp_fault *fault;
	struct thinp_io *io;
	int r;

	open_memory(&memory);
	assert_int_equal(thinp_fault_create(memory, &opts, &fault), 0);
	assert_int_equal(thinp_fault_open(fault, NULL, &io), 0);
	assert_int_equal(thinp_fault_fail_nth(fault, kind, nth, THINP_EIO, NULL), 0);
	r = attempt(io, NULL);
	thinp_io_close(io);
	thinp_fault_destroy(fault);
	expect_sound(memory);
	thinp_io_close(memory);
	return r;
}

static void the_device_may_fail_at_any_time(void **state)
{
	static const uint32_t kinds[] = {THINP_IO_READ, THINP_IO_WRITE, THINP_IO_FLUSH};

	(void)state;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		uint64_t nth = 1;

		while (attempt_with_fault(kinds[i], nth))
			nth++;
		assert_true(nth > 2);
	}
}

static void counts_that_are_written_down_early_may_fail_at_any_time(void **state)
{
	has_little_memory = true;
	memory_may_fail_at_any_time(state);
	the_device_may_fail_at_any_time(state);
	has_little_memory = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_may_fail_at_any_time),
		cmocka_unit_test(the_device_may_fail_at_any_time),
		cmocka_unit_test(counts_that_are_written_down_early_may_fail_at_any_time),
	};

	return cmocka_run_group_tests_name("thin/change_failing", tests, NULL, NULL);
}
