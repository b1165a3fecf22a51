/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/checker.c - the order of a check.
 *
 *   superblock, metadata snapshot     what they name
 *   trees of devices and details      which devices there are
 *   mapping trees                     all tasks; most of the work
 *   index and overflow trees          what the maps say
 *   bitmaps                           what they say against what was found; the metadata last, when all is counted
 *
 * At the end of each stage findings are told.
 */
#include "check/checker.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "check/fixes.h"
#include "store/view.h"
#include "thin/pool.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_MAX_FINDINGS 100u
#define DEFAULT_TASKS        4u
#define MAX_TASKS            64u
#define KNOWN_FLAGS          (THINP_CHECK_SKIP_MAPPINGS | THINP_CHECK_METADATA_SNAP)

#define PART(name) (1u << THINP_CHECK_##name)

int tp_vector_reserve(struct tp_checker *checker, struct tp_vector *vector, size_t nr, size_t size)
{
	return tp_memory_grow(&checker->memory, &vector->entries, vector->nr, nr, &vector->room, size) ? 0
												       : THINP_ENOMEM;
}

void *tp_vector_add(struct tp_checker *checker, struct tp_vector *vector, size_t size)
{
	if (tp_vector_reserve(checker, vector, 1, size))
		return NULL;
	return (uint8_t *)vector->entries + size * vector->nr++;
}

static const struct tp_leaf_entry *leaf_entry(const struct tp_vector *vector, size_t size, size_t i)
{
	return (const void *)((const uint8_t *)vector->entries + size * i);
}

static int by_key(const void *a, const void *b)
{
	const struct tp_leaf_entry *x = a, *y = b;

	if (x->key != y->key)
		return x->key > y->key ? 1 : -1;
	return (x->block > y->block) - (x->block < y->block);
}

void tp_leaf_entries_sort(struct tp_vector *vector, size_t size)
{
	if (vector->nr)
		qsort(vector->entries, vector->nr, size, by_key);
}

size_t tp_leaf_entries_find(const struct tp_vector *vector, size_t size, uint64_t key)
{
	size_t begin = 0;
	size_t end = vector->nr;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (leaf_entry(vector, size, middle)->key < key)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

const void *tp_leaf_entries_find_seen(const struct tp_vector *vector, size_t size, uint64_t key, uint32_t flags)
{
	for (size_t i = tp_leaf_entries_find(vector, size, key); i < vector->nr; i++) {
		const struct tp_leaf_entry *entry = leaf_entry(vector, size, i);

		if (entry->key != key)
			break;
		if (entry->flags & flags)
			return entry;
	}
	return NULL;
}

/* --- tasks --- */

static int ask_progress(struct tp_worker *worker)
{
	struct tp_checker *checker = worker->checker;
	const struct thinp_check_opts *opts = &checker->opts;

	if (atomic_load_explicit(&checker->is_stopped, memory_order_relaxed))
		return THINP_ECANCELED;
	if (!worker->tells_progress || !opts->progress ||
	    !opts->progress(opts->progress_ctx, atomic_load_explicit(&checker->nr_read, memory_order_relaxed),
			    checker->live.metadata_sm.nr_allocated))
		return 0;
	atomic_store(&checker->is_stopped, true);
	return tp_fail(THINP_ECANCELED, THINP_NO_BLOCK, "the check was cancelled");
}

int tp_checker_read(struct tp_worker *worker, size_t nr_blocks)
{
	worker->nr_read += nr_blocks;
	atomic_fetch_add_explicit(&worker->checker->nr_read, nr_blocks, memory_order_relaxed);
	return ask_progress(worker);
}

struct job {
	struct tp_checker *checker;
	int (*fn)(struct tp_worker *worker);
};

/* An error is kept with its detail, which belongs to the thread; the thread's own record is left as it was. */
static void run_task(void *ctx, size_t task)
{
	const struct job *job = ctx;
	struct tp_worker *worker = &job->checker->workers[task];
	struct thinp_error_info before = {.size = sizeof(before)};

	thinp_error_last(&before);
	worker->error = job->fn(worker);
	if (worker->error) {
		atomic_store(&job->checker->is_stopped, true);
		worker->error_info.size = sizeof(worker->error_info);
		thinp_error_last(&worker->error_info);
	}
	tp_error_restore(&before);
}

/* A task that was stopped because of another one says ECANCELED; what stopped that one comes first. */
static int first_error(const struct tp_checker *checker)
{
	const struct tp_worker *first = NULL;

	for (size_t i = 0; i < checker->nr_workers; i++) {
		const struct tp_worker *worker = &checker->workers[i];

		if (worker->error && (!first || first->error == THINP_ECANCELED))
			first = worker;
	}
	if (first)
		tp_error_restore(&first->error_info);
	return first ? first->error : 0;
}

int tp_checker_run_tasks(struct tp_checker *checker, int (*fn)(struct tp_worker *worker))
{
	struct job job = {.checker = checker, .fn = fn};

	if (checker->nr_workers > 1)
		checker->opts.parallel_for(checker->opts.parallel_ctx, checker->nr_workers, run_task, &job);
	else
		run_task(&job, 0);
	return first_error(checker);
}

/* --- stages --- */

/* Blocks of a view that has become stale may hold anything: what was found in them is not told. Those that were read while
 * it was not had what they should have, because it is told before they are used again. */
static int check_view(const struct tp_checker *checker)
{
	struct thinp_view_info info = {.size = sizeof(info)};

	if (!checker->view)
		return 0;
	thinp_view_get_info(checker->view, &info);
	return info.is_stale ? tp_fail(THINP_ESTALE, THINP_NO_BLOCK, "the view that is checked had to give way") : 0;
}

static int tell(struct tp_checker *checker)
{
	int r = check_view(checker);

	if (r)
		return r;
	for (size_t i = 1; i < checker->nr_workers; i++)
		tp_finder_join(&checker->workers[0].finder, &checker->workers[i].finder);
	return tp_finder_tell(&checker->workers[0].finder, checker->opts.finding, checker->opts.finding_ctx);
}

static int reach_root(struct tp_checker *checker, int part, uint64_t root, uint32_t from, uint32_t flags)
{
	struct tp_reach reach = {
		.part = part, .from = from, .device_id = THINP_CHECK_NONE, .device = TP_NO_DEVICE, .flags = flags};

	return tp_tree_reach_root(&checker->workers[0], root, &reach);
}

static int check_devices(struct tp_checker *checker)
{
	const struct tp_thin_superblock *live = &checker->live;
	const struct tp_thin_superblock *held = &checker->held;
	uint32_t held_block = (uint32_t)live->held_root;
	int r = 0;

	if (!checker->only_snap)
		r = reach_root(checker, THINP_CHECK_DEVICES, live->mapping_root, 0, TP_REACHED_LIVE);
	if (!r && !checker->only_snap)
		r = reach_root(checker, THINP_CHECK_DETAILS, live->details_root, 0, TP_REACHED_LIVE);
	if (!r && checker->has_held)
		r = reach_root(checker, THINP_CHECK_DEVICES, held->mapping_root, held_block, TP_REACHED_HELD);
	if (!r && checker->has_held)
		r = reach_root(checker, THINP_CHECK_DETAILS, held->details_root, held_block, TP_REACHED_HELD);
	if (!r)
		r = tp_tree_visit(checker, PART(DEVICES) | PART(DETAILS));
	if (!r)
		tp_devices_check(checker);
	return r ? r : tell(checker);
}

static int join_counts(struct tp_checker *checker)
{
	struct tp_worker *workers = checker->workers;
	int r = 0;

	for (size_t i = 1; !r && i < checker->nr_workers; i++) {
		r = tp_counts_join(&workers[0].live, &workers[i].live);
		if (!r)
			r = tp_counts_join(&workers[0].held, &workers[i].held);
	}
	return r;
}

/* Each task counts by itself. */
static int init_counts(struct tp_checker *checker)
{
	uint64_t nr_held = checker->has_held ? checker->nr_counted : 0;
	int r = 0;

	for (size_t i = 0; !r && i < checker->nr_workers; i++) {
		r = tp_counts_init(&checker->workers[i].live, &checker->memory, checker->nr_counted);
		if (!r)
			r = tp_counts_init(&checker->workers[i].held, &checker->memory, nr_held);
	}
	return r;
}

static int check_mappings(struct tp_checker *checker)
{
	int r = init_counts(checker);

	if (!r)
		r = tp_devices_reach_mappings(checker);

	if (!r)
		r = tp_tree_visit(checker, PART(MAPPINGS));
	if (!r)
		r = join_counts(checker);
	if (r)
		return r;
	for (size_t i = 1; i < checker->nr_workers; i++)
		checker->workers[0].finder.broken |= checker->workers[i].finder.broken;
	tp_mappings_sum(checker);
	tp_devices_check_totals(checker);
	r = tp_sharing_check(checker);
	return r ? r : tell(checker);
}

static int check_maps(struct tp_checker *checker)
{
	const struct tp_thin_superblock *sb = &checker->live;
	int r = reach_root(checker, THINP_CHECK_METADATA_OVERFLOW, sb->metadata_sm.ref_count_root, 0, TP_REACHED_LIVE);

	if (!r)
		r = reach_root(checker, THINP_CHECK_DATA_OVERFLOW, sb->data_sm.ref_count_root, 0, TP_REACHED_LIVE);
	if (!r)
		r = reach_root(checker, THINP_CHECK_DATA_INDEX, sb->data_sm.bitmap_root, 0, TP_REACHED_LIVE);
	if (!r)
		r = tp_tree_visit(checker, PART(METADATA_OVERFLOW) | PART(DATA_OVERFLOW) | PART(DATA_INDEX));
	if (!r)
		r = tp_maps_check(checker);
	return r ? r : tell(checker);
}

static void say_skipped(struct tp_checker *checker)
{
	struct tp_finding finding =
		tp_finding(THINP_CHECK_SM11, THINP_CHECK_STATE, THINP_CHECK_SUPERBLOCK, THINP_NO_BLOCK);

	checker->result.flags |= THINP_CHECK_COUNTS_SKIPPED;
	tp_found(&checker->workers[0].finder, &finding, "counts were not checked: not all was looked at, as asked for");
}

static int check_snap(struct tp_checker *checker)
{
	bool is_wanted = checker->opts.flags & THINP_CHECK_METADATA_SNAP;

	if (checker->live.held_root)
		return tp_superblock_check_snap(checker);
	return is_wanted ? tp_fail(THINP_ENOENT, THINP_NO_BLOCK, "the pool has no metadata snapshot") : 0;
}

static int check_all(struct tp_checker *checker)
{
	bool go_on;
	int r = tp_superblock_check(checker, &go_on);

	if (!r && go_on)
		r = tp_nodes_init(checker);
	if (!r && go_on)
		r = check_snap(checker);
	if (!r)
		r = tell(checker);
	if (r || !go_on || (checker->only_snap && !checker->has_held))
		return r;
	r = check_devices(checker);
	if (!r && !(checker->opts.flags & THINP_CHECK_SKIP_MAPPINGS))
		r = check_mappings(checker);
	if (!r && !checker->opts.flags)
		return check_maps(checker);
	if (!r)
		say_skipped(checker);
	return r ? r : tell(checker);
}

/* --- beginning and end --- */

static int init_worker(struct tp_checker *checker, struct tp_worker *worker)
{
	worker->checker = checker;
	worker->finder.memory = &checker->memory;
	worker->finder.limit = checker->opts.max_findings ? checker->opts.max_findings : DEFAULT_MAX_FINDINGS;
	return tp_window_init(&worker->window, checker->io, &checker->memory);
}

static int init_workers(struct tp_checker *checker)
{
	uint32_t nr = checker->opts.nr_tasks ? checker->opts.nr_tasks : DEFAULT_TASKS;
	int r = 0;

	if (!checker->opts.parallel_for)
		nr = 1;
	checker->nr_workers = nr > MAX_TASKS ? MAX_TASKS : nr;
	checker->workers = tp_memory_get(&checker->memory, checker->nr_workers, sizeof(*checker->workers));
	checker->probe_blocks = tp_memory_get_blocks(&checker->memory, TP_PROBE_DEPTH);
	if (!checker->workers || !checker->probe_blocks)
		return THINP_ENOMEM;
	for (size_t i = 0; !r && i < checker->nr_workers; i++)
		r = init_worker(checker, &checker->workers[i]);
	checker->workers[0].tells_progress = true;
	return r ? r : tp_window_init(&checker->ahead, checker->io, &checker->memory);
}

static void put_vector(struct tp_checker *checker, struct tp_vector *vector, size_t size)
{
	tp_memory_put(&checker->memory, vector->entries, vector->room, size);
}

static void release(struct tp_checker *checker)
{
	struct tp_memory *memory = &checker->memory;

	for (size_t i = 0; checker->workers && i < checker->nr_workers; i++) {
		struct tp_worker *worker = &checker->workers[i];

		tp_counts_exit(&worker->live);
		tp_counts_exit(&worker->held);
		tp_window_exit(&worker->window, memory);
		if (worker->finder.memory)
			tp_finder_exit(&worker->finder);
	}
	tp_memory_put(memory, checker->workers, checker->nr_workers, sizeof(*checker->workers));
	tp_memory_put(memory, checker->probe_blocks, TP_PROBE_DEPTH, THINP_BLOCK_SIZE);
	tp_window_exit(&checker->ahead, memory);
	tp_nodes_exit(checker);
	put_vector(checker, &checker->inners, sizeof(struct tp_inner));
	put_vector(checker, &checker->edges, sizeof(uint32_t));
	put_vector(checker, &checker->roots, sizeof(struct tp_root_entry));
	put_vector(checker, &checker->details, sizeof(struct tp_details_entry));
	put_vector(checker, &checker->index, sizeof(struct tp_index_found));
	put_vector(checker, &checker->data_overflow, sizeof(struct tp_leaf_entry));
	put_vector(checker, &checker->metadata_overflow, sizeof(struct tp_leaf_entry));
}

static void count_used(struct tp_checker *checker)
{
	struct thinp_check_result *result = &checker->result;

	result->nr_data_used = tp_counts_nr_found(&checker->workers[0].live, &checker->workers[0].held);
	for (uint64_t b = 1; checker->nodes && b < checker->nr_blocks; b++) {
		const struct tp_node_info *info = tp_node_look(checker, b);

		if (!info)
			b |= TP_NODE_CHUNK - 1;
		else if (info->nr_refs)
			result->nr_metadata_used++;
	}
	result->nr_metadata_used += checker->nodes != NULL; /* block 0 */
}

static void count_devices(struct tp_checker *checker)
{
	const struct tp_root_entry *roots = checker->roots.entries;
	uint32_t view = checker->only_snap ? TP_REACHED_HELD : TP_REACHED_LIVE;

	for (size_t i = 0; i < checker->roots.nr; i++)
		checker->result.nr_devices += (roots[i].at.flags & view) != 0;
}

static void fill_result(struct tp_checker *checker)
{
	struct thinp_check_result *result = &checker->result;
	const uint64_t *nr = checker->workers[0].finder.nr_of_severity;

	result->nr_fatal = nr[THINP_CHECK_FATAL];
	result->nr_leak = nr[THINP_CHECK_LEAK];
	result->nr_meta = nr[THINP_CHECK_META];
	result->nr_warning = nr[THINP_CHECK_WARNING];
	result->nr_state = nr[THINP_CHECK_STATE];
	if (checker->fixes)
		checker->fixes->nr_underfull = checker->workers[0].finder.nr_underfull;
	for (size_t i = 0; i < checker->nr_workers; i++) {
		result->nr_blocks_read += checker->workers[i].nr_read;
		result->nr_unreadable += checker->workers[i].nr_unreadable;
		result->nr_mappings += checker->workers[i].nr_mappings;
	}
	count_used(checker);
	count_devices(checker);
	result->peak_bytes = atomic_load(&checker->memory.peak);
	result->nr_tasks = (uint32_t)checker->nr_workers;
}

static int run(struct tp_checker *checker)
{
	struct thinp_error_info before = {.size = sizeof(before)};
	int r = init_workers(checker);

	if (r)
		return r;
	thinp_error_last(&before);
	r = check_all(checker);
	if (r)
		return r;
	tp_error_restore(&before); /* what could not be read is a finding, no failure */
	fill_result(checker);
	return 0;
}

static int take_opts(struct tp_checker *checker, const struct thinp_check_opts *user_opts)
{
	int r = tp_opts_take(&checker->opts, sizeof(checker->opts), user_opts);

	if (!r && checker->opts.flags & ~KNOWN_FLAGS)
		r = tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags %#x for a check", checker->opts.flags);
	if (!r)
		r = tp_allocator_take(&checker->memory.allocator, checker->opts.allocator);
	checker->memory.limit = checker->opts.max_bytes;
	return r;
}

int tp_check(struct thinp_io *io, struct thinp_view *view, uint32_t more_flags,
	     const struct thinp_check_opts *user_opts, struct tp_fixes *fixes, struct thinp_check_result *result)
{
	struct tp_checker checker = {.io = io, .view = view, .fixes = fixes};
	int r = take_opts(&checker, user_opts);

	if (r)
		return r;
	checker.opts.flags |= more_flags;
	checker.only_snap = checker.opts.flags & THINP_CHECK_METADATA_SNAP;
	r = thinp_io_size(io, &checker.device_blocks);
	if (!r)
		r = run(&checker);
	if (!r && result)
		tp_result_give(result, &checker.result, sizeof(checker.result));
	release(&checker);
	return r;
}

int thinp_check_device(struct thinp_io *io, const struct thinp_check_opts *opts, struct thinp_check_result *result)
{
	return tp_check(io, NULL, 0, opts, NULL, result);
}

int thinp_check_pool(struct thinp_pool *pool, const struct thinp_check_opts *opts, struct thinp_check_result *result)
{
	struct thinp_view *view;
	int r;

	if (!pool->store)
		return tp_check(pool->io, NULL, pool->is_metadata_snap ? THINP_CHECK_METADATA_SNAP : 0, opts, NULL,
				result);
	r = thinp_view_open(pool->store, &view);
	if (r)
		return r;
	r = tp_check(pool->io, view, 0, opts, NULL, result);
	thinp_view_close(view);
	return r;
}
