/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Arrays and bitsets of every length, against a plain array.
 */
#include "support/image_array.h"
#include "support/image_expect.h"
#include "support/image_trial.h"

#define NR_OF(array) (sizeof(array) / sizeof((array)[0]))

static const uint8_t *value_of(const struct array *array, uint64_t i)
{
	return array->values + i * array->type.value_size;
}

/* --- one value ------------------------------------------------------------------------------------------------------- */

static void expect_get(struct array *array, uint64_t i)
{
	uint8_t value[THINP_BLOCK_SIZE];
	int r;

	memset(value, 0xa5, sizeof(value));
	r = thinp_array_get(array->reader.reader, &array->type, array->root, i, value);
	if (i < array->nr) {
		assert_int_equal(r, 0);
		assert_memory_equal(value, value_of(array, i), array->type.value_size);
	} else {
		expect_failure(r, THINP_ENODATA, THINP_NO_BLOCK, "the array has no value");
		assert_int_equal(value[0], 0xa5);
	}
	assert_int_equal(value[array->type.value_size], 0xa5);
}

static void expect_all_values(struct array *array)
{
	static const uint64_t behind[] = {0, 1, 507, 508, 509, 510, 1017, 1018, 100000, UINT64_C(1) << 32};

	for (uint64_t i = 0; i < array->nr; i++)
		expect_get(array, i);
	for (size_t i = 0; i < NR_OF(behind); i++)
		expect_get(array, array->nr + behind[i]);
	expect_get(array, UINT64_MAX);
	expect_get(array, UINT64_MAX - 1);
	expect_get(array, UINT64_C(1) << 63);
}

static void expect_nr_values(struct array *array)
{
	uint64_t nr = 77;

	assert_int_equal(thinp_array_nr_values(array->reader.reader, &array->type, array->root, &nr), 0);
	assert_int_equal(nr, array->nr);
}

/* --- walks ----------------------------------------------------------------------------------------------------------- */

struct receiver {
	struct array *array;
	uint64_t next;
	size_t nr_spans, stop_at;
	int stop_with;
};

static int take(void *ctx, const struct thinp_array_span *span)
{
	struct receiver *receiver = ctx;
	struct array *array = receiver->array;

	assert_int_equal(span->size, sizeof(*span));
	assert_int_equal(span->value_size, array->type.value_size);
	assert_int_equal(span->begin, receiver->next);
	assert_true(span->nr_values > 0 && span->begin + span->nr_values <= array->nr);
	assert_memory_equal(span->values_le, value_of(array, span->begin), span->nr_values * span->value_size);
	assert_int_equal(image_get64(&array->image, span->block, ARRAY_ADDRESS), span->block);
	receiver->next += span->nr_values;
	return ++receiver->nr_spans == receiver->stop_at ? receiver->stop_with : 0;
}

static int walk(struct array *array, uint64_t begin, uint64_t end, struct receiver *receiver)
{
	*receiver = (struct receiver){
		.array = array, .next = begin, .stop_at = receiver->stop_at, .stop_with = receiver->stop_with};
	return thinp_array_walk(array->reader.reader, &array->type, array->root, begin, end, take, receiver);
}

static void expect_walk(struct array *array, uint64_t begin, uint64_t end)
{
	struct receiver receiver = {.stop_at = 0};
	int r = walk(array, begin, end, &receiver);

	if (begin < end && end > array->nr) {
		assert_int_equal(r, THINP_ENODATA);
		expect_detail(r);
		return;
	}
	assert_int_equal(r, 0);
	assert_int_equal(receiver.next, begin < end ? end : begin);
}

static void expect_all_of(struct array *array)
{
	expect_all_values(array);
	expect_nr_values(array);
	expect_walk(array, 0, array->nr);
	expect_walk(array, 0, array->nr + 1);
	expect_walk(array, array->nr, array->nr);
	expect_walk(array, array->nr, array->nr + 1);
	expect_walk(array, 0, UINT64_MAX);
	expect_walk(array, UINT64_MAX - 1, UINT64_MAX);
	expect_walk(array, 5, 3);
	expect_walk(array, array->nr / 2, array->nr);
}

/* --- lengths and sizes ----------------------------------------------------------------------------------------------- */

static void arrays_of_every_length_are_read(void **state)
{
	static const uint64_t lengths[] = {0, 1, 2, 508, 509, 510, 1017, 1018, 1019, 1018 * 3 + 7};
	static const uint32_t sizes[] = {4, 8};
	const struct tree_shape shape = {0};

	(void)state;
	for (size_t s = 0; s < NR_OF(sizes); s++)
		for (size_t l = 0; l < NR_OF(lengths); l++) {
			struct array array;

			array_open(&array, &shape, sizes[s], lengths[l], 20);
			expect_all_of(&array);
			array_close(&array);
		}
}

static void values_of_every_size_are_read(void **state)
{
	static const uint32_t sizes[] = {1, 2, 3, 5, 12, 16, 24, 100, 509, 2036, 2037, 4071, 4072};
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2};

	(void)state;
	for (size_t s = 0; s < NR_OF(sizes); s++) {
		uint32_t per_block = image_array_per_block(sizes[s]);
		struct array array;

		array_open(&array, &shape, sizes[s], 3 * (uint64_t)per_block + per_block / 2, 1);
		expect_nr_values(&array);
		expect_walk(&array, 0, array.nr);
		for (uint64_t i = 0; i < array.nr + 2; i += 1 + per_block / 7)
			expect_get(&array, i);
		array_close(&array);
	}
}

static void AR_06_every_range_about_the_borders_of_three_blocks_is_walked(void **state)
{
	const struct tree_shape shape = {0};
	uint64_t near[24];
	struct array array;
	size_t nr = 0;

	(void)state;
	array_open(&array, &shape, 8, 3 * 509, 2);
	for (uint64_t border = 0; border <= 3; border++)
		for (uint64_t i = 0; i < 5; i++)
			if (border * 509 + i >= 2)
				near[nr++] = border * 509 + i - 2;
	for (size_t i = 0; i < nr; i++)
		for (size_t j = 0; j < nr; j++)
			expect_walk(&array, near[i], near[j]);
	array_close(&array);
}

static void an_array_is_read_with_a_cache_of_any_size(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};

	(void)state;
	for (uint32_t cache_blocks = 1; cache_blocks <= 64; cache_blocks *= 2) {
		struct thinp_bm_stats stats = {.size = sizeof(stats)};
		struct array array;

		array_open(&array, &shape, 8, 30 * 509, cache_blocks);
		expect_walk(&array, 0, array.nr);
		for (uint64_t i = 0; i < array.nr; i += 100)
			expect_get(&array, i);
		thinp_bm_get_stats(array.reader.bm, &stats);
		assert_int_equal(stats.uncached, 0);
		array_close(&array);
	}
}

static void what_the_callback_returns_is_returned(void **state)
{
	static const int results[] = {1, -1, INT32_MIN, THINP_ENODATA, THINP_ECORRUPT, THINP_ECANCELED};
	const struct tree_shape shape = {.per_leaf = 2};
	struct array array;

	(void)state;
	array_open(&array, &shape, 8, 4 * 509, 8);
	for (size_t i = 0; i < NR_OF(results); i++)
		for (size_t stop_at = 1; stop_at <= 4; stop_at++) {
			struct receiver receiver = {.stop_at = stop_at, .stop_with = results[i]};

			assert_int_equal(walk(&array, 0, array.nr, &receiver), results[i]);
			assert_int_equal(receiver.nr_spans, stop_at);
		}
	array_close(&array);
}

static int walk_again(void *ctx, const struct thinp_array_span *span)
{
	struct receiver *receiver = ctx;
	struct array *array = receiver->array;

	expect_walk(array, 0, array->nr);
	return take(ctx, span);
}

static void the_callback_may_walk_the_same_array(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2};

	(void)state;
	for (uint32_t cache_blocks = 1; cache_blocks <= 3; cache_blocks++) {
		struct receiver receiver;
		struct array array;

		array_open(&array, &shape, 8, 4 * 509, cache_blocks);
		receiver = (struct receiver){.array = &array};
		assert_int_equal(thinp_array_walk(array.reader.reader, &array.type, array.root, 0, array.nr, walk_again,
						  &receiver),
				 0);
		assert_int_equal(receiver.next, array.nr);
		array_close(&array);
	}
}

/* --- bitsets --------------------------------------------------------------------------------------------------------- */

static void every_bit_of_a_bitset_is_told(void **state)
{
	const struct tree_shape shape = {0};
	struct array array;

	(void)state;
	array_open(&array, &shape, 8, 2 * 509 + 3, 8);
	for (uint64_t bit = 0; bit < array.nr * 64; bit += bit < 200 || bit > 508 * 64 ? 1 : 13) {
		bool is_set;

		assert_int_equal(thinp_bitset_test(array.reader.reader, array.root, bit, &is_set), 0);
		assert_int_equal(is_set, array.values[bit / 8] >> bit % 8 & 1);
	}
	array_close(&array);
}

static void a_bit_behind_the_last_word_is_not_there(void **state)
{
	const struct tree_shape shape = {0};

	(void)state;
	for (uint64_t nr_words = 0; nr_words <= 510; nr_words += 255) {
		const uint64_t behind[] = {nr_words * 64, nr_words * 64 + 1, UINT64_C(1) << 40, UINT64_MAX};
		struct array array;

		array_open(&array, &shape, 8, nr_words, 8);
		for (size_t i = 0; i < NR_OF(behind); i++) {
			bool is_set = true;

			assert_int_equal(thinp_bitset_test(array.reader.reader, array.root, behind[i], &is_set),
					 THINP_ENODATA);
			assert_true(is_set);
		}
		array_close(&array);
	}
}

/* --- types and failures ---------------------------------------------------------------------------------------------- */

static void types_that_no_array_can_have_are_refused(void **state)
{
	static const struct thinp_array_type bad[] = {
		{.size = sizeof(bad[0]), .value_size = 0},
		{.size = sizeof(bad[0]), .value_size = 4073},
		{.size = sizeof(bad[0]), .value_size = UINT32_MAX},
		{.size = sizeof(bad[0]), .value_size = 8, .reserved = 1},
		{.size = 0, .value_size = 8},
	};
	const struct tree_shape shape = {0};
	struct array array;

	(void)state;
	array_open(&array, &shape, 8, 3, 8);
	for (size_t i = 0; i < NR_OF(bad); i++) {
		struct receiver receiver = {.array = &array};
		uint64_t nr = 77;
		uint8_t value[8];

		assert_int_equal(thinp_array_get(array.reader.reader, &bad[i], array.root, 0, value), THINP_EINVAL);
		expect_detail(THINP_EINVAL);
		assert_int_equal(thinp_array_nr_values(array.reader.reader, &bad[i], array.root, &nr), THINP_EINVAL);
		assert_int_equal(nr, 77);
		assert_int_equal(thinp_array_walk(array.reader.reader, &bad[i], array.root, 0, 1, take, &receiver),
				 THINP_EINVAL);
	}
	array_close(&array);
}

/* Structs of an older and of a newer caller. */
static void arrays_are_read_by_shorter_and_longer_types(void **state)
{
	struct {
		struct thinp_array_type known;
		uint64_t unknown;
	} type = {.known = {.size = sizeof(type), .value_size = 8}};
	const struct tree_shape shape = {0};
	struct array array;
	uint8_t value[8];

	(void)state;
	array_open(&array, &shape, 8, 3, 8);
	assert_int_equal(thinp_array_get(array.reader.reader, &type.known, array.root, 2, value), 0);
	type.unknown = 1;
	assert_int_equal(thinp_array_get(array.reader.reader, &type.known, array.root, 2, value), THINP_ENOTSUP);
	type.known.size = offsetof(struct thinp_array_type, reserved);
	assert_int_equal(thinp_array_get(array.reader.reader, &type.known, array.root, 2, value), 0);
	type.known.size = sizeof(size_t); /* knows no sizes, so it has one of 0 */
	assert_int_equal(thinp_array_get(array.reader.reader, &type.known, array.root, 2, value), THINP_EINVAL);
	assert_int_equal(thinp_array_get(array.reader.reader, NULL, array.root, 2, value), THINP_EINVAL);
	array_close(&array);
}

static void calls_that_succeed_leave_the_detail_record_alone(void **state)
{
	const struct tree_shape shape = {.per_leaf = 1};

	(void)state;
	for (uint64_t nr = 0; nr <= 3 * 509; nr += 509) {
		struct array array;

		array_open(&array, &shape, 8, nr, 50);
		detail_mark();
		expect_nr_values(&array);
		expect_walk(&array, 0, nr);
		for (uint64_t i = 0; i < nr; i += 100)
			expect_get(&array, i);
		expect_detail_untouched();
		array_close(&array);
	}
}

static int use_array(struct image_trial *trial)
{
	struct array *array = trial->handle;
	struct receiver receiver = {.array = array};
	struct thinp_reader *reader = trial->reader.reader;
	uint8_t value[8];
	uint64_t nr;
	bool is_set;
	int r = thinp_array_get(reader, &array->type, array->root, 600, value);

	if (!r) {
		assert_memory_equal(value, value_of(array, 600), 8);
		r = thinp_array_nr_values(reader, &array->type, array->root, &nr);
	}
	if (!r) {
		assert_int_equal(nr, array->nr);
		r = thinp_bitset_test(reader, array->root, 6400, &is_set);
	}
	if (!r)
		r = thinp_array_walk(reader, &array->type, array->root, 0, array->nr, take, &receiver);
	assert_true(r || receiver.next == array->nr);
	return r;
}

static void they_survive_failing_reads_and_allocations(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2};
	struct image_trial trial;
	struct array array;

	(void)state;
	array_open(&array, &shape, 8, 3 * 509 + 1, 8);
	trial = image_trial_of_reader(&array.image, use_array, NULL);
	trial.handle = &array;
	image_trial_run(&trial);
	array_close(&array);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arrays_of_every_length_are_read),
		cmocka_unit_test(values_of_every_size_are_read),
		cmocka_unit_test(AR_06_every_range_about_the_borders_of_three_blocks_is_walked),
		cmocka_unit_test(an_array_is_read_with_a_cache_of_any_size),
		cmocka_unit_test(what_the_callback_returns_is_returned),
		cmocka_unit_test(the_callback_may_walk_the_same_array),
		cmocka_unit_test(every_bit_of_a_bitset_is_told),
		cmocka_unit_test(a_bit_behind_the_last_word_is_not_there),
		cmocka_unit_test(types_that_no_array_can_have_are_refused),
		cmocka_unit_test(arrays_are_read_by_shorter_and_longer_types),
		cmocka_unit_test(calls_that_succeed_leave_the_detail_record_alone),
		cmocka_unit_test(they_survive_failing_reads_and_allocations),
	};

	return cmocka_run_group_tests_name("array/read", tests, NULL, NULL);
}
