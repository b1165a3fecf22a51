/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * array/write.c - making arrays, changing single values, dropping arrays.
 */
#include "array/change.h"

#include "transaction/manager.h"

#include <string.h>

int thinp_array_create(struct thinp_tm *tm, const struct thinp_array_type *type, thinp_block_t *root)
{
	struct tp_array_change change;
	int r = tp_array_change_begin(&change, tm, type);

	return r ? r : thinp_btree_create(tm, &change.tree, root);
}

static int overwrite(struct tp_array_change *change, uint8_t *old, const void *value_le)
{
	const struct thinp_array_type *type = &change->type;
	int r = type->equal && type->equal(type->ctx, old, value_le) ? 0 : tp_array_dec(change, old, 1);

	if (!r)
		memcpy(old, value_le, type->value_size);
	return r;
}

static int set(struct tp_array_change *change, thinp_block_t *root, uint64_t index, thinp_block_t at,
	       const void *value_le)
{
	struct tp_array_block block;
	int r = tp_array_block_own(change, root, index / change->per_block, at, &block);

	if (r)
		return r;
	r = overwrite(change, tp_array_value(change, &block, (uint32_t)(index % change->per_block)), value_le);
	return tp_array_block_end(change, root, &block, r);
}

static int set_value(struct thinp_tm *tm, const struct thinp_array_type *type, thinp_block_t root, uint64_t index,
		     const void *value_le, thinp_block_t *new_root)
{
	struct tp_array_change change;
	uint32_t nr_values = 0;
	thinp_block_t at;
	int r = tp_array_change_begin(&change, tm, type);

	if (!r)
		r = tp_array_look(&change, root, index / change.per_block, &at, &nr_values);
	if (r == THINP_ENODATA || (!r && index % change.per_block >= nr_values))
		return tp_array_too_short(index);
	if (!r)
		r = tp_array_reserve(&change, 0, nr_values + (size_t)1, 0);
	if (r)
		return r;
	r = set(&change, &root, index, at, value_le);
	if (r)
		return tp_array_end(&change, r);
	*new_root = root;
	return 0;
}

int thinp_array_set(struct thinp_tm *tm, const struct thinp_array_type *type, thinp_block_t root, uint64_t index,
		    const void *value_le, thinp_block_t *new_root)
{
	int r;

	tp_tm_enter(tm);
	r = set_value(tm, type, root, index, value_le, new_root);
	tp_tm_leave(tm);
	return r;
}

int thinp_array_del(struct thinp_tm *tm, const struct thinp_array_type *type, thinp_block_t root)
{
	struct tp_array_change change;
	int r = tp_array_change_begin(&change, tm, type);

	return r ? r : thinp_btree_del(tm, &change.tree, root);
}
