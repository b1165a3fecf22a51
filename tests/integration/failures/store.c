/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/store.c - stores and views.
 */
#include "failures.h"

#include <thinp/btree.h>
#include <thinp/store.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { NR_KEYS = 300, NR_DATA = 1000, SMALL_CACHE = 24 };

static const struct thinp_btree_type tree = {.size = sizeof(tree), .nr_levels = 1, .value_size = 64};

static int open_store(struct world *w, uint32_t flags, struct thinp_store **store)
{
	struct thinp_store_opts opts = {.size = sizeof(opts),
					.flags = flags,
					.cache_blocks = SMALL_CACHE, /* so small that changes are written early */
					.nr_blocks = WORLD_BLOCKS / 2,
					.allocator = &w->alloc.table};

	return thinp_store_open(w->io, &opts, store);
}

static int open_and_close(struct world *w, uint32_t flags)
{
	struct thinp_store *store = NULL;
	int r = open_store(w, flags, &store);

	thinp_store_close(store);
	return r;
}

static int make_one(struct world *w)
{
	return open_and_close(w, THINP_STORE_OVERWRITE);
}

static int open_again(struct world *w)
{
	int r = open_and_close(w, THINP_STORE_READ_ONLY);

	return r ? r : open_and_close(w, 0);
}

static int insert_some(struct thinp_store *store)
{
	uint8_t value[64] = {0};
	thinp_block_t root;
	bool is_new;
	int r = thinp_store_get_root(store, 0, &root);

	if (!r && !root)
		r = thinp_btree_create(thinp_store_tm(store), &tree, &root);
	for (uint64_t key = 0; !r && key < NR_KEYS; key++) {
		memcpy(value, &key, sizeof(key));
		r = thinp_btree_insert(thinp_store_tm(store), &tree, root, &key, value, &root, &is_new);
	}
	return r ? r : thinp_store_set_root(store, 0, root);
}

static int count_some(struct thinp_store *store)
{
	int r = 0;

	if (!thinp_store_map(store, 2))
		r = thinp_store_add_map(store, 2, NR_DATA);
	return r ? r : thinp_sm_inc(thinp_store_map(store, 2), 10, 20);
}

static int grow_a_little(struct thinp_store *store)
{
	struct thinp_store_info info = {.size = sizeof(info)};

	thinp_store_get_info(store, &info);
	return thinp_store_grow(store, info.nr_blocks + 1);
}

static int change(struct world *w)
{
	struct thinp_store *store = w->own;
	uint8_t user[THINP_STORE_USER_SIZE];
	int r = thinp_store_abort(store);

	if (!r)
		r = thinp_store_begin(store);
	if (r)
		return r;
	thinp_store_get_user(store, user);
	user[0]++;
	r = thinp_store_set_user(store, user);
	if (!r)
		r = insert_some(store);
	if (!r)
		r = count_some(store);
	if (!r)
		r = grow_a_little(store);
	return r ? r : thinp_store_commit(store);
}

static void setup(struct world *w)
{
	struct thinp_store *store;

	assert_int_equal(open_store(w, THINP_STORE_CREATE, &store), 0);
	w->own = store;
	assert_int_equal(change(w), 0);
	assert_int_equal(change(w), 0);
}

static void close_store(struct world *w)
{
	thinp_store_close(w->own);
}

static void setup_closed(struct world *w)
{
	setup(w);
	close_store(w);
	w->own = NULL;
}

/* Of a store that was just opened: nothing is in its cache. */
static void setup_reopened(struct world *w)
{
	struct thinp_store *store;

	setup_closed(w);
	assert_int_equal(open_store(w, 0, &store), 0);
	w->own = store;
}

static int count_span(void *ctx, const struct thinp_btree_span *span)
{
	*(uint64_t *)ctx += span->nr_entries;
	return 0;
}

static int read_view(struct thinp_view *view)
{
	uint64_t nr = 0;
	thinp_block_t root;
	uint32_t count;
	int r = thinp_view_get_root(view, 0, &root);

	if (!r)
		r = thinp_btree_walk(thinp_view_reader(view), &tree, root, count_span, &nr);
	if (!r)
		r = thinp_view_count(view, 2, 15, &count);
	if (!r) {
		assert_int_equal(nr, NR_KEYS);
		assert_int_equal(count, 2);
	}
	return r;
}

static int look(struct world *w)
{
	struct thinp_view *view = NULL;
	int r = thinp_view_open(w->own, &view);

	if (!r)
		r = read_view(view);
	thinp_view_close(view);
	return r;
}

/* Onto another device, which does not fail here. */
static int copy(struct world *w)
{
	const struct thinp_copy_root root = {
		.index = 0, .kind = THINP_ROOT_TREE, .nr_levels = tree.nr_levels, .value_size = tree.value_size};
	const struct thinp_copy_opts opts = {
		.size = sizeof(opts), .roots = &root, .nr_roots = 1, .cache_blocks = SMALL_CACHE};
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = WORLD_BLOCKS};
	struct thinp_view *view = NULL;
	struct thinp_io *to;
	int r = thinp_view_open(w->own, &view);

	assert_int_equal(thinp_io_open_memory(&io_opts, &to), 0);
	if (!r)
		r = thinp_view_copy(view, to, &opts);
	thinp_view_close(view);
	thinp_io_close(to);
	return r;
}

static void setup_live(struct world *w)
{
	struct thinp_store *store;

	setup_closed(w);
	assert_int_equal(open_store(w, THINP_STORE_LIVE, &store), 0);
	w->own = store;
}

static int count_live(struct world *w, uint64_t *nr)
{
	struct thinp_reader *reader;
	thinp_block_t root;
	int r = thinp_store_live_begin(w->own, &reader);

	if (r)
		return r;
	r = thinp_store_get_root(w->own, 0, &root);
	if (!r)
		r = thinp_btree_walk(reader, &tree, root, count_span, nr);
	thinp_store_live_end(w->own);
	return r;
}

/* Looks before and after something is changed, which is taken back. */
static int look_live(struct world *w)
{
	uint64_t before = 0;
	uint64_t after = 0;
	int r = thinp_store_abort(w->own);

	if (!r)
		r = count_live(w, &before);
	if (!r)
		r = thinp_store_begin(w->own);
	if (!r) {
		thinp_store_change_begin(w->own);
		r = insert_some(w->own);
		thinp_store_change_end(w->own);
	}
	if (!r)
		r = count_live(w, &after);
	if (!r) {
		assert_int_equal(before, NR_KEYS);
		assert_int_equal(after, NR_KEYS);
	}
	return r ? r : thinp_store_abort(w->own);
}

/* the block cache's room for writing */
#define LARGE ((SMALL_CACHE + 1) * (size_t)THINP_BLOCK_SIZE)

static const struct scenario making = {.name = "making a store", .attempt = make_one, .large = LARGE};
static const struct scenario opening = {
	.name = "opening a store", .setup = setup_closed, .attempt = open_again, .large = LARGE};
static const struct scenario changing = {
	.name = "changing a store", .setup = setup_reopened, .attempt = change, .close = close_store, .large = LARGE};
static const struct scenario viewing = {
	.name = "viewing a store", .setup = setup_reopened, .attempt = look, .close = close_store, .large = LARGE};
static const struct scenario copying = {
	.name = "copying a view", .setup = setup_reopened, .attempt = copy, .close = close_store, .large = LARGE};
static const struct scenario living = {.name = "looking at an open transaction",
				       .setup = setup_live,
				       .attempt = look_live,
				       .close = close_store,
				       .large = LARGE};

const struct covered failures_of_store[] = {
	{"thinp_store_open", &making},       {"thinp_store_close", &opening},
	{"thinp_store_begin", &changing},    {"thinp_store_commit", &changing},
	{"thinp_store_abort", &changing},    {"thinp_store_get_root", &changing},
	{"thinp_store_set_root", &changing}, {"thinp_store_set_user", &changing},
	{"thinp_store_add_map", &changing},  {"thinp_store_grow", &changing},
	{"thinp_view_open", &viewing},       {"thinp_view_get_root", &viewing},
	{"thinp_view_count", &viewing},      {"thinp_view_copy", &copying},
	{"thinp_store_live_begin", &living}, {NULL, NULL},
};
