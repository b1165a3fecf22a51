/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/record_device.c - the back-end that writes the log: first into the log, then to the device below.
 *
 * The operations between two flushes begin together and end together in the log, whatever the device below made of
 * them: it was free to carry them out in any order.
 */
#include "base/alloc.h"
#include "base/error.h"
#include "io/backend.h"
#include "io/record.h"

#include <stdalign.h>
#include <string.h>

/* What one call of batch() needs on its way. */
struct call {
	struct thinp_record *record;
	uint64_t batch;
};

/* --- into the log --- */

static int keep_firsts(struct thinp_record *record, thinp_block_t begin, thinp_block_t end)
{
	int r = 0;

	for (thinp_block_t block = begin; block < end && !r; block++)
		r = tp_record_keep_first(record, block);
	return r;
}

static uint8_t *copy_data(struct thinp_record *record, const struct thinp_io_op *op)
{
	size_t nr_bytes = (size_t)op->nr_blocks * THINP_BLOCK_SIZE;
	uint8_t *data;

	if (tp_record_reserve(record, nr_bytes))
		return NULL;
	data = tp_alloc_aligned(&record->allocator, nr_bytes, alignof(max_align_t));
	if (data)
		memcpy(data, op->buffer, nr_bytes);
	else
		tp_record_release(record, nr_bytes);
	return data;
}

static int begin_write(struct call *call, const struct thinp_io_op *op, struct tp_record_entry **added)
{
	struct thinp_record *record = call->record;
	struct tp_record_entry entry = {
		.kind = THINP_RECORD_WRITE, .block = op->block, .nr_blocks = op->nr_blocks, .batch = call->batch};
	int r = keep_firsts(record, op->block, op->block + op->nr_blocks);

	if (r)
		return r;
	entry.data = copy_data(record, op);
	if (!entry.data)
		return THINP_ENOMEM;
	r = tp_record_begin(record, &entry, added);
	if (r) {
		tp_free(&record->allocator, entry.data, (size_t)op->nr_blocks * THINP_BLOCK_SIZE);
		tp_record_release(record, op->nr_blocks * THINP_BLOCK_SIZE);
	}
	return r;
}

static int begin_discard(struct call *call, const struct thinp_io_op *op, struct tp_record_entry **added)
{
	const struct tp_record_entry entry = {
		.kind = THINP_RECORD_DISCARD, .block = op->block, .nr_blocks = op->nr_blocks, .batch = call->batch};

	return tp_record_begin(call->record, &entry, added);
}

static int begin_op(struct call *call, const struct thinp_io_op *op, struct tp_record_entry **added)
{
	if (op->kind == THINP_IO_WRITE)
		return begin_write(call, op, added);
	return op->kind == THINP_IO_DISCARD ? begin_discard(call, op, added) : 0;
}

static void end_ops(struct thinp_record *record, const struct thinp_io_op *ops, size_t nr_ops,
		    struct tp_record_entry **entries)
{
	pthread_mutex_lock(&record->lock);
	record->clock++;
	for (size_t i = 0; i < nr_ops; i++) {
		if (!entries[i])
			continue;
		entries[i]->result = ops[i].result;
		entries[i]->ended = record->clock;
	}
	pthread_mutex_unlock(&record->lock);
}

static void end_one(struct thinp_record *record, struct tp_record_entry *entry, int result)
{
	struct thinp_io_op op = {.result = result};

	end_ops(record, &op, 1, &entry);
}

/* --- to the device below --- */

/* Reads, and writes that are in the log. */
static bool goes_below(const struct thinp_io_op *op, const struct tp_record_entry *entry)
{
	return op->kind == THINP_IO_READ || (op->kind == THINP_IO_WRITE && entry);
}

/* Hands neighbours over as one batch; what happens to each is told in its result. */
static void pass_on(struct thinp_record *record, struct thinp_io_op *ops, size_t nr_ops,
		    struct tp_record_entry *const *entries)
{
	for (size_t at = 0; at < nr_ops;) {
		size_t end = at;

		while (end < nr_ops && goes_below(&ops[end], entries[end]))
			end++;
		if (end > at)
			(void)thinp_io_batch(record->lower, ops + at, end - at);
		at = end + 1;
	}
}

static void transfer(struct call *call, struct thinp_io_op *ops, size_t nr_ops, struct tp_record_entry **entries)
{
	for (size_t i = 0; i < nr_ops; i++)
		ops[i].result = begin_op(call, &ops[i], &entries[i]);
	pass_on(call->record, ops, nr_ops, entries);
	end_ops(call->record, ops, nr_ops, entries);
}

static void record_transfer(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	struct call *call = ctx;
	struct tp_record_entry **entries;

	if (!nr_ops)
		return;
	entries = tp_alloc_zeroed(&call->record->allocator, nr_ops, sizeof(*entries));
	if (entries)
		transfer(call, ops, nr_ops, entries);
	else
		tp_io_set_results(ops, nr_ops, THINP_ENOMEM);
	tp_free(&call->record->allocator, entries, nr_ops * sizeof(*entries));
}

static int record_flush(void *ctx)
{
	struct call *call = ctx;
	const struct tp_record_entry entry = {.kind = THINP_RECORD_FLUSH, .batch = call->batch};
	struct tp_record_entry *added;
	int r = tp_record_begin(call->record, &entry, &added);

	if (r)
		return r;
	r = thinp_io_flush(call->record->lower);
	end_one(call->record, added, r);
	return r;
}

static int record_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	static const struct tp_io_steps steps = {.transfer = record_transfer, .flush = record_flush};
	struct call call = {.record = ctx};

	pthread_mutex_lock(&call.record->lock);
	call.batch = ++call.record->nr_batches;
	pthread_mutex_unlock(&call.record->lock);
	return tp_io_in_order(&steps, &call, ops, nr_ops);
}

/* --- size --- */

static int record_get_size(void *ctx, uint64_t *nr_blocks)
{
	const struct thinp_record *record = ctx;

	return thinp_io_size(record->lower, nr_blocks);
}

/* The size below may be another one than was asked for, after a failure or with a growth step. */
static int resize_below(struct thinp_record *record, uint64_t nr_blocks, struct tp_record_entry *added)
{
	int r = thinp_io_resize(record->lower, nr_blocks);
	uint64_t size = nr_blocks;
	int r_size = thinp_io_size(record->lower, &size);

	pthread_mutex_lock(&record->lock);
	added->nr_blocks = size;
	pthread_mutex_unlock(&record->lock);
	return r ? r : r_size;
}

static int record_resize(void *ctx, uint64_t nr_blocks)
{
	const struct tp_record_entry entry = {.kind = THINP_RECORD_RESIZE, .nr_blocks = nr_blocks};
	struct thinp_record *record = ctx;
	struct tp_record_entry *added;
	int r = keep_firsts(record, nr_blocks, record->first_size);

	if (!r)
		r = tp_record_begin(record, &entry, &added);
	if (r)
		return r;
	r = resize_below(record, nr_blocks, added);
	end_one(record, added, r);
	return r;
}

int thinp_record_open(struct thinp_record *record, const struct thinp_io_opts *opts, struct thinp_io **io)
{
	static const struct thinp_io_backend backend = {
		.size = sizeof(backend),
		.name = "record",
		.get_size = record_get_size,
		.batch = record_batch,
		.resize = record_resize,
	};
	struct thinp_allocator allocator;
	struct thinp_io_opts taken;
	int r = tp_io_opts_take(&taken, &allocator, opts);

	if (r)
		return r;
	if (thinp_io_is_read_only(record->lower))
		taken.flags = THINP_IO_READ_ONLY;
	return thinp_io_create(&backend, record, &taken, io);
}
