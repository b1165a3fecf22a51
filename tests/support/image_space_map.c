/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_space_map.c - bitmaps, the index of either form, the overflow tree.
 */
#include "support/image_space_map.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PER_BITMAP = 16320, BITS = 16, ENTRY_SIZE = 16, OVERFLOW_SIZE = 4 };

/* Two bits for each count, the lower one being its high bit. */
static void set_count(uint8_t *bits, uint32_t i, uint32_t count)
{
	uint32_t two = count > 3 ? 3 : count;

	bits[i / 4] = (uint8_t)(bits[i / 4] | (two >> 1 | (two & 1) << 1) << i % 4 * 2);
}

/* Writes a bitmap and its index entry. */
static void write_bitmap(struct image *image, const uint32_t *counts, uint32_t nr, uint8_t *entry)
{
	struct image_block content = {{0}};
	thinp_block_t block = image_take(image);
	uint32_t nr_free = PER_BITMAP, none_free_before = 0;

	for (uint32_t i = 0; i < nr; i++) {
		set_count(content.data + BITS, i, counts[i]);
		nr_free -= counts[i] != 0;
		none_free_before += counts[i] && none_free_before == i;
	}
	image_put(image, block, &content, thinp_block_type_bitmap());
	tp_store_le64(entry, block);
	tp_store_le32(entry + 8, nr_free);
	tp_store_le32(entry + 12, none_free_before);
}

static thinp_block_t write_index(struct image *image, enum image_map_kind kind, const struct tree_shape *shape,
				 const uint8_t *entries, size_t nr)
{
	struct image_block content = {{0}};
	thinp_block_t block;
	uint64_t *keys;

	if (kind == IMAGE_METADATA_MAP) {
		memcpy(content.data + IMAGE_INDEX_ENTRY(0), entries, nr * ENTRY_SIZE);
		block = image_take(image);
		image_put(image, block, &content, thinp_block_type_index());
		return block;
	}
	keys = calloc(nr + 1, sizeof(*keys));
	assert_non_null(keys);
	for (size_t i = 0; i < nr; i++)
		keys[i] = i;
	block = tree_build(image, shape, ENTRY_SIZE, keys, entries, nr);
	free(keys);
	return block;
}

static thinp_block_t write_overflow(struct image *image, const struct tree_shape *shape, const uint32_t *counts,
				    uint64_t nr_blocks)
{
	uint64_t *keys = calloc(nr_blocks + 1, sizeof(*keys));
	uint8_t *values = calloc(nr_blocks + 1, OVERFLOW_SIZE);
	thinp_block_t root;
	size_t nr = 0;

	assert_non_null(keys);
	assert_non_null(values);
	for (uint64_t b = 0; b < nr_blocks; b++)
		if (counts[b] >= 3) {
			keys[nr] = b;
			tp_store_le32(values + OVERFLOW_SIZE * nr++, counts[b]);
		}
	root = tree_build(image, shape, OVERFLOW_SIZE, keys, values, nr);
	free(keys);
	free(values);
	return root;
}

void image_space_map(struct image *image, enum image_map_kind kind, const struct tree_shape *shape,
		     const uint32_t *counts, uint64_t nr_blocks, struct tp_sm_root *root)
{
	size_t nr_bitmaps = nr_blocks / PER_BITMAP + (nr_blocks % PER_BITMAP != 0);
	uint8_t *entries = calloc(nr_bitmaps + 1, ENTRY_SIZE);

	assert_non_null(entries);
	*root = (struct tp_sm_root){.nr_blocks = nr_blocks};
	for (uint64_t b = 0; b < nr_blocks; b++)
		root->nr_allocated += counts[b] != 0;
	for (size_t i = 0; i < nr_bitmaps; i++) {
		uint64_t first = (uint64_t)i * PER_BITMAP;
		uint64_t in_bitmap = nr_blocks - first < PER_BITMAP ? nr_blocks - first : PER_BITMAP;

		write_bitmap(image, counts + first, (uint32_t)in_bitmap, entries + ENTRY_SIZE * i);
	}
	root->bitmap_root = write_index(image, kind, shape, entries, nr_bitmaps);
	root->ref_count_root = write_overflow(image, shape, counts, nr_blocks);
	free(entries);
}

thinp_block_t image_bitmap(struct image *image, enum image_map_kind kind, const struct tp_sm_root *root, uint32_t i)
{
	size_t values = TREE_KEYS;

	if (kind == IMAGE_METADATA_MAP)
		return image_get64(image, root->bitmap_root, IMAGE_INDEX_ENTRY(i));
	assert_true(tree_is_leaf(image, root->bitmap_root));
	values += 8 * (size_t)image_get32(image, root->bitmap_root, TREE_MAX_ENTRIES);
	return image_get64(image, root->bitmap_root, values + ENTRY_SIZE * (size_t)i);
}
