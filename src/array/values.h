/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * array/values.h - what reading and changing share: types, and blocks of values.
 */
#ifndef TP_ARRAY_VALUES_H
#define TP_ARRAY_VALUES_H

#include "base/error.h"
#include "format/array_block.h"

#include <thinp/array.h>

/* Reads the caller's type of any version; refuses one that no array can have. */
TP_MUST_USE int tp_array_type_take(struct thinp_array_type *dst, const struct thinp_array_type *src,
				   uint32_t *per_block);

/* Reads a block of values within a section; header is what it says of itself. */
TP_MUST_USE int tp_array_read_values(struct thinp_read_section *section, const struct thinp_array_type *type,
				     thinp_block_t block, struct tp_array_header *header, const uint8_t **data);

/* The same checks for a block that is already there. */
TP_MUST_USE int tp_array_check_values(const struct thinp_array_type *type, thinp_block_t block, const void *data,
				      struct tp_array_header *header);

/* THINP_ENODATA with its sentence. */
int tp_array_too_short(uint64_t index);

#endif
