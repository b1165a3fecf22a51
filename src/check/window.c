/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/window.c - reading many blocks in one batch.
 *
 * A few blocks between two that are wanted are read along: that is cheaper than another system call.
 */
#include "check/window.h"

#include "base/error.h"

#define GAP 2u

int tp_window_init(struct tp_window *window, struct thinp_io *io, struct tp_memory *memory)
{
	window->io = io;
	window->nr = 0;
	window->buffer = tp_memory_get_blocks(memory, TP_WINDOW_SLOTS);
	return window->buffer ? 0 : THINP_ENOMEM;
}

void tp_window_exit(struct tp_window *window, struct tp_memory *memory)
{
	tp_memory_put(memory, window->buffer, TP_WINDOW_SLOTS, THINP_BLOCK_SIZE);
	window->buffer = NULL;
}

static void begin_op(struct thinp_io_op *op, uint32_t block, uint8_t *buffer)
{
	*op = (struct thinp_io_op){.kind = THINP_IO_READ, .block = block, .nr_blocks = 1, .buffer = buffer};
}

/* Can the operation be made longer, to reach the block? *step: blocks that it grows by. */
static bool reaches(const struct thinp_io_op *op, uint32_t block, size_t room, size_t *step)
{
	uint64_t end = op->block + op->nr_blocks;

	if (block < end || block - end > GAP || block - end + 1 > room)
		return false;
	*step = block - end + 1;
	return true;
}

/* The operations for what is wanted, and where each block will be. What is still to come needs a slot each. */
static size_t plan(struct tp_window *window)
{
	size_t nr_ops = 0;
	size_t slot = 0;

	for (size_t i = 0; i < window->nr; i++) {
		size_t room = TP_WINDOW_SLOTS - slot - (window->nr - i - 1);
		size_t step;

		if (nr_ops && reaches(&window->ops[nr_ops - 1], window->blocks[i], room, &step)) {
			slot += step;
			window->ops[nr_ops - 1].nr_blocks += step;
		} else {
			begin_op(&window->ops[nr_ops++], window->blocks[i], window->buffer + slot * THINP_BLOCK_SIZE);
			slot++;
		}
		window->data[i] = window->buffer + (slot - 1) * THINP_BLOCK_SIZE;
	}
	return nr_ops;
}

/* Something went wrong: each block by itself tells which. */
static void read_singly(struct tp_window *window)
{
	for (size_t i = 0; i < window->nr; i++)
		if (thinp_io_read(window->io, window->blocks[i], 1, (void *)(uintptr_t)window->data[i]))
			window->data[i] = NULL;
}

void tp_window_read(struct tp_window *window)
{
	size_t nr_ops = plan(window);

	if (thinp_io_batch(window->io, window->ops, nr_ops))
		read_singly(window);
}

const uint8_t *tp_window_read_one(struct tp_window *window, uint32_t block)
{
	window->nr = 1;
	window->blocks[0] = block;
	tp_window_read(window);
	return window->data[0];
}
