/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/finger.h - the leaf of the last insert, remembered by the transaction.
 *
 * It holds only as long as nobody else has changed anything: neither this tree, nor a count that could make one of its nodes
 * shared. The number of changes of the transaction tells that (thinp_tm_generation()). The leaf may have been written to
 * the device meanwhile, which the block manager tells.
 */
#ifndef TP_BTREE_FINGER_H
#define TP_BTREE_FINGER_H

#include "btree/change.h"

#include "transaction/manager.h"

struct tp_finger {
	uint64_t generation; /* of the transaction, when the insert had ended */
	thinp_block_t root;
	thinp_block_t block; /* the leaf */
	struct thinp_buffer *buffer;
	const struct thinp_block_type *node_type;
	uint64_t first; /* the smallest key that belongs to the leaf */
	uint64_t last;  /* and the largest one */
	uint64_t prefix[THINP_BTREE_MAX_LEVELS - 1];
	uint32_t nr_levels; /* 0: there is no finger */
	uint32_t value_size;
};
static_assert(sizeof(struct tp_finger) <= TP_TM_MEMO_SIZE, "the transaction keeps it");

/* The finger, if it stands in the leaf where the keys belong, and that may be written where it is; NULL otherwise. What is most
 * likely to be otherwise is asked first. */
static inline const struct tp_finger *tp_finger_find(struct thinp_tm *tm, const struct thinp_btree_type *type,
						     thinp_block_t root, const uint64_t *keys)
{
	const struct tp_finger *finger = tp_tm_memo(tm);
	uint32_t nr_upper = type->nr_levels - 1;

	if (finger->nr_levels != type->nr_levels || keys[nr_upper] < finger->first || keys[nr_upper] > finger->last ||
	    finger->generation != tm->generation || finger->root != root || finger->value_size != type->value_size)
		return NULL;
	for (uint32_t i = 0; i < nr_upper; i++)
		if (keys[i] != finger->prefix[i])
			return NULL;
	return tp_bm_is_writable(tm->bm, finger->buffer, finger->block, finger->node_type) ? finger : NULL;
}

/* Remembers the leaf of a key: it, and all nodes above it, may be written in place. first and last: the keys that belong
 * to it. */
static inline void tp_finger_set(struct thinp_tm *tm, const struct thinp_btree_type *type, thinp_block_t root,
				 const uint64_t *keys, struct thinp_buffer *leaf, uint64_t first, uint64_t last)
{
	struct tp_finger *finger = tp_tm_memo(tm);

	finger->generation = tm->generation;
	finger->root = root;
	finger->block = leaf->block;
	finger->buffer = leaf;
	finger->node_type = thinp_block_type_node();
	finger->first = first;
	finger->last = last;
	for (uint32_t i = 0; i + 1 < type->nr_levels; i++)
		finger->prefix[i] = keys[i];
	finger->nr_levels = type->nr_levels;
	finger->value_size = type->value_size;
}

/* The leaf has been changed, and nothing else since. */
static inline void tp_finger_keep(struct thinp_tm *tm)
{
	struct tp_finger *finger = tp_tm_memo(tm);

	finger->generation = ++tm->generation;
}

/* May an entry be put behind the last one of the leaf, because it belongs there and has room? */
static inline bool tp_finger_can_append(const struct tp_finger *finger, uint64_t key)
{
	const uint8_t *leaf = finger->buffer->data;
	uint32_t nr = tp_node_nr_entries(leaf);

	return nr && nr != tp_node_capacity(leaf) && tp_node_key(leaf, nr - 1) < key;
}

#endif
