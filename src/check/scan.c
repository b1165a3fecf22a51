/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/scan.c - questions about all keys or all mappings of a leaf, answered by vector code.
 */
#include "check/scan.h"

#include "base/bytes.h"
#include "format/node.h"
#include "format/thin.h"

/* What is expanded in two functions: one of them for wider vectors. */
#define EXPANDED static inline __attribute__((always_inline))

#if defined(__x86_64__)
#define WIDE __attribute__((target("avx2")))

bool tp_scan_has_wide(void)
{
	return __builtin_cpu_supports("avx2");
}
#else
#define WIDE

bool tp_scan_has_wide(void)
{
	return false;
}
#endif

EXPANDED struct tp_doubts look(const uint8_t *values_le, size_t nr, const struct tp_scan_limits *limits)
{
	const uint64_t last_block = limits->nr_blocks - 1;
	const uint64_t time = limits->time;
	const uint64_t before_snap = (uint64_t)limits->snap_time - 1;
	uint64_t late = 0, own = 0, beyond = 0;

	for (size_t i = 0; i < nr; i++) {
		uint64_t value = tp_load_le64(values_le + 8 * i);

		late |= time - (value & TP_THIN_MAX_TIME);
		own |= before_snap - (value & TP_THIN_MAX_TIME);
		beyond |= last_block - (value >> 24);
	}
	return (struct tp_doubts){.is_late = late >> 63, .is_own = own >> 63, .is_beyond = beyond >> 63};
}

WIDE static bool keys_ascend_wide(const void *node, uint32_t nr_entries)
{
	return tp_node_keys_ascend(node, nr_entries);
}

WIDE static bool is_run_wide(const uint8_t *values_le, size_t nr)
{
	return tp_is_row_le64(values_le, nr, TP_MAPPING_STEP);
}

WIDE static struct tp_doubts look_wide(const uint8_t *values_le, size_t nr, const struct tp_scan_limits *limits)
{
	return look(values_le, nr, limits);
}

bool tp_scan_keys_ascend_narrow(const void *node, uint32_t nr_entries)
{
	return tp_node_keys_ascend(node, nr_entries);
}

bool tp_scan_is_run_narrow(const uint8_t *values_le, size_t nr)
{
	return tp_is_row_le64(values_le, nr, TP_MAPPING_STEP);
}

struct tp_doubts tp_scan_mappings_narrow(const uint8_t *values_le, size_t nr, const struct tp_scan_limits *limits)
{
	return look(values_le, nr, limits);
}

bool tp_scan_keys_ascend(const void *node, uint32_t nr_entries)
{
	return tp_scan_has_wide() ? keys_ascend_wide(node, nr_entries) : tp_scan_keys_ascend_narrow(node, nr_entries);
}

bool tp_scan_is_run(const uint8_t *values_le, size_t nr)
{
	return tp_scan_has_wide() ? is_run_wide(values_le, nr) : tp_scan_is_run_narrow(values_le, nr);
}

struct tp_doubts tp_scan_mappings(const uint8_t *values_le, size_t nr, const struct tp_scan_limits *limits)
{
	return tp_scan_has_wide() ? look_wide(values_le, nr, limits) : tp_scan_mappings_narrow(values_le, nr, limits);
}
