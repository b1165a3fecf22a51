/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store_engine_thinp.c - a tree in a store.
 */
#include "store_engine.h"

#include <thinp/btree.h>
#include <thinp/io.h>
#include <thinp/store.h>

#include <stdlib.h>

enum { NR_BLOCKS = 65536, MOST_AT_ONCE = 1024 };

static const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = 8};

struct db {
	struct thinp_io *io;
	struct thinp_store *store;
	struct thinp_tm *tm;
	struct thinp_view *view;
	struct thinp_reader *reader; /* of the view */
	thinp_block_t root;          /* of the view, or of the open transaction */
};

static void close_db(void *ctx)
{
	struct db *db = ctx;

	thinp_store_close(db->store);
	thinp_io_close(db->io);
	free(db);
}

static int make_tree(struct db *db)
{
	int r = thinp_store_begin(db->store);

	db->tm = thinp_store_tm(db->store);
	if (!r)
		r = thinp_btree_create(db->tm, &type, &db->root);
	if (!r)
		r = thinp_store_set_root(db->store, 0, db->root);
	return r ? r : thinp_store_commit(db->store);
}

static void *open_db(const char *path)
{
	const struct thinp_io_opts io_opts = {
		.size = sizeof(io_opts), .flags = THINP_IO_CREATE, .nr_blocks = NR_BLOCKS};
	const struct thinp_store_opts opts = {.size = sizeof(opts),
					      .flags = THINP_STORE_OVERWRITE | THINP_STORE_HUGE_PAGES};
	struct db *db = calloc(1, sizeof(*db));
	int r = db ? thinp_io_open_file(path, &io_opts, &db->io) : -1;

	if (!r)
		r = thinp_store_open(db->io, &opts, &db->store);
	if (!r)
		r = make_tree(db);
	if (!r)
		return db;
	if (db)
		close_db(db);
	return NULL;
}

static int begin(void *ctx)
{
	struct db *db = ctx;
	int r = thinp_store_begin(db->store);

	return r ? r : thinp_store_get_root(db->store, 0, &db->root);
}

static int put(void *ctx, uint64_t key, uint64_t value)
{
	struct db *db = ctx;

	return thinp_btree_insert(db->tm, &type, db->root, &key, &value, &db->root, NULL);
}

static int put_sorted(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	struct db *db = ctx;

	return thinp_btree_insert_many(db->tm, &type, db->root, keys, values, nr, &db->root, NULL);
}

static int del(void *ctx, uint64_t key)
{
	struct db *db = ctx;

	return thinp_btree_remove(db->tm, &type, db->root, &key, &db->root);
}

static int commit(void *ctx)
{
	struct db *db = ctx;
	int r = thinp_store_set_root(db->store, 0, db->root);

	return r ? r : thinp_store_commit(db->store);
}

static int look_begin(void *ctx)
{
	struct db *db = ctx;
	int r = thinp_view_open(db->store, &db->view);

	if (r)
		return r;
	db->reader = thinp_view_reader(db->view);
	return thinp_view_get_root(db->view, 0, &db->root);
}

static int get(void *ctx, uint64_t key, uint64_t *value)
{
	struct db *db = ctx;

	return thinp_btree_lookup(db->reader, &type, db->root, &key, value);
}

static int get_many(void *ctx, const uint64_t *keys, size_t nr, uint64_t *values)
{
	int32_t results[MOST_AT_ONCE];
	struct db *db = ctx;

	return nr > MOST_AT_ONCE ? -1 : thinp_btree_lookup_many(db->reader, &type, db->root, keys, nr, values, results);
}

static int add_span(void *ctx, const struct thinp_btree_span *span)
{
	const uint64_t *values = span->values_le;
	uint64_t *sum = ctx;

	for (uint32_t i = 0; i < span->nr_entries; i++)
		*sum += values[i];
	return 0;
}

static int scan(void *ctx, uint64_t *sum)
{
	struct db *db = ctx;

	return thinp_btree_walk(db->reader, &type, db->root, add_span, sum);
}

static void look_end(void *ctx)
{
	struct db *db = ctx;

	thinp_view_close(db->view);
	db->view = NULL;
}

const struct engine engine_thinp = {
	.name = "thinp",
	.open = open_db,
	.close = close_db,
	.begin = begin,
	.put = put,
	.put_sorted = put_sorted,
	.del = del,
	.commit = commit,
	.look_begin = look_begin,
	.get = get,
	.get_many = get_many,
	.scan = scan,
	.look_end = look_end,
};
