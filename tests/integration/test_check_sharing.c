/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Data blocks that devices have twice (rule D9), among leaves that are one run of data blocks and leaves that are not: what a
 * check finds, against a search through plain arrays.
 *
 * THINP_TEST_SEED repeats a run; THINP_TEST_FACTOR multiplies the number of cases.
 */
#include <thinp/check.h>
#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/parallel.h>
#include <thinp/pool.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/base/random.h"

enum { NR_METADATA = 600, NR_DATA = 60000, NR_VIRTUAL = 24000, NR_DEVICES = 2, LONGEST = 2500 };

static uint64_t rng;

/* Data block + 1 of each virtual block of each device; 0: none. */
struct model {
	uint32_t at[NR_DEVICES][NR_VIRTUAL];
	uint32_t end[NR_DEVICES]; /* virtual blocks in use */
};

struct scene {
	struct thinp_io *io;
	struct thinp_pool *pool;
	struct model now;
	struct model held;
	uint8_t *expected; /* for each virtual block: one of the devices has its data block elsewhere, and lower */
	uint8_t *found;
};

static unsigned factor(void)
{
	const char *text = getenv("THINP_TEST_FACTOR");

	return text ? (unsigned)strtoul(text, NULL, 10) : 1;
}

static void begin(struct scene *s)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_METADATA};
	const struct thinp_pool_opts opts = {
		.size = sizeof(opts), .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE, .nr_data_blocks = NR_DATA};

	memset(s, 0, sizeof(*s));
	s->expected = malloc(NR_VIRTUAL);
	s->found = malloc(NR_VIRTUAL);
	assert_non_null(s->expected);
	assert_non_null(s->found);
	assert_int_equal(thinp_io_open_memory(&io_opts, &s->io), 0);
	assert_int_equal(thinp_pool_open(s->io, &opts, &s->pool), 0);
	assert_int_equal(thinp_pool_begin(s->pool), 0);
	assert_int_equal(thinp_pool_create_device(s->pool, 0), 0);
}

static void end(struct scene *s)
{
	thinp_pool_close(s->pool);
	thinp_io_close(s->io);
	free(s->expected);
	free(s->found);
}

static void put(struct scene *s, unsigned device, uint64_t data, uint64_t length)
{
	struct model *m = &s->now;
	uint64_t nr_done;

	assert_int_equal(thinp_pool_insert_run(s->pool, device, m->end[device], data, length, &nr_done), 0);
	assert_int_equal(nr_done, length);
	for (uint64_t i = 0; i < length; i++)
		m->at[device][m->end[device]++] = (uint32_t)(data + i + 1);
	m->end[device] += (uint32_t)random_below(&rng, 3);
}

/* Blocks that the device, or the other one, has already: most often few, now and then whole leaves of them. */
static void put_again(struct scene *s, unsigned device)
{
	const uint32_t *from = s->now.at[random_below(&rng, 8) ? device : 0];
	uint64_t length = 1 + random_below(&rng, random_below(&rng, 3) ? 3 : LONGEST);
	uint64_t first = random_below(&rng, s->now.end[device]);
	uint64_t nr = 0;

	while (from[first] && nr < length && first + nr < NR_VIRTUAL && from[first + nr] == from[first] + nr)
		nr++;
	if (!nr)
		return;
	assert_int_equal(thinp_pool_inc_data(s->pool, from[first] - 1, nr), 0);
	put(s, device, from[first] - 1, nr);
}

/* Single blocks: some of them are the first or the last of a leaf that is a run, and all that such a leaf has twice. */
static void put_some_again(struct scene *s, unsigned device)
{
	for (unsigned i = 0; i < 8; i++) {
		uint32_t data = s->now.at[device][random_below(&rng, s->now.end[device])];

		if (!data)
			continue;
		assert_int_equal(thinp_pool_inc_data(s->pool, data - 1, 1), 0);
		put(s, device, data - 1, 1);
	}
}

static void put_new(struct scene *s, unsigned device)
{
	uint64_t first;
	uint64_t length = 1 + random_below(&rng, random_below(&rng, 4) ? LONGEST : 20);

	assert_int_equal(thinp_pool_alloc_data(s->pool, length, &first, NULL), 0);
	put(s, device, first, length);
}

static void fill(struct scene *s, unsigned device, unsigned nr)
{
	while (nr-- && s->now.end[device] + LONGEST + 3 < NR_VIRTUAL)
		if (!s->now.end[device] || random_below(&rng, 4))
			put_new(s, device);
		else if (random_below(&rng, 4))
			put_again(s, device);
		else
			put_some_again(s, device);
}

static void commit(struct scene *s)
{
	assert_int_equal(thinp_pool_commit(s->pool), 0);
	assert_int_equal(thinp_pool_begin(s->pool), 0);
}

/* Each pair is told with the greater of its virtual blocks. */
static void expect(struct scene *s, const struct model *m)
{
	memset(s->expected, 0, NR_VIRTUAL);
	for (unsigned d = 0; d < NR_DEVICES; d++) {
		uint8_t seen[NR_DATA + 1] = {0};

		for (uint32_t v = 0; v < m->end[d]; v++) {
			s->expected[v] |= m->at[d][v] && seen[m->at[d][v]];
			seen[m->at[d][v]] = 1;
		}
	}
}

static int take(void *ctx, const struct thinp_check_finding *finding)
{
	struct scene *s = ctx;

	if (finding->rule != THINP_CHECK_D9)
		return 0;
	assert_true(finding->begin < NR_VIRTUAL);
	s->found[finding->begin] = 1;
	return 0;
}

static void check(struct scene *s, uint32_t flags, const struct model *m)
{
	struct thinp_check_opts opts = {.size = sizeof(opts),
					.flags = flags,
					.max_findings = 1000000,
					.finding = take,
					.finding_ctx = s,
					.parallel_for = random_below(&rng, 2) ? thinp_parallel_for_pthreads : NULL};
	struct thinp_check_result result = {.size = sizeof(result)};

	memset(s->found, 0, NR_VIRTUAL);
	assert_int_equal(thinp_check_device(s->io, &opts, &result), 0);
	expect(s, m);
	for (uint32_t v = 0; v < NR_VIRTUAL; v++)
		if (s->found[v] != s->expected[v])
			fail_msg("virtual block %" PRIu32 ": %s", v,
				 s->found[v] ? "told, but nobody has it twice" : "not told");
}

/* Device 1 begins as a snapshot. A metadata snapshot keeps what was there, while mappings are added. */
static void blocks_that_a_device_has_twice_are_told(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 150 * factor(); round++) {
		struct scene s;

		begin(&s);
		fill(&s, 0, 1 + (unsigned)random_below(&rng, 20));
		if (random_below(&rng, 2)) {
			assert_int_equal(thinp_pool_create_snapshot(s.pool, 1, 0), 0);
			memcpy(s.now.at[1], s.now.at[0], sizeof(s.now.at[0]));
			s.now.end[1] = s.now.end[0];
			fill(&s, 1, (unsigned)random_below(&rng, 10));
		}
		commit(&s);
		check(&s, 0, &s.now);
		assert_int_equal(thinp_pool_reserve_metadata_snap(s.pool), 0);
		s.held = s.now;
		commit(&s);
		fill(&s, 0, (unsigned)random_below(&rng, 10));
		commit(&s);
		check(&s, THINP_CHECK_METADATA_SNAP, &s.held);
		assert_int_equal(thinp_pool_release_metadata_snap(s.pool), 0);
		commit(&s);
		check(&s, 0, &s.now);
		end(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_that_a_device_has_twice_are_told),
	};

	rng = random_begin();
	return cmocka_run_group_tests_name("integration/check_sharing", tests, NULL, NULL);
}
