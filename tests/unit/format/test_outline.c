/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "format/outline.h"

static uint8_t node[THINP_BLOCK_SIZE];
static struct tp_outline outline;

/* A leaf with keys 10, 20, 30, ... */
static void make_node(uint32_t nr_entries, uint32_t max_entries, uint32_t value_size)
{
	const struct tp_node_header header = {
		.flags = TP_NODE_LEAF, .nr_entries = nr_entries, .max_entries = max_entries, .value_size = value_size};

	memset(node, 0, sizeof(node));
	tp_node_pack(&header, node);
	for (uint32_t i = 0; i < nr_entries; i++)
		tp_store_le64(node + TP_NODE_HEADER_SIZE + 8 * (size_t)i, 10 * (uint64_t)(i + 1));
}

static uint32_t find(uint64_t key)
{
	uint32_t group = tp_outline_group(&outline, key);

	assert_true(group + (1u << outline.shift) <= outline.nr_entries);
	return tp_outline_in_group(&outline, node, group, key);
}

/* Every key, those between, and those beyond the ends. */
static void expect_all_found(void)
{
	uint32_t nr = outline.nr_entries;

	assert_false(tp_outline_reaches(&outline, 0));
	assert_false(tp_outline_reaches(&outline, 9));
	for (uint32_t i = 0; i < nr; i++) {
		uint64_t key = 10 * (uint64_t)(i + 1);

		assert_true(tp_outline_reaches(&outline, key));
		assert_int_equal(find(key), i);
		assert_int_equal(find(key + 9), i);
	}
	assert_int_equal(find(UINT64_MAX - 1), nr - 1);
	assert_int_equal(find(UINT64_MAX), nr - 1);
}

static void every_key_is_found_in_nodes_of_every_size(void **state)
{
	(void)state;
	for (uint32_t nr = 1; nr <= 450; nr++) {
		make_node(nr, 450, 1);
		assert_true(tp_outline_make(node, &outline));
		assert_int_equal(outline.nr_entries, nr);
		expect_all_found();
	}
}

static void the_largest_key_there_can_be_is_found(void **state)
{
	(void)state;
	for (uint32_t nr = 1; nr <= 252; nr++) {
		make_node(nr, 252, 8);
		tp_store_le64(node + TP_NODE_HEADER_SIZE + 8 * (size_t)(nr - 1), UINT64_MAX);
		assert_true(tp_outline_make(node, &outline));
		assert_int_equal(find(UINT64_MAX), nr - 1);
		if (nr > 1)
			assert_int_equal(find(UINT64_MAX - 1), nr - 2);
	}
}

static void values_are_found_behind_the_room_for_all_keys(void **state)
{
	(void)state;
	make_node(100, 126, 24);
	assert_true(tp_outline_make(node, &outline));
	assert_true(outline.is_leaf);
	assert_int_equal(outline.value_size, 24);
	for (uint32_t i = 0; i < 100; i++)
		assert_ptr_equal(tp_outline_value(&outline, node, i), tp_node_values(node) + 24 * (size_t)i);
}

/* More than half full, with the room and the values that leaves have most often: searched with numbers known beforehand. */
static void a_usual_leaf_is_known_and_searched_alike(void **state)
{
	const struct tp_node_shape usual = tp_usual_shape();

	(void)state;
	assert_int_equal(tp_node_max_entries(usual.value_size), 252);
	for (uint32_t nr = 1; nr <= 252; nr++) {
		make_node(nr, 252, 8);
		assert_true(tp_outline_make(node, &outline));
		assert_true(tp_outline_is_usual_leaf(&outline) == (nr > 128));
		for (uint64_t key = 10; nr > 128 && key < 10 * (uint64_t)nr + 20; key += 3) {
			uint32_t group = tp_outline_group_of(&outline, usual, key);

			assert_int_equal(tp_node_in_group(node, usual, group, key), find(key));
			assert_ptr_equal(node + usual.values_offset, tp_outline_value(&outline, node, 0));
		}
		tp_store_le32(node + 4, TP_NODE_INTERNAL);
		assert_true(tp_outline_make(node, &outline));
		assert_false(tp_outline_is_usual_leaf(&outline));
	}
	make_node(200, 251, 8);
	assert_true(tp_outline_make(node, &outline));
	assert_false(tp_outline_is_usual_leaf(&outline));
	make_node(200, 250, 7);
	assert_true(tp_outline_make(node, &outline));
	assert_false(tp_outline_is_usual_leaf(&outline));
}

static void an_empty_node_has_no_outline(void **state)
{
	(void)state;
	make_node(0, 252, 8);
	assert_false(tp_outline_make(node, &outline));
}

static void what_breaks_the_rules_of_a_header_has_no_outline(void **state)
{
	static const struct {
		uint32_t nr_entries, max_entries, value_size;
	} bad[] = {{253, 252, 8}, {1, 255, 8}, {1, 1, 4057}, {0, 0, UINT32_MAX}, {1, UINT32_MAX, 8}, {0, 0, 4089}};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make_node(0, 0, 8);
		tp_store_le32(node + 16, bad[i].nr_entries);
		tp_store_le32(node + 20, bad[i].max_entries);
		tp_store_le32(node + 24, bad[i].value_size);
		assert_false(tp_outline_make(node, &outline));
	}
	make_node(1, 1, 4056);
	assert_true(tp_outline_make(node, &outline));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_key_is_found_in_nodes_of_every_size),
		cmocka_unit_test(the_largest_key_there_can_be_is_found),
		cmocka_unit_test(values_are_found_behind_the_room_for_all_keys),
		cmocka_unit_test(a_usual_leaf_is_known_and_searched_alike),
		cmocka_unit_test(an_empty_node_has_no_outline),
		cmocka_unit_test(what_breaks_the_rules_of_a_header_has_no_outline),
	};

	return cmocka_run_group_tests_name("format/outline", tests, NULL, NULL);
}
