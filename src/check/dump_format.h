/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/dump_format.h - what a form of the dump has to provide.
 */
#ifndef TP_CHECK_DUMP_FORMAT_H
#define TP_CHECK_DUMP_FORMAT_H

#include "check/text.h"

struct tp_dump_format {
	void (*begin)(struct tp_text *text, const struct thinp_pool_info *info);
	void (*device_begin)(struct tp_text *text, const struct thinp_device_info *device, bool is_first);
	/* is_first: the first run of these is the device's first */
	void (*runs)(struct tp_text *text, const struct thinp_run *runs, size_t nr_runs, bool is_first);
	void (*device_end)(struct tp_text *text);
	void (*end)(struct tp_text *text);
};

extern const struct tp_dump_format tp_dump_xml;
extern const struct tp_dump_format tp_dump_human_readable;
extern const struct tp_dump_format tp_dump_json;

/* The size of the data device as the form of 0.9.0 has it: it takes it from the space map of the superblock shown, and
 * a metadata snapshot has none. */
static inline uint64_t tp_dump_nr_data_blocks(const struct thinp_pool_info *info)
{
	return info->is_metadata_snap ? 0 : info->nr_data_blocks;
}

#endif
