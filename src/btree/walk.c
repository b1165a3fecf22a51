/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/walk.c - all entries of a tree or of a range, a leaf at a time.
 */
#include "btree/walk.h"

struct walk {
	struct tp_path path;
	const uint64_t *last_keys; /* NULL: to the end */
	thinp_btree_span_fn fn;
	void *ctx;
};

/* -1, 0, 1: how the upper keys of the leaf compare with those of the range's end. */
static int compare_upper(const struct walk *walk)
{
	for (uint32_t i = 0; i + 1 < walk->path.type.nr_levels; i++)
		if (walk->path.keys[i] != walk->last_keys[i])
			return walk->path.keys[i] < walk->last_keys[i] ? -1 : 1;
	return 0;
}

/* One behind the last entry of the leaf that belongs to the range. */
static uint32_t end_in_leaf(const struct walk *walk)
{
	int order = walk->last_keys ? compare_upper(walk) : -1;

	if (order < 0)
		return walk->path.nr_entries;
	return order > 0 ? 0 : tp_node_upper_bound(walk->path.leaf, walk->last_keys[walk->path.type.nr_levels - 1]);
}

/* Does nothing behind the leaf belong to the range? */
static bool ends_here(const struct walk *walk, uint32_t end)
{
	if (end < walk->path.nr_entries)
		return true;
	return walk->last_keys && compare_upper(walk) == 0 &&
	       walk->last_keys[walk->path.type.nr_levels - 1] <= walk->path.leaf_last;
}

static int tell(const struct walk *walk, uint32_t begin, uint32_t end)
{
	const struct tp_path *path = &walk->path;
	struct thinp_btree_span span = {
		.size = sizeof(span),
		.prefix = path->keys,
		.keys_le = path->leaf + TP_NODE_HEADER_SIZE + 8 * (size_t)begin,
		.values_le = tp_node_values(path->leaf) + (size_t)begin * path->type.value_size,
		.nr_entries = end - begin,
		.value_size = path->type.value_size,
		.block = path->leaf_at.block,
	};

	if (path->is_known) {
		span.keys_le = NULL;
		span.values_le = NULL;
	}
	return path->is_known || begin < end ? walk->fn(walk->ctx, &span) : 0;
}

static int run(struct walk *walk, uint32_t index, int r)
{
	while (!r) {
		uint32_t end = end_in_leaf(walk);

		r = tell(walk, index, end);
		if (r)
			return r;
		if (ends_here(walk, end))
			return 0;
		r = tp_path_next_leaf(&walk->path);
		index = 0;
	}
	return r == THINP_ENODATA ? 0 : r;
}

int tp_btree_walk_unknown(struct thinp_reader *reader, const struct thinp_btree_type *user_type, thinp_block_t root,
			  tp_path_known_fn known, thinp_btree_span_fn fn, void *ctx)
{
	struct walk walk = {.fn = fn, .ctx = ctx};
	struct thinp_btree_type type;
	int r = tp_btree_type_take(&type, user_type);

	if (r)
		return r;
	tp_path_init(&walk.path, reader, &type, root);
	walk.path.prefetch = true;
	walk.path.known = known;
	walk.path.known_ctx = ctx;
	return run(&walk, 0, tp_path_first(&walk.path));
}

int thinp_btree_walk(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
		     thinp_btree_span_fn fn, void *ctx)
{
	return tp_btree_walk_unknown(reader, type, root, NULL, fn, ctx);
}

int thinp_btree_walk_range(struct thinp_reader *reader, const struct thinp_btree_type *user_type, thinp_block_t root,
			   const uint64_t *first_keys, const uint64_t *last_keys, thinp_btree_span_fn fn, void *ctx)
{
	struct walk walk = {.last_keys = last_keys, .fn = fn, .ctx = ctx};
	struct thinp_btree_type type;
	uint32_t index;
	int r = tp_btree_type_take(&type, user_type);

	if (r)
		return r;
	tp_path_init(&walk.path, reader, &type, root);
	walk.path.prefetch = true;
	if (type.nr_levels == 1)
		walk.path.prefetch_last = *last_keys;
	r = tp_path_seek(&walk.path, first_keys, &index);
	return run(&walk, index, r);
}
