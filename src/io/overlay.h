/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * io/overlay.h - changes laid over a device that is left as it is: states of the past, to be looked at and written to.
 */
#ifndef TP_IO_OVERLAY_H
#define TP_IO_OVERLAY_H

#include <thinp/io.h>

/* What lies below: gives a block, into a buffer that is aligned to its size. Called from several threads at once. */
struct tp_below {
	int (*read)(void *ctx, thinp_block_t block, uint8_t *buffer);
	void *ctx;
};

struct tp_overlay;

/* An overlay without changes over a device of nr_blocks blocks. The allocator is copied; what lies below must outlive
 * the overlay. */
int tp_overlay_create(const struct thinp_allocator *allocator, const struct tp_below *below, uint64_t nr_blocks,
		      struct tp_overlay **overlay);

/* Releases it; NULL is allowed. */
void tp_overlay_destroy(struct tp_overlay *overlay);

/* The calls below may run on several threads at once. Blocks must lie within the size. */

int tp_overlay_read(struct tp_overlay *overlay, thinp_block_t block, uint8_t *buffer);
int tp_overlay_write(struct tp_overlay *overlay, thinp_block_t block, const uint8_t *buffer);

/* Some sectors of a block (bits as in sectors.h); the others stay as they are. */
int tp_overlay_write_sectors(struct tp_overlay *overlay, thinp_block_t block, const uint8_t *buffer, uint32_t sectors);

/* Makes the blocks from begin to end read as zeros. */
int tp_overlay_discard(struct tp_overlay *overlay, thinp_block_t begin, thinp_block_t end);

uint64_t tp_overlay_size(struct tp_overlay *overlay);

/* Blocks that are added read as zeros. No other call may be under way. */
int tp_overlay_resize(struct tp_overlay *overlay, uint64_t nr_blocks);

/* Makes a device of it. Closing the device destroys the overlay, which stays the caller's when this fails. */
int tp_overlay_open(struct tp_overlay *overlay, struct thinp_io **io);

#endif
