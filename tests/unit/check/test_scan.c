/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Questions about whole leaves, for vectors of both widths, against loops that look at one entry after the other.
 */
#include "check/scan.h"

#include "base/bytes.h"
#include "format/node.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "unit/base/random.h"

#define MAX_LEAF 252u

static uint64_t rng;

static uint64_t block_and_time(uint64_t block, uint64_t time)
{
	return block << 24 | time;
}

/* Values that do not lie as the machine would like to have them. */
struct leaf {
	uint8_t odd;
	uint8_t values[8 * MAX_LEAF];
};

static uint64_t get(const struct leaf *leaf, size_t i)
{
	return tp_load_le64(leaf->values + 8 * i);
}

static void set(struct leaf *leaf, size_t i, uint64_t value)
{
	tp_store_le64(leaf->values + 8 * i, value);
}

static bool is_run(const struct leaf *leaf, size_t nr)
{
	bool narrow = tp_scan_is_run_narrow(leaf->values, nr);

	assert_int_equal(tp_scan_is_run(leaf->values, nr), narrow);
	return narrow;
}

static void make_run(struct leaf *leaf, size_t nr, uint64_t block, uint64_t time)
{
	for (size_t i = 0; i < nr; i++)
		set(leaf, i, block_and_time(block + i, time));
}

static void a_run_has_blocks_that_follow_each_other_and_one_time(void **state)
{
	struct leaf leaf;

	(void)state;
	for (size_t nr = 1; nr <= MAX_LEAF; nr++) {
		make_run(&leaf, nr, random_next(&rng) >> 26, random_next(&rng) >> 40);
		assert_true(is_run(&leaf, nr));
	}
}

static void one_bit_of_one_mapping_makes_it_none(void **state)
{
	struct leaf leaf;

	(void)state;
	for (size_t nr = 2; nr <= MAX_LEAF; nr += nr < 20 ? 1 : 29) {
		make_run(&leaf, nr, random_next(&rng) >> 26, random_next(&rng) >> 40);
		for (size_t i = 0; i < nr; i++) {
			uint64_t bit = UINT64_C(1) << random_next(&rng) % 64;

			set(&leaf, i, get(&leaf, i) ^ bit);
			assert_false(is_run(&leaf, nr));
			set(&leaf, i, get(&leaf, i) ^ bit);
		}
	}
}

static void a_row_past_the_greatest_block_is_no_run(void **state)
{
	struct leaf leaf;

	(void)state;
	make_run(&leaf, 20, (UINT64_C(1) << 40) - 20, 5);
	assert_true(is_run(&leaf, 20));
	make_run(&leaf, 20, (UINT64_C(1) << 40) - 19, 5);
	assert_false(is_run(&leaf, 20));
}

static struct tp_doubts doubts_of(const struct leaf *leaf, size_t nr, const struct tp_scan_limits *limits)
{
	struct tp_doubts narrow = tp_scan_mappings_narrow(leaf->values, nr, limits);
	struct tp_doubts wide = tp_scan_mappings(leaf->values, nr, limits);

	assert_int_equal(wide.is_late, narrow.is_late);
	assert_int_equal(wide.is_own, narrow.is_own);
	assert_int_equal(wide.is_beyond, narrow.is_beyond);
	return narrow;
}

static void expect_doubts(const struct leaf *leaf, size_t nr, const struct tp_scan_limits *limits)
{
	struct tp_doubts found = doubts_of(leaf, nr, limits);
	struct tp_doubts expected = {.is_late = false};

	for (size_t i = 0; i < nr; i++) {
		expected.is_late |= (get(leaf, i) & 0xffffff) > limits->time;
		expected.is_own |= (get(leaf, i) & 0xffffff) >= limits->snap_time;
		expected.is_beyond |= get(leaf, i) >> 24 >= limits->nr_blocks;
	}
	assert_int_equal(found.is_late, expected.is_late);
	assert_int_equal(found.is_own, expected.is_own);
	assert_int_equal(found.is_beyond, expected.is_beyond);
}

static void one_mapping_is_found_wherever_it_is(void **state)
{
	const struct tp_scan_limits limits = {.nr_blocks = 1000, .time = 20, .snap_time = 10};
	static const uint64_t odd[][2] = {{999, 9}, {1000, 9}, {999, 10}, {999, 20}, {999, 21}, {1u << 31, 0xffffff}};
	struct leaf leaf;

	(void)state;
	for (size_t nr = 1; nr <= 20; nr++)
		for (size_t i = 0; i < nr; i++)
			for (size_t kind = 0; kind < sizeof(odd) / sizeof(odd[0]); kind++) {
				make_run(&leaf, nr, 0, 0);
				set(&leaf, i, block_and_time(odd[kind][0], odd[kind][1]));
				expect_doubts(&leaf, nr, &limits);
			}
}

static void limits_may_be_the_least_and_the_greatest(void **state)
{
	static const uint64_t nr_blocks[] = {0, 1, 50, UINT64_C(1) << 40, UINT64_C(1) << 48};
	static const uint32_t times[] = {0, 1, 0xfffffe, 0xffffff, 0x1000000, UINT32_MAX};
	struct leaf leaf;

	(void)state;
	for (size_t n = 0; n < 5; n++)
		for (size_t t = 0; t < 36; t++)
			for (size_t round = 0; round < 6; round++) {
				struct tp_scan_limits limits = {
					.nr_blocks = nr_blocks[n], .time = times[t / 6], .snap_time = times[t % 6]};

				make_run(&leaf, MAX_LEAF, 0, times[round] & 0xffffff);
				set(&leaf, random_next(&rng) % MAX_LEAF, random_next(&rng));
				expect_doubts(&leaf, MAX_LEAF - round, &limits);
			}
}

struct node {
	_Alignas(8) uint8_t bytes[THINP_BLOCK_SIZE];
};

static void set_key(struct node *node, uint32_t i, uint64_t key)
{
	tp_store_le64(node->bytes + TP_NODE_HEADER_SIZE + 8 * (size_t)i, key);
}

static void expect_order(const struct node *node, uint32_t nr, bool expected)
{
	assert_int_equal(tp_scan_keys_ascend_narrow(node->bytes, nr), expected);
	assert_int_equal(tp_scan_keys_ascend(node->bytes, nr), expected);
}

static void fill(struct node *node, uint32_t nr, uint64_t first, uint64_t step)
{
	for (uint32_t i = 0; i < nr; i++)
		set_key(node, i, first + i * step);
}

static void keys_that_ascend_do_however_great_and_far_apart_they_are(void **state)
{
	struct node node;

	(void)state;
	for (uint32_t nr = 0; nr <= MAX_LEAF; nr++) {
		fill(&node, nr, random_next(&rng) >> 2, 1 + (random_next(&rng) >> 40));
		expect_order(&node, nr, true);
		fill(&node, nr, UINT64_MAX - nr, 1);
		expect_order(&node, nr, true);
	}
	set_key(&node, 0, 0);
	set_key(&node, 1, UINT64_MAX - 1);
	set_key(&node, 2, UINT64_MAX);
	expect_order(&node, 3, true);
}

static void one_key_out_of_order_is_found_wherever_it_is(void **state)
{
	struct node node;

	(void)state;
	for (uint32_t nr = 2; nr <= MAX_LEAF; nr += nr < 20 ? 1 : 29)
		for (uint32_t i = 1; i < nr; i++) {
			uint64_t first = i % 3 ? i : UINT64_MAX - 2 * (uint64_t)nr;

			fill(&node, nr, first, 2);
			set_key(&node, i, first + 2 * ((uint64_t)i - 1)); /* as the one before it */
			expect_order(&node, nr, false);
			set_key(&node, i, first + 2 * ((uint64_t)i - 1) - 1);
			expect_order(&node, nr, false);
			set_key(&node, i, first ^ UINT64_C(1) << 63);
			expect_order(&node, nr, i == nr - 1 && first < UINT64_C(1) << 63);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_has_blocks_that_follow_each_other_and_one_time),
		cmocka_unit_test(one_bit_of_one_mapping_makes_it_none),
		cmocka_unit_test(a_row_past_the_greatest_block_is_no_run),
		cmocka_unit_test(one_mapping_is_found_wherever_it_is),
		cmocka_unit_test(limits_may_be_the_least_and_the_greatest),
		cmocka_unit_test(keys_that_ascend_do_however_great_and_far_apart_they_are),
		cmocka_unit_test(one_key_out_of_order_is_found_wherever_it_is),
	};

	rng = random_begin();
	if (!tp_scan_has_wide())
		printf("this machine has no wide vectors: the narrow ones are all that is tested\n");
	return cmocka_run_group_tests_name("check/scan", tests, NULL, NULL);
}
