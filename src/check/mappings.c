/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/mappings.c - the leaves of mapping trees: nearly all of the work of a check.
 *
 * Tasks take slices of what is known about blocks, and read the leaves that they find there. Everything that a leaf's
 * parents had to say has been put down before, so tasks share nothing but the number of the next slice. Each counts
 * data blocks by itself; the counts are put together at the end.
 */
#include "base/bytes.h"
#include "check/checker.h"
#include "check/scan.h"
#include "format/node.h"

#include <inttypes.h>

/* Blocks that a task takes at once: so many that two tasks seldom find data blocks of one chunk, where these are runs. */
#define SLICE 256u
static_assert(TP_NODE_CHUNK % SLICE == 0, "a slice lies in one chunk");

/* A leaf, and who reaches it. */
struct leaf {
	struct tp_worker *worker;
	const struct tp_node_info *info;
	const uint8_t *data;
	const uint8_t *values;
	uint32_t block;
	uint32_t nr;
};

/* The id of the one device that reaches it, if it is one. */
static uint64_t device_of(const struct leaf *leaf)
{
	const struct tp_root_entry *roots = leaf->worker->checker->roots.entries;

	return leaf->info->device < TP_MANY ? roots[leaf->info->device].at.key : THINP_CHECK_NONE;
}

static void found(const struct leaf *leaf, int rule, int severity, uint32_t i, const char *text, uint64_t stored,
		  uint64_t expected)
{
	struct tp_finding finding = tp_finding(rule, severity, THINP_CHECK_MAPPINGS, leaf->block);

	finding.device = device_of(leaf);
	finding.begin = tp_node_key(leaf->data, i);
	finding.end = finding.begin + 1;
	finding.stored = stored;
	finding.expected = expected;
	tp_found(&leaf->worker->finder, &finding, "virtual block %" PRIu64 ": %s: %" PRIu64 ", but %" PRIu64,
		 finding.begin, text, stored, expected);
}

static struct tp_mapping mapping_of(const struct leaf *leaf, uint32_t i)
{
	return tp_mapping_unpack64(tp_load_le64(leaf->values + 8 * (size_t)i));
}

/* The clock of those who reach the leaf. */
static uint32_t time_limit(const struct leaf *leaf)
{
	const struct tp_checker *checker = leaf->worker->checker;

	return leaf->info->flags & TP_REACHED_HELD ? checker->held.time : checker->live.time;
}

/* Made later than now. The next snapshot would be taken at a time that the mapping has passed already: it would look
 * exclusive although it is shared. */
static void check_times(const struct leaf *leaf)
{
	uint32_t limit = time_limit(leaf);

	for (uint32_t i = 0; i < leaf->nr; i++)
		if (mapping_of(leaf, i).time > limit)
			found(leaf, THINP_CHECK_D7, THINP_CHECK_FATAL, i, "made later than now",
			      mapping_of(leaf, i).time, limit);
}

/* A leaf of several devices: none of its mappings may be taken for exclusive by any of them. */
static void check_shared(const struct leaf *leaf)
{
	for (uint32_t i = 0; i < leaf->nr; i++)
		if (mapping_of(leaf, i).time >= leaf->info->snap_time)
			found(leaf, THINP_CHECK_D8, THINP_CHECK_FATAL, i,
			      "shared by devices, but one of them takes it for its own: time, and last snapshot",
			      mapping_of(leaf, i).time, leaf->info->snap_time);
}

static void check_last_key(const struct leaf *leaf)
{
	uint64_t bytes = (uint64_t)leaf->worker->checker->live.data_block_size * 512;
	uint64_t last = tp_node_key(leaf->data, leaf->nr - 1);

	if (bytes && last >= UINT64_MAX / bytes)
		found(leaf, THINP_CHECK_D10, THINP_CHECK_WARNING, leaf->nr - 1, "beyond what a device can have", last,
		      UINT64_MAX / bytes - 1);
}

/* Some data blocks do not exist: the others are counted one by one. */
static int count_possible(const struct leaf *leaf, struct tp_counts *counts, uint32_t alone_from)
{
	const struct tp_checker *checker = leaf->worker->checker;
	int r = 0;

	for (uint32_t i = 0; !r && i < leaf->nr; i++) {
		uint64_t block = mapping_of(leaf, i).data_block;

		if (block >= checker->live.data_sm.nr_blocks)
			found(leaf, THINP_CHECK_D6, THINP_CHECK_FATAL, i, "no such data block", block,
			      checker->live.data_sm.nr_blocks);
		if (block < counts->nr_blocks)
			r = tp_counts_add(counts, leaf->values + 8 * (size_t)i, 1, alone_from);
	}
	return r;
}

static struct tp_doubts look(const struct leaf *leaf, bool is_run)
{
	const struct tp_scan_limits limits = {.nr_blocks = leaf->worker->checker->nr_counted,
					      .time = time_limit(leaf),
					      .snap_time = leaf->info->snap_time};
	const uint8_t *last = leaf->values + 8 * (size_t)(leaf->nr - 1);

	/* the last mapping of a run has the greatest block, and the time of all */
	return is_run ? tp_scan_mappings(last, 1, &limits) : tp_scan_mappings(leaf->values, leaf->nr, &limits);
}

static int count_blocks(const struct leaf *leaf, bool is_run, bool is_beyond)
{
	struct tp_worker *worker = leaf->worker;
	bool is_live = leaf->info->flags & TP_REACHED_LIVE;
	bool is_one = leaf->info->device < TP_MANY;
	struct tp_counts *counts = is_live ? &worker->live : &worker->held;
	uint32_t alone_from = is_live && is_one ? leaf->info->snap_time : TP_NEVER_ALONE;
	struct tp_mapping first = mapping_of(leaf, 0);

	if (is_beyond)
		return count_possible(leaf, counts, alone_from);
	if (is_run)
		return tp_counts_add_run(counts, first.data_block, first.data_block + leaf->nr,
					 first.time >= alone_from);
	return tp_counts_add(counts, leaf->values, leaf->nr, alone_from);
}

static int visit_entries(const struct leaf *leaf, struct tp_node_info *info)
{
	struct tp_doubts doubts;
	bool is_run;

	leaf->worker->nr_mappings += leaf->nr;
	if (!leaf->nr)
		return 0;
	is_run = tp_scan_is_run(leaf->values, leaf->nr);
	doubts = look(leaf, is_run);
	if (doubts.is_late)
		check_times(leaf);
	if (leaf->info->device == TP_MANY && doubts.is_own)
		check_shared(leaf);
	check_last_key(leaf);
	if (is_run && !doubts.is_beyond)
		info->run_begin = mapping_of(leaf, 0).data_block;
	return count_blocks(leaf, is_run, doubts.is_beyond);
}

static void fail_depth(struct tp_worker *worker, uint32_t block)
{
	struct tp_finding finding = tp_finding(THINP_CHECK_N11, THINP_CHECK_FATAL, THINP_CHECK_MAPPINGS, block);

	tp_found(&worker->finder, &finding, "an internal node where a leaf is due");
}

static int visit_leaf(struct tp_worker *worker, const uint8_t *data, uint32_t block, struct tp_node_info *info)
{
	struct leaf leaf = {.worker = worker, .info = info, .data = data, .block = block};
	bool is_node;
	bool in_order;

	is_node = tp_check_node(worker, data, block, info, &in_order);
	if (is_node && !tp_node_is_leaf(data))
		fail_depth(worker, block);
	info->nr_mappings = 0;
	info->run_begin = TP_NO_RUN;
	if (!is_node || !tp_node_is_leaf(data)) {
		info->flags |= TP_NODE_DAMAGED;
		return 0;
	}
	if (!in_order)
		info->flags |= TP_NODE_DAMAGED;
	leaf.nr = tp_node_nr_entries(data);
	leaf.values = tp_node_values(data);
	info->nr_mappings = leaf.nr;
	return visit_entries(&leaf, info);
}

static int visit_window(struct tp_worker *worker, tp_leaf_fn fn)
{
	struct tp_window *window = &worker->window;
	int r = 0;

	tp_window_read(window);
	for (size_t i = 0; !r && i < window->nr; i++)
		r = fn(worker, window->data[i], window->blocks[i], tp_node_look(worker->checker, window->blocks[i]));
	if (!r)
		r = tp_checker_read(worker, fn == visit_leaf ? window->nr : 0); /* not those of a second look */
	window->nr = 0;
	return r;
}

static int visit_slice(struct tp_worker *worker, size_t slice, tp_leaf_wanted_fn is_wanted, tp_leaf_fn fn)
{
	const struct tp_checker *checker = worker->checker;
	uint32_t begin = (uint32_t)(slice * SLICE);
	const struct tp_node_info *nodes = checker->nodes[begin / TP_NODE_CHUNK];
	int r = 0;

	for (uint32_t i = 0; !r && nodes && i < SLICE; i++) {
		const struct tp_node_info *info = &nodes[begin % TP_NODE_CHUNK + i];

		if (info->part != THINP_CHECK_MAPPINGS || info->height || (is_wanted && !is_wanted(worker, info)))
			continue;
		worker->window.blocks[worker->window.nr++] = begin + i;
		if (worker->window.nr == TP_WINDOW_BLOCKS)
			r = visit_window(worker, fn);
	}
	return r;
}

int tp_mappings_visit_leaves(struct tp_worker *worker, tp_leaf_wanted_fn is_wanted, tp_leaf_fn fn)
{
	struct tp_checker *checker = worker->checker;
	size_t nr_slices = checker->nr_chunks * (TP_NODE_CHUNK / SLICE);
	size_t slice;
	int r = 0;

	worker->window.nr = 0;
	while (!r && !atomic_load_explicit(&checker->is_stopped, memory_order_relaxed)) {
		slice = atomic_fetch_add_explicit(&checker->next_slice, 1, memory_order_relaxed);
		if (slice >= nr_slices)
			break;
		r = visit_slice(worker, slice, is_wanted, fn);
	}
	return !r && worker->window.nr ? visit_window(worker, fn) : r;
}

static int visit_all(struct tp_worker *worker)
{
	int r = tp_mappings_visit_leaves(worker, NULL, visit_leaf);

	if (!r)
		r = tp_counts_flush(&worker->live);
	return r ? r : tp_counts_flush(&worker->held);
}

int tp_mappings_visit(struct tp_checker *checker)
{
	checker->next_slice = 0;
	checker->nr_pending[THINP_CHECK_MAPPINGS][0] = 0;
	return tp_checker_run_tasks(checker, visit_all);
}

/* --- sums --- */

static uint64_t saturating_sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void tp_mappings_sum(struct tp_checker *checker)
{
	const struct tp_inner *inners = checker->inners.entries;
	const uint32_t *edges = checker->edges.entries;

	for (size_t i = checker->inners.nr; i-- > 0;) {
		struct tp_node_info *info = tp_node_look(checker, inners[i].block);

		info->nr_mappings = 0;
		for (uint32_t e = 0; e < inners[i].nr_edges; e++) {
			const struct tp_node_info *child = tp_node_look(checker, edges[inners[i].first_edge + e]);

			info->nr_mappings = saturating_sum(info->nr_mappings, child->nr_mappings);
			info->flags |= child->flags & TP_NODE_DAMAGED;
		}
	}
}
