/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Defects that space maps have had elsewhere, and what stands against each: what waits is counted once, what fails is
 * passed up and leaves nothing behind, what was freed is not used before the commit.
 */
#include "format/kind.h"
#include "format/thin.h"
#include "space_map/sm.h"
#include "support/image_expect.h"
#include "support/space_map_fixture.h"

#include <stdlib.h>
#include <string.h>

/* Neighbours that are counted three times, so that recording has an overflow tree to change; committed. */
static struct sm_fixture *begin(const struct thinp_opq_policy *policy, uint64_t nr, uint64_t *first)
{
	struct sm_fixture *f = sm_fixture_new(2000, 200, 40000, policy, false);

	assert_int_equal(sm_take(f, &f->meta, nr, first), 0);
	assert_int_equal(sm_inc(&f->meta, *first, nr), 0);
	assert_int_equal(sm_inc(&f->meta, *first, nr), 0);
	assert_int_equal(sm_commit(f), 0);
	return f;
}

/* LOCKCHECK: nothing is locked, and no step of recording is left open. */
static void expect_unlocked(const struct sm_fixture *f)
{
	assert_int_equal(f->meta.sm->depth, 0);
	assert_int_equal(f->data.sm->depth, 0);
	assert_int_equal(thinp_bm_flush(f->bm), 0);
}

static void expect_count(const struct sm_model *m, uint64_t block, uint32_t wanted)
{
	uint32_t count = 4711;

	assert_int_equal(thinp_sm_count(m->sm, block, &count), 0);
	assert_int_equal(count, wanted);
}

/* --- SM-02 --- */

/* A bitmap that was written early, and has got a second reference since: it cannot be written again. */
static void SM_02_a_bitmap_that_cannot_be_changed_is_not_left_locked(void **state)
{
	struct sm_fixture *f = sm_fixture_new(2000, 200, 2000, NULL, false);
	struct tp_page *page;
	thinp_block_t bitmap;

	(void)state;
	f->opts.memory_limit = 1;
	sm_reopen(f);
	assert_int_equal(thinp_sm_dec(f->data.sm, 5, 1), THINP_EREFCOUNT);
	expect_unlocked(f);
	assert_int_equal(sm_inc(&f->data, 5, 1), 0);
	assert_int_equal(tp_sm_trim(f->data.sm, f->tm), 0);
	assert_int_equal(tp_sm_get_page(f->data.sm, 0, &page), 0);
	bitmap = page->entry.bitmap;
	assert_int_equal(thinp_tm_inc(f->tm, bitmap, 1, THINP_CAUSE_USER), 0);
	assert_int_equal(sm_inc(&f->data, 6, 1), 0);
	expect_failure(tp_sm_record(f->data.sm, f->tm), THINP_EREFCOUNT, bitmap, "is shared");
	expect_unlocked(f);
	sm_abort(f);
	sm_check(f);
	assert_int_equal(sm_inc(&f->data, 6, 1), 0);
	assert_int_equal(sm_commit(f), 0);
	sm_fixture_free(f);
}

/* --- SMM-02 --- */

#define NR_COUNTED 2000u

/* What each count must be, by what was told. */
struct told {
	struct sm_fixture *f;
	uint32_t counts[NR_COUNTED];
	uint64_t nr_queued, nr_applied;
};

/* Asks for counts in the middle of a step. Only a test may do that: all pages are in memory. */
static void ask_at_once(void *ctx, const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op, uint32_t depth)
{
	struct told *told = ctx;
	bool is_first = event == (depth ? THINP_OP_QUEUED : THINP_OP_APPLIED);
	uint64_t begin = op->first > 20 ? op->first - 20 : 0;

	(void)sm;
	for (uint64_t b = op->first; is_first && b < op->first + op->nr_blocks; b++)
		told->counts[b] += op->kind == THINP_OP_INC ? 1 : UINT32_MAX;
	for (uint64_t b = begin; b < begin + 40 && b < NR_COUNTED; b++)
		expect_count(&told->f->meta, b, told->counts[b]);
	told->nr_queued += event == THINP_OP_QUEUED;
	told->nr_applied += event == THINP_OP_APPLIED && depth;
}

static void SMM_02_an_operation_counts_once_at_every_moment_of_recording(void **state)
{
	struct told *told = calloc(1, sizeof(*told));
	uint64_t first;
	struct sm_fixture *f = begin(NULL, 400, &first);

	(void)state;
	told->f = f;
	for (uint64_t b = 0; b < NR_COUNTED; b++)
		assert_int_equal(thinp_sm_count(f->meta.sm, b, &told->counts[b]), 0);
	thinp_sm_set_trace(f->meta.sm, ask_at_once, told);
	for (uint64_t i = 0; i < 400; i += 2) {
		assert_int_equal(sm_dec(&f->meta, first + i, 1), 0);
		assert_int_equal(sm_commit(f), 0);
	}
	assert_true(told->nr_queued > 400);
	assert_int_equal(told->nr_applied, told->nr_queued);
	sm_fixture_free(f);
	free(told);
}

/* --- SMM-06 --- */

static void note_call(void *ctx, uint64_t nr_available)
{
	(void)nr_available;
	++*(uint64_t *)ctx;
}

static void exhaust(struct sm_fixture *f, struct sm_model *m)
{
	uint64_t block, nr_told = 0;

	while (!sm_take(f, m, 1, &block))
		;
	thinp_sm_set_threshold(m->sm, UINT64_MAX, note_call, &nr_told);
	for (uint64_t nr = 1; nr < 4; nr++) {
		uint64_t nr_taken = 815;

		block = 4711;
		assert_int_equal(thinp_sm_take(m->sm, nr, &block, nr > 1 ? &nr_taken : NULL), THINP_ENOSPC);
		expect_detail(THINP_ENOSPC);
		assert_int_equal(block, 4711);
		assert_int_equal(nr_taken, 815);
	}
	assert_int_equal(nr_told, 0);
	assert_int_equal(sm_extend(f, m, m->nr + 500), 0);
	assert_int_equal(sm_take(f, m, 1, &block), 0);
	assert_int_equal(nr_told, 1);
	assert_int_equal(sm_commit(f), 0);
	thinp_sm_set_threshold(m->sm, 0, NULL, NULL);
}

static void SMM_06_a_take_that_fails_gives_no_block_and_tells_nobody_of_a_threshold(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 1000, 3000, NULL, false);

	(void)state;
	exhaust(f, &f->data);
	exhaust(f, &f->meta);
	sm_fixture_free(f);
}

/* --- SMM-09, SMM-14 --- */

/* A first-in-first-out policy of which one call fails. */
struct failing {
	uint64_t nr_calls, fail_at; /* 0: none */
	int fail_with;
};

struct failing_store {
	struct failing *failing;
	void *self;
};

static int failing_create(void *ctx, const struct thinp_allocator *allocator, void **self)
{
	struct failing_store *store = calloc(1, sizeof(*store));

	assert_non_null(store);
	store->failing = ctx;
	*self = store;
	return thinp_opq_policy_by_name("fifo")->create(NULL, allocator, &store->self);
}

static void failing_destroy(void *self)
{
	struct failing_store *store = self;

	thinp_opq_policy_by_name("fifo")->destroy(store->self);
	free(store);
}

static int failing_push(void *self, const struct thinp_op *op)
{
	return thinp_opq_policy_by_name("fifo")->push(((struct failing_store *)self)->self, op);
}

static int failing_pop(void *self, struct thinp_op *op)
{
	struct failing_store *store = self;

	if (++store->failing->nr_calls == store->failing->fail_at)
		return thinp_error_report(store->failing->fail_with, 99, "a policy has failed");
	return thinp_opq_policy_by_name("fifo")->pop(store->self, op);
}

static bool failing_is_empty(const void *self)
{
	return thinp_opq_policy_by_name("fifo")->is_empty(((const struct failing_store *)self)->self);
}

static struct thinp_opq_policy failing_policy(struct failing *failing)
{
	return (struct thinp_opq_policy){.size = sizeof(struct thinp_opq_policy),
					 .ctx = failing,
					 .create = failing_create,
					 .destroy = failing_destroy,
					 .push = failing_push,
					 .pop = failing_pop,
					 .is_empty = failing_is_empty};
}

/* Changes of both maps, and a commit in which taking the n-th operation out of the queue fails. Returns whether it did. */
static bool fail_at(uint64_t n, int code)
{
	struct failing failing = {.fail_with = code};
	struct thinp_opq_policy policy = failing_policy(&failing);
	uint64_t first, block;
	struct sm_fixture *f = begin(&policy, 340, &first);
	bool has_failed;
	int r;

	assert_int_equal(sm_dec(&f->meta, first, 200), 0);
	assert_int_equal(sm_take(f, &f->data, 20, &block), 0);
	failing.nr_calls = 0;
	failing.fail_at = n;
	r = sm_commit(f);
	has_failed = failing.nr_calls >= n;
	failing.fail_at = 0;
	assert_int_equal(r, has_failed ? code : 0);
	expect_unlocked(f);
	if (has_failed) {
		assert_int_equal(thinp_sm_inc(f->meta.sm, first, 1), THINP_EMUSTABORT);
		sm_abort(f);
		sm_check(f);
	}
	assert_int_equal(sm_dec(&f->meta, first, 1), 0);
	assert_int_equal(sm_commit(f), 0);
	expect_unlocked(f);
	sm_fixture_free(f);
	return has_failed;
}

static void TM_09_SMM_09_SMM_14_an_operation_that_cannot_be_taken_out_fails_the_commit(void **state)
{
	static const int codes[] = {THINP_ENOMEM, THINP_EIO, THINP_EREFCOUNT};

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		uint64_t n = 1;

		while (fail_at(n, codes[i]))
			n++;
		print_message("%llu operations taken out\n", (unsigned long long)n - 1);
		assert_true(n > 10);
	}
}

/* --- SMM-11 --- */

struct freed {
	uint64_t block;
	bool is_given;
};

static void watch_freed(void *ctx, const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op, uint32_t depth)
{
	struct freed *freed = ctx;

	(void)sm;
	(void)event;
	(void)depth;
	freed->is_given |= op->kind == THINP_OP_INC && freed->block - op->first < op->nr_blocks;
}

/* The map is full, and the cursor stands on what has just been freed: recording goes elsewhere, and leaves its bytes. */
static void SMM_11_what_an_operation_frees_is_not_used_by_what_it_causes(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 200, 1000, NULL, false);
	uint8_t *data = aligned_alloc(THINP_BLOCK_SIZE, 2 * THINP_BLOCK_SIZE);
	struct freed freed = {0};

	(void)state;
	memset(data, 0x5a, 2 * THINP_BLOCK_SIZE);
	for (int i = 0; i < 2; i++) {
		while (!sm_take(f, &f->meta, 1, &freed.block))
			;
		assert_int_equal(sm_commit(f), 0);
	}
	for (int i = 0; i < 50; i++) {
		do /* of the test, and not the superblock */
			freed.block = freed.block % 999 + 1;
		while (f->meta.counts[freed.block] != 1);
		assert_int_equal(thinp_io_write(f->memory, freed.block, 1, data), 0);
		assert_int_equal(sm_dec(&f->meta, freed.block, 1), 0);
		f->meta.sm->cursor = freed.block;
		freed.is_given = false;
		thinp_sm_set_trace(f->meta.sm, watch_freed, &freed);
		assert_int_equal(sm_commit(f), 0);
		thinp_sm_set_trace(f->meta.sm, NULL, NULL);
		assert_false(freed.is_given);
		assert_int_equal(thinp_io_read(f->memory, freed.block, 1, data + THINP_BLOCK_SIZE), 0);
		assert_memory_equal(data, data + THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	}
	free(data);
	sm_fixture_free(f);
}

/* --- SMM-12 --- */

static void expect_answers(struct thinp_sm *sm, uint64_t nr_blocks)
{
	struct sm_model m = {.sm = sm};
	struct thinp_alloc table = {.size = sizeof(table)};
	uint64_t nr_zero = nr_blocks ? nr_blocks - 1 : 0;
	struct tp_sm_root root;
	uint32_t count = 4711;
	uint64_t block = 4711, nr_taken;

	assert_int_equal(sm_info(&m).nr_blocks, nr_blocks);
	assert_int_equal(sm_info(&m).nr_zero, nr_zero);
	assert_int_equal(sm_info(&m).nr_allocatable, nr_zero);
	assert_true(nr_zero ? sm_info(&m).nr_available < nr_zero : !sm_info(&m).nr_available);
	assert_int_equal(thinp_sm_count(sm, nr_blocks, &count), THINP_ERANGE);
	assert_int_equal(thinp_sm_inc(sm, nr_blocks, 1), THINP_ERANGE);
	assert_int_equal(thinp_sm_dec(sm, nr_blocks, 1), THINP_ERANGE);
	assert_int_equal(thinp_sm_take(sm, nr_blocks + 1, &block, NULL), THINP_ENOSPC);
	if (nr_blocks)
		expect_count(&m, 0, 1);
	else
		assert_int_equal(thinp_sm_take(sm, 1, &block, &nr_taken), THINP_ENOSPC);
	assert_int_equal(count, 4711);
	assert_int_equal(block, 4711);
	tp_sm_get_root(sm, &root);
	assert_int_equal(root.nr_blocks, nr_blocks);
	assert_int_equal(root.nr_allocated, nr_blocks - nr_zero);
	assert_int_equal(root.bitmap_root, 0);
	assert_int_equal(root.ref_count_root, 0);
	thinp_sm_get_alloc(sm, &table);
	assert_int_equal(table.reserve(table.ctx, nr_blocks + 1, 0), THINP_ENOSPC);
}

static void SMM_12_a_map_that_is_not_made_yet_answers_every_question(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 200, 1000, NULL, false);
	struct thinp_sm *sm;

	(void)state;
	assert_int_equal(tp_sm_open_metadata(f->reader, NULL, &f->opts, &sm), 0);
	expect_answers(sm, 0);
	assert_int_equal(thinp_sm_extend(sm, 0), 0);
	expect_answers(sm, 0);
	assert_int_equal(thinp_sm_extend(sm, 900), 0);
	expect_answers(sm, 900);
	tp_sm_abort(sm);
	expect_answers(sm, 0);
	tp_sm_close(sm);
	sm_fixture_free(f);
}

/* --- SMM-13 --- */

struct meddling {
	struct sm_fixture *f;
	uint64_t mine, nr_tried;
};

static void meddle_with(struct meddling *m, struct thinp_sm *sm, uint64_t nr_blocks)
{
	uint64_t block = 4711;

	assert_int_equal(thinp_sm_inc(sm, m->mine, 1), THINP_EINVAL);
	assert_int_equal(thinp_sm_dec(sm, m->mine, 1), THINP_EINVAL);
	assert_int_equal(thinp_sm_take(sm, 1, &block, NULL), THINP_EINVAL);
	assert_int_equal(thinp_sm_extend(sm, nr_blocks + 1), THINP_EINVAL);
	expect_detail(THINP_EINVAL);
	assert_int_equal(block, 4711);
	m->nr_tried++;
}

/* Only a test may do that. */
static void meddle(void *ctx, const struct thinp_sm *sm, uint32_t event, const struct thinp_op *op, uint32_t depth)
{
	struct meddling *m = ctx;

	(void)sm;
	(void)op;
	if (!depth || event != THINP_OP_QUEUED)
		return;
	meddle_with(m, m->f->meta.sm, 2000);
	meddle_with(m, m->f->data.sm, 200);
}

static void SMM_13_nothing_is_changed_from_outside_while_counts_are_recorded(void **state)
{
	struct meddling m = {0};

	(void)state;
	m.f = begin(NULL, 340, &m.mine);
	assert_int_equal(sm_dec(&m.f->meta, m.mine, 200), 0);
	assert_int_equal(sm_inc(&m.f->data, 0, 100), 0);
	thinp_sm_set_trace(m.f->meta.sm, meddle, &m);
	assert_int_equal(tp_sm_record(m.f->data.sm, m.f->tm), 0);
	meddle_with(&m, m.f->meta.sm, 2000); /* between two maps, too */
	assert_int_equal(sm_commit(m.f), 0);
	assert_true(m.nr_tried > 10);
	thinp_sm_set_trace(m.f->meta.sm, NULL, NULL);
	assert_int_equal(sm_inc(&m.f->meta, m.mine, 1), 0);
	assert_int_equal(sm_extend(m.f, &m.f->data, 201), 0);
	assert_int_equal(sm_commit(m.f), 0);
	sm_fixture_free(m.f);
}

/* --- SMM-15 --- */

static const size_t index_header = 16; /* bytes before the first entry */

/* Bytes that others have left behind the entries in use are passed over, and not written again. */
static void SMM_15_stale_bytes_behind_the_index_are_read_over_and_not_written(void **state)
{
	struct sm_fixture *f = sm_fixture_new(SM_PER_BITMAP + 5, 200, 40000, NULL, false);
	const size_t used = index_header + 2 * TP_INDEX_ENTRY_SIZE;
	uint8_t *block = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	thinp_block_t index = f->meta.root.bitmap_root;
	uint64_t first;

	(void)state;
	assert_int_equal(thinp_io_read(f->memory, index, 1, block), 0);
	memset(block + used, 0xa5, THINP_BLOCK_SIZE - used);
	tp_block_seal(block, index, thinp_block_type_index());
	assert_int_equal(thinp_io_write(f->memory, index, 1, block), 0);
	sm_reopen(f);
	assert_int_equal(sm_take(f, &f->meta, 100, &first), 0);
	assert_int_equal(sm_commit_unchecked(f), 0);
	sm_check(f);
	assert_int_not_equal(f->meta.root.bitmap_root, index);
	assert_int_equal(thinp_io_read(f->memory, f->meta.root.bitmap_root, 1, block), 0);
	for (size_t i = used; i < THINP_BLOCK_SIZE; i++)
		assert_int_equal(block[i], 0);
	/* a map that grows does not take them for its new entries */
	assert_int_equal(sm_extend(f, &f->meta, 2 * SM_PER_BITMAP + 7), 0);
	assert_int_equal(sm_commit(f), 0);
	free(block);
	sm_fixture_free(f);
}

/* --- SMD-03, SMD-04 --- */

static void SMD_03_a_data_block_that_was_freed_is_not_given_again_before_the_commit(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 200, 1000, NULL, false);
	uint64_t block, id;

	(void)state;
	assert_int_equal(sm_take(f, &f->data, 200, &block), 0);
	assert_int_equal(sm_commit(f), 0);
	for (int has_failed = 0; has_failed < 2; has_failed++) {
		assert_int_equal(sm_dec(&f->data, 50, 10), 0);
		f->data.sm->cursor = 50;
		assert_int_equal(thinp_sm_take(f->data.sm, 1, &block, NULL), THINP_ENOSPC);
		if (!has_failed) { /* a commit that fails gives nothing free */
			assert_int_equal(thinp_fault_fail_nth(f->fault, THINP_IO_WRITE, 1, 0, &id), 0);
			assert_int_equal(sm_commit(f), THINP_EIO);
			thinp_fault_clear(f->fault);
			sm_abort(f);
			sm_check(f);
			assert_int_equal(thinp_sm_take(f->data.sm, 1, &block, NULL), THINP_ENOSPC);
		}
	}
	assert_int_equal(sm_commit(f), 0);
	assert_int_equal(sm_take(f, &f->data, 10, &block), 0);
	assert_int_equal(block, 50);
	sm_fixture_free(f);
}

static void SMD_04_each_map_has_its_own_root_in_the_superblock(void **state)
{
	struct sm_fixture *f = sm_fixture_new(1000, 700, 1000, NULL, false);
	struct tp_thin_superblock sb = {.metadata_nr_blocks = 1000}, read;
	uint8_t *block = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);

	(void)state;
	sm_raise(&f->meta, 500, 3);
	sm_raise(&f->data, 600, 5);
	sm_raise(&f->data, 601, 1);
	assert_int_equal(sm_commit(f), 0);
	memset(block, 0, THINP_BLOCK_SIZE);
	tp_sm_get_root(f->meta.sm, &sb.metadata_sm);
	tp_sm_get_root(f->data.sm, &sb.data_sm);
	tp_thin_superblock_pack(&sb, block);
	tp_thin_superblock_unpack(block, &read);
	assert_memory_equal(&read.metadata_sm, &f->meta.root, sizeof(read.metadata_sm));
	assert_memory_equal(&read.data_sm, &f->data.root, sizeof(read.data_sm));
	assert_int_equal(read.metadata_sm.nr_blocks, 1000);
	assert_int_equal(read.data_sm.nr_blocks, 700);
	assert_int_equal(read.data_sm.nr_allocated, 2);
	assert_int_not_equal(read.metadata_sm.bitmap_root, read.data_sm.bitmap_root);
	assert_int_not_equal(read.metadata_sm.ref_count_root, read.data_sm.ref_count_root);
	f->meta.root = read.metadata_sm;
	f->data.root = read.data_sm;
	sm_reopen(f);
	expect_count(&f->meta, 500, 3);
	sm_expect_counts(&f->data);
	free(block);
	sm_fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(SM_02_a_bitmap_that_cannot_be_changed_is_not_left_locked),
		cmocka_unit_test(SMM_02_an_operation_counts_once_at_every_moment_of_recording),
		cmocka_unit_test(SMM_06_a_take_that_fails_gives_no_block_and_tells_nobody_of_a_threshold),
		cmocka_unit_test(TM_09_SMM_09_SMM_14_an_operation_that_cannot_be_taken_out_fails_the_commit),
		cmocka_unit_test(SMM_11_what_an_operation_frees_is_not_used_by_what_it_causes),
		cmocka_unit_test(SMM_12_a_map_that_is_not_made_yet_answers_every_question),
		cmocka_unit_test(SMM_13_nothing_is_changed_from_outside_while_counts_are_recorded),
		cmocka_unit_test(SMM_15_stale_bytes_behind_the_index_are_read_over_and_not_written),
		cmocka_unit_test(SMD_03_a_data_block_that_was_freed_is_not_given_again_before_the_commit),
		cmocka_unit_test(SMD_04_each_map_has_its_own_root_in_the_superblock),
	};

	return cmocka_run_group_tests_name("space_map/history", tests, NULL, NULL);
}
