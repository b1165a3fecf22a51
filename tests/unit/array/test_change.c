/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making, changing, resizing and dropping arrays, beside a plain array. Values have 1000 bytes, four to a block, unless it
 * is said otherwise. Each check compares all values, the shape, and every count.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/array_world.h"
#include "unit/base/random.h"

#include <thinp/error.h>

enum { BIG = 1000, PER_BLOCK = 4, NR_BLOCKS = 2000 };

static struct world *new_world(void)
{
	return world_new(BIG, NR_BLOCKS, 200);
}

static uint64_t generation(const struct world *world)
{
	return thinp_tm_generation(world->f->tm);
}

/* --- length ------------------------------------------------------------------------------------------------------------ */

/* Every length to every other, over three blocks and their edges, exclusive and shared; also BIG values' counts. */
static void resize_between(bool is_shared, bool is_committed)
{
	for (uint64_t from = 0; from <= 3 * PER_BLOCK + 1; from++)
		for (uint64_t to = 0; to <= 3 * PER_BLOCK + 1; to++) {
			struct world *world = new_world();

			assert_int_equal(world_make(world, 0, from), 0);
			if (is_shared)
				world_snapshot(world, 0, 1);
			if (is_committed)
				world_commit(world);
			assert_int_equal(world_resize(world, 0, to, 50), 0);
			world_check(world);
			world_commit(world);
			change_fixture_reopen(world->f);
			world_check(world);
			world_free(world);
		}
}

static void AR_01_growing_keeps_the_entries_of_a_partly_filled_tail(void **state)
{
	(void)state;
	resize_between(false, false);
	resize_between(false, true);
}

static void AR_08_resizing_a_shared_array_counts_values_once(void **state)
{
	(void)state;
	resize_between(true, false);
	resize_between(true, true);
}

static void AR_03_resizing_to_the_same_size_returns_the_root_and_writes_nothing(void **state)
{
	(void)state;
	for (uint64_t nr = 0; nr < 10; nr++) {
		struct world *world = new_world();
		thinp_block_t root;
		uint64_t before;

		assert_int_equal(world_make(world, 0, nr), 0);
		world_commit(world);
		root = world->arrays[0].root;
		before = generation(world);
		assert_int_equal(world_resize(world, 0, nr, 3), 0);
		assert_int_equal(world->arrays[0].root, root);
		assert_int_equal(generation(world), before);
		world_free(world);
	}
}

/* From no block, a block that has room, and a full one; to each of the next two ends of a block, before, at and behind it. */
static void expand(void **state)
{
	const uint64_t *lengths = *state;
	struct world *world = new_world();

	assert_int_equal(world_make(world, 0, lengths[0]), 0);
	world_commit(world);
	assert_int_equal(world_resize(world, 0, lengths[1], 9), 0);
	assert_int_equal(world->arrays[0].nr, lengths[1]);
	world_check(world);
	world_commit(world);
	world_check(world);
	world_free(world);
}

static struct CMUnitTest expansion(const char *name, uint64_t *lengths)
{
	return (struct CMUnitTest){.name = name, .test_func = expand, .initial_state = lengths};
}

static int run_expansions(void)
{
	const uint64_t end = PER_BLOCK;
	uint64_t empty[][2] = {{0, end - 1}, {0, end}, {0, end + 1}, {0, 2 * end}, {0, 2 * end + 1}};
	uint64_t part[][2] = {
		{end - 2, end - 1}, {end - 2, end}, {end - 2, end + 1}, {end - 2, 2 * end}, {end - 2, 2 * end + 1}};
	uint64_t full[][2] = {{end, end + 2}, {end, 2 * end}, {end, 2 * end + 1}, {end, 3 * end}, {end, 3 * end + 1}};
	const struct CMUnitTest tests[] = {
		expansion("expand_empty_within_block", empty[0]),
		expansion("expand_empty_to_boundary", empty[1]),
		expansion("expand_empty_across", empty[2]),
		expansion("expand_empty_next_boundary", empty[3]),
		expansion("expand_empty_across_next", empty[4]),
		expansion("expand_non_empty_within_block", part[0]),
		expansion("expand_non_empty_to_boundary", part[1]),
		expansion("expand_non_empty_across", part[2]),
		expansion("expand_non_empty_next_boundary", part[3]),
		expansion("expand_non_empty_across_next", part[4]),
		expansion("expand_aligned_within_block", full[0]),
		expansion("expand_aligned_to_boundary", full[1]),
		expansion("expand_aligned_across", full[2]),
		expansion("expand_aligned_next_boundary", full[3]),
		expansion("expand_aligned_across_next", full[4]),
	};

	return cmocka_run_group_tests_name("array/expand", tests, NULL, NULL);
}

/* More blocks than go into the tree at once, and than a leaf of the tree has room for. */
static void expand_to_a_tree_of_two_levels(void **state)
{
	struct world *world = new_world();

	(void)state;
	assert_int_equal(world_make(world, 0, 63 * PER_BLOCK - 1), 0);
	assert_int_equal(world_resize(world, 0, 300 * PER_BLOCK + 1, 9), 0);
	world_check(world);
	world_commit(world);
	assert_int_equal(world_resize(world, 0, 600 * PER_BLOCK, 10), 0);
	world_check(world);
	assert_int_equal(world_resize(world, 0, 7, 11), 0);
	world_check(world);
	world_commit(world);
	assert_int_equal(world_resize(world, 0, 0, 11), 0);
	world_check(world);
	world_free(world);
}

static void AR_09_new_arrays_of_all_lengths_around_a_block(void **state)
{
	const uint32_t sizes[] = {8, 12, 400, BIG, 4072};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct world *world = world_new(sizes[i], NR_BLOCKS, 200);
		uint64_t per_block = world_per_block(world);
		const uint64_t lengths[] = {0, 1, per_block - 1, per_block, per_block + 1, 3 * per_block};

		for (size_t k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
			assert_int_equal(world_make(world, k, lengths[k]), 0);
			world_check(world);
		}
		world_commit(world);
		change_fixture_reopen(world->f);
		world_check(world);
		world_free(world);
	}
}

static void AR_10_counts_of_blocks_and_values_are_exact_after_building(void **state)
{
	struct world *world = new_world();

	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(world_make(world, i, 30 + 100 * i), 0);
	world_check(world);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(world_drop(world, i), 0);
	world_check(world);
	for (uint32_t thing = 0; thing < WORLD_THINGS; thing++)
		assert_int_equal(world->counts[thing], 0);
	world_free(world);
}

static int fail_at_third(void *ctx, uint64_t begin, uint32_t nr_values, void *values_le)
{
	(void)ctx, (void)nr_values, (void)values_le;
	return begin >= 2 * (uint64_t)PER_BLOCK ? 77 : 0;
}

static void a_failing_generator_ends_the_call_with_its_code(void **state)
{
	struct world *world = new_world();
	thinp_block_t root = 12345;

	(void)state;
	assert_int_equal(thinp_array_new(world->f->tm, &world->type, 20, fail_at_third, NULL, &root), 77);
	assert_int_equal(root, 12345);
	assert_int_equal(thinp_tm_status(world->f->tm), THINP_EMUSTABORT);
	world_abort(world);
	world_check(world);
	world_free(world);
}

static void values_are_zero_without_a_generator_or_a_default(void **state)
{
	struct world *world = new_world();
	struct world_array *array = &world->arrays[0];
	uint8_t zeros[BIG] = {0}, value[BIG], full[BIG];

	(void)state;
	world_value(world, 5, full);
	world->counts[5] = 100; /* references of the test's own */
	world->counts[0] = 100;
	array->is_there = true;
	assert_int_equal(thinp_array_new(world->f->tm, &world->type, 6, NULL, NULL, &array->root), 0);
	assert_int_equal(thinp_array_resize(world->f->tm, &world->type, array->root, 6, 11, NULL, &array->root), 0);
	for (uint64_t index = 9; index < 11; index++) /* what is cut off leaves nothing behind */
		assert_int_equal(thinp_array_set(world->f->tm, &world->type, array->root, index, full, &array->root),
				 0);
	assert_int_equal(thinp_array_resize(world->f->tm, &world->type, array->root, 11, 9, NULL, &array->root), 0);
	assert_int_equal(thinp_array_resize(world->f->tm, &world->type, array->root, 9, 11, NULL, &array->root), 0);
	for (uint64_t i = 0; i < 11; i++) {
		assert_int_equal(thinp_array_get(thinp_tm_reader(world->f->tm), &world->type, array->root, i, value),
				 0);
		assert_memory_equal(value, zeros, BIG);
	}
	world_free(world);
}

/* --- single values ----------------------------------------------------------------------------------------------------- */

static void AR_02_setting_a_value_of_a_shared_array_leaves_exact_counts(void **state)
{
	(void)state;
	for (int is_committed = 0; is_committed < 2; is_committed++)
		for (uint64_t index = 0; index < 11; index++) {
			struct world *world = new_world();

			assert_int_equal(world_make(world, 0, 11), 0);
			world_snapshot(world, 0, 1);
			if (is_committed)
				world_commit(world);
			assert_int_equal(world_set(world, 0, index, 60), 0);
			world_check(world);
			assert_int_equal(world_set(world, 1, index, 61), 0);
			world_check(world);
			assert_int_equal(world_drop(world, 0), 0);
			world_check(world);
			world_free(world);
		}
}

static void AR_02_setting_a_value_of_an_exclusive_array_leaves_exact_counts(void **state)
{
	struct world *world = new_world();

	(void)state;
	assert_int_equal(world_make(world, 0, 11), 0);
	for (uint64_t index = 0; index < 11; index++) {
		if (index % 2)
			world_commit(world);
		assert_int_equal(world_set(world, 0, index, 60), 0);
		world_check(world);
		assert_int_equal(world_set(world, 0, index, 60), 0); /* the same thing again */
		world_check(world);
	}
	world_free(world);
}

/* A snapshot taken within the transaction shares blocks that were made in it. */
static void a_snapshot_keeps_its_values_within_one_transaction(void **state)
{
	struct world *world = new_world();

	(void)state;
	assert_int_equal(world_make(world, 0, 11), 0);
	for (size_t i = 1; i < 5; i++) {
		world_snapshot(world, 0, i);
		assert_int_equal(world_set(world, 0, 5, (uint32_t)i), 0);
		world_check(world);
	}
	for (size_t i = 0; i < 5; i++) {
		assert_int_equal(world_drop(world, i), 0);
		world_check(world);
	}
	world_free(world);
}

/* A block of this transaction below a leaf that has come to be shared; the way to another leaf is exclusive. */
static void AR_02_a_block_of_this_transaction_may_be_shared_through_its_leaf(void **state)
{
	struct world *world = new_world();
	const uint64_t nr = 300 * PER_BLOCK;

	(void)state;
	assert_int_equal(world_make(world, 0, nr), 0);
	world_snapshot(world, 0, 1);
	assert_int_equal(world_set(world, 0, 0, 60), 0);
	assert_int_equal(world_set(world, 0, nr - 1, 61), 0);
	world_check(world);
	assert_int_equal(world_set(world, 1, nr - 1, 62), 0);
	assert_int_equal(world_set(world, 1, 0, 63), 0);
	world_check(world);
	world_free(world);
}

enum order { FORWARD, BACKWARD, RANDOM };

static void set_in_order(enum order order)
{
	struct world *world = new_world();
	const uint64_t nr = 70 * PER_BLOCK + 2;
	uint64_t rng = random_begin();

	assert_int_equal(world_make(world, 0, nr), 0);
	world_commit(world);
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t index = order == RANDOM ? random_next(&rng) % nr : order == FORWARD ? i : nr - 1 - i;

		assert_int_equal(world_set(world, 0, index, (uint32_t)(i % WORLD_THINGS)), 0);
		if (i % 50 == 49)
			world_commit(world);
	}
	world_check(world);
	world_free(world);
}

static void set_values_forward(void **state)
{
	(void)state;
	set_in_order(FORWARD);
}

static void set_values_backward(void **state)
{
	(void)state;
	set_in_order(BACKWARD);
}

static void set_values_random(void **state)
{
	(void)state;
	set_in_order(RANDOM);
}

static void setting_in_place_takes_no_block(void **state)
{
	struct world *world = new_world();
	uint64_t before;

	(void)state;
	assert_int_equal(world_make(world, 0, 11), 0);
	world_commit(world);
	assert_int_equal(world_set(world, 0, 5, 1), 0);
	before = thinp_memory_map_nr_zero(world->f->map);
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(world_set(world, 0, 4 + i % 4, i), 0);
	assert_int_equal(thinp_memory_map_nr_zero(world->f->map), before);
	world_check(world);
	world_free(world);
}

static void a_value_behind_the_end_is_refused_and_nothing_changes(void **state)
{
	(void)state;
	for (uint64_t nr = 0; nr < 10; nr++) {
		struct world *world = new_world();
		uint64_t before;

		assert_int_equal(world_make(world, 0, nr), 0);
		before = generation(world);
		assert_int_equal(world_set(world, 0, nr, 3), THINP_ENODATA);
		assert_int_equal(world_set(world, 0, nr + PER_BLOCK, 3), THINP_ENODATA);
		assert_int_equal(world_set(world, 0, UINT64_MAX, 3), THINP_ENODATA);
		assert_int_equal(generation(world), before);
		assert_int_equal(thinp_tm_status(world->f->tm), 0);
		world_check(world);
		world_free(world);
	}
}

static void types_that_cannot_be_are_refused(void **state)
{
	struct world *world = new_world();
	struct thinp_array_type none = {.size = sizeof(none)}, large = {.size = sizeof(large), .value_size = 4073};
	thinp_block_t root = 5;

	(void)state;
	assert_int_equal(thinp_array_create(world->f->tm, &none, &root), THINP_EINVAL);
	assert_int_equal(thinp_array_new(world->f->tm, &large, 3, NULL, NULL, &root), THINP_EINVAL);
	assert_int_equal(thinp_array_del(world->f->tm, &none, 1), THINP_EINVAL);
	assert_int_equal(root, 5);
	world_free(world);
}

/* --- at random --------------------------------------------------------------------------------------------------------- */

static size_t pick(struct world *world, uint64_t *rng, bool is_there)
{
	size_t i = random_next(rng) % WORLD_ARRAYS;

	for (size_t n = 0; n < WORLD_ARRAYS; n++, i = (i + 1) % WORLD_ARRAYS)
		if (world->arrays[i].is_there == is_there)
			return i;
	return WORLD_ARRAYS;
}

static void change_one(struct world *world, uint64_t *rng, size_t i)
{
	uint64_t most = 12 * world_per_block(world);
	uint32_t thing = (uint32_t)(random_next(rng) % WORLD_THINGS);
	size_t other = pick(world, rng, false);

	switch (random_next(rng) % 16) {
	case 0:
		assert_int_equal(world_drop(world, i), 0);
		break;
	case 1:
	case 2:
		if (other < WORLD_ARRAYS)
			world_snapshot(world, i, other);
		break;
	case 3:
	case 4:
		assert_int_equal(world_resize(world, i, random_next(rng) % most, thing), 0);
		break;
	default:
		if (world->arrays[i].nr)
			assert_int_equal(world_set(world, i, random_next(rng) % world->arrays[i].nr, thing), 0);
	}
}

static void step(struct world *world, uint64_t *rng)
{
	size_t i = pick(world, rng, true);

	if (i == WORLD_ARRAYS || random_next(rng) % 64 == 0) {
		i = pick(world, rng, false);
		if (i < WORLD_ARRAYS)
			assert_int_equal(world_make(world, i, random_next(rng) % (5 * world_per_block(world))), 0);
		return;
	}
	change_one(world, rng, i);
}

static void run_at_random(uint64_t *rng, uint32_t value_size, unsigned int nr_steps)
{
	struct world *world = world_new(value_size, NR_BLOCKS, 64 + (uint32_t)(random_next(rng) % 200));

	for (unsigned int i = 0; i < nr_steps; i++) {
		step(world, rng);
		if (random_next(rng) % 32 == 0)
			world_check(world);
		if (random_next(rng) % 64 == 0)
			world_commit(world);
		else if (random_next(rng) % 128 == 0)
			world_abort(world);
	}
	world_check(world);
	world_free(world);
}

static void operations_at_random_agree_with_a_plain_array(void **state)
{
	const uint32_t sizes[] = {8, 24, 400, BIG, 2000, 4072};
	uint64_t rng = random_begin();

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		run_at_random(&rng, sizes[i], 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(AR_01_growing_keeps_the_entries_of_a_partly_filled_tail),
		cmocka_unit_test(AR_08_resizing_a_shared_array_counts_values_once),
		cmocka_unit_test(AR_03_resizing_to_the_same_size_returns_the_root_and_writes_nothing),
		cmocka_unit_test(expand_to_a_tree_of_two_levels),
		cmocka_unit_test(AR_09_new_arrays_of_all_lengths_around_a_block),
		cmocka_unit_test(AR_10_counts_of_blocks_and_values_are_exact_after_building),
		cmocka_unit_test(a_failing_generator_ends_the_call_with_its_code),
		cmocka_unit_test(values_are_zero_without_a_generator_or_a_default),
		cmocka_unit_test(AR_02_setting_a_value_of_a_shared_array_leaves_exact_counts),
		cmocka_unit_test(AR_02_setting_a_value_of_an_exclusive_array_leaves_exact_counts),
		cmocka_unit_test(a_snapshot_keeps_its_values_within_one_transaction),
		cmocka_unit_test(AR_02_a_block_of_this_transaction_may_be_shared_through_its_leaf),
		cmocka_unit_test(set_values_forward),
		cmocka_unit_test(set_values_backward),
		cmocka_unit_test(set_values_random),
		cmocka_unit_test(setting_in_place_takes_no_block),
		cmocka_unit_test(a_value_behind_the_end_is_refused_and_nothing_changes),
		cmocka_unit_test(types_that_cannot_be_are_refused),
		cmocka_unit_test(operations_at_random_agree_with_a_plain_array),
	};

	return run_expansions() + cmocka_run_group_tests_name("array/change", tests, NULL, NULL);
}
