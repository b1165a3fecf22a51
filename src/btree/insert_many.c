/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/insert_many.c - many keys at once.
 *
 * A plan comes first: it looks at every node that will be changed, and tells what that may take. Then, leaf by leaf, the way
 * down is shadowed once. As long as the leaf has the keys, their values are written over; from the first new key on, it is
 * written anew with old and new entries merged. When they are too many for it, further
 * leaves follow it. Keys behind the end of a leaf fill it and the next ones to the brim, others are spread evenly: so a
 * leaf is left with room for the next keys that come between.
 */
#include "btree/insert.h"
#include "btree/plan.h"
#include "btree/splice.h"

#include "transaction/manager.h"

/* Old entries of a leaf and entries of a batch on their way into leaves. */
struct merge {
	const struct tp_batch *batch;
	size_t next; /* of the batch */
	size_t end;
	uint32_t next_old;
	uint32_t nr_old;
	uint64_t nr_new; /* keys that were not there before */
	uint8_t old[THINP_BLOCK_SIZE];
};

static bool is_superseded(const struct merge *m, size_t i)
{
	return i + 1 < m->end && tp_batch_key(m->batch, i) == tp_batch_key(m->batch, i + 1);
}

/* How many entries the whole will be. */
static uint64_t count_merged(const struct merge *m)
{
	uint64_t nr = m->nr_old;
	uint32_t old = m->next_old;

	for (size_t i = m->next; i < m->end; i++) {
		uint64_t key = tp_batch_key(m->batch, i);

		if (is_superseded(m, i))
			continue;
		while (old < m->nr_old && tp_node_key(m->old, old) < key)
			old++;
		nr += old == m->nr_old || tp_node_key(m->old, old) != key;
	}
	return nr;
}

/* Old entries before the next key of the batch go over together, but not more than max. */
static uint32_t take_old(struct merge *m, uint8_t *leaf, uint32_t to, uint32_t max)
{
	bool is_bounded = m->next < m->end;
	uint64_t bound = is_bounded ? tp_batch_key(m->batch, m->next) : 0;
	uint32_t nr = 0;

	if (max > m->nr_old - m->next_old)
		max = m->nr_old - m->next_old;
	if (!is_bounded)
		nr = max;
	while (nr < max && tp_node_key(m->old, m->next_old + nr) < bound)
		nr++;
	if (nr)
		tp_node_copy(leaf, to, m->old, m->next_old, nr);
	m->next_old += nr;
	return nr;
}

/* Of equal keys the last one counts. */
static inline int pass_over_superseded(struct merge *m)
{
	const struct tp_batch *batch = m->batch;
	int r = 0;

	for (; !r && is_superseded(m, m->next); m->next++)
		r = tp_btree_dec_replaced(batch->type, tp_batch_value(batch, m->next),
					  tp_batch_value(batch, m->next + 1));
	return r;
}

/* Writes values of the batch over old ones, until there is a key that the leaf does not have. Where all of them are
 * there, nothing has to be moved. */
static int overwrite(struct merge *m, uint8_t *leaf)
{
	const struct tp_batch *batch = m->batch;
	uint32_t at = 0;

	for (; m->next < m->end; m->next++) {
		uint64_t key = tp_batch_key(batch, m->next);
		int r;

		at = tp_node_find_from(leaf, at, key);
		if (!tp_node_has_at(leaf, at, key))
			break;
		r = pass_over_superseded(m);
		if (!r)
			r = tp_btree_dec_replaced(batch->type, tp_node_value_at(leaf, at),
						  tp_batch_value(batch, m->next));
		if (r)
			return r;
		tp_node_set_value(leaf, at, tp_batch_value(batch, m->next));
	}
	return 0;
}

/* The next key of the batch, which is not behind the next old one. */
static int take_new(struct merge *m, uint8_t *leaf, uint32_t to)
{
	const struct tp_batch *batch = m->batch;
	int r = pass_over_superseded(m);

	if (r)
		return r;
	if (m->next_old < m->nr_old && tp_node_key(m->old, m->next_old) == tp_batch_key(batch, m->next)) {
		r = tp_btree_dec_replaced(batch->type, tp_node_value_at(m->old, m->next_old),
					  tp_batch_value(batch, m->next));
		m->next_old++;
	} else {
		m->nr_new++;
	}
	tp_node_set_key(leaf, to, tp_batch_key(batch, m->next));
	tp_node_set_value(leaf, to, tp_batch_value(batch, m->next));
	m->next++;
	return r;
}

/* Fills an empty leaf with the next nr entries. */
static int fill(struct merge *m, uint8_t *leaf, uint64_t nr)
{
	uint32_t to = 0;

	while (to < nr) {
		to += take_old(m, leaf, to, (uint32_t)nr - to);
		if (to < nr) {
			int r = take_new(m, leaf, to++);

			if (r)
				return r;
		}
	}
	tp_node_set_nr_entries(leaf, to);
	return 0;
}

/* Fills it with all that is left, which has room. */
static int fill_with_all(struct merge *m, uint8_t *leaf)
{
	uint32_t to = 0;

	for (;;) {
		int r;

		to += take_old(m, leaf, to, UINT32_MAX);
		if (m->next == m->end)
			break;
		r = take_new(m, leaf, to++);
		if (r)
			return r;
	}
	tp_node_set_nr_entries(leaf, to);
	return 0;
}

/* Fills the leaf and new ones behind it, and puts these into the tree. */
static int fill_many(struct tp_splice *splice, struct merge *m, uint64_t nr)
{
	uint32_t step = splice->nr_steps - 1;
	uint8_t *leaf = splice->steps[step].frame.node;
	uint32_t capacity = tp_node_capacity(leaf);
	uint32_t nr_leaves = tp_nr_nodes_for(nr, capacity);
	bool is_packed = !m->nr_old || tp_node_key(m->old, m->nr_old - 1) < tp_batch_key(m->batch, m->next);
	uint64_t share = tp_share_of_first(nr, nr_leaves, capacity, is_packed);
	struct tp_new_child made[TP_SPLICE_MAX_NEW];
	uint32_t nr_made = 0;
	int r = fill(m, leaf, share);

	while (!r && --nr_leaves) {
		struct tp_btree_frame frame;

		r = tp_btree_new_node_like(splice->tm, leaf, THINP_CAUSE_SPLIT, &frame);
		if (r)
			return r;
		nr -= share;
		share = tp_share_of_first(nr, nr_leaves, capacity, is_packed);
		r = fill(m, frame.node, share);
		made[nr_made++] = (struct tp_new_child){tp_node_key(frame.node, 0), frame.block};
		tp_btree_end(splice->tm, &frame);
	}
	return r ? r : tp_splice_add(splice, step, made, nr_made);
}

/* Of too many entries for one step, the first ones are taken; equal ones stay together. */
static void limit(struct merge *m, uint32_t capacity)
{
	size_t at_once = (size_t)(TP_SPLICE_MAX_NEW - 1) * capacity;

	if (m->end - m->next <= at_once)
		return;
	at_once += m->next;
	while (at_once < m->end && tp_batch_key(m->batch, at_once - 1) == tp_batch_key(m->batch, at_once))
		at_once++;
	m->end = at_once;
}

/* Puts a root over a leaf that is one. On the way down, keys above leaves were lowered; this one must be, too. */
static int deepen(struct tp_splice *splice, uint64_t key)
{
	int r = tp_splice_deepen(splice);

	if (!r && key < tp_node_key(splice->steps[0].frame.node, 0))
		tp_node_set_key(splice->steps[0].frame.node, 0, key);
	return r;
}

static int write_leaf(struct tp_splice *splice, struct merge *m)
{
	struct tp_btree_frame *leaf = &splice->steps[splice->nr_steps - 1].frame;
	uint32_t capacity = tp_node_capacity(leaf->node);
	uint64_t nr;
	int r = overwrite(m, leaf->node);

	if (r || m->next == m->end)
		return r;
	m->next_old = 0;
	m->nr_old = tp_node_nr_entries(leaf->node);
	memcpy(m->old, leaf->node, THINP_BLOCK_SIZE);
	if (m->nr_old + (uint64_t)(m->end - m->next) <= capacity)
		return fill_with_all(m, leaf->node);
	limit(m, capacity);
	nr = count_merged(m);
	if (nr <= capacity)
		return fill_with_all(m, leaf->node);
	if (capacity < 3)
		return tp_fail(THINP_ECORRUPT, leaf->block,
			       "btree node: cannot be split, for it has room for only %u entries", capacity);
	if (splice->nr_steps == 1)
		r = deepen(splice, tp_batch_key(m->batch, m->next));
	return r ? r : fill_many(splice, m, nr);
}

/* Inserts what goes into one leaf, but not more than one step can take. */
static int insert_into_leaf(struct thinp_tm *tm, struct merge *m, const struct tp_btree_child *root, size_t end)
{
	struct tp_splice splice;
	int r = tp_splice_begin(&splice, tm, m->batch->type, root, tp_batch_key(m->batch, m->next));

	if (!r) {
		m->end = tp_batch_end_of_range(m->batch, m->next, end, splice.steps[splice.nr_steps - 1].last);
		r = write_leaf(&splice, m);
	}
	tp_splice_end(&splice);
	return r;
}

/* Inserts the entries of one tree of the last level. */
static int insert_into_tree(struct thinp_tm *tm, struct merge *m, thinp_block_t *root, size_t end)
{
	struct tp_insertion ins = {.tm = tm, .type = m->batch->type, .keys = tp_batch_keys(m->batch, m->next)};
	struct tp_btree_child at = {.parent = THINP_NO_BLOCK, .level = m->batch->type->nr_levels - 1};
	struct tp_btree_spine spine;
	int r = tp_insertion_reach_last_level(&ins, &spine, *root, root);

	at.block = spine.node.block;
	tp_spine_end(&spine);
	while (!r && m->next < end)
		r = insert_into_leaf(tm, m, &at, end);
	return r;
}

static int insert_all(struct thinp_tm *tm, const struct tp_batch *batch, thinp_block_t *root, uint64_t *nr_new)
{
	struct merge m = {.batch = batch};
	int r = 0;

	while (!r && m.next < batch->nr)
		r = insert_into_tree(tm, &m, root, tp_batch_end_of_tree(batch, m.next));
	*nr_new = m.nr_new;
	return r;
}

static int plan_and_reserve(struct thinp_tm *tm, const struct tp_batch *batch, thinp_block_t root)
{
	uint64_t nr_blocks, nr_values;
	int r = tp_batch_check(batch);

	if (!r)
		r = tp_plan(tm, batch, root, &nr_blocks, &nr_values);
	return r ? r : thinp_tm_reserve(tm, nr_blocks + tp_btree_cost_of_inc(batch->type, nr_values), 0);
}

static int insert_batch(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root,
			const uint64_t *keys, const void *values_le, size_t nr_keys, thinp_block_t *new_root,
			uint64_t *nr_inserted)
{
	struct thinp_btree_type type;
	const struct tp_batch batch = {.type = &type, .keys = keys, .values_le = values_le, .nr = nr_keys};
	uint64_t before = thinp_tm_generation(tm);
	uint64_t nr_new;
	int r = tp_btree_type_take(&type, user_type);

	if (!r)
		r = thinp_tm_status(tm);
	if (!r)
		r = plan_and_reserve(tm, &batch, root);
	if (r)
		return r;
	r = insert_all(tm, &batch, &root, &nr_new);
	if (r)
		return tp_btree_failed(tm, before, r);
	*new_root = root;
	if (nr_inserted)
		*nr_inserted = nr_new;
	return 0;
}

int thinp_btree_insert_many(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root,
			    const uint64_t *keys, const void *values_le, size_t nr_keys, thinp_block_t *new_root,
			    uint64_t *nr_inserted)
{
	int r;

	tp_tm_enter(tm);
	r = insert_batch(tm, user_type, root, keys, values_le, nr_keys, new_root, nr_inserted);
	tp_tm_leave(tm);
	return r;
}
