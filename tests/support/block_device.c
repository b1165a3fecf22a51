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

static bool is_next_to_fail(struct block_device *device)
{
	return ++device->nr_calls == device->fail_at;
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
	if (!device->is_gate_shut || block != device->gate)
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
	if (is_next_to_fail(device))
		r = device->fail_with;
	else
		*nr_blocks = device->nr_blocks;
	pthread_mutex_unlock(&device->lock);
	return r;
}

static int read_op(struct block_device *device, const struct thinp_io_op *op)
{
	uint8_t *to = op->buffer;

	if (op->kind != THINP_IO_READ)
		return THINP_EROFS;
	for (uint64_t i = 0; i < op->nr_blocks; i++) {
		thinp_block_t block = op->block + i;

		note_read(device, block, to + i * THINP_BLOCK_SIZE);
		if (is_next_to_fail(device))
			return device->fail_with;
		pass_gate(device, block);
		memcpy(to + i * THINP_BLOCK_SIZE, device->blocks + block * THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	}
	return 0;
}

static int batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	struct block_device *device = ctx;
	int first = 0;

	if (device->hook)
		device->hook(device->hook_ctx);
	pthread_mutex_lock(&device->lock);
	device->nr_batches++;
	for (size_t i = 0; i < nr_ops; i++) {
		ops[i].result = read_op(device, &ops[i]);
		if (!first)
			first = ops[i].result;
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
		memcpy(ops[i].buffer, device->blocks + ops[i].block * THINP_BLOCK_SIZE,
		       ops[i].nr_blocks * THINP_BLOCK_SIZE);
		ops[i].result = 0;
	}
	return 0;
}

/* --- opening and closing --- */

static void open_with(struct block_device *device, uint64_t nr_blocks, const struct thinp_io_backend *backend)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_READ_ONLY};

	memset(device, 0, sizeof(*device));
	device->nr_blocks = nr_blocks;
	device->blocks = calloc(nr_blocks, THINP_BLOCK_SIZE);
	assert_non_null(device->blocks);
	assert_int_equal(pthread_mutex_init(&device->lock, NULL), 0);
	assert_int_equal(pthread_cond_init(&device->changed, NULL), 0);
	for (thinp_block_t block = 0; block < nr_blocks; block++)
		block_device_fill(device, block, thinp_block_type_bitmap(), block);
	assert_int_equal(thinp_io_create(backend, device, &opts, &device->io), 0);
}

void block_device_open(struct block_device *device, uint64_t nr_blocks)
{
	static const struct thinp_io_backend backend = {
		.size = sizeof(backend), .name = "test device", .get_size = get_size, .batch = batch};

	open_with(device, nr_blocks, &backend);
}

void block_device_open_quiet(struct block_device *device, uint64_t nr_blocks)
{
	static const struct thinp_io_backend backend = {
		.size = sizeof(backend), .name = "quiet device", .get_size = quiet_get_size, .batch = quiet_batch};

	open_with(device, nr_blocks, &backend);
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

void block_device_fail(struct block_device *device, size_t n, int result)
{
	pthread_mutex_lock(&device->lock);
	device->fail_at = n ? device->nr_calls + n : 0;
	device->fail_with = result;
	pthread_mutex_unlock(&device->lock);
}

bool block_device_has_failed(struct block_device *device)
{
	return device->fail_at && read_count(device, &device->nr_calls) >= device->fail_at;
}

void block_device_shut_gate(struct block_device *device, thinp_block_t block)
{
	pthread_mutex_lock(&device->lock);
	device->gate = block;
	device->is_gate_shut = true;
	pthread_mutex_unlock(&device->lock);
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
