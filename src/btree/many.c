/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/many.c - looking up many keys together.
 *
 * A look-up is a chain of cache misses, each waiting for the one before. Several look-ups have nothing to do with each
 * other, so a group of them goes down in step. A step has two turns, and each asks for the lines that the next one needs:
 *
 *   aim      at a group of keys, by the node's outline     asks for the keys of the group and what belongs to them
 *   enter    the entry in the group: the value, or on to   asks for the outline of the child
 *            the child
 *
 * There is little in them that is not needed while all goes well, and next to no branch that the processor could guess
 * wrongly. What the block cache does not have is fetched with one batch of I/O for the group, which then begins again at
 * the root. What is not as it should be is left to thinp_btree_lookup(), which knows what to say.
 */
#include "btree/shortcut.h"

#define GROUP 32u /* twice the misses that a core keeps in flight, as the turns have work besides them */

#define NO_GROUP UINT32_MAX

/* Half a line of the processor's cache, for it is looked at in each turn, and moved. */
struct search {
	uint64_t key;   /* of the level */
	uint64_t first; /* no key of the node is smaller */
	const struct thinp_buffer *buffer;
	uint32_t group;  /* NO_GROUP: the node has no outline */
	uint16_t number; /* in the group of searches */
	uint8_t level;
	uint8_t depth; /* of the node in its level */
};
static_assert(THINP_BTREE_MAX_DEPTH <= UINT8_MAX && GROUP <= UINT16_MAX, "these have room for all");

struct batch {
	struct thinp_reader *reader;
	const struct thinp_btree_type *type;
	const struct thinp_block_type *node_type;
	thinp_block_t root;
	uint32_t value_sizes[THINP_BTREE_MAX_LEVELS]; /* in the leaves of each level */
	const uint64_t *keys;                         /* these three begin with the group */
	uint8_t *values_le;
	int32_t *results;
	struct search searches[GROUP]; /* under way */
	size_t nr;
	size_t nr_steps;     /* nodes looked at in the section */
	uint32_t leaf_depth; /* in the first level, of a leaf that was looked at; 0: none, or that is the root */
	size_t nr_stopped;
	uint32_t stopped[GROUP]; /* their numbers */
	/* by number */
	thinp_block_t wanted[GROUP]; /* the block that the cache did not have; THINP_NO_BLOCK: it was something else */
	uint32_t steps[GROUP];       /* how far it got; 0: it was never stopped */
};

static inline const uint64_t *keys_of(const struct batch *batch, uint32_t number)
{
	return batch->keys + (size_t)number * batch->type->nr_levels;
}

static inline void *value_of(const struct batch *batch, uint32_t number)
{
	return batch->values_le ? batch->values_le + (size_t)number * batch->type->value_size : NULL;
}

/* Those that go on stay side by side. Returns the place behind. */
static inline struct search *keep(struct search *place, const struct search *search)
{
	if (place != search)
		*place = *search;
	return place + 1;
}

/* Whoever has not got farther than the time before is left to go alone: the cache may be too small for the group. */
static void stop(struct batch *batch, const struct search *search, thinp_block_t wanted)
{
	uint32_t steps = (uint32_t)search->level * THINP_BTREE_MAX_DEPTH + search->depth + 1u;
	uint32_t *steps_before = &batch->steps[search->number];

	batch->wanted[search->number] = steps > *steps_before ? wanted : THINP_NO_BLOCK;
	*steps_before = steps;
	batch->stopped[batch->nr_stopped++] = search->number;
}

/* Inlined by force, as tp_node_prefetch_group() is. The pivots begin with the line behind the first one. */
static inline __attribute__((always_inline)) void prefetch_outline(const struct thinp_buffer *buffer)
{
	__builtin_prefetch(buffer);
	__builtin_prefetch(&buffer->outline.pivots[0]);
	__builtin_prefetch(&buffer->outline.pivots[TP_OUTLINE_PIVOTS / 2]);
}

/* Is the node what its parent promises? What tp_btree_read_node() checks; the address was looked at before. */
static inline bool is_as_promised(const struct batch *batch, const struct search *search,
				  const struct tp_outline *outline)
{
	if (outline->is_leaf ? outline->value_size != batch->value_sizes[search->level]
			     : search->depth + 1 >= THINP_BTREE_MAX_DEPTH)
		return false;
	return outline->pivots[0] >= search->first;
}

static bool check_slowly(const struct batch *batch, const struct search *search)
{
	struct tp_btree_child child = {.parent = THINP_NO_BLOCK,
				       .block = search->buffer->block,
				       .first = search->first,
				       .level = search->level,
				       .depth = search->depth};

	return !tp_btree_check_node(batch->type, &child, search->buffer->data);
}

/* By the outline. False: the key is not there. */
static inline bool aim_at_group(struct search *search)
{
	const struct thinp_buffer *buffer = search->buffer;

	search->group = tp_outline_group(&buffer->outline, search->key);
	tp_node_prefetch_group(buffer->data, tp_outline_shape(&buffer->outline), search->group);
	return tp_outline_reaches(&buffer->outline, search->key);
}

/* False: the key is not there, or something is wrong. */
static inline bool aim(const struct batch *batch, struct search *search)
{
	const struct thinp_buffer *buffer = search->buffer;

	if (atomic_load_explicit(&buffer->outlined, memory_order_acquire))
		return is_as_promised(batch, search, &buffer->outline) && aim_at_group(search);
	search->group = NO_GROUP;
	return check_slowly(batch, search);
}

static void aim_all(struct batch *batch)
{
	const struct search *end = batch->searches + batch->nr;
	struct search *place = batch->searches;

	for (struct search *search = place; search != end; search++) {
		if (aim(batch, search))
			place = keep(place, search);
		else
			stop(batch, search, THINP_NO_BLOCK);
	}
	batch->nr = (size_t)(place - batch->searches);
}

static inline bool find_entry(const struct search *search, struct tp_found *found)
{
	if (search->group == NO_GROUP)
		return tp_search_node(search->buffer->data, search->key, found);
	*found = tp_search_group(search->buffer, search->group, search->key);
	return true;
}

/* What the section has looked at before it began holds for all blocks. The superblock's place is nobody's child. */
static inline const struct thinp_buffer *find_buffer(struct batch *batch, thinp_block_t block)
{
	return block - 1 < batch->reader->nr_blocks - 1
		       ? tp_cache_find(&batch->reader->bm->cache, block, batch->node_type)
		       : NULL;
}

/* True: the search goes on in the child. */
static inline bool go_to_child(struct batch *batch, struct search *search, const struct tp_found *found)
{
	thinp_block_t block = tp_load_le64(found->value_le);

	if (found->is_leaf) {
		search->level++;
		search->depth = 0;
		search->first = 0;
		search->key = keys_of(batch, search->number)[search->level];
	} else {
		search->depth++;
		search->first = found->key;
	}
	search->buffer = find_buffer(batch, block);
	if (!search->buffer) {
		stop(batch, search, block ? block : THINP_NO_BLOCK);
		return false;
	}
	prefetch_outline(search->buffer);
	return true;
}

/* True: the search goes on. */
static inline bool enter(struct batch *batch, struct search *search)
{
	struct tp_found found;
	bool is_there = find_entry(search, &found) && (!found.is_leaf || found.key == search->key);

	if (found.is_leaf && !search->level)
		batch->leaf_depth = search->depth;
	if (is_there && (!found.is_leaf || search->level + 1u < batch->type->nr_levels))
		return go_to_child(batch, search, &found);
	batch->results[search->number] = is_there ? 0 : THINP_ENODATA;
	if (is_there && batch->values_le)
		tp_search_copy_value(value_of(batch, search->number), found.value_le, batch->type->value_size);
	return false;
}

static void enter_all(struct batch *batch)
{
	const struct search *end = batch->searches + batch->nr;
	struct search *place = batch->searches;

	for (struct search *search = place; search != end; search++)
		if (enter(batch, search))
			place = keep(place, search);
	batch->nr_steps += (size_t)(end - batch->searches);
	batch->nr = (size_t)(place - batch->searches);
}

static void begin_search(struct batch *batch, uint32_t number)
{
	batch->searches[batch->nr++] = (struct search){.key = keys_of(batch, number)[0], .number = (uint16_t)number};
}

/* The group cannot begin: the section does not have the root. */
static void stop_all(struct batch *batch)
{
	for (size_t i = 0; i < batch->nr; i++)
		stop(batch, &batch->searches[i], batch->root);
	batch->nr = 0;
}

static void aim_all_at_root(struct batch *batch, const struct thinp_buffer *root, bool is_sound)
{
	const struct search *end = batch->searches + batch->nr;
	struct search *place = batch->searches;

	for (struct search *search = place; search != end; search++) {
		search->buffer = root;
		if (is_sound ? aim_at_group(search) : aim(batch, search))
			place = keep(place, search);
		else
			stop(batch, search, THINP_NO_BLOCK);
	}
	batch->nr = (size_t)(place - batch->searches);
}

/* What the root is like is looked at once for all. */
static void begin_at_root(struct batch *batch, const struct thinp_buffer *root)
{
	bool is_sound = atomic_load_explicit(&root->outlined, memory_order_acquire) &&
			is_as_promised(batch, &(const struct search){0}, &root->outline);

	aim_all_at_root(batch, root, is_sound);
	enter_all(batch);
}

static void go_down(struct batch *batch)
{
	struct thinp_read_section section;
	const struct thinp_buffer *root;
	bool is_wish;

	batch->nr_stopped = 0;
	batch->nr_steps = 0;
	batch->leaf_depth = 0;
	tp_read_begin(batch->reader, &section);
	root = tp_read_peek_buffer(&section, batch->root, batch->node_type);
	if (root)
		begin_at_root(batch, root);
	else
		stop_all(batch);
	while (batch->nr) {
		aim_all(batch);
		enter_all(batch);
	}
	section.hits += batch->nr_steps;
	is_wish = batch->leaf_depth && tp_read_is_sample(&section, batch->nr_steps);
	tp_read_end(&section);
	if (is_wish)
		tp_shortcut_wish(batch->reader, batch->root, batch->leaf_depth);
}

/* What was stopped begins again once its block has been fetched, or is looked up alone. */
static void fetch_wanted(struct batch *batch)
{
	thinp_block_t blocks[GROUP];

	for (size_t i = 0; i < batch->nr_stopped; i++) {
		uint32_t number = batch->stopped[i];

		if (batch->wanted[number] == THINP_NO_BLOCK) {
			batch->results[number] = thinp_btree_lookup(batch->reader, batch->type, batch->root,
								    keys_of(batch, number), value_of(batch, number));
			continue;
		}
		blocks[batch->nr] = batch->wanted[number];
		begin_search(batch, number);
	}
	thinp_reader_prefetch(batch->reader, batch->node_type, blocks, batch->nr);
}

/* --- straight to the leaves, in a tree of one level ------------------------------------------------------------------- */

struct aim {
	struct tp_shortcut_leaf *leaf;
	const struct thinp_buffer *buffer; /* NULL: nothing left to do */
	uint64_t first;
	uint32_t group;
	bool is_usual;
};

/* What is not found out here is fetched, or looked up alone. */
static void stop_straight(struct batch *batch, size_t number, uint32_t depth, thinp_block_t wanted)
{
	stop(batch, &(const struct search){.number = (uint16_t)number, .depth = (uint8_t)depth}, wanted);
}

static void find_leaves(struct batch *batch, const struct tp_shortcut *shortcut, struct aim *aims, size_t nr)
{
	const uint64_t *keys = batch->keys;

	for (size_t i = 0; i < nr; i++) {
		struct tp_shortcut_leaf *leaf = tp_shortcut_find(shortcut, keys[i], &aims[i].first);
		const struct thinp_buffer *buffer =
			leaf ? atomic_load_explicit(&leaf->buffer, memory_order_relaxed) : NULL;

		aims[i].leaf = leaf && leaf->block ? leaf : NULL;
		if (buffer)
			prefetch_outline(buffer);
		else if (!aims[i].leaf)
			stop_straight(batch, i, shortcut->depth, THINP_NO_BLOCK);
	}
}

/* Is it a leaf as its parent promises, in a buffer with an outline? */
static inline bool is_leaf_as_promised(const struct thinp_buffer *buffer, uint64_t first, uint32_t value_size)
{
	const struct tp_outline *outline = &buffer->outline;

	return atomic_load_explicit(&buffer->outlined, memory_order_acquire) && outline->is_leaf &&
	       outline->value_size == value_size && outline->pivots[0] >= first;
}

static inline uint32_t aim_at_leaf(const struct thinp_buffer *buffer, struct tp_node_shape shape, uint64_t key)
{
	uint32_t group = tp_outline_group_of(&buffer->outline, shape, key);

	tp_node_prefetch_group(buffer->data, shape, group);
	return group;
}

static __attribute__((noinline)) void aim_at_leaves(struct batch *batch, const struct tp_shortcut *shortcut,
						    struct aim *aims, size_t nr)
{
	const struct thinp_block_type *node_type = batch->node_type;
	struct tp_cache *cache = &batch->reader->bm->cache;
	uint32_t value_size = batch->type->value_size;
	const uint64_t *keys = batch->keys;

	for (size_t i = 0; i < nr; i++) {
		const struct thinp_buffer *buffer;
		struct aim *aim = &aims[i];

		aim->buffer = NULL;
		if (!aim->leaf)
			continue;
		buffer = tp_cache_find_again(cache, aim->leaf->block, node_type, &aim->leaf->buffer);
		if (!buffer || !is_leaf_as_promised(buffer, aim->first, value_size)) {
			stop_straight(batch, i, shortcut->depth, buffer ? THINP_NO_BLOCK : aim->leaf->block);
			continue;
		}
		batch->results[i] = THINP_ENODATA;
		if (!tp_outline_reaches(&buffer->outline, keys[i]))
			continue;
		aim->buffer = buffer;
		aim->is_usual =
			atomic_load_explicit(&buffer->outlined, memory_order_relaxed) == TP_OUTLINE_OF_USUAL_LEAF;
		if (aim->is_usual)
			aim->group = aim_at_leaf(buffer, tp_usual_shape(), keys[i]);
		else
			aim->group = aim_at_leaf(buffer, tp_outline_shape(&buffer->outline), keys[i]);
	}
}

/* Results say already that the keys are not there. */
static __attribute__((noinline)) void enter_leaves(const struct batch *batch, const struct aim *aims, size_t nr)
{
	const size_t value_size = batch->type->value_size;
	const uint64_t *keys = batch->keys;
	uint8_t *values_le = batch->values_le;

	for (size_t i = 0; i < nr; i++) {
		const struct thinp_buffer *buffer = aims[i].buffer;
		void *value_le = values_le ? values_le + i * value_size : NULL;
		bool is_there;

		if (!buffer)
			continue;
		if (aims[i].is_usual)
			is_there =
				tp_search_leaf_group(buffer->data, tp_usual_shape(), aims[i].group, keys[i], value_le);
		else
			is_there = tp_search_leaf_group(buffer->data, tp_outline_shape(&buffer->outline), aims[i].group,
							keys[i], value_le);
		if (is_there)
			batch->results[i] = 0;
	}
}

/* False: there is no shortcut. */
static bool go_straight(struct batch *batch, uint32_t nr)
{
	struct thinp_read_section section;
	const struct tp_shortcut *shortcut;
	struct aim aims[GROUP];

	batch->nr_stopped = 0;
	tp_read_begin(batch->reader, &section);
	shortcut = section.slot ? tp_shortcut_of(batch->reader, batch->root) : NULL;
	if (shortcut) {
		find_leaves(batch, shortcut, aims, nr);
		aim_at_leaves(batch, shortcut, aims, nr);
		enter_leaves(batch, aims, nr);
		section.hits += nr - batch->nr_stopped;
	}
	tp_read_end(&section);
	return shortcut;
}

static void run_group(struct batch *batch, uint32_t nr)
{
	batch->nr = 0;
	memset(batch->steps, 0, sizeof(batch->steps));
	if (batch->type->nr_levels == 1 && go_straight(batch, nr)) {
		if (batch->nr_stopped)
			fetch_wanted(batch);
	} else {
		for (uint32_t i = 0; i < nr; i++)
			begin_search(batch, i);
	}
	while (batch->nr) {
		go_down(batch);
		if (batch->nr_stopped)
			fetch_wanted(batch);
	}
}

/* The first failure in the caller's order. Others have come since, so its detail is found out once more. Without one,
 * the detail record is put back: that a key is not there was told by its result. */
static int report_first_failure(const struct batch *batch, const uint64_t *keys, size_t nr, const int32_t *results,
				const struct thinp_error_info *before)
{
	for (size_t i = 0; i < nr; i++) {
		int failure = results[i];

		if (!failure || failure == THINP_ENODATA)
			continue;
		if (thinp_btree_lookup(batch->reader, batch->type, batch->root, keys + i * batch->type->nr_levels,
				       NULL) != failure)
			tp_fail(failure, THINP_NO_BLOCK, "key number %zu of %zu could not be looked up", i, nr);
		return failure;
	}
	tp_error_restore(before);
	return 0;
}

int thinp_btree_lookup_many(struct thinp_reader *reader, const struct thinp_btree_type *user_type, thinp_block_t root,
			    const uint64_t *keys, size_t nr_keys, void *values_le, int32_t *results)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	struct thinp_btree_type type;
	struct batch batch;
	int r = tp_btree_type_take(&type, user_type);

	if (r)
		return r;
	thinp_error_last(&before);
	batch.reader = reader;
	batch.type = &type;
	batch.node_type = thinp_block_type_node();
	batch.root = root;
	for (uint32_t level = 0; level < type.nr_levels; level++)
		batch.value_sizes[level] = tp_btree_value_size(&type, level);
	for (size_t begin = 0; begin < nr_keys; begin += GROUP) {
		batch.keys = keys + begin * type.nr_levels;
		batch.values_le = values_le ? (uint8_t *)values_le + begin * type.value_size : NULL;
		batch.results = results + begin;
		run_group(&batch, nr_keys - begin < GROUP ? (uint32_t)(nr_keys - begin) : GROUP);
	}
	return report_first_failure(&batch, keys, nr_keys, results, &before);
}
