/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copies of views: equal to what the view shows, packed, shared as before, counted right; and what comes of failures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "support/alloc_counting.h"

#include "space_map/read.h"
#include "store/view.h"

#include <thinp/array.h>
#include <thinp/btree.h>
#include <thinp/fault.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { NR_BLOCKS = 4096, NR_KEYS = 5000, NR_VALUES = 3000, NR_NESTED = 40, NR_DATA = 40000, MAX_SEEN = 20000 };
enum { TREE, SNAPSHOT, NESTED, ARRAY, NONE };

static const struct thinp_btree_type tree_type = {.size = sizeof(tree_type), .nr_levels = 1, .value_size = 8};
static const struct thinp_btree_type nested_type = {.size = sizeof(nested_type), .nr_levels = 2, .value_size = 12};
static const struct thinp_array_type array_type = {.size = sizeof(array_type), .value_size = 8};

static const struct thinp_copy_root all_roots[] = {
	{.index = TREE, .kind = THINP_ROOT_TREE, .nr_levels = 1, .value_size = 8},
	{.index = SNAPSHOT, .kind = THINP_ROOT_TREE, .nr_levels = 1, .value_size = 8},
	{.index = NESTED, .kind = THINP_ROOT_TREE, .nr_levels = 2, .value_size = 12},
	{.index = ARRAY, .kind = THINP_ROOT_ARRAY},
	{.index = NONE, .kind = THINP_ROOT_TREE, .nr_levels = 1, .value_size = 4}, /* may be described, though 0 */
};

static const struct thinp_copy_opts all = {.size = sizeof(all), .roots = all_roots, .nr_roots = 5};

struct fixture {
	struct thinp_io *io;
	struct thinp_io *to_io;
	struct thinp_store *store;
	struct thinp_view *view;
	struct thinp_store *copy;
};

static struct thinp_io *new_device(uint64_t nr_blocks)
{
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = nr_blocks};
	struct thinp_io *io;

	assert_int_equal(thinp_io_open_memory(&opts, &io), 0);
	return io;
}

static int open_on(struct thinp_io *io, uint32_t flags, struct thinp_store **store)
{
	const struct thinp_store_opts opts = {.size = sizeof(opts), .flags = flags};

	return thinp_store_open(io, &opts, store);
}

/* --- a store with some of everything --- */

static thinp_block_t change_tree(struct thinp_store *store, thinp_block_t root, uint64_t step, uint64_t add)
{
	for (uint64_t i = 0; i < NR_KEYS; i += step) {
		uint64_t key = i * 7919 % NR_KEYS, value = key + add;

		assert_int_equal(thinp_btree_insert(thinp_store_tm(store), &tree_type, root, &key, &value, &root, NULL),
				 0);
	}
	return root;
}

static void make_tree_and_snapshot(struct thinp_store *store)
{
	struct thinp_tm *tm = thinp_store_tm(store);
	thinp_block_t root;

	assert_int_equal(thinp_btree_create(tm, &tree_type, &root), 0);
	root = change_tree(store, root, 1, 0);
	assert_int_equal(thinp_tm_inc(tm, root, 1, THINP_CAUSE_USER), 0);
	assert_int_equal(thinp_store_set_root(store, SNAPSHOT, root), 0);
	root = change_tree(store, root, NR_KEYS / 4, 1); /* few leaves: most are shared */
	assert_int_equal(thinp_store_set_root(store, TREE, root), 0);
}

static void make_nested(struct thinp_store *store)
{
	struct thinp_tm *tm = thinp_store_tm(store);
	thinp_block_t root;

	assert_int_equal(thinp_btree_create(tm, &nested_type, &root), 0);
	for (uint64_t i = 0; i < (uint64_t)NR_NESTED * 300; i++) {
		const uint64_t keys[2] = {i % NR_NESTED, i / NR_NESTED};
		uint8_t value[12] = {(uint8_t)i, (uint8_t)(i >> 8)};

		assert_int_equal(thinp_btree_insert(tm, &nested_type, root, keys, value, &root, NULL), 0);
	}
	assert_int_equal(thinp_store_set_root(store, NESTED, root), 0);
}

static int fill_array(void *ctx, uint64_t begin, uint32_t nr_values, void *values_le)
{
	uint64_t *values = values_le;

	(void)ctx;
	for (uint32_t i = 0; i < nr_values; i++)
		values[i] = (begin + i) * 3;
	return 0;
}

static void make_array_and_map(struct thinp_store *store)
{
	uint8_t user[THINP_STORE_USER_SIZE];
	thinp_block_t root;

	memset(user, 0x5a, sizeof(user));
	assert_int_equal(thinp_store_set_user(store, user), 0);
	assert_int_equal(thinp_array_new(thinp_store_tm(store), &array_type, NR_VALUES, fill_array, NULL, &root), 0);
	assert_int_equal(thinp_store_set_root(store, ARRAY, root), 0);
	assert_int_equal(thinp_store_add_map(store, 2, NR_DATA), 0);
	assert_int_equal(thinp_sm_inc(thinp_store_map(store, 2), 100, 20000), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(thinp_sm_inc(thinp_store_map(store, 2), 16300, 40), 0); /* large counts */
}

static int set_up(void **state)
{
	static struct fixture f;

	f = (struct fixture){.io = new_device(NR_BLOCKS), .to_io = new_device(NR_BLOCKS)};
	assert_int_equal(open_on(f.io, THINP_STORE_CREATE, &f.store), 0);
	assert_int_equal(thinp_store_begin(f.store), 0);
	make_tree_and_snapshot(f.store);
	make_nested(f.store);
	make_array_and_map(f.store);
	assert_int_equal(thinp_store_commit(f.store), 0);
	assert_int_equal(thinp_view_open(f.store, &f.view), 0);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	thinp_store_close(f->copy);
	thinp_view_close(f->view);
	thinp_store_close(f->store);
	thinp_io_close(f->to_io);
	thinp_io_close(f->io);
	return 0;
}

/* --- comparing --- */

struct text {
	uint64_t hash;
	uint64_t nr;
};

static void add(struct text *text, const void *bytes, size_t nbytes)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < nbytes; i++)
		text->hash = (text->hash ^ at[i]) * UINT64_C(0x100000001b3);
}

static int add_span(void *ctx, const struct thinp_btree_span *span)
{
	struct text *text = ctx;

	text->nr += span->nr_entries;
	add(text, span->prefix, 0);
	add(text, span->keys_le, 8 * (size_t)span->nr_entries);
	add(text, span->values_le, (size_t)span->value_size * span->nr_entries);
	return 0;
}

static struct text of_tree(struct thinp_view *view, uint32_t index, const struct thinp_btree_type *type)
{
	struct text text = {.hash = 1};
	thinp_block_t root;

	assert_int_equal(thinp_view_get_root(view, index, &root), 0);
	assert_int_equal(thinp_btree_walk(thinp_view_reader(view), type, root, add_span, &text), 0);
	return text;
}

static void check_same_tree(struct thinp_view *a, struct thinp_view *b, uint32_t index,
			    const struct thinp_btree_type *type, uint64_t nr)
{
	struct text one = of_tree(a, index, type), other = of_tree(b, index, type);

	assert_int_equal(one.nr, nr);
	assert_int_equal(other.nr, nr);
	assert_true(one.hash == other.hash);
}

static void check_array(struct thinp_view *view)
{
	thinp_block_t root;

	assert_int_equal(thinp_view_get_root(view, ARRAY, &root), 0);
	for (uint64_t i = 0; i < NR_VALUES; i++) {
		uint64_t value;

		assert_int_equal(thinp_array_get(thinp_view_reader(view), &array_type, root, i, &value), 0);
		assert_int_equal(value, i * 3);
	}
}

static void check_map(struct thinp_view *view)
{
	const uint64_t blocks[] = {0, 99, 100, 16299, 16300, 16339, 16340, 20099, 20100, NR_DATA - 1};
	const uint32_t counts[] = {0, 0, 1, 1, 6, 6, 1, 1, 0, 0};
	uint32_t count;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		assert_int_equal(thinp_view_count(view, 2, blocks[i], &count), 0);
		assert_int_equal(count, counts[i]);
	}
	assert_int_equal(thinp_view_count(view, 1, 0, &count), THINP_EINVAL);
}

static uint64_t nr_used(struct thinp_view *view)
{
	return view->commit->maps.metadata.nr_allocated;
}

static void check_same(struct thinp_view *a, struct thinp_view *b)
{
	uint8_t user[2][THINP_STORE_USER_SIZE];
	thinp_block_t root;

	check_same_tree(a, b, TREE, &tree_type, NR_KEYS);
	check_same_tree(a, b, SNAPSHOT, &tree_type, NR_KEYS);
	check_same_tree(a, b, NESTED, &nested_type, NR_NESTED * 300);
	check_array(b);
	check_map(b);
	thinp_view_get_user(a, user[0]);
	thinp_view_get_user(b, user[1]);
	assert_memory_equal(user[0], user[1], THINP_STORE_USER_SIZE);
	assert_int_equal(thinp_view_get_root(b, NONE, &root), 0);
	assert_int_equal(root, 0);
}

static void check_copy(struct fixture *f)
{
	struct thinp_view *view;

	assert_int_equal(open_on(f->to_io, 0, &f->copy), 0);
	assert_int_equal(thinp_view_open(f->copy, &view), 0);
	check_same(f->view, view);
	assert_int_equal(nr_used(view), nr_used(f->view)); /* as much is shared as was before */
	thinp_view_close(view);
}

/* Drops everything: only right counts come to 0, and none below. */
static void check_can_be_emptied(struct thinp_store *store)
{
	struct thinp_tm *tm = thinp_store_tm(store);
	struct thinp_sm_info before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	const struct thinp_btree_type *types[] = {&tree_type, &tree_type, &nested_type};
	thinp_block_t root;

	assert_int_equal(thinp_store_begin(store), 0);
	thinp_sm_get_info(thinp_store_metadata_map(store), &before);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(thinp_store_get_root(store, i, &root), 0);
		assert_int_equal(thinp_btree_del(tm, types[i], root), 0);
		assert_int_equal(thinp_store_set_root(store, i, 0), 0);
	}
	assert_int_equal(thinp_store_get_root(store, ARRAY, &root), 0);
	assert_int_equal(thinp_array_del(tm, &array_type, root), 0);
	assert_int_equal(thinp_store_set_root(store, ARRAY, 0), 0);
	assert_int_equal(thinp_sm_dec(thinp_store_map(store, 2), 100, 20000), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(thinp_sm_dec(thinp_store_map(store, 2), 16300, 40), 0);
	assert_int_equal(thinp_store_commit(store), 0);
	thinp_sm_get_info(thinp_store_metadata_map(store), &after);
	/* two slots, index, two bitmap levels and overflow roots of the maps are about all that is left */
	assert_true(after.nr_blocks - after.nr_zero < 20);
	assert_true(before.nr_zero < after.nr_zero);
}

/* --- the tests --- */

static void a_copy_is_equal_and_can_be_changed(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(thinp_view_copy(f->view, f->to_io, &all), 0);
	check_copy(f);
	check_can_be_emptied(f->copy);
	check_can_be_emptied(f->store);
}

static void a_copy_shows_the_view_and_not_what_came_later(void **state)
{
	struct fixture *f = *state;
	thinp_block_t root;

	assert_int_equal(thinp_store_begin(f->store), 0);
	assert_int_equal(thinp_store_get_root(f->store, TREE, &root), 0);
	assert_int_equal(thinp_btree_del(thinp_store_tm(f->store), &tree_type, root), 0);
	assert_int_equal(thinp_store_set_root(f->store, TREE, 0), 0);
	assert_int_equal(thinp_store_commit(f->store), 0);
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &all), 0);
	check_copy(f);
}

static void COW_04_a_copy_needs_no_more_room_than_what_it_holds(void **state)
{
	struct fixture *f = *state;

	thinp_io_close(f->to_io);
	f->to_io = new_device(nr_used(f->view) + 40);
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &all), 0);
	check_copy(f);
}

static void roots_must_be_described_rightly(void **state)
{
	struct fixture *f = *state;
	struct thinp_copy_root roots[5];
	struct thinp_copy_opts opts = all;

	opts.roots = roots;
	for (uint32_t missing = TREE; missing <= ARRAY; missing++) {
		memcpy(roots, all_roots, sizeof(roots));
		roots[missing].index = 9;
		assert_int_equal(thinp_view_copy(f->view, f->to_io, &opts), THINP_EINVAL);
	}
	for (int what = 0; what < 6; what++) {
		memcpy(roots, all_roots, sizeof(roots));
		roots[4].index = what == 0 ? 16 : what == 1 ? TREE : NONE;
		roots[4].kind = what == 2 ? 3 : THINP_ROOT_TREE;
		roots[4].nr_levels = what == 3 ? 5 : what == 4 ? 0 : 1;
		roots[4].value_size = what == 5 ? 4096 : 4;
		assert_int_equal(thinp_view_copy(f->view, f->to_io, &opts), THINP_EINVAL);
	}
	assert_int_equal(thinp_view_copy(f->view, f->to_io, NULL), THINP_EINVAL);
	assert_int_equal(open_on(f->to_io, 0, &f->copy), THINP_EUNFORMATTED); /* nothing was changed */
}

static void what_is_not_as_described_is_damage(void **state)
{
	struct fixture *f = *state;
	struct thinp_copy_root roots[5];
	struct thinp_copy_opts opts = all;

	opts.roots = roots;
	for (uint32_t i = TREE; i <= ARRAY; i++) {
		memcpy(roots, all_roots, sizeof(roots));
		roots[i].kind = THINP_ROOT_TREE;
		roots[i].nr_levels = 1;
		roots[i].value_size = 16;
		assert_int_equal(thinp_view_copy(f->view, f->to_io, &opts), THINP_ECORRUPT);
		assert_int_equal(open_on(f->to_io, 0, &f->copy), THINP_EUNFORMATTED); /* it was taken back */
	}
}

/* A tree of numbers described as one of roots: the numbers are no addresses, or lead in a circle. */
static void numbers_are_not_followed_far(void **state)
{
	struct fixture *f = *state;
	struct thinp_copy_root roots[5];
	struct thinp_copy_opts opts = all;

	memcpy(roots, all_roots, sizeof(roots));
	roots[TREE] = (struct thinp_copy_root){.index = TREE, .kind = THINP_ROOT_TREE, .nr_levels = 2, .value_size = 8};
	opts.roots = roots;
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &opts), THINP_ECORRUPT);
	assert_int_equal(open_on(f->to_io, 0, &f->copy), THINP_EUNFORMATTED);
}

static void a_node_that_is_its_own_ancestor_is_damage(void **state)
{
	struct fixture *f = *state;
	const struct thinp_copy_root root = {.index = TREE, .kind = THINP_ROOT_TREE, .nr_levels = 2, .value_size = 8};
	const struct thinp_copy_opts opts = {
		.size = sizeof(opts), .roots = &root, .nr_roots = 1, .flags = THINP_STORE_OVERWRITE};
	struct thinp_tm *tm;
	thinp_block_t block;
	uint64_t key = 0;

	thinp_view_close(f->view);
	f->view = NULL;
	thinp_store_close(f->store);
	assert_int_equal(open_on(f->io, THINP_STORE_OVERWRITE, &f->store), 0);
	tm = thinp_store_tm(f->store);
	assert_int_equal(thinp_store_begin(f->store), 0);
	assert_int_equal(thinp_btree_create(tm, &tree_type, &block), 0);
	assert_int_equal(thinp_btree_insert(tm, &tree_type, block, &key, &block, &block, NULL), 0);
	assert_int_equal(thinp_store_set_root(f->store, TREE, block), 0);
	assert_int_equal(thinp_store_commit(f->store), 0);
	assert_int_equal(thinp_view_open(f->store, &f->view), 0);
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &opts), THINP_ECORRUPT);
}

static void what_is_there_is_not_overwritten_unasked(void **state)
{
	struct fixture *f = *state;
	struct thinp_copy_opts opts = all;

	assert_int_equal(thinp_view_copy(f->view, f->to_io, &all), 0);
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &all), THINP_EINVAL);
	assert_int_equal(thinp_view_copy(f->view, f->io, &all), THINP_EINVAL);
	opts.flags = THINP_STORE_OVERWRITE;
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &opts), 0);
	check_copy(f);
	opts.flags = THINP_STORE_LIVE;
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &opts), THINP_ENOTSUP);
}

struct background {
	struct fixture *f;
	atomic_bool is_done;
	int result;
};

static void *copy_in_background(void *ctx)
{
	struct background *background = ctx;

	background->result = thinp_view_copy(background->f->view, background->f->to_io, &all);
	atomic_store(&background->is_done, true);
	return NULL;
}

static void commit_one_change(struct thinp_store *store, uint64_t number)
{
	thinp_block_t root;
	uint64_t key = number * 7919 % NR_KEYS;

	assert_int_equal(thinp_store_begin(store), 0);
	assert_int_equal(thinp_store_get_root(store, TREE, &root), 0);
	assert_int_equal(thinp_btree_insert(thinp_store_tm(store), &tree_type, root, &key, &number, &root, NULL), 0);
	assert_int_equal(thinp_store_set_root(store, TREE, root), 0);
	assert_int_equal(thinp_store_commit(store), 0);
}

static void the_writer_goes_on_meanwhile(void **state)
{
	struct background background = {.f = *state, .result = -1};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, copy_in_background, &background), 0);
	for (uint64_t i = 0; i < 20 || (i < 200 && !atomic_load(&background.is_done)); i++)
		commit_one_change(background.f->store, i);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(background.result, 0);
	check_copy(background.f);
}

struct progress {
	uint64_t last;
	uint64_t nr_calls;
	uint64_t stop_at;
};

static int note_progress(void *ctx, uint64_t nr_copied, uint64_t nr_blocks)
{
	struct progress *progress = ctx;

	assert_true(nr_copied > progress->last && nr_copied <= nr_blocks);
	progress->last = nr_copied;
	return ++progress->nr_calls == progress->stop_at ? 77 : 0;
}

static void progress_is_told_and_can_stop_it(void **state)
{
	struct fixture *f = *state;
	struct progress progress = {.stop_at = 1};
	struct thinp_copy_opts opts = all;

	opts.progress = note_progress;
	opts.progress_ctx = &progress;
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &opts), 77);
	assert_int_equal(open_on(f->to_io, 0, &f->copy), THINP_EUNFORMATTED);
	progress = (struct progress){0};
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &opts), 0);
	assert_int_equal(progress.nr_calls, progress.last / 64);
	assert_true(progress.nr_calls > 0);
	check_copy(f);
}

static void a_device_that_is_too_small_is_told(void **state)
{
	struct fixture *f = *state;

	thinp_io_close(f->to_io);
	f->to_io = new_device(nr_used(f->view) - 40);
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &all), THINP_ENOSPC);
	assert_int_equal(open_on(f->to_io, 0, &f->copy), THINP_EUNFORMATTED);
}

static void a_stale_view_is_not_copied(void **state)
{
	struct fixture *f = *state;

	tp_reader_make_stale(thinp_view_reader(f->view));
	assert_int_equal(thinp_view_copy(f->view, f->to_io, &all), THINP_ESTALE);
	assert_int_equal(open_on(f->to_io, 0, &f->copy), THINP_EUNFORMATTED);
}

/* --- failures --- */

static int copy_with(struct thinp_io *from, struct thinp_io *to, const struct thinp_allocator *allocator)
{
	const struct thinp_store_opts opts = {.size = sizeof(opts), .allocator = allocator};
	struct thinp_copy_opts copy_opts = all;
	struct thinp_store *store;
	struct thinp_view *view;
	int r = thinp_store_open(from, &opts, &store);

	if (r)
		return r;
	copy_opts.flags = THINP_STORE_OVERWRITE;
	r = thinp_view_open(store, &view);
	if (!r) {
		r = thinp_view_copy(view, to, &copy_opts);
		thinp_view_close(view);
	}
	thinp_store_close(store);
	return r;
}

static void OOMLOOP_every_allocation_may_fail(void **state)
{
	struct fixture *f = *state;
	struct alloc_counting alloc;
	bool has_failed = true;

	alloc_counting_init(&alloc);
	for (size_t n = 1; has_failed; n++) {
		int r;

		alloc_counting_fail(&alloc, n);
		r = copy_with(f->io, f->to_io, &alloc.table);
		has_failed = alloc_counting_has_failed(&alloc);
		assert_true(r == 0 ||
			    (has_failed && r == THINP_ENOMEM)); /* what is only fetched ahead may fail quietly */
		alloc_counting_check(&alloc);
	}
	check_copy(f);
}

/* After a failure there is no store, or one that is whole; only where even that could not be taken back an empty one. */
static void check_after_failure(struct thinp_io *io, int r)
{
	struct thinp_store *store = NULL;
	thinp_block_t root;
	int opened = open_on(io, 0, &store);

	if (opened) {
		assert_true(opened == THINP_EUNFORMATTED || opened == THINP_ECORRUPT);
		return;
	}
	assert_int_equal(thinp_store_get_root(store, TREE, &root), 0);
	assert_true(root == 0 || r == THINP_EUNKNOWN);
	thinp_store_close(store);
}

static void fail_one_by_one(struct fixture *f, struct thinp_fault *fault, uint32_t kind)
{
	static const _Alignas(THINP_BLOCK_SIZE) uint8_t zeros[2 * THINP_BLOCK_SIZE];
	uint64_t fired = 1;

	for (uint64_t n = 1; fired; n++) {
		uint64_t id, matched;
		int r;

		assert_int_equal(thinp_io_write(f->to_io, 0, 2, zeros), 0);
		assert_int_equal(thinp_fault_fail_nth(fault, kind, n, THINP_EIO, &id), 0);
		r = copy_with(f->io, f->to_io, NULL);
		assert_int_equal(thinp_fault_get_counts(fault, id, &matched, &fired), 0);
		thinp_fault_clear(fault);
		assert_true(fired ? r == THINP_EIO || r == THINP_EUNKNOWN : r == 0);
		if (fired)
			check_after_failure(f->to_io, r);
	}
}

static void ERRLOOP_every_operation_of_the_device_may_fail(void **state)
{
	struct fixture *f = *state;
	struct thinp_io *lower = f->to_io;
	struct thinp_fault *fault;

	assert_int_equal(thinp_fault_create(lower, NULL, &fault), 0);
	assert_int_equal(thinp_fault_open(fault, NULL, &f->to_io), 0);
	fail_one_by_one(f, fault, THINP_IO_READ);
	fail_one_by_one(f, fault, THINP_IO_WRITE);
	fail_one_by_one(f, fault, THINP_IO_FLUSH);
	thinp_io_close(f->to_io);
	thinp_fault_destroy(fault);
	f->to_io = lower;
	check_copy(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_copy_is_equal_and_can_be_changed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_copy_shows_the_view_and_not_what_came_later, set_up, tear_down),
		cmocka_unit_test_setup_teardown(COW_04_a_copy_needs_no_more_room_than_what_it_holds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_writer_goes_on_meanwhile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(roots_must_be_described_rightly, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_not_as_described_is_damage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(numbers_are_not_followed_far, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_node_that_is_its_own_ancestor_is_damage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_there_is_not_overwritten_unasked, set_up, tear_down),
		cmocka_unit_test_setup_teardown(progress_is_told_and_can_stop_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_device_that_is_too_small_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_stale_view_is_not_copied, set_up, tear_down),
		cmocka_unit_test_setup_teardown(OOMLOOP_every_allocation_may_fail, set_up, tear_down),
		cmocka_unit_test_setup_teardown(ERRLOOP_every_operation_of_the_device_may_fail, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("integration/view_copy", tests, NULL, NULL);
}
