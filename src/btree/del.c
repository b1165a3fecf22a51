/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/del.c - dropping a reference to a whole tree.
 */
#include "btree/drop.h"

#include "transaction/manager.h"

static uint64_t times(uint64_t a, uint64_t b)
{
	uint64_t product;

	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* A node can have no more entries than that, whoever made it. */
static uint32_t most_entries(uint32_t value_size)
{
	return tp_node_max_entries(value_size) + 2;
}

/* One node on the way along first entries. *nr: entries that nodes as deep as this one can have together. */
static int survey_step(struct thinp_tm *tm, const struct thinp_btree_type *type, struct tp_btree_child *at,
		       uint64_t *nr, bool *done)
{
	struct thinp_read_section section;
	const void *node;
	uint64_t last;
	int r;

	thinp_read_begin(thinp_tm_reader(tm), &section);
	r = tp_btree_read_node(&section, type, at, &node);
	if (!r) {
		bool is_root = at->parent == THINP_NO_BLOCK;

		*done = tp_node_is_leaf(node);
		*nr = times(*nr, is_root ? tp_node_nr_entries(node) : most_entries(tp_node_value_size(node)));
		if (!*done)
			*at = tp_btree_child_at(at, UINT64_MAX, node, 0, &last);
	}
	thinp_read_end(&section);
	return r;
}

/* The most values that can lose an owner. The leaves of one tree are all as deep as the first one; of a nested tree it can
 * only be said how many leaves there can be at all. */
static int most_values(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root, uint64_t *nr)
{
	struct tp_btree_child at = {.parent = THINP_NO_BLOCK, .block = root};
	uint64_t nr_blocks = thinp_reader_nr_blocks(thinp_tm_reader(tm));
	bool done = type->nr_levels > 1;
	uint64_t nr_at_all = times(nr_blocks, most_entries(type->value_size));
	uint32_t count = 0;
	int r = 0;

	if (root < nr_blocks)
		r = thinp_tm_count(tm, root, &count);
	*nr = 0;
	if (r || count != 1)
		return r;
	*nr = done ? nr_at_all : 1;
	while (!r && !done)
		r = survey_step(tm, type, &at, nr, &done);
	if (*nr > nr_at_all)
		*nr = nr_at_all;
	return r;
}

/* Nothing is copied; only counts are recorded. */
static int reserve(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root)
{
	uint64_t nr_blocks = 0;
	uint64_t nr_values;
	int r = 0;

	if (type->cost) {
		r = most_values(tm, type, root, &nr_values);
		if (r)
			return r;
		nr_blocks = tp_btree_cost_of_dec(type, nr_values);
	}
	return thinp_tm_reserve(tm, nr_blocks, THINP_RESERVE_RELEASE);
}

static int drop(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root)
{
	const struct tp_btree_child at = {.parent = THINP_NO_BLOCK, .block = root};
	struct thinp_btree_type type;
	struct tp_drop drop;
	int r = tp_btree_type_take(&type, user_type);

	if (!r)
		r = thinp_tm_status(tm);
	if (!r)
		r = reserve(tm, &type, root);
	if (r)
		return r;
	tp_drop_init(&drop, tm, &type, false);
	r = tp_drop_node(&drop, &at, UINT64_MAX);
	if (!r)
		r = tp_drop_finish(&drop);
	return r && drop.has_begun ? thinp_tm_poison(tm, r) : r;
}

int thinp_btree_del(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root)
{
	int r;

	tp_tm_enter(tm);
	r = drop(tm, user_type, root);
	tp_tm_leave(tm);
	return r;
}
