/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/watch.c - a policy around the caller's, which remembers what that gave last: when the queue refuses an
 * operation, the trace can show it.
 */
#include "space_map/sm.h"

#include "base/alloc.h"
#include "base/opts.h"

struct tp_watch_policy {
	struct thinp_opq_policy table; /* the caller's, or fifo */
	struct thinp_sm *sm;
};

/* A store of operations made by the caller's policy. */
struct watched {
	struct tp_watch_policy *watch;
	void *self;
};

static int watch_create(void *ctx, const struct thinp_allocator *allocator, void **self)
{
	struct tp_watch_policy *watch = ctx;
	struct watched *watched = tp_alloc_zeroed(&watch->sm->allocator, 1, sizeof(*watched));
	int r;

	if (!watched)
		return THINP_ENOMEM;
	watched->watch = watch;
	r = watch->table.create(watch->table.ctx, allocator, &watched->self);
	if (r) {
		tp_free(&watch->sm->allocator, watched, sizeof(*watched));
		return r;
	}
	*self = watched;
	return 0;
}

static void watch_destroy(void *self)
{
	struct watched *watched = self;
	const struct tp_watch_policy *watch = watched->watch;

	watch->table.destroy(watched->self);
	tp_free(&watch->sm->allocator, watched, sizeof(*watched));
}

static int watch_push(void *self, const struct thinp_op *op)
{
	const struct watched *watched = self;

	return watched->watch->table.push(watched->self, op);
}

static int watch_pop(void *self, struct thinp_op *op)
{
	const struct watched *watched = self;
	int r = watched->watch->table.pop(watched->self, op);

	if (!r)
		watched->watch->sm->popped = *op;
	return r;
}

static bool watch_is_empty(const void *self)
{
	const struct watched *watched = self;

	return watched->watch->table.is_empty(watched->self);
}

static int take_policy(struct thinp_opq_policy *dst, const struct thinp_opq_policy *src)
{
	int r = tp_opts_take(dst, sizeof(*dst), src ? src : thinp_opq_policy_by_name("fifo"));

	if (!r && (!dst->create || !dst->destroy || !dst->push || !dst->pop || !dst->is_empty))
		r = tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "a policy needs all five functions");
	return r;
}

int tp_sm_create_queue(struct thinp_sm *sm, const struct thinp_opq_policy *policy)
{
	struct thinp_opq_policy outer = {.size = sizeof(outer),
					 .create = watch_create,
					 .destroy = watch_destroy,
					 .push = watch_push,
					 .pop = watch_pop,
					 .is_empty = watch_is_empty};
	struct tp_watch_policy *watch = tp_alloc_zeroed(&sm->allocator, 1, sizeof(*watch));
	int r;

	if (!watch)
		return THINP_ENOMEM;
	watch->sm = sm;
	r = take_policy(&watch->table, policy);
	outer.name = watch->table.name;
	outer.ctx = watch;
	if (!r)
		r = thinp_opq_create(&outer, &sm->allocator, &sm->queue);
	if (r)
		tp_free(&sm->allocator, watch, sizeof(*watch));
	else
		sm->watch = watch;
	return r;
}

void tp_sm_destroy_queue(struct thinp_sm *sm)
{
	thinp_opq_destroy(sm->queue);
	tp_free(&sm->allocator, sm->watch, sizeof(*sm->watch));
}
