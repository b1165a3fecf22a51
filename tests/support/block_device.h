/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/block_device.h - a device full of sealed blocks that counts, fails and stops as it is told.
 *
 * It obeys the order of a batch: behind a failure, the next flush and all that follows is not carried out. A write that
 * fails leaves half of its bytes.
 *
 * At first every block is a bitmap with a pattern of its own. What was read can be verified to the last byte.
 */
#ifndef TP_TEST_BLOCK_DEVICE_H
#define TP_TEST_BLOCK_DEVICE_H

#include <thinp/format.h>
#include <thinp/io.h>

#include <pthread.h>

#define BLOCK_DEVICE_LOG 512u

#define BLOCK_DEVICE_FAIL_SIZE  1u
#define BLOCK_DEVICE_FAIL_READ  2u
#define BLOCK_DEVICE_FAIL_WRITE 4u
#define BLOCK_DEVICE_FAIL_FLUSH 8u

/* A write or a flush as it came. */
struct block_device_op {
	uint32_t kind;
	thinp_block_t block;
	uint64_t nr_blocks;
};

struct block_device {
	struct thinp_io *io;
	uint8_t *blocks;
	uint64_t nr_blocks;

	pthread_mutex_t lock; /* all below */
	pthread_cond_t changed;
	size_t nr_sizes;   /* how often the size was asked for */
	size_t nr_batches; /* since the last block_device_forget() */
	size_t nr_reads;
	thinp_block_t log[BLOCK_DEVICE_LOG]; /* the first of them in order, and where they went */
	const void *log_buffer[BLOCK_DEVICE_LOG];
	size_t nr_changes;                                /* writes and flushes that were begun */
	struct block_device_op changes[BLOCK_DEVICE_LOG]; /* the first of them in order */

	uint32_t fail_kinds; /* sum of BLOCK_DEVICE_FAIL_... that count as calls */
	size_t fail_at;      /* the call that fails; 0: none */
	size_t nr_calls;
	int fail_with;
	thinp_block_t gates[2]; /* reads and writes of these blocks stop */
	bool is_gate_behind;    /* a read stops when it has its bytes, in place of before */
	bool is_gate_shut;
	unsigned int nr_stopped;
	void (*hook)(void *ctx); /* called in every batch, without the lock */
	void *hook_ctx;
};

/* Opens the device; the test fails when that fails. */
void block_device_open(struct block_device *device, uint64_t nr_blocks);

/* A device that takes no lock, so that it does not hide races of the library; it neither counts nor fails nor stops. */
void block_device_open_quiet(struct block_device *device, uint64_t nr_blocks);
void block_device_close(struct block_device *device);

/* Another handle on the same blocks that only reads; the caller closes it. */
struct thinp_io *block_device_open_read_only(struct block_device *device);

/* The pattern of a block, sealed as a kind and, if it is another number, for a wrong place. */
void block_device_fill(struct block_device *device, thinp_block_t block, const struct thinp_block_type *type,
		       thinp_block_t place);

/* Is this all of the block's content? For any thread. */
bool block_device_is(const struct block_device *device, thinp_block_t block, const void *data);

/* Forgets what was counted and logged. */
void block_device_forget(struct block_device *device);

size_t block_device_nr_reads(struct block_device *device);
size_t block_device_nr_batches(struct block_device *device);

size_t block_device_nr_changes(struct block_device *device);

/* The n-th question for the size or read of a block from now on fails, once; 1 is the next, 0 lets none fail. */
void block_device_fail(struct block_device *device, size_t n, int result);

/* The same for the n-th of other calls. A write counts once, however many blocks it has. */
void block_device_fail_kinds(struct block_device *device, uint32_t kinds, size_t n, int result);
bool block_device_has_failed(struct block_device *device);

/* Threads that read or write the block, or one of two, stop in the middle of it until the gate is opened. */
void block_device_shut_gate(struct block_device *device, thinp_block_t block);
void block_device_shut_gates(struct block_device *device, thinp_block_t block, thinp_block_t other);

/* Threads that read the block stop when they have its bytes; those that write do not stop. */
void block_device_shut_gate_behind(struct block_device *device, thinp_block_t block);
void block_device_wait_stopped(struct block_device *device, unsigned int nr_threads);
void block_device_open_gate(struct block_device *device);

#endif
