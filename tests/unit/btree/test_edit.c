/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * BT-16: every function on nodes against a vector, at every place of nodes with every number of entries.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "btree/edit.h"
#include "btree/node.h"

#define MAX_CAPACITY 336u
#define MAX_VALUE    1346u
#define GUARD        64u
#define BLOCK        77u

/* --- the vector ------------------------------------------------------------------------------------------------------ */

struct vector {
	uint64_t keys[2 * MAX_CAPACITY];
	uint32_t nr;
};

static void vector_insert(struct vector *v, uint32_t at, uint64_t key)
{
	for (uint32_t i = v->nr; i > at; i--)
		v->keys[i] = v->keys[i - 1];
	v->keys[at] = key;
	v->nr++;
}

static void vector_remove(struct vector *v, uint32_t at, uint32_t nr)
{
	for (uint32_t i = at; i + nr < v->nr; i++)
		v->keys[i] = v->keys[i + nr];
	v->nr -= nr;
}

/* --- nodes between guards -------------------------------------------------------------------------------------------- */

struct node {
	uint8_t before[GUARD];
	uint8_t data[THINP_BLOCK_SIZE];
	uint8_t behind[GUARD];
	uint32_t flags;
	uint32_t capacity;
	uint32_t value_size;
};

/* The value that belongs to a key: each byte depends on the key and on its place. */
static void value_of(uint64_t key, uint32_t value_size, uint8_t *value)
{
	for (uint32_t i = 0; i < value_size; i++)
		value[i] = (uint8_t)(key * 0x9e3779b97f4a7c15 >> (8 * (i % 8))) + (uint8_t)(3 * i);
}

static void make_node(struct node *node, uint32_t capacity, uint32_t value_size, uint64_t first_key, uint32_t nr)
{
	const struct tp_node_header header = {.flags = TP_NODE_LEAF,
					      .block = BLOCK,
					      .nr_entries = nr,
					      .max_entries = capacity,
					      .value_size = value_size};

	memset(node, 0xee, sizeof(*node));
	node->flags = TP_NODE_LEAF;
	node->capacity = capacity;
	node->value_size = value_size;
	tp_node_pack(&header, node->data);
	for (uint32_t i = 0; i < nr; i++) {
		tp_store_le64(node->data + TP_NODE_HEADER_SIZE + 8 * (size_t)i, first_key + i);
		value_of(first_key + i, value_size,
			 node->data + TP_NODE_HEADER_SIZE + 8 * (size_t)capacity + (size_t)value_size * i);
	}
}

static void make_vector(struct vector *v, uint64_t first_key, uint32_t nr)
{
	v->nr = nr;
	for (uint32_t i = 0; i < nr; i++)
		v->keys[i] = first_key + i;
}

static bool is_filled(const uint8_t *bytes, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (bytes[i] != 0xee)
			return false;
	return true;
}

static void expect_header(const struct node *node, uint32_t nr)
{
	struct tp_node_header header;

	assert_int_equal(tp_node_unpack(node->data, &header), 0);
	assert_int_equal(header.flags, node->flags);
	assert_int_equal(header.block, BLOCK);
	assert_int_equal(header.nr_entries, nr);
	assert_int_equal(header.max_entries, node->capacity);
	assert_int_equal(header.value_size, node->value_size);
}

/* The entries of the node are v->keys[first .. first + nr - 1] with their values; nothing outside was touched. */
static void expect_entries(const struct node *node, const struct vector *v, uint32_t first, uint32_t nr)
{
	const uint8_t *values = node->data + TP_NODE_HEADER_SIZE + 8 * (size_t)node->capacity;
	const uint8_t *end = values + (size_t)node->capacity * node->value_size;

	expect_header(node, nr);
	assert_true(is_filled(node->before, GUARD));
	assert_true(is_filled(node->behind, GUARD));
	assert_true(is_filled(end, (size_t)(node->data + THINP_BLOCK_SIZE - end)));
	for (uint32_t i = 0; i < nr; i++) {
		uint8_t value[MAX_VALUE];

		assert_int_equal(tp_load_le64(node->data + TP_NODE_HEADER_SIZE + 8 * (size_t)i), v->keys[first + i]);
		value_of(v->keys[first + i], node->value_size, value);
		assert_memory_equal(values + (size_t)i * node->value_size, value, node->value_size);
	}
}

static const uint32_t value_sizes[] = {4, 8, 24, 400, 1000};

/* Calls fn for nodes of each value size, and for capacities that are no multiples of three. */
static void for_each_kind(void (*fn)(uint32_t capacity, uint32_t value_size))
{
	for (size_t i = 0; i < sizeof(value_sizes) / sizeof(*value_sizes); i++)
		fn(tp_node_max_entries(value_sizes[i]), value_sizes[i]);
	fn(3, 8);
	fn(8, 400);
	fn(4, 1000);
}

/* --- making ---------------------------------------------------------------------------------------------------------- */

static void BT_16_a_new_node_is_empty_and_of_the_kind_asked_for(void **state)
{
	struct node node;

	(void)state;
	for (size_t i = 0; i < sizeof(value_sizes) / sizeof(*value_sizes); i++) {
		make_node(&node, tp_node_max_entries(value_sizes[i]), value_sizes[i], 0, 0);
		memset(node.data, 0xee, sizeof(node.data));
		tp_node_init(node.data, TP_NODE_LEAF, BLOCK, value_sizes[i]);
		expect_entries(&node, NULL, 0, 0);
	}
	make_node(&node, 252, 8, 0, 0);
	memset(node.data, 0xee, sizeof(node.data));
	tp_node_init(node.data, TP_NODE_INTERNAL, BLOCK, 8);
	assert_int_equal(tp_load_le32(node.data + 4), TP_NODE_INTERNAL);
	assert_int_equal(tp_node_capacity(node.data), 252);
}

static void BT_16_a_node_made_like_another_has_its_flags_capacity_and_value_size(void **state)
{
	struct node like, node;

	(void)state;
	make_node(&like, 7, 24, 5, 6);
	make_node(&node, 7, 24, 0, 0);
	memset(node.data, 0xee, sizeof(node.data));
	tp_node_init_like(node.data, like.data, BLOCK);
	expect_entries(&node, NULL, 0, 0);

	tp_node_init(like.data, TP_NODE_INTERNAL, BLOCK, 8);
	tp_node_init_like(node.data, like.data, BLOCK);
	assert_int_equal(tp_load_le32(node.data + 4), TP_NODE_INTERNAL);
	assert_int_equal(tp_node_capacity(node.data), 252);
	assert_int_equal(tp_node_value_size(node.data), 8);
}

/* --- one node -------------------------------------------------------------------------------------------------------- */

static void insert_everywhere(uint32_t capacity, uint32_t value_size)
{
	for (uint32_t nr = 0; nr < capacity; nr++) {
		for (uint32_t at = 0; at <= nr; at++) {
			uint8_t value[MAX_VALUE];
			struct vector v;
			struct node node;

			make_node(&node, capacity, value_size, 1000, nr);
			make_vector(&v, 1000, nr);
			value_of(5, value_size, value);
			assert_int_equal(tp_node_room(node.data), capacity - nr);
			tp_node_insert(node.data, at, 5, value);
			vector_insert(&v, at, 5);
			expect_entries(&node, &v, 0, nr + 1);
		}
	}
}

static void BT_16_insert_moves_the_whole_tail(void **state)
{
	(void)state;
	for_each_kind(insert_everywhere);
}

static void BT_16_a_child_is_inserted_with_its_address(void **state)
{
	struct node node;

	(void)state;
	make_node(&node, 252, 8, 10, 3);
	tp_node_insert64(node.data, 1, 99, 0x1122334455667788);
	assert_int_equal(tp_node_key(node.data, 1), 99);
	assert_int_equal(tp_node_value64(node.data, 1), 0x1122334455667788);
	assert_int_equal(tp_node_key(node.data, 2), 11);
	assert_int_equal(tp_node_nr_entries(node.data), 4);
}

static void remove_everywhere(uint32_t capacity, uint32_t value_size)
{
	uint32_t step = capacity > 20 ? 7 : 1; /* of the counts; places are all tried */

	for (uint32_t nr = 0; nr <= capacity; nr += nr + step > capacity && nr < capacity ? capacity - nr : step) {
		for (uint32_t at = 0; at <= nr; at++) {
			for (uint32_t nr_removed = 0; at + nr_removed <= nr; nr_removed += nr_removed < 3 ? 1 : step) {
				struct vector v;
				struct node node;

				make_node(&node, capacity, value_size, 1000, nr);
				make_vector(&v, 1000, nr);
				tp_node_remove(node.data, at, nr_removed);
				vector_remove(&v, at, nr_removed);
				expect_entries(&node, &v, 0, nr - nr_removed);
			}
		}
	}
}

static void BT_16_remove_closes_the_gap(void **state)
{
	(void)state;
	for_each_kind(remove_everywhere);
}

static void append_to_all(uint32_t capacity, uint32_t value_size)
{
	for (uint32_t nr = 0; nr <= capacity; nr++) {
		for (uint32_t more = 0; nr + more <= capacity; more += more < 3 ? 1 : 11) {
			uint8_t values[THINP_BLOCK_SIZE];
			struct vector v;
			struct node node;

			make_node(&node, capacity, value_size, 1000, nr);
			make_vector(&v, 1000, nr + more);
			for (uint32_t i = 0; i < more; i++)
				value_of(v.keys[nr + i], value_size, values + (size_t)i * value_size);
			tp_node_append(node.data, v.keys + nr, values, more);
			expect_entries(&node, &v, 0, nr + more);
		}
	}
}

static void BT_16_append_adds_behind_the_last_entry(void **state)
{
	(void)state;
	for_each_kind(append_to_all);
}

static void set_everywhere(uint32_t capacity, uint32_t value_size)
{
	for (uint32_t at = 0; at < capacity; at++) {
		uint8_t value[MAX_VALUE];
		struct vector v;
		struct node node;

		make_node(&node, capacity, value_size, 1000, capacity);
		make_vector(&v, 1000, capacity);
		value_of(7, value_size, value);
		tp_node_set_key(node.data, at, 7);
		tp_node_set_value(node.data, at, value);
		v.keys[at] = 7;
		expect_entries(&node, &v, 0, capacity);
		if (value_size == 8) {
			tp_node_set_value64(node.data, at, tp_load_le64(value) + 1);
			assert_int_equal(tp_node_value64(node.data, at), tp_load_le64(value) + 1);
			tp_node_set_value64(node.data, at, tp_load_le64(value));
		}
		expect_entries(&node, &v, 0, capacity);
	}
}

static void BT_16_setting_an_entry_leaves_its_neighbours_alone(void **state)
{
	(void)state;
	for_each_kind(set_everywhere);
}

/* --- two nodes ------------------------------------------------------------------------------------------------------- */

/* Two neighbours, and all their entries in one vector. */
struct pair {
	struct node left, right;
	struct vector v;
};

static void make_pair(struct pair *p, uint32_t left_capacity, uint32_t right_capacity, uint32_t value_size,
		      uint32_t nr_left, uint32_t nr_right)
{
	make_node(&p->left, left_capacity, value_size, 1000, nr_left);
	make_node(&p->right, right_capacity, value_size, 1000 + nr_left, nr_right);
	make_vector(&p->v, 1000, nr_left + nr_right);
}

static void expect_pair(const struct pair *p, uint32_t nr_left)
{
	expect_entries(&p->left, &p->v, 0, nr_left);
	expect_entries(&p->right, &p->v, nr_left, p->v.nr - nr_left);
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* All small numbers and the last ones, and some between: for large nodes all triples would be too many. */
static uint32_t next_number(uint32_t n, uint32_t last)
{
	if (n < 3 || n + 3 > last || last < 20)
		return n + 1;
	return least(n + 23, last - 2);
}

static void move_between(uint32_t left_capacity, uint32_t right_capacity, uint32_t value_size, uint32_t nr_left,
			 uint32_t nr_right)
{
	uint32_t to_left = least(nr_right, left_capacity - nr_left);
	uint32_t to_right = least(nr_left, right_capacity - nr_right);
	uint32_t total = nr_left + nr_right;
	struct pair p;

	for (uint32_t nr = 0; nr <= to_left; nr = next_number(nr, to_left)) {
		make_pair(&p, left_capacity, right_capacity, value_size, nr_left, nr_right);
		tp_node_move_left(p.left.data, p.right.data, nr);
		expect_pair(&p, nr_left + nr);
	}
	for (uint32_t nr = 0; nr <= to_right; nr = next_number(nr, to_right)) {
		make_pair(&p, left_capacity, right_capacity, value_size, nr_left, nr_right);
		tp_node_move_right(p.left.data, p.right.data, nr);
		expect_pair(&p, nr_left - nr);
	}
	for (uint32_t nr = total > right_capacity ? total - right_capacity : 0; nr <= least(total, left_capacity);
	     nr = next_number(nr, least(total, left_capacity))) {
		make_pair(&p, left_capacity, right_capacity, value_size, nr_left, nr_right);
		tp_node_share(p.left.data, p.right.data, nr);
		expect_pair(&p, nr);
	}
}

static void move_between_all(uint32_t left_capacity, uint32_t right_capacity, uint32_t value_size)
{
	for (uint32_t nr_left = 0; nr_left <= left_capacity; nr_left = next_number(nr_left, left_capacity))
		for (uint32_t nr_right = 0; nr_right <= right_capacity;
		     nr_right = next_number(nr_right, right_capacity))
			move_between(left_capacity, right_capacity, value_size, nr_left, nr_right);
}

static void move_between_alike(uint32_t capacity, uint32_t value_size)
{
	move_between_all(capacity, capacity, value_size);
}

static void BT_16_entries_move_to_either_neighbour_in_order(void **state)
{
	(void)state;
	for_each_kind(move_between_alike);
}

static void BT_16_entries_move_between_nodes_of_different_capacities(void **state)
{
	(void)state;
	move_between_all(5, 9, 400);
	move_between_all(9, 4, 400);
	move_between_all(3, 252, 8);
	move_between_all(250, 7, 8);
}

static void copy_between(uint32_t dst_at, uint32_t src_at, uint32_t nr)
{
	struct node dst, src;
	struct vector v;

	make_node(&dst, 9, 400, 1000, 9);
	make_node(&src, 8, 400, 2000, 8);
	make_vector(&v, 1000, 9);
	for (uint32_t i = 0; i < nr; i++)
		v.keys[dst_at + i] = 2000 + src_at + i;
	tp_node_copy(dst.data, dst_at, src.data, src_at, nr);
	expect_entries(&dst, &v, 0, 9);
	make_vector(&v, 2000, 8);
	expect_entries(&src, &v, 0, 8);
}

static void BT_16_copy_goes_to_its_place_and_keeps_both_counts(void **state)
{
	(void)state;
	for (uint32_t dst_at = 0; dst_at <= 9; dst_at++)
		for (uint32_t src_at = 0; src_at <= 8; src_at++)
			for (uint32_t nr = 0; nr <= least(9 - dst_at, 8 - src_at); nr++)
				copy_between(dst_at, src_at, nr);
}

/* --- BT-19 ----------------------------------------------------------------------------------------------------------- */

static void change_at(uint8_t *data, uint32_t value_size)
{
	uint32_t capacity = tp_node_max_entries(value_size), index;
	uint8_t value[MAX_VALUE];

	tp_node_init(data, TP_NODE_LEAF, BLOCK, value_size);
	for (uint32_t i = 0; i < capacity; i++) {
		value_of(i, value_size, value);
		tp_node_insert(data, i / 2, i % 2 ? 1000 + i : 2000 - i, value);
		tp_node_set_key(data, i / 2, tp_node_key(data, i / 2));
	}
	for (uint32_t i = 0; i + 1 < capacity; i += 2)
		tp_node_remove(data, i / 2, 1);
	(void)tp_node_find(data, 1003, &index);
	tp_node_set_value(data, 0, value);
}

/* A sanitizer for undefined behaviour sees accesses that need an alignment. */
static void BT_19_nodes_are_changed_at_odd_addresses(void **state)
{
	static const uint32_t sizes[] = {4, 8, 24};
	static uint8_t memory[THINP_BLOCK_SIZE + 16], wanted[THINP_BLOCK_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		memset(wanted, 0, sizeof(wanted));
		change_at(wanted, sizes[i]);
		for (size_t shift = 1; shift < 9; shift++) {
			memset(memory, 0, sizeof(memory));
			change_at(memory + shift, sizes[i]);
			assert_memory_equal(memory + shift, wanted, THINP_BLOCK_SIZE);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(BT_16_a_new_node_is_empty_and_of_the_kind_asked_for),
		cmocka_unit_test(BT_16_a_node_made_like_another_has_its_flags_capacity_and_value_size),
		cmocka_unit_test(BT_16_insert_moves_the_whole_tail),
		cmocka_unit_test(BT_16_a_child_is_inserted_with_its_address),
		cmocka_unit_test(BT_16_remove_closes_the_gap),
		cmocka_unit_test(BT_16_append_adds_behind_the_last_entry),
		cmocka_unit_test(BT_16_setting_an_entry_leaves_its_neighbours_alone),
		cmocka_unit_test(BT_16_entries_move_to_either_neighbour_in_order),
		cmocka_unit_test(BT_16_entries_move_between_nodes_of_different_capacities),
		cmocka_unit_test(BT_16_copy_goes_to_its_place_and_keeps_both_counts),
		cmocka_unit_test(BT_19_nodes_are_changed_at_odd_addresses),
	};

	return cmocka_run_group_tests_name("btree/edit", tests, NULL, NULL);
}
