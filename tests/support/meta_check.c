/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/meta_check.c - SHAPE and REFCHECK: trees, arrays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/meta_check.h"

#include "base/bytes.h"
#include "format/array_block.h"
#include "format/node.h"

#include <thinp/error.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 15, MAX_ENTRIES = 400 };

static void *allocate(uint64_t nr, size_t size)
{
	void *ptr = calloc(nr ? nr : 1, size);

	assert_non_null(ptr);
	return ptr;
}

void meta_check_begin(struct meta_check *check, struct thinp_reader *reader, uint64_t nr_blocks, uint64_t nr_data)
{
	check->reader = reader;
	check->nr_blocks = nr_blocks;
	check->nr_data = nr_data;
	check->counts = allocate(nr_blocks, sizeof(*check->counts));
	check->data_counts = allocate(nr_data, sizeof(*check->data_counts));
	check->kinds = allocate(nr_blocks, sizeof(*check->kinds));
	check->nodes = allocate(nr_blocks, sizeof(*check->nodes));
}

void meta_check_end(struct meta_check *check)
{
	free(check->counts);
	free(check->data_counts);
	free(check->kinds);
	free(check->nodes);
}

bool meta_check_refer(struct meta_check *check, thinp_block_t block, const void *kind)
{
	if (block >= check->nr_blocks)
		fail_msg("a pointer to block %" PRIu64 ", of %" PRIu64, block, check->nr_blocks);
	if (check->kinds[block] && check->kinds[block] != kind)
		fail_msg("block %" PRIu64 " is part of two things", block);
	check->kinds[block] = kind;
	return !check->counts[block]++;
}

void meta_check_refer_data(struct meta_check *check, uint64_t block)
{
	if (block >= check->nr_data)
		fail_msg("a pointer to data block %" PRIu64 ", of %" PRIu64, block, check->nr_data);
	check->data_counts[block]++;
}

static void read_copy(struct meta_check *check, thinp_block_t block, const struct thinp_block_type *type, void *copy)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct thinp_read_section section;
	const void *data;
	int r;

	thinp_read_begin(check->reader, &section);
	r = thinp_read_block(&section, block, type, &data);
	if (!r)
		memcpy(copy, data, THINP_BLOCK_SIZE);
	thinp_read_end(&section);
	thinp_error_last(&info);
	if (r)
		fail_msg("block %" PRIu64 ": %s", block, info.message);
}

/* --- trees ------------------------------------------------------------------------------------------------------------- */

static struct meta_below visit(struct meta_check *check, thinp_block_t block, const struct meta_kind *kind,
			       uint32_t level);

static void check_header(const void *node, thinp_block_t block, const struct meta_kind *kind)
{
	uint32_t size = tp_node_is_leaf(node) ? kind->value_size : 8;

	if (tp_node_value_size(node) != size || tp_node_capacity(node) != tp_node_max_entries(size))
		fail_msg("%s: node %" PRIu64 " has values of %u bytes, room for %u", kind->name, block,
			 tp_node_value_size(node), tp_node_capacity(node));
	for (uint32_t i = 1; i < tp_node_nr_entries(node); i++)
		if (tp_node_key(node, i - 1) >= tp_node_key(node, i))
			fail_msg("%s: node %" PRIu64 ": keys do not ascend", kind->name, block);
}

/* One edge: child i of a node, and what is below. */
static void check_edge(const void *node, thinp_block_t block, uint32_t i, const struct meta_kind *kind,
		       const struct meta_below *child, uint32_t depth)
{
	bool is_last = i + 1 == tp_node_nr_entries(node);

	if (!child->nr_entries || child->first < tp_node_key(node, i))
		fail_msg("%s: node %" PRIu64 ": child %u begins before its key", kind->name, block, i);
	if (!is_last && child->last >= tp_node_key(node, i + 1))
		fail_msg("%s: node %" PRIu64 ": child %u reaches into the next one", kind->name, block, i);
	if (child->depth != depth)
		fail_msg("%s: node %" PRIu64 ": leaves at different depths", kind->name, block);
}

static void join(struct meta_check *check, const void *node, thinp_block_t block, const struct meta_kind *kind,
		 uint32_t level, struct meta_below *below)
{
	for (uint32_t i = 0; i < tp_node_nr_entries(node); i++) {
		thinp_block_t child = tp_node_value64(node, i);
		struct meta_below found = visit(check, child, kind, level + 1);

		if (found.is_small)
			fail_msg("%s: node %" PRIu64 " has too few entries", kind->name, child);
		check_edge(node, block, i, kind, &found, i ? below->depth - 1 : found.depth);
		if (!i)
			*below = (struct meta_below){.first = found.first, .depth = found.depth + 1};
		below->last = found.last;
		below->nr_entries += found.nr_entries;
	}
	if (!level && tp_node_nr_entries(node) < 2)
		fail_msg("%s: root %" PRIu64 " has one child", kind->name, block);
}

static void take_leaf(struct meta_check *check, const void *node, const struct meta_kind *kind,
		      struct meta_below *below)
{
	uint64_t keys[MAX_ENTRIES];
	uint32_t nr = tp_node_nr_entries(node);

	for (uint32_t i = 0; i < nr; i++)
		keys[i] = tp_node_key(node, i);
	*below = (struct meta_below){.nr_entries = nr, .depth = 1};
	if (nr) {
		below->first = keys[0];
		below->last = keys[nr - 1];
	}
	if (kind->take)
		kind->take(check, kind, keys, tp_node_values(node), nr);
}

static struct meta_below visit(struct meta_check *check, thinp_block_t block, const struct meta_kind *kind,
			       uint32_t level)
{
	uint8_t node[THINP_BLOCK_SIZE];
	struct meta_below below = {0};

	if (level >= MAX_DEPTH)
		fail_msg("%s: block %" PRIu64 " is too deep", kind->name, block);
	if (!meta_check_refer(check, block, kind)) {
		if (!check->nodes[block].depth)
			fail_msg("%s: block %" PRIu64 " is below itself", kind->name, block);
		return check->nodes[block];
	}
	read_copy(check, block, thinp_block_type_node(), node);
	check_header(node, block, kind);
	if (tp_node_is_leaf(node))
		take_leaf(check, node, kind, &below);
	else
		join(check, node, block, kind, level, &below);
	below.is_small = tp_node_nr_entries(node) * 3 < tp_node_capacity(node);
	check->nodes[block] = below;
	return below;
}

struct meta_below meta_check_tree(struct meta_check *check, thinp_block_t root, const struct meta_kind *kind)
{
	return visit(check, root, kind, 0);
}

/* --- arrays ------------------------------------------------------------------------------------------------------------ */

static void take_values(struct meta_check *check, const struct meta_array *array, thinp_block_t block, uint64_t number)
{
	uint8_t data[THINP_BLOCK_SIZE];
	uint32_t size = array->values.value_size;
	uint64_t per_block = tp_array_max_entries(size);
	uint64_t left = array->nr_values - number * per_block;
	struct tp_array_header header;

	read_copy(check, block, thinp_block_type_array(), data);
	assert_int_equal(tp_array_block_unpack(data, &header), 0);
	if (header.value_size != size || header.nr_entries != (left < per_block ? left : per_block))
		fail_msg("%s: block %" PRIu64 " has %u values of %u bytes", array->values.name, block,
			 header.nr_entries, header.value_size);
	if (array->values.take)
		array->values.take(check, &array->values, NULL, data + TP_ARRAY_HEADER_SIZE, header.nr_entries);
}

static void take_blocks(struct meta_check *check, const struct meta_kind *kind, const uint64_t *keys,
			const uint8_t *values_le, uint32_t nr)
{
	const struct meta_array *array = kind->ctx;

	for (uint32_t i = 0; i < nr; i++)
		if (meta_check_refer(check, tp_load_le64(values_le + 8 * (size_t)i), array))
			take_values(check, array, tp_load_le64(values_le + 8 * (size_t)i), keys[i]);
}

void meta_check_array(struct meta_check *check, thinp_block_t root, struct meta_array *array, uint64_t nr_values)
{
	uint32_t per_block = tp_array_max_entries(array->values.value_size);
	uint64_t nr_blocks = (nr_values + per_block - 1) / per_block;
	struct meta_below below;

	array->nr_values = nr_values;
	array->tree =
		(struct meta_kind){.name = array->values.name, .value_size = 8, .take = take_blocks, .ctx = array};
	below = meta_check_tree(check, root, &array->tree);
	if (below.nr_entries != nr_blocks || (nr_blocks && (below.first || below.last != nr_blocks - 1)))
		fail_msg("%s: %" PRIu64 " blocks of values, %" PRIu64 " were expected", array->values.name,
			 below.nr_entries, nr_blocks);
}

void meta_check_compare_tm(struct meta_check *check, struct thinp_tm *tm)
{
	for (thinp_block_t block = 0; block < check->nr_blocks; block++) {
		uint32_t count = 0;

		assert_int_equal(thinp_tm_count(tm, block, &count), 0);
		if (count != check->counts[block])
			fail_msg("metadata block %" PRIu64 ": count %u, %u references", block, count,
				 check->counts[block]);
	}
}
