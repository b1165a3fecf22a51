/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/op_queue/test_policies.c - every policy keeps the order of each block: by itself, and as the ledger sees it.
 */
#include "support/alloc_counting.h"
#include "unit/op_queue/model.h"

#include <thinp/error.h>

#include <cmocka.h>

#include "unit/base/random.h"

/* One policy under test three times: bare, within a queue, and as the model has it. */
struct trial {
	struct alloc_counting alloc;
	const struct thinp_opq_policy *policy;
	void *bare;
	struct thinp_opq *queue;
	struct model model;
	struct thinp_op before; /* what came out last, while nothing went in; kind 0: nothing */
	uint64_t nr_pushed;
};

static void begin(struct trial *t, const char *name, uint64_t base)
{
	memset(t, 0, sizeof(*t));
	alloc_counting_init(&t->alloc);
	t->policy = thinp_opq_policy_by_name(name);
	assert_non_null(t->policy);
	assert_int_equal(t->policy->create(t->policy->ctx, &t->alloc.table, &t->bare), 0);
	assert_int_equal(thinp_opq_create(t->policy, &t->alloc.table, &t->queue), 0);
	t->model.base = base;
	t->model.is_cancelling = strcmp(name, "coalescing") == 0;
}

static void check_deltas(struct trial *t, unsigned nr_blocks)
{
	for (unsigned i = 0; i < nr_blocks; i++)
		assert_int_equal(thinp_opq_delta(t->queue, t->model.base + i), model_delta(&t->model, i));
}

static void push(struct trial *t, uint32_t kind, uint64_t first, uint64_t nr_blocks)
{
	struct thinp_op op = op_of(kind, t->model.base + first, nr_blocks, ++t->nr_pushed);

	assert_int_equal(t->policy->push(t->bare, &op), 0);
	assert_int_equal(thinp_opq_push(t->queue, &op), 0);
	model_push(&t->model, &op);
	t->before.kind = 0;
}

/* What each policy promises of the order between blocks. */
static void check_order(struct trial *t, const struct thinp_op *op)
{
	uint64_t end = t->before.first + t->before.nr_blocks;

	if (!t->before.kind || strcmp(t->policy->name, "fifo") == 0)
		return;
	assert_true(op->first >= t->before.first);
	if (strcmp(t->policy->name, "coalescing") == 0)
		assert_false(op->kind == t->before.kind && op->first == end);
}

static void pop(struct trial *t)
{
	size_t nr_calls = t->alloc.nr_calls;
	struct thinp_op bare, op;

	assert_int_equal(t->policy->pop(t->bare, &bare), 0);
	assert_int_equal(thinp_opq_pop(t->queue, &op), 0);
	assert_memory_equal(&bare, &op, sizeof(op));
	assert_int_equal(t->alloc.nr_calls, nr_calls); /* taking out needs no memory */
	model_pop(&t->model, &op);
	check_order(t, &op);
	t->before = op;
}

static void drain_and_end(struct trial *t)
{
	struct thinp_op op;

	while (!t->policy->is_empty(t->bare)) {
		assert_true(thinp_opq_nr_pending(t->queue) > 0);
		assert_false(thinp_opq_is_empty(t->queue));
		pop(t);
	}
	assert_true(model_is_empty(&t->model));
	assert_true(thinp_opq_is_empty(t->queue));
	assert_int_equal(thinp_opq_nr_pending(t->queue), 0);
	assert_int_equal(thinp_opq_pop(t->queue, &op), THINP_ENODATA);
	t->policy->destroy(t->bare);
	thinp_opq_destroy(t->queue);
	alloc_counting_check(&t->alloc);
}

/* --- every sequence of up to four operations over three blocks, with every choice of when one is taken out --- */

#define NR_SHAPES 12 /* INC and DEC of the six ranges within three blocks */

static void push_shape(struct trial *t, unsigned shape)
{
	static const uint64_t ranges[6][2] = {{0, 1}, {1, 1}, {2, 1}, {0, 2}, {1, 2}, {0, 3}};
	const uint64_t *range = ranges[shape % 6];

	push(t, shape < 6 ? THINP_OP_INC : THINP_OP_DEC, range[0], range[1]);
}

static void try_sequence(const char *name, const unsigned *shapes, unsigned nr, unsigned pops)
{
	struct trial t;

	begin(&t, name, 0);
	for (unsigned i = 0; i < nr; i++) {
		push_shape(&t, shapes[i]);
		check_deltas(&t, 3);
		if (pops >> i & 1 && !t.policy->is_empty(t.bare)) {
			pop(&t);
			check_deltas(&t, 3);
		}
	}
	drain_and_end(&t);
}

static void try_all(const char *name, unsigned most)
{
	unsigned shapes[4];

	for (unsigned nr = 1, nr_sequences = NR_SHAPES; nr <= most; nr++, nr_sequences *= NR_SHAPES)
		for (unsigned n = 0; n < nr_sequences; n++) {
			for (unsigned i = 0, rest = n; i < nr; i++, rest /= NR_SHAPES)
				shapes[i] = rest % NR_SHAPES;
			for (unsigned pops = 0; pops < 1u << (nr - 1); pops++)
				try_sequence(name, shapes, nr, pops);
		}
}

static void fifo_keeps_the_order_in_all_small_sequences(void **state)
{
	(void)state;
	try_all("fifo", 4);
}

static void sorted_keeps_the_order_in_all_small_sequences(void **state)
{
	(void)state;
	try_all("sorted", 4);
}

static void coalescing_keeps_the_order_in_all_small_sequences(void **state)
{
	(void)state;
	try_all("coalescing", 4);
}

/* --- random ranges over 64 blocks, at the lower end, in the middle and at the upper end of all numbers --- */

static void run_random(const char *name, uint64_t base, uint64_t *rng)
{
	struct trial t;

	begin(&t, name, base);
	for (unsigned step = 0; step < 4000; step++) {
		uint64_t first = random_next(rng) % MODEL_BLOCKS;
		uint64_t most = random_next(rng) % 4 ? 4 : MODEL_BLOCKS;
		uint64_t nr = 1 + random_next(rng) % (MODEL_BLOCKS - first < most ? MODEL_BLOCKS - first : most);
		/* long phases of filling and of emptying */
		bool is_pushing = random_next(rng) % 8 < (step / 500 % 2 ? 2 : 6);

		if (is_pushing && model_longest(&t.model) < 40 && thinp_opq_nr_pending(t.queue) < 50)
			push(&t, random_next(rng) % 2 ? THINP_OP_INC : THINP_OP_DEC, first, nr);
		else if (!t.policy->is_empty(t.bare))
			pop(&t);
		check_deltas(&t, MODEL_BLOCKS);
	}
	drain_and_end(&t);
}

static void overlapping_ranges_keep_the_order_of_each_block(void **state)
{
	static const char *const names[] = {"fifo", "sorted", "coalescing"};
	static const uint64_t bases[] = {0, UINT64_C(1) << 40, UINT64_MAX - (MODEL_BLOCKS - 1)};
	uint64_t rng = random_begin();

	(void)state;
	for (unsigned n = 0; n < 3; n++)
		for (unsigned b = 0; b < 3; b++)
			for (unsigned round = 0; round < 8; round++)
				run_random(names[n], bases[b], &rng);
}

/* --- what each is for --- */

static struct thinp_opq *queue_of(const char *name)
{
	struct thinp_opq *queue;

	assert_int_equal(thinp_opq_create(thinp_opq_policy_by_name(name), NULL, &queue), 0);
	return queue;
}

static void put(struct thinp_opq *queue, uint32_t kind, uint64_t first, uint64_t nr_blocks, uint64_t number)
{
	struct thinp_op op = op_of(kind, first, nr_blocks, number);

	op.cause = (uint32_t)number % 6;
	assert_int_equal(thinp_opq_push(queue, &op), 0);
}

static void expect(struct thinp_opq *queue, uint32_t kind, uint64_t first, uint64_t nr_blocks, uint64_t number)
{
	struct thinp_op op;

	assert_int_equal(thinp_opq_pop(queue, &op), 0);
	assert_int_equal(op.kind, kind);
	assert_int_equal(op.first, first);
	assert_int_equal(op.nr_blocks, nr_blocks);
	assert_int_equal(op.number, number);
	assert_int_equal(op.cause, number % 6);
}

static void end(struct thinp_opq *queue)
{
	assert_true(thinp_opq_is_empty(queue));
	thinp_opq_destroy(queue);
}

static void sorted_cuts_ranges_where_they_overlap(void **state)
{
	struct thinp_opq *queue = queue_of("sorted");

	(void)state;
	put(queue, THINP_OP_INC, 5, 10, 1);
	put(queue, THINP_OP_DEC, 0, 10, 2);

	expect(queue, THINP_OP_DEC, 0, 5, 2);
	expect(queue, THINP_OP_INC, 5, 5, 1);
	expect(queue, THINP_OP_DEC, 5, 5, 2);
	expect(queue, THINP_OP_INC, 10, 5, 1);
	end(queue);
}

static void coalescing_merges_a_run_of_neighbours_into_one_that_looks_like_the_first(void **state)
{
	struct thinp_opq *queue = queue_of("coalescing");

	(void)state;
	put(queue, THINP_OP_INC, 8, 1, 1);
	put(queue, THINP_OP_INC, 7, 1, 2);
	put(queue, THINP_OP_INC, 9, 3, 3);
	put(queue, THINP_OP_DEC, 12, 1, 4);
	put(queue, THINP_OP_INC, 20, 1, 5);

	expect(queue, THINP_OP_INC, 7, 5, 1);
	expect(queue, THINP_OP_DEC, 12, 1, 4);
	expect(queue, THINP_OP_INC, 20, 1, 5);
	end(queue);
}

static void coalescing_drops_a_dec_with_the_inc_before_it_where_they_overlap(void **state)
{
	struct thinp_opq *queue = queue_of("coalescing");

	(void)state;
	put(queue, THINP_OP_INC, 0, 10, 1);
	put(queue, THINP_OP_DEC, 3, 4, 2);
	assert_int_equal(thinp_opq_delta(queue, 2), 1);
	assert_int_equal(thinp_opq_delta(queue, 3), 0);

	expect(queue, THINP_OP_INC, 0, 3, 1);
	expect(queue, THINP_OP_INC, 7, 3, 1);
	end(queue);
}

static void coalescing_lets_a_dec_that_comes_before_its_inc_be_seen(void **state)
{
	struct thinp_opq *queue = queue_of("coalescing");

	(void)state;
	put(queue, THINP_OP_DEC, 4, 1, 1);
	put(queue, THINP_OP_INC, 4, 1, 2);

	expect(queue, THINP_OP_DEC, 4, 1, 1);
	expect(queue, THINP_OP_INC, 4, 1, 2);
	end(queue);
}

static void inc_then_dec_of_one_block_leaves_nothing(void **state)
{
	struct thinp_opq *queue = queue_of("coalescing");
	struct thinp_op op;

	(void)state;
	for (uint64_t i = 0; i < 200; i++) { /* more often than the ledger could note, were it not wiped */
		put(queue, THINP_OP_INC, 7, 1, 2 * i);
		put(queue, THINP_OP_DEC, 7, 1, 2 * i + 1);
		assert_int_equal(thinp_opq_delta(queue, 7), 0);
		assert_true(thinp_opq_is_empty(queue));
		assert_int_equal(thinp_opq_nr_pending(queue), 0);
	}
	assert_int_equal(thinp_opq_pop(queue, &op), THINP_ENODATA);
	end(queue);
}

static void coalescing_never_merges_more_blocks_than_a_length_can_say(void **state)
{
	struct thinp_opq *queue = queue_of("coalescing");

	(void)state;
	put(queue, THINP_OP_INC, 0, UINT64_MAX, 1); /* all but the last block */
	put(queue, THINP_OP_INC, UINT64_MAX, 1, 2);

	expect(queue, THINP_OP_INC, 0, UINT64_MAX, 1);
	expect(queue, THINP_OP_INC, UINT64_MAX, 1, 2);
	end(queue);
}

static void policies_have_names(void **state)
{
	static const char *const names[] = {"fifo", "coalescing", "sorted", "lifo"};

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_string_equal(thinp_opq_policy_by_name(names[i])->name, names[i]);
	assert_null(thinp_opq_policy_by_name("filo"));
	assert_null(thinp_opq_policy_by_name(""));
	assert_null(thinp_opq_policy_by_name(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fifo_keeps_the_order_in_all_small_sequences),
		cmocka_unit_test(sorted_keeps_the_order_in_all_small_sequences),
		cmocka_unit_test(coalescing_keeps_the_order_in_all_small_sequences),
		cmocka_unit_test(overlapping_ranges_keep_the_order_of_each_block),
		cmocka_unit_test(sorted_cuts_ranges_where_they_overlap),
		cmocka_unit_test(coalescing_merges_a_run_of_neighbours_into_one_that_looks_like_the_first),
		cmocka_unit_test(coalescing_drops_a_dec_with_the_inc_before_it_where_they_overlap),
		cmocka_unit_test(coalescing_lets_a_dec_that_comes_before_its_inc_be_seen),
		cmocka_unit_test(inc_then_dec_of_one_block_leaves_nothing),
		cmocka_unit_test(coalescing_never_merges_more_blocks_than_a_length_can_say),
		cmocka_unit_test(policies_have_names),
	};

	return cmocka_run_group_tests_name("op_queue/policies", tests, NULL, NULL);
}
