/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/memory.c - a device in memory. A block takes memory when it is first written, and none when it is discarded.
 *
 * Locks
 *   stripes   each guards the blocks whose number leaves its index when divided by NR_STRIPES. One is held at a time,
 *             and none while the allocator is called. So threads that use the same block see the one or the other
 *             content of it, never a mixture, as with a disk whose sectors are blocks; threads that use different
 *             blocks seldom meet.
 *   A change of size needs none: the contract keeps it apart from batches.
 */
#include <thinp/io.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/backend.h"
#include "io/sparse.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { NR_STRIPES = 64 };

struct memory {
	struct thinp_allocator allocator;
	struct tp_sparse blocks;
	_Atomic uint64_t nr_blocks;
	pthread_mutex_t stripes[NR_STRIPES];
	unsigned int nr_stripes_made; /* for a failure half-way */
};

static void destroy_stripes(struct memory *memory)
{
	for (unsigned int i = 0; i < memory->nr_stripes_made; i++)
		pthread_mutex_destroy(&memory->stripes[i]);
}

static int create_stripes(struct memory *memory)
{
	int err = 0;

	while (!err && memory->nr_stripes_made < NR_STRIPES) {
		err = pthread_mutex_init(&memory->stripes[memory->nr_stripes_made], NULL);
		memory->nr_stripes_made += !err;
	}
	if (!err)
		return 0;
	destroy_stripes(memory);
	return tp_fail_os(err, THINP_NO_BLOCK, "memory: no lock");
}

static pthread_mutex_t *stripe_of(struct memory *memory, thinp_block_t block)
{
	return &memory->stripes[block % NR_STRIPES];
}

static int read_block(void *ctx, thinp_block_t block, uint8_t *buffer)
{
	struct memory *memory = ctx;
	const uint8_t *data;

	pthread_mutex_lock(stripe_of(memory, block));
	data = tp_sparse_find(&memory->blocks, block);
	if (data)
		memcpy(buffer, data, THINP_BLOCK_SIZE);
	else
		memset(buffer, 0, THINP_BLOCK_SIZE);
	pthread_mutex_unlock(stripe_of(memory, block));
	return 0;
}

static int write_block(void *ctx, thinp_block_t block, const uint8_t *buffer)
{
	struct memory *memory = ctx;

	return tp_sparse_write(&memory->blocks, stripe_of(memory, block), block, buffer);
}

static int discard_blocks(void *ctx, thinp_block_t begin, thinp_block_t end)
{
	struct memory *memory = ctx;
	thinp_block_t block = tp_sparse_skip(&memory->blocks, begin);

	while (block < end) {
		tp_sparse_drop(&memory->blocks, stripe_of(memory, block), block);
		block = tp_sparse_skip(&memory->blocks, block + 1);
	}
	return 0;
}

static int memory_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	static const struct tp_io_per_block steps = {
		.read = read_block, .write = write_block, .discard = discard_blocks};

	return tp_io_per_block(&steps, ctx, ops, nr_ops);
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
	int r = tp_sparse_reach(&memory->blocks, nr_blocks);

	if (r)
		return r;
	tp_sparse_cut(&memory->blocks, nr_blocks);
	atomic_store(&memory->nr_blocks, nr_blocks);
	return 0;
}

static void memory_close(void *ctx)
{
	struct memory *memory = ctx;
	struct thinp_allocator allocator = memory->allocator;

	tp_sparse_cut(&memory->blocks, 0);
	destroy_stripes(memory);
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
		r = create_stripes(made);
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
