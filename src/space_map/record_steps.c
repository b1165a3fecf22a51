/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/record_steps.c - the steps that recording is made of.
 */
#include "space_map/record.h"

#include "base/bytes.h"

#include <inttypes.h>

#define OVERFLOW 3u /* in a bitmap: the overflow tree has the count */

static const struct thinp_btree_type index_type = {
	.size = sizeof(index_type), .nr_levels = 1, .value_size = TP_INDEX_ENTRY_SIZE};
static const struct thinp_btree_type overflow_type = {.size = sizeof(overflow_type), .nr_levels = 1, .value_size = 4};

static void open_step(struct thinp_sm *sm)
{
	sm->depth++;
}

static int close_step(struct thinp_sm *sm, int r)
{
	if (!r)
		r = tp_sm_drain(sm);
	sm->depth--;
	return r;
}

/* --- trees --- */

/* The tree has a new root, and as many more nodes as blocks were taken more than given back: nobody shares them. */
static int close_tree_step(struct thinp_sm *sm, struct thinp_tm *tm, struct tp_sm_tree *tree, thinp_block_t root,
			   int64_t balance_before, int r)
{
	int64_t grown = sm->metadata->balance - balance_before;

	if (!r)
		tree->root = root;
	r = close_step(sm, r);
	tree->nr_nodes += (uint64_t)grown;
	return r || !grown ? r : tp_sm_measure_depth(thinp_tm_reader(tm), tree);
}

static int insert(struct thinp_sm *sm, struct thinp_tm *tm, const struct thinp_btree_type *type,
		  struct tp_sm_tree *tree, uint64_t key, const void *value_le)
{
	int64_t before = sm->metadata->balance;
	thinp_block_t root = 0;
	int r;

	open_step(sm);
	r = thinp_btree_insert(tm, type, tree->root, &key, value_le, &root, NULL);
	return close_tree_step(sm, tm, tree, root, before, r);
}

static int remove_key(struct thinp_sm *sm, struct thinp_tm *tm, const struct thinp_btree_type *type,
		      struct tp_sm_tree *tree, uint64_t key)
{
	int64_t before = sm->metadata->balance;
	thinp_block_t root = 0;
	int r;

	open_step(sm);
	r = thinp_btree_remove(tm, type, tree->root, &key, &root);
	if (r == THINP_ENODATA)
		r = tp_fail(THINP_ECORRUPT, tree->root, "the overflow tree lacks block %" PRIu64, key);
	return close_tree_step(sm, tm, tree, root, before, r);
}

static int make_tree(struct thinp_sm *sm, struct thinp_tm *tm, const struct thinp_btree_type *type,
		     struct tp_sm_tree *tree)
{
	int64_t before = sm->metadata->balance;
	thinp_block_t root = 0;
	int r;

	if (tree->root)
		return 0;
	open_step(sm);
	r = thinp_btree_create(tm, type, &root);
	return close_tree_step(sm, tm, tree, root, before, r);
}

int tp_sm_step_make_trees(struct thinp_sm *sm, struct thinp_tm *tm)
{
	int r = make_tree(sm, tm, &overflow_type, &sm->now.overflow);

	if (!r && sm->kind == TP_SM_DATA)
		r = make_tree(sm, tm, &index_type, &sm->now.index_tree);
	return r;
}

int tp_sm_step_index_entry(struct thinp_sm *sm, struct thinp_tm *tm, uint64_t number,
			   const struct tp_index_entry *entry)
{
	uint8_t value[TP_INDEX_ENTRY_SIZE];

	tp_index_entry_pack(entry, value);
	return insert(sm, tm, &index_type, &sm->now.index_tree, number, value);
}

/* --- large counts --- */

static int record_count(struct thinp_sm *sm, struct thinp_tm *tm, struct tp_page *page, uint32_t i)
{
	uint64_t block = page->number * TP_PAGE_NR_BLOCKS + i;
	uint32_t count = tp_sm_page_count(sm, page, i);
	uint8_t value[4];
	int r = 0;

	if (count < OVERFLOW && !tp_bit_get(page->entries, i))
		return 0; /* there and back again */
	sm->now.overflow_generation++;
	if (count < OVERFLOW) {
		r = remove_key(sm, tm, &overflow_type, &sm->now.overflow, block);
		tp_bit_clear(page->entries, i);
		return r;
	}
	tp_store_le32(value, count);
	r = insert(sm, tm, &overflow_type, &sm->now.overflow, block, value);
	tp_bit_set(page->entries, i);
	return r;
}

int tp_sm_step_overflow(struct thinp_sm *sm, struct thinp_tm *tm, struct tp_page *page, bool *found)
{
	uint32_t i = page->nr_changed ? tp_bits_find_set(page->changed, 0) : TP_PAGE_NR_BLOCKS;

	*found = i < TP_PAGE_NR_BLOCKS;
	if (!*found)
		return 0;
	tp_bit_clear(page->changed, i);
	page->nr_changed--;
	page->nr_inserts -= !tp_bit_get(page->entries, i);
	return record_count(sm, tm, page, i);
}

/* --- blocks --- */

int tp_sm_step_replace(struct thinp_sm *sm, struct thinp_tm *tm, const struct thinp_block_type *type,
		       thinp_block_t *block)
{
	uint32_t cause = *block ? THINP_CAUSE_SHADOW : THINP_CAUSE_NEW;
	struct thinp_buffer *buffer;
	thinp_block_t made = 0;
	void *data;
	int r;

	open_step(sm);
	r = thinp_tm_new_block(tm, type, cause, &made, &buffer, &data);
	if (!r) {
		thinp_tm_unlock(tm, buffer);
		if (*block)
			r = thinp_tm_dec(tm, *block, 1, cause);
		*block = made;
	}
	return close_step(sm, r);
}

int tp_sm_step_bitmap(struct thinp_sm *sm, struct thinp_tm *tm, struct tp_page *page)
{
	thinp_block_t block = page->entry.bitmap;
	int r;

	page->is_shadow = true; /* before it is done: once is enough */
	page->is_dirty = true;
	r = tp_sm_step_replace(sm, tm, thinp_block_type_bitmap(), &block);
	page->entry.bitmap = block;
	if (!r && page->number == sm->now.nr_bitmaps)
		sm->now.nr_bitmaps++;
	return r;
}

int tp_sm_write_again(struct thinp_tm *tm, thinp_block_t block, const struct thinp_block_type *type,
		      struct thinp_buffer **buffer, void **data)
{
	thinp_block_t same = block;
	bool inc_children;
	int r = thinp_tm_shadow_block(tm, block, type, THINP_CAUSE_SHADOW, &same, buffer, data, &inc_children);

	if (r || same == block)
		return r;
	thinp_tm_unlock(tm, *buffer);
	return tp_fail(THINP_EREFCOUNT, block, "block %" PRIu64 " of a space map is shared", block);
}

void tp_sm_set_hints(struct tp_page *page)
{
	page->entry.nr_free = TP_PAGE_NR_BLOCKS - page->nr_used;
	page->entry.none_free_before = tp_page_first_zero(page);
	page->nr_hidden = 0;
}

int tp_sm_write_bitmap(struct thinp_tm *tm, struct tp_page *page)
{
	struct thinp_buffer *buffer;
	void *data;
	int r = tp_sm_write_again(tm, page->entry.bitmap, thinp_block_type_bitmap(), &buffer, &data);

	if (r)
		return r;
	tp_page_pack(page);
	tp_bitmap_put(page->packed, data);
	thinp_tm_unlock(tm, buffer);
	tp_sm_set_hints(page);
	return 0;
}
