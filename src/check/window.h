/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/window.h - reading many blocks in one batch.
 */
#ifndef TP_CHECK_WINDOW_H
#define TP_CHECK_WINDOW_H

#include "check/memory.h"

#include <thinp/io.h>

#define TP_WINDOW_BLOCKS                                                                                               \
	64u /* most blocks to be asked for at once: what is read should still be in the cache when used */
#define TP_WINDOW_SLOTS 96u /* room for them and for what lies between them */

struct tp_window {
	struct thinp_io *io;
	uint8_t *buffer;
	size_t nr;                             /* blocks in the window */
	uint32_t blocks[TP_WINDOW_BLOCKS];     /* to be filled in before the read, best ascending */
	const uint8_t *data[TP_WINDOW_BLOCKS]; /* NULL: the device does not give it */
	struct thinp_io_op ops[TP_WINDOW_BLOCKS];
};

/* THINP_ENOMEM, or 0. */
int tp_window_init(struct tp_window *window, struct thinp_io *io, struct tp_memory *memory);
void tp_window_exit(struct tp_window *window, struct tp_memory *memory);

/* Reads window->blocks. What cannot be read has no data; the others have theirs until the next read. */
void tp_window_read(struct tp_window *window);

/* A window of one block. NULL when the device does not give it. */
const uint8_t *tp_window_read_one(struct tp_window *window, uint32_t block);

#endif
