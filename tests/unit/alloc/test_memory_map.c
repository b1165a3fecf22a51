/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/alloc/test_memory_map.c - the map in memory: taking, counting, committing, aborting, against a model.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <thinp/alloc.h>
#include <thinp/error.h>

#include "alloc/memory_map.h"
#include "support/alloc_counting.h"
#include "unit/base/random.h"

struct fixture {
	struct alloc_counting alloc;
	struct thinp_memory_map *map;
	struct thinp_alloc table;
};

static struct fixture *new_fixture(uint64_t nr_blocks)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	alloc_counting_init(&f->alloc);
	f->table.size = sizeof(f->table);
	assert_int_equal(thinp_memory_map_create(nr_blocks, &f->alloc.table, &f->map), 0);
	thinp_memory_map_get_alloc(f->map, &f->table);
	return f;
}

static void free_fixture(struct fixture *f)
{
	thinp_memory_map_destroy(f->map);
	alloc_counting_check(&f->alloc);
	free(f);
}

static int inc(struct fixture *f, thinp_block_t first, uint64_t nr_blocks)
{
	return f->table.inc(f->table.ctx, first, nr_blocks, THINP_CAUSE_USER);
}

static int dec(struct fixture *f, thinp_block_t first, uint64_t nr_blocks)
{
	return f->table.dec(f->table.ctx, first, nr_blocks, THINP_CAUSE_USER);
}

static int take(struct fixture *f, thinp_block_t *block)
{
	return f->table.take(f->table.ctx, THINP_CAUSE_NEW, block);
}

static int reserve(struct fixture *f, uint64_t nr_blocks)
{
	return f->table.reserve(f->table.ctx, nr_blocks, 0);
}

static uint32_t count_of(struct fixture *f, thinp_block_t block)
{
	uint32_t count = 12345;

	assert_int_equal(f->table.count(f->table.ctx, block, &count), 0);
	return count;
}

/* --- taking --- */

static void SM_04_every_block_is_taken_once_and_then_there_is_no_space(void **state)
{
	static const uint64_t sizes[] = {
		1, 5, TP_PAGE_BLOCKS - 1, TP_PAGE_BLOCKS, TP_PAGE_BLOCKS + 1, 3 * TP_PAGE_BLOCKS + 5};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct fixture *f = new_fixture(sizes[i]);
		thinp_block_t block = THINP_NO_BLOCK;

		for (uint64_t n = 0; n < sizes[i]; n++) {
			assert_int_equal(reserve(f, sizes[i] - n), 0);
			assert_int_equal(thinp_memory_map_nr_zero(f->map), sizes[i] - n);
			assert_int_equal(take(f, &block), 0);
			assert_int_equal(block, n);
			assert_int_equal(count_of(f, block), 1);
		}
		block = 77;
		assert_int_equal(take(f, &block), THINP_ENOSPC);
		assert_int_equal(block, 77);
		assert_int_equal(thinp_memory_map_nr_zero(f->map), 0);
		free_fixture(f);
	}
}

static void a_map_of_no_blocks_gives_none(void **state)
{
	struct fixture *f = new_fixture(0);
	thinp_block_t block;

	(void)state;
	assert_int_equal(take(f, &block), THINP_ENOSPC);
	assert_int_equal(inc(f, 0, 1), THINP_ERANGE);
	assert_int_equal(inc(f, 0, 0), 0);
	assert_int_equal(reserve(f, 0), 0);
	thinp_memory_map_commit(f->map);
	thinp_memory_map_abort(f->map);
	free_fixture(f);
}

static void SM_03_a_block_is_taken_only_when_free_now_and_in_the_last_commit(void **state)
{
	enum { NR = 100, FREED = 10, RAISED = 50 };
	struct fixture *f = new_fixture(NR);
	bool is_taken[NR] = {false};
	thinp_block_t block;

	(void)state;
	for (int i = 0; i < 20; i++)
		assert_int_equal(take(f, &block), 0);
	thinp_memory_map_commit(f->map);
	assert_int_equal(dec(f, FREED, 1), 0);
	assert_int_equal(inc(f, RAISED, 1), 0);
	for (int i = 0; i < NR - 20 - 1; i++) {
		assert_int_equal(take(f, &block), 0);
		assert_false(is_taken[block]);
		assert_true(block >= 20 && block != RAISED);
		is_taken[block] = true;
	}
	assert_int_equal(take(f, &block), THINP_ENOSPC);
	assert_int_equal(thinp_memory_map_nr_zero(f->map), 1);
	assert_int_equal(reserve(f, 1), THINP_ENOSPC);
	thinp_memory_map_commit(f->map);
	assert_int_equal(reserve(f, 1), 0);
	assert_int_equal(take(f, &block), 0);
	assert_int_equal(block, FREED);
	free_fixture(f);
}

static void H1_the_last_free_block_is_not_given_twice(void **state)
{
	struct fixture *f = new_fixture(3);
	thinp_block_t block;

	(void)state;
	assert_int_equal(inc(f, 0, 2), 0);
	thinp_memory_map_commit(f->map);
	assert_int_equal(take(f, &block), 0);
	assert_int_equal(block, 2);
	assert_int_equal(dec(f, 0, 1), 0);
	assert_int_equal(take(f, &block), THINP_ENOSPC);
	free_fixture(f);
}

static void SM_18_a_block_raised_at_the_cursor_is_passed_over_and_counted(void **state)
{
	struct fixture *f = new_fixture(10);
	thinp_block_t block;

	(void)state;
	assert_int_equal(take(f, &block), 0);
	assert_int_equal(inc(f, 1, 1), 0); /* where the search will begin */
	assert_int_equal(thinp_memory_map_nr_zero(f->map), 8);
	assert_int_equal(take(f, &block), 0);
	assert_int_equal(block, 2);
	assert_int_equal(count_of(f, 1), 1);
	assert_int_equal(count_of(f, 2), 1);
	assert_int_equal(thinp_memory_map_nr_zero(f->map), 7);
	free_fixture(f);
}

static void the_search_goes_on_behind_the_last_block_taken_and_wraps(void **state)
{
	struct fixture *f = new_fixture(2 * TP_PAGE_BLOCKS);
	thinp_block_t block = 0;

	(void)state;
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(take(f, &block), 0);
	assert_int_equal(dec(f, 0, 5), 0); /* never in a commit: free at once, but behind the cursor */
	thinp_memory_map_commit(f->map);
	assert_int_equal(take(f, &block), 0);
	assert_int_equal(block, 10);
	for (unsigned int i = 11; i < 2 * TP_PAGE_BLOCKS; i++)
		assert_int_equal(take(f, &block), 0);
	assert_int_equal(take(f, &block), 0);
	assert_int_equal(block, 0);
	free_fixture(f);
}

static void a_block_taken_and_freed_in_one_transaction_can_be_taken_again(void **state)
{
	struct fixture *f = new_fixture(1);
	thinp_block_t block = 7;

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(take(f, &block), 0);
		assert_int_equal(block, 0);
		assert_int_equal(dec(f, 0, 1), 0);
	}
	free_fixture(f);
}

/* --- counting --- */

static void counts_go_from_0_to_the_largest_and_not_beyond(void **state)
{
	struct fixture *f = new_fixture(8);

	(void)state;
	assert_int_equal(dec(f, 3, 1), THINP_EREFCOUNT);
	for (uint32_t i = 1; i < 70000; i++) {
		assert_int_equal(inc(f, 3, 1), 0);
		assert_int_equal(count_of(f, 3), i);
	}
	thinp_memory_map_commit(f->map);
	for (uint32_t i = 69999; i--;) {
		assert_int_equal(dec(f, 3, 1), 0);
		assert_int_equal(count_of(f, 3), i);
	}
	assert_int_equal(dec(f, 3, 1), THINP_EREFCOUNT);
	free_fixture(f);
}

static void the_largest_count_is_not_raised(void **state)
{
	struct fixture *f = new_fixture(3);
	struct thinp_error_info info = {.size = sizeof(info)};

	(void)state;
	assert_int_equal(tp_pages_make_ready(&f->map->pages, 0, UINT32_MAX), 0);
	tp_pages_set(&f->map->pages, 1, UINT32_MAX - 1);
	assert_int_equal(inc(f, 1, 1), 0);
	assert_int_equal(inc(f, 0, 3), THINP_EREFCOUNT);
	thinp_error_last(&info);
	assert_int_equal(info.block, 1);
	assert_int_equal(count_of(f, 0), 0);
	assert_int_equal(count_of(f, 1), UINT32_MAX);
	thinp_memory_map_commit(f->map);
	assert_int_equal(inc(f, 1, 1), THINP_EREFCOUNT);
	assert_int_equal(dec(f, 1, 1), 0);
	assert_int_equal(count_of(f, 1), UINT32_MAX - 1);
	free_fixture(f);
}

static void a_change_of_many_counts_is_made_as_a_whole_or_not_at_all(void **state)
{
	enum { NR = 3 * TP_PAGE_BLOCKS };
	struct fixture *f = new_fixture(NR);
	struct thinp_error_info info = {.size = sizeof(info)};

	(void)state;
	assert_int_equal(inc(f, 0, NR - 1), 0);
	assert_int_equal(dec(f, 0, NR), THINP_EREFCOUNT);
	thinp_error_last(&info);
	assert_int_equal(info.block, NR - 1);
	assert_int_equal(inc(f, 1, NR), THINP_ERANGE);
	assert_int_equal(inc(f, NR, 1), THINP_ERANGE);
	assert_int_equal(inc(f, UINT64_MAX, 2), THINP_ERANGE);
	assert_int_equal(dec(f, 1, UINT64_MAX), THINP_ERANGE);
	assert_int_equal(inc(f, NR, 0), 0);
	for (unsigned int i = 0; i < NR; i++)
		assert_int_equal(count_of(f, i), i < NR - 1);
	assert_int_equal(dec(f, 0, NR - 1), 0);
	assert_int_equal(thinp_memory_map_nr_zero(f->map), NR);
	free_fixture(f);
}

static void the_count_of_a_block_beyond_the_end_is_refused(void **state)
{
	struct fixture *f = new_fixture(10);
	uint32_t count = 7;

	(void)state;
	assert_int_equal(f->table.count(f->table.ctx, 10, &count), THINP_ERANGE);
	assert_int_equal(f->table.count(f->table.ctx, UINT64_MAX, &count), THINP_ERANGE);
	assert_int_equal(count, 7);
	free_fixture(f);
}

static void reserve_knows_its_flags(void **state)
{
	struct fixture *f = new_fixture(10);

	(void)state;
	assert_int_equal(f->table.reserve(f->table.ctx, 10, THINP_RESERVE_RELEASE), 0);
	assert_int_equal(f->table.reserve(f->table.ctx, 11, THINP_RESERVE_RELEASE), THINP_ENOSPC);
	assert_int_equal(f->table.reserve(f->table.ctx, 1, 4), THINP_ENOTSUP);
	free_fixture(f);
}

/* --- transactions --- */

static void TM_11_an_abort_brings_back_counts_and_cursor(void **state)
{
	struct fixture *f = new_fixture(2 * TP_PAGE_BLOCKS);
	thinp_block_t block;

	(void)state;
	thinp_memory_map_abort(f->map); /* nothing to abort */
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(take(f, &block), 0);
	thinp_memory_map_commit(f->map);
	for (unsigned int i = 0; i < TP_PAGE_BLOCKS; i++)
		assert_int_equal(take(f, &block), 0);
	for (unsigned int i = 0; i < 300; i++)
		assert_int_equal(inc(f, 5, 1), 0);
	assert_int_equal(dec(f, 6, 1), 0);
	thinp_memory_map_abort(f->map);
	for (unsigned int i = 0; i < 2 * TP_PAGE_BLOCKS; i++)
		assert_int_equal(count_of(f, i), i < 10);
	assert_int_equal(thinp_memory_map_nr_zero(f->map), 2 * TP_PAGE_BLOCKS - 10);
	assert_int_equal(reserve(f, 2 * TP_PAGE_BLOCKS - 10), 0);
	assert_int_equal(take(f, &block), 0);
	assert_int_equal(block, 10);
	free_fixture(f);
}

static void a_commit_takes_memory_for_what_the_next_transaction_changes_only(void **state)
{
	struct fixture *f = new_fixture(100 * TP_PAGE_BLOCKS);
	size_t nr_calls;

	(void)state;
	assert_int_equal(inc(f, 0, 100 * TP_PAGE_BLOCKS), 0);
	nr_calls = f->alloc.nr_calls;
	thinp_memory_map_commit(f->map);
	assert_int_equal(f->alloc.nr_calls, nr_calls);
	assert_int_equal(inc(f, 5, 1), 0);
	assert_int_equal(inc(f, 7, 1), 0);
	assert_int_equal(f->alloc.nr_calls, nr_calls + 1);
	thinp_memory_map_abort(f->map);
	assert_int_equal(f->alloc.nr_calls, nr_calls + 1);
	free_fixture(f);
}

/* --- memory --- */

static int live(void *ctx)
{
	struct alloc_counting *alloc = ctx;
	struct thinp_alloc table = {.size = sizeof(table)};
	struct thinp_memory_map *map;
	uint32_t count;
	int r = thinp_memory_map_create(3 * TP_PAGE_BLOCKS, &alloc->table, &map);

	if (r)
		return r;
	thinp_memory_map_get_alloc(map, &table);
	for (unsigned int i = 0; !r && i < 300; i++) {
		uint64_t nr_zero = thinp_memory_map_nr_zero(map);
		uint32_t last;

		r = table.inc(table.ctx, 2, 2 * TP_PAGE_BLOCKS + 1, THINP_CAUSE_USER);
		assert_int_equal(table.count(table.ctx, 2, &count), 0);
		assert_int_equal(table.count(table.ctx, 2 * TP_PAGE_BLOCKS + 2, &last), 0);
		assert_int_equal(count, last);
		assert_int_equal(count, i + !r);
		if (r)
			assert_int_equal(thinp_memory_map_nr_zero(map), nr_zero);
		if (!r && i % 50 == 7)
			thinp_memory_map_commit(map);
	}
	if (!r)
		r = table.dec(table.ctx, 2, 2 * TP_PAGE_BLOCKS + 1, THINP_CAUSE_USER);
	thinp_memory_map_destroy(map);
	return r;
}

static void without_memory_nothing_is_changed(void **state)
{
	struct alloc_counting alloc;

	(void)state;
	alloc_counting_init(&alloc);
	alloc_counting_loop(&alloc, live, &alloc);
}

/* --- the model --- */

struct model {
	uint64_t nr_blocks;
	uint32_t *now;
	uint32_t *committed;
};

static bool may_take(const struct model *m, thinp_block_t block)
{
	return block < m->nr_blocks && !m->now[block] && !m->committed[block];
}

static void compare(struct fixture *f, const struct model *m)
{
	uint64_t nr_zero = 0;
	uint64_t nr_free = 0;

	for (thinp_block_t block = 0; block < m->nr_blocks; block++) {
		assert_int_equal(count_of(f, block), m->now[block]);
		nr_zero += !m->now[block];
		nr_free += may_take(m, block);
	}
	assert_int_equal(thinp_memory_map_nr_zero(f->map), nr_zero);
	assert_int_equal(reserve(f, nr_free), 0);
	assert_int_equal(reserve(f, nr_free + 1), THINP_ENOSPC);
}

static void take_one(struct fixture *f, struct model *m)
{
	thinp_block_t block;

	if (take(f, &block)) {
		for (block = 0; block < m->nr_blocks; block++)
			assert_false(may_take(m, block));
		return;
	}
	assert_true(may_take(m, block));
	m->now[block] = 1;
}

static void step_range(struct fixture *f, struct model *m, uint64_t *rng, bool is_inc)
{
	thinp_block_t first = random_next(rng) % m->nr_blocks;
	uint64_t nr = random_next(rng) % 4 ? 1 + random_next(rng) % 8 : random_next(rng) % 5000;
	int expected = nr > m->nr_blocks - first ? THINP_ERANGE : 0;

	for (uint64_t i = 0; !expected && !is_inc && i < nr; i++)
		expected = m->now[first + i] ? 0 : THINP_EREFCOUNT;
	assert_int_equal(is_inc ? inc(f, first, nr) : dec(f, first, nr), expected);
	for (uint64_t i = 0; !expected && i < nr; i++)
		m->now[first + i] += is_inc ? 1 : UINT32_MAX;
}

static void random_steps_match_a_model(void **state)
{
	uint64_t rng = random_begin();
	struct model m = {.nr_blocks = 2 * TP_PAGE_BLOCKS + random_next(&rng) % 300};
	struct fixture *f = new_fixture(m.nr_blocks);

	(void)state;
	m.now = calloc(m.nr_blocks, sizeof(*m.now));
	m.committed = calloc(m.nr_blocks, sizeof(*m.committed));
	assert_true(m.now && m.committed);
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t what = random_next(&rng) % 100;

		if (what < 45) {
			take_one(f, &m);
		} else if (what < 98) {
			step_range(f, &m, &rng, what < 65);
		} else if (what < 99) {
			thinp_memory_map_commit(f->map);
			memcpy(m.committed, m.now, m.nr_blocks * sizeof(*m.now));
		} else {
			thinp_memory_map_abort(f->map);
			memcpy(m.now, m.committed, m.nr_blocks * sizeof(*m.now));
		}
		if (i % 200 == 0)
			compare(f, &m);
	}
	compare(f, &m);
	free(m.now);
	free(m.committed);
	free_fixture(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(SM_04_every_block_is_taken_once_and_then_there_is_no_space),
		cmocka_unit_test(a_map_of_no_blocks_gives_none),
		cmocka_unit_test(SM_03_a_block_is_taken_only_when_free_now_and_in_the_last_commit),
		cmocka_unit_test(H1_the_last_free_block_is_not_given_twice),
		cmocka_unit_test(SM_18_a_block_raised_at_the_cursor_is_passed_over_and_counted),
		cmocka_unit_test(the_search_goes_on_behind_the_last_block_taken_and_wraps),
		cmocka_unit_test(a_block_taken_and_freed_in_one_transaction_can_be_taken_again),
		cmocka_unit_test(counts_go_from_0_to_the_largest_and_not_beyond),
		cmocka_unit_test(the_largest_count_is_not_raised),
		cmocka_unit_test(a_change_of_many_counts_is_made_as_a_whole_or_not_at_all),
		cmocka_unit_test(the_count_of_a_block_beyond_the_end_is_refused),
		cmocka_unit_test(reserve_knows_its_flags),
		cmocka_unit_test(TM_11_an_abort_brings_back_counts_and_cursor),
		cmocka_unit_test(a_commit_takes_memory_for_what_the_next_transaction_changes_only),
		cmocka_unit_test(without_memory_nothing_is_changed),
		cmocka_unit_test(random_steps_match_a_model),
	};

	return cmocka_run_group_tests_name("alloc/memory_map", tests, NULL, NULL);
}
