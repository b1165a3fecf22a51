/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/forest.c - trees that share nodes, and what must be in them.
 */
#include "support/forest.h"

#include "base/bytes.h"
#include "format/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- counts ---------------------------------------------------------------------------------------------------------- */

static int call(struct forest *f)
{
	f->nr_calls++;
	return f->nr_calls == f->fail_at ? f->fail_with : 0;
}

static uint32_t count_of(struct forest *f, thinp_block_t block)
{
	uint32_t count;

	assert_int_equal(f->counts.count(f->counts.ctx, block, &count), 0);
	return count;
}

static void expect_counted(struct forest *f, thinp_block_t first, uint64_t nr_blocks)
{
	for (uint64_t i = 0; first < f->image.nr_blocks && i < nr_blocks; i++)
		assert_true(count_of(f, first + i) > 0);
}

static int take(void *ctx, uint32_t cause, thinp_block_t *block)
{
	struct forest *f = ctx;
	int r = call(f);

	f->nr_count_calls++;
	f->nr_taken++;
	return r ? r : f->counts.take(f->counts.ctx, cause, block);
}

static int inc(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	struct forest *f = ctx;
	int r = call(f);

	f->nr_count_calls++;
	expect_counted(f, first, nr_blocks);
	return r ? r : f->counts.inc(f->counts.ctx, first, nr_blocks, cause);
}

static int dec(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	struct forest *f = ctx;
	int r = call(f);

	f->nr_count_calls++;
	expect_counted(f, first, nr_blocks);
	return r ? r : f->counts.dec(f->counts.ctx, first, nr_blocks, cause);
}

static int count(void *ctx, thinp_block_t block, uint32_t *out)
{
	struct forest *f = ctx;

	return f->counts.count(f->counts.ctx, block, out);
}

static int reserve(void *ctx, uint64_t nr_blocks, uint32_t flags)
{
	struct forest *f = ctx;

	if (nr_blocks > f->most_reserved)
		f->most_reserved = nr_blocks;
	return f->counts.reserve(f->counts.ctx, nr_blocks, flags);
}

static int step_values(struct forest *f, const uint8_t *values, size_t nr, int step)
{
	int r = call(f);

	f->nr_value_calls++;
	f->nr_values_told += nr;
	for (size_t i = 0; !r && i < nr; i++) {
		uint32_t number = tp_load_le32(values + i * f->type.value_size);

		assert_true(number < f->nr_values);
		assert_true(f->owners[number] > 0);
		f->owners[number] += (uint32_t)step;
	}
	return r;
}

static int inc_values(void *ctx, const void *values, size_t nr)
{
	return step_values(ctx, values, nr, 1);
}

static int dec_values(void *ctx, const void *values, size_t nr)
{
	return step_values(ctx, values, nr, -1);
}

static uint64_t cost_of_values(void *ctx, size_t nr)
{
	struct forest *f = ctx;

	f->nr_values_asked += nr;
	return 0;
}

void forest_forget(struct forest *f)
{
	f->most_reserved = f->nr_taken = f->nr_values_asked = f->nr_values_told = 0;
}

void forest_fail(struct forest *f, uint64_t n, int code)
{
	f->fail_at = n ? f->nr_calls + n : 0;
	f->fail_with = code;
}

bool forest_has_failed(struct forest *f)
{
	return f->fail_at && f->nr_calls >= f->fail_at;
}

/* --- making one ------------------------------------------------------------------------------------------------------ */

static void open_tm(struct forest *f, struct thinp_io *io, struct thinp_bm **bm, struct thinp_tm **tm)
{
	const struct thinp_alloc table = {.size = sizeof(table),
					  .ctx = f,
					  .take = take,
					  .inc = inc,
					  .dec = dec,
					  .count = count,
					  .reserve = reserve};
	struct thinp_bm_opts opts = {.size = sizeof(opts), .cache_blocks = 20000, .allocator = &f->alloc.table};

	assert_int_equal(thinp_bm_create(io, &opts, bm), 0);
	assert_int_equal(thinp_tm_create(*bm, &table, tm), 0);
}

void forest_open(struct forest *f, uint64_t nr_blocks, uint32_t nr_levels, uint32_t value_size)
{
	thinp_block_t super;

	memset(f, 0, sizeof(*f));
	alloc_counting_init(&f->alloc);
	image_open(&f->image, nr_blocks);
	assert_int_equal(thinp_memory_map_create(nr_blocks, &f->alloc.table, &f->map), 0);
	f->counts.size = sizeof(f->counts);
	thinp_memory_map_get_alloc(f->map, &f->counts);
	assert_int_equal(f->counts.take(f->counts.ctx, THINP_CAUSE_USER, &super), 0);
	assert_int_equal(super, 0);
	f->owners = calloc(FOREST_VALUES, sizeof(*f->owners));
	assert_non_null(f->owners);
	f->type = (struct thinp_btree_type){.size = sizeof(f->type),
					    .nr_levels = nr_levels,
					    .value_size = value_size,
					    .ctx = f,
					    .inc = inc_values,
					    .dec = dec_values,
					    .cost = cost_of_values};
	open_tm(f, f->image.memory, &f->bm, &f->tm);
}

static void free_tree(struct forest_tree *tree)
{
	free(tree->keys);
	free(tree->numbers);
	memset(tree, 0, sizeof(*tree));
}

void forest_close(struct forest *f)
{
	thinp_tm_destroy(f->tm);
	thinp_bm_destroy(f->bm);
	thinp_memory_map_destroy(f->map);
	for (unsigned int i = 0; i < FOREST_TREES; i++)
		free_tree(&f->trees[i]);
	free(f->owners);
	image_close(&f->image);
	alloc_counting_check(&f->alloc);
}

/* Entries first to first + nr - 1 of tree 0 belong to one tree of this level. */
static thinp_block_t plant_level(struct forest *f, const struct tree_shape *shape, uint32_t level, size_t first,
				 size_t nr)
{
	bool is_last = level + 1 == f->type.nr_levels;
	uint32_t value_size = is_last ? f->type.value_size : 8;
	const struct tree_shape full = {.per_leaf = 0};
	uint64_t *keys = calloc(nr + 1, sizeof(*keys));
	uint8_t *values = calloc(nr + 1, value_size);
	size_t nr_keys = 0;
	thinp_block_t root;

	assert_non_null(keys);
	assert_non_null(values);
	for (size_t i = first; i < first + nr && level < THINP_BTREE_MAX_LEVELS; nr_keys++) {
		uint64_t key = f->trees[0].keys[i][level];
		size_t end = i + 1;

		while (!is_last && end < first + nr && f->trees[0].keys[end][level] == key)
			end++;
		keys[nr_keys] = key;
		if (is_last)
			tp_store_le32(values + nr_keys * value_size, f->trees[0].numbers[i]);
		else
			tp_store_le64(values + nr_keys * 8, plant_level(f, shape, level + 1, i, end - i));
		i = end;
	}
	root = tree_build(&f->image, is_last ? shape : &full, value_size, keys, values, nr_keys);
	free(keys);
	free(values);
	return root;
}

void forest_plant(struct forest *f, const struct tree_shape *shape, const uint64_t (*keys)[THINP_BTREE_MAX_LEVELS],
		  size_t nr)
{
	struct forest_tree *tree = &f->trees[0];

	assert_true(nr < FOREST_VALUES);
	tree->is_there = true;
	tree->nr = nr;
	tree->keys = calloc(nr + 1, sizeof(*tree->keys));
	tree->numbers = calloc(nr + 1, sizeof(*tree->numbers));
	assert_non_null(tree->keys);
	assert_non_null(tree->numbers);
	memcpy(tree->keys, keys, nr * sizeof(*keys));
	for (size_t i = 0; i < nr; i++) {
		tree->numbers[i] = f->nr_values;
		f->owners[f->nr_values++] = 1;
	}
	tree->root = plant_level(f, shape, 0, 0, nr);
	for (thinp_block_t block = 1; block < f->image.next; block++) {
		thinp_block_t taken;

		assert_int_equal(f->counts.take(f->counts.ctx, THINP_CAUSE_USER, &taken), 0);
		assert_int_equal(taken, block);
	}
	thinp_memory_map_commit(f->map);
}

void forest_plant_plain(struct forest *f, const struct tree_shape *shape, size_t nr, uint64_t step)
{
	uint64_t(*keys)[THINP_BTREE_MAX_LEVELS] = calloc(nr + 1, sizeof(*keys));

	assert_non_null(keys);
	for (size_t i = 0; i < nr; i++)
		keys[i][0] = (i + 1) * step;
	forest_plant(f, shape, (const uint64_t(*)[THINP_BTREE_MAX_LEVELS])keys, nr);
	free(keys);
}

unsigned int forest_snapshot(struct forest *f, unsigned int tree)
{
	unsigned int i = 0;

	while (f->trees[i].is_there)
		i++;
	assert_true(i < FOREST_TREES);
	f->trees[i] = f->trees[tree];
	f->trees[i].keys = calloc(f->trees[tree].nr + 1, sizeof(*f->trees[i].keys));
	f->trees[i].numbers = calloc(f->trees[tree].nr + 1, sizeof(*f->trees[i].numbers));
	assert_non_null(f->trees[i].keys);
	assert_non_null(f->trees[i].numbers);
	memcpy(f->trees[i].keys, f->trees[tree].keys, f->trees[tree].nr * sizeof(*f->trees[i].keys));
	memcpy(f->trees[i].numbers, f->trees[tree].numbers, f->trees[tree].nr * sizeof(*f->trees[i].numbers));
	assert_int_equal(thinp_tm_inc(f->tm, f->trees[i].root, 1, THINP_CAUSE_USER), 0);
	return i;
}

void forest_commit(struct forest *f, bool reopen)
{
	assert_int_equal(thinp_tm_status(f->tm), 0);
	assert_int_equal(thinp_bm_flush(f->bm), 0); /* fails when a block is locked still */
	thinp_memory_map_commit(f->map);
	thinp_tm_begin(f->tm);
	if (!reopen)
		return;
	thinp_tm_destroy(f->tm);
	thinp_bm_destroy(f->bm);
	open_tm(f, f->image.memory, &f->bm, &f->tm);
}

void forest_begin_trial(struct forest *f, struct forest_trial *trial)
{
	trial->bm = f->bm;
	trial->tm = f->tm;
	trial->owners = malloc(FOREST_VALUES * sizeof(*f->owners));
	assert_non_null(trial->owners);
	memcpy(trial->owners, f->owners, FOREST_VALUES * sizeof(*f->owners));
	open_tm(f, f->image.io, &f->bm, &f->tm);
}

void forest_end_trial(struct forest *f, struct forest_trial *trial)
{
	assert_int_not_equal(thinp_bm_flush(f->bm), THINP_EINVAL); /* no block is locked: LOCKCHECK */
	thinp_bm_abort(f->bm);
	thinp_tm_destroy(f->tm);
	thinp_bm_destroy(f->bm);
	thinp_memory_map_abort(f->map);
	f->bm = trial->bm;
	f->tm = trial->tm;
	free(f->owners);
	f->owners = trial->owners;
}

bool forest_waste(struct forest *f)
{
	thinp_block_t block;

	if (f->counts.take(f->counts.ctx, THINP_CAUSE_USER, &block))
		return false;
	assert_int_equal(block, f->image.next + f->nr_wasted);
	f->nr_wasted++;
	thinp_memory_map_commit(f->map);
	return true;
}

/* --- changing -------------------------------------------------------------------------------------------------------- */

static int compare(const struct forest *f, const uint64_t *a, const uint64_t *b)
{
	for (uint32_t i = 0; i < f->type.nr_levels; i++)
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
	return 0;
}

static size_t find(const struct forest *f, const struct forest_tree *tree, const uint64_t *keys)
{
	size_t low = 0, high = tree->nr;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (compare(f, tree->keys[mid], keys) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void forget_entries(struct forest_tree *tree, size_t begin, size_t end)
{
	memmove(tree->keys + begin, tree->keys + end, (tree->nr - end) * sizeof(*tree->keys));
	memmove(tree->numbers + begin, tree->numbers + end, (tree->nr - end) * sizeof(*tree->numbers));
	tree->nr -= end - begin;
}

/* Makes room for one more, and puts it in. */
static void note_entry(struct forest_tree *tree, size_t at, const uint64_t *keys, uint32_t number)
{
	tree->keys = realloc(tree->keys, (tree->nr + 1) * sizeof(*tree->keys));
	tree->numbers = realloc(tree->numbers, (tree->nr + 1) * sizeof(*tree->numbers));
	assert_non_null(tree->keys);
	assert_non_null(tree->numbers);
	memmove(tree->keys + at + 1, tree->keys + at, (tree->nr - at) * sizeof(*tree->keys));
	memmove(tree->numbers + at + 1, tree->numbers + at, (tree->nr - at) * sizeof(*tree->numbers));
	memcpy(tree->keys[at], keys, sizeof(*tree->keys));
	tree->numbers[at] = number;
	tree->nr++;
}

int forest_insert(struct forest *f, unsigned int number, const uint64_t *keys)
{
	struct forest_tree *tree = &f->trees[number];
	uint8_t value[THINP_BLOCK_SIZE] = {0};
	size_t i = find(f, tree, keys);
	bool is_there = i < tree->nr && compare(f, tree->keys[i], keys) == 0;
	thinp_block_t root = 0xdead;
	bool inserted;
	int r;

	assert_true(f->nr_values < FOREST_VALUES);
	tp_store_le32(value, f->nr_values);
	r = thinp_btree_insert(f->tm, &f->type, tree->root, keys, value, &root, &inserted);
	if (r)
		return r;
	assert_int_equal(inserted, !is_there);
	if (is_there)
		tree->numbers[i] = f->nr_values;
	else
		note_entry(tree, i, keys, f->nr_values);
	f->owners[f->nr_values++] = 1;
	tree->root = root;
	return 0;
}

int forest_remove(struct forest *f, unsigned int number, const uint64_t *keys)
{
	struct forest_tree *tree = &f->trees[number];
	thinp_block_t root = 0xdead;
	size_t i = find(f, tree, keys);
	bool is_there = i < tree->nr && compare(f, tree->keys[i], keys) == 0;
	int r = thinp_btree_remove(f->tm, &f->type, tree->root, keys, &root);

	if (r) {
		assert_int_equal(root, 0xdead);
		return r;
	}
	assert_true(is_there);
	forget_entries(tree, i, i + 1);
	tree->root = root;
	return 0;
}

/* Sorted keys out of the model; how many there were. */
static uint64_t forget_keys(struct forest *f, struct forest_tree *tree, const uint64_t *keys, size_t nr_keys)
{
	uint64_t nr = 0;

	for (size_t k = 0; k < nr_keys; k++, keys += f->type.nr_levels) {
		size_t i = find(f, tree, keys);

		if (i == tree->nr || compare(f, tree->keys[i], keys) != 0)
			continue;
		forget_entries(tree, i, i + 1);
		nr++;
	}
	return nr;
}

int forest_remove_many(struct forest *f, unsigned int number, const uint64_t *keys, size_t nr_keys)
{
	struct forest_tree *tree = &f->trees[number];
	thinp_block_t before = tree->root, root = 0xdead;
	uint64_t nr_removed = 0xdead, nr_gone;
	int r = thinp_btree_remove_many(f->tm, &f->type, tree->root, keys, nr_keys, &root, &nr_removed);

	if (r) {
		assert_int_equal(root, 0xdead);
		assert_int_equal(nr_removed, 0xdead);
		return r;
	}
	tree->root = root;
	nr_gone = forget_keys(f, tree, keys, nr_keys);
	assert_int_equal(nr_removed, nr_gone);
	if (!nr_gone)
		assert_int_equal(root, before);
	return 0;
}

int forest_remove_range(struct forest *f, unsigned int number, const uint64_t *first, const uint64_t *last,
			uint32_t max_leaves, bool *is_complete)
{
	struct forest_tree *tree = &f->trees[number];
	thinp_block_t root = 0xdead;
	uint64_t nr_removed = 0xdead;
	size_t begin = find(f, tree, first), end = find(f, tree, last);
	int r = thinp_btree_remove_range(f->tm, &f->type, tree->root, first, last, max_leaves, &root, &nr_removed,
					 is_complete);

	if (r) {
		assert_int_equal(root, 0xdead);
		assert_int_equal(nr_removed, 0xdead);
		return r;
	}
	if (end < tree->nr && compare(f, tree->keys[end], last) == 0)
		end++;
	if (end < begin)
		end = begin;
	if (*is_complete)
		assert_int_equal(nr_removed, end - begin);
	else
		assert_true(nr_removed && nr_removed <= end - begin);
	if (end == begin)
		assert_int_equal(root, tree->root);
	forget_entries(tree, begin, begin + (size_t)nr_removed);
	tree->root = root;
	return 0;
}

int forest_del(struct forest *f, unsigned int number)
{
	int r = thinp_btree_del(f->tm, &f->type, f->trees[number].root);

	if (!r)
		free_tree(&f->trees[number]);
	return r;
}

/* --- looking --------------------------------------------------------------------------------------------------------- */

struct audit {
	struct forest *f;
	const struct forest_tree *tree;
	size_t next; /* entry of the tree */
	uint32_t *refs;
	uint32_t *owners;
	uint32_t leaf_depth;
	uint64_t keys[THINP_BTREE_MAX_LEVELS];
};

void forest_read(struct forest *f, thinp_block_t block, struct image_block *node)
{
	struct thinp_read_section section;
	const void *data;

	thinp_read_begin(thinp_tm_reader(f->tm), &section);
	assert_int_equal(thinp_read_block(&section, block, thinp_block_type_node(), &data), 0);
	memcpy(node->data, data, THINP_BLOCK_SIZE);
	thinp_read_end(&section);
}

/* counted: whoever points to the node was met before, so its references have been counted. */
static void audit_node(struct audit *audit, thinp_block_t block, uint32_t level, uint32_t depth, uint64_t first,
		       uint64_t last, bool counted);

static void audit_entry(struct audit *audit, const struct image_block *node, uint32_t i, bool counted)
{
	struct forest *f = audit->f;
	const uint8_t *value = tp_node_values(node->data) + (size_t)i * f->type.value_size;
	uint32_t number = tp_load_le32(value);

	assert_true(audit->next < audit->tree->nr);
	assert_int_equal(compare(f, audit->keys, audit->tree->keys[audit->next]), 0);
	assert_int_equal(number, audit->tree->numbers[audit->next]);
	audit->next++;
	if (!counted)
		audit->owners[number]++;
}

static void audit_form(const struct audit *audit, const struct image_block *node, uint32_t level, uint32_t depth,
		       uint64_t first, uint64_t last)
{
	const struct thinp_btree_type *type = &audit->f->type;
	uint32_t nr = tp_node_nr_entries(node->data);
	uint32_t value_size = tp_node_value_size(node->data);

	assert_int_equal(tp_node_check(node->data, 1), 0);
	assert_int_equal(value_size,
			 tp_node_is_leaf(node->data) && level + 1 == type->nr_levels ? type->value_size : 8);
	if (nr) {
		assert_true(tp_node_key(node->data, 0) >= first);
		assert_true(tp_node_key(node->data, nr - 1) <= last);
	}
	if (depth && !audit->f->may_be_underfull)
		assert_true(nr >= tp_node_capacity(node->data) / 3);
}

static void audit_children(struct audit *audit, const struct image_block *node, uint32_t level, uint32_t depth,
			   uint64_t last, bool counted)
{
	uint32_t nr = tp_node_nr_entries(node->data);
	bool is_leaf = tp_node_is_leaf(node->data);

	for (uint32_t i = 0; i < nr; i++) {
		uint64_t key = tp_node_key(node->data, i);

		audit->keys[level] = key;
		if (is_leaf && level + 1 == audit->f->type.nr_levels) {
			audit_entry(audit, node, i, counted);
		} else if (is_leaf) {
			uint32_t leaf_depth = audit->leaf_depth;

			audit->leaf_depth = 0;
			audit_node(audit, tp_node_value64(node->data, i), level + 1, 0, 0, UINT64_MAX, counted);
			audit->leaf_depth = leaf_depth;
		} else {
			audit_node(audit, tp_node_value64(node->data, i), level, depth + 1, key,
				   i + 1 < nr ? tp_node_key(node->data, i + 1) - 1 : last, counted);
		}
	}
}

static void audit_node(struct audit *audit, thinp_block_t block, uint32_t level, uint32_t depth, uint64_t first,
		       uint64_t last, bool counted)
{
	struct image_block node;

	assert_true(block > 0 && block < audit->f->image.nr_blocks);
	if (!counted && audit->refs[block]++)
		counted = true;
	forest_read(audit->f, block, &node);
	audit_form(audit, &node, level, depth, first, last);
	if (tp_node_is_leaf(node.data)) {
		if (audit->leaf_depth)
			assert_int_equal(audit->leaf_depth, depth + 1);
		audit->leaf_depth = depth + 1;
	}
	audit_children(audit, &node, level, depth, last, counted);
}

void forest_check(struct forest *f)
{
	struct audit audit = {.f = f,
			      .refs = calloc(f->image.nr_blocks, sizeof(uint32_t)),
			      .owners = calloc(FOREST_VALUES, sizeof(uint32_t))};

	assert_non_null(audit.refs);
	assert_non_null(audit.owners);
	for (unsigned int i = 0; i < FOREST_TREES; i++) {
		audit.tree = &f->trees[i];
		audit.next = 0;
		audit.leaf_depth = 0;
		if (audit.tree->is_there)
			audit_node(&audit, audit.tree->root, 0, 0, 0, UINT64_MAX, false);
		assert_int_equal(audit.next, audit.tree->nr);
	}
	for (uint64_t i = 0; i < f->nr_wasted; i++)
		audit.refs[f->image.next + i]++;
	for (thinp_block_t block = 1; block < f->image.nr_blocks; block++)
		if (count_of(f, block) != audit.refs[block])
			fail_msg("block %u: counted %u, used %u", (unsigned int)block, count_of(f, block),
				 audit.refs[block]);
	assert_memory_equal(f->owners, audit.owners, f->nr_values * sizeof(*f->owners));
	free(audit.refs);
	free(audit.owners);
}
