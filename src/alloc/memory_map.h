/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * alloc/memory_map.h - what the map in memory is made of.
 */
#ifndef TP_ALLOC_MEMORY_MAP_H
#define TP_ALLOC_MEMORY_MAP_H

#include "alloc/pages.h"

#include <thinp/alloc.h>

struct thinp_memory_map {
	struct tp_pages pages;
	thinp_block_t cursor;           /* where the search begins */
	thinp_block_t committed_cursor; /* where it began after the last commit */
};

#endif
