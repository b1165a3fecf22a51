/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_stress.c - many threads, small caches, every byte verified.
 *
 * The environment variable THINP_TEST_SECONDS says how long, THINP_TEST_SEED with which numbers.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "base/epoch.h"
#include "support/block_fixture.h"
#include "unit/base/random.h"

enum { NR_BLOCKS = 1000, NR_THREADS = 4, NODES_FROM = 900 };

/* Blocks from NODES_FROM on are nodes, the others are bitmaps. */
static const struct thinp_block_type *type_of(thinp_block_t block)
{
	return block < NODES_FROM ? thinp_block_type_bitmap() : thinp_block_type_node();
}

struct crowd {
	struct block_fixture *f;
	uint64_t seed;
	atomic_bool is_over;
	_Atomic uint64_t nr_answered; /* reads and peeks that gave a block */
	_Atomic uint64_t nr_refused;  /* reads that asked for the wrong kind */
	_Atomic uint64_t nr_wrong;
	_Atomic uint64_t nr_started;
};

static bool is_right(struct crowd *crowd, thinp_block_t block, const void *data)
{
	return !data || block_device_is(&crowd->f->device, block, data);
}

static uint64_t peek(struct crowd *crowd, struct thinp_read_section *section, thinp_block_t block, const void **data)
{
	*data = thinp_read_peek(section, block, type_of(block));
	if (!is_right(crowd, block, *data))
		atomic_fetch_add(&crowd->nr_wrong, 1);
	return *data != NULL;
}

static uint64_t read_one(struct crowd *crowd, struct thinp_read_section *section, thinp_block_t block)
{
	const void *data = NULL;

	if (thinp_read_block(section, block, type_of(block), &data) || !is_right(crowd, block, data))
		atomic_fetch_add(&crowd->nr_wrong, 1);
	return data != NULL;
}

/* What was peeked must still be right after other peeks; then a few reads, of which every other is of a block that is
 * read often. Returns how many gave a block. */
static uint64_t visit(struct crowd *crowd, uint64_t *rng)
{
	struct thinp_read_section section;
	thinp_block_t first = random_next(rng) % NR_BLOCKS;
	uint64_t nr_reads = 1 + random_next(rng) % 4;
	uint64_t nr_answered = 0;
	const void *first_data;
	const void *data;

	thinp_read_begin(crowd->f->reader, &section);
	nr_answered += peek(crowd, &section, first, &first_data);
	for (int i = 0; i < 3; i++)
		nr_answered += peek(crowd, &section, random_next(rng) % NR_BLOCKS, &data);
	if (!is_right(crowd, first, first_data))
		atomic_fetch_add(&crowd->nr_wrong, 1);
	for (uint64_t i = 0; i < nr_reads; i++)
		nr_answered += read_one(crowd, &section, random_next(rng) % (i % 2 ? 20 : NR_BLOCKS));
	thinp_read_end(&section);
	return nr_answered;
}

/* A bitmap asked for as a node and the other way round, while others read it as what it is. */
static void ask_wrongly(struct crowd *crowd, uint64_t *rng)
{
	struct thinp_read_section section;
	thinp_block_t block = random_next(rng) % NR_BLOCKS;
	const struct thinp_block_type *wrong = block < NODES_FROM ? thinp_block_type_node() : thinp_block_type_bitmap();
	const void *data;

	thinp_read_begin(crowd->f->reader, &section);
	if (thinp_read_block(&section, block, wrong, &data) != THINP_ECORRUPT)
		atomic_fetch_add(&crowd->nr_wrong, 1);
	thinp_read_end(&section);
	atomic_fetch_add_explicit(&crowd->nr_refused, 1, memory_order_relaxed);
}

static void *read_at_random(void *arg)
{
	struct crowd *crowd = arg;
	uint64_t rng = crowd->seed + atomic_fetch_add(&crowd->nr_started, 1);
	uint64_t nr_answered = 0;

	for (uint64_t i = 0; !atomic_load_explicit(&crowd->is_over, memory_order_relaxed); i++) {
		nr_answered += visit(crowd, &rng);
		if (i % 16 == 0)
			ask_wrongly(crowd, &rng);
	}
	atomic_fetch_add(&crowd->nr_answered, nr_answered);
	return NULL;
}

static void watch_and_prefetch(struct crowd *crowd, uint64_t *rng)
{
	struct thinp_bm_stats stats = block_fixture_stats(crowd->f);
	thinp_block_t blocks[40];

	assert_true(stats.blocks_cached <= stats.blocks_limit);
	for (size_t i = 0; i < 40; i++)
		blocks[i] = random_next(rng) % (NR_BLOCKS + 10);
	thinp_reader_prefetch(crowd->f->reader, type_of(blocks[0]), blocks, 40);
}

/* After the crowd has gone no buffer may be missing: as many different blocks as the cache holds fit in again. */
static void expect_whole(struct block_fixture *f, uint32_t cache_blocks)
{
	uint64_t nr = cache_blocks < NODES_FROM ? cache_blocks : NODES_FROM;
	uint64_t uncached = block_fixture_stats(f).uncached;

	block_fixture_read_range(f, 0, NODES_FROM);
	assert_int_equal(block_fixture_stats(f).uncached, uncached);
	assert_true(block_fixture_stats(f).blocks_cached >= nr - nr / 16);
}

/* Every block that was given was a hit or a miss. What was refused was a miss, or nothing when it was cached. */
static void expect_counted(struct crowd *crowd, uint32_t cache_blocks)
{
	struct thinp_bm_stats stats = block_fixture_stats(crowd->f);
	uint64_t nr_answered = atomic_load(&crowd->nr_answered);

	print_message("cache of %4u: %" PRIu64 " hits, %" PRIu64 " misses, %" PRIu64 " prefetched, %" PRIu64
		      " evicted, %" PRIu64 " uncached\n",
		      cache_blocks, stats.hits, stats.misses, stats.prefetched, stats.evictions, stats.uncached);
	assert_in_range(stats.hits + stats.misses, nr_answered, nr_answered + atomic_load(&crowd->nr_refused));
}

static void run_crowd(uint32_t cache_blocks, uint64_t *rng)
{
	struct crowd crowd = {.f = block_fixture_new_quiet(NR_BLOCKS, cache_blocks), .seed = random_next(rng)};
	pthread_t threads[NR_THREADS];
	double end;

	for (thinp_block_t block = NODES_FROM; block < NR_BLOCKS; block++)
		block_device_fill(&crowd.f->device, block, thinp_block_type_node(), block);
	end = block_fixture_now() + block_fixture_seconds() / 6;
	for (size_t i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_at_random, &crowd), 0);
	while (block_fixture_now() < end)
		watch_and_prefetch(&crowd, rng);
	atomic_store(&crowd.is_over, true);
	for (size_t i = 0; i < NR_THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(atomic_load(&crowd.nr_wrong), 0);
	expect_counted(&crowd, cache_blocks);
	expect_whole(crowd.f, cache_blocks);
	block_fixture_free(crowd.f);
}

static void four_threads_read_the_right_bytes_through_a_cache_of_any_size(void **state)
{
	static const uint32_t caches[] = {1, 3, 16, 64, 2000};
	uint64_t rng = random_begin();

	(void)state;
	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++)
		run_crowd(caches[i], &rng);
}

/* --- more threads than slots, each with a section open --- */

enum { NR_MANY = TP_EPOCH_NR_SLOTS + 16 };

struct many {
	struct block_fixture *f;
	pthread_barrier_t all_inside;
	_Atomic uint64_t nr_wrong;
	_Atomic uint64_t nr_started;
};

static void *stay_inside(void *arg)
{
	struct many *many = arg;
	thinp_block_t block = atomic_fetch_add(&many->nr_started, 1);
	struct thinp_read_section section;
	const void *data = NULL;

	for (int round = 0; round < 4; round++) {
		thinp_read_begin(many->f->reader, &section);
		if (thinp_read_block(&section, block, thinp_block_type_bitmap(), &data))
			atomic_fetch_add(&many->nr_wrong, 1);
		pthread_barrier_wait(&many->all_inside);
		if (!block_device_is(&many->f->device, block, data))
			atomic_fetch_add(&many->nr_wrong, 1);
		pthread_barrier_wait(&many->all_inside);
		thinp_read_end(&section);
	}
	return NULL;
}

static void more_threads_than_slots_stay_inside_at_once(void **state)
{
	struct many many = {.f = block_fixture_new_quiet(NR_BLOCKS, 30)};
	pthread_t threads[NR_MANY];

	(void)state;
	assert_int_equal(pthread_barrier_init(&many.all_inside, NULL, NR_MANY), 0);
	for (size_t i = 0; i < NR_MANY; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, stay_inside, &many), 0);
	for (size_t i = 0; i < NR_MANY; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	pthread_barrier_destroy(&many.all_inside);
	assert_int_equal(atomic_load(&many.nr_wrong), 0);
	block_fixture_read_range(many.f, 0, NR_BLOCKS);
	assert_true(block_fixture_stats(many.f).blocks_cached >= 29);
	block_fixture_free(many.f);
}

/* --- one thread stopped in its device --- */

struct stopped {
	struct block_fixture *f;
	thinp_block_t block;
	int result;
};

static void *read_stopped(void *arg)
{
	struct stopped *stopped = arg;

	stopped->result = block_fixture_read(stopped->f, stopped->block);
	return NULL;
}

static void *prefetch_stopped(void *arg)
{
	struct stopped *stopped = arg;

	thinp_reader_prefetch(stopped->f->reader, thinp_block_type_bitmap(), &stopped->block, 1);
	return NULL;
}

static void a_reader_stopped_in_its_device_delays_nobody(void **state)
{
	struct stopped stopped = {.f = block_fixture_new(NR_BLOCKS, 8), .block = 5, .result = 1};
	pthread_t thread;

	(void)state;
	block_device_shut_gate(&stopped.f->device, 5);
	assert_int_equal(pthread_create(&thread, NULL, read_stopped, &stopped), 0);
	block_device_wait_stopped(&stopped.f->device, 1);

	/* hits, misses, evictions, figures, prefetch, making and releasing readers */
	for (int round = 0; round < 3; round++)
		block_fixture_read_range(stopped.f, 10, 50);
	thinp_reader_prefetch(stopped.f->reader, thinp_block_type_bitmap(), &(thinp_block_t){60}, 1);
	assert_true(block_fixture_has(stopped.f, 60));
	assert_int_equal(block_fixture_stats(stopped.f).uncached, 0); /* one buffer less is no trouble */

	block_device_open_gate(&stopped.f->device);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(stopped.result, 0);
	assert_true(block_fixture_has(stopped.f, 5));
	block_fixture_free(stopped.f);
}

static void BM_08_those_who_fetch_one_block_have_a_buffer_each_and_share_the_first(void **state)
{
	struct stopped stopped[3];
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 8);
	pthread_t threads[3];

	(void)state;
	block_device_shut_gate(&f->device, 5);
	for (size_t i = 0; i < 3; i++) {
		stopped[i] = (struct stopped){.f = f, .block = 5, .result = 0};
		assert_int_equal(pthread_create(&threads[i], NULL, i ? read_stopped : prefetch_stopped, &stopped[i]),
				 0);
		block_device_wait_stopped(&f->device, (unsigned int)i + 1); /* while one makes buffers there are none */
	}
	assert_int_equal(block_fixture_stats(f).blocks_cached, 0);
	for (size_t i = 0; i < 3; i++) /* BM-08: none reads into the memory of another */
		for (size_t k = 0; k < i; k++)
			assert_ptr_not_equal(f->device.log_buffer[i], f->device.log_buffer[k]);
	block_device_open_gate(&f->device);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(stopped[i].result, 0);
	}
	assert_int_equal(block_device_nr_reads(&f->device), 3);
	assert_int_equal(block_fixture_stats(f).blocks_cached, 1);
	block_fixture_read_range(f, 10, 18); /* the buffers of the others came back */
	assert_int_equal(block_fixture_stats(f).uncached, 0);
	block_fixture_free(f);
}

static void all_buffers_in_the_hands_of_stopped_readers_leave_the_others_uncached(void **state)
{
	struct stopped stopped[2];
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, 2);
	pthread_t threads[2];

	(void)state;
	block_device_shut_gate(&f->device, 5);
	for (size_t i = 0; i < 2; i++) {
		stopped[i] = (struct stopped){.f = f, .block = 5};
		assert_int_equal(pthread_create(&threads[i], NULL, read_stopped, &stopped[i]), 0);
		block_device_wait_stopped(&f->device, (unsigned int)i + 1); /* while one makes buffers there are none */
	}
	block_fixture_read_range(f, 10, 20);
	assert_int_equal(block_fixture_stats(f).uncached, 10);
	block_device_open_gate(&f->device);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	block_fixture_read_range(f, 10, 20);
	assert_int_equal(block_fixture_stats(f).uncached, 10);
	block_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(four_threads_read_the_right_bytes_through_a_cache_of_any_size),
		cmocka_unit_test(more_threads_than_slots_stay_inside_at_once),
		cmocka_unit_test(a_reader_stopped_in_its_device_delays_nobody),
		cmocka_unit_test(BM_08_those_who_fetch_one_block_have_a_buffer_each_and_share_the_first),
		cmocka_unit_test(all_buffers_in_the_hands_of_stopped_readers_leave_the_others_uncached),
	};

	return cmocka_run_group_tests_name("block/stress", tests, NULL, NULL);
}
