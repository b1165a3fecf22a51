/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/image_space_map.h - space maps written by the test itself.
 */
#ifndef TP_TEST_IMAGE_SPACE_MAP_H
#define TP_TEST_IMAGE_SPACE_MAP_H

#include "format/space_map.h"
#include "support/tree_build.h"

enum image_map_kind { IMAGE_DATA_MAP, IMAGE_METADATA_MAP };

/* Offset of an entry in an index block. */
#define IMAGE_INDEX_ENTRY(i) (16 + 16 * (size_t)(i))

/* Writes a map of these counts: bitmaps, an index of the kind's form, an overflow tree. The trees have the shape. */
void image_space_map(struct image *image, enum image_map_kind kind, const struct tree_shape *shape,
		     const uint32_t *counts, uint64_t nr_blocks, struct tp_sm_root *root);

/* Address of bitmap i, found through the index. Index trees must be one leaf. */
thinp_block_t image_bitmap(struct image *image, enum image_map_kind kind, const struct tp_sm_root *root, uint32_t i);

#endif
