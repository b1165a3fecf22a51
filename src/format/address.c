/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * format/address.c - pointers from one metadata block to another.
 */
#include "format/address.h"

#include "base/error.h"

#include <inttypes.h>

int tp_address_check(thinp_block_t address, uint64_t metadata_blocks, thinp_block_t owner, const char *who,
		     const char *what)
{
	if (address > 0 && address < metadata_blocks)
		return 0;
	return tp_fail(THINP_ECORRUPT, owner, "%.40s: %.40s cannot be at block %" PRIu64 " of %" PRIu64, who, what,
		       address, metadata_blocks);
}
