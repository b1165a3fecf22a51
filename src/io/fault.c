/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/fault.c - a device that misbehaves by script: its controls, and the back-end.
 *
 * Invariants
 *   1. Operations of a batch are carried out one after the other, in the order of the array.
 *   2. What comes through a device that was opened before a power cut changes nothing after it, unless it was at the
 *      device below already: the power is looked at after the callback, which may take its time, and once more under
 *      the lock where the cache is changed.
 */
#include "io/fault.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "io/backend.h"

enum { DEFAULT_CACHE_BLOCKS = 16384 };

/* What a device that was opened stands on. */
struct handle {
	struct thinp_fault *fault;
	uint64_t nr_cuts; /* when it was opened */
};

/* --- the back-end --- */

int tp_fault_check_power(const struct thinp_fault *fault, uint64_t nr_cuts)
{
	return fault->nr_cuts == nr_cuts ? 0 : THINP_EIO;
}

static int check_power(const struct handle *handle)
{
	struct thinp_fault *fault = handle->fault;
	int r;

	pthread_mutex_lock(&fault->lock);
	r = tp_fault_check_power(fault, handle->nr_cuts);
	pthread_mutex_unlock(&fault->lock);
	return r ? tp_fail(r, THINP_NO_BLOCK, "fault: the power was cut since the device was opened") : 0;
}

static int do_op(struct handle *handle, const struct thinp_io_op *op)
{
	struct thinp_fault_rule rule;
	bool is_met;
	int r = check_power(handle);

	if (r)
		return r;
	is_met = tp_fault_match(handle->fault, op, &rule);
	if (is_met && rule.call) {
		r = rule.call(rule.call_ctx, op);
		if (!r)
			r = check_power(handle); /* the callback may have taken its time */
		if (r)
			return r;
	}
	return tp_fault_act(handle->fault, handle->nr_cuts, is_met ? &rule : NULL, op);
}

static void fault_transfer(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	for (size_t i = 0; i < nr_ops; i++)
		ops[i].result = do_op(ctx, &ops[i]);
}

static int fault_flush(void *ctx)
{
	struct thinp_io_op op = {.kind = THINP_IO_FLUSH};

	return do_op(ctx, &op);
}

static int fault_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	static const struct tp_io_steps steps = {.transfer = fault_transfer, .flush = fault_flush};

	return tp_io_in_order(&steps, ctx, ops, nr_ops);
}

static int fault_get_size(void *ctx, uint64_t *nr_blocks)
{
	const struct handle *handle = ctx;

	return thinp_io_size(handle->fault->lower, nr_blocks);
}

/* What is cut off must not come back from the cache. */
static int fault_resize(void *ctx, uint64_t nr_blocks)
{
	const struct handle *handle = ctx;
	struct thinp_fault *fault = handle->fault;
	int r = check_power(handle);

	if (!r && tp_fault_has_cache(fault))
		r = tp_fault_cache_write_back(fault);
	return r ? r : thinp_io_resize(fault->lower, nr_blocks);
}

static void fault_close(void *ctx)
{
	struct handle *handle = ctx;

	tp_free(&handle->fault->allocator, handle, sizeof(*handle));
}

static int create_handle(struct thinp_fault *fault, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	static const struct thinp_io_backend backend = {
		.size = sizeof(backend),
		.name = "fault",
		.get_size = fault_get_size,
		.batch = fault_batch,
		.resize = fault_resize,
		.close = fault_close,
	};
	struct handle *handle = tp_alloc_zeroed(&fault->allocator, 1, sizeof(*handle));
	int r;

	if (!handle)
		return THINP_ENOMEM;
	handle->fault = fault;
	pthread_mutex_lock(&fault->lock);
	handle->nr_cuts = fault->nr_cuts;
	pthread_mutex_unlock(&fault->lock);
	r = thinp_io_create(&backend, handle, opts, io);
	if (r)
		fault_close(handle);
	return r;
}

int thinp_fault_open(struct thinp_fault *fault, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	struct thinp_allocator allocator;
	struct thinp_io_opts taken;
	int r = tp_io_opts_take(&taken, &allocator, opts);

	if (r)
		return r;
	if (thinp_io_is_read_only(fault->lower))
		taken.flags = THINP_IO_READ_ONLY;
	return create_handle(fault, &taken, io);
}

/* --- the controls --- */

static int take_opts(struct thinp_fault_opts *dst, struct thinp_allocator *allocator,
		     const struct thinp_fault_opts *src)
{
	int r = tp_opts_take(dst, sizeof(*dst), src);

	if (r)
		return r;
	if (dst->flags & ~THINP_FAULT_VOLATILE_CACHE)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "fault: unknown flags 0x%x", (unsigned int)dst->flags);
	return tp_allocator_take(allocator, dst->allocator);
}

static int create_locks(struct thinp_fault *fault)
{
	int err = pthread_mutex_init(&fault->lock, NULL);

	if (err)
		return tp_fail_os(err, THINP_NO_BLOCK, "fault: no lock");
	err = pthread_mutex_init(&fault->write_back, NULL);
	if (!err)
		return 0;
	pthread_mutex_destroy(&fault->lock);
	return tp_fail_os(err, THINP_NO_BLOCK, "fault: no lock");
}

/* The tables reach every block there can be, because the device below may grow unseen. Empty they take no memory. */
static int reach_everything(struct tp_sparse *table, const struct thinp_allocator *allocator)
{
	tp_sparse_init(table, allocator);
	return tp_sparse_reach(table, TP_IO_MAX_BLOCKS);
}

static int init_fault(struct thinp_fault *fault, struct thinp_io *lower, const struct thinp_fault_opts *opts)
{
	int r;

	fault->lower = lower;
	fault->flags = opts->flags;
	fault->cache_blocks = opts->cache_blocks ? opts->cache_blocks : DEFAULT_CACHE_BLOCKS;
	r = reach_everything(&fault->old, &fault->allocator);
	if (!r)
		r = reach_everything(&fault->dirty, &fault->allocator);
	return r ? r : create_locks(fault);
}

int thinp_fault_create(struct thinp_io *lower, const struct thinp_fault_opts *opts, struct thinp_fault **fault)
{
	struct thinp_allocator allocator;
	struct thinp_fault_opts taken;
	struct thinp_fault *made;
	int r;

	r = take_opts(&taken, &allocator, opts);
	if (r)
		return r;
	made = tp_alloc_zeroed(&allocator, 1, sizeof(*made));
	if (!made)
		return THINP_ENOMEM;
	made->allocator = allocator;
	r = init_fault(made, lower, &taken);
	if (r)
		tp_free(&allocator, made, sizeof(*made));
	else
		*fault = made;
	return r;
}

void thinp_fault_destroy(struct thinp_fault *fault)
{
	struct thinp_allocator allocator;

	if (!fault)
		return;
	thinp_fault_clear(fault);
	tp_fault_cache_forget(fault);
	tp_sparse_cut(&fault->dirty, 0);
	tp_sparse_cut(&fault->old, 0);
	pthread_mutex_destroy(&fault->write_back);
	pthread_mutex_destroy(&fault->lock);
	allocator = fault->allocator;
	tp_free(&allocator, fault, sizeof(*fault));
}

void thinp_fault_get_stats(struct thinp_fault *fault, struct thinp_fault_stats *stats)
{
	struct thinp_fault_stats now = {.size = sizeof(now)};

	pthread_mutex_lock(&fault->lock);
	now.reads = fault->nr_seen[THINP_IO_READ];
	now.writes = fault->nr_seen[THINP_IO_WRITE];
	now.discards = fault->nr_seen[THINP_IO_DISCARD];
	now.flushes = fault->nr_seen[THINP_IO_FLUSH];
	now.fired = fault->nr_fired;
	now.unflushed_blocks = fault->nr_dirty;
	now.power_cuts = fault->nr_cuts;
	pthread_mutex_unlock(&fault->lock);
	tp_result_give(stats, &now, sizeof(now));
}
