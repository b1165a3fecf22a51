/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * btree_rebalance_bench.c - what it costs when nodes are evened out, merged or split: one change of a tree of a root and up
 * to three leaves, none of them shadowed yet, whose leaves have chosen numbers of entries.
 *
 * Many equal trees are made and committed; then each is changed once, all in one transaction. Told for each change, beside
 * the time: operations on counts (ops), blocks taken for shadows and new nodes (taken), references dropped (dropped),
 * and blocks that a commit would write (dirty). Whether the leaves end up as the name says is looked at, too.
 */
#include "bench.h"

#include <thinp/alloc.h>
#include <thinp/btree.h>
#include <thinp/io.h>

#include <stdlib.h>
#include <string.h>

enum { NR_TREES = 200, MOST_LEAVES = 4, FULL = 252, GAP = 16, NR_BLOCKS = 8192 };

struct shape {
	uint32_t nr_leaves;
	uint32_t nr_entries[MOST_LEAVES];
};

struct rebalance {
	struct shape before, after;
	uint32_t leaf; /* where an entry comes or goes: in the middle of this leaf */
	bool is_insert;
};

/* An allocator that counts what is asked of it. */
struct counted {
	struct thinp_alloc below;
	uint64_t nr_ops, nr_taken, nr_dropped;
};

struct fixture {
	const struct rebalance *what;
	struct thinp_io *io;
	struct thinp_bm *bm;
	struct thinp_memory_map *map;
	struct thinp_tm *tm;
	struct counted counted;
	thinp_block_t roots[NR_TREES];
};

static const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = 8};

static int take(void *ctx, uint32_t cause, thinp_block_t *block)
{
	struct counted *counted = ctx;

	counted->nr_ops++;
	counted->nr_taken++;
	return counted->below.take(counted->below.ctx, cause, block);
}

static int inc(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	struct counted *counted = ctx;

	counted->nr_ops++;
	return counted->below.inc(counted->below.ctx, first, nr_blocks, cause);
}

static int dec(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	struct counted *counted = ctx;

	counted->nr_ops++;
	counted->nr_dropped += nr_blocks;
	return counted->below.dec(counted->below.ctx, first, nr_blocks, cause);
}

static int count(void *ctx, thinp_block_t block, uint32_t *number)
{
	struct counted *counted = ctx;

	return counted->below.count(counted->below.ctx, block, number);
}

static int reserve(void *ctx, uint64_t nr_blocks, uint32_t flags)
{
	struct counted *counted = ctx;

	return counted->below.reserve(counted->below.ctx, nr_blocks, flags);
}

static int make_transaction(struct fixture *f)
{
	const struct thinp_bm_opts opts = {
		.size = sizeof(opts), .flags = THINP_BM_HUGE_PAGES, .cache_blocks = 2 * NR_BLOCKS};
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_BLOCKS};
	const struct thinp_alloc alloc = {.size = sizeof(alloc),
					  .ctx = &f->counted,
					  .take = take,
					  .inc = inc,
					  .dec = dec,
					  .count = count,
					  .reserve = reserve};
	int r = thinp_io_open_memory(&io_opts, &f->io);

	if (!r)
		r = thinp_bm_create(f->io, &opts, &f->bm);
	if (!r)
		r = thinp_memory_map_create(NR_BLOCKS, NULL, &f->map);
	if (r)
		return r;
	f->counted.below.size = sizeof(f->counted.below);
	thinp_memory_map_get_alloc(f->map, &f->counted.below);
	r = inc(&f->counted, 0, 1, THINP_CAUSE_USER);
	return r ? r : thinp_tm_create(f->bm, &alloc, &f->tm);
}

/* --- trees of a shape --- */

static uint64_t key_of(uint32_t leaf, uint32_t entry)
{
	return ((uint64_t)leaf * FULL + entry) * GAP;
}

static int load_full(struct fixture *f, thinp_block_t *root)
{
	uint64_t keys[MOST_LEAVES * FULL];
	struct thinp_btree_loader *loader;
	size_t nr = f->what->before.nr_leaves * FULL;
	int r = thinp_btree_loader_create(f->tm, &type, &loader);

	if (r)
		return r;
	for (uint32_t i = 0; i < nr; i++)
		keys[i] = key_of(0, i);
	r = thinp_btree_loader_add(loader, keys, keys, nr);
	if (!r)
		r = thinp_btree_loader_finish(loader, root);
	thinp_btree_loader_destroy(loader);
	return r;
}

/* From full leaves, the last entries of each leaf go: no leaf becomes so small that it is evened out. */
static int make_tree(struct fixture *f, thinp_block_t *root)
{
	const struct shape *shape = &f->what->before;
	int r = load_full(f, root);

	for (uint32_t leaf = 0; leaf < shape->nr_leaves; leaf++)
		for (uint32_t entry = FULL; entry > shape->nr_entries[leaf] && !r; entry--) {
			uint64_t key = key_of(leaf, entry - 1);

			r = thinp_btree_remove(f->tm, &type, *root, &key, root);
		}
	return r;
}

static int end_transaction(struct fixture *f)
{
	int r = thinp_bm_flush(f->bm);

	thinp_memory_map_commit(f->map);
	thinp_tm_begin(f->tm);
	return r;
}

static int add_leaf(void *ctx, const struct thinp_btree_span *span)
{
	struct shape *shape = ctx;

	if (shape->nr_leaves == MOST_LEAVES)
		return 1;
	shape->nr_entries[shape->nr_leaves++] = span->nr_entries;
	return 0;
}

static bool has_shape(struct fixture *f, thinp_block_t root, const struct shape *wanted)
{
	struct shape shape = {0};
	int r = thinp_btree_walk(thinp_tm_reader(f->tm), &type, root, add_leaf, &shape);

	return !r && shape.nr_leaves == wanted->nr_leaves &&
	       !memcmp(shape.nr_entries, wanted->nr_entries, shape.nr_leaves * sizeof(shape.nr_entries[0]));
}

static int make_trees(struct fixture *f)
{
	int r = make_transaction(f);

	for (int i = 0; i < NR_TREES && !r; i++)
		r = make_tree(f, &f->roots[i]);
	if (!r)
		r = end_transaction(f);
	f->counted.nr_ops = f->counted.nr_taken = f->counted.nr_dropped = 0;
	return r;
}

static void *setup(struct bench_run *run)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->what = bench_arg(run);
	if (make_trees(f) || !has_shape(f, f->roots[0], &f->what->before))
		bench_skip(run, "the trees cannot be made");
	return f;
}

static void teardown(void *ctx)
{
	struct fixture *f = ctx;

	if (!f)
		return;
	thinp_tm_destroy(f->tm);
	thinp_memory_map_destroy(f->map);
	thinp_bm_destroy(f->bm);
	thinp_io_close(f->io);
	free(f);
}

/* --- the work --- */

static int change(struct fixture *f, thinp_block_t *root)
{
	const struct rebalance *what = f->what;
	uint64_t key = key_of(what->leaf, what->before.nr_entries[what->leaf] / 2) + what->is_insert;

	if (what->is_insert)
		return thinp_btree_insert(f->tm, &type, *root, &key, &key, root, NULL);
	return thinp_btree_remove(f->tm, &type, *root, &key, root);
}

static void tell(struct bench_run *run, struct fixture *f)
{
	struct thinp_bm_stats stats = {.size = sizeof(stats)};

	thinp_bm_get_stats(f->bm, &stats);
	bench_show(run, "ops", (double)f->counted.nr_ops / NR_TREES);
	bench_show(run, "taken", (double)f->counted.nr_taken / NR_TREES);
	bench_show(run, "dropped", (double)f->counted.nr_dropped / NR_TREES);
	bench_show(run, "dirty", (double)stats.blocks_dirty / NR_TREES);
	bench_count_items(run, NR_TREES);
}

static void work(struct bench_run *run, void *ctx, uint64_t nr_times)
{
	struct fixture *f = ctx;
	int r = 0;

	(void)nr_times; /* once: see the table */
	for (int i = 0; i < NR_TREES && !r; i++)
		r = change(f, &f->roots[i]);
	bench_pause(run);
	tell(run, f);
	if (r || !has_shape(f, f->roots[0], &f->what->after))
		bench_skip(run, r ? "a change failed" : "the leaves are not what was expected");
	bench_resume(run);
}

/* Before, after, leaf, is it an insert? */
static const struct rebalance cases[] = {
	{{3, {252, 252, 252}}, {3, {252, 251, 252}}, 1, false},
	{{2, {84, 252}}, {2, {167, 168}}, 0, false},
	{{2, {84, 120}}, {2, {101, 102}}, 0, false},
	{{3, {252, 84, 252}}, {3, {196, 195, 196}}, 1, false},
	{{3, {130, 84, 130}}, {3, {115, 114, 114}}, 1, false},
	{{3, {84, 84, 84}}, {2, {126, 125}}, 1, false},
	{{3, {120, 84, 120}}, {2, {162, 161}}, 1, false},
	{{2, {84, 84}}, {1, {167}}, 0, false},
	{{2, {85, 84}}, {1, {168}}, 1, false},
	{{3, {200, 200, 200}}, {3, {200, 201, 200}}, 1, true},
	{{3, {120, 252, 252}}, {3, {186, 187, 252}}, 1, true},
	{{3, {252, 252, 120}}, {3, {252, 187, 186}}, 1, true},
	{{2, {252, 252}}, {3, {126, 127, 252}}, 0, true},
	{{3, {252, 252, 252}}, {4, {168, 168, 169, 252}}, 1, true},
	{{1, {252}}, {2, {126, 127}}, 0, true},
};

#define REBALANCE(NAME, CASE)                                                                                          \
	{                                                                                                              \
		.name = "btree/rebalance/" NAME, .setup = setup, .work = work, .teardown = teardown,                   \
		.arg = &cases[CASE], .nr_times = 1, .nr_repetitions = 5                                                \
	}

const struct bench benches[] = {
	REBALANCE("remove_plain/252_252_252", 0), REBALANCE("redistribute2/84_252", 1),
	REBALANCE("redistribute2/84_120", 2),     REBALANCE("redistribute3/252_84_252", 3),
	REBALANCE("redistribute3/130_84_130", 4), REBALANCE("merge3/84_84_84", 5),
	REBALANCE("merge3/120_84_120", 6),        REBALANCE("root_collapse/84_84", 7),
	REBALANCE("root_collapse/85_84", 8),      REBALANCE("insert_plain/200_200_200", 9),
	REBALANCE("share_left/120_252_252", 10),  REBALANCE("share_right/252_252_120", 11),
	REBALANCE("one_into_two/252_252", 12),    REBALANCE("two_into_three/252_252_252", 13),
	REBALANCE("root_split/252", 14),          {.name = NULL},
};
