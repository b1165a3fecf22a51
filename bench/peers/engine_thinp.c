/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/engine_thinp.c - a tree in a store in a file; looks are views.
 */
#include "engine.h"

#include <thinp/btree.h>
#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/space_map.h>
#include <thinp/store.h>

#include <stdio.h>
#include <stdlib.h>

enum { BLOCK = THINP_BLOCK_SIZE };

static const struct thinp_btree_type type = {.size = sizeof(type), .nr_levels = 1, .value_size = 8};

struct db {
	struct thinp_io *io;
	struct thinp_store *store;
	struct thinp_tm *tm;
	thinp_block_t root; /* of the open transaction */
};

struct look {
	struct db *db;
	struct thinp_view *view;
	struct thinp_reader *reader;
	thinp_block_t root;
};

static int begin(void *ctx)
{
	struct db *db = ctx;
	int r = thinp_store_begin(db->store);

	return r ? r : thinp_store_get_root(db->store, 0, &db->root);
}

static int commit(void *ctx)
{
	struct db *db = ctx;
	int r = thinp_store_set_root(db->store, 0, db->root);

	return r ? r : thinp_store_commit(db->store);
}

static void close_db(void *ctx)
{
	struct db *db = ctx;

	thinp_store_close(db->store);
	thinp_io_close(db->io);
	free(db);
}

static int make_tree(struct db *db)
{
	int r = begin(db);

	db->tm = thinp_store_tm(db->store);
	if (!r)
		r = thinp_btree_create(db->tm, &type, &db->root);
	return r ? r : commit(db);
}

/* A reopened store has its tree already. */
static int find_tree(struct db *db)
{
	thinp_block_t root = 0;
	int r = thinp_store_get_root(db->store, 0, &root);

	db->tm = thinp_store_tm(db->store);
	return r || root ? r : make_tree(db);
}

/* Room for the tree with half full leaves, and once more for what a commit replaces. */
static uint64_t nr_blocks_for(uint64_t nr_keys)
{
	return nr_keys / 60 + 16384;
}

static int open_db(const char *folder, const struct engine_size *size, void **out)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts),
					      .flags = THINP_IO_CREATE | THINP_IO_ZEROS,
					      .nr_blocks = nr_blocks_for(size->nr_keys)};
	const struct thinp_store_opts opts = {.size = sizeof(opts),
					      .flags = THINP_STORE_CREATE | THINP_STORE_HUGE_PAGES,
					      .cache_blocks = (uint32_t)(size->cache_bytes / BLOCK)};
	struct db *db = calloc(1, sizeof(*db));
	char path[4096];
	int r = db ? 0 : -1;

	snprintf(path, sizeof(path), "%s/store", folder);
	if (!r)
		r = thinp_io_open_file(path, &io_opts, &db->io);
	if (!r)
		r = thinp_store_open(db->io, &opts, &db->store);
	if (!r)
		r = find_tree(db);
	if (!r)
		*out = db;
	else if (db)
		close_db(db);
	return r;
}

static uint64_t used_bytes(void *ctx)
{
	struct thinp_sm_info info = {.size = sizeof(info)};
	struct db *db = ctx;

	thinp_sm_get_info(thinp_store_metadata_map(db->store), &info);
	return (info.nr_blocks - info.nr_zero) * BLOCK;
}

static int fill(struct db *db, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	struct thinp_btree_loader *loader;
	int r = thinp_btree_loader_create(db->tm, &type, &loader);

	if (r)
		return r;
	r = thinp_btree_loader_add(loader, keys, values, nr);
	if (!r)
		r = thinp_btree_loader_finish(loader, &db->root);
	thinp_btree_loader_destroy(loader);
	return r;
}

static int load(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	struct db *db = ctx;
	int r = begin(db);

	if (!r)
		r = thinp_btree_del(db->tm, &type, db->root); /* the empty one */
	if (!r)
		r = fill(db, keys, values, nr);
	return r ? r : commit(db);
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

static int del_sorted(void *ctx, const uint64_t *keys, size_t nr)
{
	struct db *db = ctx;

	return thinp_btree_remove_many(db->tm, &type, db->root, keys, nr, &db->root, NULL);
}

static int open_view(struct look *look)
{
	int r = thinp_view_open(look->db->store, &look->view);

	if (r)
		return r;
	look->reader = thinp_view_reader(look->view);
	return thinp_view_get_root(look->view, 0, &look->root);
}

static void look_end(void *ctx)
{
	struct look *look = ctx;

	thinp_view_close(look->view);
	free(look);
}

static int look_begin(void *ctx, void **out)
{
	struct look *look = calloc(1, sizeof(*look));
	int r;

	if (!look)
		return -1;
	look->db = ctx;
	r = open_view(look);
	if (r)
		look_end(look);
	else
		*out = look;
	return r;
}

static int look_renew(void *ctx)
{
	struct look *look = ctx;

	thinp_view_close(look->view);
	look->view = NULL;
	return open_view(look);
}

static int get(void *ctx, uint64_t key, uint64_t *value)
{
	struct look *look = ctx;

	return thinp_btree_lookup(look->reader, &type, look->root, &key, value);
}

static int get_many(void *ctx, const uint64_t *keys, size_t nr, uint64_t *values)
{
	int32_t results[ENGINE_MOST_AT_ONCE];
	struct look *look = ctx;

	return thinp_btree_lookup_many(look->reader, &type, look->root, keys, nr, values, results);
}

static int get_ge(void *ctx, uint64_t key, uint64_t *found, uint64_t *value)
{
	struct look *look = ctx;

	return thinp_btree_lookup_ge(look->reader, &type, look->root, &key, found, value);
}

static int scan_next(void *ctx, uint64_t *sum)
{
	struct thinp_btree_cursor *cursor;
	struct look *look = ctx;
	uint64_t key, value;
	int r = thinp_btree_cursor_create(look->reader, &type, look->root, &cursor);

	if (r)
		return r;
	while (!(r = thinp_btree_cursor_next(cursor)) && !(r = thinp_btree_cursor_get(cursor, &key, &value)))
		*sum += value;
	thinp_btree_cursor_destroy(cursor);
	return r == THINP_ENODATA ? 0 : r;
}

static int add_span(void *ctx, const struct thinp_btree_span *span)
{
	const uint64_t *values = span->values_le;
	uint64_t *sum = ctx;

	for (uint32_t i = 0; i < span->nr_entries; i++)
		*sum += values[i];
	return 0;
}

static int scan_spans(void *ctx, uint64_t *sum)
{
	struct look *look = ctx;

	return thinp_btree_walk(look->reader, &type, look->root, add_span, sum);
}

const struct engine engine_thinp = {
	.name = "thinp",
	.open = open_db,
	.close = close_db,
	.used_bytes = used_bytes,
	.load = load,
	.begin = begin,
	.put = put,
	.put_sorted = put_sorted,
	.del = del,
	.del_sorted = del_sorted,
	.commit = commit,
	.look_begin = look_begin,
	.look_renew = look_renew,
	.look_end = look_end,
	.get = get,
	.get_many = get_many,
	.get_ge = get_ge,
	.scan_next = scan_next,
	.scan_spans = scan_spans,
};
