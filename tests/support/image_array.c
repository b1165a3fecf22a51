/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_array.c - arrays, block by block, and the tree that leads to the blocks.
 */
#include "support/image_array.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/base/random.h"

uint32_t image_array_per_block(uint32_t value_size)
{
	return (THINP_BLOCK_SIZE - ARRAY_VALUES) / value_size;
}

static thinp_block_t write_values(struct image *image, uint32_t value_size, const uint8_t *values, uint64_t nr)
{
	struct image_block content = {{0}};
	thinp_block_t block = image_take(image);

	tp_store_le32(content.data + ARRAY_MAX_ENTRIES, image_array_per_block(value_size));
	tp_store_le32(content.data + ARRAY_NR_ENTRIES, (uint32_t)nr);
	tp_store_le32(content.data + ARRAY_VALUE_SIZE, value_size);
	memcpy(content.data + ARRAY_VALUES, values, nr * value_size);
	image_put(image, block, &content, thinp_block_type_array());
	return block;
}

thinp_block_t image_array(struct image *image, const struct tree_shape *shape, uint32_t value_size, const void *values,
			  uint64_t nr)
{
	uint32_t per_block = image_array_per_block(value_size);
	size_t nr_blocks = nr / per_block + (nr % per_block != 0);
	uint64_t *numbers = calloc(nr_blocks + 1, sizeof(*numbers));
	uint8_t *addresses = calloc(nr_blocks + 1, 8);
	thinp_block_t root;

	assert_non_null(numbers);
	assert_non_null(addresses);
	for (size_t i = 0; i < nr_blocks; i++) {
		uint64_t first = (uint64_t)i * per_block;
		uint64_t in_block = nr - first < per_block ? nr - first : per_block;

		numbers[i] = i;
		tp_store_le64(addresses + 8 * i,
			      write_values(image, value_size, (const uint8_t *)values + first * value_size, in_block));
	}
	root = tree_build(image, shape, 8, numbers, addresses, nr_blocks);
	free(numbers);
	free(addresses);
	return root;
}

/* --- an array of its own --------------------------------------------------------------------------------------------- */

void array_open(struct array *array, const struct tree_shape *shape, uint32_t value_size, uint64_t nr,
		uint32_t cache_blocks)
{
	uint64_t rng = nr * 31 + value_size;

	array->type = (struct thinp_array_type){.size = sizeof(array->type), .value_size = value_size};
	array->nr = nr;
	array->values = malloc((nr + 1) * value_size);
	assert_non_null(array->values);
	random_fill(&rng, array->values, nr * value_size);
	image_open(&array->image, 1000);
	array->root = image_array(&array->image, shape, value_size, array->values, nr);
	assert_int_equal(image_reader_open(&array->reader, &array->image, cache_blocks), 0);
}

void array_close(struct array *array)
{
	image_reader_close(&array->reader);
	image_close(&array->image);
	free(array->values);
}

void array_reopen(struct array *array, uint32_t cache_blocks)
{
	image_reader_close(&array->reader);
	assert_int_equal(image_reader_open(&array->reader, &array->image, cache_blocks), 0);
}

thinp_block_t array_block(struct array *array, uint32_t number)
{
	assert_true(tree_is_leaf(&array->image, array->root));
	return tree_child(&array->image, array->root, number);
}
