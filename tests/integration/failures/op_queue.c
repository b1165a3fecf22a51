/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/op_queue.c - queues of operations, with each policy and with one that cuts ranges as it likes.
 */
#include "failures.h"

#include <thinp/op_queue.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NR_OPS = 60, NR_BLOCKS = 200, MOST = 64 };

/* --- a policy that gives every range block by block --- */

struct cutter {
	struct thinp_op ops[MOST];
	size_t first, nr;
};

static int cutter_create(void *ctx, const struct thinp_allocator *allocator, void **self)
{
	(void)ctx, (void)allocator;
	*self = calloc(1, sizeof(struct cutter));
	assert_non_null(*self);
	return 0;
}

static void cutter_destroy(void *self)
{
	free(self);
}

static int cutter_push(void *self, const struct thinp_op *op)
{
	struct cutter *c = self;

	assert_true(c->nr < MOST);
	c->ops[c->nr++] = *op;
	return 0;
}

static int cutter_pop(void *self, struct thinp_op *op)
{
	struct cutter *c = self;
	struct thinp_op *next = &c->ops[c->first];

	*op = *next;
	op->nr_blocks = 1;
	next->first++;
	if (!--next->nr_blocks)
		c->first++;
	return 0;
}

static bool cutter_is_empty(const void *self)
{
	return ((const struct cutter *)self)->first == ((const struct cutter *)self)->nr;
}

static const struct thinp_opq_policy cutter = {.size = sizeof(cutter),
					       .name = "cutter",
					       .create = cutter_create,
					       .destroy = cutter_destroy,
					       .push = cutter_push,
					       .pop = cutter_pop,
					       .is_empty = cutter_is_empty};

/* --- putting in and taking out --- */

static struct thinp_op op_of(uint64_t i)
{
	return (struct thinp_op){.first = i * 7 % 90,
				 .nr_blocks = 1 + i % 30,
				 .number = i,
				 .kind = i % 3 == 2 ? THINP_OP_DEC : THINP_OP_INC,
				 .cause = THINP_CAUSE_USER};
}

static void add(int64_t *deltas, const struct thinp_op *op)
{
	for (uint64_t b = op->first; b < op->first + op->nr_blocks; b++)
		deltas[b] += op->kind == THINP_OP_INC ? 1 : -1;
}

static void expect_deltas(const struct thinp_opq *queue, const int64_t *deltas)
{
	for (uint64_t b = 0; b < NR_BLOCKS; b++)
		assert_int_equal(thinp_opq_delta(queue, b), deltas[b]);
}

/* What fails was not put in. */
static int put_in(struct thinp_opq *queue, int64_t *deltas)
{
	for (uint64_t i = 0; i < NR_OPS; i++) {
		struct thinp_op op = op_of(i);
		uint64_t nr_pending = thinp_opq_nr_pending(queue);
		int r = thinp_opq_push(queue, &op);

		if (r) {
			assert_int_equal(thinp_opq_nr_pending(queue), nr_pending);
			expect_deltas(queue, deltas);
			return r;
		}
		add(deltas, &op);
	}
	return 0;
}

/* What fails comes with the next call. */
static int take_out(struct thinp_opq *queue, int64_t *deltas)
{
	static const struct thinp_op untouched = {.number = 4711};

	while (!thinp_opq_is_empty(queue)) {
		struct thinp_op op = untouched;
		int r = thinp_opq_pop(queue, &op);

		if (r) {
			assert_memory_equal(&op, &untouched, sizeof(op));
			return r;
		}
		op.kind = op.kind == THINP_OP_INC ? THINP_OP_DEC : THINP_OP_INC;
		add(deltas, &op);
	}
	return 0;
}

/* Nothing is lost by a failure: the queue goes on where it was. */
static int use_queue(struct world *w, struct thinp_opq *queue)
{
	int64_t deltas[NR_BLOCKS] = {0};
	int failed_with = put_in(queue, deltas);
	int r = failed_with ? failed_with : take_out(queue, deltas);

	expect_deltas(queue, deltas);
	if (r && w->fails_on)
		return r;
	if (r)
		assert_int_equal(take_out(queue, deltas), 0);
	for (uint64_t b = 0; b < NR_BLOCKS; b++)
		assert_true(deltas[b] == 0 && thinp_opq_delta(queue, b) == 0);
	return r;
}

static int use(struct world *w, const struct thinp_opq_policy *policy)
{
	struct thinp_opq *queue = NULL;
	int64_t deltas[NR_BLOCKS] = {0};
	int r = thinp_opq_create(policy, &w->alloc.table, &queue);

	if (r) {
		assert_null(queue);
		return r;
	}
	r = put_in(queue, deltas);
	thinp_opq_clear(queue);
	assert_true(thinp_opq_is_empty(queue));
	if (!r)
		r = use_queue(w, queue);
	thinp_opq_destroy(queue);
	return r;
}

static int use_fifo(struct world *w)
{
	return use(w, thinp_opq_policy_by_name("fifo"));
}

static int use_coalescing(struct world *w)
{
	return use(w, thinp_opq_policy_by_name("coalescing"));
}

static int use_sorted(struct world *w)
{
	return use(w, thinp_opq_policy_by_name("sorted"));
}

static int use_cutter(struct world *w)
{
	return use(w, &cutter);
}

static int use_all(struct world *w)
{
	int r = use_fifo(w);

	if (!r)
		r = use_coalescing(w);
	return r ? r : use_sorted(w);
}

static const struct scenario using = {.name = "queues of operations", .attempt = use_all};
static const struct scenario cutting = {.name = "a queue whose policy cuts ranges", .attempt = use_cutter};

const struct covered failures_of_op_queue[] = {
	{"thinp_opq_create", &using},
	{"thinp_opq_push", &using},
	{"thinp_opq_pop", &cutting},
	{NULL, NULL},
};
