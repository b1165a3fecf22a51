/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/store/test_history.c - what has gone wrong with other stores, tried on this one.
 */
#include "support/io_temp.h"
#include "support/store_world.h"

#include "base/bytes.h"
#include "format/kind.h"
#include "store/view.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { NR_BLOCKS = 400 };

static struct store_world world, *const w = &world;

static int setup_with(void **state, uint64_t nr_blocks)
{
	const struct thinp_store_opts opts = {.size = sizeof(opts), .cache_blocks = 64};

	*state = w;
	store_world_begin(w, nr_blocks, &opts, NULL);
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, NR_BLOCKS);
}

static int setup_small(void **state)
{
	return setup_with(state, 200);
}

/* --- space --- */

/* In memory and without a log, for there are many commits. */
static void begin_in_memory(uint64_t nr_blocks, uint64_t view_limit_blocks)
{
	const struct thinp_io_opts memory = {.size = sizeof(memory), .nr_blocks = nr_blocks};

	memset(w, 0, sizeof(*w));
	w->format = &tp_store_own_format;
	w->opts = (struct thinp_store_opts){
		.size = sizeof(w->opts), .cache_blocks = 64, .view_limit_blocks = view_limit_blocks};
	assert_int_equal(thinp_io_open_memory(&memory, &w->io), 0);
	assert_int_equal(store_world_open_on(w, w->io, THINP_STORE_CREATE, &w->store), 0);
	store_world_commit_some(w, 0, 300);
}

static void end_in_memory(void)
{
	thinp_store_close(w->store);
	thinp_io_close(w->io);
}

static struct thinp_view *open_view(void)
{
	struct thinp_view *view;

	assert_int_equal(thinp_view_open(w->store, &view), 0);
	return view;
}

static struct thinp_view_info info_of(struct thinp_view *view)
{
	struct thinp_view_info info = {.size = sizeof(info)};

	thinp_view_get_info(view, &info);
	return info;
}

static void COW_03_a_view_of_10000_commits_ago_costs_what_is_told_and_gives_it_back(void **state)
{
	struct store_model shown;
	struct thinp_view *view;
	uint64_t nr_free, nr_held;

	(void)state;
	begin_in_memory(60000, 0);
	store_world_commit_some(w, 0, 1);
	nr_free = store_world_info(w->store).nr_available;
	shown = w->committed;
	view = open_view();
	for (uint64_t i = 0; i < 10000; i++)
		store_world_commit_some(w, i % STORE_KEYS, 1);
	nr_held = info_of(view).nr_held_blocks;
	assert_int_equal(info_of(view).nr_newer, 10000);
	assert_int_equal(store_world_info(w->store).nr_held_blocks, nr_held);
	assert_true(nr_held > 20000);
	assert_in_range(store_world_info(w->store).nr_available + nr_held, nr_free - 100, nr_free);
	assert_int_equal(store_world_read_view(view, &shown), 0);
	thinp_view_close(view);
	store_world_commit_some(w, 0, 1);
	assert_int_equal(store_world_info(w->store).nr_held_blocks, 0);
	assert_in_range(store_world_info(w->store).nr_available, nr_free - 100, nr_free);
	store_world_check(w->store, &w->committed);
	end_in_memory();
}

static void COW_03_a_limit_keeps_a_forgotten_view_from_filling_the_store(void **state)
{
	struct store_model shown;
	struct thinp_view *view;

	(void)state;
	begin_in_memory(400, 150);
	shown = w->committed;
	view = open_view();
	for (uint64_t i = 0; i < 3000; i++) {
		store_world_commit_some(w, i % STORE_KEYS, 1);
		assert_true(store_world_info(w->store).nr_held_blocks <= 150);
	}
	assert_int_equal(info_of(view).is_stale, 1);
	assert_int_equal(store_world_read_view(view, &shown), THINP_ESTALE);
	thinp_view_close(view);
	store_world_check(w->store, &w->committed);
	end_in_memory();
}

static void fill(void)
{
	int r = 0;

	while (!r) {
		store_world_start(w);
		r = store_world_snapshot(w);
		for (uint64_t key = 0; !r && key < STORE_KEYS; key++)
			r = store_world_insert(w, key, 1);
		assert_int_equal(thinp_tm_status(thinp_store_tm(w->store)), 0);
		store_world_commit(w);
	}
	assert_int_equal(r, THINP_ENOSPC);
}

static void COW_05_a_full_store_can_be_emptied(void **state)
{
	uint64_t nr_free = store_world_info(w->store).nr_available;

	(void)state;
	for (int i = 0; i < 3; i++) {
		fill();
		store_world_start(w);
		assert_int_equal(store_world_remove(w, 0, STORE_KEYS - 1), 0);
		store_world_commit(w);
		store_world_check(w->store, &w->committed);
		store_world_start(w);
		assert_int_equal(store_world_drop_snapshot(w), 0);
		assert_int_equal(store_world_drop_tree(w), 0);
		store_world_commit(w);
		store_world_check(w->store, &w->committed);
		store_world_commit_some(w, 0, 1);
		store_world_commit_some(w, 0, 1);
		assert_true(store_world_info(w->store).nr_available > nr_free - 20);
	}
}

/* --- damage --- */

/* Everything that the last commit has: content, and every count of both maps. */
static int read_all(struct thinp_store *store)
{
	uint64_t nr_blocks = store->last->maps.metadata.nr_blocks;
	struct thinp_view *view;
	int r = thinp_view_open(store, &view);

	if (r)
		return r;
	r = store_world_read_view(view, &w->committed);
	thinp_view_close(view);
	for (thinp_block_t block = 0; !r && block < nr_blocks; block++) {
		uint32_t count;

		r = thinp_tm_count(thinp_store_tm(store), block, &count);
	}
	return r;
}

static void make_content(void)
{
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 0, 300), 0);
	assert_int_equal(store_world_snapshot(w), 0);
	assert_int_equal(store_world_insert(w, 100, 50), 0);
	assert_int_equal(store_world_add_map(w), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(store_world_count_data(w, 20, 50, 1), 0);
	store_world_commit(w);
}

static void COW_17_a_damaged_block_is_found_wherever_it_is(void **state)
{
	bool is_used[NR_BLOCKS] = {false};
	uint64_t nr = 0;

	(void)state;
	make_content();
	store_world_list_used(w->store, is_used, NR_BLOCKS);
	thinp_store_close(w->store);
	w->store = NULL;
	for (thinp_block_t block = 0; block < NR_BLOCKS; block++) {
		struct thinp_error_info info = {.size = sizeof(info)};
		int r;

		if (!is_used[block])
			continue;
		store_world_rot(w, block);
		r = store_world_open_on(w, w->io, 0, &w->store);
		if (!r)
			r = read_all(w->store);
		thinp_error_last(&info);
		assert_int_equal(r, THINP_ECORRUPT);
		assert_int_equal(info.block, block);
		thinp_store_close(w->store);
		w->store = NULL;
		store_world_rot(w, block); /* and back */
		nr++;
	}
	assert_true(nr > 30);
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

/* Uses what opens: reads, changes, commits. What comes of it does not matter, as long as it is a code. */
static void use(struct thinp_io *io, uint32_t flags)
{
	struct store_model model = w->committed;
	struct thinp_store *store = NULL;
	struct thinp_view *view;
	thinp_block_t root = 0;
	uint64_t key = 3;
	uint8_t value[STORE_VALUE_SIZE] = {1};

	if (store_world_open_on(w, io, flags, &store))
		return;
	assert_int_equal(thinp_view_open(store, &view), 0);
	(void)store_world_read_view(view, &model);
	thinp_view_close(view);
	if (!thinp_store_begin(store)) {
		assert_int_equal(thinp_store_get_root(store, 0, &root), 0);
		if (root &&
		    !thinp_btree_insert(thinp_store_tm(store), &store_world_tree, root, &key, value, &root, NULL) &&
		    !thinp_store_set_root(store, 0, root) && !thinp_store_commit(store))
			root = 0;
		else
			thinp_store_abort(store);
	}
	thinp_store_close(store);
}

/* Both slots say so, with right checksums, on a device of its own. */
static void use_with(size_t at, uint64_t value)
{
	uint8_t block[THINP_BLOCK_SIZE] __attribute__((aligned(THINP_BLOCK_SIZE)));
	struct thinp_io *io;

	assert_int_equal(thinp_record_rebuild(w->record, UINT64_MAX, NULL, 0, &io), 0);
	for (thinp_block_t slot = 0; slot < 2; slot++) {
		assert_int_equal(thinp_io_read(io, slot, 1, block), 0);
		tp_store_le64(block + at, value);
		tp_block_seal(block, slot, tp_store_superblock_type());
		assert_int_equal(thinp_io_write(io, slot, 1, block), 0);
	}
	use(io, THINP_STORE_READ_ONLY);
	use(io, 0);
	thinp_io_close(io);
}

static void COW_19_no_field_of_a_superblock_is_taken_on_trust(void **state)
{
	static const uint64_t values[] = {0, 1, 2, NR_BLOCKS - 1, NR_BLOCKS, 1000000, UINT64_C(1) << 40, UINT64_MAX};
	enum { FIRST = 8, BEHIND_ROOTS = 272 };

	(void)state;
	make_content();
	thinp_store_close(w->store);
	w->store = NULL;
	for (size_t at = FIRST; at < BEHIND_ROOTS; at += 4)
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
			use_with(at, values[i]);
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

/* What a stray pointer does to a block in the cache does not get to the device unless that block is changed. */
static void COW_10_a_clean_block_in_memory_is_never_written(void **state)
{
	struct thinp_read_section section;
	uint8_t on_device[THINP_BLOCK_SIZE] __attribute__((aligned(THINP_BLOCK_SIZE)));
	thinp_block_t root;
	const void *data;

	(void)state;
	make_content();
	assert_int_equal(thinp_store_get_root(w->store, 1, &root), 0);
	store_world_peek(w, root, on_device);
	thinp_read_begin(thinp_tm_reader(thinp_store_tm(w->store)), &section);
	assert_int_equal(thinp_read_block(&section, root, thinp_block_type_node(), &data), 0);
	memset((uint8_t *)(uintptr_t)data + 100, 0x55, 3000);
	thinp_read_end(&section);
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 600, 200), 0);
	assert_int_equal(store_world_count_data(w, 100, 10, 1), 0);
	store_world_commit(w);
	store_world_reopen(w);
	store_world_check(w->store, &w->committed);
}

static void COW_09_a_file_cut_short_is_an_error_and_no_signal(void **state)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_CREATE, .nr_blocks = NR_BLOCKS};
	struct thinp_error_info info = {.size = sizeof(info)};
	struct io_temp temp;
	struct thinp_view *view;
	struct thinp_io *io;
	int r;

	(void)state;
	thinp_store_close(w->store);
	assert_int_equal(io_temp_make(&temp, "."), 0);
	assert_int_equal(thinp_io_open_file(io_temp_path(&temp, "store"), &opts, &io), 0);
	assert_int_equal(store_world_open_on(w, io, THINP_STORE_CREATE, &w->store), 0);
	make_content();
	thinp_store_close(w->store);
	assert_int_equal(store_world_open_on(w, io, 0, &w->store), 0); /* nothing is in the cache */
	view = open_view();
	assert_int_equal(truncate(io_temp_path(&temp, "store"), 2 * THINP_BLOCK_SIZE), 0);
	r = store_world_read_view(view, &w->committed);
	thinp_error_last(&info);
	assert_int_equal(r, THINP_EIO);
	assert_int_equal(info.code, THINP_EIO);
	thinp_view_close(view);
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 0, 1), THINP_EIO);
	assert_int_equal(thinp_store_abort(w->store), 0);
	thinp_store_close(w->store);
	thinp_io_close(io);
	io_temp_remove(&temp);
	w->store = NULL;
}

/* --- order --- */

static bool is_slot(const struct thinp_record_entry *e)
{
	return e->kind == THINP_RECORD_WRITE && e->block < 2;
}

/* Blocks, flush, superblock by itself, flush: nothing is named before it is durable. */
static void expect_order(uint64_t entry)
{
	struct thinp_record_entry e = {.size = sizeof(e)};
	uint64_t end = thinp_record_nr_entries(w->record), nr_writes = 0;
	bool is_flushed = false;

	for (; entry < end; entry++) {
		assert_int_equal(thinp_record_get_entry(w->record, entry, &e), 0);
		if (is_slot(&e))
			break;
		assert_false(is_flushed && e.kind == THINP_RECORD_WRITE);
		is_flushed |= e.kind == THINP_RECORD_FLUSH;
		nr_writes += e.kind == THINP_RECORD_WRITE;
	}
	assert_true(is_flushed && nr_writes > 0);
	assert_int_equal(entry + 2, end);
	assert_int_equal(e.nr_blocks, 1);
	assert_int_equal(thinp_record_get_entry(w->record, entry + 1, &e), 0);
	assert_int_equal(e.kind, THINP_RECORD_FLUSH);
}

static void COW_12_COW_18_no_mode_changes_the_order_of_a_commit(void **state)
{
	static const uint32_t modes[] = {THINP_STORE_HUGE_PAGES, THINP_STORE_QUEUE_ALWAYS, THINP_STORE_LIVE};
	static const char *const policies[] = {"fifo", "coalescing", "sorted"};

	(void)state;
	for (uint32_t set = 0; set < 8; set++) {
		w->opts.flags = 0;
		for (uint32_t i = 0; i < 3; i++)
			w->opts.flags |= set >> i & 1 ? modes[i] : 0;
		w->opts.op_queue_policy = thinp_opq_policy_by_name(policies[set % 3]);
		w->opts.cache_blocks = set % 2 ? 16 : 0; /* written early, or not */
		store_world_reopen(w);
		store_world_commit_some(w, 0, 10); /* the first of a handle writes the last record again */
		for (uint64_t i = 0; i < 3; i++) {
			uint64_t entry = thinp_record_nr_entries(w->record);

			store_world_commit_some(w, i * 100, 300);
			expect_order(entry);
		}
	}
}

/* --- opening --- */

static uint64_t nr_reads_to_open(void)
{
	struct thinp_fault_stats before = {.size = sizeof(before)}, after = before;

	thinp_store_close(w->store);
	thinp_fault_get_stats(w->fault, &before);
	assert_int_equal(store_world_open_on(w, w->io, 0, &w->store), 0);
	thinp_fault_get_stats(w->fault, &after);
	return after.reads - before.reads;
}

/* No scan, whatever the store holds and however it ended. */
static void COW_20_opening_takes_as_long_for_much_as_for_little(void **state)
{
	uint64_t of_little, of_much;

	(void)state;
	store_world_commit_some(w, 0, 2);
	store_world_commit_some(w, 0, 2);
	of_little = nr_reads_to_open();
	store_world_commit_some(w, 0, STORE_KEYS);
	store_world_commit_some(w, 0, STORE_KEYS);
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 0, 500), 0); /* and was stopped in the middle */
	of_much = nr_reads_to_open();
	assert_int_equal(of_much, of_little);
	store_world_check(w->store, &w->committed);
}

static void COW_21_what_the_user_keeps_beside_belongs_to_the_commit(void **state)
{
	uint8_t user[THINP_STORE_USER_SIZE];

	(void)state;
	for (uint64_t i = 1; i < 6; i++) {
		store_world_start(w); /* sets the bytes */
		assert_int_equal(store_world_insert(w, i * 100, 50), 0);
		if (i % 2)
			store_world_abort(w);
		else
			store_world_commit(w);
		thinp_store_get_user(w->store, user);
		assert_int_equal(tp_load_le64(user), w->committed.number);
		store_world_reopen(w);
		store_world_check(w->store, &w->committed);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, store_world_tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(COW_03_a_view_of_10000_commits_ago_costs_what_is_told_and_gives_it_back),
		cmocka_unit_test(COW_03_a_limit_keeps_a_forgotten_view_from_filling_the_store),
		cmocka_unit_test_setup_teardown(COW_05_a_full_store_can_be_emptied, setup_small, store_world_tear_down),
		TEST(COW_09_a_file_cut_short_is_an_error_and_no_signal),
		TEST(COW_10_a_clean_block_in_memory_is_never_written),
		TEST(COW_12_COW_18_no_mode_changes_the_order_of_a_commit),
		TEST(COW_17_a_damaged_block_is_found_wherever_it_is),
		TEST(COW_19_no_field_of_a_superblock_is_taken_on_trust),
		TEST(COW_20_opening_takes_as_long_for_much_as_for_little),
		TEST(COW_21_what_the_user_keeps_beside_belongs_to_the_commit),
	};

	return cmocka_run_group_tests_name("store/history", tests, NULL, NULL);
}
