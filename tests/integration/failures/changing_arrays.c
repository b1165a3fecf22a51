/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/changing_arrays.c - changing arrays and bitsets. All that can be shared is shared with a snapshot.
 */
#include "changing.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PLAIN, PLAIN_SNAP, WORDS, WORDS_SNAP, MADE, EMPTY };
enum { NR = 45, NR_MADE = 20, LONG = 90, SHORT = 9, NR_BITS = 600 * 64 + 10, NR_MORE_BITS = 1200 * 64 };
#define UNTOUCHED UINT64_C(0x1234567812345678)

static struct changing *of(struct stage *stage)
{
	return (struct changing *)stage;
}

/* --- making calls: arrays --- */

static int fill(void *ctx, uint64_t begin, uint32_t nr, void *values_le)
{
	uint32_t first = *(const uint32_t *)ctx;

	for (uint32_t i = 0; i < nr; i++)
		changing_value(first + (uint32_t)begin + i, (uint8_t *)values_le + (size_t)i * CHANGING_VALUE);
	return 0;
}

static int make(struct changing *c, size_t i, uint64_t nr, uint32_t number)
{
	thinp_block_t root = UNTOUCHED;
	int r = nr ? thinp_array_new(c->stage.tm, &c->array, nr, fill, &number, &root)
		   : thinp_array_create(c->stage.tm, &c->array, &root);

	if (r) {
		assert_int_equal(root, UNTOUCHED);
		return r;
	}
	for (uint64_t n = 0; n < nr; n++)
		c->now.owners[number + n]++;
	c->now.list[i] = (struct thing){.kind = ARRAY, .root = root, .nr = nr};
	return 0;
}

static int set(struct changing *c, size_t i, uint64_t index, uint32_t number)
{
	thinp_block_t root = UNTOUCHED;
	uint8_t value[CHANGING_VALUE];
	int r;

	changing_value(number, value);
	r = thinp_array_set(c->stage.tm, &c->array, c->now.list[i].root, index, value, &root);
	if (r) {
		assert_int_equal(root, UNTOUCHED);
		return r;
	}
	c->now.owners[number]++;
	c->now.list[i].root = root;
	return 0;
}

static int resize(struct changing *c, size_t i, uint64_t nr, uint32_t number)
{
	thinp_block_t root = UNTOUCHED;
	uint8_t value[CHANGING_VALUE];
	int r;

	changing_value(number, value);
	r = thinp_array_resize(c->stage.tm, &c->array, c->now.list[i].root, c->now.list[i].nr, nr, value, &root);
	if (r)
		assert_int_equal(root, UNTOUCHED);
	else
		c->now.list[i] = (struct thing){.kind = ARRAY, .root = root, .nr = nr};
	return r;
}

static int del(struct changing *c, size_t i)
{
	int r = thinp_array_del(c->stage.tm, &c->array, c->now.list[i].root);

	if (!r)
		c->now.list[i] = (struct thing){.kind = NOTHING};
	return r;
}

static int snapshot(struct changing *c, size_t from, size_t to)
{
	int r = thinp_tm_inc(c->stage.tm, c->now.list[from].root, 1, THINP_CAUSE_USER);

	if (!r)
		c->now.list[to] = c->now.list[from];
	return r;
}

/* --- the bitset: the handle knows what it is --- */

static struct thinp_bitset *bits_of(struct stage *stage)
{
	return of(stage)->own;
}

static int flush(struct stage *stage)
{
	struct changing *c = of(stage);
	thinp_block_t root = UNTOUCHED;
	int r = thinp_bitset_flush(c->own, &root);

	if (r) {
		assert_int_equal(root, UNTOUCHED);
		return r;
	}
	c->now.nr_bits = thinp_bitset_nr_bits(c->own);
	c->now.list[WORDS] = (struct thing){.kind = BITS, .root = root, .nr = (c->now.nr_bits + 63) / 64};
	return 0;
}

static void make_bits(struct changing *c)
{
	struct thinp_array_type words = {.size = sizeof(words), .value_size = 8};
	struct thinp_bitset *bits;
	thinp_block_t root;

	assert_int_equal(thinp_array_create(c->stage.tm, &words, &root), 0);
	assert_int_equal(thinp_bitset_create(c->stage.tm, root, 0, &bits), 0);
	assert_int_equal(thinp_bitset_resize(bits, NR_BITS, true), 0);
	c->own = bits;
	assert_int_equal(flush(&c->stage), 0);
}

/* --- the stage --- */

static struct stage *open_arrays(struct world *w)
{
	struct changing *c = changing_new(w);

	assert_int_equal(make(c, PLAIN, NR, 0), 0);
	make_bits(c);
	assert_int_equal(snapshot(c, PLAIN, PLAIN_SNAP), 0);
	assert_int_equal(snapshot(c, WORDS, WORDS_SNAP), 0);
	assert_int_equal(changing_commit(&c->stage), 0);
	thinp_bitset_destroy(c->own);
	changing_reopen(c);
	assert_int_equal(
		thinp_bitset_create(c->stage.tm, c->now.list[WORDS].root, NR_BITS, (struct thinp_bitset **)&c->own), 0);
	return &c->stage;
}

static void close_arrays(struct stage *stage)
{
	thinp_bitset_destroy(bits_of(stage));
	changing_close(stage);
}

static void abort_arrays(struct stage *stage)
{
	struct changing *c = of(stage);

	changing_abort(stage);
	thinp_bitset_reset(c->own, c->now.list[WORDS].root, c->now.nr_bits);
}

static int commit_arrays(struct stage *stage)
{
	int r = flush(stage);

	return r ? r : changing_commit(stage);
}

static uint64_t look_at_arrays(struct stage *stage, bool is_committed)
{
	assert_int_equal(flush(stage), 0);
	return changing_look(stage, is_committed);
}

/* --- acts: arrays --- */

static int make_empty(struct stage *stage)
{
	return make(of(stage), EMPTY, 0, 0);
}

static int make_one(struct stage *stage)
{
	return make(of(stage), MADE, NR_MADE, 100);
}

static int set_first(struct stage *stage)
{
	return set(of(stage), PLAIN, 0, 200);
}

static int set_neighbour(struct stage *stage)
{
	return set(of(stage), PLAIN, 1, 201);
}

static int set_last(struct stage *stage)
{
	return set(of(stage), PLAIN, NR - 1, 202);
}

static int grow(struct stage *stage)
{
	return resize(of(stage), PLAIN, LONG, 203);
}

static int shrink(struct stage *stage)
{
	return resize(of(stage), PLAIN, SHORT, 0);
}

static int shrink_to_nothing(struct stage *stage)
{
	return resize(of(stage), MADE, 0, 0);
}

static int del_snapshot(struct stage *stage)
{
	return del(of(stage), PLAIN_SNAP);
}

static int del_plain(struct stage *stage)
{
	return del(of(stage), PLAIN);
}

static int del_empty(struct stage *stage)
{
	return del(of(stage), EMPTY);
}

/* --- acts: bitsets --- */

static int use_another_handle(struct stage *stage)
{
	struct changing *c = of(stage);
	struct thinp_bitset *bits = NULL;
	bool is_set = false;
	int r = thinp_bitset_create(stage->tm, c->now.list[WORDS_SNAP].root, NR_BITS, &bits);

	if (r) {
		assert_null(bits);
		return r;
	}
	r = thinp_bitset_get(bits, 3, &is_set);
	thinp_bitset_destroy(bits);
	assert_true(is_set == !r);
	return r;
}

static int clear_one(struct stage *stage)
{
	return thinp_bitset_clear(bits_of(stage), 100);
}

static int clear_near(struct stage *stage)
{
	return thinp_bitset_clear(bits_of(stage), 101);
}

static int get_far(struct stage *stage)
{
	bool is_set = false;
	int r = thinp_bitset_get(bits_of(stage), NR_BITS - 1, &is_set);

	assert_true(is_set == !r);
	return r;
}

static int clear_far(struct stage *stage)
{
	return thinp_bitset_clear(bits_of(stage), NR_BITS - 2);
}

static int set_again(struct stage *stage)
{
	return thinp_bitset_set(bits_of(stage), 100);
}

static int resize_bits(struct stage *stage, uint64_t nr, bool is_set)
{
	uint64_t before = thinp_bitset_nr_bits(bits_of(stage));
	int r = thinp_bitset_resize(bits_of(stage), nr, is_set);

	assert_int_equal(thinp_bitset_nr_bits(bits_of(stage)), r ? before : nr);
	return r;
}

static int grow_bits(struct stage *stage)
{
	return resize_bits(stage, NR_MORE_BITS, false);
}

static int grow_bits_a_little(struct stage *stage)
{
	return resize_bits(stage, NR_MORE_BITS + 3, true);
}

static int shrink_bits(struct stage *stage)
{
	return resize_bits(stage, 100, false);
}

/* --- the play --- */

static const struct act acts[] = {
	{"create", make_empty, false},
	{"make", make_one, false},
	{"set", set_first, false},
	{"set a neighbour", set_neighbour, false},
	{"set the last one", set_last, false},
	{"grow", grow, false},
	{"another handle", use_another_handle, false},
	{"clear a bit", clear_one, false},
	{"clear a bit near", clear_near, false},
	{"get a bit far away", get_far, false},
	{"clear a bit far away", clear_far, false},
	{"set a bit again", set_again, false},
	{"more bits", grow_bits, false},
	{"some bits more", grow_bits_a_little, false},
	{"flush", flush, false},
	{"drop a snapshot", del_snapshot, false},
	{"commit", commit_arrays, true},
	{"shrink", shrink, false},
	{"fewer bits", shrink_bits, false},
	{"shrink to nothing", shrink_to_nothing, false},
	{"drop an array", del_plain, false},
	{"drop an empty array", del_empty, false},
	{"commit again", commit_arrays, true},
	{NULL, NULL, false},
};
static const struct play play = {
	.acts = acts, .open = open_arrays, .close = close_arrays, .abort = abort_arrays, .look = look_at_arrays};

static void going_on(struct world *w)
{
	play_setup(w, &play, false);
}

static void aborting(struct world *w)
{
	play_setup(w, &play, true);
}

static const struct scenario changing = {.name = "changing arrays",
					 .setup = going_on,
					 .attempt = play_attempt,
					 .close = play_close,
					 .large = PLAY_LARGE};
static const struct scenario aborted = {.name = "changing arrays, and aborting",
					.setup = aborting,
					.attempt = play_attempt,
					.close = play_close,
					.large = PLAY_LARGE};

const struct covered failures_of_changing_arrays[] = {
	{"thinp_array_create", &changing}, {"thinp_array_new", &changing},    {"thinp_array_set", &changing},
	{"thinp_array_resize", &changing}, {"thinp_array_del", &changing},    {"thinp_bitset_create", &changing},
	{"thinp_bitset_set", &aborted},    {"thinp_bitset_clear", &aborted},  {"thinp_bitset_get", &aborted},
	{"thinp_bitset_flush", &aborted},  {"thinp_bitset_resize", &aborted}, {NULL, NULL},
};
