/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/cannot_fail.c - public functions that have no way to fail.
 */
#include "failures.h"

#include <stddef.h>

#define CONSTANT "gives a constant"
#define RECORD   "copies from or to the record of the thread"
#define RELEASES "only releases"
#define FIGURES  "copies figures out"
#define MEMORY   "looks at memory only; takes none"

const struct cannot_fail failures_none[] = {
	{"thinp_version", CONSTANT},
	{"thinp_strerror", CONSTANT},
	{"thinp_err_name", CONSTANT},
	{"thinp_err_to_errno", CONSTANT},
	{"thinp_error_last", RECORD},
	{"thinp_error_report", RECORD},
	{"thinp_block_type_thin_superblock", CONSTANT},
	{"thinp_block_type_node", CONSTANT},
	{"thinp_block_type_index", CONSTANT},
	{"thinp_block_type_bitmap", CONSTANT},
	{"thinp_block_type_array", CONSTANT},
	{"thinp_io_close", RELEASES},
	{"thinp_io_is_read_only", FIGURES},
	{"thinp_io_backend_name", FIGURES},
	{"thinp_fault_destroy", RELEASES},
	{"thinp_fault_clear", RELEASES},
	{"thinp_fault_get_stats", FIGURES},
	{"thinp_fault_list_unflushed", MEMORY},
	{"thinp_record_destroy", RELEASES},
	{"thinp_record_nr_entries", FIGURES},
	{"thinp_crash_destroy", RELEASES},
	{"thinp_crash_nr_states", FIGURES},
	{"thinp_crash_describe", MEMORY},
	{"thinp_bm_destroy", RELEASES},
	{"thinp_bm_get_stats", FIGURES},
	{"thinp_bm_unlock", "gives back what was locked; the block is written later"},
	{"thinp_bm_forget", RELEASES},
	{"thinp_bm_abort", RELEASES},
	{"thinp_read_begin", "without a slot a section does without"},
	{"thinp_read_end", RELEASES},
	{"thinp_read_peek", MEMORY},
	{"thinp_reader_destroy", RELEASES},
	{"thinp_reader_nr_blocks", FIGURES},
	{"thinp_btree_cursor_destroy", RELEASES},
	{"thinp_btree_cursor_get", MEMORY},
	{"thinp_pool_close", RELEASES},
	{"thinp_pool_get_info", FIGURES},
	{"thinp_pool_get_cache_stats", FIGURES},
	{"thinp_pool_reader", FIGURES},
	{NULL, NULL},
};
