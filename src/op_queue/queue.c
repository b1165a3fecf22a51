/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * op_queue/queue.c - the queue: a policy, and the ledger beside it that trusts it in nothing.
 *
 *   push ---> ledger: is there room?  ---> policy: push ---> ledger: noted
 *   pop  ---> policy: pop  ---> ledger: does it agree? ---> out
 *   delta --> ledger
 *
 * Invariants
 *   1. What is noted in the ledger was taken by the policy, and has not come out.
 *   2. When the policy is empty, what is left in the ledger was dropped by it: it must add up to nothing, and is wiped
 *      before anything new is put in.
 *   3. Once the ledger did not agree, nothing goes in or out before all is forgotten.
 */
#include "op_queue/ledger.h"
#include "op_queue/policies.h"

#include "base/alloc.h"
#include "base/opts.h"

#include <inttypes.h>
#include <string.h>

struct thinp_opq {
	struct thinp_allocator allocator;
	struct thinp_opq_policy policy;
	void *self; /* the policy's; NULL after clearing, until it is needed */
	struct tp_ledger ledger;
	uint64_t nr_pending;
	bool has_held; /* held came out of the policy, but the ledger had no memory to follow */
	struct thinp_op held;
	struct thinp_error_info failure; /* code 0: none */
};

/* --- a policy may be anybody's --- */

static int take_policy(struct thinp_opq_policy *dst, const struct thinp_opq_policy *src)
{
	int r = tp_opts_take(dst, sizeof(*dst), src ? src : &tp_opq_fifo);

	if (r)
		return r;
	if (!dst->create || !dst->destroy || !dst->push || !dst->pop || !dst->is_empty)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a policy needs all five functions");
	if (!dst->name)
		dst->name = "unnamed";
	return 0;
}

/* Sees to it that what a policy answered is a code, and that the detail record tells of it. */
static int report(const struct thinp_opq *queue, const char *what, int r)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	const char *name = queue->policy.name;

	thinp_error_last(&info);
	if (r < 0 && r >= -4095)
		return tp_fail_os(-r, THINP_NO_BLOCK, "%s: %s failed", name, what);
	if (strcmp(thinp_err_name(r), "THINP_E?") == 0)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "%s: %s gave %d, which is no error code", name, what, r);
	if (info.code != r)
		return tp_fail(r, THINP_NO_BLOCK, "%s: %s failed: %s", name, what, thinp_strerror(r));
	return r;
}

static int make_store(struct thinp_opq *queue)
{
	void *self = NULL;
	int r;

	if (queue->self)
		return 0;
	r = queue->policy.create(queue->policy.ctx, &queue->allocator, &self);
	if (r)
		return report(queue, "create", r);
	if (!self)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "%s: create gave nothing", queue->policy.name);
	queue->self = self;
	return 0;
}

static bool is_policy_empty(const struct thinp_opq *queue)
{
	return !queue->has_held && (!queue->self || queue->policy.is_empty(queue->self));
}

/* --- making and forgetting --- */

int thinp_opq_create(const struct thinp_opq_policy *policy, const struct thinp_allocator *allocator,
		     struct thinp_opq **queue)
{
	struct thinp_opq_policy taken;
	struct thinp_allocator from;
	struct thinp_opq *q;
	int r = take_policy(&taken, policy);

	if (!r)
		r = tp_allocator_take(&from, allocator);
	if (r)
		return r;
	q = tp_alloc_zeroed(&from, 1, sizeof(*q));
	if (!q)
		return THINP_ENOMEM;
	q->policy = taken;
	q->allocator = from;
	q->failure.size = sizeof(q->failure);
	tp_ledger_init(&q->ledger, &q->allocator);
	r = make_store(q);
	if (r) {
		tp_free(&from, q, sizeof(*q));
		return r;
	}
	*queue = q;
	return 0;
}

void thinp_opq_clear(struct thinp_opq *queue)
{
	if (queue->self)
		queue->policy.destroy(queue->self);
	queue->self = NULL;
	tp_ledger_clear(&queue->ledger);
	queue->nr_pending = 0;
	queue->has_held = false;
	queue->failure.code = 0;
}

void thinp_opq_destroy(struct thinp_opq *queue)
{
	struct thinp_allocator allocator;

	if (!queue)
		return;
	thinp_opq_clear(queue);
	allocator = queue->allocator;
	tp_free(&allocator, queue, sizeof(*queue));
}

const char *thinp_opq_policy_name(const struct thinp_opq *queue)
{
	return queue->policy.name;
}

/* --- failing --- */

/* Keeps the detail record, to answer the same from now on. */
static int stay_failed(struct thinp_opq *queue)
{
	thinp_error_last(&queue->failure);
	return queue->failure.code;
}

static int check_not_failed(const struct thinp_opq *queue)
{
	if (queue->failure.code)
		tp_error_restore(&queue->failure);
	return queue->failure.code;
}

static int fail_op(struct thinp_opq *queue, const struct thinp_op *op, uint64_t block, const char *why)
{
	const char *kind = op->kind == THINP_OP_INC ? "INC" : op->kind == THINP_OP_DEC ? "DEC" : "neither INC nor DEC";

	tp_fail(THINP_EREFCOUNT, block, "%s: op %" PRIu64 ", %s of block %" PRIu64 ", %s", queue->policy.name,
		op->number, kind, block, why);
	return stay_failed(queue);
}

/* The policy is empty: wipes what it dropped. */
static int settle(struct thinp_opq *queue)
{
	struct tp_ledger_doubt doubt;

	if (tp_ledger_is_empty(&queue->ledger)) {
		queue->nr_pending = 0;
		return 0;
	}
	if (!tp_ledger_is_balanced(&queue->ledger, &doubt)) {
		tp_fail(THINP_EREFCOUNT, doubt.block,
			"%s: lost operations of block %" PRIu64 ": %+" PRId64 " was put in and never came out",
			queue->policy.name, doubt.block, doubt.sum);
		return stay_failed(queue);
	}
	tp_ledger_clear(&queue->ledger);
	queue->nr_pending = 0;
	return 0;
}

/* --- in --- */

static bool is_sound(const struct thinp_op *op)
{
	return (op->kind == THINP_OP_INC || op->kind == THINP_OP_DEC) && op->nr_blocks &&
	       op->first <= UINT64_MAX - (op->nr_blocks - 1);
}

static uint64_t last_of(const struct thinp_op *op)
{
	return op->first + (op->nr_blocks - 1);
}

int thinp_opq_push(struct thinp_opq *queue, const struct thinp_op *op)
{
	int r = check_not_failed(queue);

	if (r)
		return r;
	if (!is_sound(op))
		return tp_fail(THINP_EINVAL, op->first,
			       "op %" PRIu64 " is neither INC nor DEC, has no blocks, or goes beyond block 2^64-1",
			       op->number);
	if (is_policy_empty(queue))
		r = settle(queue);
	if (!r)
		r = make_store(queue);
	if (!r)
		r = tp_ledger_prepare(&queue->ledger, op->first, last_of(op));
	if (r)
		return r;
	r = queue->policy.push(queue->self, op);
	if (r)
		return report(queue, "push", r);
	tp_ledger_add(&queue->ledger, op->first, last_of(op), op->kind);
	queue->nr_pending++;
	return 0;
}

/* --- out --- */

/* Holds the next operation, without having asked the ledger. */
static int hold_next(struct thinp_opq *queue)
{
	struct thinp_op op = {0};
	int r;

	if (queue->has_held)
		return 0;
	r = queue->policy.pop(queue->self, &op);
	if (r)
		return report(queue, "pop", r);
	queue->held = op;
	queue->has_held = true;
	return 0;
}

static int release_held(struct thinp_opq *queue)
{
	const struct thinp_op *op = &queue->held;
	struct tp_ledger_doubt doubt;
	int r;

	if (!is_sound(op))
		return fail_op(queue, op, op->first, "was never put in: there is no such operation");
	r = tp_ledger_take(&queue->ledger, op->first, last_of(op), op->kind, &doubt);
	if (r == THINP_EREFCOUNT)
		return fail_op(queue, op, doubt.block,
			       doubt.has_overtook ? "overtook what was put in before it" : "was never put in");
	if (!r)
		queue->has_held = false;
	return r;
}

int thinp_opq_pop(struct thinp_opq *queue, struct thinp_op *op)
{
	int r = check_not_failed(queue);

	if (r)
		return r;
	if (is_policy_empty(queue)) {
		r = settle(queue);
		return r ? r : tp_fail(THINP_ENODATA, THINP_NO_BLOCK, "no operation is pending");
	}
	r = hold_next(queue);
	if (!r)
		r = release_held(queue);
	if (r)
		return r;
	queue->nr_pending -= queue->nr_pending > 0;
	*op = queue->held;
	return 0;
}

/* --- asking --- */

int64_t thinp_opq_delta(const struct thinp_opq *queue, uint64_t block)
{
	return tp_ledger_delta(&queue->ledger, block);
}

bool thinp_opq_is_empty(const struct thinp_opq *queue)
{
	return !queue->failure.code && is_policy_empty(queue) && tp_ledger_is_balanced(&queue->ledger, NULL);
}

uint64_t thinp_opq_nr_pending(const struct thinp_opq *queue)
{
	if (thinp_opq_is_empty(queue))
		return 0;
	return queue->nr_pending ? queue->nr_pending : 1;
}
