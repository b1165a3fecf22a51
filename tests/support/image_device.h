/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_device.h - metadata that a test writes itself, block by block, into a device in memory.
 *
 * The test writes past the library's handle; the library reads through one that counts and fails on demand. BADBLK of
 * history.md: a field of a block is changed and the checksum made right again, so that it stops nobody.
 */
#ifndef TP_TEST_IMAGE_DEVICE_H
#define TP_TEST_IMAGE_DEVICE_H

#include "support/alloc_counting.h"

#include <thinp/block.h>
#include <thinp/format.h>
#include <thinp/io.h>

#include <stdalign.h>
#include <stdatomic.h>

struct image {
	struct thinp_io *memory; /* what is there */
	struct thinp_io *io;     /* the same, for the library */
	uint64_t nr_blocks;
	thinp_block_t next; /* blocks from here on are free */

	_Atomic uint64_t nr_reads;  /* blocks read through io */
	_Atomic uint64_t fail_from; /* reads of these numbers (the first is 1) fail with EIO */
	_Atomic uint64_t fail_until;
	/* Called before each read, for tests that change a block under the library's eyes. */
	void (*before_read)(struct image *image, thinp_block_t block);
};

struct image_block {
	alignas(THINP_BLOCK_SIZE) uint8_t data[THINP_BLOCK_SIZE];
};

/* A device of zeros; blocks are taken from 1 on, as 0 is the superblock's. */
void image_open(struct image *image, uint64_t nr_blocks);
void image_close(struct image *image);

/* The address of a block that is free. */
thinp_block_t image_take(struct image *image);

void image_read(struct image *image, thinp_block_t block, struct image_block *content);
void image_write(struct image *image, thinp_block_t block, const struct image_block *content);

/* Fills in address and checksum, and writes. */
void image_put(struct image *image, thinp_block_t block, struct image_block *content,
	       const struct thinp_block_type *type);

/* Fields. Setting one makes the checksum right again for the kind that the block has been. */
uint32_t image_get32(struct image *image, thinp_block_t block, size_t offset);
uint64_t image_get64(struct image *image, thinp_block_t block, size_t offset);
void image_set32(struct image *image, thinp_block_t block, size_t offset, uint32_t value);
void image_set64(struct image *image, thinp_block_t block, size_t offset, uint64_t value);

/* Changes a bit and leaves the checksum as it is. */
void image_flip(struct image *image, thinp_block_t block, size_t bit);

/* Lets reads first to last fail, counted from the next one, which is 1. */
void image_fail_reads(struct image *image, uint64_t first, uint64_t last);
void image_fail_no_reads(struct image *image);

/* --- a reader on the image, from an allocator that counts ------------------------------------------------------------ */

struct image_reader {
	struct alloc_counting alloc;
	struct thinp_bm *bm;
	struct thinp_reader *reader;
};

/* cache_blocks as in thinp_bm_opts. 0, or what the library returned. */
int image_reader_open(struct image_reader *reader, struct image *image, uint32_t cache_blocks);

/* The same after alloc has been set up. */
int image_reader_reopen(struct image_reader *reader, struct image *image, uint32_t cache_blocks);

/* Fails the test when something has leaked. */
void image_reader_close(struct image_reader *reader);

#endif
