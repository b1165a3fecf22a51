/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/nodes.c - what is known about each metadata block, and pointers to them.
 */
#include "check/checker.h"

#include <inttypes.h>

int tp_nodes_init(struct tp_checker *checker)
{
	checker->nr_chunks = (size_t)((checker->nr_blocks + TP_NODE_CHUNK - 1) / TP_NODE_CHUNK);
	checker->nodes = tp_memory_get(&checker->memory, checker->nr_chunks, sizeof(*checker->nodes));
	return checker->nodes ? 0 : THINP_ENOMEM;
}

void tp_nodes_exit(struct tp_checker *checker)
{
	for (size_t i = 0; checker->nodes && i < checker->nr_chunks; i++)
		tp_memory_put(&checker->memory, checker->nodes[i], TP_NODE_CHUNK, sizeof(struct tp_node_info));
	tp_memory_put(&checker->memory, checker->nodes, checker->nr_chunks, sizeof(*checker->nodes));
}

struct tp_node_info *tp_node_make(struct tp_checker *checker, uint64_t block)
{
	struct tp_node_info **chunk = &checker->nodes[block / TP_NODE_CHUNK];

	if (!*chunk)
		*chunk = tp_memory_get(&checker->memory, TP_NODE_CHUNK, sizeof(**chunk));
	return *chunk ? &(*chunk)[block % TP_NODE_CHUNK] : NULL;
}

static struct tp_finding at_pointer(int rule, const struct tp_reach *reach, uint64_t address)
{
	struct tp_finding finding = tp_finding(rule, THINP_CHECK_FATAL, reach->part, reach->from);

	finding.device = reach->device_id;
	finding.stored = address;
	return finding;
}

static void fail_address(struct tp_worker *worker, uint64_t address, const struct tp_reach *reach)
{
	const struct tp_checker *checker = worker->checker;
	struct tp_finding finding = at_pointer(THINP_CHECK_BL1, reach, address);

	if (address && address < checker->map_blocks)
		tp_found(&worker->finder, &finding,
			 "points to block %" PRIu64 ", but the device ends after %" PRIu64 " of %" PRIu64, address,
			 checker->device_blocks, checker->map_blocks);
	else
		tp_found(&worker->finder, &finding, "points to block %" PRIu64 " of %" PRIu64, address,
			 checker->map_blocks);
}

static void fail_part(struct tp_worker *worker, uint64_t address, const struct tp_reach *reach, int part)
{
	struct tp_finding finding = at_pointer(THINP_CHECK_BL5, reach, address);

	tp_found(&worker->finder, &finding, "points to block %" PRIu64 " as part of the %s, but it is in use by the %s",
		 address, thinp_check_part_name(reach->part), thinp_check_part_name(part));
	worker->finder.broken |= 1u << part;
}

static void fail_root(struct tp_worker *worker, uint64_t address, const struct tp_reach *reach)
{
	struct tp_finding finding = at_pointer(THINP_CHECK_BL5, reach, address);

	tp_found(&worker->finder, &finding,
		 "points to block %" PRIu64 ", which is the root of one tree and inside another", address);
}

static void fail_height(struct tp_worker *worker, uint64_t address, const struct tp_reach *reach, uint32_t height)
{
	struct tp_finding finding = at_pointer(reach->is_loop ? THINP_CHECK_BL6 : THINP_CHECK_N11, reach, address);

	if (address == reach->from)
		tp_found(&worker->finder, &finding, "names itself as a child");
	else if (reach->is_loop)
		tp_found(&worker->finder, &finding, "points back up to block %" PRIu64 ", which leads here", address);
	else
		tp_found(&worker->finder, &finding,
			 "points to block %" PRIu64 ", %" PRIu32 " levels above the leaves, where %" PRIu32 " are due",
			 address, height, reach->height);
}

static void first_reach(struct tp_checker *checker, struct tp_node_info *info, const struct tp_reach *reach)
{
	info->part = (uint8_t)reach->part;
	info->height = (uint8_t)reach->height;
	info->flags |= (uint8_t)reach->flags;
	info->lower = reach->lower;
	info->last = reach->last;
	info->snap_time = reach->snap_time;
	info->device = reach->device;
	checker->nr_pending[reach->part][reach->height]++;
}

/* A node must please all who point to it: the narrowest range counts. */
static void next_reach(struct tp_node_info *info, const struct tp_reach *reach)
{
	if (reach->lower > info->lower)
		info->lower = reach->lower;
	if (reach->last < info->last)
		info->last = reach->last;
	if (reach->snap_time < info->snap_time)
		info->snap_time = reach->snap_time;
	if (info->device == TP_NO_DEVICE)
		info->device = reach->device;
	else if (reach->device != TP_NO_DEVICE && reach->device != info->device)
		info->device = TP_MANY;
	info->flags |= (uint8_t)reach->flags;
}

static bool is_root_and_child(const struct tp_node_info *info)
{
	return (info->flags & (TP_REACHED_ROOT | TP_REACHED_CHILD)) == (TP_REACHED_ROOT | TP_REACHED_CHILD);
}

/* Two pointers to one block that is no node, which must have one owner. */
static bool is_node(int part)
{
	return part >= THINP_CHECK_DEVICES && part <= THINP_CHECK_METADATA_OVERFLOW;
}

int tp_node_reach(struct tp_worker *worker, uint64_t address, const struct tp_reach *reach, bool *is_sound)
{
	struct tp_checker *checker = worker->checker;
	struct tp_node_info *info;

	*is_sound = false;
	if (!address || address >= checker->nr_blocks) {
		fail_address(worker, address, reach);
		return 0;
	}
	info = tp_node_make(checker, address);
	if (!info)
		return THINP_ENOMEM;
	if (info->nr_refs < UINT32_MAX)
		info->nr_refs++;
	if (!info->part) {
		first_reach(checker, info, reach);
	} else if (info->part != reach->part || !is_node(info->part)) {
		fail_part(worker, address, reach, info->part);
		return 0;
	} else if (info->height != reach->height) {
		fail_height(worker, address, reach, info->height);
		return 0;
	} else {
		next_reach(info, reach);
	}
	*is_sound = true;
	if (is_root_and_child(info))
		fail_root(worker, address, reach);
	return 0;
}
