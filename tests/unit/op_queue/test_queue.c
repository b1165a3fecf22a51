/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/op_queue/test_queue.c - the contract of the queue: arguments, limits, memory.
 */
#include "support/alloc_counting.h"
#include "unit/op_queue/model.h"

#include <thinp/error.h>

#include <stdlib.h>

#include <cmocka.h>

#include "unit/base/random.h"

static const char *const names[] = {"fifo", "coalescing", "sorted", "lifo"};
#define NR_NAMES 4

static struct thinp_opq *queue_of(const char *name, const struct thinp_allocator *allocator)
{
	struct thinp_opq *queue;

	assert_int_equal(thinp_opq_create(thinp_opq_policy_by_name(name), allocator, &queue), 0);
	return queue;
}

static int push(struct thinp_opq *queue, uint32_t kind, uint64_t first, uint64_t nr_blocks)
{
	struct thinp_op op = op_of(kind, first, nr_blocks, 1);

	return thinp_opq_push(queue, &op);
}

/* --- making one --- */

static void without_a_policy_it_is_fifo(void **state)
{
	struct thinp_opq *queue;

	(void)state;
	assert_int_equal(thinp_opq_create(NULL, NULL, &queue), 0);
	assert_string_equal(thinp_opq_policy_name(queue), "fifo");
	assert_true(thinp_opq_is_empty(queue));
	thinp_opq_destroy(queue);
	thinp_opq_destroy(NULL);
}

static void a_table_of_another_version_is_read_or_refused(void **state)
{
	struct {
		struct thinp_opq_policy policy;
		uint64_t newer;
	} table = {.policy = *thinp_opq_policy_by_name("sorted")};
	struct thinp_opq *const untouched = (struct thinp_opq *)(uintptr_t)1;
	struct thinp_opq *queue = untouched;

	(void)state;
	table.policy.size = sizeof(table);
	table.newer = 1;
	assert_int_equal(thinp_opq_create(&table.policy, NULL, &queue), THINP_ENOTSUP);
	assert_ptr_equal(queue, untouched);
	table.newer = 0;
	table.policy.name = NULL;
	assert_int_equal(thinp_opq_create(&table.policy, NULL, &queue), 0);
	assert_string_equal(thinp_opq_policy_name(queue), "unnamed");
	thinp_opq_destroy(queue);
}

static void a_table_that_lacks_a_function_is_refused(void **state)
{
	struct thinp_opq *const untouched = (struct thinp_opq *)(uintptr_t)1;
	struct thinp_opq *queue = untouched;

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct thinp_opq_policy policy = *thinp_opq_policy_by_name("fifo");

		if (i == 0)
			policy.create = NULL;
		if (i == 1)
			policy.destroy = NULL;
		if (i == 2)
			policy.push = NULL;
		if (i == 3)
			policy.pop = NULL;
		if (i == 4)
			policy.is_empty = NULL;
		if (i == 5)
			policy.size = 0;
		assert_int_equal(thinp_opq_create(&policy, NULL, &queue), THINP_EINVAL);
		assert_ptr_equal(queue, untouched);
	}
}

static int create_failing(void *ctx, const struct thinp_allocator *allocator, void **self)
{
	(void)allocator;
	(void)self;
	return *(int *)ctx;
}

static void what_create_answers_is_passed_up(void **state)
{
	struct thinp_opq_policy policy = *thinp_opq_policy_by_name("fifo");
	struct alloc_counting alloc;
	struct thinp_opq *queue = NULL;
	int code;

	(void)state;
	alloc_counting_init(&alloc);
	policy.create = create_failing;
	policy.ctx = &code;
	code = THINP_EACCES;
	assert_int_equal(thinp_opq_create(&policy, &alloc.table, &queue), THINP_EACCES);
	code = 0; /* but makes nothing */
	assert_int_equal(thinp_opq_create(&policy, &alloc.table, &queue), THINP_EINVAL);
	assert_null(queue);
	alloc_counting_check(&alloc);
}

/* --- operations that are none --- */

static void what_is_no_operation_is_refused(void **state)
{
	static const struct thinp_op ops[] = {
		{.kind = THINP_OP_INC, .first = 5, .nr_blocks = 0},
		{.kind = 0, .first = 5, .nr_blocks = 1},
		{.kind = 3, .first = 5, .nr_blocks = 1},
		{.kind = THINP_OP_DEC, .first = UINT64_MAX, .nr_blocks = 2},
		{.kind = THINP_OP_DEC, .first = 1, .nr_blocks = UINT64_MAX},
		{.kind = THINP_OP_DEC, .first = 2, .nr_blocks = UINT64_MAX},
	};
	static const int wanted[] = {THINP_EINVAL, THINP_EINVAL, THINP_EINVAL, THINP_EINVAL, 0, THINP_EINVAL};

	(void)state;
	for (unsigned n = 0; n < NR_NAMES; n++)
		for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
			struct thinp_opq *queue = queue_of(names[n], NULL);

			assert_int_equal(thinp_opq_push(queue, &ops[i]), wanted[i]);
			assert_int_equal(thinp_opq_is_empty(queue), wanted[i] != 0);
			thinp_opq_destroy(queue);
		}
}

static void calls_that_succeed_leave_the_error_record_alone(void **state)
{
	struct thinp_error_info before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct thinp_opq *queue;
	struct thinp_op op;

	(void)state;
	thinp_error_report(THINP_ENOENT, 5, "something old");
	thinp_error_last(&before);
	queue = queue_of("coalescing", NULL);
	assert_int_equal(push(queue, THINP_OP_INC, 3, 9), 0);
	assert_int_equal(push(queue, THINP_OP_DEC, 5, 9), 0);
	while (!thinp_opq_is_empty(queue))
		assert_int_equal(thinp_opq_pop(queue, &op), 0);
	thinp_opq_clear(queue);
	thinp_opq_destroy(queue);
	thinp_error_last(&after);
	assert_memory_equal(&before, &after, sizeof(before));
}

/* --- large numbers --- */

static void block_numbers_up_to_the_last_one_are_like_others(void **state)
{
	struct thinp_op op;

	(void)state;
	for (unsigned n = 0; n < NR_NAMES; n++) {
		struct thinp_opq *queue = queue_of(names[n], NULL);

		assert_int_equal(push(queue, THINP_OP_INC, UINT64_MAX, 1), 0);
		assert_int_equal(push(queue, THINP_OP_INC, UINT64_MAX - 3, 4), 0);
		assert_int_equal(push(queue, THINP_OP_INC, 0, 1), 0);
		assert_int_equal(thinp_opq_delta(queue, UINT64_MAX), 2);
		assert_int_equal(thinp_opq_delta(queue, UINT64_MAX - 3), 1);
		assert_int_equal(thinp_opq_delta(queue, UINT64_MAX - 4), 0);
		assert_int_equal(thinp_opq_delta(queue, 0), 1);
		assert_int_equal(thinp_opq_delta(queue, 1), 0);
		while (!thinp_opq_is_empty(queue))
			assert_int_equal(thinp_opq_pop(queue, &op), 0);
		assert_int_equal(thinp_opq_delta(queue, UINT64_MAX), 0);
		thinp_opq_destroy(queue);
	}
}

static void a_range_costs_the_same_whatever_its_length(void **state)
{
	const uint64_t huge = UINT64_C(1) << 62;
	struct thinp_op op;

	(void)state;
	for (unsigned n = 0; n < NR_NAMES; n++) {
		struct alloc_counting alloc;
		struct thinp_opq *queue;
		unsigned nr = 0;

		alloc_counting_init(&alloc);
		queue = queue_of(names[n], &alloc.table);
		assert_int_equal(push(queue, THINP_OP_DEC, 17, huge), 0);
		assert_int_equal(push(queue, THINP_OP_DEC, huge / 2, huge), 0);
		assert_int_equal(push(queue, THINP_OP_INC, 3 * huge, huge), 0);
		assert_int_equal(thinp_opq_delta(queue, 16), 0);
		assert_int_equal(thinp_opq_delta(queue, 17), -1);
		assert_int_equal(thinp_opq_delta(queue, huge), -2);
		assert_int_equal(thinp_opq_delta(queue, huge + 17), -1);
		assert_int_equal(thinp_opq_delta(queue, UINT64_MAX), 1);
		assert_true(alloc.peak_bytes < 8192);
		for (; !thinp_opq_is_empty(queue); nr++)
			assert_int_equal(thinp_opq_pop(queue, &op), 0);
		assert_in_range(nr, 3, 5);
		thinp_opq_destroy(queue);
		alloc_counting_check(&alloc);
	}
}

/* --- limits --- */

static void the_fifty_ninth_of_one_block_is_refused_until_some_are_taken_out(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct thinp_opq *queue = queue_of("fifo", NULL);
	struct thinp_op op;

	(void)state;
	for (unsigned i = 0; i < 58; i++)
		assert_int_equal(push(queue, i % 3 ? THINP_OP_INC : THINP_OP_DEC, 20, 5), 0);
	assert_int_equal(push(queue, THINP_OP_INC, 10, 12), THINP_ENOMEM);
	thinp_error_last(&info);
	assert_int_equal(info.block, 20);
	assert_int_equal(thinp_opq_delta(queue, 10), 0); /* nothing has changed */
	assert_int_equal(thinp_opq_delta(queue, 20), 18);
	assert_int_equal(thinp_opq_nr_pending(queue), 58);
	assert_int_equal(push(queue, THINP_OP_INC, 10, 10), 0);

	assert_int_equal(thinp_opq_pop(queue, &op), 0);
	assert_int_equal(push(queue, THINP_OP_INC, 10, 12), 0);
	for (unsigned i = 0; i < 59; i++) {
		assert_int_equal(thinp_opq_pop(queue, &op), 0);
		assert_int_equal(op.kind, i < 57 && (i + 1) % 3 == 0 ? THINP_OP_DEC : THINP_OP_INC);
	}
	assert_true(thinp_opq_is_empty(queue));
	thinp_opq_destroy(queue);
}

static void clearing_forgets_everything_and_needs_no_memory(void **state)
{
	struct alloc_counting alloc;
	struct thinp_op op;

	(void)state;
	for (unsigned n = 0; n < NR_NAMES; n++) {
		struct thinp_opq *queue;
		size_t nr_calls;

		alloc_counting_init(&alloc);
		queue = queue_of(names[n], &alloc.table);
		for (uint64_t i = 0; i < 1000; i++)
			assert_int_equal(push(queue, THINP_OP_INC, i * 7, 20), 0);
		nr_calls = alloc.nr_calls;
		thinp_opq_clear(queue);
		assert_int_equal(alloc.nr_calls, nr_calls);
		assert_int_equal(alloc.live_allocations, 1); /* the queue itself */
		assert_true(thinp_opq_is_empty(queue));
		assert_int_equal(thinp_opq_nr_pending(queue), 0);
		assert_int_equal(thinp_opq_delta(queue, 7), 0);
		thinp_opq_clear(queue);
		assert_int_equal(thinp_opq_pop(queue, &op), THINP_ENODATA);

		assert_int_equal(push(queue, THINP_OP_DEC, 7, 1), 0);
		assert_int_equal(thinp_opq_pop(queue, &op), 0);
		assert_true(thinp_opq_is_empty(queue));
		thinp_opq_destroy(queue);
		alloc_counting_check(&alloc);
	}
}

/* --- memory --- */

/* Overlapping ranges, each failed push repeated; so every push fails at each of its allocations, sooner or later. */
static void a_push_without_memory_changes_nothing(void **state)
{
	uint64_t rng = random_begin();

	(void)state;
	for (unsigned n = 0; n < NR_NAMES - 1; n++) {
		struct model model = {.is_cancelling = n == 1};
		struct alloc_counting alloc;
		struct thinp_opq *queue;
		unsigned nr_failed = 0;
		struct thinp_op op;

		alloc_counting_init(&alloc);
		queue = queue_of(names[n], &alloc.table);
		for (unsigned i = 0; i < 200; i++) {
			uint64_t first = random_next(&rng) % 40;

			op = op_of(random_next(&rng) % 2 ? THINP_OP_INC : THINP_OP_DEC, first,
				   1 + random_next(&rng) % 24, i);
			if (i % 50 == 49)
				for (; !thinp_opq_is_empty(queue); model_pop(&model, &op))
					assert_int_equal(thinp_opq_pop(queue, &op), 0);
			for (size_t nth = 1;; nth++, nr_failed++) {
				int r;

				alloc_counting_fail(&alloc, nth);
				r = thinp_opq_push(queue, &op);
				if (!alloc_counting_has_failed(&alloc)) {
					assert_int_equal(r, 0);
					break;
				}
				assert_int_equal(r, THINP_ENOMEM);
				alloc_counting_fail(&alloc, 0);
				for (unsigned b = 0; b < MODEL_BLOCKS; b++)
					assert_int_equal(thinp_opq_delta(queue, b), model_delta(&model, b));
			}
			alloc_counting_fail(&alloc, 0);
			model_push(&model, &op);
		}
		assert_true(nr_failed > 20);
		while (!thinp_opq_is_empty(queue)) {
			assert_int_equal(thinp_opq_pop(queue, &op), 0);
			model_pop(&model, &op);
		}
		assert_true(model_is_empty(&model));
		thinp_opq_destroy(queue);
		alloc_counting_check(&alloc);
	}
}

struct attempt {
	struct alloc_counting *alloc;
	const char *name;
};

static int attempt_all(void *ctx)
{
	struct attempt *attempt = ctx;
	struct thinp_opq *queue;
	struct thinp_op op;
	int r = thinp_opq_create(thinp_opq_policy_by_name(attempt->name), &attempt->alloc->table, &queue);

	if (r)
		return r;
	for (uint64_t i = 0; !r && i < 100; i++)
		r = push(queue, THINP_OP_INC, i * 3 % 100, 1 + i % 7);
	while (!r && !thinp_opq_is_empty(queue))
		r = thinp_opq_pop(queue, &op);
	thinp_opq_clear(queue);
	if (!r)
		r = push(queue, THINP_OP_INC, 7, 1);
	thinp_opq_destroy(queue);
	return r;
}

static void every_allocation_may_fail(void **state)
{
	struct alloc_counting alloc;

	(void)state;
	for (unsigned n = 0; n < NR_NAMES; n++) {
		alloc_counting_init(&alloc);
		alloc_counting_loop(&alloc, attempt_all, &(struct attempt){.alloc = &alloc, .name = names[n]});
		alloc_counting_check(&alloc);
	}
}

/* Always about ten pending, far apart, for a long time. */
static void memory_is_bounded_by_what_is_pending(void **state)
{
	(void)state;
	for (unsigned n = 0; n < NR_NAMES - 1; n++) {
		struct alloc_counting alloc;
		struct thinp_opq *queue;
		struct thinp_op op;

		alloc_counting_init(&alloc);
		queue = queue_of(names[n], &alloc.table);
		for (uint64_t i = 0; i < 100000; i++) {
			assert_int_equal(push(queue, THINP_OP_INC, i * 1000, 1 + i % 3), 0);
			if (i >= 10)
				assert_int_equal(thinp_opq_pop(queue, &op), 0);
		}
		assert_true(alloc.peak_bytes < 16384);
		for (uint64_t i = 0; i < 20000; i++)
			assert_int_equal(push(queue, THINP_OP_INC, i * 1000, 1 + i % 3), 0);
		while (!thinp_opq_is_empty(queue))
			assert_int_equal(thinp_opq_pop(queue, &op), 0);
		assert_true(alloc.live_bytes < 32768); /* a burst is given back */
		thinp_opq_destroy(queue);
		alloc_counting_check(&alloc);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_policy_it_is_fifo),
		cmocka_unit_test(a_table_of_another_version_is_read_or_refused),
		cmocka_unit_test(a_table_that_lacks_a_function_is_refused),
		cmocka_unit_test(what_create_answers_is_passed_up),
		cmocka_unit_test(what_is_no_operation_is_refused),
		cmocka_unit_test(calls_that_succeed_leave_the_error_record_alone),
		cmocka_unit_test(block_numbers_up_to_the_last_one_are_like_others),
		cmocka_unit_test(a_range_costs_the_same_whatever_its_length),
		cmocka_unit_test(the_fifty_ninth_of_one_block_is_refused_until_some_are_taken_out),
		cmocka_unit_test(clearing_forgets_everything_and_needs_no_memory),
		cmocka_unit_test(a_push_without_memory_changes_nothing),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(memory_is_bounded_by_what_is_pending),
	};

	return cmocka_run_group_tests_name("op_queue/queue", tests, NULL, NULL);
}
