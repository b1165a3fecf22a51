/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Leaves that a dump remembers: their places, and the room for their texts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "check/known_leaves.h"
#include "support/alloc_counting.h"

#include <thinp/error.h>

#include <string.h>

static const struct thinp_run runs[] = {{0, 0, 5, 1, 0}, {5, 9, 1, 1, 0}, {7, 20, 3, 2, 0}};

struct world {
	struct alloc_counting alloc;
	struct tp_known_leaves known;
};

static void open_world(struct world *w, uint64_t nr_blocks)
{
	alloc_counting_init(&w->alloc);
	assert_int_equal(tp_known_leaves_create(&w->known, &w->alloc.table, nr_blocks), 0);
}

static void close_world(struct world *w)
{
	tp_known_leaves_destroy(&w->known);
	alloc_counting_check(&w->alloc);
}

static void a_leaf_is_known_by_its_ends_and_the_text_between_them(void **state)
{
	struct tp_known_leaf *place;
	struct world w;

	(void)state;
	open_world(&w, 100);
	place = tp_known_leaves_place(&w.known, 42);
	assert_false(place->is_complete);
	tp_known_leaf_set(place, 42, runs, 1);
	assert_true(place->is_complete && !place->has_several);
	tp_known_leaf_set(place, 42, runs, 2);
	assert_true(place->is_complete && place->has_several);
	assert_int_equal(place->nr_blocks, 6);
	tp_known_leaf_set(place, 42, runs, 3);
	assert_false(place->is_complete);
	assert_int_equal(tp_known_leaves_keep(&w.known, place, "middle", 6), 0);
	assert_true(place->is_complete);
	assert_int_equal(place->nr_blocks, 9);
	assert_int_equal(place->text_len, 6);
	assert_memory_equal(place->text, "middle", 6);
	assert_memory_equal(&place->first, &runs[0], sizeof(runs[0]));
	assert_memory_equal(&place->last, &runs[2], sizeof(runs[2]));
	close_world(&w);
}

static void leaves_that_have_one_place_take_it_from_each_other(void **state)
{
	struct world w;

	(void)state;
	open_world(&w, UINT64_C(1) << 40);
	assert_int_equal(w.known.nr_places, TP_KNOWN_LEAVES_MOST);
	tp_known_leaf_set(tp_known_leaves_place(&w.known, 7), 7, runs, 1);
	tp_known_leaf_set(tp_known_leaves_place(&w.known, 7 + TP_KNOWN_LEAVES_MOST), 7 + TP_KNOWN_LEAVES_MOST, runs, 3);
	assert_int_equal(tp_known_leaves_place(&w.known, 7)->leaf, 7 + TP_KNOWN_LEAVES_MOST);
	assert_false(tp_known_leaves_place(&w.known, 7)->is_complete);
	close_world(&w);
}

/* What was kept before stays. */
static void when_there_is_no_room_a_leaf_stays_unknown(void **state)
{
	static char text[30000];
	size_t nr_kept = 0, nr_refused = 0;
	struct world w;

	(void)state;
	open_world(&w, 1000);
	for (uint64_t leaf = 0; leaf < 1000; leaf++) {
		struct tp_known_leaf *place = tp_known_leaves_place(&w.known, leaf);

		memset(text, 'a' + (int)(leaf % 26), sizeof(text));
		tp_known_leaf_set(place, leaf, runs, 3);
		assert_int_equal(tp_known_leaves_keep(&w.known, place, text, sizeof(text)), 0);
		nr_kept += place->is_complete;
		nr_refused += !place->is_complete;
	}
	assert_int_equal(nr_kept, TP_KNOWN_LEAVES_NR_CHUNKS * (TP_KNOWN_LEAVES_CHUNK / sizeof(text)));
	assert_int_equal(nr_kept + nr_refused, 1000);
	for (uint64_t leaf = 0; leaf < nr_kept; leaf++)
		for (size_t i = 0; i < sizeof(text); i += sizeof(text) - 1)
			assert_int_equal(tp_known_leaves_place(&w.known, leaf)->text[i], 'a' + (int)(leaf % 26));
	assert_true(w.alloc.peak_bytes < 20u << 20);
	close_world(&w);
}

static int attempt(void *ctx)
{
	struct alloc_counting *alloc = ctx;
	struct tp_known_leaves known;
	int r = tp_known_leaves_create(&known, &alloc->table, 10);

	for (uint64_t leaf = 0; leaf < 3 && !r; leaf++) {
		static const char text[TP_KNOWN_LEAVES_CHUNK / 2 + 1];

		tp_known_leaf_set(tp_known_leaves_place(&known, leaf), leaf, runs, 3);
		r = tp_known_leaves_keep(&known, tp_known_leaves_place(&known, leaf), text, sizeof(text));
	}
	tp_known_leaves_destroy(&known);
	return r;
}

static void without_memory_nothing_is_left_behind(void **state)
{
	struct alloc_counting alloc;

	(void)state;
	alloc_counting_init(&alloc);
	alloc_counting_loop(&alloc, attempt, &alloc);
	alloc_counting_check(&alloc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leaf_is_known_by_its_ends_and_the_text_between_them),
		cmocka_unit_test(leaves_that_have_one_place_take_it_from_each_other),
		cmocka_unit_test(when_there_is_no_room_a_leaf_stays_unknown),
		cmocka_unit_test(without_memory_nothing_is_left_behind),
	};

	return cmocka_run_group_tests_name("check/known_leaves", tests, NULL, NULL);
}
