/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Putting right what a check finds: in more than one transaction, with failing memory and devices, after crashes.
 */
#include "check/fixes.h"
#include "store/store.h"
#include "support/alloc_counting.h"
#include "support/meta_check.h"
#include "thin/pool.h"

#include <thinp/check.h>
#include <thinp/crash.h>
#include <thinp/error.h>
#include <thinp/fault.h>
#include <thinp/record.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <string.h>

enum { PER_BITMAP = 16320, NR_LEAKED = 43, NR_METADATA_LEAKED = 4 };

static const struct thinp_pool_opts opts_of_pool = {.size = sizeof(opts_of_pool),
						    .flags = THINP_POOL_WRITABLE | THINP_POOL_IGNORE_NEEDS_CHECK};

static struct thinp_io *new_device(uint64_t nr_blocks)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = nr_blocks};
	struct thinp_io *io;

	assert_int_equal(thinp_io_open_memory(&opts, &io), 0);
	return io;
}

static struct thinp_pool *open_pool(struct thinp_io *io, uint64_t nr_data_blocks)
{
	struct thinp_pool_opts opts = opts_of_pool;
	struct thinp_pool *pool;

	opts.flags |= nr_data_blocks ? THINP_POOL_CREATE : 0u;
	opts.nr_data_blocks = nr_data_blocks;
	assert_int_equal(thinp_pool_open(io, &opts, &pool), 0);
	return pool;
}

static void map_some(struct thinp_pool *pool, uint64_t device, uint64_t block, uint64_t nr)
{
	uint64_t first, nr_done;

	assert_int_equal(thinp_pool_alloc_data(pool, nr, &first, NULL), 0);
	assert_int_equal(thinp_pool_insert_run(pool, device, block, first, nr, &nr_done), 0);
	assert_int_equal(nr_done, nr);
}

/* References that nothing has: to free data blocks, to used ones, so many that they do not fit a bitmap, and to metadata
 * blocks. The pool asks for a check. */
static void leak(struct thinp_pool *pool)
{
	uint64_t first;

	assert_int_equal(thinp_pool_alloc_data(pool, 40, &first, NULL), 0);
	for (int i = 0; i < 300; i++)
		assert_int_equal(thinp_pool_inc_data(pool, 5, 3), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(thinp_pool_inc_data(pool, first, 10), 0);
	assert_int_equal(thinp_sm_take(pool->store->metadata, 3, &first, NULL), 0);
	assert_int_equal(thinp_sm_inc(pool->store->metadata, first + 1, 2), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(thinp_sm_inc(pool->store->metadata, 0, 1), 0);
	assert_int_equal(thinp_pool_set_needs_check(pool, true), 0);
}

static void make_leaking(struct thinp_io *io)
{
	struct thinp_pool *pool = open_pool(io, 40000);

	assert_int_equal(thinp_pool_begin(pool), 0);
	assert_int_equal(thinp_pool_create_device(pool, 1), 0);
	map_some(pool, 1, 0, 600);
	assert_int_equal(thinp_pool_create_snapshot(pool, 2, 1), 0);
	map_some(pool, 1, 100, 300);
	leak(pool);
	assert_int_equal(thinp_pool_commit(pool), 0);
	thinp_pool_close(pool);
}

static struct thinp_check_result check(struct thinp_io *io)
{
	struct thinp_check_result result = {.size = sizeof(result)};

	assert_int_equal(thinp_check_device(io, NULL, &result), 0);
	return result;
}

static bool is_sound(const struct thinp_check_result *result)
{
	return !result->nr_fatal && !result->nr_leak && !result->nr_meta;
}

/* All leaks of make_leaking() are there, or none. */
static bool is_whole(const struct thinp_check_result *result)
{
	return !result->nr_fatal && !result->nr_meta &&
	       (!result->nr_leak ||
		(result->nr_data_leaked == NR_LEAKED && result->nr_metadata_leaked == NR_METADATA_LEAKED));
}

static bool asks_for_check(const struct thinp_pool *pool)
{
	struct thinp_pool_info info = {.size = sizeof(info)};

	thinp_pool_get_info(pool, &info);
	return info.flags & THINP_POOL_NEEDS_CHECK;
}

static void TOOL_03_leaks_are_put_right(void **state)
{
	struct thinp_check_result before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct thinp_error_info error = {.size = sizeof(error)};
	struct thinp_io *io = new_device(300);
	struct thinp_pool *pool;
	uint32_t count;

	(void)state;
	make_leaking(io);
	pool = open_pool(io, 0);
	thinp_error_report(THINP_EIO, 7, "from before");
	assert_int_equal(thinp_check_fix_leaks(pool, NULL, &before, &after), 0);
	thinp_error_last(&error);
	assert_int_equal(error.block, 7);
	assert_int_equal(before.nr_data_leaked, NR_LEAKED);
	assert_int_equal(before.nr_metadata_leaked, NR_METADATA_LEAKED);
	assert_true(is_sound(&after));
	assert_true(asks_for_check(pool));
	assert_int_equal(thinp_pool_get_count(pool, THINP_POOL_DATA, 5, &count), 0);
	assert_int_equal(count, 2); /* a leaf that both devices had has been copied */
	meta_check_thin(io, NULL, NULL);
	assert_int_equal(thinp_check_fix_leaks(pool, NULL, NULL, NULL), 0); /* nothing is to be done */
	assert_int_equal(thinp_check_clear_needs_check(pool, NULL, &after), 0);
	assert_false(asks_for_check(pool));
	thinp_pool_close(pool);
	pool = open_pool(io, 0);
	assert_false(asks_for_check(pool));
	thinp_pool_close(pool);
	thinp_io_close(io);
}

static void TOOL_05_the_mark_stays_while_there_are_leaks(void **state)
{
	struct thinp_check_result result = {.size = sizeof(result)};
	struct thinp_io *io = new_device(300);
	struct thinp_pool *pool;

	(void)state;
	make_leaking(io);
	pool = open_pool(io, 0);
	assert_int_equal(thinp_check_clear_needs_check(pool, NULL, &result), THINP_ECORRUPT);
	assert_int_equal(result.nr_data_leaked, NR_LEAKED);
	assert_true(asks_for_check(pool));
	thinp_pool_close(pool);
	thinp_io_close(io);
}

static int cancel(void *ctx, uint64_t done, uint64_t total)
{
	(void)ctx;
	(void)done;
	(void)total;
	return 1;
}

/* Not only the functions say so: nothing is changed. */
static void wrong_use_is_refused(void **state)
{
	const struct thinp_check_opts skipping = {.size = sizeof(skipping), .flags = THINP_CHECK_SKIP_MAPPINGS};
	const struct thinp_check_opts snap = {.size = sizeof(snap), .flags = THINP_CHECK_METADATA_SNAP};
	const struct thinp_check_opts cancelled = {.size = sizeof(cancelled), .progress = cancel};
	struct thinp_check_result result;
	struct thinp_io *io = new_device(300);
	struct thinp_pool *pool;

	(void)state;
	make_leaking(io);
	pool = open_pool(io, 0);
	assert_int_equal(thinp_check_fix_leaks(pool, &skipping, NULL, NULL), THINP_EINVAL);
	assert_int_equal(thinp_check_clear_needs_check(pool, &skipping, NULL), THINP_EINVAL);
	assert_int_equal(thinp_check_fix_leaks(pool, &snap, NULL, NULL), THINP_EINVAL);
	assert_int_equal(thinp_check_fix_leaks(pool, &cancelled, NULL, NULL), THINP_ECANCELED);
	assert_int_equal(thinp_check_clear_needs_check(pool, &cancelled, NULL), THINP_ECANCELED);
	assert_int_equal(thinp_pool_begin(pool), 0);
	assert_int_equal(thinp_check_fix_leaks(pool, NULL, NULL, NULL), THINP_EBUSY);
	assert_int_equal(thinp_check_clear_needs_check(pool, NULL, NULL), THINP_EBUSY);
	thinp_pool_close(pool);
	assert_int_equal(thinp_pool_open(io, NULL, &pool), 0);
	assert_int_equal(thinp_check_fix_leaks(pool, NULL, NULL, NULL), THINP_EROFS);
	assert_int_equal(thinp_check_clear_needs_check(pool, NULL, NULL), THINP_EROFS);
	thinp_pool_close(pool);
	result = check(io);
	assert_int_equal(result.nr_data_leaked, NR_LEAKED);
	thinp_io_close(io);
}

static void TOOL_04_nothing_is_put_right_beside_a_fatal_finding(void **state)
{
	struct thinp_check_result before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct thinp_io *io = new_device(300);
	struct thinp_pool *pool;

	(void)state;
	make_leaking(io);
	pool = open_pool(io, 0);
	assert_int_equal(thinp_pool_begin(pool), 0);
	assert_int_equal(thinp_pool_dec_data(pool, 20, 1), 0); /* in use */
	assert_int_equal(thinp_pool_commit(pool), 0);
	assert_int_equal(thinp_check_fix_leaks(pool, NULL, &before, &after), THINP_ECORRUPT);
	assert_int_equal(before.nr_fatal, 1);
	assert_int_equal(before.nr_data_leaked, NR_LEAKED);
	assert_int_equal(after.nr_blocks_read, 0); /* not touched */
	thinp_pool_close(pool);
	before = check(io);
	assert_int_equal(before.nr_data_leaked, NR_LEAKED);
	thinp_io_close(io);
}

/* --- more than goes into one transaction --- */

static int count_commit(void *ctx)
{
	++*(int *)ctx;
	return 0;
}

static void fix_counting(struct thinp_io *io, int *nr_commits)
{
	struct thinp_check_result after = {.size = sizeof(after)};
	struct thinp_pool_opts opts = opts_of_pool;
	struct thinp_pool *pool;

	*nr_commits = 0;
	opts.pre_commit = count_commit;
	opts.pre_commit_ctx = nr_commits;
	assert_int_equal(thinp_pool_open(io, &opts, &pool), 0);
	assert_int_equal(thinp_check_fix_leaks(pool, NULL, NULL, &after), 0);
	assert_true(is_sound(&after));
	thinp_pool_close(pool);
	meta_check_thin(io, NULL, NULL);
}

static void more_leaks_than_are_noted_at_once(void **state)
{
	struct thinp_io *io = new_device(300);
	struct thinp_pool *pool = open_pool(io, 3 * TP_FIXES_MOST);
	int nr_commits;

	(void)state;
	assert_int_equal(thinp_pool_begin(pool), 0);
	for (uint64_t block = 0; block < 3 * TP_FIXES_MOST; block += 2)
		assert_int_equal(thinp_pool_inc_data(pool, block, 1), 0);
	assert_int_equal(thinp_pool_commit(pool), 0);
	thinp_pool_close(pool);
	fix_counting(io, &nr_commits);
	assert_int_equal(nr_commits, 2);
	thinp_io_close(io);
}

/* Takes metadata blocks, until so many are left beside those that a commit needs. A kernel that knows of no reserve can leave a
 * pool so. */
static void lose_metadata(struct thinp_pool *pool, uint64_t nr_left)
{
	struct thinp_sm *metadata = pool->store->metadata;
	struct thinp_sm_info info = {.size = sizeof(info)};
	struct thinp_alloc table = {.size = sizeof(table)};

	assert_int_equal(thinp_pool_begin(pool), 0);
	thinp_sm_get_alloc(metadata, &table);
	thinp_sm_get_info(metadata, &info);
	while (info.nr_allocatable > info.commit_cost + nr_left) {
		thinp_block_t block;

		assert_int_equal(table.take(table.ctx, THINP_CAUSE_USER, &block), 0);
		thinp_sm_get_info(metadata, &info);
	}
	assert_int_equal(thinp_pool_commit(pool), 0);
}

/* Leaks in many bitmaps of data blocks have to wait for what leaks of metadata blocks give back. */
static void a_pool_without_room_is_put_right_by_what_it_gets_back(void **state)
{
	enum { NR_BITMAPS = 800 };
	static const uint64_t nr_left[] = {0, 1, 20, 300};

	(void)state;
	for (size_t n = 0; n < sizeof(nr_left) / sizeof(nr_left[0]); n++) {
		struct thinp_io *io = new_device(2000);
		struct thinp_pool *pool = open_pool(io, NR_BITMAPS * PER_BITMAP);
		int nr_commits;

		assert_int_equal(thinp_pool_begin(pool), 0);
		for (uint64_t i = 1; i < NR_BITMAPS; i++)
			assert_int_equal(thinp_pool_inc_data(pool, i * PER_BITMAP + i, 1), 0);
		assert_int_equal(thinp_pool_commit(pool), 0);
		for (int i = 0; i < 3; i++) /* a commit gives back what was kept for it */
			lose_metadata(pool, nr_left[n]);
		thinp_pool_close(pool);
		fix_counting(io, &nr_commits);
		assert_true(nr_commits > 1);
		thinp_io_close(io);
	}
}

/* --- what fails --- */

static int fix_and_clear(struct thinp_io *io, const struct thinp_allocator *allocator)
{
	const struct thinp_check_opts opts = {.size = sizeof(opts), .allocator = allocator};
	struct thinp_pool_opts pool_opts = opts_of_pool;
	struct thinp_pool *pool;
	int r;

	pool_opts.allocator = allocator;
	pool_opts.cache_blocks = 64;
	r = thinp_pool_open(io, &pool_opts, &pool);
	if (r)
		return r;
	r = thinp_check_fix_leaks(pool, &opts, NULL, NULL);
	if (!r)
		r = thinp_check_clear_needs_check(pool, &opts, NULL);
	thinp_pool_close(pool);
	return r;
}

/* As it was or put right; and then it can be put right. */
static void expect_whole(struct thinp_io *io)
{
	struct thinp_check_result result = check(io);

	assert_true(is_whole(&result));
	assert_int_equal(fix_and_clear(io, NULL), 0);
	result = check(io);
	assert_true(is_sound(&result));
	assert_int_equal(result.nr_state, 0); /* no mark */
}

static struct thinp_io *copy_of(struct thinp_io *from)
{
	static _Alignas(4096) uint8_t bytes[300 * THINP_BLOCK_SIZE];
	struct thinp_io *io = new_device(300);

	assert_int_equal(thinp_io_read(from, 0, 300, bytes), 0);
	assert_int_equal(thinp_io_write(io, 0, 300, bytes), 0);
	return io;
}

static void memory_may_fail_at_any_time(void **state)
{
	struct thinp_io *leaking = new_device(300);
	struct alloc_counting alloc;
	bool has_failed = true;
	size_t nr_refused = 0;

	(void)state;
	make_leaking(leaking);
	alloc_counting_init(&alloc);
	for (size_t n = 1; has_failed; n++) {
		struct thinp_io *io = copy_of(leaking);
		int r;

		alloc_counting_fail(&alloc, n);
		r = fix_and_clear(io, &alloc.table);
		has_failed = alloc_counting_has_failed(&alloc);
		if (r)
			assert_true(has_failed && r == THINP_ENOMEM);
		nr_refused += r != 0;
		alloc_counting_check(&alloc);
		expect_whole(io);
		thinp_io_close(io);
	}
	assert_true(nr_refused > 20);
	thinp_io_close(leaking);
}

static int fix_with_fault(struct thinp_io *leaking, uint32_t kind, uint64_t nth)
{
	struct thinp_io *memory = copy_of(leaking);
	struct thinp_fault *fault;
	struct thinp_io *io;
	int r;

	assert_int_equal(thinp_fault_create(memory, NULL, &fault), 0);
	assert_int_equal(thinp_fault_open(fault, NULL, &io), 0);
	assert_int_equal(thinp_fault_fail_nth(fault, kind, nth, THINP_EIO, NULL), 0);
	r = fix_and_clear(io, NULL);
	thinp_io_close(io);
	thinp_fault_destroy(fault);
	expect_whole(memory);
	thinp_io_close(memory);
	return r;
}

static void the_device_may_fail_at_any_time(void **state)
{
	static const uint32_t kinds[] = {THINP_IO_READ, THINP_IO_WRITE, THINP_IO_FLUSH};
	struct thinp_io *leaking = new_device(300);

	(void)state;
	make_leaking(leaking);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		uint64_t nth = 1;

		while (fix_with_fault(leaking, kinds[i], nth))
			nth++;
		assert_true(nth > 4); /* two commits, two flushes each */
	}
	thinp_io_close(leaking);
}

static int look_at_crash(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	struct thinp_check_result result = check(io);

	(void)state;
	++*(uint64_t *)ctx;
	return is_whole(&result) ? 0 : 1;
}

static void after_a_crash_it_is_as_it_was_or_put_right(void **state)
{
	struct thinp_io *leaking = new_device(300);
	struct thinp_record *record;
	struct thinp_crash *crash;
	struct thinp_io *io;
	uint64_t nr_states = 0;

	(void)state;
	make_leaking(leaking);
	assert_int_equal(thinp_record_create(leaking, NULL, &record), 0);
	assert_int_equal(thinp_record_open(record, NULL, &io), 0);
	assert_int_equal(fix_and_clear(io, NULL), 0);
	thinp_io_close(io);
	assert_int_equal(thinp_crash_create(record, NULL, &crash), 0);
	assert_int_equal(thinp_crash_run(crash, look_at_crash, &nr_states), 0);
	assert_true(nr_states > 50);
	thinp_crash_destroy(crash);
	thinp_record_destroy(record);
	thinp_io_close(leaking);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TOOL_03_leaks_are_put_right),
		cmocka_unit_test(TOOL_05_the_mark_stays_while_there_are_leaks),
		cmocka_unit_test(wrong_use_is_refused),
		cmocka_unit_test(TOOL_04_nothing_is_put_right_beside_a_fatal_finding),
		cmocka_unit_test(more_leaks_than_are_noted_at_once),
		cmocka_unit_test(a_pool_without_room_is_put_right_by_what_it_gets_back),
		cmocka_unit_test(memory_may_fail_at_any_time),
		cmocka_unit_test(the_device_may_fail_at_any_time),
		cmocka_unit_test(after_a_crash_it_is_as_it_was_or_put_right),
	};

	return cmocka_run_group_tests_name("integration/fix", tests, NULL, NULL);
}
