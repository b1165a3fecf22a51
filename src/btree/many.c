/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/many.c - looking up many keys together.
 *
 * A look-up is a chain of cache misses, each waiting for the one before. Several look-ups have nothing to do with each
 * other, so a group of them goes down in step: first every node of the group's next step is found and its cache lines
 * asked for, then all are searched. What is not in the block cache is fetched with one batch of I/O for the group.
 */
#include "btree/node.h"

#include <string.h>

#define GROUP 16u /* misses that a core keeps in flight; more gains nothing */

struct search {
	struct tp_btree_child at;
	const uint64_t *keys;
	size_t number;    /* place in the caller's arrays */
	const void *node; /* within one round */
	bool missed;      /* the block cache did not have it in the round before */
};

struct batch {
	struct thinp_reader *reader;
	struct thinp_btree_type type;
	thinp_block_t root;
	uint8_t *values_le;
	int32_t *results;
	struct search searches[GROUP];
	size_t nr; /* searches under way */
};

static void finish(struct batch *batch, size_t i, int result)
{
	batch->results[batch->searches[i].number] = result;
	batch->searches[i] = batch->searches[--batch->nr];
}

static void *value_of(const struct batch *batch, const struct search *search)
{
	return batch->values_le ? batch->values_le + search->number * batch->type.value_size : NULL;
}

/* Addresses that no parent should name are left to thinp_btree_lookup(), which knows what to say. */
static bool is_address(const struct batch *batch, const struct search *search)
{
	return search->at.block < thinp_reader_nr_blocks(batch->reader) &&
	       (search->at.block || search->at.parent == THINP_NO_BLOCK);
}

/* Finds the group's nodes and asks for the lines that the search will touch first. */
static void find_nodes(struct batch *batch, struct thinp_read_section *section)
{
	for (size_t i = 0; i < batch->nr; i++) {
		struct search *search = &batch->searches[i];
		const uint8_t *node = NULL;

		if (is_address(batch, search))
			node = thinp_read_peek(section, search->at.block, thinp_block_type_node());
		search->node = node;
		if (!node)
			continue;
		__builtin_prefetch(node);
		__builtin_prefetch(node + TP_NODE_HEADER_SIZE + 8 * 63);
		__builtin_prefetch(node + TP_NODE_HEADER_SIZE + 8 * 126);
	}
}

/* One step of one search. Returns true while it goes on. */
static bool step(struct batch *batch, struct search *search, int *result)
{
	uint64_t key = search->keys[search->at.level];
	const void *node = search->node;
	uint32_t index;

	*result = tp_btree_check_node(&batch->type, &search->at, node);
	if (*result)
		return false;
	*result = THINP_ENODATA;
	if (!tp_node_is_leaf(node)) {
		index = tp_node_upper_bound(node, key);
		if (!index--)
			return false;
		search->at = (struct tp_btree_child){.parent = search->at.block,
						     .block = tp_node_value64(node, index),
						     .first = tp_node_key(node, index),
						     .level = search->at.level,
						     .depth = search->at.depth + 1};
		return true;
	}
	if (!tp_node_find(node, key, &index))
		return false;
	if (search->at.level + 1 < batch->type.nr_levels) {
		search->at = (struct tp_btree_child){.parent = search->at.block,
						     .block = tp_node_value64(node, index),
						     .level = search->at.level + 1};
		return true;
	}
	*result = 0;
	if (batch->values_le)
		memcpy(value_of(batch, search), tp_node_values(node) + (size_t)index * batch->type.value_size,
		       batch->type.value_size);
	return false;
}

/* One step of every search whose node was found. From the back, as finish() moves the last one into the gap. */
static size_t step_all(struct batch *batch)
{
	size_t nr_missed = 0;

	for (size_t i = batch->nr; i--;) {
		struct search *search = &batch->searches[i];
		int result;

		if (!search->node)
			nr_missed++;
		else if (!step(batch, search, &result))
			finish(batch, i, result);
		else
			search->missed = false;
	}
	return nr_missed;
}

/* Gets what the block cache did not have: together for the first time, then one by one, so that it ends even when the
 * cache is too small for the group. */
static void fetch_missing(struct batch *batch)
{
	thinp_block_t blocks[GROUP];
	size_t nr = 0;

	for (size_t i = batch->nr; i--;) {
		struct search *search = &batch->searches[i];

		if (search->node)
			continue;
		if (search->missed || !is_address(batch, search)) {
			finish(batch, i,
			       thinp_btree_lookup(batch->reader, &batch->type, batch->root, search->keys,
						  value_of(batch, search)));
			continue;
		}
		search->missed = true;
		blocks[nr++] = search->at.block;
	}
	thinp_reader_prefetch(batch->reader, thinp_block_type_node(), blocks, nr);
}

static void run_group(struct batch *batch)
{
	while (batch->nr) {
		struct thinp_read_section section;
		size_t nr_missed = 0;

		thinp_read_begin(batch->reader, &section);
		while (batch->nr && !nr_missed) {
			find_nodes(batch, &section);
			nr_missed = step_all(batch);
		}
		thinp_read_end(&section);
		if (nr_missed)
			fetch_missing(batch);
	}
}

/* The first failure in the caller's order. Others have come since, so its detail is found out once more. Without one,
 * the detail record is put back: that a key is not there was told by its result. */
static int report_first_failure(struct batch *batch, const uint64_t *keys, size_t nr,
				const struct thinp_error_info *before)
{
	for (size_t i = 0; i < nr; i++) {
		int failure = batch->results[i];

		if (!failure || failure == THINP_ENODATA)
			continue;
		if (thinp_btree_lookup(batch->reader, &batch->type, batch->root, keys + i * batch->type.nr_levels,
				       NULL) != failure)
			tp_fail(failure, THINP_NO_BLOCK, "key number %zu of %zu could not be looked up", i, nr);
		return failure;
	}
	tp_error_restore(before);
	return 0;
}

int thinp_btree_lookup_many(struct thinp_reader *reader, const struct thinp_btree_type *type, thinp_block_t root,
			    const uint64_t *keys, size_t nr_keys, void *values_le, int32_t *results)
{
	struct batch batch = {.reader = reader, .root = root, .values_le = values_le, .results = results};
	struct thinp_error_info before = {.size = sizeof(before)};
	int r = tp_btree_type_take(&batch.type, type);

	if (r)
		return r;
	thinp_error_last(&before);
	for (size_t begin = 0; begin < nr_keys; begin += GROUP) {
		size_t end = nr_keys - begin < GROUP ? nr_keys : begin + GROUP;

		for (size_t i = begin; i < end; i++)
			batch.searches[batch.nr++] = (struct search){.at = {.parent = THINP_NO_BLOCK, .block = root},
								     .keys = keys + i * batch.type.nr_levels,
								     .number = i};
		run_group(&batch);
	}
	return report_first_failure(&batch, keys, nr_keys, &before);
}
