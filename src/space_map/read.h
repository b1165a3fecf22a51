/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/read.h - reference counts as the disk has them.
 *
 * The count of a block stands in a bitmap, two bits wide; 3 there means that the overflow tree has it. The bitmaps of
 * a data map are found through a tree, those of a metadata map through one index block.
 */
#ifndef TP_SPACE_MAP_READ_H
#define TP_SPACE_MAP_READ_H

#include "format/space_map.h"

#include <thinp/block.h>

enum tp_sm_kind { TP_SM_DATA, TP_SM_METADATA };

/* A committed space map: nothing but where it is. */
struct tp_sm_view {
	struct thinp_reader *reader;
	struct tp_sm_root root;
	enum tp_sm_kind kind;
};

/* The entry of a bitmap in the index; its address is checked, its hints are not. */
int tp_sm_find_bitmap(const struct tp_sm_view *view, uint64_t bitmap, struct tp_index_entry *entry);

/* The count of a block. THINP_ERANGE beyond the map. */
int tp_sm_count(const struct tp_sm_view *view, uint64_t block, uint32_t *count);

/* Receives blocks begin..end-1, all with the same count. Non-zero ends the walk, which returns it. */
typedef int (*tp_sm_run_fn)(void *ctx, uint64_t begin, uint64_t end, uint32_t count);

/* Tells the counts of blocks begin..end-1 as longest runs. THINP_ERANGE beyond the map. */
int tp_sm_walk(const struct tp_sm_view *view, uint64_t begin, uint64_t end, tp_sm_run_fn fn, void *ctx);

#endif
