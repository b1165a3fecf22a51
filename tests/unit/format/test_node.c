/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "format/node.h"
#include "unit/format/expect.h"

#define READ_FROM 31 /* where the blocks of these tests were "read from" */
#define SAYS      32 /* what they say they are */

struct node {
	uint8_t data[THINP_BLOCK_SIZE];
};

/* A node with keys 10, 20, 30, ... */
static struct node make_node(uint32_t flags, uint32_t nr_entries, uint32_t max_entries, uint32_t value_size)
{
	const struct tp_node_header header = {
		.flags = flags,
		.block = SAYS,
		.nr_entries = nr_entries,
		.max_entries = max_entries,
		.value_size = value_size,
	};
	struct node node = {{0}};

	tp_node_pack(&header, node.data);
	for (size_t i = 0; i < nr_entries && TP_NODE_HEADER_SIZE + 8 * i + 8 <= THINP_BLOCK_SIZE; i++)
		tp_store_le64(node.data + TP_NODE_HEADER_SIZE + 8 * i, 10 * (i + 1));
	return node;
}

static void set_key(struct node *node, uint32_t i, uint64_t key)
{
	tp_store_le64(node->data + TP_NODE_HEADER_SIZE + 8 * (size_t)i, key);
}

/* Both ways to read the header agree on what is wrong; only the address that they name differs. */
static void expect_header_refused(const struct node *node, const char *message)
{
	struct tp_node_header header, untouched;

	memset(&header, 0xee, sizeof(header));
	untouched = header;
	expect_corrupt(tp_node_check(node->data, READ_FROM), READ_FROM, message);
	expect_corrupt(tp_node_unpack(node->data, &header), SAYS, message);
	assert_memory_equal(&header, &untouched, sizeof(header));
}

static void expect_taken(const struct node *node)
{
	struct tp_node_header header;

	assert_int_equal(tp_node_check(node->data, READ_FROM), 0);
	assert_int_equal(tp_node_unpack(node->data, &header), 0);
}

static void capacities_are_those_of_the_format(void **state)
{
	(void)state;
	assert_int_equal(tp_node_max_entries(4), 336);
	assert_int_equal(tp_node_max_entries(8), 252);
	assert_int_equal(tp_node_max_entries(12), 201);
	assert_int_equal(tp_node_max_entries(16), 168);
	assert_int_equal(tp_node_max_entries(24), 126);
}

static void a_capacity_is_the_greatest_multiple_of_three_that_fits_for_every_value_size(void **state)
{
	(void)state;
	for (uint64_t value_size = 1; value_size <= 5000; value_size++) {
		uint64_t max_entries = tp_node_max_entries((uint32_t)value_size);

		assert_int_equal(max_entries % 3, 0);
		assert_true(max_entries == 0 ||
			    TP_NODE_HEADER_SIZE + max_entries * (8 + value_size) <= THINP_BLOCK_SIZE);
		assert_true(TP_NODE_HEADER_SIZE + (max_entries + 3) * (8 + value_size) > THINP_BLOCK_SIZE);
	}
}

static void values_of_no_bytes_or_too_many_have_no_capacity(void **state)
{
	(void)state;
	assert_int_equal(tp_node_max_entries(0), 0);
	assert_int_equal(tp_node_max_entries(1346), 3);
	assert_int_equal(tp_node_max_entries(1347), 0);
	assert_int_equal(tp_node_max_entries(4056), 0);
	assert_int_equal(tp_node_max_entries(4064), 0);
	assert_int_equal(tp_node_max_entries(UINT32_MAX - 8), 0);
	assert_int_equal(tp_node_max_entries(UINT32_MAX - 7), 0);
	assert_int_equal(tp_node_max_entries(UINT32_MAX), 0);
}

static void a_header_comes_back_as_it_was_packed(void **state)
{
	const struct tp_node_header in = {
		.flags = TP_NODE_LEAF,
		.block = 0x0102030405060708,
		.nr_entries = 100,
		.max_entries = 168,
		.value_size = 16,
	};
	struct tp_node_header out;
	uint8_t data[THINP_BLOCK_SIZE] = {0};

	(void)state;
	tp_node_pack(&in, data);
	assert_int_equal(tp_node_unpack(data, &out), 0);
	assert_int_equal(out.flags, in.flags);
	assert_int_equal(out.block, in.block);
	assert_int_equal(out.nr_entries, in.nr_entries);
	assert_int_equal(out.max_entries, in.max_entries);
	assert_int_equal(out.value_size, in.value_size);
}

static void each_field_has_its_place_and_the_rest_of_the_block_is_left_alone(void **state)
{
	const struct tp_node_header header = {
		.flags = TP_NODE_INTERNAL,
		.block = 0x0102030405060708,
		.nr_entries = 0x11121314,
		.max_entries = 0x21222324,
		.value_size = 0x31323334,
	};
	const uint8_t expected[TP_NODE_HEADER_SIZE] = {
		0xee, 0xee, 0xee, 0xee, 1,    0,    0,    0,    8,    7,    6,    5,    4, 3, 2, 1,
		0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21, 0x34, 0x33, 0x32, 0x31, 0, 0, 0, 0,
	};
	uint8_t data[THINP_BLOCK_SIZE], rest[THINP_BLOCK_SIZE];

	(void)state;
	memset(data, 0xee, sizeof(data));
	memset(rest, 0xee, sizeof(rest));
	tp_node_pack(&header, data);
	assert_memory_equal(data, expected, sizeof(expected));
	assert_memory_equal(data + sizeof(expected), rest, sizeof(rest) - sizeof(expected));
}

static void fields_of_a_node_are_read_in_place(void **state)
{
	struct node node = make_node(TP_NODE_INTERNAL, 3, 252, 8);

	(void)state;
	tp_store_le64(node.data + 2048 + 8, 77);
	assert_false(tp_node_is_leaf(node.data));
	assert_int_equal(tp_node_nr_entries(node.data), 3);
	assert_int_equal(tp_node_capacity(node.data), 252);
	assert_int_equal(tp_node_value_size(node.data), 8);
	assert_int_equal(tp_node_key(node.data, 2), 30);
	assert_ptr_equal(tp_node_values(node.data), node.data + 2048);
	assert_int_equal(tp_node_value64(node.data, 1), 77);

	node = make_node(TP_NODE_LEAF, 0, 126, 24);
	assert_true(tp_node_is_leaf(node.data));
	assert_ptr_equal(tp_node_values(node.data), node.data + 0x410);
}

static void empty_and_full_leaves_are_taken(void **state)
{
	const uint32_t value_sizes[] = {1, 4, 8, 12, 16, 24, 1346};

	(void)state;
	for (size_t i = 0; i < sizeof(value_sizes) / sizeof(value_sizes[0]); i++) {
		uint32_t max_entries = tp_node_max_entries(value_sizes[i]);
		struct node empty = make_node(TP_NODE_LEAF, 0, max_entries, value_sizes[i]);
		struct node full = make_node(TP_NODE_LEAF, max_entries, max_entries, value_sizes[i]);

		expect_taken(&empty);
		expect_taken(&full);
	}
}

static void internal_nodes_of_one_and_of_all_entries_are_taken(void **state)
{
	struct node one = make_node(TP_NODE_INTERNAL, 1, 252, 8);
	struct node full = make_node(TP_NODE_INTERNAL, 252, 252, 8);

	(void)state;
	expect_taken(&one);
	expect_taken(&full);
}

static void flags_other_than_exactly_one_of_the_two_are_refused(void **state)
{
	const uint32_t flags[] = {0, 3, 4, 5, 6, 0x80000001, UINT32_MAX};
	char message[168];

	(void)state;
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct node node = make_node(flags[i], 1, 252, 8);

		snprintf(message, sizeof(message), "btree node: flags are 0x%x, neither internal (1) nor leaf (2)",
			 flags[i]);
		expect_header_refused(&node, message);
	}
}

static void values_of_no_bytes_are_refused(void **state)
{
	struct node node = make_node(TP_NODE_LEAF, 1, 252, 0);

	(void)state;
	expect_header_refused(&node, "btree node: values of no bytes");
}

static void an_internal_node_with_values_that_are_no_addresses_is_refused(void **state)
{
	struct node node = make_node(TP_NODE_INTERNAL, 1, 126, 24);

	(void)state;
	expect_header_refused(&node, "btree node: internal with values of 24 bytes, not 8");
}

static void an_internal_node_without_entries_is_refused(void **state)
{
	struct node node = make_node(TP_NODE_INTERNAL, 0, 252, 8);

	(void)state;
	expect_header_refused(&node, "btree node: internal, but without entries");
}

static void more_entries_than_room_are_refused(void **state)
{
	struct node node = make_node(TP_NODE_LEAF, 253, 252, 8);

	(void)state;
	expect_header_refused(&node, "btree node: 253 entries, but room for 252");
}

static void a_capacity_is_taken_exactly_as_far_as_it_fits_the_block(void **state)
{
	(void)state;
	for (uint32_t value_size = 1; value_size <= 4056; value_size++) {
		uint32_t fits = (THINP_BLOCK_SIZE - TP_NODE_HEADER_SIZE) / (8 + value_size);
		struct node node = make_node(TP_NODE_LEAF, 0, fits, value_size);

		expect_taken(&node);
		node = make_node(TP_NODE_LEAF, 0, fits + 1, value_size);
		assert_int_equal(tp_node_check(node.data, READ_FROM), THINP_ECORRUPT);
	}
}

static void a_capacity_that_does_not_fit_is_named(void **state)
{
	struct node node = make_node(TP_NODE_LEAF, 1, 255, 8);

	(void)state;
	expect_header_refused(&node, "btree node: says it has room for 255 values of 8 bytes, but 254 fit");
}

/* Products that are small when cut to 32 or 64 bits. */
static void a_capacity_whose_size_overflows_is_refused(void **state)
{
	const struct {
		uint32_t max_entries, value_size;
	} cases[] = {
		{1, 4057},
		{1, UINT32_MAX},
		{1, UINT32_MAX - 7},
		{0x10000000, 8},
		{0x20000000, UINT32_MAX - 7},
		{0x80000000, UINT32_MAX - 7},
		{UINT32_MAX, UINT32_MAX},
		{UINT32_MAX, UINT32_MAX - 7},
		{UINT32_MAX, 1},
		{0x80000000, 0xfffffff8},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct node node = make_node(TP_NODE_LEAF, 0, cases[i].max_entries, cases[i].value_size);

		assert_int_equal(tp_node_check(node.data, READ_FROM), THINP_ECORRUPT);
	}
}

static void the_longest_message_fits_the_record(void **state)
{
	struct node node = make_node(TP_NODE_LEAF, 0, UINT32_MAX, UINT32_MAX);

	(void)state;
	expect_header_refused(&node,
			      "btree node: says it has room for 4294967295 values of 4294967295 bytes, but 0 fit");
}

static void a_capacity_that_is_no_multiple_of_three_is_taken(void **state)
{
	struct node of_251 = make_node(TP_NODE_LEAF, 251, 251, 8);
	struct node of_254 = make_node(TP_NODE_LEAF, 254, 254, 8);
	struct node of_none = make_node(TP_NODE_LEAF, 0, 0, 8);

	(void)state;
	expect_taken(&of_251);
	expect_taken(&of_254);
	expect_taken(&of_none);
}

static void padding_is_not_looked_at(void **state)
{
	struct node node = make_node(TP_NODE_LEAF, 2, 252, 8);

	(void)state;
	memset(node.data + 28, 0xff, 4);
	expect_taken(&node);
}

static void what_is_behind_the_entries_in_use_is_not_looked_at(void **state)
{
	struct node node = make_node(TP_NODE_LEAF, 2, 252, 8);

	(void)state;
	set_key(&node, 2, 5);
	set_key(&node, 3, 5);
	expect_taken(&node);
}

static void keys_out_of_order_are_refused_wherever_they_are(void **state)
{
	char message[168];

	(void)state;
	for (uint32_t i = 1; i < 252; i++) {
		struct node node = make_node(TP_NODE_LEAF, 252, 252, 8);

		set_key(&node, i, 10 * (uint64_t)i - 1);
		snprintf(message, sizeof(message), "btree node: keys out of order: key %u is %u, after %u", i,
			 10 * i - 1, 10 * i);
		expect_corrupt(tp_node_check(node.data, READ_FROM), READ_FROM, message);
	}
}

static void equal_keys_are_refused_wherever_they_are(void **state)
{
	char message[168];

	(void)state;
	for (uint32_t i = 1; i < 252; i++) {
		struct node leaf = make_node(TP_NODE_LEAF, 252, 252, 8);
		struct node internal = make_node(TP_NODE_INTERNAL, 252, 252, 8);

		set_key(&leaf, i, 10 * (uint64_t)i);
		set_key(&internal, i, 10 * (uint64_t)i);
		snprintf(message, sizeof(message), "btree node: keys out of order: key %u is %u, after %u", i, 10 * i,
			 10 * i);
		expect_corrupt(tp_node_check(leaf.data, READ_FROM), READ_FROM, message);
		expect_corrupt(tp_node_check(internal.data, READ_FROM), READ_FROM, message);
	}
}

static void keys_are_compared_without_sign_and_over_all_their_bits(void **state)
{
	const uint64_t rising[] = {
		0, 1, 0xffffffff, 0x100000000, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX - 1, UINT64_MAX};
	struct node node = make_node(TP_NODE_LEAF, 8, 252, 8);

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		set_key(&node, i, rising[i]);
	expect_taken(&node);
	for (uint32_t i = 1; i < 8; i++) {
		set_key(&node, i - 1, rising[i]);
		set_key(&node, i, rising[i - 1]);
		assert_int_equal(tp_node_check(node.data, READ_FROM), THINP_ECORRUPT);
		set_key(&node, i - 1, rising[i - 1]);
		set_key(&node, i, rising[i]);
	}
}

static void unpacking_the_header_does_not_look_at_keys(void **state)
{
	struct node node = make_node(TP_NODE_LEAF, 2, 252, 8);
	struct tp_node_header header;

	(void)state;
	set_key(&node, 1, 0);
	assert_int_equal(tp_node_unpack(node.data, &header), 0);
	assert_int_equal(header.nr_entries, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capacities_are_those_of_the_format),
		cmocka_unit_test(a_capacity_is_the_greatest_multiple_of_three_that_fits_for_every_value_size),
		cmocka_unit_test(values_of_no_bytes_or_too_many_have_no_capacity),
		cmocka_unit_test(a_header_comes_back_as_it_was_packed),
		cmocka_unit_test(each_field_has_its_place_and_the_rest_of_the_block_is_left_alone),
		cmocka_unit_test(fields_of_a_node_are_read_in_place),
		cmocka_unit_test(empty_and_full_leaves_are_taken),
		cmocka_unit_test(internal_nodes_of_one_and_of_all_entries_are_taken),
		cmocka_unit_test(flags_other_than_exactly_one_of_the_two_are_refused),
		cmocka_unit_test(values_of_no_bytes_are_refused),
		cmocka_unit_test(an_internal_node_with_values_that_are_no_addresses_is_refused),
		cmocka_unit_test(an_internal_node_without_entries_is_refused),
		cmocka_unit_test(more_entries_than_room_are_refused),
		cmocka_unit_test(a_capacity_is_taken_exactly_as_far_as_it_fits_the_block),
		cmocka_unit_test(a_capacity_that_does_not_fit_is_named),
		cmocka_unit_test(a_capacity_whose_size_overflows_is_refused),
		cmocka_unit_test(the_longest_message_fits_the_record),
		cmocka_unit_test(a_capacity_that_is_no_multiple_of_three_is_taken),
		cmocka_unit_test(padding_is_not_looked_at),
		cmocka_unit_test(what_is_behind_the_entries_in_use_is_not_looked_at),
		cmocka_unit_test(keys_out_of_order_are_refused_wherever_they_are),
		cmocka_unit_test(equal_keys_are_refused_wherever_they_are),
		cmocka_unit_test(keys_are_compared_without_sign_and_over_all_their_bits),
		cmocka_unit_test(unpacking_the_header_does_not_look_at_keys),
	};

	return cmocka_run_group_tests_name("format/node", tests, NULL, NULL);
}
