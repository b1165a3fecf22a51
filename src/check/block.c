/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/block.c - what can be said about a block, and about a node without its neighbours.
 */
#include "base/bytes.h"
#include "check/checker.h"
#include "check/scan.h"
#include "format/kind.h"
#include "format/node.h"

#include <inttypes.h>

/* What a part is made of, and which rule is about its checksum and address. */
static const struct {
	uint32_t csum_xor;
	int csum_rule;
	int address_rule;
} kinds[] = {
	[THINP_CHECK_SUPERBLOCK] = {TP_CSUM_XOR_THIN_SUPERBLOCK, THINP_CHECK_SB1, THINP_CHECK_SB2},
	[THINP_CHECK_SNAP] = {TP_CSUM_XOR_THIN_SUPERBLOCK, THINP_CHECK_H1, THINP_CHECK_H1},
	[THINP_CHECK_DEVICES] = {TP_CSUM_XOR_NODE, THINP_CHECK_BL3, THINP_CHECK_BL4},
	[THINP_CHECK_DETAILS] = {TP_CSUM_XOR_NODE, THINP_CHECK_BL3, THINP_CHECK_BL4},
	[THINP_CHECK_MAPPINGS] = {TP_CSUM_XOR_NODE, THINP_CHECK_BL3, THINP_CHECK_BL4},
	[THINP_CHECK_DATA_INDEX] = {TP_CSUM_XOR_NODE, THINP_CHECK_BL3, THINP_CHECK_BL4},
	[THINP_CHECK_DATA_OVERFLOW] = {TP_CSUM_XOR_NODE, THINP_CHECK_BL3, THINP_CHECK_BL4},
	[THINP_CHECK_METADATA_OVERFLOW] = {TP_CSUM_XOR_NODE, THINP_CHECK_BL3, THINP_CHECK_BL4},
	[THINP_CHECK_DATA_BITMAP] = {TP_CSUM_XOR_BITMAP, THINP_CHECK_SM3, THINP_CHECK_SM3},
	[THINP_CHECK_METADATA_BITMAP] = {TP_CSUM_XOR_BITMAP, THINP_CHECK_SM3, THINP_CHECK_SM3},
	[THINP_CHECK_METADATA_INDEX] = {TP_CSUM_XOR_INDEX, THINP_CHECK_SM2, THINP_CHECK_SM2},
};

static void fail_csum(struct tp_worker *worker, const uint8_t *data, uint32_t block, int part, uint32_t wanted)
{
	struct tp_finding finding = tp_finding(kinds[part].csum_rule, THINP_CHECK_FATAL, part, block);
	const char *kind = tp_block_kind_name(data);

	finding.stored = tp_load_le32(data);
	finding.expected = wanted;
	if (kind)
		tp_found(&worker->finder, &finding, "holds a valid %.40s, but is part of the %s", kind,
			 thinp_check_part_name(part));
	else
		tp_found(&worker->finder, &finding, "checksum is 0x%08" PRIx32 ", but the contents give 0x%08" PRIx32,
			 tp_load_le32(data), wanted);
}

static void fail_read(struct tp_worker *worker, uint32_t block, int part)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_BL2, THINP_CHECK_FATAL, part, block);

	worker->nr_unreadable++;
	tp_found(&worker->finder, &finding, "cannot be read");
}

static void fail_address(struct tp_worker *worker, const uint8_t *data, uint32_t block, int part)
{
	struct tp_finding finding = tp_finding(kinds[part].address_rule, THINP_CHECK_FATAL, part, block);

	finding.stored = tp_load_le64(data + 8);
	finding.expected = block;
	tp_found(&worker->finder, &finding, "misplaced: the block says it is %" PRIu64, finding.stored);
}

bool tp_check_block(struct tp_worker *worker, const uint8_t *data, uint32_t block, int part)
{
	uint32_t wanted;

	if (!data) {
		fail_read(worker, block, part);
		return false;
	}
	wanted = tp_block_crc(data) ^ kinds[part].csum_xor;
	if (tp_load_le32(data) != wanted) {
		fail_csum(worker, data, block, part, wanted);
		return false;
	}
	if (tp_load_le64(data + 8) == block)
		return true;
	fail_address(worker, data, block, part);
	return false;
}

static uint32_t value_size_of(int part)
{
	switch (part) {
	case THINP_CHECK_DETAILS:
		return TP_DETAILS_SIZE;
	case THINP_CHECK_DATA_INDEX:
		return TP_INDEX_ENTRY_SIZE;
	case THINP_CHECK_DATA_OVERFLOW:
	case THINP_CHECK_METADATA_OVERFLOW:
		return 4;
	default:
		return 8;
	}
}

/* A node and what is wrong with it. */
struct subject {
	struct tp_worker *worker;
	const struct tp_node_info *info;
	uint32_t block;
	uint32_t flags;
	uint32_t nr_entries;
	uint32_t max_entries;
	uint32_t value_size;
	uint32_t padding;
};

static void found(const struct subject *s, int rule, int severity, uint64_t stored, uint64_t expected, const char *text)
{
	struct tp_finding finding = tp_finding(rule, severity, s->info->part, s->block);

	finding.stored = stored;
	finding.expected = expected;
	if (stored == THINP_CHECK_NONE)
		tp_found(&s->worker->finder, &finding, "node: %s", text);
	else if (expected == THINP_CHECK_NONE)
		tp_found(&s->worker->finder, &finding, "node: %s: %" PRIu64, text, stored);
	else
		tp_found(&s->worker->finder, &finding, "node: %s: %" PRIu64 ", not %" PRIu64, text, stored, expected);
}

/* Without these the entries cannot be found. */
static bool check_form(const struct subject *s)
{
	uint32_t value_size = s->flags == TP_NODE_INTERNAL ? 8 : value_size_of(s->info->part);
	uint64_t end = TP_NODE_HEADER_SIZE + (uint64_t)s->max_entries * (8 + (uint64_t)s->value_size);

	if (s->flags != TP_NODE_INTERNAL && s->flags != TP_NODE_LEAF)
		found(s, THINP_CHECK_N1, THINP_CHECK_FATAL, s->flags, THINP_CHECK_NONE,
		      "flags are neither internal (1) nor leaf (2)");
	else if (s->value_size != value_size)
		found(s, THINP_CHECK_N2, THINP_CHECK_FATAL, s->value_size, value_size, "size of values");
	else if (end > THINP_BLOCK_SIZE)
		found(s, THINP_CHECK_N3, THINP_CHECK_FATAL, s->max_entries, tp_node_max_entries(value_size),
		      "more room for entries than a block has");
	else if (s->nr_entries > s->max_entries)
		found(s, THINP_CHECK_N5, THINP_CHECK_FATAL, s->nr_entries, THINP_CHECK_NONE,
		      "more entries than there is room for");
	else
		return true;
	return false;
}

static void check_fill(const struct subject *s)
{
	uint32_t capacity = tp_node_max_entries(s->value_size);
	bool is_root = s->info->flags & TP_REACHED_ROOT;

	if (s->max_entries % 3)
		found(s, THINP_CHECK_N4, THINP_CHECK_META, s->max_entries, capacity,
		      "room for entries is no multiple of 3");
	else if (s->max_entries != capacity)
		found(s, THINP_CHECK_N4, THINP_CHECK_WARNING, s->max_entries, capacity, "unusual room for entries");
	if (s->flags == TP_NODE_INTERNAL && s->nr_entries == 0)
		found(s, THINP_CHECK_N6, THINP_CHECK_FATAL, THINP_CHECK_NONE, 0, "internal, but without entries");
	else if (s->flags == TP_NODE_INTERNAL && is_root && s->nr_entries == 1)
		found(s, THINP_CHECK_N6, THINP_CHECK_WARNING, THINP_CHECK_NONE, 0, "an internal root with one entry");
	if (!is_root && s->nr_entries < s->max_entries / 3)
		found(s, THINP_CHECK_N7, THINP_CHECK_META, s->nr_entries, THINP_CHECK_NONE,
		      "less than a third of the entries in use");
	if (s->padding)
		found(s, THINP_CHECK_N12, THINP_CHECK_WARNING, s->padding, 0, "unused bytes in the header");
}

static void fail_first(const struct subject *s, uint64_t first)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_N9, THINP_CHECK_FATAL, s->info->part, s->block);

	finding.stored = first;
	finding.expected = s->info->lower;
	tp_found(&s->worker->finder, &finding, "node: begins with key %" PRIu64 ", but its parent says %" PRIu64, first,
		 s->info->lower);
}

static void fail_last(const struct subject *s, uint64_t last)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_N10, THINP_CHECK_FATAL, s->info->part, s->block);

	finding.stored = last;
	finding.expected = s->info->last;
	tp_found(&s->worker->finder, &finding, "node: ends with key %" PRIu64 ", but its parent ends it at %" PRIu64,
		 last, s->info->last);
}

static void check_range(const struct subject *s, const uint8_t *data)
{
	uint64_t first = tp_node_key(data, 0);
	uint64_t last = tp_node_key(data, s->nr_entries - 1);

	if (first < s->info->lower)
		fail_first(s, first);
	if (last > s->info->last)
		fail_last(s, last);
}

static void fail_order(const struct subject *s, const uint8_t *data)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_N8, THINP_CHECK_FATAL, s->info->part, s->block);
	uint32_t i = 1;

	while (tp_node_key(data, i - 1) < tp_node_key(data, i))
		i++;
	finding.begin = tp_node_key(data, i);
	finding.end = finding.begin + 1;
	tp_found(&s->worker->finder, &finding,
		 "node: keys out of order: key %" PRIu32 " is %" PRIu64 ", after %" PRIu64, i, tp_node_key(data, i),
		 tp_node_key(data, i - 1));
}

bool tp_check_node(struct tp_worker *worker, const uint8_t *data, uint32_t block, const struct tp_node_info *info,
		   bool *in_order)
{
	struct subject s = {.worker = worker, .info = info, .block = block};

	*in_order = true;
	if (!tp_check_block(worker, data, block, info->part))
		return false;
	s.flags = tp_load_le32(data + 4);
	s.nr_entries = tp_node_nr_entries(data);
	s.max_entries = tp_node_capacity(data);
	s.value_size = tp_node_value_size(data);
	s.padding = tp_load_le32(data + 28);
	if (!check_form(&s))
		return false;
	check_fill(&s);
	*in_order = tp_scan_keys_ascend(data, s.nr_entries);
	if (!*in_order)
		fail_order(&s, data);
	else if (s.nr_entries)
		check_range(&s, data);
	return true;
}
