/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/fault_action.c - what a rule does to an operation.
 *
 * Every action ends in carry_out(), which is what a sound device would do: there what STALE rules want to know is kept,
 * and there it is decided whether an operation meets the volatile cache.
 */
#include "io/fault.h"

#include "base/alloc.h"
#include "base/error.h"
#include "io/backend.h"
#include "io/random.h"
#include "io/sectors.h"

/* --- what blocks held before --- */

static bool wants_old(struct thinp_fault *fault, thinp_block_t block)
{
	bool is_wanted;

	pthread_mutex_lock(&fault->lock);
	is_wanted = tp_fault_wants_old(fault, block);
	pthread_mutex_unlock(&fault->lock);
	return is_wanted;
}

static uint8_t *new_block(struct thinp_fault *fault)
{
	return tp_alloc_aligned(&fault->allocator, THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
}

static void free_block(struct thinp_fault *fault, uint8_t *data)
{
	tp_free(&fault->allocator, data, THINP_BLOCK_SIZE);
}

static int read_block(struct thinp_fault *fault, thinp_block_t block, uint8_t *buffer)
{
	struct thinp_io_op op = {.kind = THINP_IO_READ, .block = block, .nr_blocks = 1, .buffer = buffer};

	if (tp_fault_has_cache(fault))
		return tp_fault_cache_read(fault, &op);
	return thinp_io_batch(fault->lower, &op, 1);
}

/* Keeps what the block holds now, in place of what was kept before. */
static int keep_old(struct thinp_fault *fault, thinp_block_t block)
{
	uint8_t *data = new_block(fault);
	int r = data ? read_block(fault, block, data) : THINP_ENOMEM;

	if (!r)
		r = tp_sparse_make_way(&fault->old, block);
	if (!r) {
		pthread_mutex_lock(&fault->lock);
		data = tp_sparse_put(&fault->old, block, data);
		pthread_mutex_unlock(&fault->lock);
	}
	free_block(fault, data);
	return r;
}

static int keep_all_old(struct thinp_fault *fault, const struct thinp_io_op *op)
{
	int r = 0;

	for (thinp_block_t block = op->block; block < op->block + op->nr_blocks && !r; block++)
		if (wants_old(fault, block))
			r = keep_old(fault, block);
	return r;
}

/* --- as it should be --- */

static int carry_out_below(struct thinp_fault *fault, const struct thinp_io_op *op)
{
	struct thinp_io_op below = *op;

	return thinp_io_batch(fault->lower, &below, 1);
}

static int carry_out_cached(struct thinp_fault *fault, uint64_t nr_cuts, const struct thinp_io_op *op)
{
	switch (op->kind) {
	case THINP_IO_READ:
		return tp_fault_cache_read(fault, op);
	case THINP_IO_WRITE:
		return tp_fault_cache_write(fault, nr_cuts, op);
	case THINP_IO_DISCARD:
		return tp_fault_cache_discard(fault, op);
	default:
		return tp_fault_cache_flush(fault);
	}
}

static int carry_out(struct thinp_fault *fault, uint64_t nr_cuts, const struct thinp_io_op *op)
{
	int r = op->kind == THINP_IO_WRITE ? keep_all_old(fault, op) : 0;

	if (r)
		return r;
	return tp_fault_has_cache(fault) ? carry_out_cached(fault, nr_cuts, op) : carry_out_below(fault, op);
}

/* --- as it should not be --- */

static int fail(const struct thinp_fault_rule *rule, const struct thinp_io_op *op)
{
	int code = rule->code ? rule->code : THINP_EIO;

	return tp_fail(code, op->kind == THINP_IO_FLUSH ? THINP_NO_BLOCK : op->block, "fault: made to fail by a rule");
}

/* Which sectors of the n-th block of an operation the rule chooses. */
static uint32_t chosen_sectors(const struct thinp_fault_rule *rule, uint64_t n)
{
	uint32_t sectors = TP_SECTORS_NONE;

	for (uint64_t i = 0; i < TP_SECTORS_PER_BLOCK; i++) {
		uint64_t number = n * TP_SECTORS_PER_BLOCK + i;
		bool is_below = number < rule->nr_sectors;
		bool is_set = rule->sector_mask >> number % 64 & 1;

		if (rule->sector_mask ? is_set && (is_below || !rule->nr_sectors) : is_below)
			sectors |= 1u << i;
	}
	return sectors;
}

/* Writes some sectors of a block. The device takes only whole blocks, so the others are read before. */
static int write_sectors(struct thinp_fault *fault, uint64_t nr_cuts, struct thinp_io_op op, uint32_t sectors)
{
	uint8_t *merged;
	int r;

	if (sectors == TP_SECTORS_NONE)
		return 0;
	if (sectors == TP_SECTORS_ALL)
		return carry_out(fault, nr_cuts, &op);
	merged = new_block(fault);
	if (!merged)
		return THINP_ENOMEM;
	r = read_block(fault, op.block, merged);
	if (!r) {
		tp_sectors_copy(merged, op.buffer, sectors);
		op.buffer = merged;
		r = carry_out(fault, nr_cuts, &op);
	}
	free_block(fault, merged);
	return r;
}

/* The n-th block of an operation as an operation of its own. */
static struct thinp_io_op nth_block(const struct thinp_io_op *op, uint64_t n)
{
	return (struct thinp_io_op){
		.kind = op->kind,
		.block = op->block + n,
		.nr_blocks = 1,
		.buffer = (uint8_t *)op->buffer + n * THINP_BLOCK_SIZE,
	};
}

static int tear(struct thinp_fault *fault, uint64_t nr_cuts, const struct thinp_fault_rule *rule,
		const struct thinp_io_op *op)
{
	int r = 0;

	for (uint64_t n = 0; n < op->nr_blocks && !r; n++)
		r = write_sectors(fault, nr_cuts, nth_block(op, n), chosen_sectors(rule, n));
	return r;
}

static int misdirect(struct thinp_fault *fault, uint64_t nr_cuts, const struct thinp_fault_rule *rule,
		     const struct thinp_io_op *op)
{
	struct thinp_io_op elsewhere = *op;
	uint64_t size = 0;
	int r = thinp_io_size(fault->lower, &size);

	if (r)
		return r;
	if (rule->target > size || op->nr_blocks > size - rule->target)
		return tp_fail(THINP_ERANGE, op->block, "fault: misdirected beyond the end of the device");
	elsewhere.block = rule->target;
	return carry_out(fault, nr_cuts, &elsewhere);
}

static void fill_with_garbage(uint8_t *buffer, thinp_block_t block)
{
	uint64_t state = block;

	for (size_t i = 0; i < THINP_BLOCK_SIZE; i++)
		buffer[i] = (uint8_t)tp_random_next(&state);
}

static int read_short(struct thinp_fault *fault, const struct thinp_fault_rule *rule, const struct thinp_io_op *op)
{
	uint8_t *whole = new_block(fault);
	int r = whole ? 0 : THINP_ENOMEM;

	for (uint64_t n = 0; n < op->nr_blocks && !r; n++) {
		struct thinp_io_op part = nth_block(op, n);

		r = read_block(fault, part.block, whole);
		if (!r && rule->flags & THINP_FAULT_GARBAGE)
			fill_with_garbage(part.buffer, part.block);
		if (!r)
			tp_sectors_copy(part.buffer, whole, chosen_sectors(rule, n));
	}
	free_block(fault, whole);
	return r;
}

static void make_stale(struct thinp_fault *fault, thinp_block_t block, uint8_t *buffer)
{
	const uint8_t *old;

	pthread_mutex_lock(&fault->lock);
	old = tp_sparse_find(&fault->old, block);
	if (old)
		tp_sectors_copy(buffer, old, TP_SECTORS_ALL);
	pthread_mutex_unlock(&fault->lock);
}

static int read_wrong(struct thinp_fault *fault, const struct thinp_fault_rule *rule, const struct thinp_io_op *op)
{
	int r = carry_out(fault, 0, op);

	for (uint64_t n = 0; n < op->nr_blocks && !r; n++) {
		struct thinp_io_op part = nth_block(op, n);
		uint8_t *buffer = part.buffer;

		if (!tp_fault_in_range(rule, part.block))
			continue;
		if (rule->action == THINP_FAULT_STALE)
			make_stale(fault, part.block, buffer);
		else
			buffer[rule->offset_bytes] ^= (uint8_t)rule->flip_mask;
	}
	return r;
}

static int do_action(struct thinp_fault *fault, uint64_t nr_cuts, const struct thinp_fault_rule *rule,
		     const struct thinp_io_op *op)
{
	switch (rule->action) {
	case THINP_FAULT_FAIL:
		return fail(rule, op);
	case THINP_FAULT_DROP:
		return 0;
	case THINP_FAULT_ANSWER:
		(void)carry_out(fault, nr_cuts, op); /* to lose this failure is what the rule is for */
		return 0;
	case THINP_FAULT_TEAR:
		return tear(fault, nr_cuts, rule, op);
	case THINP_FAULT_MISDIRECT:
		return misdirect(fault, nr_cuts, rule, op);
	case THINP_FAULT_STALE:
	case THINP_FAULT_FLIP:
		return read_wrong(fault, rule, op);
	case THINP_FAULT_SHORT:
		return read_short(fault, rule, op);
	default:
		return carry_out(fault, nr_cuts, op);
	}
}

int tp_fault_act(struct thinp_fault *fault, uint64_t nr_cuts, const struct thinp_fault_rule *rule,
		 const struct thinp_io_op *op)
{
	int r;

	if (!rule)
		return carry_out(fault, nr_cuts, op);
	r = do_action(fault, nr_cuts, rule, op);
	return rule->code ? rule->code : r;
}
