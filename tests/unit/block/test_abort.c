/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_abort.c - BM-10: aborts beside threads that evict blocks and ask questions.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "support/block_change.h"

enum { NR_BLOCKS = 300, CACHE = 8, NR_THREADS = 2, NR_ABORTS = 300 };

struct crowd {
	struct block_fixture *f;
	atomic_bool is_over;
	atomic_uint nr_asked; /* by the device, in the middle of a batch */
	atomic_uint nr_wrong;
};

/* What a device may do that belongs to the same program: it asks the block manager that is waiting for it. */
static void ask(void *ctx)
{
	struct crowd *crowd = ctx;
	struct thinp_bm_stats stats = block_fixture_stats(crowd->f);

	crowd->nr_wrong += stats.blocks_limit != CACHE;
	crowd->nr_asked++;
}

static void make_crowd(struct crowd *crowd)
{
	*crowd = (struct crowd){.f = block_fixture_new(NR_BLOCKS, CACHE)};
	crowd->f->device.hook = ask;
	crowd->f->device.hook_ctx = crowd;
}

static void *read_one(void *arg)
{
	struct crowd *crowd = arg;

	crowd->nr_wrong += block_fixture_read(crowd->f, 200) != 0;
	return NULL;
}

/* The reader has driven out a block and is inside the device when the transaction is aborted. */
static void BM_10_an_abort_does_not_wait_for_one_who_evicts(void **state)
{
	struct crowd crowd;
	struct block_fixture *f;
	pthread_t thread;
	uint64_t evictions;

	(void)state;
	make_crowd(&crowd);
	f = crowd.f;
	block_fixture_read_range(f, 100, 100 + CACHE);
	evictions = block_fixture_stats(f).evictions;
	block_device_shut_gate(&f->device, 200);
	assert_int_equal(pthread_create(&thread, NULL, read_one, &crowd), 0);
	block_device_wait_stopped(&f->device, 1);
	assert_true(block_fixture_stats(f).evictions > evictions);
	for (int round = 0; round < 3; round++) {
		size_t nr_allocations;

		block_change_range(f, 1, 40, 1);
		nr_allocations = f->alloc.nr_calls;
		block_device_forget(&f->device);
		thinp_bm_abort(f->bm);
		assert_int_equal(f->alloc.nr_calls, nr_allocations); /* nothing is made anew */
		assert_int_equal(block_device_nr_batches(&f->device), 0);
		for (thinp_block_t block = 1; block < 40; block++)
			assert_false(block_fixture_has(f, block));
	}
	assert_true(crowd.nr_asked > 3);
	block_device_open_gate(&f->device);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(crowd.nr_wrong, 0);
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

/* Blocks that no transaction changes, more than the cache holds. */
static void *read_and_evict(void *arg)
{
	struct crowd *crowd = arg;

	for (thinp_block_t block = 0; !crowd->is_over; block++)
		crowd->nr_wrong += block_fixture_read(crowd->f, 100 + block * 7 % 150) != 0;
	return NULL;
}

/* Readers of their own come and go, too, for they take from the same memory. */
static void *make_and_ask(void *arg)
{
	struct crowd *crowd = arg;
	struct thinp_reader *reader;

	while (!crowd->is_over) {
		if (thinp_reader_create(crowd->f->bm, 0, &reader))
			crowd->nr_wrong++;
		else
			thinp_reader_destroy(reader);
		(void)block_fixture_stats(crowd->f);
	}
	return NULL;
}

static void BM_10_aborts_evictions_and_questions_at_once(void **state)
{
	struct crowd crowd;
	pthread_t threads[NR_THREADS + 1];

	(void)state;
	make_crowd(&crowd);
	for (size_t i = 0; i <= NR_THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, i < NR_THREADS ? read_and_evict : make_and_ask, &crowd), 0);
	for (uint64_t version = 1; version <= NR_ABORTS; version++) {
		block_change_range(crowd.f, 1, 20, version);
		thinp_bm_abort(crowd.f->bm);
		for (thinp_block_t block = 1; block < 20; block++)
			assert_false(block_fixture_has(crowd.f, block));
	}
	crowd.is_over = true;
	for (size_t i = 0; i <= NR_THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(crowd.nr_wrong, 0);
	block_change_expect_at_rest(crowd.f);
	block_fixture_free(crowd.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BM_10_an_abort_does_not_wait_for_one_who_evicts),
		cmocka_unit_test(BM_10_aborts_evictions_and_questions_at_once),
	};

	return cmocka_run_group_tests_name("block/abort", tests, NULL, NULL);
}
