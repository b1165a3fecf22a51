/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * unit/store/test_views.c - views: what they show, what they cost, when what they held is used again.
 */
#include "support/store_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unit/base/random.h"

enum { NR_BLOCKS = 4000, NR_VIEWS = 12 };

static struct store_world world, *const w = &world;

static int setup(void **state)
{
	*state = w;
	store_world_begin(w, NR_BLOCKS, NULL, NULL);
	return 0;
}

static int setup_one_slot(void **state)
{
	*state = w;
	store_world_begin(w, NR_BLOCKS, NULL, &store_world_one_slot);
	return 0;
}

static struct thinp_view_info info_of(struct thinp_view *view)
{
	struct thinp_view_info info = {.size = sizeof(info)};

	thinp_view_get_info(view, &info);
	return info;
}

static struct thinp_view *open_view(void)
{
	struct thinp_view *view;

	assert_int_equal(thinp_view_open(w->store, &view), 0);
	return view;
}

static void a_view_shows_the_last_commit_for_ever(void **state)
{
	struct store_model shown;
	struct thinp_view *view;
	thinp_block_t root = 77;
	uint32_t count = 77;

	(void)state;
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 0, 300), 0);
	assert_int_equal(store_world_add_map(w), 0);
	assert_int_equal(store_world_count_data(w, 3, 9, 1), 0);
	store_world_commit(w);
	shown = w->committed;
	store_world_start(w);
	assert_int_equal(store_world_remove(w, 0, 100), 0);
	view = open_view(); /* also while a transaction is open */
	assert_int_equal(store_world_read_view(view, &shown), 0);
	assert_int_equal(store_world_count_data(w, 0, 50, 1), 0);
	store_world_commit(w);
	for (uint64_t i = 0; i < 20; i++) {
		store_world_commit_some(w, i * 31, 150);
		assert_int_equal(store_world_read_view(view, &shown), 0);
	}
	assert_int_equal(info_of(view).commit, 2);
	assert_int_equal(info_of(view).nr_newer, 21);
	assert_int_equal(info_of(view).is_stale, 0);
	assert_int_equal(thinp_view_get_root(view, THINP_STORE_NR_ROOTS, &root), THINP_EINVAL);
	assert_int_equal(thinp_view_count(view, 1, 0, &count), THINP_EINVAL);
	assert_int_equal(thinp_view_count(view, THINP_STORE_NR_MAPS, 0, &count), THINP_EINVAL);
	assert_int_equal(thinp_view_count(view, 0, STORE_DATA, &count), THINP_ERANGE);
	assert_int_equal(root, 77);
	assert_int_equal(count, 77);
	thinp_view_close(view);
	thinp_view_close(NULL);
}

static void a_view_of_a_read_only_store_works(void **state)
{
	struct thinp_view *view;

	(void)state;
	store_world_commit_some(w, 0, 300);
	thinp_store_close(w->store);
	assert_int_equal(store_world_open_on(w, w->io, THINP_STORE_READ_ONLY, &w->store), 0);
	view = open_view();
	assert_int_equal(store_world_read_view(view, &w->committed), 0);
	assert_int_equal(store_world_info(w->store).nr_views, 1);
	thinp_view_close(view);
	assert_int_equal(store_world_info(w->store).nr_views, 0);
}

/* Views of many commits, closed in any order: each shows its own as long as it is open. */
static void views_are_closed_in_any_order(void **state)
{
	uint64_t rng = random_begin();
	struct thinp_view *views[NR_VIEWS] = {NULL};
	struct store_model *models = calloc(NR_VIEWS, sizeof(*models));

	(void)state;
	assert_non_null(models);
	for (int round = 0; round < 150; round++) {
		size_t i = random_next(&rng) % NR_VIEWS;

		assert_int_equal(store_world_change(w, &rng), 0);
		if (round % 5)
			store_world_commit(w);
		else
			store_world_abort(w);
		thinp_view_close(views[i]);
		views[i] = random_next(&rng) % 4 ? open_view() : NULL;
		models[i] = w->committed;
		for (i = 0; i < NR_VIEWS; i++)
			if (views[i])
				assert_int_equal(store_world_read_view(views[i], &models[i]), 0);
		assert_true(store_world_info(w->store).nr_held_blocks < NR_BLOCKS);
	}
	for (size_t i = 0; i < NR_VIEWS; i++)
		thinp_view_close(views[i]);
	store_world_check(w->store, &w->committed);
	free(models);
}

static void COW_03_what_a_view_costs_is_told_and_comes_back(void **state)
{
	struct thinp_view *view, *younger;
	uint64_t nr_free;

	(void)state;
	store_world_commit_some(w, 0, 300);
	for (int i = 0; i < 3; i++)
		store_world_commit_some(w, 0, 300);
	nr_free = store_world_info(w->store).nr_available;
	assert_int_equal(store_world_info(w->store).nr_held_blocks, 0);
	view = open_view();
	assert_int_equal(info_of(view).nr_held_blocks, 0);
	for (int i = 0; i < 5; i++)
		store_world_commit_some(w, 0, 300);
	younger = open_view();
	store_world_commit_some(w, 0, 300);
	assert_int_equal(store_world_info(w->store).oldest_commit, info_of(view).commit);
	assert_int_equal(store_world_info(w->store).nr_views, 2);
	assert_int_equal(store_world_info(w->store).nr_held_blocks, info_of(view).nr_held_blocks);
	assert_true(info_of(view).nr_held_blocks > info_of(younger).nr_held_blocks);
	assert_in_range(store_world_info(w->store).nr_available + info_of(view).nr_held_blocks, nr_free - 20,
			nr_free + 20);
	thinp_view_close(view);
	thinp_view_close(younger);
	store_world_commit_some(w, 0, 300);
	assert_int_equal(store_world_info(w->store).nr_held_blocks, 0);
	assert_int_equal(store_world_info(w->store).oldest_commit, store_world_info(w->store).commit);
	assert_in_range(store_world_info(w->store).nr_available, nr_free - 20, nr_free + 20);
}

/* The figures stay right when views are closed while much is freed. */
static void closing_views_between_commits_keeps_the_figures_right(void **state)
{
	struct thinp_view *view = NULL, *witness;

	(void)state;
	store_world_commit_some(w, 0, 900);
	for (int i = 0; i < 6; i++) {
		thinp_view_close(view);
		view = open_view();
		store_world_start(w);
		assert_int_equal(store_world_drop_tree(w), 0);
		assert_int_equal(store_world_insert(w, 0, 900), 0);
		store_world_commit(w);
		store_world_commit_some(w, 0, 1);
	}
	thinp_view_close(view);
	witness = open_view();
	store_world_commit_some(w, 1, 1); /* frees little, after much came free at its begin */
	assert_true(info_of(witness).nr_held_blocks < 50);
	store_world_commit_some(w, 2, 1);
	assert_in_range(info_of(witness).nr_held_blocks, 1, 50);
	thinp_view_close(witness);
}

static bool used[NR_BLOCKS];

/* Of all that a transaction can take. */
static uint64_t nr_used_again(void)
{
	uint64_t nr = 0;
	int r = 0;

	store_world_start(w);
	while (!r) {
		struct thinp_buffer *buffer;
		thinp_block_t taken;
		void *data;

		r = thinp_tm_new_block(thinp_store_tm(w->store), thinp_block_type_node(), THINP_CAUSE_USER, &taken,
				       &buffer, &data);
		if (r)
			break;
		thinp_tm_unlock(thinp_store_tm(w->store), buffer);
		nr += used[taken];
	}
	assert_int_equal(r, THINP_ENOSPC);
	store_world_abort(w);
	return nr;
}

/* PREVCHECK of the defect history: until the view is closed nothing that it shows is written. */
static void no_block_of_a_view_is_written(void **state)
{
	uint64_t rng = random_begin();
	struct thinp_view *view;
	uint64_t entry;

	(void)state;
	w->opts.cache_blocks = 32;
	store_world_reopen(w);
	store_world_commit_some(w, 0, 800);
	store_world_list_used(w->store, used, NR_BLOCKS);
	view = open_view();
	entry = thinp_record_nr_entries(w->record);
	for (int i = 0; i < 60; i++) {
		assert_int_equal(store_world_change(w, &rng), 0);
		store_world_commit(w);
	}
	for (; entry < thinp_record_nr_entries(w->record); entry++) {
		struct thinp_record_entry e = {.size = sizeof(e)};

		assert_int_equal(thinp_record_get_entry(w->record, entry, &e), 0);
		for (uint64_t i = 0; e.kind == THINP_RECORD_WRITE && i < e.nr_blocks; i++)
			assert_false(used[e.block + i]);
	}
	assert_int_equal(nr_used_again(), 0);
	thinp_view_close(view);
	assert_true(nr_used_again() > 0);
}

static void a_view_beyond_the_limit_becomes_stale(void **state)
{
	struct store_model shown, young_shown;
	struct thinp_view *old, *also_old, *young;
	uint32_t count;

	(void)state;
	w->opts.view_limit_blocks = 60;
	store_world_reopen(w);
	store_world_start(w);
	assert_int_equal(store_world_insert(w, 0, 400), 0);
	assert_int_equal(store_world_add_map(w), 0);
	store_world_commit(w);
	shown = w->committed;
	old = open_view();
	also_old = open_view();
	while (info_of(old).nr_held_blocks < 30) {
		store_world_commit_some(w, 0, 40);
		assert_int_equal(store_world_read_view(old, &shown), 0);
		assert_true(info_of(old).nr_held_blocks <= 60);
	}
	young = open_view();
	young_shown = w->committed;
	while (!info_of(old).is_stale)
		store_world_commit_some(w, 0, 40);
	assert_int_equal(info_of(also_old).is_stale, 1);
	assert_int_equal(info_of(young).is_stale, 0);
	assert_true(info_of(young).nr_held_blocks <= 60);
	assert_int_equal(info_of(old).nr_held_blocks, 0);
	assert_int_equal(store_world_read_view(old, &shown), THINP_ESTALE);
	assert_int_equal(thinp_view_count(old, 0, 0, &count), THINP_ESTALE);
	assert_int_equal(store_world_read_view(young, &young_shown), 0);
	assert_int_equal(store_world_info(w->store).nr_views, 3);
	assert_int_equal(store_world_info(w->store).oldest_commit, info_of(young).commit);
	thinp_view_close(old);
	store_world_commit_some(w, 0, 40);
	assert_int_equal(store_world_read_view(also_old, &shown), THINP_ESTALE);
	thinp_view_close(young);
	thinp_view_close(also_old);
	store_world_check(w->store, &w->committed);
}

/* A section that was begun before the view was told may still look at blocks: they wait for its end. */
static void blocks_of_a_stale_view_wait_for_readers_that_look_at_them(void **state)
{
	struct thinp_read_section section;
	static uint8_t on_device[THINP_BLOCK_SIZE] __attribute__((aligned(THINP_BLOCK_SIZE)));
	uint8_t copy[THINP_BLOCK_SIZE];
	struct thinp_view *view;
	const void *data;
	thinp_block_t root;
	uint64_t nr_free;

	(void)state;
	w->opts.view_limit_blocks = 30;
	store_world_reopen(w);
	store_world_commit_some(w, 0, 400);
	view = open_view();
	assert_int_equal(thinp_view_get_root(view, 0, &root), 0);
	thinp_read_begin(thinp_view_reader(view), &section);
	assert_int_equal(thinp_read_block(&section, root, thinp_block_type_node(), &data), 0);
	memcpy(copy, data, sizeof(copy));
	while (!info_of(view).is_stale)
		store_world_commit_some(w, 0, 40);
	nr_free = store_world_info(w->store).nr_available;
	for (int i = 0; i < 40; i++) {
		store_world_commit_some(w, 0, 40);
		assert_memory_equal(copy, data, sizeof(copy));
	}
	store_world_peek(w, root, on_device);
	assert_memory_equal(copy, on_device, sizeof(copy));
	assert_true(store_world_info(w->store).nr_available < nr_free);
	thinp_read_end(&section);
	store_world_commit_some(w, 0, 40);
	assert_true(store_world_info(w->store).nr_available > nr_free);
	thinp_view_close(view);
}

static void a_view_of_a_store_that_grew_sees_the_new_blocks(void **state)
{
	struct thinp_view *view, *before;
	struct store_model shown;

	(void)state;
	store_world_commit_some(w, 0, 300);
	before = open_view();
	shown = w->committed;
	store_world_start(w);
	assert_int_equal(thinp_store_grow(w->store, 5 * NR_BLOCKS), 0);
	assert_int_equal(store_world_insert(w, 0, 900), 0);
	store_world_commit(w);
	view = open_view();
	assert_int_equal(store_world_read_view(view, &w->committed), 0);
	assert_int_equal(store_world_read_view(before, &shown), 0);
	thinp_view_close(view);
	thinp_view_close(before);
}

int main(void)
{
#define TEST(name)                                                                                                     \
	cmocka_unit_test_setup_teardown(name, setup, store_world_tear_down),                                           \
		cmocka_unit_test_setup_teardown(name, setup_one_slot, store_world_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_view_shows_the_last_commit_for_ever),
		TEST(a_view_of_a_read_only_store_works),
		TEST(views_are_closed_in_any_order),
		TEST(COW_03_what_a_view_costs_is_told_and_comes_back),
		TEST(closing_views_between_commits_keeps_the_figures_right),
		TEST(no_block_of_a_view_is_written),
		TEST(a_view_beyond_the_limit_becomes_stale),
		TEST(blocks_of_a_stale_view_wait_for_readers_that_look_at_them),
		TEST(a_view_of_a_store_that_grew_sees_the_new_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
