/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_array.h - arrays written by the test itself. A bitset is an array of 64-bit words.
 */
#ifndef TP_TEST_IMAGE_ARRAY_H
#define TP_TEST_IMAGE_ARRAY_H

#include "support/tree_build.h"

#include <thinp/array.h>

/* Offsets in a block of values. */
enum { ARRAY_MAX_ENTRIES = 4, ARRAY_NR_ENTRIES = 8, ARRAY_VALUE_SIZE = 12, ARRAY_ADDRESS = 16, ARRAY_VALUES = 24 };

/* How many values a block has room for. */
uint32_t image_array_per_block(uint32_t value_size);

/* Writes an array of nr values, in on-disk form, and gives the root of its tree, which has the shape asked for. */
thinp_block_t image_array(struct image *image, const struct tree_shape *shape, uint32_t value_size, const void *values,
			  uint64_t nr);

/* An array in an image of its own, and what must be found in it. */
struct array {
	struct image image;
	struct image_reader reader;
	struct thinp_array_type type;
	thinp_block_t root;
	uint8_t *values; /* on-disk form */
	uint64_t nr;
};

void array_open(struct array *array, const struct tree_shape *shape, uint32_t value_size, uint64_t nr,
		uint32_t cache_blocks);
void array_close(struct array *array);

/* Forgets what the cache has. */
void array_reopen(struct array *array, uint32_t cache_blocks);

/* Address of the block of values with a number, in an array whose tree is one leaf. */
thinp_block_t array_block(struct array *array, uint32_t number);

#endif
