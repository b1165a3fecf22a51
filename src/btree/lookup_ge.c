/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/lookup_ge.c - the first entry from a key on.
 *
 * It goes down as a look-up does. When the leaf where the key belongs has nothing from there on, it goes down once more, for the
 * first key behind all that belong to that leaf; so it needs no path back, and copies no leaf.
 *
 * What makes that end: the key wanted only grows, past a leaf each time. That these are no more than the tree has
 * is for the reason that path.c gives: the keys of an internal node are in the range that its parent leaves to it.
 */
#include "btree/search.h"

struct search {
	struct thinp_read_section section;
	const struct thinp_btree_type *type;
	struct tp_btree_child at; /* the node that it has come to */
	uint64_t last;            /* no key of that is larger */
	uint64_t wanted[THINP_BTREE_MAX_LEVELS];
	uint32_t leaf_depth[THINP_BTREE_MAX_LEVELS]; /* see tp_btree_check_end() */
};

/* Where it goes on in a node: in the child with the last key that is not larger than the one wanted, or the first one; in a
 * leaf at the first key that is not smaller, which may be behind all. */
struct spot {
	const void *node;
	const uint8_t *values_le;
	uint32_t index;
	uint32_t nr_entries;
	bool is_leaf;
};

/* Number of keys that are not larger. Asks for the lines of the entry, too. */
static inline uint32_t upper_bound(const struct thinp_buffer *buffer, uint64_t key)
{
	const struct tp_outline *outline = &buffer->outline;
	uint32_t group;

	if (!tp_outline_reaches(outline, key))
		return 0;
	group = tp_outline_group(outline, key);
	tp_node_prefetch_group(buffer->data, tp_outline_shape(outline), group);
	return tp_outline_in_group(outline, buffer->data, group, key) + 1;
}

/* By the outline. Of a leaf, only what is found is compared with what the parent promises. False: there is no outline, or
 * something is wrong. */
static inline bool look_at_cached(const struct search *search, const struct thinp_buffer *buffer, uint64_t key,
				  struct spot *spot)
{
	const struct tp_outline *outline = &buffer->outline;
	uint32_t behind, seen;

	if (!tp_search_has_outline(search->type, &search->at, buffer))
		return false;
	*spot = (struct spot){.node = buffer->data,
			      .values_le = tp_outline_value(outline, buffer->data, 0),
			      .nr_entries = outline->nr_entries,
			      .is_leaf = outline->is_leaf};
	behind = spot->is_leaf && !key ? 0 : upper_bound(buffer, spot->is_leaf ? key - 1 : key);
	spot->index = spot->is_leaf || !behind ? behind : behind - 1;
	seen = spot->is_leaf && spot->index < spot->nr_entries ? spot->index : spot->nr_entries - 1;
	return tp_node_key(spot->node, seen) <= search->last;
}

static int look_at(struct search *search, uint64_t key, struct spot *spot)
{
	uint32_t behind;
	int r = tp_btree_read_node(&search->section, search->type, &search->at, &spot->node);

	if (!r)
		r = tp_btree_check_end(&search->at, search->last, spot->node, &search->leaf_depth[search->at.level]);
	if (r)
		return r;
	spot->values_le = tp_node_values(spot->node);
	spot->is_leaf = tp_node_is_leaf(spot->node);
	spot->nr_entries = tp_node_nr_entries(spot->node);
	if (spot->is_leaf) {
		spot->index = tp_node_lower_bound(spot->node, key);
		return 0;
	}
	behind = tp_node_upper_bound(spot->node, key);
	spot->index = behind ? behind - 1 : 0;
	return 0;
}

/* All leaves of a tree are at one depth. */
static inline bool is_depth_right(struct search *search)
{
	uint32_t *leaf_depth = &search->leaf_depth[search->at.level];

	if (*leaf_depth && *leaf_depth != search->at.depth + 1)
		return false;
	*leaf_depth = search->at.depth + 1;
	return true;
}

static inline int find_spot(struct search *search, const struct thinp_block_type *node_type, struct spot *spot)
{
	uint64_t key = search->wanted[search->at.level];
	const struct thinp_buffer *buffer = tp_read_peek_buffer(&search->section, search->at.block, node_type);

	if (buffer && look_at_cached(search, buffer, key, spot) && (!spot->is_leaf || is_depth_right(search)))
		return 0;
	return look_at(search, key, spot);
}

/* Wants a key of a level, and from there on whatever is below. */
static void want(struct search *search, uint32_t level, uint64_t key)
{
	search->wanted[level] = key;
	for (uint32_t below = level + 1; below < search->type->nr_levels; below++) {
		search->wanted[below] = 0;
		search->leaf_depth[below] = 0;
	}
}

/* Nothing in the leaf, from the key on: what is behind it is wanted. False: there is nothing more. */
static bool want_behind(struct search *search)
{
	uint32_t level = search->at.level;
	uint64_t last = search->last;

	while (last == UINT64_MAX && level)
		last = search->wanted[--level];
	if (last == UINT64_MAX)
		return false;
	want(search, level, last + 1);
	return true;
}

/* To the child at the spot, or to the root that the entry of an upper level gives. */
static inline void go_down(struct search *search, const struct spot *spot)
{
	struct tp_btree_child *at = &search->at;

	at->parent = at->block;
	at->block = tp_load_le64(spot->values_le + 8 * (size_t)spot->index);
	at->level += spot->is_leaf;
	at->depth = spot->is_leaf ? 0 : at->depth + 1;
	at->first = spot->is_leaf ? 0 : tp_node_key(spot->node, spot->index);
	if (spot->is_leaf)
		search->last = UINT64_MAX;
	else if (spot->index + 1 < spot->nr_entries)
		search->last = tp_node_key(spot->node, spot->index + 1) - 1;
}

static void begin_at_root(struct search *search, thinp_block_t root)
{
	search->at = (struct tp_btree_child){.parent = THINP_NO_BLOCK, .block = root};
	search->last = UINT64_MAX;
}

static int run(struct search *search, thinp_block_t root, struct spot *spot)
{
	const struct thinp_block_type *node_type = thinp_block_type_node();

	begin_at_root(search, root);
	for (;;) {
		uint32_t level = search->at.level;
		int r = find_spot(search, node_type, spot);

		if (r)
			return r;
		if (spot->index >= spot->nr_entries) {
			if (!want_behind(search))
				return THINP_ENODATA;
			begin_at_root(search, root);
			continue;
		}
		if (spot->is_leaf && tp_node_key(spot->node, spot->index) != search->wanted[level])
			want(search, level, tp_node_key(spot->node, spot->index));
		if (spot->is_leaf && level + 1 == search->type->nr_levels)
			return 0;
		go_down(search, spot);
	}
}

static int find(struct search *search, struct thinp_reader *reader, thinp_block_t root, uint64_t *found_keys,
		void *value_le)
{
	struct spot spot;
	int r;

	thinp_read_begin(reader, &search->section);
	r = run(search, root, &spot);
	if (!r) {
		uint32_t value_size = search->type->value_size;

		memcpy(found_keys, search->wanted, search->type->nr_levels * sizeof(*found_keys));
		if (value_le)
			tp_search_copy_value(value_le, spot.values_le + (size_t)spot.index * value_size, value_size);
	}
	thinp_read_end(&search->section);
	return r == THINP_ENODATA ? tp_fail(r, THINP_NO_BLOCK, "no more entries") : r;
}

int thinp_btree_lookup_ge(struct thinp_reader *reader, const struct thinp_btree_type *user_type, thinp_block_t root,
			  const uint64_t *keys, uint64_t *found_keys, void *value_le)
{
	struct search search = {.leaf_depth = {0}};
	struct thinp_btree_type room;
	int r = tp_btree_type_see(&room, user_type, &search.type);

	if (r)
		return r;
	memcpy(search.wanted, keys, search.type->nr_levels * sizeof(*keys));
	return find(&search, reader, root, found_keys, value_le);
}

int thinp_btree_first(struct thinp_reader *reader, const struct thinp_btree_type *user_type, thinp_block_t root,
		      uint64_t *keys, void *value_le)
{
	struct search search = {.wanted = {0}};
	struct thinp_btree_type room;
	int r = tp_btree_type_see(&room, user_type, &search.type);

	return r ? r : find(&search, reader, root, keys, value_le);
}
