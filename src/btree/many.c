/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree/many.c - looking up many keys together.
 *
 * A look-up is a chain of cache misses, each waiting for the one before. Several look-ups have nothing to do with each
 * other, so a group of them goes down in step. A step has three turns, and each asks for the lines that the next one needs:
 *
 *   find     each search's buffer, by its address          asks for the outline
 *   aim      at a group of keys, by the outline            asks for the keys of the group and what belongs to them
 *   step     the entry in the group: go on from there, or be done
 *
 * What is not in the block cache is fetched with one batch of I/O for the group.
 */
#include "btree/search.h"

#include <string.h>

#define GROUP 32u /* twice the misses that a core keeps in flight, as the turns have work besides them */

#define NO_GROUP UINT32_MAX

struct search {
	struct tp_btree_child at;
	const uint64_t *keys;
	size_t number; /* place in the caller's arrays */
	/* within one step */
	const struct thinp_buffer *buffer;
	uint32_t group; /* NO_GROUP: to be searched without the outline */
	bool missed;    /* the block cache did not have it in the step before */
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

/* Inlined by force, as tp_outline_prefetch() is. */
static inline __attribute__((always_inline)) void prefetch_outline(const struct thinp_buffer *buffer)
{
	__builtin_prefetch(buffer);
	__builtin_prefetch(&buffer->outline.pivots[0]);
	__builtin_prefetch(&buffer->outline.pivots[TP_OUTLINE_PIVOTS / 2]);
}

/* Searches side by side are often at the same node, at the root all are. */
static void find_all(struct batch *batch, struct thinp_read_section *section)
{
	const struct search *before = NULL;

	for (size_t i = 0; i < batch->nr; i++) {
		struct search *search = &batch->searches[i];

		search->buffer = NULL;
		if (before && before->at.block == search->at.block && before->at.parent == search->at.parent)
			search->buffer = before->buffer;
		else if (is_address(batch, search))
			search->buffer = tp_read_peek_buffer(section, search->at.block, thinp_block_type_node());
		if (search->buffer)
			prefetch_outline(search->buffer);
		before = search;
	}
}

static uint64_t key_of(const struct search *search)
{
	return search->keys[search->at.level];
}

static void aim_all(struct batch *batch)
{
	for (size_t i = 0; i < batch->nr; i++) {
		struct search *search = &batch->searches[i];
		const struct thinp_buffer *buffer = search->buffer;

		search->group = NO_GROUP;
		if (!buffer || !tp_search_has_outline(&batch->type, &search->at, buffer) ||
		    !tp_outline_reaches(&buffer->outline, key_of(search)))
			continue;
		search->group = tp_outline_group(&buffer->outline, key_of(search));
		tp_outline_prefetch(&buffer->outline, buffer->data, search->group);
	}
}

/* The entry to go on from, or THINP_ENODATA. */
static int find_entry(const struct batch *batch, const struct search *search, struct tp_found *found)
{
	uint64_t key = key_of(search);

	if (search->group != NO_GROUP) {
		*found = tp_search_group(search->buffer, search->group, key);
	} else {
		int r = tp_btree_check_node(&batch->type, &search->at, search->buffer->data);

		if (r)
			return r;
		if (!tp_search_node(search->buffer->data, key, found))
			return THINP_ENODATA;
	}
	return found->is_leaf && found->key != key ? THINP_ENODATA : 0;
}

/* One step of one search. Returns true while it goes on. */
static bool step(struct batch *batch, struct search *search, int *result)
{
	struct tp_found found;

	*result = find_entry(batch, search, &found);
	if (*result)
		return false;
	if (!found.is_leaf || search->at.level + 1 < batch->type.nr_levels) {
		tp_search_go_down(&search->at, &found);
		return true;
	}
	if (batch->values_le)
		memcpy(value_of(batch, search), found.value_le, batch->type.value_size);
	return false;
}

/* One step of every search whose node was found. From the back, as finish() moves the last one into the gap. */
static size_t step_all(struct batch *batch)
{
	size_t nr_missed = 0;

	for (size_t i = batch->nr; i--;) {
		struct search *search = &batch->searches[i];
		int result;

		if (!search->buffer)
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

		if (search->buffer)
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
			find_all(batch, &section);
			aim_all(batch);
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
