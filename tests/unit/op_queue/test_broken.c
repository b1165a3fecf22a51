/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/op_queue/test_broken.c - policies that break the contract, each in its own way; the ledger catches every one.
 *
 * A scenario is put into a queue whose policy does right until its turn comes to do wrong. The queue must refuse before the
 * wrong operation is out, or at the end, and go on refusing until it is cleared.
 */
#include "support/alloc_counting.h"
#include "unit/op_queue/model.h"

#include <thinp/error.h>

#include <errno.h>
#include <stdlib.h>

#include <cmocka.h>

enum fault {
	NONE,
	LOSES,
	LOSES_THE_LAST,
	INVENTS,
	DUPLICATES,
	SWAPS,
	SHIFTS_A_RANGE,
	WIDENS_A_RANGE,
	NARROWS_A_RANGE,
	EMPTIES_A_RANGE,
	OVERFLOWS_A_RANGE,
	CHANGES_THE_KIND,
	GIVES_NO_KIND,
	SAYS_IT_IS_EMPTY,
	SAYS_IT_IS_FULL,
	GIVES_WHAT_IT_HAD,
	NR_FAULTS,
	FAILS_TO_PUSH,
	FAILS_TO_POP,
};

/* An array of operations, oldest first; the turn-th pop does wrong. */
struct broken {
	enum fault fault;
	unsigned turn;
	int code; /* of failures */
	unsigned nr, nr_popped;
	struct thinp_op ops[64];
	struct thinp_op popped;
};

static int create(void *ctx, const struct thinp_allocator *allocator, void **self)
{
	(void)allocator;
	*self = ctx;
	return 0;
}

static void destroy(void *self)
{
	((struct broken *)self)->nr = 0;
}

static int push(void *self, const struct thinp_op *op)
{
	struct broken *b = self;

	if (b->fault == FAILS_TO_PUSH)
		return b->code;
	assert_true(b->nr < 64);
	b->ops[b->nr++] = *op;
	return 0;
}

static void remove_at(struct broken *b, unsigned i, struct thinp_op *op)
{
	*op = b->ops[i];
	memmove(&b->ops[i], &b->ops[i + 1], (b->nr - i - 1) * sizeof(*op));
	b->nr--;
}

static void do_wrong(struct broken *b, struct thinp_op *op)
{
	switch (b->fault) {
	case LOSES:
		remove_at(b, 0, op);
		if (b->nr)
			remove_at(b, 0, op);
		break;
	case INVENTS:
		*op = op_of(THINP_OP_INC, 1000, 1, 99);
		break;
	case DUPLICATES:
		*op = b->ops[0];
		break;
	case SWAPS:
		remove_at(b, b->nr > 1, op);
		break;
	case SHIFTS_A_RANGE:
		remove_at(b, 0, op);
		op->first++;
		break;
	case WIDENS_A_RANGE:
		remove_at(b, 0, op);
		op->nr_blocks++;
		break;
	case NARROWS_A_RANGE:
		remove_at(b, 0, op);
		op->nr_blocks--;
		break;
	case EMPTIES_A_RANGE:
		remove_at(b, 0, op);
		op->nr_blocks = 0;
		break;
	case OVERFLOWS_A_RANGE:
		remove_at(b, 0, op);
		op->nr_blocks = UINT64_MAX;
		break;
	case CHANGES_THE_KIND:
		remove_at(b, 0, op);
		op->kind = THINP_OP_INC + THINP_OP_DEC - op->kind;
		break;
	case GIVES_NO_KIND:
		remove_at(b, 0, op);
		op->kind = 3;
		break;
	case GIVES_WHAT_IT_HAD:
		*op = b->popped;
		break;
	default:
		remove_at(b, 0, op);
	}
}

static int pop(void *self, struct thinp_op *op)
{
	struct broken *b = self;

	if (b->fault == FAILS_TO_POP)
		return b->code;
	if (b->nr == 0)
		return 0; /* it said that it was not empty: op is left alone */
	if (b->nr_popped++ == b->turn)
		do_wrong(b, op);
	else
		remove_at(b, 0, op);
	b->popped = *op;
	return 0;
}

static bool is_empty(const void *self)
{
	const struct broken *b = self;

	if (b->fault == SAYS_IT_IS_FULL)
		return false;
	if (b->fault == SAYS_IT_IS_EMPTY && b->nr_popped == b->turn)
		return true;
	if (b->fault == LOSES_THE_LAST && b->nr == 1)
		return true;
	return b->nr == 0;
}

static struct thinp_opq_policy table_of(struct broken *b)
{
	return (struct thinp_opq_policy){
		.size = sizeof(struct thinp_opq_policy),
		.name = "broken",
		.ctx = b,
		.create = create,
		.destroy = destroy,
		.push = push,
		.pop = pop,
		.is_empty = is_empty,
	};
}

static struct thinp_opq *queue_of(struct broken *b)
{
	struct thinp_opq_policy table = table_of(b);
	struct thinp_opq *queue;

	assert_int_equal(thinp_opq_create(&table, NULL, &queue), 0);
	return queue;
}

static void put(struct thinp_opq *queue, uint32_t kind, uint64_t first, uint64_t nr_blocks, uint64_t number)
{
	struct thinp_op op = op_of(kind, first, nr_blocks, number);

	assert_int_equal(thinp_opq_push(queue, &op), 0);
}

/* Six operations, no neighbours of which may be swapped, lost or widened without harm. */
#define NR_OPS 6
static void put_scenario(struct thinp_opq *queue)
{
	put(queue, THINP_OP_INC, 10, 3, 1);
	put(queue, THINP_OP_DEC, 12, 4, 2);
	put(queue, THINP_OP_INC, 13, 2, 3);
	put(queue, THINP_OP_DEC, 14, 1, 4);
	put(queue, THINP_OP_INC, 14, 5, 5);
	put(queue, THINP_OP_DEC, 18, 1, 6);
}

/* Everything out; the answer of the call that ends it, and in nr how many came before. */
static int drain(struct thinp_opq *queue, unsigned *nr)
{
	struct thinp_op op;
	int r;

	for (*nr = 0;; (*nr)++) {
		r = thinp_opq_pop(queue, &op);
		if (r)
			return r;
		assert_true(*nr < 100);
	}
}

static void expect_last(int code, uint64_t block, const char *words)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	assert_int_equal(info.code, code);
	assert_int_equal(info.block, block);
	if (!strstr(info.message, words))
		fail_msg("\"%s\" does not say \"%s\"", info.message, words);
}

static void the_array_itself_is_sound(void **state)
{
	struct broken b = {.fault = NONE};
	struct thinp_opq *queue = queue_of(&b);
	unsigned nr;

	(void)state;
	put_scenario(queue);
	assert_int_equal(drain(queue, &nr), THINP_ENODATA);
	assert_int_equal(nr, NR_OPS);
	thinp_opq_destroy(queue);
}

/* Whatever it does, and whenever: it is caught, stays caught, and after clearing all is well. */
static void try_fault(enum fault fault, unsigned turn)
{
	struct broken b = {.turn = turn};
	struct thinp_opq *queue = queue_of(&b);
	struct thinp_op op = op_of(THINP_OP_INC, 0, 1, 7), before = op;
	struct thinp_error_info first = {.size = sizeof(first)}, again = {.size = sizeof(again)};
	unsigned nr;

	put_scenario(queue);
	b.fault = fault;
	assert_int_equal(drain(queue, &nr), THINP_EREFCOUNT);
	assert_true(nr <= NR_OPS);
	thinp_error_last(&first);
	assert_int_equal(first.code, THINP_EREFCOUNT);
	assert_int_not_equal(first.block, THINP_NO_BLOCK);

	thinp_error_report(THINP_EIO, 5, "something else has failed since");
	assert_int_equal(thinp_opq_pop(queue, &op), THINP_EREFCOUNT);
	assert_memory_equal(&op, &before, sizeof(op)); /* outputs stay untouched */
	thinp_error_last(&again);
	assert_memory_equal(&first, &again, sizeof(first));
	assert_int_equal(thinp_opq_push(queue, &op), THINP_EREFCOUNT);
	assert_false(thinp_opq_is_empty(queue));
	assert_true(thinp_opq_nr_pending(queue) > 0);

	b.fault = NONE;
	thinp_opq_clear(queue);
	assert_true(thinp_opq_is_empty(queue));
	assert_int_equal(thinp_opq_delta(queue, 14), 0);
	put_scenario(queue);
	assert_int_equal(drain(queue, &nr), THINP_ENODATA);
	assert_int_equal(nr, NR_OPS);
	thinp_opq_destroy(queue);
}

static void every_fault_at_every_turn_is_caught(void **state)
{
	(void)state;
	for (enum fault fault = LOSES; fault < NR_FAULTS; fault++)
		for (unsigned turn = 0; turn < NR_OPS; turn++) {
			if ((fault == SWAPS || fault == LOSES) && turn == NR_OPS - 1)
				continue; /* nothing comes after the last one */
			if (fault == GIVES_WHAT_IT_HAD && turn == 0)
				continue;
			try_fault(fault, turn);
		}
}

static void the_detail_names_block_and_operation(void **state)
{
	struct broken b = {.fault = SWAPS, .turn = 1};
	struct thinp_opq *queue = queue_of(&b);
	unsigned nr;

	(void)state;
	put_scenario(queue);
	assert_int_equal(drain(queue, &nr), THINP_EREFCOUNT);
	assert_int_equal(nr, 1);
	expect_last(THINP_EREFCOUNT, 13, "broken: op 3, INC of block 13, overtook");
	thinp_opq_destroy(queue);

	b = (struct broken){.fault = INVENTS, .turn = 2};
	queue = queue_of(&b);
	put_scenario(queue);
	assert_int_equal(drain(queue, &nr), THINP_EREFCOUNT);
	assert_int_equal(nr, 2);
	expect_last(THINP_EREFCOUNT, 1000, "broken: op 99, INC of block 1000, was never put in");
	thinp_opq_destroy(queue);

	b = (struct broken){.fault = NONE};
	queue = queue_of(&b);
	put_scenario(queue);
	b.fault = LOSES_THE_LAST;
	assert_int_equal(drain(queue, &nr), THINP_EREFCOUNT);
	assert_int_equal(nr, NR_OPS - 1);
	expect_last(THINP_EREFCOUNT, 18, "broken: lost operations of block 18: -1");
	thinp_opq_destroy(queue);
}

/* The counts are those of the ledger, and a refused operation has not changed them. */
static void no_policy_has_a_say_in_the_counts(void **state)
{
	static const int64_t wanted[] = {1, 1, 0, 0, 0, 0, 1, 1, 0, 0}; /* of blocks 10 to 19 */
	struct broken b = {.fault = WIDENS_A_RANGE, .turn = 0};
	struct thinp_opq *queue = queue_of(&b);
	unsigned nr;

	(void)state;
	put_scenario(queue);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(thinp_opq_delta(queue, 10 + i), wanted[i]);
	assert_int_equal(drain(queue, &nr), THINP_EREFCOUNT);
	assert_int_equal(nr, 0);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(thinp_opq_delta(queue, 10 + i), wanted[i]);
	thinp_opq_destroy(queue);
}

static void a_loss_is_noticed_by_the_next_push_too(void **state)
{
	struct broken b = {.fault = NONE};
	struct thinp_opq *queue = queue_of(&b);
	struct thinp_op op = op_of(THINP_OP_INC, 1, 1, 2);

	(void)state;
	put(queue, THINP_OP_INC, 7, 1, 1);
	b.nr = 0;
	assert_false(thinp_opq_is_empty(queue));
	assert_int_equal(thinp_opq_push(queue, &op), THINP_EREFCOUNT);
	expect_last(THINP_EREFCOUNT, 7, "lost operations of block 7: +1");
	thinp_opq_destroy(queue);
}

/* It said that it was empty, so what it held was dropped; now it comes up again. */
static void what_was_dropped_cannot_come_back(void **state)
{
	struct broken b = {.fault = NONE};
	struct thinp_opq *queue = queue_of(&b);
	struct thinp_op op;

	(void)state;
	put(queue, THINP_OP_INC, 7, 1, 1);
	put(queue, THINP_OP_DEC, 7, 1, 2);
	b.nr = 0;
	assert_true(thinp_opq_is_empty(queue));
	put(queue, THINP_OP_INC, 8, 1, 3);
	b.ops[1] = b.ops[0];
	b.ops[0] = op_of(THINP_OP_INC, 7, 1, 1);
	b.nr = 2;
	assert_int_equal(thinp_opq_pop(queue, &op), THINP_EREFCOUNT);
	expect_last(THINP_EREFCOUNT, 7, "was never put in");
	thinp_opq_destroy(queue);
}

/* --- failures of the policy's own --- */

static void try_codes(enum fault fault, int (*call)(struct thinp_opq *queue))
{
	static const struct {
		int given, wanted;
	} codes[] = {
		{THINP_ENOMEM, THINP_ENOMEM},
		{THINP_ECANCELED, THINP_ECANCELED},
		{-ENOMEM, THINP_ENOMEM},
		{-EIO, THINP_EIO},
		{7, THINP_EINVAL},
		{-20000, THINP_EINVAL},
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct broken b = {.fault = NONE};
		struct thinp_opq *queue = queue_of(&b);
		unsigned nr;

		put_scenario(queue);
		b.fault = fault;
		b.code = codes[i].given;
		thinp_error_report(THINP_ENOENT, 5, "something old");
		assert_int_equal(call(queue), codes[i].wanted);
		expect_last(codes[i].wanted, THINP_NO_BLOCK, "broken: ");
		assert_int_equal(thinp_opq_nr_pending(queue), NR_OPS); /* nothing has changed */
		assert_int_equal(thinp_opq_delta(queue, 700), 0);
		b.fault = NONE;
		assert_int_equal(drain(queue, &nr), THINP_ENODATA);
		assert_int_equal(nr, NR_OPS);
		thinp_opq_destroy(queue);
	}
}

static int push_one(struct thinp_opq *queue)
{
	struct thinp_op op = op_of(THINP_OP_INC, 700, 1, 7);

	return thinp_opq_push(queue, &op);
}

static int pop_one(struct thinp_opq *queue)
{
	struct thinp_op op;

	return thinp_opq_pop(queue, &op);
}

static void a_failing_push_is_passed_up_and_changes_nothing(void **state)
{
	(void)state;
	try_codes(FAILS_TO_PUSH, push_one);
}

static void a_failing_pop_is_passed_up_and_can_be_tried_again(void **state)
{
	(void)state;
	try_codes(FAILS_TO_POP, pop_one);
}

/* --- a policy may cut where it likes, in any order of the pieces --- */

static void cut_ops(struct broken *b)
{
	struct thinp_op op = b->ops[0];

	assert_int_equal(b->nr, 1);
	for (b->nr = 0; b->nr < op.nr_blocks; b->nr++)
		b->ops[b->nr] = op_of(op.kind, op.first + (b->nr * 5 + 1) % op.nr_blocks, 1, op.number);
}

static void ranges_may_be_cut_anywhere_and_lack_of_memory_is_no_loss(void **state)
{
	struct broken b = {.fault = NONE};
	struct thinp_opq_policy table = table_of(&b);
	struct alloc_counting alloc;
	struct thinp_opq *queue;
	struct thinp_op op;
	unsigned nr_failed = 0, nr = 0;

	(void)state;
	alloc_counting_init(&alloc);
	assert_int_equal(thinp_opq_create(&table, &alloc.table, &queue), 0);
	put(queue, THINP_OP_DEC, 100, 32, 1);
	cut_ops(&b);
	while (!thinp_opq_is_empty(queue)) {
		int r;

		alloc_counting_fail(&alloc, 1);
		r = thinp_opq_pop(queue, &op);
		alloc_counting_fail(&alloc, 0);
		if (r) {
			assert_int_equal(r, THINP_ENOMEM);
			nr_failed++;
			r = thinp_opq_pop(queue, &op);
		}
		assert_int_equal(r, 0);
		assert_int_equal(op.first, 100 + (nr * 5 + 1) % 32);
		assert_int_equal(thinp_opq_delta(queue, op.first), 0);
		nr++;
	}
	assert_int_equal(nr, 32);
	assert_true(nr_failed > 0);
	thinp_opq_destroy(queue);
	alloc_counting_check(&alloc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_array_itself_is_sound),
		cmocka_unit_test(every_fault_at_every_turn_is_caught),
		cmocka_unit_test(the_detail_names_block_and_operation),
		cmocka_unit_test(no_policy_has_a_say_in_the_counts),
		cmocka_unit_test(a_loss_is_noticed_by_the_next_push_too),
		cmocka_unit_test(what_was_dropped_cannot_come_back),
		cmocka_unit_test(a_failing_push_is_passed_up_and_changes_nothing),
		cmocka_unit_test(a_failing_pop_is_passed_up_and_can_be_tried_again),
		cmocka_unit_test(ranges_may_be_cut_anywhere_and_lack_of_memory_is_no_loss),
	};

	return cmocka_run_group_tests_name("op_queue/broken", tests, NULL, NULL);
}
