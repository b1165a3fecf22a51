/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/devices.c - the devices of a pool: the tree of their details and the tree of their mappings.
 */
#include "base/bytes.h"
#include "check/checker.h"
#include "check/fixes.h"
#include "format/node.h"

#include <inttypes.h>

#define MAX_DEV_ID ((1u << 24) - 1)

int tp_devices_take_root(struct tp_checker *checker, const uint8_t *leaf, uint32_t block, uint32_t flags)
{
	for (uint32_t i = 0; i < tp_node_nr_entries(leaf); i++) {
		struct tp_root_entry *entry = tp_vector_add(checker, &checker->roots, sizeof(*entry));

		if (!entry)
			return THINP_ENOMEM;
		*entry = (struct tp_root_entry){
			.at = {.key = tp_node_key(leaf, i), .block = block, .flags = flags},
			.root = tp_node_value64(leaf, i),
		};
	}
	return 0;
}

int tp_devices_take_details(struct tp_checker *checker, const uint8_t *leaf, uint32_t block, uint32_t flags)
{
	for (uint32_t i = 0; i < tp_node_nr_entries(leaf); i++) {
		struct tp_details_entry *entry = tp_vector_add(checker, &checker->details, sizeof(*entry));

		if (!entry)
			return THINP_ENOMEM;
		*entry = (struct tp_details_entry){.at = {.key = tp_node_key(leaf, i), .block = block, .flags = flags}};
		tp_device_details_unpack(tp_node_values(leaf) + TP_DETAILS_SIZE * (size_t)i, &entry->details);
	}
	return 0;
}

static const struct tp_details_entry *find_details(const struct tp_checker *checker, uint64_t id, uint32_t view)
{
	return tp_leaf_entries_find_seen(&checker->details, sizeof(struct tp_details_entry), id, view);
}

static const struct tp_root_entry *find_root(const struct tp_checker *checker, uint64_t id, uint32_t view)
{
	return tp_leaf_entries_find_seen(&checker->roots, sizeof(struct tp_root_entry), id, view);
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

	bool has_all_roots = true;

	for (size_t i = 0; is_whole(checker, THINP_CHECK_DEVICES) && i < checker->details.nr; i++) {
		struct tp_finding finding = at_device(THINP_CHECK_D1, THINP_CHECK_FATAL, THINP_CHECK_DETAILS,
						      details[i].at.block, details[i].at.key);

		if (details[i].at.flags & view && !find_root(checker, details[i].at.key, view)) {
			tp_found(finder, &finding, "device %" PRIu64 " has details, but no mappings%s",
				 details[i].at.key, in_view(view));
			has_all_roots = false;
		}
	}
	for (size_t i = 0; is_whole(checker, THINP_CHECK_DETAILS) && i < checker->roots.nr; i++) {
		struct tp_finding finding = at_device(THINP_CHECK_D1, THINP_CHECK_FATAL, THINP_CHECK_DEVICES,
						      roots[i].at.block, roots[i].at.key);

		if (roots[i].at.flags & view && !find_details(checker, roots[i].at.key, view))
			tp_found(finder, &finding, "device %" PRIu64 " has mappings, but no details%s", roots[i].at.key,
				 in_view(view));
	}
	if (!has_all_roots)
		finder->broken |= 1u << THINP_CHECK_DEVICES; /* its mappings are not lost, only hidden */
}

static void check_times(struct tp_finder *finder, const struct tp_details_entry *entry, uint32_t now)
{
	const struct tp_device_details *details = &entry->details;
	struct tp_finding finding =
		at_device(THINP_CHECK_D4, THINP_CHECK_FATAL, THINP_CHECK_DETAILS, entry->at.block, entry->at.key);

	finding.stored = details->snapshotted_time;
	if (details->creation_time > details->snapshotted_time) {
		finding.expected = details->creation_time;
		tp_found(finder, &finding, "device %" PRIu64 ": last snapshot at %" PRIu32 ", but created at %" PRIu32,
			 entry->at.key, details->snapshotted_time, details->creation_time);
	}
	if (details->snapshotted_time > now) {
		finding.severity = THINP_CHECK_WARNING;
		finding.expected = now;
		tp_found(finder, &finding, "device %" PRIu64 ": last snapshot at %" PRIu32 ", but now is %" PRIu32,
			 entry->at.key, details->snapshotted_time, now);
	}
}

static void check_entry(struct tp_checker *checker, const struct tp_details_entry *entry)
{
	struct tp_finder *finder = &checker->workers[0].finder;
	const struct tp_thin_superblock *sb = entry->at.flags & TP_REACHED_HELD ? &checker->held : &checker->live;
	struct tp_finding finding =
		at_device(THINP_CHECK_D3, THINP_CHECK_WARNING, THINP_CHECK_DETAILS, entry->at.block, entry->at.key);

	if (entry->at.key > MAX_DEV_ID)
		tp_found(finder, &finding, "device %" PRIu64 ": no kernel takes ids beyond %u", entry->at.key,
			 MAX_DEV_ID);
	check_times(finder, entry, sb->time);
	if (entry->details.transaction_id <= sb->transaction_id)
		return;
	finding.rule = THINP_CHECK_D5;
	finding.stored = entry->details.transaction_id;
	finding.expected = sb->transaction_id;
	tp_found(finder, &finding, "device %" PRIu64 ": of transaction %" PRIu64 ", but the pool's is %" PRIu64,
		 entry->at.key, entry->details.transaction_id, sb->transaction_id);
}

void tp_devices_check(struct tp_checker *checker)
{
	const struct tp_details_entry *details = checker->details.entries;

	tp_leaf_entries_sort(&checker->roots, sizeof(struct tp_root_entry));
	tp_leaf_entries_sort(&checker->details, sizeof(struct tp_details_entry));
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
	const struct tp_details_entry *details = find_details(checker, entry->at.key, TP_REACHED_LIVE);
	bool is_live = entry->at.flags & TP_REACHED_LIVE;
	struct tp_reach reach = {
		.part = THINP_CHECK_MAPPINGS,
		.from = entry->at.block,
		.device_id = entry->at.key,
		.snap_time = is_live && details ? details->details.snapshotted_time : TP_NEVER_ALONE,
		.device = is_live ? (uint32_t)i : TP_NO_DEVICE,
		.flags = entry->at.flags,
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
		at_device(THINP_CHECK_D2, THINP_CHECK_META, THINP_CHECK_DETAILS, entry->at.block, entry->at.key);
	const struct tp_node_info *info;

	if (!root->root || root->root >= checker->nr_blocks)
		return;
	info = tp_node_look(checker, root->root);
	if (!info || info->part != THINP_CHECK_MAPPINGS || info->flags & TP_NODE_DAMAGED ||
	    info->nr_mappings == entry->details.mapped_blocks)
		return;
	finding.stored = entry->details.mapped_blocks;
	finding.expected = info->nr_mappings;
	if (root->at.flags & TP_REACHED_LIVE)
		tp_fixes_note_mapped(checker->fixes, entry->at.key, info->nr_mappings);
	tp_found(&checker->workers[0].finder, &finding,
		 "device %" PRIu64 ": says %" PRIu64 " blocks are mapped, but %" PRIu64 " are%s", entry->at.key,
		 finding.stored, finding.expected, root->at.flags & TP_REACHED_LIVE ? "" : in_view(TP_REACHED_HELD));
}

void tp_devices_check_totals(struct tp_checker *checker)
{
	const struct tp_details_entry *details = checker->details.entries;

	for (size_t i = 0; i < checker->details.nr; i++) {
		const struct tp_root_entry *live = find_root(checker, details[i].at.key, TP_REACHED_LIVE);
		const struct tp_root_entry *held = find_root(checker, details[i].at.key, TP_REACHED_HELD);
		bool is_live = details[i].at.flags & TP_REACHED_LIVE;

		if (is_live && live)
			check_total(checker, &details[i], live);
		if (details[i].at.flags & TP_REACHED_HELD && held && !(is_live && live && live->root == held->root))
			check_total(checker, &details[i], held);
	}
}
