/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/crash_states.c - goes through the states in which a crash may leave a device that kept a log.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/crash_states.h"

#include <inttypes.h>
#include <stdlib.h>

static uint64_t env(const char *name, uint64_t otherwise)
{
	const char *given = getenv(name);

	return given ? strtoull(given, NULL, 0) : otherwise;
}

uint64_t crash_states_commits(uint64_t otherwise)
{
	return env("THINP_CRASH_COMMITS", otherwise);
}

uint64_t crash_states_every(uint64_t otherwise)
{
	return env("THINP_CRASH_EVERY", otherwise);
}

uint64_t crash_states_demand(void)
{
	return env("THINP_CRASH_DEMAND", 0);
}

static void describe(const struct thinp_crash *crash, uint64_t number)
{
	char text[2048];

	thinp_crash_describe(crash, text, sizeof(text));
	print_message("in state %" PRIu64 ": %s\n", number, text);
}

static void tell_of_kinds(const uint64_t *nr_of)
{
	print_message("%" PRIu64 " prefixes, %" PRIu64 " with one write lost, %" PRIu64 " with one kept, %" PRIu64
		      " random, %" PRIu64 " torn, %" PRIu64 " of small windows\n",
		      nr_of[THINP_CRASH_PREFIX], nr_of[THINP_CRASH_LOST_ONE], nr_of[THINP_CRASH_KEPT_ONE],
		      nr_of[THINP_CRASH_RANDOM], nr_of[THINP_CRASH_TORN_LAST] + nr_of[THINP_CRASH_TORN_ONE],
		      nr_of[THINP_CRASH_SUBSET]);
}

uint64_t crash_states_check(struct thinp_record *record, uint64_t seed, uint64_t every, crash_states_fn fn, void *ctx)
{
	struct thinp_crash_opts opts = {.size = sizeof(opts),
					.exhaustive_max = (uint32_t)env("THINP_CRASH_SMALL", 10),
					.nr_random = (uint32_t)env("THINP_CRASH_RANDOM", 16),
					.tear = THINP_CRASH_TEAR_LAST,
					.seed = seed};
	struct thinp_crash_state state = {.size = sizeof(state)};
	uint64_t nr, nr_checked = 0, nr_ahead = 0, nr_of[THINP_CRASH_TORN_ONE + 1] = {0};
	struct thinp_crash *crash;
	struct thinp_io *io;

	assert_int_equal(thinp_crash_create(record, &opts, &crash), 0);
	nr = thinp_crash_nr_states(crash);
	for (uint64_t number = seed % every; number < nr; number += every) {
		assert_int_equal(thinp_crash_seek(crash, number, &io), 0);
		assert_int_equal(thinp_crash_get_state(crash, &state), 0);
		if (getenv("THINP_CRASH_VERBOSE"))
			describe(crash, number);
		nr_ahead += fn(ctx, io, &state);
		nr_checked++;
		nr_of[state.how]++;
	}
	print_message("%" PRIu64 " of %" PRIu64 " states, %" PRIu64 " of them the next commit\n", nr_checked, nr,
		      nr_ahead);
	tell_of_kinds(nr_of);
	assert_true(nr_ahead > 0 && nr_ahead < nr_checked);
	thinp_crash_destroy(crash);
	return nr_of[THINP_CRASH_RANDOM];
}
