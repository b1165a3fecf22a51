/* SPDX-License-Identifier: BSD-3-Clause */
/* Shows why the order of reference counts matters. A space map of a hundred lines keeps large counts in a tree whose
 * nodes are blocks that it counts itself. When a count is taken out of the tree, two leaves become one; what that does
 * to the counts waits in a queue, and is applied in two orders. See docs/op-ordering.md. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <thinp/alloc.h>
#include <thinp/btree.h>
#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/op_queue.h>

enum { NR_BLOCKS = 1000, NR_LARGE = 340, NR_TOLD = 64 };

static void must(int r, const char *what)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	if (!r)
		return;
	thinp_error_last(&info);
	fprintf(stderr, "%s: %s: %s\n", what, thinp_strerror(r), info.message);
	exit(1);
}

/* --- the map: a count for each block, and a queue for what comes while it writes itself down --- */

struct map {
	uint32_t counts[NR_BLOCKS];
	struct thinp_opq *queue;
	bool is_recording;
	thinp_block_t next;  /* to be taken */
	thinp_block_t first; /* that the step took, or would have taken */
	bool gives_back;     /* the step dropped a block that it took itself */
	uint64_t nr_ops;
	char told[NR_TOLD][32]; /* the operations of a step */
	int nr_told;
};

static void tell(struct map *map, const char *event, const struct thinp_op *op)
{
	if (map->nr_told < NR_TOLD)
		snprintf(map->told[map->nr_told++], sizeof(map->told[0]), "%s %s %" PRIu64, event,
			 op->kind == THINP_OP_INC ? "INC" : "DEC", op->first);
}

static int apply(struct map *map, const struct thinp_op *op)
{
	for (uint64_t b = op->first; b < op->first + op->nr_blocks; b++)
		map->counts[b] += op->kind == THINP_OP_INC ? 1 : UINT32_MAX;
	return 0;
}

static int issue(struct map *map, uint32_t kind, uint64_t first, uint64_t nr_blocks)
{
	struct thinp_op op = {.first = first, .nr_blocks = nr_blocks, .kind = kind, .number = map->nr_ops++};

	if (!map->is_recording)
		return apply(map, &op);
	tell(map, "waits  ", &op);
	map->gives_back |= kind == THINP_OP_DEC && first >= map->first;
	return thinp_opq_push(map->queue, &op);
}

static int take(void *ctx, uint32_t cause, thinp_block_t *block)
{
	struct map *map = ctx;

	(void)cause;
	if (map->next == NR_BLOCKS)
		return thinp_error_report(THINP_ENOSPC, THINP_NO_BLOCK, "all blocks are taken");
	*block = map->next++; /* none is taken twice, so that the numbers tell the story */
	return issue(map, THINP_OP_INC, *block, 1);
}

static int inc(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	(void)cause;
	return issue(ctx, THINP_OP_INC, first, nr_blocks);
}

static int dec(void *ctx, thinp_block_t first, uint64_t nr_blocks, uint32_t cause)
{
	(void)cause;
	return issue(ctx, THINP_OP_DEC, first, nr_blocks);
}

/* What waits is part of the count. */
static int count(void *ctx, thinp_block_t block, uint32_t *result)
{
	const struct map *map = ctx;

	*result = (uint32_t)(map->counts[block] + thinp_opq_delta(map->queue, block));
	return 0;
}

static int reserve(void *ctx, uint64_t nr_blocks, uint32_t flags)
{
	const struct map *map = ctx;

	(void)flags;
	if (nr_blocks <= NR_BLOCKS - map->next)
		return 0;
	return thinp_error_report(THINP_ENOSPC, THINP_NO_BLOCK, "not so many blocks are left");
}

/* The step is done: what has waited is applied. */
static int drain(struct map *map)
{
	struct thinp_op op;
	int r = 0;

	map->is_recording = false;
	while (!r && !thinp_opq_is_empty(map->queue)) {
		r = thinp_opq_pop(map->queue, &op);
		if (!r) {
			tell(map, "applied", &op);
			r = apply(map, &op);
		}
	}
	return r;
}

/* --- the story --- */

static const struct thinp_btree_type large_counts = {.size = sizeof(large_counts), .nr_levels = 1, .value_size = 4};

/* Counts of 3 for many blocks: a root, and two leaves. */
static thinp_block_t fill(struct thinp_tm *tm)
{
	const uint8_t three_le[4] = {3};
	thinp_block_t root;

	must(thinp_btree_create(tm, &large_counts, &root), "create");
	for (uint64_t key = 0; key < NR_LARGE; key++)
		must(thinp_btree_insert(tm, &large_counts, root, &key, three_le, &root, NULL), "insert");
	return root;
}

/* Ends a transaction: from now on, every node is copied before it is changed. A store would write a superblock here. */
static void commit(struct thinp_bm *bm, struct thinp_tm *tm)
{
	must(thinp_bm_flush(bm), "flush");
	thinp_tm_begin(tm);
}

/* One large count less. */
static int step(struct map *map, struct thinp_tm *tm, uint64_t key, thinp_block_t *root)
{
	map->nr_told = 0;
	map->first = map->next;
	map->is_recording = true;
	must(thinp_btree_remove(tm, &large_counts, *root, &key, root), "remove");
	return drain(map);
}

/* Takes one count out of the tree after the other, each in a transaction of its own, until a step drops a block that it
 * has taken itself: a leaf was copied, and its copy was emptied into the other leaf. */
static void shrink(struct map *map, struct thinp_bm *bm, struct thinp_tm *tm, thinp_block_t root)
{
	uint64_t key = 0;
	int r = 0;

	while (!r && !map->gives_back) {
		r = step(map, tm, key++, &root);
		commit(bm, tm);
	}
	printf("removal %" PRIu64 "\n", key);
	for (int i = 0; i < map->nr_told; i++)
		printf("  %s\n", map->told[i]);
	if (r) {
		struct thinp_error_info info = {.size = sizeof(info)};

		thinp_error_last(&info);
		printf("  refused: %s: %s\n", thinp_err_name(r), info.message);
	}
}

static void run(const char *policy)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = NR_BLOCKS};
	struct map map = {.next = 1};
	const struct thinp_alloc alloc = {.size = sizeof(alloc),
					  .ctx = &map,
					  .take = take,
					  .inc = inc,
					  .dec = dec,
					  .count = count,
					  .reserve = reserve};
	struct thinp_io *io;
	struct thinp_bm *bm;
	struct thinp_tm *tm;
	thinp_block_t root;

	printf("%s, ", policy);
	must(thinp_opq_create(thinp_opq_policy_by_name(policy), NULL, &map.queue), "queue");
	must(thinp_io_open_memory(&opts, &io), "device");
	must(thinp_bm_create(io, NULL, &bm), "block manager");
	must(thinp_tm_create(bm, &alloc, &tm), "transaction manager");
	root = fill(tm);
	commit(bm, tm);
	shrink(&map, bm, tm, root);
	thinp_tm_destroy(tm);
	thinp_bm_destroy(bm);
	thinp_io_close(io);
	thinp_opq_destroy(map.queue);
}

int main(void)
{
	run("fifo");
	run("lifo");
	return 0;
}
