/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/store/test_store.c - transactions of a store: what each call does in each state, and what is on the device then.
 */
#include "support/store_world.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { NR_BLOCKS = 1000 };

static struct store_world world, *const w = &world;

static int setup(void **state)
{
	*state = w;
	store_world_begin(w, NR_BLOCKS, NULL, NULL);
	return 0;
}

static int open_with(uint32_t flags, struct thinp_io *io)
{
	struct thinp_store *store = NULL;
	int r = store_world_open_on(w, io, flags, &store);

	if (r)
		assert_null(store);
	thinp_store_close(store);
	return r;
}

/* --- opening --- */

static void a_new_store_is_empty_and_opens_again(void **state)
{
	struct thinp_store_info info = store_world_info(w->store);
	uint8_t user[THINP_STORE_USER_SIZE], zeros[THINP_STORE_USER_SIZE] = {0};
	uint8_t uuid[16];
	thinp_block_t root;

	(void)state;
	assert_int_equal(info.commit, 1);
	assert_int_equal(info.oldest_commit, 1);
	assert_int_equal(info.nr_blocks, NR_BLOCKS);
	assert_true(info.nr_available > NR_BLOCKS / 2 && info.nr_available < NR_BLOCKS);
	assert_int_equal(info.nr_views + info.nr_held_blocks + info.fell_back + info.is_read_only, 0);
	assert_memory_not_equal(info.uuid, zeros, 16);
	for (uint32_t i = 0; i < THINP_STORE_NR_ROOTS; i++) {
		assert_int_equal(thinp_store_get_root(w->store, i, &root), 0);
		assert_int_equal(root, 0);
	}
	for (uint32_t i = 0; i <= THINP_STORE_NR_MAPS; i++)
		assert_null(thinp_store_map(w->store, i));
	thinp_store_get_user(w->store, user);
	assert_memory_equal(user, zeros, sizeof(user));
	memcpy(uuid, info.uuid, sizeof(uuid));
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
	info = store_world_info(w->store);
	assert_memory_equal(info.uuid, uuid, sizeof(uuid));
	assert_int_equal(info.commit, 1);
}

static void nothing_is_made_that_was_not_asked_for(void **state)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = NR_BLOCKS};
	struct thinp_io *zeros, *tiny;

	(void)state;
	assert_int_equal(thinp_io_open_memory(&opts, &zeros), 0);
	opts.nr_blocks = 1;
	assert_int_equal(thinp_io_open_memory(&opts, &tiny), 0);
	assert_int_equal(open_with(0, zeros), THINP_EUNFORMATTED);
	assert_int_equal(open_with(THINP_STORE_READ_ONLY, zeros), THINP_EUNFORMATTED);
	assert_int_equal(open_with(0, tiny), THINP_EUNFORMATTED);
	assert_int_equal(open_with(THINP_STORE_CREATE, tiny), THINP_ENOSPC);
	assert_int_equal(open_with(THINP_STORE_OVERWRITE, tiny), THINP_ENOSPC);
	assert_int_equal(open_with(THINP_STORE_READ_ONLY | THINP_STORE_CREATE, zeros), THINP_EINVAL);
	assert_int_equal(open_with(THINP_STORE_READ_ONLY | THINP_STORE_OVERWRITE, zeros), THINP_EINVAL);
	assert_int_equal(open_with(1u << 31, zeros), THINP_ENOTSUP);
	w->opts.nr_blocks = NR_BLOCKS + 1;
	assert_int_equal(open_with(THINP_STORE_CREATE, zeros), THINP_ENOSPC);
	w->opts.nr_blocks = 3;
	assert_int_equal(open_with(THINP_STORE_CREATE, zeros), THINP_ENOSPC);
	w->opts.nr_blocks = 500;
	assert_int_equal(open_with(THINP_STORE_CREATE, zeros), 0);
	w->opts.nr_blocks = 0;
	assert_int_equal(open_with(THINP_STORE_CREATE, zeros), 0);
	thinp_io_close(tiny);
	thinp_io_close(zeros);
}

static void create_leaves_a_store_alone_and_overwrite_does_not(void **state)
{
	struct thinp_store_info before = store_world_info(w->store);

	(void)state;
	store_world_commit_some(w, 0, 100);
	w->opts.flags = THINP_STORE_CREATE;
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
	w->opts.flags = THINP_STORE_OVERWRITE;
	memset(&w->committed, 0, sizeof(w->committed));
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
	assert_int_equal(store_world_info(w->store).commit, 1);
	assert_memory_not_equal(store_world_info(w->store).uuid, before.uuid, sizeof(before.uuid));
	w->opts.flags = 0;
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

static void BM_13_read_only_writes_nothing(void **state)
{
	uint8_t user[THINP_STORE_USER_SIZE] = {0};
	uint64_t nr_writes;

	(void)state;
	store_world_commit_some(w, 0, 100);
	thinp_store_close(w->store);
	nr_writes = thinp_record_nr_entries(w->record);
	assert_int_equal(store_world_open_on(w, w->io, THINP_STORE_READ_ONLY, &w->store), 0);
	assert_int_equal(store_world_info(w->store).is_read_only, 1);
	assert_int_equal(store_world_info(w->store).commit, 2);
	assert_int_equal(store_world_info(w->store).nr_blocks, NR_BLOCKS);
	assert_int_equal(thinp_store_begin(w->store), THINP_EROFS);
	assert_int_equal(thinp_store_commit(w->store), THINP_EINVAL);
	assert_int_equal(thinp_store_abort(w->store), 0);
	assert_int_equal(thinp_store_set_root(w->store, 0, 5), THINP_EINVAL);
	assert_int_equal(thinp_store_set_user(w->store, user), THINP_EINVAL);
	assert_int_equal(thinp_store_add_map(w->store, 0, 5), THINP_EINVAL);
	assert_int_equal(thinp_store_grow(w->store, NR_BLOCKS + 1), THINP_EINVAL);
	assert_null(thinp_store_tm(w->store));
	assert_null(thinp_store_map(w->store, 0));
	assert_null(thinp_store_metadata_map(w->store));
	thinp_store_close(w->store);
	w->store = NULL;
	assert_int_equal(thinp_record_nr_entries(w->record), nr_writes);
}

static void a_read_only_device_is_opened_read_only(void **state)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_READ_ONLY};
	struct thinp_io *io;

	(void)state;
	assert_int_equal(thinp_fault_open(w->fault, &opts, &io), 0);
	assert_int_equal(open_with(0, io), THINP_EROFS);
	assert_int_equal(open_with(THINP_STORE_READ_ONLY, io), 0);
	thinp_io_close(io);
}

static void BM_14_a_device_too_small_for_its_store_is_only_read(void **state)
{
	(void)state;
	store_world_commit_some(w, 0, 10);
	thinp_store_close(w->store);
	w->store = NULL;
	assert_int_equal(thinp_io_resize(w->io, NR_BLOCKS - 1), 0);
	assert_int_equal(open_with(0, w->io), THINP_ECORRUPT);
	assert_int_equal(open_with(THINP_STORE_READ_ONLY, w->io), 0);
}

/* --- states --- */

static void calls_are_refused_in_the_wrong_state(void **state)
{
	uint8_t user[THINP_STORE_USER_SIZE] = {1};
	thinp_block_t root = 77;

	(void)state;
	assert_int_equal(thinp_store_commit(w->store), THINP_EINVAL);
	assert_int_equal(thinp_store_abort(w->store), 0);
	assert_int_equal(thinp_store_set_root(w->store, 0, 5), THINP_EINVAL);
	assert_int_equal(thinp_store_set_user(w->store, user), THINP_EINVAL);
	assert_int_equal(thinp_store_add_map(w->store, 0, 5), THINP_EINVAL);
	assert_int_equal(thinp_store_grow(w->store, NR_BLOCKS + 1), THINP_EINVAL);
	assert_int_equal(thinp_store_begin(w->store), 0);
	assert_int_equal(thinp_store_begin(w->store), THINP_EBUSY);
	assert_int_equal(thinp_store_get_root(w->store, THINP_STORE_NR_ROOTS, &root), THINP_EINVAL);
	assert_int_equal(root, 77);
	assert_int_equal(thinp_store_set_root(w->store, THINP_STORE_NR_ROOTS, 5), THINP_EINVAL);
	assert_int_equal(thinp_store_set_root(w->store, 0, 1), THINP_EINVAL);
	assert_int_equal(thinp_store_set_root(w->store, 0, NR_BLOCKS), THINP_EINVAL);
	assert_int_equal(thinp_store_set_root(w->store, 0, NR_BLOCKS - 1), 0);
	assert_int_equal(thinp_store_abort(w->store), 0);
	thinp_store_close(NULL);
}

static void TM_04_without_a_transaction_nothing_can_be_changed(void **state)
{
	struct thinp_tm *tm = thinp_store_tm(w->store);
	thinp_block_t root;

	(void)state;
	assert_int_equal(thinp_btree_create(tm, &store_world_tree, &root), THINP_EMUSTABORT);
	store_world_commit_some(w, 0, 50);
	assert_int_equal(store_world_insert(w, 0, 1), THINP_EMUSTABORT);
	w->now = w->committed;
	store_world_start(w);
	store_world_abort(w);
	assert_int_equal(store_world_insert(w, 0, 1), THINP_EMUSTABORT);
	w->now = w->committed;
	store_world_commit_some(w, 40, 50);
	store_world_check(w->store, &w->committed);
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

static void TM_07_a_commit_without_changes_writes_nothing(void **state)
{
	uint8_t user[THINP_STORE_USER_SIZE];
	thinp_block_t root;
	uint64_t nr;

	(void)state;
	store_world_commit_some(w, 0, 100);
	nr = thinp_record_nr_entries(w->record);
	for (int i = 0; i < 3; i++) { /* the second is that of a store that has been opened again */
		if (i == 1)
			store_world_reopen(w);
		assert_int_equal(thinp_store_begin(w->store), 0);
		assert_int_equal(thinp_store_get_root(w->store, 0, &root), 0);
		assert_int_equal(thinp_store_set_root(w->store, 0, root), 0);
		thinp_store_get_user(w->store, user);
		assert_int_equal(thinp_store_set_user(w->store, user), 0);
		assert_int_equal(thinp_store_commit(w->store), 0);
		assert_int_equal(store_world_info(w->store).commit, 2);
	}
	assert_int_equal(thinp_record_nr_entries(w->record), nr);
	store_world_commit_some(w, 100, 100);
	assert_int_equal(store_world_info(w->store).commit, 3);
	store_world_check(w->store, &w->committed);
}

/* What recording needs is kept back after such a commit as it was before it. */
static void TM_07_after_a_commit_without_changes_space_is_kept_back(void **state)
{
	struct thinp_buffer *buffer;
	thinp_block_t taken;
	void *data;
	int r = 0;

	(void)state;
	assert_int_equal(thinp_store_begin(w->store), 0);
	assert_int_equal(thinp_store_commit(w->store), 0);
	assert_int_equal(thinp_store_begin(w->store), 0);
	while (!r) {
		r = thinp_tm_new_block(thinp_store_tm(w->store), thinp_block_type_node(), THINP_CAUSE_USER, &taken,
				       &buffer, &data);
		if (!r)
			thinp_tm_unlock(thinp_store_tm(w->store), buffer);
	}
	assert_int_equal(r, THINP_ENOSPC);
	assert_int_equal(thinp_store_commit(w->store), 0);
}

static void the_users_bytes_alone_are_a_change(void **state)
{
	(void)state;
	store_world_start(w);
	store_world_commit(w);
	assert_int_equal(store_world_info(w->store).commit, 2);
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

static void TM_11_an_abort_brings_everything_back(void **state)
{
	(void)state;
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 0, 600), 0);
	assert_int_equal(store_world_snapshot(w), 0);
	store_world_commit(w);
	store_world_start(w);
	assert_int_equal(store_world_add_map(w), 0);
	assert_int_equal(store_world_count_data(w, 3, 50, 1), 0);
	assert_int_equal(store_world_drop_tree(w), 0);
	assert_int_equal(store_world_insert(w, 500, 200), 0);
	store_world_abort(w);
	assert_null(thinp_store_map(w->store, 0));
	store_world_check(w->store, &w->committed);
	store_world_commit_some(w, 600, 300); /* the same blocks, as something else */
	store_world_check(w->store, &w->committed);
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

static void closing_forgets_an_open_transaction(void **state)
{
	(void)state;
	store_world_commit_some(w, 0, 100);
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 100, 100), 0);
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

static void TM_03_roots_are_those_after_recording(void **state)
{
	(void)state;
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 0, 300), 0);
	assert_int_equal(store_world_add_map(w), 0);
	store_world_commit(w);
	for (int i = 0; i < 5; i++) { /* counts only: no root of the user moves */
		store_world_start(w);
		assert_int_equal(store_world_count_data(w, 0, STORE_DATA, 1), 0);
		assert_int_equal(store_world_snapshot(w), 0);
		store_world_commit(w);
		store_world_reopen(w);
		store_world_check(w->store, &w->committed);
	}
}

/* --- failures --- */

static uint64_t break_nth(uint32_t kind, uint64_t nth)
{
	struct thinp_fault_rule rule = {.size = sizeof(rule), .kinds = kind, .action = THINP_FAULT_FAIL, .nth = nth};
	uint64_t id;

	assert_int_equal(thinp_fault_add(w->fault, &rule, &id), 0);
	return id;
}

static bool has_fired(uint64_t id)
{
	uint64_t matched, fired;

	assert_int_equal(thinp_fault_get_counts(w->fault, id, &matched, &fired), 0);
	return fired;
}

/* After a commit that ended so, reading goes on, and nothing else. */
static void expect_end(int code)
{
	struct thinp_store_info info = store_world_info(w->store);
	uint64_t nr = thinp_record_nr_entries(w->record);
	struct thinp_view *view;

	assert_int_equal(thinp_store_begin(w->store), code);
	assert_int_equal(thinp_store_commit(w->store), THINP_EINVAL);
	assert_int_equal(thinp_store_abort(w->store), 0);
	assert_int_equal(store_world_insert(w, 0, 1), THINP_EMUSTABORT);
	assert_int_equal(info.commit, w->store->last->maps.commit);
	store_world_check(w->store, &w->committed);
	assert_int_equal(thinp_view_open(w->store, &view), 0);
	assert_int_equal(store_world_read_view(view, &w->committed), 0);
	thinp_view_close(view);
	assert_int_equal(thinp_record_nr_entries(w->record), nr);
}

static void TM_01_a_write_or_flush_that_fails_before_the_superblock_keeps_the_last_commit(void **state)
{
	uint8_t before[2 * THINP_BLOCK_SIZE] __attribute__((aligned(THINP_BLOCK_SIZE)));
	uint8_t after[2 * THINP_BLOCK_SIZE] __attribute__((aligned(THINP_BLOCK_SIZE)));

	(void)state;
	store_world_commit_some(w, 0, 100);
	for (uint32_t kind = THINP_FAULT_ON_WRITE; kind <= THINP_FAULT_ON_FLUSH; kind *= 4) {
		assert_int_equal(thinp_io_read(w->memory, 0, 2, before), 0);
		store_world_start(w);
		assert_int_equal(store_world_insert(w, 50, 100), 0);
		break_nth(kind, 1);
		assert_int_equal(thinp_store_commit(w->store), THINP_EIO);
		assert_int_equal(thinp_io_read(w->memory, 0, 2, after), 0);
		assert_memory_equal(before, after, sizeof(before));
		assert_int_equal(thinp_store_commit(w->store), THINP_EMUSTABORT);
		assert_int_equal(store_world_insert(w, 50, 1), THINP_EMUSTABORT);
		store_world_abort(w);
		store_world_check(w->store, &w->committed);
		store_world_commit_some(w, 300, 10);
	}
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

static void when_the_superblock_fails_nobody_knows(void **state)
{
	struct thinp_fault_rule rule = {
		.size = sizeof(rule), .kinds = THINP_FAULT_ON_WRITE, .action = THINP_FAULT_FAIL, .begin = 0, .end = 2};

	(void)state;
	store_world_commit_some(w, 0, 100);
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 50, 100), 0);
	assert_int_equal(thinp_fault_add(w->fault, &rule, NULL), 0);
	assert_int_equal(thinp_store_commit(w->store), THINP_EUNKNOWN);
	w->now = w->committed;
	expect_end(THINP_EUNKNOWN);
	store_world_reopen(w); /* it was not written */
	store_world_check(w->store, &w->committed);
}

static void when_the_last_flush_fails_nobody_knows(void **state)
{
	struct store_model next;

	(void)state;
	store_world_commit_some(w, 0, 100);
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 50, 100), 0);
	next = w->now;
	break_nth(THINP_FAULT_ON_FLUSH, 2);
	assert_int_equal(thinp_store_commit(w->store), THINP_EUNKNOWN);
	w->now = w->committed;
	expect_end(THINP_EUNKNOWN);
	w->committed = next; /* here the superblock had been written */
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
	store_world_commit_some(w, 200, 10);
	store_world_check(w->store, &w->committed);
}

static void TM_02_every_failure_of_a_commit_leaves_the_last_one_or_is_unknown(void **state)
{
	static const uint32_t kinds[] = {THINP_FAULT_ON_READ, THINP_FAULT_ON_WRITE, THINP_FAULT_ON_FLUSH};
	bool is_over = false;

	(void)state;
	w->opts.cache_blocks = 64;
	for (size_t k = 0; k < 3; k++, is_over = false) {
		for (uint64_t nth = 1; !is_over; nth++) {
			struct store_model next;
			uint64_t id;
			int r;

			store_world_reopen(w);
			store_world_start(w);
			assert_int_equal(store_world_insert(w, nth * 13 % 900, 100), 0);
			next = w->now;
			id = break_nth(kinds[k], nth);
			r = thinp_store_commit(w->store);
			is_over = !has_fired(id);
			thinp_fault_clear(w->fault);
			assert_int_equal(!r, is_over);
			if (r == THINP_EIO)
				store_world_abort(w);
			else if (r)
				assert_int_equal(r, THINP_EUNKNOWN);
			thinp_store_close(w->store);
			assert_int_equal(store_world_open_on(w, w->io, 0, &w->store), 0);
			if (store_world_info(w->store).commit && w->store->own.user[0] == (uint8_t)next.number &&
			    r != THINP_EIO)
				w->committed = next;
			store_world_check(w->store, &w->committed);
		}
	}
}

static int attempt_commit(void *ctx)
{
	int r;

	(void)ctx;
	r = thinp_store_begin(w->store);
	assert_int_equal(r, 0);
	thinp_store_abort(w->store);
	store_world_start(w);
	r = store_world_insert(w, 0, 200);
	if (!r)
		r = store_world_snapshot(w);
	if (!r)
		r = thinp_store_commit(w->store);
	if (r)
		store_world_abort(w);
	else
		w->committed = w->now;
	return r;
}

static void TM_08_without_memory_changes_and_commits_fail_whole(void **state)
{
	bool is_over = false;

	(void)state;
	for (size_t n = 1; !is_over; n++) {
		int r;

		alloc_counting_fail(&w->alloc, n);
		r = attempt_commit(NULL);
		is_over = !alloc_counting_has_failed(&w->alloc);
		alloc_counting_fail(&w->alloc, 0);
		if (r)
			assert_int_equal(r, THINP_ENOMEM);
		store_world_check(w->store, &w->committed);
		store_world_reopen(w);
		store_world_check(w->store, &w->committed);
	}
}

static int hook_result;
static unsigned int nr_hooks;

static int hook(void *ctx)
{
	assert_ptr_equal(ctx, w);
	nr_hooks++;
	return hook_result;
}

static void a_hook_that_fails_leaves_the_transaction_as_it_was(void **state)
{
	uint64_t nr;

	(void)state;
	w->opts.pre_commit = hook;
	w->opts.pre_commit_ctx = w;
	nr_hooks = 0;
	hook_result = -5;
	store_world_reopen(w);
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 0, 100), 0);
	nr = thinp_record_nr_entries(w->record);
	assert_int_equal(thinp_store_commit(w->store), -5);
	assert_int_equal(thinp_record_nr_entries(w->record), nr);
	assert_int_equal(store_world_insert(w, 100, 100), 0);
	hook_result = 0;
	store_world_commit(w);
	assert_int_equal(nr_hooks, 2);
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

/* A format whose record cannot be read a second time. */
static int unpack_failure;

static int unpack_or_fail(void *ctx, const void *data, struct tp_store_maps *maps)
{
	return unpack_failure ? tp_fail(unpack_failure, 0, "planted") : store_world_one_slot.unpack(ctx, data, maps);
}

static void after_an_abort_that_fails_only_closing_is_left(void **state)
{
	static struct tp_store_format format;

	(void)state;
	store_world_end(w);
	format = store_world_one_slot;
	format.unpack = unpack_or_fail;
	store_world_begin(w, NR_BLOCKS, NULL, &format);
	store_world_start(w);
	unpack_failure = THINP_EIO;
	assert_int_equal(thinp_store_abort(w->store), THINP_EIO);
	unpack_failure = 0;
	assert_int_equal(thinp_store_begin(w->store), THINP_EIO);
	assert_int_equal(thinp_store_commit(w->store), THINP_EINVAL);
	assert_int_equal(store_world_insert(w, 0, 1), THINP_EMUSTABORT);
}

/* --- maps, growth --- */

static void data_maps_belong_to_the_commit(void **state)
{
	(void)state;
	store_world_start(w);
	assert_int_equal(thinp_store_add_map(w->store, THINP_STORE_NR_MAPS, 5), THINP_EINVAL);
	assert_int_equal(thinp_store_add_map(w->store, 1, UINT64_MAX), THINP_ERANGE);
	assert_int_equal(thinp_store_add_map(w->store, 1, 0), THINP_EINVAL);
	assert_null(thinp_store_map(w->store, 1));
	assert_int_equal(store_world_add_map(w), 0);
	assert_int_equal(thinp_store_add_map(w->store, 0, 5), THINP_EINVAL);
	assert_int_equal(thinp_store_add_map(w->store, 3, 40000), 0);
	assert_int_equal(store_world_count_data(w, 10, 20, 1), 0);
	store_world_commit(w);
	store_world_start(w);
	assert_int_equal(store_world_count_data(w, 10, 20, 1), 0);
	store_world_abort(w);
	store_world_reopen(w);
	assert_non_null(thinp_store_map(w->store, 3));
	assert_null(thinp_store_map(w->store, 1));
}

static void growth_belongs_to_the_commit(void **state)
{
	(void)state;
	store_world_commit_some(w, 0, 100);
	store_world_start(w);
	assert_int_equal(thinp_store_grow(w->store, NR_BLOCKS - 1), THINP_EINVAL);
	assert_int_equal(thinp_store_grow(w->store, UINT64_MAX), THINP_ERANGE);
	assert_int_equal(thinp_store_grow(w->store, 2 * NR_BLOCKS), 0);
	assert_int_equal(store_world_info(w->store).nr_blocks, 2 * NR_BLOCKS);
	assert_int_equal(store_world_insert(w, 100, 500), 0);
	store_world_abort(w);
	assert_int_equal(store_world_info(w->store).nr_blocks, NR_BLOCKS);
	store_world_check(w->store, &w->committed);
	store_world_start(w);
	assert_int_equal(thinp_store_grow(w->store, 20 * NR_BLOCKS), 0);
	assert_int_equal(store_world_insert(w, 100, 500), 0);
	store_world_commit(w);
	store_world_check(w->store, &w->committed);
	store_world_reopen(w);
	assert_int_equal(store_world_info(w->store).nr_blocks, 20 * NR_BLOCKS);
	store_world_check(w->store, &w->committed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, store_world_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_new_store_is_empty_and_opens_again),
		TEST(nothing_is_made_that_was_not_asked_for),
		TEST(create_leaves_a_store_alone_and_overwrite_does_not),
		TEST(BM_13_read_only_writes_nothing),
		TEST(a_read_only_device_is_opened_read_only),
		TEST(BM_14_a_device_too_small_for_its_store_is_only_read),
		TEST(calls_are_refused_in_the_wrong_state),
		TEST(TM_04_without_a_transaction_nothing_can_be_changed),
		TEST(TM_07_a_commit_without_changes_writes_nothing),
		TEST(TM_07_after_a_commit_without_changes_space_is_kept_back),
		TEST(the_users_bytes_alone_are_a_change),
		TEST(TM_11_an_abort_brings_everything_back),
		TEST(closing_forgets_an_open_transaction),
		TEST(TM_03_roots_are_those_after_recording),
		TEST(TM_01_a_write_or_flush_that_fails_before_the_superblock_keeps_the_last_commit),
		TEST(when_the_superblock_fails_nobody_knows),
		TEST(when_the_last_flush_fails_nobody_knows),
		TEST(TM_02_every_failure_of_a_commit_leaves_the_last_one_or_is_unknown),
		TEST(TM_08_without_memory_changes_and_commits_fail_whole),
		TEST(a_hook_that_fails_leaves_the_transaction_as_it_was),
		TEST(after_an_abort_that_fails_only_closing_is_left),
		TEST(data_maps_belong_to_the_commit),
		TEST(growth_belongs_to_the_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
