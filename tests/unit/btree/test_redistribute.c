/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "btree/redistribute.h"

/* Two or three neighbours with keys 1, 2, 3 ... all through. Behind the last byte of each is a border. */
enum { BORDER = 64 };

struct neighbours {
	uint32_t nr_nodes;
	uint32_t total;
	uint32_t value_size;
	uint32_t capacity;
	uint8_t data[TP_MAX_NEIGHBOURS][THINP_BLOCK_SIZE + BORDER];
	void *nodes[TP_MAX_NEIGHBOURS];
};

static void make_value(uint64_t key, uint32_t value_size, uint8_t *value)
{
	for (uint32_t i = 0; i < value_size; i++)
		value[i] = (uint8_t)(key * 7 + i);
}

static void fill(struct neighbours *n, uint32_t number, uint32_t nr)
{
	struct tp_node_header header = {.flags = n->value_size == 8 ? TP_NODE_INTERNAL : TP_NODE_LEAF,
					.block = 100 + number,
					.nr_entries = nr,
					.max_entries = n->capacity,
					.value_size = n->value_size};
	uint8_t value[THINP_BLOCK_SIZE];

	memset(n->data[number], 0xa5, sizeof(n->data[number]));
	n->nodes[number] = n->data[number];
	tp_node_pack(&header, n->nodes[number]);
	for (uint32_t i = 0; i < nr; i++) {
		uint64_t key = ++n->total;

		make_value(key, n->value_size, value);
		tp_node_set_key(n->nodes[number], i, key);
		tp_node_set_value(n->nodes[number], i, value);
	}
}

static void begin(struct neighbours *n, uint32_t capacity, uint32_t value_size, uint32_t nr_nodes, const uint32_t *nr)
{
	n->nr_nodes = nr_nodes;
	n->total = 0;
	n->value_size = value_size;
	n->capacity = capacity;
	for (uint32_t i = 0; i < nr_nodes; i++)
		fill(n, i, nr[i]);
}

/* The same entries in the same order, distributed like this, and nothing beside them. */
static void expect_nodes(const struct neighbours *n, const uint32_t *after)
{
	uint8_t value[THINP_BLOCK_SIZE];
	uint64_t key = 0;

	for (uint32_t i = 0; i < n->nr_nodes; i++) {
		const uint8_t *node = n->nodes[i];

		assert_int_equal(tp_node_nr_entries(node), after[i]);
		assert_int_equal(tp_node_capacity(node), n->capacity);
		assert_int_equal(tp_node_value_size(node), n->value_size);
		assert_int_equal(tp_load_le64(node + 8), 100 + i);
		for (uint32_t j = 0; j < after[i]; j++) {
			key++;
			make_value(key, n->value_size, value);
			assert_int_equal(tp_node_key(node, j), key);
			assert_memory_equal(tp_node_values(node) + (size_t)j * n->value_size, value, n->value_size);
		}
		for (uint32_t j = 0; j < BORDER; j++)
			assert_int_equal(node[THINP_BLOCK_SIZE + j], 0xa5);
	}
	assert_int_equal(key, n->total);
}

/* What stays can lose an entry and still have a third, or all is in node 0, or node 2 stays as it was and node 0, where
 * the entries of node 1 are, can lose one. Nothing is too full. */
static void expect_legal(const struct neighbours *n, const uint32_t *nr, const uint32_t *after)
{
	uint32_t t = n->capacity / 3;
	bool stays = n->nr_nodes == 3 && !after[1] && after[2] == nr[2] && nr[2] >= t;
	uint32_t nr_gone = 0;
	bool is_full_enough = true;
	uint32_t total = 0;

	for (uint32_t i = 0; i < n->nr_nodes; i++) {
		total += after[i];
		nr_gone += i && !after[i];
		is_full_enough = is_full_enough && nr[i] >= t && t;
		assert_true(after[i] <= n->capacity);
		assert_true(after[i] == 0 || after[0] == n->total || after[i] - 1 >= t || (i == 2 && stays));
	}
	assert_int_equal(total, n->total);
	assert_true(after[0] > 0 || total == 0);
	if (total >= 2 * (t + 1))
		assert_true(after[0] < total); /* two can have enough */
	if (is_full_enough)
		assert_true(nr_gone <= 1);
}

static void try(uint32_t capacity, uint32_t value_size, uint32_t nr_nodes, const uint32_t *nr, uint32_t *after)
{
	static struct neighbours n;

	begin(&n, capacity, value_size, nr_nodes, nr);
	tp_redistribute(capacity, nr_nodes, nr, after);
	expect_legal(&n, nr, after);
	tp_node_redistribute(n.nodes, nr_nodes, after);
	expect_nodes(&n, after);
}

static void expect2(uint32_t l, uint32_t r, uint32_t l_after, uint32_t r_after)
{
	uint32_t nr[2] = {l, r}, after[2];

	try(9, 8, 2, nr, after);
	assert_int_equal(after[0], l_after);
	assert_int_equal(after[1], r_after);
}

static void expect3(uint32_t l, uint32_t c, uint32_t r, uint32_t l_after, uint32_t c_after, uint32_t r_after)
{
	uint32_t nr[3] = {l, c, r}, after[3];

	try(9, 8, 3, nr, after);
	assert_int_equal(after[0], l_after);
	assert_int_equal(after[1], c_after);
	assert_int_equal(after[2], r_after);
}

/* --- two ------------------------------------------------------------------------------------------------------------- */

static void redistribute2_balanced(void **state)
{
	(void)state;
	expect2(4, 4, 4, 4);
	expect2(4, 5, 4, 5);
	expect2(5, 4, 4, 5);
	expect2(9, 9, 9, 9);
}

static void redistribute2_right_only(void **state)
{
	(void)state;
	expect2(0, 9, 4, 5);
	expect2(0, 3, 3, 0);
}

static void redistribute2_left_only(void **state)
{
	(void)state;
	expect2(9, 0, 4, 5);
	expect2(3, 0, 3, 0);
}

static void redistribute2_left_below_target(void **state)
{
	(void)state;
	expect2(3, 5, 4, 4);
	expect2(3, 9, 6, 6);
	expect2(1, 8, 4, 5);
}

static void redistribute2_right_below_target(void **state)
{
	(void)state;
	expect2(5, 3, 4, 4);
	expect2(9, 3, 6, 6);
	expect2(8, 1, 4, 5);
}

static void BR_05_two_are_merged_when_one_of_them_could_not_lose_an_entry(void **state)
{
	(void)state;
	expect2(3, 4, 7, 0); /* 2t + 1: evened out, the left one would have 3 */
	expect2(4, 3, 7, 0);
	expect2(3, 3, 6, 0);
	for (uint32_t capacity = 3; capacity <= 252; capacity += 3) {
		uint32_t t = capacity / 3;
		uint32_t nr[2] = {t, t + 1}, after[2];

		tp_redistribute2(capacity, nr, after);
		assert_int_equal(after[1], 0);
		nr[0]++;
		tp_redistribute2(capacity, nr, after);
		assert_int_equal(after[0], t + 1);
		assert_int_equal(after[1], t + 1);
	}
}

/* --- three ----------------------------------------------------------------------------------------------------------- */

static void redistribute3_both_above_target(void **state)
{
	(void)state;
	expect3(9, 3, 9, 7, 7, 7);
	expect3(8, 0, 8, 6, 5, 5);
	expect3(6, 3, 5, 5, 5, 4);
}

static void redistribute3_left_below_target(void **state)
{
	(void)state;
	expect3(3, 3, 9, 5, 5, 5);
	expect3(3, 9, 9, 7, 7, 7);
	expect3(1, 3, 9, 5, 4, 4);
}

static void redistribute3_left_only(void **state)
{
	(void)state;
	expect3(9, 0, 0, 4, 0, 5);
	expect3(5, 0, 0, 5, 0, 0);
}

static void redistribute3_right_below_target(void **state)
{
	(void)state;
	expect3(9, 3, 3, 5, 5, 5);
	expect3(9, 9, 3, 7, 7, 7);
	expect3(9, 3, 1, 5, 4, 4);
}

static void redistribute3_right_only(void **state)
{
	(void)state;
	expect3(0, 0, 9, 4, 0, 5);
	expect3(0, 0, 5, 5, 0, 0);
}

static void redistribute3_merges_the_one_in_the_middle(void **state)
{
	(void)state;
	expect3(4, 3, 5, 6, 0, 6); /* 4t */
	expect3(4, 4, 5, 5, 4, 4); /* 4t + 1 */
	expect3(3, 3, 1, 7, 0, 0);
	expect3(3, 3, 2, 4, 0, 4);
}

/* A parent that can lose one entry could not lose two. */
static void only_one_of_three_goes_away_when_all_have_a_third(void **state)
{
	uint32_t nr[3] = {1, 1, 1}, after[3];

	(void)state;
	try(3, 1000, 3, nr, after);
	assert_int_equal(after[0], 2);
	assert_int_equal(after[1], 0);
	assert_int_equal(after[2], 1);
}

/* --- all ------------------------------------------------------------------------------------------------------------- */

static const uint32_t capacities[] = {1, 2, 3, 4, 5, 6, 7, 9};

static void BR_01_COW_15_COW_16_all_pairs_and_triples_keep_their_entries_in_order(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof(capacities) / sizeof(*capacities); k++) {
		uint32_t max = capacities[k];

		for (uint32_t l = 0; l <= max; l++) {
			for (uint32_t c = 0; c <= max; c++) {
				uint32_t nr[3] = {l, c, 0}, after[3];

				try(max, 8, 2, nr, after);
				try(max, 400, 2, nr, after);
				for (uint32_t r = 0; r <= max; r++) {
					nr[2] = r;
					try(max, 8, 3, nr, after);
					try(max, 400, 3, nr, after);
				}
			}
		}
	}
}

/* Whatever each node is to have: moving does not depend on who asks for what. */
static void BR_01_entries_get_from_any_triple_to_any_other_one(void **state)
{
	static struct neighbours n;
	uint32_t max = 5;

	(void)state;
	for (uint32_t from = 0; from < 6 * 6 * 6; from++) {
		uint32_t nr[3] = {from % 6, from / 6 % 6, from / 36};
		uint32_t total = nr[0] + nr[1] + nr[2];

		for (uint32_t l = 0; l <= max && l <= total; l++) {
			for (uint32_t r = 0; r <= max && l + r <= total; r++) {
				uint32_t after[3] = {l, total - l - r, r};

				if (after[1] > max)
					continue;
				begin(&n, max, 24, 3, nr);
				tp_node_redistribute(n.nodes, 3, after);
				expect_nodes(&n, after);
			}
		}
	}
}

static void BR_03_entries_move_through_an_almost_empty_centre_both_ways(void **state)
{
	(void)state;
	for (uint32_t c = 0; c <= 1; c++) {
		expect3(9, c, 5 - c, 5, 5, 4);
		expect3(5 - c, c, 9, 5, 5, 4);
	}
	expect3(2, 1, 9, 6, 0, 6);
	expect3(9, 1, 2, 6, 0, 6);
}

static void BR_04_each_gets_a_third_and_nobody_more_than_fits(void **state)
{
	(void)state;
	expect3(9, 9, 9, 9, 9, 9);
	expect3(9, 8, 9, 9, 9, 8);
	expect3(8, 9, 9, 9, 9, 8);
	expect3(9, 9, 8, 9, 9, 8);
	expect3(9, 7, 9, 9, 8, 8);
	for (uint32_t total = 0; total <= 27; total++) {
		for (uint32_t l = 0; l <= 9 && l <= total; l++) {
			for (uint32_t r = 0; r <= 9 && l + r <= total; r++) {
				uint32_t nr[3] = {l, total - l - r, r}, after[3];

				if (nr[1] > 9)
					continue;
				try(9, 8, 3, nr, after);
				if (total < 13)
					continue;
				assert_true(after[0] - after[2] <= 1);
				assert_true(after[1] - after[2] <= 1);
				assert_true(after[0] >= after[1]);
			}
		}
	}
}

/* A node that has what it is to have may be a copy that nobody wants to have changed. */
static void a_node_with_the_right_number_is_not_touched(void **state)
{
	static struct neighbours n;
	static uint8_t before[sizeof(n.data[0])];
	uint32_t nr[3] = {5, 2, 7}, after[3] = {5, 5, 4};

	(void)state;
	begin(&n, 9, 8, 3, nr);
	memcpy(before, n.data[0], sizeof(before));
	tp_node_redistribute(n.nodes, 3, after);
	assert_memory_equal(before, n.data[0], sizeof(before));
	expect_nodes(&n, after);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(redistribute2_balanced),
		cmocka_unit_test(redistribute2_right_only),
		cmocka_unit_test(redistribute2_left_only),
		cmocka_unit_test(redistribute2_left_below_target),
		cmocka_unit_test(redistribute2_right_below_target),
		cmocka_unit_test(BR_05_two_are_merged_when_one_of_them_could_not_lose_an_entry),
		cmocka_unit_test(redistribute3_both_above_target),
		cmocka_unit_test(redistribute3_left_below_target),
		cmocka_unit_test(redistribute3_left_only),
		cmocka_unit_test(redistribute3_right_below_target),
		cmocka_unit_test(redistribute3_right_only),
		cmocka_unit_test(redistribute3_merges_the_one_in_the_middle),
		cmocka_unit_test(only_one_of_three_goes_away_when_all_have_a_third),
		cmocka_unit_test(BR_01_COW_15_COW_16_all_pairs_and_triples_keep_their_entries_in_order),
		cmocka_unit_test(BR_01_entries_get_from_any_triple_to_any_other_one),
		cmocka_unit_test(BR_03_entries_move_through_an_almost_empty_centre_both_ways),
		cmocka_unit_test(BR_04_each_gets_a_third_and_nobody_more_than_fits),
		cmocka_unit_test(a_node_with_the_right_number_is_not_touched),
	};

	return cmocka_run_group_tests_name("btree/redistribute", tests, NULL, NULL);
}
