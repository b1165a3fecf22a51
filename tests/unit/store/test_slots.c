/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/store/test_slots.c - two slots: which commit is opened, and that the one before the last stays whole.
 */
#include "support/store_world.h"

#include "base/bytes.h"
#include "format/kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/base/random.h"

enum { NR_BLOCKS = 260, COMPAT_RO = 60, INCOMPAT = 64 };

static struct store_world world, *const w = &world;
static struct store_model before; /* the commit before the last */
static uint8_t *block;

static int setup(void **state)
{
	(void)state;
	block = aligned_alloc(THINP_BLOCK_SIZE, THINP_BLOCK_SIZE);
	assert_non_null(block);
	store_world_begin(w, NR_BLOCKS, NULL, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_world_end(w);
	free(block);
	return 0;
}

static void commit_some(uint64_t first, uint64_t nr)
{
	before = w->committed;
	store_world_commit_some(w, first, nr);
}

static thinp_block_t newest_slot(void)
{
	return store_world_info(w->store).commit % 2;
}

static int try_open(uint32_t flags)
{
	struct thinp_store *store = NULL;
	int r = store_world_open_on(w, w->io, flags, &store);

	thinp_store_close(store);
	return r;
}

static void close_store(void)
{
	thinp_store_close(w->store);
	w->store = NULL;
}

/* --- choosing --- */

static struct thinp_log_record told;

static void note_record(void *ctx, const struct thinp_log_record *record)
{
	(void)ctx;
	told = *record;
}

static void COW_01_a_rotten_newest_slot_leads_to_the_commit_before(void **state)
{
	struct thinp_error_info info = {.size = sizeof(info)}, earlier = info;

	(void)state;
	w->opts.log = note_record;
	commit_some(0, 200);
	for (int i = 0; i < 4; i++) {
		thinp_block_t slot;

		commit_some((uint64_t)i * 150, 200);
		slot = newest_slot();
		close_store();
		store_world_rot(w, slot);
		memset(&told, 0, sizeof(told));
		thinp_error_last(&earlier);
		assert_int_equal(store_world_open_on(w, w->io, 0, &w->store), 0);
		thinp_error_last(&info);
		assert_string_equal(info.message, earlier.message);
		assert_int_equal(told.code, THINP_ECORRUPT);
		assert_int_equal(told.block, slot);
		assert_int_equal(store_world_info(w->store).fell_back, 1);
		w->committed = before;
		store_world_check(w->store, &w->committed);
		commit_some(700, 50);
		store_world_check(w->store, &w->committed);
		store_world_reopen(w);
		assert_int_equal(store_world_info(w->store).fell_back, 0);
		store_world_check(w->store, &w->committed);
	}
}

static void COW_01_a_torn_newest_slot_leads_to_the_commit_before(void **state)
{
	struct thinp_fault_rule rule = {.size = sizeof(rule),
					.kinds = THINP_FAULT_ON_WRITE,
					.action = THINP_FAULT_TEAR,
					.begin = 0,
					.end = 2,
					.nr_sectors = 1};

	(void)state;
	commit_some(0, 200);
	commit_some(100, 200);
	assert_int_equal(thinp_fault_add(w->fault, &rule, NULL), 0);
	before = w->committed;
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 300, 300), 0);
	assert_int_equal(thinp_store_commit(w->store), 0);
	store_world_reopen(w);
	assert_int_equal(store_world_info(w->store).fell_back, 1);
	store_world_check(w->store, &before);
}

static void a_slot_that_was_emptied_is_told_of(void **state)
{
	(void)state;
	commit_some(0, 200);
	commit_some(100, 200);
	memset(block, 0, THINP_BLOCK_SIZE);
	store_world_poke(w, newest_slot(), block);
	w->committed = before;
	store_world_reopen(w);
	assert_int_equal(store_world_info(w->store).fell_back, 1);
	store_world_check(w->store, &w->committed);
}

static void fail_reads_of(thinp_block_t place)
{
	const struct thinp_fault_rule rule = {.size = sizeof(rule),
					      .kinds = THINP_FAULT_ON_READ,
					      .action = THINP_FAULT_FAIL,
					      .begin = place,
					      .end = place + 1,
					      .times = THINP_FAULT_ALWAYS};

	assert_int_equal(thinp_fault_add(w->fault, &rule, NULL), 0);
}

static void expect_shown(const struct store_model *model)
{
	struct thinp_error_info info = {.size = sizeof(info)}, earlier = info;
	struct thinp_store *store;
	struct thinp_view *view;

	memset(&told, 0, sizeof(told));
	thinp_error_last(&earlier);
	assert_int_equal(store_world_open_on(w, w->io, THINP_STORE_READ_ONLY, &store), 0);
	thinp_error_last(&info);
	assert_string_equal(info.message, earlier.message);
	assert_int_equal(store_world_info(store).fell_back, 1);
	assert_int_equal(thinp_view_open(store, &view), 0);
	assert_int_equal(store_world_read_view(view, model), 0);
	thinp_view_close(view);
	thinp_store_close(store);
}

/* It may hold the last commit, which the next one would overwrite. */
static void COW_02_a_slot_that_cannot_be_read_keeps_writers_out(void **state)
{
	struct store_model last;
	uint64_t nr_entries;

	(void)state;
	w->opts.log = note_record;
	commit_some(0, 200);
	commit_some(100, 200);
	last = w->committed;
	for (thinp_block_t slot = 0; slot < 2; slot++) {
		bool is_newest = slot == newest_slot();

		close_store();
		nr_entries = thinp_record_nr_entries(w->record);
		fail_reads_of(slot);
		assert_int_equal(try_open(0), THINP_EIO);
		assert_int_equal(try_open(THINP_STORE_CREATE), THINP_EIO);
		expect_shown(is_newest ? &before : &last);
		assert_int_equal(told.code, THINP_EIO);
		assert_int_equal(told.block, slot);
		assert_int_equal(thinp_record_nr_entries(w->record), nr_entries);
		thinp_fault_clear(w->fault);
		store_world_reopen(w); /* and nothing is lost */
		assert_int_equal(store_world_info(w->store).fell_back, 0);
		store_world_check(w->store, &last);
	}
}

static void what_is_shown_instead_can_be_copied(void **state)
{
	const struct thinp_copy_root root = {
		.index = 0, .kind = THINP_ROOT_TREE, .nr_levels = 1, .value_size = STORE_VALUE_SIZE};
	const struct thinp_copy_opts copy_opts = {.size = sizeof(copy_opts), .roots = &root, .nr_roots = 1};
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = NR_BLOCKS};
	struct thinp_store *store;
	struct thinp_view *view;
	struct thinp_io *io;

	(void)state;
	commit_some(0, 200);
	commit_some(100, 200);
	fail_reads_of(newest_slot());
	close_store();
	assert_int_equal(thinp_io_open_memory(&opts, &io), 0);
	assert_int_equal(store_world_open_on(w, w->io, THINP_STORE_READ_ONLY, &store), 0);
	assert_int_equal(thinp_view_open(store, &view), 0);
	assert_int_equal(thinp_view_copy(view, io, &copy_opts), 0);
	thinp_view_close(view);
	thinp_store_close(store);
	assert_int_equal(store_world_open_on(w, io, 0, &store), 0);
	store_world_check(store, &before);
	thinp_store_close(store);
	thinp_io_close(io);
}

static void COW_02_with_one_slot_unreadable_and_the_other_not_sound_opening_fails(void **state)
{
	(void)state;
	commit_some(0, 200);
	close_store();
	fail_reads_of(0);
	store_world_rot(w, 1);
	assert_int_equal(try_open(0), THINP_EIO);
	assert_int_equal(try_open(THINP_STORE_READ_ONLY), THINP_EIO);
	memset(block, 0, THINP_BLOCK_SIZE);
	store_world_poke(w, 1, block);
	assert_int_equal(try_open(THINP_STORE_CREATE), THINP_EIO);
	assert_int_equal(try_open(THINP_STORE_READ_ONLY), THINP_EIO);
}

static void COW_02_without_a_sound_slot_opening_fails(void **state)
{
	uint64_t nr;

	(void)state;
	commit_some(0, 200);
	close_store();
	store_world_rot(w, 0);
	store_world_rot(w, 1);
	nr = thinp_record_nr_entries(w->record);
	assert_int_equal(try_open(0), THINP_ECORRUPT);
	assert_int_equal(try_open(THINP_STORE_READ_ONLY), THINP_ECORRUPT);
	assert_int_equal(try_open(THINP_STORE_CREATE), THINP_ECORRUPT);
	assert_int_equal(thinp_record_nr_entries(w->record), nr);
}

static void set_flags(thinp_block_t slot, size_t place, uint32_t flags)
{
	store_world_peek(w, slot, block);
	tp_store_le32(block + place, flags);
	tp_block_seal(block, slot, tp_store_superblock_type());
	store_world_poke(w, slot, block);
}

static void a_commit_with_unknown_features_is_not_passed_over(void **state)
{
	thinp_block_t slot;

	(void)state;
	commit_some(0, 200);
	commit_some(100, 200);
	slot = newest_slot();
	close_store();
	set_flags(slot, INCOMPAT, 1);
	assert_int_equal(try_open(0), THINP_ENOTSUP);
	assert_int_equal(try_open(THINP_STORE_READ_ONLY), THINP_ENOTSUP);
	store_world_rot(w, 1 - slot);
	assert_int_equal(try_open(0), THINP_ENOTSUP);
	set_flags(slot, INCOMPAT, 0);
	assert_int_equal(try_open(0), 0);
}

static void features_that_readers_may_ignore_keep_writers_out(void **state)
{
	(void)state;
	commit_some(0, 200);
	set_flags(newest_slot(), COMPAT_RO, 1);
	close_store();
	assert_int_equal(try_open(0), THINP_ENOTSUP);
	assert_int_equal(try_open(THINP_STORE_READ_ONLY), 0);
}

/* --- somebody else --- */

static void BM_06_a_commit_of_somebody_else_is_not_written_over(void **state)
{
	struct store_world other;
	uint64_t nr;

	(void)state;
	commit_some(0, 200);
	for (int nr_theirs = 1; nr_theirs <= 2; nr_theirs++) { /* the slot of ours, or the other one, too */
		struct store_model ours = w->committed;

		other = *w;
		assert_int_equal(store_world_open_on(&other, w->io, 0, &other.store), 0);
		for (int i = 0; i < nr_theirs; i++) {
			store_world_start(&other);
			assert_int_equal(store_world_insert(&other, 300, 50), 0);
			store_world_commit(&other);
		}
		thinp_store_close(other.store);
		store_world_start(w);
		assert_int_equal(store_world_insert(w, 100, 50), 0);
		nr = thinp_record_nr_entries(w->record);
		assert_int_equal(thinp_store_commit(w->store), THINP_ESTALE);
		assert_int_equal(thinp_record_nr_entries(w->record), nr);
		assert_int_equal(thinp_store_begin(w->store), THINP_ESTALE);
		assert_int_equal(thinp_store_commit(w->store), THINP_EINVAL);
		assert_int_equal(thinp_store_abort(w->store), 0);
		assert_int_equal(store_world_info(w->store).commit, ours.number + 1);
		w->committed = other.committed;
		store_world_reopen(w);
		store_world_check(w->store, &w->committed);
	}
}

static void BM_06_also_when_changes_are_written_early(void **state)
{
	struct store_world other;
	int r = 0;

	(void)state;
	w->opts.cache_blocks = 16;
	commit_some(0, 200);
	store_world_reopen(w);
	other = *w;
	assert_int_equal(store_world_open_on(&other, w->io, 0, &other.store), 0);
	store_world_start(&other);
	assert_int_equal(store_world_insert(&other, 300, 200), 0);
	store_world_commit(&other);
	thinp_store_close(other.store);
	store_world_start(w);
	for (uint64_t key = 0; !r && key < 900; key += 100)
		r = store_world_insert(w, key, 100);
	assert_int_equal(r, THINP_ESTALE);
	assert_int_equal(thinp_store_commit(w->store), THINP_EMUSTABORT);
	assert_int_equal(thinp_store_abort(w->store), 0);
	assert_int_equal(thinp_store_begin(w->store), THINP_ESTALE);
	w->committed = other.committed;
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

/* --- the commit before the last --- */

static bool used_before[NR_BLOCKS];

/* PREVCHECK of the defect history, over the log from an entry on. */
static void expect_untouched(uint64_t entry, const bool *is_used)
{
	for (; entry < thinp_record_nr_entries(w->record); entry++) {
		struct thinp_record_entry e = {.size = sizeof(e)};

		assert_int_equal(thinp_record_get_entry(w->record, entry, &e), 0);
		for (uint64_t i = 0; e.kind == THINP_RECORD_WRITE && i < e.nr_blocks; i++)
			assert_false(is_used[e.block + i]);
	}
}

static void fall_back(void)
{
	thinp_block_t slot = newest_slot();

	close_store();
	store_world_rot(w, slot);
	w->committed = before;
	store_world_reopen(w);
	assert_int_equal(store_world_info(w->store).fell_back, 1);
	store_world_check(w->store, &w->committed);
}

static void the_commit_before_the_last_stays_whole_while_the_store_is_open(void **state)
{
	uint64_t entry;

	(void)state;
	w->opts.cache_blocks = 16; /* changes are written early */
	commit_some(0, 500);
	store_world_reopen(w);
	commit_some(100, 500);
	store_world_list_used(w->store, used_before, NR_BLOCKS);
	commit_some(50, 200);
	entry = thinp_record_nr_entries(w->record);
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 0, 600), 0);
	assert_true(thinp_record_nr_entries(w->record) > entry);
	expect_untouched(entry, used_before);
	fall_back();
}

static void the_commit_before_the_last_stays_whole_when_the_store_is_opened_again(void **state)
{
	uint64_t entry, nr_blocks = NR_BLOCKS;

	(void)state;
	w->opts.cache_blocks = 16;
	commit_some(0, 500);
	for (int i = 0; i < 2; i++) {
		commit_some(100, 500);
		store_world_list_used(w->store, used_before, nr_blocks);
		commit_some(50, 400);
		store_world_reopen(w);
		store_world_start(w);
		entry = thinp_record_nr_entries(w->record);
		assert_int_equal(store_world_insert(w, 0, 700), 0);
		assert_int_equal(store_world_insert(w, 0, 700), 0);
		assert_true(thinp_record_nr_entries(w->record) > entry);
		/* the first that is written is the last commit's record */
		expect_untouched(entry, used_before);
		if (i)
			break;
		store_world_commit(w);
		store_world_check(w->store, &w->committed);
	}
	fall_back();
}

/* Until the store fills up: not one of them is handed out, and after the commit all are. */
static void what_the_commit_before_needs_comes_free_with_the_next(void **state)
{
	uint64_t held, all;

	(void)state;
	commit_some(0, 500);
	store_world_start(w);
	assert_int_equal(store_world_drop_tree(w), 0);
	store_world_commit(w);
	held = store_world_info(w->store).nr_available;
	store_world_reopen(w);
	assert_int_equal(store_world_info(w->store).nr_available, held);
	commit_some(0, 1);
	all = store_world_info(w->store).nr_available;
	assert_true(all > held + 20);
	store_world_reopen(w);
	commit_some(1, 1);
	store_world_check(w->store, &w->committed);
	store_world_start(w); /* and an abort forgets nothing of it */
	assert_int_equal(store_world_insert(w, 10, 100), 0);
	store_world_abort(w);
	store_world_reopen(w);
	held = store_world_info(w->store).nr_available;
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 10, 100), 0);
	store_world_abort(w);
	assert_int_equal(store_world_info(w->store).nr_available, held);
	store_world_check(w->store, &w->committed);
}

static void rot_index(thinp_block_t index)
{
	store_world_rot(w, index);
}

/* Nothing tells any more what the commit before the last needs. */
static void lose_commit_before(void (*lose)(thinp_block_t index))
{
	thinp_block_t index;

	w->opts.log = note_record;
	commit_some(0, 100);
	index = w->store->last->maps.metadata.bitmap_root;
	commit_some(0, 500);
	close_store();
	lose(index);
	memset(&told, 0, sizeof(told));
	store_world_reopen(w);
	thinp_fault_clear(w->fault);
	assert_int_equal(told.code, lose == rot_index ? THINP_ECORRUPT : THINP_EIO);
	assert_int_equal(told.block, index);
	assert_int_equal(store_world_info(w->store).fell_back, 0);
	store_world_check(w->store, &w->committed);
}

static void a_commit_before_the_last_that_is_lost_does_not_stand_in_the_way(void **state)
{
	void (*const ways[])(thinp_block_t) = {rot_index, fail_reads_of};

	(void)state;
	for (int i = 0; i < 2; i++) {
		lose_commit_before(ways[i]);
		commit_some(0, 600);
		store_world_check(w->store, &w->committed);
		store_world_reopen(w);
		assert_int_equal(store_world_info(w->store).fell_back, 0);
		store_world_check(w->store, &w->committed);
	}
}

/* Its blocks are used again. */
static void COW_01_a_commit_before_the_last_that_is_lost_is_not_fallen_back_to(void **state)
{
	thinp_block_t slot;

	(void)state;
	w->opts.cache_blocks = 16;
	lose_commit_before(fail_reads_of);
	slot = newest_slot();
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 0, 600), 0); /* written early */
	close_store();
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
	close_store();
	store_world_rot(w, slot);
	assert_int_equal(try_open(0), THINP_ECORRUPT);
	assert_int_equal(try_open(THINP_STORE_READ_ONLY), THINP_ECORRUPT);
}

static int reopen_without(size_t nth)
{
	int r;

	alloc_counting_fail(&w->alloc, nth);
	r = store_world_open_on(w, w->io, 0, &w->store);
	return r;
}

static void BM_12_opening_without_memory_fails_whole(void **state)
{
	bool is_over = false;

	(void)state;
	commit_some(0, 100);
	commit_some(50, 100);
	for (size_t nth = 1; !is_over; nth++) {
		int r;

		close_store();
		r = reopen_without(nth);
		is_over = !alloc_counting_has_failed(&w->alloc);
		alloc_counting_fail(&w->alloc, 0);
		if (!r) { /* the cache may do with less */
			store_world_check(w->store, &w->committed);
			continue;
		}
		assert_int_equal(r, THINP_ENOMEM);
		assert_null(w->store);
	}
	store_world_check(w->store, &w->committed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(COW_01_a_rotten_newest_slot_leads_to_the_commit_before),
		TEST(COW_01_a_torn_newest_slot_leads_to_the_commit_before),
		TEST(a_slot_that_was_emptied_is_told_of),
		TEST(COW_02_a_slot_that_cannot_be_read_keeps_writers_out),
		TEST(what_is_shown_instead_can_be_copied),
		TEST(COW_02_with_one_slot_unreadable_and_the_other_not_sound_opening_fails),
		TEST(COW_02_without_a_sound_slot_opening_fails),
		TEST(a_commit_with_unknown_features_is_not_passed_over),
		TEST(features_that_readers_may_ignore_keep_writers_out),
		TEST(BM_06_a_commit_of_somebody_else_is_not_written_over),
		TEST(BM_06_also_when_changes_are_written_early),
		TEST(the_commit_before_the_last_stays_whole_while_the_store_is_open),
		TEST(the_commit_before_the_last_stays_whole_when_the_store_is_opened_again),
		TEST(what_the_commit_before_needs_comes_free_with_the_next),
		TEST(a_commit_before_the_last_that_is_lost_does_not_stand_in_the_way),
		TEST(COW_01_a_commit_before_the_last_that_is_lost_is_not_fallen_back_to),
		TEST(BM_12_opening_without_memory_fails_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
