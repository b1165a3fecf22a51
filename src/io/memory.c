/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/memory.c - a device in memory. A block takes memory when it is first written, and none when it is discarded.
 *
 * Locks
 *   shape     shared by batches, exclusive for a change of size.
 *   stripes   each guards the blocks whose number leaves its index when divided by NR_STRIPES, one at a time. So threads
 *             that use the same block see the one or the other content of it, never a mixture, as with a disk whose
 *             sectors are blocks; threads that use different blocks seldom meet.
 *   Order: shape, then one stripe.
 */
#include <thinp/io.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/backend.h"
#include "io/sparse.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { NR_STRIPES = 64 };

struct memory {
	struct thinp_allocator allocator;
	struct tp_sparse blocks;
	_Atomic uint64_t nr_blocks;
	pthread_rwlock_t shape;
	pthread_mutex_t stripes[NR_STRIPES];
	unsigned int nr_stripes_made; /* for a failure half-way */
};

static void destroy_locks(struct memory *memory)
{
	for (unsigned int i = 0; i < memory->nr_stripes_made; i++)
		pthread_mutex_destroy(&memory->stripes[i]);
	pthread_rwlock_destroy(&memory->shape);
}

static int create_locks(struct memory *memory)
{
	int err = pthread_rwlock_init(&memory->shape, NULL);

	if (err)
		return tp_fail_os(err, THINP_NO_BLOCK, "memory: no lock");
	while (!err && memory->nr_stripes_made < NR_STRIPES) {
		err = pthread_mutex_init(&memory->stripes[memory->nr_stripes_made], NULL);
		memory->nr_stripes_made += !err;
	}
	if (err) {
		destroy_locks(memory);
		return tp_fail_os(err, THINP_NO_BLOCK, "memory: no lock");
	}
	return 0;
}

/* The n-th block of an operation; the caller holds its stripe. */
static int transfer_block(struct memory *memory, const struct thinp_io_op *op, uint64_t n)
{
	uint8_t *buffer = op->buffer;
	uint8_t *data;

	if (op->kind == THINP_IO_WRITE) {
		data = tp_sparse_make(&memory->blocks, op->block + n);
		if (!data)
			return THINP_ENOMEM;
		memcpy(data, buffer + n * THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	} else if (op->kind == THINP_IO_READ) {
		data = tp_sparse_find(&memory->blocks, op->block + n);
		if (data)
			memcpy(buffer + n * THINP_BLOCK_SIZE, data, THINP_BLOCK_SIZE);
		else
			memset(buffer + n * THINP_BLOCK_SIZE, 0, THINP_BLOCK_SIZE);
	} else {
		tp_sparse_drop(&memory->blocks, op->block + n);
	}
	return 0;
}

static int transfer_op(struct memory *memory, const struct thinp_io_op *op)
{
	int r = 0;

	for (uint64_t n = 0; n < op->nr_blocks && !r; n++) {
		pthread_mutex_t *stripe = &memory->stripes[(op->block + n) % NR_STRIPES];

		pthread_mutex_lock(stripe);
		r = transfer_block(memory, op, n);
		pthread_mutex_unlock(stripe);
	}
	return r;
}

static void memory_transfer(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	for (size_t i = 0; i < nr_ops; i++)
		ops[i].result = transfer_op(ctx, &ops[i]);
}

/* There is no volatile cache to be emptied. */
static int memory_flush(void *ctx)
{
	(void)ctx;
	return 0;
}

static int memory_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	static const struct tp_io_steps steps = {.transfer = memory_transfer, .flush = memory_flush};
	struct memory *memory = ctx;
	int r;

	pthread_rwlock_rdlock(&memory->shape);
	r = tp_io_in_order(&steps, memory, ops, nr_ops);
	pthread_rwlock_unlock(&memory->shape);
	return r;
}

static int memory_get_size(void *ctx, uint64_t *nr_blocks)
{
	struct memory *memory = ctx;

	*nr_blocks = atomic_load(&memory->nr_blocks);
	return 0;
}

static int memory_resize(void *ctx, uint64_t nr_blocks)
{
	struct memory *memory = ctx;
	int r;

	pthread_rwlock_wrlock(&memory->shape);
	r = tp_sparse_reach(&memory->blocks, nr_blocks);
	if (!r) {
		tp_sparse_cut(&memory->blocks, nr_blocks);
		atomic_store(&memory->nr_blocks, nr_blocks);
	}
	pthread_rwlock_unlock(&memory->shape);
	return r;
}

static void memory_close(void *ctx)
{
	struct memory *memory = ctx;
	struct thinp_allocator allocator = memory->allocator;

	tp_sparse_cut(&memory->blocks, 0);
	destroy_locks(memory);
	tp_free(&allocator, memory, sizeof(*memory));
}

/* An empty tree reaches any size without an allocation, so making one has one thing less to undo. */
static int create_memory(const struct thinp_allocator *allocator, uint64_t nr_blocks, struct memory **memory)
{
	struct memory *made = tp_alloc_zeroed(allocator, 1, sizeof(*made));
	int r;

	if (!made)
		return THINP_ENOMEM;
	made->allocator = *allocator;
	atomic_init(&made->nr_blocks, nr_blocks);
	tp_sparse_init(&made->blocks, &made->allocator);
	r = tp_sparse_reach(&made->blocks, nr_blocks);
	if (!r)
		r = create_locks(made);
	if (r)
		tp_free(allocator, made, sizeof(*made));
	else
		*memory = made;
	return r;
}

int thinp_io_open_memory(const struct thinp_io_opts *opts, struct thinp_io **io)
{
	static const struct thinp_io_backend backend = {
		.size = sizeof(backend),
		.name = "memory",
		.get_size = memory_get_size,
		.batch = memory_batch,
		.resize = memory_resize,
		.close = memory_close,
	};
	struct thinp_io_opts taken;
	struct thinp_allocator allocator;
	struct memory *memory;
	int r;

	r = tp_io_opts_take(&taken, &allocator, opts);
	if (!r)
		r = create_memory(&allocator, taken.nr_blocks, &memory);
	if (r)
		return r;
	r = thinp_io_create(&backend, memory, &taken, io);
	if (r)
		memory_close(memory);
	return r;
}
