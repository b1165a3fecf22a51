/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the commit before the last needs is found when a map is opened: in a map whose index is a tree of several leaves.
 */
#include "space_map/sm.h"
#include "support/space_map_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NR_BITMAPS 180u /* a leaf of the index has room for 169 */
#define NR_BLOCKS  ((uint64_t)NR_BITMAPS * SM_PER_BITMAP - 100)

static const uint64_t places[] = {0, 7, 64, 16319, 16320, 90 * SM_PER_BITMAP + 5, 175 * SM_PER_BITMAP, NR_BLOCKS - 1};

enum { NR_PLACES = sizeof(places) / sizeof(places[0]) };

static struct sm_fixture *with_used_places(void)
{
	struct sm_fixture *f = sm_fixture_new(3000, NR_BLOCKS, NR_BLOCKS, NULL, false);

	for (size_t i = 0; i < NR_PLACES; i++)
		sm_raise(&f->data, places[i], (uint32_t)(i % 4 + 1));
	assert_int_equal(sm_commit(f), 0);
	return f;
}

static bool is_held(struct sm_fixture *f, uint64_t block)
{
	struct tp_page *page;
	uint32_t i = (uint32_t)(block % TP_PAGE_NR_BLOCKS);

	assert_int_equal(tp_sm_get_page(f->data.sm, block / TP_PAGE_NR_BLOCKS, &page), 0);
	assert_int_not_equal(tp_bit_get(page->held, i), tp_bit_get(page->available, i));
	return tp_bit_get(page->held, i);
}

static void what_the_last_commit_gave_up_is_held_and_nothing_else(void **state)
{
	struct sm_fixture *f = with_used_places();
	struct tp_sm_root previous = f->data.root;

	(void)state;
	for (size_t i = 0; i < NR_PLACES; i++)
		assert_int_equal(sm_dec(&f->data, places[i], 1), 0); /* every fourth one has no other reference */
	assert_int_equal(sm_commit(f), 0);
	sm_reopen(f);
	assert_int_equal(tp_sm_hold_previous(f->data.sm, &previous, f->nr_commits), 0);
	assert_int_equal(sm_info(&f->data).nr_zero - sm_info(&f->data).nr_allocatable, NR_PLACES / 4);
	for (size_t i = 0; i < NR_PLACES; i += 4) {
		assert_true(is_held(f, places[i]));
		assert_false(is_held(f, places[i] + 1));
	}
	tp_sm_release(f->data.sm, f->nr_commits);
	assert_int_equal(sm_info(&f->data).nr_zero, sm_info(&f->data).nr_allocatable);
	assert_false(is_held(f, places[0]));
	sm_fixture_free(f);
}

static void a_commit_that_left_the_map_alone_gave_up_nothing(void **state)
{
	struct sm_fixture *f = with_used_places();
	struct tp_sm_root previous = f->data.root;
	uint64_t block;

	(void)state;
	assert_int_equal(sm_take(f, &f->meta, 1, &block), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(previous.bitmap_root, f->data.root.bitmap_root);
	sm_reopen(f);
	assert_int_equal(tp_sm_hold_previous(f->data.sm, &previous, f->nr_commits), 0);
	assert_int_equal(sm_info(&f->data).nr_zero, sm_info(&f->data).nr_allocatable);
	sm_fixture_free(f);
}

/* Nodes that two commits share are passed over by their address; the others, and only those, are looked into. */
static void shared_nodes_of_the_index_are_passed_over(void **state)
{
	struct sm_fixture *f = with_used_places();
	struct tp_sm_view before = {.reader = f->reader, .root = f->data.root, .kind = TP_SM_DATA}, now = before;
	uint64_t end;

	(void)state;
	assert_int_equal(sm_inc(&f->data, 3, 1), 0);
	assert_int_equal(sm_commit(f), 0);
	now.root = f->data.root;
	assert_int_equal(tp_sm_same_until(&before, &now, 0, &end), 0);
	assert_int_equal(end, 0);
	assert_int_equal(tp_sm_same_until(&before, &now, NR_BITMAPS - 1, &end), 0);
	assert_true(end >= NR_BITMAPS);
	assert_int_equal(tp_sm_same_until(&now, &now, 0, &end), 0);
	assert_true(end == UINT64_MAX);
	sm_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_last_commit_gave_up_is_held_and_nothing_else),
		cmocka_unit_test(a_commit_that_left_the_map_alone_gave_up_nothing),
		cmocka_unit_test(shared_nodes_of_the_index_are_passed_over),
	};

	return cmocka_run_group_tests_name("space_map/previous", tests, NULL, NULL);
}
