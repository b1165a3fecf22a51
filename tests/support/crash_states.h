/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/crash_states.h - goes through the states in which a crash may leave a device that kept a log.
 *
 * THINP_CRASH_COMMITS    commits of a workload
 * THINP_CRASH_SMALL      windows of at most so many pieces are gone through with every subset
 * THINP_CRASH_RANDOM     random subsets in each larger window
 * THINP_CRASH_DEMAND     so many random subsets must be looked at; otherwise the test of a workload fails
 * THINP_CRASH_EVERY      looks at one state of so many; all prefixes and single lost writes are in the long form, with 1
 * THINP_CRASH_VERBOSE    describes each state before it is looked at
 */
#ifndef TP_TEST_CRASH_STATES_H
#define TP_TEST_CRASH_STATES_H

#include <thinp/crash.h>

/* What the environment says, or what is given. */
uint64_t crash_states_commits(uint64_t otherwise);
uint64_t crash_states_every(uint64_t otherwise);
uint64_t crash_states_demand(void);

/* Fails the test where a state is not sound. Returns whether the state has more than its mark promises. */
typedef bool (*crash_states_fn)(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state);

/* Looks at one of so many states, those before the first mark included. Some must have no more than was promised, and some
 * must. Returns how many were random subsets. */
uint64_t crash_states_check(struct thinp_record *record, uint64_t seed, uint64_t every, crash_states_fn fn, void *ctx);

#endif
