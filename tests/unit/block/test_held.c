/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_held.c - readers that stay in their sections and a writer that needs buffers.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "block/manager.h"
#include "support/block_change.h"

enum { NR_BLOCKS = 700, HELD_FROM = 500 };

static const uint32_t small_caches[] = {1, 2, 3, 16};
#define NR_SMALL_CACHES (sizeof(small_caches) / sizeof(small_caches[0]))

/* --- the writer goes on --- */

struct held {
	struct thinp_read_section section;
	const void *data;
};

/* Sections that hold every buffer of the cache: one each by a pin, or all retired behind the back of one. */
static void hold_all(struct block_fixture *f, uint32_t cache, struct held *held, bool by_pins)
{
	for (uint32_t n = 0; n < cache; n++) {
		thinp_read_begin(f->reader, &held[n].section);
		held[n].data = block_fixture_get(f, &held[n].section, HELD_FROM + n);
	}
	if (!by_pins)
		block_fixture_read_range(f, HELD_FROM + cache, HELD_FROM + 100);
}

static void release_all(struct block_fixture *f, uint32_t cache, struct held *held)
{
	for (uint32_t n = 0; n < cache; n++) {
		assert_true(block_device_is(&f->device, HELD_FROM + n, held[n].data));
		thinp_read_end(&held[n].section);
	}
}

/* A transaction of many more blocks than there are buffers, some changed twice, some forgotten. */
static void transact(struct block_fixture *f, uint64_t version)
{
	block_change_range(f, 1, 201, version);
	for (thinp_block_t block = 1; block < 201; block += 3) {
		assert_true(block_change_reads(f, block, version));
		assert_int_equal(block_change_again(f, block, version, version + 1), 0);
	}
	block_change_range(f, 300, 320, version);
	for (thinp_block_t block = 300; block < 320; block++)
		thinp_bm_forget(f->bm, block);
}

static void readers_that_stay_do_not_stop_the_writer(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * NR_SMALL_CACHES; i++) {
		uint32_t cache = small_caches[i / 2];
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, cache);
		struct held held[16];
		uint64_t bytes = 0;

		hold_all(f, cache, held, i % 2);
		for (uint64_t version = 1; version < 14; version += 2) {
			transact(f, version);
			if (version % 3 == 0)
				thinp_bm_abort(f->bm);
			assert_int_equal(block_change_commit(f, version), 0);
			for (thinp_block_t block = 1; block < 201 && version % 3; block++) {
				assert_true(block_change_is_on_device(f, block, version + (block % 3 == 1)));
				assert_true(block_change_reads(f, block, version + (block % 3 == 1)));
			}
			if (version == 5)
				bytes = block_fixture_stats(f).bytes;
		}
		assert_int_equal(block_fixture_stats(f).bytes, bytes); /* however long they stay */
		assert_true(block_fixture_stats(f).blocks_cached <= cache);
		release_all(f, cache, held);
		block_change_expect_at_rest(f);
		block_fixture_free(f);
	}
}

/* What is left to wait for: more blocks locked than the writer has buffers of its own, while readers hold the others. */
static void more_locks_than_the_writer_has_buffers_of_its_own_need_those_of_readers(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 3);
	struct thinp_buffer *buffers[TP_OWN_BUFFERS];
	struct held held[16];

	(void)state;
	hold_all(f, 3, held, true);
	for (uint32_t n = 0; n < TP_OWN_BUFFERS; n++)
		buffers[n] = block_change_lock(f, 1 + n, 1);
	assert_int_equal(block_change_new(f, 100, 1), THINP_ENOMEM);
	assert_int_equal(block_device_nr_changes(&f->device), 0);
	release_all(f, 3, held);
	assert_int_equal(block_change_new(f, 100, 1), 0);
	for (uint32_t n = 0; n < TP_OWN_BUFFERS; n++)
		thinp_bm_unlock(f->bm, buffers[n]);
	assert_int_equal(block_change_commit(f, 1), 0);
	for (uint32_t n = 0; n < TP_OWN_BUFFERS; n++)
		assert_true(block_change_is_on_device(f, 1 + n, 1));
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

/* In every state: changed, being changed, written early. A section keeps it by its pin, and it is not used again. */
static void one_of_the_writers_own_that_a_reader_has_is_kept_for_it(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 2);
	struct held held[16];
	struct thinp_read_section section;
	const void *data;

	(void)state;
	hold_all(f, 2, held, true);
	assert_int_equal(block_change_new(f, 7, 1), 0);
	thinp_read_begin(f->reader, &section);
	assert_null(thinp_read_peek(&section, 7, thinp_block_type_bitmap())); /* not without the lock */
	assert_int_equal(thinp_read_block(&section, 7, thinp_block_type_bitmap(), &data), 0);
	assert_true(block_change_is(data, 7, 1));
	for (int ending = 0; ending < 4; ending++) {
		block_change_range(f, 20, 60, 1);
		assert_true(block_change_is(data, 7, 1));
		if (ending == 0)
			assert_int_equal(block_change_commit(f, 1), 0);
		else if (ending == 1)
			thinp_bm_abort(f->bm);
		else if (ending == 2)
			assert_int_equal(block_change_new(f, 7, 2), 0);
	}
	thinp_read_end(&section);
	thinp_bm_abort(f->bm);
	release_all(f, 2, held);
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

/* --- and the readers keep what they have --- */

/* A reader without a slot has nothing but its pin, whatever becomes of the block. */
static void what_a_reader_has_stays_when_the_block_is_used_anew(void **state)
{
	(void)state;
	for (int ending = 0; ending < 4; ending++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, 16);
		struct thinp_read_section others[BLOCK_FIXTURE_SLOTS];
		struct thinp_read_section pinned;
		uint8_t before[THINP_BLOCK_SIZE];
		const void *data;

		memcpy(before, f->device.blocks + (size_t)7 * THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
		block_fixture_take_slots(f, others);
		thinp_read_begin(f->reader, &pinned);
		assert_int_equal(thinp_read_block(&pinned, 7, thinp_block_type_bitmap(), &data), 0);
		assert_int_equal(block_change_new(f, 7, 1), 0);
		block_fixture_give_slots(others);
		if (ending == 0)
			assert_int_equal(block_change_commit(f, 1), 0);
		else if (ending == 1)
			thinp_bm_abort(f->bm);
		else if (ending == 2)
			thinp_bm_forget(f->bm, 7);
		block_change_range(f, 20, 100, 1); /* every buffer that can be had is used */
		assert_memory_equal(data, before, THINP_BLOCK_SIZE);
		thinp_read_end(&pinned);
		block_change_expect_at_rest(f);
		block_fixture_free(f);
	}
}

/* One with a slot keeps what it has found without a pin, too. */
static void what_a_reader_has_found_stays_until_its_section_ends(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 16);
	struct thinp_read_section section;
	uint8_t before[THINP_BLOCK_SIZE];
	const void *data;

	(void)state;
	memcpy(before, f->device.blocks + (size_t)7 * THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	block_fixture_read_range(f, 7, 8);
	thinp_read_begin(f->reader, &section);
	data = thinp_read_peek(&section, 7, thinp_block_type_bitmap());
	assert_non_null(data);
	block_change_range(f, 7, 20, 1); /* as many as there are free buffers */
	assert_memory_equal(data, before, THINP_BLOCK_SIZE);
	thinp_read_end(&section);
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

struct visitor {
	struct block_fixture *f;
	pthread_barrier_t barrier;
};

static void *visit(void *arg)
{
	struct visitor *visitor = arg;
	struct thinp_read_section section;

	thinp_read_begin(visitor->f->reader, &section);
	block_fixture_get(visitor->f, &section, 100);
	pthread_barrier_wait(&visitor->barrier);
	thinp_read_end(&section);
	return NULL;
}

static void a_change_waits_a_little_for_readers_to_leave(void **state)
{
	struct visitor visitor = {.f = block_fixture_new(NR_BLOCKS, 2)};
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_barrier_init(&visitor.barrier, NULL, 2), 0);
	for (int round = 0; round < 20; round++) {
		block_fixture_read_range(visitor.f, 100, 102);
		assert_int_equal(pthread_create(&thread, NULL, visit, &visitor), 0);
		pthread_barrier_wait(&visitor.barrier);
		block_change_range(visitor.f, 1, 20, 1);
		assert_int_equal(pthread_join(thread, NULL), 0);
		thinp_bm_abort(visitor.f->bm);
	}
	pthread_barrier_destroy(&visitor.barrier);
	block_fixture_free(visitor.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readers_that_stay_do_not_stop_the_writer),
		cmocka_unit_test(more_locks_than_the_writer_has_buffers_of_its_own_need_those_of_readers),
		cmocka_unit_test(one_of_the_writers_own_that_a_reader_has_is_kept_for_it),
		cmocka_unit_test(what_a_reader_has_stays_when_the_block_is_used_anew),
		cmocka_unit_test(what_a_reader_has_found_stays_until_its_section_ends),
		cmocka_unit_test(a_change_waits_a_little_for_readers_to_leave),
	};

	return cmocka_run_group_tests_name("block/held", tests, NULL, NULL);
}
