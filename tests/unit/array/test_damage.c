/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Damaged arrays. Three blocks of values: 509, 509 and 100 of 8 bytes; the tree is one leaf.
 */
#include "support/image_array.h"
#include "support/image_expect.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

enum { PER_BLOCK = 509, NR_VALUES = 2 * PER_BLOCK + 100 };

/* With one block nothing is fetched ahead; the other cache holds everything. */
static const uint32_t caches[] = {1, 100};

static void open_three(struct array *array, uint32_t cache_blocks)
{
	const struct tree_shape shape = {0};

	array_open(array, &shape, 8, NR_VALUES, cache_blocks);
}

static int get(struct array *array, uint64_t i)
{
	uint8_t value[8];

	return thinp_array_get(array->reader.reader, &array->type, array->root, i, value);
}

static int test_bit(struct array *array, uint64_t i)
{
	bool is_set;

	return thinp_bitset_test(array->reader.reader, array->root, i * 64 + 5, &is_set);
}

static int count(void *ctx, const struct thinp_array_span *span)
{
	*(uint64_t *)ctx += span->nr_values;
	return 0;
}

static int walk(struct array *array, uint64_t begin, uint64_t end, uint64_t *nr)
{
	*nr = 0;
	return thinp_array_walk(array->reader.reader, &array->type, array->root, begin, end, count, nr);
}

static int nr_values(struct array *array)
{
	uint64_t nr;

	return thinp_array_nr_values(array->reader.reader, &array->type, array->root, &nr);
}

/* Whatever touches the block says so; the blocks before and behind it are still read. */
static void expect_block_damaged(struct array *array, uint32_t number, thinp_block_t block, const char *words)
{
	const uint64_t begin = (uint64_t)number * PER_BLOCK;
	uint64_t nr;

	expect_corrupt(get(array, begin), block, words);
	expect_corrupt(get(array, begin + 99), block, words);
	expect_corrupt(test_bit(array, begin), block, words);
	expect_corrupt(walk(array, 0, NR_VALUES, &nr), block, words);
	assert_int_equal(nr, begin);
	expect_corrupt(walk(array, begin + 99, begin + 100, &nr), block, words);
	assert_int_equal(nr, 0);
	if (number == 2)
		expect_corrupt(nr_values(array), block, words);
	else
		assert_int_equal(nr_values(array), 0);
	for (uint32_t other = 0; other < 3; other++)
		if (other != number)
			assert_int_equal(get(array, (uint64_t)other * PER_BLOCK + 50), 0);
}

/* Nothing stays pinned: the one buffer of a cache of one block can be used for another block. */
static void expect_nothing_held(struct array *array)
{
	struct thinp_bm_stats stats = {.size = sizeof(stats)};

	thinp_bm_get_stats(array->reader.bm, &stats);
	assert_int_equal(stats.uncached, 0);
}

/* --- fields ---------------------------------------------------------------------------------------------------------- */

struct bad_field {
	size_t offset;
	uint32_t value;
	const char *words;
};

static void AR_07_every_bad_field_of_a_block_is_found(void **state)
{
	static const struct bad_field fields[] = {
		{ARRAY_NR_ENTRIES, 510, "510 entries, but room for 509"},
		{ARRAY_NR_ENTRIES, UINT32_MAX, "4294967295 entries"},
		{ARRAY_MAX_ENTRIES, 508, "room for 508"},
		{ARRAY_MAX_ENTRIES, 0, "room for 0"},
		{ARRAY_MAX_ENTRIES, UINT32_MAX, "room for 4294967295"},
		{ARRAY_VALUE_SIZE, 4, "room for 509 values of 4 bytes"},
		{ARRAY_VALUE_SIZE, 0, "values of 0 bytes"},
		{ARRAY_VALUE_SIZE, UINT32_MAX, "values of 4294967295 bytes"},
		{ARRAY_ADDRESS, 77, "misplaced"},
	};

	(void)state;
	for (size_t f = 0; f < NR_OF(fields); f++)
		for (size_t c = 0; c < NR_OF(caches); c++)
			for (uint32_t number = 0; number < 3; number++) {
				struct array array;
				thinp_block_t block;

				open_three(&array, caches[c]);
				block = array_block(&array, number);
				image_set32(&array.image, block, fields[f].offset, fields[f].value);
				expect_block_damaged(&array, number, block, fields[f].words);
				expect_nothing_held(&array);
				array_close(&array);
			}
}

/* All fields agree with each other, but not with the array. */
static void AR_07_a_block_of_values_of_another_size_is_refused(void **state)
{
	struct array array;
	thinp_block_t block;

	(void)state;
	open_three(&array, 8);
	block = array_block(&array, 1);
	image_set32(&array.image, block, ARRAY_VALUE_SIZE, 4);
	image_set32(&array.image, block, ARRAY_MAX_ENTRIES, 1018);
	expect_block_damaged(&array, 1, block, "values of 4 bytes in an array with values of 8 bytes");
	array_close(&array);
}

static void AR_07_an_array_read_as_one_of_another_size_is_refused(void **state)
{
	static const uint32_t sizes[] = {1, 4, 7, 16, 4072};
	struct array array;

	(void)state;
	for (size_t i = 0; i < NR_OF(sizes); i++) {
		open_three(&array, 8);
		array.type.value_size = sizes[i];
		expect_corrupt(get(&array, 0), array_block(&array, 0), "in an array with values of");
		expect_corrupt(nr_values(&array), array_block(&array, 2), "in an array with values of");
		array_close(&array);
	}
}

/* --- whole blocks ---------------------------------------------------------------------------------------------------- */

static void AR_04_a_block_with_a_bad_checksum_is_found_and_nothing_is_held_after_it(void **state)
{
	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++)
		for (uint32_t number = 0; number < 3; number++) {
			struct array array;
			thinp_block_t block;

			open_three(&array, caches[c]);
			block = array_block(&array, number);
			image_flip(&array.image, block, 8 * 3000);
			for (int round = 0; round < 3; round++)
				expect_block_damaged(&array, number, block, "checksum");
			expect_nothing_held(&array);
			array_close(&array);
		}
}

static void AR_05_a_damaged_tree_is_found_and_nothing_is_held_after_it(void **state)
{
	struct array array;
	uint64_t nr;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		open_three(&array, caches[c]);
		image_flip(&array.image, array.root, 8 * 3000);
		for (int round = 0; round < 3; round++) {
			expect_corrupt(get(&array, 0), array.root, "checksum");
			expect_corrupt(nr_values(&array), array.root, "checksum");
			expect_corrupt(walk(&array, 0, 10, &nr), array.root, "checksum");
		}
		expect_nothing_held(&array);
		array_close(&array);
	}
}

static void BM_04_a_good_block_of_another_place_is_found(void **state)
{
	struct image_block content;
	struct array array;

	(void)state;
	open_three(&array, 8);
	image_read(&array.image, array_block(&array, 0), &content);
	image_write(&array.image, array_block(&array, 1), &content);
	expect_block_damaged(&array, 1, array_block(&array, 1), "misplaced");
	array_close(&array);
}

static void a_node_in_place_of_a_block_of_values_is_named(void **state)
{
	struct array array;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		open_three(&array, caches[c]);
		tree_set_child(&array.image, array.root, 1, array.root);
		expect_block_damaged(&array, 1, array.root, "holds a valid btree node, expected an array block");
		array_close(&array);
	}
}

static void a_block_of_values_in_place_of_the_tree_is_named(void **state)
{
	struct array array;
	thinp_block_t block;

	(void)state;
	open_three(&array, 8);
	block = array.root = array_block(&array, 0);
	expect_corrupt(get(&array, 0), block, "holds a valid array block, expected a btree node");
	array_close(&array);
}

static void BM_14_a_block_of_values_beyond_the_end_is_refused(void **state)
{
	static const thinp_block_t beyond[] = {1000, 1001, UINT64_C(1) << 40, UINT64_MAX};

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++)
		for (size_t i = 0; i < NR_OF(beyond); i++) {
			struct array array;

			open_three(&array, caches[c]);
			tree_set_child(&array.image, array.root, 1, beyond[i]);
			expect_block_damaged(&array, 1, beyond[i], "beyond the end");
			array_close(&array);
		}
}

/* --- numbers of blocks ----------------------------------------------------------------------------------------------- */

/* Blocks 0, 1, 3: an array cannot have a hole, and a walk sees it. */
static void a_gap_in_the_numbers_is_found_by_a_walk(void **state)
{
	struct array array;
	uint64_t nr;

	(void)state;
	for (size_t c = 0; c < NR_OF(caches); c++) {
		open_three(&array, caches[c]);
		tree_set_key(&array.image, array.root, 2, 3);
		expect_corrupt(walk(&array, 0, 3 * PER_BLOCK + 100, &nr), array.root, "");
		assert_int_equal(nr, 2 * PER_BLOCK);
		assert_int_equal(get(&array, 2 * PER_BLOCK), THINP_ENODATA);
		assert_int_equal(get(&array, 3 * PER_BLOCK), 0);
		array_close(&array);
	}
}

static void a_first_block_that_is_missing_is_found_by_a_walk(void **state)
{
	struct array array;
	uint64_t nr;

	(void)state;
	open_three(&array, 8);
	for (uint32_t i = 3; i--;)
		tree_set_key(&array.image, array.root, i, i + 1);
	expect_corrupt(walk(&array, 0, NR_VALUES, &nr), array.root, "");
	assert_int_equal(nr, 0);
	array_close(&array);
}

static void a_block_that_is_not_full_but_not_the_last_is_found_by_a_walk(void **state)
{
	struct array array;
	uint64_t nr;

	(void)state;
	open_three(&array, 8);
	image_set32(&array.image, array_block(&array, 1), ARRAY_NR_ENTRIES, 508);
	assert_int_equal(walk(&array, 0, 2 * PER_BLOCK - 1, &nr), 0); /* the value that lacks is not asked for */
	expect_corrupt(walk(&array, 0, NR_VALUES, &nr), array_block(&array, 1), "");
	assert_int_equal(nr, PER_BLOCK);
	assert_int_equal(get(&array, 2 * PER_BLOCK - 1), THINP_ENODATA);
	assert_int_equal(get(&array, 2 * PER_BLOCK), 0);
	array_close(&array);
}

static void a_last_block_without_values_ends_the_array(void **state)
{
	struct array array;
	uint64_t nr = 77;

	(void)state;
	open_three(&array, 8);
	image_set32(&array.image, array_block(&array, 2), ARRAY_NR_ENTRIES, 0);
	assert_int_equal(thinp_array_nr_values(array.reader.reader, &array.type, array.root, &nr), 0);
	assert_int_equal(nr, 2 * PER_BLOCK);
	assert_int_equal(get(&array, 2 * PER_BLOCK), THINP_ENODATA);
	assert_int_equal(walk(&array, 0, 2 * PER_BLOCK, &nr), 0);
	assert_int_equal(walk(&array, 0, 2 * PER_BLOCK + 1, &nr), THINP_ENODATA);
	array_close(&array);
}

/* Its values would have numbers beyond 2^64. */
static void a_block_number_that_no_array_can_have_is_damage(void **state)
{
	static const uint64_t numbers[] = {UINT64_MAX, UINT64_MAX / PER_BLOCK + 1, UINT64_C(1) << 60};

	(void)state;
	for (size_t i = 0; i < NR_OF(numbers); i++) {
		struct array array;

		open_three(&array, 8);
		tree_set_key(&array.image, array.root, 2, numbers[i]);
		expect_corrupt(nr_values(&array), array.root, "has number");
		assert_int_equal(get(&array, UINT64_MAX), THINP_ENODATA);
		array_close(&array);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(AR_07_every_bad_field_of_a_block_is_found),
		cmocka_unit_test(AR_07_a_block_of_values_of_another_size_is_refused),
		cmocka_unit_test(AR_07_an_array_read_as_one_of_another_size_is_refused),
		cmocka_unit_test(AR_04_a_block_with_a_bad_checksum_is_found_and_nothing_is_held_after_it),
		cmocka_unit_test(AR_05_a_damaged_tree_is_found_and_nothing_is_held_after_it),
		cmocka_unit_test(BM_04_a_good_block_of_another_place_is_found),
		cmocka_unit_test(a_node_in_place_of_a_block_of_values_is_named),
		cmocka_unit_test(a_block_of_values_in_place_of_the_tree_is_named),
		cmocka_unit_test(BM_14_a_block_of_values_beyond_the_end_is_refused),
		cmocka_unit_test(a_gap_in_the_numbers_is_found_by_a_walk),
		cmocka_unit_test(a_first_block_that_is_missing_is_found_by_a_walk),
		cmocka_unit_test(a_block_that_is_not_full_but_not_the_last_is_found_by_a_walk),
		cmocka_unit_test(a_last_block_without_values_ends_the_array),
		cmocka_unit_test(a_block_number_that_no_array_can_have_is_damage),
	};

	return cmocka_run_group_tests_name("array/damage", tests, NULL, NULL);
}
