/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/devices.c - the devices of a pool: the tree of their details and the tree of their mappings.
 */
#include "base/bytes.h"
#include "check/checker.h"
#include "format/node.h"

#include <inttypes.h>
#include <stdlib.h>

#define MAX_DEV_ID ((1u << 24) - 1)

int tp_devices_take_root(struct tp_checker *checker, const uint8_t *leaf, uint32_t block, uint32_t flags)
{
	for (uint32_t i = 0; i < tp_node_nr_entries(leaf); i++) {
		struct tp_root_entry *entry = tp_vector_add(checker, &checker->roots, sizeof(*entry));

		if (!entry)
			return THINP_ENOMEM;
		*entry = (struct tp_root_entry){
			.id = tp_node_key(leaf, i), .root = tp_node_value64(leaf, i), .block = block, .flags = flags};
	}
	return 0;
}

int tp_devices_take_details(struct tp_checker *checker, const uint8_t *leaf, uint32_t block, uint32_t flags)
{
	for (uint32_t i = 0; i < tp_node_nr_entries(leaf); i++) {
		struct tp_details_entry *entry = tp_vector_add(checker, &checker->details, sizeof(*entry));

		if (!entry)
			return THINP_ENOMEM;
		*entry = (struct tp_details_entry){.id = tp_node_key(leaf, i), .block = block, .flags = flags};
		tp_device_details_unpack(tp_node_values(leaf) + TP_DETAILS_SIZE * (size_t)i, &entry->details);
	}
	return 0;
}

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int by_id_root(const void *a, const void *b)
{
	const struct tp_root_entry *x = a, *y = b;
	int r = compare(x->id, y->id);

	return r ? r : compare(x->block, y->block);
}

static int by_id_details(const void *a, const void *b)
{
	const struct tp_details_entry *x = a, *y = b;
	int r = compare(x->id, y->id);

	return r ? r : compare(x->block, y->block);
}

/* The entry of a device as one of the two sees it: TP_REACHED_LIVE or TP_REACHED_HELD. NULL: it has none. */
static const struct tp_details_entry *find_details(const struct tp_checker *checker, uint64_t id, uint32_t view)
{
	const struct tp_details_entry *entries = checker->details.entries;
	size_t begin = 0;
	size_t end = checker->details.nr;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (entries[middle].id < id)
			begin = middle + 1;
		else
			end = middle;
	}
	for (; begin < checker->details.nr && entries[begin].id == id; begin++)
		if (entries[begin].flags & view)
			return &entries[begin];
	return NULL;
}

static const struct tp_root_entry *find_root(const struct tp_checker *checker, uint64_t id, uint32_t view)
{
	const struct tp_root_entry *entries = checker->roots.entries;
	size_t begin = 0;
	size_t end = checker->roots.nr;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (entries[middle].id < id)
			begin = middle + 1;
		else
			end = middle;
	}
	for (; begin < checker->roots.nr && entries[begin].id == id; begin++)
		if (entries[begin].flags & view)
			return &entries[begin];
	return NULL;
}

static struct tp_finding at_device(int rule, int severity, int part, uint32_t block, uint64_t id)
{
	struct tp_finding finding = tp_finding(rule, severity, part, block);

	finding.device = id;
	return finding;
}

static const char *in_view(uint32_t view)
{
	return view == TP_REACHED_LIVE ? "" : ", in the metadata snapshot";
}

/* A tree that could not be read in full lacks devices; that was told. */
static bool is_whole(const struct tp_checker *checker, int part)
{
	return !(checker->workers[0].finder.broken >> part & 1);
}

static void check_both(struct tp_checker *checker, uint32_t view)
{
	const struct tp_details_entry *details = checker->details.entries;
	const struct tp_root_entry *roots = checker->roots.entries;
	struct tp_finder *finder = &checker->workers[0].finder;

	for (size_t i = 0; is_whole(checker, THINP_CHECK_DEVICES) && i < checker->details.nr; i++) {
		struct tp_finding finding = at_device(THINP_CHECK_D1, THINP_CHECK_FATAL, THINP_CHECK_DETAILS,
						      details[i].block, details[i].id);

		if (details[i].flags & view && !find_root(checker, details[i].id, view))
			tp_found(finder, &finding, "device %" PRIu64 " has details, but no mappings%s", details[i].id,
				 in_view(view));
	}
	for (size_t i = 0; is_whole(checker, THINP_CHECK_DETAILS) && i < checker->roots.nr; i++) {
		struct tp_finding finding =
			at_device(THINP_CHECK_D1, THINP_CHECK_FATAL, THINP_CHECK_DEVICES, roots[i].block, roots[i].id);

		if (roots[i].flags & view && !find_details(checker, roots[i].id, view))
			tp_found(finder, &finding, "device %" PRIu64 " has mappings, but no details%s", roots[i].id,
				 in_view(view));
	}
}

static void check_times(struct tp_finder *finder, const struct tp_details_entry *entry, uint32_t now)
{
	const struct tp_device_details *details = &entry->details;
	struct tp_finding finding =
		at_device(THINP_CHECK_D4, THINP_CHECK_FATAL, THINP_CHECK_DETAILS, entry->block, entry->id);

	finding.stored = details->snapshotted_time;
	if (details->creation_time > details->snapshotted_time) {
		finding.expected = details->creation_time;
		tp_found(finder, &finding, "device %" PRIu64 ": last snapshot at %" PRIu32 ", but created at %" PRIu32,
			 entry->id, details->snapshotted_time, details->creation_time);
	}
	if (details->snapshotted_time > now) {
		finding.severity = THINP_CHECK_WARNING;
		finding.expected = now;
		tp_found(finder, &finding, "device %" PRIu64 ": last snapshot at %" PRIu32 ", but now is %" PRIu32,
			 entry->id, details->snapshotted_time, now);
	}
}

static void check_entry(struct tp_checker *checker, const struct tp_details_entry *entry)
{
	struct tp_finder *finder = &checker->workers[0].finder;
	const struct tp_thin_superblock *sb = entry->flags & TP_REACHED_HELD ? &checker->held : &checker->live;
	struct tp_finding finding =
		at_device(THINP_CHECK_D3, THINP_CHECK_WARNING, THINP_CHECK_DETAILS, entry->block, entry->id);

	if (entry->id > MAX_DEV_ID)
		tp_found(finder, &finding, "device %" PRIu64 ": no kernel takes ids beyond %u", entry->id, MAX_DEV_ID);
	check_times(finder, entry, sb->time);
	if (entry->details.transaction_id <= sb->transaction_id)
		return;
	finding.rule = THINP_CHECK_D5;
	finding.stored = entry->details.transaction_id;
	finding.expected = sb->transaction_id;
	tp_found(finder, &finding, "device %" PRIu64 ": of transaction %" PRIu64 ", but the pool's is %" PRIu64,
		 entry->id, entry->details.transaction_id, sb->transaction_id);
}

void tp_devices_check(struct tp_checker *checker)
{
	const struct tp_details_entry *details = checker->details.entries;

	if (checker->roots.nr)
		qsort(checker->roots.entries, checker->roots.nr, sizeof(struct tp_root_entry), by_id_root);
	if (checker->details.nr)
		qsort(checker->details.entries, checker->details.nr, sizeof(struct tp_details_entry), by_id_details);
	if (!checker->only_snap)
		check_both(checker, TP_REACHED_LIVE);
	if (checker->has_held)
		check_both(checker, TP_REACHED_HELD);
	for (size_t i = 0; i < checker->details.nr; i++)
		check_entry(checker, &details[i]);
}

/* Devices without details are told elsewhere; nothing is known about what they share. */
static int reach_mappings(struct tp_checker *checker, const struct tp_root_entry *entry, size_t i)
{
	const struct tp_details_entry *details = find_details(checker, entry->id, TP_REACHED_LIVE);
	bool is_live = entry->flags & TP_REACHED_LIVE;
	struct tp_reach reach = {
		.part = THINP_CHECK_MAPPINGS,
		.from = entry->block,
		.device_id = entry->id,
		.snap_time = is_live && details ? details->details.snapshotted_time : TP_NEVER_ALONE,
		.device = is_live ? (uint32_t)i : TP_NO_DEVICE,
		.flags = entry->flags,
	};

	return tp_tree_reach_root(&checker->workers[0], entry->root, &reach);
}

int tp_devices_reach_mappings(struct tp_checker *checker)
{
	const struct tp_root_entry *roots = checker->roots.entries;
	int r = 0;

	for (size_t i = 0; !r && i < checker->roots.nr; i++)
		r = reach_mappings(checker, &roots[i], i);
	return r;
}

/* A tree with damage has an unknown number. */
static void check_total(struct tp_checker *checker, const struct tp_details_entry *entry,
			const struct tp_root_entry *root)
{
	struct tp_finding finding =
		at_device(THINP_CHECK_D2, THINP_CHECK_META, THINP_CHECK_DETAILS, entry->block, entry->id);
	const struct tp_node_info *info;

	if (!root->root || root->root >= checker->nr_blocks)
		return;
	info = tp_node_look(checker, root->root);
	if (!info || info->part != THINP_CHECK_MAPPINGS || info->flags & TP_NODE_DAMAGED ||
	    info->nr_mappings == entry->details.mapped_blocks)
		return;
	finding.stored = entry->details.mapped_blocks;
	finding.expected = info->nr_mappings;
	tp_found(&checker->workers[0].finder, &finding,
		 "device %" PRIu64 ": says %" PRIu64 " blocks are mapped, but %" PRIu64 " are%s", entry->id,
		 finding.stored, finding.expected, root->flags & TP_REACHED_LIVE ? "" : in_view(TP_REACHED_HELD));
}

void tp_devices_check_totals(struct tp_checker *checker)
{
	const struct tp_details_entry *details = checker->details.entries;

	for (size_t i = 0; i < checker->details.nr; i++) {
		const struct tp_root_entry *live = find_root(checker, details[i].id, TP_REACHED_LIVE);
		const struct tp_root_entry *held = find_root(checker, details[i].id, TP_REACHED_HELD);
		bool is_live = details[i].flags & TP_REACHED_LIVE;

		if (is_live && live)
			check_total(checker, &details[i], live);
		if (details[i].flags & TP_REACHED_HELD && held && !(is_live && live && live->root == held->root))
			check_total(checker, &details[i], held);
	}
}
