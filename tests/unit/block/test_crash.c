/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/block/test_crash.c - commits of the block manager through the crash kit: whatever a crash leaves is the last commit
 * that was promised, or the one that was under way.
 *
 * The store of these tests has its blocks in two halves, used in turn, so that a commit changes nothing of the one
 * before it. The cache is small: most blocks are written early. Aborted transactions lie between the commits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/crash.h>
#include <thinp/error.h>
#include <thinp/fault.h>
#include <thinp/record.h>

#include "base/bytes.h"
#include "support/block_change.h"
#include "support/crash_device.h"

enum { NR_BLOCKS = 64, HALF = 9, FIRST = 8, NR_COMMITS = 3, CACHE = 4 };

/* What the check says that no code of the library says. */
enum { BAD_COMMIT = -1, BAD_BLOCK = -2, BAD_NEXT = -3 };

/* Where the record is: two slots that fill their blocks, as a store of one's own has them; or one that keeps to the first
 * sector, as a thin pool has it. Both survive a torn write. */
enum layout { TWO_SLOTS, ONE_SECTOR };

struct store {
	enum layout layout;
	struct block_fixture f; /* without its device */
};

static void open_store(struct store *store, struct thinp_io *io)
{
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = CACHE};

	assert_int_equal(thinp_bm_create(io, &opts, &store->f.bm), 0);
	assert_int_equal(thinp_reader_create(store->f.bm, 0, &store->f.reader), 0);
}

static void close_store(struct store *store)
{
	thinp_reader_destroy(store->f.reader);
	thinp_bm_destroy(store->f.bm);
}

static thinp_block_t slot_of(const struct store *store, uint64_t version)
{
	return store->layout == TWO_SLOTS ? version % 2 : 0;
}

static void make_record(const struct store *store, uint8_t *record, uint64_t version)
{
	memset(record, 0, THINP_BLOCK_SIZE);
	if (store->layout == TWO_SLOTS)
		block_change_fill(record, slot_of(store, version), version);
	tp_store_le64(record + BLOCK_CHANGE_HEADER, version);
}

static int write_record(struct store *store, uint64_t version)
{
	uint8_t record[THINP_BLOCK_SIZE];

	make_record(store, record, version);
	return thinp_bm_commit(store->f.bm, slot_of(store, version), thinp_block_type_bitmap(), record);
}

/* Blocks of a commit are some of one half, with neighbours among them. */
static bool is_used(thinp_block_t i, uint64_t version)
{
	return (i + version) % 3;
}

static thinp_block_t place_of(thinp_block_t i, uint64_t version)
{
	return FIRST + version % 2 * HALF + i;
}

static int change_blocks(struct store *store, uint64_t version, uint64_t content)
{
	int r = 0;

	for (thinp_block_t i = 0; i < HALF && !r; i++)
		if (is_used(i, version))
			r = block_change_new(&store->f, place_of(i, version), content);
	return r;
}

static int commit(struct store *store, uint64_t version)
{
	int r = change_blocks(store, version, version);

	return r ? r : write_record(store, version);
}

/* The newest commit whose record is sound; 0: none. */
static uint64_t find_commit(struct store *store)
{
	struct thinp_read_section section;
	uint8_t wanted[THINP_BLOCK_SIZE];
	uint64_t newest = 0;
	const void *data;

	for (thinp_block_t slot = 0; slot < 2; slot++) {
		uint64_t version = 0;

		thinp_read_begin(store->f.reader, &section);
		if (!thinp_read_block(&section, slot, thinp_block_type_bitmap(), &data)) {
			version = tp_load_le64((const uint8_t *)data + BLOCK_CHANGE_HEADER);
			make_record(store, wanted, version);
			if (slot_of(store, version) != slot ||
			    memcmp(wanted + BLOCK_CHANGE_HEADER, (const uint8_t *)data + BLOCK_CHANGE_HEADER,
				   THINP_BLOCK_SIZE - BLOCK_CHANGE_HEADER) != 0)
				version = UINT64_MAX;
		}
		thinp_read_end(&section);
		newest = version > newest ? version : newest;
	}
	return newest;
}

static bool is_whole(struct store *store, uint64_t version)
{
	for (thinp_block_t i = 0; i < HALF; i++)
		if (is_used(i, version) && !block_change_reads(&store->f, place_of(i, version), version))
			return false;
	return true;
}

/* --- the workload --- */

struct trial {
	struct crash_device device;
	struct store store;
};

static struct trial *begin_trial(enum layout layout)
{
	struct trial *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	t->store.layout = layout;
	crash_device_begin(&t->device, NR_BLOCKS);
	open_store(&t->store, t->device.io);
	return t;
}

static void end_trial(struct trial *t)
{
	close_store(&t->store);
	crash_device_end(&t->device);
	free(t);
}

/* A commit that failed: aborted, and made again. When nobody knows how it ended, opening again decides; what was found then
 * is written once more, for it may not be durable. */
static void recover(struct trial *t, uint64_t version, int r)
{
	if (r == THINP_EUNKNOWN) {
		close_store(&t->store);
		open_store(&t->store, t->device.io);
		if (find_commit(&t->store) == version) {
			assert_int_equal(write_record(&t->store, version), 0);
			return;
		}
		if (version > 1)
			assert_int_equal(write_record(&t->store, version - 1), 0);
	} else {
		assert_int_equal(r, THINP_EIO);
		thinp_bm_abort(t->store.f.bm);
	}
	assert_int_equal(commit(&t->store, version), 0);
}

/* Every commit but the first has a transaction before it that is aborted, half of it written. Returns how many failed. */
static unsigned int run_workload(struct trial *t)
{
	unsigned int nr_failed = 0;

	for (uint64_t version = 1; version <= NR_COMMITS; version++) {
		int r = version > 1 ? change_blocks(&t->store, version, 1000 + version) : 0;

		thinp_bm_abort(t->store.f.bm);
		nr_failed += r != 0;
		r = commit(&t->store, version);
		if (r)
			recover(t, version, r);
		nr_failed += r != 0;
		assert_int_equal(thinp_record_mark(t->device.record, version), 0);
	}
	assert_true(block_fixture_stats(&t->store.f).written_early > 0 || nr_failed);
	return nr_failed;
}

/* --- the check --- */

static int check_store(struct store *store, const struct thinp_crash_state *state)
{
	uint64_t mark = state->has_mark ? state->mark : 0;
	uint64_t found = find_commit(store);

	if (found < mark || found > mark + 1)
		return BAD_COMMIT;
	if (found && !is_whole(store, found))
		return BAD_BLOCK;
	if (commit(store, found + 1) || find_commit(store) != found + 1 || !is_whole(store, found + 1))
		return BAD_NEXT;
	return 0;
}

static int check(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	const struct store *original = ctx;
	struct store store = {.layout = original->layout};
	int r;

	open_store(&store, io);
	r = check_store(&store, state);
	close_store(&store);
	return r;
}

static uint64_t count_bad(struct trial *t, const struct thinp_crash_opts *opts)
{
	struct thinp_crash *crash = NULL;
	uint64_t nr_bad = 0;

	assert_int_equal(thinp_crash_create(t->device.record, opts, &crash), 0);
	while (thinp_crash_run(crash, check, &t->store))
		nr_bad++;
	assert_true(thinp_crash_nr_states(crash) > 100);
	thinp_crash_destroy(crash);
	return nr_bad;
}

/* --- tests --- */

/* For tests that go through many workloads. */
static const struct thinp_crash_opts few = {
	.size = sizeof(few), .exhaustive_max = 4, .nr_random = 16, .seed = 3, .tear = THINP_CRASH_TEAR_LAST};

static void a_crash_leaves_the_last_commit_or_the_next(void **state)
{
	static const struct thinp_crash_opts opts[] = {
		{.size = sizeof(opts[0])},
		{.size = sizeof(opts[0]), .exhaustive_max = 1, .nr_random = 300, .seed = 1},
	};

	(void)state;
	for (int layout = TWO_SLOTS; layout <= ONE_SECTOR; layout++) {
		struct trial *t = begin_trial((enum layout)layout);

		assert_int_equal(run_workload(t), 0);
		for (size_t i = 0; i < sizeof(opts) / sizeof(opts[0]); i++)
			assert_int_equal(count_bad(t, &opts[i]), 0);
		end_trial(t);
	}
}

/* Of writes and flushes, each in turn. */
static void that_holds_when_the_device_fails_and_says_so(void **state)
{
	static const uint32_t kinds[] = {THINP_IO_WRITE, THINP_IO_FLUSH};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		unsigned int nr_failed = 1;

		for (uint64_t n = 1; nr_failed; n++) {
			struct trial *t = begin_trial(TWO_SLOTS);

			assert_int_equal(thinp_fault_fail_nth(t->device.below, kinds[k], n, 0, NULL), 0);
			nr_failed = run_workload(t);
			assert_true(nr_failed <= 1);
			assert_int_equal(count_bad(t, &few), 0);
			end_trial(t);
		}
	}
}

/* The check is worth something: a device that drops any write or flush without a word is found. */
static void a_device_that_loses_what_it_promised_is_found(void **state)
{
	static const uint32_t kinds[] = {THINP_FAULT_ON_WRITE, THINP_FAULT_ON_FLUSH};

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		for (uint64_t n = 1; n <= 4; n++) {
			struct thinp_fault_rule rule = {
				.size = sizeof(rule), .kinds = kinds[k], .action = THINP_FAULT_DROP, .nth = n};
			struct trial *t = begin_trial(TWO_SLOTS);

			assert_int_equal(thinp_fault_add(t->device.above, &rule, NULL), 0);
			(void)run_workload(t);
			assert_true(count_bad(t, &few) > 0);
			end_trial(t);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_crash_leaves_the_last_commit_or_the_next),
		cmocka_unit_test(that_holds_when_the_device_fails_and_says_so),
		cmocka_unit_test(a_device_that_loses_what_it_promised_is_found),
	};

	return cmocka_run_group_tests_name("block/crash", tests, NULL, NULL);
}
