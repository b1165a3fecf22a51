/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/tree_build.c - B+ trees from the leaves up.
 */
#include "support/tree_build.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "unit/base/random.h"

enum { INTERNAL = 1, LEAF = 2, ADDRESS_SIZE = 8 };

/* The nodes of one layer, to be named by the layer above. */
struct layer {
	uint64_t *first_keys;
	uint8_t *addresses; /* on-disk form: they become the values of the layer above */
	size_t nr;
};

static uint32_t capacity(uint32_t value_size)
{
	return (THINP_BLOCK_SIZE - TREE_KEYS) / (8 + value_size) / 3 * 3;
}

static thinp_block_t write_node(struct image *image, uint32_t flags, uint32_t value_size, const uint64_t *keys,
				const void *values, size_t nr)
{
	struct image_block node = {{0}};
	uint32_t max = capacity(value_size);
	thinp_block_t block = image_take(image);

	assert_true(nr <= max);
	tp_store_le32(node.data + TREE_FLAGS, flags);
	tp_store_le32(node.data + TREE_NR_ENTRIES, (uint32_t)nr);
	tp_store_le32(node.data + TREE_MAX_ENTRIES, max);
	tp_store_le32(node.data + TREE_VALUE_SIZE, value_size);
	for (size_t i = 0; i < nr; i++)
		tp_store_le64(node.data + TREE_KEYS + 8 * i, keys[i]);
	if (nr)
		memcpy(node.data + TREE_KEYS + 8 * (size_t)max, values, nr * value_size);
	image_put(image, block, &node, thinp_block_type_node());
	return block;
}

static size_t next_fill(const struct tree_shape *shape, uint32_t most, uint32_t room)
{
	size_t fill = most ? most : room;

	return shape->rng ? 1 + random_next(shape->rng) % fill : fill;
}

/* Writes one layer of nodes; an empty list makes one empty node. */
static struct layer write_layer(struct image *image, const struct tree_shape *shape, uint32_t flags,
				uint32_t value_size, const uint64_t *keys, const uint8_t *values, size_t nr)
{
	uint32_t most = flags == LEAF ? shape->per_leaf : shape->per_node;
	struct layer layer = {.first_keys = calloc(nr + 1, sizeof(uint64_t)),
			      .addresses = calloc(nr + 1, ADDRESS_SIZE)};
	size_t i = 0;

	assert_non_null(layer.first_keys);
	assert_non_null(layer.addresses);
	do {
		size_t fill = next_fill(shape, most, capacity(value_size));
		size_t in_node = nr - i < fill ? nr - i : fill;

		layer.first_keys[layer.nr] = nr ? keys[i] : 0;
		tp_store_le64(layer.addresses + ADDRESS_SIZE * layer.nr,
			      write_node(image, flags, value_size, nr ? keys + i : NULL,
					 nr ? values + i * value_size : NULL, in_node));
		layer.nr++;
		i += in_node;
	} while (i < nr);
	return layer;
}

static void free_layer(const struct layer *layer)
{
	free(layer->first_keys);
	free(layer->addresses);
}

thinp_block_t tree_build(struct image *image, const struct tree_shape *shape, uint32_t value_size, const uint64_t *keys,
			 const void *values, size_t nr)
{
	struct layer layer = write_layer(image, shape, LEAF, value_size, keys, values, nr);
	thinp_block_t root;

	for (uint32_t depth = 1; layer.nr > 1 || depth < shape->min_depth; depth++) {
		struct layer above =
			write_layer(image, shape, INTERNAL, ADDRESS_SIZE, layer.first_keys, layer.addresses, layer.nr);

		free_layer(&layer);
		layer = above;
	}
	root = tp_load_le64(layer.addresses);
	free_layer(&layer);
	return root;
}

/* --- looking and changing -------------------------------------------------------------------------------------------- */

static size_t key_offset(uint32_t i)
{
	return TREE_KEYS + 8 * (size_t)i;
}

static size_t child_offset(struct image *image, thinp_block_t node, uint32_t i)
{
	return key_offset(image_get32(image, node, TREE_MAX_ENTRIES) + i);
}

bool tree_is_leaf(struct image *image, thinp_block_t node)
{
	return image_get32(image, node, TREE_FLAGS) == LEAF;
}

uint32_t tree_nr_entries(struct image *image, thinp_block_t node)
{
	return image_get32(image, node, TREE_NR_ENTRIES);
}

uint64_t tree_key(struct image *image, thinp_block_t node, uint32_t i)
{
	return image_get64(image, node, key_offset(i));
}

thinp_block_t tree_child(struct image *image, thinp_block_t node, uint32_t i)
{
	return image_get64(image, node, child_offset(image, node, i));
}

void tree_set_key(struct image *image, thinp_block_t node, uint32_t i, uint64_t key)
{
	image_set64(image, node, key_offset(i), key);
}

void tree_set_child(struct image *image, thinp_block_t node, uint32_t i, thinp_block_t child)
{
	image_set64(image, node, child_offset(image, node, i), child);
}
