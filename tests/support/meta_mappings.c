/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/meta_mappings.c - what the mappings of a pool's open transaction refer to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/meta_check.h"

#include "base/bytes.h"
#include "format/thin.h"

static void take_mappings(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
			  const uint8_t *values_le, uint32_t nr)
{
	(void)kind, (void)keys;
	for (size_t i = 0; i < nr; i++)
		meta_check_refer_data(check, tp_load_le64(values_le + 8 * i) >> 24);
}

static void take_devices(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
			 const uint8_t *values_le, uint32_t nr)
{
	(void)kind, (void)keys;
	for (size_t i = 0; i < nr; i++)
		meta_check_tree(check, tp_load_le64(values_le + 8 * i), &((struct meta_mappings *)check)->device);
}

static thinp_block_t mapping_root_of(struct thinp_reader *reader, thinp_block_t held_root)
{
	struct tp_thin_superblock held;
	struct thinp_read_section section;
	const void *data;

	thinp_read_begin(reader, &section);
	assert_int_equal(thinp_read_block(&section, held_root, thinp_block_type_thin_superblock(), &data), 0);
	tp_thin_superblock_unpack(data, &held);
	thinp_read_end(&section);
	return held.mapping_root;
}

void meta_mappings_begin(struct meta_mappings *mappings, struct thinp_reader *reader, uint64_t nr_blocks,
			 uint64_t nr_data, thinp_block_t mapping_root, thinp_block_t held_root)
{
	*mappings = (struct meta_mappings){.top = {.name = "devices", .value_size = 8, .take = take_devices},
					   .device = {.name = "mappings", .value_size = 8, .take = take_mappings}};
	meta_check_begin(&mappings->check, reader, nr_blocks, nr_data);
	meta_check_tree(&mappings->check, mapping_root, &mappings->top);
	if (held_root)
		meta_check_tree(&mappings->check, mapping_root_of(reader, held_root), &mappings->top);
}
