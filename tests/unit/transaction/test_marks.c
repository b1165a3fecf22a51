/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/transaction/test_marks.c - the set of blocks that may be changed in place, against a model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/error.h>

#include "support/alloc_counting.h"
#include "transaction/marks.h"
#include "unit/base/random.h"

enum { NR_ADDRESSES = 400 };

struct fixture {
	struct alloc_counting alloc;
	struct tp_marks marks;
	thinp_block_t base; /* addresses are this and those behind it, round the end of all numbers */
	bool is_marked[NR_ADDRESSES];
	uintptr_t buffer[NR_ADDRESSES];
	bool is_gone[NR_ADDRESSES];
};

static struct fixture *new_fixture(thinp_block_t base)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	alloc_counting_init(&f->alloc);
	tp_marks_init(&f->marks, &f->alloc.table);
	f->base = base;
	return f;
}

static void free_fixture(struct fixture *f)
{
	tp_marks_exit(&f->marks);
	alloc_counting_check(&f->alloc);
	free(f);
}

/* A number in the place of a buffer: it is only kept. */
static struct thinp_buffer *as_buffer(uintptr_t number)
{
	return (struct thinp_buffer *)(number * 16);
}

/* And the data of that buffer. */
static void *as_data(uintptr_t number)
{
	return (void *)(number * 16 + 8);
}

static void add(struct fixture *f, size_t i, uintptr_t number)
{
	assert_int_equal(tp_marks_make_room(&f->marks), 0);
	tp_marks_add(&f->marks, f->base + i, as_buffer(number), as_data(number));
	f->is_marked[i] = true;
	f->buffer[i] = number;
}

static void note_gone(void *ctx, thinp_block_t block)
{
	struct fixture *f = ctx;

	assert_true(block - f->base < NR_ADDRESSES);
	assert_false(f->is_gone[block - f->base]);
	f->is_gone[block - f->base] = true;
}

/* nr may go beyond all addresses. */
static void remove_range(struct fixture *f, size_t first, uint64_t nr)
{
	memset(f->is_gone, 0, sizeof(f->is_gone));
	tp_marks_remove(&f->marks, f->base + first, nr, note_gone, f);
	for (size_t i = 0; i < NR_ADDRESSES; i++) {
		bool is_in = i >= first && i - first < nr;

		assert_int_equal(f->is_gone[i], is_in && f->is_marked[i]);
		f->is_marked[i] &= !is_in;
	}
}

static void compare(struct fixture *f)
{
	size_t nr = 0;

	for (size_t i = 0; i < NR_ADDRESSES; i++) {
		const struct tp_mark *mark = tp_marks_find(&f->marks, f->base + i);

		assert_int_equal(mark != NULL, f->is_marked[i]);
		if (mark) {
			assert_ptr_equal(mark->buffer, as_buffer(f->buffer[i]));
			assert_ptr_equal(mark->data, as_data(f->buffer[i]));
		}
		nr += f->is_marked[i];
	}
	assert_int_equal(f->marks.nr, nr);
}

static void random_steps_match_a_model(void **state)
{
	static const thinp_block_t bases[] = {0, 1000000, UINT64_MAX - NR_ADDRESSES};
	uint64_t rng = random_begin();

	(void)state;
	for (unsigned int round = 0; round < 60; round++) {
		struct fixture *f = new_fixture(bases[round % 3]);

		for (unsigned int step = 0; step < 1500; step++) {
			size_t i = random_next(&rng) % NR_ADDRESSES;
			uint64_t what = random_next(&rng) % 1000;

			if (what < 600)
				add(f, i, 1 + random_next(&rng) % 1000);
			else if (what < 990)
				remove_range(f, i, random_next(&rng) % 3);
			else if (what < 995)
				remove_range(f, i, random_next(&rng) % 3000);
			else
				compare(f);
		}
		compare(f);
		tp_marks_clear(&f->marks);
		memset(f->is_marked, 0, sizeof(f->is_marked));
		compare(f);
		free_fixture(f);
	}
}

/* Marks whose places lie at the end of the table and go on at its front. */
static void a_run_of_places_goes_round_the_end_of_the_table(void **state)
{
	struct fixture *f = new_fixture(0);
	size_t chosen[12];
	size_t nr = 0;

	(void)state;
	for (size_t i = 0; i < NR_ADDRESSES && nr < 12; i++)
		if (tp_marks_home(&f->marks, i) >= TP_MARKS_SMALL - 2)
			chosen[nr++] = i;
	assert_int_equal(nr, 12);
	for (size_t k = 0; k < nr; k++) { /* taken away one by one, and all by going through the table */
		for (size_t i = 0; i < nr; i++)
			add(f, chosen[i], i + 1);
		compare(f);
		remove_range(f, chosen[k], 1);
		compare(f);
		remove_range(f, chosen[(k + 5) % nr], 3000);
		compare(f);
	}
	free_fixture(f);
}

static void no_block_is_never_marked(void **state)
{
	struct fixture *f = new_fixture(0);

	(void)state;
	assert_null(tp_marks_find(&f->marks, THINP_NO_BLOCK));
	add(f, 3, 1);
	assert_null(tp_marks_find(&f->marks, THINP_NO_BLOCK));
	tp_marks_remove(&f->marks, THINP_NO_BLOCK - 5, 6, note_gone, f);
	compare(f);
	free_fixture(f);
}

static void without_memory_all_marks_stay(void **state)
{
	struct fixture *f = new_fixture(7);
	size_t nr = 0;

	(void)state;
	for (; nr < TP_MARKS_SMALL * 2 / 3; nr++)
		add(f, nr, nr + 1);
	assert_int_equal(f->alloc.nr_calls, 0);
	alloc_counting_fail(&f->alloc, 1);
	assert_int_equal(tp_marks_make_room(&f->marks), THINP_ENOMEM);
	compare(f);
	add(f, nr, nr + 1);
	compare(f);
	free_fixture(f);
}

static void a_large_table_is_given_back(void **state)
{
	struct fixture *f = new_fixture(0);

	(void)state;
	for (thinp_block_t block = 0; block < 20000; block++) {
		assert_int_equal(tp_marks_make_room(&f->marks), 0);
		tp_marks_add(&f->marks, block, as_buffer(block + 1), as_data(block + 1));
	}
	for (thinp_block_t block = 0; block < 20000; block++)
		assert_ptr_equal(tp_marks_find(&f->marks, block)->buffer, as_buffer(block + 1));
	tp_marks_clear(&f->marks);
	assert_int_equal(f->alloc.live_bytes, 0);
	compare(f);
	free_fixture(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_steps_match_a_model),
		cmocka_unit_test(a_run_of_places_goes_round_the_end_of_the_table),
		cmocka_unit_test(no_block_is_never_marked),
		cmocka_unit_test(without_memory_all_marks_stay),
		cmocka_unit_test(a_large_table_is_given_back),
	};

	return cmocka_run_group_tests_name("transaction/marks", tests, NULL, NULL);
}
