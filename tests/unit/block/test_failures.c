/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_failures.c - every allocation and every read that can fail, and callbacks that call back.
 *
 * OOMLOOP and ERRLOOP of the defect history: a life of a block manager that goes through every public function, again
 * and again, with the first, second, third ... call failing.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "block/manager.h"
#include "support/block_change.h"

enum { NR_BLOCKS = 100, CACHE = 8 };

/* --- a life --- */

/* What may go wrong: one call, or every call from one on. */
struct world {
	struct block_device device;
	struct alloc_counting alloc;
	struct thinp_allocator scarce; /* alloc, until it has run dry */
	size_t nr_left;
	bool has_failed;    /* something did, in the life that is over */
	size_t nr_failures; /* reads that told so */
	uint64_t nr_uncached;
};

static void *scarce_alloc(void *ctx, size_t nbytes, size_t align)
{
	struct world *w = ctx;

	if (!w->nr_left) {
		w->has_failed = true;
		return NULL;
	}
	w->nr_left--;
	return w->alloc.table.alloc(w->alloc.table.ctx, nbytes, align);
}

static void scarce_free(void *ctx, void *ptr, size_t nbytes)
{
	struct world *w = ctx;

	w->alloc.table.free(w->alloc.table.ctx, ptr, nbytes);
}

static struct world *new_world(void)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	block_device_open(&w->device, NR_BLOCKS);
	alloc_counting_init(&w->alloc);
	w->scarce = (struct thinp_allocator){
		.size = sizeof(w->scarce), .ctx = w, .alloc = scarce_alloc, .free = scarce_free};
	w->nr_left = SIZE_MAX;
	return w;
}

static void end_world(struct world *w)
{
	block_device_close(&w->device);
	free(w);
}

/* One read. A failure must be the one that is expected, and told in the thread's record. */
static void read_one(struct world *w, struct thinp_read_section *section, thinp_block_t block, int expected)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	const void *data = NULL;
	int r;

	thinp_error_report(THINP_ENODATA, block, "of before");
	r = thinp_read_block(section, block, thinp_block_type_bitmap(), &data);

	thinp_error_last(&info);
	if (!r) {
		assert_true(block_device_is(&w->device, block, data));
		assert_int_equal(info.code, THINP_ENODATA); /* a success leaves the record alone, whatever it met */
		return;
	}
	assert_int_equal(r, expected);
	assert_null(data);
	assert_int_equal(info.code, expected);
	w->nr_failures++;
}

/* Sections one after the other and inside each other, hits and misses, with and without a buffer to be had. */
static void use_reader(struct world *w, struct thinp_reader *reader, int expected)
{
	static const thinp_block_t ahead[] = {60, 4, 62};
	struct thinp_read_section sections[CACHE + 2];

	for (thinp_block_t block = 0; block < 2 * CACHE; block += 5) {
		thinp_read_begin(reader, &sections[0]);
		read_one(w, &sections[0], block, expected);
		read_one(w, &sections[0], block * 4 + 1, expected);
		thinp_read_peek(&sections[0], block, thinp_block_type_bitmap());
		thinp_read_end(&sections[0]);
	}
	thinp_reader_prefetch(reader, thinp_block_type_bitmap(), ahead, 3);
	for (size_t i = 0; i < CACHE + 2; i++) {
		thinp_read_begin(reader, &sections[i]);
		read_one(w, &sections[i], 20 + i, expected);
	}
	for (size_t i = 0; i < CACHE + 2; i++)
		thinp_read_end(&sections[i]);
}

/* When all is well again, everything works, and no buffer is missing. */
static void expect_all_well(struct world *w, struct thinp_bm *bm, struct thinp_reader *reader)
{
	struct thinp_bm_stats before = {.size = sizeof(before)};
	struct thinp_bm_stats after = {.size = sizeof(after)};
	struct thinp_read_section section;
	size_t nr_failures = w->nr_failures;

	thinp_bm_get_stats(bm, &before);
	w->nr_uncached = before.uncached;
	for (thinp_block_t block = 0; block < NR_BLOCKS; block++) {
		thinp_read_begin(reader, &section);
		read_one(w, &section, block, 0);
		thinp_read_end(&section);
	}
	thinp_bm_get_stats(bm, &after);
	assert_int_equal(w->nr_failures, nr_failures);
	assert_int_equal(after.uncached, before.uncached);
	assert_int_equal(after.blocks_cached, CACHE);
	assert_int_equal(after.bytes, w->alloc.live_bytes - sizeof(struct thinp_reader));
}

static void stop_failing(struct world *w)
{
	w->has_failed |= alloc_counting_has_failed(&w->alloc) || block_device_has_failed(&w->device);
	w->nr_left = SIZE_MAX;
	alloc_counting_fail(&w->alloc, 0);
	block_device_fail(&w->device, 0, 0);
}

/* Returns what the creation of block manager and reader returned; reads tell their failures in w. */
static int live(struct world *w, int expected)
{
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = CACHE, .allocator = &w->scarce};
	struct thinp_bm *bm = NULL;
	struct thinp_reader *reader = NULL;
	int r = thinp_bm_create(w->device.io, &opts, &bm);

	if (!r)
		r = thinp_reader_create(bm, 0, &reader);
	if (r)
		assert_null(reader);
	else
		use_reader(w, reader, expected);
	stop_failing(w);
	if (!r)
		expect_all_well(w, bm, reader);
	thinp_reader_destroy(reader);
	thinp_bm_destroy(bm);
	alloc_counting_check(&w->alloc);
	return r;
}

static int live_again(struct world *w, int expected)
{
	w->has_failed = false;
	w->nr_failures = 0;
	return live(w, expected);
}

/* --- OOMLOOP --- */

static void one_failed_allocation_fails_only_what_cannot_do_without(void **state)
{
	struct world *w = new_world();
	size_t nr_told = 0;
	size_t n = 0;

	(void)state;
	do {
		alloc_counting_fail(&w->alloc, ++n);
		assert_int_equal(live_again(w, THINP_ENOMEM), n <= 2 ? THINP_ENOMEM : 0); /* block manager, reader */
		assert_true(w->nr_failures <= 1);
		nr_told += w->nr_failures;
	} while (w->has_failed);
	/* only reads that found all buffers held cannot do without; the memory of their own has two parts */
	assert_true(w->nr_uncached > 0);
	assert_int_equal(nr_told, 2 * w->nr_uncached);
	end_world(w);
}

static void when_memory_runs_dry_reads_say_so_and_recover(void **state)
{
	struct world *w = new_world();
	size_t most_told = 0;
	size_t n = 0;

	(void)state;
	do {
		w->nr_left = n;
		assert_int_equal(live_again(w, THINP_ENOMEM), n < 2 ? THINP_ENOMEM : 0);
		if (w->nr_failures > most_told)
			most_told = w->nr_failures;
		n++;
	} while (w->has_failed);
	assert_int_equal(most_told, 8 + CACHE + 2); /* with block manager and reader only, every read */
	end_world(w);
}

/* --- ERRLOOP --- */

static void one_failed_read_fails_only_what_needed_it(void **state)
{
	struct world *w = new_world();
	size_t nr_told = 0;
	size_t nr_untold = 0;
	size_t n = 0;

	(void)state;
	do {
		int r;

		block_device_fail(&w->device, ++n, -EIO);
		r = live_again(w, THINP_EIO);
		assert_int_equal(r, n == 1 ? THINP_EIO : 0); /* the size, which the reader asks for */
		assert_true(w->nr_failures <= 1);
		nr_told += r || w->nr_failures;
		nr_untold += w->has_failed && !r && !w->nr_failures;
	} while (w->has_failed);
	assert_int_equal(nr_untold, 1 + 2); /* of the prefetch: the size, and two blocks */
	assert_int_equal(nr_told + nr_untold + 1, n);
	end_world(w);
}

static void a_dead_device_fails_every_read_that_is_not_cached(void **state)
{
	struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);

	(void)state;
	block_fixture_read_range(f, 0, 4);
	for (thinp_block_t block = 0; block < NR_BLOCKS; block++) {
		block_device_fail(&f->device, 1, -EIO);
		assert_int_equal(block_fixture_read(f, block), block < 4 ? 0 : THINP_EIO);
	}
	block_device_fail(&f->device, 0, 0);
	assert_int_equal(block_fixture_stats(f).blocks_cached, 4);
	block_fixture_read_range(f, 0, NR_BLOCKS);
	block_fixture_free(f);
}

/* --- BM-11: callbacks of the user come at a time when the library can be called --- */

struct meddler {
	struct thinp_allocator table;
	struct block_fixture *f;
	struct thinp_bm *bm; /* NULL: keeps still */
	struct thinp_reader *reader;
	unsigned int depth;
	unsigned int nr_calls;
	unsigned int nr_locked;
};

/* Looks whether the lock is free, then uses the block manager in every way. */
static void meddle(void *ctx)
{
	static const thinp_block_t ahead[] = {90, 91, 92};
	struct meddler *m = ctx;
	struct thinp_bm_stats stats = {.size = sizeof(stats)};
	struct thinp_read_section section;
	thinp_block_t block = 80 + m->nr_calls % 10;
	const void *data;

	if (!m->bm || m->depth == 2)
		return;
	m->nr_calls++;
	if (pthread_mutex_trylock(&m->bm->cache.lock)) {
		m->nr_locked++;
		return; /* going on would be a deadlock */
	}
	pthread_mutex_unlock(&m->bm->cache.lock);
	m->depth++;
	thinp_bm_get_stats(m->bm, &stats);
	thinp_read_begin(m->reader, &section);
	if (!thinp_read_block(&section, block, thinp_block_type_bitmap(), &data))
		assert_true(block_device_is(&m->f->device, block, data));
	thinp_read_end(&section);
	thinp_reader_prefetch(m->reader, thinp_block_type_bitmap(), ahead, 3);
	m->depth--;
}

static void *meddling_alloc(void *ctx, size_t nbytes, size_t align)
{
	struct meddler *m = ctx;

	meddle(m);
	return m->f->alloc.table.alloc(m->f->alloc.table.ctx, nbytes, align);
}

static void meddling_free(void *ctx, void *ptr, size_t nbytes)
{
	struct meddler *m = ctx;

	meddle(m);
	m->f->alloc.table.free(m->f->alloc.table.ctx, ptr, nbytes);
}

static struct meddler *the_meddler; /* for a check, which has no context */

static int meddling_check(const void *data, thinp_block_t block)
{
	(void)data;
	(void)block;
	meddle(the_meddler);
	return 0;
}

/* Reads through a block manager of which every callback meddles. */
static void be_meddled_with(struct block_fixture *f, struct meddler *m, uint32_t cache_blocks)
{
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = cache_blocks, .allocator = &m->table};
	struct thinp_block_type meddling_type = *thinp_block_type_bitmap();
	struct thinp_read_section outer;
	struct thinp_bm *bm;
	const void *data;

	meddling_type.check = meddling_check;
	assert_int_equal(thinp_bm_create(f->device.io, &opts, &bm), 0);
	assert_int_equal(thinp_reader_create(bm, 0, &m->reader), 0);
	m->bm = bm;
	for (thinp_block_t block = 0; block < 3 * 64; block++) {
		const struct thinp_block_type *type = block % 3 ? thinp_block_type_bitmap() : &meddling_type;

		thinp_read_begin(m->reader, &outer);
		assert_int_equal(thinp_read_block(&outer, block % 70, type, &data), 0);
		assert_true(block_device_is(&f->device, block % 70, data));
		thinp_reader_prefetch(m->reader, &meddling_type, &block, 1);
		thinp_read_end(&outer);
	}
	m->bm = NULL;
	thinp_reader_destroy(m->reader);
	thinp_bm_destroy(bm);
}

static void BM_11_callbacks_may_call_the_library(void **state)
{
	static const uint32_t caches[] = {1, 2, 3, 8, 100};

	(void)state;
	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
		struct meddler m = {.table = {.size = sizeof(m.table), .alloc = meddling_alloc, .free = meddling_free},
				    .f = f};

		m.table.ctx = &m;
		the_meddler = &m;
		f->device.hook = meddle;
		f->device.hook_ctx = &m;
		be_meddled_with(f, &m, caches[i]);
		assert_true(m.nr_calls > 70);
		assert_int_equal(m.nr_locked, 0);
		f->device.hook = NULL;
		block_fixture_free(f);
	}
}

/* Every change that takes memory or goes to the device, by a writer whose callbacks meddle. */
static void change_all(struct block_fixture *f, const struct thinp_bm_opts *opts, struct meddler *m)
{
	struct block_fixture meddled = *f; /* the same device, another block manager */

	assert_int_equal(thinp_bm_create(f->device.io, opts, &meddled.bm), 0);
	assert_int_equal(thinp_reader_create(meddled.bm, 0, &meddled.reader), 0);
	m->reader = meddled.reader;
	m->bm = meddled.bm;
	for (uint64_t version = 1; version < 4; version++) {
		block_change_range(&meddled, 1, 70, version);
		for (thinp_block_t block = 1; block < 70; block += 5)
			assert_int_equal(block_change_again(&meddled, block, version, version), 0);
		thinp_bm_forget(meddled.bm, 69);
		assert_int_equal(thinp_bm_flush(meddled.bm), 0);
		if (version == 2)
			thinp_bm_abort(meddled.bm);
		assert_int_equal(block_change_commit(&meddled, version), 0);
	}
	m->bm = NULL;
	thinp_reader_destroy(meddled.reader);
	thinp_bm_destroy(meddled.bm);
}

static void BM_11_callbacks_of_the_writer_may_call_the_library(void **state)
{
	static const uint32_t caches[] = {4, 8, 100};

	(void)state;
	for (size_t i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		struct block_fixture *f = block_fixture_new(NR_BLOCKS, CACHE);
		struct meddler m = {.table = {.size = sizeof(m.table), .alloc = meddling_alloc, .free = meddling_free},
				    .f = f};
		struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = caches[i], .allocator = &m.table};

		m.table.ctx = &m;
		f->device.hook = meddle;
		f->device.hook_ctx = &m;
		change_all(f, &opts, &m);
		assert_true(m.nr_calls > 10);
		assert_int_equal(m.nr_locked, 0);
		f->device.hook = NULL;
		block_fixture_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_failed_allocation_fails_only_what_cannot_do_without),
		cmocka_unit_test(when_memory_runs_dry_reads_say_so_and_recover),
		cmocka_unit_test(one_failed_read_fails_only_what_needed_it),
		cmocka_unit_test(a_dead_device_fails_every_read_that_is_not_cached),
		cmocka_unit_test(BM_11_callbacks_may_call_the_library),
		cmocka_unit_test(BM_11_callbacks_of_the_writer_may_call_the_library),
	};

	return cmocka_run_group_tests_name("block/failures", tests, NULL, NULL);
}
