/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * alloc/table.c - reading the table of functions that gives blocks.
 */
#include "alloc/table.h"

#include "base/error.h"
#include "base/opts.h"

static const char *missing_function(const struct thinp_alloc *alloc)
{
	if (!alloc->take)
		return "take";
	if (!alloc->inc)
		return "inc";
	if (!alloc->dec)
		return "dec";
	if (!alloc->count)
		return "count";
	return alloc->reserve ? NULL : "reserve";
}

int tp_alloc_table_take(struct thinp_alloc *dst, const struct thinp_alloc *src)
{
	struct thinp_alloc taken;
	const char *missing;
	int r;

	if (!src)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "no table of functions that give blocks");
	r = tp_opts_take(&taken, sizeof(taken), src);
	if (r)
		return r;
	missing = missing_function(&taken);
	if (missing)
		return tp_fail(THINP_EINVAL, THINP_NO_BLOCK, "what gives blocks lacks the function %s", missing);
	*dst = taken;
	return 0;
}
