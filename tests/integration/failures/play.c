/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/play.c - how a play goes on after a failure.
 */
#include "play.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct performance {
	const struct play *play;
	struct stage *stage;
	size_t next;      /* act */
	size_t committed; /* acts that the last commit has */
	bool always_aborts, is_aborted;
	int failed_with;
	uint64_t expected[PLAY_MOST_ACTS + 1]; /* what is seen before each act, and at the end */
};

uint64_t play_mix(uint64_t number, const void *bytes, size_t nr_bytes)
{
	for (size_t i = 0; i < nr_bytes; i++)
		number = (number ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
	return number;
}

static void expect_seen(struct performance *p, size_t nr_acts, bool is_committed)
{
	if (p->play->look(p->stage, is_committed) != p->expected[nr_acts])
		fail_msg("in the act \"%s\": what is there is not what was there before act %zu",
			 p->play->acts[p->next].name ? p->play->acts[p->next].name : "the end", nr_acts);
}

/* --- the rehearsal --- */

static void rehearse(struct performance *p)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = WORLD_BLOCKS};
	const struct act *act = p->play->acts;
	struct world w = {.own = NULL};

	alloc_counting_init(&w.alloc);
	assert_int_equal(thinp_io_open_memory(&opts, &w.memory), 0);
	w.io = w.memory;
	p->stage = p->play->open(&w);
	p->expected[0] = p->play->look(p->stage, true);
	for (size_t i = 0; act[i].name; i++) {
		int r = act[i].run(p->stage);

		if (r)
			fail_msg("the act \"%s\" fails by itself: %s", act[i].name, thinp_strerror(r));
		p->expected[i + 1] = p->play->look(p->stage, act[i].commits);
		assert_true(i + 1 < PLAY_MOST_ACTS && (act[i].commits || act[i + 1].name));
	}
	p->play->close(p->stage);
	alloc_counting_check(&w.alloc);
	thinp_io_close(w.memory);
}

void play_setup(struct world *w, const struct play *play, bool always_aborts)
{
	static struct performance rehearsed;
	struct performance *p = malloc(sizeof(*p));

	assert_non_null(p);
	if (rehearsed.play != play) {
		rehearsed = (struct performance){.play = play};
		rehearse(&rehearsed);
	}
	*p = rehearsed;
	p->always_aborts = always_aborts;
	p->stage = play->open(w);
	w->own = p;
}

/* --- after a failure --- */

/* LOCKCHECK: as many buffers as there are can be locked at once. The blocks are high up, where nothing is. */
static void expect_unlocked(struct thinp_bm *bm)
{
	struct thinp_buffer *buffers[PLAY_CACHE] = {NULL};
	void *data;

	for (size_t i = 0; i < PLAY_CACHE; i++)
		assert_int_equal(thinp_bm_write_lock_zero(bm, WORLD_BLOCKS - 1 - i, thinp_block_type_bitmap(),
							  &buffers[i], &data),
				 0);
	for (size_t i = 0; i < PLAY_CACHE; i++)
		thinp_bm_unlock(bm, buffers[i]);
	thinp_bm_abort(bm);
}

static void expect_refusal(struct thinp_tm *tm)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	assert_int_equal(thinp_tm_status(tm), THINP_EMUSTABORT);
	assert_int_equal(thinp_tm_reserve(tm, 0, 0), THINP_EMUSTABORT);
	thinp_error_last(&info);
	assert_int_equal(info.code, THINP_EMUSTABORT);
}

static void go_back(struct performance *p)
{
	p->play->abort(p->stage);
	p->next = p->committed;
	assert_int_equal(thinp_tm_status(p->stage->tm), 0);
	expect_unlocked(p->stage->bm);
	expect_seen(p, p->committed, true);
}

/* A commit that has failed is always aborted, whether the transaction is marked or not. */
static void go_on(struct performance *p)
{
	bool is_marked = thinp_tm_status(p->stage->tm) != 0;
	bool commits = p->play->acts[p->next].commits;

	if (is_marked) {
		expect_refusal(p->stage->tm);
	} else if (!commits && !p->is_aborted) {
		expect_seen(p, p->next, false);
		assert_int_equal(thinp_bm_flush(p->stage->bm), 0); /* LOCKCHECK, too */
	}
	if (is_marked || commits || p->always_aborts)
		go_back(p);
	p->is_aborted = false;
	p->failed_with = 0;
}

/* --- the attempt --- */

int play_attempt(struct world *w)
{
	struct performance *p = w->own;
	const struct act *act = p->play->acts;

	if (p->failed_with)
		go_on(p);
	while (act[p->next].name && !p->failed_with) {
		p->failed_with = act[p->next].run(p->stage);
		if (p->failed_with)
			break;
		p->next++;
		if (act[p->next - 1].commits)
			p->committed = p->next;
	}
	if (p->failed_with && p->failed_with != THINP_EUNKNOWN && p->always_aborts && w->fails_on) {
		p->play->abort(p->stage); /* needs neither memory nor the device */
		p->is_aborted = true;
	}
	return p->failed_with;
}

/* Nobody knows which commit it is, but it is one of the two. */
static void expect_either(struct performance *p)
{
	uint64_t seen;

	assert_int_equal(p->failed_with, THINP_EUNKNOWN);
	assert_true(p->play->acts[p->next].commits);
	if (!p->play->reopen)
		return;
	p->play->reopen(p->stage);
	seen = p->play->look(p->stage, true);
	assert_true(seen == p->expected[p->committed] || seen == p->expected[p->next + 1]);
}

void play_close(struct world *w)
{
	struct performance *p = w->own;

	if (p->failed_with)
		expect_either(p);
	else
		expect_seen(p, p->next, true);
	p->play->close(p->stage);
	free(p);
}
