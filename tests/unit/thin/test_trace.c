/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Watching the operations on reference counts of a pool.
 */
#include <thinp/error.h>
#include <thinp/pool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct seen {
	uint64_t nr[THINP_OP_REFUSED + 1];
	uint64_t first;
};

static void note(void *ctx, const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op, uint32_t depth)
{
	struct seen *seen = ctx;

	(void)sm;
	(void)depth;
	seen->nr[event]++;
	seen->first = op->first;
}

static void each_space_is_watched_by_itself(void **state)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = 100};
	const struct thinp_pool_opts opts = {
		.size = sizeof(opts), .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE, .nr_data_blocks = 100};
	struct seen data = {.first = 0}, metadata = {.first = 0};
	struct thinp_io *io;
	struct thinp_pool *pool;

	(void)state;
	assert_int_equal(thinp_io_open_memory(&io_opts, &io), 0);
	assert_int_equal(thinp_pool_open(io, &opts, &pool), 0);
	assert_int_equal(thinp_pool_set_trace(pool, THINP_POOL_DATA, note, &data), 0);
	assert_int_equal(thinp_pool_set_trace(pool, THINP_POOL_METADATA, note, &metadata), 0);
	assert_int_equal(thinp_pool_set_trace(pool, 3, note, &metadata), THINP_EINVAL);
	assert_int_equal(thinp_pool_begin(pool), 0);
	assert_int_equal(thinp_pool_inc_data(pool, 77, 1), 0);
	assert_int_equal(data.nr[THINP_OP_ISSUED], 1);
	assert_int_equal(data.nr[THINP_OP_APPLIED], 1);
	assert_int_equal(data.first, 77);
	assert_int_equal(metadata.nr[THINP_OP_ISSUED], 0);
	assert_int_equal(thinp_pool_set_trace(pool, THINP_POOL_DATA, NULL, NULL), 0);
	assert_int_equal(thinp_pool_inc_data(pool, 78, 1), 0);
	assert_int_equal(data.nr[THINP_OP_ISSUED], 1);
	assert_int_equal(thinp_pool_commit(pool), 0);
	assert_true(metadata.nr[THINP_OP_ISSUED] > 0);
	assert_true(metadata.nr[THINP_OP_QUEUED] > 0);
	assert_int_equal(metadata.nr[THINP_OP_APPLIED], metadata.nr[THINP_OP_ISSUED]);
	thinp_pool_close(pool);
	assert_int_equal(thinp_pool_open(io, NULL, &pool), 0);
	assert_int_equal(thinp_pool_set_trace(pool, THINP_POOL_DATA, note, &data), THINP_EROFS);
	thinp_pool_close(pool);
	thinp_io_close(io);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_space_is_watched_by_itself),
	};

	return cmocka_run_group_tests_name("thin/trace", tests, NULL, NULL);
}
