/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The order of operations that arise while a metadata map records itself: what breaks when it is wrong, and that nothing
 * wrong reaches the device.
 */
#include "space_map/sm.h"
#include "support/image_expect.h"
#include "support/space_map_fixture.h"

#include "unit/base/random.h"

#define NR_EVENTS 4096u

struct event {
	uint32_t kind, depth;
	struct thinp_op op;
};

struct log {
	struct event events[NR_EVENTS];
	size_t nr;
};

static void note(void *ctx, const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op, uint32_t depth)
{
	struct log *log = ctx;

	(void)sm;
	assert_true(log->nr < NR_EVENTS);
	log->events[log->nr++] = (struct event){event, depth, *op};
}

static const struct event *find(const struct log *log, uint32_t kind, uint32_t op_kind, uint64_t block)
{
	for (size_t i = 0; i < log->nr; i++) {
		const struct event *e = &log->events[i];

		if (e->kind == kind && e->op.kind == op_kind && e->op.first == block)
			return e;
	}
	return NULL;
}

/* --- SMM-01 --- */

/* A map of 20000 blocks in which nr blocks, neighbours, are counted three times; committed. */
static struct sm_fixture *begin(uint64_t nr, const char *policy, uint64_t *first)
{
	struct sm_fixture *f = sm_fixture_new(20000, 10, 20000, thinp_opq_policy_by_name(policy), false);

	assert_int_equal(sm_take(f, &f->meta, nr, first), 0);
	assert_int_equal(sm_inc(&f->meta, *first, nr), 0);
	assert_int_equal(sm_inc(&f->meta, *first, nr), 0);
	assert_int_equal(sm_commit(f), 0);
	return f;
}

static void shuffle(uint64_t *blocks, uint64_t first, uint64_t nr, uint64_t rng)
{
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t j = random_next(&rng) % (i + 1);

		blocks[i] = blocks[j];
		blocks[j] = first + i;
	}
}

/* The DEC that was refused is of a block whose INC waited and did not come. */
static void expect_overtaken(const struct log *log)
{
	const struct event *last = &log->events[log->nr - 1];
	const struct event *queued = find(log, THINP_OP_QUEUED, THINP_OP_INC, last->op.first);

	assert_int_equal(last->kind, THINP_OP_REFUSED);
	assert_int_equal(last->op.kind, THINP_OP_DEC);
	assert_int_equal(last->depth, 1);
	assert_non_null(queued);
	assert_true(queued->op.number < last->op.number);
	assert_null(find(log, THINP_OP_APPLIED, THINP_OP_INC, last->op.first));
	assert_null(find(log, THINP_OP_APPLIED, THINP_OP_DEC, last->op.first));
}

/* Decrements from 3 to 2 in an order, with a commit after each; returns how many went well. */
static uint64_t decrement(struct sm_fixture *f, const uint64_t *blocks, uint64_t nr, struct log *log)
{
	for (uint64_t i = 0; i < nr; i++) {
		int r;

		log->nr = 0;
		assert_int_equal(sm_dec(&f->meta, blocks[i], 1), 0);
		r = i % 50 ? sm_commit_unchecked(f) : sm_commit(f);
		if (r) {
			assert_int_equal(r, THINP_EREFCOUNT);
			expect_detail(r);
			return i;
		}
	}
	return nr;
}

static uint64_t run_recipe(const char *policy, uint64_t nr, uint64_t seed)
{
	uint64_t first, done, *blocks = calloc(nr, sizeof(*blocks));
	struct log *log = calloc(1, sizeof(*log));
	struct sm_fixture *f = begin(nr, policy, &first);

	shuffle(blocks, first, nr, seed);
	thinp_sm_set_trace(f->meta.sm, note, log);
	done = decrement(f, blocks, nr, log);
	if (done < nr) {
		uint64_t block;

		expect_overtaken(log);
		/* nothing can be done but abort */
		log->nr = 0;
		assert_int_equal(thinp_sm_inc(f->meta.sm, first, 1), THINP_EMUSTABORT);
		assert_int_equal(thinp_sm_take(f->meta.sm, 1, &block, NULL), THINP_EMUSTABORT);
		assert_int_equal(tp_sm_record(f->meta.sm, f->tm), THINP_EMUSTABORT);
		sm_abort(f);
		sm_check(f); /* the device has the last commit, whole */
		f->opts.policy = NULL;
		sm_reopen(f);
		assert_int_equal(decrement(f, blocks + done, nr - done, log), nr - done);
	}
	sm_check(f);
	sm_fixture_free(f);
	free(blocks);
	free(log);
	return done;
}

static void SMM_01_random_decrements_need_the_order_of_arrival(void **state)
{
	uint64_t seed = random_begin();

	(void)state;
	assert_int_equal(run_recipe("fifo", 1500, seed), 1500);
	assert_int_equal(run_recipe("sorted", 1500, seed), 1500);
	assert_int_equal(run_recipe("coalescing", 1500, seed), 1500);
	assert_true(run_recipe("lifo", 1500, seed) < 1500);
}

/* Two leaves, of which one removal makes one: which removal, a map with the right order tells. */
static uint64_t find_merge(uint64_t nr)
{
	uint64_t first, n = 0;
	struct sm_fixture *f = begin(nr, "fifo", &first);

	assert_int_equal(f->meta.sm->now.overflow.depth, 2);
	assert_int_equal(f->meta.sm->now.overflow.nr_nodes, 3);
	while (f->meta.sm->now.overflow.depth == 2) {
		assert_int_equal(sm_dec(&f->meta, first + n++, 1), 0);
		assert_int_equal(sm_commit(f), 0);
	}
	assert_int_equal(f->meta.sm->now.overflow.nr_nodes, 1);
	sm_fixture_free(f);
	return n;
}

static void merge_two_leaves(const char *policy, uint64_t nr, uint64_t n)
{
	uint64_t first;
	struct log *log = calloc(1, sizeof(*log));
	struct sm_fixture *f = begin(nr, policy, &first);
	struct tp_sm_root root;
	int r;

	for (uint64_t i = 0; i + 1 < n; i++) {
		assert_int_equal(sm_dec(&f->meta, first + i, 1), 0);
		assert_int_equal(sm_commit_unchecked(f), 0);
	}
	root = f->meta.root;
	thinp_sm_set_trace(f->meta.sm, note, log);
	assert_int_equal(sm_dec(&f->meta, first + n - 1, 1), 0);
	r = sm_commit(f);
	if (strcmp(policy, "lifo") != 0) {
		assert_int_equal(r, 0);
	} else {
		assert_int_equal(r, THINP_EREFCOUNT);
		expect_overtaken(log);
		sm_abort(f);
		assert_memory_equal(&root, &f->meta.root, sizeof(root));
		sm_check(f);
	}
	sm_fixture_free(f);
	free(log);
}

static void SMM_01_two_leaves_merge_while_the_map_records_itself(void **state)
{
	uint64_t n = find_merge(340);

	(void)state;
	merge_two_leaves("fifo", 340, n);
	merge_two_leaves("sorted", 340, n);
	merge_two_leaves("coalescing", 340, n);
	merge_two_leaves("lifo", 340, n);
}

/* --- BR-10: the trace of a whole run never shows a DEC before the INC of the same block --- */

struct running {
	uint32_t counts[20000];
};

static void run_count(void *ctx, const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op, uint32_t depth)
{
	struct running *running = ctx;

	(void)sm;
	(void)depth;
	for (uint64_t b = op->first; event == THINP_OP_APPLIED && b < op->first + op->nr_blocks; b++) {
		if (op->kind == THINP_OP_DEC)
			assert_true(running->counts[b]);
		running->counts[b] += op->kind == THINP_OP_INC ? 1 : UINT32_MAX;
	}
}

static void BR_10_no_running_count_ever_falls_below_zero(void **state)
{
	struct running *running = calloc(1, sizeof(*running));
	uint64_t first, seed = random_begin();
	struct sm_fixture *f = begin(900, "fifo", &first);

	(void)state;
	for (uint64_t b = 0; b < 20000; b++)
		assert_int_equal(thinp_sm_count(f->meta.sm, b, &running->counts[b]), 0);
	thinp_sm_set_trace(f->meta.sm, run_count, running);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(sm_dec(&f->meta, first + random_next(&seed) % 900, 1), 0);
		assert_int_equal(sm_inc(&f->meta, first + random_next(&seed) % 900, 1), 0);
		for (uint64_t b = first; b < first + 900; b++) /* none to 0: nothing is taken out of use */
			sm_raise(&f->meta, b, 1);
		assert_int_equal(sm_commit_unchecked(f), 0);
	}
	sm_check(f);
	for (uint64_t b = 0; b < 20000; b++) {
		uint32_t count;

		assert_int_equal(thinp_sm_count(f->meta.sm, b, &count), 0);
		assert_int_equal(count, running->counts[b]);
	}
	sm_fixture_free(f);
	free(running);
}

/* --- policies that break what they promised --- */

struct ring {
	struct thinp_op ops[256];
	size_t nr;
};

enum break_how { LOSE, INVENT, REORDER, TWICE };

struct broken {
	enum break_how how;
	struct ring ring;
	bool done;
	size_t nr_pushed;
};

static int broken_create(void *ctx, const struct thinp_allocator *allocator, void **self)
{
	(void)allocator;
	((struct broken *)ctx)->ring.nr = 0;
	*self = ctx;
	return 0;
}

static void broken_destroy(void *self)
{
	(void)self;
}

static int broken_push(void *self, const struct thinp_op *op)
{
	struct broken *b = self;

	b->nr_pushed++;
	if (b->how == LOSE && !b->done && b->nr_pushed > 2) {
		b->done = true;
		return 0;
	}
	assert_true(b->ring.nr < 256);
	b->ring.ops[b->ring.nr++] = *op;
	return 0;
}

static int broken_pop(void *self, struct thinp_op *op)
{
	struct broken *b = self;
	size_t at = b->how == REORDER ? b->ring.nr - 1 : 0;

	*op = b->ring.ops[at];
	if (b->how == TWICE && !b->done) {
		b->done = true;
		return 0;
	}
	if (b->how == INVENT && !b->done) {
		b->done = true;
		*op = (struct thinp_op){.first = 4711, .nr_blocks = 1, .kind = THINP_OP_INC};
		return 0;
	}
	memmove(&b->ring.ops[at], &b->ring.ops[at + 1], (--b->ring.nr - at) * sizeof(*op));
	return 0;
}

static bool broken_is_empty(const void *self)
{
	return !((const struct broken *)self)->ring.nr;
}

static void a_policy_that_breaks_its_promise_cannot_commit(void **state)
{
	(void)state;
	for (enum break_how how = LOSE; how <= TWICE; how++) {
		struct broken *b = calloc(1, sizeof(*b));
		struct thinp_opq_policy policy = {.size = sizeof(policy),
						  .name = "broken",
						  .ctx = b,
						  .create = broken_create,
						  .destroy = broken_destroy,
						  .push = broken_push,
						  .pop = broken_pop,
						  .is_empty = broken_is_empty};
		struct sm_fixture *f = sm_fixture_new(2000, 10, 2000, NULL, false);
		uint64_t first;
		int r;

		assert_int_equal(sm_take(f, &f->meta, 400, &first), 0);
		assert_int_equal(sm_commit(f), 0);
		f->opts.policy = &policy;
		f->opts.queue_always = true; /* so that an order can be broken without a merge */
		b->how = how;
		sm_reopen(f);
		assert_int_equal(thinp_sm_dec(f->meta.sm, first, 1), 0);
		assert_int_equal(thinp_sm_inc(f->meta.sm, first + 1, 1), 0);
		assert_int_equal(thinp_sm_inc(f->meta.sm, first, 1), 0);
		assert_int_equal(thinp_sm_dec(f->meta.sm, first + 1, 1), 0);
		r = tp_sm_record(f->meta.sm, f->tm);
		assert_int_equal(r, THINP_EREFCOUNT);
		expect_detail(r);
		sm_abort(f);
		sm_check(f);
		f->opts.policy = NULL;
		f->opts.queue_always = false;
		sm_reopen(f);
		assert_int_equal(sm_dec(&f->meta, first, 400), 0);
		assert_int_equal(sm_commit(f), 0);
		sm_fixture_free(f);
		free(b);
	}
}

/* --- counts while operations wait --- */

static void expect_count(struct sm_fixture *f, uint64_t block, uint32_t wanted)
{
	uint32_t count = 4711;

	assert_int_equal(thinp_sm_count(f->data.sm, block, &count), 0);
	assert_int_equal(count, wanted);
}

static void SMM_08_counts_include_what_is_pending(void **state)
{
	struct sm_fixture *f = sm_fixture_new(2000, 100, 2000, NULL, true);

	(void)state;
	for (uint32_t n = 0; n < 5; n++)
		sm_raise(&f->data, n * 10, n);
	assert_int_equal(sm_commit(f), 0);
	for (uint32_t n = 0; n < 5; n++) {
		expect_count(f, n * 10, n);
		assert_int_equal(sm_inc(&f->data, n * 10, 1), 0);
		expect_count(f, n * 10, n + 1);
		assert_int_equal(sm_inc(&f->data, n * 10, 1), 0);
		expect_count(f, n * 10, n + 2);
		assert_int_equal(sm_dec(&f->data, n * 10, 1), 0);
		expect_count(f, n * 10, n + 1);
		assert_int_equal(sm_dec(&f->data, n * 10, 1), 0);
		assert_int_equal(sm_dec(&f->data, n * 10, 1), n ? 0 : THINP_EREFCOUNT);
		expect_count(f, n * 10, n ? n - 1 : 0);
		sm_expect_counts(&f->data);
	}
	assert_int_equal(sm_commit(f), 0);
	sm_expect_counts(&f->data);
	sm_fixture_free(f);
}

/* More operations of one block than the ledger can tell apart: they are put through, and none is lost. */
static void queue_always_lasts_as_long_as_the_ledger_has_room(void **state)
{
	struct sm_fixture *f = sm_fixture_new(2000, 100, 2000, NULL, true);

	(void)state;
	sm_raise(&f->data, 7, 200);
	assert_int_equal(sm_commit(f), 0);
	sm_expect_counts(&f->data);
	sm_fixture_free(f);
}

/* Counts are looked at again when an operation comes out of the queue, whatever was checked when it went in. */
static void SM_01_an_operation_that_cannot_be_applied_any_more_is_refused(void **state)
{
	struct sm_fixture *f = sm_fixture_new(2000, 100, 2000, NULL, true);
	struct log *log = calloc(1, sizeof(*log));
	struct tp_page *page;
	int r;

	(void)state;
	sm_raise(&f->data, 7, 1);
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(thinp_sm_dec(f->data.sm, 7, 1), 0);
	assert_int_equal(tp_sm_get_page(f->data.sm, 0, &page), 0);
	page->counts[7] = 0; /* as no code of ours does */
	thinp_sm_set_trace(f->data.sm, note, log);
	r = tp_sm_record(f->data.sm, f->tm);
	expect_failure(r, THINP_EREFCOUNT, 7, "fall below 0");
	assert_int_equal(log->events[log->nr - 1].kind, THINP_OP_REFUSED);
	sm_abort(f);
	sm_check(f);
	sm_expect_counts(&f->data);
	sm_fixture_free(f);
	free(log);
}

/* SMM-07: the queue grows as far as it must. */
static void SMM_07_a_long_range_of_threes_is_decremented_at_once(void **state)
{
	uint64_t first;
	struct sm_fixture *f = begin(12000, "fifo", &first);

	(void)state;
	assert_int_equal(sm_dec(&f->meta, first, 12000), 0);
	assert_int_equal(sm_commit(f), 0);
	print_message("most operations that waited: %llu\n", (unsigned long long)sm_info(&f->meta).nr_queued_most);
	assert_true(sm_info(&f->meta).nr_queued_most < 100);
	sm_fixture_free(f);
}

/* One more reference to a block, recorded by taking blocks of some bitmap. */
static void raise_from(struct sm_fixture *f, uint64_t block, uint64_t bitmap)
{
	f->meta.sm->cursor = bitmap * SM_PER_BITMAP + 100;
	assert_int_equal(sm_inc(&f->meta, block, 1), 0);
	assert_int_equal(sm_commit(f), 0);
}

/* While the overflow tree is being changed, a page of counts is needed that is not in memory, and has large counts. */
static void pages_are_read_while_the_tree_that_they_need_is_changed(void **state)
{
	struct sm_fixture *f = sm_fixture_new(4 * SM_PER_BITMAP, 10, 4 * SM_PER_BITMAP, NULL, false);
	uint64_t first;

	(void)state;
	assert_int_equal(sm_take(f, &f->meta, 1000, &first), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sm_inc(&f->meta, first, 1000), 0);
	assert_int_equal(sm_inc(&f->meta, 3 * SM_PER_BITMAP + 7, 1), 0); /* as a take would */
	sm_raise(&f->meta, 3 * SM_PER_BITMAP + 7, 9);
	assert_int_equal(sm_commit(f), 0);
	raise_from(f, first + 999, 3); /* root and last leaf, then root and first leaf */
	raise_from(f, first, 1);
	sm_reopen(f);
	f->meta.sm->cursor = 2 * SM_PER_BITMAP;
	assert_int_equal(sm_inc(&f->meta, first, 1), 0);
	assert_int_equal(sm_inc(&f->meta, first + 999, 1), 0);
	assert_null(tp_directory_get(&f->meta.sm->pages, 3));
	assert_int_equal(sm_commit(f), 0);
	assert_non_null(tp_directory_get(&f->meta.sm->pages, 3));
	sm_fixture_free(f);
}

static void a_trace_shows_the_way_of_an_operation(void **state)
{
	struct sm_fixture *f = sm_fixture_new(2000, 100, 2000, NULL, false);
	struct log *log = calloc(1, sizeof(*log));
	uint64_t block;

	(void)state;
	thinp_sm_set_trace(f->data.sm, note, log);
	assert_int_equal(sm_take(f, &f->data, 1, &block), 0);
	assert_int_equal(log->nr, 2);
	assert_int_equal(log->events[0].kind, THINP_OP_ISSUED);
	assert_int_equal(log->events[1].kind, THINP_OP_APPLIED);
	assert_int_equal(log->events[1].op.first, block);
	assert_int_equal(log->events[1].op.nr_blocks, 1);
	assert_int_equal(log->events[1].depth, 0);
	assert_int_equal(thinp_sm_dec(f->data.sm, block + 1, 1), THINP_EREFCOUNT);
	assert_int_equal(log->nr, 4);
	assert_int_equal(log->events[3].kind, THINP_OP_REFUSED);
	assert_int_equal(log->events[3].op.number, log->events[0].op.number + 1);
	log->nr = 0;
	thinp_sm_set_trace(f->data.sm, NULL, NULL);
	thinp_sm_set_trace(f->meta.sm, note, log);
	assert_int_equal(sm_commit(f), 0);
	for (size_t i = 0; i < log->nr; i++) /* what recording itself issues waits until its step is done */
		assert_int_equal(log->events[i].depth,
				 find(log, THINP_OP_QUEUED, log->events[i].op.kind, log->events[i].op.first) ? 1 : 0);
	assert_true(log->nr > 0);
	thinp_sm_set_trace(f->meta.sm, NULL, NULL);
	sm_fixture_free(f);
	free(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(SMM_01_random_decrements_need_the_order_of_arrival),
		cmocka_unit_test(SMM_01_two_leaves_merge_while_the_map_records_itself),
		cmocka_unit_test(BR_10_no_running_count_ever_falls_below_zero),
		cmocka_unit_test(a_policy_that_breaks_its_promise_cannot_commit),
		cmocka_unit_test(SMM_08_counts_include_what_is_pending),
		cmocka_unit_test(queue_always_lasts_as_long_as_the_ledger_has_room),
		cmocka_unit_test(SM_01_an_operation_that_cannot_be_applied_any_more_is_refused),
		cmocka_unit_test(SMM_07_a_long_range_of_threes_is_decremented_at_once),
		cmocka_unit_test(pages_are_read_while_the_tree_that_they_need_is_changed),
		cmocka_unit_test(a_trace_shows_the_way_of_an_operation),
	};

	return cmocka_run_group_tests_name("space_map/order", tests, NULL, NULL);
}
