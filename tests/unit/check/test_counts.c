/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Counting data blocks, against an array of plain numbers.
 */
#include "check/counts.h"
#include "check/scan.h"

#include "base/bytes.h"
#include "support/alloc_counting.h"

#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit/base/random.h"

#define NR_BLOCKS 100000u /* more than three chunks */
#define MAX_LEAF  252u

static uint64_t rng;

struct fixture {
	struct alloc_counting alloc;
	struct tp_memory memory;
	struct tp_counts counts[2];
	uint32_t *model;
	bool *is_alone;
};

/* Few blocks, or room for many of which few are there: they are counted in different ways. */
static uint64_t few_or_many(void)
{
	return random_next(&rng) % 2 ? NR_BLOCKS : TP_COUNTS_FEW + 1;
}

static void begin(struct fixture *f)
{
	uint64_t nr_blocks = few_or_many();

	memset(f, 0, sizeof(*f));
	alloc_counting_init(&f->alloc);
	f->memory.allocator = f->alloc.table;
	f->model = calloc(NR_BLOCKS, sizeof(*f->model));
	f->is_alone = calloc(NR_BLOCKS, sizeof(*f->is_alone));
	assert_non_null(f->model);
	assert_non_null(f->is_alone);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(tp_counts_init(&f->counts[i], &f->memory, nr_blocks), 0);
}

static void end(struct fixture *f)
{
	for (size_t i = 0; i < 2; i++)
		tp_counts_exit(&f->counts[i]);
	free(f->model);
	free(f->is_alone);
	alloc_counting_check(&f->alloc);
	assert_int_equal(f->memory.used, 0);
}

/* A leaf: scattered blocks, blocks in a row, or few blocks again and again. */
static size_t make_leaf(uint8_t *values_le, uint32_t time)
{
	size_t nr = 1 + random_next(&rng) % MAX_LEAF;
	uint64_t first = random_next(&rng) % (NR_BLOCKS - MAX_LEAF);
	uint64_t kind = random_next(&rng) % 3;

	for (size_t i = 0; i < nr; i++) {
		uint64_t block = kind == 0   ? random_next(&rng) % NR_BLOCKS
				 : kind == 1 ? first + i
					     : random_next(&rng) % 50;

		tp_store_le64(values_le + 8 * i, block << 24 | (kind == 1 ? time : random_next(&rng) % 10));
	}
	return nr;
}

static int add_as_run(struct tp_counts *counts, const uint8_t *values_le, size_t nr, uint32_t alone_from)
{
	uint64_t first = tp_load_le64(values_le);

	return tp_counts_add_run(counts, first >> 24, (first >> 24) + nr, (first & 0xffffff) >= alone_from);
}

static void add_leaf(struct fixture *f, struct tp_counts *counts)
{
	uint8_t values[8 * MAX_LEAF];
	size_t nr = make_leaf(values, (uint32_t)(random_next(&rng) % 10));
	uint32_t alone_from = random_next(&rng) % 4 ? (uint32_t)(random_next(&rng) % 12) : UINT32_MAX;

	if (tp_scan_is_run(values, nr) && random_next(&rng) % 2)
		assert_int_equal(add_as_run(counts, values, nr, alone_from), 0);
	else
		assert_int_equal(tp_counts_add(counts, values, nr, alone_from), 0);
	for (size_t i = 0; i < nr; i++) {
		uint64_t value = tp_load_le64(values + 8 * i);

		f->model[value >> 24]++;
		f->is_alone[value >> 24] |= (value & 0xffffff) >= alone_from;
	}
}

static void expect_equal(const struct fixture *f, const struct tp_counts *counts)
{
	uint64_t nr_found = 0;
	struct tp_counts none = {.nr_chunks = 0};

	for (uint32_t b = 0; b < NR_BLOCKS; b++) {
		uint64_t bits = tp_counts_word(counts, b / 16) >> b % 16 * 4 & 15;

		assert_int_equal(tp_counts_get(counts, b), f->model[b]);
		assert_int_equal(bits & 7, f->model[b] < 7 ? f->model[b] : 7);
		assert_int_equal(bits >> 3, f->is_alone[b]);
		nr_found += f->model[b] != 0;
	}
	assert_int_equal(tp_counts_nr_found(counts, &none), nr_found);
	assert_int_equal(tp_counts_nr_found(&none, counts), nr_found);
}

static void counts_are_those_of_a_plain_array(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	for (unsigned i = 0; i < 3000; i++) {
		add_leaf(&f, &f.counts[0]);
		if (i % 1000 == 0) {
			assert_int_equal(tp_counts_flush(&f.counts[0]), 0);
			expect_equal(&f, &f.counts[0]);
		}
	}
	assert_int_equal(tp_counts_flush(&f.counts[0]), 0);
	expect_equal(&f, &f.counts[0]);
	end(&f);
}

static void TOOL_01_counts_of_two_tasks_are_their_sum(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 5; round++) {
		struct fixture f;

		begin(&f);
		for (unsigned i = 0; i < 200u << round; i++)
			add_leaf(&f, &f.counts[random_next(&rng) % 2]);
		assert_int_equal(tp_counts_flush(&f.counts[0]), 0);
		assert_int_equal(tp_counts_flush(&f.counts[1]), 0);
		assert_int_equal(tp_counts_join(&f.counts[0], &f.counts[1]), 0);
		expect_equal(&f, &f.counts[0]);
		end(&f);
	}
}

/* The first task has the first two chunks, the second one the others; one block of each is there very often. */
static void chunks_that_one_task_has_change_hands(void **state)
{
	struct fixture f;
	uint8_t value[8];

	(void)state;
	begin(&f);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t block = i % 4 ? random_next(&rng) % NR_BLOCKS : i % 3 * (NR_BLOCKS / 2 - 1);

		tp_store_le64(value, block << 24);
		assert_int_equal(tp_counts_add(&f.counts[block >= 2 * TP_COUNTS_CHUNK], value, 1, 1), 0);
		f.model[block]++;
	}
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(tp_counts_flush(&f.counts[i]), 0);
	assert_int_equal(tp_counts_join(&f.counts[0], &f.counts[1]), 0);
	expect_equal(&f, &f.counts[0]);
	end(&f);
}

struct attempt {
	struct alloc_counting alloc;
	uint64_t nr_blocks;
};

static int count_some(void *ctx)
{
	const struct attempt *attempt = ctx;
	struct tp_memory memory = {.allocator = attempt->alloc.table};
	struct tp_counts counts[2] = {{.memory = NULL}, {.memory = NULL}};
	uint64_t before = rng;
	uint8_t values[8 * MAX_LEAF];
	int r = tp_counts_init(&counts[0], &memory, attempt->nr_blocks);

	rng = 12345;
	if (!r)
		r = tp_counts_init(&counts[1], &memory, attempt->nr_blocks);
	for (unsigned i = 0; !r && i < 400; i++) {
		size_t nr = make_leaf(values, 3);

		r = tp_scan_is_run(values, nr) ? add_as_run(&counts[i % 2], values, nr, 5)
					       : tp_counts_add(&counts[i % 2], values, nr, 5);
	}
	if (!r)
		r = tp_counts_flush(&counts[0]);
	if (!r)
		r = tp_counts_flush(&counts[1]);
	if (!r)
		r = tp_counts_join(&counts[0], &counts[1]);
	tp_counts_exit(&counts[0]);
	tp_counts_exit(&counts[1]);
	rng = before;
	return r;
}

static void every_allocation_may_fail(void **state)
{
	static const uint64_t nr_blocks[] = {NR_BLOCKS, TP_COUNTS_FEW + 1};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct attempt attempt = {.nr_blocks = nr_blocks[i]};

		alloc_counting_init(&attempt.alloc);
		alloc_counting_loop(&attempt.alloc, count_some, &attempt);
	}
}

static void add_block(struct tp_counts *counts, uint64_t block, int expected)
{
	uint8_t value[8];

	tp_store_le64(value, block << 24);
	assert_int_equal(tp_counts_add(counts, value, 1, 0), expected);
}

static void TOOL_32_a_limit_of_memory_holds(void **state)
{
	struct alloc_counting alloc;
	struct tp_memory memory = {.limit = 60000};
	struct tp_counts counts;

	(void)state;
	alloc_counting_init(&alloc);
	memory.allocator = alloc.table;
	assert_int_equal(tp_counts_init(&counts, &memory, TP_COUNTS_FEW + 1), 0);
	add_block(&counts, 0, 0);
	add_block(&counts, 40000, 0);
	add_block(&counts, 80000, THINP_ENOMEM);
	assert_true(alloc.peak_bytes <= memory.limit);
	tp_counts_exit(&counts);
	alloc_counting_check(&alloc);
}

static void TOOL_32_a_limit_of_memory_holds_for_few_blocks(void **state)
{
	struct alloc_counting alloc;
	struct tp_memory memory = {.limit = 30000};
	struct tp_counts counts;

	(void)state;
	alloc_counting_init(&alloc);
	memory.allocator = alloc.table;
	assert_int_equal(tp_counts_init(&counts, &memory, NR_BLOCKS), 0);
	add_block(&counts, 0, 0);
	add_block(&counts, 40000, 0);
	assert_int_equal(tp_counts_flush(&counts), THINP_ENOMEM); /* room for one chunk of counts only */
	assert_true(alloc.peak_bytes <= memory.limit);
	tp_counts_exit(&counts);
	alloc_counting_check(&alloc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_are_those_of_a_plain_array),
		cmocka_unit_test(TOOL_01_counts_of_two_tasks_are_their_sum),
		cmocka_unit_test(chunks_that_one_task_has_change_hands),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(TOOL_32_a_limit_of_memory_holds),
		cmocka_unit_test(TOOL_32_a_limit_of_memory_holds_for_few_blocks),
	};

	rng = random_begin();
	return cmocka_run_group_tests_name("check/counts", tests, NULL, NULL);
}
