/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What changes of a pool take, beside what was foretold.
 *
 * Environment: THINP_TEST_SEED repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <thinp/error.h>
#include <thinp/pool_space.h>

#include <inttypes.h>
#include <string.h>

#include "unit/base/random.h"

enum {
	PER_BITMAP = 16320,
	NR_ROUNDS = 16, /* so that the sums of rare operations are steady */
	NR_DEVICES = 12,
	NR_KEYS = 1 << 20,
	NR_METADATA = 4000,
	MOST_METADATA = 50000,
	NR_DATA = 100000,
	NR_OWNED = 2000
};

struct world {
	struct thinp_io *io;
	struct thinp_pool *pool;
	uint64_t rng;
	bool is_there[NR_DEVICES];
	uint64_t owned; /* the first of some data blocks of the test itself */
	int references[NR_OWNED];
};

static uint64_t below(struct world *w, uint64_t n)
{
	return random_next(&w->rng) % n;
}

static void expect(int r)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	if (!r)
		return;
	thinp_error_last(&info);
	fail_msg("%s: %s", thinp_err_name(r), info.message);
}

static struct thinp_sm_info info_of(const struct world *w, int space)
{
	struct thinp_sm_info info = {.size = sizeof(info)};

	expect(thinp_pool_get_space(w->pool, space, &info));
	return info;
}

static uint64_t size_of(const struct world *w, int space)
{
	return info_of(w, space).nr_blocks;
}

static void open_world(struct world *w, uint64_t nr_metadata, uint64_t nr_data)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = nr_metadata};
	const struct thinp_pool_opts opts = {
		.size = sizeof(opts), .flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE, .nr_data_blocks = nr_data};
	uint64_t rng = w->rng;

	*w = (struct world){.rng = rng};
	expect(thinp_io_open_memory(&io_opts, &w->io));
	expect(thinp_pool_open(w->io, &opts, &w->pool));
	expect(thinp_pool_begin(w->pool));
}

static void close_world(struct world *w)
{
	thinp_pool_close(w->pool);
	thinp_io_close(w->io);
}

static void commit(struct world *w)
{
	expect(thinp_pool_commit(w->pool));
	expect(thinp_pool_begin(w->pool));
}

static int map(struct world *w, uint64_t device, uint64_t block, uint64_t nr)
{
	uint64_t first, nr_taken, nr_done = 0;
	int r = thinp_pool_alloc_data(w->pool, nr, &first, &nr_taken);

	if (r)
		return r;
	r = thinp_pool_insert_run(w->pool, device, block, first, nr_taken, &nr_done);
	if (nr_done < nr_taken)
		expect(thinp_pool_dec_data(w->pool, first + nr_done, nr_taken - nr_done));
	return r;
}

struct counts {
	uint8_t is_used[MOST_METADATA];
	uint64_t nr_new; /* used now, and not before */
};

static int note_counts(void *ctx, uint64_t begin, uint64_t end, uint32_t count)
{
	struct counts *counts = ctx;

	for (uint64_t b = begin; b < end; b++) {
		counts->nr_new += count && !counts->is_used[b];
		counts->is_used[b] = count != 0;
	}
	return 0;
}

static uint64_t blocks_of_last_commit(struct world *w, struct counts *counts)
{
	counts->nr_new = 0;
	expect(thinp_pool_walk_counts(w->pool, THINP_POOL_METADATA, 0, size_of(w, THINP_POOL_METADATA), note_counts,
				      counts));
	return counts->nr_new;
}

/* Data blocks that the test has references to. */
static void choose_owned(struct world *w, struct thinp_pool_operation *op)
{
	int least = op->kind == THINP_POOL_DEC_DATA ? 2 : 1;
	uint64_t begin = below(w, NR_OWNED), most = below(w, 2) ? 10 : NR_OWNED;

	op->begin = w->owned + begin;
	op->length = 0;
	while (begin + op->length < NR_OWNED && op->length < most && w->references[begin + op->length] >= least)
		op->length++;
}

static int count_owned(struct world *w, const struct thinp_pool_operation *op, int r)
{
	for (uint64_t i = 0; !r && i < op->length; i++)
		w->references[op->begin - w->owned + i] += op->kind == THINP_POOL_INC_DATA ? 1 : -1;
	return r;
}

static void take_owned(struct world *w)
{
	expect(thinp_pool_alloc_data(w->pool, NR_OWNED, &w->owned, NULL));
	for (uint64_t i = 0; i < NR_OWNED; i++)
		w->references[i] = 1;
	commit(w);
}

static void choose(struct world *w, struct thinp_pool_operation *op)
{
	*op = (struct thinp_pool_operation){.size = sizeof(*op),
					    .kind = 1 + (uint32_t)below(w, 7),
					    .dev_id = below(w, NR_DEVICES),
					    .origin_id = below(w, NR_DEVICES),
					    .begin = below(w, below(w, 2) ? 20000 : NR_KEYS),
					    .length = 1 + below(w, below(w, 2) ? 10 : 3000)};
	if (below(w, 3))
		op->kind = below(w, 2) ? THINP_POOL_INSERT : THINP_POOL_REMOVE;
}

/* Most steps stay within a bitmap; some go just beyond it. */
static uint64_t choose_metadata(struct world *w)
{
	uint64_t nr = size_of(w, THINP_POOL_METADATA);

	if (below(w, 4) == 0 && nr + 2 * PER_BITMAP < MOST_METADATA)
		return nr / PER_BITMAP * PER_BITMAP + PER_BITMAP + 1;
	return nr + below(w, MOST_METADATA - nr < 100 ? MOST_METADATA - nr : 100);
}

static void choose_for_all(struct world *w, struct thinp_pool_operation *op)
{
	choose(w, op);
	if (below(w, 4))
		op->kind = THINP_POOL_ALLOC_DATA + (uint32_t)below(w, 5);
	if (op->kind == THINP_POOL_INC_DATA || op->kind == THINP_POOL_DEC_DATA)
		choose_owned(w, op);
	else if (op->kind == THINP_POOL_GROW_DATA)
		op->length = size_of(w, THINP_POOL_DATA) + below(w, below(w, 2) ? 1000 : 100000);
	else if (op->kind == THINP_POOL_GROW_METADATA)
		op->length = choose_metadata(w);
}

/* What concerns no device. */
static int carry_out_for_all(struct world *w, const struct thinp_pool_operation *op)
{
	uint64_t first, nr_taken;

	switch (op->kind) {
	case THINP_POOL_ALLOC_DATA:
		return thinp_pool_alloc_data(w->pool, op->length, &first, &nr_taken);
	case THINP_POOL_INC_DATA:
		return count_owned(w, op, thinp_pool_inc_data(w->pool, op->begin, op->length));
	case THINP_POOL_DEC_DATA:
		return count_owned(w, op, thinp_pool_dec_data(w->pool, op->begin, op->length));
	case THINP_POOL_GROW_DATA:
		return thinp_pool_grow_data(w->pool, op->length);
	default:
		return thinp_pool_grow_metadata(w->pool, op->length);
	}
}

static int carry_out(struct world *w, const struct thinp_pool_operation *op)
{
	switch (op->kind) {
	case THINP_POOL_CREATE_DEVICE:
		return w->is_there[op->dev_id] ? THINP_EEXIST : thinp_pool_create_device(w->pool, op->dev_id);
	case THINP_POOL_CREATE_SNAPSHOT:
		return w->is_there[op->dev_id] ? THINP_EEXIST
					       : thinp_pool_create_snapshot(w->pool, op->dev_id, op->origin_id);
	case THINP_POOL_DELETE_DEVICE:
		return thinp_pool_delete_device(w->pool, op->dev_id);
	case THINP_POOL_INSERT:
		return map(w, op->dev_id, op->begin, op->length);
	case THINP_POOL_REMOVE:
		return thinp_pool_remove_range(w->pool, op->dev_id, op->begin, op->begin + op->length - 1, 0, NULL,
					       NULL);
	case THINP_POOL_HOLD:
		return thinp_pool_reserve_metadata_snap(w->pool);
	case THINP_POOL_RELEASE:
		return thinp_pool_release_metadata_snap(w->pool);
	default:
		return carry_out_for_all(w, op);
	}
}

typedef void choose_fn(struct world *w, struct thinp_pool_operation *op);

/* Sums over all operations of a kind, each in a transaction of its own. */
struct sums {
	uint64_t nr, foretold, taken;
};

static void compare_cost(struct world *w, struct counts *counts, choose_fn *choose_one, struct sums *sums)
{
	struct thinp_pool_operation op;
	uint64_t foretold = 0, taken;
	int r;

	choose_one(w, &op);
	if (thinp_pool_cost(w->pool, &op, &foretold) || (op.kind == THINP_POOL_INSERT && !w->is_there[op.dev_id]))
		return;
	r = carry_out(w, &op);
	if (!r && op.kind <= THINP_POOL_DELETE_DEVICE)
		w->is_there[op.dev_id] = op.kind != THINP_POOL_DELETE_DEVICE;
	commit(w);
	taken = blocks_of_last_commit(w, counts);
	if (taken > foretold)
		fail_msg("operation %u, length %" PRIu64 ": %" PRIu64 " foretold, %" PRIu64 " taken", op.kind,
			 op.length, foretold, taken);
	if (r || !taken)
		return;
	sums[op.kind].nr++;
	sums[op.kind].foretold += foretold;
	sums[op.kind].taken += taken;
}

static void compare_costs(choose_fn *choose_one, uint32_t first_kind, uint32_t last_kind)
{
	static struct counts counts;
	static struct world w;
	struct sums sums[THINP_POOL_GROW_METADATA + 1] = {{0}};

	w.rng = random_begin();
	for (int round = 0; round < NR_ROUNDS; round++) {
		open_world(&w, NR_METADATA, NR_DATA);
		memset(&counts, 0, sizeof(counts));
		take_owned(&w);
		(void)blocks_of_last_commit(&w, &counts);
		for (int i = 0; i < 700; i++)
			compare_cost(&w, &counts, choose_one, sums);
		close_world(&w);
	}
	for (uint32_t kind = first_kind; kind <= last_kind; kind++) {
		print_message("operation %u: %" PRIu64 " times, %" PRIu64 " foretold, %" PRIu64 " taken\n", kind,
			      sums[kind].nr, sums[kind].foretold, sums[kind].taken);
		assert_true(sums[kind].nr > 5 && sums[kind].foretold <= 4 * sums[kind].taken);
	}
}

static void changes_of_devices_take_no_more_than_was_foretold_and_not_much_less(void **state)
{
	(void)state;
	compare_costs(choose, THINP_POOL_CREATE_DEVICE, THINP_POOL_RELEASE);
}

static void changes_of_data_and_sizes_take_no_more_than_was_foretold_and_not_much_less(void **state)
{
	(void)state;
	compare_costs(choose_for_all, THINP_POOL_ALLOC_DATA, THINP_POOL_GROW_METADATA);
}

static void expect_no_cost(struct world *w, struct thinp_pool_operation op, int code)
{
	uint64_t nr_blocks = 4711;

	op.size = sizeof(op);
	assert_int_equal(thinp_pool_cost(w->pool, &op, &nr_blocks), code);
	assert_int_equal(nr_blocks, 4711);
}

static void what_cannot_be_done_has_no_cost(void **state)
{
	static struct world w;

	(void)state;
	open_world(&w, NR_METADATA, NR_DATA);
	expect_no_cost(&w, (struct thinp_pool_operation){.kind = 0, .length = 1}, THINP_EINVAL);
	expect_no_cost(&w, (struct thinp_pool_operation){.kind = 13, .length = 1}, THINP_EINVAL);
	for (uint32_t kind = THINP_POOL_ALLOC_DATA; kind <= THINP_POOL_DEC_DATA; kind++)
		expect_no_cost(&w, (struct thinp_pool_operation){.kind = kind}, THINP_EINVAL);
	for (uint32_t kind = THINP_POOL_INC_DATA; kind <= THINP_POOL_DEC_DATA; kind++) {
		expect_no_cost(&w, (struct thinp_pool_operation){.kind = kind, .begin = NR_DATA, .length = 1},
			       THINP_ERANGE);
		expect_no_cost(&w, (struct thinp_pool_operation){.kind = kind, .begin = 1, .length = NR_DATA},
			       THINP_ERANGE);
		expect_no_cost(&w, (struct thinp_pool_operation){.kind = kind, .begin = 1, .length = UINT64_MAX},
			       THINP_ERANGE);
	}
	for (uint32_t kind = THINP_POOL_GROW_DATA; kind <= THINP_POOL_GROW_METADATA; kind++) {
		expect_no_cost(&w, (struct thinp_pool_operation){.kind = kind, .length = NR_METADATA - 1},
			       THINP_EINVAL);
		expect_no_cost(&w, (struct thinp_pool_operation){.kind = kind, .length = UINT64_MAX}, THINP_ERANGE);
	}
	expect_no_cost(&w, (struct thinp_pool_operation){.kind = THINP_POOL_RELEASE}, THINP_ENOENT);
	expect_no_cost(&w, (struct thinp_pool_operation){.kind = THINP_POOL_DELETE_DEVICE}, THINP_ENODATA);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_done_has_no_cost),
		cmocka_unit_test(changes_of_devices_take_no_more_than_was_foretold_and_not_much_less),
		cmocka_unit_test(changes_of_data_and_sizes_take_no_more_than_was_foretold_and_not_much_less),
	};

	return cmocka_run_group_tests_name("thin/costs", tests, NULL, NULL);
}
