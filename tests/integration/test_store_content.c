/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/test_store_content.c - what a store can hold, and every way to read it: trees, arrays, bitsets, counts, and
 * blocks of a kind of the user's own. Two threads read through views while a third commits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/bytes.h"

#include <thinp/array.h>
#include <thinp/btree.h>
#include <thinp/error.h>
#include <thinp/store.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { NR_BLOCKS = 3000, NR_KEYS = 2000, NR_VALUES = 1500, NR_DATA = 20000, NR_COMMITS = 60, NR_READERS = 2 };
enum { TREE, NESTED, ARRAY, BITS, JOURNAL }; /* roots */
enum { LENGTH = 16, FIRST_BYTE = 24 };       /* of a journal block */

static const struct thinp_btree_type tree_type = {.size = sizeof(tree_type), .nr_levels = 1, .value_size = 8};
static const struct thinp_btree_type nested_type = {.size = sizeof(nested_type), .nr_levels = 2, .value_size = 8};
static const struct thinp_array_type array_type = {.size = sizeof(array_type), .value_size = 8};

/* A block of the user's own: its length, and so many bytes that are all the same. */
static int check_journal(const void *data, thinp_block_t block)
{
	const uint8_t *bytes = data;
	uint64_t length = tp_load_le64(bytes + LENGTH);

	if (length > THINP_BLOCK_SIZE - FIRST_BYTE)
		return thinp_error_report(THINP_ECORRUPT, block, "journal: too long");
	for (uint64_t i = 1; i < length; i++)
		if (bytes[FIRST_BYTE + i] != bytes[FIRST_BYTE])
			return thinp_error_report(THINP_ECORRUPT, block, "journal: bytes differ");
	return 0;
}

static const struct thinp_block_type journal_type = {.size = sizeof(journal_type),
						     .name = "journal",
						     .csum_xor = 91919,
						     .address_offset = 8,
						     .check = check_journal};

/* --- the content of commit n --- */

static bool is_changed(uint64_t key, uint64_t commit)
{
	return key % 7 == commit % 7;
}

/* The last commit that has changed the key. */
static uint64_t wanted(uint64_t key, uint64_t commit)
{
	uint64_t back = (commit % 7 + 7 - key % 7) % 7;

	return commit >= back ? commit - back : 0;
}

static thinp_block_t root_of(struct thinp_store *store, uint32_t index)
{
	thinp_block_t root;

	assert_int_equal(thinp_store_get_root(store, index, &root), 0);
	return root;
}

static void change_trees(struct thinp_store *store, uint64_t commit)
{
	struct thinp_tm *tm = thinp_store_tm(store);
	thinp_block_t tree = root_of(store, TREE), nested = root_of(store, NESTED), array = root_of(store, ARRAY);
	uint8_t value_le[8];

	tp_store_le64(value_le, commit);
	for (uint64_t key = 0; key < NR_KEYS; key++) {
		const uint64_t keys[2] = {key / 100, key % 100};

		if (!is_changed(key, commit))
			continue;
		assert_int_equal(thinp_btree_insert(tm, &tree_type, tree, &key, value_le, &tree, NULL), 0);
		assert_int_equal(thinp_btree_insert(tm, &nested_type, nested, keys, value_le, &nested, NULL), 0);
		if (key < NR_VALUES)
			assert_int_equal(thinp_array_set(tm, &array_type, array, key, value_le, &array), 0);
	}
	assert_int_equal(thinp_store_set_root(store, TREE, tree), 0);
	assert_int_equal(thinp_store_set_root(store, NESTED, nested), 0);
	assert_int_equal(thinp_store_set_root(store, ARRAY, array), 0);
}

/* The journal says which commit it is, by its length and its bytes. */
static void change_journal(struct thinp_store *store, uint64_t commit)
{
	thinp_block_t block = root_of(store, JOURNAL);
	struct thinp_buffer *buffer;
	bool inc_children;
	void *data;

	if (block)
		assert_int_equal(thinp_tm_shadow_block(thinp_store_tm(store), block, &journal_type, THINP_CAUSE_USER,
						       &block, &buffer, &data, &inc_children),
				 0);
	else
		assert_int_equal(thinp_tm_new_block(thinp_store_tm(store), &journal_type, THINP_CAUSE_USER, &block,
						    &buffer, &data),
				 0);
	tp_store_le64((uint8_t *)data + LENGTH, 1000 + commit);
	memset((uint8_t *)data + FIRST_BYTE, (int)commit, 1000 + commit);
	thinp_tm_unlock(thinp_store_tm(store), buffer);
	assert_int_equal(thinp_store_set_root(store, JOURNAL, block), 0);
}

static void commit_next(struct thinp_store *store, uint64_t commit)
{
	uint8_t user[THINP_STORE_USER_SIZE] = {0};

	assert_int_equal(thinp_store_begin(store), 0);
	tp_store_le64(user, commit);
	assert_int_equal(thinp_store_set_user(store, user), 0);
	change_trees(store, commit);
	change_journal(store, commit);
	assert_int_equal(thinp_sm_inc(thinp_store_map(store, 0), commit, 10), 0);
	assert_int_equal(thinp_store_commit(store), 0);
}

static int fill_values(void *ctx, uint64_t begin, uint32_t nr_values, void *values_le)
{
	(void)ctx, (void)begin;
	memset(values_le, 0, 8 * (size_t)nr_values);
	return 0;
}

static void make_bits(struct thinp_store *store)
{
	static const struct thinp_array_type words_type = {.size = sizeof(words_type), .value_size = 8};
	struct thinp_tm *tm = thinp_store_tm(store);
	uint8_t word_le[8];
	thinp_block_t root;

	assert_int_equal(thinp_array_new(tm, &words_type, NR_VALUES / 64 + 1, fill_values, NULL, &root), 0);
	tp_store_le64(word_le, UINT64_C(0xf0f0));
	assert_int_equal(thinp_array_set(tm, &words_type, root, 3, word_le, &root), 0);
	assert_int_equal(thinp_store_set_root(store, BITS, root), 0);
}

static void make(struct thinp_io *io, struct thinp_store **store)
{
	const struct thinp_store_opts opts = {.size = sizeof(opts), .flags = THINP_STORE_CREATE, .cache_blocks = 128};
	struct thinp_tm *tm;
	thinp_block_t root;

	assert_int_equal(thinp_store_open(io, &opts, store), 0);
	tm = thinp_store_tm(*store);
	assert_int_equal(thinp_store_begin(*store), 0);
	assert_int_equal(thinp_btree_create(tm, &tree_type, &root), 0);
	assert_int_equal(thinp_store_set_root(*store, TREE, root), 0);
	assert_int_equal(thinp_btree_create(tm, &nested_type, &root), 0);
	assert_int_equal(thinp_store_set_root(*store, NESTED, root), 0);
	assert_int_equal(thinp_array_new(tm, &array_type, NR_VALUES, fill_values, NULL, &root), 0);
	assert_int_equal(thinp_store_set_root(*store, ARRAY, root), 0);
	make_bits(*store);
	assert_int_equal(thinp_store_add_map(*store, 0, NR_DATA), 0);
	assert_int_equal(thinp_store_commit(*store), 0);
	for (uint64_t commit = 1; commit <= 7; commit++) /* from then on every key is there */
		commit_next(*store, commit);
}

/* --- reading; on any thread, so nothing is asserted: 0, or a code --- */

struct shown {
	struct thinp_view *view;
	struct thinp_reader *reader;
	uint64_t commit;
};

static int unlike(void)
{
	return thinp_error_report(THINP_ECORRUPT, THINP_NO_BLOCK, "not what the commit has");
}

static int get_root(const struct shown *s, uint32_t index, thinp_block_t *root)
{
	return thinp_view_get_root(s->view, index, root);
}

static int look_up(const struct shown *s)
{
	thinp_block_t tree = 0, nested = 0;
	uint8_t value_le[8], other_le[8];
	int r = get_root(s, TREE, &tree);

	if (!r)
		r = get_root(s, NESTED, &nested);
	for (uint64_t key = s->commit % 13; !r && key < NR_KEYS; key += 13) {
		const uint64_t keys[2] = {key / 100, key % 100};
		uint64_t found = 0;

		r = thinp_btree_lookup(s->reader, &tree_type, tree, &key, value_le);
		if (!r)
			r = thinp_btree_lookup(s->reader, &nested_type, nested, keys, other_le);
		if (!r && (tp_load_le64(value_le) != wanted(key, s->commit) || memcmp(value_le, other_le, 8)))
			r = unlike();
		if (!r)
			r = thinp_btree_lookup_ge(s->reader, &tree_type, tree, &key, &found, value_le);
		if (!r && found != key)
			r = unlike();
	}
	return r;
}

static int look_up_many(const struct shown *s)
{
	enum { NR = 300 };
	uint64_t keys[NR];
	uint8_t values_le[8 * NR];
	int32_t results[NR];
	thinp_block_t tree = 0;
	int r = get_root(s, TREE, &tree);

	for (uint64_t i = 0; i < NR; i++)
		keys[i] = i * 7919 % (2 * NR_KEYS);
	if (!r)
		r = thinp_btree_lookup_many(s->reader, &tree_type, tree, keys, NR, values_le, results);
	for (uint64_t i = 0; !r && i < NR; i++) {
		if (results[i] != (keys[i] < NR_KEYS ? 0 : THINP_ENODATA))
			r = unlike();
		else if (!results[i] && tp_load_le64(values_le + 8 * i) != wanted(keys[i], s->commit))
			r = unlike();
	}
	return r;
}

static int step_through(const struct shown *s, struct thinp_btree_cursor *cursor)
{
	uint8_t value_le[8];
	uint64_t key;
	int r = 0;

	for (uint64_t i = 0; !r && i < NR_KEYS; i++) {
		r = thinp_btree_cursor_next(cursor);
		if (!r)
			r = thinp_btree_cursor_get(cursor, &key, value_le);
		if (!r && (key != i || tp_load_le64(value_le) != wanted(i, s->commit)))
			r = unlike();
	}
	if (!r && thinp_btree_cursor_next(cursor) != THINP_ENODATA)
		r = unlike();
	return r ? r : thinp_btree_cursor_prev(cursor);
}

static int go_with_cursor(const struct shown *s)
{
	struct thinp_btree_cursor *cursor;
	thinp_block_t tree = 0;
	int r = get_root(s, TREE, &tree);

	if (!r)
		r = thinp_btree_cursor_create(s->reader, &tree_type, tree, &cursor);
	if (r)
		return r;
	r = step_through(s, cursor);
	thinp_btree_cursor_destroy(cursor);
	return r;
}

static int read_arrays(const struct shown *s)
{
	thinp_block_t array = 0, bits = 0;
	uint8_t value_le[8];
	bool is_set = false;
	int r = get_root(s, ARRAY, &array);

	if (!r)
		r = get_root(s, BITS, &bits);
	for (uint64_t i = 0; !r && i < NR_VALUES; i += 11) {
		r = thinp_array_get(s->reader, &array_type, array, i, value_le);
		if (!r && tp_load_le64(value_le) != wanted(i, s->commit))
			r = unlike();
		if (!r)
			r = thinp_bitset_test(s->reader, bits, i, &is_set);
		if (!r && is_set != (i / 64 == 3 && (UINT64_C(0xf0f0) >> i % 64 & 1)))
			r = unlike();
	}
	return r;
}

static int read_counts(const struct shown *s)
{
	uint32_t count = 0;
	int r = 0;

	for (uint64_t block = 0; !r && block < NR_COMMITS + 20; block++) {
		uint64_t first = block > 9 ? block - 9 : 1, last = block < s->commit ? block : s->commit;

		r = thinp_view_count(s->view, 0, block, &count);
		if (!r && count != (last >= first ? last - first + 1 : 0))
			r = unlike();
	}
	return r;
}

static int read_journal(const struct shown *s)
{
	struct thinp_read_section section;
	const void *data;
	thinp_block_t block = 0;
	int r = get_root(s, JOURNAL, &block);

	if (r)
		return r;
	thinp_read_begin(s->reader, &section);
	r = thinp_read_block(&section, block, &journal_type, &data);
	if (!r && tp_load_le64((const uint8_t *)data + LENGTH) != 1000 + s->commit)
		r = unlike();
	thinp_read_end(&section);
	return r;
}

static int read_all(struct thinp_view *view)
{
	int (*const ways[])(const struct shown *) = {look_up,     look_up_many, go_with_cursor,
						     read_arrays, read_counts,  read_journal};
	struct shown s = {.view = view, .reader = thinp_view_reader(view)};
	uint8_t user[THINP_STORE_USER_SIZE];
	int r = 0;

	thinp_view_get_user(view, user);
	s.commit = tp_load_le64(user);
	for (size_t i = 0; !r && i < sizeof(ways) / sizeof(ways[0]); i++)
		r = ways[i](&s);
	return r;
}

/* --- the tests --- */

struct fixture {
	struct thinp_io *io;
	struct thinp_store *store;
	atomic_bool is_over;
	atomic_int failure;
	atomic_uint nr_read;
};

static int set_up(void **state)
{
	static struct fixture f;
	const struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = NR_BLOCKS};

	memset(&f, 0, sizeof(f));
	assert_int_equal(thinp_io_open_memory(&opts, &f.io), 0);
	make(f.io, &f.store);
	*state = &f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	thinp_store_close(f->store);
	thinp_io_close(f->io);
	return 0;
}

static void expect_shown(struct fixture *f, int code)
{
	struct thinp_view *view;

	assert_int_equal(thinp_view_open(f->store, &view), 0);
	assert_int_equal(read_all(view), code);
	thinp_view_close(view);
}

static void *read_views(void *ctx)
{
	struct fixture *f = ctx;
	int r = 0;

	while (!r && !atomic_load(&f->is_over)) {
		struct thinp_view *view;

		r = thinp_view_open(f->store, &view);
		if (r)
			break;
		r = read_all(view);
		thinp_view_close(view);
		atomic_fetch_add(&f->nr_read, 1);
	}
	if (r)
		atomic_store(&f->failure, r);
	return NULL;
}

static void every_way_of_reading_sees_one_commit_while_others_are_made(void **state)
{
	struct fixture *f = *state;
	pthread_t readers[NR_READERS];

	for (int i = 0; i < NR_READERS; i++)
		assert_int_equal(pthread_create(&readers[i], NULL, read_views, f), 0);
	for (uint64_t commit = 8; commit <= NR_COMMITS; commit++)
		commit_next(f->store, commit);
	while (atomic_load(&f->nr_read) < 2 * NR_READERS && !atomic_load(&f->failure))
		;
	atomic_store(&f->is_over, true);
	for (int i = 0; i < NR_READERS; i++)
		assert_int_equal(pthread_join(readers[i], NULL), 0);
	assert_int_equal(atomic_load(&f->failure), 0);
	expect_shown(f, 0);
}

static void reopen(struct fixture *f)
{
	thinp_store_close(f->store);
	f->store = NULL;
	assert_int_equal(thinp_store_open(f->io, NULL, &f->store), 0);
}

static void a_block_of_the_users_own_kind_is_part_of_the_commit(void **state)
{
	struct fixture *f = *state;
	thinp_block_t before = root_of(f->store, JOURNAL);

	commit_next(f->store, 8);
	assert_int_not_equal(root_of(f->store, JOURNAL), before); /* the last commit's was not written over */
	reopen(f);
	expect_shown(f, 0);
	assert_int_equal(thinp_store_begin(f->store), 0);
	change_journal(f->store, 9);
	assert_int_equal(thinp_store_abort(f->store), 0);
	reopen(f);
	expect_shown(f, 0);
}

/* Its checksum and its address are ours to check; what is in it, the user's. */
static void a_block_of_the_users_own_kind_is_checked_by_both(void **state)
{
	static _Alignas(THINP_BLOCK_SIZE) uint8_t block[THINP_BLOCK_SIZE];
	struct thinp_error_info info = {.size = sizeof(info)};
	struct fixture *f = *state;
	thinp_block_t at = root_of(f->store, JOURNAL);

	assert_int_equal(thinp_io_read(f->io, at, 1, block), 0);
	block[3000] ^= 1; /* behind what the user looks at */
	assert_int_equal(thinp_io_write(f->io, at, 1, block), 0);
	reopen(f);
	expect_shown(f, THINP_ECORRUPT);
	thinp_error_last(&info);
	assert_int_equal(info.block, at);
	assert_non_null(strstr(info.message, "checksum"));
	block[3000] ^= 1;
	assert_int_equal(thinp_io_write(f->io, at, 1, block), 0);
	assert_int_equal(thinp_io_write(f->io, NR_BLOCKS - 1, 1, block), 0); /* sound, and not its place */
	reopen(f);
	expect_shown(f, 0);
	assert_int_equal(thinp_store_begin(f->store), 0);
	assert_int_equal(thinp_store_set_root(f->store, JOURNAL, NR_BLOCKS - 1), 0);
	assert_int_equal(thinp_store_commit(f->store), 0);
	expect_shown(f, THINP_ECORRUPT);
	thinp_error_last(&info);
	assert_int_equal(info.block, NR_BLOCKS - 1);
}

static void what_the_users_check_refuses_is_damage(void **state)
{
	static const struct thinp_block_type unchecked = {
		.size = sizeof(unchecked), .name = "journal", .csum_xor = 91919, .address_offset = 8};
	struct thinp_error_info info = {.size = sizeof(info)};
	struct fixture *f = *state;
	struct thinp_tm *tm = thinp_store_tm(f->store);
	thinp_block_t at = root_of(f->store, JOURNAL);
	struct thinp_buffer *buffer;
	bool inc_children;
	void *data;

	assert_int_equal(thinp_store_begin(f->store), 0);
	assert_int_equal(
		thinp_tm_shadow_block(tm, at, &unchecked, THINP_CAUSE_USER, &at, &buffer, &data, &inc_children), 0);
	((uint8_t *)data)[FIRST_BYTE + 500] ^= 1;
	thinp_tm_unlock(tm, buffer);
	assert_int_equal(thinp_store_set_root(f->store, JOURNAL, at), 0);
	assert_int_equal(thinp_store_commit(f->store), 0);
	reopen(f);
	expect_shown(f, THINP_ECORRUPT);
	thinp_error_last(&info);
	assert_int_equal(info.block, at);
	assert_string_equal(info.message, "journal: bytes differ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(every_way_of_reading_sees_one_commit_while_others_are_made),
		TEST(a_block_of_the_users_own_kind_is_part_of_the_commit),
		TEST(a_block_of_the_users_own_kind_is_checked_by_both),
		TEST(what_the_users_check_refuses_is_damage),
	};

	return cmocka_run_group_tests_name("integration/store_content", tests, NULL, NULL);
}
