/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Cursors: every move from every place, against a cursor over a sorted array.
 */
#include "support/image_expect.h"
#include "support/image_trial.h"
#include "support/tree_zoo.h"
#include "unit/base/random.h"

/* --- a cursor over the model ----------------------------------------------------------------------------------------- */

enum place { NOWHERE, BEFORE_FIRST, ON_ENTRY, BEHIND_LAST };

struct cursor {
	const struct tree_model *model;
	struct thinp_btree_cursor *real;
	enum place place;
	size_t i;
};

static void cursor_open(struct cursor *cursor, struct tree *tree)
{
	*cursor = (struct cursor){.model = &tree->model, .place = NOWHERE};
	assert_int_equal(
		thinp_btree_cursor_create(tree->reader.reader, &tree->model.type, tree->model.root, &cursor->real), 0);
}

static void cursor_close(struct cursor *cursor)
{
	thinp_btree_cursor_destroy(cursor->real);
}

/* The cursor tells what the model's cursor stands on. */
static void expect_entry(const struct cursor *cursor)
{
	uint64_t keys[THINP_BTREE_MAX_LEVELS] = {77};
	uint8_t value[TREE_MAX_VALUE_SIZE];
	int expected = cursor->place == ON_ENTRY ? 0 : THINP_ENODATA;

	assert_int_equal(thinp_btree_cursor_get(cursor->real, keys, value), expected);
	assert_int_equal(thinp_btree_cursor_get(cursor->real, NULL, NULL), expected);
	if (expected)
		assert_int_equal(keys[0], 77);
	else
		tree_model_expect(cursor->model, cursor->i, keys, value);
}

/* i: where the move must have come to; nr or more: there is no entry, and the place is at_end. */
static void expect_move(struct cursor *cursor, int r, size_t i, enum place at_end)
{
	bool found = i < cursor->model->nr;

	assert_int_equal(r, found ? 0 : THINP_ENODATA);
	if (r)
		expect_failure(r, THINP_ENODATA, THINP_NO_BLOCK, "");
	cursor->place = found ? ON_ENTRY : at_end;
	cursor->i = i;
	expect_entry(cursor);
}

static void move_to(struct cursor *cursor, const uint64_t *keys)
{
	expect_move(cursor, thinp_btree_cursor_seek(cursor->real, keys), tree_model_find(cursor->model, keys),
		    BEHIND_LAST);
}

static void move_first(struct cursor *cursor)
{
	expect_move(cursor, thinp_btree_cursor_first(cursor->real), 0, BEHIND_LAST);
}

static void move_last(struct cursor *cursor)
{
	expect_move(cursor, thinp_btree_cursor_last(cursor->real), cursor->model->nr - 1, BEFORE_FIRST);
}

static void move_next(struct cursor *cursor)
{
	size_t i = cursor->place == ON_ENTRY ? cursor->i + 1 : cursor->place == BEHIND_LAST ? SIZE_MAX : 0;

	expect_move(cursor, thinp_btree_cursor_next(cursor->real), i, BEHIND_LAST);
}

/* One less than 0 is more than there are. */
static void move_prev(struct cursor *cursor)
{
	size_t i = cursor->place == ON_ENTRY       ? cursor->i - 1
		   : cursor->place == BEFORE_FIRST ? SIZE_MAX
						   : cursor->model->nr - 1;

	expect_move(cursor, thinp_btree_cursor_prev(cursor->real), i, BEFORE_FIRST);
}

/* --- every tree ------------------------------------------------------------------------------------------------------ */

static void go_forward_and_back(struct tree *tree)
{
	struct cursor cursor;

	cursor_open(&cursor, tree);
	for (size_t i = 0; i < tree->model.nr + 2; i++)
		move_next(&cursor);
	for (size_t i = 0; i < tree->model.nr + 2; i++)
		move_prev(&cursor);
	for (size_t i = 0; i < 3; i++)
		move_next(&cursor);
	cursor_close(&cursor);
}

static void move_at_random(struct cursor *cursor, uint64_t *rng)
{
	uint64_t keys[THINP_BTREE_MAX_LEVELS];

	switch (random_next(rng) % 16) {
	case 0:
		move_first(cursor);
		break;
	case 1:
		move_last(cursor);
		break;
	case 2:
	case 3:
	case 4:
		tree_model_probe(cursor->model, random_next(rng) % tree_model_nr_probes(cursor->model), keys);
		move_to(cursor, keys);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
		move_next(cursor);
		break;
	default:
		move_prev(cursor);
		break;
	}
}

static void go_about(struct tree *tree)
{
	struct cursor cursor;

	cursor_open(&cursor, tree);
	for (size_t i = 0; i < 200; i++)
		move_at_random(&cursor, tree->rng);
	cursor_close(&cursor);
}

static void go_all_ways(struct tree *tree)
{
	go_forward_and_back(tree);
	go_about(tree);
}

static void a_cursor_goes_both_ways_through_every_plain_tree(void **state)
{
	(void)state;
	tree_zoo_plain(go_all_ways);
}

static void a_cursor_goes_both_ways_through_every_nested_tree(void **state)
{
	(void)state;
	tree_zoo_nested(go_all_ways);
}

static void a_cursor_goes_both_ways_through_every_random_tree(void **state)
{
	(void)state;
	tree_zoo_random(go_all_ways, 400);
}

/* --- every move from every place ------------------------------------------------------------------------------------- */

/* Places: nowhere, before the first, on each entry, behind the last. */
static void go_to_place(struct cursor *cursor, size_t place)
{
	if (place == 1) {
		move_first(cursor);
		if (cursor->place == ON_ENTRY)
			move_prev(cursor);
		else
			move_last(cursor); /* of an empty tree */
	} else if (place == 2) {
		move_to(cursor, &(uint64_t){UINT64_MAX});
	} else if (place > 2) {
		move_to(cursor, tree_model_keys(cursor->model, place - 3));
	}
}

enum { FIRST, LAST, NEXT, PREV, SEEK }; /* SEEK + n: to probe n */

static void make_move(struct cursor *cursor, size_t move)
{
	uint64_t key;

	switch (move) {
	case FIRST:
		move_first(cursor);
		break;
	case LAST:
		move_last(cursor);
		break;
	case NEXT:
		move_next(cursor);
		break;
	case PREV:
		move_prev(cursor);
		break;
	default:
		tree_model_probe(cursor->model, move - SEEK, &key);
		move_to(cursor, &key);
		break;
	}
}

static void try_every_move_from_every_place(struct tree *tree)
{
	for (size_t place = 0; place < tree->model.nr + 3; place++)
		for (size_t move = 0; move < SEEK + tree_model_nr_probes(&tree->model); move++) {
			struct cursor cursor;

			cursor_open(&cursor, tree);
			go_to_place(&cursor, place);
			make_move(&cursor, move);
			make_move(&cursor, NEXT);
			make_move(&cursor, PREV);
			make_move(&cursor, PREV);
			cursor_close(&cursor);
		}
}

static void BT_13_every_move_is_right_from_every_place(void **state)
{
	static const size_t sizes[] = {0, 1, 2, 3, 4, 5, 9};
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct tree tree;

		tree_open(&tree, &shape, 8, sizes[i], 3, 1 + (uint32_t)i % 3);
		try_every_move_from_every_place(&tree);
		tree_close(&tree);
	}
}

static void BT_18_a_cursor_stands_on_numbers_at_the_edges(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2};
	struct tree tree = {.rng = NULL};

	(void)state;
	image_open(&tree.image, 100);
	tree_model_build_plain(&tree.model, &tree.image, &shape, 8, tree_edges, TREE_NR_EDGES);
	assert_int_equal(image_reader_open(&tree.reader, &tree.image, 2), 0);
	try_every_move_from_every_place(&tree);
	tree_close(&tree);
}

/* --- empty ----------------------------------------------------------------------------------------------------------- */

static void BT_13_every_move_in_an_empty_tree_finds_nothing(void **state)
{
	const struct tree_shape shape = {0};
	struct cursor cursor;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 0, 1, 1);
	cursor_open(&cursor, &tree);
	expect_entry(&cursor);
	for (size_t a = FIRST; a <= SEEK; a++)
		for (size_t b = FIRST; b <= SEEK; b++) {
			make_move(&cursor, a);
			make_move(&cursor, b);
		}
	cursor_close(&cursor);
	tree_close(&tree);
}

static void empty_leaves_are_passed_over_both_ways(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 3};
	static const uint64_t left[] = {3, 4, 9, 10, 15, 16}; /* the second leaf of each three */
	struct thinp_btree_cursor *cursor;
	struct tree tree;
	uint64_t key;

	(void)state;
	tree_open(&tree, &shape, 8, 18, 1, 2);
	for (uint32_t i = 0; i < 9; i++)
		if (i % 3 != 1) {
			thinp_block_t node = tree_child(&tree.image, tree.model.root, i / 3);

			image_set32(&tree.image, tree_child(&tree.image, node, i % 3), TREE_NR_ENTRIES, 0);
		}
	assert_int_equal(thinp_btree_cursor_create(tree.reader.reader, &tree.model.type, tree.model.root, &cursor), 0);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(thinp_btree_cursor_next(cursor), 0);
		assert_int_equal(thinp_btree_cursor_get(cursor, &key, NULL), 0);
		assert_int_equal(key, left[i]);
	}
	assert_int_equal(thinp_btree_cursor_next(cursor), THINP_ENODATA);
	for (size_t i = 6; i--;) {
		assert_int_equal(thinp_btree_cursor_prev(cursor), 0);
		assert_int_equal(thinp_btree_cursor_get(cursor, &key, NULL), 0);
		assert_int_equal(key, left[i]);
	}
	assert_int_equal(thinp_btree_cursor_prev(cursor), THINP_ENODATA);
	thinp_btree_cursor_destroy(cursor);
	tree_close(&tree);
}

/* --- after a failure ------------------------------------------------------------------------------------------------- */

/* Nothing is pinned: the one buffer of a cache of one block can be used for another block. */
static void expect_nothing_held(struct tree *tree)
{
	struct thinp_bm_stats stats = {.size = sizeof(stats)};
	uint64_t key = 1;

	assert_int_equal(thinp_btree_lookup(tree->reader.reader, &tree->model.type, tree->model.root, &key, NULL), 0);
	thinp_bm_get_stats(tree->reader.bm, &stats);
	assert_int_equal(stats.uncached, 0);
}

/* Three leaves of three; the middle one is damaged. */
static void open_with_bad_leaf(struct tree *tree, thinp_block_t *bad)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};

	tree_open(tree, &shape, 8, 9, 1, 1);
	*bad = tree_child(&tree->image, tree->model.root, 1);
	image_flip(&tree->image, *bad, 8 * 100);
}

static void expect_nowhere(struct cursor *cursor)
{
	cursor->place = NOWHERE;
	expect_entry(cursor);
}

static void BT_13_a_cursor_that_met_damage_stands_nowhere_and_can_be_moved_again(void **state)
{
	struct cursor cursor;
	struct tree tree;
	thinp_block_t bad;

	(void)state;
	open_with_bad_leaf(&tree, &bad);
	cursor_open(&cursor, &tree);
	for (int round = 0; round < 3; round++) {
		move_to(&cursor, &(uint64_t){3});
		expect_corrupt(thinp_btree_cursor_next(cursor.real), bad, "checksum");
		expect_nowhere(&cursor);
		expect_nothing_held(&tree);
		move_next(&cursor); /* from nowhere: the first */

		move_to(&cursor, &(uint64_t){7});
		expect_corrupt(thinp_btree_cursor_prev(cursor.real), bad, "checksum");
		expect_nowhere(&cursor);
		expect_nothing_held(&tree);
		move_prev(&cursor); /* from nowhere: the last */

		expect_corrupt(thinp_btree_cursor_seek(cursor.real, &(uint64_t){5}), bad, "checksum");
		expect_nowhere(&cursor);
		expect_nothing_held(&tree);
	}
	cursor_close(&cursor);
	tree_close(&tree);
}

static void BT_13_a_cursor_on_a_root_that_cannot_be_read_stays_usable(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 3};
	struct cursor cursor;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 9, 1, 1);
	cursor_open(&cursor, &tree);
	for (uint64_t level = 1; level <= 2; level++) {
		image_fail_reads(&tree.image, level, UINT64_MAX);
		assert_int_equal(thinp_btree_cursor_first(cursor.real), THINP_EIO);
		expect_nowhere(&cursor);
		image_fail_no_reads(&tree.image);
		expect_nothing_held(&tree);
		move_prev(&cursor);
		move_first(&cursor);
		image_fail_reads(&tree.image, level, UINT64_MAX);
		assert_int_equal(thinp_btree_cursor_last(cursor.real), THINP_EIO);
		image_fail_no_reads(&tree.image);
		expect_nowhere(&cursor);
		move_next(&cursor);
	}
	cursor_close(&cursor);
	tree_close(&tree);
}

/* From leaf to leaf, the parent is read again, and may fail. */
static void BT_13_every_read_of_a_step_may_fail(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2};
	struct cursor cursor;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 8, 1, 1);
	cursor_open(&cursor, &tree);
	for (uint64_t key = 1; key <= 8; key++)
		for (uint64_t n = 1; n <= 3; n++)
			for (size_t move = NEXT; move <= PREV; move++) {
				int r;

				move_to(&cursor, &key);
				image_fail_reads(&tree.image, n, n);
				r = move == NEXT ? thinp_btree_cursor_next(cursor.real)
						 : thinp_btree_cursor_prev(cursor.real);
				image_fail_no_reads(&tree.image);
				if (r == THINP_EIO)
					expect_nowhere(&cursor);
				else
					expect_move(&cursor, r, move == NEXT ? key : key - 2,
						    move == NEXT ? BEHIND_LAST : BEFORE_FIRST);
				expect_nothing_held(&tree);
				make_move(&cursor, move);
			}
	cursor_close(&cursor);
	tree_close(&tree);
}

/* Forwards to the end, back to the beginning. */
static int use_cursor(struct image_trial *trial)
{
	const struct tree_model *model = trial->ctx;
	struct thinp_btree_cursor *cursor;
	int r = thinp_btree_cursor_create(trial->reader.reader, &model->type, model->root, &cursor);
	size_t nr = 0;

	if (r)
		return r;
	while (!(r = thinp_btree_cursor_next(cursor)))
		nr++;
	if (r == THINP_ENODATA) {
		assert_int_equal(nr, model->nr);
		while (!(r = thinp_btree_cursor_prev(cursor)))
			nr--;
	}
	if (r == THINP_ENODATA) {
		assert_int_equal(nr, 0);
		r = 0;
	}
	thinp_btree_cursor_destroy(cursor);
	return r;
}

static void a_cursor_survives_failing_reads_and_allocations(void **state)
{
	const struct tree_shape shape = {.per_leaf = 3, .per_node = 2};
	struct image_trial trial;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 12, 10, 4);
	trial = image_trial_of_reader(&tree.image, use_cursor, &tree.model);
	image_trial_run(&trial);
	tree_close(&tree);
}

/* --- the handle ------------------------------------------------------------------------------------------------------ */

static void making_a_cursor_reads_nothing(void **state)
{
	const struct tree_shape shape = {0};
	struct cursor cursor;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 1, 1, 1);
	cursor_open(&cursor, &tree);
	expect_entry(&cursor);
	assert_int_equal(atomic_load(&tree.image.nr_reads), 0);
	cursor_close(&cursor);
	thinp_btree_cursor_destroy(NULL);
	tree_close(&tree);
}

static void a_cursor_is_not_made_for_a_type_that_no_tree_can_have(void **state)
{
	const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 5, .value_size = 8};
	struct thinp_btree_cursor *cursor = NULL;
	const struct tree_shape shape = {0};
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 1, 1, 1);
	assert_int_equal(thinp_btree_cursor_create(tree.reader.reader, &type, tree.model.root, &cursor), THINP_EINVAL);
	assert_null(cursor);
	tree_close(&tree);
}

static void moves_that_succeed_leave_the_detail_record_alone(void **state)
{
	const struct tree_shape shape = {.per_leaf = 1, .per_node = 2};
	struct cursor cursor;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 5, 1, 1);
	image_set32(&tree.image,
		    tree_child(&tree.image, tree_child(&tree.image, tree_child(&tree.image, tree.model.root, 0), 0), 1),
		    TREE_NR_ENTRIES, 0);
	cursor_open(&cursor, &tree);
	detail_mark();
	for (int i = 0; i < 4; i++)
		assert_int_equal(thinp_btree_cursor_next(cursor.real), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(thinp_btree_cursor_prev(cursor.real), 0);
	assert_int_equal(thinp_btree_cursor_seek(cursor.real, &(uint64_t){2}), 0);
	assert_int_equal(thinp_btree_cursor_get(cursor.real, NULL, NULL), 0);
	assert_int_equal(thinp_btree_cursor_last(cursor.real), 0);
	assert_int_equal(thinp_btree_cursor_first(cursor.real), 0);
	expect_detail_untouched();
	cursor_close(&cursor);
	tree_close(&tree);
}

static void two_cursors_do_not_disturb_each_other(void **state)
{
	const struct tree_shape shape = {.per_leaf = 2, .per_node = 2};
	struct cursor forward, back;
	struct tree tree;

	(void)state;
	tree_open(&tree, &shape, 8, 20, 1, 1);
	cursor_open(&forward, &tree);
	cursor_open(&back, &tree);
	for (size_t i = 0; i < 22; i++) {
		move_next(&forward);
		move_prev(&back);
	}
	cursor_close(&forward);
	cursor_close(&back);
	tree_close(&tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cursor_goes_both_ways_through_every_plain_tree),
		cmocka_unit_test(a_cursor_goes_both_ways_through_every_nested_tree),
		cmocka_unit_test(a_cursor_goes_both_ways_through_every_random_tree),
		cmocka_unit_test(BT_13_every_move_is_right_from_every_place),
		cmocka_unit_test(BT_18_a_cursor_stands_on_numbers_at_the_edges),
		cmocka_unit_test(BT_13_every_move_in_an_empty_tree_finds_nothing),
		cmocka_unit_test(empty_leaves_are_passed_over_both_ways),
		cmocka_unit_test(BT_13_a_cursor_that_met_damage_stands_nowhere_and_can_be_moved_again),
		cmocka_unit_test(BT_13_a_cursor_on_a_root_that_cannot_be_read_stays_usable),
		cmocka_unit_test(BT_13_every_read_of_a_step_may_fail),
		cmocka_unit_test(a_cursor_survives_failing_reads_and_allocations),
		cmocka_unit_test(making_a_cursor_reads_nothing),
		cmocka_unit_test(a_cursor_is_not_made_for_a_type_that_no_tree_can_have),
		cmocka_unit_test(moves_that_succeed_leave_the_detail_record_alone),
		cmocka_unit_test(two_cursors_do_not_disturb_each_other),
	};

	return cmocka_run_group_tests_name("btree/cursor", tests, NULL, NULL);
}
