/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Putting counts right that are too high, bitmaps that are wrong, and the number of blocks in use.
 */
#include "support/space_map_fixture.h"

#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int lower(struct sm_model *m, uint64_t first, uint64_t nr, uint32_t from, uint32_t to)
{
	int r = tp_sm_lower(m->sm, first, nr, from, to);

	for (uint64_t i = 0; !r && i < nr; i++)
		m->counts[first + i] = to;
	return r;
}

/* From any count to any lower one: in the bitmap, in the overflow tree, in the table of large counts. */
static void any_count_can_be_lowered_at_once(void **state)
{
	static const uint32_t counts[] = {0, 1, 2, 3, 4, 253, 254, 255, 256, 1000};
	enum { NR = sizeof(counts) / sizeof(counts[0]) };
	struct sm_fixture *f = sm_fixture_new(1000, 40000, 40000, NULL, false);

	(void)state;
	for (uint32_t i = 1; i < NR; i++)
		for (uint32_t k = 0; k < i; k++)
			for (uint64_t block = 0; block < 3; block++)
				sm_raise(&f->data, 16310 + (i * NR + k) * 3 + block, counts[i]);
	assert_int_equal(sm_commit(f), 0);
	for (uint32_t i = 1; i < NR; i++)
		for (uint32_t k = 0; k < i; k++) /* three neighbours; some of them are in two bitmaps */
			assert_int_equal(lower(&f->data, 16310 + (i * NR + k) * 3, 3, counts[i], counts[k]), 0);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_commit(f), 0);
	sm_expect_counts(&f->data);
	sm_fixture_free(f);
}

static void what_waits_in_the_queue_is_applied_before(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 40000, 40000, NULL, true);

	(void)state;
	for (int i = 0; i < 5; i++)
		assert_int_equal(sm_inc(&f->data, 7, 1), 0);
	assert_int_equal(lower(&f->data, 7, 1, 5, 1), 0);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

static void another_count_than_was_found_is_left_alone(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 100, 1000, NULL, false);

	(void)state;
	assert_int_equal(sm_inc(&f->data, 10, 5), 0);
	assert_int_equal(sm_inc(&f->data, 10, 4), 0);
	assert_int_equal(tp_sm_lower(f->data.sm, 10, 5, 2, 1), THINP_EREFCOUNT);
	assert_int_equal(tp_sm_lower(f->data.sm, 10, 4, 2, 2), THINP_EINVAL);
	assert_int_equal(tp_sm_lower(f->data.sm, 10, 4, 2, 3), THINP_EINVAL);
	assert_int_equal(tp_sm_lower(f->data.sm, 98, 3, 1, 0), THINP_ERANGE);
	assert_int_equal(tp_sm_write_anew(f->data.sm, 1), THINP_ERANGE);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

static void an_abort_brings_the_counts_back(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 100, 1000, NULL, false);

	(void)state;
	sm_raise(&f->data, 5, 300);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(lower(&f->data, 5, 1, 300, 0), 0);
	assert_int_equal(tp_sm_write_anew(f->data.sm, 0), 0);
	tp_sm_set_nr_used(f->data.sm, 50);
	sm_abort(f);
	sm_expect_counts(&f->data);
	assert_int_equal(sm_info(&f->data).nr_zero, 99);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

static void a_bitmap_is_written_though_nothing_has_changed(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 40000, 40000, NULL, false);
	uint64_t root = f->data.root.bitmap_root;

	(void)state;
	assert_int_equal(tp_sm_write_anew(f->data.sm, 2), 0);
	assert_int_equal(tp_sm_write_anew(f->meta.sm, 0), 0);
	assert_int_equal(sm_commit(f), 0);
	assert_int_not_equal(f->data.root.bitmap_root, root);
	sm_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_count_can_be_lowered_at_once),
		cmocka_unit_test(what_waits_in_the_queue_is_applied_before),
		cmocka_unit_test(another_count_than_was_found_is_left_alone),
		cmocka_unit_test(an_abort_brings_the_counts_back),
		cmocka_unit_test(a_bitmap_is_written_though_nothing_has_changed),
	};

	return cmocka_run_group_tests_name("space_map/fix", tests, NULL, NULL);
}
