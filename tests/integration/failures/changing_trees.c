/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/changing_trees.c - changing B+ trees. All that can be shared is shared with a snapshot.
 */
#include "changing.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PLAIN, PLAIN_SNAP, NESTED, NESTED_SNAP, MADE, LOADED };
enum { NR = 60, STEP = 10, NR_TREES = 3, NR_EACH = 16, MANY = 20 };
#define UNTOUCHED UINT64_C(0x1234567812345678)

/* --- making calls --- */

static struct changing *of(struct stage *stage)
{
	return (struct changing *)stage;
}

static const struct thinp_btree_type *type_of(struct changing *c, size_t i)
{
	return i == NESTED || i == NESTED_SNAP ? &c->nested : &c->tree;
}

static void put(struct changing *c, size_t i, thinp_block_t root)
{
	c->now.list[i] = (struct thing){.kind = type_of(c, i) == &c->nested ? NESTED_TREE : TREE, .root = root};
}

static int create(struct changing *c, size_t i)
{
	thinp_block_t root = UNTOUCHED;
	int r = thinp_btree_create(c->stage.tm, type_of(c, i), &root);

	if (r)
		assert_int_equal(root, UNTOUCHED);
	else
		put(c, i, root);
	return r;
}

static int insert(struct changing *c, size_t i, const uint64_t *keys, uint32_t number)
{
	thinp_block_t root = UNTOUCHED;
	uint8_t value[CHANGING_VALUE];
	int r;

	changing_value(number, value);
	r = thinp_btree_insert(c->stage.tm, type_of(c, i), c->now.list[i].root, keys, value, &root, NULL);
	if (r) {
		assert_int_equal(root, UNTOUCHED);
		return r;
	}
	c->now.owners[number]++;
	put(c, i, root);
	return 0;
}

/* Keys from first on, upper ones before if the tree is nested; numbers follow each other. */
static int insert_many(struct changing *c, size_t i, uint64_t upper, uint64_t first, uint64_t step, uint32_t number,
		       uint32_t nr)
{
	static uint8_t values[NR][CHANGING_VALUE];
	uint32_t nr_levels = type_of(c, i)->nr_levels;
	thinp_block_t root = UNTOUCHED;
	uint64_t keys[NR * CHANGING_NESTED];
	int r;

	for (uint32_t n = 0; n < nr; n++) {
		keys[n * nr_levels] = upper;
		keys[n * nr_levels + nr_levels - 1] = first + n * step;
		changing_value(number + n, values[n]);
	}
	r = thinp_btree_insert_many(c->stage.tm, type_of(c, i), c->now.list[i].root, keys, values, nr, &root, NULL);
	if (r) {
		assert_int_equal(root, UNTOUCHED);
		return r;
	}
	for (uint32_t n = 0; n < nr; n++)
		c->now.owners[number + n]++;
	put(c, i, root);
	return 0;
}

static int remove_one(struct changing *c, size_t i, const uint64_t *keys)
{
	thinp_block_t root = UNTOUCHED;
	int r = thinp_btree_remove(c->stage.tm, type_of(c, i), c->now.list[i].root, keys, &root);

	if (r)
		assert_int_equal(root, UNTOUCHED);
	else
		put(c, i, root);
	return r;
}

static int remove_range(struct changing *c, size_t i, const uint64_t *first, const uint64_t *last, uint32_t max_leaves)
{
	thinp_block_t root = UNTOUCHED;
	uint64_t nr_removed = UNTOUCHED;
	bool is_complete = true;
	int r = thinp_btree_remove_range(c->stage.tm, type_of(c, i), c->now.list[i].root, first, last, max_leaves,
					 &root, &nr_removed, &is_complete);

	if (r) {
		assert_true(root == UNTOUCHED && nr_removed == UNTOUCHED && is_complete);
		return r;
	}
	put(c, i, root);
	return 0;
}

static int del(struct changing *c, size_t i)
{
	int r = thinp_btree_del(c->stage.tm, type_of(c, i), c->now.list[i].root);

	if (!r)
		c->now.list[i] = (struct thing){.kind = NOTHING};
	return r;
}

static int snapshot(struct changing *c, size_t from, size_t to)
{
	int r = thinp_tm_inc(c->stage.tm, c->now.list[from].root, 1, THINP_CAUSE_USER);

	if (!r)
		put(c, to, c->now.list[from].root);
	return r;
}

/* --- the stage --- */

static struct stage *open_trees(struct world *w)
{
	struct changing *c = changing_new(w);

	assert_int_equal(create(c, PLAIN), 0);
	assert_int_equal(insert_many(c, PLAIN, 0, STEP, STEP, 0, NR), 0);
	assert_int_equal(create(c, NESTED), 0);
	for (uint32_t i = 0; i < NR_TREES; i++)
		assert_int_equal(insert_many(c, NESTED, i, 0, STEP, 100 + i * NR_EACH, NR_EACH), 0);
	assert_int_equal(snapshot(c, PLAIN, PLAIN_SNAP), 0);
	assert_int_equal(snapshot(c, NESTED, NESTED_SNAP), 0);
	assert_int_equal(changing_commit(&c->stage), 0);
	changing_reopen(c);
	return &c->stage;
}

/* --- acts --- */

static int insert_new(struct stage *stage)
{
	const uint64_t key = 5 * STEP + 1;

	return insert(of(stage), PLAIN, &key, 300);
}

static int insert_in_front(struct stage *stage)
{
	const uint64_t key = 0;

	return insert(of(stage), PLAIN, &key, 301);
}

static int overwrite(struct stage *stage)
{
	const uint64_t key = 40 * STEP;

	return insert(of(stage), PLAIN, &key, 302);
}

static int insert_lower(struct stage *stage)
{
	const uint64_t keys[] = {1, 7};

	return insert(of(stage), NESTED, keys, 303);
}

static int insert_upper(struct stage *stage)
{
	const uint64_t keys[] = {77, 7};

	return insert(of(stage), NESTED, keys, 304);
}

static int insert_many_new(struct stage *stage)
{
	return insert_many(of(stage), PLAIN, 0, 20 * STEP + 5, STEP, 400, MANY);
}

static int insert_many_lower(struct stage *stage)
{
	return insert_many(of(stage), NESTED, 2, 5, STEP, 440, MANY);
}

static int remove_plain(struct stage *stage)
{
	const uint64_t key = 55 * STEP;

	return remove_one(of(stage), PLAIN, &key);
}

static int remove_plain_next(struct stage *stage)
{
	const uint64_t key = 54 * STEP;

	return remove_one(of(stage), PLAIN, &key);
}

static int remove_lower(struct stage *stage)
{
	const uint64_t keys[] = {0, 3 * STEP};

	return remove_one(of(stage), NESTED, keys);
}

static int remove_some_leaves(struct stage *stage)
{
	const uint64_t first = 10 * STEP, last = 50 * STEP;

	return remove_range(of(stage), PLAIN, &first, &last, 2);
}

static int remove_many(struct changing *c, size_t i, const uint64_t *keys, size_t nr)
{
	thinp_block_t root = UNTOUCHED;
	uint64_t nr_removed = UNTOUCHED;
	int r = thinp_btree_remove_many(c->stage.tm, type_of(c, i), c->now.list[i].root, keys, nr, &root, &nr_removed);

	if (r) {
		assert_true(root == UNTOUCHED && nr_removed == UNTOUCHED);
		return r;
	}
	put(c, i, root);
	return 0;
}

static int remove_many_plain(struct stage *stage)
{
	const uint64_t keys[] = {1, 40 * STEP, 41 * STEP, 42 * STEP, 43 * STEP, 44 * STEP, 45 * STEP, 60 * STEP};

	return remove_many(of(stage), PLAIN, keys, 8);
}

static int remove_many_lower(struct stage *stage)
{
	const uint64_t keys[] = {0, 5 * STEP, 0, 6 * STEP, 2, 2 * STEP, 3, 0};

	return remove_many(of(stage), NESTED, keys, 4);
}

static int remove_range_plain(struct stage *stage)
{
	const uint64_t first = 3 * STEP + 1, last = 30 * STEP;

	return remove_range(of(stage), PLAIN, &first, &last, 0);
}

static int remove_range_lower(struct stage *stage)
{
	const uint64_t first[] = {1, 2 * STEP}, last[] = {1, 14 * STEP};

	return remove_range(of(stage), NESTED, first, last, 0);
}

static int create_one(struct stage *stage)
{
	return create(of(stage), MADE);
}

static int del_snapshot(struct stage *stage)
{
	return del(of(stage), PLAIN_SNAP);
}

static int del_nested_snapshot(struct stage *stage)
{
	return del(of(stage), NESTED_SNAP);
}

static int del_plain(struct stage *stage)
{
	return del(of(stage), PLAIN);
}

static int del_nested(struct stage *stage)
{
	return del(of(stage), NESTED);
}

static int del_made(struct stage *stage)
{
	return del(of(stage), MADE);
}

/* --- the loader --- */

static int feed(struct changing *c, struct thinp_btree_loader *loader)
{
	int r = 0;

	for (uint64_t first = 0; first < NR && !r; first += MANY) {
		uint8_t values[MANY][CHANGING_VALUE];
		uint64_t keys[MANY];

		for (uint32_t i = 0; i < MANY; i++) {
			keys[i] = first + i;
			changing_value(500 + (uint32_t)first + i, values[i]);
		}
		r = thinp_btree_loader_add(loader, keys, values, MANY);
		for (uint32_t i = 0; !r && i < MANY; i++)
			c->now.owners[500 + first + i]++;
	}
	return r;
}

/* Without an end, the tree and its values are dropped with the loader. */
static int load(struct stage *stage)
{
	struct changing *c = of(stage);
	struct thinp_btree_loader *loader = NULL;
	struct thinp_error_info info = {.size = sizeof(info)};
	thinp_block_t root = UNTOUCHED;
	int r = thinp_btree_loader_create(stage->tm, &c->tree, &loader);

	if (r) {
		assert_null(loader);
		return r;
	}
	r = feed(c, loader);
	if (!r)
		r = thinp_btree_loader_finish(loader, &root);
	thinp_error_last(&info);
	thinp_btree_loader_destroy(loader);
	if (r) {
		assert_int_equal(root, UNTOUCHED);
		return thinp_error_report(r, info.block, info.message);
	}
	put(c, LOADED, root);
	return 0;
}

/* --- the play --- */

static const struct act acts[] = {
	{"create", create_one, false},
	{"insert", insert_new, false},
	{"insert in front", insert_in_front, false},
	{"overwrite", overwrite, false},
	{"insert into a lower tree", insert_lower, false},
	{"insert a lower tree", insert_upper, false},
	{"insert many", insert_many_new, false},
	{"insert many into a lower tree", insert_many_lower, false},
	{"remove", remove_plain, false},
	{"remove the next", remove_plain_next, false},
	{"remove from a lower tree", remove_lower, false},
	{"remove many", remove_many_plain, false},
	{"remove many from lower trees", remove_many_lower, false},
	{"remove some leaves", remove_some_leaves, false},
	{"remove a range", remove_range_plain, false},
	{"remove a range of a lower tree", remove_range_lower, false},
	{"drop a snapshot", del_snapshot, false},
	{"drop a nested snapshot", del_nested_snapshot, false},
	{"commit", changing_commit, true},
	{"load", load, false},
	{"drop a tree", del_plain, false},
	{"drop a nested tree", del_nested, false},
	{"drop an empty tree", del_made, false},
	{"commit again", changing_commit, true},
	{NULL, NULL, false},
};
static const struct play play = {
	.acts = acts, .open = open_trees, .close = changing_close, .abort = changing_abort, .look = changing_look};

static void going_on(struct world *w)
{
	play_setup(w, &play, false);
}

static void aborting(struct world *w)
{
	play_setup(w, &play, true);
}

static const struct scenario changing = {
	.name = "changing trees", .setup = going_on, .attempt = play_attempt, .close = play_close, .large = PLAY_LARGE};
static const struct scenario aborted = {.name = "changing trees, and aborting",
					.setup = aborting,
					.attempt = play_attempt,
					.close = play_close,
					.large = PLAY_LARGE};

const struct covered failures_of_changing_trees[] = {
	{"thinp_btree_create", &changing},
	{"thinp_btree_insert", &changing},
	{"thinp_btree_insert_many", &changing},
	{"thinp_btree_remove", &changing},
	{"thinp_btree_remove_many", &changing},
	{"thinp_btree_remove_range", &changing},
	{"thinp_btree_del", &aborted},
	{"thinp_btree_loader_create", &changing},
	{"thinp_btree_loader_add", &changing},
	{"thinp_btree_loader_finish", &changing},
	{NULL, NULL},
};
