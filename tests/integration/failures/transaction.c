/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/transaction.c - the transaction manager: making it, new blocks, shadows, references.
 */
#include "changing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { FIRST, SHARED, COPY, NEW, MOVED, MANY, NR_BYTES = 4096 - 16 };
#define UNTOUCHED UINT64_C(0x1234567812345678)

static struct changing *of(struct stage *stage)
{
	return (struct changing *)stage;
}

/* --- making it --- */

static int make(struct world *w)
{
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = PLAY_CACHE, .allocator = &w->alloc.table};
	struct thinp_alloc table = {.size = sizeof(table)};
	struct thinp_memory_map *map;
	struct thinp_tm *tm = NULL;
	struct thinp_bm *bm;
	int r;

	assert_int_equal(thinp_memory_map_create(WORLD_BLOCKS, NULL, &map), 0);
	thinp_memory_map_get_alloc(map, &table);
	r = thinp_bm_create(w->io, &opts, &bm);
	if (!r) {
		r = thinp_tm_create(bm, &table, &tm);
		assert_int_equal(tm == NULL, r != 0);
		thinp_tm_destroy(tm);
		thinp_bm_destroy(bm);
	}
	thinp_memory_map_destroy(map);
	return r;
}

static const struct scenario making = {.name = "making a transaction manager", .attempt = make, .large = PLAY_LARGE};

/* --- making calls --- */

static int new_block(struct changing *c, size_t i, int version)
{
	thinp_block_t block = UNTOUCHED;
	struct thinp_buffer *buffer = NULL;
	void *data = NULL;
	int r = thinp_tm_new_block(c->stage.tm, thinp_block_type_bitmap(), THINP_CAUSE_NEW, &block, &buffer, &data);

	if (r) {
		assert_true(block == UNTOUCHED && !buffer && !data);
		return r;
	}
	memset((uint8_t *)data + 16, version, NR_BYTES);
	thinp_tm_unlock(c->stage.tm, buffer);
	c->now.list[i] = (struct thing){.kind = BLOCK, .root = block, .nr = 1};
	return 0;
}

/* The reference of thing i moves to `to`, which may be the same. */
static int shadow(struct changing *c, size_t i, size_t to, int version)
{
	thinp_block_t block = UNTOUCHED;
	struct thinp_buffer *buffer = NULL;
	void *data = NULL;
	bool inc_children = true;
	int r = thinp_tm_shadow_block(c->stage.tm, c->now.list[i].root, thinp_block_type_bitmap(), THINP_CAUSE_SHADOW,
				      &block, &buffer, &data, &inc_children);

	if (r) {
		assert_true(block == UNTOUCHED && !buffer && !data && inc_children);
		return r;
	}
	assert_int_equal(inc_children, c->now.list[i].nr > 1);
	memset((uint8_t *)data + 16, version, NR_BYTES);
	thinp_tm_unlock(c->stage.tm, buffer);
	if (!--c->now.list[i].nr)
		c->now.list[i].kind = NOTHING;
	c->now.list[to] = (struct thing){.kind = BLOCK, .root = block, .nr = 1};
	return 0;
}

static int inc(struct changing *c, size_t i)
{
	int r = thinp_tm_inc(c->stage.tm, c->now.list[i].root, 1, THINP_CAUSE_USER);

	c->now.list[i].nr += !r;
	return r;
}

static int dec(struct changing *c, size_t i)
{
	int r = thinp_tm_dec(c->stage.tm, c->now.list[i].root, 1, THINP_CAUSE_FREE);

	if (!r && !--c->now.list[i].nr)
		c->now.list[i].kind = NOTHING;
	return r;
}

/* --- the stage --- */

static struct stage *open_blocks(struct world *w)
{
	struct changing *c = changing_new(w);

	assert_int_equal(new_block(c, FIRST, 1), 0);
	assert_int_equal(new_block(c, SHARED, 2), 0);
	assert_int_equal(new_block(c, MOVED, 3), 0);
	assert_int_equal(inc(c, SHARED), 0);
	assert_int_equal(changing_commit(&c->stage), 0);
	changing_reopen(c);
	return &c->stage;
}

/* --- acts --- */

static int new_one(struct stage *stage)
{
	return new_block(of(stage), NEW, 10);
}

/* Together more than the cache has: some are written to make room. */
static int new_next(struct stage *stage)
{
	size_t i = MANY;

	while (of(stage)->now.list[i].kind != NOTHING)
		i++;
	return new_block(of(stage), i, 20 + (int)i);
}

static int shadow_first(struct stage *stage)
{
	return shadow(of(stage), FIRST, FIRST, 12);
}

static int shadow_again(struct stage *stage)
{
	return shadow(of(stage), FIRST, FIRST, 13);
}

static int shadow_shared(struct stage *stage)
{
	return shadow(of(stage), SHARED, COPY, 14);
}

static int shadow_moved(struct stage *stage)
{
	return shadow(of(stage), MOVED, MOVED, 15);
}

static int share_new(struct stage *stage)
{
	return inc(of(stage), NEW);
}

static int drop_shared(struct stage *stage)
{
	return dec(of(stage), SHARED);
}

static int drop_new(struct stage *stage)
{
	return dec(of(stage), NEW);
}

static int count_first(struct stage *stage)
{
	uint32_t count = 4711;
	int r = thinp_tm_count(stage->tm, of(stage)->now.list[FIRST].root, &count);

	assert_int_equal(count, r ? 4711 : 1);
	return r;
}

static int reserve(struct stage *stage)
{
	return thinp_tm_reserve(stage->tm, 20, 0);
}

/* --- the play --- */

static const struct act acts[] = {
	{"reserve", reserve, false},
	{"new block", new_one, false},
	{"shadow", shadow_first, false},
	{"shadow what is shared", shadow_shared, false},
	{"share what is new", share_new, false},
	{"count", count_first, false},
	{"shadow in place", shadow_again, false},
	{"drop a reference", drop_shared, false},
	{"drop what is new", drop_new, false},
	{"shadow another", shadow_moved, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"one more", new_next, false},
	{"commit", changing_commit, true},
	{"drop the last reference", drop_new, false},
	{"shadow after a commit", shadow_again, false},
	{"commit again", changing_commit, true},
	{NULL, NULL, false},
};
static const struct play play = {
	.acts = acts, .open = open_blocks, .close = changing_close, .abort = changing_abort, .look = changing_look};

static void going_on(struct world *w)
{
	play_setup(w, &play, false);
}

static void aborting(struct world *w)
{
	play_setup(w, &play, true);
}

static const struct scenario changing = {.name = "blocks of a transaction",
					 .setup = going_on,
					 .attempt = play_attempt,
					 .close = play_close,
					 .large = PLAY_LARGE};
static const struct scenario aborted = {.name = "blocks of a transaction, and aborting",
					.setup = aborting,
					.attempt = play_attempt,
					.close = play_close,
					.large = PLAY_LARGE};

const struct covered failures_of_transaction[] = {
	{"thinp_tm_create", &making},         {"thinp_tm_new_block", &changing},
	{"thinp_tm_shadow_block", &changing}, {"thinp_tm_inc", &changing},
	{"thinp_tm_dec", &aborted},           {"thinp_tm_count", &changing},
	{"thinp_tm_reserve", &changing},      {NULL, NULL},
};
