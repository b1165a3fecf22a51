/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/block_device.c - a back-end over an array of blocks.
 */
#include "support/block_device.h"

#include "base/bytes.h"
#include "format/array_block.h"
#include "format/kind.h"
#include "format/node.h"
#include "format/thin.h"

#include <thinp/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- what a thread does is noted, and decides what happens to it --- */

static bool is_next_to_fail(struct block_device *device, uint32_t kind)
{
	return device->fail_kinds & kind && ++device->nr_calls == device->fail_at;
}

static void note_change(struct block_device *device, const struct thinp_io_op *op)
{
	if (device->nr_changes < BLOCK_DEVICE_LOG)
		device->changes[device->nr_changes] =
			(struct block_device_op){.kind = op->kind, .block = op->block, .nr_blocks = op->nr_blocks};
	device->nr_changes++;
}

static void note_read(struct block_device *device, thinp_block_t block, const void *buffer)
{
	if (device->nr_reads < BLOCK_DEVICE_LOG) {
		device->log[device->nr_reads] = block;
		device->log_buffer[device->nr_reads] = buffer;
	}
	device->nr_reads++;
}

static void pass_gate(struct block_device *device, thinp_block_t block)
{
	if (!device->is_gate_shut || (block != device->gates[0] && block != device->gates[1]))
		return;
	device->nr_stopped++;
	pthread_cond_broadcast(&device->changed);
	while (device->is_gate_shut)
		pthread_cond_wait(&device->changed, &device->lock);
	device->nr_stopped--;
	pthread_cond_broadcast(&device->changed);
}

/* --- the back-end --- */

static int get_size(void *ctx, uint64_t *nr_blocks)
{
	struct block_device *device = ctx;
	int r = 0;

	pthread_mutex_lock(&device->lock);
	device->nr_sizes++;
	if (is_next_to_fail(device, BLOCK_DEVICE_FAIL_SIZE))
		r = device->fail_with;
	else
		*nr_blocks = device->nr_blocks;
	pthread_mutex_unlock(&device->lock);
	return r;
}

static uint8_t *at(const struct block_device *device, thinp_block_t block)
{
	return device->blocks + block * THINP_BLOCK_SIZE;
}

static int read_op(struct block_device *device, const struct thinp_io_op *op)
{
	uint8_t *to = op->buffer;

	for (uint64_t i = 0; i < op->nr_blocks; i++) {
		thinp_block_t block = op->block + i;

		note_read(device, block, to + i * THINP_BLOCK_SIZE);
		if (is_next_to_fail(device, BLOCK_DEVICE_FAIL_READ))
			return device->fail_with;
		if (!device->is_gate_behind)
			pass_gate(device, block);
		memcpy(to + i * THINP_BLOCK_SIZE, at(device, block), THINP_BLOCK_SIZE);
		if (device->is_gate_behind)
			pass_gate(device, block);
	}
	return 0;
}

static int write_op(struct block_device *device, const struct thinp_io_op *op)
{
	size_t nbytes = op->nr_blocks * THINP_BLOCK_SIZE;

	note_change(device, op);
	if (is_next_to_fail(device, BLOCK_DEVICE_FAIL_WRITE)) {
		memcpy(at(device, op->block), op->buffer, nbytes / 2);
		return device->fail_with;
	}
	for (uint64_t i = 0; i < op->nr_blocks && !device->is_gate_behind; i++)
		pass_gate(device, op->block + i);
	memcpy(at(device, op->block), op->buffer, nbytes);
	return 0;
}

static int flush_op(struct block_device *device, const struct thinp_io_op *op)
{
	note_change(device, op);
	return is_next_to_fail(device, BLOCK_DEVICE_FAIL_FLUSH) ? device->fail_with : 0;
}

static int carry_out(struct block_device *device, const struct thinp_io_op *op)
{
	switch (op->kind) {
	case THINP_IO_READ:
		return read_op(device, op);
	case THINP_IO_WRITE:
		return write_op(device, op);
	case THINP_IO_FLUSH:
		return flush_op(device, op);
	default:
		return THINP_ENOTSUP;
	}
}

static int batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	struct block_device *device = ctx;
	bool is_cancelled = false;
	int first = 0;

	if (device->hook)
		device->hook(device->hook_ctx);
	pthread_mutex_lock(&device->lock);
	device->nr_batches++;
	for (size_t i = 0; i < nr_ops; i++) {
		is_cancelled |= first && ops[i].kind == THINP_IO_FLUSH;
		ops[i].result = is_cancelled ? THINP_ECANCELED : carry_out(device, &ops[i]);
		if (!first)
			first = ops[i].result;
		is_cancelled |= first && ops[i].kind == THINP_IO_FLUSH;
	}
	pthread_mutex_unlock(&device->lock);
	return first;
}

/* --- the same without any lock, which would put the threads in an order and so hide their races --- */

static int quiet_get_size(void *ctx, uint64_t *nr_blocks)
{
	const struct block_device *device = ctx;

	*nr_blocks = device->nr_blocks;
	return 0;
}

static int quiet_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	const struct block_device *device = ctx;

	for (size_t i = 0; i < nr_ops; i++) {
		size_t nbytes = ops[i].nr_blocks * THINP_BLOCK_SIZE;

		if (ops[i].kind == THINP_IO_READ)
			memcpy(ops[i].buffer, at(device, ops[i].block), nbytes);
		else if (ops[i].kind == THINP_IO_WRITE)
			memcpy(at(device, ops[i].block), ops[i].buffer, nbytes);
		ops[i].result = 0;
	}
	return 0;
}

/* --- opening and closing --- */

static const struct thinp_io_backend backend = {
	.size = sizeof(backend), .name = "test device", .get_size = get_size, .batch = batch};

static void open_with(struct block_device *device, uint64_t nr_blocks, const struct thinp_io_backend *table)
{
	memset(device, 0, sizeof(*device));
	device->nr_blocks = nr_blocks;
	device->blocks = calloc(nr_blocks, THINP_BLOCK_SIZE);
	assert_non_null(device->blocks);
	assert_int_equal(pthread_mutex_init(&device->lock, NULL), 0);
	assert_int_equal(pthread_cond_init(&device->changed, NULL), 0);
	for (thinp_block_t block = 0; block < nr_blocks; block++)
		block_device_fill(device, block, thinp_block_type_bitmap(), block);
	assert_int_equal(thinp_io_create(table, device, NULL, &device->io), 0);
}

void block_device_open(struct block_device *device, uint64_t nr_blocks)
{
	open_with(device, nr_blocks, &backend);
}

struct thinp_io *block_device_open_read_only(struct block_device *device)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_READ_ONLY};
	struct thinp_io *io;

	assert_int_equal(thinp_io_create(&backend, device, &opts, &io), 0);
	return io;
}

void block_device_open_quiet(struct block_device *device, uint64_t nr_blocks)
{
	static const struct thinp_io_backend quiet = {
		.size = sizeof(quiet), .name = "quiet device", .get_size = quiet_get_size, .batch = quiet_batch};

	open_with(device, nr_blocks, &quiet);
}

void block_device_close(struct block_device *device)
{
	thinp_io_close(device->io);
	pthread_cond_destroy(&device->changed);
	pthread_mutex_destroy(&device->lock);
	free(device->blocks);
}

/* --- content --- */

/* What the rules of a kind demand is put over the pattern. */
static void make_valid(uint8_t *data, const struct thinp_block_type *type)
{
	const struct tp_thin_superblock sb = {.magic = TP_THIN_MAGIC, .metadata_block_size = TP_METADATA_BLOCK_SECTORS};

	if (type == thinp_block_type_thin_superblock())
		tp_thin_superblock_pack(&sb, data);
	else if (type == thinp_block_type_node())
		tp_node_pack(&(struct tp_node_header){.flags = TP_NODE_LEAF, .max_entries = 252, .value_size = 8},
			     data);
	else if (type == thinp_block_type_array())
		tp_array_block_pack(&(struct tp_array_header){.max_entries = 509, .value_size = 8}, data);
}

void block_device_fill(struct block_device *device, thinp_block_t block, const struct thinp_block_type *type,
		       thinp_block_t place)
{
	uint8_t *data = device->blocks + block * THINP_BLOCK_SIZE;

	for (uint64_t i = 0; i < THINP_BLOCK_SIZE / 8; i++)
		tp_store_le64(data + 8 * i,
			      (block + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ i * UINT64_C(0x94d049bb133111eb));
	make_valid(data, type);
	tp_block_seal(data, place, type);
}

bool block_device_is(const struct block_device *device, thinp_block_t block, const void *data)
{
	return memcmp(data, device->blocks + block * THINP_BLOCK_SIZE, THINP_BLOCK_SIZE) == 0;
}

/* --- counts and script --- */

void block_device_forget(struct block_device *device)
{
	pthread_mutex_lock(&device->lock);
	device->nr_sizes = 0;
	device->nr_batches = 0;
	device->nr_reads = 0;
	device->nr_changes = 0;
	pthread_mutex_unlock(&device->lock);
}

static size_t read_count(struct block_device *device, const size_t *count)
{
	size_t value;

	pthread_mutex_lock(&device->lock);
	value = *count;
	pthread_mutex_unlock(&device->lock);
	return value;
}

size_t block_device_nr_reads(struct block_device *device)
{
	return read_count(device, &device->nr_reads);
}

size_t block_device_nr_batches(struct block_device *device)
{
	return read_count(device, &device->nr_batches);
}

size_t block_device_nr_changes(struct block_device *device)
{
	return read_count(device, &device->nr_changes);
}

void block_device_fail_kinds(struct block_device *device, uint32_t kinds, size_t n, int result)
{
	pthread_mutex_lock(&device->lock);
	device->fail_kinds = kinds;
	device->fail_at = n ? device->nr_calls + n : 0;
	device->fail_with = result;
	pthread_mutex_unlock(&device->lock);
}

void block_device_fail(struct block_device *device, size_t n, int result)
{
	block_device_fail_kinds(device, BLOCK_DEVICE_FAIL_SIZE | BLOCK_DEVICE_FAIL_READ, n, result);
}

bool block_device_has_failed(struct block_device *device)
{
	return device->fail_at && read_count(device, &device->nr_calls) >= device->fail_at;
}

static void shut_gates(struct block_device *device, thinp_block_t block, thinp_block_t other, bool is_behind)
{
	pthread_mutex_lock(&device->lock);
	device->gates[0] = block;
	device->gates[1] = other;
	device->is_gate_behind = is_behind;
	device->is_gate_shut = true;
	pthread_mutex_unlock(&device->lock);
}

void block_device_shut_gate(struct block_device *device, thinp_block_t block)
{
	shut_gates(device, block, block, false);
}

void block_device_shut_gates(struct block_device *device, thinp_block_t block, thinp_block_t other)
{
	shut_gates(device, block, other, false);
}

void block_device_shut_gate_behind(struct block_device *device, thinp_block_t block)
{
	shut_gates(device, block, block, true);
}

void block_device_wait_stopped(struct block_device *device, unsigned int nr_threads)
{
	pthread_mutex_lock(&device->lock);
	while (device->nr_stopped < nr_threads)
		pthread_cond_wait(&device->changed, &device->lock);
	pthread_mutex_unlock(&device->lock);
}

void block_device_open_gate(struct block_device *device)
{
	pthread_mutex_lock(&device->lock);
	device->is_gate_shut = false;
	pthread_cond_broadcast(&device->changed);
	pthread_mutex_unlock(&device->lock);
}
