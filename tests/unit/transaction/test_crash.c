/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/transaction/test_crash.c - whenever a crash comes, the device holds the last commit or the next.
 *
 * CRASHALL of the defect history, with a store of versions that share blocks: every state is opened, read to the last byte,
 * counted, compared with what that commit held, and gone on from.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/crash.h>
#include <thinp/error.h>

#include "support/tm_toy.h"
#include "unit/base/random.h"

enum { NR_BLOCKS = 160, CACHE = 16, NR_COMMITS = 12, BAD_COMMIT = 1, BAD_CONTENT = 2 };

struct trial {
	struct thinp_io *memory;
	struct thinp_record *record;
	struct thinp_io *io;
	struct tm_toy toy;
	uint64_t rng;
	struct tm_toy_values values[NR_COMMITS + 2]; /* by commit; the last one was not promised any more */
};

static int open_toy(struct tm_toy *toy, struct thinp_io *io)
{
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = CACHE};
	struct thinp_alloc table = {.size = sizeof(table)};

	assert_int_equal(thinp_bm_create(io, &opts, &toy->bm), 0);
	assert_int_equal(thinp_memory_map_create(NR_BLOCKS, NULL, &toy->map), 0);
	thinp_memory_map_get_alloc(toy->map, &table);
	assert_int_equal(thinp_tm_create(toy->bm, &table, &toy->tm), 0);
	return tm_toy_open(toy);
}

static void close_toy(struct tm_toy *toy)
{
	thinp_tm_destroy(toy->tm);
	thinp_memory_map_destroy(toy->map);
	thinp_bm_destroy(toy->bm);
}

static struct trial *new_trial(void)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = NR_BLOCKS};
	struct trial *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	assert_int_equal(thinp_io_open_memory(&opts, &t->memory), 0);
	assert_int_equal(tm_toy_format(t->memory), 0);
	assert_int_equal(thinp_record_create(t->memory, NULL, &t->record), 0);
	assert_int_equal(thinp_record_open(t->record, NULL, &t->io), 0);
	assert_int_equal(open_toy(&t->toy, t->io), 0);
	return t;
}

static void free_trial(struct trial *t)
{
	close_toy(&t->toy);
	thinp_io_close(t->io);
	thinp_record_destroy(t->record);
	thinp_io_close(t->memory);
	free(t);
}

static void change_something(struct tm_toy *toy, uint64_t *rng)
{
	unsigned int version = (unsigned int)(random_next(rng) % TM_TOY_VERSIONS);
	unsigned int other = (unsigned int)(random_next(rng) % TM_TOY_VERSIONS);
	uint64_t what = random_next(rng) % 10;
	int r;

	if (toy->roots[version] == THINP_NO_BLOCK)
		r = tm_toy_make(toy, version);
	else if (what < 6)
		r = tm_toy_set(toy, version, (unsigned int)(random_next(rng) % TM_TOY_LEAVES), random_next(rng));
	else if (what < 8 && toy->roots[other] == THINP_NO_BLOCK)
		r = tm_toy_snapshot(toy, version, other);
	else
		r = tm_toy_drop(toy, version);
	assert_int_equal(r, 0);
}

/* Transactions of all sizes: some are larger than the cache and are written early. */
static void run_workload(struct trial *t)
{
	struct tm_toy *toy = &t->toy;
	uint64_t nr_early;
	struct thinp_bm_stats stats = {.size = sizeof(stats)};

	for (uint64_t commit = 0; commit <= NR_COMMITS; commit++) {
		assert_int_equal(thinp_record_mark(t->record, toy->commit), 0);
		for (uint64_t n = random_next(&t->rng) % 40; n; n--)
			change_something(toy, &t->rng);
		assert_int_equal(tm_toy_read(toy, &t->values[commit + 1]), 0);
		if (commit < NR_COMMITS)
			assert_int_equal(tm_toy_commit(toy), 0);
	}
	thinp_bm_get_stats(toy->bm, &stats);
	nr_early = stats.written_early;
	assert_true(nr_early > 0);
}

/* Another transaction works on what was found. */
static int go_on(struct tm_toy *toy)
{
	struct tm_toy_values before;
	struct tm_toy_values after;
	uint64_t rng = toy->commit;
	int r;

	for (unsigned int n = 0; n < 3; n++)
		change_something(toy, &rng);
	r = tm_toy_read(toy, &before);
	if (!r)
		r = tm_toy_commit(toy);
	if (!r)
		r = tm_toy_read(toy, &after);
	if (!r)
		r = tm_toy_check_counts(toy, NR_BLOCKS);
	return r ? r : memcmp(&before, &after, sizeof(before)) ? BAD_CONTENT : 0;
}

static int check_opened(const struct trial *t, struct tm_toy *toy, const struct thinp_crash_state *state)
{
	struct tm_toy_values seen;
	int r;

	if (toy->commit < state->mark || toy->commit > state->mark + 1 || toy->commit > NR_COMMITS)
		return BAD_COMMIT;
	r = tm_toy_read(toy, &seen);
	if (r)
		return r;
	if (memcmp(&seen, &t->values[toy->commit], sizeof(seen)))
		return BAD_CONTENT;
	return go_on(toy);
}

static int check(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	struct tm_toy toy;
	int r = open_toy(&toy, io);

	if (!r)
		r = check_opened(ctx, &toy, state);
	close_toy(&toy);
	return r;
}

static void run(const struct thinp_crash_opts *opts)
{
	struct trial *t = new_trial();
	struct thinp_crash *crash;
	int r;

	t->rng = random_begin();
	run_workload(t);
	assert_int_equal(thinp_crash_create(t->record, opts, &crash), 0);
	r = thinp_crash_run(crash, check, t);
	if (r) {
		char text[2000];

		(void)thinp_crash_describe(crash, text, sizeof(text));
		print_message("%s", text);
	}
	assert_int_equal(r, 0);
	print_message("%llu states\n", (unsigned long long)thinp_crash_nr_states(crash));
	thinp_crash_destroy(crash);
	free_trial(t);
}

static void CRASHALL_every_state_opens_as_the_last_or_the_next_commit(void **state)
{
	struct thinp_crash_opts opts = {.size = sizeof(opts), .exhaustive_max = 6, .nr_random = 12};

	(void)state;
	run(&opts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(CRASHALL_every_state_opens_as_the_last_or_the_next_commit),
	};

	return cmocka_run_group_tests_name("transaction/crash", tests, NULL, NULL);
}
