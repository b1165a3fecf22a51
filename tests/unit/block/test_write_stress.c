/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_write_stress.c - readers, a writer that commits and evicts under them, and every byte verified.
 *
 * Objects have a block each. A transaction gives some of them new blocks; its commit publishes a view, the table of all
 * objects. Readers announce the view they use, so that the writer knows which blocks nobody can reach any more: what the
 * store does with views, in small.
 *
 * The run ends after a million reads or after THINP_TEST_SECONDS; THINP_TEST_SEED says with which numbers.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "base/bytes.h"
#include "format/kind.h"
#include "support/block_change.h"
#include "unit/base/random.h"

enum { NR_OBJECTS = 400, NR_BLOCKS = 1200, NR_READERS = 2, NR_VIEWS = 8, CACHE = 64, NR_READS = 1000000 };

#define NO_VIEW UINT64_MAX

struct view {
	thinp_block_t blocks[NR_OBJECTS];
	uint64_t versions[NR_OBJECTS];
};

struct stress {
	struct block_fixture *f;
	bool reads_record; /* the record is read, too, while it is written: the device must be one that keeps them apart */
	uint64_t seed;
	double end;
	struct view views[NR_VIEWS]; /* in turn */
	_Atomic uint64_t current;    /* number of the view */
	_Atomic uint64_t in_use[NR_READERS];
	_Atomic uint64_t nr_reads;
	_Atomic uint64_t nr_wrong;
	_Atomic uint64_t nr_started;

	/* of the writer alone */
	uint64_t freed_in[NR_BLOCKS]; /* the first view that does not have the block; NO_VIEW: in use */
	thinp_block_t next_block;
	uint64_t nr_commits;
	uint64_t nr_aborts;
};

static bool is_over(struct stress *s)
{
	return atomic_load_explicit(&s->nr_reads, memory_order_relaxed) >= NR_READS || block_fixture_now() >= s->end;
}

/* --- readers --- */

static uint64_t enter_view(struct stress *s, uint64_t reader)
{
	uint64_t view;

	do {
		view = atomic_load(&s->current);
		atomic_store(&s->in_use[reader], view);
	} while (atomic_load(&s->current) != view);
	return view;
}

static bool is_right(const void *data, thinp_block_t block, uint64_t object, uint64_t version)
{
	return block_change_is(data, object, version) && !tp_block_verify(data, block, thinp_block_type_bitmap());
}

static bool read_object(struct thinp_read_section *section, const struct view *view, uint64_t object)
{
	const void *data;

	return !thinp_read_block(section, view->blocks[object], thinp_block_type_bitmap(), &data) &&
	       is_right(data, view->blocks[object], object, view->versions[object]);
}

/* The record must be that of the view, or a later one: its version is its first word. */
static bool read_record(struct thinp_read_section *section, uint64_t number)
{
	const void *data;

	return !thinp_read_block(section, 0, thinp_block_type_bitmap(), &data) &&
	       tp_load_le64((const uint8_t *)data + BLOCK_CHANGE_HEADER) >= number;
}

static uint64_t read_view(struct stress *s, uint64_t number, uint64_t *rng)
{
	const struct view *view = &s->views[number % NR_VIEWS];
	struct thinp_read_section section;
	uint64_t nr_wrong = 0;

	thinp_read_begin(s->f->reader, &section);
	for (int i = 0; i < 8; i++) {
		uint64_t object = random_next(rng) % (i % 4 ? NR_OBJECTS : 16);

		nr_wrong += !read_object(&section, view, object);
	}
	if (s->reads_record)
		nr_wrong += !read_record(&section, number);
	thinp_read_end(&section);
	return nr_wrong;
}

static void *read_at_random(void *arg)
{
	struct stress *s = arg;
	uint64_t reader = atomic_fetch_add(&s->nr_started, 1);
	uint64_t rng = s->seed + reader;

	while (!is_over(s)) {
		uint64_t nr_wrong = read_view(s, enter_view(s, reader), &rng);

		atomic_store(&s->in_use[reader], NO_VIEW);
		atomic_fetch_add_explicit(&s->nr_wrong, nr_wrong, memory_order_relaxed);
		atomic_fetch_add_explicit(&s->nr_reads, 8, memory_order_relaxed);
	}
	return NULL;
}

/* --- the writer --- */

static uint64_t oldest_in_use(struct stress *s)
{
	uint64_t oldest = atomic_load(&s->current);

	for (size_t i = 0; i < NR_READERS; i++) {
		uint64_t view = atomic_load(&s->in_use[i]);

		if (view < oldest)
			oldest = view;
	}
	return oldest;
}

/* A block that no view in use has; 0: there is none now. */
static thinp_block_t take_block(struct stress *s, uint64_t oldest)
{
	for (int i = 1; i < NR_BLOCKS; i++) {
		s->next_block = s->next_block % (NR_BLOCKS - 1) + 1;
		if (s->freed_in[s->next_block] <= oldest) {
			s->freed_in[s->next_block] = NO_VIEW;
			return s->next_block;
		}
	}
	return 0;
}

/* Gives the object a new block, or changes once more the one that it got in this transaction. */
static void change(struct stress *s, struct view *next, const struct view *before, uint64_t object, uint64_t oldest)
{
	bool is_new = next->blocks[object] == before->blocks[object];
	struct thinp_buffer *buffer;
	void *data;
	int r;

	if (is_new) {
		thinp_block_t block = take_block(s, oldest);

		if (!block)
			return;
		next->blocks[object] = block;
		r = thinp_bm_write_lock_zero(s->f->bm, block, thinp_block_type_bitmap(), &buffer, &data);
	} else {
		r = thinp_bm_write_lock(s->f->bm, next->blocks[object], thinp_block_type_bitmap(), &buffer, &data);
	}
	assert_int_equal(r, 0);
	if (!is_new)
		assert_true(block_change_is(data, object, next->versions[object]));
	next->versions[object]++;
	block_change_fill(data, object, next->versions[object]);
	thinp_bm_unlock(s->f->bm, buffer);
}

static void free_blocks(struct stress *s, const struct view *of, const struct view *kept, uint64_t in_view)
{
	for (size_t i = 0; i < NR_OBJECTS; i++)
		if (of->blocks[i] != kept->blocks[i])
			s->freed_in[of->blocks[i]] = in_view;
}

static void commit(struct stress *s, uint64_t number)
{
	uint8_t record[THINP_BLOCK_SIZE] = {0};

	tp_store_le64(record + BLOCK_CHANGE_HEADER, number);
	assert_int_equal(thinp_bm_commit(s->f->bm, 0, thinp_block_type_bitmap(), record), 0);
	atomic_store(&s->current, number);
	s->nr_commits++;
}

/* Every eighth transaction aborts, and its blocks are free at once. */
static void transact(struct stress *s, uint64_t *rng)
{
	uint64_t number = atomic_load(&s->current) + 1;
	const struct view *before = &s->views[(number - 1) % NR_VIEWS];
	struct view *next = &s->views[number % NR_VIEWS];
	uint64_t oldest = oldest_in_use(s);
	uint64_t nr_changes = 1 + random_next(rng) % 120;

	if (oldest + NR_VIEWS <= number)
		return; /* somebody still uses the view whose place this one would take */
	*next = *before;
	for (uint64_t i = 0; i < nr_changes; i++)
		change(s, next, before, random_next(rng) % NR_OBJECTS, oldest);
	if (random_next(rng) % 8 == 0) {
		thinp_bm_abort(s->f->bm);
		free_blocks(s, next, before, 0);
		s->nr_aborts++;
	} else {
		commit(s, number);
		free_blocks(s, before, next, number);
	}
}

static void begin(struct stress *s, uint64_t *rng)
{
	struct view *view = &s->views[1];

	s->seed = random_next(rng);
	s->end = block_fixture_now() + block_fixture_seconds();
	for (size_t i = 0; i < NR_READERS; i++)
		atomic_store(&s->in_use[i], NO_VIEW);
	for (uint64_t i = 0; i < NR_OBJECTS; i++) {
		view->blocks[i] = 1 + i;
		view->versions[i] = 1;
		s->freed_in[1 + i] = NO_VIEW;
	}
	for (uint64_t i = 0; i < NR_OBJECTS; i++) {
		struct thinp_buffer *buffer;
		void *data;

		assert_int_equal(thinp_bm_write_lock_zero(s->f->bm, 1 + i, thinp_block_type_bitmap(), &buffer, &data),
				 0);
		block_change_fill(data, i, 1);
		thinp_bm_unlock(s->f->bm, buffer);
	}
	commit(s, 1);
}

static void run(struct block_fixture *f, bool reads_record)
{
	struct stress *s = calloc(1, sizeof(*s));
	uint64_t rng = random_begin();
	struct thinp_bm_stats stats;
	pthread_t threads[NR_READERS];

	assert_non_null(s);
	s->f = f;
	s->reads_record = reads_record;
	begin(s, &rng);
	for (size_t i = 0; i < NR_READERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_at_random, s), 0);
	while (!is_over(s))
		transact(s, &rng);
	for (size_t i = 0; i < NR_READERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	stats = block_fixture_stats(f);
	print_message("%" PRIu64 " reads, %" PRIu64 " commits, %" PRIu64 " aborts, %" PRIu64 " written, %" PRIu64
		      " of them early, in %" PRIu64 " operations, %" PRIu64 " evicted, %" PRIu64 " uncached\n",
		      atomic_load(&s->nr_reads), s->nr_commits, s->nr_aborts, stats.written, stats.written_early,
		      stats.write_ops, stats.evictions, stats.uncached);
	assert_int_equal(atomic_load(&s->nr_wrong), 0);
	block_change_expect_at_rest(f);
	block_fixture_free(f);
	free(s);
}

static void a_million_reads_are_right_while_commits_write_and_evict(void **state)
{
	(void)state;
	run(block_fixture_new_quiet(NR_BLOCKS, CACHE), false);
}

static void the_record_that_is_read_is_never_older_than_the_view(void **state)
{
	(void)state;
	run(block_fixture_new(NR_BLOCKS, CACHE), true);
}

/* --- threads stopped in the device --- */

struct stopped {
	struct block_fixture *f;
	int result;
};

static void *read_stopped(void *arg)
{
	struct stopped *stopped = arg;

	stopped->result = block_fixture_read(stopped->f, 900);
	return NULL;
}

static void *commit_stopped(void *arg)
{
	struct stopped *stopped = arg;

	stopped->result = block_change_commit(stopped->f, 1);
	return NULL;
}

/* While the writer is in the middle of its batch, no block of it leaves the cache, however much is read. */
static void a_reader_and_the_writer_stopped_in_the_device_delay_nobody(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
	struct stopped reader = {f, 1};
	struct stopped writer = {f, 1};
	pthread_t threads[2];

	(void)state;
	block_change_range(f, 1, 30, 1);
	block_device_shut_gates(&f->device, 900, 20);
	assert_int_equal(pthread_create(&threads[0], NULL, read_stopped, &reader), 0);
	block_device_wait_stopped(&f->device, 1);
	assert_int_equal(pthread_create(&threads[1], NULL, commit_stopped, &writer), 0);
	block_device_wait_stopped(&f->device, 2);

	for (int round = 0; round < 3; round++) {
		block_fixture_read_range(f, 100, 300);
		for (thinp_block_t block = 1; block < 30; block++)
			assert_true(block_change_reads(f, block, 1));
	}
	thinp_reader_prefetch(f->reader, thinp_block_type_bitmap(), &(thinp_block_t){400}, 1);
	assert_true(block_fixture_has(f, 400));
	assert_int_equal(block_fixture_stats(f).blocks_dirty, 29);
	assert_int_equal(block_fixture_stats(f).uncached, 0);

	block_device_open_gate(&f->device);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(reader.result, 0);
	assert_int_equal(writer.result, 0);
	for (thinp_block_t block = 0; block < 30; block++)
		assert_true(block_change_is_on_device(f, block, 1));
	block_change_expect_at_rest(f);
	block_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_million_reads_are_right_while_commits_write_and_evict),
		cmocka_unit_test(the_record_that_is_read_is_never_older_than_the_view),
		cmocka_unit_test(a_reader_and_the_writer_stopped_in_the_device_delay_nobody),
	};

	return cmocka_run_group_tests_name("block/write_stress", tests, NULL, NULL);
}
