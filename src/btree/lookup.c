/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/lookup.c - the way down for one key: from the device where need be, or as far as the cache has it.
 */
#include "btree/shortcut.h"

/* How a node comes that has no outline in the cache, checked. The two look-ups differ in nothing else. */
typedef int read_node_fn(struct thinp_read_section *section, const struct thinp_btree_type *type,
			 const struct tp_btree_child *child, const void **node);

static int peek_node(struct thinp_read_section *section, const struct thinp_btree_type *type,
		     const struct tp_btree_child *child, const void **node)
{
	int r = tp_btree_check_child(child, thinp_reader_nr_blocks(section->reader));

	if (r)
		return r;
	*node = thinp_read_peek(section, child->block, thinp_block_type_node());
	if (!*node)
		return tp_fail(THINP_EWOULDBLOCK, child->block, "btree node: not in the cache");
	return tp_btree_check_node(type, child, *node);
}

/* How a look-up goes down, and has gone. */
struct way {
	struct tp_btree_child child;
	thinp_block_t root;   /* of the level */
	bool may_be_straight; /* by shortcuts */
	bool is_straight;     /* one was taken */
	bool is_landing;      /* and has just led to this node */
};

/* From the root of a level to its leaf, where there is a shortcut. */
static inline struct tp_shortcut_leaf *take_shortcut(const struct thinp_read_section *section, struct way *way,
						     uint64_t key)
{
	const struct tp_shortcut *shortcut;
	struct tp_shortcut_leaf *leaf;
	uint64_t first;

	way->root = way->child.block;
	shortcut = way->may_be_straight && section->slot ? tp_shortcut_of(section->reader, way->root) : NULL;
	leaf = shortcut ? tp_shortcut_find(shortcut, key, &first) : NULL;
	if (!leaf || !leaf->block)
		return NULL;
	way->is_straight = way->is_landing = true;
	way->child.parent = way->root; /* for all that may be known without asking */
	way->child.block = leaf->block;
	way->child.first = first;
	way->child.depth = shortcut->depth;
	return leaf;
}

/* A node that the cache has with its outline, or NULL. */
static inline const struct thinp_buffer *find_outlined(struct thinp_read_section *section,
						       const struct thinp_btree_type *type,
						       const struct thinp_block_type *node_type, struct way *way,
						       uint64_t key)
{
	struct tp_shortcut_leaf *leaf = way->child.depth ? NULL : take_shortcut(section, way, key);
	const struct thinp_buffer *buffer;

	if (leaf) {
		buffer = tp_cache_find_again(&section->reader->bm->cache, leaf->block, node_type, &leaf->buffer);
		section->hits += buffer != NULL;
	} else {
		buffer = tp_read_peek_buffer(section, way->child.block, node_type);
	}
	return buffer && tp_search_has_outline(type, &way->child, buffer) ? buffer : NULL;
}

/* As tp_search_node(), by the outline. */
static inline bool search_outlined(const struct thinp_buffer *buffer, uint64_t key, struct tp_found *found)
{
	uint32_t group;

	if (!tp_outline_reaches(&buffer->outline, key))
		return false;
	group = tp_outline_group(&buffer->outline, key);
	if (tp_outline_has_all_keys(&buffer->outline)) {
		*found = tp_search_pivot(buffer, group);
		return true;
	}
	tp_node_prefetch_group(buffer->data, tp_outline_shape(&buffer->outline), group);
	*found = tp_search_group(buffer, group, key);
	return true;
}

enum { GO_PLAINLY = 1 };

/* The node where a shortcut has led to. Damage is found once more on the plain way, which knows who the parent is. */
static __attribute__((noinline)) int land(struct thinp_read_section *section, const struct thinp_btree_type *type,
					  read_node_fn *read_node, const struct tp_btree_child *child,
					  const void **node)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r;

	thinp_error_last(&before);
	r = read_node(section, type, child, node);
	if (r != THINP_ECORRUPT)
		return r;
	tp_error_restore(&before);
	return GO_PLAINLY;
}

/* One step: THINP_ENODATA when the key is certainly not there. */
static inline int step(struct thinp_read_section *section, const struct thinp_btree_type *type,
		       const struct thinp_block_type *node_type, read_node_fn *read_node, struct way *way, uint64_t key,
		       struct tp_found *found)
{
	const struct thinp_buffer *buffer = find_outlined(section, type, node_type, way, key);
	bool is_there;

	if (buffer) {
		is_there = search_outlined(buffer, key, found);
	} else {
		const void *node;
		int r = way->is_landing ? land(section, type, read_node, &way->child, &node)
					: read_node(section, type, &way->child, &node);

		if (r)
			return r;
		is_there = tp_search_node(node, key, found);
	}
	way->is_landing = false;
	return is_there && (!found->is_leaf || found->key == key) ? 0 : THINP_ENODATA;
}

static inline int go_down(struct thinp_read_section *section, const struct thinp_btree_type *type,
			  read_node_fn *read_node, const uint64_t *keys, void *value_le, struct way *way)
{
	const struct thinp_block_type *node_type = thinp_block_type_node();
	struct tp_found found;

	for (;;) {
		int r = step(section, type, node_type, read_node, way, keys[way->child.level], &found);

		if (r)
			return r;
		if (found.is_leaf && way->child.level + 1 == type->nr_levels)
			break;
		tp_search_go_down(&way->child, &found);
	}
	if (value_le)
		tp_search_copy_value(value_le, found.value_le, type->value_size);
	return 0;
}

static inline struct way way_from(thinp_block_t root, bool may_be_straight)
{
	return (struct way){.child = {.parent = THINP_NO_BLOCK, .block = root}, .may_be_straight = may_be_straight};
}

/* By whatever way there is. slot: where the thread has announced itself already, or NULL. Not inlined, so that what most
 * look-ups take does not save registers for it. */
static __attribute__((noinline)) int look_up(struct thinp_reader *reader, struct tp_epoch_slot *slot,
					     const struct thinp_btree_type *user_type, thinp_block_t root,
					     const uint64_t *keys, void *value_le, read_node_fn *read_node)
{
	struct way way = way_from(root, true);
	struct thinp_read_section section;
	const struct thinp_btree_type *type;
	struct thinp_btree_type room;
	bool is_wish;
	int r = tp_btree_type_see(&room, user_type, &type);

	if (r)
		return r;
	tp_read_begin_in(reader, slot ? slot : tp_epoch_enter(&reader->bm->cache.epochs), &section);
	r = go_down(&section, type, read_node, keys, value_le, &way);
	if (r == GO_PLAINLY) {
		way = way_from(root, false);
		r = go_down(&section, type, read_node, keys, value_le, &way);
	}
	is_wish = !r && !way.is_straight && way.child.depth && tp_read_is_sample(&section, way.child.depth + 1);
	tp_read_end(&section);
	if (is_wish)
		tp_shortcut_wish(reader, way.root, way.child.depth);
	return r == THINP_ENODATA ? tp_fail(r, THINP_NO_BLOCK, "no such key") : r;
}

/* Does a buffer, wherever it is known from, hold this leaf, and is it of the usual shape and as its parent promises? */
static inline bool is_usual_leaf(const struct thinp_buffer *buffer, thinp_block_t block, uint64_t first)
{
	return buffer && atomic_load(&buffer->outlined) == TP_OUTLINE_OF_USUAL_LEAF && buffer->block == block &&
	       buffer->outline.pivots[0] >= first;
}

/* False: it is not there. */
static inline bool search_usual_leaf(struct thinp_buffer *buffer, uint64_t key, void *value_le)
{
	const struct tp_node_shape usual = tp_usual_shape();
	uint32_t group = tp_outline_group_of(&buffer->outline, usual, key);

	tp_node_prefetch_group(buffer->data, usual, group);
	tp_buffer_note_use(buffer);
	return tp_search_leaf_group(buffer->data, usual, group, key, value_le);
}

static inline bool is_of_usual_leaves(const struct thinp_btree_type *type)
{
	return type && type->size == sizeof(*type) && type->nr_levels == 1 &&
	       type->value_size == tp_usual_shape().value_size;
}

/* False: there is more to it than that, or the key is not there. */
static inline bool look_straight(const struct thinp_reader *reader, thinp_block_t root, uint64_t key, void *value_le)
{
	const struct tp_shortcut *shortcut = tp_shortcut_of(reader, root);
	struct tp_shortcut_leaf *leaf;
	struct thinp_buffer *buffer;
	uint64_t first = 0;

	leaf = shortcut ? tp_shortcut_find(shortcut, key, &first) : NULL;
	if (!leaf)
		return false;
	buffer = atomic_load_explicit(&leaf->buffer, memory_order_acquire);
	return is_usual_leaf(buffer, leaf->block, first) && search_usual_leaf(buffer, key, value_le);
}

/* Most look-ups find a shortcut to a leaf of the usual shape that the cache has. */
static inline int look_up_straight(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
				   const uint64_t *keys, void *value_le, read_node_fn *read_node)
{
	struct tp_epoch_slot *slot = NULL;

	if (is_of_usual_leaves(type)) {
		slot = tp_epoch_enter(&reader->bm->cache.epochs);
		if (slot && look_straight(reader, root, keys[0], value_le)) {
			tp_epoch_add_work(slot, 1);
			tp_epoch_leave(slot);
			return 0;
		}
	}
	return look_up(reader, slot, type, root, keys, value_le, read_node);
}

int thinp_btree_lookup(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
		       const uint64_t *keys, void *value_le)
{
	return look_up_straight(reader, type, root, keys, value_le, tp_btree_read_node);
}

int thinp_btree_lookup_cached(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
			      const uint64_t *keys, void *value_le)
{
	return look_up_straight(reader, type, root, keys, value_le, peek_node);
}
