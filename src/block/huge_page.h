/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/huge_page.h - memory for buffers in pages of 2 MiB, which cost fewer misses of the address cache.
 */
#ifndef TP_BLOCK_HUGE_PAGE_H
#define TP_BLOCK_HUGE_PAGE_H

#include <stddef.h>

#define TP_HUGE_PAGE_SIZE ((size_t)2 << 20)

/* TP_HUGE_PAGE_SIZE bytes, aligned to as many. The system may give small pages all the same. NULL: it gives none. */
void *tp_huge_page_alloc(void);
void tp_huge_page_free(void *page);

#endif
