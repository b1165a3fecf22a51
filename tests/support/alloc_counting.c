/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/alloc_counting.c - an allocator for tests.
 *
 *   raw                       what the caller gets
 *    | ... | struct header    | nbytes |        the end is the end of the C library's piece, so that ASan sees overruns
 */
#include "support/alloc_counting.h"

#include <thinp/error.h>

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ALIVE 0x616c6976u
#define DEAD  0x64656164u

struct header {
	void *raw;
	size_t nbytes;
	uint32_t state;
};

static void note(struct alloc_counting *alloc, const char *mistake)
{
	if (!alloc->mistake)
		alloc->mistake = mistake;
}

static void *take_raw(size_t nbytes, size_t align)
{
	size_t unit = align > alignof(max_align_t) ? align : alignof(max_align_t);
	size_t before = (sizeof(struct header) + unit - 1) / unit * unit;
	struct header *header;
	void *raw;

	if (posix_memalign(&raw, unit, before + nbytes))
		return NULL;
	header = (struct header *)((uint8_t *)raw + before) - 1;
	*header = (struct header){.raw = raw, .nbytes = nbytes, .state = ALIVE};
	return header + 1;
}

static void count_in(struct alloc_counting *alloc, size_t nbytes)
{
	alloc->live_bytes += nbytes;
	alloc->live_allocations++;
	if (alloc->live_bytes > alloc->peak_bytes)
		alloc->peak_bytes = alloc->live_bytes;
}

static bool is_to_fail(const struct alloc_counting *alloc)
{
	return alloc->fail_at &&
	       (alloc->fails_on ? alloc->nr_calls >= alloc->fail_at : alloc->nr_calls == alloc->fail_at);
}

static void *counting_alloc(void *ctx, size_t nbytes, size_t align)
{
	struct alloc_counting *alloc = ctx;
	void *ptr = NULL;

	pthread_mutex_lock(&alloc->lock);
	alloc->nr_calls++;
	if (nbytes > alloc->largest)
		alloc->largest = nbytes;
	if (!nbytes)
		note(alloc, "no bytes were asked for");
	else if (!align || align & (align - 1))
		note(alloc, "an alignment that is no power of two");
	else if (!is_to_fail(alloc))
		ptr = take_raw(nbytes, align);
	if (ptr)
		count_in(alloc, nbytes);
	pthread_mutex_unlock(&alloc->lock);
	return ptr;
}

static void counting_free(void *ctx, void *ptr, size_t nbytes)
{
	struct alloc_counting *alloc = ctx;
	struct header *header = ptr ? (struct header *)ptr - 1 : NULL;

	pthread_mutex_lock(&alloc->lock);
	if (!header) {
		note(alloc, "NULL was given back");
	} else if (header->state != ALIVE) {
		note(alloc, "memory was given back that is not alive");
	} else {
		if (header->nbytes != nbytes)
			note(alloc, "memory was given back with another size than it was taken with");
		header->state = DEAD;
		alloc->live_bytes -= header->nbytes;
		alloc->live_allocations--;
		free(header->raw);
	}
	pthread_mutex_unlock(&alloc->lock);
}

void alloc_counting_init(struct alloc_counting *alloc)
{
	*alloc = (struct alloc_counting){
		.table = {.size = sizeof(alloc->table), .ctx = alloc, .alloc = counting_alloc, .free = counting_free},
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
}

static void fail_at(struct alloc_counting *alloc, size_t n, bool fails_on)
{
	pthread_mutex_lock(&alloc->lock);
	alloc->fail_at = n ? alloc->nr_calls + n : 0;
	alloc->fails_on = fails_on;
	pthread_mutex_unlock(&alloc->lock);
}

void alloc_counting_fail(struct alloc_counting *alloc, size_t n)
{
	fail_at(alloc, n, false);
}

void alloc_counting_fail_from(struct alloc_counting *alloc, size_t n)
{
	fail_at(alloc, n, true);
}

bool alloc_counting_has_failed(struct alloc_counting *alloc)
{
	bool has_failed;

	pthread_mutex_lock(&alloc->lock);
	has_failed = alloc->fail_at && alloc->nr_calls >= alloc->fail_at;
	pthread_mutex_unlock(&alloc->lock);
	return has_failed;
}

void alloc_counting_check(struct alloc_counting *alloc)
{
	const char *mistake;
	size_t live_allocations;
	size_t live_bytes;

	pthread_mutex_lock(&alloc->lock); /* not held across an assertion, which may leave by a jump */
	mistake = alloc->mistake;
	live_allocations = alloc->live_allocations;
	live_bytes = alloc->live_bytes;
	pthread_mutex_unlock(&alloc->lock);

	if (mistake)
		fail_msg("allocator: %s", mistake);
	assert_int_equal(live_allocations, 0);
	assert_int_equal(live_bytes, 0);
}

void alloc_counting_loop(struct alloc_counting *alloc, int (*attempt)(void *ctx), void *ctx)
{
	bool has_failed = true;

	for (size_t n = 1; has_failed; n++) {
		int r;

		alloc_counting_fail(alloc, n);
		r = attempt(ctx);
		has_failed = alloc_counting_has_failed(alloc);
		assert_int_equal(r, has_failed ? THINP_ENOMEM : 0);
		alloc_counting_check(alloc);
	}
	alloc_counting_fail(alloc, 0);
}
