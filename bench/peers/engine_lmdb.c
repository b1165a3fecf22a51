/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/engine_lmdb.c - LMDB, with the settings that its documentation names for such keys.
 *
 * MDB_INTEGERKEY for keys of 8 bytes; MDB_APPEND where keys come in order behind all others; a cursor where they come in
 * order. No MDB_WRITEMAP, with which a stray pointer would write to the file, no MDB_NOSYNC or MDB_NOMETASYNC: commits
 * are durable. MDB_NOTLS ties a read transaction to its object and not to its thread. MDB_NORDAHEAD is left off: all of it
 * fits into memory.
 */
#include "engine.h"

#include <lmdb.h>

#include <stdlib.h>
#include <string.h>

struct db {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn;
	MDB_cursor *cursor; /* of put() in the open transaction: it knows where the last key went */
};

struct look {
	struct db *db;
	MDB_txn *txn;
	MDB_cursor *cursor; /* of get_ge() */
};

static MDB_val val(const uint64_t *number)
{
	return (MDB_val){.mv_size = sizeof(*number), .mv_data = (void *)(uintptr_t)number};
}

static uint64_t number_of(const MDB_val *v)
{
	uint64_t number;

	memcpy(&number, v->mv_data, sizeof(number));
	return number;
}

static void close_cursor(struct db *db)
{
	if (db->cursor)
		mdb_cursor_close(db->cursor);
	db->cursor = NULL;
}

static void close_db(void *ctx)
{
	struct db *db = ctx;

	close_cursor(db);
	if (db->txn)
		mdb_txn_abort(db->txn);
	if (db->env)
		mdb_env_close(db->env);
	free(db);
}

static int begin(void *ctx)
{
	struct db *db = ctx;

	return mdb_txn_begin(db->env, NULL, 0, &db->txn);
}

static int commit(void *ctx)
{
	struct db *db = ctx;
	int r;

	close_cursor(db);
	r = mdb_txn_commit(db->txn);
	db->txn = NULL;
	return r;
}

static int make_tree(struct db *db)
{
	int r = begin(db);

	if (!r)
		r = mdb_dbi_open(db->txn, NULL, MDB_INTEGERKEY | MDB_CREATE, &db->dbi);
	return r ? r : commit(db);
}

static int open_db(const char *folder, const struct engine_size *size, void **out)
{
	struct db *db = calloc(1, sizeof(*db));
	int r = db ? mdb_env_create(&db->env) : -1;

	if (!r)
		r = mdb_env_set_mapsize(db->env, size->nr_keys * 128 + (UINT64_C(256) << 20));
	if (!r)
		r = mdb_env_open(db->env, folder, MDB_NOTLS, 0600);
	if (!r)
		r = make_tree(db);
	if (!r)
		*out = db;
	else if (db)
		close_db(db);
	return r;
}

static int put(void *ctx, uint64_t key, uint64_t value)
{
	MDB_val k = val(&key), v = val(&value);
	struct db *db = ctx;
	int r = db->cursor ? 0 : mdb_cursor_open(db->txn, db->dbi, &db->cursor);

	return r ? r : mdb_cursor_put(db->cursor, &k, &v, 0);
}

static int put_in_order(struct db *db, const uint64_t *keys, const uint64_t *values, size_t nr, unsigned int flags)
{
	MDB_cursor *cursor;
	int r = mdb_cursor_open(db->txn, db->dbi, &cursor);

	if (r)
		return r;
	for (size_t i = 0; i < nr && !r; i++) {
		MDB_val k = val(&keys[i]), v = val(&values[i]);

		r = mdb_cursor_put(cursor, &k, &v, flags);
	}
	mdb_cursor_close(cursor);
	return r;
}

static int put_sorted(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	return put_in_order(ctx, keys, values, nr, 0);
}

static int load(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	int r = begin(ctx);

	if (!r)
		r = put_in_order(ctx, keys, values, nr, MDB_APPEND);
	return r ? r : commit(ctx);
}

static int del(void *ctx, uint64_t key)
{
	struct db *db = ctx;
	MDB_val k = val(&key);

	return mdb_del(db->txn, db->dbi, &k, NULL);
}

/* By a cursor that goes on from key to key: without it each would be looked for from the root. */
static int del_sorted(void *ctx, const uint64_t *keys, size_t nr)
{
	struct db *db = ctx;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(db->txn, db->dbi, &cursor);

	if (r)
		return r;
	for (size_t i = 0; i < nr && !r; i++) {
		MDB_val k = val(&keys[i]), v;

		r = mdb_cursor_get(cursor, &k, &v, MDB_SET);
		if (!r)
			r = mdb_cursor_del(cursor, 0);
	}
	mdb_cursor_close(cursor);
	return r;
}

static void look_end(void *ctx)
{
	struct look *look = ctx;

	if (look->cursor)
		mdb_cursor_close(look->cursor);
	if (look->txn)
		mdb_txn_abort(look->txn);
	free(look);
}

static int look_begin(void *ctx, void **out)
{
	struct look *look = calloc(1, sizeof(*look));
	int r;

	if (!look)
		return -1;
	look->db = ctx;
	r = mdb_txn_begin(look->db->env, NULL, MDB_RDONLY, &look->txn);
	if (!r)
		r = mdb_cursor_open(look->txn, look->db->dbi, &look->cursor);
	if (r)
		look_end(look);
	else
		*out = look;
	return r;
}

static int look_renew(void *ctx)
{
	struct look *look = ctx;
	int r;

	mdb_txn_reset(look->txn);
	r = mdb_txn_renew(look->txn);
	return r ? r : mdb_cursor_renew(look->txn, look->cursor);
}

static int get(void *ctx, uint64_t key, uint64_t *value)
{
	struct look *look = ctx;
	MDB_val k = val(&key), v;
	int r = mdb_get(look->txn, look->db->dbi, &k, &v);

	if (!r)
		*value = number_of(&v);
	return r;
}

/* It has no call for several. */
static int get_ge(void *ctx, uint64_t key, uint64_t *found, uint64_t *value)
{
	struct look *look = ctx;
	MDB_val k = val(&key), v;
	int r = mdb_cursor_get(look->cursor, &k, &v, MDB_SET_RANGE);

	if (r)
		return r;
	*found = number_of(&k);
	*value = number_of(&v);
	return 0;
}

static int scan_next(void *ctx, uint64_t *sum)
{
	struct look *look = ctx;
	MDB_cursor *cursor;
	MDB_val k, v;
	int r = mdb_cursor_open(look->txn, look->db->dbi, &cursor);

	if (r)
		return r;
	while (!(r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)))
		*sum += number_of(&v);
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : r;
}

const struct engine engine_lmdb = {
	.name = "lmdb",
	.open = open_db,
	.close = close_db,
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
	.get_ge = get_ge,
	.scan_next = scan_next,
};
