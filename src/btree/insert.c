/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/insert.c - one key.
 *
 * The short way comes first, where the nodes may be written where they are (in_place.c). Where it leads nowhere, a look at the
 * way down comes next, which changes nothing: it finds damage, and tells what the change may take. When only the leaf
 * has to be touched, it is. Else the way is gone once more, with shadows.
 */
#include "btree/insert.h"
#include "btree/finger.h"
#include "btree/in_place.h"
#include "btree/look.h"

#include "transaction/manager.h"

static int create(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t *root)
{
	struct thinp_btree_type type;
	struct tp_btree_frame frame;
	int r = tp_btree_type_take(&type, user_type);

	if (!r)
		r = thinp_tm_reserve(tm, 1, 0);
	if (!r)
		r = tp_btree_new_node(tm, TP_NODE_LEAF, tp_btree_value_size(&type, 0), THINP_CAUSE_NEW, &frame);
	if (r)
		return r;
	*root = frame.block;
	tp_btree_end(tm, &frame);
	return 0;
}

int thinp_btree_create(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t *root)
{
	int r;

	tp_tm_enter(tm);
	r = create(tm, user_type, root);
	tp_tm_leave(tm);
	return r;
}

/* Writes the entry into its leaf, which has room if the key is new. */
static int put(struct tp_insertion *ins, void *leaf, uint32_t index)
{
	int r;

	if (ins->is_new) {
		tp_node_insert(leaf, index, ins->key, ins->value_le);
		return 0;
	}
	r = tp_btree_dec_replaced(ins->type, tp_node_value_at(leaf, index), ins->value_le);
	if (!r)
		tp_node_set_value(leaf, index, ins->value_le);
	return r;
}

/* --- only the leaf is touched ---------------------------------------------------------------------------------------- */

/* An old value is dropped before anything is written, so that a failure of that is the only one to mark the transaction. */
static int put_in_place(struct tp_insertion *ins, struct tp_btree_frame *leaf, uint32_t index)
{
	uint64_t cost = ins->is_new ? 0 : tp_btree_cost_of_dec(ins->type, 1);
	int r = cost ? thinp_tm_reserve(ins->tm, cost, 0) : 0;

	if (r)
		return r;
	r = put(ins, leaf->node, index);
	return r ? thinp_tm_poison(ins->tm, r) : 0;
}

/* Inserts into a leaf that has room, if need be, and that may be written in place, as may all above it. */
static int insert_into_leaf(struct tp_insertion *ins, thinp_block_t root, const struct tp_look *look)
{
	struct tp_btree_frame leaf;
	int r = tp_btree_shadow(ins->tm, ins->type, &look->leaf_at, THINP_CAUSE_SHADOW, &leaf);

	if (r)
		return r;
	ins->is_new = !look->is_found;
	r = put_in_place(ins, &leaf, look->index);
	if (!r)
		tp_finger_set(ins->tm, ins->type, root, ins->keys, leaf.buffer, look->leaf_at.first, look->leaf_last);
	tp_btree_end(ins->tm, &leaf);
	return r;
}

/* --- the whole way is shadowed --------------------------------------------------------------------------------------- */

/* Hangs an empty tree under a new key of an upper level. */
static int add_empty_tree(struct tp_insertion *ins, struct tp_btree_spine *spine, uint32_t index)
{
	struct tp_btree_frame root;
	int r = tp_btree_new_node(ins->tm, TP_NODE_LEAF, tp_btree_value_size(ins->type, spine->level + 1),
				  THINP_CAUSE_NEW, &root);

	if (r)
		return r;
	tp_node_insert64(spine->node.node, index, ins->keys[spine->level], root.block);
	tp_btree_end(ins->tm, &root);
	return 0;
}

/* Begins the level below with the tree that hangs at an index of the leaf. The leaf is let go when it has the new root. */
static int begin_level_below(struct tp_insertion *ins, struct tp_btree_spine *spine, uint32_t index)
{
	struct tp_btree_frame upper = spine->node;
	struct tp_btree_child root = {
		.parent = upper.block, .block = tp_node_value64(upper.node, index), .level = spine->level + 1};
	int r;

	tp_btree_end(ins->tm, &spine->parent);
	r = tp_spine_begin(spine, ins->tm, ins->type, &root);
	if (!r)
		tp_node_set_value64(upper.node, index, spine->node.block);
	tp_btree_end(ins->tm, &upper);
	return r;
}

/* Goes down one level, to the root of a tree of the next one, which is made if need be. */
static int go_down_a_level(struct tp_insertion *ins, struct tp_btree_spine *spine)
{
	uint32_t index;
	int r = tp_spine_descend(spine, ins->keys[spine->level], &index, &ins->is_new);

	if (!r && ins->is_new)
		r = add_empty_tree(ins, spine, index);
	return r ? r : begin_level_below(ins, spine, index);
}

int tp_insertion_reach_last_level(struct tp_insertion *ins, struct tp_btree_spine *spine, thinp_block_t root,
				  thinp_block_t *new_root)
{
	const struct tp_btree_child at = {.parent = THINP_NO_BLOCK, .block = root};
	int r = tp_spine_begin(spine, ins->tm, ins->type, &at);

	if (r)
		return r;
	*new_root = spine->node.block;
	while (!r && spine->level + 1 < ins->type->nr_levels)
		r = go_down_a_level(ins, spine);
	return r;
}

static int put_at_spine(struct tp_insertion *ins, struct tp_btree_spine *spine)
{
	uint32_t index;
	int r = tp_spine_descend(spine, ins->key, &index, &ins->is_new);

	return r ? r : put(ins, spine->node.node, index);
}

static void set_finger(const struct tp_insertion *ins, const struct tp_btree_spine *spine, thinp_block_t root)
{
	tp_finger_set(ins->tm, ins->type, root, ins->keys, spine->node.buffer, tp_spine_first(spine),
		      tp_spine_last(spine));
}

static int change(struct tp_insertion *ins, thinp_block_t root, thinp_block_t *new_root)
{
	uint64_t before = ins->tm->generation;
	struct tp_btree_spine spine;
	thinp_block_t shadow;
	int r = tp_insertion_reach_last_level(ins, &spine, root, &shadow);

	if (!r)
		r = put_at_spine(ins, &spine);
	if (!r)
		set_finger(ins, &spine, shadow);
	tp_spine_end(&spine);
	if (r)
		return tp_btree_failed(ins->tm, before, r);
	*new_root = shadow;
	return 0;
}

/* --- which way ------------------------------------------------------------------------------------------------------- */

static bool only_leaf_changes(const struct tp_look *look)
{
	return look->nr_in_place == look->nr_nodes && !look->is_lowered && !look->nr_full && !look->nr_missing;
}

/* The values of a leaf get an owner when others own it, too; the one that is replaced loses one. */
static uint64_t cost_of_values(const struct thinp_btree_type *type, const struct tp_look *look)
{
	bool is_shared = look->first_shared < look->nr_nodes && !look->nr_missing;

	return tp_btree_cost_of_inc(type, is_shared ? look->nr_entries : 0) +
	       tp_btree_cost_of_dec(type, look->is_found);
}

static int look_and_insert(struct tp_insertion *ins, thinp_block_t root, thinp_block_t *new_root)
{
	struct tp_look look = {.path = NULL};
	int r = tp_look(ins->tm, ins->type, root, ins->keys, &look);

	if (r)
		return r;
	if (!only_leaf_changes(&look)) {
		r = thinp_tm_reserve(ins->tm, look.nr_blocks + cost_of_values(ins->type, &look), 0);
		return r ? r : change(ins, root, new_root);
	}
	r = insert_into_leaf(ins, root, &look);
	if (!r)
		*new_root = root;
	return r;
}

static int insert_with_copies(struct tp_insertion *ins, thinp_block_t root, thinp_block_t *new_root)
{
	bool done;
	int r = tp_insert_into_copy(ins, root, &done);

	if (r || !done)
		return r ? r : look_and_insert(ins, root, new_root);
	*new_root = root;
	return 0;
}

static int insert_entry(struct thinp_tm *tm, const struct thinp_btree_type *user_type, thinp_block_t root,
			const uint64_t *keys, const void *value_le, thinp_block_t *new_root, bool *inserted)
{
	struct thinp_btree_type room;
	struct tp_insertion ins = {.tm = tm, .keys = keys, .value_le = value_le};
	const struct tp_finger *finger;
	int r = tp_btree_type_see(&room, user_type, &ins.type);

	if (!r && tm->poison)
		r = thinp_tm_status(tm);
	if (r)
		return r;
	ins.key = keys[ins.type->nr_levels - 1];
	finger = tp_finger_find(tm, ins.type, root, keys);
	if (finger ? tp_insert_at_finger(&ins, finger) : tp_insert_in_place(&ins, root))
		*new_root = root;
	else if (finger) /* the leaf is full, or an old value is to be dropped */
		r = look_and_insert(&ins, root, new_root);
	else
		r = insert_with_copies(&ins, root, new_root);
	if (!r && inserted)
		*inserted = ins.is_new;
	return r;
}

/* Apart by force: the registers that this needs are not to be saved on the short way beside it. */
static __attribute__((noinline)) int insert_within_gate(struct thinp_tm *tm, const struct thinp_btree_type *type,
							thinp_block_t root, const uint64_t *keys, const void *value_le,
							thinp_block_t *new_root, bool *inserted)
{
	int r;

	tp_tm_enter(tm);
	r = insert_entry(tm, type, root, keys, value_le, new_root, inserted);
	tp_tm_leave(tm);
	return r;
}

/* Where keys ascend, nearly all of them go behind the end of the leaf of the one before. Done here, with values of 8 bytes, in
 * less time than a call takes that has to be ready for everything. */
static inline bool append(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
			  const uint64_t *keys, const void *value_le)
{
	const struct tp_finger *finger;
	uint64_t key;

	if (!type || type->size != sizeof(*type) || !type->nr_levels || type->value_size != 8)
		return false;
	finger = tp_finger_find(tm, type, root, keys);
	if (!finger || tm->gate || tm->poison)
		return false;
	key = keys[type->nr_levels - 1];
	if (!tp_finger_can_append(finger, key))
		return false;
	tp_node_add64(finger->buffer->data, key, tp_load_le64(value_le));
	tp_finger_keep(tm);
	return true;
}

int thinp_btree_insert(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
		       const uint64_t *keys, const void *value_le, thinp_block_t *new_root, bool *inserted)
{
	if (!append(tm, type, root, keys, value_le))
		return insert_within_gate(tm, type, root, keys, value_le, new_root, inserted);
	*new_root = root;
	if (inserted)
		*inserted = true;
	return 0;
}
