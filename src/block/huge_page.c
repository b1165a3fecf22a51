/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * block/huge_page.c - transparent huge pages: mapped where one can be, and asked for with madvise.
 */
#include "block/huge_page.h"

#include <stdint.h>
#include <sys/mman.h>

/* A mapping of twice the size has an aligned page in it; what is around it is given back. */
void *tp_huge_page_alloc(void)
{
	uint8_t *map = mmap(NULL, 2 * TP_HUGE_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (map == MAP_FAILED)
		return NULL;
	before = (TP_HUGE_PAGE_SIZE - (uintptr_t)map % TP_HUGE_PAGE_SIZE) % TP_HUGE_PAGE_SIZE;
	if (before)
		(void)munmap(map, before);
	(void)munmap(map + before + TP_HUGE_PAGE_SIZE, TP_HUGE_PAGE_SIZE - before);
#ifdef MADV_HUGEPAGE
	(void)madvise(map + before, TP_HUGE_PAGE_SIZE, MADV_HUGEPAGE);
#endif
	return map + before;
}

void tp_huge_page_free(void *page)
{
	(void)munmap(page, TP_HUGE_PAGE_SIZE);
}
