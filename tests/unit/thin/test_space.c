/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pools that are filled until nothing goes any more, and emptied again bit by bit.
 *
 * Environment: THINP_TEST_SEED repeats a run; THINP_SPACE_SIZES pools of 2000 blocks and more, and as many small ones while
 * there are (default 1); THINP_RANDOM_IMAGES a folder that gets the images of the full pools.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "space_map/sm.h"
#include "support/meta_check.h"
#include "support/save_image.h"
#include "thin/change.h"

#include <thinp/alloc.h>
#include <thinp/pool_space.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* How full a pool gets is a matter of what happened to it: a figure, which one history in some hundreds misses by a percent.
 * tests/run-random gives other seeds. */
#define USUAL_SEED 5003u

enum { NR_DEVICES = 13, FILLER = 12, NR_KEYS = 1 << 20, MOST_TAKEN = 10000, OPS_EACH = 3000, LARGE = 2000 };

struct space {
	struct thinp_io *io;
	struct thinp_pool *pool;
	uint64_t rng;
	uint64_t nr_metadata, nr_data;
	bool is_there[NR_DEVICES];
	bool is_held;
	uint64_t nr_ops, nr_refused, nr_commits;
	uint64_t nr_used_at_first;
	thinp_block_t taken[MOST_TAKEN]; /* metadata blocks of the test itself */
	size_t nr_taken;
};

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *given = getenv(name);

	return given ? strtoull(given, NULL, 10) : otherwise;
}

static uint64_t below(struct space *s, uint64_t n)
{
	s->rng ^= s->rng << 13;
	s->rng ^= s->rng >> 7;
	s->rng ^= s->rng << 17;
	return (s->rng * UINT64_C(0x2545f4914f6cdd1d) >> 16) % n;
}

static struct thinp_sm_info info_of(const struct space *s, int space)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	assert_int_equal(thinp_pool_get_space(s->pool, space, &info), 0);
	return info;
}

static uint64_t nr_used(const struct space *s)
{
	struct thinp_sm_info info = info_of(s, THINP_POOL_METADATA);

	return info.nr_blocks - info.nr_zero;
}

static void open_space(struct space *s, uint64_t nr_metadata, uint64_t nr_data)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = nr_metadata};
	const struct thinp_pool_opts opts = {
		.size = sizeof(opts), .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE, .nr_data_blocks = nr_data};
	uint64_t rng = s->rng;

	*s = (struct space){.rng = rng, .nr_metadata = nr_metadata, .nr_data = nr_data};
	assert_int_equal(thinp_io_open_memory(&io_opts, &s->io), 0);
	assert_int_equal(thinp_pool_open(s->io, &opts, &s->pool), 0);
	s->nr_used_at_first = nr_used(s);
	assert_int_equal(thinp_pool_begin(s->pool), 0);
}

static void close_space(struct space *s)
{
	thinp_pool_close(s->pool);
	thinp_io_close(s->io);
}

static void refer_taken(struct meta_check *check, void *ctx)
{
	static const char kind[] = "taken by the test";
	const struct space *s = ctx;

	for (size_t i = 0; i < s->nr_taken; i++)
		meta_check_refer(check, s->taken[i], kind);
}

static void expect(const struct space *s, int r, int wanted)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	if (r == wanted)
		return;
	thinp_error_last(&info);
	fail_msg("%" PRIu64 " blocks: %s: %s", s->nr_metadata, thinp_err_name(r), info.message);
}

static void commit(struct space *s)
{
	expect(s, thinp_pool_commit(s->pool), 0);
	s->nr_commits++;
	assert_int_equal(thinp_pool_begin(s->pool), 0);
}

/* --- changes at random ----------------------------------------------------------------------------------------------- */

/* Nothing may be refused but for lack of room or because there is no such thing, and nothing half way; a commit has room. */
static int done(struct space *s, int r)
{
	struct thinp_sm_info metadata = info_of(s, THINP_POOL_METADATA);

	s->nr_ops++;
	if (r && r != THINP_ENODATA && r != THINP_EEXIST)
		expect(s, r, THINP_ENOSPC);
	expect(s, thinp_pool_status(s->pool), 0);
	assert_true(info_of(s, THINP_POOL_DATA).commit_cost + metadata.commit_cost <= metadata.nr_allocatable);
	s->nr_refused += r == THINP_ENOSPC;
	return r;
}

static int map(struct space *s, uint64_t device, uint64_t block, uint64_t nr)
{
	uint64_t first, nr_taken, nr_done = 0;
	int r = done(s, thinp_pool_alloc_data(s->pool, nr, &first, &nr_taken));

	if (r)
		return r;
	r = done(s, thinp_pool_insert_run(s->pool, device, block, first, nr_taken, &nr_done));
	if (nr_done < nr_taken)
		expect(s, thinp_pool_dec_data(s->pool, first + nr_done, nr_taken - nr_done), 0);
	return r;
}

/* Maps what is mapped once more: counts grow large. */
static int share(struct space *s, uint64_t device, uint64_t block, uint64_t from)
{
	struct thinp_mapping there;
	struct thinp_mapped_run run;
	int r = thinp_pool_lookup_run(s->pool, from, below(s, NR_KEYS), UINT64_MAX, &run);

	if (r)
		return done(s, r);
	if (!thinp_pool_lookup(s->pool, device, NR_KEYS + block, &there) && there.data_block == run.data_begin)
		return 0; /* then no reference would go into the mapping */
	r = done(s, thinp_pool_inc_data(s->pool, run.data_begin, 1));
	if (r)
		return r;
	r = done(s, thinp_pool_insert(s->pool, device, NR_KEYS + block, run.data_begin));
	if (r)
		expect(s, thinp_pool_dec_data(s->pool, run.data_begin, 1), 0);
	return r;
}

static int change_devices(struct space *s, uint64_t device)
{
	uint64_t origin = below(s, FILLER);
	int r;

	if (below(s, 12) == 0) {
		r = done(s, s->is_held ? thinp_pool_release_metadata_snap(s->pool)
				       : thinp_pool_reserve_metadata_snap(s->pool));
		s->is_held ^= !r;
		return r;
	}
	if (s->is_there[device])
		return 0;
	r = done(s, s->is_there[origin] ? thinp_pool_create_snapshot(s->pool, device, origin)
					: thinp_pool_create_device(s->pool, device));
	s->is_there[device] = !r;
	return r;
}

static int change(struct space *s)
{
	uint64_t device = below(s, FILLER);
	uint64_t block = below(s, NR_KEYS);
	uint64_t which = below(s, 1000);

	if (which < 3 || !s->is_there[device])
		return change_devices(s, device);
	if (which < 20)
		return done(s, thinp_pool_remove_range(s->pool, device, block, block + below(s, 3000), 0, NULL, NULL));
	if (which < 120)
		return share(s, device, block, below(s, FILLER));
	return map(s, device, block, which < 200 ? 1 + below(s, 300) : 1);
}

/* What is cheapest to insert finds the last room: one after the other, and at last into a device without snapshots. */
static void fill_in_order(struct space *s)
{
	commit(s);
	if (!s->is_there[FILLER])
		s->is_there[FILLER] = !done(s, thinp_pool_create_device(s->pool, FILLER));
	for (uint64_t device = 0; device < NR_DEVICES; device++) {
		uint64_t block = 3 * NR_KEYS, nr_vain = 0;

		while (s->is_there[device] && nr_vain < 3) {
			nr_vain = map(s, device, block++, 1) == THINP_ENOSPC ? nr_vain + 1 : 0;
			if (nr_vain || block % OPS_EACH == 0)
				commit(s);
		}
	}
}

/* Until nothing goes any more, even after a commit. */
static void fill(struct space *s)
{
	uint64_t nr_vain = 0;

	while (nr_vain < 300) {
		int r = change(s);

		nr_vain = r == THINP_ENOSPC ? nr_vain + 1 : r ? nr_vain : 0;
		if (below(s, OPS_EACH) == 0 || nr_vain % 100 == 99)
			commit(s);
	}
	fill_in_order(s);
}

/* --- a full pool ----------------------------------------------------------------------------------------------------- */

static int count_mappings(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	for (size_t i = 0; i < nr_runs; i++)
		*(uint64_t *)ctx += runs[i].length;
	return 0;
}

static uint64_t count_device(struct space *s, uint64_t device)
{
	struct thinp_device_info info = {.size = sizeof(info)};
	uint64_t nr = 0;

	expect(s, thinp_pool_get_device(s->pool, device, &info), 0);
	expect(s, thinp_pool_walk_runs(s->pool, device, 0, UINT64_MAX, count_mappings, &nr), 0);
	assert_int_equal(info.mapped_blocks, nr);
	return nr;
}

/* Commit, abort and look-ups go on; a change goes, or has changed nothing. */
static void expect_usable(struct space *s)
{
	uint64_t nr_before[NR_DEVICES] = {0};

	for (uint64_t i = 0; i < NR_DEVICES; i++)
		nr_before[i] = s->is_there[i] ? count_device(s, i) : 0;
	for (int i = 0; i < 50; i++) {
		uint64_t device = below(s, FILLER);

		if (s->is_there[device])
			(void)map(s, device, below(s, NR_KEYS), 1);
		if (i % 10 == 0 && s->is_there[device])
			(void)done(s, thinp_pool_remove(s->pool, device, below(s, NR_KEYS)));
	}
	expect(s, thinp_pool_abort(s->pool), 0);
	assert_int_equal(thinp_pool_begin(s->pool), 0);
	for (uint64_t i = 0; i < NR_DEVICES; i++)
		assert_int_equal(s->is_there[i] ? count_device(s, i) : 0, nr_before[i]);
	commit(s);
	meta_check_thin(s->io, NULL, NULL);
}

/* Nobody has the reserve but those who free space, and the test: takes it until no block is left but those of a commit. */
static void take_the_last(struct space *s)
{
	struct thinp_alloc table = {.size = sizeof(table)};

	thinp_sm_get_alloc(s->pool->store->metadata, &table);
	while (s->nr_taken < MOST_TAKEN && !table.take(table.ctx, THINP_CAUSE_NEW, &s->taken[s->nr_taken]))
		s->nr_taken++;
	commit(s);
	meta_check_thin(s->io, refer_taken, s);
	for (int i = 0; i < 100; i++)
		assert_int_not_equal(map(s, below(s, FILLER), below(s, NR_KEYS), 1), 0);
	commit(s);
	while (s->nr_taken)
		assert_int_equal(table.dec(table.ctx, s->taken[--s->nr_taken], 1, THINP_CAUSE_FREE), 0);
	commit(s);
	meta_check_thin(s->io, NULL, NULL);
}

/* --- giving back ----------------------------------------------------------------------------------------------------- */

static void expect_progress(struct space *s, int r, const struct thinp_pool_step *step, const char *what)
{
	if (r)
		print_message("%s: %" PRIu64 " of %" PRIu64 " blocks are used\n", what, nr_used(s), s->nr_metadata);
	expect(s, done(s, r), 0);
	assert_true(step->nr_removed || step->is_complete);
}

static void delete_device(struct space *s, uint64_t device)
{
	struct thinp_pool_step step = {.size = sizeof(step)};
	uint32_t max_leaves = below(s, 3) ? 1 : (uint32_t)below(s, 10);

	while (!step.is_complete) {
		uint64_t nr = count_device(s, device);

		expect_progress(s, thinp_pool_delete_step(s->pool, device, max_leaves, &step), &step, "delete");
		if (!step.is_complete)
			assert_int_equal(count_device(s, device), nr - step.nr_removed);
		commit(s);
		if (below(s, 30) == 0)
			meta_check_thin(s->io, NULL, NULL);
	}
	s->is_there[device] = false;
}

static void release(struct space *s)
{
	struct thinp_pool_step step = {.size = sizeof(step)};
	uint32_t max_leaves = below(s, 3) ? 1 : (uint32_t)below(s, 10);

	while (s->is_held && !step.is_complete) {
		expect(s, done(s, thinp_pool_release_step(s->pool, max_leaves, &step)), 0);
		commit(s);
		if (below(s, 30) == 0)
			meta_check_thin(s->io, NULL, NULL);
	}
	s->is_held = false;
}

static void empty(struct space *s)
{
	uint64_t first = below(s, NR_DEVICES + 1);

	for (uint64_t i = 0; i <= NR_DEVICES; i++) {
		uint64_t device = (first + i) % (NR_DEVICES + 1);

		if (device == NR_DEVICES)
			release(s);
		else if (s->is_there[device])
			delete_device(s, device);
	}
	meta_check_thin(s->io, NULL, NULL);
	assert_int_equal(nr_used(s), s->nr_used_at_first);
	assert_int_equal(info_of(s, THINP_POOL_DATA).nr_zero, s->nr_data);
}

/* What is kept back hardly grows with a pool. */
static uint64_t least_percent(uint64_t nr_metadata)
{
	if (nr_metadata >= LARGE)
		return 95;
	if (nr_metadata >= 800)
		return 90;
	if (nr_metadata >= 300)
		return 80;
	return nr_metadata >= 75 ? 50 : 35;
}

/* What is not used is kept back for a commit and for changes that free space, and that is little of a large pool. */
static void expect_full(const struct space *s)
{
	uint64_t used = nr_used(s), kept = tp_sm_release_cost(s->pool->store->metadata);
	uint64_t slack = 40 + s->nr_metadata / 50;

	print_message("%" PRIu64 " blocks, %" PRIu64 " of data: %" PRIu64 " %% used, %" PRIu64
		      " %% kept back after %" PRIu64 " operations, %" PRIu64 " refused\n",
		      s->nr_metadata, s->nr_data, used * 100 / s->nr_metadata, kept * 100 / s->nr_metadata, s->nr_ops,
		      s->nr_refused);
	assert_true(used + kept + slack >= s->nr_metadata);
	assert_true(used * 100 >= s->nr_metadata * least_percent(s->nr_metadata));
}

static void fill_and_empty(struct space *s, uint64_t nr_metadata, uint64_t nr_data)
{
	open_space(s, nr_metadata, nr_data);
	for (int round = 0; round < 2; round++) {
		fill(s);
		expect_full(s);
		meta_check_thin(s->io, NULL, NULL);
		save_image(s->io, "full", s->nr_metadata);
		expect_usable(s);
		take_the_last(s);
		empty(s);
	}
	close_space(s);
}

static void fill_one(struct space *s, uint64_t nr_metadata)
{
	fill_and_empty(s, nr_metadata, below(s, 2) ? nr_metadata * 220 : 20000 + nr_metadata * 150);
}

static void TH_14_TH_17_pools_are_filled_to_the_last_block_and_emptied(void **state)
{
	static const uint64_t small[] = {60, 900, 130, 400, 40, 50, 75, 90, 110, 200, 300, 600, 1200, 1700};
	uint64_t nr = number_from("THINP_SPACE_SIZES", 1);
	uint64_t seed = number_from("THINP_TEST_SEED", USUAL_SEED);
	static struct space s;

	(void)state;
	s.rng = seed * 2 + 1;
	print_message("seed %" PRIu64 ": set THINP_TEST_SEED to repeat\n", seed);
	for (uint64_t i = 0; i < nr; i++) {
		fill_one(&s, LARGE + 150 * i);
		if (i < sizeof(small) / sizeof(small[0]))
			fill_one(&s, small[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(TH_14_TH_17_pools_are_filled_to_the_last_block_and_emptied),
	};

	return cmocka_run_group_tests_name("thin/space", tests, NULL, NULL);
}
