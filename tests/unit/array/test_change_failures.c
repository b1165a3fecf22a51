/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Changes of arrays that fail: memory, device, space, damage, the owner's functions. After each failure nothing is locked;
 * then either nothing has changed and the transaction goes on, or it is marked; after an abort all is as it was.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/array_world.h"
#include "support/image_array.h"

#include <thinp/error.h>

#include <stdlib.h>

enum { BIG = 1000, PER_BLOCK = 4, NR = 5 * PER_BLOCK - 1 };

/* Each works on an array of NR values that has a snapshot, so that all that can be copied is copied. */
static int make(struct world *world)
{
	return world_make(world, 2, NR);
}

static int make_empty(struct world *world)
{
	return world_make(world, 2, 0);
}

static int set_first(struct world *world)
{
	return world_set(world, 0, 0, 60);
}

static int set_last(struct world *world)
{
	return world_set(world, 0, NR - 1, 60);
}

static int grow(struct world *world)
{
	return world_resize(world, 0, 3 * NR, 60);
}

static int shrink_within(struct world *world)
{
	return world_resize(world, 0, NR - 1, 60);
}

static int shrink(struct world *world)
{
	return world_resize(world, 0, PER_BLOCK + 1, 60);
}

static int drop(struct world *world)
{
	return world_drop(world, 0);
}

typedef int (*operation_fn)(struct world *world);
static const operation_fn operations[] = {make, make_empty, set_first, set_last, grow, shrink_within, shrink, drop};

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static struct world *new_world(bool is_shared, uint64_t nr_blocks)
{
	struct world *world = world_new(BIG, nr_blocks, 100);

	assert_int_equal(world_make(world, 0, NR), 0);
	if (is_shared)
		world_snapshot(world, 0, 1);
	world_commit(world);
	change_fixture_reopen(world->f);
	return world;
}

/* Whether the transaction goes on or is marked: at the end all is as the last commit had it. */
static void check_after_failure(struct world *world)
{
	int status = thinp_tm_status(world->f->tm);

	change_fixture_expect_unlocked(world->f);
	if (!status)
		world_check(world);
	else
		assert_int_equal(status, THINP_EMUSTABORT);
	world_abort(world);
	change_fixture_reopen(world->f);
	world_check(world);
}

static void expect_works(struct world *world, operation_fn operation)
{
	assert_int_equal(operation(world), 0);
	world_check(world);
	world_commit(world);
	world_check(world);
}

static void ERRLOOP_every_read_of_a_change_may_fail(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * NR_OF(operations); i++) {
		int r = THINP_EIO;

		for (uint64_t n = 1; r; n++) {
			struct world *world = new_world(i % 2, 200);

			assert_int_equal(thinp_fault_fail_nth(world->f->fault, THINP_FAULT_ON_READ, n, 0, NULL), 0);
			r = operations[i / 2](world);
			thinp_fault_clear(world->f->fault);
			if (r) {
				assert_int_equal(r, THINP_EIO);
				check_after_failure(world);
				expect_works(world, operations[i / 2]);
			}
			world_free(world);
			assert_true(n < 200);
		}
	}
}

/* What can do without memory goes on. */
static void OOMLOOP_every_allocation_of_a_change_may_fail(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * NR_OF(operations); i++) {
		bool has_failed = true;

		for (size_t n = 1; has_failed; n++) {
			struct world *world = new_world(i % 2, 200);
			int r;

			alloc_counting_fail(&world->f->alloc, n);
			r = operations[i / 2](world);
			has_failed = alloc_counting_has_failed(&world->f->alloc);
			alloc_counting_fail(&world->f->alloc, 0);
			if (r) {
				assert_int_equal(r, THINP_ENOMEM);
				check_after_failure(world);
				expect_works(world, operations[i / 2]);
			}
			world_check(world);
			world_free(world);
			assert_true(n < 500);
		}
	}
}

static void without_space_nothing_is_changed(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * NR_OF(operations); i++) {
		unsigned int nr_refused = 0;

		for (uint64_t nr_blocks = 20; nr_blocks < 60; nr_blocks++) {
			struct world *world = new_world(i % 2, nr_blocks);
			uint64_t before = thinp_tm_generation(world->f->tm);
			int r = operations[i / 2](world);

			if (r) {
				assert_int_equal(r, THINP_ENOSPC);
				assert_int_equal(thinp_tm_status(world->f->tm), 0);
				assert_int_equal(thinp_tm_generation(world->f->tm), before);
				nr_refused++;
			}
			world_check(world);
			world_free(world);
		}
		assert_true(nr_refused < 40);
		if (operations[i / 2] == make || operations[i / 2] == grow)
			assert_true(nr_refused > 0);
	}
}

static void take_all_blocks(struct world *world)
{
	struct thinp_alloc table = {.size = sizeof(table)};
	thinp_block_t block;

	thinp_memory_map_get_alloc(world->f->map, &table);
	while (!table.take(table.ctx, THINP_CAUSE_USER, &block))
		;
}

/* The way to the block is there to be written, and the block is not. */
static void without_space_a_block_is_not_copied_below_an_exclusive_leaf(void **state)
{
	struct world *world = new_world(false, 200);
	uint64_t before;

	(void)state;
	assert_int_equal(set_first(world), 0);
	take_all_blocks(world);
	before = thinp_tm_generation(world->f->tm);
	assert_int_equal(set_last(world), THINP_ENOSPC);
	assert_int_equal(grow(world), THINP_ENOSPC);
	assert_int_equal(shrink_within(world), THINP_ENOSPC);
	assert_int_equal(thinp_tm_generation(world->f->tm), before);
	assert_int_equal(thinp_tm_status(world->f->tm), 0);
	assert_int_equal(world_set(world, 0, 1, 61), 0); /* this one is */
	world_abort(world);
	world_check(world);
	world_free(world);
}

static void what_counting_values_costs_is_asked_before_anything_is_changed(void **state)
{
	const operation_fn with_values[] = {set_first, set_last, grow, shrink_within, shrink, drop};

	(void)state;
	for (size_t i = 0; i < NR_OF(with_values); i++) {
		struct world *world = new_world(false, 200);
		uint64_t before = thinp_tm_generation(world->f->tm);

		world->cost = 1000;
		assert_int_equal(with_values[i](world), THINP_ENOSPC);
		assert_int_equal(thinp_tm_generation(world->f->tm), before);
		world->cost = 0;
		expect_works(world, with_values[i]);
		world_free(world);
	}
}

static void a_failure_of_the_owners_functions_marks_the_transaction(void **state)
{
	const operation_fn with_values[] = {set_first, set_last, grow, shrink_within, shrink};

	(void)state;
	for (size_t i = 0; i < 2 * NR_OF(with_values); i++) {
		struct world *world = new_world(i % 2, 200);

		world->fail_with = THINP_EREFCOUNT;
		assert_int_equal(with_values[i / 2](world), THINP_EREFCOUNT);
		assert_int_equal(thinp_tm_status(world->f->tm), THINP_EMUSTABORT);
		world->fail_with = 0;
		assert_int_equal(with_values[i / 2](world), THINP_EMUSTABORT);
		check_after_failure(world);
		expect_works(world, with_values[i / 2]);
		world_free(world);
	}
}

/* --- damage ------------------------------------------------------------------------------------------------------------ */

static const struct {
	size_t offset;
	uint32_t value;
} bad_fields[] = {{ARRAY_MAX_ENTRIES, PER_BLOCK + 1},
		  {ARRAY_NR_ENTRIES, PER_BLOCK + 1},
		  {ARRAY_VALUE_SIZE, 500},
		  {ARRAY_ADDRESS, 1}};

static void damage(struct world *world, uint32_t number, size_t offset, uint32_t value, operation_fn operation)
{
	struct image *image = &world->f->image;
	thinp_block_t block = tree_child(image, world->arrays[0].root, number);
	struct image_block content;

	image_read(image, block, &content);
	image_set32(image, block, offset, value);
	change_fixture_reopen(world->f);
	assert_int_equal(operation(world), THINP_ECORRUPT);
	change_fixture_expect_unlocked(world->f);
	world_abort(world);
	image_write(image, block, &content);
	change_fixture_reopen(world->f);
	world_check(world);
	expect_works(world, operation);
}

static void AR_07_changes_do_not_believe_a_header_that_is_wrong(void **state)
{
	const struct {
		operation_fn operation;
		uint32_t number; /* of a block that it must look at */
	} looks[] = {{set_first, 0}, {set_last, 4}, {grow, 4}, {shrink_within, 4}, {shrink, 1}, {shrink, 3}, {drop, 2}};

	(void)state;
	for (size_t i = 0; i < NR_OF(looks); i++)
		for (size_t k = 0; k < NR_OF(bad_fields); k++) {
			struct world *world = new_world(false, 200);

			damage(world, looks[i].number, bad_fields[k].offset, bad_fields[k].value, looks[i].operation);
			world_free(world);
		}
}

static void AR_07_a_block_in_the_middle_that_is_not_full_is_not_cut(void **state)
{
	struct world *world = new_world(false, 200);

	(void)state;
	damage(world, 1, ARRAY_NR_ENTRIES, PER_BLOCK - 1, shrink);
	world_free(world);
}

static void a_length_that_the_array_does_not_have_is_damage(void **state)
{
	struct world *world = new_world(false, 200);
	uint64_t before = thinp_tm_generation(world->f->tm);
	thinp_block_t root = 7;

	(void)state;
	for (uint64_t wrong = NR - 2; wrong < NR + 3; wrong++)
		if (wrong != NR)
			assert_int_equal(thinp_array_resize(world->f->tm, &world->type, world->arrays[0].root, wrong,
							    30, NULL, &root),
					 THINP_ECORRUPT);
	assert_int_equal(root, 7);
	assert_int_equal(thinp_tm_generation(world->f->tm), before);
	world_free(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ERRLOOP_every_read_of_a_change_may_fail),
		cmocka_unit_test(OOMLOOP_every_allocation_of_a_change_may_fail),
		cmocka_unit_test(without_space_nothing_is_changed),
		cmocka_unit_test(without_space_a_block_is_not_copied_below_an_exclusive_leaf),
		cmocka_unit_test(what_counting_values_costs_is_asked_before_anything_is_changed),
		cmocka_unit_test(a_failure_of_the_owners_functions_marks_the_transaction),
		cmocka_unit_test(AR_07_changes_do_not_believe_a_header_that_is_wrong),
		cmocka_unit_test(AR_07_a_block_in_the_middle_that_is_not_full_is_not_cut),
		cmocka_unit_test(a_length_that_the_array_does_not_have_is_damage),
	};

	return cmocka_run_group_tests_name("array/change_failures", tests, NULL, NULL);
}
