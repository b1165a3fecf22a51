/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cursors over an open transaction.
 */
#include "support/image_expect.h"
#include "support/tree_grow.h"

#include <thinp/error.h>

static struct thinp_btree_cursor *open_cursor(struct tree_grow *g)
{
	struct thinp_btree_cursor *cursor;

	assert_int_equal(thinp_btree_cursor_create(thinp_tm_reader(g->t->tm), &g->t->type, g->root, &cursor), 0);
	return cursor;
}

static uint64_t key_at(const struct thinp_btree_cursor *cursor)
{
	uint64_t key;

	assert_int_equal(thinp_btree_cursor_get(cursor, &key, NULL), 0);
	return key;
}

static void begin(struct tree_grow *g)
{
	tree_grow_begin(g, 512, 1, 1000);
	for (uint64_t i = 0; i < 30; i++)
		tree_grow_insert_key(g, 10 * i);
}

static void COW_08_every_move_is_refused_after_a_change_and_the_place_stays(void **state)
{
	struct thinp_btree_cursor *cursor;
	const uint64_t key = 100;
	struct tree_grow g;

	(void)state;
	begin(&g);
	cursor = open_cursor(&g);
	assert_int_equal(thinp_btree_cursor_seek(cursor, &key), 0);
	tree_grow_insert_key(&g, 5);
	expect_failure(thinp_btree_cursor_next(cursor), THINP_ESTALE, THINP_NO_BLOCK, "changed");
	expect_failure(thinp_btree_cursor_prev(cursor), THINP_ESTALE, THINP_NO_BLOCK, "changed");
	expect_failure(thinp_btree_cursor_first(cursor), THINP_ESTALE, THINP_NO_BLOCK, "changed");
	expect_failure(thinp_btree_cursor_last(cursor), THINP_ESTALE, THINP_NO_BLOCK, "changed");
	expect_failure(thinp_btree_cursor_seek(cursor, &key), THINP_ESTALE, THINP_NO_BLOCK, "changed");
	assert_int_equal(key_at(cursor), 100);
	thinp_btree_cursor_set_root(cursor, g.root);
	assert_int_equal(key_at(cursor), 100);
	assert_int_equal(thinp_btree_cursor_next(cursor), 0);
	assert_int_equal(key_at(cursor), 110);
	assert_int_equal(thinp_btree_cursor_prev(cursor), 0);
	assert_int_equal(key_at(cursor), 100);
	thinp_btree_cursor_destroy(cursor);
	tree_grow_end(&g);
}

static void a_cursor_meets_what_was_inserted_beside_it(void **state)
{
	struct thinp_btree_cursor *cursor;
	struct tree_grow g;

	(void)state;
	begin(&g);
	for (uint64_t key = 0; key < 300; key += 10) {
		cursor = open_cursor(&g);
		assert_int_equal(thinp_btree_cursor_seek(cursor, &key), 0);
		tree_grow_insert_key(&g, key + 1);
		thinp_btree_cursor_set_root(cursor, g.root);
		assert_int_equal(thinp_btree_cursor_next(cursor), 0);
		assert_int_equal(key_at(cursor), key + 1);
		tree_grow_insert_key(&g, key + 2);
		thinp_btree_cursor_set_root(cursor, g.root);
		assert_int_equal(thinp_btree_cursor_prev(cursor), 0);
		assert_int_equal(key_at(cursor), key);
		thinp_btree_cursor_destroy(cursor);
	}
	tree_grow_end(&g);
}

/* Goes on from a key that is not there any more. */
static void go_on_from(uint64_t gone, bool is_last)
{
	struct thinp_btree_cursor *cursor, *other;
	struct tree_grow g;

	begin(&g);
	cursor = open_cursor(&g);
	other = open_cursor(&g);
	assert_int_equal(thinp_btree_cursor_seek(cursor, &gone), 0);
	assert_int_equal(thinp_btree_cursor_seek(other, &gone), 0);
	assert_int_equal(thinp_btree_remove(g.t->tm, &g.t->type, g.root, &gone, &g.root), 0);
	thinp_btree_cursor_set_root(cursor, g.root);
	thinp_btree_cursor_set_root(other, g.root);
	assert_int_equal(thinp_btree_cursor_next(cursor), is_last ? THINP_ENODATA : 0);
	if (!is_last)
		assert_int_equal(key_at(cursor), gone + 10);
	detail_mark();
	assert_int_equal(thinp_btree_cursor_prev(other), 0);
	expect_detail_untouched();
	assert_int_equal(key_at(other), gone - 10);
	thinp_btree_cursor_destroy(cursor);
	thinp_btree_cursor_destroy(other);
	ordered_map_free(&g.map);
	tree_change_free(g.t);
}

static void a_cursor_goes_on_from_a_key_that_was_removed(void **state)
{
	(void)state;
	for (uint64_t key = 10; key < 300; key += 10)
		go_on_from(key, key == 290);
}

static void the_next_key_is_found_in_nodes_that_were_changed_a_moment_ago(void **state)
{
	struct tree_grow g;

	(void)state;
	begin(&g);
	for (uint64_t i = 30; i < 400; i++) {
		uint64_t key = 10 * i - 5, found = 0;

		tree_grow_insert_key(&g, 10 * i);
		assert_int_equal(
			thinp_btree_lookup_ge(thinp_tm_reader(g.t->tm), &g.t->type, g.root, &key, &found, NULL), 0);
		assert_int_equal(found, 10 * i);
		key = 5 * i - 1;
		assert_int_equal(
			thinp_btree_lookup_ge(thinp_tm_reader(g.t->tm), &g.t->type, g.root, &key, &found, NULL), 0);
		assert_int_equal(found, (key + 9) / 10 * 10);
	}
	tree_grow_end(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(COW_08_every_move_is_refused_after_a_change_and_the_place_stays),
		cmocka_unit_test(a_cursor_meets_what_was_inserted_beside_it),
		cmocka_unit_test(a_cursor_goes_on_from_a_key_that_was_removed),
		cmocka_unit_test(the_next_key_is_found_in_nodes_that_were_changed_a_moment_ago),
	};

	return cmocka_run_group_tests_name("btree/cursor_open", tests, NULL, NULL);
}
