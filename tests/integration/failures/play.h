/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/play.h - transactions that are made to fail: acts in an order, on a stage.
 *
 * Each act makes one change, or commits. When one fails, either it has changed nothing and the play goes on where it stopped,
 * or the transaction is marked; then, after an abort, all is as the last commit had it, and the play goes on from there. What
 * must be there after each act was seen in a rehearsal, on another device, where nothing failed.
 */
#ifndef TP_TEST_FAILURES_PLAY_H
#define TP_TEST_FAILURES_PLAY_H

#include "failures.h"

#include <thinp/block.h>
#include <thinp/transaction.h>

enum { PLAY_MOST_ACTS = 48, PLAY_CACHE = 8, PLAY_LARGE = 256 << 10 };

/* What stages begin with. */
struct stage {
	struct world *w;
	struct thinp_bm *bm;
	struct thinp_tm *tm;
};

struct act {
	const char *name;
	int (*run)(struct stage *stage); /* asserts that outputs stay untouched by a failure */
	bool commits;
};

struct play {
	const struct act *acts; /* ends with a name that is NULL; the last one commits */
	struct stage *(*open)(struct world *w);
	void (*close)(struct stage *stage);
	void (*abort)(struct stage *stage);
	/* Asserts that every count is that of what there is to be counted. A number made of the content. */
	uint64_t (*look)(struct stage *stage, bool is_committed);
	void (*reopen)(struct stage *stage); /* as after a power cut; NULL: the counts are lost with the memory */
};

/* For the setup, attempt and close of a scenario. always_aborts: also when nothing was changed. */
void play_setup(struct world *w, const struct play *play, bool always_aborts);
int play_attempt(struct world *w);
void play_close(struct world *w);

/* A number made of bytes, and the one before. */
uint64_t play_mix(uint64_t number, const void *bytes, size_t nr_bytes);

#endif
