/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/op_queue/test_history.c - defects that implementations before this one had, as far as a queue by itself shows them.
 */
#include "unit/op_queue/model.h"

#include <thinp/error.h>

#include <stdlib.h>

#include <cmocka.h>

#include "unit/base/random.h"

static const char *const keeping[] = {"fifo", "coalescing", "sorted"};

static struct thinp_opq *queue_of(const char *name)
{
	struct thinp_opq *queue;

	assert_int_equal(thinp_opq_create(thinp_opq_policy_by_name(name), NULL, &queue), 0);
	return queue;
}

static void put(struct thinp_opq *queue, uint32_t kind, uint64_t first, uint64_t number)
{
	struct thinp_op op = op_of(kind, first, 1, number);

	assert_int_equal(thinp_opq_push(queue, &op), 0);
}

/* What was pending when the pool of 2014 was lost: three children of a node are shadowed, the second copy is freed. */
static void put_merge_of_2014(struct thinp_opq *queue)
{
	static const uint64_t blocks[] = {5821, 5816, 5822, 5817, 5823, 5819, 5824, 5813, 5825, 5818, 5823};

	for (unsigned i = 0; i < 11; i++)
		put(queue, i % 2 || i == 10 ? THINP_OP_DEC : THINP_OP_INC, blocks[i], i + 1);
}

/* Counts before: those of old blocks are 1, those of new blocks 0. */
static uint32_t count_of_2014(uint64_t block)
{
	return block < 5820;
}

static void SMM_01_lifo_refuses_the_dec_of_a_fresh_block_before_its_inc(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct thinp_opq *queue = queue_of("lifo");
	struct thinp_op op;

	(void)state;
	put_merge_of_2014(queue);
	assert_int_equal(thinp_opq_pop(queue, &op), THINP_EREFCOUNT);
	thinp_error_last(&info);
	assert_int_equal(info.block, 5823);
	assert_string_equal(info.message, "lifo: op 11, DEC of block 5823, overtook what was put in before it");
	thinp_opq_destroy(queue);
}

static void SMM_01_inc_then_dec_of_one_block_is_refused_by_lifo_only(void **state)
{
	struct thinp_opq *queue = queue_of("lifo");
	struct thinp_op op;

	(void)state;
	put(queue, THINP_OP_INC, 7, 1);
	put(queue, THINP_OP_DEC, 7, 2);
	assert_int_equal(thinp_opq_delta(queue, 7), 0);
	assert_int_equal(thinp_opq_pop(queue, &op), THINP_EREFCOUNT);
	thinp_opq_destroy(queue);
	for (unsigned n = 0; n < 3; n++) {
		queue = queue_of(keeping[n]);
		put(queue, THINP_OP_INC, 7, 1);
		put(queue, THINP_OP_DEC, 7, 2);
		while (!thinp_opq_is_empty(queue))
			assert_int_equal(thinp_opq_pop(queue, &op), 0);
		thinp_opq_destroy(queue);
	}
}

static void SMM_01_no_count_falls_below_zero_in_any_order_but_lifo(void **state)
{
	int64_t counts[16];
	struct thinp_op op;

	(void)state;
	for (unsigned n = 0; n < 3; n++) {
		struct thinp_opq *queue = queue_of(keeping[n]);

		for (unsigned i = 0; i < 16; i++)
			counts[i] = count_of_2014(5810 + i);
		put_merge_of_2014(queue);
		while (!thinp_opq_is_empty(queue)) {
			assert_int_equal(thinp_opq_pop(queue, &op), 0);
			for (uint64_t i = op.first - 5810; i < op.first - 5810 + op.nr_blocks; i++) {
				counts[i] += op.kind == THINP_OP_INC ? 1 : -1;
				assert_true(counts[i] >= 0);
			}
		}
		for (unsigned i = 0; i < 16; i++) {
			static const int64_t wanted[16] = {1, 1, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 1, 1};

			assert_int_equal(counts[i], wanted[i]);
		}
		thinp_opq_destroy(queue);
	}
}

/* Whoever applies an operation as soon as it is out finds that counts and queue always add up to all that was issued, also
 * while further ones are put in between. */
static void SMM_02_each_operation_counts_exactly_once_at_every_instant(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (unsigned n = 0; n < 3; n++) {
		struct thinp_opq *queue = queue_of(keeping[n]);
		int64_t issued[32] = {0}, counts[32] = {0};

		for (unsigned step = 0; step < 20000; step++) {
			uint64_t first = random_next(&rng) % 32;
			struct thinp_op op = op_of(random_next(&rng) % 2 ? THINP_OP_INC : THINP_OP_DEC, first,
						   1 + random_next(&rng) % (32 - first), step);
			bool is_in = random_next(&rng) % 2 && thinp_opq_nr_pending(queue) < 40 &&
				     thinp_opq_push(queue, &op) == 0;
			int64_t *changed = is_in ? issued : counts;

			if (!is_in && thinp_opq_is_empty(queue))
				continue;
			if (!is_in)
				assert_int_equal(thinp_opq_pop(queue, &op), 0);
			for (uint64_t i = op.first; i < op.first + op.nr_blocks; i++)
				changed[i] += op.kind == THINP_OP_INC ? 1 : -1;
			for (unsigned i = 0; i < 32; i++)
				assert_int_equal(counts[i] + thinp_opq_delta(queue, i), issued[i]);
		}
		thinp_opq_destroy(queue);
	}
}

static void SMM_07_the_queue_grows_to_100000_pending(void **state)
{
	const uint64_t nr = 100000;
	struct thinp_op op;

	(void)state;
	for (unsigned n = 0; n < 3; n++) {
		struct thinp_opq *queue = queue_of(keeping[n]);

		for (uint64_t i = 0; i < nr; i++) /* scattered, no two neighbours, one in two blocks twice */
			put(queue, THINP_OP_INC, i * 7919 % (nr / 4 * 3) * 2, i);
		assert_int_equal(thinp_opq_nr_pending(queue), nr);
		for (uint64_t i = 0; i < nr; i++) {
			assert_false(thinp_opq_is_empty(queue));
			assert_int_equal(thinp_opq_pop(queue, &op), 0);
			assert_int_equal(op.nr_blocks, 1);
			if (n == 0)
				assert_int_equal(op.number, i);
		}
		assert_true(thinp_opq_is_empty(queue));
		thinp_opq_destroy(queue);
	}
}

static void SMM_08_the_delta_is_the_sum_of_what_is_pending(void **state)
{
	static const char *const all[] = {"fifo", "coalescing", "sorted", "lifo"};

	(void)state;
	for (unsigned n = 0; n < 4; n++) {
		struct thinp_opq *queue = queue_of(all[n]);

		put(queue, THINP_OP_INC, 1, 1); /* +1 */
		put(queue, THINP_OP_DEC, 2, 2); /* -1 */
		put(queue, THINP_OP_INC, 3, 3); /* +1-1 */
		put(queue, THINP_OP_DEC, 3, 4);
		put(queue, THINP_OP_INC, 4, 5); /* two +1 */
		put(queue, THINP_OP_INC, 4, 6);
		assert_int_equal(thinp_opq_delta(queue, 0), 0);
		assert_int_equal(thinp_opq_delta(queue, 1), 1);
		assert_int_equal(thinp_opq_delta(queue, 2), -1);
		assert_int_equal(thinp_opq_delta(queue, 3), 0);
		assert_int_equal(thinp_opq_delta(queue, 4), 2);
		assert_int_equal(thinp_opq_delta(queue, 5), 0);
		thinp_opq_destroy(queue);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(SMM_01_lifo_refuses_the_dec_of_a_fresh_block_before_its_inc),
		cmocka_unit_test(SMM_01_inc_then_dec_of_one_block_is_refused_by_lifo_only),
		cmocka_unit_test(SMM_01_no_count_falls_below_zero_in_any_order_but_lifo),
		cmocka_unit_test(SMM_02_each_operation_counts_exactly_once_at_every_instant),
		cmocka_unit_test(SMM_07_the_queue_grows_to_100000_pending),
		cmocka_unit_test(SMM_08_the_delta_is_the_sum_of_what_is_pending),
	};

	return cmocka_run_group_tests_name("op_queue/history", tests, NULL, NULL);
}
