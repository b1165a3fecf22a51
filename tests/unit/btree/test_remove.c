/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "support/forest.h"
#include "unit/base/random.h"

/* Values of these sizes let 336, 252, 126, 9, 3 entries into a leaf. */
static const uint32_t value_sizes[] = {4, 8, 24, 400, 1000};

#define NR_VALUE_SIZES (sizeof(value_sizes) / sizeof(*value_sizes))

static uint32_t capacity_of(uint32_t value_size)
{
	return (THINP_BLOCK_SIZE - 32) / (8 + value_size) / 3 * 3;
}

/* --- plain trees ----------------------------------------------------------------------------------------------------- */

enum order { ASCENDING, DESCENDING, RANDOM };

static uint64_t choose_key(const struct forest_tree *tree, enum order order, uint64_t *rng)
{
	if (order == ASCENDING)
		return tree->keys[0][0];
	return tree->keys[order == DESCENDING ? tree->nr - 1 : random_next(rng) % tree->nr][0];
}

/* Removes everything; all is looked at after each step, or from time to time in large trees. */
static void remove_all(uint32_t value_size, size_t nr, uint32_t per_leaf, uint32_t per_node, enum order order,
		       bool with_snapshot)
{
	struct tree_shape shape = {.per_leaf = per_leaf, .per_node = per_node};
	uint64_t rng = random_begin();
	struct forest f;

	forest_open(&f, 4000, 1, value_size);
	forest_plant_plain(&f, &shape, nr, 10);
	forest_check(&f);
	if (with_snapshot)
		forest_snapshot(&f, 0);
	while (f.trees[0].nr) {
		uint64_t key = choose_key(&f.trees[0], order, &rng);

		forest_forget(&f);
		assert_int_equal(forest_remove(&f, 0, &key), 0);
		assert_true(f.nr_taken <= f.most_reserved);
		assert_true(f.nr_values_told <= f.nr_values_asked);
		if (nr < 500 || f.trees[0].nr % 50 == 0)
			forest_check(&f);
		if (random_next(&rng) % 40 == 0)
			forest_commit(&f, false);
	}
	forest_check(&f);
	forest_close(&f);
}

static void remove_all_orders(enum order order)
{
	for (size_t i = 0; i < NR_VALUE_SIZES; i++) {
		uint32_t max = capacity_of(value_sizes[i]);

		for (int snapshot = 0; snapshot < 2; snapshot++) {
			remove_all(value_sizes[i], max, 0, 0, order, snapshot);
			remove_all(value_sizes[i], 3 * (size_t)max, 0, 0, order, snapshot);
			remove_all(value_sizes[i], 6 * (size_t)(max / 3), max / 3, 0, order, snapshot);
		}
	}
	remove_all(1000, 378 * 2, 2, 126, order, false);
	remove_all(1000, 336 * 3, 3, 84, order, true);
	remove_all(400, 336 * 3, 3, 84, order, true);
}

static void remove_ascending(void **state)
{
	(void)state;
	remove_all_orders(ASCENDING);
}

static void remove_descending(void **state)
{
	(void)state;
	remove_all_orders(DESCENDING);
}

static void remove_random(void **state)
{
	(void)state;
	remove_all_orders(RANDOM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(remove_ascending),
		cmocka_unit_test(remove_descending),
		cmocka_unit_test(remove_random),
	};

	return cmocka_run_group_tests_name("btree/remove", tests, NULL, NULL);
}
