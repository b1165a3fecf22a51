/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/alloc_counting.h - an allocator for tests: counts, fails on demand, and notices wrong use.
 *
 * Mistakes are noted, not asserted, because they may happen on any thread; alloc_counting_check() brings them up.
 */
#ifndef TP_TEST_ALLOC_COUNTING_H
#define TP_TEST_ALLOC_COUNTING_H

#include <thinp/allocator.h>

#include <pthread.h>

struct alloc_counting {
	struct thinp_allocator table; /* hand out &table */
	pthread_mutex_t lock;         /* guards everything below */
	size_t live_bytes;
	size_t live_allocations;
	size_t peak_bytes;
	size_t largest; /* bytes of the largest allocation asked for */
	size_t nr_calls;
	size_t fail_at;      /* the call that fails, counted as nr_calls is; 0: none */
	bool fails_on;       /* all calls from there on fail, too */
	const char *mistake; /* the first one, or NULL */
};

/* A fresh allocator that never fails. */
void alloc_counting_init(struct alloc_counting *alloc);

/* Lets the n-th call from now on fail, once; n = 1 is the next one, 0 lets none fail. */
void alloc_counting_fail(struct alloc_counting *alloc, size_t n);

/* The same, and all calls behind it, until another call of these two. */
void alloc_counting_fail_from(struct alloc_counting *alloc, size_t n);

/* Did the call that was to fail come? */
bool alloc_counting_has_failed(struct alloc_counting *alloc);

/* Fails the test when an allocation is left or a mistake was made: a wrong size given back, memory given back twice or
 * never taken, a size of 0, an alignment that is no power of two, NULL given back. */
void alloc_counting_check(struct alloc_counting *alloc);

/* The OOMLOOP of history.md: calls attempt() with the first, second, third ... allocation failing, until one attempt
 * makes no call that is to fail. attempt() must return THINP_ENOMEM when an allocation failed and 0 when none did, and
 * leave nothing allocated in either case. */
void alloc_counting_loop(struct alloc_counting *alloc, int (*attempt)(void *ctx), void *ctx);

#endif
