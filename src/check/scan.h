/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/scan.h - questions about all keys or all mappings of a leaf, answered by vector code.
 *
 * None of the loops has a branch or compares 64-bit numbers, which few machines do in vectors: they look at the uppermost bits
 * of differences. So every compiler makes vector code of them. On x86-64 they are there twice, the second time for vectors of
 * 32 bytes, which a processor may lack.
 */
#ifndef TP_CHECK_SCAN_H
#define TP_CHECK_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What mappings are held against. */
struct tp_scan_limits {
	uint64_t nr_blocks; /* data blocks are below it */
	uint32_t time;      /* nothing was made later */
	uint32_t snap_time; /* the last snapshot */
};

/* Is there one among the mappings? */
struct tp_doubts {
	bool is_late;   /* made later than `time` */
	bool is_own;    /* made at snap_time or later */
	bool is_beyond; /* of a block that is not below nr_blocks */
};

/* The keys of a node whose count of entries fits. */
bool tp_scan_keys_ascend(const void *node, uint32_t nr_entries);

/* Do the data blocks of mappings in on-disk form, at least one, follow each other, and were all made at one time? A row that
 * goes past the greatest number is none. */
bool tp_scan_is_run(const uint8_t *values_le, size_t nr);

struct tp_doubts tp_scan_mappings(const uint8_t *values_le, size_t nr, const struct tp_scan_limits *limits);

/* The same for every machine; the others use wider vectors where tp_scan_has_wide(). For tests. */
bool tp_scan_has_wide(void);
bool tp_scan_keys_ascend_narrow(const void *node, uint32_t nr_entries);
bool tp_scan_is_run_narrow(const uint8_t *values_le, size_t nr);
struct tp_doubts tp_scan_mappings_narrow(const uint8_t *values_le, size_t nr, const struct tp_scan_limits *limits);

#endif
